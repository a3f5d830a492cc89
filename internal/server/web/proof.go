package web

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// proofView is what came of checking a proof for a page, at the time of the
// page. Class is "" (proven), "unk" (not checked) or "bad" (broken).
type proofView struct {
	Class   string
	Checked moment
	Index   int64
	Size    int64  // of the checkpoint that the proof leads to
	Why     string // it is not proven
	Hashes  []tlog.Hash
	Policy  string // digest of the policy that the entry names; "" when it could not be read
}

// checkRelease checks that the log names this very release. It does not read
// the archive: that is done with every download, and by scrubs.
func (d *Door) checkRelease(ctx context.Context, c release.Caller, rel *release.Release, now time.Time) proofView {
	v := proofView{Index: rel.LogIndex, Checked: moment{now, now}}
	proof, err := d.svc.Proof(ctx, c, rel.Project, rel.Chart, rel.Version)
	if err != nil {
		v.fail(err)
		return v
	}
	leaf := d.checkProof(ctx, &proof, &v)
	if leaf == nil {
		return v
	}
	var logged tlog.Release
	switch l := leaf.(type) {
	case tlog.Release:
		logged = l
	case tlog.Legacy:
		logged = l.Release
	}
	v.Policy = logged.Policy
	switch {
	case proof.Index != rel.LogIndex:
		v.Class, v.Why = "bad", fmt.Sprintf("the proof is for entry %s", number(proof.Index))
	case logged.Project != rel.Project || logged.Chart != rel.Chart || logged.Version != rel.Version:
		v.Class, v.Why = "bad", "the entry names another release"
	case logged.Archive != rel.Archive:
		v.Class, v.Why = "bad", fmt.Sprintf("the entry names the archive %s", logged.Archive)
	}
	return v
}

// checkProof checks a proof against the log's own key and fills in the view;
// the leaf is nil when it does not hold or could not be checked.
func (d *Door) checkProof(ctx context.Context, proof *tlog.Proof, v *proofView) tlog.Leaf {
	info, err := d.svc.LogInfo(ctx)
	if err != nil {
		v.fail(err)
		return nil
	}
	verifier, err := tlog.NewVerifier(info.VerifierKey)
	if err != nil {
		v.fail(err)
		return nil
	}
	cp, leaf, err := proof.Verify(info.Origin, note.VerifierList(verifier))
	if err != nil {
		v.fail(err)
		return nil
	}
	v.Size, v.Hashes = cp.Size, proof.Hashes
	return leaf
}

// fail tells what was proven false from what could not be checked.
func (v *proofView) fail(err error) {
	v.Class, v.Why = "unk", "the proof could not be fetched"
	if p, ok := problem.As(err); ok {
		v.Why = p.Message
		if p.Kind == problem.Disproven || p.Kind == problem.Invalid {
			v.Class = "bad"
		}
	}
}
