package release_test

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// block is what the model knows of a release that nobody gets. A tombstone has
// no way back.
type block struct {
	quarantined, confirmed, tombstoned bool
	setter                             int // of w.people
	lapsedBy                           int // whose quarantine was the last and lapsed, -1 for nobody's
}

func (b *block) withheld() bool { return b.quarantined || b.tombstoned }

// kind is how a request for a withheld release is refused.
func (b *block) kind() problem.Kind {
	if b.tombstoned {
		return problem.Gone
	}
	return problem.Policy
}

// employ makes people who may block, confirm, ask and approve.
func (w *modelRun) employ(ctx context.Context) {
	admin := w.callers[0]
	for _, name := range []string{"ann", "eve", "kim"} {
		_, err := w.svc.CreateAccount(ctx, admin, name, release.KindUser, "")
		w.must(nil, err)
		var grants []access.Grant
		for _, role := range []access.Role{access.RoleMaintainer, access.RoleApprover} {
			g, err := w.svc.AddGrant(ctx, admin, name, access.Grant{Role: role, Project: "*"})
			w.must(nil, err)
			grants = append(grants, g)
		}
		secret, _, err := w.svc.CreateToken(ctx, admin, release.TokenRequest{Name: name, Account: name, Grants: grants, Expires: w.now().Add(release.MaxTokenLife - time.Hour)})
		w.must(nil, err)
		p, err := w.svc.Authenticate(ctx, secret)
		w.must(nil, err)
		w.people = append(w.people, release.Caller{Principal: p, Door: admin.Door})
	}
	w.ahead.Add(int64(time.Minute)) // they were here before whatever comes
}

func (w *modelRun) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// expect compares an answer with what the model allows.
func (w *modelRun) expect(verb string, r *modelRelease, allowed bool, err error) {
	w.t.Helper()
	if allowed != (err == nil) {
		w.fail("%s of %s, %+v: %v", verb, r.ref(), r.block, err)
	}
	if _, ok := problem.As(err); err != nil && !ok {
		w.fail("%s of %s: %v", verb, r.ref(), err)
	}
	if err == nil {
		w.did[verb+" done"]++
	} else {
		w.did[verb+" refused"]++
	}
}

func (w *modelRun) quarantine(ctx context.Context) {
	r := w.some()
	if r == nil {
		return
	}
	if w.rng.IntN(2) == 0 { // rather one that is blocked
		for _, ref := range slices.Sorted(maps.Keys(w.m.releases)) {
			if o := w.m.releases[ref]; o.quarantined && w.rng.IntN(2) == 0 {
				r = o
			}
		}
	}
	i := w.rng.IntN(len(w.people))
	open := !w.m.removed[r.project]
	switch n := w.rng.IntN(12); {
	case n < 5:
		_, err := w.svc.SetQuarantine(ctx, w.people[i], r.project, r.chart, r.version, "malware", "by the walk")
		w.expect("quarantine", r, open && !r.withheld() && r.lapsedBy != i, err)
		if err == nil {
			r.block = block{quarantined: true, setter: i, lapsedBy: -1}
		}
		if err == nil && w.rng.IntN(3) == 0 {
			_, err = w.svc.ConfirmQuarantine(ctx, w.people[(i+1)%len(w.people)], r.project, r.chart, r.version, "")
			w.expect("confirm", r, true, err)
			r.confirmed = true
		}
	case n < 8:
		_, err := w.svc.ConfirmQuarantine(ctx, w.people[i], r.project, r.chart, r.version, "")
		w.expect("confirm", r, open && r.quarantined && !r.confirmed && r.setter != i, err)
		r.confirmed = r.confirmed || err == nil
	case n < 11:
		_, err := w.svc.LiftQuarantine(ctx, w.people[i], r.project, r.chart, r.version, "")
		w.expect("lift", r, open && r.quarantined && (!r.confirmed || r.setter != i), err)
		if err == nil {
			r.block = block{lapsedBy: -1}
		}
	default:
		w.pass(ctx, release.QuarantineLife)
		w.did["lapse"]++
	}
}

// pass lets time go by, and does what comes due.
func (w *modelRun) pass(ctx context.Context, d time.Duration) {
	w.ahead.Add(int64(d))
	w.must(nil, w.svc.Protect(ctx))
	if d < release.QuarantineLife {
		return
	}
	for _, r := range w.m.releases {
		if r.quarantined && !r.confirmed && !w.m.removed[r.project] {
			r.block = block{lapsedBy: r.setter}
		}
	}
}

// bury asks for a tombstone and has it approved, by one person or by two.
func (w *modelRun) bury(ctx context.Context) {
	r := w.some()
	if r == nil {
		return
	}
	asks, approves := w.rng.IntN(len(w.people)), w.rng.IntN(len(w.people))
	req, err := w.svc.RequestTombstone(ctx, w.people[asks], r.project, r.chart, r.version, "legal", "by the walk")
	w.expect("ask", r, !w.m.removed[r.project] && !r.tombstoned, err)
	if err != nil {
		return
	}
	_, err = w.svc.ApproveRequest(ctx, w.people[approves], req.ID, "")
	w.expect("bury", r, asks != approves, err)
	if err != nil {
		_, err = w.svc.WithdrawRequest(ctx, w.people[asks], req.ID, "")
		w.must(nil, err)
		return
	}
	r.block = block{tombstoned: true, lapsedBy: -1}
	w.pass(ctx, release.EraseAfter)
}

// verifyWithheld looks for a way to the bytes of a release that nobody gets.
func (w *modelRun) verifyWithheld(ctx context.Context, r *modelRelease, file string) {
	w.t.Helper()
	repo := r.project + "/" + r.chart
	for what, err := range map[string]error{
		"archive":         second(w.svc.OpenArchive(ctx, w.people[0], r.project, file)),
		"provenance":      second(w.svc.Provenance(ctx, w.people[0], r.project, file+".prov")),
		"manifest":        first(w.svc.GetManifest(ctx, w.callers[3], repo, r.manifest)),
		"blob":            first(w.svc.OpenBlob(ctx, w.callers[3], repo, sum(r.archive))),
		"files":           first(w.svc.ArchiveFiles(ctx, w.people[0], r.project, r.chart, r.version, "Chart.yaml")),
		"list of signers": first(w.svc.Referrers(ctx, w.callers[3], repo, r.manifest, "")),
	} {
		if problem.KindOf(err) != r.kind() {
			w.fail("the %s of %s, %+v: %v", what, r.ref(), r.block, err)
		}
	}
}

func first[T any](_ T, err error) error          { return err }
func second[T, U any](_ T, _ U, err error) error { return err }
