package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func notes(w *watcher) {
	ctx := w.Context()
	u, other := w.watched("a"), w.watched("b")
	leases, err := w.LeaseSources(ctx, at(0), time.Minute, 10)
	w.ok(err)
	note := func(key, chart, version string, published int) watch.Note {
		n := watch.Note{Key: key, Chart: chart, Version: version, Title: "T " + key, URL: "u", Text: "text\n" + key, Digest: sha256Of([]byte(key))}
		if published != 0 {
			n.Published = at(published)
		}
		return n
	}
	w.poll(leases[0], at(10), func(p *watch.Poll) {
		p.More = true
		p.Notes = []watch.Note{
			note("1", "web", "1.0.0", -30), note("2", "web", "1.1.0", 0), note("3", "db", "1.0.0", -20), note("4", "", "", 30), note("5", "web", "1.0.0", -5),
			note("1", "web", "1.0.0", -10), // of one given twice, the last
		}
	})
	w.poll(leases[1], at(10), func(p *watch.Poll) { p.Notes = []watch.Note{note("1", "web", "1.0.0", -10)} })
	list := func(upstreamID int64, chart, version string, limit int) (keys []string) {
		w.Helper()
		got, err := w.Notes(ctx, upstreamID, chart, version, limit)
		w.ok(err)
		for _, n := range got {
			keys = append(keys, n.Key)
		}
		return keys
	}
	w.names("all", list(u.ID, "", "", 10), "4", "2", "5", "1", "3")
	w.names("some", list(u.ID, "", "", 2), "4", "2")
	w.names("of a chart", list(u.ID, "web", "", 10), "2", "5", "1")
	w.names("of a version", list(u.ID, "web", "1.0.0", 10), "5", "1")
	w.names("of a version of any chart", list(u.ID, "", "1.0.0", 10), "5", "1", "3")
	w.names("of another upstream", list(other.ID, "", "", 10), "1")
	w.names("of none", list(other.ID, "db", "", 10))

	w.poll(leases[0], at(20), func(p *watch.Poll) {
		edited := note("2", "web", "1.2.0", 0)
		edited.Text, edited.FirstSeen = "edited", at(15)
		p.Notes = []watch.Note{edited, note("6", "web", "1.2.0", 0)}
	})
	got, err := w.Notes(ctx, u.ID, "web", "1.2.0", 10)
	w.ok(err)
	added, edited := note("6", "web", "1.2.0", 0), note("2", "web", "1.2.0", 0)
	added.SourceID, added.FirstSeen = leases[0].Source.ID, at(20)
	edited.SourceID, edited.FirstSeen, edited.Text = leases[0].Source.ID, at(10), "edited"
	w.equal("edited", got, []watch.Note{added, edited})
}

func eventFilters(w *watcher) {
	w.watched("a")
	l := w.lease(at(0))
	kinds := []watch.EventKind{watch.NewVersion, watch.Changed, watch.Vanished, watch.UnknownChart, watch.Unreachable}
	severities := []watch.Severity{watch.Info, watch.Low, watch.Medium, watch.High, watch.Critical}
	var all []watch.Event
	for i := range 60 {
		all = append(all, watch.Event{
			Time: at(i), Kind: kinds[i%5], Severity: severities[i/2%5], Upstream: []string{"a", "b", ""}[i%3], Chart: []string{"web", "db"}[i/3%2], Version: fmt.Sprint(i%4, ".0.0"),
			Deployment: []string{"", "prod/x/y", "prod/x/z", ""}[i%4], Key: fmt.Sprint("k", i), Message: fmt.Sprint("m", i),
		})
	}
	all = w.poll(l, at(0), func(p *watch.Poll) { p.Events = all })
	if len(all) != 60 {
		w.Fatalf("%d events", len(all))
	}
	for _, f := range []watch.EventFilter{
		{}, {Upstream: "a"}, {Upstream: "b", Limit: 5}, {Upstream: "none"}, {Chart: "web"}, {Version: "3.0.0"}, {Upstream: "a", Chart: "db", Version: "2.0.0"},
		{Kind: watch.Changed}, {MinSeverity: watch.Info}, {MinSeverity: watch.High}, {MinSeverity: watch.Critical, Upstream: "b"}, {Deployment: "prod/x/y"},
		{Deployment: "prod/x/z", Upstream: "a", Kind: watch.Vanished}, {Since: at(40)}, {Since: at(40), Before: all[50].ID}, {Before: all[10].ID}, {Before: all[0].ID}, {Limit: 1}, {Limit: 5000},
	} {
		var want []watch.Event
		limit := f.Limit
		if limit == 0 {
			limit = 100
		}
		for _, ev := range slices.Backward(all) {
			if (f.Upstream == "" || f.Upstream == ev.Upstream) && (f.Chart == "" || f.Chart == ev.Chart) && (f.Version == "" || f.Version == ev.Version) &&
				(f.Kind == "" || f.Kind == ev.Kind) && ev.Severity.Rank() >= max(0, f.MinSeverity.Rank()) && (f.Deployment == "" || f.Deployment == ev.Deployment) &&
				!ev.Time.Before(f.Since) && (f.Before == 0 || ev.ID < f.Before) && len(want) < limit {
				want = append(want, ev)
			}
		}
		w.equal(fmt.Sprintf("%+v", f), w.events(f), want)
	}
}

// eventsOnce records the same events again, alone and among others, within one
// poll and from several sources.
func eventsOnce(w *watcher) {
	w.watched("a")
	l := w.lease(at(0))
	keys := func(list []watch.Event) (out []string) {
		for _, ev := range list {
			out = append(out, ev.Key)
		}
		return out
	}
	record := func(of ...string) []string {
		w.Helper()
		return keys(w.poll(l, at(0), func(p *watch.Poll) {
			p.More = true
			for i, key := range of {
				p.Events = append(p.Events, watch.Event{Kind: watch.Changed, Upstream: "a", Key: key, Message: fmt.Sprint(of[:i+1])})
			}
		}))
	}
	w.names("first", record("a", "b", "c"), "a", "b", "c")
	w.names("again", record("a", "b", "c"))
	w.names("among others", record("d", "b", "e", "a", "f"), "d", "e", "f")
	w.names("twice in one poll", record("g", "g", "a", "h", "g"), "g", "h")
	w.names("nothing", record())
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprint("m", i))
	}
	record(many[100:200]...)
	w.names("a run in the middle", record(many...), append(slices.Clone(many[:100]), many[200:]...)...)
	all := w.events(watch.EventFilter{Limit: 1000})
	if len(all) != 308 || all[307].Message != "[a]" {
		w.Fatalf("%d events, the first %+v", len(all), all[len(all)-1])
	}
	for i := 1; i < len(all); i++ {
		if all[i].ID >= all[i-1].ID {
			w.Fatal("ids do not fall")
		}
	}
}

func eventsOfOthers(w *watcher) {
	ctx := w.Context()
	size := w.size()
	list := []watch.Event{
		{Kind: "advisory", Severity: watch.High, Deployment: "prod/x", Message: "m", Evidence: []watch.Fact{{Label: "l", Value: "v"}}, Key: "1"},
		{Kind: "advisory", Severity: watch.Low, Time: at(-5), Key: "2"}, {Kind: "advisory", Key: "2"},
	}
	got, err := w.RecordEvents(ctx, list, at(0))
	w.ok(err)
	if len(got) != 2 || got[0].ID == 0 || got[1].ID <= got[0].ID || !got[0].Time.Equal(at(0)) || !got[1].Time.Equal(at(-5)) {
		w.Fatalf("%+v", got)
	}
	w.equal("events", w.events(watch.EventFilter{}), []watch.Event{got[1], got[0]})
	for range 2 {
		if got, err = w.RecordEvents(ctx, list, at(1)); err != nil || len(got) != 0 {
			w.Fatalf("%+v, %v", got, err)
		}
	}
	if got, err = w.RecordEvents(ctx, nil, at(1)); err != nil || len(got) != 0 {
		w.Fatalf("%+v, %v", got, err)
	}
	if _, err = w.RecordEvents(ctx, []watch.Event{{Kind: "advisory", Key: "3"}, {Kind: "advisory"}}, at(1)); err == nil {
		w.Fatal("an event without a key was recorded")
	}
	r := w.route("a", "")
	w.relay(10, 2, toAll(at(0), false, r))
	said, _ := w.deliver(at(0), 10)
	w.names("told", said, "a:1", "a:2")
	if w.size() != size {
		w.Fatal("an event has a leaf")
	}
}

// left are the keys of the events that are there, the oldest first.
func (w *watcher) left() (keys []string) {
	w.Helper()
	for _, ev := range slices.Backward(w.events(watch.EventFilter{Limit: 1000})) {
		keys = append(keys, ev.Key)
	}
	return keys
}

func (w *watcher) prune(p watch.Pruning, events, deliveries int) {
	w.Helper()
	e, d, err := w.Prune(w.Context(), p)
	w.ok(err)
	if e != events || d != deliveries {
		w.Fatalf("%d events and %d deliveries were pruned, want %d and %d", e, d, events, deliveries)
	}
}

// pruning keeps what has a leaf, what was not relayed, and what a delivery is
// kept of, and never records a pruned event again.
func pruning(w *watcher) {
	ctx := w.Context()
	w.watched("a")
	l := w.lease(at(0))
	old := func(key string, minute int) watch.Event {
		return watch.Event{Kind: watch.CreatedRewritten, Upstream: "a", Time: at(minute), Key: key}
	}
	w.poll(l, at(0), func(p *watch.Poll) {
		p.More = true
		p.Versions = []watch.VersionState{listed("web", "1.0.0")}
		p.Events = []watch.Event{
			old("1", 0), old("2", 1), {Kind: watch.NewVersion, Upstream: "a", Chart: "web", Version: "1.0.0", Time: at(2), Key: "leaf"}, old("3", 3), old("4", 90), old("5", 4),
		}
	})
	all := watch.Pruning{Events: at(60), Deliveries: at(60), Limit: 100}
	w.prune(all, 0, 0) // nothing was relayed
	r := w.route("r", "")
	w.relay(3, 3, toAll(at(10), false, r))
	w.prune(all, 0, 0) // nothing was delivered
	_, got := w.deliver(at(10), 10)
	w.settle(got[0], "delivered", at(11))
	w.settle(got[1], "failed", at(11))
	w.prune(watch.Pruning{Events: at(60), Limit: 100}, 0, 0) // deliveries are kept
	w.prune(all, 2, 2)
	w.names("what waits, has a leaf or was not relayed", w.left(), "leaf", "3", "4", "5")
	w.relay(10, 3, toAll(at(70), false, r))
	w.settle(got[2], "delivered", at(12))
	_, got = w.deliver(at(70), 10)
	for _, d := range got {
		w.settle(d, "delivered", at(71))
	}
	w.prune(watch.Pruning{Events: at(60), Deliveries: at(75), Limit: 2}, 1, 2)
	w.prune(watch.Pruning{Events: at(60), Deliveries: at(75), Limit: 2}, 0, 2)
	w.names("the newest stays", w.left(), "leaf", "4", "5")
	w.prune(watch.Pruning{Events: at(600), Deliveries: at(600), Limit: 2}, 1, 0)
	w.names("the newest stays", w.left(), "leaf", "5")

	w.reopen()
	again := w.poll(l, at(100), func(p *watch.Poll) {
		p.Events = []watch.Event{old("1", 100), old("3", 100), old("5", 100), old("6", 100)}
	})
	if len(again) != 1 || again[0].Key != "6" {
		w.Fatalf("pruned events are news: %+v", again)
	}
	w.relay(10, 1, toAll(at(100), false, r))
	if list, err := w.ListDeliveries(ctx, "r", 10); err != nil || len(list) != 1 {
		w.Fatalf("%+v, %v", list, err)
	}
	w.ok(w.RemoveRoute(ctx, "r", by("usr-1"), at(100)))
	w.happen("7")
	w.relay(10, 1, toAll(at(100), false))
	w.prune(watch.Pruning{Events: at(600), Deliveries: at(600), Limit: 10}, 2, 0)
	w.names("of a removed route", w.left(), "leaf", "7")
}

func pruningOpen(w *watcher) {
	ctx := w.Context()
	w.watched("a")
	l := w.lease(at(0))
	w.imported("prod", at(0), []watch.Deployment{running("prod/x", "1.0.0"), running("prod/y", "1.0.0")}, "none -> prod/prod/x@1.0.0 ", "none -> prod/prod/y@1.0.0 ")
	w.poll(l, at(0), func(p *watch.Poll) {
		p.Events = []watch.Event{
			{Kind: watch.GoneQuiet, Upstream: "a", Key: "quiet"}, {Kind: watch.Unreachable, Upstream: "a", Key: "down"}, {Kind: watch.Recovered, Upstream: "a", Key: "up"},
			{Kind: watch.Unreachable, Upstream: "a", Key: "down again"}, {Kind: watch.GoneQuiet, Upstream: "b", Key: "of another"},
			{Kind: watch.UnknownChart, Deployment: "prod/x", Key: "x"}, {Kind: watch.UnknownChart, Deployment: "prod/z", Key: "z"}, {Kind: watch.VersionMoved, Deployment: "prod/y", Key: "y"},
		}
	})
	w.happen("newest")
	w.relay(100, len(w.left()), toAll(at(0), false))
	p := watch.Pruning{
		Events: at(60), Deliveries: at(60), Limit: 100,
		WhileWatched: []watch.EventKind{watch.GoneQuiet, watch.Archived}, UntilRecovered: []watch.EventKind{watch.Unreachable}, WhileDeployed: []watch.EventKind{watch.UnknownChart},
	}
	_, _, err := w.Prune(ctx, p)
	w.ok(err)
	w.names("open", w.left(), "quiet", "down again", "x", "newest")
	w.ok(w.RemoveUpstream(ctx, "a", by("usr-1"), at(1)))
	w.imported("prod", at(2), []watch.Deployment{running("prod/y", "1.0.0")}, "prod/prod/y@1.0.0  -> prod/prod/y@1.0.0 ", "prod/prod/x@1.0.0  -> none")
	w.relay(100, 1, toAll(at(0), false))
	_, _, err = w.Prune(ctx, p)
	w.ok(err)
	if left := w.left(); len(left) != 1 { // the one that the import made
		w.Fatalf("%v is open still", left)
	}
}

func published(w *watcher) {
	ctx := w.Context()
	if to, err := w.FingerprintedTo(ctx); err != nil || to != -1 {
		w.Fatalf("fingerprinted to %d, %v", to, err)
	}
	w.ok(w.KeepFingerprint(ctx, "fp", watch.OwnRelease{Project: "demo", Chart: "web", Version: "1.0.0", Archive: "sha256:a", LogIndex: 0}))
	if to, err := w.FingerprintedTo(ctx); err != nil || to != 0 {
		w.Fatalf("fingerprinted to %d, %v", to, err)
	}
	for range 2 {
		w.ok(w.KeepFingerprint(ctx, "fp", watch.OwnRelease{Project: "a", Chart: "web", Version: "1.0.0", Archive: "sha256:a", LogIndex: 9}))
	}
	w.ok(w.KeepFingerprint(ctx, "other", watch.OwnRelease{Project: "a", Chart: "web", Version: "2.0.0", Archive: "sha256:b", LogIndex: 7}))
	w.ok(w.KeepFingerprint(ctx, "", watch.OwnRelease{Project: "a", Chart: "web", Version: "3.0.0", Archive: "sha256:c", LogIndex: 12}))
	w.refused(w.KeepFingerprint(ctx, "fp", watch.OwnRelease{LogIndex: 13}), problem.Invalid, "fingerprint")
	if to, err := w.FingerprintedTo(ctx); err != nil || to != 12 {
		w.Fatalf("fingerprinted to %d, %v", to, err)
	}
	w.claim(offer(w.project, "web", "1.0.0", "one"))
	yanked := w.claim(offer(w.project, "web", "2.0.0", "two"))
	w.setState(yanked, true)
	hidden := w.create("hidden", staging)
	w.claim(offer(hidden, "web", "1.0.0", "three"))
	own, err := w.OwnPublished(ctx)
	w.ok(err)
	slices.SortFunc(own, func(a, b deployment.Published) int { return strings.Compare(a.Version, b.Version) })
	w.equal("own", own, []deployment.Published{
		{Project: "demo", Chart: "web", Version: "1.0.0", Archive: sha256Of([]byte("one")), Fingerprint: "fp", FirstSeen: start, Created: start},
		{Project: "demo", Chart: "web", Version: "2.0.0", Archive: sha256Of([]byte("two")), FirstSeen: start, Created: start, Gone: true},
	})
}
