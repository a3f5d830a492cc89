package upgrade

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Policy is the decision policy in force: the one that was set last, else the
// one that is built in, which nobody set.
func (s *Service) Policy(ctx context.Context, c audit.Caller) (PolicyDocument, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return PolicyDocument{}, err
	}
	doc, err := s.store.Policy(ctx)
	if problem.KindOf(err) == problem.NotFound {
		p := decision.Default()
		return PolicyDocument{PolicyRef: refOf(p), Text: p.Document()}, nil
	}
	return doc, err
}

func refOf(p *decision.Policy) PolicyRef {
	return PolicyRef{Name: p.Name(), Version: p.Version(), Digest: p.Digest()}
}

// SetPolicy makes a document the decision policy from now on. It is an alert in
// the audit trail: deadlines may move.
func (s *Service) SetPolicy(ctx context.Context, c audit.Caller, text string) (PolicyDocument, error) {
	if err := s.may(ctx, c, access.PolicyWrite); err != nil {
		return PolicyDocument{}, err
	}
	p, err := decision.ReadPolicy([]byte(text))
	if err != nil {
		return PolicyDocument{}, err
	}
	ev := s.event(c, audit.DecisionSet, access.PolicyWrite)
	doc := PolicyDocument{PolicyRef: refOf(p), Text: text, Set: ev.Time, SetBy: ev.Actor.ID}
	ev.Detail = map[string]string{"name": doc.Name, "version": doc.Version, "digest": doc.Digest}
	if err := s.store.SetPolicy(ctx, doc, ev); err != nil {
		return PolicyDocument{}, err
	}
	s.nudge()
	return doc, nil
}

// maxWindows bounds the calendar: every plan looks through all of it.
const maxWindows = 200

// Windows lists windows and freezes by name.
func (s *Service) Windows(ctx context.Context, c audit.Caller) ([]calendar.Window, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.Windows(ctx)
}

// PutWindow makes a window or a freeze, or changes the one of that name.
func (s *Service) PutWindow(ctx context.Context, c audit.Caller, w calendar.Window) error {
	if err := s.may(ctx, c, access.UpgradePlan); err != nil {
		return err
	}
	if err := checkName("window", w.Name); err != nil {
		return err
	}
	if err := w.Check(); err != nil {
		return err
	}
	all, err := s.store.Windows(ctx)
	if err != nil {
		return err
	}
	ev := s.event(c, audit.WindowSet, access.UpgradePlan)
	w.Created, w.CreatedBy = ev.Time, ev.Actor.ID
	known := false
	for _, old := range all {
		if old.Name == w.Name {
			w.Created, w.CreatedBy, known = old.Created, old.CreatedBy, true
		}
	}
	if !known && len(all) >= maxWindows {
		return problem.New(problem.Invalid, "windows", "there are %d windows already, which is the most", maxWindows)
	}
	ev.Detail = map[string]string{"window": w.Name, "schedule": w.Schedule, "duration": w.Duration}
	if w.Freeze {
		ev.Detail["freeze"] = "yes"
	}
	if err := s.store.PutWindow(ctx, w, ev); err != nil {
		return err
	}
	s.nudge()
	return nil
}

// RemoveWindow takes a window or a freeze out of the calendar.
func (s *Service) RemoveWindow(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.UpgradePlan); err != nil {
		return err
	}
	ev := s.event(c, audit.WindowRemoved, access.UpgradePlan)
	ev.Detail = map[string]string{"window": name}
	if err := s.store.RemoveWindow(ctx, name, ev); err != nil {
		return err
	}
	s.nudge()
	return nil
}
