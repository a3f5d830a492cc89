// Package deployment models what runs where: charts that are installed in
// clusters, or that files say should be. It reads Helm's storage, Argo CD
// Applications and ApplicationSets, Flux HelmReleases, helmfiles, umbrella
// charts and plain lists, and tells which published chart a deployment is.
//
// What always holds:
//
//   - Every deployment that is found is in the answer, resolved or with the
//     reason why it is not; nothing is left out.
//   - Values are masked when they are read: what looks like a secret never
//     leaves this package in clear.
//   - A match says how it was made and how sure it is. The fingerprint comes
//     first, names last; what cannot be told is unknown.
package deployment

import (
	"encoding/json"
	"time"
)

// Tool is what describes a deployment.
type Tool string

// The tools.
const (
	Helm     Tool = "helm"     // Helm's own storage in a cluster
	ArgoCD   Tool = "argocd"   // an Application, or one that an ApplicationSet makes
	Flux     Tool = "flux"     // a HelmRelease
	Helmfile Tool = "helmfile" // a release of a helmfile
	Umbrella Tool = "umbrella" // a dependency in a Chart.yaml
	Plain    Tool = "plain"    // a line of a plain list
)

// Exposure is who can reach a deployment, from the least.
type Exposure string

// The exposures, as the CERT/CC SSVC deployer tree has them.
const (
	ExposureUnknown    Exposure = "unknown"
	ExposureSmall      Exposure = "small"      // local or strictly limited
	ExposureControlled Exposure = "controlled" // inside the network
	ExposureOpen       Exposure = "open"       // from the internet or everywhere
)

// Deployment is a chart that is installed, or should be.
type Deployment struct {
	// Key names the deployment for ever: cluster/namespace/name for what runs,
	// and the place in the files for what should run.
	Key       string `json:"key"`
	Tool      Tool   `json:"tool"`
	From      string `json:"from"` // where it was read: context, or file and line
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`

	Environment string   `json:"environment,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Route       string   `json:"route,omitempty"`   // where its owner is reached; "" when nobody said
	Mission     *int     `json:"mission,omitempty"` // tier 0 (lowest) to 3; nil when nobody said
	Exposure    Exposure `json:"exposure"`
	ExposureWhy string   `json:"exposure_why,omitempty"` // what it was derived from, or "declared"

	Chart        Chart           `json:"chart"`
	Dependencies []Chart         `json:"dependencies,omitempty"`
	Status       string          `json:"status,omitempty"` // Helm's: deployed, failed, pending-upgrade …
	Revision     int             `json:"revision,omitempty"`
	Updated      time.Time       `json:"updated,omitzero"`
	Values       json.RawMessage `json:"values,omitempty"`    // in use, masked
	Images       []string        `json:"images,omitempty"`    // of what is rendered, sorted
	Rendering    *Rendering      `json:"rendering,omitempty"` // that images and exposure were derived from; nil for what Helm stored
	Fingerprint  string          `json:"fingerprint,omitempty"`
	Print        *Print          `json:"print,omitempty"` // what can be compared with archives; of what Helm stored
	Match        Match           `json:"match"`
	// Unresolved says what could not be found out, and why; empty when all was.
	Unresolved []string `json:"unresolved,omitempty"`
}

// Chart is what a deployment says of its chart.
type Chart struct {
	Name       string `json:"name"`
	Alias      string `json:"alias,omitempty"`
	Version    string `json:"version,omitempty"`    // exact; "" when only a range is known
	Constraint string `json:"constraint,omitempty"` // the range, where one is written
	AppVersion string `json:"app_version,omitempty"`
	Repository string `json:"repository,omitempty"` // URL, oci:// included; "" unknown
	Digest     string `json:"digest,omitempty"`     // sha256:…, where it is pinned
	Condition  string `json:"condition,omitempty"`
}

// Confidence is how sure a match is.
type Confidence string

// The confidences, from the surest.
const (
	Exact   Confidence = "exact"   // by fingerprint or pinned digest
	Strong  Confidence = "strong"  // by repository, name and version
	Weak    Confidence = "weak"    // by name and version alone
	Unknown Confidence = "unknown" // nothing, or several that cannot be told apart
)

// Match says which published chart a deployment is.
type Match struct {
	Confidence Confidence `json:"confidence"`
	How        string     `json:"how"` // one sentence
	Upstream   string     `json:"upstream,omitempty"`
	Project    string     `json:"project,omitempty"`
	Chart      string     `json:"chart,omitempty"`
	Version    string     `json:"version,omitempty"`
	Archive    string     `json:"archive,omitempty"`
	// Differs is set when a chart of that name and version was published, and
	// what is deployed has other bytes.
	Differs bool `json:"differs,omitempty"`
}

// Inventory is what was found at one place.
type Inventory struct {
	From        string       `json:"from"`
	Deployments []Deployment `json:"deployments"` // by key
	// Problems are files or objects that should describe deployments and could
	// not be read: "file:line: why".
	Problems []string `json:"problems,omitempty"`
}
