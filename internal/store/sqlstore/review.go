package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// PutReview implements upgrade.Reviews. A new review is open and has no
// sign-offs, whatever r says of that. Cost: two look-ups where it is kept and
// nothing follows; else three rows by key, and those that it replaces. The
// document is encoded before the transaction.
func (s *Store) PutReview(ctx context.Context, r upgrade.Review) (upgrade.Review, error) {
	if !isSHA256(r.Digest) {
		return upgrade.Review{}, fmt.Errorf("put review of %s: %q is no digest", r.Deployment, r.Digest)
	}
	r.ID, r.State, r.Signoffs = 0, upgrade.ReviewOpen, nil
	deployment, to := tlog.BoundedName(r.Deployment), tlog.BoundedName(r.To.Version)
	kept, err := scanReview(s.queryRow(ctx, selectReview+" WHERE digest = ? AND state <> 'replaced' AND NOT EXISTS "+
		"(SELECT 1 FROM review o WHERE o.deployment = ? AND o.to_version = ? AND o.state = 'open' AND o.digest <> review.digest)", r.Digest, deployment, to))
	if err == nil {
		return kept, nil
	}
	if !notFound(err) {
		return upgrade.Review{}, fault("read review", err)
	}
	light, err := jsonText(lighter(r))
	if err != nil {
		return upgrade.Review{}, err
	}
	packed, err := pack(r)
	if err != nil {
		return upgrade.Review{}, err
	}
	var out upgrade.Review
	err = s.write(ctx, true, func(b *batch) error {
		var id int64
		err := b.w.row(b.ctx, "INSERT INTO review (digest, deployment, chart, to_version, light_json, review_pack, state, signoffs_json) VALUES (?, ?, ?, ?, ?, ?, 'open', '[]') "+
			"ON CONFLICT (digest) DO UPDATE SET state = CASE WHEN review.state = 'replaced' THEN 'open' ELSE review.state END RETURNING id",
			r.Digest, deployment, tlog.BoundedName(r.Chart), to, light, packed).Scan(&id)
		if err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE review SET state = 'replaced' WHERE deployment = ? AND to_version = ? AND state = 'open' AND id <> ?", deployment, to, id); err != nil {
			return err
		}
		out, err = scanReview(b.w.row(b.ctx, selectReview+" WHERE id = ?", id))
		return err
	})
	if err != nil {
		return upgrade.Review{}, err
	}
	return out, nil
}

// lighter is a review as lists show it.
func lighter(r upgrade.Review) upgrade.Review {
	r.Compared, r.Notes, r.Remaining = manifest.Comparison{}, nil, nil
	r.Closed, r.Introduced = withoutRules(r.Closed), withoutRules(r.Introduced)
	return r
}

// withoutRules leaves out what a decision looked at, which is most of it.
func withoutRules(list []upgrade.Finding) []upgrade.Finding {
	list = slices.Clone(list)
	for i := range list {
		list[i].Decision.Rules = []decision.Rule{}
	}
	return list
}

const selectReview = "SELECT id, state, signoffs_json, review_pack FROM review"

func scanReview(row scanner) (r upgrade.Review, err error) {
	var id int64
	var state, signoffs string
	var packed []byte
	if err := row.Scan(&id, &state, &signoffs, &packed); err != nil {
		return r, err
	}
	if err := unpack(packed, &r); err != nil {
		return r, err
	}
	return r, stand(&r, id, state, signoffs)
}

// stand adds to a review what may change of it.
func stand(r *upgrade.Review, id int64, state, signoffs string) error {
	r.ID, r.State = id, upgrade.ReviewState(state)
	return json.Unmarshal([]byte(signoffs), &r.Signoffs)
}

// shortestDigest is how many digits a digest is cut to at most.
const shortestDigest = 8

// Review implements upgrade.Reviews. Invalid for digits that name several
// reviews, or are too few. Cost: one or two rows of the index over digests.
func (s *Store) Review(ctx context.Context, digest string) (upgrade.Review, error) {
	const algorithm = "sha256:"
	digits, ok := strings.CutPrefix(digest, algorithm)
	if !ok || strings.Trim(digits, "0123456789abcdef") != "" {
		return upgrade.Review{}, noReview(digest)
	}
	if len(digits) < shortestDigest {
		return upgrade.Review{}, problem.New(problem.Invalid, "review-digest", "%q has too few digits to name a review", digest).
			With("at least", "%d", shortestDigest).Suggest("chartkeep review list")
	}
	var found []upgrade.Review
	var clash []string
	// Every digest that begins so sorts before the one with a letter that is no
	// digit.
	err := s.query(ctx, selectReview+" WHERE digest >= ? AND digest < ? ORDER BY digest LIMIT 2", func(row scanner) error {
		r, err := scanReview(row)
		found, clash = append(found, r), append(clash, r.Digest)
		return err
	}, digest, digest+"g")
	switch {
	case err != nil:
		return upgrade.Review{}, err
	case len(found) == 0:
		return upgrade.Review{}, noReview(digest)
	case len(found) > 1:
		return upgrade.Review{}, problem.New(problem.Invalid, "review-digest", "more than one review begins with %s", digest).
			With("two of them", "%s", strings.Join(clash, ", ")).Suggest("give more digits of it")
	}
	return found[0], nil
}

func noReview(digest string) error {
	return problem.New(problem.NotFound, "review", "there is no review %.80s", digest).Suggest("chartkeep review list")
}

// isSHA256 says whether s is "sha256:" and 64 lower-case digits.
func isSHA256(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

// ListReviews implements upgrade.Reviews. Cost: limit rows of the index over
// deployment, chart or state; with two of them, or a version, the rows of one
// until limit of them match.
func (s *Store) ListReviews(ctx context.Context, f upgrade.ReviewFilter) ([]upgrade.Review, error) {
	query := "SELECT id, state, signoffs_json, light_json FROM review WHERE 1 = 1"
	var args []any
	where := func(wanted bool, condition string, value any) {
		if wanted {
			query += " AND " + condition
			args = append(args, value)
		}
	}
	where(f.Deployment != "", "deployment = ?", tlog.BoundedName(f.Deployment))
	where(f.Chart != "", "chart = ?", tlog.BoundedName(f.Chart))
	where(f.To != "", "to_version = ?", tlog.BoundedName(f.To))
	where(f.State != "", "state = ?", string(f.State))
	where(f.Before > 0, "id < ?", f.Before)
	var out []upgrade.Review
	err := s.query(ctx, query+" ORDER BY id DESC LIMIT ?", func(row scanner) error {
		var r upgrade.Review
		var id int64
		var state, signoffs, light string
		err := row.Scan(&id, &state, &signoffs, &light)
		if err == nil {
			err = json.Unmarshal([]byte(light), &r)
		}
		if err == nil {
			err = stand(&r, id, state, signoffs)
		}
		out = append(out, r)
		return err
	}, append(args, listed(f.Limit))...)
	return out, err
}

// listed is how many rows a list has at most.
func listed(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}

// SignReview implements upgrade.Reviews. It names the audit event
// audit.ReviewSigned or audit.ReviewDeclined. digest is the whole of it. The
// sign-off keeps its time, which its leaf's digest covers; the leaf's own time
// is the same, or a little later where the log's is ahead. check may be called
// again, and must be pure. Cost: the review, two rows and the leaf.
func (s *Store) SignReview(ctx context.Context, digest string, sign upgrade.Signoff, leaf tlog.Leaf, ev audit.Event, check func(upgrade.Review) (upgrade.ReviewState, error)) (upgrade.Review, error) {
	var out upgrade.Review
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Review{}, nil
		r, err := scanReview(b.w.row(b.ctx, selectReview+" WHERE digest = ?", digest))
		if notFound(err) {
			refusal = noReview(digest)
			return nil
		}
		if err != nil {
			return err
		}
		state, err := check(r)
		if err != nil {
			refusal = err
			return nil
		}
		sign := sign
		if sign.LogIndex, err = b.appendTimed(leaf); err != nil {
			return err
		}
		r.State, r.Signoffs = state, append(r.Signoffs, sign)
		signoffs, err := jsonText(r.Signoffs)
		if err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE review SET state = ?, signoffs_json = ? WHERE id = ?", string(state), signoffs, r.ID); err != nil {
			return err
		}
		name := audit.ReviewSigned
		if !sign.Accepted {
			name = audit.ReviewDeclined
		}
		out = r
		return b.recordChange(ev, sign.Time, name, "review", digest)
	})
	if err != nil {
		return upgrade.Review{}, err
	}
	return out, refusal
}

// appendTimed adds a leaf that a use case made to the release log, with a time
// that the log can have.
func (b *batch) appendTimed(leaf tlog.Leaf) (int64, error) {
	sign, ok := leaf.(tlog.Signoff)
	if !ok {
		return 0, fmt.Errorf("append leaf: %T is none that a person's word makes", leaf)
	}
	sign.Time = b.time(sign.Time)
	return b.appendLeaf(sign)
}
