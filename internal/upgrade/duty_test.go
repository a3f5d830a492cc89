package upgrade_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var digests = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = digests.ReplaceAllString(got, "sha256:…") // any change of the form of a review changes it
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestTicketOnce: one issue for an upgrade, also when the process dies between
// its creation and the commit.
func TestTicketOnce(t *testing.T) {
	w := redisWorld(t)
	_, err := w.AddTracker(w.ctx, ann, upgrade.Tracker{Name: "platform", Kind: upgrade.TrackerGitHub, URL: "https://github.com/a/b", Credential: "forge", Labels: []string{"security"}})
	w.ok(err)
	w.judge()
	dying, die := context.WithCancel(w.ctx)
	w.desk.after = die
	if _, err := w.SettleTickets(dying); !errors.Is(err, context.Canceled) {
		t.Fatalf("the process did not die: %v", err)
	}
	if len(w.desk.issues) != 1 {
		t.Fatalf("%d issues", len(w.desk.issues))
	}
	w.desk.after = nil
	w.restart()
	w.now = w.now.Add(10 * time.Minute) // the lease of the dead process ends
	n, err := w.SettleTickets(w.ctx)
	w.ok(err)
	if n != 1 || len(w.desk.issues) != 1 {
		t.Fatalf("%d tried, %d issues", n, len(w.desk.issues))
	}
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	if ups[0].Ticket != "https://forge.example/a/b/issues/1" {
		t.Errorf("ticket %q", ups[0].Ticket)
	}
	w.judge()
	if n, err = w.SettleTickets(w.ctx); n != 0 || err != nil {
		t.Errorf("nothing changed, and %d were tried, %v", n, err)
	}
	// Verified: the issue is brought up to date and closed.
	w.runs("prod/data/cache", ups[0].To, []string{"docker.io/bitnami/redis:6.2.9-debian-12-r3"})
	w.judge()
	_, err = w.SettleTickets(w.ctx)
	w.ok(err)
	if len(w.desk.issues) != 1 || !w.desk.issues[0].Closed || !strings.Contains(w.desk.issues[0].Body, "verified") {
		t.Errorf("%+v", w.desk.issues)
	}
}

// TestTrackerDown: it is tried again, with pauses, and given up for good only
// when it will never work.
func TestTrackerDown(t *testing.T) {
	w := redisWorld(t)
	_, err := w.AddTracker(w.ctx, ann, upgrade.Tracker{Name: "platform", Kind: upgrade.TrackerGitHub, URL: "https://github.com/a/b", Credential: "forge"})
	w.ok(err)
	w.judge()
	w.desk.err = problem.New(problem.Unavailable, "remote-refused", "nobody listens there")
	for range 3 {
		if _, err := w.SettleTickets(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.Tickets(w.ctx, ann, "platform", 10)
	w.ok(err)
	if len(list) != 1 || list[0].Attempts != 1 || list[0].State != upgrade.TicketWanted || list[0].Error != "nobody listens there" {
		t.Fatalf("%+v", list)
	}
	w.desk.err = problem.New(problem.Denied, "remote-status", "the credential may not write")
	w.now = w.now.Add(time.Hour)
	_, err = w.SettleTickets(w.ctx)
	w.ok(err)
	if list, err = w.Tickets(w.ctx, ann, "platform", 10); err != nil || list[0].State != upgrade.TicketFailed {
		t.Errorf("%+v %v", list, err)
	}
}

// TestFeedBySchedule: read when due, not taken again when nothing is new, its
// failures with pauses, and what lost most of its records is held back.
func TestFeedBySchedule(t *testing.T) {
	w := newWorld(t)
	two := osv("BIT-redis-2026-1", "CVE-2026-0001", "redis", "0", "6.2.8", vectorHigh, morning) + "," + osv("BIT-redis-2026-2", "CVE-2026-0002", "redis", "0", "6.2.8", vectorHigh, morning)
	w.feeds.body = "[" + two + "]"
	_, err := w.AddFeed(w.ctx, ann, upgrade.NewFeed{Name: "bitnami", Kind: advisory.OSV, URL: "https://feeds.example/all.json"})
	w.ok(err)
	read := func(want int) upgrade.Feed {
		t.Helper()
		n, err := w.ReadFeeds(w.ctx)
		w.ok(err)
		if n != want {
			t.Fatalf("%d feeds were read, want %d", n, want)
		}
		list, err := w.Feeds(w.ctx, ann)
		w.ok(err)
		return list[0]
	}
	f := read(1)
	if f.Current == nil || f.Current.Records != 2 || f.Health.Failures != 0 || !f.Health.NextTry.After(w.now) {
		t.Fatalf("%+v %+v", f.Health, f.Current)
	}
	read(0)
	w.now = w.now.Add(27 * time.Hour)
	if again := read(1); again.Current.ID != f.Current.ID || !again.Health.LastSuccess.Equal(w.now) {
		t.Errorf("nothing new: %+v", again)
	}
	w.now = w.now.Add(27 * time.Hour)
	w.feeds.body = "[" + osv("BIT-redis-2026-1", "CVE-2026-0001", "redis", "0", "6.2.8", vectorHigh, morning) + "]"
	held := read(1)
	if held.Current.Records != 2 || !strings.Contains(held.Health.Error, "has 1 record now, and had 2") || held.Health.Failures != 1 {
		t.Errorf("shrunk: %+v %+v", held.Health, held.Current)
	}
	w.feeds.err = problem.New(problem.Unavailable, "remote-refused", "nobody listens there")
	for i := range 3 {
		w.now = w.now.Add(26 * time.Hour)
		if f = read(1); f.Health.Failures != i+2 || f.Health.Error != "nobody listens there" || f.Current.Records != 2 {
			t.Errorf("%+v", f.Health)
		}
	}
	_, in, err := w.MatchImages(w.ctx, ann, []string{"bitnami/redis:6.2.7"})
	w.ok(err)
	w.now = w.now.Add(20 * 24 * time.Hour)
	if _, in, err = w.MatchImages(w.ctx, ann, []string{"bitnami/redis:6.2.7"}); err != nil || len(in.Old) != 1 || !strings.Contains(in.Old[0], "bitnami: read") {
		t.Errorf("an old feed is not said to be old: %+v %v", in, err)
	}
}

func TestFeedRefusals(t *testing.T) {
	w := newWorld(t)
	for rule, n := range map[string]upgrade.NewFeed{
		"feed-name":     {Name: "No Name", Kind: advisory.OSV},
		"feed-kind":     {Name: "a", Kind: "csaf"},
		"feed-url":      {Name: "a", Kind: advisory.OSV, URL: "ftp://x/y"},
		"feed-interval": {Name: "a", Kind: advisory.OSV, URL: "https://x/y", Interval: watch.Duration(time.Second)},
		"feed-stale":    {Name: "a", Kind: advisory.OSV, StaleAfter: watch.Duration(time.Second)},
	} {
		_, err := w.AddFeed(w.ctx, ann, n)
		w.refused(err, problem.Invalid, rule)
	}
	_, err := w.AddFeed(w.ctx, ann, upgrade.NewFeed{Name: "a", Kind: advisory.OSV, URL: "https://user:secret@x/y"})
	if p := w.refused(err, problem.Invalid, "feed-url"); strings.Contains(p.Error(), "secret") {
		t.Error(p)
	}
	_, err = w.ImportFeed(w.ctx, ann, "none", "x.json", strings.NewReader("[]"))
	w.refused(err, problem.NotFound, "feed")
	_, err = w.AddFeed(w.ctx, ann, upgrade.NewFeed{Name: "a", Kind: advisory.OSV})
	w.ok(err)
	for _, text := range []string{"", "[]", "{", "no json", `{"id":1}`} {
		if _, err = w.ImportFeed(w.ctx, ann, "a", "x.json", strings.NewReader(text)); problem.KindOf(err) == problem.Internal || err == nil {
			t.Errorf("import of %q: %v", text, err)
		}
	}
	if f, err := w.Feeds(w.ctx, ann); err != nil || f[0].Current != nil {
		t.Errorf("%+v %v", f, err)
	}
}

// TestFixThatComesLater: the clock of what was known to be open before its fix
// came does not begin anew.
func TestFixThatComesLater(t *testing.T) {
	w := redisWorld(t)
	all := w.watch.versions
	w.watch.versions = all[:1]
	w.judge()
	before := w.assessment("prod/data/cache")
	if p := w.plan("prod/data/cache"); p.Action != upgrade.ActRemedy || !strings.HasPrefix(p.Text, "No fixed chart exists") {
		t.Fatalf("%+v", p)
	}
	w.now = w.now.Add(48 * time.Hour)
	w.watch.versions = all
	for i := range w.watch.versions[1:] {
		w.watch.versions[i+1].FirstSeen = w.now
	}
	w.watch.changes++
	w.judge()
	after := w.assessment("prod/data/cache")
	if before.Deadline.IsZero() || after.Deadline.After(before.Deadline) {
		t.Errorf("before %v, after the fix came %v", before.Deadline, after.Deadline)
	}
}

// TestOverride: where no chart closes it, the image can be overridden, and the
// same chain says what that leaves.
func TestOverride(t *testing.T) {
	w := redisWorld(t)
	w.watch.versions = w.watch.versions[:1]
	w.runs("prod/data/cache", "1.0.0", []string{"docker.io/bitnami/redis:6.2.6-debian-12-r1"}, func(d *watch.Deployment) {
		d.Values, d.Match.Archive = []byte(`{"image":{"tag":"6.2.6-debian-12-r1"}}`), ""
	})
	w.judge()
	p := w.plan("prod/data/cache")
	if len(p.Remedies) != 1 || p.Remedies[0].Kind != "override-image" || p.Remedies[0].Target != "docker.io/bitnami/redis:6.2.9" || p.Remedies[0].Values != "image:\n  tag: \"6.2.9\"\n" {
		t.Fatalf("%+v", p.Remedies)
	}
	if p.Chosen != nil || len(p.Remedies[0].For) != 2 || !strings.Contains(p.Remedies[0].Verified, "was not checked") || strings.Contains(p.Remedies[0].Verified, "a rendering") {
		t.Errorf("%+v", p)
	}
	// Where the archive is had, nobody needs to have set the tag: the values that
	// choose the image are found by rendering.
	w.runs("prod/data/other", "1.0.0", nil, func(d *watch.Deployment) { d.Tool = deployment.Plain })
	w.judge()
	for range 2 { // and again from the shelf
		r := w.plan("prod/data/other").Remedies
		if len(r) != 1 || r[0].Values != "image:\n  tag: \"6.2.9\"\n" || !strings.Contains(r[0].Verified, "a rendering shows that these values choose it") ||
			!strings.HasPrefix(r[0].Text, "Set docker.io/bitnami/redis to version 6.2.9: 0 of its 2") {
			t.Fatalf("%+v", r)
		}
		w.now = w.now.Add(time.Minute)
		w.judge()
	}
}

// TestWindowsAndEmergency: the slot lies in a window before the deadline; where
// none does, two people have to approve.
func TestWindowsAndEmergency(t *testing.T) {
	w := redisWorld(t)
	w.ok(w.PutWindow(w.ctx, ann, calendar.Window{Name: "weekly", Schedule: "0 2 * * 4", Duration: "3h"})) // Thursday 5 November
	w.judge()
	p := w.plan("prod/data/cache")
	if p.Slot == nil || p.Slot.Window != "weekly" || p.Slot.End.After(p.Deadline) || p.Emergency != "" {
		t.Fatalf("slot %v, deadline %v, %s", p.Slot, p.Deadline, p.Emergency)
	}
	w.ok(w.PutWindow(w.ctx, ann, calendar.Window{Name: "freeze", Freeze: true, Start: morning, End: morning.AddDate(0, 1, 0)}))
	w.judge()
	p = w.plan("prod/data/cache")
	if p.Slot != nil || !strings.Contains(p.Emergency, "freeze freeze leaves no slot") || len(p.Approvals) != 2 {
		t.Errorf("slot %v, %s, %v", p.Slot, p.Emergency, p.Approvals)
	}
	w.refused(w.PutWindow(w.ctx, ann, calendar.Window{Name: "bad"}), problem.Invalid, "window")
	w.ok(w.RemoveWindow(w.ctx, ann, "freeze"))
	w.judge()
	if p = w.plan("prod/data/cache"); p.Slot == nil {
		t.Error("the freeze is gone")
	}
}

// TestDismiss: with a reason and until a date, and what is open stays open.
func TestDismiss(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	_, err = w.DismissUpgrade(w.ctx, ann, ups[0].ID, " ", w.now.AddDate(0, 0, 5))
	w.refused(err, problem.Invalid, "dismiss-reason")
	_, err = w.DismissUpgrade(w.ctx, ann, ups[0].ID, "later", w.now.AddDate(2, 0, 0))
	w.refused(err, problem.Invalid, "dismiss-until")
	u, err := w.DismissUpgrade(w.ctx, ann, ups[0].ID, "the vendor says wait", w.now.AddDate(0, 0, 5))
	w.ok(err)
	if u.State != upgrade.Dismissed {
		t.Fatalf("%+v", u)
	}
	w.judge()
	open, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	if len(open) != 0 || len(w.assessment("prod/data/cache").Findings) == 0 {
		t.Errorf("%+v", open)
	}
	w.now = w.now.AddDate(0, 0, 6)
	w.judge()
	if open, err = w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true}); err != nil || len(open) != 1 {
		t.Errorf("after the date: %+v %v", open, err)
	}
}

// TestTexts fixes what people read: agenda, pull request, ticket, calendar.
func TestTexts(t *testing.T) {
	w := redisWorld(t)
	w.runs("staging/odd|key", "1.2.0", []string{"registry.example/own/tool:1"}, func(d *watch.Deployment) { d.Environment = "staging" })
	w.ok(w.PutWindow(w.ctx, ann, calendar.Window{Name: "weekly", Schedule: "0 2 * * 4", Duration: "3h", Reason: "agreed with the shop"}))
	w.judge()
	agenda, err := w.Agenda(w.ctx, ann, "")
	w.ok(err)
	golden(t, "agenda.md", agenda)
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	text, err := w.PullRequest(w.ctx, ann, ups[0].ID)
	w.ok(err)
	golden(t, "pull-request.md", text)
	ics, err := w.Calendar(w.ctx, ann, "")
	w.ok(err)
	golden(t, "calendar.ics", string(ics))
}

func TestQueries(t *testing.T) {
	w := redisWorld(t)
	w.runs("staging/cache", "1.1.0", []string{"docker.io/bitnami/redis:6.2.8-debian-12-r0"}, func(d *watch.Deployment) { d.Environment = "staging" })
	w.judge()
	for query, want := range map[string]string{
		"kind:advisory":                         "CVE-2026-0001 CVE-2026-0002",
		"severity:high kind:advisory":           "CVE-2026-0001",
		"severity:>=medium kind:advisory":       "CVE-2026-0001 CVE-2026-0002",
		"severity:critical":                     "",
		"env:staging kind:advisory":             "CVE-2026-0002",
		"deployment:prod/* kind:advisory":       "CVE-2026-0001 CVE-2026-0002",
		"component:redis has:fix":               "CVE-2026-0001 CVE-2026-0002",
		"kev:yes":                               "",
		"state:late":                            "",
		"cve-2026-0002":                         "CVE-2026-0002",
		"bitnami/redis:6.2.8":                   "error",
		"severity:dreadful":                     "error",
		"epss:0.1":                              "error",
		"epss:>0.1":                             "",
		"color:red":                             "error",
		"owner:team-data severity:high":         "CVE-2026-0001",
		"owner:somebody":                        "",
		"has:workaround":                        "",
		"kind:advisory env:prod state:due 0002": "CVE-2026-0002",
	} {
		list, err := w.Advisories(w.ctx, ann, upgrade.AdvisoryFilter{Query: query})
		if want == "error" {
			if problem.KindOf(err) != problem.Invalid {
				t.Errorf("%q: %v", query, err)
			}
			continue
		}
		w.ok(err)
		var got []string
		for _, r := range list.Rows {
			got = append(got, strings.Fields(r.Finding.Key)[0])
		}
		if g := strings.Join(got, " "); g != want || list.Total != len(got) {
			t.Errorf("%q: %s (%d), want %s", query, g, list.Total, want)
		}
	}
	row, err := w.Advisory(w.ctx, ann, "BIT-redis-2026-1")
	w.ok(err)
	if len(row.Deployments) != 1 || strings.Join(row.FixedBy, ",") != "cache 1.1.0" {
		t.Errorf("%+v", row)
	}
	_, err = w.Advisory(w.ctx, ann, "CVE-1999-0001")
	w.refused(err, problem.NotFound, "advisory")
}

// TestRights: who may not is refused before anything is done.
func TestRights(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	w.vault.denied = map[string]access.Action{"usr-bob": "watch.read"}
	for name, f := range map[string]func() error{
		"feeds":       func() error { _, err := w.Feeds(w.ctx, bob); return err },
		"advisories":  func() error { _, err := w.Advisories(w.ctx, bob, upgrade.AdvisoryFilter{}); return err },
		"assessment":  func() error { _, err := w.Assessment(w.ctx, bob, "prod/data/cache"); return err },
		"plan":        func() error { _, err := w.Plan(w.ctx, bob, "prod/data/cache"); return err },
		"status":      func() error { _, err := w.Status(w.ctx, bob, ""); return err },
		"agenda":      func() error { _, err := w.Agenda(w.ctx, bob, ""); return err },
		"calendar":    func() error { _, err := w.Calendar(w.ctx, bob, ""); return err },
		"practice":    func() error { _, err := w.Practice(w.ctx, bob, time.Time{}); return err },
		"explain":     func() error { _, err := w.Explain(w.ctx, bob, "prod/data/cache", ""); return err },
		"waivers":     func() error { _, err := w.Waivers(w.ctx, bob, true); return err },
		"reviews":     func() error { _, err := w.Reviews(w.ctx, bob, upgrade.ReviewFilter{}); return err },
		"upgrades":    func() error { _, err := w.Upgrades(w.ctx, bob, upgrade.UpgradeFilter{}); return err },
		"pull text":   func() error { _, err := w.PullRequest(w.ctx, bob, 1); return err },
		"match":       func() error { _, _, err := w.MatchImages(w.ctx, bob, nil); return err },
		"policy":      func() error { _, err := w.Policy(w.ctx, bob); return err },
		"windows":     func() error { _, err := w.Windows(w.ctx, bob); return err },
		"trackers":    func() error { _, err := w.Trackers(w.ctx, bob); return err },
		"tickets":     func() error { _, err := w.Tickets(w.ctx, bob, "", 1); return err },
		"one upgrade": func() error { _, err := w.Upgrade(w.ctx, bob, 1); return err },
		"one review":  func() error { _, err := w.Review(w.ctx, bob, "sha256:0"); return err },
		"snapshots":   func() error { _, err := w.Snapshots(w.ctx, bob, "kev", 1); return err },
	} {
		if err := f(); problem.KindOf(err) != problem.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingTwice: what was compared, reviewed and told is not fetched, made or
// told again while nothing changes, by the same process.
func TestNothingTwice(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	fetched, told, blobs := w.watch.fetched, len(w.watch.told), w.vault.opened
	if fetched == 0 || told == 0 {
		t.Fatalf("fetched %d, told %d", fetched, told)
	}
	w.now = w.now.Add(7 * time.Hour)
	w.judge()
	// What runs is looked for, and not read.
	if w.watch.fetched != fetched || len(w.watch.told) != told || w.vault.opened > blobs+1 || w.watch.asked != 1 {
		t.Errorf("fetched %d more, told %d more, opened %d blobs more, asked to tell %d times",
			w.watch.fetched-fetched, len(w.watch.told)-told, w.vault.opened-blobs, w.watch.asked)
	}
	p := w.plan("prod/data/cache")
	if p.Chosen.Review == "" || p.Chosen.Reviewed != upgrade.ReviewOpen {
		t.Errorf("the plan does not know the review: %+v", p.Chosen)
	}
}

// TestDiesBeforeItTells: what was opened is told by whoever judges next.
func TestDiesBeforeItTells(t *testing.T) {
	w := redisWorld(t)
	w.watch.silent = errors.New("the process dies here")
	if _, err := w.JudgeAll(w.ctx); !errors.Is(err, w.watch.silent) {
		t.Fatalf("it did not die: %v", err)
	}
	w.watch.silent = nil
	w.restart()
	w.now = w.now.Add(time.Hour)
	w.judge()
	if len(w.watch.told) != 1 || w.watch.told[0].Kind != watch.AdvisoryOpened {
		t.Errorf("told %+v", w.watch.told)
	}
}

// TestSignedWhileUpstreamIsDown: that an archive cannot be had for a while takes
// no sign-off away.
func TestSignedWhileUpstreamIsDown(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	ups, err := w.Upgrades(w.ctx, ann, upgrade.UpgradeFilter{Open: true})
	w.ok(err)
	r, err := w.Review(w.ctx, ann, ups[0].Review)
	w.ok(err)
	answers := map[string]string{}
	for _, item := range r.Checklist {
		answers[item.ID] = "done"
	}
	_, err = w.SignReview(w.ctx, ann, r.Digest, upgrade.Sign{Role: upgrade.Reviewer, Accept: true, Answers: answers})
	w.ok(err)
	w.watch.down = true
	// Something that makes another review necessary comes while it is down.
	w.watch.notes = append(w.watch.notes, watch.Note{Key: "n", Chart: "cache", Version: "1.2.0", Title: "1.2.0", Text: "You must drain the nodes before upgrading", Digest: "sha256:1"})
	w.judge()
	u, err := w.Upgrade(w.ctx, ann, ups[0].ID)
	w.ok(err)
	if u.State != upgrade.Reviewed || u.Review != r.Digest {
		t.Errorf("%+v", u)
	}
	w.watch.down = false
	w.judge()
	if u, err = w.Upgrade(w.ctx, ann, ups[0].ID); err != nil || u.State != upgrade.Seen || u.Review == r.Digest {
		t.Errorf("what is asked now was not signed: %+v %v", u, err)
	}
}

// TestSubstanceHasNoWordsOfOurs: what we say about the same facts may be said in
// another way by a newer program, and takes no sign-off away.
func TestSubstanceHasNoWordsOfOurs(t *testing.T) {
	w := redisWorld(t)
	w.judge()
	r, err := w.MakeReview(w.ctx, ann, "prod/data/cache", "1.2.0")
	w.ok(err)
	other := r
	other.Verdict.Text, other.Verdict.Reasons = "in other words", []string{"in other words"}
	other.Checklist = slices.Clone(r.Checklist)
	for i := range other.Checklist {
		other.Checklist[i].Text = "in other words"
	}
	w.ok(upgrade.Seal(&other))
	if other.Substance != r.Substance || other.Digest == r.Digest {
		t.Errorf("the same substance: %v; another digest: %v", other.Substance == r.Substance, other.Digest != r.Digest)
	}
	other.Introduced = append(other.Introduced, upgrade.Finding{Key: "CVE-2026-9 in x"})
	w.ok(upgrade.Seal(&other))
	if other.Substance == r.Substance {
		t.Error("another finding is introduced, and the substance is the same")
	}
}

// TestMaskedImages: an image whose name is not known is unknown, and not left out.
func TestMaskedImages(t *testing.T) {
	w := redisWorld(t)
	w.watch.versions = nil
	w.publishes("1.0.0", "6.2.6", morning, nil)
	w.runs("prod/data/cache", "1.0.0", nil, func(d *watch.Deployment) {
		d.Tool, d.Values, d.Unresolved = "flux", []byte(`{"image":{"tag":"***"}}`), []string{"the rest is not known"}
	})
	w.judge()
	a := w.assessment("prod/data/cache")
	if len(a.Unknown) != 1 || !strings.Contains(a.Unknown[0].Why, "masked") || a.NotJudged != "" || a.Images != 1 {
		t.Errorf("%+v, %d images, %s", a.Unknown, a.Images, a.NotJudged)
	}
	if !strings.Contains(strings.Join(a.Doubts, "; "), "the rest is not known") {
		t.Errorf("doubts %v", a.Doubts)
	}
}
