package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var _ upgrade.Store = (*Store)(nil)

// inputs is the number of upgrade.Feeds.Inputs.
const inputs = "inputs"

// CreateFeed implements upgrade.Feeds. It names the audit event
// audit.FeedAdded.
func (s *Store) CreateFeed(ctx context.Context, f upgrade.Feed, ev audit.Event, now time.Time) (upgrade.Feed, error) {
	var out upgrade.Feed
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Feed{}, nil
		text, err := feedText(&f)
		if err != nil {
			return err
		}
		var due time.Time
		if f.URL != "" {
			due = now
		}
		var id int64
		err = b.w.row(b.ctx, "INSERT INTO feed (name, feed_json, health_json, validators_json, created, created_by, current, due, asked, lease, lease_end) "+
			"VALUES (?, ?, '{}', '{}', ?, ?, 0, ?, 0, 0, 0) ON CONFLICT DO NOTHING RETURNING id", f.Name, text, millis(now), f.CreatedBy, millis(due)).Scan(&id)
		if notFound(err) {
			refusal = problem.New(problem.Conflict, "feed-exists", "there is a feed %s already", f.Name)
			return nil
		}
		if err == nil {
			out, err = b.feed(f.Name)
		}
		if err == nil {
			err = b.count(inputs)
		}
		if err != nil {
			return err
		}
		return b.recordChange(ev, now, audit.FeedAdded, "feed", f.Name)
	})
	if err != nil {
		return upgrade.Feed{}, err
	}
	return out, refusal
}

// feedText is what is only carried of a feed, without its state.
func feedText(f *upgrade.Feed) (string, error) {
	return jsonText(upgrade.Feed{Kind: f.Kind, URL: f.URL, Credential: f.Credential, Interval: f.Interval, StaleAfter: f.StaleAfter})
}

const selectFeed = "SELECT f.id, f.name, f.feed_json, f.health_json, f.validators_json, f.created, f.created_by, f.due, COALESCE(s.id, 0), COALESCE(s.snapshot_json, '') " +
	"FROM feed f LEFT JOIN snapshot s ON s.id = f.current"

func scanFeed(row scanner) (f upgrade.Feed, err error) {
	var id, created, due, current int64
	var name, text, health, validators, by, snapshot string
	if err := row.Scan(&id, &name, &text, &health, &validators, &created, &by, &due, &current, &snapshot); err != nil {
		return f, err
	}
	for _, part := range []struct {
		text string
		into any
	}{{text, &f}, {health, &f.Health}, {validators, &f.Validators}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return f, err
		}
	}
	f.ID, f.Name, f.Created, f.CreatedBy, f.Health.NextTry = id, name, fromMillis(created), by, fromMillis(due)
	if current != 0 {
		f.Current = &advisory.Snapshot{}
		err = json.Unmarshal([]byte(snapshot), f.Current)
		f.Current.ID = current
	}
	return f, err
}

// feed reads a feed inside a batch.
func (b *batch) feed(name string) (upgrade.Feed, error) {
	return scanFeed(b.w.row(b.ctx, selectFeed+" WHERE f.name = ?", name))
}

func noFeed(name string) error {
	return problem.New(problem.NotFound, "feed", "there is no feed %s", name)
}

// UpdateFeed implements upgrade.Feeds. It names the audit event audit.FeedSet.
// Of what change returns, URL, Credential, Interval and StaleAfter count.
// Another URL or credential makes the feed due at once, without validators; a
// read that is on its way loses its lease. Three rows by key.
func (s *Store) UpdateFeed(ctx context.Context, name string, ev audit.Event, now time.Time, change func(upgrade.Feed) (upgrade.Feed, error)) (upgrade.Feed, error) {
	var out upgrade.Feed
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Feed{}, nil
		old, err := b.feed(name)
		if notFound(err) {
			refusal = noFeed(name)
			return nil
		}
		if err != nil {
			return err
		}
		f, err := change(old)
		if err != nil {
			refusal = err
			return nil
		}
		f.Kind = old.Kind
		if err := b.updateFeed(&old, &f, now); err != nil {
			return err
		}
		if out, err = b.feed(name); err != nil {
			return err
		}
		return b.recordChange(ev, now, audit.FeedSet, "feed", name)
	})
	if err != nil {
		return upgrade.Feed{}, err
	}
	return out, refusal
}

func (b *batch) updateFeed(old, f *upgrade.Feed, now time.Time) error {
	text, err := feedText(f)
	if err != nil {
		return err
	}
	due := old.Health.NextTry
	if next := now.Add(time.Duration(f.Interval)); f.Interval < old.Interval && next.Before(due) {
		due = next
	}
	anew := f.URL != old.URL || f.Credential != old.Credential
	if anew {
		due = now
	}
	if f.URL == "" {
		due = time.Time{}
	}
	if _, err = b.w.exec(b.ctx, "UPDATE feed SET feed_json = ?, due = ? WHERE id = ?", text, millis(due), old.ID); err == nil && anew {
		_, err = b.w.exec(b.ctx, "UPDATE feed SET validators_json = '{}', asked = 0, lease = 0, lease_end = 0 WHERE id = ?", old.ID)
	}
	if err != nil {
		return err
	}
	return b.count(inputs)
}

// RemoveFeed implements upgrade.Feeds. It names the audit event
// audit.FeedRemoved. A feed that is made later under the name has the snapshots
// of this one in its list.
func (s *Store) RemoveFeed(ctx context.Context, name string, ev audit.Event, now time.Time) error {
	return s.remove(ctx, "DELETE FROM feed WHERE name = ?", name, noFeed, func(b *batch) error {
		if err := b.count(inputs); err != nil {
			return err
		}
		return b.recordChange(ev, now, audit.FeedRemoved, "feed", name)
	})
}

// remove deletes the one row that has a name, or refuses with what none says.
func (s *Store) remove(ctx context.Context, statement, name string, none func(string) error, then func(*batch) error) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		n, err := b.w.exec(b.ctx, statement, name)
		if err != nil {
			return err
		}
		if n == 0 {
			refusal = none(name)
			return nil
		}
		return then(b)
	})
	if err != nil {
		return err
	}
	return refusal
}

// Feeds implements upgrade.Feeds. Cost: all feeds, of which there are dozens.
func (s *Store) Feeds(ctx context.Context) ([]upgrade.Feed, error) {
	var out []upgrade.Feed
	err := s.query(ctx, selectFeed+" ORDER BY f.name", func(r scanner) error {
		f, err := scanFeed(r)
		out = append(out, f)
		return err
	})
	return out, err
}

// FeedNow implements upgrade.Feeds. A feed that is being read is read once more
// when that ends. Invalid for one without a URL.
func (s *Store) FeedNow(ctx context.Context, name string, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		f, err := b.feed(name)
		if notFound(err) {
			refusal = noFeed(name)
			return nil
		}
		if err == nil && f.URL == "" {
			refusal = problem.New(problem.Invalid, "feed-url", "feed %s has no URL: it is imported by hand", name)
			return nil
		}
		if err == nil {
			_, err = b.w.exec(b.ctx, "UPDATE feed SET asked = 1, due = CASE WHEN due > ? THEN ? ELSE due END WHERE id = ?", millis(now), millis(now), f.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

// LeaseFeeds implements upgrade.Feeds, the longest due first. Leases are given
// under the lock of the logs' heads, so no two processes get the same.
//
// Cost: one look-up while nothing is due; else a range of the index over due
// times.
func (s *Store) LeaseFeeds(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]upgrade.FeedLease, error) {
	var any int64
	err := s.queryRow(ctx, "SELECT id FROM feed WHERE due > 0 AND due <= ? AND lease_end <= ? ORDER BY due LIMIT 1", millis(now), millis(now)).Scan(&any)
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault("look for due feeds", err)
	}
	var out []upgrade.FeedLease
	until := fromMillis(millis(now.Add(hold)))
	err = s.write(ctx, true, func(b *batch) error {
		out = nil
		err := b.each(selectFeed+" WHERE f.due > 0 AND f.due <= ? AND f.lease_end <= ? ORDER BY f.due, f.id LIMIT ?", func(r scanner) error {
			f, err := scanFeed(r)
			out = append(out, upgrade.FeedLease{Feed: f, Token: leaseNumber(), Until: until})
			return err
		}, millis(now), millis(now), limit)
		if err != nil {
			return err
		}
		for i := range out {
			if _, err := b.w.exec(b.ctx, "UPDATE feed SET lease = ?, lease_end = ?, asked = 0 WHERE id = ?", out[i].Token, millis(until), out[i].Feed.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RecordFeed implements upgrade.Feeds. It names the audit event
// audit.FeedImported. With a lease the feed is due again at h.NextTry, or one
// interval later when that is zero, and the lease ends; one that ran out counts
// as held until somebody else takes it. Without a lease the schedule stays as
// it is. A few rows by key.
func (s *Store) RecordFeed(ctx context.Context, name string, lease int64, h upgrade.FeedHealth, v watch.Validators, snap *advisory.Snapshot, ev *audit.Event, now time.Time) (upgrade.Feed, error) {
	var out upgrade.Feed
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = upgrade.Feed{}, nil
		query, args := selectFeed+" WHERE f.name = ?", []any{name}
		if lease != 0 {
			query, args = query+" AND f.lease = ?", append(args, lease)
		}
		f, err := scanFeed(b.w.row(b.ctx, query, args...))
		if notFound(err) {
			if refusal = noFeed(name); lease != 0 {
				refusal = problem.New(problem.Conflict, "lease", "another process reads feed %s now, or it was changed or removed; nothing was recorded", name)
			}
			return nil
		}
		if err == nil {
			err = b.recordFeed(&f, lease != 0, h, v, snap, now)
		}
		if err == nil && ev != nil {
			err = b.recordChange(*ev, now, audit.FeedImported, "feed", name)
		}
		if err == nil {
			out, err = b.feed(name)
		}
		return err
	})
	if err != nil {
		return upgrade.Feed{}, err
	}
	return out, refusal
}

func (b *batch) recordFeed(f *upgrade.Feed, leased bool, h upgrade.FeedHealth, v watch.Validators, snap *advisory.Snapshot, now time.Time) error {
	health, err := jsonText(h)
	if err != nil {
		return err
	}
	validators, err := jsonText(v)
	if err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE feed SET health_json = ?, validators_json = ? WHERE id = ?", health, validators, f.ID); err != nil {
		return err
	}
	if leased {
		next := h.NextTry
		if next.IsZero() {
			next = now.Add(time.Duration(f.Interval))
		}
		if _, err := b.w.exec(b.ctx, "UPDATE feed SET due = CASE WHEN asked = 1 THEN due ELSE ? END, lease = 0, lease_end = 0 WHERE id = ?", millis(next), f.ID); err != nil {
			return err
		}
	}
	if snap == nil || f.Current != nil && f.Current.Digest == snap.Digest {
		return nil
	}
	made := *snap
	made.ID, made.Feed = 0, f.Name
	text, err := jsonText(made)
	if err != nil {
		return err
	}
	var id int64
	err = b.w.row(b.ctx, "INSERT INTO snapshot (feed, digest, taken, snapshot_json) VALUES (?, ?, ?, ?) RETURNING id", f.Name, snap.Digest, millis(snap.Taken), text).Scan(&id)
	if err == nil {
		_, err = b.w.exec(b.ctx, "UPDATE feed SET current = ? WHERE id = ?", id, f.ID)
	}
	if err != nil {
		return err
	}
	return b.count(inputs)
}

// Snapshots implements upgrade.Feeds. Those of a feed that was removed are
// there still. NotFound where there is neither. Cost: an index range of limit
// rows.
func (s *Store) Snapshots(ctx context.Context, feed string, limit int) ([]advisory.Snapshot, error) {
	var out []advisory.Snapshot
	err := s.query(ctx, "SELECT id, snapshot_json FROM snapshot WHERE feed = ? ORDER BY id DESC LIMIT ?", func(r scanner) error {
		var snap advisory.Snapshot
		var id int64
		var text string
		err := r.Scan(&id, &text)
		if err == nil {
			err = json.Unmarshal([]byte(text), &snap)
		}
		snap.ID = id
		out = append(out, snap)
		return err
	}, feed, limit)
	if err != nil || len(out) > 0 {
		return out, err
	}
	var any int64
	err = s.queryRow(ctx, "SELECT id FROM feed WHERE name = ?", feed).Scan(&any)
	if notFound(err) {
		return nil, noFeed(feed)
	}
	return nil, fault("read feed", err)
}

// Inputs implements upgrade.Feeds. It also rises when a feed is added, set or
// removed.
func (s *Store) Inputs(ctx context.Context) (int64, error) {
	var n int64
	err := s.queryRow(ctx, "SELECT value FROM counter WHERE name = 'inputs'").Scan(&n)
	if notFound(err) {
		return 0, nil
	}
	return n, fault("read inputs", err)
}
