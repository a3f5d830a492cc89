package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// CreateUpstream implements watch.Upstreams. It names the audit event
// audit.UpstreamAdded. Invalid for a source that is listed twice.
func (s *Store) CreateUpstream(ctx context.Context, u watch.Upstream, ev audit.Event, now time.Time) (watch.Upstream, error) {
	var out watch.Upstream
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = watch.Upstream{}, nil
		if refusal = listedTwice(u.Sources); refusal != nil {
			return nil
		}
		made := u
		made.Created = fromMillis(millis(now))
		text, err := upstreamText(&made)
		if err != nil {
			return err
		}
		err = b.w.row(b.ctx, "INSERT INTO upstream (name, upstream_json, created, created_by) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
			made.Name, text, millis(now), made.CreatedBy).Scan(&made.ID)
		if notFound(err) {
			refusal = problem.New(problem.Conflict, "upstream-exists", "there is an upstream %s already", u.Name).Suggest("chartkeep upstream show %s", u.Name)
			return nil
		}
		if err != nil {
			return err
		}
		made.Sources = make([]watch.Source, len(u.Sources))
		for i, src := range u.Sources {
			if made.Sources[i], err = b.insertSource(&made, src, now); err != nil {
				return err
			}
		}
		out = made
		return b.recordChange(ev, now, audit.UpstreamAdded, "upstream", u.Name)
	})
	if err != nil {
		return watch.Upstream{}, err
	}
	return out, refusal
}

// recordChange records an audit event that is about something that has no
// place in its resource.
func (b *batch) recordChange(ev audit.Event, now time.Time, name audit.Name, what, which string) error {
	ev.Name, ev.Outcome = name, allowed
	if ev.Time.IsZero() {
		ev.Time = now
	}
	ev.Detail = maps.Clone(ev.Detail)
	if ev.Detail == nil {
		ev.Detail = map[string]string{}
	}
	ev.Detail[what] = which
	return b.record(ev)
}

func listedTwice(sources []watch.Source) error {
	seen := map[sourceName]bool{}
	for i := range sources {
		name := nameOfSource(&sources[i])
		if seen[name] {
			return problem.New(problem.Invalid, "source-twice", "the source %s is listed twice", name.url)
		}
		seen[name] = true
	}
	return nil
}

// sourceName is what a source is known by within its upstream.
type sourceName struct {
	kind watch.SourceKind
	url  string
}

func nameOfSource(src *watch.Source) sourceName { return sourceName{src.Kind, src.URL} }

func (b *batch) insertSource(u *watch.Upstream, src watch.Source, now time.Time) (watch.Source, error) {
	src = watch.Source{
		UpstreamID: u.ID, Upstream: u.Name, Kind: src.Kind, URL: src.URL, Credential: src.Credential, Chart: src.Chart, Interval: src.Interval,
		Health: watch.Health{NextPoll: fromMillis(millis(now))},
	}
	text, err := sourceText(&src)
	if err != nil {
		return src, err
	}
	err = b.w.row(b.ctx, "INSERT INTO source (upstream, source_json, health_json, validators_json, due, asked, lease, lease_end) VALUES (?, ?, '{}', '{}', ?, 0, 0, 0) RETURNING id",
		u.ID, text, millis(now)).Scan(&src.ID)
	return src, err
}

// UpdateUpstream implements watch.Upstreams. It names the audit event
// audit.UpstreamSet.
//
// What was changed of what is watched (Charts, Keep, Mirror, the Credential or
// Chart of a source) makes the sources concerned due at once, without
// validators, since a server that answers "nothing new" would hide what was
// not wanted before; a poll that is on its way loses its lease.
// Cost: the upstream's sources, and the versions of those that are gone: 0.3 s
// for 100,000.
func (s *Store) UpdateUpstream(ctx context.Context, name string, ev audit.Event, now time.Time, change func(watch.Upstream) (watch.Upstream, error)) (watch.Upstream, error) {
	var out watch.Upstream
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = watch.Upstream{}, nil
		old, err := b.upstream(name)
		if notFound(err) {
			refusal = noUpstream(name)
			return nil
		}
		if err != nil {
			return err
		}
		seen := old
		seen.Sources = slices.Clone(old.Sources)
		u, err := change(seen)
		if err == nil {
			err = listedTwice(u.Sources)
		}
		if err != nil {
			refusal = err
			return nil
		}
		u.ID, u.Name, u.Created, u.CreatedBy = old.ID, old.Name, old.Created, old.CreatedBy
		if out, err = b.updateUpstream(&old, u, now); err != nil {
			return err
		}
		return b.recordChange(ev, now, audit.UpstreamSet, "upstream", name)
	})
	if err != nil {
		return watch.Upstream{}, err
	}
	return out, refusal
}

func (b *batch) updateUpstream(old *watch.Upstream, u watch.Upstream, now time.Time) (watch.Upstream, error) {
	text, err := upstreamText(&u)
	if err != nil {
		return u, err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE upstream SET upstream_json = ? WHERE id = ?", text, u.ID); err != nil {
		return u, err
	}
	anew := u.Keep != old.Keep || !reflect.DeepEqual(u.Charts, old.Charts) || !reflect.DeepEqual(u.Mirror, old.Mirror)
	had := map[sourceName]watch.Source{}
	for i := range old.Sources {
		had[nameOfSource(&old.Sources[i])] = old.Sources[i]
	}
	sources := make([]watch.Source, len(u.Sources))
	for i, src := range u.Sources {
		name := nameOfSource(&src)
		was, stays := had[name]
		delete(had, name)
		if stays {
			sources[i], err = b.updateSource(was, &src, anew, now)
		} else {
			sources[i], err = b.insertSource(&u, src, now)
		}
		if err != nil {
			return u, err
		}
	}
	for i := range old.Sources {
		if gone, ok := had[nameOfSource(&old.Sources[i])]; ok {
			if err := b.deleteSource(gone.ID); err != nil {
				return u, err
			}
		}
	}
	slices.SortFunc(sources, func(a, b watch.Source) int { return cmp.Compare(a.ID, b.ID) }) // as they are read
	u.Sources = sources
	return u, nil
}

// updateSource gives a source that stays its new settings.
func (b *batch) updateSource(src watch.Source, to *watch.Source, anew bool, now time.Time) (watch.Source, error) {
	anew = anew || src.Credential != to.Credential || src.Chart != to.Chart
	due := src.Health.NextPoll
	if next := fromMillis(millis(now.Add(time.Duration(to.Interval)))); to.Interval < src.Interval && next.Before(due) {
		due = next
	}
	src.Credential, src.Chart, src.Interval, src.Health.NextPoll = to.Credential, to.Chart, to.Interval, due
	text, err := sourceText(&src)
	if err != nil {
		return src, err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE source SET source_json = ?, due = ? WHERE id = ?", text, millis(due), src.ID); err != nil {
		return src, err
	}
	if anew {
		src.Validators, src.Health.NextPoll = watch.Validators{}, fromMillis(millis(now))
		src.Health.HeldUntil = time.Time{}
		_, err = b.w.exec(b.ctx, "UPDATE source SET validators_json = '{}', due = ?, lease = 0, lease_end = 0 WHERE id = ?", millis(now), src.ID)
	}
	return src, err
}

// deleteSource forgets a source with what it showed. Cost: its rows.
func (b *batch) deleteSource(id int64) error {
	for _, statement := range []string{"DELETE FROM upstream_version WHERE source = ?", "DELETE FROM note WHERE source = ?", "DELETE FROM source WHERE id = ?"} {
		if _, err := b.w.exec(b.ctx, statement, id); err != nil {
			return err
		}
	}
	return nil
}

// RemoveUpstream implements watch.Upstreams. It names the audit event
// audit.UpstreamRemoved. Cost: its versions and notes, 0.3 s for 100,000, in
// which nobody else writes; at a million versions that is 3 s.
func (s *Store) RemoveUpstream(ctx context.Context, name string, ev audit.Event, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		u, err := b.upstream(name)
		if notFound(err) {
			refusal = noUpstream(name)
			return nil
		}
		if err != nil {
			return err
		}
		for i := range u.Sources {
			if err := b.deleteSource(u.Sources[i].ID); err != nil {
				return err
			}
		}
		if _, err := b.w.exec(b.ctx, "DELETE FROM upstream WHERE id = ?", u.ID); err != nil {
			return err
		}
		return b.recordChange(ev, now, audit.UpstreamRemoved, "upstream", name)
	})
	if err != nil {
		return err
	}
	return refusal
}

// PollNow implements watch.Upstreams. A source that is being polled is polled
// once more when that poll ends.
func (s *Store) PollNow(ctx context.Context, name string, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		refusal = nil
		var id int64
		err := b.w.row(b.ctx, "SELECT id FROM upstream WHERE name = ?", name).Scan(&id)
		if notFound(err) {
			refusal = noUpstream(name)
			return nil
		}
		if err == nil {
			_, err = b.w.exec(b.ctx, "UPDATE source SET asked = 1, due = CASE WHEN due > ? THEN ? ELSE due END WHERE upstream = ?", millis(now), millis(now), id)
		}
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

func noUpstream(name string) error {
	return problem.New(problem.NotFound, "upstream", "there is no upstream %s", name).Suggest("chartkeep upstream list")
}

const selectUpstream = "SELECT id, name, upstream_json, created, created_by FROM upstream"

func scanUpstream(row scanner) (u watch.Upstream, err error) {
	var text string
	var created int64
	var id int64
	var name, by string
	if err := row.Scan(&id, &name, &text, &created, &by); err != nil {
		return u, err
	}
	err = json.Unmarshal([]byte(text), &u)
	u.ID, u.Name, u.Created, u.CreatedBy = id, name, fromMillis(created), by
	return u, err
}

const selectSource = "SELECT s.id, s.upstream, u.name, s.source_json, s.health_json, s.validators_json, s.due, s.lease_end FROM source s JOIN upstream u ON u.id = s.upstream"

func scanSource(row scanner, more ...any) (src watch.Source, err error) {
	var id, upstream, due, held int64
	var name, text, health, validators string
	if err := row.Scan(append([]any{&id, &upstream, &name, &text, &health, &validators, &due, &held}, more...)...); err != nil {
		return src, err
	}
	for _, part := range []struct {
		text string
		into any
	}{{text, &src}, {health, &src.Health}, {validators, &src.Validators}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return src, err
		}
	}
	src.ID, src.UpstreamID, src.Upstream, src.Health.NextPoll, src.Health.HeldUntil = id, upstream, name, fromMillis(due), fromMillis(held)
	return src, nil
}

// upstreamText is what is only carried of an upstream.
func upstreamText(u *watch.Upstream) (string, error) {
	return jsonText(watch.Upstream{Charts: u.Charts, Keep: u.Keep, QuietAfter: u.QuietAfter, Mirror: u.Mirror})
}

// sourceText is what is only carried of a source, without its state.
func sourceText(src *watch.Source) (string, error) {
	return jsonText(watch.Source{Kind: src.Kind, URL: src.URL, Credential: src.Credential, Chart: src.Chart, Interval: src.Interval})
}

// jsonText is JSON for a column: PostgreSQL takes neither NUL nor broken UTF-8,
// and an encoder writes the one as an escape and replaces the other.
func jsonText(v any) (string, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return strings.ToValidUTF8(strings.TrimSuffix(out.String(), "\n"), "\ufffd"), nil
}

// each runs fn for every row, inside a transaction. fn must not use the
// transaction itself.
func (b *batch) each(query string, fn func(scanner) error, args ...any) error {
	st, err := b.w.prepare(b.ctx, query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(b.ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// upstream reads an upstream inside a batch.
func (b *batch) upstream(name string) (watch.Upstream, error) {
	u, err := scanUpstream(b.w.row(b.ctx, selectUpstream+" WHERE name = ?", name))
	if err != nil {
		return u, err
	}
	u.Sources = nil
	err = b.each(selectSource+" WHERE s.upstream = ? ORDER BY s.id", func(r scanner) error {
		src, err := scanSource(r)
		u.Sources = append(u.Sources, src)
		return err
	}, u.ID)
	return u, err
}

// Upstream implements watch.Upstreams. Two look-ups by key.
func (s *Store) Upstream(ctx context.Context, name string) (watch.Upstream, error) {
	u, err := scanUpstream(s.queryRow(ctx, selectUpstream+" WHERE name = ?", name))
	if notFound(err) {
		return u, noUpstream(name)
	}
	if err != nil {
		return u, fault("read upstream", err)
	}
	err = s.query(ctx, selectSource+" WHERE s.upstream = ? ORDER BY s.id", func(r scanner) error {
		src, err := scanSource(r)
		u.Sources = append(u.Sources, src)
		return err
	}, u.ID)
	return u, err
}

// Upstreams implements watch.Upstreams.
func (s *Store) Upstreams(ctx context.Context) ([]watch.Upstream, error) {
	sources := map[int64][]watch.Source{}
	err := s.query(ctx, selectSource+" ORDER BY s.id", func(r scanner) error {
		src, err := scanSource(r)
		sources[src.UpstreamID] = append(sources[src.UpstreamID], src)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []watch.Upstream
	err = s.query(ctx, selectUpstream+" ORDER BY name", func(r scanner) error {
		u, err := scanUpstream(r)
		u.Sources = sources[u.ID]
		out = append(out, u)
		return err
	})
	return out, err
}
