package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// backedUp is a backup that was made.
type backedUp struct {
	To string `json:"to"`
	custody.Backup
}

func (backedUp) schema() string   { return "backup-made/v1" }
func (r backedUp) keys() []string { return []string{r.ID} }

func (r backedUp) view() view {
	key := "not in it: keep log.key elsewhere"
	if r.WithKey {
		key = "in it: whoever reads the backup can sign the log"
	}
	facts := []fact{{"backup", r.ID}, {"in", r.To}, {"database", r.Database.Kind}}
	for _, h := range r.Logs {
		facts = append(facts, fact{string(h.Log) + " log", thousands(h.Size) + " leaves, root " + h.Root})
	}
	facts = append(facts, fact{"blobs", fmt.Sprintf("%s, %s bytes", thousands(int64(r.Blobs)), thousands(r.Bytes))}, fact{"private log key", key})
	v := view{{facts: facts}}
	if len(r.Missing) > 0 {
		v = append(v, block{text: "Missing, because they are gone or damaged:\n" + strings.Join(r.Missing[:min(len(r.Missing), 100)], "\n")})
	}
	return v
}

func (a *app) backupCommand() *cobra.Command {
	var opt serveOptions
	var to string
	var withKey bool
	return a.leaf(command{
		use: "backup --to FOLDER [--data DIR]", short: "Back up a server, which may run",
		long: `
Back up a server from its data folder, on its machine and as its user, while it
runs: the database at one moment, and every blob. Into a folder that has backups
only the blobs are copied that are not there yet. A name that ends in .tar makes
one file.

Everything is checked on the way. The exit code is 1 when a blob that the
database names is gone or damaged; the rest is backed up nevertheless.

The private key of the log is left out: whoever has it can sign another history.
Keep it apart, or take it in with --with-key.`,
		example: `
chartkeep backup --data /var/lib/chartkeep --to /backup/chartkeep
chartkeep backup --data /var/lib/chartkeep --to /backup/chartkeep-monday.tar`,
		flags: func(f *pflag.FlagSet) {
			opt.registerOnly(f, "data")
			f.StringVar(&to, "to", "", "`FOLDER` of backups, or a new FILE.tar")
			f.BoolVar(&withKey, "with-key", false, "take the private log key in")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			if to == "" {
				return nil, usage("where to is missing").try("chartkeep backup --to FOLDER")
			}
			cfg, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			made, err := daemon.Backup(ctx, cfg, to, withKey)
			if err != nil {
				return nil, err
			}
			if len(made.Missing) > 0 {
				return backedUp{to, made}, answer{problem.Unavailable}
			}
			return backedUp{to, made}, nil
		},
	})
}

// restored is a backup that was restored.
type restored struct {
	Data string `json:"data"`
	daemon.Restored
}

func (restored) schema() string   { return "backup-restored/v1" }
func (r restored) keys() []string { return []string{r.Backup.ID} }

func (r restored) view() view {
	facts := []fact{
		{"backup", r.Backup.ID}, {"made", r.Backup.Time.UTC().Format(time.RFC3339)}, {"data folder", r.Data},
		{"blobs", fmt.Sprintf("%s copied, %s were there", thousands(int64(r.Blobs)), thousands(int64(r.Present)))},
	}
	for _, h := range r.Backup.Logs {
		facts = append(facts, fact{string(h.Log) + " log", thousands(h.Size) + " leaves"})
	}
	if len(r.Asked) > 0 {
		facts = append(facts, fact{"witnesses asked", strings.Join(r.Asked, ", ")})
	}
	if len(r.Silent) > 0 {
		facts = append(facts, fact{"witnesses silent", strings.Join(r.Silent, ", ") + "; the server asks them at each start"})
	}
	next := "chartkeep serve --data " + r.Data
	if len(r.Behind) > 0 {
		next = "chartkeep log recover --data " + r.Data
	}
	if !r.HasKey {
		next = "put log.key into " + r.Data + ", then: " + next
	}
	return view{{facts: append(facts, fact{"next", next})}}
}

func (a *app) restoreCommand() *cobra.Command {
	var opt serveOptions
	var from daemon.RestoreOptions
	return a.leaf(command{
		use: "restore --from FOLDER [--data DIR]", short: "Restore a backup into a data folder without a database",
		long: `
Restore a backup, the newest of the folder or the one of --snapshot, into a data
folder that has no database. Blobs, records and keys that outlived the database
stay, and have to belong to the same log. A backup of PostgreSQL needs an empty
database in CHARTKEEP_DATABASE.

Every file is checked before anything is put in its place, and the logs have to
lead to signed heads. A backup that is behind what was signed, as the records
beside the blobs, the witnesses of --witness-policy or --checkpoint say, is
refused: going on from it would make a second history. With
--read-only-until-recovered it is restored, and the server takes no writes until
log recover has brought the rest back.`,
		example: `
chartkeep restore --from /backup/chartkeep --data /var/lib/chartkeep
chartkeep restore --from /backup/chartkeep --data /var/lib/chartkeep \
  --checkpoint checkpoint`,
		flags: func(f *pflag.FlagSet) {
			opt.registerOnly(f, "data", "witness-policy")
			f.StringVar(&from.From, "from", "", "`FOLDER` of backups, or a FILE.tar")
			f.StringVar(&from.Snapshot, "snapshot", "", "`ID` of the backup; the newest without it")
			f.StringVar(&from.Checkpoint, "checkpoint", "", "`FILE` of a checkpoint that the backup must not be behind")
			f.BoolVar(&from.Behind, "read-only-until-recovered", false, "restore a backup that is behind what was signed")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			if from.From == "" {
				return nil, usage("the backup is missing").try("chartkeep restore --from FOLDER")
			}
			cfg, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			r, err := daemon.Restore(ctx, cfg, from)
			return resultOf(restored{cfg.Data, r}, err)
		},
	})
}
