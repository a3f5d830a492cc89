package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// WatchStore is the port of package watch on a store that holds the registry
// as well: both write one log.
type WatchStore interface {
	LedgerStore
	watch.Store
}

// OpenWatch opens the database of one test, with a clock (nil is time.Now).
type OpenWatch func(t *testing.T, now func() time.Time) WatchStore

// Watch is the suite that every implementation of watch.Store passes. place is
// as that of Ledger.
func Watch(t *testing.T, place func(t *testing.T) OpenWatch) {
	for _, part := range []struct {
		name string
		test func(w *watcher)
	}{
		{"upstreams", upstreamLife},
		{"upstream changes", upstreamChanges},
		{"upstream changes read anew", upstreamAnew},
		{"upstream removed", upstreamRemoved},
		{"leases", leases},
		{"poll at once", pollNow},
		{"64 pollers", func(w *watcher) { w.ok(RaceLeases(w.Context(), start, 8, w.WatchStore)) }},
		{"poll", pollFirst},
		{"poll again", pollAgain},
		{"poll repeated", pollRepeated},
		{"poll in pieces", pollPieces},
		{"poll with a lost lease", pollLost},
		{"poll that fails", pollFails},
		{"one failing poll harms no other", failingPoll},
		{"every field of a version", versionFields},
		{"foreign names", foreignNames},
		{"5000 versions", manyVersions},
		{"notes", notes},
		{"event filters", eventFilters},
		{"events once", eventsOnce},
		{"events of other rooms", eventsOfOthers},
		{"pruning", pruning},
		{"pruning of what is open", pruningOpen},
		{"published", published},
		{"deployments", deploymentImports},
		{"deployments of two imports", deploymentMoves},
		{"deployments that cannot be", deploymentRefusals},
		{"declarations", declarations},
		{"imports", imports},
		{"imports with an interval", importIntervals},
		{"routes", routeLife},
		{"alerts", alerts},
		{"relay", relayOnce},
		{"relay digests", relayDigests},
		{"deliveries", deliveries},
		{"delivery after a crash", deliveryCrash},
		{"deliveries again", resend},
		{"a route removed on the way", routeRemoved},
		{"watch reopened", watchReopened},
	} {
		t.Run(part.name, func(t *testing.T) {
			open := place(t)
			s := open(t, nil)
			w := &watcher{ledger: &ledger{T: t, LedgerStore: s}, WatchStore: s, open: open}
			t.Cleanup(func() { w.Close() })
			w.project = w.create("demo")
			part.test(w)
			w.checkLog()
		})
	}
}

// watcher is a store with the test it serves.
type watcher struct {
	*ledger
	WatchStore
	open OpenWatch
}

// reopen ends the process and starts another.
func (w *watcher) reopen() {
	w.Helper()
	w.ok(w.Close())
	w.WatchStore = w.open(w.T, nil)
	w.LedgerStore = w.WatchStore
}

// equal compares all fields, also those that JSON leaves out.
func (w *watcher) equal(what string, got, want any) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

func indexAt(url string) watch.Source {
	return watch.Source{Kind: watch.SourceIndex, URL: url, Interval: watch.Duration(time.Hour)}
}

// watched makes an upstream with one index.
func (w *watcher) watched(name string) watch.Upstream {
	w.Helper()
	u, err := w.CreateUpstream(w.Context(), watch.Upstream{
		Name: name, Keep: watch.KeepNew, CreatedBy: "usr-suite", Sources: []watch.Source{indexAt("https://" + name + ".example.test/index.yaml")},
	}, by("usr-suite"), start)
	w.ok(err)
	return u
}

// lease takes the one source that is due.
func (w *watcher) lease(now time.Time) watch.Lease {
	w.Helper()
	got, err := w.LeaseSources(w.Context(), now, time.Minute, 10)
	w.ok(err)
	if len(got) != 1 {
		w.Fatalf("%d sources are due, want 1", len(got))
	}
	return got[0]
}

// poll records what a poll found and returns the events that are new.
func (w *watcher) poll(l watch.Lease, now time.Time, fill func(p *watch.Poll)) []watch.Event {
	w.Helper()
	p := pollOf(l, now)
	fill(p)
	events, err := w.RecordPoll(w.Context(), p)
	w.ok(err)
	return events
}

func pollOf(l watch.Lease, now time.Time) *watch.Poll {
	return &watch.Poll{SourceID: l.Source.ID, Lease: l.Token, Now: now, Health: watch.Health{LastPoll: now, NextPoll: now.Add(time.Hour)}}
}

// states reads what is known of a source, in order.
func (w *watcher) states(source int64) []watch.VersionState {
	w.Helper()
	var out []watch.VersionState
	w.ok(w.VersionStates(w.Context(), source, func(v watch.VersionState) error {
		out = append(out, v)
		return nil
	}))
	slices.SortFunc(out, func(a, b watch.VersionState) int {
		return strings.Compare(a.Chart+"\x00"+a.Version, b.Chart+"\x00"+b.Version)
	})
	return out
}

func listed(chart, version string) watch.VersionState {
	return watch.VersionState{Known: upstream.Known{Chart: chart, Version: version, Digests: []string{sha256Of([]byte(chart + version))[7:]}}}
}

// observed reads the leaf of an observation and proves it.
func (w *watcher) observed(index int64) tlog.Observation {
	w.Helper()
	w.proven(index)
	text, err := w.Leaf(w.Context(), index)
	w.ok(err)
	leaf, err := tlog.ParseLeaf(text)
	w.ok(err)
	o, is := leaf.(tlog.Observation)
	if !is {
		w.Fatalf("leaf %d is %T", index, leaf)
	}
	return o
}

func upstreamLife(w *watcher) {
	ctx := w.Context()
	if all, err := w.Upstreams(ctx); err != nil || len(all) != 0 {
		w.Fatalf("upstreams %v, %v", all, err)
	}
	full := watch.Upstream{
		Name: "airflow", Charts: []string{"air*", "x"}, Keep: watch.KeepAll, QuietAfter: 180 * watch.Day, CreatedBy: "usr-1",
		Mirror: &watch.Mirror{Project: "mirror/airflow", Charts: []string{"airflow"}, Versions: ">=8", MinAge: 3 * watch.Day, OnDemand: true},
		Sources: []watch.Source{
			{Kind: watch.SourceIndex, URL: "https://a.example.test/index.yaml", Credential: "cred", Interval: watch.Duration(time.Hour)},
			{Kind: watch.SourceFeed, URL: "https://a.example.test/index.yaml", Chart: "airflow", Interval: watch.Duration(90 * time.Minute)},
		},
	}
	made, err := w.CreateUpstream(ctx, full, by("usr-1"), start)
	w.ok(err)
	if ev := w.lastEvent(audit.UpstreamAdded); ev.Detail["upstream"] != "airflow" || ev.Outcome.Result != audit.Allowed || ev.Actor.ID != "usr-1" {
		w.Fatalf("audit event %+v", ev)
	}
	want := full
	want.ID, want.Created = made.ID, start
	want.Sources = slices.Clone(full.Sources)
	for i := range want.Sources {
		s := &want.Sources[i]
		s.ID, s.UpstreamID, s.Upstream, s.Health.NextPoll = made.Sources[i].ID, made.ID, "airflow", start
	}
	if made.ID == 0 || made.Sources[0].ID == 0 || made.Sources[0].ID == made.Sources[1].ID {
		w.Fatalf("ids %d, %d, %d", made.ID, made.Sources[0].ID, made.Sources[1].ID)
	}
	w.equal("made", made, want)
	read, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	w.equal("read", read, want)
	plain := w.watched("a-first")
	all, err := w.Upstreams(ctx)
	w.ok(err)
	w.equal("all", all, []watch.Upstream{plain, want})

	size := w.size()
	_, err = w.CreateUpstream(ctx, watch.Upstream{Name: "airflow"}, by("usr-1"), start)
	w.refused(err, problem.Conflict, "upstream-exists")
	_, err = w.CreateUpstream(ctx, watch.Upstream{Name: "twice", Sources: []watch.Source{indexAt("https://x.example.test"), indexAt("https://x.example.test")}}, by("usr-1"), start)
	w.refused(err, problem.Invalid, "source-twice")
	for _, err := range []error{
		func() error { _, err := w.Upstream(ctx, "twice"); return err }(),
		w.PollNow(ctx, "twice", start), w.RemoveUpstream(ctx, "twice", by("usr-1"), start),
		func() error {
			_, err := w.UpdateUpstream(ctx, "twice", by("usr-1"), start, func(u watch.Upstream) (watch.Upstream, error) { return u, nil })
			return err
		}(),
	} {
		w.refused(err, problem.NotFound, "upstream")
	}
	if w.size() != size {
		w.Fatal("a refusal is in the log")
	}
}

func upstreamChanges(w *watcher) {
	ctx := w.Context()
	u := w.watched("airflow")
	lease := w.lease(at(0))
	w.poll(lease, at(0), func(p *watch.Poll) {
		p.Versions, p.Validators = []watch.VersionState{listed("airflow", "1.0.0")}, watch.Validators{ETag: "e"}
		p.Notes = []watch.Note{{Key: "k", Title: "T"}}
	})
	before, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	got, err := w.UpdateUpstream(ctx, "airflow", by("usr-2"), at(1), func(seen watch.Upstream) (watch.Upstream, error) {
		w.equal("seen", seen, before)
		seen.Name, seen.ID, seen.CreatedBy, seen.QuietAfter = "other", 99, "usr-2", watch.Day
		feed := watch.Source{Kind: watch.SourceFeed, URL: "https://airflow.example.test/feed", Interval: watch.Duration(time.Hour)}
		seen.Sources = []watch.Source{feed, indexAt("https://airflow.example.test/index.yaml")}
		return seen, nil
	})
	w.ok(err)
	if ev := w.lastEvent(audit.UpstreamSet); ev.Detail["upstream"] != "airflow" {
		w.Fatalf("audit event %+v", ev)
	}
	if got.Name != "airflow" || got.ID != u.ID || got.CreatedBy != "usr-suite" || got.QuietAfter != watch.Day || len(got.Sources) != 2 {
		w.Fatalf("changed %+v", got)
	}
	w.equal("the source that stays", got.Sources[0], before.Sources[0])
	if feed := got.Sources[1]; feed.Kind != watch.SourceFeed || !feed.Health.NextPoll.Equal(at(1)) {
		w.Fatalf("new source %+v", feed)
	}
	read, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	w.equal("read", read, got)
	if n := len(w.states(u.Sources[0].ID)); n != 1 {
		w.Fatalf("%d versions", n)
	}

	no := errors.New("no")
	_, err = w.UpdateUpstream(ctx, "airflow", by("usr-2"), at(2), func(u watch.Upstream) (watch.Upstream, error) { return watch.Upstream{}, no })
	if !errors.Is(err, no) {
		w.Fatal(err)
	}
	_, err = w.UpdateUpstream(ctx, "airflow", by("usr-2"), at(2), func(u watch.Upstream) (watch.Upstream, error) {
		u.Sources = append(u.Sources, u.Sources[0])
		return u, nil
	})
	w.refused(err, problem.Invalid, "source-twice")
	_, err = w.UpdateUpstream(ctx, "airflow", by("usr-2"), at(3), func(u watch.Upstream) (watch.Upstream, error) {
		u.Sources = u.Sources[1:]
		return u, nil
	})
	w.ok(err)
	if n := len(w.states(u.Sources[0].ID)); n != 0 {
		w.Fatalf("%d versions of a source that is gone", n)
	}
	if list, err := w.Notes(ctx, u.ID, "", "", 10); err != nil || len(list) != 0 {
		w.Fatalf("notes %v, %v", list, err)
	}
	again, err := w.UpdateUpstream(ctx, "airflow", by("usr-2"), at(4), func(u watch.Upstream) (watch.Upstream, error) {
		u.Sources = append(u.Sources, indexAt("https://airflow.example.test/index.yaml"))
		return u, nil
	})
	w.ok(err)
	if id := again.Sources[1].ID; id == u.Sources[0].ID || id == got.Sources[1].ID {
		w.Fatalf("the id %d was given again", id)
	}
}

// upstreamAnew changes what is watched: the next poll must not be answered
// with "nothing new", and a poll that began before must not hide that.
func upstreamAnew(w *watcher) {
	ctx := w.Context()
	for name, change := range map[string]func(u *watch.Upstream) (anew bool){
		"charts":       func(u *watch.Upstream) bool { u.Charts = []string{"other"}; return true },
		"keep":         func(u *watch.Upstream) bool { u.Keep = watch.KeepAll; return true },
		"mirror":       func(u *watch.Upstream) bool { u.Mirror = &watch.Mirror{Project: "p"}; return true },
		"credential":   func(u *watch.Upstream) bool { u.Sources[0].Credential = "c"; return true },
		"source chart": func(u *watch.Upstream) bool { u.Sources[0].Chart = "c"; return true },
		"quiet":        func(u *watch.Upstream) bool { u.QuietAfter = watch.Day; return false },
		"interval":     func(u *watch.Upstream) bool { u.Sources[0].Interval = watch.Duration(24 * time.Hour); return false },
	} {
		w.watched("u")
		w.poll(w.lease(at(0)), at(0), func(p *watch.Poll) { p.Validators = watch.Validators{ETag: "e", LastModified: "l", Digest: "d"} })
		late := w.lease(at(100))
		anew := false
		got, err := w.UpdateUpstream(ctx, "u", by("usr-1"), at(101), func(u watch.Upstream) (watch.Upstream, error) {
			anew = change(&u)
			return u, nil
		})
		w.ok(err)
		read, err := w.Upstream(ctx, "u")
		w.ok(err)
		w.equal(name, got, read)
		_, err = w.RecordPoll(ctx, pollOf(late, at(102)))
		if anew {
			w.refused(err, problem.Conflict, "lease")
			l := w.lease(at(101))
			if l.Source.Validators != (watch.Validators{}) {
				w.Fatalf("%s: validators %+v", name, l.Source.Validators)
			}
		} else if err != nil || read.Sources[0].Validators.ETag != "e" {
			w.Fatalf("%s: %v, %+v", name, err, read)
		}
		w.ok(w.RemoveUpstream(ctx, "u", by("usr-1"), at(103)))
	}
	w.watched("u")
	w.poll(w.lease(at(0)), at(0), func(p *watch.Poll) {})
	got, err := w.UpdateUpstream(ctx, "u", by("usr-1"), at(1), func(u watch.Upstream) (watch.Upstream, error) {
		u.Sources[0].Interval = watch.Duration(10 * time.Minute)
		return u, nil
	})
	w.ok(err)
	if next := got.Sources[0].Health.NextPoll; !next.Equal(at(11)) {
		w.Fatalf("with a shorter interval the next poll is at %s", next)
	}
}

func upstreamRemoved(w *watcher) {
	ctx := w.Context()
	u := w.watched("airflow")
	lease := w.lease(at(0))
	w.poll(lease, at(0), func(p *watch.Poll) {
		p.More = true
		v := listed("airflow", "1.0.0")
		v.Fingerprint = "fp"
		p.Versions, p.Notes = []watch.VersionState{v}, []watch.Note{{Key: "k"}}
		p.Events = []watch.Event{{Kind: watch.NewVersion, Upstream: "airflow", Chart: "airflow", Version: "1.0.0", Key: "new"}}
	})
	size := w.size()
	w.ok(w.RemoveUpstream(ctx, "airflow", by("usr-2"), at(1)))
	if ev := w.lastEvent(audit.UpstreamRemoved); ev.Detail["upstream"] != "airflow" || !ev.Time.Equal(start) {
		w.Fatalf("audit event %+v", ev)
	}
	_, err := w.Upstream(ctx, "airflow")
	w.refused(err, problem.NotFound, "upstream")
	_, err = w.RecordPoll(ctx, pollOf(lease, at(2)))
	w.refused(err, problem.Conflict, "lease")
	versions, err := w.Versions(ctx, u.ID, "")
	w.ok(err)
	if len(versions)+len(w.states(u.Sources[0].ID)) != 0 {
		w.Fatalf("left: %v", versions)
	}
	if events := w.events(watch.EventFilter{Upstream: "airflow"}); len(events) != 1 || w.size() != size {
		w.Fatalf("%d events stay, log %d of %d", len(events), w.size(), size)
	}
	again := w.watched("airflow")
	if again.ID == u.ID || again.Sources[0].ID == u.Sources[0].ID {
		w.Fatal("the numbers of what was removed were given again")
	}
	_, err = w.RecordPoll(ctx, pollOf(lease, at(2)))
	w.refused(err, problem.Conflict, "lease")
}

func leases(w *watcher) {
	ctx := w.Context()
	take := func(now time.Time, limit int) (names []string, got []watch.Lease) {
		w.Helper()
		got, err := w.LeaseSources(ctx, now, time.Minute, limit)
		w.ok(err)
		for _, l := range got {
			names = append(names, l.Upstream.Name)
			if !l.Until.Equal(now.Add(time.Minute)) || l.Token == 0 || l.Source.Upstream != l.Upstream.Name || l.Upstream.Keep != watch.KeepNew || l.Source.URL == "" ||
				l.Upstream.ID != l.Source.UpstreamID || !l.Upstream.Created.Equal(start) || l.Upstream.CreatedBy != "usr-suite" || len(l.Upstream.Sources) != 1 {
				w.Fatalf("lease %+v", l)
			}
		}
		return names, got
	}
	for _, name := range []string{"c", "a", "b"} { // due at 0; then after each other
		w.watched(name)
	}
	_, first := take(at(0), 10)
	for i, l := range first {
		w.poll(l, at(0), func(p *watch.Poll) { p.Health.NextPoll = at(60 + i) })
	}
	names, _ := take(at(59), 10)
	w.names("before any is due", names)
	names, _ = take(at(61), 1)
	w.names("the longest due", names, "c")
	names, got := take(at(61), 10)
	w.names("what is left", names, "a")
	names, _ = take(at(61), 10)
	w.names("when all are held", names)
	names, _ = take(at(62), 10)
	w.names("when a lease ran out", names, "c", "a", "b")
	_, err := w.RecordPoll(ctx, pollOf(got[0], at(62)))
	w.refused(err, problem.Conflict, "lease")
	names, again := take(at(63), 10)
	w.names("at the next end", names, "c", "a", "b")
	w.poll(again[1], at(70), func(p *watch.Poll) { p.Health.NextPoll = at(80) }) // ran out, and nobody took it
	names, _ = take(at(71), 10)
	w.names("when one was polled", names, "c", "b")
	health := watch.Health{LastPoll: at(70), NextPoll: at(80)}
	u, err := w.Upstream(ctx, "a")
	w.ok(err)
	w.equal("health", u.Sources[0].Health, health)
}

func pollNow(w *watcher) {
	ctx := w.Context()
	w.watched("a")
	w.poll(w.lease(at(0)), at(0), func(p *watch.Poll) { p.Health.NextPoll = at(600) })
	w.ok(w.PollNow(ctx, "a", at(5)))
	u, err := w.Upstream(ctx, "a")
	w.ok(err)
	if next := u.Sources[0].Health.NextPoll; !next.Equal(at(5)) {
		w.Fatalf("next poll %s", next)
	}
	lease := w.lease(at(5))
	w.ok(w.PollNow(ctx, "a", at(5))) // while it is polled: once more
	if got, err := w.LeaseSources(ctx, at(5), time.Minute, 10); err != nil || len(got) != 0 {
		w.Fatalf("leased twice: %v, %v", got, err)
	}
	w.poll(lease, at(5), func(p *watch.Poll) { p.Health.NextPoll = at(600) })
	w.poll(w.lease(at(5)), at(6), func(p *watch.Poll) { p.Health.NextPoll = time.Time{} })
	if u, err = w.Upstream(ctx, "a"); err != nil || !u.Sources[0].Health.NextPoll.Equal(at(66)) {
		w.Fatalf("without a time the next poll is at %s, want one interval later", u.Sources[0].Health.NextPoll)
	}
}

// RaceLeases has pollers lease and record at once, spread over stores of one
// database. Its error says what is not as it must be: each poll of a source was
// recorded once, by the one that held it.
func RaceLeases(ctx context.Context, now time.Time, sources int, stores ...WatchStore) error {
	for i := range sources {
		name := fmt.Sprint("race-", i)
		if _, err := stores[0].CreateUpstream(ctx, watch.Upstream{Name: name, Sources: []watch.Source{indexAt("https://" + name + ".example.test")}}, by("usr-suite"), now); err != nil {
			return err
		}
	}
	const rounds, pollers = 6, 64
	var mu sync.Mutex
	taken := map[string]int{}
	for round := range rounds {
		now := now.Add(time.Duration(round) * time.Hour)
		errs := make(chan error, pollers)
		var wg sync.WaitGroup
		for i := range pollers {
			wg.Go(func() {
				s := stores[i%len(stores)]
				got, err := s.LeaseSources(ctx, now, time.Minute, 1+i%3)
				for _, l := range got {
					key := fmt.Sprint(l.Source.ID, " ", round)
					mu.Lock()
					taken[key]++
					mu.Unlock()
					p := pollOf(l, now)
					p.Versions = []watch.VersionState{listed("race", fmt.Sprintf("%d.0.0", round))}
					p.Events = []watch.Event{{Kind: watch.NewVersion, Upstream: l.Upstream.Name, Key: key}}
					events, rerr := s.RecordPoll(ctx, p)
					if rerr == nil && len(events) != 1 {
						rerr = fmt.Errorf("poll %s has %d new events", key, len(events))
					}
					err = errors.Join(err, rerr)
				}
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return err
			}
		}
	}
	for key, n := range taken {
		if n != 1 {
			return fmt.Errorf("source and round %s: leased %d times", key, n)
		}
	}
	if len(taken) != sources*rounds {
		return fmt.Errorf("%d leases of %d sources in %d rounds", len(taken), sources, rounds)
	}
	for i, s := range stores {
		events, err := s.Events(ctx, watch.EventFilter{Limit: 1000})
		if err != nil || len(events) != sources*rounds {
			return fmt.Errorf("store %d has %d events, %w", i, len(events), err)
		}
	}
	return nil
}
