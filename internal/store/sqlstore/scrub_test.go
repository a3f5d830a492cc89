package sqlstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// scrubbed is a registry with some history on one database, and the way behind
// its back. The releases of project demo are web 1.0.0 (plain), 1.1.0 (its
// provenance came later), 1.2.0 (yanked) and db 1.0.0 (with provenance); the
// release log has more than a tile of leaves.
type scrubbed struct {
	*testing.T
	place    database
	behind   *sql.DB
	blobs    string // the folder
	releases map[string]release.Release
	clock    *time.Time // of the services; passes are due by it
}

var somebody = release.Caller{Principal: access.Principal{Kind: access.KindSystem, ID: "test", Name: "test", Grants: []access.Grant{
	{ID: "1", Role: access.RoleInstanceAdmin, Project: "*"}, {ID: "2", Role: access.RoleMaintainer, Project: "*"},
}}, Door: audit.DoorAPI, Source: audit.Source{IP: "192.0.2.7", UserAgent: "helm"}}

func auditKey(t testing.TB) string {
	t.Helper()
	_, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{2}, 64)), storetest.Origin+"/audit")
	if err != nil {
		t.Fatal(err)
	}
	return vkey
}

func verifiers(t testing.TB) (log, trail note.Verifiers) {
	t.Helper()
	v, err := tlog.NewVerifier(storetest.Keys(t).VerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tlog.NewVerifier(auditKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return note.VerifierList(v), note.VerifierList(a)
}

// start opens the database and a service on it, as a server that starts does.
func (s *scrubbed) start(now func() time.Time) (*sqlstore.Store, *release.Service) {
	s.Helper()
	store, err := s.place.try(s, nil)
	s.ok(err)
	return store, s.service(store, now)
}

func (s *scrubbed) service(store *sqlstore.Store, now func() time.Time) *release.Service {
	s.Helper()
	dir, err := blob.OpenDir(s.blobs)
	s.ok(err)
	cfg := release.ScrubConfig{Stored: store, Scrubs: store, Every: time.Hour}
	cfg.LogKeys, cfg.AuditKeys = verifiers(s)
	return release.New(release.Config{
		Store: store, Blobs: dir, Limits: chart.DefaultLimits(), Secret: bytes.Repeat([]byte("s"), 32), Service: storetest.Origin, Scrub: cfg, Now: now,
	})
}

func (s *scrubbed) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scrubbed) exec(statements ...string) {
	s.Helper()
	for _, q := range statements {
		if _, err := s.behind.Exec(q); err != nil {
			s.Fatalf("%s: %v", q, err)
		}
	}
}

func newScrubbed(t *testing.T, d database) *scrubbed {
	t.Helper()
	s := &scrubbed{T: t, place: d, blobs: filepath.Join(t.TempDir(), "blobs"), releases: map[string]release.Release{}, clock: new(time.Now())}
	store, svc := s.start(nil)
	ctx := t.Context()
	_, err := svc.CreateProject(ctx, somebody, "demo", release.ProjectOptions{})
	s.ok(err)
	prov := func(name, version string, archive []byte) []byte {
		return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: %s\nversion: %q\n\n...\nfiles:\n  %s: sha256:%x\n"+
			"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBAAA0\n-----END PGP SIGNATURE-----\n", name, version, chart.FileName(name, version), sha256.Sum256(archive))
	}
	push := func(name, version string, signed bool) []byte {
		// Larger than what is withheld of every blob until it has proven true.
		var noise strings.Builder
		for sum := sha256.Sum256([]byte(name + version)); noise.Len() < 300<<10; sum = sha256.Sum256(sum[:]) {
			fmt.Fprintf(&noise, "%x", sum)
		}
		archive := charttest.Build(t, name, version, map[string]string{"README.md": name + version, "files/noise": noise.String()})
		var p []byte
		if signed {
			p = prov(name, version, archive)
		}
		receipt, err := svc.PushArchive(ctx, somebody, "demo", bytes.NewReader(archive), p, release.PushOptions{})
		s.ok(err)
		s.releases[name+"@"+version] = receipt.Release
		return archive
	}
	push("web", "1.0.0", false)
	late := push("web", "1.1.0", false)
	push("web", "1.2.0", false)
	push("db", "1.0.0", true)
	_, err = svc.AttachProvenance(ctx, somebody, "demo", prov("web", "1.1.0", late))
	s.ok(err)
	_, err = svc.Yank(ctx, somebody, "demo", "web", "1.2.0", "broken", "it does not start")
	s.ok(err)
	// What is withheld is as the log says, too.
	push("web", "2.0.0", false)
	push("web", "3.0.0", false)
	ann, bob := person("ann", access.RoleMaintainer), person("bob", access.RoleApprover)
	for _, c := range []release.Caller{ann, bob} {
		s.ok(store.CreateAccount(ctx, release.Account{ID: c.Principal.ID, Name: c.Principal.Name, Kind: release.KindUser}, "",
			audit.Event{Name: audit.AccountCreated, Actor: audit.Actor{Kind: access.KindSystem}, Door: audit.DoorServer, Outcome: audit.Outcome{Result: audit.Allowed}}, time.Now().Add(-time.Hour)))
	}
	s.releases["web@2.0.0"], err = svc.SetQuarantine(ctx, ann, "demo", "web", "2.0.0", "malware", "")
	s.ok(err)
	asked, err := svc.RequestTombstone(ctx, ann, "demo", "web", "3.0.0", "secret", "")
	s.ok(err)
	_, err = svc.ApproveRequest(ctx, bob, asked.ID, "")
	s.ok(err)
	s.ok(store.Anchor(ctx))
	// As many leaves as fill a tile, and some more.
	var wg sync.WaitGroup
	for i := range 270 {
		wg.Go(func() {
			_, err := svc.SetProject(ctx, somebody, "demo", release.ProjectChange{Public: new(i%2 == 0)})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, err = svc.SetProject(ctx, somebody, "demo", release.ProjectChange{Public: new(true)})
	s.ok(err)
	s.ok(store.Anchor(ctx))
	s.ok(store.Close())
	s.behind = d.behind(t)
	// As the owner of a database can.
	triggers := "SELECT 'DROP TRIGGER ' || name FROM sqlite_master WHERE type = 'trigger'"
	if d.driver == "pgx" {
		triggers = "SELECT DISTINCT 'ALTER TABLE ' || c.relname || ' DISABLE TRIGGER ALL' FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
	}
	rows, err := s.behind.Query(triggers)
	s.ok(err)
	var drop []string
	for rows.Next() {
		var q string
		s.ok(rows.Scan(&q))
		drop = append(drop, q)
	}
	s.ok(rows.Err())
	if len(drop) == 0 {
		t.Fatal("there are no triggers")
	}
	s.exec(drop...)
	return s
}

// examine compares everything as a check of a stopped server does.
func (s *scrubbed) examine() []release.Finding {
	s.Helper()
	cfg := s.place.config
	cfg.Origin, cfg.VerifierKey, cfg.AuditVerifierKey = storetest.Origin, storetest.Keys(s).VerifierKey, auditKey(s)
	store, err := sqlstore.OpenToRead(s.Context(), cfg)
	s.ok(err)
	defer store.Close()
	dir, err := blob.OpenDir(s.blobs)
	s.ok(err)
	var out []release.Finding
	e := release.Examination{Stored: store, Blobs: dir, Projects: store.AllProjects, Origin: storetest.Origin,
		Find: func(f release.Finding) error { out = append(out, f); return nil }}
	e.LogKeys, e.AuditKeys = verifiers(s)
	s.ok(e.Run(s.Context(), &release.ScrubState{}))
	return out
}

func kinds(found []release.Finding) string {
	var out []string
	for _, f := range found {
		out = append(out, string(f.Kind))
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// file is where a blob lies.
func (s *scrubbed) file(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(s.blobs, "blobs", "sha256", hex[:2], hex)
}

// person is somebody who can be the first or the second of two.
func person(name string, role access.Role) release.Caller {
	return release.Caller{Principal: access.Principal{Kind: access.KindUser, ID: "usr-" + name, Name: name, Grants: []access.Grant{{ID: "grn-" + name, Role: role, Project: "*"}}}, Door: audit.DoorAPI}
}

// attack is what somebody does who can write to the files or to the tables.
type attack struct {
	name    string
	do      func(s *scrubbed)
	undo    func(s *scrubbed)
	kinds   string // what is found, in order, once each
	says    string // in one of the messages
	missing bool   // the event is integrity.missing
	// pull is a release that is not served any more, by archive and by manifest; "" where the attack
	// is not on one.
	pull string
	// start says that a server does not even start on it.
	start bool
}

func statements(do, undo string) (func(*scrubbed), func(*scrubbed)) {
	return func(s *scrubbed) { s.exec(do) }, func(s *scrubbed) { s.exec(undo) }
}

// rewrite changes a file, and puts it back.
func rewrite(of string, change func(path string, b []byte) error) (func(*scrubbed), func(*scrubbed)) {
	var before []byte
	return func(s *scrubbed) {
			path := s.file(s.releases[of].Archive)
			var err error
			before, err = os.ReadFile(path)
			s.ok(err)
			s.ok(os.Chmod(path, 0o600))
			s.ok(change(path, bytes.Clone(before)))
		}, func(s *scrubbed) {
			s.ok(os.WriteFile(s.file(s.releases[of].Archive), before, 0o600))
		}
}

func attacks(s *scrubbed) []attack {
	web, late, yanked, db := s.releases["web@1.0.0"], s.releases["web@1.1.0"], s.releases["web@1.2.0"], s.releases["db@1.0.0"]
	var out []attack
	add := func(a attack, do, undo func(*scrubbed)) { a.do, a.undo = do, undo; out = append(out, a) }
	// set changes a column; undone, it has again what it had.
	set := func(a attack, table, column, where, to string) {
		do, undo := statements("UPDATE "+table+" SET "+column+" = "+to+" WHERE "+where,
			"UPDATE "+table+" SET "+column+" = (SELECT was FROM kept) WHERE "+where)
		add(a, func(s *scrubbed) {
			s.exec("DROP TABLE IF EXISTS kept", "CREATE TABLE kept AS SELECT "+column+" AS was FROM "+table+" WHERE "+where)
			do(s)
		}, undo)
	}
	id := func(r release.Release) string { return fmt.Sprintf("id = %d", r.ID) }
	hexOf := func(b string) string { // a literal of bytes
		if s.place.driver == "pgx" {
			return fmt.Sprintf("decode('%x', 'hex')", b)
		}
		return fmt.Sprintf("x'%x'", b)
	}

	do, undo := rewrite("web@1.0.0", func(path string, b []byte) error { b[len(b)/2] ^= 1; return os.WriteFile(path, b, 0o600) })
	add(attack{name: "a bit flipped in an archive", kinds: "bytes-changed", says: "the stored archive of demo/web@1.0.0 is not the one in the log", pull: "web@1.0.0"}, do, undo)
	do, undo = rewrite("web@1.0.0", func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)-7], 0o600) })
	add(attack{name: "an archive cut short", kinds: "bytes-changed", says: "archive of demo/web@1.0.0", pull: "web@1.0.0"}, do, undo)
	do, undo = rewrite("db@1.0.0", func(path string, _ []byte) error { return os.Remove(path) })
	add(attack{name: "an archive deleted", kinds: "bytes-missing", says: "the archive of demo/db@1.0.0 is missing", missing: true, pull: "db@1.0.0"}, do, undo)

	other := "'" + db.Archive + "'"
	set(attack{name: "another archive", kinds: "release-changed", says: "archive " + db.Archive, pull: "web@1.0.0"}, "release", "archive", id(web), other)
	set(attack{name: "another time", kinds: "release-changed", says: "time ", pull: "web@1.0.0"}, "release", "time", id(web), "0")
	set(attack{name: "another publisher", kinds: "release-changed", says: "publisher mallory", pull: "web@1.0.0"}, "release", "publisher", id(web), "'mallory'")
	set(attack{name: "another version", kinds: "release-changed", says: "version 9.9.9", pull: "web@1.0.0"}, "release", "version", id(web), "'9.9.9'")
	set(attack{name: "another size", kinds: "release-changed", says: "size 1", pull: "web@1.0.0"}, "release", "size", id(web), "1")
	set(attack{name: "a provenance of another release", kinds: "release-changed", says: "provenance " + db.Provenance, pull: "web@1.0.0"}, "release", "provenance", id(web), "'"+db.Provenance+"'")
	set(attack{name: "a late provenance taken away", kinds: "release-changed", says: "provenance none"}, "release", "provenance", id(late), "''")
	set(attack{name: "a yank taken back", kinds: "release-changed", says: "state active"}, "release", "state", id(yanked), "'active'")
	set(attack{name: "another reason to yank", kinds: "release-changed", says: "yank reason security", pull: "web@1.2.0"}, "release", "yank_reason", id(yanked), "'security'")
	set(attack{name: "a release hidden", kinds: "release-changed", says: "state yanked"}, "release", "state", id(web), "'yanked'")
	set(attack{name: "another index entry", kinds: "release-changed", says: "index entry"}, "release", "fragment", id(web), fmt.Sprintf("(SELECT fragment FROM release WHERE id = %d)", db.ID))
	set(attack{name: "another digest in the index entry", kinds: "release-changed", says: "index entry"}, "release", "fragment", id(web),
		hexOf(`{"name":"web","version":"1.0.0","urls":["https://evil.example/web-1.0.0.tgz"],"created":"2026-01-01T00:00:00Z","digest":"`+strings.TrimPrefix(web.Archive, "sha256:")+`"}`))
	set(attack{name: "a tag on another manifest", kinds: "release-changed", says: "tag stands on " + db.Manifest}, "tag", "digest", fmt.Sprintf("release = %d", web.ID), "'"+db.Manifest+"'")
	set(attack{name: "a tag on the manifest of another version", kinds: "release-changed", says: "tag stands on " + late.Manifest}, "tag", "digest", fmt.Sprintf("release = %d", web.ID), "'"+late.Manifest+"'")
	set(attack{name: "a listed tag hidden", kinds: "release-changed", says: "tag shown otherwise"}, "tag", "hidden", fmt.Sprintf("release = %d", web.ID), "1")
	blocked, gone := s.releases["web@2.0.0"], s.releases["web@3.0.0"]
	set(attack{name: "a quarantine taken back", kinds: "release-changed", says: "state active"}, "release", "state", id(blocked), "'active'")
	set(attack{name: "the tag of a release in quarantine", kinds: "release-changed", says: "tag shown otherwise"}, "tag", "hidden", fmt.Sprintf("release = %d", blocked.ID), "0")
	set(attack{name: "a tombstone taken back", kinds: "release-changed", says: "state active"}, "release", "state", id(gone), "'active'")
	set(attack{name: "the tag of a tombstone", kinds: "release-changed", says: "tag shown otherwise"}, "tag", "hidden", fmt.Sprintf("release = %d", gone.ID), "0")
	set(attack{name: "the index entry of a tombstone", kinds: "release-changed", says: "index entry, which was emptied"}, "release", "fragment", id(gone), fmt.Sprintf("(SELECT fragment FROM release WHERE id = %d)", web.ID))
	set(attack{name: "the bytes of a manifest swapped", kinds: "bytes-changed", says: "the stored manifest of demo/web@1.0.0 is not the one in the log"}, "manifest", "bytes", "digest = '"+web.Manifest+"'", hexOf("{}"))
	set(attack{name: "the bytes of a config swapped", kinds: "bytes-changed", says: "the stored config of demo/web@1.0.0"}, "blob", "bytes", "digest = '"+web.Config+"'", hexOf("{}"))
	set(attack{name: "the bytes of a provenance swapped", kinds: "bytes-changed", says: "the stored provenance of demo/db@1.0.0"}, "blob", "bytes", "digest = '"+db.Provenance+"'", hexOf("no signature"))

	columns := "project, chart, version, version_key, sort_key, tag, file, archive, size, content, manifest, config, publisher, door, time, legacy, fragment, state, generation, provenance"
	values := fmt.Sprintf("project, chart, '6.6.6', '6.6.6', sort_key, '6.6.6', 'web-6.6.6.tgz', archive, size, content, manifest, config, publisher, door, time, legacy, fragment, state, generation, provenance FROM release WHERE id = %d", web.ID)
	for where, at := range map[string]string{"in the place of another leaf": "20", "before the log": "-5", "behind the log": "100000"} {
		do, undo = statements("INSERT INTO release (id, "+columns+") SELECT "+at+", "+values, "DELETE FROM release WHERE id = "+at)
		add(attack{name: "a release without a leaf, " + where, kinds: "release-unlogged", says: "demo/web@6.6.6", pull: "web@6.6.6"}, do, undo)
	}
	do, undo = statements("INSERT INTO tag (repository, name, digest, release, hidden) SELECT repository, '7.7.7', digest, 0, 0 FROM tag WHERE release = "+fmt.Sprint(web.ID), "DELETE FROM tag WHERE name = '7.7.7'")
	add(attack{name: "a tag without a release", kinds: "tag-unlogged", says: "the tag 7.7.7 of demo/web"}, do, undo)
	do, undo = statements(fmt.Sprintf("INSERT INTO tag (repository, name, digest, release, hidden) SELECT repository, 'latest', digest, %d, 0 FROM tag WHERE release = %[1]d", web.ID), "DELETE FROM tag WHERE name = 'latest'")
	add(attack{name: "a second tag of a release", kinds: "tag-unlogged", says: "the tag latest of demo/web"}, do, undo)
	do, undo = statements(fmt.Sprintf("UPDATE release SET id = -77 WHERE id = %d", web.ID), fmt.Sprintf("UPDATE release SET id = %d WHERE id = -77", web.ID))
	add(attack{name: "a release moved", kinds: "release-missing release-unlogged tag-unlogged", says: "the database lacks the release demo/web@1.0.0", missing: true, pull: "web@1.0.0"}, do, undo)

	set(attack{name: "a project made public", kinds: "project-changed", says: "project demo is not as the log says: visibility private"}, "project", "public", "name = 'demo'", "0")
	set(attack{name: "another policy", kinds: "project-changed", says: "text of the policy"}, "project", "policy", "name = 'demo'", `'{"require_provenance":true}'`)

	leaf := func(name string, index int64) string { return fmt.Sprintf("log = %s AND idx = %d", name, index) }
	set(attack{name: "a leaf changed", kinds: "leaf-changed", says: fmt.Sprintf("leaf %d of the release log does not have the hash", web.ID), pull: "web@1.0.0"}, "leaf", "entry", leaf("1", web.ID), hexOf("chartkeep/other/v9\n"))
	set(attack{name: "a leaf taken away", kinds: "leaf-missing", says: fmt.Sprintf("leaf %d of the release log", web.ID)}, "leaf", "idx", "log = 1 AND idx IN ("+fmt.Sprint(web.ID)+", -3)", "-3")
	set(attack{name: "a tile changed", kinds: "tile-changed", says: "tile 0 of level 0 of the release log is not that of its leaves", pull: "web@1.0.0"}, "tile", "hashes", "log = 1 AND level = 0 AND n = 0", hexOf(strings.Repeat("x", 8192)))
	set(attack{name: "the root of a tile changed", kinds: "tile-changed", says: "tile 0 of level 0 of the release log", start: true}, "tile", "root", "log = 1 AND level = 0 AND n = 0", hexOf(strings.Repeat("x", 32)))
	set(attack{name: "the head moved", kinds: "log-head log-root", says: "another than the one that the log's key signed", start: true}, "head", "root", "log = 1", hexOf(strings.Repeat("x", 32)))
	set(attack{name: "the signature of the head", kinds: "log-head", says: "not signed by the log's key", start: true}, "head", "checkpoint", "log = 1", hexOf("unsigned\n"))

	set(attack{name: "an event changed", kinds: "leaf-changed", says: "leaf 2 of the audit log does not have the hash"}, "leaf", "entry", leaf("2", 2), hexOf("{}"))
	set(attack{name: "an event renamed in its row", kinds: "audit-row-changed", says: "event 2 of the audit trail, release.accepted, differs from its leaf: event login.ok"}, "audit", "action", "idx = 2", "'login.ok'")
	set(attack{name: "another address in an event's row", kinds: "audit-row-changed", says: "differs from its leaf: source"}, "audit", "ip", "idx = 2", "'198.51.100.1'")
	set(attack{name: "an event's row moved away", kinds: "audit-row-missing", says: "the row of event 2 of the audit trail"}, "audit", "idx", "idx = 2 OR idx = -2", "-2")
	return out
}

// TestScrubAttacks plays whoever can write to the tables and files. Each attack
// is found by a check of the stopped server and by the scrub of a running
// one, with its own words; it is recorded once, and what it is about is not
// served. When it is undone, nothing is found.
func TestScrubAttacks(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		s := newScrubbed(t, d)
		if found := s.examine(); len(found) != 0 {
			t.Fatalf("a clean database: %+v", found)
		}
		for i, a := range attacks(s) {
			// What is compared is the same code; what differs is how rows are
			// read, of which some attacks of each table tell enough.
			if (d.driver == "pgx" || testing.Short()) && i%5 != 0 {
				continue
			}
			t.Run(a.name, func(t *testing.T) {
				s := *s
				s.T = t
				a.do(&s)
				undone := false
				defer func() {
					if !undone {
						a.undo(&s)
					}
				}()
				found := s.examine()
				if got := kinds(found); got != a.kinds {
					t.Errorf("found %s, want %s: %+v", got, a.kinds, found)
				}
				if !slices.ContainsFunc(found, func(f release.Finding) bool { return strings.Contains(f.Message, a.says) }) {
					t.Errorf("nothing says %q: %+v", a.says, found)
				}
				s.attacked(&a)
				a.undo(&s)
				undone = true
				if found := s.examine(); len(found) != 0 {
					t.Fatalf("after it was undone: %+v", found)
				}
			})
		}
	})
}

// attacked starts a server on what was attacked.
func (s *scrubbed) attacked(a *attack) {
	s.Helper()
	ctx := s.Context()
	store, err := s.place.try(s, nil)
	if err == nil && a.start {
		_, err = store.LogInfo(ctx)
		store.Close()
	}
	if a.start {
		if problem.KindOf(err) != problem.Disproven {
			s.Fatalf("the server starts: %v", err)
		}
		return
	}
	s.ok(err)
	defer store.Close()
	now := func() time.Time { return *s.clock }
	svc := s.service(store, now)
	s.notServed(svc, a, false)
	pass := func() []release.Finding {
		*s.clock = s.clock.Add(2 * time.Hour)
		s.ok(svc.Scrub(ctx))
		view, err := svc.ScrubStatus(ctx, somebody)
		s.ok(err)
		if view.Running || view.Last == nil || !view.Last.Ended.Equal(now()) {
			s.Fatalf("no complete pass: %+v", view.ScrubState)
		}
		return view.Open
	}
	name := audit.IntegrityMismatch
	if a.missing {
		name = audit.IntegrityMissing
	}
	if got := kinds(pass()); got != a.kinds {
		s.Errorf("the scrub finds %s, want %s", got, a.kinds)
	}
	events := func() int {
		list, err := store.AuditRecords(ctx, release.AuditFilter{Action: string(name), Limit: 1000})
		s.ok(err)
		return len(list)
	}
	n := events()
	if n == 0 {
		s.Errorf("no event %s", name)
	}
	pass()
	if again := events(); again != n {
		s.Errorf("the second pass records %d more", again-n)
	}
	s.notServed(svc, a, true)
	// Another process learns of it, and serves it no more than this one.
	other, err := s.place.try(s, nil)
	s.ok(err)
	defer other.Close()
	learns := s.service(other, now)
	s.ok(learns.Scrub(ctx))
	s.notServed(learns, a, true)
	a.undo(s)
	defer a.do(s)
	if open := pass(); len(open) != 0 {
		s.Errorf("open after it was undone: %+v", open)
	}
	if a.pull != "" && s.releases[a.pull].ID != 0 {
		// A server on SQLite remembers rows, which nobody else should change.
		fresh, err := s.place.try(s, nil)
		s.ok(err)
		defer fresh.Close()
		chartName, version, _ := strings.Cut(a.pull, "@")
		_, b, err := s.service(fresh, now).OpenArchive(ctx, somebody, "demo", chartName+"-"+version+".tgz")
		s.ok(err)
		defer b.Close()
		if _, err := b.WriteTo(io.Discard); err != nil {
			s.Errorf("not served after it was undone: %v", err)
		}
	}
}

// notServed tries to get what was attacked. Once it is known, not even the
// beginning of an archive leaves.
func (s *scrubbed) notServed(svc *release.Service, a *attack, known bool) {
	s.Helper()
	if a.pull == "" {
		return
	}
	name, version, _ := strings.Cut(a.pull, "@")
	_, b, err := svc.OpenArchive(s.Context(), somebody, "demo", name+"-"+version+".tgz")
	if err == nil {
		defer b.Close()
		var got bytes.Buffer
		_, err = b.WriteTo(&got)
		if got.Len() > 0 && known {
			s.Errorf("%d bytes of it are served", got.Len())
		}
		if rerr := b.RangeOK(); rerr == nil {
			s.Error("ranges of it are served")
		}
	}
	if err == nil || errors.Is(err, context.Canceled) {
		s.Errorf("%s is served", a.pull)
	}
	if strings.HasPrefix(a.kinds, "release-changed") || strings.HasPrefix(a.kinds, "leaf") || strings.HasPrefix(a.kinds, "tile") {
		if problem.KindOf(err) != problem.Disproven && problem.KindOf(err) != problem.NotFound {
			s.Errorf("refused with %v", err)
		}
		if _, err := svc.Release(s.Context(), somebody, "demo", name, version); err == nil {
			s.Errorf("%s is shown", a.pull)
		}
	}
}

// blobsBefore does something before a blob is opened.
type blobsBefore struct {
	*blob.Dir
	before func(digest string)
}

func (b blobsBefore) Open(ctx context.Context, digest string) (release.BlobFile, error) {
	b.before(digest)
	return b.Dir.Open(ctx, digest)
}

// TestScrubMeetsTombstone: bytes that a tombstone takes between the comparison
// of their release and their hashing are not missing. Those that nobody took are.
func TestScrubMeetsTombstone(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		s := newScrubbed(t, d)
		store, svc := s.start(func() time.Time { return *s.clock })
		defer store.Close()
		dir, err := blob.OpenDir(s.blobs)
		s.ok(err)
		taken, lost := s.releases["web@1.0.0"], s.releases["web@1.1.0"]
		var once sync.Once
		var found []release.Finding
		e := release.Examination{Stored: store, Projects: store.AllProjects, Origin: storetest.Origin, Find: func(f release.Finding) error { found = append(found, f); return nil }}
		e.LogKeys, e.AuditKeys = verifiers(t)
		e.Blobs = blobsBefore{dir, func(digest string) {
			if digest != taken.Archive {
				return
			}
			once.Do(func() {
				asked, err := svc.RequestTombstone(t.Context(), person("ann", access.RoleMaintainer), "demo", "web", "1.0.0", "secret", "")
				if err == nil {
					_, err = svc.ApproveRequest(t.Context(), person("bob", access.RoleApprover), asked.ID, "")
				}
				if err == nil { // its bytes go when nobody can be reading them any more
					*s.clock = s.clock.Add(time.Hour)
					err = svc.Protect(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}}
		digits := strings.TrimPrefix(lost.Archive, "sha256:")
		s.ok(os.Remove(filepath.Join(s.blobs, "blobs", "sha256", digits[:2], digits)))
		s.ok(e.Run(t.Context(), &release.ScrubState{}))
		if _, err := dir.Open(t.Context(), taken.Archive); problem.KindOf(err) != problem.NotFound {
			t.Fatalf("the tombstone took no bytes: %v", err)
		}
		if len(found) != 1 || found[0].Kind != release.BytesMissing || found[0].Logged != lost.Archive {
			t.Errorf("found %+v", found)
		}
	})
}

func TestScrubStore(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		storetest.Scrubs(t, func(t *testing.T) func(*testing.T, func() time.Time) storetest.ScrubStore {
			place := newSQLite
			if d.driver == "pgx" {
				place = newPostgres
			}
			at := place(t)
			return func(t *testing.T, now func() time.Time) storetest.ScrubStore { return at.open(t, now) }
		})
	})
}

// TestLateProvenance fills the table for attachments that were made before
// there was one.
func TestLateProvenance(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		s := newScrubbed(t, d)
		var want, got int64
		s.ok(s.behind.QueryRow("SELECT idx FROM late_provenance").Scan(&want))
		text, err := os.ReadFile("migrations/0006_scrub.sql")
		s.ok(err)
		_, rest, ok := strings.Cut(string(text), map[string]string{"sqlite": "-- +sqlite\n", "pgx": "-- +postgres\n"}[d.driver])
		fill, _, _ := strings.Cut(rest, "-- +end")
		if !ok {
			t.Fatal("the migration fills nothing")
		}
		s.exec("DELETE FROM late_provenance", fill)
		var release int64
		s.ok(s.behind.QueryRow("SELECT release, idx FROM late_provenance").Scan(&release, &got))
		if got != want || release != s.releases["web@1.1.0"].ID {
			t.Errorf("release %d has leaf %d, want %d and %d", release, got, s.releases["web@1.1.0"].ID, want)
		}
	})
}

// TestScrubResumes ends a pass in the middle, and lets another process go on.
func TestScrubResumes(t *testing.T) {
	s := newScrubbed(t, newSQLite(t))
	store, err := s.place.try(t, nil)
	s.ok(err)
	defer store.Close()
	now := func() time.Time { return *s.clock }
	svc := s.service(store, now)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	*s.clock = s.clock.Add(time.Hour)
	if err := svc.Scrub(ctx); err == nil {
		t.Fatal("a pass that was stopped is complete")
	}
	// What was compared is not compared again, but by who cannot know that.
	token, st, err := store.LeaseScrub(t.Context(), now(), time.Minute)
	s.ok(err)
	if token == 0 {
		t.Fatal("the stopped pass is held still")
	}
	st.Running, st.Started, st.Next, st.Seal = true, now(), 256, "forged"
	s.ok(store.SaveScrub(t.Context(), token, st, now(), 0))
	*s.clock = s.clock.Add(time.Hour)
	s.ok(svc.Scrub(t.Context()))
	view, err := svc.ScrubStatus(t.Context(), somebody)
	s.ok(err)
	if view.Last == nil || view.Last.Counts.Releases != 6 || view.Last.Counts.Blobs != 5 || // one has no bytes any more
		len(view.Open) != 0 {
		t.Errorf("a forged place was believed: %+v", view.Last)
	}
	if view.Seal != "" {
		t.Error("the seal is shown")
	}
	// Behind the first 256 leaves there is no release, but all of the log.
	dir, err := blob.OpenDir(s.blobs)
	s.ok(err)
	e := release.Examination{Stored: store, Blobs: dir, Projects: store.AllProjects, Origin: storetest.Origin, Find: func(f release.Finding) error { return errors.New(f.Message) }}
	e.LogKeys, e.AuditKeys = verifiers(t)
	st = release.ScrubState{Next: 256}
	s.ok(e.Run(t.Context(), &st))
	if st.Done.Releases != 0 || st.Done.Leaves < 500 || st.Next != st.Size || st.Size < 270 {
		t.Errorf("resumed at 256: %+v", st)
	}
}
