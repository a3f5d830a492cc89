package upgrade

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// How the judgement runs by itself.
const (
	lookEvery    = 5 * time.Second // for what changed or became due
	judgesAtOnce = 4               // they share the flushes of the store
	judgeEvery   = 6 * time.Hour   // all deployments, though nothing changed: time itself makes things late and data old
)

// Work reads feeds that are due, judges all deployments anew when what they are
// judged from has changed, and brings tickets up to date, until ctx ends. None
// of the three waits for another: a feed or a tracker that answers slowly holds
// up no judgement. Several processes may do so: what each writes is the same.
func (s *Service) Work(ctx context.Context) {
	var last progress
	var running sync.WaitGroup
	for i, duty := range [duties]struct {
		what string
		do   func() error
	}{
		{"read the feeds that are due", func() error { _, err := s.ReadFeeds(ctx); return err }},
		{"judge deployments", func() error { return s.keepUp(ctx, &last) }},
		{"bring tickets up to date", func() error { _, err := s.SettleTickets(ctx); return err }},
	} {
		running.Go(func() {
			look := time.NewTicker(lookEvery)
			defer look.Stop()
			for {
				if err := duty.do(); err != nil && ctx.Err() == nil {
					s.log.ErrorContext(ctx, duty.what, "error", err)
				}
				select {
				case <-ctx.Done():
					return
				case <-look.C:
				case <-s.wake[i]:
				}
			}
		})
	}
	running.Wait()
}

// duties is how many things Work does beside one another.
const duties = 3

// progress is what was judged last.
type progress struct {
	inputs  int64
	changes string
	at      time.Time
}

// keepUp judges everything when it is time.
func (s *Service) keepUp(ctx context.Context, last *progress) error {
	now := progress{at: s.now()}
	var err error
	if now.inputs, err = s.store.Inputs(ctx); err != nil {
		return err
	}
	if now.changes, err = s.watch.Changes(ctx); err != nil {
		return err
	}
	if now.inputs == last.inputs && now.changes == last.changes && !last.at.IsZero() && now.at.Sub(last.at) < judgeEvery {
		return nil
	}
	if _, err := s.JudgeAll(ctx); err != nil {
		return err
	}
	*last = now
	return nil
}

// JudgeAll judges every deployment and plans for it, and returns how many those
// were. One that cannot be judged does not stop the others; what went wrong is
// in the error.
//
// Cost: each deployment's images, a rendering for each version that was not
// compared since the start and two for what runs, and a transaction; 10,000
// deployments whose charts were compared before take some tens of seconds, and
// those that never were an hour or more, once. The order is that of the keys.
func (s *Service) JudgeAll(ctx context.Context) (int, error) {
	is, err := s.think(ctx)
	if err != nil {
		return 0, err
	}
	before, err := s.store.Summaries(ctx)
	if err != nil {
		return 0, err
	}
	ran := make(map[string]string, len(before))
	for _, a := range before {
		ran[a.Deployment] = a.Version
	}
	var mu sync.Mutex
	var errs []error
	n := 0
	keep := map[string]bool{}
	work := make(chan watch.Deployment)
	var workers sync.WaitGroup
	for range judgesAtOnce {
		workers.Go(func() {
			for d := range work {
				was, known := ran[d.Key]
				err := s.judgeOne(ctx, is, &d, was, !known)
				mu.Lock()
				if err == nil {
					n++
				} else if ctx.Err() == nil {
					errs = append(errs, fmt.Errorf("judge %s: %w", d.Key, err))
				}
				mu.Unlock()
			}
		})
	}
	err = s.watch.AllDeployments(ctx, func(d watch.Deployment) error {
		keep[d.Key] = true
		select {
		case work <- d:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(work)
	workers.Wait()
	s.lists.forget()
	if err == nil {
		err = s.forget(ctx, before, keep)
	}
	return n, errors.Join(append(errs, err)...)
}

// forget ends what is known of deployments that are gone.
func (s *Service) forget(ctx context.Context, before []Summary, keep map[string]bool) error {
	for _, a := range before {
		if keep[a.Deployment] {
			continue
		}
		open, err := s.store.ListUpgrades(ctx, UpgradeFilter{Deployment: a.Deployment, Open: true})
		if err != nil {
			return err
		}
		for _, u := range open {
			if err := s.end(ctx, u, Superseded, "the deployment is gone"); err != nil {
				return err
			}
		}
		if err := s.store.ForgetDeployment(ctx, a.Deployment, s.now()); err != nil {
			return err
		}
	}
	return nil
}

// judgeOne judges one deployment and writes what follows. ran is the version
// that it ran when it was judged before, and first says that it never was.
func (s *Service) judgeOne(ctx context.Context, is *state, d *watch.Deployment, ran string, first bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "a judgement panicked", "deployment", d.Key, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("judge %s: %v", d.Key, p)
		}
	}()
	j, err := s.judge(ctx, is, d)
	if err != nil {
		return err
	}
	p, err := s.plan(is, d, j)
	if err != nil {
		return err
	}
	lifted := map[string]string{}
	for _, f := range j.assessment.Lifted {
		lifted[f.Key] = f.Decision.Lifted.Status
	}
	moved := ran != "" && ran != d.Chart.Version
	_, _, err = s.store.SyncExposures(ctx, d.Key, j.assessment.exposed(), func(e Exposed) string {
		switch {
		case lifted[e.Key] != "":
			return lifted[e.Key]
		case moved:
			return "upgraded"
		}
		return Gone
	}, j.subject.now)
	if err != nil {
		return err
	}
	if err := s.store.PutAssessment(ctx, j.assessment); err != nil {
		return err
	}
	if err := s.store.PutPlan(ctx, p); err != nil {
		return err
	}
	if err := s.follow(ctx, is, d, j, &p); err != nil {
		return err
	}
	if err := s.reviewNew(ctx, is, d, j); err != nil {
		return err
	}
	return s.tell(ctx, j, &p, first)
}

// follow brings the stories of a deployment up to date: an upgrade that was
// made is verified, the version that the plan chose is seen, and reviewed.
func (s *Service) follow(ctx context.Context, is *state, d *watch.Deployment, j *judged, p *Plan) error {
	list, err := s.store.ListUpgrades(ctx, UpgradeFilter{Deployment: d.Key})
	if err != nil {
		return err
	}
	propose := p.Chosen != nil && (p.Action == ActUpgrade || p.Action == ActCadence)
	_, at := chart.LenientVersion(d.Chart.Version)
	for _, u := range list {
		_, to := chart.LenientVersion(u.To)
		switch {
		case u.State == Dismissed && propose && u.To == p.Chosen.Version && u.DismissedUntil.After(s.now()):
			propose = false
		case !u.State.Open():
		case u.To == d.Chart.Version:
			err = s.verify(ctx, u, j)
		case at >= to:
			err = s.end(ctx, u, Superseded, "it runs "+d.Chart.Version+" now")
		}
		if err != nil {
			return err
		}
	}
	if !propose {
		return nil
	}
	return s.propose(ctx, is, d, j, p)
}

// propose makes the upgrade to the version that the plan chose exist, with its
// review, and notes what it waits for.
func (s *Service) propose(ctx context.Context, is *state, d *watch.Deployment, j *judged, p *Plan) error {
	now := s.now()
	u, err := s.store.PutUpgrade(ctx, Upgrade{
		Deployment: d.Key, Chart: d.Chart.Name, From: d.Chart.Version, To: p.Chosen.Version, Archive: p.Chosen.Archive, State: Seen, Since: now,
		WaitsFor: "a review", Owner: d.Owner, Deadline: p.Deadline, Due: p.Due, Security: p.Action == ActUpgrade,
		Steps: []Step{{Time: now.UTC().Truncate(time.Second), State: Seen, By: "chartkeep", Text: "version " + p.Chosen.Version + " is there; " + p.Text}},
	}, now)
	if err != nil {
		return err
	}
	r, err := s.reviewChosen(ctx, is, d, j, &u)
	if err != nil {
		return err
	}
	return s.advance(ctx, u, d.Owner, &r, p)
}

// reviewChosen is the review of an upgrade: the one that is there, when nothing
// that it was made from has changed since this process looked; else one that is
// made now. Where none can be made, such as while an upstream is down, the one
// that is there stays, with its sign-offs.
func (s *Service) reviewChosen(ctx context.Context, is *state, d *watch.Deployment, j *judged, u *Upgrade) (Review, error) {
	i := slices.IndexFunc(j.options, func(o option) bool { return o.Version == u.To })
	if i < 0 {
		return Review{}, fmt.Errorf("review %s for %s: it was not compared", u.To, u.Deployment)
	}
	grounds, err := s.grounds(ctx, j, &j.options[i])
	if err != nil {
		return Review{}, err
	}
	if s.looked.same(d.Key, grounds) && u.Review != "" {
		return s.store.Review(ctx, u.Review)
	}
	r, err := s.review(ctx, is, d, j, u.To)
	if err == nil {
		r, err = s.putReview(ctx, r)
	}
	p, ok := problem.As(err)
	switch {
	case err == nil:
		s.looked.keep(d.Key, grounds)
		return r, nil
	case !ok || p.Kind == problem.Internal:
		return Review{}, err
	}
	s.log.WarnContext(ctx, "a version could not be reviewed", "deployment", d.Key, "version", u.To, "error", err)
	if u.Review == "" {
		return Review{}, nil
	}
	return s.store.Review(ctx, u.Review)
}

// reviewNew reviews each version that came out since a deployment is known, also
// one that no plan chooses: people ask what is new before they plan. It is done
// once; when a plan chooses the version, its review is kept up to date. What was
// published before is reviewed when it is chosen or asked for. A version that
// cannot be had now is tried again the next time.
//
// Cost: the versions for each new one that could be moved to, eight at most; a
// query for each when there is another than before, and a review once.
func (s *Service) reviewNew(ctx context.Context, is *state, d *watch.Deployment, j *judged) error {
	var fresh []string
	for i := range j.options {
		o := &j.options[i]
		if o.pair != nil && o.FirstSeen.After(d.FirstSeen) && o.FirstSeen.After(firstRead(j.versions, &o.Published)) {
			fresh = append(fresh, o.Version)
		}
	}
	known, all := d.Key+" new", strings.Join(fresh, " ")
	if len(fresh) == 0 || s.looked.same(known, all) {
		return nil
	}
	missing := false
	for _, version := range fresh {
		list, err := s.store.ListReviews(ctx, ReviewFilter{Deployment: d.Key, To: version, Limit: 1})
		if err == nil && len(list) == 0 {
			var r Review
			if r, err = s.review(ctx, is, d, j, version); err == nil {
				_, err = s.putReview(ctx, r)
			}
		}
		if p, ok := problem.As(err); ok && p.Kind != problem.Internal {
			s.log.WarnContext(ctx, "a version could not be reviewed", "deployment", d.Key, "version", version, "error", err)
			missing = true
		} else if err != nil {
			return err
		}
	}
	if !missing {
		s.looked.keep(known, all)
	}
	return nil
}

// firstRead is when the place of a version was read first: all that it had then
// was seen at that time.
func firstRead(list []deployment.Published, v *deployment.Published) time.Time {
	first := v.FirstSeen
	for i := range list {
		if o := &list[i]; o.Upstream == v.Upstream && o.Project == v.Project && o.FirstSeen.Before(first) {
			first = o.FirstSeen
		}
	}
	return first
}

// looked are the grounds of the present review of each deployment, and the new
// versions that were reviewed for it.
type looked struct {
	mu      sync.Mutex
	grounds map[string]string
}

func (l *looked) same(key, grounds string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grounds[key] == grounds
}

func (l *looked) keep(key, grounds string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grounds == nil {
		l.grounds = map[string]string{}
	}
	l.grounds[key] = grounds
}

// putReview keeps a review, unless the present one of the same move comes to the
// same: then that one stays, with its sign-offs.
func (s *Service) putReview(ctx context.Context, r Review) (Review, error) {
	list, err := s.store.ListReviews(ctx, ReviewFilter{Deployment: r.Deployment, To: r.To.Version, Limit: 1})
	if err != nil {
		return r, err
	}
	if len(list) == 1 && list[0].State != ReviewReplaced && list[0].Substance == r.Substance {
		return s.store.Review(ctx, list[0].Digest)
	}
	return s.store.PutReview(ctx, r)
}

// advance writes what the review and the plan mean for an upgrade, if that is
// something new.
func (s *Service) advance(ctx context.Context, u Upgrade, owner string, r *Review, p *Plan) error {
	is := u
	is.Deadline, is.Due, is.Security, is.Owner = p.Deadline, p.Due, p.Action == ActUpgrade, owner
	is.Late = !is.Due.IsZero() && is.Due.Before(s.now()) && is.Security
	if r.Digest != "" {
		is.Review = r.Digest
	}
	step := Step{Time: s.now().UTC().Truncate(time.Second), By: "chartkeep"}
	if is.State == Seen || is.State == Reviewed || is.State == Planned && is.Review != u.Review {
		is.State, is.WaitsFor = Seen, waitsForReview(r)
		if r.State == ReviewSigned {
			is.State, is.WaitsFor = Reviewed, "somebody who accepts the plan"
			step.Text = "review " + short(r.Digest) + " is signed"
		} else if u.State != Seen {
			step.Text = "what it was reviewed from has changed: review " + short(r.Digest) + " is to be signed"
		}
		if r.State == ReviewDeclined {
			is.WaitsFor = "another version: the review of this one was declined"
		}
	}
	if is.State != u.State {
		is.Since, step.State = s.now(), is.State
		is.Steps = append(slices.Clone(u.Steps), step)
	}
	if same(&u, &is) {
		return s.wantTickets(ctx, &is, r)
	}
	is, err := s.store.MoveUpgrade(ctx, u.ID, nil, nil, func(now Upgrade) (Upgrade, error) {
		if now.State != u.State || len(now.Steps) != len(u.Steps) {
			return now, nil // somebody moved it meanwhile; the next look goes on from there
		}
		return is, nil
	})
	if err != nil {
		return err
	}
	return s.wantTickets(ctx, &is, r)
}

// same reports whether two states of an upgrade say the same.
func same(a, b *Upgrade) bool {
	return a.State == b.State && a.WaitsFor == b.WaitsFor && a.Review == b.Review && a.Late == b.Late && a.Owner == b.Owner && a.Security == b.Security &&
		a.Deadline.Equal(b.Deadline) && a.Due.Equal(b.Due) && len(a.Steps) == len(b.Steps)
}

// waitsForReview says whose word is missing.
func waitsForReview(r *Review) string {
	if r.Digest == "" {
		return "a review: the version could not be reviewed"
	}
	var missing []string
	for _, role := range r.Roles {
		if !slices.ContainsFunc(r.Signoffs, func(o Signoff) bool { return o.Role == role }) {
			missing = append(missing, string(role))
		}
	}
	return "sign-off as " + strings.Join(missing, " and ")
}

func short(digest string) string { return digest[:min(len(digest), 19)] }

// verify ends an upgrade whose version runs now.
func (s *Service) verify(ctx context.Context, u Upgrade, j *judged) error {
	text := "it runs " + u.To
	if n := len(j.assessment.Findings); n > 0 {
		text += "; " + count(n, "finding is", "findings are") + " open"
	}
	return s.end(ctx, u, Verified, text)
}

// end closes a story.
func (s *Service) end(ctx context.Context, u Upgrade, state State, text string) error {
	now := s.now().UTC().Truncate(time.Second)
	u, err := s.store.MoveUpgrade(ctx, u.ID, nil, nil, func(u Upgrade) (Upgrade, error) {
		if !u.State.Open() {
			return u, nil
		}
		u.State, u.Since, u.WaitsFor, u.Late = state, now, "", false
		u.Steps = append(u.Steps, Step{Time: now, State: state, By: "chartkeep", Text: text})
		return u, nil
	})
	if err != nil || u.Ticket == "" {
		return err
	}
	r, err := s.store.Review(ctx, u.Review)
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return err
	}
	return s.wantTickets(ctx, &u, &r)
}
