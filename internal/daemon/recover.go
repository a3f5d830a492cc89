package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
)

// Recover works out what the database of a stopped server lacks of what was
// signed and kept, and with apply brings it back: see custody.Custodian. It
// makes nothing that is not there.
func Recover(ctx context.Context, cfg Config, apply bool) (custody.Report, error) {
	f, err := existingFolder(&cfg)
	if err != nil {
		return custody.Report{}, err
	}
	defer f.close()
	keys, err := f.openKeysFor(&cfg)
	if err != nil {
		return custody.Report{}, err
	}
	verifiers, err := keys.verifiers()
	if err != nil {
		return custody.Report{}, err
	}
	store := keys.storeConfig()
	store.SQLite, store.Postgres = f.file(fileDatabase), cfg.Database
	db, err := sqlstore.Open(ctx, store)
	if err != nil {
		return custody.Report{}, err
	}
	defer db.Close()
	blobs, err := blob.OpenDir(f.file(dirBlobs))
	if err != nil {
		return custody.Report{}, err
	}
	c := custody.New(custody.Config{Database: db, Records: blobs, Blobs: blobs, Limits: chart.DefaultLimits(), Verifiers: verifiers})
	rep, err := c.Recover(ctx, apply)
	if err == nil && rep.Applied {
		err = f.forgetIndexes()
	}
	return rep, err
}

// existingFolder opens the data folder of a stopped server, alone.
func existingFolder(c *Config) (*folder, error) {
	if err := c.served(); err != nil {
		return nil, err
	}
	return openFolder(c.Data, true)
}

// served refuses a folder in which no server ran.
func (c *Config) served() error {
	if _, err := os.Stat(filepath.Join(c.Data, c.keyFile())); errors.Is(err, fs.ErrNotExist) {
		return problem.New(problem.NotFound, "data-folder", "the data folder %s has no log key, so no server ran there", c.Data).
			Suggest("give the folder of the server: --data DIR")
	}
	return nil
}

// forgetIndexes removes the indexes that were kept: they may show releases of a
// history that went beyond what was kept.
func (d *folder) forgetIndexes() error {
	names, err := filepath.Glob(filepath.Join(d.file(dirCache), "index-*"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
