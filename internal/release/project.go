package release

import (
	"cmp"
	"context"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// CreateProject makes a project. Its name and kind are chosen for ever.
func (s *Service) CreateProject(ctx context.Context, c Caller, name string, opt ProjectOptions) (Project, error) {
	if err := s.AllowInstance(ctx, c, access.ProjectCreate); err != nil {
		return Project{}, err
	}
	if err := CheckProjectName(name); err != nil {
		return Project{}, err
	}
	p := Project{Name: name, Kind: opt.Kind, Public: opt.Public, State: ProjectActive, Policy: opt.Policy, PolicyDigest: PolicyDigest(opt.Policy)}
	p.CreatedBy, _ = actor(c)
	switch p.Kind {
	case "":
		p.Kind = KindCharts
	case KindCharts, KindArtifacts:
	default:
		return Project{}, problem.New(problem.Invalid, "project-kind", "there is no kind of project %.40q", p.Kind).
			With("kinds", "%s, %s", KindCharts, KindArtifacts)
	}
	if opt.Importing {
		if p.Kind != KindCharts {
			return Project{}, problem.New(problem.Invalid, "project-import", "only a project of kind charts can take over history")
		}
		p.State = ProjectImporting
	}
	if err := checkPolicy(&p); err != nil {
		return Project{}, err
	}
	if err := checkDelay(&p.Policy, true); err != nil {
		return Project{}, err
	}
	return s.store.CreateProject(ctx, p, s.event(c), s.now())
}

// Project returns a project that the caller may read.
func (s *Service) Project(ctx context.Context, c Caller, name string) (Project, error) {
	p, rest, err := s.project(ctx, c, name, access.ChartPull, false)
	if err == nil && rest != "" {
		err = s.noSuchProject(c, name)
	}
	return p, err
}

// FindProject returns the project that a path names or lies in, and the rest
// of the path. It does not ask for a right, since the action is not known yet,
// and tells nobody of a project that it may not know.
func (s *Service) FindProject(ctx context.Context, c Caller, path string) (Project, string, error) {
	p, rest, err := s.find(ctx, c, path)
	return p, rest, err
}

// Projects lists the projects that the caller may read, by name. Cost: all
// projects.
func (s *Service) Projects(ctx context.Context, c Caller) ([]Project, error) {
	all, err := s.store.AllProjects(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Project, 0, len(all))
	for _, p := range all {
		req := access.Request{Action: access.ChartPull, Project: p.Name, ProjectPublic: p.Public && p.State != ProjectRemoved}
		if access.Allowed(c.Principal, req, s.now()) {
			out = append(out, p)
		}
	}
	return out, nil
}

// update asks for a right in a project and changes it under the store's lock.
func (s *Service) update(ctx context.Context, c Caller, name string, action access.Action, verb string, event audit.Name, detail map[string]string, change func(Project) (Project, error)) (Project, error) {
	p, rest, err := s.project(ctx, c, name, action, false)
	if err != nil {
		return p, err
	}
	if rest != "" {
		return p, s.noSuchProject(c, name)
	}
	ev := s.event(c)
	ev.Name, ev.Detail, ev.Action = event, detail, action
	return s.store.UpdateProject(ctx, name, verb, ev, s.now(), func(p Project) (Project, error) {
		if p.State == ProjectRemoved {
			return p, RefuseRemoved(p.Name)
		}
		return change(p)
	})
}

// ProjectSet is what became of a change of settings.
type ProjectSet struct {
	Project Project
	// Request is set when the policy that was asked for needs a second person:
	// the project has the one that it had.
	Request *Request
	// Weaker says what the new policy lets through; it took effect at once
	// where the project has released nothing that it could have protected.
	Weaker []string
}

// SetProject changes who may read a project, its policy, or its id on Artifact
// Hub. A policy that is weaker than the one before, or takes a key away, becomes
// a request; but a project that has released nothing may change freely. A policy
// never touches what is released already.
func (s *Service) SetProject(ctx context.Context, c Caller, name string, ch ProjectChange) (ProjectSet, error) {
	p, rest, err := s.project(ctx, c, name, access.PolicyWrite, false)
	if err != nil {
		return ProjectSet{Project: p}, err
	}
	if rest != "" {
		return ProjectSet{}, s.noSuchProject(c, name)
	}
	ev := s.event(c)
	ev.Name, ev.Action = audit.ProjectSet, access.PolicyWrite
	if ch.ArtifactHubID != nil { // the log's leaf does not say it
		ev.Detail = map[string]string{"artifacthub_id": cmp.Or(*ch.ArtifactHubID, "none")}
	}
	who, nobody := person(c)
	var out ProjectSet
	now := s.now()
	out.Project, out.Request, err = s.store.SetProject(ctx, name, ev, now, func(p Project, released bool) (ProjectUpdate, error) {
		out.Weaker = nil
		u, err := s.changed(p, &ch)
		if err != nil || u.Project.PolicyDigest == p.PolicyDigest {
			return u, err
		}
		u.PolicyChange = tlog.PolicyStricter
		out.Weaker = NeedsSecond(p.Policy, u.Project.Policy)
		if len(out.Weaker) > 0 && len(u.Project.Policy.WeakerThan(p.Policy)) > 0 {
			u.PolicyChange = tlog.PolicyWeaker
		}
		if len(out.Weaker) == 0 || !released {
			return u, nil
		}
		if nobody != nil {
			return u, nobody
		}
		u.PolicyChange = ""
		u.Request = &Request{
			Kind: RequestPolicy, Project: p.Name, ProjectID: p.ID, Before: p.PolicyDigest, After: u.Project.PolicyDigest,
			Document: PolicyText(u.Project.Policy), Weaker: out.Weaker, Text: ch.Text,
			Requester: who, Made: now, Expires: now.Add(RequestLife), State: RequestWaiting,
		}
		return u, nil
	})
	if e, ok := problem.As(err); ok && e == nobody {
		err = s.refused(ctx, c, audit.AccessDenied, audit.Resource{Project: name}, err, map[string]string{"action": string(access.PolicyWrite)})
	}
	return out, err
}

// changed is a project as a change wants it.
func (s *Service) changed(p Project, ch *ProjectChange) (ProjectUpdate, error) {
	u := ProjectUpdate{Project: p, Shown: ch.Public != nil || ch.ArtifactHubID != nil}
	if p.State == ProjectRemoved {
		return u, RefuseRemoved(p.Name)
	}
	if ch.Public != nil {
		u.Project.Public = *ch.Public
	}
	if ch.Policy != nil || ch.RequireProvenance != nil {
		policy := p.Policy
		if ch.Policy != nil {
			policy = *ch.Policy
		}
		if ch.RequireProvenance != nil {
			policy.RequireProvenance = *ch.RequireProvenance
		}
		if policy.Mirror != "" && policy.Mirror != p.Policy.Mirror {
			return u, problem.New(problem.Policy, "project-mirror", "what a project mirrors is chosen when it is made").
				Suggest("chartkeep project create NAME --mirror %s", policy.Mirror)
		}
		policy.Mirror = p.Policy.Mirror
		u.Project.Policy, u.Project.PolicyDigest = policy, PolicyDigest(policy)
		if err := checkPolicy(&u.Project); err != nil {
			return u, err
		}
		if err := checkDelay(&policy, p.Policy.Delay() == 0); err != nil {
			return u, err
		}
	}
	if id := ch.ArtifactHubID; id != nil {
		if *id != "" {
			if err := CheckUUID(*id); err != nil {
				return u, err
			}
		}
		u.Project.ArtifactHubID = *id
	}
	return u, checkReason(ch.Text)
}

// RemoveProject closes a project for ever. Its releases are no longer served;
// its names stay taken, and its leaves stay in the log.
func (s *Service) RemoveProject(ctx context.Context, c Caller, name, reason string) error {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return err
	}
	if reason == "" {
		return problem.New(problem.Invalid, "reason", "a project is removed for a reason, and none was given").
			Suggest("chartkeep project remove %s --reason TEXT", name)
	}
	if err := checkReason(reason); err != nil {
		return err
	}
	ev := s.event(c)
	ev.Name, ev.Reason, ev.Action = audit.ProjectRemoved, reason, access.InstanceAdmin
	_, err := s.store.UpdateProject(ctx, name, "removed", ev, s.now(), func(p Project) (Project, error) {
		if p.State == ProjectRemoved {
			return p, problem.New(problem.Conflict, "project-removed", "the project %s was removed already", p.Name)
		}
		p.State = ProjectRemoved
		return p, nil
	})
	return err
}

// CutOver ends the import of history: from now on the strict rules hold.
func (s *Service) CutOver(ctx context.Context, c Caller, name string) (Project, error) {
	return s.update(ctx, c, name, access.HistoryImport, "cut-over", audit.ProjectCutOver, nil, func(p Project) (Project, error) {
		if p.State != ProjectImporting {
			return p, problem.New(problem.Conflict, "project-not-importing", "project %s is %s, and there is nothing to cut over", p.Name, p.State)
		}
		p.State = ProjectActive
		return p, nil
	})
}
