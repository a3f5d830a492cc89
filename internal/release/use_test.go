package release_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// TestUse shows what the audit log is told of credentials that are used.
func TestUse(t *testing.T) {
	r := newRegistry(t)
	told := func(event string) (out []string) {
		t.Helper()
		r.ok(r.Maintain(r.ctx))
		got, err := r.store.AuditRecords(r.ctx, release.AuditFilter{Action: event, Limit: 100})
		r.ok(err)
		for _, a := range got {
			out = append(out, fmt.Sprint(a.Actor, " ", a.Event.Source.IP, " ", a.Event.Detail["account"], " ", a.Event.Detail["count"]))
		}
		slices.Sort(out)
		return out
	}
	same := func(event string, want ...string) {
		t.Helper()
		if got := told(event); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", event, got, want)
		}
	}
	ci := r.robot("ci", access.Grant{Role: access.RoleMaintainer, Project: "demo"}).Principal
	home, away := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("203.0.113.7/32")
	for range 3 {
		r.TokenUsed(ci.TokenID, home)
	}
	same("token.used-from-new-address")
	r.TokenUsed(ci.TokenID, away)
	r.TokenUsed(ci.TokenID, home)
	same("token.used-from-new-address", "ci 203.0.113.7/32 "+ci.ID+" ")
	same("token.used-from-new-address", "ci 203.0.113.7/32 "+ci.ID+" ")

	alice, err := r.CreateAccount(r.ctx, r.admin, "alice", release.KindUser, "a long password of alice")
	r.ok(err)
	for range 3 {
		_, err := r.Login(r.ctx, "alice", "a wrong one")
		r.refused(err, problem.Unauthenticated, "login")
		_, err = r.Login(r.ctx, "nobody", "a wrong one")
		r.refused(err, problem.Unauthenticated, "login")
	}
	_, err = r.Login(r.ctx, "alice", "a long password of alice")
	r.ok(err)
	same("login.failed", "  "+alice.ID+" 3")

	same("token.expired")
	r.now = r.now.Add(time.Hour)
	if got := told("token.expired"); len(got) != 1 || !strings.HasPrefix(got[0], "ci ") {
		t.Errorf("after its end: %q", got)
	}
}
