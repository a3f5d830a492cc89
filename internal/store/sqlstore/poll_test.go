package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var someTime = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// TestPollReplicas has two stores on one PostgreSQL poll the same upstreams.
func TestPollReplicas(t *testing.T) {
	t.Parallel()
	d := newPostgres(t)
	if err := storetest.RaceLeases(t.Context(), someTime, 12, d.open(t, nil), d.open(t, nil)); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade opens a database that was made before anything was watched.
func TestUpgrade(t *testing.T) {
	both(t, func(t *testing.T, d database) {
		s := d.open(t, nil)
		someProject(t, s)
		s.Close()
		db := d.behind(t)
		for _, table := range []string{"source", "upstream", "upstream_version", "note", "event", "pruned", "fingerprint", "reached", "deployment_import", "deployment", "declaration", "route", "delivery", "delivery_event"} {
			exec(t, db, "DROP TABLE "+table)
		}
		exec(t, db, "DELETE FROM migration WHERE name = '0002_watch.sql'")
		s = d.open(t, nil)
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateUpstream(t.Context(), watch.Upstream{Name: "u"}, someone(), someTime); err != nil {
			t.Fatal(err)
		}
		if err := s.KeepFingerprint(t.Context(), "fp", watch.OwnRelease{Project: "demo", LogIndex: 1}); err != nil {
			t.Fatal(err)
		}
	})
}

// benchWatch makes an upstream with one index of the name.
func benchWatch(tb testing.TB, s *sqlstore.Store, name string) watch.Lease {
	tb.Helper()
	ctx := context.Background()
	_, err := s.CreateUpstream(ctx, watch.Upstream{
		Name: name, Keep: watch.KeepNew, Sources: []watch.Source{{Kind: watch.SourceIndex, URL: "https://" + name + ".example.test/index.yaml", Interval: watch.Duration(time.Hour)}},
	}, someone(), someTime)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := s.LeaseSources(ctx, someTime, time.Hour, 1)
	if err != nil || len(got) != 1 {
		tb.Fatalf("%v, %v", got, err)
	}
	return got[0]
}

func benchVersions(n int) []watch.VersionState {
	out := make([]watch.VersionState, n)
	for i := range out {
		chart, version := fmt.Sprintf("chart-%d", i/100), fmt.Sprintf("%d.%d.0", i%100, i)
		out[i] = watch.VersionState{
			Known:      upstream.Known{Chart: chart, Version: version, Digests: []string{fmt.Sprintf("%064x", i)}, Created: someTime.Add(time.Duration(i) * 1234567)},
			AppVersion: "v1.2.3", URL: "https://charts.example.test/releases/download/" + chart + "-" + version + "/" + chart + "-" + version + ".tgz",
		}
	}
	return out
}

// benchPoll records versions in pieces of 2,000, as package watch does.
func benchPoll(tb testing.TB, s *sqlstore.Store, l watch.Lease, versions []watch.VersionState, observed string) {
	tb.Helper()
	for more := true; more; {
		n := min(2000, len(versions))
		p := &watch.Poll{SourceID: l.Source.ID, Lease: l.Token, Now: someTime, Versions: versions[:n]}
		for _, v := range versions[:n] {
			if observed != "" {
				p.Observed = append(p.Observed, watch.Observation{What: observed, Chart: v.Chart, Version: v.Version, Archive: "sha256:" + v.Digests[0], Created: v.Created})
				p.Events = append(p.Events, watch.Event{
					Kind: watch.Changed, Severity: watch.High, Upstream: l.Upstream.Name, Chart: v.Chart, Version: v.Version, Message: strings.Repeat("words ", 20),
					Key: fmt.Sprint(l.Upstream.Name, v.Chart, v.Version, v.Digests[0]), Evidence: []watch.Fact{{Label: "old", Value: v.Digests[0]}, {Label: "new", Value: v.Digests[0]}},
				})
			}
		}
		versions = versions[n:]
		more = len(versions) > 0
		p.More = true // the lease stays, so that the next turn has it
		if _, err := s.RecordPoll(context.Background(), p); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkRecordPoll measures a first poll of 10,000 versions, a poll that
// finds 1 % of them changed (with a leaf and an event for each), the reading of
// what is known, and a poll that finds nothing.
func BenchmarkRecordPoll(b *testing.B) {
	const versions = 10_000
	for _, place := range []struct {
		name string
		make func(testing.TB) database
	}{{"SQLite", newSQLite}, {"PostgreSQL", newPostgres}} {
		list := benchVersions(versions)
		b.Run(place.name+"/first", func(b *testing.B) {
			s := place.make(b).open(b, nil)
			i := 0
			measure(b, versions, func() func() {
				l := benchWatch(b, s, fmt.Sprint("u", i))
				i++
				return func() { benchPoll(b, s, l, list, "") }
			})
		})
		s := place.make(b).open(b, nil)
		l := benchWatch(b, s, "u")
		benchPoll(b, s, l, list, "")
		var known []watch.VersionState
		read := func() {
			known = known[:0]
			if err := s.VersionStates(context.Background(), l.Source.ID, func(v watch.VersionState) error {
				known = append(known, v)
				return nil
			}); err != nil || len(known) != versions {
				b.Fatalf("%d, %v", len(known), err)
			}
		}
		b.Run(place.name+"/states", func(b *testing.B) { measure(b, versions, func() func() { return read }) })
		read()
		b.Run(place.name+"/changed", func(b *testing.B) {
			i := 0
			measure(b, versions/100, func() func() {
				i++
				var changed []watch.VersionState
				for at := 0; at < versions; at += 100 {
					v := known[at]
					v.Digests = []string{fmt.Sprintf("%064x", 1_000_000*i+at)}
					changed = append(changed, v)
				}
				return func() { benchPoll(b, s, l, changed, tlog.ObservedChanged) }
			})
		})
		b.Run(place.name+"/nothing", func(b *testing.B) {
			measure(b, 1, func() func() { return func() { benchPoll(b, s, l, nil, "") } })
		})
		b.Run(place.name+"/remove", func(b *testing.B) {
			i := 0
			measure(b, versions, func() func() {
				name := fmt.Sprint("r", i)
				i++
				benchPoll(b, s, benchWatch(b, s, name), list, "")
				return func() {
					if err := s.RemoveUpstream(context.Background(), name, someone(), someTime); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// measure times what prepare returns, and not prepare, and says what it took of
// the processor for each of n rows.
func measure(b *testing.B, n int, prepare func() func()) {
	var cpu time.Duration
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		do := prepare()
		before := cpuTime(b)
		b.StartTimer()
		do()
		b.StopTimer()
		cpu += cpuTime(b) - before
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/row")
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N*n), "cpu-µs/row")
}
