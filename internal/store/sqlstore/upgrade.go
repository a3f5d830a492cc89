package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

const selectUpgrade = "SELECT id, upgrade_json FROM upgrade"

func scanUpgrade(row scanner) (u upgrade.Upgrade, err error) {
	var id int64
	var text string
	if err = row.Scan(&id, &text); err == nil {
		err = json.Unmarshal([]byte(text), &u)
	}
	u.ID = id
	return u, err
}

// PutUpgrade implements upgrade.Upgrades. A new one is seen since now, where u
// does not say otherwise. The unique index over open upgrades decides which is
// new. Cost: one look-up where it is open and nothing follows; else a few rows
// by key, and those that it supersedes.
func (s *Store) PutUpgrade(ctx context.Context, u upgrade.Upgrade, now time.Time) (upgrade.Upgrade, error) {
	now = fromMillis(millis(now))
	u.ID = 0
	if u.State == "" {
		u.State = upgrade.Seen
	}
	if u.Since.IsZero() {
		u.Since = now
	}
	if !u.State.Open() {
		return upgrade.Upgrade{}, fmt.Errorf("put upgrade of %s: one that is %s needs nothing to be done", u.Deployment, u.State)
	}
	deployment, to := tlog.BoundedName(u.Deployment), tlog.BoundedName(u.To)
	out, err := scanUpgrade(s.queryRow(ctx, selectUpgrade+" WHERE deployment = ? AND to_version = ? AND open = 1 AND NOT EXISTS "+
		"(SELECT 1 FROM upgrade o WHERE o.deployment = upgrade.deployment AND o.open = 1 AND o.id <> upgrade.id AND o."+unapproved+")", deployment, to))
	if err == nil {
		return out, nil
	}
	if !notFound(err) {
		return upgrade.Upgrade{}, fault("read upgrade", err)
	}
	text, err := jsonText(u)
	if err != nil {
		return upgrade.Upgrade{}, err
	}
	err = s.write(ctx, true, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "INSERT INTO upgrade (deployment, to_version, state, open, owner, due, since, plan, upgrade_json) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?) "+
			"ON CONFLICT (deployment, to_version) WHERE open = 1 DO NOTHING", deployment, to, string(u.State), tlog.BoundedName(u.Owner), millis(u.Due), millis(u.Since), plain(u.Plan), text)
		if err != nil {
			return err
		}
		if out, err = scanUpgrade(b.w.row(b.ctx, selectUpgrade+" WHERE deployment = ? AND to_version = ? AND open = 1", deployment, to)); err != nil {
			return err
		}
		return b.supersede(&out, now)
	})
	if err != nil {
		return upgrade.Upgrade{}, err
	}
	return out, nil
}

// unapproved is where an upgrade stands that another version supersedes.
const unapproved = "state IN ('seen', 'reviewed', 'planned', 'tested')"

// supersede ends the upgrades to other versions that nobody approved yet.
func (b *batch) supersede(by *upgrade.Upgrade, now time.Time) error {
	var others []upgrade.Upgrade
	err := b.each(selectUpgrade+" WHERE deployment = ? AND open = 1 AND id <> ? AND "+unapproved+" ORDER BY id", func(r scanner) error {
		u, err := scanUpgrade(r)
		others = append(others, u)
		return err
	}, tlog.BoundedName(by.Deployment), by.ID)
	if err != nil {
		return err
	}
	for i := range others {
		u := &others[i]
		u.State, u.Since, u.WaitsFor = upgrade.Superseded, now, ""
		u.Steps = append(u.Steps, upgrade.Step{Time: now, State: upgrade.Superseded, By: "chartkeep", Text: "version " + by.To + " is the one to move to"})
		if _, err := b.updateUpgrade(u); err != nil {
			return err
		}
	}
	return nil
}

// updateUpgrade writes an upgrade that is there. It says false, and writes
// nothing, when the deployment has another open upgrade to the version.
func (b *batch) updateUpgrade(u *upgrade.Upgrade) (bool, error) {
	carried := *u
	carried.ID = 0
	text, err := jsonText(carried)
	if err != nil {
		return false, err
	}
	open := flag(u.State.Open())
	n, err := b.w.exec(b.ctx, "UPDATE upgrade SET state = ?, open = ?, owner = ?, due = ?, since = ?, plan = ?, upgrade_json = ? WHERE id = ? AND (? = 0 OR NOT EXISTS "+
		"(SELECT 1 FROM upgrade o WHERE o.deployment = upgrade.deployment AND o.to_version = upgrade.to_version AND o.open = 1 AND o.id <> upgrade.id))",
		string(u.State), open, tlog.BoundedName(u.Owner), millis(u.Due), millis(u.Since), plain(u.Plan), text, u.ID, open)
	return n == 1, err
}

// MoveUpgrade implements upgrade.Upgrades. ev keeps its name. What an upgrade is
// of (deployment, chart, versions) stays, whatever change returns. Conflict when
// change opens one again and the deployment has another open upgrade to that
// version by now. change may be called again, and must be pure. Two rows by key,
// and the leaf.
func (s *Store) MoveUpgrade(ctx context.Context, id int64, leaf tlog.Leaf, ev *audit.Event, change func(upgrade.Upgrade) (upgrade.Upgrade, error)) (upgrade.Upgrade, error) {
	var out upgrade.Upgrade
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Upgrade{}, nil
		old, err := scanUpgrade(b.w.row(b.ctx, selectUpgrade+" WHERE id = ?", id))
		if notFound(err) {
			refusal = noUpgrade(id)
			return nil
		}
		if err != nil {
			return err
		}
		steps := len(old.Steps)
		u, err := change(old)
		if err != nil {
			refusal = err
			return nil
		}
		u.ID, u.Deployment, u.Chart, u.From, u.To = id, old.Deployment, old.Chart, old.From, old.To
		if leaf != nil {
			if len(u.Steps) <= steps {
				return errors.New("move upgrade: a leaf belongs to a step, and none was added")
			}
			u.Steps[len(u.Steps)-1].LogIndex = b.next(releaseLog)
		}
		written, err := b.updateUpgrade(&u)
		if err != nil {
			return err
		}
		if !written {
			refusal = problem.New(problem.Conflict, "upgrade-open", "deployment %s has another open upgrade to version %s", u.Deployment, u.To).Suggest("chartkeep status")
			return nil
		}
		if leaf != nil {
			if _, err := b.appendTimed(leaf); err != nil {
				return err
			}
		}
		if out = u; ev == nil {
			return nil
		}
		return b.recordChange(*ev, ev.Time, ev.Name, "upgrade", fmt.Sprint(id))
	})
	if err != nil {
		return upgrade.Upgrade{}, err
	}
	return out, refusal
}

func noUpgrade(id int64) error {
	return problem.New(problem.NotFound, "upgrade", "there is no upgrade %d", id).Suggest("chartkeep status")
}

// Upgrade implements upgrade.Upgrades. One row by key.
func (s *Store) Upgrade(ctx context.Context, id int64) (upgrade.Upgrade, error) {
	u, err := scanUpgrade(s.queryRow(ctx, selectUpgrade+" WHERE id = ?", id))
	if notFound(err) {
		return upgrade.Upgrade{}, noUpgrade(id)
	}
	return u, fault("read upgrade", err)
}

// ListUpgrades implements upgrade.Upgrades; those without a due time come last
// among the open ones, and the closed ones by when they were closed. Cost: the
// open ones by index, and limit rows of another; with an owner or a state, its
// rows until limit of them match.
func (s *Store) ListUpgrades(ctx context.Context, f upgrade.UpgradeFilter) ([]upgrade.Upgrade, error) {
	filter := ""
	var args []any
	where := func(value, condition string) {
		if value != "" {
			filter += " AND " + condition
			args = append(args, tlog.BoundedName(value))
		}
	}
	where(f.Deployment, "deployment = ?")
	where(f.Owner, "owner = ?")
	where(string(f.State), "state = ?")
	var out []upgrade.Upgrade
	add := func(r scanner) error {
		u, err := scanUpgrade(r)
		out = append(out, u)
		return err
	}
	err := s.query(ctx, selectUpgrade+" WHERE open = 1"+filter+" ORDER BY CASE WHEN due = 0 THEN 1 ELSE 0 END, due, id", add, args...)
	if err == nil && !f.Open {
		err = s.query(ctx, selectUpgrade+" WHERE open = 0"+filter+" ORDER BY since DESC, id DESC LIMIT ?", add, append(args, listed(f.Limit))...)
	}
	return out, err
}
