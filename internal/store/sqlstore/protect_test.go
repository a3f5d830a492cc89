package sqlstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
)

// TestProtectionTriggers tries by hand what undoes a tombstone, or makes one up.
func TestProtectionTriggers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		p := someProject(t, s)
		if err := storetest.Race(t.Context(), p, 1, 2, s); err != nil {
			t.Fatal(err)
		}
		db := d.behind(t)
		if _, err := db.Exec("UPDATE release SET fragment = ''"); err == nil {
			t.Error("an index entry was emptied without a tombstone")
		}
		exec(t, db, "UPDATE release SET state = 'tombstoned'")
		exec(t, db, "UPDATE release SET fragment = ''") // as a tombstone does
		exec(t, db, "INSERT INTO tombstone (release, reason, text, requester, approver, time, idx, request) VALUES (1, 'legal', '', 'a', 'b', 1, 2, 3)")
		exec(t, db, "INSERT INTO quarantine (release, before, open, ending, reason, text, set_by, person, time, idx, lapses, due, confirmed_by, confirmed, ended_by, ended, ended_text) "+
			"VALUES (1, 'active', 1, '', 'legal', '', 'a', 'a', 1, 2, 3, 4, '', 0, '', 0, '')")
		exec(t, db, "INSERT INTO request (kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires, state, due, decider, decider_leaf, decided, effective, answer) "+
			"VALUES ('tombstone', 1, 1, '', '', '', 'legal', '', 'a', '', 1, 2, 'waiting', 2, '', '', 0, 0, '')")
		for _, statement := range []string{
			"UPDATE release SET state = 'active'", "UPDATE release SET fragment = 'x'", "DELETE FROM tombstone", "UPDATE tombstone SET reason = 'x'",
			"DELETE FROM quarantine", "DELETE FROM request", "UPDATE request SET requester = 'x'", "UPDATE request SET document = 'x'", "UPDATE request SET made = 7",
		} {
			_, err := db.Exec(statement)
			if err == nil {
				t.Errorf("%s: done", statement)
				continue
			}
			if said := err.Error(); !strings.Contains(said, "never") && !strings.Contains(said, "append-only") && !strings.Contains(said, "final") {
				t.Errorf("%s: refused for another reason: %v", statement, err)
			}
		}
		// One open request for one thing, one quarantine of a release.
		for _, statement := range []string{
			"INSERT INTO request SELECT id + 1, kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires, state, due, decider, decider_leaf, decided, effective, answer FROM request",
			"INSERT INTO quarantine SELECT id + 1, release, before, open, ending, reason, text, set_by, person, time, idx, lapses, due, confirmed_by, confirmed, ended_by, ended, ended_text FROM quarantine",
		} {
			if _, err := db.Exec(statement); err == nil || !strings.Contains(strings.ToLower(err.Error()), "unique") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

// TestTombstoneBesideLink gives a release a tombstone while another server links
// its config in another repository and has not committed. The config stays.
func TestTombstoneBesideLink(t *testing.T) {
	d := newPostgres(t)
	s := d.open(t, nil)
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := someProject(t, s)
	now := time.Now()
	made := someone()
	made.Name = audit.AccountCreated
	for _, id := range []string{"usr-1", "usr-2"} {
		check(s.CreateAccount(ctx, release.Account{ID: id, Name: id, Kind: release.KindUser}, "", made, now.Add(-time.Hour)))
	}
	got, err := s.Claim(ctx, storetest.Offer(p, "web", "1.0.0", "first"))
	check(err)
	r := got.Release
	check(s.LinkBlob(ctx, p.ID, "demo/other", release.Link{Digest: "sha256:z", Size: 1}, nil)) // so that there is the repository
	req, err := s.CreateRequest(ctx, release.Request{
		Kind: release.RequestTombstone, Project: r.Project, ProjectID: r.ProjectID, ReleaseID: r.ID, Chart: r.Chart, Version: r.Version, Reason: "legal",
		Requester: "usr-1", Made: now, Expires: now.Add(release.RequestLife), State: release.RequestWaiting,
	}, someone())
	check(err)

	db := d.behind(t)
	tx, err := db.Begin()
	check(err)
	defer tx.Rollback()
	_, err = tx.Exec("INSERT INTO blob (digest, bytes) VALUES ($1, 'x') ON CONFLICT DO NOTHING", r.Config) // it is there
	check(err)
	_, err = tx.Exec("INSERT INTO link (repository, digest, size, small) SELECT id, $1, 1, 1 FROM repository WHERE name = 'demo/other'", r.Config)
	check(err)
	done := make(chan error, 1)
	go func() {
		second := someone()
		second.Actor.ID = "usr-2"
		_, err := s.Decide(context.Background(), &release.Verdict{ID: req.ID, State: release.RequestApproved, Now: now.Add(time.Minute), Event: second})
		done <- err
	}()
	for waits := 0; waits == 0; { // until the tombstone waits for the link
		check(db.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waits))
		select {
		case err := <-done:
			t.Fatalf("the tombstone did not wait: %v", err)
		default:
		}
	}
	check(tx.Commit())
	check(<-done)
	if _, err := s.SmallBlob(ctx, r.Config); err != nil {
		t.Errorf("a config that another repository has is gone: %v", err)
	}
	if r, err = s.ReleaseByVersion(ctx, p.ID, "web", "1.0.0"); err != nil || r.State != release.Tombstoned {
		t.Errorf("release %+v, %v", r, err)
	}
}
