package web

import (
	"context"
	"io"
	"strings"
	"time"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// owner may read the trail of one project, and of nothing else.
var owner = callerOf("web-lead", access.Grant{ID: "grn-8", Role: access.RoleProjectOwner, Project: "platform"})

func init() { people["owner"] = owner }

// fakeEvidence is what the fake says of the log, the trail and itself.
type fakeEvidence struct {
	witnessing *release.Witnessing // nil: nobody witnesses the log
	rotations  []release.Rotation
	unread     error // what Checkpoint, Witnessing and Rotations answer
	doubt      error // of every event
	copies     []release.RefusedCopy
	copyErr    error
	exports    []release.AuditFilter
	exportPage int   // events of one; 0 is 10,000
	exportErr  error // of every one after the first
	scrub      release.ScrubView
	scrubErr   error
	health     HealthReport
}

func (f *fakeService) AllowInstance(_ context.Context, c release.Caller, action access.Action) error {
	req := access.Request{Action: action}
	if access.Allowed(c.Principal, req, now) {
		return nil
	}
	return access.Refuse(c.Principal, req, now)
}

func (f *fakeService) Checkpoint(ctx context.Context) ([]byte, error) {
	info, err := f.LogInfo(ctx)
	if f.evidence.unread != nil {
		return nil, f.evidence.unread
	}
	return info.Checkpoint, err
}

func (f *fakeService) Witnessing(context.Context) (release.Witnessing, error) {
	size := int64(len(f.leaves))
	if f.evidence.witnessing == nil {
		return release.Witnessing{Mode: "none", Size: size, Published: size, MetSize: -1}, f.evidence.unread
	}
	return *f.evidence.witnessing, f.evidence.unread
}

func (f *fakeService) Rotations(context.Context) ([]release.Rotation, error) {
	return f.evidence.rotations, f.evidence.unread
}

func (f *fakeService) AuditEvent(_ context.Context, c release.Caller, index int64) (release.ProvenRecord, error) {
	refused := access.Refuse(c.Principal, access.Request{Action: access.AuditRead}, now)
	whole := access.Allowed(c.Principal, access.Request{Action: access.AuditRead}, now)
	for _, rec := range f.events {
		if rec.Index != index {
			continue
		}
		if !whole && !access.Allowed(c.Principal, access.Request{Action: access.AuditRead, Project: rec.Event.Resource.Project}, now) {
			return release.ProvenRecord{}, refused
		}
		rec.Leaf = []byte(`{"id":"` + rec.Event.ID + `"}`)
		return release.ProvenRecord{AuditRecord: rec, Size: 8812, Hashes: []tlog.Hash{sumdb.RecordHash(rec.Leaf)}, Doubt: f.evidence.doubt}, nil
	}
	if !whole {
		return release.ProvenRecord{}, refused
	}
	return release.ProvenRecord{}, problem.New(problem.NotFound, "audit-event", "the audit log has no event %d", index)
}

func (f *fakeService) ExportAudit(_ context.Context, c release.Caller, format string, filter release.AuditFilter) ([]byte, int64, error) {
	req := access.Request{Action: access.AuditRead, Project: filter.Project}
	if !access.Allowed(c.Principal, req, now) {
		return nil, 0, access.Refuse(c.Principal, req, now)
	}
	f.evidence.exports = append(f.evidence.exports, filter)
	if f.evidence.exportErr != nil && len(f.evidence.exports) > 1 {
		return nil, 0, f.evidence.exportErr
	}
	var lines []byte
	n := 0
	for _, rec := range f.events {
		if rec.Index < filter.From || filter.Before > 0 && rec.Index >= filter.Before || filter.Project != "" && rec.Event.Resource.Project != filter.Project {
			continue
		}
		if n++; n > f.evidence.exportPage && f.evidence.exportPage > 0 {
			return lines, rec.Index, nil
		}
		lines = append(lines, format+" "+rec.Event.ID+"\n"...)
	}
	return lines, 0, nil
}

func (f *fakeService) OpenRefused(_ context.Context, c release.Caller, project, d string) (release.RefusedCopy, io.ReadCloser, error) {
	req := access.Request{Action: access.AuditRead, Project: project}
	if !access.Allowed(c.Principal, req, now) {
		return release.RefusedCopy{}, nil, access.Refuse(c.Principal, req, now)
	}
	if f.evidence.copyErr != nil {
		return release.RefusedCopy{}, nil, f.evidence.copyErr
	}
	for _, k := range f.evidence.copies {
		if k.Project == project && k.Digest == d {
			return k, io.NopCloser(digest.Verified(strings.NewReader("another archive"), d)), nil
		}
	}
	return release.RefusedCopy{}, nil, problem.New(problem.NotFound, "refused-unknown", "no copy of %s is kept", d)
}

func (f *fakeService) ScrubStatus(context.Context, release.Caller) (release.ScrubView, error) {
	return f.evidence.scrub, f.evidence.scrubErr
}

// Health implements Health.
func (f *fakeService) Health(context.Context) HealthReport { return f.evidence.health }

// sampleEvidence adds a loop of refused pushes, kept copies, and a server that
// is well but for what nobody has seen to.
func (f *fakeService) sampleEvidence() {
	f.evidence.copies = []release.RefusedCopy{{
		Digest: digestOf("another archive"), Project: "platform", Chart: "web", Version: "1.4.2", Size: int64(len("another archive")),
		First: now.Add(-30 * time.Hour), Last: now.Add(-4 * time.Hour), Times: 42, Expires: now.Add(29 * 24 * time.Hour),
	}}
	rec := &f.events[5] // the refused overwrite
	rec.Event.After, rec.Event.Detail["copy"] = digestOf("another archive"), "kept"
	rec.Salt = []byte("sixteen bytes of")
	rec.Event.SourceDigest = rec.Event.Source.Commit([16]byte(rec.Salt))
	size := int64(len(f.leaves))
	f.evidence.scrub = release.ScrubView{ScrubState: release.ScrubState{Due: now.Add(100 * time.Hour), Last: &release.ScrubReport{
		Started: now.Add(-69 * time.Hour), Ended: now.Add(-68 * time.Hour), Duration: 100 * time.Second, LogSize: 10, Counts: release.ScrubCounts{Leaves: 8810, Releases: 11, Blobs: 11, Bytes: 1_500_000},
	}}}
	f.evidence.health = HealthReport{
		Commit: "fd971c3", Started: now.Add(-26 * time.Hour), Database: "SQLite",
		Checks: []HealthCheck{{Name: "store"}, {Name: "history"}},
		Kept:   []KeptLog{{Name: "releases", Size: size, Kept: size}, {Name: "audit events", Size: 8812, Kept: 8812}},
		Routes: []RouteState{{Name: "ops", LastSuccess: now.Add(-time.Hour)}},
		Jobs:   []JobState{{Name: "anchor audit log", Last: now.Add(-time.Hour)}, {Name: "tell events", Last: now.Add(-time.Second)}},

		ScrubRate: 32 << 20, ScrubEvery: 7 * 24 * time.Hour,
	}
	f.witnessed()
}

// witnessed gives the log three witnesses: one that cosigned all, one that is
// behind and one that does not answer.
func (f *fakeService) witnessed() {
	size := int64(len(f.leaves))
	f.evidence.witnessing = &release.Witnessing{
		Mode: "best-effort", Quorum: "two", Size: size, Published: size, MetSize: size - 2, MetTime: now.Add(-3 * time.Minute),
		Witnesses: []release.Witnessed{
			{Name: "a", Key: "witness-a.example", VerifierKey: "witness-a.example+aaaaaaaa+BAAA", URL: "https://witness-a.example", State: release.WitnessCosigned, WitnessState: release.WitnessState{Size: size, Cosigned: now.Add(-time.Minute)}},
			{Name: "b", Key: "witness-b.example", VerifierKey: "witness-b.example+bbbbbbbb+BBBB", URL: "https://witness-b.example", State: release.WitnessBehind, WitnessState: release.WitnessState{Size: size - 2, Cosigned: now.Add(-3 * time.Minute)}},
			{Name: "c<b>", Key: "witness-c.example", VerifierKey: "witness-c.example+cccccccc+BCCC", URL: "https://inside.example:8443", State: release.WitnessFailing,
				WitnessState: release.WitnessState{Asked: now.Add(-time.Minute), Failure: "dial tcp 10.0.0.9:8443: connection refused", Since: now.Add(-34 * time.Hour)}},
		},
	}
}

// loop adds refused pushes of one pipeline, with others' events in between.
func (f *fakeService) loop(n int) {
	template := f.events[5] // the refused overwrite
	index := f.events[len(f.events)-1].Index
	for i := range n {
		rec := template
		index++
		rec.Index, rec.Event.Time = index, now.Add(time.Duration(i-n)*time.Second)
		f.events = append(f.events, rec)
		if i%3 == 0 {
			index++
			f.events = append(f.events, release.AuditRecord{Index: index, Actor: "ci-web", Event: audit.Event{
				Time: rec.Event.Time, Name: audit.OIDCExchanged, Actor: rec.Event.Actor, Outcome: audit.Outcome{Result: audit.Allowed}, Door: audit.DoorAPI,
			}})
		}
	}
}
