package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
)

func auditFilters(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	l.account("usr-2", "bob")
	before := l.audited(release.AuditFilter{Limit: 1})[0].Index
	var events []audit.Event
	names := []audit.Name{audit.ReleaseAccepted, audit.RefusedOverwrite, audit.RefusedPolicy, audit.ReleaseYanked, audit.LoginOK}
	for i := range 60 {
		ev := by([]string{"usr-1", "usr-2"}[i%2])
		ev.Time = start.Add(time.Duration(i) * time.Millisecond)
		ev.Name = names[i%len(names)]
		ev.Outcome.Result = []audit.Result{audit.Allowed, audit.Denied, audit.Failed}[i%3]
		ev.Resource = audit.Resource{Project: []string{"p", "p/q", ""}[i%3], Chart: []string{"web", "db"}[i/2%2], Version: fmt.Sprintf("1.0.%d", i%4)}
		ev.Source = audit.Source{IP: fmt.Sprintf("192.0.2.%d", i), UserAgent: "agent"}
		events = append(events, ev)
	}
	l.ok(l.Record(ctx, start, events[:30]...))
	l.ok(l.Record(ctx, start, events[30:]...))
	everybody := map[string]string{"usr-1": "alice", "usr-2": "bob"}
	for _, f := range []release.AuditFilter{
		{}, {Project: "p"}, {Project: "p/q"}, {Chart: "web"}, {Version: "1.0.3"}, {Project: "p", Chart: "db", Version: "1.0.2"},
		{Action: "release.accepted"}, {Action: "release."}, {Action: "release.refused."}, {Action: "release.refused"}, {Action: "login."},
		{Actor: "alice"}, {Actor: "nobody"}, {Outcome: "denied"}, {Before: before + 11}, {Before: before + 31, Project: "p", Actor: "bob"},
		{Limit: 7}, {Limit: 7, Action: "release.", Actor: "alice"}, {Limit: 5000},
	} {
		var want []int64
		limit := f.Limit
		if limit == 0 {
			limit = 100
		}
		for i, ev := range slices.Backward(events) {
			index := before + 1 + int64(i)
			name := string(ev.Name)
			if (f.Project == "" || f.Project == ev.Resource.Project) && (f.Chart == "" || f.Chart == ev.Resource.Chart) &&
				(f.Version == "" || f.Version == ev.Resource.Version) && (f.Actor == "" || f.Actor == everybody[ev.Actor.ID]) &&
				(f.Action == "" || f.Action == name || strings.HasSuffix(f.Action, ".") && strings.HasPrefix(name, f.Action)) &&
				(f.Outcome == "" || f.Outcome == string(ev.Outcome.Result)) && (f.Before == 0 || index < f.Before) && len(want) < limit {
				want = append(want, index)
			}
		}
		var got []int64
		for _, rec := range l.audited(f) {
			if rec.Index <= before {
				break // what came before this test
			}
			ev := events[rec.Index-before-1]
			if rec.Event.Name != ev.Name || rec.Event.Resource != ev.Resource || !rec.Event.Time.Equal(ev.Time) || rec.Event.Source != ev.Source ||
				rec.Actor != everybody[ev.Actor.ID] || rec.Event.Outcome != ev.Outcome || rec.Event.ID == "" {
				l.Fatalf("event %d: got %+v, want %+v", rec.Index, rec, ev)
			}
			got = append(got, rec.Index)
		}
		if !slices.Equal(got, want) {
			l.Fatalf("filter %+v: got events %v, want %v", f, got, want)
		}
	}
}

// auditRefused records what somebody sent and was refused for: it may be any
// bytes of any length.
func auditRefused(l *ledger) {
	for i, text := range []string{"\x00", "a\x00b", "\xff\xfe.", strings.Repeat("x", 1<<20), strings.Repeat("\u00e9", 300), "'; DROP TABLE release; --", "\u202e"} {
		ev := named(audit.RefusedValidation)
		ev.Actor = audit.Actor{Kind: access.KindAnonymous}
		ev.Outcome.Result = audit.Denied
		ev.Resource = audit.Resource{Project: text, Chart: text, Version: text, Digest: text}
		ev.Source = audit.Source{IP: text, UserAgent: text}
		ev.Detail, ev.Reason, ev.RequestID = map[string]string{"file": text}, text, text
		l.ok(l.Record(l.Context(), start, ev))
		if got := l.audited(release.AuditFilter{Project: text, Limit: 10}); len(got) != 1 {
			l.Fatalf("text %d: found %d events", i, len(got))
		}
	}
}

func outbox(l *ledger) {
	ctx := l.Context()
	drain := func(limit int) (got []release.AuditRecord) {
		l.Helper()
		n, err := l.Relay(ctx, limit, func(recs []release.AuditRecord) error {
			got = append(got, recs...)
			return nil
		})
		l.ok(err)
		if n != len(got) || n > limit {
			l.Fatalf("relayed %d, limit %d, handed out %d", n, limit, len(got))
		}
		return got
	}
	drain(1000)
	if got := drain(1000); len(got) != 0 {
		l.Fatalf("told twice: %v", got)
	}
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	_, err := l.Claim(ctx, offer(l.project, "web", "1.0.0", "other"))
	if err == nil {
		l.Fatal("overwritten")
	}
	l.setState(r, true)

	broken := errors.New("the world does not listen")
	seen := 0
	n, err := l.Relay(ctx, 1000, func(recs []release.AuditRecord) error {
		seen = len(recs)
		return broken
	})
	if !errors.Is(err, broken) || n != 0 || seen != 3 {
		l.Fatalf("relayed %d of %d, %v", n, seen, err)
	}
	// A process that dies in the middle tells them again, and so does the next.
	l.ok(l.Close())
	l.LedgerStore = l.open(l.T, nil)
	var names []audit.Name
	var last int64
	for _, limit := range []int{1, 1, 1000} {
		for _, rec := range drain(limit) {
			if rec.Index <= last {
				l.Fatalf("event %d after %d", rec.Index, last)
			}
			last = rec.Index
			names = append(names, rec.Event.Name)
		}
	}
	if want := []audit.Name{audit.ReleaseAccepted, audit.RefusedOverwrite, audit.ReleaseYanked}; !slices.Equal(names, want) {
		l.Fatalf("told %v, want %v", names, want)
	}
	if got := drain(1000); len(got) != 0 {
		l.Fatalf("told twice: %v", got)
	}
	if n := len(l.audited(release.AuditFilter{Action: "release.", Limit: 100})); n != 3 {
		l.Fatalf("the trail has %d events", n)
	}
}
