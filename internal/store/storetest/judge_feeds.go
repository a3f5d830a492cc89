package storetest

import (
	"errors"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func mirrorOf(name string) upgrade.Feed {
	return upgrade.Feed{
		Name: name, Kind: advisory.OSV, URL: "https://feeds.example.test/" + name + ".zip", Credential: "cred", Interval: watch.Duration(time.Hour), StaleAfter: 7 * watch.Day,
		CreatedBy: "usr-1",
	}
}

func (j *judge) feed(f upgrade.Feed) upgrade.Feed {
	j.Helper()
	made, err := j.CreateFeed(j.Context(), f, by("usr-1"), start)
	j.ok(err)
	return made
}

// one reads one feed.
func (j *judge) one(name string) upgrade.Feed {
	j.Helper()
	all, err := j.Feeds(j.Context())
	j.ok(err)
	for _, f := range all {
		if f.Name == name {
			return f
		}
	}
	j.Fatalf("there is no feed %s", name)
	return upgrade.Feed{}
}

// leaseFeeds takes what is due, and says which.
func (j *judge) leaseFeeds(now time.Time, limit int, want ...string) []upgrade.FeedLease {
	j.Helper()
	got, err := j.LeaseFeeds(j.Context(), now, time.Minute, limit)
	j.ok(err)
	var names []string
	for _, l := range got {
		names = append(names, l.Feed.Name)
		if l.Token == 0 || !l.Until.Equal(now.Add(time.Minute)) || l.Feed.URL == "" {
			j.Fatalf("lease %+v", l)
		}
	}
	j.names("leased", names, want...)
	return got
}

func snapshotOf(text string) *advisory.Snapshot {
	return &advisory.Snapshot{Kind: advisory.OSV, Digest: sha256Of([]byte(text)), Records: len(text), Faults: 1, Dated: at(-5), Model: "m", Taken: at(1), Blob: sha256Of([]byte("blob " + text))}
}

func (j *judge) record(name string, lease int64, h upgrade.FeedHealth, v watch.Validators, s *advisory.Snapshot) upgrade.Feed {
	j.Helper()
	f, err := j.RecordFeed(j.Context(), name, lease, h, v, s, nil, at(1))
	j.ok(err)
	j.equal("recorded", f, j.one(name))
	return f
}

func feedLife(j *judge) {
	ctx := j.Context()
	if all, err := j.Feeds(ctx); err != nil || len(all) != 0 {
		j.Fatalf("feeds %v, %v", all, err)
	}
	var made upgrade.Feed
	j.rises(true, func() { made = j.feed(mirrorOf("osv")) })
	j.told(audit.FeedAdded, "feed", "osv")
	want := mirrorOf("osv")
	want.ID, want.Created, want.Health.NextTry = made.ID, start, start
	if made.ID == 0 {
		j.Fatal("no id")
	}
	j.equal("made", made, want)
	byHand := j.feed(upgrade.Feed{Name: "own", Kind: advisory.Components, StaleAfter: watch.Day})
	if !byHand.Health.NextTry.IsZero() {
		j.Fatalf("a feed without a URL is read at %s", byHand.Health.NextTry)
	}
	all, err := j.Feeds(ctx)
	j.ok(err)
	j.equal("all", all, []upgrade.Feed{want, byHand})
	_, err = j.CreateFeed(ctx, mirrorOf("osv"), by("usr-1"), start)
	j.refused(err, problem.Conflict, "feed-exists")

	j.record("osv", 0, upgrade.FeedHealth{}, watch.Validators{}, snapshotOf("a"))
	j.rises(true, func() { j.ok(j.RemoveFeed(ctx, "osv", by("usr-2"), at(1))) })
	j.told(audit.FeedRemoved, "feed", "osv")
	j.refused(j.RemoveFeed(ctx, "osv", by("usr-2"), at(1)), problem.NotFound, "feed")
	j.refused(j.FeedNow(ctx, "osv", at(1)), problem.NotFound, "feed")
	_, err = j.Snapshots(ctx, "none", 10)
	j.refused(err, problem.NotFound, "feed")
	stays, err := j.Snapshots(ctx, "osv", 10)
	if err != nil || len(stays) != 1 || stays[0].Blob != snapshotOf("a").Blob {
		j.Fatalf("snapshots of a feed that was removed: %v, %v", stays, err)
	}
	again := j.feed(mirrorOf("osv"))
	if again.ID == made.ID || again.Current != nil {
		j.Fatalf("a new feed of an old name: %+v", again)
	}
}

func feedChanges(j *judge) {
	ctx := j.Context()
	set := func(name string, change func(f *upgrade.Feed)) upgrade.Feed {
		j.Helper()
		got, err := j.UpdateFeed(ctx, name, by("usr-1"), at(10), func(f upgrade.Feed) (upgrade.Feed, error) {
			change(&f)
			return f, nil
		})
		j.ok(err)
		j.told(audit.FeedSet, "feed", name)
		j.equal("read", j.one(name), got)
		return got
	}
	for _, c := range []struct {
		name   string
		change func(f *upgrade.Feed)
		anew   bool
		due    time.Time
	}{
		{"stale", func(f *upgrade.Feed) { f.StaleAfter = watch.Day }, false, at(60)},
		{"longer", func(f *upgrade.Feed) { f.Interval = watch.Day }, false, at(60)},
		{"shorter", func(f *upgrade.Feed) { f.Interval = watch.Duration(20 * time.Minute) }, false, at(30)},
		{"url", func(f *upgrade.Feed) { f.URL += "x" }, true, at(10)},
		{"credential", func(f *upgrade.Feed) { f.Credential = "other" }, true, at(10)},
		{"by-hand", func(f *upgrade.Feed) { f.URL, f.Credential, f.Interval = "", "", 0 }, true, time.Time{}},
		{"nothing", func(f *upgrade.Feed) {
			f.ID, f.Name, f.Kind, f.CreatedBy, f.Created, f.Health.Error, f.Current = 77, "x", advisory.KEV, "x", at(9), "x", nil
		}, false, at(60)},
	} {
		before := j.feed(mirrorOf(c.name))
		l := j.leaseFeeds(start, 10, c.name)[0]
		before = j.record(c.name, l.Token, upgrade.FeedHealth{NextTry: at(60), Failures: 2}, watch.Validators{ETag: "e"}, snapshotOf("a"))
		late := j.leaseFeeds(at(60), 10, c.name)[0]
		var after upgrade.Feed
		j.rises(true, func() { after = set(c.name, c.change) })
		want := before
		c.change(&want)
		want.ID, want.Name, want.Kind, want.CreatedBy, want.Created, want.Health, want.Current = before.ID, before.Name, before.Kind, before.CreatedBy, before.Created, before.Health, before.Current
		want.Health.NextTry = c.due
		if c.anew {
			want.Validators = watch.Validators{}
		}
		j.equal(c.name, after, want)
		_, err := j.RecordFeed(ctx, c.name, late.Token, upgrade.FeedHealth{NextTry: at(600)}, watch.Validators{}, nil, nil, at(61))
		if c.anew {
			j.refused(err, problem.Conflict, "lease")
		} else {
			j.ok(err)
		}
		j.ok(j.RemoveFeed(ctx, c.name, by("usr-1"), at(62)))
	}
	_, err := j.UpdateFeed(ctx, "none", by("usr-1"), at(10), func(f upgrade.Feed) (upgrade.Feed, error) { return f, nil })
	j.refused(err, problem.NotFound, "feed")
	before := j.feed(mirrorOf("osv"))
	no := errors.New("no")
	j.rises(false, func() {
		if _, err = j.UpdateFeed(ctx, "osv", by("usr-1"), at(10), func(f upgrade.Feed) (upgrade.Feed, error) { f.URL = "x"; return f, no }); !errors.Is(err, no) {
			j.Fatal(err)
		}
	})
	j.equal("refused", j.one("osv"), before)
	j.told(audit.FeedAdded, "feed", "osv")
}

func feedLeases(j *judge) {
	ctx := j.Context()
	for _, name := range []string{"c", "a", "b"} {
		j.feed(mirrorOf(name))
	}
	j.feed(upgrade.Feed{Name: "own", Kind: advisory.VEX})
	j.leaseFeeds(start.Add(-time.Millisecond), 10)
	for i, l := range j.leaseFeeds(start, 10, "c", "a", "b") {
		j.record(l.Feed.Name, l.Token, upgrade.FeedHealth{NextTry: at(60 + i)}, watch.Validators{}, nil)
	}
	j.leaseFeeds(at(59), 10)
	j.leaseFeeds(at(61), 1, "c")
	a := j.leaseFeeds(at(61), 10, "a")[0]
	j.leaseFeeds(at(61), 10)
	j.leaseFeeds(at(62), 10, "c", "a", "b") // leases ran out
	_, err := j.RecordFeed(ctx, "a", a.Token, upgrade.FeedHealth{}, watch.Validators{}, nil, nil, at(62))
	j.refused(err, problem.Conflict, "lease")

	late := j.leaseFeeds(at(63), 10, "c", "a", "b")[1]
	if f := j.record("a", late.Token, upgrade.FeedHealth{}, watch.Validators{}, nil); !f.Health.NextTry.Equal(at(61)) { // one interval after at(1)
		j.Fatalf("without a time the next try is at %s", f.Health.NextTry)
	}
	j.rises(false, func() {
		j.ok(j.FeedNow(ctx, "a", at(5)))
		if f := j.one("a"); !f.Health.NextTry.Equal(at(5)) {
			j.Fatalf("next try %s", f.Health.NextTry)
		}
		now := j.leaseFeeds(at(5), 10, "a")[0]
		j.ok(j.FeedNow(ctx, "a", at(6))) // while it is read: once more
		j.leaseFeeds(at(5), 10)
		j.record("a", now.Token, upgrade.FeedHealth{NextTry: at(600)}, watch.Validators{}, nil)
		now = j.leaseFeeds(at(6), 10, "a")[0]
		j.record("a", now.Token, upgrade.FeedHealth{NextTry: at(600)}, watch.Validators{}, nil)
		j.leaseFeeds(at(62), 10)
	})
	j.refused(j.FeedNow(ctx, "own", at(6)), problem.Invalid, "feed-url")
}

// feedRecords brings snapshots, by schedule and by hand.
func feedRecords(j *judge) {
	ctx := j.Context()
	j.feed(mirrorOf("osv"))
	l := j.leaseFeeds(start, 10, "osv")[0]
	health := upgrade.FeedHealth{LastTry: at(1), LastSuccess: at(1), NextTry: at(61), Failures: 3, Error: "e", Faults: []string{"x: <y>", "z"}}
	validators := watch.Validators{ETag: "e", LastModified: "l", Digest: "d", State: "s"}
	var f upgrade.Feed
	j.rises(true, func() { f = j.record("osv", l.Token, health, validators, snapshotOf("a")) })
	want := *snapshotOf("a")
	want.ID, want.Feed = f.Current.ID, "osv"
	if want.ID == 0 {
		j.Fatal("no id")
	}
	j.equal("snapshot", *f.Current, want)
	j.equal("health", f.Health, health)
	j.equal("validators", f.Validators, validators)

	size := j.size()
	ev := by("usr-1")
	same := snapshotOf("a")
	same.Taken, same.Records = at(99), 99
	j.rises(false, func() { // by hand, and the same: nothing but the health is new
		got, err := j.RecordFeed(ctx, "osv", 0, upgrade.FeedHealth{LastTry: at(2)}, watch.Validators{}, same, &ev, at(2))
		j.ok(err)
		j.equal("snapshot", *got.Current, want)
		j.equal("health", got.Health, upgrade.FeedHealth{LastTry: at(2), NextTry: at(61)})
	})
	j.told(audit.FeedImported, "feed", "osv")
	if j.size() != size {
		j.Fatal("an import has a leaf")
	}
	j.rises(false, func() { j.record("osv", 0, health, validators, nil) })
	j.rises(true, func() { f = j.record("osv", 0, health, validators, snapshotOf("b")) })
	if f.Current.Digest != snapshotOf("b").Digest || f.Current.ID <= want.ID || !f.Health.NextTry.Equal(at(61)) {
		j.Fatalf("feed %+v", f)
	}
	j.rises(true, func() { f = j.record("osv", 0, health, validators, snapshotOf("a")) }) // back again
	third := f.Current.ID
	list, err := j.Snapshots(ctx, "osv", 2)
	j.ok(err)
	if len(list) != 2 || list[0].ID != third || list[1].Digest != snapshotOf("b").Digest {
		j.Fatalf("snapshots %+v", list)
	}
	list, err = j.Snapshots(ctx, "osv", 10)
	j.ok(err)
	j.equal("oldest", list[2], want)
	j.feed(upgrade.Feed{Name: "own", Kind: advisory.VEX})
	if list, err = j.Snapshots(ctx, "own", 10); err != nil || len(list) != 0 {
		j.Fatalf("%v, %v", list, err)
	}
	if f = j.record("own", 0, upgrade.FeedHealth{NextTry: at(5)}, watch.Validators{}, snapshotOf("own")); !f.Health.NextTry.IsZero() {
		j.Fatal("a feed that is imported by hand became due")
	}
	j.leaseFeeds(at(60), 10)
}

func feedLost(j *judge) {
	ctx := j.Context()
	j.feed(mirrorOf("osv"))
	old := j.leaseFeeds(start, 10, "osv")[0]
	j.leaseFeeds(at(5), 10, "osv")
	before := j.one("osv")
	for _, token := range []int64{old.Token, old.Token + 1, -1} {
		j.rises(false, func() {
			_, err := j.RecordFeed(ctx, "osv", token, upgrade.FeedHealth{Error: "x"}, watch.Validators{ETag: "x"}, snapshotOf("a"), nil, at(6))
			j.refused(err, problem.Conflict, "lease")
		})
	}
	_, err := j.RecordFeed(ctx, "none", 0, upgrade.FeedHealth{}, watch.Validators{}, nil, nil, at(6))
	j.refused(err, problem.NotFound, "feed")
	j.equal("feed", j.one("osv"), before)
	again := j.leaseFeeds(at(7), 10, "osv")[0]
	j.ok(j.RemoveFeed(ctx, "osv", by("usr-1"), at(7)))
	j.feed(mirrorOf("osv"))
	_, err = j.RecordFeed(ctx, "osv", again.Token, upgrade.FeedHealth{}, watch.Validators{}, snapshotOf("a"), nil, at(7))
	j.refused(err, problem.Conflict, "lease")
	if list, err := j.Snapshots(ctx, "osv", 10); err != nil || len(list) != 0 {
		j.Fatalf("%v, %v", list, err)
	}
}

func policies(j *judge) {
	ctx := j.Context()
	_, err := j.Policy(ctx)
	j.refused(err, problem.NotFound, "policy")
	var want []upgrade.PolicyDocument
	for i := range 3 {
		p := full[upgrade.PolicyDocument](100 * i)
		j.rises(true, func() { j.ok(j.SetPolicy(ctx, p, by("usr-1"))) })
		j.told(audit.DecisionSet, "policy", p.Digest)
		want = append([]upgrade.PolicyDocument{p}, want...)
		got, err := j.Policy(ctx)
		j.ok(err)
		j.equal("policy", got, p)
	}
	got, err := j.Policies(ctx, 2)
	j.ok(err)
	j.equal("policies", got, want[:2])
}

func windows(j *judge) {
	ctx := j.Context()
	put := func(name string, n int) calendar.Window {
		j.Helper()
		w := full[calendar.Window](n)
		w.Name = name
		j.rises(true, func() { j.ok(j.PutWindow(ctx, w, by("usr-1"))) })
		j.told(audit.WindowSet, "window", name)
		return w
	}
	put("b", 1)
	a, b := put("a", 100), put("b", 200)
	got, err := j.Windows(ctx)
	j.ok(err)
	j.equal("windows", got, []calendar.Window{a, b})
	j.rises(true, func() { j.ok(j.RemoveWindow(ctx, "a", by("usr-1"))) })
	j.told(audit.WindowRemoved, "window", "a")
	j.rises(false, func() { j.refused(j.RemoveWindow(ctx, "a", by("usr-1")), problem.NotFound, "window") })
	if got, err = j.Windows(ctx); err != nil {
		j.Fatal(err)
	}
	j.equal("windows", got, []calendar.Window{b})
}

func waivers(j *judge) {
	ctx := j.Context()
	ask := func(finding string, expires time.Time) upgrade.Waiver {
		j.Helper()
		want := upgrade.Waiver{ID: 99, Finding: finding, Deployments: "*", Component: "x/y", Reason: "r\x00<>", RequestedBy: "usr-1", Requested: at(0), Expires: expires}
		var w upgrade.Waiver
		var err error
		j.rises(true, func() { w, err = j.CreateWaiver(ctx, want, by("usr-1")) })
		j.ok(err)
		j.lastEvent(audit.WaiverRequested)
		want.ID = w.ID
		j.equal("made", w, want)
		return w
	}
	list := func(now time.Time, want ...upgrade.Waiver) {
		j.Helper()
		got, err := j.Waivers(ctx, now)
		j.ok(err)
		j.equal("waivers", got, want)
	}
	a, b, c := ask("CVE-1", at(10)), ask("CVE-2", at(20)), ask("CVE-3", at(20))
	list(at(9), c, b, a)
	list(at(10), c, b)
	list(at(20))
	list(time.Time{}, c, b, a)
	change := func(id int64, name audit.Name, f func(w *upgrade.Waiver)) upgrade.Waiver {
		j.Helper()
		var w upgrade.Waiver
		var err error
		j.rises(true, func() {
			w, err = j.UpdateWaiver(ctx, id, by("usr-2"), func(w upgrade.Waiver) (upgrade.Waiver, error) { f(&w); return w, nil })
		})
		j.ok(err)
		j.lastEvent(name)
		return w
	}
	b = change(b.ID, audit.WaiverApproved, func(w *upgrade.Waiver) { w.ApprovedBy, w.Approved, w.ID = "usr-2", at(3), 77 })
	list(at(5), c, b, a)
	b = change(b.ID, audit.WaiverEnded, func(w *upgrade.Waiver) { w.Ended = at(6) })
	list(at(5), c, b, a)
	list(at(6), c, a)
	list(time.Time{}, c, b, a)
	no := errors.New("no")
	j.rises(false, func() {
		if _, err := j.UpdateWaiver(ctx, a.ID, by("usr-2"), func(w upgrade.Waiver) (upgrade.Waiver, error) { return w, no }); !errors.Is(err, no) {
			j.Fatal(err)
		}
		_, err := j.UpdateWaiver(ctx, 12345, by("usr-2"), func(w upgrade.Waiver) (upgrade.Waiver, error) { return w, nil })
		j.refused(err, problem.NotFound, "waiver")
	})
	list(at(6), c, a)
}

// inputsRise does what makes no judgement anew.
func inputsRise(j *judge) {
	ctx := j.Context()
	if n, err := j.Inputs(ctx); err != nil || n != 0 {
		j.Fatalf("%d, %v", n, err)
	}
	j.feed(mirrorOf("osv"))
	j.rises(false, func() {
		j.review("d", "1", "2", 1)
		j.ok(j.PutAssessment(ctx, upgrade.Assessment{Deployment: "d"}))
		u := j.upgrade("d", "1.0.0")
		_, err := j.MoveUpgrade(ctx, u.ID, nil, nil, func(u upgrade.Upgrade) (upgrade.Upgrade, error) { return u, nil })
		j.ok(err)
		j.sync("d", at(0), nil, "k")
		j.ok(j.ForgetDeployment(ctx, "d", at(1)))
		j.leaseFeeds(start, 1, "osv")
	})
	n, err := j.Inputs(ctx)
	j.ok(err)
	j.reopen()
	if again, err := j.Inputs(ctx); err != nil || again != n {
		j.Fatalf("%d, then %d, %v", n, again, err)
	}
}
