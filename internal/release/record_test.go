package release_test

import (
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// TestAuditEvent reads events one by one. Who may read the trail of one project
// gets those of it; there is no telling whether there are others.
func TestAuditEvent(t *testing.T) {
	r := newRegistry(t, func(*release.Config) {})
	_, err := r.push("demo", other(r, "released"), nil)
	r.ok(err)
	_, err = r.push("demo", other(r, "another"), nil)
	r.refused(err, problem.Immutable, "overwrite")
	all, err := r.Audit(r.ctx, r.admin, release.AuditFilter{Limit: 100})
	r.ok(err)
	owner := r.robot("owner", access.Grant{Role: access.RoleAuditor, Project: "demo"})
	reader := r.robot("reader", access.Grant{Role: access.RoleReader, Project: "demo"})
	for _, want := range all {
		got, err := r.AuditEvent(r.ctx, r.admin, want.Index)
		r.ok(err)
		if got.Event.ID != want.Event.ID || string(got.Leaf) != string(want.Leaf) {
			t.Errorf("event %d is %+v", want.Index, got.Event)
		}
		_, err = r.AuditEvent(r.ctx, owner, want.Index)
		if may := want.Event.Resource.Project == "demo"; may != (err == nil) {
			t.Errorf("%s of %q: who may read demo gets %v", want.Event.Name, want.Event.Resource.Project, err)
		}
		if _, err := r.AuditEvent(r.ctx, reader, want.Index); err == nil {
			t.Errorf("%s: a reader gets it", want.Event.Name)
		}
	}
	if all[0].Event.Name != audit.RefusedOverwrite && all[0].Event.Resource.Project != "demo" {
		t.Fatalf("the newest event is %s", all[0].Event.Name)
	}
	_, hidden := r.AuditEvent(r.ctx, owner, 0)
	_, none := r.AuditEvent(r.ctx, owner, 1<<40)
	h, _ := problem.As(hidden)
	n, _ := problem.As(none)
	if h == nil || n == nil || h.Kind != n.Kind || h.Rule != n.Rule || h.Message != n.Message {
		t.Errorf("an event of others answers %v, and none %v", hidden, none)
	}
	if _, err := r.AuditEvent(r.ctx, r.admin, 1<<40); problem.KindOf(err) != problem.NotFound {
		t.Errorf("no event answers %v", err)
	}
}
