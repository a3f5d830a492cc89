package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// ScrubStore is what a scrub, its findings and copies of what was refused are
// kept in.
type ScrubStore interface {
	LedgerStore
	release.Scrubs
	release.RefusedRows
}

// Scrubs is the suite that every implementation of release.Scrubs and
// release.RefusedRows passes.
func Scrubs(t *testing.T, place func(t *testing.T) func(t *testing.T, now func() time.Time) ScrubStore) {
	for name, test := range map[string]func(*scrubs){
		"lease": (*scrubs).lease, "findings": (*scrubs).findings, "refused": (*scrubs).refused, "audit spans": (*scrubs).spans,
	} {
		t.Run(name, func(t *testing.T) {
			open := place(t)
			s := &scrubs{T: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
			s.ScrubStore = open(t, func() time.Time { return s.now })
			s.other = open(t, func() time.Time { return s.now })
			test(s)
		})
	}
}

type scrubs struct {
	*testing.T
	ScrubStore
	other ScrubStore // another process on the same database
	now   time.Time
}

func (s *scrubs) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scrubs) event(name audit.Name) audit.Event {
	return audit.Event{Name: name, Door: audit.DoorServer, Actor: audit.Actor{Kind: access.KindSystem, ID: "scrub"}, Outcome: audit.Outcome{Result: audit.Failed, Rule: "x"}}
}

func (s *scrubs) events(name audit.Name) int {
	s.Helper()
	list, err := s.AuditRecords(s.Context(), release.AuditFilter{Action: string(name), Limit: 100})
	s.ok(err)
	return len(list)
}

// lease gives the state to one process at a time, and to another when the
// first is gone.
func (s *scrubs) lease() {
	ctx := s.Context()
	token, st, err := s.LeaseScrub(ctx, s.now, time.Minute)
	s.ok(err)
	if token == 0 || st.Running || st.Last != nil {
		s.Fatalf("a new database is not due: %d %+v", token, st)
	}
	if again, _, err := s.other.LeaseScrub(ctx, s.now, time.Minute); err != nil || again != 0 {
		s.Fatalf("held twice: %d, %v", again, err)
	}
	st.Running, st.Started, st.Next = true, s.now, 512
	s.ok(s.SaveScrub(ctx, token, st, s.now, time.Minute))
	if again, _, err := s.other.LeaseScrub(ctx, s.now.Add(30*time.Second), time.Minute); err != nil || again != 0 {
		s.Fatalf("held twice: %d, %v", again, err)
	}
	// The first died: who comes next takes up what it left, due or not.
	s.now = s.now.Add(2 * time.Minute)
	next, st, err := s.other.LeaseScrub(ctx, s.now, time.Minute)
	s.ok(err)
	if next == 0 || !st.Running || st.Next != 512 || !st.Started.Equal(s.now.Add(-2*time.Minute)) {
		s.Fatalf("%d %+v", next, st)
	}
	if err := s.SaveScrub(ctx, token, st, s.now, time.Minute, s.event(audit.IntegrityChecked)); problem.KindOf(err) != problem.Conflict {
		s.Fatalf("the first saves still: %v", err)
	}
	if s.events(audit.IntegrityChecked) != 0 {
		s.Error("what was not saved is recorded")
	}
	st = release.ScrubState{Due: s.now.Add(time.Hour), Last: &release.ScrubReport{LogSize: 600, Counts: release.ScrubCounts{Bytes: 5}}}
	s.ok(s.other.SaveScrub(ctx, next, st, s.now, 0, s.event(audit.IntegrityChecked)))
	if s.events(audit.IntegrityChecked) != 1 {
		s.Error("the end is not recorded")
	}
	if early, _, err := s.LeaseScrub(ctx, s.now.Add(59*time.Minute), time.Minute); err != nil || early != 0 {
		s.Fatalf("before it is due: %d, %v", early, err)
	}
	s.ok(s.AskScrub(ctx, s.now))
	if token, st, err = s.LeaseScrub(ctx, s.now, time.Minute); err != nil || token == 0 || st.Last.LogSize != 600 || st.Last.Counts.Bytes != 5 {
		s.Fatalf("asked for: %d %+v, %v", token, st, err)
	}
}

func (s *scrubs) findings() {
	ctx := s.Context()
	find := func(key string, at time.Time) bool {
		opened, err := s.RecordFinding(ctx, release.Finding{Key: key, Kind: release.BytesChanged, LogIndex: 3, Message: "m " + key, First: s.now}, s.event(audit.IntegrityMismatch), at)
		s.ok(err)
		return opened
	}
	t0, t1, t2 := s.now, s.now.Add(time.Hour), s.now.Add(2*time.Hour)
	if !find("a", t0) || !find("b", t0) || find("a", t1) {
		s.Error("new is not new, or old is")
	}
	if n := s.events(audit.IntegrityMismatch); n != 2 {
		s.Errorf("%d events of two findings", n)
	}
	n, err := s.ResolveFindings(ctx, t1, t1)
	s.ok(err)
	if n != 1 {
		s.Errorf("%d resolved", n)
	}
	open, err := s.other.Findings(ctx, true, 10)
	s.ok(err)
	if len(open) != 1 || open[0].Key != "a" || !open[0].First.Equal(t0) || !open[0].Last.Equal(t1) || open[0].Message != "m a" || open[0].LogIndex != 3 {
		s.Errorf("open %+v", open)
	}
	all, err := s.Findings(ctx, false, 10)
	s.ok(err)
	if len(all) != 2 || !all[1].Resolved.Equal(t1) {
		s.Errorf("all %+v", all)
	}
	// What comes back is told again.
	if !find("b", t2) || s.events(audit.IntegrityMismatch) != 3 {
		s.Error("it came back, and nobody is told")
	}
	if open, err := s.Findings(ctx, true, 10); err != nil || len(open) != 2 || !open[0].First.Equal(t2) || !open[0].Resolved.IsZero() {
		s.Errorf("open %+v, %v", open, err)
	}
}

func (s *scrubs) refused() {
	ctx := s.Context()
	copyOf := func(digest, project, version string, size int64, at time.Time) release.RefusedCopy {
		return release.RefusedCopy{Digest: digest, Project: project, Chart: "web", Version: version, Size: size, Door: "oci", Actor: "usr", First: at, Last: at, Times: 1, Expires: at.Add(time.Hour)}
	}
	t0, t1 := s.now, s.now.Add(time.Minute)
	for _, c := range []release.RefusedCopy{copyOf("sha256:a", "demo", "1.0.0", 10, t0), copyOf("sha256:b", "demo", "1.0.0", 20, t0), copyOf("sha256:a", "demo", "1.0.0", 10, t1), copyOf("sha256:a", "other", "1.0.0", 10, t0)} {
		s.ok(s.NoteRefused(ctx, c))
	}
	list, err := s.other.RefusedCopies(ctx, "demo", 10)
	s.ok(err)
	if len(list) != 2 || list[0].Digest != "sha256:a" || list[0].Times != 2 || !list[0].First.Equal(t0) || !list[0].Last.Equal(t1) || !list[0].Expires.Equal(t1.Add(time.Hour)) {
		s.Errorf("list %+v", list)
	}
	if all, err := s.RefusedCopies(ctx, "", 2); err != nil || len(all) != 2 {
		s.Errorf("all %+v, %v", all, err)
	}
	if n, err := s.RefusedBytes(ctx); err != nil || n != 30 {
		s.Errorf("%d bytes, %v", n, err)
	}
	if of, err := s.RefusedDigest(ctx, "sha256:a"); err != nil || len(of) != 2 || of[0].Project != "demo" {
		s.Errorf("of a digest %+v, %v", of, err)
	}
	if oldest, err := s.RefusedOldest(ctx, 1); err != nil || len(oldest) != 1 || oldest[0].Digest != "sha256:b" || oldest[0].Size != 20 {
		s.Errorf("oldest %+v, %v", oldest, err)
	}
	s.ok(s.ForgetRefused(ctx, "sha256:a"))
	if n, err := s.RefusedBytes(ctx); err != nil || n != 20 {
		s.Errorf("%d bytes, %v", n, err)
	}
}

// spans asks for events by what the filters of the trail do not cover.
func (s *scrubs) spans() {
	ctx := context.WithoutCancel(s.Context())
	for i := range 10 {
		ev := s.event(audit.LoginOK)
		ev.Time, ev.Source = s.now.Add(time.Duration(i)*time.Hour), audit.Source{IP: fmt.Sprintf("192.0.2.%d", i%2)}
		ev.Outcome = audit.Outcome{Result: audit.Denied, Rule: fmt.Sprintf("rule-%d", i%5)}
		s.ok(s.Record(ctx, s.now, ev))
	}
	for name, c := range map[string]struct {
		filter release.AuditFilter
		want   []int64
	}{
		"since":           {release.AuditFilter{Since: s.now.Add(7 * time.Hour)}, []int64{9, 8, 7}},
		"until":           {release.AuditFilter{Until: s.now.Add(2 * time.Hour)}, []int64{1, 0}},
		"a span":          {release.AuditFilter{Since: s.now.Add(2 * time.Hour), Until: s.now.Add(4 * time.Hour)}, []int64{3, 2}},
		"address":         {release.AuditFilter{Source: "192.0.2.1", Limit: 2}, []int64{9, 7}},
		"rule":            {release.AuditFilter{Rule: "rule-3"}, []int64{8, 3}},
		"rule, one":       {release.AuditFilter{Rule: "rule-3", Limit: 1}, []int64{8}},
		"oldest":          {release.AuditFilter{Oldest: true, From: 4, Limit: 3}, []int64{4, 5, 6}},
		"oldest and rule": {release.AuditFilter{Oldest: true, Rule: "rule-0"}, []int64{0, 5}},
	} {
		list, err := s.AuditRecords(ctx, c.filter)
		s.ok(err)
		var got []int64
		for _, r := range list {
			got = append(got, r.Index)
			if len(r.Leaf) == 0 || len(r.Salt) != 16 {
				s.Errorf("%s: event %d has no leaf or no salt", name, r.Index)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			s.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
