package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// judgeTables are those of the judgement.
var judgeTables = []string{"counter", "snapshot", "feed", "policy", "change_window", "waiver", "assessment", "review", "exposure", "plan", "upgrade", "tracker", "ticket"}

// TestJudgeReplicas has two stores on one PostgreSQL judge at once.
func TestJudgeReplicas(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	rounds := 6
	if testing.Short() {
		rounds = 1
	}
	if err := storetest.RaceJudge(t.Context(), someTime, rounds, d.open(t, nil), d.open(t, nil)); err != nil {
		t.Fatal(err)
	}
}

// TestJudgeMigration opens a database that was made before anything was judged.
func TestJudgeMigration(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		someProject(t, s)
		s.Close()
		db := d.behind(t)
		for _, table := range judgeTables {
			exec(t, db, "DROP TABLE "+table)
		}
		exec(t, db, "DELETE FROM migration WHERE name = '0003_judge.sql'")
		s = d.open(t, nil)
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
		for _, step := range judgeSteps(t, s) {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
	})
}

// judgeStep is a writing method with arguments with which it changes something.
type judgeStep struct {
	name string
	do   func() error
}

func digestOf(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func someReview(n int) upgrade.Review {
	return upgrade.Review{Digest: digestOf(n), Deployment: "d", Chart: "c", From: upgrade.Side{Version: "1"}, To: upgrade.Side{Version: "2", Archive: digestOf(77)}}
}

func signing(s *sqlstore.Store, n int) error {
	sign := upgrade.Signoff{Role: upgrade.Reviewer, By: "usr-1", Time: someTime, Accepted: true}
	leaf := tlog.Signoff{
		Deployment: "d", Chart: "c", From: "1", To: "2", Archive: digestOf(77), Review: digestOf(n), Role: "reviewer", Said: tlog.SignoffAccepted, Text: digestOf(78),
		Signer: tlog.Identity{Issuer: "i", Subject: "s"}, Time: someTime,
	}
	_, err := s.SignReview(context.Background(), digestOf(n), sign, leaf, someone(), func(upgrade.Review) (upgrade.ReviewState, error) { return upgrade.ReviewSigned, nil })
	return err
}

// judgeSteps prepares a database, and returns the writing methods in an order
// in which each has something to do.
func judgeSteps(t *testing.T, s *sqlstore.Store) []judgeStep {
	ctx := context.Background()
	var waiver upgrade.Waiver
	var first, second upgrade.Upgrade
	var feed []upgrade.FeedLease
	var tickets []upgrade.Ticket
	ev := someone()
	ev.Name = audit.UpgradePlanned
	sync := func(keys ...string) error {
		var list []upgrade.Exposed
		for _, key := range keys {
			list = append(list, upgrade.Exposed{Key: key, Severity: manifest.High})
		}
		_, _, err := s.SyncExposures(ctx, "d", list, func(upgrade.Exposed) string { return "upgraded" }, someTime)
		return err
	}
	return []judgeStep{
		{"CreateFeed", func() (err error) {
			_, err = s.CreateFeed(ctx, upgrade.Feed{Name: "f", Kind: advisory.OSV, URL: "https://f.example.test"}, someone(), someTime)
			return err
		}},
		{"UpdateFeed", func() (err error) {
			_, err = s.UpdateFeed(ctx, "f", someone(), someTime, func(f upgrade.Feed) (upgrade.Feed, error) { f.URL += "/x"; return f, nil })
			return err
		}},
		{"LeaseFeeds", func() (err error) {
			feed, err = s.LeaseFeeds(ctx, someTime, time.Hour, 10)
			return err
		}},
		{"FeedNow", func() error { return s.FeedNow(ctx, "f", someTime.Add(-time.Hour)) }},
		{"RecordFeed", func() (err error) {
			imported := someone()
			_, err = s.RecordFeed(ctx, "f", feed[0].Token, upgrade.FeedHealth{Failures: 1}, watch.Validators{ETag: "e"}, &advisory.Snapshot{Digest: digestOf(1)}, &imported, someTime)
			return err
		}},
		{"SetPolicy", func() error { return s.SetPolicy(ctx, upgrade.PolicyDocument{Text: "t"}, someone()) }},
		{"PutWindow", func() error { return s.PutWindow(ctx, calendar.Window{Name: "w"}, someone()) }},
		{"CreateWaiver", func() (err error) {
			waiver, err = s.CreateWaiver(ctx, upgrade.Waiver{Finding: "f", Expires: someTime}, someone())
			return err
		}},
		{"UpdateWaiver", func() (err error) {
			_, err = s.UpdateWaiver(ctx, waiver.ID, someone(), func(w upgrade.Waiver) (upgrade.Waiver, error) { w.Ended = someTime; return w, nil })
			return err
		}},
		{"PutReview", func() (err error) { _, err = s.PutReview(ctx, someReview(1)); return err }},
		{"PutReview, which replaces", func() (err error) { _, err = s.PutReview(ctx, someReview(2)); return err }},
		{"SignReview", func() error { return signing(s, 2) }},
		{"SyncExposures", func() error { return sync("a", "b", "c") }},
		{"SyncExposures, which closes", func() error { return sync("c", "d") }},
		{"PutUpgrade", func() (err error) {
			first, err = s.PutUpgrade(ctx, upgrade.Upgrade{Deployment: "d", To: "2"}, someTime)
			return err
		}},
		{"PutUpgrade, which supersedes", func() (err error) {
			second, err = s.PutUpgrade(ctx, upgrade.Upgrade{Deployment: "d", To: "3"}, someTime)
			if err == nil && first.ID == second.ID {
				t.Error("two upgrades have one id")
			}
			return err
		}},
		{"PutPlan", func() error { return s.PutPlan(ctx, upgrade.Plan{Deployment: "d", Digest: digestOf(1)}) }},
		{"PutPlan, which prunes", func() error { return s.PutPlan(ctx, upgrade.Plan{Deployment: "d", Digest: digestOf(2)}) }},
		{"MoveUpgrade", func() (err error) {
			_, err = s.MoveUpgrade(ctx, second.ID, tlog.Signoff{
				Deployment: "d", Chart: "c", From: "1", To: "2", Archive: digestOf(77), Review: digestOf(2), Role: "reviewer", Said: tlog.SignoffAccepted, Text: digestOf(78),
				Signer: tlog.Identity{Issuer: "i", Subject: "s"}, Time: someTime,
			}, &ev, func(u upgrade.Upgrade) (upgrade.Upgrade, error) {
				u.State, u.Steps = upgrade.Planned, append(u.Steps, upgrade.Step{State: upgrade.Planned})
				return u, nil
			})
			return err
		}},
		{"PutAssessment", func() error { return s.PutAssessment(ctx, upgrade.Assessment{Deployment: "d"}) }},
		{"CreateTracker", func() (err error) {
			_, err = s.CreateTracker(ctx, upgrade.Tracker{Name: "t"}, someone(), someTime)
			return err
		}},
		{"WantTicket", func() error { return s.WantTicket(ctx, "t", second.ID, "m", "d1", someTime) }},
		{"LeaseTickets", func() (err error) {
			tickets, err = s.LeaseTickets(ctx, someTime, time.Hour, 10)
			return err
		}},
		{"WantTicket, another text", func() error { return s.WantTicket(ctx, "t", second.ID, "m", "d2", someTime) }},
		{"SettleTicket", func() error {
			ticket := tickets[0]
			ticket.State = "open"
			return s.SettleTicket(ctx, ticket, someTime)
		}},
		{"RemoveTracker", func() error { return s.RemoveTracker(ctx, "t", someone(), someTime) }},
		{"ForgetDeployment", func() error { return s.ForgetDeployment(ctx, "d", someTime) }},
		{"RemoveWindow", func() error { return s.RemoveWindow(ctx, "w", someone()) }},
		{"RemoveFeed", func() error { return s.RemoveFeed(ctx, "f", someone(), someTime) }},
	}
}

// rows is all that the tables of the judgement and the heads of the logs hold.
func rows(t testing.TB, db *sql.DB) string {
	t.Helper()
	var out strings.Builder
	for _, table := range append([]string{"head", "audit"}, judgeTables...) {
		r, err := db.Query("SELECT * FROM " + table + " ORDER BY 1")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := r.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := r.Scan(values...); err != nil {
				t.Fatal(err)
			}
			out.WriteString(table)
			for _, v := range values {
				fmt.Fprintf(&out, " %v", *v.(*any))
			}
			out.WriteByte('\n')
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// TestJudgeWholeOrNothing has every writing method fail at the first row that it
// writes, at the second, and so on, and expects each time that nothing of it is
// left; in the end it succeeds.
func TestJudgeWholeOrNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		someProject(t, s)
		db := d.behind(t)
		exec(t, db, "CREATE TABLE fuse (n BIGINT NOT NULL)", "INSERT INTO fuse (n) VALUES (0)")
		if d.driver == "pgx" {
			exec(t, db, "CREATE FUNCTION fuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE fuse SET n = n - 1; IF (SELECT n FROM fuse) = 0 THEN RAISE EXCEPTION 'burnt'; END IF; RETURN NULL; END $$")
		}
		for _, table := range append([]string{"head", "leaf", "audit", "outbox"}, judgeTables...) {
			if d.driver == "pgx" {
				exec(t, db, "CREATE TRIGGER fuse AFTER INSERT OR UPDATE OR DELETE ON "+table+" FOR EACH ROW EXECUTE FUNCTION fuse()")
				continue
			}
			for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
				exec(t, db, "CREATE TRIGGER fuse_"+table+event+" AFTER "+event+" ON "+table+" BEGIN UPDATE fuse SET n = n - 1; SELECT RAISE(ABORT, 'burnt') FROM fuse WHERE n = 0; END")
			}
		}
		for _, step := range judgeSteps(t, s) {
			before := rows(t, db)
			for n := 1; ; n++ {
				exec(t, db, fmt.Sprint("UPDATE fuse SET n = ", n))
				err := step.do()
				after := rows(t, db)
				if err == nil {
					if n == 1 || after == before {
						t.Errorf("%s wrote nothing, and shows nothing", step.name)
					}
					break
				}
				if !strings.Contains(err.Error(), "burnt") {
					t.Fatalf("%s, at row %d: %v", step.name, n, err)
				}
				if after != before {
					t.Fatalf("%s, at row %d: the tables changed from\n%s\nto\n%s", step.name, n, before, after)
				}
			}
		}
	})
}

// TestJudgeTriggers tries by hand what no code of ours does.
func TestJudgeTriggers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		someProject(t, s)
		for _, step := range judgeSteps(t, s) {
			if strings.HasPrefix(step.name, "Remove") || strings.HasPrefix(step.name, "Forget") {
				continue
			}
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		db := d.behind(t)
		before := rows(t, db)
		kept := []string{
			"DELETE FROM snapshot", "UPDATE snapshot SET digest = 'x'", "DELETE FROM policy", "UPDATE policy SET policy_json = 'x'", "DELETE FROM waiver", "DELETE FROM review",
			"DELETE FROM exposure", "DELETE FROM upgrade", "UPDATE exposure SET how = 'x'", "UPDATE exposure SET closed = 0", "UPDATE exposure SET opened = 1", "UPDATE exposure SET key = 'x'",
			"UPDATE upgrade SET deployment = 'x'", "UPDATE upgrade SET to_version = 'x'",
		}
		for _, column := range []string{"digest", "deployment", "chart", "to_version", "light_json"} {
			kept = append(kept, "UPDATE review SET "+column+" = 'x'")
		}
		kept = append(kept, "UPDATE review SET review_pack = NULL", "UPDATE review SET id = 99")
		unique := []string{
			"INSERT INTO exposure (deployment, key, environment, severity, kind, opened, closed, how, deadline, names_json) SELECT deployment, key, '', '', '', 0, 0, '', 0, '' FROM exposure WHERE closed = 0",
			"INSERT INTO upgrade (deployment, to_version, state, open, owner, due, since, plan, upgrade_json) SELECT deployment, to_version, '', 1, '', 0, 0, '', '{}' FROM upgrade WHERE open = 1",
			"INSERT INTO review (digest, deployment, chart, to_version, light_json, review_pack, state, signoffs_json) SELECT digest, '', '', '', '', review_pack, '', '' FROM review",
			"INSERT INTO plan (digest, deployment, newest, due, plan_pack) SELECT 'other', deployment, 1, 0, plan_pack FROM plan WHERE newest = 1",
			"INSERT INTO ticket (tracker, upgrade, marker, wanted, digest, number, url, state, error, attempts, due, asked, lease, lease_end) SELECT tracker, upgrade, '', '', '', 0, '', '', '', 0, 0, 0, 0, 0 FROM ticket",
			"INSERT INTO feed (name, feed_json, health_json, validators_json, created, created_by, current, due, asked, lease, lease_end) SELECT name, '', '', '', 0, '', 0, 0, 0, 0, 0 FROM feed",
		}
		for i, statement := range append(kept, unique...) {
			_, err := db.Exec(statement)
			if err == nil {
				t.Errorf("%s: done", statement)
				continue
			}
			said := strings.ToLower(err.Error())
			if i < len(kept) && !strings.Contains(said, "never") && !strings.Contains(said, "append-only") || i >= len(kept) && !strings.Contains(said, "unique") {
				t.Errorf("%s: refused for another reason: %v", statement, err)
			}
		}
		if after := rows(t, db); after != before {
			t.Errorf("the tables changed from\n%s\nto\n%s", before, after)
		}
	})
}

// TestJudgeReconnect ends the connections to PostgreSQL between and under
// operations. What returned nil is there, and there once.
func TestJudgeReconnect(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	s := d.open(t, nil)
	db := d.behind(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	end := func() {
		if _, err := db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
			t.Error(err)
		}
	}
	done, failures := 0, 0
	for i := 0; i < 200 && (done < 30 || failures < 3); i++ {
		// Under one operation, then not, and so for each of four: some find only
		// connections that were ended before, some none of those.
		if wg.Wait(); i%4 == 0 {
			wg.Go(end)
		}
		key := fmt.Sprint("key-", i)
		_, _, err := s.SyncExposures(t.Context(), key, []upgrade.Exposed{{Key: key}}, func(upgrade.Exposed) string { return "" }, someTime)
		if err == nil {
			_, err = s.PutReview(t.Context(), someReview(i))
		}
		if err == nil {
			err = signing(s, i)
		}
		if err != nil {
			failures++
			continue
		}
		done++
		if open, err := s.OpenExposures(t.Context(), key); err == nil && len(open) != 1 {
			t.Fatalf("%d of %s are open", len(open), key)
		}
		if r, err := s.Review(t.Context(), digestOf(i)); err == nil && (len(r.Signoffs) != 1 || r.State != upgrade.ReviewSigned) {
			t.Fatalf("review %+v", r)
		}
	}
	if wg.Wait(); done == 0 || failures == 0 {
		t.Fatalf("%d were done and %d failed: the test shows nothing", done, failures)
	}
	var n, signed int
	if err := db.QueryRow("SELECT COUNT(*), COUNT(DISTINCT deployment) FROM exposure").Scan(&n, &signed); err != nil || n != signed || n < done {
		t.Fatalf("%d exposures of %d deployments, %d were done, %v", n, signed, done, err)
	}
	s.Close()
	info, err := d.open(t, nil).LogInfo(t.Context()) // which checks the log
	if err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow("SELECT COUNT(*) FROM review WHERE signoffs_json <> '[]'").Scan(&signed); err != nil || int64(signed) != info.Size || signed < done {
		t.Fatalf("%d reviews are signed, %d leaves, %d were done, %v", signed, info.Size, done, err)
	}
}

// TestJudgeIndexes asks both databases how they would find the rows of hot
// queries in large tables.
func TestJudgeIndexes(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d database) {
		d.open(t, nil)
		db := d.behind(t)
		db.SetMaxOpenConns(1)
		explain := "EXPLAIN QUERY PLAN "
		if d.driver == "pgx" {
			explain = "EXPLAIN "
			exec(t, db, "SET enable_seqscan = off", "SET enable_bitmapscan = off")
		}
		for query, index := range map[string]string{
			"SELECT id, state, signoffs_json, review_pack FROM review WHERE digest >= 'sha256:aaaaaaaa' AND digest < 'sha256:aaaaaaaag' ORDER BY digest LIMIT 2": "digest",
			"SELECT light_json FROM review WHERE deployment = 'd' ORDER BY id DESC LIMIT 100":                                                                    "review_deployment",
			"UPDATE review SET state = 'replaced' WHERE deployment = 'd' AND to_version = '2' AND state = 'open' AND id <> 3":                                    "review_",
			"SELECT id FROM exposure WHERE closed = 0 AND deployment = 'd' ORDER BY key":                                                                         "exposure_open",
			"SELECT id FROM exposure WHERE closed > 0 AND closed >= 5":                                                                                           "exposure_closed",
			"SELECT id, upgrade_json FROM upgrade WHERE open = 0 ORDER BY since DESC, id DESC LIMIT 100":                                                         "upgrade_closed",
			"SELECT id, upgrade_json FROM upgrade WHERE open = 0 AND deployment = 'd' ORDER BY since DESC, id DESC LIMIT 100":                                    "upgrade_deployment",
			"SELECT id, upgrade_json FROM upgrade WHERE deployment = 'd' AND open = 1 AND id <> 3 AND state IN ('seen', 'tested') ORDER BY id":                   "upgrade_open",
			"SELECT plan_pack FROM plan WHERE deployment = 'd' AND newest = 1":                                                                                   "plan_newest",
			"SELECT id FROM ticket WHERE due > 0 AND due <= 7 AND lease_end <= 7 ORDER BY due LIMIT 1":                                                           "ticket_due",
			"SELECT id FROM feed WHERE due > 0 AND due <= 7 AND lease_end <= 7 ORDER BY due LIMIT 1":                                                             "feed_due",
			"DELETE FROM plan WHERE deployment = 'd' AND newest = 0 AND NOT EXISTS (SELECT 1 FROM upgrade u WHERE u.plan <> '' AND u.plan = plan.digest)":        "plan_before",
		} {
			r, err := db.Query(explain + query)
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			var plan strings.Builder
			for r.Next() {
				columns, _ := r.Columns()
				values := make([]any, len(columns))
				for i := range values {
					values[i] = new(any)
				}
				if err := r.Scan(values...); err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(&plan, *values[len(values)-1].(*any))
			}
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			text := plan.String()
			if !strings.Contains(text, index) || d.driver == "pgx" && !strings.Contains(text, "Index") {
				t.Errorf("%s\nwithout %s:\n%s", query, index, text)
			}
		}
	})
}

// benchAssessment is an assessment of a size that real ones have: findings with
// the eight rules of a decision.
func benchAssessment(n, findings int) upgrade.Assessment {
	value := func(name, is string, feed int) decision.Value {
		return decision.Value{Name: name, Value: is, Source: "the feed that says so, of 2026-05-06", Snapshot: digestOf(feed)}
	}
	a := upgrade.Assessment{
		Chart: "web", Version: "1.2.3", Environment: "production", Owner: "team-a",
		Exposure: value("exposure", "open", 0), Mission: value("mission", "1", 0), At: someTime, Images: 9, Deadline: someTime, SetBy: "CVE-2026-00000 in Bitnami/postgresql",
	}
	for feed := range 6 {
		a.Inputs.Snapshots = append(a.Inputs.Snapshots, advisory.Snapshot{Feed: fmt.Sprint("feed-", feed), Digest: digestOf(feed), Records: 10_000, Taken: someTime, Blob: digestOf(feed + 10)})
	}
	for i := range findings {
		f := upgrade.Finding{
			Key: fmt.Sprintf("CVE-2026-%05d in Bitnami/component-%d", (n*31+i*17)%4000, i%9), Kind: upgrade.OfAdvisory, Severity: []manifest.Severity{"low", "medium", "high", "critical", "unknown"}[i%5],
			Title: strings.Repeat("summary of the advisory ", 3), Advisory: fmt.Sprintf("BIT-component-%d-2026-%05d", i%9, i), Aliases: []string{fmt.Sprintf("CVE-2026-%05d", i), fmt.Sprintf("GHSA-%04x-%04x-xxxx", i, n)},
			Score: 7.5, Images: []string{fmt.Sprintf("registry.example.test/bitnami/component-%d:1.2.3-debian-12-r%d", i%9, i%9)}, Component: fmt.Sprintf("Bitnami/component-%d", i%9), Version: "1.2.3",
			Confidence: advisory.Likely, Fixed: []string{"1.2.4", "2.0.0"}, Since: someTime.Add(-time.Duration(i) * time.Hour),
			Decision: decision.Decision{Tier: "scheduled", Start: someTime, StartWhy: "the advisory was published; the fix was there before, and it was seen here later", Deadline: someTime.Add(time.Duration(i) * time.Hour), SetBy: "ssvc-deployer"},
		}
		for rule := range 8 {
			f.Decision.Rules = append(f.Decision.Rules, decision.Rule{
				ID: fmt.Sprint("rule-", rule), Title: "what the rule says in a few words", Table: "published table 1.0.0", Row: rule, Rows: 16, Fired: rule%3 == 0, Result: "scheduled: 60 d", Days: 60,
				Inputs: []decision.Value{value("exploited", "no", 1), value("automatable", "yes", 2), value("epss", fmt.Sprintf("0.%05d", i*n%99999), 3)}, Deadline: someTime.Add(time.Duration(i) * time.Hour),
			})
		}
		a.Findings = append(a.Findings, f)
	}
	return a
}

func benchExposed(a *upgrade.Assessment) (list []upgrade.Exposed) {
	for i := range a.Findings {
		f := &a.Findings[i]
		list = append(list, upgrade.Exposed{Key: f.Key, Environment: a.Environment, Severity: f.Severity, Kind: f.Kind, Deadline: f.Decision.Deadline})
	}
	return list
}

// BenchmarkAssess measures 10,000 deployments with 50 findings each, as eight
// workers judge them.
func BenchmarkAssess(b *testing.B) {
	const deployments, findings, workers = 10_000, 50, 8
	ctx := context.Background()
	how := func(upgrade.Exposed) string { return "upgraded" }
	var templates []upgrade.Assessment
	for i := range 50 {
		templates = append(templates, benchAssessment(i, findings))
	}
	for _, place := range []struct {
		name string
		make func(testing.TB) database
	}{{"SQLite", newSQLite}, {"PostgreSQL", newPostgres}} {
		d := place.make(b)
		s := d.open(b, nil)
		someProject(b, s)
		run := func(name string, n int, do func()) {
			b.Run(place.name+"/"+name, func(b *testing.B) { measure(b, n, func() func() { return do }) })
		}
		all := func(do func(i int) error) func() {
			return func() { publish(workers, deployments, do, b) }
		}
		named := func(i int) (a upgrade.Assessment) {
			a = templates[i%len(templates)]
			a.Deployment = fmt.Sprintf("cluster-%d/namespace-%d/release-%05d", i%7, i%100, i)
			return a
		}
		run("PutAssessment", deployments, all(func(i int) error { return s.PutAssessment(ctx, named(i)) }))
		for _, part := range []struct {
			name string
			skip int
		}{{"SyncExposures/first", 0}, {"SyncExposures/nothing", 0}, {"SyncExposures/one-less", 1}} {
			run(part.name, deployments, all(func(i int) error {
				a := named(i)
				_, _, err := s.SyncExposures(ctx, a.Deployment, benchExposed(&a)[part.skip:], how, someTime)
				return err
			}))
		}
		run("Summaries", deployments, func() {
			if list, err := s.Summaries(ctx); err != nil || len(list) != deployments {
				b.Fatalf("%d, %v", len(list), err)
			}
		})
		run("OpenExposures", deployments*(findings-1), func() {
			if list, err := s.OpenExposures(ctx, ""); err != nil || len(list) != deployments*(findings-1) {
				b.Fatalf("%d, %v", len(list), err)
			}
		})
		run("ExposuresSince", deployments*findings, func() {
			n := 0
			if err := s.ExposuresSince(ctx, time.Time{}, func(upgrade.Exposed) error { n++; return nil }); err != nil || n != deployments*findings {
				b.Fatalf("%d, %v", n, err)
			}
		})
		run("Assessment", 1, func() {
			if _, err := s.Assessment(ctx, named(4711).Deployment); err != nil {
				b.Fatal(err)
			}
		})
		run("Assessments/1000", 1000, func() {
			n := 0
			enough := fmt.Errorf("enough")
			if err := s.Assessments(ctx, func(upgrade.Assessment) error {
				if n++; n == 1000 {
					return enough
				}
				return nil
			}); err != enough {
				b.Fatal(err)
			}
		})
	}
}
