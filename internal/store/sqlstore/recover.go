package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// recovered is how far the generation of a project is moved by a recovery: far
// enough that no reader has seen a later state of the lost history under a
// number that is given again.
const recovered = 1 << 20

// recoverChunk is how many leaves a recovery holds in memory before it hands
// their rows to the database.
const recoverChunk = 256

// Recover implements custody.Database. Cost: what the leaves cost when they
// were made, in one transaction.
func (s *Store) Recover(ctx context.Context, parts []custody.Part) error {
	s.unhurried = true
	return s.write(ctx, true, func(b *batch) error {
		for i := range parts {
			if err := b.recover(&parts[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// recover replays the part of one log.
func (b *batch) recover(p *custody.Part) error {
	log := logOf(p.Log)
	g := b.logs[log]
	if g.base.size != p.From {
		return problem.New(problem.Conflict, "log-moved", "the %s log has %d leaves now, and not %d: somebody else writes to this database", p.Log, g.base.size, p.From).
			Suggest("stop every server that uses this database, then repeat")
	}
	for step, err := range p.Steps {
		if err != nil {
			return err
		}
		if next := b.next(log); step.Index != next {
			return fmt.Errorf("recover: leaf %d where %d was expected", step.Index, next)
		}
		if p.Log == custody.Releases {
			err = b.replayLeaf(&step)
		} else {
			err = b.replayEvent(&step)
		}
		if err != nil {
			return fmt.Errorf("recover leaf %d of the %s log: %w", step.Index, p.Log, err)
		}
		if step.Index%recoverChunk == recoverChunk-1 {
			if err := b.flushAll(g); err != nil {
				return err
			}
		}
	}
	size, root := g.base.size, g.base.root
	if g.edge != nil {
		size, root = g.edge.Size(), g.edge.Root()
	}
	if size != p.To.Size || root != p.To.Root {
		return problem.New(problem.Disproven, "recover-root", "the leaves that are kept do not lead to the checkpoint of %d leaves that was signed", p.To.Size).
			With("signed root", "%s", p.To.Root).With("root of what was replayed", "%d leaves, %s", size, root)
	}
	g.kept = p.To.Note
	return nil
}

// flushAll writes the rows that wait, in the order that the tables need.
func (b *batch) flushAll(g *growth) error {
	if err := b.flush(); err != nil {
		return err
	}
	return b.writeGrowth(g)
}

// replayLeaf appends a leaf of the release log, byte for byte, and makes the
// rows that it stands for. A leaf of an unknown type is a leaf alone.
func (b *batch) replayLeaf(step *custody.Step) error {
	index := b.append(releaseLog, step.Entry)
	if step.Leaf == nil {
		return nil
	}
	if t := step.Leaf.When(); t.After(b.logs[releaseLog].time) {
		b.logs[releaseLog].time = t
	}
	switch l := step.Leaf.(type) {
	case tlog.Release, tlog.Legacy:
		return b.replayRelease(step)
	case tlog.Attach:
		return b.replayAttach(&l, step)
	case tlog.Yank:
		return b.replayYank(l, index, true)
	case tlog.Unyank:
		return b.replayYank(tlog.Yank(l), index, false)
	case tlog.Project:
		return b.replayProject(&l, step)
	case tlog.Policy:
		return b.replayPolicy(l.Project, l.After, step)
	case tlog.Quarantine:
		return b.replayQuarantine(&l, index)
	case tlog.Tombstone:
		return b.replayTombstone(&l, index)
	}
	return nil
}

// replayedProject finds a project by name and moves its generation, once.
func (b *batch) replayedProject(name string) (*batchProject, error) {
	p, err := b.readProject("name", name)
	if err != nil {
		return nil, fmt.Errorf("project %s: %w", name, err)
	}
	if !p.changed {
		p.Generation += recovered
		b.change(p)
	}
	return p, nil
}

func (b *batch) replayRelease(step *custody.Step) error {
	got := step.Release
	r := got.Row
	p, err := b.replayedProject(r.Project)
	if err != nil {
		return err
	}
	r.ProjectID = p.ID
	made, err := b.insertRelease(&r, got.Fragment, p.Generation)
	if err != nil {
		return err
	}
	if !made {
		return problem.New(problem.Disproven, "recover-name", "the log has a second leaf for %s, and a version is released once", r.Ref())
	}
	repo, err := b.repository(r.ProjectID, r.Repository())
	if err != nil {
		return err
	}
	hidden := 0
	if r.State == release.Staged {
		hidden = 2
	}
	b.insert("INSERT INTO tag (repository, name, digest, release, hidden) VALUES", repo, r.Tag, r.Manifest, r.ID, hidden)
	if got.Manifest != nil {
		b.insertManifest(repo, got.Manifest, r.State != release.Staged)
	}
	b.replayLinks(repo, got.Links)
	b.replayBlobs(&step.Aside)
	return nil
}

func (b *batch) replayLinks(repo int64, links []release.Link) {
	for _, l := range links {
		b.insert("INSERT INTO link (repository, digest, size, small) VALUES| ON CONFLICT DO NOTHING", repo, l.Digest, l.Size, flag(l.Small))
	}
}

func (b *batch) replayBlobs(a *custody.Aside) {
	for _, blob := range a.Blobs {
		b.insertBlob(blob.Digest, blob.Bytes)
	}
}

// replayedRelease finds the release that a leaf is about.
func (b *batch) replayedRelease(index int64, project string) (release.Release, *batchProject, error) {
	p, err := b.replayedProject(project)
	if err != nil {
		return release.Release{}, nil, err
	}
	r, err := b.releaseWhere("r.id = ?", index)
	return r, p, err
}

func (b *batch) replayAttach(l *tlog.Attach, step *custody.Step) error {
	r, p, err := b.replayedRelease(l.Index, l.Project)
	if err != nil {
		return err
	}
	repo, err := b.repository(r.ProjectID, r.Repository())
	if err != nil {
		return err
	}
	b.replayBlobs(&step.Aside)
	if l.Kind == tlog.AttachProvenance {
		r.Provenance = l.Digest
		for _, blob := range step.Aside.Blobs {
			b.replayLinks(repo, []release.Link{{Digest: blob.Digest, Size: int64(len(blob.Bytes)), Small: true}})
		}
		b.recordLate(r.ID, step.Index)
	}
	// Whether it was the last thing that the release waited for, only the row
	// said. Without it a provenance was: nothing else is waited for by default.
	wasStaged := r.State == release.Staged
	staged := l.Kind != tlog.AttachProvenance
	if step.Aside.Staged != nil {
		staged = *step.Aside.Staged
	}
	if wasStaged && !staged {
		r.State = release.Active
		if err := b.activate(repo, &r); err != nil {
			return err
		}
	}
	_, err = b.w.exec(b.ctx, "UPDATE release SET provenance = ?, state = ?, generation = ? WHERE id = ?", r.Provenance, string(r.State), p.Generation, r.ID)
	return err
}

func (b *batch) replayYank(l tlog.Yank, index int64, yank bool) error {
	r, p, err := b.replayedRelease(l.Index, l.Project)
	if err != nil {
		return err
	}
	note, state, hidden := release.YankNote{}, release.Active, 0
	if yank {
		note = release.YankNote{Reason: l.Reason, Text: l.Text, By: l.Publisher.Subject, Time: l.Time, LogIndex: index}
		state, hidden = release.Yanked, 1
	}
	if _, err := b.w.exec(b.ctx, "UPDATE release SET state = ?, generation = ?, yank_reason = ?, yank_text = ?, yank_by = ?, yank_time = ?, yank_index = ? WHERE id = ?",
		string(state), p.Generation, note.Reason, note.Text, note.By, millis(note.Time), note.LogIndex, r.ID); err != nil {
		return err
	}
	repo, err := b.repository(r.ProjectID, r.Repository())
	if err != nil {
		return err
	}
	return b.setHidden(repo, &r, hidden)
}

func (b *batch) replayProject(l *tlog.Project, step *custody.Step) error {
	if l.Action == tlog.ProjectCreated {
		b.created = true
		if _, err := b.w.exec(b.ctx, "INSERT INTO project (name, kind, public, state, policy, policy_digest, artifacthub, generation, changed, created, created_by) "+
			"VALUES (?, ?, ?, ?, '{}', '', ?, ?, ?, ?, ?)",
			l.Name, l.Kind, flag(l.Visibility == "public"), l.State, step.Aside.ArtifactHub, recovered, millis(l.Time), millis(l.Time), l.Actor.Subject); err != nil {
			return err
		}
		return b.replayPolicy(l.Name, l.Policy, step)
	}
	p, err := b.replayedProject(l.Name)
	if err != nil {
		return err
	}
	p.Public, p.State = l.Visibility == "public", release.ProjectState(l.State)
	p.ArtifactHubID = step.Aside.ArtifactHub
	return b.replayPolicy(l.Name, l.Policy, step)
}

// replayPolicy gives a project the policy of a leaf, and keeps it under its
// digest. Where its text is lost, the policy before stays in force.
func (b *batch) replayPolicy(project, digest string, step *custody.Step) error {
	p, err := b.replayedProject(project)
	if err != nil {
		return err
	}
	if step.Aside.Policy == nil {
		if p.PolicyDigest == "" {
			p.PolicyDigest = release.PolicyDigest(p.Policy)
		}
		return nil
	}
	var policy release.Policy
	if err := json.Unmarshal(step.Aside.Policy, &policy); err != nil {
		return fmt.Errorf("policy of project %s: %w", project, err)
	}
	p.Policy, p.PolicyDigest = policy, digest
	return b.keepPolicy(&p.Project)
}

func (b *batch) replayQuarantine(l *tlog.Quarantine, index int64) error {
	if _, err := b.replayedProject(l.Project); err != nil {
		return err
	}
	r, err := b.releaseWhere("r.id = ?", l.Index)
	if err != nil {
		return err
	}
	by := l.Actor.Subject
	switch l.Action {
	case tlog.QuarantineSet:
		lapses := l.Time.Add(release.QuarantineLife)
		if _, err := b.w.exec(b.ctx, "INSERT INTO quarantine (release, before, open, ending, reason, text, set_by, person, time, idx, lapses, due, confirmed_by, confirmed, ended_by, ended, ended_text) "+
			"VALUES (?, ?, 1, '', ?, ?, ?, ?, ?, ?, ?, ?, '', 0, '', 0, '')",
			r.ID, string(r.State), l.Reason, l.Text, by, by, millis(l.Time), index, millis(lapses), millis(l.Time.Add(release.QuarantineLife/2))); err != nil {
			return err
		}
		return b.withhold(&r, release.Quarantined)
	case tlog.QuarantineConfirmed:
		_, err := b.w.exec(b.ctx, "UPDATE quarantine SET confirmed = ?, confirmed_by = ?, due = 0 WHERE release = ? AND open = 1", millis(l.Time), by, r.ID)
		return err
	}
	if r.Quarantine == nil {
		return fmt.Errorf("release %s is in no quarantine that could end", r.Ref())
	}
	if err := b.closeQuarantine(&r, l.Action, l.Text, by, l.Time); err != nil {
		return err
	}
	return b.serve(&r, r.Quarantine.Before)
}

func (b *batch) replayTombstone(l *tlog.Tombstone, index int64) error {
	if _, err := b.replayedProject(l.Project); err != nil {
		return err
	}
	r, err := b.releaseWhere("r.id = ?", l.Index)
	if err != nil {
		return err
	}
	if r.State == release.Quarantined {
		if err := b.closeQuarantine(&r, "tombstoned", "", l.Approver.Subject, l.Time); err != nil {
			return err
		}
	}
	if err := b.withhold(&r, release.Tombstoned); err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "INSERT INTO tombstone (release, reason, text, requester, approver, time, idx, request) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
		r.ID, l.Reason, l.Text, l.Requester.Subject, l.Approver.Subject, millis(l.Time), index); err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE release SET fragment = ? WHERE id = ?", []byte{}, r.ID); err != nil {
		return err
	}
	return b.removeBytes(&r, l.Time)
}

// replayEvent appends an audit event, byte for byte, with its row. Where it came
// from is lost, as if it had been forgotten. What took a right away is done
// again: nobody gets back by a recovery what was taken from him.
func (b *batch) replayEvent(step *custody.Step) error {
	ev := &step.Event
	index := b.append(auditLog, step.Entry)
	b.insert("INSERT INTO audit (idx, time, action, outcome, project, chart, version, actor, ip, agent, salt) VALUES",
		index, millis(ev.Time), string(ev.Name), string(ev.Outcome.Result), plain(ev.Resource.Project), plain(ev.Resource.Chart), plain(ev.Resource.Version),
		ev.Actor.ID, "", "", []byte{})
	b.insert("INSERT INTO outbox (idx) VALUES", index)
	if ev.Outcome.Result != audit.Allowed {
		return nil
	}
	exec := func(query string, args ...any) error {
		_, err := b.w.exec(b.ctx, query, args...)
		return err
	}
	switch {
	case ev.Detail[custody.DetailRecord] != "" && slices.Contains(custody.NoticeEvents, ev.Name):
		return exec("INSERT INTO notice (name, idx) VALUES (?, ?) ON CONFLICT DO NOTHING", ev.Detail[custody.DetailRecord], index)
	case ev.Name == audit.TokenRevoked:
		return exec("UPDATE token SET revoked = ? WHERE id = ? AND revoked = 0", millis(ev.Time), ev.Detail["token"])
	case ev.Name == audit.AccountRemoved:
		return exec("UPDATE account SET disabled = 1 WHERE id = ?", ev.Detail["account"])
	case ev.Name == audit.PasswordChanged:
		return exec("UPDATE account SET password = '' WHERE id = ?", ev.Detail["account"])
	case ev.Name == audit.RoleRevoked:
		return exec("DELETE FROM access_grant WHERE id = ?", ev.Detail[audit.DetailGrant])
	case ev.Name == audit.ArtifactDeleted:
		return b.replayDelete(ev)
	case custody.Pushed(ev.Name):
		return b.replayPush(ev, &step.Aside)
	}
	return nil
}

// repositoryOf is the repository that an event is about.
func repositoryOf(ev *audit.Event) string {
	if ev.Resource.Chart == "" {
		return ev.Resource.Project
	}
	return ev.Resource.Project + "/" + ev.Resource.Chart
}

// replayPush makes the manifest again that an event tells of, with its tags,
// if it was kept.
func (b *batch) replayPush(ev *audit.Event, a *custody.Aside) error {
	if len(a.Manifests) == 0 {
		return nil
	}
	p, err := b.replayedProject(ev.Resource.Project)
	if err != nil {
		return err
	}
	repo, err := b.repository(p.ID, repositoryOf(ev))
	if err != nil {
		return err
	}
	for i := range a.Manifests {
		m := a.Manifests[i].Release()
		b.insertManifest(repo, &m, true)
	}
	b.replayBlobs(a)
	b.replayLinks(repo, a.ReleaseLinks())
	b.restated = true
	for _, tag := range strings.Fields(ev.Resource.Version) {
		if _, err := b.w.exec(b.ctx, "INSERT INTO tag (repository, name, digest, release, hidden) VALUES (?, ?, ?, 0, 0) "+
			"ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest WHERE tag.release = 0", repo, tag, ev.Resource.Digest); err != nil {
			return err
		}
	}
	return nil
}

// replayDelete removes from a project of kind artifacts what an event says was
// removed: a tag, a manifest or a blob.
func (b *batch) replayDelete(ev *audit.Event) error {
	if err := b.flush(); err != nil {
		return err
	}
	b.restated = true
	const here = " AND repository = (SELECT id FROM repository WHERE name = ?)"
	repository := repositoryOf(ev)
	if ev.Resource.Version != "" {
		_, err := b.w.exec(b.ctx, "DELETE FROM tag WHERE release = 0 AND name = ?"+here, ev.Resource.Version, repository)
		return err
	}
	for _, query := range []string{
		"DELETE FROM tag WHERE release = 0 AND digest = ?" + here,
		"DELETE FROM manifest WHERE digest = ?" + here + " AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository = manifest.repository AND t.digest = manifest.digest AND t.release > 0)",
		"DELETE FROM link WHERE digest = ?" + here + " AND EXISTS (SELECT 1 FROM repository o JOIN project p ON p.id = o.project WHERE o.id = link.repository AND p.kind = 'artifacts')",
	} {
		if _, err := b.w.exec(b.ctx, query, ev.Resource.Digest, repository); err != nil {
			return err
		}
	}
	return nil
}
