package storetest

import (
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// people makes two accounts that were there before anything happens.
func (l *ledger) people() (first, second audit.Event) {
	l.Helper()
	for id, name := range map[string]string{"usr-ann": "ann", "usr-bob": "bob"} {
		l.ok(l.CreateAccount(l.Context(), release.Account{ID: id, Name: name, Kind: release.KindUser}, "", named(audit.AccountCreated), start.Add(-time.Hour)))
	}
	return by("usr-ann"), by("usr-bob")
}

func (l *ledger) quarantine(r release.Release, action string, ev audit.Event, now time.Time) (release.Release, error) {
	return l.Quarantine(l.Context(), &release.QuarantineChange{ReleaseID: r.ID, Action: action, Reason: "malware", Text: "why", Now: now, Event: ev})
}

// withheld says that nobody gets a release in a repository, by which rule.
func (l *ledger) withheld(r release.Release, kind problem.Kind, rule string) {
	l.Helper()
	ctx := l.Context()
	for _, ref := range []string{r.Tag, r.Manifest} {
		_, err := l.Manifest(ctx, r.Repository(), ref)
		l.refused(err, kind, rule)
		l.refused(l.CheckWithheld(ctx, r.Repository(), ref), kind, rule)
	}
	for _, digest := range []string{r.Archive, r.Config} {
		_, err := l.BlobLink(ctx, r.Repository(), digest)
		l.refused(err, kind, rule)
	}
	if l.indexed(r, false) || l.indexed(r, true) {
		l.Fatalf("%s is in an index", r.Ref())
	}
	tags, err := l.Tags(ctx, r.Repository(), "", 10)
	l.ok(err)
	if strings.Contains(strings.Join(tags, " "), r.Tag) {
		l.Fatalf("tags %v", tags)
	}
}

func quarantineAndBack(l *ledger) {
	ann, bob := l.people()
	c := offer(l.project, "web", "1.0.0", "first")
	r := l.claim(c)
	r = l.setState(r, true) // yanked before: it is again afterwards
	twin := l.claim(offer(l.create("twin"), "web", "1.0.0", "first"))
	before := l.current(l.project)

	set, err := l.quarantine(r, tlog.QuarantineSet, ann, start)
	l.ok(err)
	if set.State != release.Quarantined || set.Yank == nil || set.Quarantine.ByName != "ann" || set.Quarantine.Before != release.Yanked || !set.Quarantine.Lapses.Equal(start.Add(release.QuarantineLife)) {
		l.Fatalf("got %+v, %+v", set, set.Quarantine)
	}
	leaf, ok := l.newestLeaf().(tlog.Quarantine)
	if !ok || leaf.Index != r.LogIndex || leaf.Action != tlog.QuarantineSet || leaf.Actor.Subject != "usr-ann" || set.Quarantine.LogIndex != l.size()-1 {
		l.Fatalf("leaf %+v", leaf)
	}
	l.lastEvent(audit.QuarantineSet)
	if g := l.current(l.project).Generation; g != before.Generation+1 {
		l.Fatalf("generation %d after %d", g, before.Generation)
	}
	l.withheld(r, problem.Policy, release.RuleQuarantine)
	if _, err := l.BlobLink(l.Context(), twin.Repository(), r.Archive); err != nil {
		l.Fatalf("another project's copy: %v", err)
	}
	list, err := l.Withheld(l.Context())
	l.ok(err)
	l.same("withheld", list, []release.Release{set})
	with, err := l.ReleasesWith(l.Context(), r.Archive, 10)
	l.ok(err)
	if len(with) != 2 || with[0].Ref() != r.Ref() || with[1].Ref() != twin.Ref() {
		l.Fatalf("releases with it: %+v", with)
	}

	size := l.size()
	_, err = l.quarantine(r, tlog.QuarantineSet, bob, start)
	l.refused(err, problem.Conflict, "quarantine-set")
	_, err = l.quarantine(r, tlog.QuarantineConfirmed, ann, start.Add(time.Hour))
	l.refused(err, problem.Denied, "second-person")
	l.lastEvent(audit.AccessDenied)
	if l.size() != size {
		l.Fatal("a refusal has a leaf")
	}
	confirmed, err := l.quarantine(r, tlog.QuarantineConfirmed, bob, start.Add(time.Hour))
	l.ok(err)
	if q := confirmed.Quarantine; !q.Lapses.IsZero() || q.ConfirmedByName != "bob" || !q.Confirmed.Equal(start.Add(time.Hour)) {
		l.Fatalf("confirmed %+v", q)
	}
	if n, err := l.Due(l.Context(), start.Add(100*release.QuarantineLife), 10); err != nil || n != 0 {
		l.Fatalf("%d are due, %v", n, err)
	}
	lifted, err := l.quarantine(r, tlog.QuarantineLifted, bob, start.Add(2*time.Hour))
	l.ok(err)
	if lifted.State != release.Yanked || lifted.Quarantine != nil || lifted.Yank == nil {
		l.Fatalf("lifted %+v", lifted)
	}
	l.mustBeVisible(lifted, true, true, false, false, true)
}

// quarantineDue has two processes do what is due, after a restart.
func quarantineDue(l *ledger) {
	ann, _ := l.people()
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	_, err := l.quarantine(r, tlog.QuarantineSet, ann, start)
	l.ok(err)
	l.Close()
	l.LedgerStore = l.open(l.T, nil)
	due := func(at time.Time) {
		l.Helper()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := l.Due(l.Context(), at, 10); err != nil {
					l.Error(err)
				}
			})
		}
		wg.Wait()
	}
	counted := func(name audit.Name, want int) {
		l.Helper()
		if got := len(l.audited(release.AuditFilter{Action: string(name), Limit: 10})); got != want {
			l.Fatalf("%d events %s, want %d", got, name, want)
		}
	}
	due(start.Add(release.QuarantineLife/2 - time.Second))
	counted(audit.QuarantineWaits, 0)
	due(start.Add(release.QuarantineLife / 2))
	due(start.Add(release.QuarantineLife - time.Second))
	counted(audit.QuarantineWaits, 1)
	l.withheld(r, problem.Policy, release.RuleQuarantine)
	due(start.Add(release.QuarantineLife))
	due(start.Add(release.QuarantineLife))
	counted(audit.QuarantineLapsed, 1)
	if leaf := l.newestLeaf().(tlog.Quarantine); leaf.Action != tlog.QuarantineLapsed || leaf.Time.Before(start.Add(release.QuarantineLife)) {
		l.Fatalf("leaf %+v", leaf)
	}
	l.mustBeVisible(r, true, true, true, true, true)
	_, err = l.quarantine(r, tlog.QuarantineSet, ann, start.Add(2*release.QuarantineLife))
	l.refused(err, problem.Denied, "quarantine-again")
}

func (l *ledger) ask(r release.Release, ev audit.Event) (release.Request, error) {
	return l.CreateRequest(l.Context(), release.Request{
		Kind: release.RequestTombstone, Project: r.Project, ProjectID: r.ProjectID, ReleaseID: r.ID, Chart: r.Chart, Version: r.Version, Reason: "legal", Text: "asked",
		Requester: ev.Actor.ID, Made: start, Expires: start.Add(release.RequestLife), State: release.RequestWaiting,
	}, ev)
}

func (l *ledger) decide(id int64, state release.RequestState, ev audit.Event) (release.Request, error) {
	return l.Decide(l.Context(), &release.Verdict{ID: id, State: state, Answer: "so be it", Now: start.Add(time.Minute), Event: ev})
}

func tombstones(l *ledger) {
	ann, bob := l.people()
	c := offer(l.project, "web", "1.0.0", "first")
	c.Prov = []byte("signature")
	c.Release.Provenance = sha256Of(c.Prov)
	c.Links = append(c.Links, release.Link{Digest: c.Release.Provenance, Size: int64(len(c.Prov)), Small: true})
	r := l.claim(c)
	second := l.claim(offer(l.project, "web", "1.0.1", "second"))
	req, err := l.ask(r, ann)
	l.ok(err)
	if req.ID == 0 || req.RequesterName != "ann" || req.Digest != r.Archive || req.State != release.RequestWaiting {
		l.Fatalf("request %+v", req)
	}
	_, err = l.ask(r, bob)
	l.refused(err, problem.Conflict, "request-open")
	_, err = l.decide(req.ID, release.RequestApproved, ann)
	l.refused(err, problem.Denied, "second-person")
	done, err := l.decide(req.ID, release.RequestApproved, bob)
	l.ok(err)
	if done.State != release.RequestDone || done.DeciderName != "bob" || done.Answer != "so be it" {
		l.Fatalf("request %+v", done)
	}
	leaf, ok := l.newestLeaf().(tlog.Tombstone)
	if !ok || leaf.Index != r.LogIndex || leaf.Archive != r.Archive || leaf.Requester.Subject != "usr-ann" || leaf.Approver.Subject != "usr-bob" || leaf.Text != "asked" {
		l.Fatalf("leaf %+v", leaf)
	}
	l.lastEvent(audit.TombstoneDone)
	l.withheld(r, problem.Gone, release.RuleTombstone)
	for _, digest := range []string{r.Config, c.Release.Provenance} {
		_, err := l.SmallBlob(l.Context(), digest)
		l.refused(err, problem.NotFound, "blob-unknown")
	}
	if _, err := l.SmallBlob(l.Context(), second.Config); err != nil {
		l.Fatal(err)
	}
	stone, err := l.ReleaseByVersion(l.Context(), l.project.ID, "web", "1.0.0")
	l.ok(err)
	if n := stone.Tombstone; stone.State != release.Tombstoned || n == nil || n.RequesterName != "ann" || n.ApproverName != "bob" || n.LogIndex != l.size()-1 || n.Request != req.ID || stone.Archive != r.Archive {
		l.Fatalf("release %+v", stone)
	}
	if _, err := l.Prove(l.Context(), r.LogIndex); err != nil {
		l.Fatal(err)
	}

	// The name is burnt, whatever is offered, and its tag leads nowhere else.
	for _, content := range []string{"first", "other"} {
		_, err = l.Claim(l.Context(), offer(l.project, "web", "1.0.0", content))
		l.refused(err, problem.Gone, release.RuleTombstone)
		if ev := l.lastEvent(audit.RefusedWithheld); ev.AlertKey() == "" || ev.Before != r.Archive {
			l.Fatalf("event %+v", ev)
		}
	}
	l.refused(l.PutManifest(l.Context(), put(l.project, "web", "tagged", "1.0.0")), problem.Immutable, "test-move")
	_, err = l.Attach(l.Context(), attachment(r, "signature"))
	l.refused(err, problem.Gone, release.RuleTombstone)
	_, err = l.quarantine(r, tlog.QuarantineSet, ann, start)
	l.refused(err, problem.Gone, release.RuleTombstone)
	_, err = l.ask(r, ann)
	l.refused(err, problem.Gone, release.RuleTombstone)
	l.withheld(r, problem.Gone, release.RuleTombstone)
}

func erasures(l *ledger) {
	ann, bob := l.people()
	ctx := l.Context()
	twin := l.create("twin")
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	other := l.claim(offer(twin, "web", "1.0.0", "first"))
	bury := func(r release.Release) {
		l.Helper()
		req, err := l.ask(r, ann)
		l.ok(err)
		_, err = l.decide(req.ID, release.RequestApproved, bob)
		l.ok(err)
	}
	erasing := func(want bool) {
		l.Helper()
		if got, err := l.Erasing(ctx, r.Archive); err != nil || got != want {
			l.Fatalf("erasing %t, %v", got, err)
		}
	}
	erasing(false)
	bury(r)
	erasing(true)
	at := start.Add(time.Minute).Add(release.EraseAfter)
	if due, err := l.Erasures(ctx, at.Add(-time.Second), 10); err != nil || len(due) != 0 {
		l.Fatalf("due %v, %v", due, err)
	}
	due, err := l.Erasures(ctx, at, 10)
	l.ok(err)
	l.same("due", due, []string{r.Archive})
	needed, err := l.NeededBy(ctx, r.Archive)
	l.ok(err)
	l.same("needed by", needed, []string{"twin/web@1.0.0", "twin/web"})
	l.ok(l.SettleErasure(ctx, r.Archive, strings.Join(needed, " "), at))
	erasing(false)
	if erased, err := l.ErasedBlob(ctx, r.Archive); err != nil || erased {
		l.Fatalf("erased %t, %v", erased, err)
	}
	bury(other) // the row waits anew
	erasing(true)
	if needed, err := l.NeededBy(ctx, r.Archive); err != nil || len(needed) != 0 {
		l.Fatalf("needed by %v, %v", needed, err)
	}
	l.ok(l.SettleErasure(ctx, r.Archive, "", at))
	if erased, err := l.ErasedBlob(ctx, r.Archive); err != nil || !erased {
		l.Fatalf("erased %t, %v", erased, err)
	}
}

func policyRequests(l *ledger) {
	ann, bob := l.people()
	ctx := l.Context()
	strict := l.create("strict", staging)
	change := func(ev audit.Event, after release.Policy, kind string, shown bool) (release.Project, *release.Request, error) {
		return l.SetProject(ctx, "strict", ev, start, func(p release.Project, released bool) (release.ProjectUpdate, error) {
			u := release.ProjectUpdate{Project: p, PolicyChange: kind, Shown: shown}
			u.Project.Policy, u.Project.PolicyDigest, u.Project.Public = after, release.PolicyDigest(after), shown
			if released && kind == tlog.PolicyWeaker {
				u.PolicyChange = ""
				u.Request = &release.Request{Kind: release.RequestPolicy, Project: p.Name, ProjectID: p.ID, Before: p.PolicyDigest, After: u.Project.PolicyDigest, Document: release.PolicyText(after),
					Weaker: []string{"all of it"}, Requester: ev.Actor.ID, Made: start, Expires: start.Add(release.RequestLife), State: release.RequestWaiting}
			}
			return u, nil
		})
	}
	r := l.claim(offer(strict, "web", "1.0.0", "first"))
	size := l.size()
	ann.Name = audit.ProjectSet
	p, req, err := change(ann, release.Policy{}, tlog.PolicyWeaker, true)
	l.ok(err)
	if req == nil || p.PolicyDigest != strict.PolicyDigest || !p.Public || l.size() != size+1 {
		l.Fatalf("asked: %+v, %+v, log of %d after %d", p, req, l.size(), size)
	}
	_, _, err = change(ann, release.Policy{}, tlog.PolicyWeaker, false)
	l.refused(err, problem.Conflict, "request-open")
	approved, err := l.decide(req.ID, release.RequestApproved, bob)
	l.ok(err)
	at := start.Add(time.Minute).Add(release.DefaultWeakenDelay)
	if approved.State != release.RequestApproved || !approved.Effective.Equal(at) {
		l.Fatalf("approved %+v", approved)
	}
	l.Close() // the schedule is a row
	l.LedgerStore = l.open(l.T, nil)
	if n, err := l.Due(ctx, at.Add(-time.Second), 10); err != nil || n != 0 {
		l.Fatalf("%d are due, %v", n, err)
	}
	if n, err := l.Due(ctx, at, 10); err != nil || n != 1 {
		l.Fatalf("%d were due, %v", n, err)
	}
	leaf, ok := l.newestLeaf().(tlog.Policy)
	if !ok || leaf.Before != strict.PolicyDigest || leaf.After != release.PolicyDigest(release.Policy{}) || leaf.Change != tlog.PolicyWeaker || leaf.Requester.Subject != "usr-ann" || leaf.Approver.Subject != "usr-bob" {
		l.Fatalf("leaf %+v", leaf)
	}
	l.lastEvent(audit.PolicyWeakened)
	if got := l.current(strict); got.Policy.RequireProvenance || got.PolicyDigest != leaf.After {
		l.Fatalf("project %+v", got)
	}
	if same, err := l.ReleaseByVersion(ctx, strict.ID, "web", "1.0.0"); err != nil || same.State != r.State {
		l.Fatalf("released before: %+v, %v", same, err)
	}
	got, err := l.Request(ctx, req.ID)
	l.ok(err)
	if got.State != release.RequestDone || len(got.Weaker) != 1 || string(got.Document) != `{"require_provenance":false}` {
		l.Fatalf("request %+v", got)
	}
	_, err = l.Request(ctx, 99)
	l.refused(err, problem.NotFound, "request")
	_, err = l.decide(99, release.RequestApproved, bob)
	l.refused(err, problem.NotFound, "request")

	// What is not weaker counts at once, and ends what was asked for.
	_, _, err = change(ann, release.Policy{RequireProvenance: true}, tlog.PolicyStricter, false)
	l.ok(err)
	_, req, err = change(ann, release.Policy{}, tlog.PolicyWeaker, false)
	l.ok(err)
	_, _, err = change(ann, release.Policy{RequireProvenance: true, WeakenDelay: "48h"}, tlog.PolicyStricter, false)
	l.ok(err)
	if got, err := l.Request(ctx, req.ID); err != nil || got.State != release.RequestLapsed {
		l.Fatalf("request %+v, %v", got, err)
	}
	open, err := l.Requests(ctx, release.RequestFilter{Project: "strict"})
	l.ok(err)
	all, err := l.Requests(ctx, release.RequestFilter{All: true})
	l.ok(err)
	if len(open) != 0 || len(all) != 2 || all[0].ID <= all[1].ID {
		l.Fatalf("open %+v, all %+v", open, all)
	}
}

// decideRace has two people approve, and one withdraw, at once.
func decideRace(l *ledger) {
	ann, bob := l.people()
	r := l.claim(offer(l.project, "web", "1.0.0", "first"))
	req, err := l.ask(r, ann)
	l.ok(err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []release.RequestState
	for range 8 {
		for _, state := range []release.RequestState{release.RequestApproved, release.RequestWithdrawn, release.RequestDeclined} {
			wg.Go(func() {
				_, err := l.decide(req.ID, state, bob)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, state)
				} else if p, ok := problem.As(err); !ok || p.Rule != "request-over" {
					l.Errorf("%s: %v", state, err)
				}
			})
		}
	}
	wg.Wait()
	if len(won) != 1 {
		l.Fatalf("%v", won)
	}
	got, err := l.ReleaseByVersion(l.Context(), l.project.ID, "web", "1.0.0")
	l.ok(err)
	if (got.State == release.Tombstoned) != (won[0] == release.RequestApproved) {
		l.Fatalf("%s won, the release is %s", won[0], got.State)
	}
}
