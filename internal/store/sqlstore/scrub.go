package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// ScrubState implements release.Scrubs. One look-up by key.
func (s *Store) ScrubState(ctx context.Context) (release.ScrubState, error) {
	st, _, err := scanScrub(s.queryRow(ctx, selectScrub))
	return st, fault("read scrub", err)
}

const selectScrub = "SELECT due, lease_end, state_json FROM scrub WHERE id = 1"

func scanScrub(row scanner) (st release.ScrubState, held time.Time, err error) {
	var due, until int64
	var text string
	if err := row.Scan(&due, &until, &text); err != nil {
		return st, held, err
	}
	err = json.Unmarshal([]byte(text), &st)
	st.Due = fromMillis(due)
	return st, fromMillis(until), err
}

// LeaseScrub implements release.Scrubs. Cost: one look-up while nothing is due.
func (s *Store) LeaseScrub(ctx context.Context, now time.Time, hold time.Duration) (token int64, st release.ScrubState, err error) {
	free := func(row scanner) (bool, error) {
		var held time.Time
		var err error
		st, held, err = scanScrub(row)
		return err == nil && !held.After(now) && (st.Running || !st.Due.After(now)), err
	}
	if ok, err := free(s.queryRow(ctx, selectScrub)); err != nil || !ok {
		return 0, st, fault("look for a due scrub", err)
	}
	err = s.write(ctx, true, func(b *batch) error {
		token = 0
		ok, err := free(b.w.row(b.ctx, selectScrub))
		if err != nil || !ok {
			return err
		}
		token = leaseNumber()
		_, err = b.w.exec(b.ctx, "UPDATE scrub SET lease = ?, lease_end = ? WHERE id = 1", token, millis(now.Add(hold)))
		return err
	})
	return token, st, err
}

// SaveScrub implements release.Scrubs. One row by key.
func (s *Store) SaveScrub(ctx context.Context, token int64, st release.ScrubState, now time.Time, hold time.Duration, events ...audit.Event) error {
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	var lost bool
	err = s.write(ctx, true, func(b *batch) error {
		lost = false
		next := int64(0)
		if hold > 0 {
			next = token
		}
		n, err := b.w.exec(b.ctx, "UPDATE scrub SET due = ?, lease = ?, lease_end = ?, state_json = ? WHERE id = 1 AND lease = ?",
			millis(st.Due), next, millis(now.Add(hold)), string(text), token)
		if lost = err == nil && n == 0; lost || err != nil {
			return err
		}
		for _, ev := range events {
			if err := b.record(ev); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && lost {
		err = problem.New(problem.Conflict, "scrub-lease", "another process has taken the scrub over")
	}
	return err
}

// AskScrub implements release.Scrubs. One row by key.
func (s *Store) AskScrub(ctx context.Context, now time.Time) error {
	return s.write(ctx, true, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "UPDATE scrub SET due = ? WHERE id = 1", millis(now))
		return err
	})
}

// RecordFinding implements release.Scrubs. One row by key.
func (s *Store) RecordFinding(ctx context.Context, f release.Finding, ev audit.Event, now time.Time) (opened bool, err error) {
	f.First, f.Last, f.Resolved = time.Time{}, time.Time{}, time.Time{} // columns
	text, err := json.Marshal(f)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, true, func(b *batch) error {
		opened = false
		n, err := b.w.exec(b.ctx, "UPDATE finding SET last = ?, finding_json = ? WHERE name = ? AND resolved = 0", millis(now), string(text), f.Key)
		if err != nil || n > 0 {
			return err
		}
		opened = true
		if _, err := b.w.exec(b.ctx, "INSERT INTO finding (name, first, last, resolved, finding_json) VALUES (?, ?, ?, 0, ?) "+
			"ON CONFLICT (name) DO UPDATE SET first = excluded.first, last = excluded.last, resolved = 0, finding_json = excluded.finding_json",
			f.Key, millis(now), millis(now), string(text)); err != nil {
			return err
		}
		return b.record(ev)
	})
	return opened, err
}

// ResolveFindings implements release.Scrubs. Cost: the open findings, by index.
func (s *Store) ResolveFindings(ctx context.Context, before, now time.Time) (int, error) {
	var n int64
	err := s.write(ctx, true, func(b *batch) error {
		var err error
		n, err = b.w.exec(b.ctx, "UPDATE finding SET resolved = ? WHERE resolved = 0 AND last < ?", millis(now), millis(before))
		return err
	})
	return int(n), err
}

// Findings implements release.Scrubs. Cost: the open ones by index, else all
// that there were; there is a row for each thing that was ever found.
func (s *Store) Findings(ctx context.Context, openOnly bool, limit int) ([]release.Finding, error) {
	query := "SELECT name, first, last, resolved, finding_json FROM finding ORDER BY last DESC, name LIMIT ?"
	if openOnly {
		query = "SELECT name, first, last, resolved, finding_json FROM finding WHERE resolved = 0 ORDER BY last DESC, name LIMIT ?"
	}
	var out []release.Finding
	err := s.query(ctx, query, func(r scanner) error {
		var f release.Finding
		var first, last, resolved int64
		var text string
		var key string
		if err := r.Scan(&key, &first, &last, &resolved, &text); err != nil {
			return err
		}
		err := json.Unmarshal([]byte(text), &f)
		f.Key, f.First, f.Last, f.Resolved = key, fromMillis(first), fromMillis(last), fromMillis(resolved)
		out = append(out, f)
		return err
	}, limit)
	return out, err
}
