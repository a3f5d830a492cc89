package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// claimed is what one run of a claim came to.
type claimed struct {
	batch     *batch
	release   release.Release
	leaf      []byte // set when this claim made the release
	unchanged bool
	refusal   error
	signed    release.Signed
}

// Claim implements release.Ledger.
//
// Cost: one insert that the unique indexes decide, and about ten rows beside
// it, whatever the number of releases; a refused claim reads one release.
func (s *Store) Claim(ctx context.Context, c *release.Claim) (release.ClaimResult, error) {
	var got claimed
	err := s.write(ctx, true, func(b *batch) error {
		got = claimed{batch: b}
		return b.claim(c, &got)
	})
	if err != nil {
		return release.ClaimResult{}, err
	}
	res := release.ClaimResult{Release: got.release, Unchanged: got.unchanged, Signed: got.signed}
	if got.refusal != nil {
		return res, got.refusal
	}
	if got.leaf != nil {
		res.Proof, err = got.batch.prove(got.release.LogIndex, got.leaf)
	} else {
		res.Proof, err = s.Prove(ctx, got.release.LogIndex)
	}
	return res, err
}

func (b *batch) claim(c *release.Claim, got *claimed) error {
	r := c.Release
	p, err := b.project(r.ProjectID)
	if err != nil {
		return err
	}
	if p.State != c.RequireState {
		got.refusal = problem.New(problem.Conflict, "project-state", "project %s is %s now", p.Name, p.State).
			Suggest("chartkeep project show %s", p.Name)
		return b.refuse(c, audit.RefusedValidation, got.refusal, nil)
	}
	signed, refusal := b.admit(c, p, &r)
	if refusal != nil {
		return b.refuseUnsigned(c, got, refusal)
	}
	r.Time = b.time(c.Now)
	r.LogIndex = b.next(releaseLog)
	r.ID = r.LogIndex
	made, err := b.insertRelease(&r, c.Fragment(r.Time), p.generation())
	if err != nil {
		return err
	}
	if !made {
		return b.taken(c, got)
	}
	if c.MustBeHeld {
		return fmt.Errorf("claim %s: the name was held a moment ago and is free now", r.Ref())
	}
	b.change(p)
	if got.leaf, err = marshalRelease(&r, c, p.PolicyDigest); err != nil {
		return err
	}
	if index := b.append(releaseLog, got.leaf); index != r.LogIndex {
		return fmt.Errorf("claim %s: leaf %d where %d was expected", r.Ref(), index, r.LogIndex)
	}
	if err := b.publish(&r, c); err != nil {
		return err
	}
	ev := c.Event
	ev.Name, ev.Outcome = audit.ReleaseAccepted, allowed
	if c.Legacy != nil {
		ev.Name = audit.ReleaseImported
	}
	ev.Resource = resource(&r)
	ev.After = r.Archive
	got.release, got.signed = r, signed
	if err := b.record(ev); err != nil {
		return err
	}
	return b.noteSigned(&r, p, &signed, c.Event)
}

const releaseColumns = "id, project, chart, version, version_key, sort_key, tag, file, archive, size, content, manifest, config, " +
	"publisher, door, time, legacy, fragment, state, generation, provenance"

// insertRelease is the claim itself: the unique indexes let one in. It says
// false when the name is held.
func (b *batch) insertRelease(r *release.Release, fragment []byte, generation int64) (bool, error) {
	insert := func(key any) (bool, error) {
		n, err := b.w.exec(b.ctx, b.store.dialect.abandon("INSERT INTO release ("+releaseColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "+
			"ON CONFLICT DO NOTHING"),
			r.ID, r.ProjectID, r.Chart, r.Version, key, r.SortKey, r.Tag, r.File, r.Archive, r.Size, r.Content, r.Manifest, r.Config,
			r.Publisher, r.Door, millis(r.Time), flag(r.Legacy), fragment, string(r.State), generation, r.Provenance)
		return n == 1, err
	}
	var key any
	if r.Key != "" {
		key = r.Key
	}
	made, err := insert(key)
	if err == nil && !made && r.Legacy && key != nil {
		// History may hold 1.0.0+a beside 1.0.0+b: the second is kept under
		// its file name, and the first keeps the identity.
		made, err = insert(nil)
	}
	return made, err
}

func marshalRelease(r *release.Release, c *release.Claim, policy string) ([]byte, error) {
	leaf := tlog.Release{
		Project: r.Project, Chart: r.Chart, Version: r.Version,
		Archive: r.Archive, Size: r.Size, Content: r.Content, Provenance: r.Provenance,
		Manifest: r.Manifest, Config: r.Config, Publisher: identity(c.Event.Actor),
		Source: c.Source, Policy: policy, Time: r.Time,
	}
	if c.Legacy == nil {
		return leaf.Marshal()
	}
	origin := c.Legacy.URL
	if origin == "" {
		origin = "unknown"
	}
	return tlog.Legacy{Release: leaf, Origin: origin, SeenCreated: c.Legacy.Created, SeenDigest: c.Legacy.Digest}.Marshal()
}

// identity is how an actor stands in a leaf.
func identity(a audit.Actor) tlog.Identity { return release.IdentityOf(a) }

// publish writes the OCI side of a release that was just claimed.
func (b *batch) publish(r *release.Release, c *release.Claim) error {
	repo, err := b.repository(r.ProjectID, r.Repository())
	if err != nil {
		return err
	}
	hidden := 0
	if r.State == release.Staged {
		hidden = 2
	}
	// The tag is free, or the batch fails: in a charts project no tag but a
	// release's looks like a version, and no two versions have one tag.
	b.insert("INSERT INTO tag (repository, name, digest, release, hidden) VALUES", repo, r.Tag, r.Manifest, r.ID, hidden)
	b.insertManifest(repo, &c.Manifest, r.State != release.Staged)
	for _, l := range c.Links {
		b.insert("INSERT INTO link (repository, digest, size, small) VALUES| ON CONFLICT DO NOTHING", repo, l.Digest, l.Size, flag(l.Small))
	}
	b.insertBlob(r.Config, c.Config)
	if c.Prov != nil {
		b.insertBlob(r.Provenance, c.Prov)
	}
	return nil
}

func (b *batch) insertBlob(digest string, bytes []byte) {
	b.insert("INSERT INTO blob (digest, bytes) VALUES| ON CONFLICT DO NOTHING", digest, bytes)
}

func (b *batch) insertManifest(repo int64, m *release.Manifest, visible bool) {
	const into = "INSERT INTO manifest (repository, digest, media_type, artifact_type, subject, annotations, bytes, visible) VALUES| ON CONFLICT DO NOTHING"
	i := b.insert(into, repo, m.Digest, m.MediaType, m.ArtifactType, m.Subject, string(m.Annotations), m.Bytes, flag(visible))
	b.bulk[i].held = b.showManifest
}

// showManifest makes a manifest visible that may have been put by digest
// before. It takes the values of insertManifest.
func (b *batch) showManifest(row []any) error {
	if row[7] == flag(false) {
		return nil
	}
	_, err := b.w.exec(b.ctx, "UPDATE manifest SET visible = 1 WHERE repository = ? AND digest = ? AND visible = 0", row[0], row[1])
	return err
}

// repository returns the id of a repository, making it when it is new. It is
// remembered: a repository is never deleted and never renamed.
func (b *batch) repository(project int64, name string) (int64, error) {
	id, ok := b.store.repositories[name]
	if !ok {
		id, ok = b.repositories[name]
	}
	if ok {
		return id, nil
	}
	id, err := b.findRepository(project, name)
	if err == nil {
		if b.repositories == nil {
			b.repositories = map[string]int64{}
		}
		b.repositories[name] = id
	}
	return id, err
}

func (b *batch) findRepository(project int64, name string) (int64, error) {
	var id int64
	err := b.w.row(b.ctx, "SELECT id FROM repository WHERE name = ?", name).Scan(&id)
	if err == nil || !notFound(err) {
		return id, err
	}
	// Between the look and the insert nobody comes on SQLite; on PostgreSQL
	// the conflict clause waits for whoever does and returns that row.
	err = b.w.row(b.ctx, "INSERT INTO repository (project, name) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
		project, name).Scan(&id)
	return id, err
}

// taken answers a claim whose name is held: the same bytes again, or a
// refusal.
func (b *batch) taken(c *release.Claim, got *claimed) error {
	r := &c.Release
	held, by, err := b.holder(r)
	if err != nil {
		return err
	}
	got.release = held
	ev := c.Event
	if by == heldExactly && (held.State == release.Tombstoned || held.State == release.Quarantined && held.Archive == r.Archive) {
		got.refusal = release.RefusePush(&held, c)
		return b.refuse(c, audit.RefusedWithheld, got.refusal, &held)
	}
	if by == heldExactly && held.Archive == r.Archive {
		refusal := release.SameContent(&held, c)
		if refusal == nil {
			got.unchanged = true
			ev.Name, ev.Outcome, ev.Resource = audit.ReleaseUnchanged, allowed, resource(&held)
			return b.record(ev)
		}
		got.refusal = refusal
		return b.refuse(c, audit.RefusedRepackaged, refusal, &held)
	}
	action := audit.RefusedOverwrite
	switch by {
	case heldByBuild:
		action = audit.RefusedBuildMetadata
		got.refusal = release.RefuseBuildMetadata(&held, c)
	case heldByFile:
		action = audit.RefusedFileName
		got.refusal = release.RefuseFileName(&held, c)
	default:
		got.refusal = release.RefuseOverwrite(&held, c)
	}
	return b.refuse(c, action, got.refusal, &held)
}

// The ways in which a name can be held.
type hold int

const (
	heldExactly hold = iota // the same chart and version
	heldByBuild             // the same chart and version but for build metadata
	heldByFile              // another chart and version that make the same file name
)

// holder reads the release that keeps r from being claimed. Cost: at most
// three look-ups by unique keys.
func (b *batch) holder(r *release.Release) (release.Release, hold, error) {
	held, err := b.releaseWhere("r.project = ? AND r.file = ?", r.ProjectID, r.File)
	switch {
	case err == nil && held.Chart == r.Chart && held.Version == r.Version:
		return held, heldExactly, nil
	case err == nil:
		return held, heldByFile, nil
	case !notFound(err):
		return held, 0, err
	}
	held, err = b.releaseWhere("r.project = ? AND r.chart = ? AND r.version_key = ?", r.ProjectID, r.Chart, r.Key)
	if notFound(err) {
		err = errors.New("claim: the release was refused by a key that nobody holds")
	}
	return held, heldByBuild, err
}

func (b *batch) releaseWhere(where string, args ...any) (release.Release, error) {
	if err := b.flush(); err != nil {
		return release.Release{}, err
	}
	return scanRelease(b.w.row(b.ctx, selectRelease+where, args...))
}

// maxDetailFiles is how many differing files an audit event names: an event
// keeps 16 details, and the other facts are worth more.
const maxDetailFiles = 12

// refuse records a refused claim.
func (b *batch) refuse(c *release.Claim, name audit.Name, refusal error, held *release.Release) error {
	ev := c.Event
	ev.Name, ev.Outcome = name, denied(refusal)
	ev.Resource = resource(&c.Release)
	ev.After = c.Release.Archive
	detail := map[string]string{}
	if c.Force {
		detail[audit.DetailForce] = "ignored"
	}
	if c.Copy != "" {
		detail["copy"] = c.Copy
	}
	if held != nil {
		ev.Before = held.Archive
		detail["released"] = held.Ref()
		if c.DiffersFrom == held.Archive {
			for i, ch := range c.Differs {
				if i == maxDetailFiles {
					detail["more"] = fmt.Sprint(len(c.Differs) - i)
					break
				}
				detail[fmt.Sprintf("file-%02d", i+1)] = string(ch.Kind) + " " + ch.Path
			}
		}
	}
	if len(detail) > 0 {
		ev.Detail = detail
	}
	return b.record(ev)
}

func resource(r *release.Release) audit.Resource {
	return audit.Resource{Project: r.Project, Chart: r.Chart, Version: r.Version, Digest: r.Archive}
}

// Attach implements release.Ledger. Cost: one release by id, and a few rows.
func (s *Store) Attach(ctx context.Context, a *release.Attachment) (release.ClaimResult, error) {
	var res release.ClaimResult
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		res, refusal = release.ClaimResult{}, nil
		r, err := b.releaseWhere("r.id = ?", a.ReleaseID)
		if err != nil {
			return err
		}
		var p *batchProject
		if p, refusal, err = b.standing(r.ProjectID); err != nil || refusal != nil {
			return err
		}
		if r.State.Withheld() {
			refusal = release.RefuseWithheld(&r)
			return nil
		}
		if a.Digest == "" {
			return b.reconsider(&r, p, a, &res)
		}
		ev := a.Event
		ev.Resource = resource(&r)
		ev.After = a.Digest
		switch r.Provenance {
		case "":
		case a.Digest:
			ev.Name, ev.Outcome = audit.ReleaseUnchanged, allowed
			if err := b.record(ev); err != nil {
				return err
			}
			return b.reconsider(&r, p, a, &res)
		default:
			res.Release = r
			refusal = release.RefuseProvenance(&r, a.Digest)
			ev.Name, ev.Outcome, ev.Before = audit.ProvRefused, denied(refusal), r.Provenance
			return b.record(ev)
		}
		refusal, err = b.attach(&r, p, a, ev, &res)
		return err
	})
	if err != nil {
		return release.ClaimResult{}, err
	}
	if refusal != nil {
		return res, refusal
	}
	res.Proof, err = s.Prove(ctx, res.Release.LogIndex)
	return res, err
}

// attach gives a release its provenance, unless the policy does not take it.
func (b *batch) attach(r *release.Release, p *batchProject, a *release.Attachment, ev audit.Event, res *release.ClaimResult) (refusal, err error) {
	res.Release = *r
	waited := r.State == release.Staged
	r.Provenance = a.Digest
	signed, refusal, err := b.settle(r, p, a.Judge, ev)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		ev.Name, ev.Outcome = audit.RefusedSignature, denied(refusal)
		return refusal, b.record(ev)
	}
	b.change(p)
	b.restated = true
	if _, err := b.w.exec(b.ctx, "UPDATE release SET provenance = ?, state = ?, generation = ? WHERE id = ?",
		r.Provenance, string(r.State), p.Generation, r.ID); err != nil {
		return nil, err
	}
	repo, err := b.repository(r.ProjectID, r.Repository())
	if err != nil {
		return nil, err
	}
	if waited && r.State == release.Active {
		if err := b.activate(repo, r); err != nil {
			return nil, err
		}
	}
	b.insertBlob(a.Digest, a.Bytes)
	b.insert("INSERT INTO link (repository, digest, size, small) VALUES| ON CONFLICT DO NOTHING", repo, a.Digest, len(a.Bytes), 1)
	index, err := b.appendLeaf(tlog.Attach{
		Index: r.LogIndex, Project: r.Project, Chart: r.Chart, Version: r.Version, Kind: tlog.AttachProvenance,
		Digest: a.Digest, Publisher: identity(a.Event.Actor), Time: b.time(a.Now),
	})
	if err != nil {
		return nil, err
	}
	b.recordLate(r.ID, index)
	res.Release, res.Signed = *r, signed
	ev.Name, ev.Outcome = audit.ProvAttached, allowed
	return nil, b.record(ev)
}

// setHidden changes how readers see the tag and the manifest of a release.
func (b *batch) setHidden(repo int64, r *release.Release, hidden int) error {
	b.restated = true
	if _, err := b.w.exec(b.ctx, "UPDATE tag SET hidden = ? WHERE repository = ? AND name = ? AND release = ?", hidden, repo, r.Tag, r.ID); err != nil {
		return err
	}
	_, err := b.w.exec(b.ctx, "UPDATE manifest SET visible = ? WHERE repository = ? AND digest = ?", flag(hidden != 2), repo, r.Manifest)
	return err
}

// SetState implements release.Ledger. Cost: one release by id, and a few rows.
func (s *Store) SetState(ctx context.Context, ch *release.StateChange) (release.Release, error) {
	var out release.Release
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = release.Release{}, nil
		r, err := b.releaseWhere("r.id = ?", ch.ReleaseID)
		if err != nil {
			return err
		}
		var p *batchProject
		if p, refusal, err = b.standing(r.ProjectID); err != nil || refusal != nil {
			return err
		}
		if refusal = release.CheckStateChange(&r, ch.Yank); refusal != nil {
			return nil // nothing was written
		}
		b.change(p)
		repo, err := b.repository(r.ProjectID, r.Repository())
		if err != nil {
			return err
		}
		note := release.YankNote{}
		entry := tlog.Yank{
			Index: r.LogIndex, Project: r.Project, Chart: r.Chart, Version: r.Version,
			Reason: ch.Reason, Text: ch.Text, Publisher: identity(ch.Event.Actor), Time: b.time(ch.Now),
		}
		var leaf interface{ Marshal() ([]byte, error) } = entry
		ev := ch.Event
		ev.Name, ev.Outcome, ev.Resource, ev.Reason = audit.ReleaseYanked, allowed, resource(&r), ch.Text
		hidden := 0
		r.State, r.Yank = release.Active, nil
		if ch.Yank {
			hidden = 1
			note = release.YankNote{Reason: ch.Reason, Text: ch.Text, By: ch.Event.Actor.ID, Time: entry.Time, LogIndex: b.next(releaseLog)}
			r.State, r.Yank = release.Yanked, &note
		} else {
			leaf = tlog.Unyank(entry)
			ev.Name = audit.ReleaseUnyanked
		}
		if _, err := b.appendLeaf(leaf); err != nil {
			return err
		}
		if _, err := b.w.exec(b.ctx, "UPDATE release SET state = ?, generation = ?, yank_reason = ?, yank_text = ?, yank_by = ?, yank_time = ?, yank_index = ? WHERE id = ?",
			string(r.State), p.Generation, note.Reason, note.Text, note.By, millis(note.Time), note.LogIndex, r.ID); err != nil {
			return err
		}
		if err := b.setHidden(repo, &r, hidden); err != nil {
			return err
		}
		out = r
		return b.record(ev)
	})
	if err != nil {
		return release.Release{}, err
	}
	return out, refusal
}

// Record implements release.Ledger.
func (s *Store) Record(ctx context.Context, now time.Time, events ...audit.Event) error {
	events = slices.Clone(events) // the caller may be gone before they are written
	return s.write(ctx, true, func(b *batch) error {
		for _, ev := range events {
			if ev.Time.IsZero() {
				ev.Time = now
			}
			if err := b.record(ev); err != nil {
				return err
			}
		}
		return nil
	})
}
