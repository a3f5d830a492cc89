package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func (l *ledger) account(id, name string) release.Account {
	l.Helper()
	a := release.Account{ID: id, Name: name, Kind: release.KindUser, Created: start}
	l.ok(l.CreateAccount(l.Context(), a, "hash of "+name, named(audit.AccountCreated), start))
	return a
}

func accounts(l *ledger) {
	ctx := l.Context()
	b := l.account("usr-2", "bob")
	a := l.account("usr-1", "alice")
	l.lastEvent(audit.AccountCreated)
	for _, twin := range []release.Account{{ID: "usr-3", Name: "alice", Kind: "user"}, {ID: "usr-1", Name: "carol", Kind: "user"}} {
		err := l.CreateAccount(ctx, twin, "", named(audit.AccountCreated), start)
		l.refused(err, problem.Conflict, "account-exists")
	}
	all, err := l.Accounts(ctx)
	l.ok(err)
	l.same("accounts", all, []release.Account{a, b})
	got, hash, err := l.AccountByName(ctx, "alice")
	l.ok(err)
	l.same("by name", got, a)
	if hash != "hash of alice" {
		l.Fatalf("password hash %q", hash)
	}
	got, err = l.AccountByID(ctx, "usr-2")
	l.ok(err)
	l.same("by id", got, b)

	l.ok(l.SetPassword(ctx, "usr-1", "new hash", named(audit.PasswordChanged), start))
	l.lastEvent(audit.PasswordChanged)
	if _, hash, err = l.AccountByName(ctx, "alice"); err != nil || hash != "new hash" {
		l.Fatalf("password hash %q, %v", hash, err)
	}
	for _, disabled := range []bool{true, false, true} {
		l.ok(l.SetAccountDisabled(ctx, "usr-1", disabled, named(audit.AccountRemoved), start))
		got, err := l.AccountByID(ctx, "usr-1")
		l.ok(err)
		if got.Disabled != disabled {
			l.Fatalf("disabled %t, want %t", got.Disabled, disabled)
		}
	}
	_, _, err = l.AccountByName(ctx, "Alice")
	l.refused(err, problem.NotFound, "account")
	_, err = l.AccountByID(ctx, "usr-9")
	l.refused(err, problem.NotFound, "account")
	events := len(l.audited(release.AuditFilter{Limit: 1000}))
	l.refused(l.SetPassword(ctx, "usr-9", "x", named(audit.PasswordChanged), start), problem.NotFound, "account")
	l.refused(l.SetAccountDisabled(ctx, "usr-9", true, named(audit.AccountRemoved), start), problem.NotFound, "account")
	if n := len(l.audited(release.AuditFilter{Limit: 1000})); n != events {
		l.Fatal("what did not happen was recorded as done")
	}
}

func grants(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	l.account("usr-2", "bob")
	one := access.Grant{ID: "grn-1", Role: access.RoleMaintainer, Project: "demo", Chart: "web*", Versions: access.PrereleaseOnly, Expires: start.Add(time.Hour)}
	two := access.Grant{ID: "grn-2", Role: access.RoleProjectOwner, Project: "*"}
	l.ok(l.AddGrant(ctx, "usr-1", one, named(audit.RoleGranted), start))
	l.ok(l.AddGrant(ctx, "usr-2", two, named(audit.RoleGranted), start))
	l.lastEvent(audit.RoleGranted)
	if err := l.AddGrant(ctx, "usr-2", one, named(audit.RoleGranted), start); err == nil {
		l.Fatal("two grants have one id")
	}
	got, err := l.GrantsOf(ctx, "usr-1")
	l.ok(err)
	l.same("alice's", got, []release.AccountGrant{{Account: "alice", Grant: one}})
	got, err = l.GrantsOf(ctx, "")
	l.ok(err)
	l.same("all", got, []release.AccountGrant{{Account: "alice", Grant: one}, {Account: "bob", Grant: two}})
	l.ok(l.RevokeGrant(ctx, "grn-1", named(audit.RoleRevoked), start))
	l.lastEvent(audit.RoleRevoked)
	l.refused(l.RevokeGrant(ctx, "grn-1", named(audit.RoleRevoked), start), problem.NotFound, "grant")
	got, err = l.GrantsOf(ctx, "usr-1")
	l.ok(err)
	if len(got) != 0 {
		l.Fatalf("alice has %v", got)
	}
}

func tokens(l *ledger) {
	ctx := l.Context()
	alice := l.account("usr-1", "alice")
	l.account("usr-2", "bob")
	g := access.Grant{ID: "grn-1", Role: access.RoleMaintainer, Project: "demo"}
	h := access.Grant{ID: "grn-2", Role: access.RoleMaintainer, Project: "other"}
	token := release.Token{ID: "tok-1", Name: "ci", Account: "alice", AccountID: "usr-1", Grants: []access.Grant{g, h}, Created: start, Expires: start.Add(time.Hour)}
	hash := [32]byte{1, 2, 3}
	l.ok(l.CreateToken(ctx, token, hash, named(audit.TokenCreated), start))
	l.lastEvent(audit.TokenCreated)
	if err := l.CreateToken(ctx, token, hash, named(audit.TokenCreated), start); err == nil {
		l.Fatal("two tokens have one id")
	}
	orphan := token
	orphan.ID, orphan.AccountID, orphan.Grants = "tok-2", "usr-9", nil
	if err := l.CreateToken(ctx, orphan, hash, named(audit.TokenCreated), start); err == nil {
		l.Fatal("a token belongs to nobody")
	}
	cred, err := l.TokenByID(ctx, "tok-1")
	l.ok(err)
	alice.Created = time.Time{} // not read
	cred.Account.Created = time.Time{}
	l.same("credential", cred, release.Credential{TokenID: "tok-1", Name: "ci", Hash: hash, Expires: token.Expires, Account: alice, Grants: token.Grants})
	_, err = l.TokenByID(ctx, "tok-9")
	l.refused(err, problem.NotFound, "token")
	// A token's grants are no grants of its account.
	list, err := l.GrantsOf(ctx, "")
	l.ok(err)
	if len(list) != 0 {
		l.Fatalf("accounts have %v", list)
	}

	l.ok(l.TouchTokens(ctx, map[string]release.TokenUse{"tok-1": {Last: start.Add(time.Minute)}, "tok-9": {Last: start}}, start))
	l.ok(l.TouchTokens(ctx, map[string]release.TokenUse{"tok-1": {Last: start}}, start)) // older news
	token.LastUsed = start.Add(time.Minute)
	for account, want := range map[string][]release.Token{"": {token}, "usr-1": {token}, "usr-2": nil} {
		got, err := l.Tokens(ctx, account)
		l.ok(err)
		l.same("tokens of "+account, got, want)
	}

	// What a token does that stands for nobody is shown as the token's: it must
	// not look like the work of an account of its name.
	c := offer(l.project, "web", "1.0.0", "first")
	c.Release.Publisher, c.Event.Actor = "tok-1", audit.Actor{Kind: access.KindToken, ID: "tok-1"}
	l.claim(c)
	r, err := l.ReleaseByVersion(ctx, l.project.ID, "web", "1.0.0")
	l.ok(err)
	if r.By != "token ci" {
		l.Fatalf("released by %q", r.By)
	}
	for actor, want := range map[string]int{"token ci": 1, "ci": 0} {
		if got := l.audited(release.AuditFilter{Actor: actor}); len(got) != want {
			l.Fatalf("%q did %d things", actor, len(got))
		}
	}

	l.ok(l.SetAccountDisabled(ctx, "usr-1", true, named(audit.AccountRemoved), start))
	l.ok(l.RevokeToken(ctx, "tok-1", named(audit.TokenRevoked), start.Add(time.Second)))
	l.lastEvent(audit.TokenRevoked)
	cred, err = l.TokenByID(ctx, "tok-1")
	l.ok(err)
	if !cred.Account.Disabled || !cred.Revoked.Equal(start.Add(time.Second)) {
		l.Fatalf("credential %+v", cred)
	}
	l.refused(l.RevokeToken(ctx, "tok-1", named(audit.TokenRevoked), start), problem.NotFound, "valid token")
}

// tokenUse is what the audit log is told of tokens by themselves.
func tokenUse(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	token := release.Token{ID: "tok-1", Name: "ci", Account: "alice", AccountID: "usr-1", Created: start, Expires: start.Add(time.Hour)}
	l.ok(l.CreateToken(ctx, token, [32]byte{1}, named(audit.TokenCreated), start))
	own := release.Token{ID: "tok-2", Name: "laptop", Account: "alice", AccountID: "usr-1", Personal: true, Created: start, Expires: start.Add(2 * time.Hour)}
	l.ok(l.CreateToken(ctx, own, [32]byte{2}, named(audit.TokenCreated), start))
	gone := release.Token{ID: "tok-3", Account: "alice", AccountID: "usr-1", Created: start, Expires: start.Add(time.Hour)}
	l.ok(l.CreateToken(ctx, gone, [32]byte{3}, named(audit.TokenCreated), start))
	l.ok(l.RevokeToken(ctx, "tok-3", named(audit.TokenRevoked), start))

	at := start
	use := func(id string, from ...string) {
		at = at.Add(time.Second)
		u := release.TokenUse{Last: at}
		for _, s := range from {
			u.From = append(u.From, netip.MustParsePrefix(s))
		}
		l.ok(l.TouchTokens(ctx, map[string]release.TokenUse{id: u}, at))
	}
	told := func(name audit.Name, want ...string) {
		l.Helper()
		var got []string
		for _, r := range l.audited(release.AuditFilter{Action: string(name), Limit: 1000}) {
			ev := r.Event
			got = append(got, ev.Detail["token"]+" "+string(ev.Actor.Kind)+" "+ev.Actor.ID+" "+ev.Source.IP+ev.Detail["expired"])
		}
		slices.Sort(got)
		l.same(string(name), got, want)
	}
	use("tok-1", "192.0.2.1/32")
	use("tok-1", "192.0.2.1/32")
	use("tok-1") // from an address that is not known
	use("tok-2", "2001:db8::/64")
	use("tok-9", "192.0.2.9/32") // there is none
	told(audit.TokenNewSource)
	use("tok-1", "192.0.2.1/32", "192.0.2.2/32")
	use("tok-2", "2001:db8:0:1::/64")
	use("tok-1", "192.0.2.2/32")
	two := []string{"tok-1 token tok-1 192.0.2.2/32", "tok-2 token usr-1 2001:db8:0:1::/64"}
	told(audit.TokenNewSource, two...)

	// The one of 64 that was not used for longest is forgotten.
	for i := range 62 {
		use("tok-2", fmt.Sprintf("198.51.100.%d/32", i))
	}
	use("tok-2", "2001:db8::/64", "203.0.113.1/32")
	n := len(l.audited(release.AuditFilter{Action: string(audit.TokenNewSource), Limit: 1000}))
	use("tok-2", "2001:db8::/64", "203.0.113.1/32", "198.51.100.0/32")
	if again := len(l.audited(release.AuditFilter{Action: string(audit.TokenNewSource), Limit: 1000})); again != n {
		l.Fatalf("%d new addresses of some that are known", again-n)
	}
	use("tok-2", "2001:db8:0:1::/64")
	if again := len(l.audited(release.AuditFilter{Action: string(audit.TokenNewSource), Limit: 1000})); again != n+1 {
		l.Fatal("an address that was forgotten is not told again")
	}

	l.ok(l.EndTokens(ctx, start.Add(time.Hour-time.Second)))
	told(audit.TokenExpired)
	for range 2 { // each once, and not those that were revoked
		l.ok(l.EndTokens(ctx, start.Add(time.Hour)))
		told(audit.TokenExpired, "tok-1 token tok-1 2026-05-06T08:08:09Z")
	}
	l.ok(l.EndTokens(ctx, start.Add(3*time.Hour)))
	told(audit.TokenExpired, "tok-1 token tok-1 2026-05-06T08:08:09Z", "tok-2 token usr-1 2026-05-06T09:08:09Z")
}

// holders lists who may do what, a page at a time.
func holders(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	l.account("usr-2", "Bob")
	end := start.Add(time.Hour)
	l.ok(l.AddGrant(ctx, "usr-1", access.Grant{ID: "grn-1", Role: access.RoleMaintainer, Project: "team-a/web"}, named(audit.RoleGranted), start))
	l.ok(l.AddGrant(ctx, "usr-1", access.Grant{ID: "grn-2", Role: access.RoleReader, Project: "other"}, named(audit.RoleGranted), start))
	l.ok(l.AddGrant(ctx, "usr-2", access.Grant{ID: "grn-3", Role: access.RoleProjectOwner, Project: "team-a/*"}, named(audit.RoleGranted), start))
	l.ok(l.AddGrant(ctx, release.GroupPrefix+"ops", access.Grant{ID: "grn-4", Role: access.RoleReader, Project: "*"}, named(audit.RoleGranted), start))
	l.ok(l.SetAccountDisabled(ctx, "usr-2", true, named(audit.AccountRemoved), start))
	for i, expires := range []time.Time{end, start, end} { // the second has ended, the third is revoked
		id := fmt.Sprint("tok-", i)
		l.ok(l.CreateToken(ctx, release.Token{ID: id, Name: "ci", Account: "alice", AccountID: "usr-1", Created: start, Expires: expires,
			Grants: []access.Grant{{ID: "grt-" + id, Role: access.RolePublisher, Project: "team-a/web"}}}, [32]byte{byte(i)}, named(audit.TokenCreated), start))
	}
	l.ok(l.RevokeToken(ctx, "tok-2", named(audit.TokenRevoked), start))
	for _, c := range []struct {
		what string
		f    release.HolderFilter
		want []string
	}{
		{"of a project", release.HolderFilter{Project: "team-a/web"}, []string{"Bob grn-3 true", "alice grn-1 false", "group:ops grn-4 false"}},
		{"of all", release.HolderFilter{}, []string{"Bob grn-3 true", "alice grn-1 false", "alice grn-2 false", "group:ops grn-4 false"}},
		{"of another", release.HolderFilter{Project: "team-b"}, []string{"group:ops grn-4 false"}},
		{"tokens", release.HolderFilter{Project: "team-a/web", Tokens: true}, []string{"ci grt-tok-0 false"}},
		{"tokens of another", release.HolderFilter{Project: "other", Tokens: true}, nil},
	} {
		var got []string
		for f := c.f; ; {
			f.Limit = 2
			page, err := l.Holders(ctx, f, start.Add(time.Minute))
			l.ok(err)
			for _, h := range page {
				got = append(got, fmt.Sprint(h.Name, " ", h.Grant.ID, " ", h.Disabled))
				if f.AfterName, f.AfterID = h.Name, h.Grant.ID; !h.Given.Equal(start) || (h.Token != nil) != f.Tokens {
					l.Fatalf("%s: %+v", c.what, h)
				}
			}
			if len(page) < f.Limit {
				break
			}
		}
		l.same("holders "+c.what, got, c.want)
	}
}

// proveEvents proves events of the audit log.
func proveEvents(l *ledger) {
	ctx := l.Context()
	for i := range 260 { // more than a tile
		l.account(fmt.Sprint("usr-", i), fmt.Sprint("user-", i))
	}
	all := l.audited(release.AuditFilter{Oldest: true, Limit: release.MaxAuditPage})
	for _, i := range []int{0, 1, 255, 256, len(all) - 1} {
		if i >= len(all) {
			l.Fatalf("there are %d events", len(all))
		}
		p, err := l.ProveEvent(ctx, int64(i))
		l.ok(err)
		cp, err := tlog.ParseCheckpoint(p.Checkpoint)
		l.ok(err)
		l.ok(tlog.VerifyInclusion(cp.Root, cp.Size, int64(i), tlog.LeafHash(p.Leaf), p.Hashes))
		if string(p.Leaf) != string(all[i].Leaf) {
			l.Fatalf("event %d is proven with the leaf of another", i)
		}
	}
	for _, i := range []int64{-1, int64(len(all)), 1 << 40} {
		_, err := l.ProveEvent(ctx, i)
		l.refused(err, problem.NotFound, "log-range")
	}
}
