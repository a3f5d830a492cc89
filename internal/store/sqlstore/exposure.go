package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// exposure is a row of that table.
type exposure struct {
	upgrade.Exposed
	id  int64
	key string // as the column has it
}

// exposureNames are those names whose columns have the bounded form.
type exposureNames struct {
	Deployment  string `json:"deployment,omitempty"`
	Key         string `json:"key,omitempty"`
	Environment string `json:"environment,omitempty"`
}

// appendExposure adds the values of a row that is open since a time.
func appendExposure(values []any, e *upgrade.Exposed, opened time.Time) ([]any, error) {
	var full exposureNames
	bound := func(name string, to *string) string {
		bounded := tlog.BoundedName(name)
		if bounded != name {
			*to = name
		}
		return bounded
	}
	deployment, key, environment := bound(e.Deployment, &full.Deployment), bound(e.Key, &full.Key), bound(e.Environment, &full.Environment)
	names := ""
	if full != (exposureNames{}) {
		var err error
		if names, err = jsonText(full); err != nil {
			return nil, err
		}
	}
	return append(values, deployment, key, environment, string(e.Severity), string(e.Kind), millis(opened), 0, "", millis(e.Deadline), names), nil
}

const exposureColumns = "deployment, key, environment, severity, kind, opened, closed, how, deadline, names_json"

func scanExposure(row scanner) (e exposure, err error) {
	var severity, kind, names string
	var opened, closed, deadline int64
	if err := row.Scan(&e.id, &e.Deployment, &e.key, &e.Environment, &severity, &kind, &opened, &closed, &e.How, &deadline, &names); err != nil {
		return e, err
	}
	e.Key, e.Severity, e.Kind = e.key, manifest.Severity(severity), upgrade.FindingKind(kind)
	e.Opened, e.Closed, e.Deadline = fromMillis(opened), fromMillis(closed), fromMillis(deadline)
	if names == "" {
		return e, nil
	}
	var full exposureNames
	err = json.Unmarshal([]byte(names), &full)
	for _, n := range []struct {
		to   *string
		full string
	}{{&e.Deployment, full.Deployment}, {&e.Key, full.Key}, {&e.Environment, full.Environment}} {
		if n.full != "" {
			*n.to = n.full
		}
	}
	return e, err
}

// asOpen is an exposure as its row says it.
func asOpen(deployment string, e upgrade.Exposed, opened time.Time) upgrade.Exposed {
	e.Deployment, e.Opened, e.Closed, e.How, e.Deadline = deployment, fromMillis(millis(opened)), time.Time{}, "", fromMillis(millis(e.Deadline))
	return e
}

// SyncExposures implements upgrade.Exposures. Of list, all but Deployment,
// Opened, Closed and How counts; of a key that is there twice, the last. What is
// opened comes in the order of list, what is closed by key. how may be called
// again, and must be pure.
//
// Cost: the open rows of the deployment are read by index, and while nothing
// differs that is all: 0.6 ms for 50 (PostgreSQL 0.4). Else those that differ
// are written, 15 µs each when they are new. It is the same at a million.
func (s *Store) SyncExposures(ctx context.Context, deployment string, list []upgrade.Exposed, how func(upgrade.Exposed) string, now time.Time) (opened, closed []upgrade.Exposed, err error) {
	d := exposures{deployment: deployment, now: now, how: how}
	d.want(list)
	if err := s.query(ctx, selectOpenOf, d.had, tlog.BoundedName(deployment)); err != nil {
		return nil, nil, err
	}
	if d.compare(); len(d.opened)+len(d.changed)+len(d.closed) == 0 {
		return nil, nil, nil
	}
	err = s.write(ctx, true, func(b *batch) error {
		d.open = nil
		if err := b.each(selectOpenOf, d.had, tlog.BoundedName(deployment)); err != nil {
			return err
		}
		d.compare()
		return b.syncExposures(&d)
	})
	if err != nil {
		return nil, nil, err
	}
	return d.opened, d.closed, nil
}

const (
	selectOpen   = "SELECT id, " + exposureColumns + " FROM exposure WHERE closed = 0"
	selectOpenOf = selectOpen + " AND deployment = ? ORDER BY key"
)

// exposures compares what is open on a deployment with what should be.
type exposures struct {
	deployment string
	now        time.Time
	how        func(upgrade.Exposed) string
	list       []upgrade.Exposed // once each
	open       []exposure        // that are there

	opened, changed, closed []upgrade.Exposed
	ended                   []int64 // rows of closed
}

func (d *exposures) want(list []upgrade.Exposed) {
	last := make(map[string]int, len(list))
	for i := range list {
		last[list[i].Key] = i
	}
	for i := range list {
		if last[list[i].Key] == i {
			d.list = append(d.list, asOpen(d.deployment, list[i], d.now))
		}
	}
}

func (d *exposures) had(r scanner) error {
	e, err := scanExposure(r)
	d.open = append(d.open, e)
	return err
}

// compare finds what differs.
func (d *exposures) compare() {
	d.opened, d.changed, d.closed, d.ended = nil, nil, nil, nil
	had := make(map[string]*exposure, len(d.open))
	for i := range d.open {
		had[d.open[i].key] = &d.open[i]
	}
	for _, e := range d.list {
		key := tlog.BoundedName(e.Key)
		was := had[key]
		delete(had, key)
		switch {
		case was == nil:
			d.opened = append(d.opened, e)
		case asOpen(d.deployment, e, was.Opened) != was.Exposed:
			d.changed = append(d.changed, e)
		}
	}
	for i := range d.open {
		e := d.open[i]
		if had[e.key] == nil {
			continue
		}
		e.Closed, e.How = fromMillis(millis(d.now)), plain(d.how(e.Exposed))
		d.closed, d.ended = append(d.closed, e.Exposed), append(d.ended, e.id)
	}
}

// syncExposures writes what differs. The unique index over what is open decides
// what is new.
func (b *batch) syncExposures(d *exposures) (err error) {
	rows := bulkRows{into: "INSERT INTO exposure (" + exposureColumns + ") VALUES| ON CONFLICT (deployment, key) WHERE closed = 0 DO UPDATE SET " +
		"environment = excluded.environment, severity = excluded.severity, kind = excluded.kind, deadline = excluded.deadline, names_json = excluded.names_json", width: 10}
	for _, list := range [][]upgrade.Exposed{d.opened, d.changed} {
		for i := range list {
			if rows.values, err = appendExposure(rows.values, &list[i], d.now); err != nil {
				return err
			}
		}
	}
	if err := b.flushRows(&rows); err != nil {
		return err
	}
	for i, id := range d.ended {
		if _, err := b.w.exec(b.ctx, "UPDATE exposure SET closed = ?, how = ? WHERE id = ? AND closed = 0", millis(d.closed[i].Closed), d.closed[i].How, id); err != nil {
			return err
		}
	}
	return nil
}

// OpenExposures implements upgrade.Exposures; "" stands for all deployments. By
// deployment and key. Cost: 8 µs a row (PostgreSQL 5) and 300 bytes of memory:
// 4 s for all of 500,000.
func (s *Store) OpenExposures(ctx context.Context, deployment string) ([]upgrade.Exposed, error) {
	query, args := selectOpen+" ORDER BY deployment, key", []any(nil)
	if deployment != "" {
		query, args = selectOpenOf, []any{tlog.BoundedName(deployment)}
	}
	var out []upgrade.Exposed
	err := s.query(ctx, query, func(r scanner) error {
		e, err := scanExposure(r)
		out = append(out, e.Exposed)
		return err
	}, args...)
	return out, err
}

// ExposuresSince implements upgrade.Exposures, in no order. Cost: what is open,
// and a range of the index over ends, 7 µs a row (PostgreSQL 3). each may ask the store for more, and
// should not take long: until it is through, SQLite's journal only grows.
func (s *Store) ExposuresSince(ctx context.Context, since time.Time, each func(upgrade.Exposed) error) error {
	// One statement sees one state: what is closed meanwhile is not met twice.
	query := selectOpen + " UNION ALL SELECT id, " + exposureColumns + " FROM exposure WHERE closed > 0 AND closed >= ?"
	return s.query(ctx, query, func(r scanner) error {
		e, err := scanExposure(r)
		if err != nil {
			return err
		}
		return each(e.Exposed)
	}, millis(since))
}
