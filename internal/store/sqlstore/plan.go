package sqlstore

import (
	"context"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// PutPlan implements upgrade.Upgrades. The newest plan that is put again is not
// written: it keeps the time at which it was made first. Cost: then one
// look-up; else a few rows by key.
func (s *Store) PutPlan(ctx context.Context, p upgrade.Plan) error {
	if !isSHA256(p.Digest) {
		return fmt.Errorf("put plan of %s: %q is no digest", p.Deployment, p.Digest)
	}
	deployment := tlog.BoundedName(p.Deployment)
	var newest int64
	err := s.queryRow(ctx, "SELECT newest FROM plan WHERE digest = ?", p.Digest).Scan(&newest)
	if err == nil && newest == 1 {
		return nil
	}
	if err != nil && !notFound(err) {
		return fault("read plan", err)
	}
	packed, err := pack(p)
	if err != nil {
		return err
	}
	return s.write(ctx, true, func(b *batch) error {
		if _, err := b.w.exec(b.ctx, "UPDATE plan SET newest = 0 WHERE deployment = ? AND newest = 1", deployment); err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "INSERT INTO plan (digest, deployment, newest, due, plan_pack) VALUES (?, ?, 1, ?, ?) ON CONFLICT (digest) DO UPDATE SET newest = 1",
			p.Digest, deployment, millis(p.Due), packed); err != nil {
			return err
		}
		return b.prunePlans(deployment)
	})
}

// prunePlans forgets the plans of a deployment that are not the newest, but for
// those that an upgrade names.
func (b *batch) prunePlans(deployment string) error {
	_, err := b.w.exec(b.ctx, "DELETE FROM plan WHERE deployment = ? AND newest = 0 AND NOT EXISTS (SELECT 1 FROM upgrade u WHERE u.plan <> '' AND u.plan = plan.digest)", deployment)
	return err
}

// Plan implements upgrade.Upgrades. One row by key.
func (s *Store) Plan(ctx context.Context, deploymentOrDigest string) (upgrade.Plan, error) {
	var p upgrade.Plan
	query, arg := "SELECT plan_pack FROM plan WHERE deployment = ? AND newest = 1", tlog.BoundedName(deploymentOrDigest)
	if isSHA256(deploymentOrDigest) {
		query, arg = "SELECT plan_pack FROM plan WHERE digest = ?", deploymentOrDigest
	}
	var packed []byte
	err := s.queryRow(ctx, query, arg).Scan(&packed)
	if notFound(err) {
		return p, problem.New(problem.NotFound, "plan", "there is no plan %s", deploymentOrDigest).Suggest("chartkeep plan list")
	}
	if err != nil {
		return p, fault("read plan", err)
	}
	return p, unpack(packed, &p)
}

// Plans implements upgrade.Upgrades.
func (s *Store) Plans(ctx context.Context) ([]upgrade.Plan, error) {
	var out []upgrade.Plan
	err := s.query(ctx, "SELECT plan_pack FROM plan WHERE newest = 1 ORDER BY CASE WHEN due = 0 THEN 1 ELSE 0 END, due, deployment", func(r scanner) error {
		var p upgrade.Plan
		var packed []byte
		err := r.Scan(&packed)
		if err == nil {
			err = unpack(packed, &p)
		}
		out = append(out, p)
		return err
	})
	return out, err
}
