package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
)

func someone() audit.Event {
	return audit.Event{Time: time.Now(), Actor: audit.Actor{Kind: access.KindUser, ID: "usr-1"}, Door: audit.DoorAPI}
}

func someProject(t testing.TB, s *sqlstore.Store) release.Project {
	t.Helper()
	p, err := s.CreateProject(t.Context(), release.Project{
		Name: "demo", Kind: release.KindCharts, State: release.ProjectActive, PolicyDigest: release.PolicyDigest(release.Policy{}),
	}, someone(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// record makes the log of the release store and that of audit events grow.
func record(t testing.TB, s *sqlstore.Store) error {
	t.Helper()
	ev := someone()
	ev.Name = audit.ProjectSet
	_, err := s.UpdateProject(t.Context(), "demo", "set", ev, time.Now(), func(p release.Project) (release.Project, error) {
		p.Public = !p.Public
		return p, nil
	})
	return err
}

func refused(t testing.TB, err error, kind problem.Kind, rule string) {
	t.Helper()
	if p, ok := problem.As(err); !ok || p.Kind != kind || p.Rule != rule {
		t.Fatalf("got error %v, want a problem of kind %s, rule %q", err, kind, rule)
	}
}

func exec(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// unguard takes the triggers of a table away, as whoever owns the database can.
func (d database) unguard(t testing.TB, table, trigger string) {
	t.Helper()
	if d.driver == "sqlite" {
		exec(t, d.behind(t), "DROP TRIGGER "+trigger)
		return
	}
	exec(t, d.behind(t), "DROP TRIGGER "+trigger+" ON "+table)
}

func TestMigrations(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		for range 3 { // from nothing, and twice from itself
			if err := d.open(t, nil).Close(); err != nil {
				t.Fatal(err)
			}
		}
		db := d.behind(t)
		exec(t, db, "INSERT INTO migration (name, sha256) VALUES ('9999_later.sql', 'x')")
		_, err := d.try(t, nil)
		refused(t, err, problem.Unavailable, "migration")
		if !strings.Contains(err.Error(), "9999_later.sql") || !strings.Contains(err.Error(), "newer") {
			t.Fatal(err)
		}
		exec(t, db, "DELETE FROM migration WHERE name = '9999_later.sql'", "UPDATE migration SET sha256 = 'other' WHERE name LIKE '0001%'")
		_, err = d.try(t, nil)
		refused(t, err, problem.Unavailable, "migration")
		if !strings.Contains(err.Error(), "another text") {
			t.Fatal(err)
		}
	})
}

// TestMigrateAtOnce starts several replicas on an empty database.
func TestMigrateAtOnce(t *testing.T) {
	d := newPostgres(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			s, err := d.try(t, nil)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
}

func TestOtherLog(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		d.open(t, nil).Close()
		keys := storetest.Keys(t)
		cfg := d.config
		cfg.Origin, cfg.Signer, cfg.AuditSigner, cfg.VerifierKey = "log.example.test/other", keys.Signer, keys.AuditSigner, keys.VerifierKey
		_, err := sqlstore.Open(t.Context(), cfg)
		refused(t, err, problem.Unavailable, "log-origin")
	})
}

// TestTriggers tries by hand what no code of ours does.
func TestTriggers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		p := someProject(t, s)
		if err := storetest.Race(t.Context(), p, 1, 2, s); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			if err := record(t, s); err != nil {
				t.Fatal(err)
			}
		}
		db := d.behind(t)
		exec(t, db, "UPDATE release SET provenance = 'sha256:first'") // once
		before := dump(t, db)
		statements := []string{
			"DELETE FROM release", "DELETE FROM leaf WHERE idx = 0", "DELETE FROM tile", "DELETE FROM project", "DELETE FROM head", "DELETE FROM repository",
			"UPDATE leaf SET entry = hash", "UPDATE leaf SET idx = idx + 1000", "UPDATE tile SET root = hashes", "UPDATE release SET provenance = 'sha256:second'",
			"UPDATE manifest SET bytes = '{}'", "UPDATE blob SET bytes = '{}'",
		}
		for _, column := range []string{"id", "project", "size", "time", "legacy"} {
			statements = append(statements, "UPDATE release SET "+column+" = 7")
		}
		for _, column := range []string{"chart", "version", "version_key", "sort_key", "tag", "file", "archive", "content", "manifest", "config", "publisher", "door", "fragment"} {
			statements = append(statements, "UPDATE release SET "+column+" = 'x'")
		}
		statements = append(statements, "UPDATE project SET name = 'x'", "UPDATE project SET kind = 'x'", "UPDATE project SET id = 7")
		if d.driver == "pgx" {
			statements = append(statements, "TRUNCATE leaf", "TRUNCATE tile", "TRUNCATE release", "TRUNCATE project CASCADE", "TRUNCATE head")
		}
		for _, statement := range statements {
			_, err := db.Exec(statement)
			if err == nil {
				t.Errorf("%s: done", statement)
				continue
			}
			if said := err.Error(); !strings.Contains(said, "never") && !strings.Contains(said, "append-only") && !strings.Contains(said, "keeps its name") {
				t.Errorf("%s: refused for another reason: %v", statement, err)
			}
		}
		if after := dump(t, db); after != before {
			t.Errorf("the tables changed from\n%s\nto\n%s", before, after)
		}
	})
}

func dump(t testing.TB, db *sql.DB) string {
	t.Helper()
	var b strings.Builder
	for _, query := range []string{
		"SELECT COUNT(*), SUM(id), MAX(version || archive || provenance || fragment) FROM release", "SELECT COUNT(*), SUM(idx), MAX(entry) FROM leaf",
		"SELECT COUNT(*), MAX(n), MAX(root) FROM tile", "SELECT COUNT(*), MAX(id), MAX(name) FROM project",
	} {
		if d := strings.Contains(query, "fragment"); d {
			query = strings.ReplaceAll(query, " || fragment", "")
		}
		var n, sum int64
		var text []byte
		if err := db.QueryRow(strings.ReplaceAll(strings.ReplaceAll(query, "MAX(entry)", "MIN('')"), "MAX(root)", "MIN('')")).Scan(&n, &sum, &text); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		fmt.Fprintf(&b, "%d %d %s\n", n, sum, text)
	}
	return b.String()
}

// TestDamagedLog changes rows of the log as a bad disk or an intruder would,
// and expects that nothing is signed or proven on top of it.
func TestDamagedLog(t *testing.T) {
	if testing.Short() {
		t.Skip("three hundred entries for each damage, one after the other")
	}
	t.Parallel()
	for name, damage := range map[string]string{
		"hash of a new leaf": "UPDATE leaf SET hash = (SELECT hash FROM leaf WHERE log = 1 AND idx = 0) WHERE log = 1 AND idx = 299",
		"root of a tile":     "UPDATE tile SET root = (SELECT hash FROM leaf WHERE log = 1 AND idx = 0) WHERE log = 1",
		"lost leaf":          "DELETE FROM leaf WHERE log = 1 AND idx = 298",
		"signed root":        "UPDATE head SET root = (SELECT hash FROM leaf WHERE log = 1 AND idx = 0) WHERE log = 1",
		"signed size":        "UPDATE head SET size = size - 1 WHERE log = 1",
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d database) {
				s := d.open(t, nil)
				someProject(t, s)
				for range 299 {
					if err := record(t, s); err != nil {
						t.Fatal(err)
					}
				}
				s.Close()
				d.unguard(t, "leaf", "leaf_keep")
				d.unguard(t, "tile", "tile_keep")
				if d.driver == "sqlite" {
					d.unguard(t, "leaf", "leaf_freeze")
					d.unguard(t, "tile", "tile_freeze")
				}
				exec(t, d.behind(t), damage)
				s, err := d.try(t, nil)
				if err == nil {
					defer s.Close()
					_, err = s.LogInfo(t.Context())
					if werr := record(t, s); problem.KindOf(werr) != problem.Disproven {
						t.Errorf("a write ended with %v", werr)
					}
					if _, perr := s.Prove(t.Context(), 3); problem.KindOf(perr) != problem.Disproven {
						t.Errorf("a proof ended with %v", perr)
					}
				}
				if problem.KindOf(err) != problem.Disproven {
					t.Errorf("the log was read with %v", err)
				}
			})
		})
	}
}

// TestDamagedLeaf changes an old leaf, which no root shows that is computed
// from the right edge. No proof of it is handed out, and the others hold.
func TestDamagedLeaf(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		someProject(t, s)
		for range 299 {
			if err := record(t, s); err != nil {
				t.Fatal(err)
			}
		}
		if d.driver == "sqlite" {
			d.unguard(t, "leaf", "leaf_freeze")
		} else {
			d.unguard(t, "leaf", "leaf_keep")
		}
		exec(t, d.behind(t), "UPDATE leaf SET entry = (SELECT entry FROM leaf WHERE log = 1 AND idx = 6) WHERE log = 1 AND idx = 5")
		if _, err := s.Prove(t.Context(), 5); problem.KindOf(err) != problem.Disproven {
			t.Fatalf("a proof of a changed leaf ended with %v", err)
		}
		for _, i := range []int64{4, 6, 299} {
			if _, err := s.Prove(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestRollback puts the database of a running server back to an older state.
func TestRollback(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		someProject(t, s)
		db := d.behind(t)
		exec(t, db, "CREATE TABLE kept AS SELECT * FROM head")
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"leaf"} {
			d.unguard(t, table, table+"_keep")
		}
		exec(t, db, "DELETE FROM leaf WHERE log = 1 AND idx >= (SELECT size FROM kept WHERE log = 1)", "DELETE FROM leaf WHERE log = 2 AND idx >= (SELECT size FROM kept WHERE log = 2)",
			"UPDATE head SET size = (SELECT size FROM kept k WHERE k.log = head.log), root = (SELECT root FROM kept k WHERE k.log = head.log), checkpoint = (SELECT checkpoint FROM kept k WHERE k.log = head.log)")
		for range 2 { // and not only once
			refused(t, record(t, s), problem.Unavailable, "read-only")
		}
	})
}

// undecided takes away what decides a race: the unique indexes of releases, and
// of the tags behind them.
func (d database) undecided(t *testing.T) {
	exec(t, d.behind(t), "DROP INDEX release_version", "DROP INDEX release_file",
		"CREATE TABLE free AS SELECT * FROM tag", "DROP TABLE tag", "ALTER TABLE free RENAME TO tag")
}

// TestLosingRace shows that the race of the suite notices when the database no
// longer decides: without the unique indexes the same race must go wrong.
func TestLosingRace(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		p := someProject(t, s)
		d.undecided(t)
		err := storetest.Race(t.Context(), p, 3, 64, s)
		if err == nil || !strings.Contains(err.Error(), "two writers released") {
			t.Fatalf("nothing keeps a version from being released twice, and the race ended with %v", err)
		}
	})
}

// TestReplicas runs two stores on one PostgreSQL, as two servers do.
func TestReplicas(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	stores := []storetest.LedgerStore{d.open(t, nil), d.open(t, nil)}
	p := someProject(t, stores[0].(*sqlstore.Store))
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	if err := storetest.Race(t.Context(), p, rounds, 64, stores...); err != nil {
		t.Fatal(err)
	}
}

func TestLosingReplicas(t *testing.T) {
	d := newPostgres(t)
	a, b := d.open(t, nil), d.open(t, nil)
	p := someProject(t, a)
	d.undecided(t)
	err := storetest.Race(t.Context(), p, 3, 64, a, b)
	if err == nil || !strings.Contains(err.Error(), "two writers released") {
		t.Fatalf("nothing keeps a version from being released twice, and the race ended with %v", err)
	}
}

// TestDeadlock puts a manifest whose blobs somebody else links in the opposite
// order. PostgreSQL undoes the put to end the deadlock; its caller does not
// notice.
func TestDeadlock(t *testing.T) {
	d := newPostgres(t)
	s := d.open(t, nil)
	p := someProject(t, s)
	x, y := release.Link{Digest: "sha256:x", Size: 1}, release.Link{Digest: "sha256:y", Size: 1}
	if err := s.LinkBlob(t.Context(), p.ID, "demo/r", release.Link{Digest: "sha256:z", Size: 1}, nil); err != nil {
		t.Fatal(err)
	}
	db := d.behind(t)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	link := func(l release.Link) error {
		_, err := tx.Exec("INSERT INTO link (repository, digest, size, small) SELECT id, $1, 1, 0 FROM repository WHERE name = 'demo/r'", l.Digest)
		return err
	}
	// So the store's wait is the one that is looked at first.
	if _, err := tx.Exec("SET LOCAL deadlock_timeout = '60s'"); err != nil {
		t.Fatal(err)
	}
	if err := link(x); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		done <- s.PutManifest(context.Background(), &release.ManifestPut{
			ProjectID: p.ID, Event: someone(), Links: []release.Link{y, x}, Visible: true,
			Manifest: release.Manifest{Repository: "demo/r", Digest: "sha256:m", Bytes: []byte("x")},
		})
	}()
	for waits := 0; waits == 0; { // until the store waits for x
		if err := db.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := link(y); err != nil {
		t.Fatalf("the wrong side was undone: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := s.Manifest(t.Context(), "demo/r", "sha256:m"); err != nil {
		t.Fatal(err)
	}
}

// TestReconnect ends the writer's connection behind its back, as a restart of
// PostgreSQL does. The next write succeeds.
func TestReconnect(t *testing.T) {
	d := newPostgres(t)
	s := d.open(t, nil)
	someProject(t, s)
	for range 3 {
		exec(t, d.behind(t), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHeldDatabase shows what becomes of writers while another process holds
// SQLite's one lock: they are told so, and it is no internal error.
func TestHeldDatabase(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits as long as SQLite does, ten seconds")
	}
	d := newSQLite(t)
	s := d.open(t, nil)
	someProject(t, s)
	conn, err := d.behind(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	refused(t, record(t, s), problem.Unavailable, "database")
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := record(t, s); err != nil {
		t.Fatal(err)
	}
}

// TestBadAddress opens databases that are not there.
func TestBadAddress(t *testing.T) {
	for name, cfg := range map[string]sqlstore.Config{
		"no server":  {Postgres: "host=" + t.TempDir() + " user=x dbname=x password=very-secret"},
		"not a file": {SQLite: t.TempDir()},
		"not a DSN":  {Postgres: "postgres://user:very-secret@host:notaport/x"},
	} {
		keys := storetest.Keys(t)
		cfg.Origin, cfg.Signer, cfg.AuditSigner = storetest.Origin, keys.Signer, keys.AuditSigner
		_, err := sqlstore.Open(t.Context(), cfg)
		if err == nil || errors.Is(err, sql.ErrNoRows) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
		t.Log(err)
	}
}
