package release

import (
	"context"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// QuarantineLife is how long one person's quarantine holds without a second.
// Half of it passes before an alert says that it is about to lapse.
const QuarantineLife = 24 * time.Hour

// QuarantineChange is a step of a quarantine.
type QuarantineChange struct {
	ReleaseID int64
	Action    string // tlog.QuarantineSet, QuarantineConfirmed or QuarantineLifted
	Reason    string // of a set
	Text      string
	Now       time.Time
	Event     audit.Event
}

// PastQuarantine is what is known of the last quarantine of a release, when it
// is over.
type PastQuarantine struct {
	Ending string // tlog.QuarantineLifted or QuarantineLapsed; "" when there was none
	Person string // who set it
}

// SecondPerson is what a store knows of an account that is to agree with
// another one, and of the credential with which it came.
type SecondPerson struct {
	Account    string
	Created    time.Time
	MadeBy     []string // who had a hand in making the account, see TokenBy; none: unknown
	TokenBy    []string // the account that made the token that it came with, and who made the token with which that came, and so on
	PasswordBy []string // likewise of who set its password last
	PasswordAt time.Time
}

// CheckSecond refuses a second person who is the first, or whom the first may
// have made up: an account younger than what was asked for, and a credential
// that came from the first one's hand.
func CheckSecond(first string, since time.Time, p *SecondPerson) error {
	refuse := func(format string, args ...any) *problem.Error {
		return problem.New(problem.Denied, "second-person", format, args...).
			Suggest("ask a person with the role approver who had no part in it: chartkeep grant list")
	}
	switch {
	case p.Account == first:
		return refuse("this needs two people, and the first one was you")
	case p.Created.IsZero() || !p.Created.Before(since):
		return refuse("this needs a second person who was here before it was asked for").
			With("account made", "%s", when(p.Created)).With("asked for", "%s", when(since))
	case slices.Contains(p.TokenBy, first):
		return refuse("the token that you came with was made by the person who asked").
			Suggest("sign in with your own password, or make a token yourself: chartkeep token create --project NAME --role approver")
	case slices.Contains(p.PasswordBy, first) && !p.PasswordAt.Before(since):
		return refuse("your password was set by the person who asked, after it was asked for").
			With("password set", "%s", when(p.PasswordAt))
	}
	return nil
}

// CheckQuarantine says whether a step can be taken now. second is who takes
// it. Nobody blocks a release for longer than QuarantineLife alone: who let
// his quarantine lapse cannot set the next one.
func CheckQuarantine(r *Release, last *PastQuarantine, ch *QuarantineChange, person string, second *SecondPerson) error {
	q := r.Quarantine
	if r.State == Tombstoned {
		return RefuseWithheld(r)
	}
	if ch.Action == tlog.QuarantineSet {
		switch {
		case q != nil:
			return problem.New(problem.Conflict, "quarantine-set", "release %s is in quarantine already", r.Ref()).
				With("since", "%s", when(q.Time)).With("reason", "%s", reasonText(q.Reason, q.Text)).
				Suggest("chartkeep quarantine confirm %s", r.Ref())
		case last.Ending == tlog.QuarantineLapsed && last.Person == person:
			return problem.New(problem.Denied, "quarantine-again", "your quarantine of release %s lapsed, since nobody confirmed it; the next one takes another person", r.Ref()).
				Suggest("ask somebody else to look at the release, and to run: chartkeep quarantine set %s --reason %s", r.Ref(), ch.Reason)
		}
		return nil
	}
	if q == nil {
		return problem.New(problem.Conflict, "quarantine-none", "release %s is not in quarantine", r.Ref())
	}
	confirmed := !q.Confirmed.IsZero()
	if ch.Action == tlog.QuarantineConfirmed {
		switch {
		case confirmed:
			return problem.New(problem.Conflict, "quarantine-confirmed", "the quarantine of release %s is confirmed already", r.Ref()).
				With("since", "%s", when(q.Confirmed))
		case !ch.Now.Before(q.Lapses):
			return problem.New(problem.Conflict, "quarantine-lapsed", "the quarantine of release %s has lapsed", r.Ref()).
				With("at", "%s", when(q.Lapses)).Suggest("chartkeep quarantine set %s --reason %s", r.Ref(), q.Reason)
		}
		return CheckSecond(q.Person, q.Time, second)
	}
	// What one person did alone, the same person may undo.
	if !confirmed && person == q.Person {
		return nil
	}
	return CheckSecond(q.Person, q.Time, second)
}

// SetQuarantine blocks a release at every door, at once. A second person has to
// confirm it within QuarantineLife, or it is served again.
func (s *Service) SetQuarantine(ctx context.Context, c Caller, project, name, version, reason, text string) (Release, error) {
	if err := checkBlockReason(reason); err != nil {
		return Release{}, err
	}
	return s.quarantine(ctx, c, project, name, version, access.QuarantineSet, &QuarantineChange{Action: tlog.QuarantineSet, Reason: reason, Text: text})
}

// ConfirmQuarantine makes a quarantine stay until somebody lifts it. It takes
// another person than who set it.
func (s *Service) ConfirmQuarantine(ctx context.Context, c Caller, project, name, version, text string) (Release, error) {
	return s.quarantine(ctx, c, project, name, version, access.QuarantineDecide, &QuarantineChange{Action: tlog.QuarantineConfirmed, Text: text})
}

// LiftQuarantine serves a release again. Who set the quarantine may lift it as
// long as nobody confirmed it; afterwards it takes another person.
func (s *Service) LiftQuarantine(ctx context.Context, c Caller, project, name, version, text string) (Release, error) {
	return s.quarantine(ctx, c, project, name, version, access.QuarantineDecide, &QuarantineChange{Action: tlog.QuarantineLifted, Text: text})
}

func (s *Service) quarantine(ctx context.Context, c Caller, project, name, version string, action access.Action, ch *QuarantineChange) (Release, error) {
	if err := checkReason(ch.Text); err != nil {
		return Release{}, err
	}
	r, p, err := s.release(ctx, c, project, name, version)
	if err != nil {
		return r, err
	}
	if err := s.mayBlock(ctx, c, &p, &r, action); err != nil {
		return r, err
	}
	ch.ReleaseID, ch.Now, ch.Event = r.ID, s.now(), s.event(c)
	ch.Event.Action = action
	return s.store.Quarantine(ctx, ch)
}

// mayBlock asks for the right to take a step. Who set a quarantine that nobody
// confirmed takes it back with the right by which he set it.
func (s *Service) mayBlock(ctx context.Context, c Caller, p *Project, r *Release, action access.Action) error {
	v, err := chart.ParseVersion(r.Version)
	prerelease := err == nil && v.Prerelease()
	self, _ := actor(c)
	if q := r.Quarantine; action == access.QuarantineDecide && q != nil && q.Confirmed.IsZero() && q.By == self {
		if s.permits(c, access.Request{Action: access.QuarantineSet, Project: p.Name, ProjectPublic: p.Public, Chart: r.Chart, Prerelease: prerelease}) {
			return nil
		}
	}
	return s.allow(ctx, c, p, r.Chart, action, prerelease)
}

// ReleasesWith lists the releases with an archive or a manifest of a digest, in
// the projects that the caller may read; at most a hundred.
func (s *Service) ReleasesWith(ctx context.Context, c Caller, d string) ([]Release, error) {
	if err := digest.Check(d); err != nil {
		return nil, err
	}
	list, err := s.store.ReleasesWith(ctx, d, 100)
	if err != nil {
		return nil, err
	}
	out := []Release{}
	for i := range list {
		r := &list[i]
		p, err := s.store.ProjectFor(ctx, r.Project)
		if err != nil {
			return nil, err
		}
		may := s.permits(c, access.Request{Action: access.ChartPull, Project: p.Name, ProjectPublic: p.Public && p.State != ProjectRemoved})
		if may && s.visible(c, &p, r) {
			r.anonymize(c)
			out = append(out, *r)
		}
	}
	return out, nil
}

// Quarantines lists what is in quarantine in the projects that the caller may
// read, or in one of them, oldest first. Cost: what is withheld, of which there
// is little.
func (s *Service) Quarantines(ctx context.Context, c Caller, project string) ([]Release, error) {
	if project != "" {
		if _, err := s.readable(ctx, c, project); err != nil {
			return nil, err
		}
	}
	readable, err := s.Projects(ctx, c)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Withheld(ctx)
	if err != nil {
		return nil, err
	}
	may := make(map[string]bool, len(readable))
	for i := range readable {
		may[readable[i].Name] = project == "" || readable[i].Name == project
	}
	out := []Release{}
	for i := range list {
		if r := &list[i]; r.State == Quarantined && may[r.Project] {
			r.anonymize(c)
			out = append(out, *r)
		}
	}
	return out, nil
}
