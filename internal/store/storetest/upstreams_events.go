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
