package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Project is a namespace with its own policy, members and index.
type Project struct {
	Name          string    `json:"name"`
	Kind          string    `json:"kind"` // charts or artifacts
	Public        bool      `json:"public"`
	State         string    `json:"state"` // active, importing or removed
	Policy        Policy    `json:"policy"`
	PolicyDigest  string    `json:"policy_digest"`
	ArtifactHubID string    `json:"artifacthub_id,omitempty"` // of the repository on Artifact Hub
	Generation    int64     `json:"generation"`
	Changed       time.Time `json:"changed"`
	Created       time.Time `json:"created"`
	CreatedBy     string    `json:"created_by"`

	// Request is set by SetProject and SetPolicy where the policy that was
	// asked for needs a second person; Weaker says why it does.
	Request *Request `json:"request,omitempty"`
	Weaker  []string `json:"weaker,omitempty"`
}

// Policy is what a project asks of its releases.
type Policy struct {
	RequireProvenance bool `json:"require_provenance"`
	// Mirror names the upstream whose versions the project has, for ever; ""
	// for a project of one's own.
	Mirror string `json:"mirror,omitempty"`
	// WeakenDelay is how long an approved policy that is weaker waits before
	// it takes effect, such as "72h"; "" is a day.
	WeakenDelay string `json:"weaken_delay,omitempty"`
	// Signatures is what is asked of signatures; nil is nothing.
	Signatures *SignaturePolicy `json:"signatures,omitempty"`
}

// NewProject asks for a project. Kind "" is charts.
type NewProject struct {
	Name      string `json:"name"`
	Kind      string `json:"kind,omitempty"`
	Public    bool   `json:"public,omitempty"`
	Importing bool   `json:"importing,omitempty"`
	Policy    Policy `json:"policy"`
}

// ProjectChange names what to change; nil leaves it.
type ProjectChange struct {
	Public        *bool   `json:"public,omitempty"`
	Policy        *Policy `json:"policy,omitempty"`
	ArtifactHubID *string `json:"artifacthub_id,omitempty"` // a UUID in lower case, "" for none
	// RequireProvenance changes this one field of the policy.
	RequireProvenance *bool  `json:"require_provenance,omitempty"`
	Text              string `json:"text,omitempty"` // why, for the second person that a weaker policy needs
}

// Projects lists the projects that the caller may read, by name.
func (c *Client) Projects(ctx context.Context, p Page) (l List[Project], err error) {
	err = c.get(ctx, "/projects", p.values(), "project-list/v1", &l)
	return l, err
}

// Project returns one project.
func (c *Client) Project(ctx context.Context, name string) (Project, error) {
	return c.project(ctx, http.MethodGet, name, "", nil)
}

// CreateProject makes a project. Its name and kind never change.
func (c *Client) CreateProject(ctx context.Context, p NewProject) (out Project, err error) {
	err = c.send(ctx, http.MethodPost, "/projects", p, "project/v1", &out)
	return out, err
}

// SetProject changes the settings of a project.
func (c *Client) SetProject(ctx context.Context, name string, ch ProjectChange) (Project, error) {
	return c.project(ctx, http.MethodPatch, name, "", ch)
}

// SetPolicy gives a project another policy, as a JSON document. Where it is
// weaker, the answer has a Request: another person has to approve it.
func (c *Client) SetPolicy(ctx context.Context, name string, document json.RawMessage, text string) (Project, error) {
	return c.project(ctx, http.MethodPatch, name, "", struct {
		Policy json.RawMessage `json:"policy"`
		Text   string          `json:"text,omitempty"`
	}{document, text})
}

// RemoveProject removes a project for good; its names stay burnt.
func (c *Client) RemoveProject(ctx context.Context, name, reason string) error {
	path, err := projectPath(name)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, path+"/-/remove", map[string]string{"reason": reason}, "", nil)
}

// CutOver ends the import of a project's history, once.
func (c *Client) CutOver(ctx context.Context, name string) (Project, error) {
	return c.project(ctx, http.MethodPost, name, "/-/cut-over", nil)
}

// project makes a call that answers with the project.
func (c *Client) project(ctx context.Context, method, name, below string, in any) (out Project, err error) {
	path, err := projectPath(name)
	if err != nil {
		return out, err
	}
	err = c.send(ctx, method, path+below, in, "project/v1", &out)
	return out, err
}
