package api

import (
	"net/http"

	"github.com/chartkeep/chartkeep/internal/release"
)

func (d *Door) listProjects(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	projects, err := d.svc.Projects(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("project-list/v1", projects, func(p release.Project) string { return p.Name }, q)
}

// projectRequest asks for a new project.
type projectRequest struct {
	Name      string              `json:"name"`
	Kind      release.ProjectKind `json:"kind"` // "" is charts
	Public    bool                `json:"public"`
	Importing bool                `json:"importing"`
	Policy    release.Policy      `json:"policy"`
}

func (d *Door) createProject(c *call) (reply, error) {
	var req projectRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	if req.Kind == "" {
		req.Kind = release.KindCharts
	}
	p, err := d.svc.CreateProject(c.ctx, c.caller, req.Name, release.ProjectOptions{
		Kind: req.Kind, Public: req.Public, Importing: req.Importing, Policy: req.Policy,
	})
	if err != nil {
		return reply{}, err
	}
	return projectReply(http.StatusCreated, p), nil
}

func (d *Door) getProject(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	p, err := d.svc.Project(c.ctx, c.caller, c.params["project"])
	if err != nil {
		return reply{}, err
	}
	return projectReply(http.StatusOK, p), nil
}

// projectPatch names what to change; what is absent or null stays.
type projectPatch struct {
	Public        *bool           `json:"public"`
	Policy        *release.Policy `json:"policy"`
	ArtifactHubID *string         `json:"artifacthub_id"` // "" for none
	// RequireProvenance changes this one field of the policy.
	RequireProvenance *bool  `json:"require_provenance"`
	Text              string `json:"text"` // why, for a second person
}

func (d *Door) setProject(c *call) (reply, error) {
	var req projectPatch
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	set, err := d.svc.SetProject(c.ctx, c.caller, c.params["project"], release.ProjectChange{
		Public: req.Public, Policy: req.Policy, RequireProvenance: req.RequireProvenance, ArtifactHubID: req.ArtifactHubID, Text: req.Text,
	})
	if err != nil {
		return reply{}, err
	}
	status := http.StatusOK
	if set.Request != nil {
		status = http.StatusAccepted
	}
	return reply{status: status, body: projectSetAnswer{projectAnswer{"project/v1", set.Project}, set.Request, set.Weaker}}, nil
}

type removeRequest struct {
	Reason string `json:"reason"`
}

func (d *Door) removeProject(c *call) (reply, error) {
	var req removeRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.RemoveProject(c.ctx, c.caller, c.params["project"], req.Reason)
}

func (d *Door) cutOver(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	p, err := d.svc.CutOver(c.ctx, c.caller, c.params["project"])
	if err != nil {
		return reply{}, err
	}
	return projectReply(http.StatusOK, p), nil
}
