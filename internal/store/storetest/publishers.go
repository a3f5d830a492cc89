package storetest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

func (l *ledger) publisher(id, project string) release.Publisher {
	l.Helper()
	p := release.Publisher{
		Publisher: access.Publisher{
			ID: id, Project: project, Provider: access.ProviderGitHub, Issuer: "https://issuer.example", Chart: "web*", Versions: access.PrereleaseOnly,
			Claims: map[string][]string{"repository_id": {"1"}, "repository_owner_id": {"2"}, "workflow": {".github/workflows/r.yml"}}, Expires: start.Add(24 * time.Hour),
		},
		Name: "github octo/" + id, MakerID: "usr-1", Maker: "alice", Created: start,
	}
	l.ok(l.AddPublisher(l.Context(), p, named(audit.PublisherAdded), start))
	return p
}

func publishers(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	one, two := l.publisher("pub-1", "demo"), l.publisher("pub-2", "demo")
	l.create("other")
	three := l.publisher("pub-3", "other")
	l.lastEvent(audit.PublisherAdded)
	l.refused(l.AddPublisher(ctx, release.Publisher{Publisher: access.Publisher{ID: "pub-9", Project: "none"}, MakerID: "usr-1"}, named(audit.PublisherAdded), start), problem.NotFound, "project")
	if err := l.AddPublisher(ctx, release.Publisher{Publisher: access.Publisher{ID: "pub-9", Project: "demo"}, MakerID: "usr-9"}, named(audit.PublisherAdded), start); err == nil {
		l.Fatal("nobody made a publisher")
	}
	got, err := l.PublisherList(ctx, "demo")
	l.ok(err)
	l.same("of demo", got, []release.Publisher{one, two})
	got, err = l.PublisherList(ctx, "")
	l.ok(err)
	l.same("of all", got, []release.Publisher{one, two, three})
	// Who made it leaves; it stands, and says so.
	l.ok(l.SetAccountDisabled(ctx, "usr-1", true, named(audit.AccountRemoved), start))
	one.MakerDisabled = true
	p, err := l.Publisher(ctx, "pub-1")
	l.ok(err)
	l.same("by id", p, one)

	l.ok(l.RemovePublisher(ctx, "pub-2", named(audit.PublisherRemoved), start.Add(time.Hour)))
	l.lastEvent(audit.PublisherRemoved)
	l.refused(l.RemovePublisher(ctx, "pub-2", named(audit.PublisherRemoved), start), problem.NotFound, "publisher")
	_, err = l.Publisher(ctx, "pub-8")
	l.refused(err, problem.NotFound, "publisher")
	got, err = l.PublisherList(ctx, "demo")
	l.ok(err)
	l.same("what stands", got, []release.Publisher{one})
	p, err = l.Publisher(ctx, "pub-2")
	l.ok(err)
	if p.Removed.IsZero() {
		l.Fatal("it does not say that it was removed")
	}
	// A publisher is no token that anybody could list or use.
	tokens, err := l.Tokens(ctx, "")
	l.ok(err)
	if len(tokens) != 0 {
		l.Fatalf("tokens %v", tokens)
	}
	if cred, err := l.TokenByID(ctx, "pub-1"); err == nil && cred.Revoked.IsZero() {
		l.Fatal("a publisher is a token")
	}
}

// exchange is one of an identity token; grants are decided by the test.
func (l *ledger) exchange(id string, use byte, now time.Time) *release.Exchange {
	return &release.Exchange{
		Project: "demo", Use: [32]byte{use}, Ends: now.Add(time.Hour), Now: now,
		Decide: func(p release.Project, bindings []release.Publisher) (release.Exchanged, error) {
			if p.Name != "demo" || len(bindings) == 0 {
				return release.Exchanged{}, problem.New(problem.Unauthenticated, "oidc-no-publisher", "no")
			}
			ev := named("")
			ev.Actor = audit.Actor{Kind: access.KindToken, ID: bindings[0].ID, Issuer: "https://issuer.example", Subject: "repository_id:1", TokenID: id}
			return release.Exchanged{
				Token: release.Token{ID: id, Name: "x", AccountID: "usr-1", Created: now, Expires: now.Add(15 * time.Minute),
					Grants: []access.Grant{{ID: "grn-" + id, Role: access.RolePublisher, Project: "demo"}}},
				Hash: [32]byte{9, use},
				Identity: release.PipelineIdentity{Publisher: bindings[0].ID, Issuer: "https://issuer.example", Subject: "repository_id:1",
					Source: access.Source{URL: "https://github.com/octo/web", Commit: "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}},
				Event: ev,
			}, nil
		},
	}
}

func exchanges(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	_, err := l.Exchange(ctx, l.exchange("tok-1", 1, start))
	l.refused(err, problem.Unauthenticated, "oidc-no-publisher")
	l.publisher("pub-1", "demo")
	// What was refused burnt nothing.
	_, err = l.Exchange(ctx, l.exchange("tok-1", 1, start))
	l.ok(err)
	ev := l.lastEvent(audit.OIDCExchanged)
	if ev.Actor.ID != "pub-1" || ev.Actor.Subject != "repository_id:1" || ev.Outcome.Result != audit.Allowed {
		l.Fatalf("event %+v", ev)
	}
	cred, err := l.TokenByID(ctx, "tok-1")
	l.ok(err)
	l.same("pipeline", *cred.Pipeline, release.PipelineIdentity{Publisher: "pub-1", Name: "github octo/pub-1", Issuer: "https://issuer.example", Subject: "repository_id:1",
		Source: access.Source{URL: "https://github.com/octo/web", Commit: "8f4b7f84864484a7bf31766abe9204da3cbe65b3"}})
	if len(cred.Grants) != 1 || cred.Personal {
		l.Fatalf("credential %+v", cred)
	}
	p, err := l.Publisher(ctx, "pub-1")
	l.ok(err)
	if !p.LastUsed.Equal(start) {
		l.Fatalf("last used %s", p.LastUsed)
	}
	for range 3 {
		_, err = l.Exchange(ctx, l.exchange("tok-2", 1, start))
		l.refused(err, problem.Unauthenticated, "oidc-replay")
	}
	if _, err := l.TokenByID(ctx, "tok-2"); err == nil {
		l.Fatal("a replay made a token")
	}
	unknown := l.exchange("tok-3", 3, start)
	unknown.Project = "none"
	_, err = l.Exchange(ctx, unknown)
	l.refused(err, problem.Unauthenticated, "oidc-no-publisher")

	// A release that it makes names the publisher, for ever.
	c := offer(l.project, "web", "1.0.0", "first")
	c.Release.Publisher = "pub-1"
	if r := l.claim(c); r.By != "" && r.By != "pipeline github octo/pub-1" {
		l.Fatalf("released by %q", r.By)
	}
	r, err := l.ReleaseByVersion(ctx, l.project.ID, "web", "1.0.0")
	l.ok(err)
	if r.By != "pipeline github octo/pub-1" {
		l.Fatalf("released by %q", r.By)
	}

	// The end of the binding is that of its tokens.
	l.ok(l.RemovePublisher(ctx, "pub-1", named(audit.PublisherRemoved), start.Add(time.Minute)))
	cred, err = l.TokenByID(ctx, "tok-1")
	l.ok(err)
	if cred.Revoked.IsZero() {
		l.Fatal("the binding is gone and its token is not")
	}
	_, err = l.Exchange(ctx, l.exchange("tok-4", 4, start))
	l.refused(err, problem.Unauthenticated, "oidc-no-publisher")
}

// What has ended is forgotten, so that a busy pipeline does not grow the
// database for ever; what has not, is not.
func exchangesForget(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	l.publisher("pub-1", "demo")
	for i := range 20 {
		_, err := l.Exchange(ctx, l.exchange("tok-"+string(rune('a'+i)), byte(i), start.Add(time.Duration(i)*10*time.Minute)))
		l.ok(err)
	}
	tokens, err := l.Tokens(ctx, "")
	l.ok(err)
	var ids []string
	for _, t := range tokens {
		ids = append(ids, t.ID)
	}
	// The last was made at 3:10. Those that ended before 2:10 began before 1:55.
	l.same("tokens", ids, []string{"tok-m", "tok-n", "tok-o", "tok-p", "tok-q", "tok-r", "tok-s", "tok-t"})
	_, err = l.Exchange(ctx, l.exchange("tok-x", 19, start.Add(3*time.Hour+11*time.Minute)))
	l.refused(err, problem.Unauthenticated, "oidc-replay")
}

// Sixteen requests show one identity token, to two processes where the database
// takes two: one wins.
func exchangeRace(l *ledger) {
	l.account("usr-1", "alice")
	l.publisher("pub-1", "demo")
	var won, lost atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			_, err := l.Exchange(l.Context(), l.exchange("tok-"+string(rune('a'+i)), 1, start))
			switch {
			case err == nil:
				won.Add(1)
			case problem.KindOf(err) == problem.Unauthenticated:
				lost.Add(1)
			default:
				l.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		l.Fatalf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func signIns(l *ledger) {
	ctx := l.Context()
	l.account("usr-1", "alice")
	in := func(subject string, names ...string) *release.SignIn {
		return &release.SignIn{Issuer: "https://idp.example", Subject: subject, Groups: []string{"dev", "ops"}, GroupsUntil: time.Now().Add(time.Hour),
			Account: release.Account{ID: "usr-" + subject, Kind: release.KindUser}, Names: names, Event: named(""), Now: start}
	}
	_, err := l.SignIn(ctx, in("s1"))
	l.refused(err, problem.Denied, "sign-in-unlinked")
	// The name is somebody else's: the person gets another, and never hers.
	a, err := l.SignIn(ctx, in("s1", "alice", "alice-2"))
	l.ok(err)
	l.same("made", a, release.Account{ID: "usr-s1", Name: "alice-2", Kind: release.KindUser, Created: start})
	l.lastEvent(audit.AccountLinked)
	again := in("s1", "other")
	again.Account.ID = "usr-new"
	a, err = l.SignIn(ctx, again)
	l.ok(err)
	if a.ID != "usr-s1" || a.Name != "alice-2" {
		l.Fatalf("the same person is %+v", a)
	}
	otherIssuer := in("s1", "bob")
	otherIssuer.Issuer, otherIssuer.Account.ID = "https://other.example", "usr-b"
	if a, err = l.SignIn(ctx, otherIssuer); err != nil || a.ID != "usr-b" {
		l.Fatalf("a subject of another issuer is %+v, %v", a, err)
	}
	_, err = l.SignIn(ctx, in("s2", "alice", "bob"))
	l.refused(err, problem.Conflict, "account-exists")

	grant := access.Grant{ID: "grn-g", Role: access.RoleReader, Project: "demo"}
	l.ok(l.AddGrant(ctx, release.GroupPrefix+"dev", grant, named(audit.RoleGranted), start))
	l.same("grants of the groups", l.grantsOf("usr-s1"), []release.AccountGrant{{Account: "group:dev", Grant: grant}})
	l.same("grants of others", l.grantsOf("usr-1"), nil)
	l.same("all grants", l.grantsOf(""), []release.AccountGrant{{Account: "group:dev", Grant: grant}})
	left := in("s1", "x")
	left.Groups = []string{"ops"}
	_, err = l.SignIn(ctx, left)
	l.ok(err)
	l.same("after leaving the group", l.grantsOf("usr-s1"), nil)
	late := in("s1", "x")
	late.GroupsUntil = time.Now().Add(-time.Second)
	_, err = l.SignIn(ctx, late)
	l.ok(err)
	l.same("long after", l.grantsOf("usr-s1"), nil)

	l.ok(l.SetAccountDisabled(ctx, "usr-s1", true, named(audit.AccountRemoved), start))
	_, err = l.SignIn(ctx, in("s1", "x"))
	l.refused(err, problem.Denied, "sign-in-disabled")

	l.refused(l.LinkAccount(ctx, "usr-1", "https://idp.example", "s1", named(""), start), problem.Conflict, "account-linked")
	l.ok(l.LinkAccount(ctx, "usr-1", "https://idp.example", "s3", named(""), start))
	if a, err = l.SignIn(ctx, in("s3")); err != nil || a.ID != "usr-1" {
		l.Fatalf("the linked person is %+v, %v", a, err)
	}
	l.same("grants of the linked", l.grantsOf("usr-1"), []release.AccountGrant{{Account: "group:dev", Grant: grant}})
	l.ok(l.UnlinkAccount(ctx, "usr-1", named(audit.AccountLinked), start))
	l.same("grants of the unlinked", l.grantsOf("usr-1"), nil)
	_, err = l.SignIn(ctx, in("s3"))
	l.refused(err, problem.Denied, "sign-in-unlinked")
	links, err := l.AccountLinks(ctx)
	l.ok(err)
	if !slices.ContainsFunc(links, func(x release.AccountLink) bool { return x.Account == "bob" && x.Subject == "s1" }) || len(links) != 2 {
		l.Fatalf("links %+v", links)
	}
	l.refused(l.UnlinkAccount(ctx, "usr-1", named(audit.AccountLinked), start), problem.NotFound, "linked account")
	if len(l.audited(release.AuditFilter{Action: "account.linked", Limit: 100})) != 4 {
		l.Fatal("not every link is on record")
	}
}

func (l *ledger) grantsOf(account string) []release.AccountGrant {
	l.Helper()
	got, err := l.GrantsOf(l.Context(), account)
	l.ok(err)
	return got
}
