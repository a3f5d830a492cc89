package custody_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

// TestDump copies a database that is in use, and makes another one of the copy.
func TestDump(t *testing.T) {
	both(t, func(w *world) {
		w.before()
		w.after()
		head, err := w.store.LogHead(w.ctx, custody.Releases)
		w.ok(err)
		edge, err := w.store.LogEdge(w.ctx, custody.Releases, 5)
		w.ok(err)
		look := sqlstore.Look{Verifiers: verifiers(w), Roots: map[custody.Log][]int64{custody.Releases: {0, 5, head.Size, head.Size + 1}}}
		folder := w.TempDir()
		cfg := sqlstore.Config{SQLite: w.dsn}
		if w.postgres {
			cfg = sqlstore.Config{Postgres: w.dsn}
		}
		dump, seen, err := sqlstore.Snapshot(w.ctx, cfg, folder, look)
		w.ok(err)
		roots := seen.Roots[custody.Releases]
		if seen.Heads[custody.Releases].Root != head.Root || roots[5] != edge.Root() || roots[head.Size] != head.Root || len(roots) != 3 {
			w.Errorf("inspected %+v, want %+v", seen.Heads, head)
		}
		w.push("demo", "web", "8.0.0", false) // not in the copy
		w.close()
		want := w.dump(w.dsn)

		again := *w
		if w.postgres {
			again.dsn = pgtest.New(w)
			inspected := false
			w.ok(sqlstore.LoadDump(w.ctx, again.dsn, &dump, folder, look, func(sqlstore.Inspection) error { inspected = true; return nil }))
			if !inspected {
				w.Error("loaded without a look")
			}
			err := sqlstore.LoadDump(w.ctx, again.dsn, &dump, folder, look, func(sqlstore.Inspection) error { return nil })
			w.refused(err, problem.Conflict, "restore-target")
			w.damagedTables(&dump, folder, look)
		} else {
			again.dsn = filepath.Join(folder, custody.DumpFile)
			_, err := sqlstore.InspectDump(w.ctx, again.dsn, look)
			w.ok(err)
		}
		got := again.dump(again.dsn)
		for _, table := range tables {
			lost := want[table.name]
			if n := len(got[table.name]); n < len(lost) && table.name != "head" {
				lost = without(lost, got[table.name])
			}
			if table.name == "head" {
				continue // of the moment of the copy; inspected above
			}
			if d := cmp.Diff(lost, got[table.name]); d != "" {
				w.Errorf("table %s was copied otherwise:\n%s", table.name, d)
			}
		}
		// It is a database like any other: numbers go on where they were.
		again.open()
		again.admin = again.as(again.secret)
		again.push("demo", "web", "8.0.0", false)
		again.project("more", release.ProjectOptions{})
		again.close()
		w.open() // for the end of the test
	})
}

// without returns the lines that are in both, in the order of the first.
func without(all, some []string) []string {
	has := map[string]bool{}
	for _, s := range some {
		has[s] = true
	}
	var out []string
	for _, a := range all {
		if has[a] {
			out = append(out, a)
		}
	}
	return out
}

// damagedTables loads copies in which a file was changed: nothing is left of
// any.
func (w *world) damagedTables(dump *custody.Dump, folder string, look sqlstore.Look) {
	w.Helper()
	to := pgtest.New(w)
	for _, table := range []string{"leaf", "release"} {
		damaged := w.TempDir()
		w.ok(os.CopyFS(damaged, os.DirFS(folder)))
		path := filepath.Join(damaged, table)
		data, err := os.ReadFile(path)
		w.ok(err)
		if table == "leaf" {
			data = bytes.Replace(data, []byte(`\\x`), []byte(`\\x00`), 1)
		} else {
			data = append(data, data[:bytes.IndexByte(data, '\n')+1]...) // a row twice
		}
		w.ok(os.WriteFile(path, data, 0o600))
		if err := sqlstore.LoadDump(w.ctx, to, dump, damaged, look, func(sqlstore.Inspection) error { return nil }); err == nil {
			w.Errorf("a changed table %s was loaded", table)
		}
	}
	// Nothing is left, so that the right one can be loaded.
	w.ok(sqlstore.LoadDump(w.ctx, to, dump, folder, look, func(sqlstore.Inspection) error { return nil }))
}
