package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func (w *watcher) events(f watch.EventFilter) []watch.Event {
	w.Helper()
	got, err := w.Events(w.Context(), f)
	w.ok(err)
	return got
}

// pollFirst records a first poll with everything that a poll can have, and
// reads all of it.
func pollFirst(w *watcher) {
	ctx := w.Context()
	u := w.watched("airflow")
	lease := w.lease(at(0))
	now := at(1).Add(456 * time.Millisecond)
	size := w.size()
	created := start.Add(-time.Hour + 123456789)
	v, odd := listed("airflow", "8.9.0"), listed("airflow", "8.8.0")
	v.Created, v.Content = created, sha256Of([]byte("content"))
	odd.Digests = []string{""}
	events := w.poll(lease, now, func(p *watch.Poll) {
		p.Versions = []watch.VersionState{v, odd, listed("airflow", "8.9.0")} // of one given twice, the last
		p.Versions[2].Created, p.Versions[2].Content = v.Created, v.Content
		p.Observed = []watch.Observation{
			{What: tlog.ObservedSeen, Chart: "airflow", Version: "8.9.0", Archive: "sha256:" + v.Digests[0]}, // with its version
			{What: tlog.ObservedArchive, Chart: "airflow", Version: "8.9.0", Archive: sha256Of([]byte("a")), Content: v.Content, Created: created},
			{What: tlog.ObservedVanished, Chart: "other", Version: "1.0.0", Archive: "nonsense"},
		}
		p.Notes = []watch.Note{{Key: "n", Chart: "airflow", Version: "8.9.0", Title: "T", Text: "text"}}
		p.Events = []watch.Event{
			{Kind: watch.NewVersion, Severity: watch.Info, Upstream: "airflow", Chart: "airflow", Version: "8.9.0", Key: "new"},
			{Kind: watch.ArchiveMismatch, Severity: watch.High, Upstream: "airflow", Chart: "airflow", Version: "8.9.0", Key: "mismatch"},
			{Kind: watch.Deprecated, Severity: watch.Low, Upstream: "airflow", Chart: "airflow", Version: "8.8.0", Key: "deprecated"},
			{Kind: watch.Unreachable, Severity: watch.Low, Upstream: "airflow", Key: "unreachable", Time: at(-5)},
		}
		p.Validators = watch.Validators{ETag: `"e"`, LastModified: "l", Digest: "sha256:d"}
		p.Health = watch.Health{LastPoll: now, LastSuccess: now, LastChange: now, NextPoll: at(61), Failures: 2, Error: "e", Versions: 2, Suspect: "s", Suspects: 1, SuspectSince: at(-1)}
	})
	if w.size() != size+4 {
		w.Fatalf("the log grew by %d leaves, want 4", w.size()-size)
	}
	leafTime := at(1) // whole seconds
	states := w.states(u.Sources[0].ID)
	want := []watch.VersionState{odd, v}
	for i := range want {
		want[i].SourceID, want[i].FirstSeen, want[i].LastChange = u.Sources[0].ID, leafTime, leafTime
	}
	want[0].LogIndex, want[1].LogIndex = size, size+1 // in the order of the poll
	w.equal("states", states, want)
	base := tlog.Observation{Upstream: "airflow", Source: "https://airflow.example.test/index.yaml", Chart: "airflow", Time: leafTime}
	for i, change := range []func(o *tlog.Observation){
		func(o *tlog.Observation) { o.Version, o.Observed = "8.8.0", tlog.ObservedSeen },
		func(o *tlog.Observation) {
			o.Version, o.Observed, o.Archive, o.Content, o.Created = "8.9.0", tlog.ObservedSeen, "sha256:"+v.Digests[0], v.Content, created.Truncate(time.Second)
		},
		func(o *tlog.Observation) {
			o.Version, o.Observed, o.Archive, o.Content, o.Created = "8.9.0", tlog.ObservedArchive, sha256Of([]byte("a")), v.Content, created.Truncate(time.Second)
		},
		func(o *tlog.Observation) { o.Chart, o.Version, o.Observed = "other", "1.0.0", tlog.ObservedVanished },
	} {
		o := base
		change(&o)
		w.equal(fmt.Sprint("leaf ", i), w.observed(size+int64(i)), o)
	}
	if len(events) != 4 || events[0].LogIndex != size+1 || events[1].LogIndex != size+2 || events[2].LogIndex != size || events[3].LogIndex != 0 ||
		!events[0].Time.Equal(now) || !events[3].Time.Equal(at(-5)) || events[0].ID == 0 || events[3].ID != events[0].ID+3 {
		w.Fatalf("events %+v", events)
	}
	read := w.events(watch.EventFilter{Upstream: "airflow"})
	w.equal("events", read, []watch.Event{events[3], events[2], events[1], events[0]})
	after, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	src := after.Sources[0]
	w.equal("validators", src.Validators, watch.Validators{ETag: `"e"`, LastModified: "l", Digest: "sha256:d"})
	w.equal("health", src.Health, watch.Health{LastPoll: now, LastSuccess: now, LastChange: now, NextPoll: at(61), Failures: 2, Error: "e", Versions: 2, Suspect: "s", Suspects: 1, SuspectSince: at(-1)})
	_, err = w.RecordPoll(ctx, pollOf(lease, at(2))) // the lease ended with it
	w.refused(err, problem.Conflict, "lease")
}

// pollAgain changes what is known: first-seen time and log index stay.
func pollAgain(w *watcher) {
	w.watched("airflow")
	l := w.lease(at(0))
	w.poll(l, at(0), func(p *watch.Poll) {
		p.Versions = []watch.VersionState{listed("airflow", "1.0.0"), listed("airflow", "2.0.0")}
	})
	before := w.states(l.Source.ID)
	size := w.size()
	l = w.lease(at(60))
	events := w.poll(l, at(60), func(p *watch.Poll) {
		changed := before[0]
		changed.Digests, changed.LastChange, changed.FirstSeen, changed.LogIndex = []string{strings.Repeat("c", 64)}, at(60), at(1000), 77
		p.Versions = []watch.VersionState{changed, listed("airflow", "3.0.0")}
		p.Observed = []watch.Observation{{What: tlog.ObservedChanged, Chart: "airflow", Version: "1.0.0", Archive: "sha256:" + changed.Digests[0]}}
		p.Events = []watch.Event{{Kind: watch.Changed, Upstream: "airflow", Chart: "airflow", Version: "1.0.0", Key: "changed"}}
	})
	want := before
	want[0].Digests, want[0].LastChange = []string{strings.Repeat("c", 64)}, at(60)
	added := listed("airflow", "3.0.0")
	added.SourceID, added.FirstSeen, added.LastChange, added.LogIndex = l.Source.ID, at(60), at(60), size
	w.equal("states", w.states(l.Source.ID), append(want, added))
	if o := w.observed(events[0].LogIndex); o.Observed != tlog.ObservedChanged || o.Archive != "sha256:"+strings.Repeat("c", 64) {
		w.Fatalf("leaf of the change: %+v", o)
	}
	if w.size() != size+2 {
		w.Fatalf("%d leaves", w.size()-size)
	}
}

// pollRepeated has a poller that did not read what is known: no version is
// seen for the first time twice, and each has the index of its own leaf.
func pollRepeated(w *watcher) {
	w.watched("airflow")
	var all []watch.VersionState
	for i := range 200 {
		all = append(all, listed("airflow", fmt.Sprintf("1.0.%03d", i)))
	}
	odd := func(yes int) (half []watch.VersionState) {
		for i, v := range all {
			if i%2 == yes {
				half = append(half, v)
			}
		}
		return half
	}
	l := w.lease(at(0))
	w.poll(l, at(0), func(p *watch.Poll) { p.Versions, p.More = odd(1), true })
	before := w.states(l.Source.ID)
	size := w.size()
	events := w.poll(l, at(30), func(p *watch.Poll) {
		p.Versions = append([]watch.VersionState(nil), all...)
		p.Versions[1].AppVersion = "updated"
		p.Observed = []watch.Observation{{What: tlog.ObservedSeen, Chart: "airflow", Version: "1.0.001"}}
		p.Events = []watch.Event{{Kind: watch.NewVersion, Chart: "airflow", Version: "1.0.001", Key: "late"}}
	})
	if w.size() != size+100 {
		w.Fatalf("the log grew by %d leaves, want 100", w.size()-size)
	}
	states := w.states(l.Source.ID)
	if len(states) != 200 {
		w.Fatalf("%d states", len(states))
	}
	for i, v := range states {
		o := w.observed(v.LogIndex)
		if o.Version != v.Version || !o.Time.Equal(v.FirstSeen) || v.Version != all[i].Version {
			w.Fatalf("version %s has the leaf of %s", v.Version, o.Version)
		}
	}
	first := before[0]
	first.AppVersion = "updated"
	w.equal("known", states[1], first)
	if events[0].LogIndex != first.LogIndex {
		w.Fatalf("event %+v", events[0])
	}
}

func pollPieces(w *watcher) {
	ctx := w.Context()
	w.watched("airflow")
	w.poll(w.lease(at(0)), at(0), func(p *watch.Poll) {
		p.Validators = watch.Validators{ETag: "old"}
		p.Health = watch.Health{LastPoll: at(0), NextPoll: at(10), Versions: 7}
	})
	l := w.lease(at(10))
	before, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	for i := range 3 {
		w.poll(l, at(10), func(p *watch.Poll) {
			p.Versions, p.More = []watch.VersionState{listed("airflow", fmt.Sprintf("%d.0.0", i))}, true
			p.Validators, p.Health = watch.Validators{ETag: "new"}, watch.Health{Failures: 9}
		})
		after, err := w.Upstream(ctx, "airflow")
		w.ok(err)
		w.equal("in the middle", after, before)
		if got, err := w.LeaseSources(ctx, at(10), time.Minute, 10); err != nil || len(got) != 0 {
			w.Fatalf("leased in the middle: %v, %v", got, err)
		}
	}
	w.reopen() // the process ends in the middle; another does the rest
	again := w.lease(at(11))
	w.equal("validators", again.Source.Validators, watch.Validators{ETag: "old"})
	if n := len(w.states(l.Source.ID)); n != 3 {
		w.Fatalf("%d versions", n)
	}
	_, err = w.RecordPoll(ctx, pollOf(l, at(11)))
	w.refused(err, problem.Conflict, "lease")
	w.poll(again, at(11), func(p *watch.Poll) { p.Validators.ETag = "new" })
}

// pollLost records with leases that are not held: nothing is written.
func pollLost(w *watcher) {
	ctx := w.Context()
	w.watched("airflow")
	old := w.lease(at(0))
	w.lease(at(5))
	size := w.size()
	before, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	for _, l := range []watch.Lease{
		old, {Source: old.Source}, {Source: old.Source, Token: old.Token + 1}, {Source: watch.Source{ID: old.Source.ID + 1}, Token: old.Token}, {},
	} {
		for _, more := range []bool{false, true} {
			p := pollOf(l, at(6))
			p.More, p.Versions, p.Notes = more, []watch.VersionState{listed("airflow", "1.0.0")}, []watch.Note{{Key: "k"}}
			p.Events = []watch.Event{{Kind: watch.NewVersion, Key: "new"}}
			events, err := w.RecordPoll(ctx, p)
			w.refused(err, problem.Conflict, "lease")
			if len(events) != 0 {
				w.Fatalf("events %v", events)
			}
		}
	}
	w.nothing(old, size, before)
}

// nothing checks that a poll left nothing.
func (w *watcher) nothing(l watch.Lease, size int64, before watch.Upstream) {
	w.Helper()
	after, err := w.Upstream(w.Context(), before.Name)
	w.ok(err)
	w.equal("upstream", after, before)
	list, err := w.Notes(w.Context(), before.ID, "", "", 10)
	w.ok(err)
	if n := len(w.states(l.Source.ID)) + len(list) + len(w.events(watch.EventFilter{})); n != 0 || w.size() != size {
		w.Fatalf("%d rows, and %d leaves", n, w.size()-size)
	}
}

// pollFails has a poll that fails at its last event, when all else is written.
func pollFails(w *watcher) {
	ctx := w.Context()
	w.watched("airflow")
	l := w.lease(at(0))
	size := w.size()
	before, err := w.Upstream(ctx, "airflow")
	w.ok(err)
	p := pollOf(l, at(0))
	for i := range 300 {
		p.Versions = append(p.Versions, listed("airflow", fmt.Sprintf("%d.0.0", i)))
	}
	p.Notes = []watch.Note{{Key: "k"}}
	p.Events = []watch.Event{{Key: "good"}, {Kind: watch.NewVersion}}
	if _, err = w.RecordPoll(ctx, p); err == nil || !strings.Contains(err.Error(), "no key") {
		w.Fatalf("got %v", err)
	}
	w.nothing(l, size, before)
	p.Events = p.Events[:1]
	if events, err := w.RecordPoll(ctx, p); err != nil || len(events) != 1 {
		w.Fatalf("then: %v, %v", events, err)
	}
}

// failingPoll mixes polls that must fail with good ones, so that they meet in
// one transaction.
func failingPoll(w *watcher) {
	ctx := w.Context()
	var wg sync.WaitGroup
	for i := range 40 {
		name := fmt.Sprint("u", i)
		w.watched(name)
		l := w.lease(at(0))
		wg.Go(func() {
			p := pollOf(l, at(0))
			p.Versions = []watch.VersionState{listed(name, "1.0.0"), listed(name, "2.0.0")}
			p.Events = []watch.Event{{Kind: watch.NewVersion, Upstream: name, Chart: name, Version: "2.0.0", Key: name}}
			if i%4 == 0 {
				p.Events[0].Key = ""
			}
			if i%7 == 0 {
				p.Lease++
			}
			_, err := w.RecordPoll(ctx, p)
			if bad := i%4 == 0 || i%7 == 0; bad != (err != nil) {
				w.Errorf("poll %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 40 {
		name := fmt.Sprint("u", i)
		u, err := w.Upstream(ctx, name)
		w.ok(err)
		states, events := w.states(u.Sources[0].ID), w.events(watch.EventFilter{Upstream: name})
		if i%4 == 0 || i%7 == 0 {
			if len(states)+len(events) != 0 {
				w.Fatalf("poll %d left %d states and %d events", i, len(states), len(events))
			}
			continue
		}
		if len(states) != 2 || len(events) != 1 || events[0].LogIndex != states[1].LogIndex {
			w.Fatalf("poll %d: %+v, %+v", i, states, events)
		}
		for _, v := range states {
			if o := w.observed(v.LogIndex); o.Chart != name || o.Version != v.Version {
				w.Fatalf("leaf %+v of %+v", o, v)
			}
		}
	}
}

func versionFields(w *watcher) {
	w.watched("airflow")
	l := w.lease(at(0))
	full := watch.VersionState{
		Known: upstream.Known{
			Chart: "airflow", Version: "1.0.0", Digests: []string{strings.Repeat("a", 64), strings.Repeat("b", 64), "no, digest"},
			Created: time.Date(2024, 2, 3, 4, 5, 6, 123456789, time.UTC), Fault: "f\x00<é>", Bare: true, Gone: true,
		},
		SourceID: l.Source.ID, AppVersion: "2.8", Deprecated: true, URL: "https://x.example.test/a b?c=1&d=2", FirstSeen: at(-9), LogIndex: 5, LastChange: at(-3),
		Archive: sha256Of([]byte("a")), Content: sha256Of([]byte("c")), Fingerprint: "fp", ArchiveError: "e", Earlier: []watch.Bytes{{Archive: sha256Of([]byte("b")), Content: sha256Of([]byte("d")), Fingerprint: "fq", Listed: sha256Of([]byte("l")), Replaced: at(-4)}, {Replaced: at(-3)}},
		Served: watch.Served{ETag: `W/"x"`, LastModified: "Mon, 02 Mar 2026 12:00:00 GMT", Asked: at(-1), Read: at(-2)},
	}
	want := []watch.VersionState{full}
	for i, created := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Date(-1, 1, 1, 0, 0, 0, 7, time.UTC), time.Date(0, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)} {
		v := listed("times", fmt.Sprint(i))
		v.SourceID, v.FirstSeen, v.LogIndex, v.Created, v.LastChange = l.Source.ID, at(-1), 3, created, at(-1)
		want = append(want, v)
	}
	w.poll(l, at(0), func(p *watch.Poll) { p.Versions, p.More = want, true })
	w.equal("states", w.states(l.Source.ID), want)
	w.poll(l, at(1), func(p *watch.Poll) { // as first seen, they get leaves
		for _, v := range want {
			v.Chart, v.FirstSeen = v.Chart+"2", time.Time{}
			p.Versions = append(p.Versions, v)
		}
	})
	for _, v := range w.states(l.Source.ID) {
		if !strings.HasSuffix(v.Chart, "2") {
			continue
		}
		o := w.observed(v.LogIndex)
		if y := v.Created.Year(); (y >= 1 && y <= 9999) != o.Created.Equal(v.Created.Truncate(time.Second)) || o.Version != v.Version {
			w.Fatalf("leaf %+v of %+v", o, v)
		}
	}
	stop := errors.New("stop")
	n := 0
	err := w.VersionStates(w.Context(), l.Source.ID, func(watch.VersionState) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		w.Fatalf("%d, %v", n, err)
	}
}

// foreignNames records what no chart is called, and an index may contain.
func foreignNames(w *watcher) {
	ctx := w.Context()
	u := w.watched("airflow")
	l := w.lease(at(0))
	long := strings.Repeat("v", 8<<10)
	names := []string{"", " ", "a\x00b", "a?b", "-", long, long + "x", tlog.BoundedName(long), strings.Repeat("\u00e9", 200), "\u202e", "'; DROP TABLE source; --", "100%", "café\n"}
	var versions []watch.VersionState
	var noted []watch.Note
	var events []watch.Event
	for i, name := range names {
		v := listed(name, name)
		v.URL, v.AppVersion, v.Fault, v.ArchiveError, v.Fingerprint = name, name, name, name, fmt.Sprint("fp", i)
		versions = append(versions, v)
		noted = append(noted, watch.Note{Key: "k" + name, Chart: name, Version: name, Title: name, URL: name, Text: name, Published: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)})
		events = append(events, watch.Event{Kind: watch.NewVersion, Upstream: "airflow", Chart: name, Version: name, Message: name, Key: "k" + name, Evidence: []watch.Fact{{Label: "l", Value: name}}})
	}
	for range 2 { // and again as what is known
		w.poll(l, at(0), func(p *watch.Poll) { p.Versions, p.Notes, p.Events, p.More = versions, noted, events, true })
		for i, name := range names {
			got, err := w.Versions(ctx, u.ID, name)
			w.ok(err)
			if name == "" {
				got = got[:0]
				all, err := w.Versions(ctx, u.ID, "")
				w.ok(err)
				if len(all) != len(names) {
					w.Fatalf("%d of %d versions", len(all), len(names))
				}
				for _, v := range all {
					if v.Chart == "" {
						got = append(got, v)
					}
				}
			}
			if len(got) != 1 {
				w.Fatalf("%.40q: %d versions", name, len(got))
			}
			want := listed(name, name)
			want.URL, want.AppVersion, want.Fault, want.ArchiveError, want.Fingerprint = name, name, name, name, fmt.Sprint("fp", i)
			want.SourceID, want.FirstSeen, want.LastChange, want.LogIndex = l.Source.ID, at(0), at(0), got[0].LogIndex
			w.equal("version", got[0], want)
			if o := w.observed(want.LogIndex); o.Chart != tlog.BoundedName(name) || o.Version != tlog.BoundedName(name) {
				w.Fatalf("leaf %+v", o)
			}
			if name == "" {
				continue
			}
			list, err := w.Notes(ctx, u.ID, name, name, 10)
			w.ok(err)
			w.equal("notes", list, []watch.Note{{SourceID: l.Source.ID, Key: "k" + name, Chart: name, Version: name, Title: name, URL: name, Text: name, FirstSeen: at(0)}})
			if got := w.events(watch.EventFilter{Chart: name, Version: name}); len(got) != 1 || got[0].Chart != name || got[0].Message != name || got[0].Evidence[0].Value != name {
				w.Fatalf("events %+v", got)
			}
		}
	}
	w.poll(l, at(0), func(p *watch.Poll) { // not text at all
		p.Versions = []watch.VersionState{listed("\xff", "\xfe"), listed("\xfe", "\xff")}
		p.Events = []watch.Event{{Kind: watch.NewVersion, Chart: "\xff", Key: "\xff"}}
	})
	if n := len(w.states(l.Source.ID)); n != len(names)+2 {
		w.Fatalf("%d versions", n)
	}
}

// manyVersions writes an index in pieces, as a watcher does.
func manyVersions(w *watcher) {
	w.watched("large")
	l := w.lease(at(0))
	const all, piece = 5000, 2000
	size := w.size()
	for from := 0; from < all; from += piece {
		w.poll(l, at(0), func(p *watch.Poll) {
			for i := from; i < min(all, from+piece); i++ {
				v := listed(fmt.Sprintf("chart-%d", i%50), fmt.Sprintf("%d.0.0", i))
				v.URL = "https://large.example.test/" + v.Chart + "-" + v.Version + ".tgz"
				p.Versions = append(p.Versions, v)
				p.Events = append(p.Events, watch.Event{Kind: watch.NewVersion, Upstream: "large", Chart: v.Chart, Version: v.Version, Key: v.Chart + "@" + v.Version})
			}
			p.More = from+piece < all
		})
	}
	states := w.states(l.Source.ID)
	if len(states) != all || w.size() != size+all {
		w.Fatalf("%d states, %d leaves", len(states), w.size()-size)
	}
	for i := 0; i < all; i += 97 {
		v := states[i]
		if o := w.observed(v.LogIndex); o.Chart != v.Chart || o.Version != v.Version || o.Archive != "sha256:"+v.Digests[0] {
			w.Fatalf("leaf %+v of %+v", o, v)
		}
		if got := w.events(watch.EventFilter{Upstream: "large", Chart: v.Chart, Version: v.Version}); len(got) != 1 || got[0].LogIndex != v.LogIndex {
			w.Fatalf("event %+v of %+v", got, v)
		}
	}
	if got, err := w.Versions(w.Context(), l.Upstream.ID, "chart-7"); err != nil || len(got) != all/50 {
		w.Fatalf("%d versions of one chart, %v", len(got), err)
	}
}
