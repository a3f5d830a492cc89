package release_test

import (
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// policyOf reads what a project asks now.
func (r *registry) policyOf(name string) release.Project {
	r.Helper()
	p, err := r.Project(r.ctx, r.admin, name)
	r.ok(err)
	return p
}

func (r *registry) setPolicy(c release.Caller, name string, p release.Policy) release.ProjectSet {
	r.Helper()
	set, err := r.SetProject(r.ctx, c, name, release.ProjectChange{Policy: &p, Text: "because"})
	r.ok(err)
	return set
}

// TestPolicyWithoutReleases is free: there is nothing that it could protect.
func TestPolicyWithoutReleases(t *testing.T) {
	r := newRegistry(t)
	ann, _, _ := r.team()
	first := r.policyOf("demo").PolicyDigest
	set := r.setPolicy(ann, "demo", release.Policy{RequireProvenance: true})
	if set.Request != nil || len(set.Weaker) != 0 || !set.Project.Policy.RequireProvenance {
		t.Fatalf("stricter: %+v", set)
	}
	leaf, ok := r.newest().(tlog.Policy)
	if !ok || leaf.Before != first || leaf.After != set.Project.PolicyDigest || leaf.Change != tlog.PolicyStricter || leaf.Requester.Subject != ann.Principal.ID || leaf.Approver != (tlog.Identity{}) {
		t.Fatalf("leaf %+v", leaf)
	}
	if ev := r.lastEvent(); ev.Name != audit.PolicyChanged || ev.Before != first || ev.After != leaf.After {
		t.Errorf("event %+v", ev)
	}
	info, err := r.LogInfo(r.ctx)
	r.ok(err)
	r.setPolicy(ann, "demo", release.Policy{RequireProvenance: true}) // the same again
	if now, err := r.LogInfo(r.ctx); err != nil || now.Size != info.Size {
		t.Errorf("the log grew to %d, %v", now.Size, err)
	}
	set = r.setPolicy(ann, "demo", release.Policy{})
	if set.Request != nil || len(set.Weaker) != 1 || set.Project.Policy.RequireProvenance {
		t.Fatalf("weaker, with nothing released: %+v", set)
	}
}

// TestWeakerPolicy follows one to its end, and what a release was made under.
func TestWeakerPolicy(t *testing.T) {
	r := newRegistry(t)
	ann, bob, _ := r.team()
	r.setPolicy(ann, "demo", release.Policy{RequireProvenance: true})
	archive, rel := r.staged("demo", "web", "1.0.0")
	strict := r.policyOf("demo").PolicyDigest

	public := true
	set, err := r.SetProject(r.ctx, ann, "demo", release.ProjectChange{Public: &public, Policy: &release.Policy{}, Text: "because"})
	r.ok(err)
	if set.Request == nil || set.Request.Kind != release.RequestPolicy || set.Request.Before != strict || len(set.Request.Weaker) != 1 || set.Request.Text != "because" || !set.Project.Public || !set.Project.Policy.RequireProvenance {
		t.Fatalf("asked: %+v, %+v", set, set.Request)
	}
	if ev := r.named(audit.RequestMade); ev.AlertKey() == "" || ev.Detail["weaker-01"] == "" || ev.Before != strict {
		t.Errorf("event %+v", ev)
	}
	_, err = r.SetProject(r.ctx, ann, "demo", release.ProjectChange{RequireProvenance: new(false)})
	r.refused(err, problem.Conflict, "request-open")
	_, err = r.ApproveRequest(r.ctx, ann, set.Request.ID, "")
	r.refused(err, problem.Denied, "second-person")
	approved, err := r.ApproveRequest(r.ctx, bob, set.Request.ID, "")
	r.ok(err)
	if approved.State != release.RequestApproved || !approved.Effective.Equal(r.now.Add(release.DefaultWeakenDelay)) {
		t.Fatalf("approved %+v", approved)
	}
	r.now = r.now.Add(release.DefaultWeakenDelay - time.Second)
	r.ok(r.Protect(r.ctx))
	if r.policyOf("demo").PolicyDigest != strict {
		t.Fatal("it took effect too early")
	}
	r.now = r.now.Add(time.Second)
	r.ok(r.Protect(r.ctx))
	r.ok(r.Protect(r.ctx)) // another replica, a moment later
	now := r.policyOf("demo")
	if now.Policy.RequireProvenance {
		t.Fatal("it took no effect")
	}
	leaf, ok := r.newest().(tlog.Policy)
	if !ok || leaf.Before != strict || leaf.After != now.PolicyDigest || leaf.Change != tlog.PolicyWeaker || leaf.Requester.Subject != ann.Principal.ID || leaf.Approver.Subject != bob.Principal.ID {
		t.Fatalf("leaf %+v", leaf)
	}
	if ev := r.lastEvent(); ev.Name != audit.PolicyWeakened || ev.AlertKey() == "" || ev.Detail["approver"] != bob.Principal.ID {
		t.Errorf("event %+v", ev)
	}
	if got, err := r.Request(r.ctx, ann, set.Request.ID); err != nil || got.State != release.RequestDone {
		t.Fatalf("%+v, %v", got, err)
	}

	// What was released before has the policy that it was released under, and
	// is what it was.
	proof, err := r.Proof(r.ctx, r.admin, "demo", "web", "1.0.0")
	r.ok(err)
	made, err := tlog.ParseLeaf(proof.Leaf)
	r.ok(err)
	if made.(tlog.Release).Policy != strict {
		t.Errorf("the release names the policy %s", made.(tlog.Release).Policy)
	}
	shown, err := r.Release(r.ctx, r.admin, "demo", "web", "1.0.0")
	r.ok(err)
	if shown.Release.State != release.Staged || shown.Release.Archive != rel.Archive || rel.Archive != sum(archive) {
		t.Errorf("a released version was touched: %+v", shown.Release)
	}
}

// staged releases a chart that waits for its provenance.
func (r *registry) staged(project, name, version string) ([]byte, release.Release) {
	r.Helper()
	archive, rel := r.released(project, name, version)
	if rel.State != release.Staged {
		r.Fatalf("state %s", rel.State)
	}
	return archive, rel
}

// TestWeakerPolicyEnds is about ways in which one takes no effect.
func TestWeakerPolicyEnds(t *testing.T) {
	r := newRegistry(t)
	ann, bob, eve := r.team()
	r.setPolicy(ann, "demo", release.Policy{RequireProvenance: true})
	r.released("demo", "web", "1.0.0")
	ask := func() release.Request {
		t.Helper()
		set, err := r.SetProject(r.ctx, ann, "demo", release.ProjectChange{RequireProvenance: new(false)})
		r.ok(err)
		got, err := r.ApproveRequest(r.ctx, bob, set.Request.ID, "")
		r.ok(err)
		return got
	}
	over := func(id int64, state release.RequestState) {
		t.Helper()
		r.now = r.now.Add(release.DefaultWeakenDelay)
		r.ok(r.Protect(r.ctx))
		if got, err := r.Request(r.ctx, bob, id); err != nil || got.State != state {
			t.Fatalf("request %d: %+v, %v", id, got, err)
		}
		if !r.policyOf("demo").Policy.RequireProvenance {
			t.Fatal("the policy was weakened")
		}
	}
	first := ask()
	_, err := r.WithdrawRequest(r.ctx, eve, first.ID, "")
	if problem.KindOf(err) != problem.Denied {
		t.Fatalf("withdrawn without policy.write: %v", err)
	}
	_, err = r.DeclineRequest(r.ctx, bob, first.ID, "")
	r.refused(err, problem.Conflict, "request-over") // approved is decided
	_, err = r.WithdrawRequest(r.ctx, r.admin, first.ID, "no")
	r.ok(err)
	over(first.ID, release.RequestWithdrawn)

	// A stricter policy meanwhile: what was approved was another difference.
	second := ask()
	longer := r.policyOf("demo").Policy
	longer.WeakenDelay = "48h"
	if set := r.setPolicy(ann, "demo", longer); set.Request != nil {
		t.Fatalf("a longer delay is weaker: %+v", set)
	}
	over(second.ID, release.RequestLapsed)
	r.named(audit.RequestLapsed)

	// The delay is that of the policy in force.
	set, err := r.SetProject(r.ctx, ann, "demo", release.ProjectChange{RequireProvenance: new(false)})
	r.ok(err)
	got, err := r.ApproveRequest(r.ctx, bob, set.Request.ID, "")
	r.ok(err)
	if !got.Effective.Equal(r.now.Add(48 * time.Hour)) {
		t.Fatalf("effective %s, now %s", got.Effective, r.now)
	}
}

// TestWeakenDelay is about the delay itself.
func TestWeakenDelay(t *testing.T) {
	r := newRegistry(t)
	ann, bob, _ := r.team()
	for _, bad := range []string{"soon", "-1h", "10000h"} {
		_, err := r.SetProject(r.ctx, ann, "demo", release.ProjectChange{Policy: &release.Policy{WeakenDelay: bad}})
		r.refused(err, problem.Invalid, "weaken-delay")
	}
	_, err := r.SetProject(r.ctx, ann, "demo", release.ProjectChange{Policy: &release.Policy{WeakenDelay: "0s"}})
	r.refused(err, problem.Policy, "weaken-delay")
	r.project("quick", release.ProjectOptions{Policy: release.Policy{RequireProvenance: true, WeakenDelay: "0s"}})
	r.released("quick", "web", "1.0.0")
	set, err := r.SetProject(r.ctx, ann, "quick", release.ProjectChange{RequireProvenance: new(false)})
	r.ok(err)
	done, err := r.ApproveRequest(r.ctx, bob, set.Request.ID, "")
	r.ok(err)
	if done.State != release.RequestDone || r.policyOf("quick").Policy.RequireProvenance {
		t.Fatalf("%+v", done)
	}
	r.released("demo", "web", "1.0.0")
	set = r.setPolicy(ann, "demo", release.Policy{WeakenDelay: "1h"})
	if set.Request == nil || set.Weaker[0] != "what weakens the policy takes effect sooner" {
		t.Fatalf("a shorter delay: %+v", set)
	}
	robot := r.robot("terraform", access.Grant{Role: access.RoleProjectOwner, Project: "quick"})
	if set := r.setPolicy(robot, "quick", release.Policy{RequireProvenance: true, WeakenDelay: "0s"}); !set.Project.Policy.RequireProvenance {
		t.Fatal("a pipeline cannot make a policy stricter")
	}
	_, err = r.SetProject(r.ctx, robot, "quick", release.ProjectChange{RequireProvenance: new(false)})
	r.refused(err, problem.Denied, "request-person")
}

// TestRemovedSigner takes a key away, and revokes one.
func TestRemovedSigner(t *testing.T) {
	end := time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)
	a := signature.Signer{Name: "a", Issuer: "https://id.example", Subject: "a"}
	b := signature.Signer{Name: "b", Issuer: "https://id.example", Subject: "b"}
	with := func(signers ...signature.Signer) release.Policy {
		return release.Policy{Signatures: &signature.Policy{Require: signature.Any, Kinds: []signature.Kind{signature.Keyless}, Signers: signers}}
	}
	if why := release.NeedsSecond(with(a, b), with(a)); len(why) != 1 || why[0] != "the signer b is taken away" {
		t.Errorf("taken away: %v", why)
	}
	if why := with(a).WeakerThan(with(a, b)); len(why) != 0 {
		t.Errorf("it is weaker: %v", why)
	}
	revoked := b
	revoked.Revoked = end
	if why := release.NeedsSecond(with(a, b), with(a, revoked)); len(why) != 0 {
		t.Errorf("revoked: %v", why)
	}
	renamed := b
	renamed.Name = "c"
	if why := release.NeedsSecond(with(a, b), with(a, renamed)); len(why) != 0 {
		t.Errorf("renamed: %v", why)
	}
	if why := release.NeedsSecond(with(a, b), release.Policy{}); len(why) != 3 {
		t.Errorf("all gone: %v", why)
	}
}
