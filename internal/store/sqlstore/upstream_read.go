package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// versionJSON is what is only carried of the state of a version.
type versionJSON struct {
	Chart   string   `json:"chart,omitempty"` // where its column has the bounded form
	Version string   `json:"version,omitempty"`
	Digests []string `json:"digests"`
	// Created is exact, since another fraction of a second would be taken for
	// a time that was rewritten; and it may be of any year.
	Created      *[2]int64 `json:"created,omitempty"` // seconds since 1970, nanoseconds
	Fault        string    `json:"fault,omitempty"`
	Bare         bool      `json:"bare,omitempty"`
	Gone         bool      `json:"gone,omitempty"`
	AppVersion   string    `json:"app_version,omitempty"`
	Deprecated   bool      `json:"deprecated,omitempty"`
	URL          string    `json:"url,omitempty"`
	Archive      string    `json:"archive,omitempty"`
	Content      string    `json:"content,omitempty"`
	ArchiveError string    `json:"archive_error,omitempty"`

	Earlier []watch.Bytes `json:"earlier,omitempty"`
	Served  watch.Served  `json:"served,omitzero"`
}

// appendVersion adds the values of versionColumns.
func appendVersion(values []any, source int64, v *watch.VersionState) ([]any, error) {
	carried := versionJSON{
		Digests: v.Digests, Fault: v.Fault, Bare: v.Bare, Gone: v.Gone, AppVersion: v.AppVersion, Deprecated: v.Deprecated, URL: v.URL,
		Archive: v.Archive, Content: v.Content, ArchiveError: v.ArchiveError, Earlier: v.Earlier, Served: v.Served,
	}
	chart, version := tlog.BoundedName(v.Chart), tlog.BoundedName(v.Version)
	if chart != v.Chart {
		carried.Chart = v.Chart
	}
	if version != v.Version {
		carried.Version = v.Version
	}
	if !v.Created.IsZero() {
		carried.Created = &[2]int64{v.Created.Unix(), int64(v.Created.Nanosecond())}
	}
	text, err := jsonText(&carried)
	return append(values, source, chart, version, millis(v.FirstSeen), v.LogIndex, millis(v.LastChange), v.Fingerprint, text), err
}

const selectVersion = "SELECT v.source, v.chart, v.version, v.first_seen, v.log_index, v.last_change, v.fingerprint, v.version_json FROM upstream_version v"

func scanVersion(row scanner, more ...any) (watch.VersionState, error) {
	var v watch.VersionState
	var firstSeen, lastChange int64
	var text []byte
	if err := row.Scan(append([]any{&v.SourceID, &v.Chart, &v.Version, &firstSeen, &v.LogIndex, &lastChange, &v.Fingerprint, &text}, more...)...); err != nil {
		return v, err
	}
	var c versionJSON
	if err := json.Unmarshal(text, &c); err != nil {
		return v, err
	}
	if c.Chart == "" {
		c.Chart = v.Chart
	}
	if c.Version == "" {
		c.Version = v.Version
	}
	v.Known = upstream.Known{Chart: c.Chart, Version: c.Version, Digests: c.Digests, Fault: c.Fault, Bare: c.Bare, Gone: c.Gone}
	if c.Created != nil {
		v.Created = time.Unix(c.Created[0], c.Created[1]).UTC()
	}
	v.FirstSeen, v.LastChange = fromMillis(firstSeen), fromMillis(lastChange)
	v.AppVersion, v.Deprecated, v.URL, v.Archive, v.Content, v.ArchiveError = c.AppVersion, c.Deprecated, c.URL, c.Archive, c.Content, c.ArchiveError
	v.Earlier, v.Served = c.Earlier, c.Served
	return v, nil
}

// VersionStates implements watch.Upstreams. Cost: one range of the primary
// key, 11 µs a version: 1.1 s for 100,000, and one row in memory. each may ask
// the store for more, and should not take long: until it is through, SQLite's
// journal only grows.
func (s *Store) VersionStates(ctx context.Context, sourceID int64, each func(watch.VersionState) error) error {
	return s.query(ctx, selectVersion+" WHERE v.source = ?", func(r scanner) error {
		v, err := scanVersion(r)
		if err != nil {
			return err
		}
		return each(v)
	}, sourceID)
}

// Versions implements watch.Upstreams. Cost: a range of the primary key for
// each source of the upstream.
func (s *Store) Versions(ctx context.Context, upstreamID int64, chart string) ([]watch.VersionState, error) {
	query, args := selectVersion+" JOIN source s ON s.id = v.source WHERE s.upstream = ?", []any{upstreamID}
	if chart != "" {
		query += " AND v.chart = ?"
		args = append(args, tlog.BoundedName(chart))
	}
	var out []watch.VersionState
	err := s.query(ctx, query, func(r scanner) error {
		v, err := scanVersion(r)
		out = append(out, v)
		return err
	}, args...)
	return out, err
}

// Notes implements watch.Upstreams. Newest is what was published last, or
// first seen where the source says no time. Cost: limit rows of an index; with
// a version, the notes of its chart until limit of them match.
func (s *Store) Notes(ctx context.Context, upstreamID int64, chart, version string, limit int) ([]watch.Note, error) {
	query, args := "SELECT source, first_seen, note_json FROM note WHERE upstream = ?", []any{upstreamID}
	if chart != "" {
		query += " AND chart = ?"
		args = append(args, tlog.BoundedName(chart))
	}
	if version != "" {
		query += " AND version = ?"
		args = append(args, tlog.BoundedName(version))
	}
	var out []watch.Note
	err := s.query(ctx, query+" ORDER BY time DESC, key DESC LIMIT ?", func(r scanner) error {
		var n watch.Note
		var source, firstSeen int64
		var text []byte
		if err := r.Scan(&source, &firstSeen, &text); err != nil {
			return err
		}
		err := json.Unmarshal(text, &n)
		n.SourceID, n.FirstSeen = source, fromMillis(firstSeen)
		out = append(out, n)
		return err
	}, append(args, limit)...)
	return out, err
}

// KeepFingerprint implements watch.Upstreams. An empty fingerprint, of a
// release that has none, moves FingerprintedTo alone. Two rows by key.
func (s *Store) KeepFingerprint(ctx context.Context, fingerprint string, r watch.OwnRelease) error {
	if r.Project == "" {
		return problem.New(problem.Invalid, "fingerprint", "only a release of ours has a fingerprint to be kept")
	}
	return s.write(ctx, true, func(b *batch) error {
		if fingerprint != "" {
			if _, err := b.w.exec(b.ctx, "INSERT INTO fingerprint (fingerprint, project, chart, version, archive) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
				fingerprint, r.Project, r.Chart, r.Version, r.Archive); err != nil {
				return err
			}
		}
		return b.reach("fingerprinted", r.LogIndex)
	})
}

// FingerprintedTo implements watch.Upstreams.
func (s *Store) FingerprintedTo(ctx context.Context) (int64, error) {
	var index int64
	err := s.queryRow(ctx, "SELECT value FROM reached WHERE name = 'fingerprinted'").Scan(&index)
	if notFound(err) {
		return -1, nil
	}
	return index, fault("read fingerprints", err)
}

// reach notes how far a reader has come. It never goes back.
func (b *batch) reach(name string, value int64) error {
	_, err := b.w.exec(b.ctx, "INSERT INTO reached (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE reached.value < excluded.value", name, value)
	return err
}
