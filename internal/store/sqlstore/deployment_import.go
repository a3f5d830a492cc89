package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/watch"
)

const selectImport = "SELECT i.name, i.time, i.import_json, (SELECT COUNT(*) FROM deployment d WHERE d.import = i.name), x.every, x.due " +
	"FROM deployment_import i LEFT JOIN import_interval x ON x.name = i.name"

// importRow is an import with what people do not see of it.
type importRow struct {
	watch.Import
	told bool // that it is silent
}

func scanImport(row scanner) (importRow, error) {
	var im importRow
	var at int64
	var said string
	var every, due *int64
	if err := row.Scan(&im.Name, &at, &said, &im.Deployments, &every, &due); err != nil {
		return im, err
	}
	var c importJSON
	err := json.Unmarshal([]byte(said), &c)
	im.Time, im.From, im.Problems, im.MoreProblems = fromMillis(at), c.From, c.Problems, c.MoreProblems
	if every != nil {
		im.Every = new(watch.Duration(time.Duration(*every) * time.Millisecond))
		im.told = *due == 0
	}
	return im, err
}

// Imports implements watch.Deployments.
func (s *Store) Imports(ctx context.Context) ([]watch.Import, error) {
	var out []watch.Import
	err := s.query(ctx, selectImport+" ORDER BY i.name", func(r scanner) error {
		im, err := scanImport(r)
		out = append(out, im.Import)
		return err
	})
	return out, err
}

// schedule keeps how often the import is made, and from when its silence is
// told of. It tells that it is made again when that it is silent was told.
func (r *replacement) schedule() error {
	was, err := scanImport(r.w.row(r.ctx, selectImport+" WHERE i.name = ?", r.name))
	if err != nil && !notFound(err) {
		return err
	}
	if was.told {
		r.events = append(r.events, was.Back(r.now))
	}
	every := was.Every
	if r.every != nil {
		every = r.every
	}
	if every == nil {
		return nil
	}
	if *every == 0 {
		_, err := r.w.exec(r.ctx, "DELETE FROM import_interval WHERE name = ?", r.name)
		return err
	}
	_, err = r.w.exec(r.ctx, "INSERT INTO import_interval (name, every, due) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET every = excluded.every, due = excluded.due",
		r.name, time.Duration(*every).Milliseconds(), millis(watch.Silent(r.now, *every)))
	return err
}

// SilentImports implements watch.Deployments. Imports are few: as many as there
// are clusters and folders that are read.
func (s *Store) SilentImports(ctx context.Context, now time.Time) ([]watch.Event, error) {
	var any int64
	err := s.queryRow(ctx, "SELECT 1 FROM import_interval WHERE due <> 0 AND due <= ? LIMIT 1", millis(now)).Scan(&any)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault("look for silent imports", err)
	}
	var fresh []watch.Event
	err = s.write(ctx, true, func(b *batch) error {
		var events []watch.Event
		var names []string
		err := b.each(selectImport+" WHERE x.due <> 0 AND x.due <= ? ORDER BY i.name", func(r scanner) error {
			im, err := scanImport(r)
			if err == nil {
				events, names = append(events, im.Silence(now)), append(names, im.Name)
			}
			return err
		}, millis(now))
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := b.w.exec(b.ctx, "UPDATE import_interval SET due = 0 WHERE name = ?", name); err != nil {
				return err
			}
		}
		fresh, err = b.recordEvents(events, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}
