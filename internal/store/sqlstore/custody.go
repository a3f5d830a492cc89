package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

var _ custody.Database = (*Store)(nil)

// Freeze refuses every write from now on with a problem, until the store is
// opened anew. The first reason stays.
func (s *Store) Freeze(reason *problem.Error) {
	if s.frozen.CompareAndSwap(nil, reason) && s.frozenC != nil { // nil: it is open to be read alone
		close(s.frozenC)
	}
}

// ReadOnly is the reason for which the store takes no writes, or nil.
func (s *Store) ReadOnly() *problem.Error { return s.frozen.Load() }

// contradicted freezes the store because somebody, who is no record, has signed
// what the database does not continue. The first standing stays.
func (s *Store) contradicted(st custody.Standing, reason *problem.Error) error {
	s.contrary.CompareAndSwap(nil, &st)
	s.Freeze(reason)
	return s.refuse()
}

// Contradicted is how a log stands to what its signer has signed, or this
// process itself, when the store was frozen for that; else nil. Kept has no root
// where only its size is known.
func (s *Store) Contradicted() *custody.Standing { return s.contrary.Load() }

// Frozen is closed when the store stops taking writes.
func (s *Store) Frozen() <-chan struct{} { return s.frozenC }

// refuse is the error that a write gets while the store is read-only.
func (s *Store) refuse() error {
	if reason := s.frozen.Load(); reason != nil {
		return reason
	}
	return nil
}

func logOf(log custody.Log) int {
	if log == custody.Audits {
		return auditLog
	}
	return releaseLog
}

// LogHead implements custody.Database. One look-up by key.
func (s *Store) LogHead(ctx context.Context, log custody.Log) (tlog.Checkpoint, error) {
	var size int64
	var root, text []byte
	if err := s.queryRow(ctx, "SELECT size, root, checkpoint FROM head WHERE log = ?", logOf(log)).Scan(&size, &root, &text); err != nil {
		return tlog.Checkpoint{}, fault("read log head", err)
	}
	if s.remote(logOf(log)) {
		return signedPart(s.config.Origin, size, tlog.Hash(root), text)
	}
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		return tlog.Checkpoint{}, fmt.Errorf("read log head: %w", err)
	}
	if cp.Size != size || string(cp.Root[:]) != string(root) {
		return tlog.Checkpoint{}, problem.New(problem.Disproven, "log-head", "the head of log %q is not the one that was signed", cp.Origin).
			With("signed", "%d leaves, root %x", cp.Size, cp.Root).With("stored", "%d leaves, root %x", size, root)
	}
	return cp, nil
}

// LogSize implements custody.Database. One look-up by key.
func (s *Store) LogSize(ctx context.Context, log custody.Log) (int64, error) {
	var size int64
	err := s.queryRow(ctx, "SELECT size FROM head WHERE log = ?", logOf(log)).Scan(&size)
	return size, fault("read log head", err)
}

// LogEdge implements custody.Database.
func (s *Store) LogEdge(ctx context.Context, log custody.Log, size int64) (*tlog.Edge, error) {
	return s.edgeAt(ctx, logOf(log), size)
}

// LogLeaves implements custody.Database. Cost: a range of to-from rows.
func (s *Store) LogLeaves(ctx context.Context, log custody.Log, from, to int64) ([][]byte, error) {
	out := make([][]byte, 0, max(to-from, 0))
	err := s.query(ctx, "SELECT entry FROM leaf WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx", func(r scanner) error {
		var b []byte
		err := r.Scan(&b)
		out = append(out, b)
		return err
	}, logOf(log), from, to)
	if err == nil && int64(len(out)) != to-from {
		err = s.hole(logOf(log), 0, from, to)
	}
	return out, err
}

// Beside implements custody.Database.
func (s *Store) Beside(ctx context.Context, log custody.Log, from int64, leaves [][]byte) ([]custody.Aside, error) {
	var out []custody.Aside
	for i, entry := range leaves {
		a := custody.Aside{Index: from + int64(i)}
		var err error
		if log == custody.Releases {
			err = s.besideLeaf(ctx, &a, entry)
		} else {
			err = s.besideEvent(ctx, &a, entry)
		}
		if err != nil {
			return nil, fmt.Errorf("read what leaf %d of the %s log leaves out: %w", a.Index, log, err)
		}
		if !a.Empty() {
			out = append(out, a)
		}
	}
	return out, nil
}

func (s *Store) besideLeaf(ctx context.Context, a *custody.Aside, entry []byte) error {
	leaf, err := tlog.ParseLeaf(entry)
	if err != nil {
		return nil // of a newer version: nothing is known of it
	}
	switch l := leaf.(type) {
	case tlog.Release:
		return s.besideRelease(ctx, a, &l)
	case tlog.Legacy:
		return s.besideRelease(ctx, a, &l.Release)
	case tlog.Attach:
		var state string
		if err := s.queryRow(ctx, "SELECT state FROM release WHERE id = ?", l.Index).Scan(&state); err != nil {
			return passMissing(err)
		}
		staged := release.State(state) == release.Staged
		a.Staged = &staged
		return s.besideBlob(ctx, a, l.Digest)
	case tlog.Tombstone:
		a.Forget = []int64{l.Index}
		var late int64
		err := s.queryRow(ctx, "SELECT idx FROM late_provenance WHERE release = ?", l.Index).Scan(&late)
		if err == nil {
			a.Forget = append(a.Forget, late)
		}
		return passMissing(err)
	case tlog.Project:
		return s.besideProject(ctx, a, l.Name, l.Policy)
	case tlog.Policy:
		return s.besideProject(ctx, a, l.Project, l.After)
	}
	return nil
}

// passMissing lets pass that a row is not there: what a row that went takes
// with it is not kept.
func passMissing(err error) error {
	if notFound(err) {
		return nil
	}
	return err
}

func (s *Store) besideRelease(ctx context.Context, a *custody.Aside, l *tlog.Release) error {
	var state string
	var fragment []byte
	err := s.queryRow(ctx, "SELECT door, publisher, state, fragment FROM release WHERE id = ?", a.Index).Scan(&a.Door, &a.Publisher, &state, &fragment)
	if err != nil {
		return passMissing(err)
	}
	var said struct{ Created string }
	if len(fragment) > 0 && json.Unmarshal(fragment, &said) == nil {
		a.Created = said.Created
	}
	staged := release.State(state) == release.Staged
	a.Staged = &staged
	repository := l.Project + "/" + l.Chart
	if err := s.besideManifest(ctx, a, repository, l.Manifest); err != nil {
		return err
	}
	for _, d := range []string{l.Config, l.Provenance} {
		if err := s.besideBlob(ctx, a, d); err != nil {
			return err
		}
	}
	return nil
}

// besideManifest adds a manifest and the links of the blobs that it names.
func (s *Store) besideManifest(ctx context.Context, a *custody.Aside, repository, d string) error {
	var m custody.Manifest
	var annotations string
	err := s.queryRow(ctx, "SELECT o.name, m.digest, m.media_type, m.artifact_type, m.subject, m.annotations, m.bytes FROM repository o JOIN manifest m ON m.repository = o.id WHERE o.name = ? AND m.digest = ?",
		repository, d).Scan(&m.Repository, &m.Digest, &m.MediaType, &m.ArtifactType, &m.Subject, &annotations, &m.Bytes)
	if err != nil {
		return passMissing(err)
	}
	if annotations != "" {
		m.Annotations = []byte(annotations)
	}
	a.Manifests = append(a.Manifests, m)
	for _, named := range release.ManifestBlobs(m.Bytes) {
		l, small := custody.Link{Digest: named}, int64(0)
		err := s.queryRow(ctx, "SELECT l.size, l.small FROM link l JOIN repository o ON o.id = l.repository WHERE o.name = ? AND l.digest = ?", repository, named).Scan(&l.Size, &small)
		if notFound(err) {
			continue
		}
		if err != nil {
			return fault("read link", err)
		}
		l.Small = small != 0
		a.Links = append(a.Links, l)
	}
	return nil
}

// besideBlob adds a small blob, if it lies in the database.
func (s *Store) besideBlob(ctx context.Context, a *custody.Aside, d string) error {
	if d == "" || digest.Check(d) != nil {
		return nil
	}
	var b []byte
	err := s.queryRow(ctx, "SELECT bytes FROM blob WHERE digest = ?", d).Scan(&b)
	if err == nil {
		a.Blobs = append(a.Blobs, custody.Blob{Digest: d, Bytes: b})
	}
	return passMissing(err)
}

// besideProject adds the policy of a project that a leaf names by its digest.
func (s *Store) besideProject(ctx context.Context, a *custody.Aside, name, policyDigest string) error {
	var id int64
	err := s.queryRow(ctx, "SELECT id, artifacthub FROM project WHERE name = ?", name).Scan(&id, &a.ArtifactHub)
	if err != nil {
		return passMissing(err)
	}
	var text string
	err = s.queryRow(ctx, "SELECT document FROM policy_document WHERE digest = ? AND project = ?", policyDigest, id).Scan(&text)
	if err == nil {
		a.Policy = []byte(text)
	}
	return passMissing(err)
}

// besideEvent adds the manifest that an event tells of, if it is still there.
// Manifests that are no release's have no leaf in the release log.
func (s *Store) besideEvent(ctx context.Context, a *custody.Aside, entry []byte) error {
	ev, err := audit.Decode(entry)
	if err != nil || !custody.Pushed(ev.Name) || ev.Outcome.Result != audit.Allowed || ev.Resource.Project == "" {
		return nil
	}
	repository := ev.Resource.Project
	if ev.Resource.Chart != "" {
		repository += "/" + ev.Resource.Chart
	}
	if err := s.besideManifest(ctx, a, repository, ev.Resource.Digest); err != nil {
		return err
	}
	for _, l := range a.Links {
		if l.Small {
			if err := s.besideBlob(ctx, a, l.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// keptMark is the row of table meta that says that records were kept.
const keptMark = "records"

// KeptBefore implements custody.Database. One look-up by key.
func (s *Store) KeptBefore(ctx context.Context) (bool, error) {
	var mark string
	err := s.queryRow(ctx, "SELECT value FROM meta WHERE key = ?", keptMark).Scan(&mark)
	if notFound(err) {
		return false, nil
	}
	return err == nil, fault("read meta", err)
}

// SetKept implements custody.Database. One row by key.
func (s *Store) SetKept(ctx context.Context) error {
	return s.write(ctx, false, func(b *batch) error {
		_, err := b.w.exec(b.ctx, "INSERT INTO meta (key, value) VALUES (?, 'kept') ON CONFLICT DO NOTHING", keptMark)
		return err
	})
}

// Untold implements custody.Database. Cost: all notices that were ever told.
func (s *Store) Untold(ctx context.Context, names []string) ([]string, error) {
	told := map[string]bool{}
	err := s.query(ctx, "SELECT name FROM notice", func(r scanner) error {
		var name string
		err := r.Scan(&name)
		told[name] = true
		return err
	})
	var out []string
	for _, name := range names {
		if !told[name] {
			out = append(out, name)
		}
	}
	return out, err
}

// Tell implements custody.Database. One row by key, and the event.
func (s *Store) Tell(ctx context.Context, name string, ev audit.Event) error {
	return s.write(ctx, true, func(b *batch) error {
		n, err := b.w.exec(b.ctx, "INSERT INTO notice (name, idx) VALUES (?, ?) ON CONFLICT DO NOTHING", name, b.next(auditLog))
		if err != nil || n == 0 {
			return err
		}
		return b.record(ev)
	})
}
