package release_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// person makes an account with roles everywhere, and signs in with a token
// that the administrator made for it.
func (r *registry) person(name string, roles ...access.Role) release.Caller {
	r.Helper()
	_, err := r.CreateAccount(r.ctx, r.admin, name, release.KindUser, "")
	r.ok(err)
	var grants []access.Grant
	for _, role := range roles {
		g, err := r.AddGrant(r.ctx, r.admin, name, access.Grant{Role: role, Project: "*"})
		r.ok(err)
		grants = append(grants, g)
	}
	secret, _, err := r.CreateToken(r.ctx, r.admin, release.TokenRequest{Name: name, Account: name, Grants: grants, Expires: r.now.Add(60 * 24 * time.Hour)})
	r.ok(err)
	return r.as(secret)
}

// team is the people of these tests; a moment passes, so that their accounts
// are older than what they do.
func (r *registry) team() (ann, bob, eve release.Caller) {
	ann = r.person("ann", access.RoleMaintainer, access.RoleProjectOwner, access.RoleApprover)
	bob = r.person("bob", access.RoleApprover)
	eve = r.person("eve", access.RoleMaintainer, access.RoleApprover)
	r.now = r.now.Add(time.Minute)
	return ann, bob, eve
}

// newest is the newest leaf of the log.
func (r *registry) newest() tlog.Leaf {
	r.Helper()
	info, err := r.LogInfo(r.ctx)
	r.ok(err)
	entry, err := r.Leaf(r.ctx, r.admin, info.Size-1)
	r.ok(err)
	leaf, err := tlog.ParseLeaf(entry)
	r.ok(err)
	return leaf
}

// named says that an audit event of a name is among the newest.
func (r *registry) named(name audit.Name) audit.Event {
	r.Helper()
	list, err := r.Audit(r.ctx, r.admin, release.AuditFilter{Action: string(name), Limit: 1})
	r.ok(err)
	if len(list) == 0 {
		r.Fatalf("there is no event %s", name)
	}
	return list[0].Event
}

// doors asks for a release in every way that this room offers. Each is nil when
// it gives something of the release away.
func (r *registry) doors(c release.Caller, rel *release.Release) map[string]error {
	oci := through(c, audit.DoorOCI)
	repo := rel.Repository()
	blob := func(d string) func() error {
		return func() error {
			b, err := r.OpenBlob(r.ctx, oci, repo, d)
			if err == nil {
				_, err = b.WriteTo(io.Discard)
				b.Close()
			}
			return err
		}
	}
	out := map[string]error{}
	for name, ask := range map[string]func() error{
		"archive":    func() error { _, err := r.served(c, rel.Project, rel.File); return err },
		"provenance": func() error { _, _, err := r.Provenance(r.ctx, c, rel.Project, rel.File+".prov"); return err },
		"files": func() error {
			_, err := r.ArchiveFiles(r.ctx, c, rel.Project, rel.Chart, rel.Version, "Chart.yaml")
			return err
		},
		"manifest by tag":    func() error { _, err := r.GetManifest(r.ctx, oci, repo, rel.Tag); return err },
		"manifest by digest": func() error { _, err := r.GetManifest(r.ctx, oci, repo, rel.Manifest); return err },
		"blob of archive":    blob(rel.Archive),
		"blob of config":     blob(rel.Config),
		"blob of provenance": blob(rel.Provenance),
		"referrers":          func() error { _, err := r.Referrers(r.ctx, oci, repo, rel.Manifest, ""); return err },
	} {
		out[name] = ask()
	}
	return out
}

// listed says in which lists a release is.
func (r *registry) listed(rel *release.Release) (tag, index, all bool) {
	r.Helper()
	tags, _, err := r.Tags(r.ctx, r.admin, rel.Repository(), "", 100)
	r.ok(err)
	in := func(list []string) bool {
		return strings.Contains("\n"+strings.Join(list, "\n")+"\n", "\n"+rel.Chart+" "+rel.Version+" "+rel.Archive+"\n")
	}
	return strings.Contains(" "+strings.Join(tags, " ")+" ", " "+rel.Tag+" "), in(r.index(r.admin, rel.Project, false)), in(r.index(r.admin, rel.Project, true))
}

func (r *registry) open(c release.Caller, rel *release.Release) {
	r.Helper()
	for door, err := range r.doors(c, rel) {
		if err != nil && (rel.Provenance != "" || !strings.Contains(door, "provenance")) {
			r.Errorf("%s is not served: %v", door, err)
		}
	}
}

func (r *registry) closed(c release.Caller, rel *release.Release, kind problem.Kind, rule string) {
	r.Helper()
	for door, err := range r.doors(c, rel) {
		if rel.Provenance == "" && strings.Contains(door, "provenance") {
			continue
		}
		p, ok := problem.As(err)
		if !ok || p.Kind != kind || p.Rule != rule {
			r.Errorf("%s is answered %v, want kind %s, rule %s", door, err, kind, rule)
			continue
		}
		if factOf(p, "digest") != rel.Archive || factOf(p, "reason") == "" || factOf(p, "since") == "" || factOf(p, "log index") == "" || strings.Contains(p.Error(), "ann") {
			r.Errorf("%s says %v", door, p)
		}
	}
	if tag, index, all := r.listed(rel); tag || index || all {
		r.Errorf("it is listed: as a tag %v, in the index %v, in the whole one %v", tag, index, all)
	}
	if _, _, err := r.ProofFile(r.ctx, c, rel.Project, rel.File+".tlog-proof"); err != nil {
		r.Errorf("its proof is not served: %v", err)
	}
	d, err := r.Release(r.ctx, c, rel.Project, rel.Chart, rel.Version)
	if err != nil || !d.Release.State.Withheld() || d.Metadata.APIVersion != "" {
		r.Errorf("the release is shown as %+v, %v", d, err)
	}
}

// attached is a release with a provenance and a signature.
func (r *registry) attached(project, name, version string) release.Release {
	r.Helper()
	archive, _ := r.released(project, name, version)
	_, err := r.AttachProvenance(r.ctx, r.admin, project, provenance(name, version, archive, 0))
	r.ok(err)
	d, err := r.Release(r.ctx, r.admin, project, name, version)
	r.ok(err)
	return d.Release
}

// TestQuarantineAtEveryDoor blocks a release and serves it again, and looks at
// every way to its bytes before, meanwhile and afterwards.
func TestQuarantineAtEveryDoor(t *testing.T) {
	r := newRegistry(t)
	_, err := r.SetProject(r.ctx, r.admin, "demo", release.ProjectChange{Public: new(true)})
	r.ok(err)
	ann, bob, _ := r.team()
	rel := r.attached("demo", "web", "1.0.0")
	other := r.attached("demo", "web", "1.0.1")
	r.project("twin", release.ProjectOptions{Public: true})
	_, twin := r.released("twin", "web", "1.0.0")
	r.open(anybody, &rel)
	r.open(anybody, &rel) // from what is remembered of the first time

	set, err := r.SetQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "malware", "opens a shell")
	r.ok(err)
	q := set.Quarantine
	if set.State != release.Quarantined || q == nil || q.Reason != "malware" || q.Text != "opens a shell" || q.ByName != "ann" || !q.Lapses.Equal(r.now.Add(release.QuarantineLife)) {
		t.Fatalf("set: %+v, %+v", set, q)
	}
	leaf, ok := r.newest().(tlog.Quarantine)
	if !ok || leaf.Index != rel.LogIndex || leaf.Action != tlog.QuarantineSet || leaf.Reason != "malware" || leaf.Actor.Subject != ann.Principal.ID || q.LogIndex == 0 {
		t.Fatalf("leaf %+v", leaf)
	}
	r.closed(anybody, &rel, problem.Policy, release.RuleQuarantine)
	r.closed(ann, &rel, problem.Policy, release.RuleQuarantine)
	r.open(anybody, &other)
	if _, err := r.served(anybody, "twin", twin.File); err != nil {
		t.Errorf("the same bytes in another project: %v", err)
	}
	if shown, err := r.Release(r.ctx, anybody, "demo", "web", "1.0.0"); err != nil || shown.Release.Quarantine == nil || shown.Release.Quarantine.ByName != "" {
		t.Errorf("a stranger is shown %+v, %v", shown.Release.Quarantine, err)
	}
	if latest, err := r.Release(r.ctx, anybody, "demo", "web", "latest"); err != nil || latest.Release.Version != "1.0.1" {
		t.Errorf("latest is %+v, %v", latest.Release, err)
	}

	list, err := r.Quarantines(r.ctx, bob, "demo")
	r.ok(err)
	if len(list) != 1 || list[0].Version != "1.0.0" || list[0].Quarantine.ByName != "ann" {
		t.Fatalf("listed %+v", list)
	}
	lifted, err := r.LiftQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "false alarm")
	r.ok(err)
	if lifted.State != release.Active || lifted.Quarantine != nil {
		t.Fatalf("lifted: %+v", lifted)
	}
	r.open(anybody, &rel)
	if tag, index, all := r.listed(&rel); !tag || !index || !all {
		t.Errorf("it is listed: as a tag %v, in the index %v, in the whole one %v", tag, index, all)
	}
	r.named(audit.QuarantineSet)
	r.named(audit.QuarantineLifted)
}

// TestWithheldPush pushes what is blocked or gone, through both kinds of doors.
func TestWithheldPush(t *testing.T) {
	for name, withhold := range map[string]func(r *registry, ann, bob release.Caller){
		"quarantine": func(r *registry, ann, _ release.Caller) {
			_, err := r.SetQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "secret", "")
			r.ok(err)
		},
		"tombstone": func(r *registry, ann, bob release.Caller) { r.bury(ann, bob, "demo", "web", "1.0.0") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			ann, bob, _ := r.team()
			archive, rel := r.released("demo", "web", "1.0.0")
			withhold(r, ann, bob)
			kind := map[string]problem.Kind{"quarantine": problem.Policy, "tombstone": problem.Gone}[name]
			info, err := r.LogInfo(r.ctx)
			r.ok(err)

			_, err = r.push("demo", archive, nil)
			p := r.refused(err, kind, name)
			if !strings.Contains(p.Message, "nothing was changed") || factOf(p, "offered") != rel.Archive {
				t.Errorf("refusal %v", p)
			}
			if ev := r.named(audit.RefusedWithheld); ev.AlertKey() == "" || ev.After != rel.Archive || ev.Resource.Version != "1.0.0" {
				t.Errorf("event %+v", ev)
			}
			oci := through(r.admin, audit.DoorOCI)
			if _, err := r.StatBlob(r.ctx, oci, "demo/web", rel.Archive); problem.KindOf(err) != problem.NotFound {
				t.Errorf("a pusher is told %v before the upload", err)
			}
			if _, err := r.StatBlob(r.ctx, through(bob, audit.DoorOCI), "demo/web", rel.Archive); problem.KindOf(err) != kind {
				t.Errorf("a reader is told %v", err)
			}
			r.refused(r.PutBlob(r.ctx, oci, "demo/web", bytes.NewReader(archive), rel.Archive), kind, name)
			id, err := r.StartUpload(r.ctx, oci, "demo/web")
			r.ok(err)
			r.refused(r.FinishUpload(r.ctx, oci, "demo/web", id, 0, bytes.NewReader(archive), rel.Archive), kind, name)
			manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
			if _, err := r.PutManifest(r.ctx, oci, "demo/web", release.ManifestRef{Tags: []string{"1.0.0"}}, "application/vnd.oci.image.index.v1+json", manifest); err == nil {
				t.Error("its tag was given to something else")
			}
			if mounted, err := r.MountBlob(r.ctx, oci, "demo/db", rel.Archive, "demo/web"); mounted || err != nil {
				t.Errorf("its archive was mounted elsewhere: %v, %v", mounted, err)
			}
			if mounted, err := r.MountBlob(r.ctx, oci, "demo/db", rel.Archive, ""); mounted || err != nil {
				t.Errorf("its archive was found and mounted elsewhere: %v, %v", mounted, err)
			}
			_, err = r.AttachProvenance(r.ctx, r.admin, "demo", provenance("web", "1.0.0", archive, 0))
			r.refused(err, kind, name)
			_, err = r.Yank(r.ctx, r.admin, "demo", "web", "1.0.0", "broken", "")
			r.refused(err, kind, name)
			if now, err := r.LogInfo(r.ctx); err != nil || now.Size != info.Size {
				t.Errorf("the log grew from %d to %d, %v", info.Size, now.Size, err)
			}
		})
	}
}

// TestQuarantineTakesTwo walks through who may do what, and when.
func TestQuarantineTakesTwo(t *testing.T) {
	r := newRegistry(t)
	ann, bob, eve := r.team()
	_, rel := r.released("demo", "web", "1.0.0")
	set := func(c release.Caller) error {
		_, err := r.SetQuarantine(r.ctx, c, "demo", "web", "1.0.0", "malware", "")
		return err
	}
	confirm := func(c release.Caller) error {
		_, err := r.ConfirmQuarantine(r.ctx, c, "demo", "web", "1.0.0", "")
		return err
	}
	lift := func(c release.Caller) error {
		_, err := r.LiftQuarantine(r.ctx, c, "demo", "web", "1.0.0", "")
		return err
	}
	if err := set(bob); problem.KindOf(err) != problem.Denied {
		t.Fatalf("without the right: %v", err)
	}
	_, err := r.SetQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "boredom", "")
	r.refused(err, problem.Invalid, "block-reason")
	r.refused(confirm(bob), problem.Conflict, "quarantine-none")
	r.refused(lift(bob), problem.Conflict, "quarantine-none")

	r.ok(set(ann))
	r.refused(set(eve), problem.Conflict, "quarantine-set")
	r.refused(confirm(ann), problem.Denied, "second-person")
	late := r.person("late", access.RoleApprover) // made after it was set
	p := r.refused(confirm(late), problem.Denied, "second-person")
	if factOf(p, "account made") == "" {
		t.Errorf("refusal %v", p)
	}
	if ev := r.named(audit.AccessDenied); ev.Outcome.Rule != "second-person" || ev.Action != access.QuarantineDecide {
		t.Errorf("event %+v", ev)
	}
	r.ok(confirm(bob))
	r.refused(confirm(eve), problem.Conflict, "quarantine-confirmed")
	if leaf := r.newest().(tlog.Quarantine); leaf.Action != tlog.QuarantineConfirmed || leaf.Actor.Subject != bob.Principal.ID {
		t.Fatalf("leaf %+v", leaf)
	}
	r.now = r.now.Add(100 * 24 * time.Hour) // a confirmed one stays
	r.ok(r.Protect(r.ctx))
	ann, bob, eve = r.again(ann), r.again(bob), r.again(eve)
	r.closed(ann, &rel, problem.Policy, release.RuleQuarantine)
	r.refused(lift(ann), problem.Denied, "second-person")
	r.ok(lift(eve))
	r.open(ann, &rel)

	// One that nobody confirms: an alert at half time, then it opens.
	r.ok(set(ann))
	began := r.now
	r.now = began.Add(release.QuarantineLife/2 - time.Second)
	r.ok(r.Protect(r.ctx))
	if list, _ := r.Audit(r.ctx, r.admin, release.AuditFilter{Action: string(audit.QuarantineWaits), Limit: 9}); len(list) != 0 {
		t.Fatal("warned too early")
	}
	for range 3 { // once, however often it is looked
		r.now = r.now.Add(time.Second)
		r.ok(r.Protect(r.ctx))
	}
	if list, _ := r.Audit(r.ctx, r.admin, release.AuditFilter{Action: string(audit.QuarantineWaits), Limit: 9}); len(list) != 1 || list[0].Event.AlertKey() == "" {
		t.Fatalf("warned %d times", len(list))
	}
	r.now = began.Add(release.QuarantineLife - time.Second)
	r.ok(r.Protect(r.ctx))
	r.closed(ann, &rel, problem.Policy, release.RuleQuarantine)
	r.now = began.Add(release.QuarantineLife)
	r.refused(confirm(bob), problem.Conflict, "quarantine-lapsed")
	r.ok(r.Protect(r.ctx))
	r.open(ann, &rel)
	if leaf := r.newest().(tlog.Quarantine); leaf.Action != tlog.QuarantineLapsed || leaf.Actor.Subject != "server" || leaf.Reason != "malware" {
		t.Fatalf("leaf %+v", leaf)
	}
	if ev := r.named(audit.QuarantineLapsed); ev.Actor.ID != "server" || ev.Door != audit.DoorServer {
		t.Errorf("event %+v", ev)
	}
	r.refused(set(ann), problem.Denied, "quarantine-again") // not alone for another day
	r.ok(set(eve))
	r.ok(lift(eve)) // who set it takes it back, while nobody confirmed
	r.ok(set(ann))
}

// again signs in anew, since tokens are remembered with the time.
func (r *registry) again(c release.Caller) release.Caller {
	r.Helper()
	c.Principal.Expires = time.Time{}
	if c.Principal.Of != nil {
		of := *c.Principal.Of
		of.Expires = time.Time{}
		c.Principal.Of = &of
	}
	return c
}

// TestSecondPerson is about who is one person under two names.
func TestSecondPerson(t *testing.T) {
	since := time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)
	before, after := since.Add(-time.Hour), since.Add(time.Hour)
	for name, tt := range map[string]struct {
		second release.SecondPerson
		ok     bool
	}{
		"somebody else":                    {release.SecondPerson{Account: "usr-b", Created: before}, true},
		"the same":                         {release.SecondPerson{Account: "usr-a", Created: before}, false},
		"an account made since":            {release.SecondPerson{Account: "usr-b", Created: after}, false},
		"an account of the first":          {release.SecondPerson{Account: "usr-b", Created: before, MadeBy: []string{"usr-a"}}, true}, // said in the audit trail
		"with a token of the first":        {release.SecondPerson{Account: "usr-b", Created: before, TokenBy: []string{"usr-a"}}, false},
		"with a token of a third":          {release.SecondPerson{Account: "usr-b", Created: before, TokenBy: []string{"usr-c"}}, true},
		"with a new password of the first": {release.SecondPerson{Account: "usr-b", Created: before, PasswordBy: []string{"usr-a"}, PasswordAt: after}, false},
		"with an old password":             {release.SecondPerson{Account: "usr-b", Created: before, PasswordBy: []string{"usr-a"}, PasswordAt: before}, true},
	} {
		err := release.CheckSecond("usr-a", since, &tt.second)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
		if p, _ := problem.As(err); err != nil && (p.Rule != "second-person" || p.Kind != problem.Denied || p.Try == "") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestBorrowedPerson is an administrator who lends himself a second person: by
// a token for another account, and by what that token then makes.
func TestBorrowedPerson(t *testing.T) {
	r := newRegistry(t)
	_, bob, _ := r.team()
	r.released("demo", "web", "1.0.0")
	req, err := r.RequestTombstone(r.ctx, r.admin, "demo", "web", "1.0.0", "legal", "")
	r.ok(err)
	_, err = r.ApproveRequest(r.ctx, bob, req.ID, "") // the admin made this token of bob's
	r.refused(err, problem.Denied, "second-person")
	secret, _, err := r.CreateToken(r.ctx, bob, release.TokenRequest{Name: "mine", Grants: []access.Grant{{Role: access.RoleApprover, Project: "*", Expires: r.now.Add(time.Hour)}}, Expires: r.now.Add(time.Hour)})
	r.ok(err)
	_, err = r.ApproveRequest(r.ctx, r.as(secret), req.ID, "")
	r.refused(err, problem.Denied, "second-person")
	r.ok(r.SetPassword(r.ctx, r.admin, "bob", "correct horse battery"))
	p, err := r.Login(r.ctx, "bob", "correct horse battery")
	r.ok(err)
	_, err = r.ApproveRequest(r.ctx, release.Caller{Principal: p, Door: audit.DoorAPI}, req.ID, "")
	r.refused(err, problem.Denied, "second-person")
	if got, err := r.Request(r.ctx, r.admin, req.ID); err != nil || got.State != release.RequestWaiting {
		t.Fatalf("%+v, %v", got, err)
	}
	r.now = r.now.Add(time.Hour)
	other, err := r.RequestTombstone(r.ctx, r.admin, "demo", "web", "1.0.0", "legal", "")
	r.refused(err, problem.Conflict, "request-open")
	_, err = r.WithdrawRequest(r.ctx, r.admin, req.ID, "")
	r.ok(err)
	other, err = r.RequestTombstone(r.ctx, r.admin, "demo", "web", "1.0.0", "legal", "")
	r.ok(err)
	done, err := r.ApproveRequest(r.ctx, release.Caller{Principal: p, Door: audit.DoorAPI}, other.ID, "") // bob has signed in with a password from before
	r.ok(err)
	if done.State != release.RequestDone {
		t.Fatalf("%+v", done)
	}
	if ev := r.named(audit.RequestApproved); ev.Detail["account-made-by-first"] == "" {
		t.Errorf("the audit trail does not say whose account it was: %+v", ev)
	}
}

// TestRequestsArePeoples refuses pipelines.
func TestRequestsArePeoples(t *testing.T) {
	r := newRegistry(t)
	r.released("demo", "web", "1.0.0")
	robot := r.robot("scanner", access.Grant{Role: access.RoleMaintainer, Project: "*"})
	_, err := r.RequestTombstone(r.ctx, robot, "demo", "web", "1.0.0", "legal", "")
	r.refused(err, problem.Denied, "request-person")
	if ev := r.lastEvent(); ev.Name != audit.AccessDenied || ev.Outcome.Rule != "request-person" {
		t.Errorf("event %+v", ev)
	}
	secret, token, err := r.CreateToken(r.ctx, r.admin, release.TokenRequest{Name: "ci", Grants: []access.Grant{{Role: access.RoleApprover, Project: "demo"}}, Expires: r.now.Add(time.Hour)})
	r.ok(err)
	if token.Personal {
		t.Fatal("the token is personal")
	}
	ann, _, _ := r.team()
	req, err := r.RequestTombstone(r.ctx, ann, "demo", "web", "1.0.0", "legal", "")
	r.ok(err)
	_, err = r.ApproveRequest(r.ctx, r.as(secret), req.ID, "")
	if problem.KindOf(err) != problem.Denied {
		t.Fatalf("a project's token approved: %v", err)
	}
	// A scanner may block, and who made its token is not the second person.
	secret, _, err = r.CreateToken(r.ctx, ann, release.TokenRequest{Name: "scan", Grants: []access.Grant{{Role: access.RoleProjectOwner, Project: "demo"}}, Expires: r.now.Add(time.Hour)})
	r.ok(err)
	_, err = r.SetQuarantine(r.ctx, r.as(secret), "demo", "web", "1.0.0", "malware", "")
	r.ok(err)
	_, err = r.ConfirmQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "")
	r.refused(err, problem.Denied, "second-person")
}

// bury makes a tombstone.
func (r *registry) bury(ann, bob release.Caller, project, name, version string) release.Request {
	r.Helper()
	req, err := r.RequestTombstone(r.ctx, ann, project, name, version, "secret", "holds a key")
	r.ok(err)
	req, err = r.ApproveRequest(r.ctx, bob, req.ID, "seen")
	r.ok(err)
	return req
}
