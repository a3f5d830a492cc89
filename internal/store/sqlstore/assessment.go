package sqlstore

import (
	"context"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// PutAssessment implements upgrade.Upgrades. One row by key. The document is
// encoded before the transaction: 3 ms and 12 KB for one of 50 findings, which
// has 320 KB of JSON.
func (s *Store) PutAssessment(ctx context.Context, a upgrade.Assessment) error {
	summary, err := jsonText(a.Summary())
	if err != nil {
		return err
	}
	packed, err := pack(a)
	if err != nil {
		return err
	}
	a.Findings, a.Lifted = forLists(a.Findings), forLists(a.Lifted)
	light, err := pack(a)
	if err != nil {
		return err
	}
	return s.write(ctx, true, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "INSERT INTO assessment (deployment, summary_json, light_pack, assessment_pack) VALUES (?, ?, ?, ?) ON CONFLICT (deployment) DO UPDATE SET "+
			"summary_json = excluded.summary_json, light_pack = excluded.light_pack, assessment_pack = excluded.assessment_pack", tlog.BoundedName(a.Deployment), summary, light, packed)
		return err
	})
}

// forLists leaves out the rules of decisions, which are most of a finding, but
// for whether it was known that it is not exploited.
func forLists(list []upgrade.Finding) []upgrade.Finding {
	list = slices.Clone(list)
	for i := range list {
		list[i].Decision.Rules = exploitedIn(list[i].Decision.Rules)
	}
	return list
}

// exploitedIn is what the first rule says that looked at whether a finding is
// exploited.
func exploitedIn(rules []decision.Rule) []decision.Rule {
	for i := range rules {
		for _, v := range rules[i].Inputs {
			if v.Name == "exploited" {
				return []decision.Rule{{ID: rules[i].ID, Inputs: []decision.Value{v}}}
			}
		}
	}
	return []decision.Rule{}
}

// Assessment implements upgrade.Upgrades. One row by key, and 7 ms to decode 50
// findings with their rules.
func (s *Store) Assessment(ctx context.Context, deployment string) (upgrade.Assessment, error) {
	var a upgrade.Assessment
	var packed []byte
	err := s.queryRow(ctx, "SELECT assessment_pack FROM assessment WHERE deployment = ?", tlog.BoundedName(deployment)).Scan(&packed)
	if notFound(err) {
		return a, problem.New(problem.NotFound, "assessment", "nothing was worked out for deployment %s yet", deployment).Suggest("chartkeep deployment show %s", deployment)
	}
	if err != nil {
		return a, fault("read assessment", err)
	}
	return a, unpack(packed, &a)
}

// Assessments implements upgrade.Upgrades, by deployment. Cost: 1.4 ms for each
// with 50 findings, so 14 s for 10,000: who shows lists of that size keeps what
// they come to. each should not take long: until it is through, SQLite's
// journal only grows.
func (s *Store) Assessments(ctx context.Context, each func(upgrade.Assessment) error) error {
	return s.query(ctx, "SELECT light_pack FROM assessment ORDER BY deployment", func(r scanner) error {
		var a upgrade.Assessment
		var packed []byte
		err := r.Scan(&packed)
		if err == nil {
			err = unpack(packed, &a)
		}
		if err != nil {
			return err
		}
		return each(a)
	})
}

// Summaries implements upgrade.Upgrades, by deployment. Cost: half a kilobyte
// and 20 µs of each, 0.2 s for 10,000.
func (s *Store) Summaries(ctx context.Context) ([]upgrade.Summary, error) {
	return documents[upgrade.Summary](ctx, s, "SELECT summary_json FROM assessment ORDER BY deployment")
}

// ForgetDeployment implements upgrade.Upgrades. Cost: its open exposures, and a
// few rows by key.
func (s *Store) ForgetDeployment(ctx context.Context, key string, now time.Time) error {
	deployment := tlog.BoundedName(key)
	return s.write(ctx, true, func(b *batch) error {
		if _, err := b.w.exec(b.ctx, "DELETE FROM assessment WHERE deployment = ?", deployment); err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE exposure SET closed = ?, how = ? WHERE deployment = ? AND closed = 0", millis(now), upgrade.Gone, deployment); err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE plan SET newest = 0 WHERE deployment = ? AND newest = 1", deployment); err != nil {
			return err
		}
		return b.prunePlans(deployment)
	})
}
