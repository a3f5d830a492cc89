package release_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// TestHolders lists who holds what, page by page, to whoever may know.
func TestHolders(t *testing.T) {
	r := newRegistry(t)
	r.project("team/web", release.ProjectOptions{})
	_, err := r.CreateAccount(r.ctx, r.admin, "ann", release.KindUser, "")
	r.ok(err)
	grant := func(who string, g access.Grant) {
		t.Helper()
		_, err := r.AddGrant(r.ctx, r.admin, who, g)
		r.ok(err)
	}
	grant("ann", access.Grant{Role: access.RoleProjectOwner, Project: "team/web"})
	grant("ann", access.Grant{Role: access.RoleMaintainer, Project: "team/*", Chart: "web*"})
	grant("ann", access.Grant{Role: access.RoleReader, Project: "demo"})
	grant("group:ops", access.Grant{Role: access.RoleAuditor, Project: "team/*"})
	secret, _, err := r.CreateToken(r.ctx, r.admin, release.TokenRequest{Name: "her own", Account: "ann", Expires: r.now.Add(time.Hour), Grants: []access.Grant{
		{Role: access.RoleProjectOwner, Project: "team/web"}, {Role: access.RoleReader, Project: "demo"},
	}})
	r.ok(err)
	ann := r.as(secret)
	token := func(name string, g access.Grant) release.Token {
		t.Helper()
		_, tok, err := r.CreateToken(r.ctx, r.admin, release.TokenRequest{Name: name, Grants: []access.Grant{g}, Expires: r.now.Add(time.Hour)})
		r.ok(err)
		return tok
	}
	ci := token("ci", access.Grant{Role: access.RolePublisher, Project: "team/web"})
	gone := token("gone", access.Grant{Role: access.RolePublisher, Project: "team/web"})
	token("elsewhere", access.Grant{Role: access.RolePublisher, Project: "demo"})
	r.ok(r.RevokeToken(r.ctx, r.admin, gone.ID))

	names := func(c release.Caller, f release.HolderFilter) []string {
		t.Helper()
		var out []string
		for f.Limit = 2; ; {
			page, err := r.Holders(r.ctx, c, f)
			r.ok(err)
			for i := range page {
				h := &page[i]
				out = append(out, h.Name+" "+string(h.Grant.Role)+" "+h.Grant.Project)
				if f.Tokens != (h.Token != nil) || h.Given.IsZero() {
					t.Errorf("%+v", h)
				}
			}
			if len(page) < f.Limit {
				return out
			}
			f.AfterName, f.AfterID = page[1].Name, page[1].Grant.ID
		}
	}
	got := names(ann, release.HolderFilter{Project: "team/web"})
	slices.Sort(got)
	want := []string{
		"admin auditor *", "admin instance-admin *", "admin maintainer *", "admin project-owner *",
		"ann maintainer team/*", "ann project-owner team/web", "group:ops auditor team/*",
	}
	if !slices.Equal(got, want) {
		t.Errorf("accounts: %q", got)
	}
	got = names(ann, release.HolderFilter{Project: "team/web", Tokens: true})
	if !slices.Contains(got, "ci publisher team/web") || slices.Contains(got, "gone publisher team/web") || slices.Contains(got, "elsewhere publisher demo") {
		t.Errorf("tokens: %q", got)
	}
	if got := names(r.admin, release.HolderFilter{Tokens: true}); !slices.Contains(got, "elsewhere publisher demo") {
		t.Errorf("tokens of the server: %q", got)
	}
	page, err := r.Holders(r.ctx, ann, release.HolderFilter{Project: "team/web", Tokens: true, Limit: 500})
	r.ok(err)
	i := slices.IndexFunc(page, func(h release.Holder) bool { return h.Name == "ci" })
	if i < 0 || page[i].Token.ID != ci.ID || page[i].Token.Account != "admin" || page[i].Token.Expires != ci.Expires {
		t.Errorf("the token: %+v", page)
	}
	for name, tt := range map[string]struct {
		c    release.Caller
		f    release.HolderFilter
		kind problem.Kind
	}{
		"a reader":                     {ann, release.HolderFilter{Project: "demo", Limit: 1}, problem.Denied},
		"an owner, for the server":     {ann, release.HolderFilter{Limit: 1}, problem.Denied},
		"nobody":                       {release.Caller{Principal: access.Anonymous()}, release.HolderFilter{Project: "team/web", Limit: 1}, problem.Unauthenticated},
		"more than a page":             {ann, release.HolderFilter{Project: "team/web", Limit: 501}, problem.Invalid},
		"a chart is no project":        {r.admin, release.HolderFilter{Project: "demo/web", Limit: 1}, problem.NotFound},
		"a project that there is none": {r.admin, release.HolderFilter{Project: "none", Limit: 1}, problem.NotFound},
	} {
		if _, err := r.Holders(r.ctx, tt.c, tt.f); problem.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPolicyEventNamesItsLeaf: who reads the trail finds the entry of the log
// that says the same.
func TestPolicyEventNamesItsLeaf(t *testing.T) {
	r := newRegistry(t)
	ann, _, _ := r.team()
	r.setPolicy(ann, "demo", release.Policy{RequireProvenance: true})
	info, err := r.LogInfo(r.ctx)
	r.ok(err)
	if ev := r.named(audit.PolicyChanged); ev.Detail[audit.DetailLeaf] != strconv.FormatInt(info.Size-1, 10) {
		t.Errorf("the log has %d entries, and the event says %v", info.Size, ev.Detail)
	}
}
