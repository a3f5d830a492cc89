package sqlstore

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// projectCache holds all projects of a SQLite database, which this process
// alone writes to. A batch that changed some puts their new state in place;
// one that made a project forgets all. On PostgreSQL other replicas write too,
// and every read goes to the database.
type projectCache struct {
	all   atomic.Pointer[projectsByName]
	epoch atomic.Int64 // counts changes, so that a slow reader does not store what is old
}

type projectsByName map[string]*atomic.Pointer[release.Project]

func (c *projectCache) forget() {
	c.epoch.Add(1)
	c.all.Store(nil)
}

// replace is called by the sequencer alone.
func (c *projectCache) replace(p release.Project) {
	c.epoch.Add(1)
	if known := c.all.Load(); known != nil {
		if cell := (*known)[p.Name]; cell != nil {
			cell.Store(&p)
		}
	}
}

const selectProject = "SELECT id, name, kind, public, state, policy, policy_digest, artifacthub, generation, changed, created, created_by FROM project"

func scanProject(row scanner) (release.Project, error) {
	var p release.Project
	var kind, state, policy string
	var public, changed, created int64
	if err := row.Scan(&p.ID, &p.Name, &kind, &public, &state, &policy, &p.PolicyDigest, &p.ArtifactHubID, &p.Generation, &changed, &created, &p.CreatedBy); err != nil {
		return p, err
	}
	p.Kind, p.State, p.Public = release.ProjectKind(kind), release.ProjectState(state), public != 0
	p.Changed, p.Created = fromMillis(changed), fromMillis(created)
	return p, json.Unmarshal([]byte(policy), &p.Policy)
}

// ProjectFor implements release.Projects. On SQLite it is a look-up in memory
// for each segment, on PostgreSQL one query.
func (s *Store) ProjectFor(ctx context.Context, path string) (release.Project, error) {
	names := prefixes(path)
	if len(names) == 0 {
		return release.Project{}, noProject(path)
	}
	if !s.dialect.postgres {
		all, err := s.cachedProjects(ctx)
		if err != nil {
			return release.Project{}, err
		}
		for _, name := range names {
			if cell := all[name]; cell != nil {
				return *cell.Load(), nil
			}
		}
		return release.Project{}, noProject(path)
	}
	// No project is a prefix of another, so at most one row is found. Eight
	// places cover the deepest name; the rest repeat the first.
	args := make([]any, maxSegments)
	for i := range args {
		args[i] = names[0]
		if i < len(names) {
			args[i] = names[i]
		}
	}
	p, err := scanProject(s.queryRow(ctx, selectProject+" WHERE name IN (?, ?, ?, ?, ?, ?, ?, ?)", args...))
	if notFound(err) {
		return p, noProject(path)
	}
	return p, fault("read project", err)
}

// maxSegments is how deep a project name goes.
const maxSegments = release.MaxProjectSegments

func noProject(path string) error {
	return problem.New(problem.NotFound, "project", "there is no project %s", path)
}

// prefixes lists path and its prefixes in whole segments, shortest first, as
// far as a project's name can go.
func prefixes(path string) []string {
	var out []string
	for i := 0; i <= len(path) && len(out) < maxSegments; i++ {
		if i == len(path) || path[i] == '/' {
			if i > 0 && path[i-1] != '/' {
				out = append(out, path[:i])
			}
		}
	}
	return out
}

func (s *Store) cachedProjects(ctx context.Context) (projectsByName, error) {
	if known := s.projects.all.Load(); known != nil {
		return *known, nil
	}
	epoch := s.projects.epoch.Load()
	list, err := s.AllProjects(ctx)
	if err != nil {
		return nil, err
	}
	known := make(projectsByName, len(list))
	for i := range list {
		cell := &atomic.Pointer[release.Project]{}
		cell.Store(&list[i])
		known[list[i].Name] = cell
	}
	// A batch that came in between has advanced the epoch before or after the
	// store; both are seen by one of these looks.
	if s.projects.epoch.Load() == epoch {
		s.projects.all.Store(&known)
		if s.projects.epoch.Load() != epoch {
			s.projects.all.CompareAndSwap(&known, nil)
		}
	}
	return known, nil
}

// AllProjects implements release.Projects. Cost: all projects, thousands at
// the most.
func (s *Store) AllProjects(ctx context.Context) ([]release.Project, error) {
	var out []release.Project
	err := s.query(s.quick(ctx), selectProject+" ORDER BY name", func(r scanner) error {
		p, err := scanProject(r)
		out = append(out, p)
		return err
	})
	return out, err
}

// CreateProject implements release.Projects. Cost: a scan of the projects'
// names for those below the new one.
func (s *Store) CreateProject(ctx context.Context, p release.Project, ev audit.Event, now time.Time) (release.Project, error) {
	var out release.Project
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = p, nil
		var other, state string
		// The log's head is locked, so nobody makes a project meanwhile.
		query := "SELECT name, state FROM project WHERE name IN (" + strings.TrimSuffix(strings.Repeat("?, ", maxSegments), ", ") + ") OR (name > ? AND name < ?) ORDER BY name LIMIT 1"
		names := prefixes(p.Name)
		args := make([]any, maxSegments, maxSegments+2)
		for i := range args {
			args[i] = names[min(i, len(names)-1)]
		}
		err := b.w.row(b.ctx, query, append(args, p.Name+"/", p.Name+"0")...).Scan(&other, &state)
		if err == nil {
			refusal = release.RefuseProject(p.Name, other, release.ProjectState(state))
			return nil
		}
		if !notFound(err) {
			return err
		}
		policy, err := json.Marshal(p.Policy)
		if err != nil {
			return err
		}
		out.Created, out.Generation = b.time(now), 1
		out.Changed = out.Created
		err = b.w.row(b.ctx, "INSERT INTO project (name, kind, public, state, policy, policy_digest, artifacthub, generation, changed, created, created_by) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) RETURNING id",
			p.Name, string(p.Kind), flag(p.Public), string(p.State), string(policy), p.PolicyDigest, p.ArtifactHubID, millis(out.Changed), millis(out.Created), p.CreatedBy).Scan(&out.ID)
		if err != nil {
			return err
		}
		b.created = true
		if err := b.keepPolicy(&out); err != nil {
			return err
		}
		if err := b.projectLeaf(&out, "created", ev.Actor, now); err != nil {
			return err
		}
		ev.Name, ev.Outcome, ev.Resource = audit.ProjectCreated, allowed, audit.Resource{Project: p.Name}
		return b.record(ev)
	})
	if err != nil {
		return release.Project{}, err
	}
	return out, refusal
}

func (b *batch) projectLeaf(p *release.Project, action string, actor audit.Actor, now time.Time) error {
	visibility := "private"
	if p.Public {
		visibility = "public"
	}
	_, err := b.appendLeaf(tlog.Project{
		Action: action, Name: p.Name, Kind: string(p.Kind), Visibility: visibility,
		State: string(p.State), Policy: p.PolicyDigest, Actor: identity(actor), Time: b.time(now),
	})
	return err
}

// UpdateProject implements release.Projects. One row by key.
func (s *Store) UpdateProject(ctx context.Context, name, action string, ev audit.Event, now time.Time, change func(release.Project) (release.Project, error)) (release.Project, error) {
	var out release.Project
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = release.Project{}, nil
		p, err := b.readProject("name", name)
		if notFound(err) {
			refusal = noProject(name)
			return nil
		}
		if err != nil {
			return err
		}
		q, err := change(p.Project)
		if err != nil {
			refusal = err
			return nil
		}
		p.Public, p.State, p.Policy, p.PolicyDigest, p.ArtifactHubID = q.Public, q.State, q.Policy, q.PolicyDigest, q.ArtifactHubID
		b.change(p)
		out = p.Project
		if err := b.projectLeaf(&out, action, ev.Actor, now); err != nil {
			return err
		}
		ev.Outcome, ev.Resource = allowed, audit.Resource{Project: name}
		return b.record(ev)
	})
	if err != nil {
		return release.Project{}, err
	}
	return out, refusal
}
