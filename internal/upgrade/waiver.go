package upgrade

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds of waivers.
const (
	maxReason = 2000                 // bytes
	maxWaiver = 366 * 24 * time.Hour // that a finding is let be
)

// Waivers lists waivers, the newest first: those that count or wait for
// approval, or all that there were.
func (s *Service) Waivers(ctx context.Context, c audit.Caller, all bool) ([]Waiver, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	at := s.now()
	if all {
		at = time.Time{}
	}
	return s.store.Waivers(ctx, at)
}

// RequestWaiver asks to let a finding be for a time. It counts when another
// person has approved it.
func (s *Service) RequestWaiver(ctx context.Context, c audit.Caller, n NewWaiver) (Waiver, error) {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return Waiver{}, err
	}
	now := s.now()
	w := Waiver{Finding: n.Finding, Deployments: n.Deployments, Component: n.Component, Reason: strings.TrimSpace(n.Reason), Requested: now, Expires: n.Expires}
	if err := checkWaiver(&w); err != nil {
		return Waiver{}, err
	}
	ev := s.event(c, audit.WaiverRequested, access.AdvisoryWrite)
	w.RequestedBy, w.RequestedByName = ev.Actor.ID, ev.Actor.Name
	ev.Detail = describeWaiver(&w)
	return s.store.CreateWaiver(ctx, w, ev)
}

func checkWaiver(w *Waiver) error {
	bad := func(format string, args ...any) *problem.Error {
		return problem.New(problem.Invalid, "waiver", format, args...)
	}
	_, err := path.Match(w.Deployments, "")
	switch {
	case w.Finding == "" || len(w.Finding) > 512:
		return bad("a waiver names one finding by its advisory id, alias, rule or key, of at most 512 bytes")
	case w.Reason == "":
		return bad("a waiver of %s needs a reason", w.Finding).Suggest("say why it does no harm until then: --reason TEXT")
	case len(w.Reason) > maxReason:
		return bad("the reason of a waiver has at most %d bytes, not %d", maxReason, len(w.Reason))
	case err != nil || len(w.Deployments) > 1024:
		return bad("%.80q is not a pattern of deployments", w.Deployments).Suggest("write a key, or * and ? for any part of one: prod-*")
	case len(w.Component) > 512:
		return bad("a component has at most 512 bytes")
	case w.Expires.IsZero():
		return bad("a waiver of %s needs a date on which it ends", w.Finding).Suggest("--until 2026-12-31")
	case !w.Expires.After(w.Requested):
		return bad("a waiver cannot end in the past: %s", w.Expires.UTC().Format(time.RFC3339))
	case w.Expires.Sub(w.Requested) > maxWaiver:
		return bad("a waiver ends within a year, not on %s", w.Expires.UTC().Format(time.DateOnly)).Suggest("ask again then: what is true now may not be")
	}
	return nil
}

func describeWaiver(w *Waiver) map[string]string {
	d := map[string]string{"finding": w.Finding, "reason": w.Reason, "expires": w.Expires.UTC().Format(time.RFC3339)}
	if w.ID != 0 {
		d["waiver"] = fmt.Sprint(w.ID)
	}
	if w.Deployments != "" {
		d["deployments"] = w.Deployments
	}
	if w.Component != "" {
		d["component"] = w.Component
	}
	return d
}

// ApproveWaiver lets a waiver count from now on. Who asked for it cannot.
func (s *Service) ApproveWaiver(ctx context.Context, c audit.Caller, id int64) (Waiver, error) {
	if err := s.may(ctx, c, access.UpgradeApprove); err != nil {
		return Waiver{}, err
	}
	ev := s.event(c, audit.WaiverApproved, access.UpgradeApprove)
	ev.Detail = map[string]string{"waiver": fmt.Sprint(id)}
	w, err := s.store.UpdateWaiver(ctx, id, ev, func(w Waiver) (Waiver, error) {
		switch {
		case !w.Ended.IsZero():
			return w, problem.New(problem.Conflict, "waiver-ended", "waiver %d was taken back at %s", id, w.Ended.UTC().Format(time.RFC3339))
		case w.ApprovedBy != "":
			return w, problem.New(problem.Conflict, "waiver-approved", "waiver %d was approved at %s by %s", id, w.Approved.UTC().Format(time.RFC3339), cmp.Or(w.ApprovedByName, w.ApprovedBy))
		case !w.Expires.After(ev.Time):
			return w, problem.New(problem.Conflict, "waiver-expired", "waiver %d ended at %s", id, w.Expires.UTC().Format(time.RFC3339)).Suggest("ask for a new one")
		case w.RequestedBy == ev.Actor.ID:
			return w, problem.New(problem.Denied, "waiver-own", "you asked for waiver %d yourself; another person approves it", id)
		}
		w.ApprovedBy, w.ApprovedByName, w.Approved = ev.Actor.ID, ev.Actor.Name, ev.Time
		return w, nil
	})
	if err == nil {
		s.nudge()
	}
	return w, err
}

// EndWaiver takes a waiver back; the finding is due again.
func (s *Service) EndWaiver(ctx context.Context, c audit.Caller, id int64) (Waiver, error) {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return Waiver{}, err
	}
	ev := s.event(c, audit.WaiverEnded, access.AdvisoryWrite)
	ev.Detail = map[string]string{"waiver": fmt.Sprint(id)}
	w, err := s.store.UpdateWaiver(ctx, id, ev, func(w Waiver) (Waiver, error) {
		if !w.Ended.IsZero() {
			return w, problem.New(problem.Conflict, "waiver-ended", "waiver %d was taken back at %s", id, w.Ended.UTC().Format(time.RFC3339))
		}
		w.Ended = ev.Time
		return w, nil
	})
	if err == nil {
		s.nudge()
	}
	return w, err
}
