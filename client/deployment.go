package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Deployment is a chart that is installed, or should be, as the server keeps
// it. Its values are masked.
type Deployment struct {
	Key          string          `json:"key"`
	Tool         string          `json:"tool"`
	From         string          `json:"from"`
	Cluster      string          `json:"cluster,omitempty"`
	Namespace    string          `json:"namespace,omitempty"`
	Name         string          `json:"name"`
	Environment  string          `json:"environment,omitempty"`
	Owner        string          `json:"owner,omitempty"`
	Route        string          `json:"route,omitempty"`
	Mission      *int            `json:"mission,omitempty"`
	Exposure     string          `json:"exposure"`
	ExposureWhy  string          `json:"exposure_why,omitempty"`
	Chart        DeployedChart   `json:"chart"`
	Dependencies []DeployedChart `json:"dependencies,omitempty"`
	Status       string          `json:"status,omitempty"`
	Revision     int             `json:"revision,omitempty"`
	Updated      time.Time       `json:"updated,omitzero"`
	Values       json.RawMessage `json:"values,omitempty"`
	Images       []string        `json:"images,omitempty"`
	Rendering    *Rendering      `json:"rendering,omitempty"`
	Fingerprint  string          `json:"fingerprint,omitempty"`
	Match        Match           `json:"match"`
	Unresolved   []string        `json:"unresolved,omitempty"`
	Import       string          `json:"import"`
	FirstSeen    time.Time       `json:"first_seen"`
	LastSeen     time.Time       `json:"last_seen"`
}

// DeployedChart is what a deployment says of its chart.
type DeployedChart struct {
	Name       string `json:"name"`
	Alias      string `json:"alias,omitempty"`
	Version    string `json:"version,omitempty"`
	Constraint string `json:"constraint,omitempty"`
	AppVersion string `json:"app_version,omitempty"`
	Repository string `json:"repository,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Condition  string `json:"condition,omitempty"`
}

// Match says which published chart a deployment is.
type Match struct {
	Confidence string `json:"confidence"` // exact, strong, weak or unknown
	How        string `json:"how"`
	Upstream   string `json:"upstream,omitempty"`
	Project    string `json:"project,omitempty"`
	Chart      string `json:"chart,omitempty"`
	Version    string `json:"version,omitempty"`
	Archive    string `json:"archive,omitempty"`
	Differs    bool   `json:"differs,omitempty"`
}

// OutdatedRow is a deployment beside what is published of its chart.
type OutdatedRow struct {
	Key         string    `json:"key"`
	From        string    `json:"from"`
	Cluster     string    `json:"cluster,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Name        string    `json:"name"`
	Environment string    `json:"environment,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	Chart       string    `json:"chart"`
	Version     string    `json:"version,omitempty"`
	Constraint  string    `json:"constraint,omitempty"`
	Published   string    `json:"published,omitempty"`
	Newest      string    `json:"newest,omitempty"`
	Allowed     string    `json:"allowed,omitempty"`
	Step        string    `json:"step,omitempty"`
	Releases    int       `json:"releases"`
	Since       time.Time `json:"since,omitzero"`
	Days        int       `json:"days"`
	State       string    `json:"state"` // current, outdated, unchecked, withdrawn or deprecated
	Why         string    `json:"why"`
	Match       Match     `json:"match"`
}

// Differences say in what one environment does not mirror another.
type Differences struct {
	A     string       `json:"a"`
	B     string       `json:"b"`
	Same  int          `json:"same"`
	OnlyA []string     `json:"only_a"`
	OnlyB []string     `json:"only_b"`
	Pairs []Difference `json:"differences"`
}

// Difference is in what two deployments of one chart differ.
type Difference struct {
	Name  string      `json:"name"`
	Chart string      `json:"chart"`
	A     string      `json:"key_a"`
	B     string      `json:"key_b"`
	Items []Deviation `json:"items"`
}

// Deviation is one thing that differs.
type Deviation struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Inventory is what was found at one place: deployments as JSON, each with the
// fields of Deployment down to Unresolved.
type Inventory struct {
	From        string            `json:"from"`
	Deployments []json.RawMessage `json:"deployments"`
	Problems    []string          `json:"problems,omitempty"`
	// Every declares how often it is found, such as 15m: nil leaves what was
	// declared, 0s takes it back.
	Every *string `json:"every,omitempty"`
}

// DeploymentChange is what people declare; nil leaves it, "" (of Mission, -1)
// takes it back.
type DeploymentChange struct {
	Environment *string `json:"environment,omitempty"`
	Owner       *string `json:"owner,omitempty"`
	Route       *string `json:"route,omitempty"`
	Mission     *int    `json:"mission,omitempty"`
	Exposure    *string `json:"exposure,omitempty"`
}

// ImportResult is what an import did.
type ImportResult struct {
	Import      string   `json:"import"`
	Deployments int      `json:"deployments"`
	Unresolved  int      `json:"unresolved"`
	New         int      `json:"new"`
	Changed     int      `json:"changed"`
	Gone        int      `json:"gone"`
	Events      []Event  `json:"events"`
	Problems    []string `json:"problems"`
}

// DeploymentPage is a page of deployments, without their values. The first one
// has the imports that brought them.
type DeploymentPage struct {
	List[Deployment]
	Imports []Import `json:"imports"`
}

// Import is what an import said when it was last made.
type Import struct {
	Name         string    `json:"name"`
	From         string    `json:"from"`
	Time         time.Time `json:"time"`
	Deployments  int       `json:"deployments"`
	Problems     []string  `json:"problems"` // what could not be read
	MoreProblems int       `json:"more_problems,omitempty"`
	Old          bool      `json:"old"` // it was not repeated for long
	// Every is how often it said that it is made, "" where it never did.
	Every string `json:"every,omitempty"`
	// OverdueSince is zero unless it missed that clearly.
	OverdueSince time.Time `json:"overdue_since,omitzero"`
}

// Rendering is what images and exposure were derived from, where Helm stored
// nothing.
type Rendering struct {
	Of          string   `json:"of"`
	Archive     string   `json:"archive"`
	Exposure    string   `json:"exposure"`
	ExposureWhy string   `json:"exposure_why,omitempty"`
	Unresolved  []string `json:"unresolved,omitempty"`
}

// Deployments lists what runs where, by key; importName "" lists those of all
// imports.
func (c *Client) Deployments(ctx context.Context, importName string, p Page) (l DeploymentPage, err error) {
	q := p.values()
	set(q, "import", importName)
	err = c.get(ctx, "/deployments", q, "deployment-list/v1", &l)
	return l, err
}

// Deployment returns one deployment.
func (c *Client) Deployment(ctx context.Context, key string) (out Deployment, err error) {
	err = c.get(ctx, "/deployment", url.Values{"key": {key}}, "deployment/v1", &out)
	return out, err
}

// SetDeployment changes what people declare of a deployment.
func (c *Client) SetDeployment(ctx context.Context, key string, ch DeploymentChange) (out Deployment, err error) {
	b, err := json.Marshal(ch)
	if err != nil {
		return out, fmt.Errorf("encode request: %w", err)
	}
	k := call{method: http.MethodPatch, path: api + "/deployment", query: url.Values{"key": {key}}, contentType: "application/json", body: bytes.NewReader(b), size: int64(len(b))}
	err = c.json(ctx, k, "deployment/v1", &out)
	return out, err
}

// ImportDeployments records what was found at one place: what the same import
// brought before and is not there now is gone.
func (c *Client) ImportDeployments(ctx context.Context, name string, found Inventory) (out ImportResult, err error) {
	path, err := segments(name)
	if err != nil {
		return out, err
	}
	err = c.send(ctx, http.MethodPut, "/deployments/imports"+path, found, "deployment-import/v1", &out)
	return out, err
}

// Outdated lists how far deployments are behind what is published.
func (c *Client) Outdated(ctx context.Context, importName string, p Page) (l List[OutdatedRow], err error) {
	q := p.values()
	set(q, "import", importName)
	err = c.get(ctx, "/outdated", q, "outdated-list/v1", &l)
	return l, err
}

// CompareEnvironments says in what two environments differ.
func (c *Client) CompareEnvironments(ctx context.Context, a, b string) (out Differences, err error) {
	err = c.get(ctx, "/environments/compare", url.Values{"a": {a}, "b": {b}}, "environment-comparison/v1", &out)
	return out, err
}
