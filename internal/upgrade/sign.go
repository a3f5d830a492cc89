package upgrade

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Bounds of a sign-off.
const (
	maxSignText = 4000 // bytes
	maxAnswer   = 1000 // bytes
)

// right is what signing in a role needs.
func (r SignRole) right() access.Action {
	if r == Security {
		return access.UpgradeApprove
	}
	return access.UpgradeReview
}

// SignReview adds a person's word to a review, and to the log. It is refused
// while a required item of the role is unanswered, for a review that was
// replaced or declined, and to machines. Who declines says why; that ends the
// review. A review is signed when every role that has to has accepted it, each
// by another person.
func (s *Service) SignReview(ctx context.Context, c audit.Caller, digest string, in Sign) (Review, error) {
	if in.Role != Reviewer && in.Role != Security {
		return Review{}, problem.New(problem.Invalid, "sign-role", "a review is signed as %s or %s, not %.40q", Reviewer, Security, string(in.Role))
	}
	if err := s.may(ctx, c, in.Role.right()); err != nil {
		return Review{}, err
	}
	if c.Principal.Kind != access.KindUser {
		return Review{}, problem.New(problem.Denied, "sign-person", "a review is signed by a person; this is a token of a project").
			Suggest("use a token of your own account instead")
	}
	r, err := s.store.Review(ctx, digest)
	if err != nil {
		return Review{}, err
	}
	name := audit.ReviewSigned
	if !in.Accept {
		name = audit.ReviewDeclined
	}
	ev := s.event(c, name, in.Role.right())
	sign := Signoff{
		Role: in.Role, By: ev.Actor.ID, Name: ev.Actor.Name, Time: ev.Time.UTC().Truncate(1e9), Accepted: in.Accept, Text: strings.TrimSpace(in.Text),
		Answers: in.Answers, Digest: r.Digest,
	}
	if sign.Answers == nil {
		sign.Answers = map[string]string{}
	}
	if _, err := signed(&r, sign); err != nil {
		return Review{}, err
	}
	ev.Detail = map[string]string{"review": r.Digest, "deployment": r.Deployment, "from": r.From.Version, "to": r.To.Version, "role": string(in.Role)}
	leaf, err := signLeaf(&r, sign, ev.Actor)
	if err != nil {
		return Review{}, err
	}
	r, err = s.store.SignReview(ctx, r.Digest, sign, leaf, ev, func(r Review) (ReviewState, error) { return signed(&r, sign) })
	if err != nil {
		return Review{}, err
	}
	return r, s.tellUpgrade(ctx, &r)
}

// tellUpgrade notes what became of a review with the upgrade that it is about.
func (s *Service) tellUpgrade(ctx context.Context, r *Review) error {
	list, err := s.store.ListUpgrades(ctx, UpgradeFilter{Deployment: r.Deployment, Open: true})
	if err != nil {
		return err
	}
	for _, u := range list {
		if u.To != r.To.Version {
			continue
		}
		p, err := s.store.Plan(ctx, r.Deployment)
		if problem.KindOf(err) == problem.NotFound {
			return nil // it is judged in a moment
		}
		if err != nil {
			return err
		}
		if err := s.advance(ctx, u, u.Owner, r, &p); err != nil {
			return err
		}
	}
	return nil
}

// signed is the state of a review after a sign-off, or why that is refused.
func signed(r *Review, sign Signoff) (ReviewState, error) {
	switch r.State {
	case ReviewOpen:
	case ReviewReplaced:
		return "", problem.New(problem.Conflict, "review-replaced", "a newer review of this upgrade was made; this one can no longer be signed").
			Suggest("chartkeep review list --deployment %s", r.Deployment)
	default:
		return "", problem.New(problem.Conflict, "review-ended", "the review is %s already", r.State)
	}
	if !slices.Contains(r.Roles, sign.Role) {
		return "", problem.New(problem.Invalid, "sign-role", "this review needs no sign-off as %s", sign.Role).With("roles", "%s", joined(r.Roles))
	}
	for _, old := range r.Signoffs {
		switch {
		case old.Role == sign.Role:
			return "", problem.New(problem.Conflict, "signed", "%s signed it as %s already", old.Name, old.Role)
		case old.By == sign.By:
			return "", problem.New(problem.Denied, "signed-own", "you signed it as %s; the word as %s is another person's", old.Role, sign.Role)
		}
	}
	if len(sign.Text) > maxSignText {
		return "", problem.New(problem.Invalid, "sign-text", "the text of a sign-off has at most %d bytes, not %d", maxSignText, len(sign.Text))
	}
	if !sign.Accepted {
		if sign.Text == "" {
			return "", problem.New(problem.Invalid, "sign-text", "who declines says why")
		}
		return ReviewDeclined, nil
	}
	if err := answered(r, sign); err != nil {
		return "", err
	}
	for _, role := range r.Roles {
		if role != sign.Role && !slices.ContainsFunc(r.Signoffs, func(o Signoff) bool { return o.Role == role && o.Accepted }) {
			return ReviewOpen, nil
		}
	}
	return ReviewSigned, nil
}

// answered refuses a sign-off that leaves a required item of its role open, or
// answers what was not asked.
func answered(r *Review, sign Signoff) error {
	var missing []string
	known := map[string]bool{}
	for _, item := range r.Checklist {
		known[item.ID] = true
		if item.Required && item.Role == sign.Role && strings.TrimSpace(sign.Answers[item.ID]) == "" {
			missing = append(missing, item.ID+": "+item.Text)
		}
	}
	for id, answer := range sign.Answers {
		if !known[id] {
			return problem.New(problem.Invalid, "checklist-item", "the review has no checklist item %.80q", id)
		}
		if len(answer) > maxAnswer {
			return problem.New(problem.Invalid, "checklist-answer", "an answer has at most %d bytes; the one to %s has %d", maxAnswer, id, len(answer))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	p := problem.New(problem.Policy, "checklist", "%d required items of the checklist are not answered", len(missing))
	if len(missing) == 1 {
		p = problem.New(problem.Policy, "checklist", "a required item of the checklist is not answered")
	}
	for _, m := range missing {
		p.With("item", "%s", m)
	}
	return p.Suggest("chartkeep review sign %s --answer ITEM=TEXT", r.Digest[:min(len(r.Digest), 19)])
}

func joined(roles []SignRole) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

// signLeaf states the sign-off for the log: its digest is over text and
// answers, so that both are bound without being public.
func signLeaf(r *Review, sign Signoff, by audit.Actor) (tlog.Leaf, error) {
	text, err := json.Marshal(sign)
	if err != nil {
		return nil, fmt.Errorf("write the sign-off: %w", err)
	}
	sum := sha256.Sum256(text)
	said := tlog.SignoffDeclined
	if sign.Accepted {
		said = tlog.SignoffAccepted
	}
	return tlog.Signoff{
		Deployment: tlog.BoundedName(r.Deployment), Chart: tlog.BoundedName(r.Chart), From: tlog.BoundedName(r.From.Version), To: tlog.BoundedName(r.To.Version),
		Archive: r.To.Archive, Review: r.Digest, Role: string(sign.Role), Said: said, Text: "sha256:" + hex.EncodeToString(sum[:]),
		Signer: tlog.Identity{Issuer: cmp.Or(by.Issuer, "chartkeep"), Subject: cmp.Or(by.Subject, by.ID)}, Time: sign.Time,
	}, nil
}
