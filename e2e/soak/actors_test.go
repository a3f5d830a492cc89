package soak

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// actors starts everybody, and returns what waits until each has finished what
// he began.
func (s *soak) actors() *sync.WaitGroup {
	var all sync.WaitGroup
	run := func(name string, pause time.Duration, do func(*rand.Rand)) {
		rng := s.rng(name)
		all.Go(func() {
			for !s.over() {
				do(rng)
				s.sleep(pause)
			}
		})
	}
	for i := range 6 {
		run(fmt.Sprint("publisher ", i), 20*time.Millisecond, s.publish)
	}
	for i := range 2 {
		run(fmt.Sprint("person ", i), 50*time.Millisecond, s.decide)
	}
	run("policy", 300*time.Millisecond, s.changePolicy)
	run("import", 300*time.Millisecond, s.importOld)
	run("scrub", time.Second, s.scrub)
	run("audit", time.Second, s.audit)
	run("upstream", 2*time.Second, s.upstream)
	run("onlooker", 20*time.Millisecond, s.onlook)
	for i := range 2 {
		r := s.newRememberer(i)
		s.memory = append(s.memory, r)
		run(r.name, 200*time.Millisecond, r.verify)
	}
	return &all
}

// publish does one thing that a publisher does.
func (s *soak) publish(rng *rand.Rand) {
	project := []string{"demo", "demo", "steady"}[rng.IntN(3)]
	d := &doors[rng.IntN(3)]
	if rng.IntN(25) == 0 {
		d = doorOf("cli") // a process for each is dear
	}
	switch n := rng.IntN(10); {
	case n == 0:
		s.repeat(rng)
	case n < 3:
		s.overwrite(rng, d)
	case n == 3:
		s.duel(project, rng)
	default:
		chart, version := s.model.name(project)
		e := &entry{project: project, chart: chart, version: version, door: d.name, salt: "good", state: active}
		b := e.archive(s.t)
		e.digest = sum(b)
		if _, err := s.offer(d, e, b); err != nil {
			s.refusedToRelease(e, err)
			return
		}
		s.model.add(e)
		s.model.count("releases: "+d.name, 1)
	}
}

// refusedToRelease is a push of a new version that was not taken.
func (s *soak) refusedToRelease(e *entry, err error) {
	if s.ctx.Err() == nil {
		s.fault("push of the new version %s by %s was refused: %v", e, e.door, err)
	}
}

// repeat pushes what is released once more, through the same door.
func (s *soak) repeat(rng *rand.Rand) {
	e := s.model.take(rng, func(e *entry) bool { return e.served() && doorOf(e.door) != nil })
	if e == nil {
		return
	}
	defer e.mu.Unlock()
	r, err := s.offer(doorOf(e.door), e, e.archive(s.t))
	switch {
	case s.ctx.Err() != nil:
	case err != nil || !r.Unchanged:
		s.fault("the same bytes of %s again by %s: %+v, %v", e, e.door, r, err)
	default:
		s.model.count("repeated, unchanged", 1)
	}
}

// overwrite offers other bytes for what is released.
func (s *soak) overwrite(rng *rand.Rand, d *door) {
	e := s.model.take(rng, func(e *entry) bool { return e.project != "old" }) // which takes no pushes
	if e == nil {
		return
	}
	defer e.mu.Unlock()
	if d.name == "cli" && !e.served() {
		d = doorOf("api") // what is gone and a server that is away have one exit code
	}
	b := archive(s.t, e.chart, e.version, fmt.Sprint("evil ", rng.Uint64()))
	r, err := s.offer(d, e, b)
	switch p, ok := problem.As(err); {
	case s.ctx.Err() != nil:
		return
	case err == nil:
		s.fault("other bytes for %s by %s were taken: %+v", e, d.name, r)
	case !ok || p.Kind == problem.Internal:
		s.fault("other bytes for %s by %s: %v", e, d.name, err)
	case e.served() && (p.Kind != problem.Immutable || !strings.Contains(err.Error(), e.digest)):
		s.fault("other bytes for %s by %s were not refused with what is there (%s): %v", e, d.name, e.digest, err)
	}
	e.refused = append(e.refused, sum(b))
	s.model.count("overwrites refused: "+d.name, 1)
}

// duel offers two archives for a new version at once. One of them wins, and
// nobody knows which.
func (s *soak) duel(project string, rng *rand.Rand) {
	chart, version := s.model.name(project)
	var sides [2]entry
	var errs [2]error
	var both sync.WaitGroup
	for i := range sides {
		d := &doors[rng.IntN(3)]
		sides[i] = entry{project: project, chart: chart, version: version, door: d.name, salt: fmt.Sprint("side ", i), state: active}
		e := &sides[i]
		both.Go(func() {
			b := e.archive(s.t)
			e.digest = sum(b)
			_, errs[i] = s.offer(d, e, b)
		})
	}
	both.Wait()
	if s.ctx.Err() != nil {
		return
	}
	winner, loser := 0, 1
	if errs[0] != nil {
		winner, loser = 1, 0
	}
	if errs[winner] != nil || errs[loser] == nil || !strings.Contains(errs[loser].Error(), sides[winner].digest) {
		s.fault("two archives for %s: %s by %s came to %v, %s by %s to %v", &sides[0], sides[0].digest, sides[0].door, errs[0], sides[1].digest, sides[1].door, errs[1])
		return
	}
	won := &entry{project: project, chart: chart, version: version, door: sides[winner].door, salt: sides[winner].salt, digest: sides[winner].digest,
		state: active, refused: []string{sides[loser].digest}}
	s.model.add(won)
	s.model.count("duels", 1)
}

// change makes a change until it is answered. An answer by the rule says that
// an earlier attempt had made it.
func (s *soak) change(what, rule string, do func(context.Context) error) bool {
	tries := 0
	err := s.settle(what, func(ctx context.Context) error {
		tries++
		err := do(ctx)
		if tries > 1 && rule != "" && refusedWith(err, rule) {
			return nil
		}
		return err
	})
	if err != nil && s.ctx.Err() == nil {
		s.fault("%s: %v", what, err)
	}
	if err == nil {
		s.model.count("changes", 1)
	}
	return err == nil
}

// decide changes the state of a release, as people with rights do.
func (s *soak) decide(rng *rand.Rand) {
	e := s.model.take(rng, func(e *entry) bool {
		return e.project == "demo" && e.state != tombstoned || e.project == "steady" && e.served()
	})
	if e == nil {
		return
	}
	defer e.mu.Unlock()
	publisher, ann, bob := s.as(s.tokens.publisher), s.as(s.tokens.ann), s.as(s.tokens.bob)
	step := func(what, rule string, do func(ctx context.Context) (client.Release, error)) bool {
		ok := s.change(what+" "+e.String(), rule, func(ctx context.Context) error { _, err := do(ctx); return err })
		if ok {
			s.model.count(what, 1)
		}
		return ok
	}
	n := rng.IntN(10)
	switch {
	case e.state == quarantined:
		if step("lift quarantine of", "quarantine-none", func(ctx context.Context) (client.Release, error) {
			return bob.LiftQuarantine(ctx, e.project, e.chart, e.version, "it was nothing")
		}) {
			e.state = e.under
		}
	case n < 5 && e.state == active:
		if step("yank", "yanked", func(ctx context.Context) (client.Release, error) {
			return publisher.Yank(ctx, e.project, e.chart, e.version, "broken", "in the soak")
		}) {
			e.state = yanked
		}
	case n < 5:
		if step("unyank", "not-yanked", func(ctx context.Context) (client.Release, error) {
			return publisher.Unyank(ctx, e.project, e.chart, e.version, "whole again")
		}) {
			e.state = active
		}
	case e.project != "demo":
	case n < 9:
		if !step("quarantine", "quarantine-set", func(ctx context.Context) (client.Release, error) {
			return ann.SetQuarantine(ctx, e.project, e.chart, e.version, "malware", "in the soak")
		}) {
			return
		}
		e.state, e.under = quarantined, e.state
		if n < 8 {
			step("confirm quarantine of", "quarantine-confirmed", func(ctx context.Context) (client.Release, error) {
				return bob.ConfirmQuarantine(ctx, e.project, e.chart, e.version, "seen")
			})
		}
	default:
		s.tombstone(e, ann, bob)
	}
}

// tombstone takes the bytes of a release away, as two people decide.
func (s *soak) tombstone(e *entry, ann, bob *client.Client) {
	var request client.Request
	if !s.change("tombstone of "+e.String(), "", func(ctx context.Context) (err error) {
		request, err = ann.RequestTombstone(ctx, e.project, e.chart, e.version, "secret", "in the soak")
		if refusedWith(err, "request-open") {
			request, err = s.openRequest(ctx, bob, func(r *client.Request) bool {
				return r.Project == e.project && r.Chart == e.chart && r.Version == e.version
			})
		}
		return err
	}) {
		return
	}
	if s.approve(bob, request) {
		e.state = tombstoned
		s.model.count("tombstones", 1)
	}
}

// openRequest finds a request whose making was not answered.
func (s *soak) openRequest(ctx context.Context, c *client.Client, wanted func(*client.Request) bool) (client.Request, error) {
	for r, err := range client.All(ctx, func(ctx context.Context, p client.Page) (client.List[client.Request], error) {
		return c.Requests(ctx, "", false, p)
	}) {
		if err != nil {
			return client.Request{}, err
		}
		if wanted(&r) {
			return r, nil
		}
	}
	return client.Request{}, problem.New(problem.Internal, "soak", "the request that is said to be open is not listed")
}

// approve has the second person agree, until it is done.
func (s *soak) approve(bob *client.Client, request client.Request) bool {
	return s.change(fmt.Sprint("approve request ", request.ID), "", func(ctx context.Context) error {
		now, err := bob.ApproveRequest(ctx, request.ID, "seen")
		if refusedWith(err, "request-over") {
			now, err = bob.Request(ctx, request.ID)
		}
		if err == nil && now.State != "done" {
			return problem.New(problem.Internal, "soak", "it is %s after it was approved", now.State)
		}
		return err
	})
}

// changePolicy goes through one round of a policy: provenance is demanded, a
// release waits for it and gets it, and two people agree to demand it no more.
func (s *soak) changePolicy(*rand.Rand) {
	owner, publisher, bob := s.as(s.tokens.owner), s.as(s.tokens.publisher), s.as(s.tokens.bob)
	demand := func(on bool) (p client.Project, ok bool) {
		ok = s.change("set the policy", "", func(ctx context.Context) (err error) {
			p, err = owner.SetProject(ctx, "policy", client.ProjectChange{RequireProvenance: &on, Text: "in the soak"})
			if refusedWith(err, "request-open") {
				var r client.Request
				r, err = s.openRequest(ctx, bob, func(r *client.Request) bool { return r.Project == "policy" })
				p.Request = &r
			}
			return err
		})
		return p, ok
	}
	if _, ok := demand(true); !ok || !s.withProvenance(publisher) {
		return
	}
	p, ok := demand(false)
	switch {
	case !ok:
	case p.Request == nil:
		s.fault("a weaker policy took one person alone: %+v", p)
	case s.approve(bob, *p.Request):
		s.model.count("policies weakened", 1)
	}
}

// withProvenance releases a version that has to wait for its provenance.
func (s *soak) withProvenance(c *client.Client) bool {
	chart, version := s.model.name("policy")
	e := &entry{project: "policy", chart: chart, version: version, door: "api", salt: "good", state: staged}
	b := e.archive(s.t)
	e.digest = sum(b)
	if _, err := s.offer(doorOf("api"), e, b); err != nil {
		s.refusedToRelease(e, err)
		return false
	}
	prov := fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nname: %s\nversion: %s\n\n...\nfiles:\n  %s: %s\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n=AAAA\n-----END PGP SIGNATURE-----\n",
		e.chart, e.version, e.file(), e.digest)
	if !s.change("attach the provenance of "+e.String(), "", func(ctx context.Context) error {
		r, err := c.AttachProvenance(ctx, "policy", prov)
		if err == nil && r.State != active {
			return problem.New(problem.Internal, "soak", "with its provenance it is %s", r.State)
		}
		return err
	}) {
		return false
	}
	e.state, e.prov = active, sum(prov)
	s.model.add(e)
	s.model.count("releases: with provenance", 1)
	return true
}

// importOld takes a release of an older repository over.
func (s *soak) importOld(*rand.Rand) {
	chart, version := s.model.name("old")
	e := &entry{project: "old", chart: chart, version: version, door: "import", salt: "old", state: active}
	b := e.archive(s.t)
	e.digest = sum(b)
	c := s.as(s.tokens.publisher)
	if s.change("import of "+e.String(), "", func(ctx context.Context) error {
		_, err := c.ImportRelease(ctx, "old", client.Upload{FileName: e.file(), Archive: bytes.NewReader(b), Size: int64(len(b))},
			client.Origin{URL: "https://old.example.com/" + e.file(), Created: time.Unix(1_700_000_000, 0)})
		return err
	}) {
		s.model.add(e)
		s.model.count("releases: imported", 1)
	}
}

// scrub has everything compared, and looks at what it found.
func (s *soak) scrub(*rand.Rand) {
	c := s.as(s.tokens.admin)
	var now client.Scrub
	if !s.change("scrub", "", func(ctx context.Context) (err error) {
		if now, err = c.Scrub(ctx); err == nil && !now.Running {
			now, err = c.StartScrub(ctx)
		}
		return err
	}) {
		return
	}
	for _, d := range now.Open {
		s.fault("scrub says: %+v", d)
	}
	s.model.count("looks at scrub", 1)
}

// audit reads the trail, and checks it from outside.
func (s *soak) audit(rng *rand.Rand) {
	c := s.as(s.tokens.auditor)
	s.change("list the trail", "", func(ctx context.Context) error {
		_, err := c.Audit(ctx, client.AuditFilter{Event: []string{"", "release.", "policy."}[rng.IntN(3)]}, client.Page{Limit: 1 + rng.IntN(100)})
		return err
	})
	o := s.auditVerify("audit.state")
	s.checked("audit verify", o)
}

// auditVerify checks the audit log, going on from what a file keeps.
func (s *soak) auditVerify(state string) outcome {
	args := []string{"audit", "verify", "--log-key", s.key, "--audit-key", filepath.Join(s.opt.Data, "audit.vkey")}
	if state != "" {
		args = append(args, "--since-file", filepath.Join(s.dir, state))
	}
	return s.command(s.dir, s.tokens.auditor, args...)
}

// checked counts what a check came to while others are killed: it may have been
// killed, or not have been able to check. It never finds anything.
func (s *soak) checked(what string, o outcome) {
	switch {
	case s.ctx.Err() != nil:
	case o.killed:
	case o.code == 0:
		s.model.count(what+": held", 1)
	case o.code == 1:
		s.model.count(what+": could not check", 1)
	default:
		s.fault("%s: %s", what, o)
	}
}

// upstream has something new observed.
func (s *soak) upstream(*rand.Rand) {
	s.press.publish()
	c := s.as(s.tokens.admin)
	s.change("poll", "", func(ctx context.Context) error { return c.PollUpstream(ctx, "web") })
}

// rememberer is a client that remembers.
type rememberer struct {
	*soak
	name string
	refs []string
}

func (s *soak) newRememberer(i int) *rememberer {
	r := &rememberer{soak: s, name: fmt.Sprint("rememberer ", i)}
	s.must(os.Mkdir(filepath.Join(s.dir, r.name), 0o755))
	return r
}

// most is how many charts one remembers.
const most = 20

// verify verifies a chart that is new to it, or all that it knows.
func (r *rememberer) verify(rng *rand.Rand) {
	args := []string{"verify", "--sum", "--log-key", r.key}
	if len(r.refs) < most {
		e := r.model.take(rng, func(e *entry) bool { return e.project == "steady" })
		if e == nil {
			return
		}
		e.mu.Unlock()
		r.refs = append(r.refs, e.String())
		args = append(args, e.String())
	}
	o := r.command(filepath.Join(r.dir, r.name), "", args...)
	// One that was killed may have left its lock, which a person has to remove.
	lock := filepath.Join(r.dir, r.name, "chartkeep.sum.lock")
	if o.killed && os.Remove(lock) == nil {
		r.model.count("locks of a killed verify --sum", 1)
	}
	if o.code == 2 && len(args) == 4 && strings.Contains(o.errs, "remembers no charts") {
		return
	}
	r.checked("verify --sum", o)
}
