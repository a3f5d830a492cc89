package watch

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
)

// Place is a deployment that runs a release, or may run it.
type Place struct {
	Key         string                `json:"key"`
	Cluster     string                `json:"cluster,omitempty"`
	Namespace   string                `json:"namespace,omitempty"`
	Name        string                `json:"name"`
	Environment string                `json:"environment,omitempty"`
	Owner       string                `json:"owner,omitempty"`
	Chart       string                `json:"chart"` // that is deployed
	Version     string                `json:"version,omitempty"`
	Dependency  bool                  `json:"dependency,omitempty"` // the release is a part of that chart
	Confidence  deployment.Confidence `json:"confidence"`
	How         string                `json:"how"`       // one sentence
	LastSeen    time.Time             `json:"last_seen"` // when the import that brought it was made
}

// Whereabouts are the deployments of one archive.
type Whereabouts struct {
	Running []Place `json:"running"` // surest first
	// Unknown are those of which it cannot be told. They are never to be taken
	// for free of it.
	Unknown []Place `json:"unknown"`
}

// Wanted says what is looked for: digests of an archive or of its manifest, and
// under which names these bytes are known.
type Wanted struct {
	Digests  []string
	Releases []OwnRelease
}

// Where lists the deployments that run an archive: by the fingerprint of what
// Helm stored, by the digest that is pinned, and last by name and version. It
// also answers for bytes that are gone. Cost: the catalogue, all deployments
// without their values, and for each the versions of its chart.
func (s *Service) Where(ctx context.Context, c audit.Caller, w Wanted) (Whereabouts, error) {
	out := Whereabouts{Running: []Place{}, Unknown: []Place{}}
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return out, err
	}
	catalogue, err := s.catalogue(ctx)
	if err != nil {
		return out, err
	}
	list, err := s.store.DeploymentList(ctx, "")
	if err != nil {
		return out, err
	}
	for i := range list {
		d := &list[i]
		m := catalogue.Match(&d.Deployment)
		if d.Match.Differs && m.Confidence == deployment.Exact { // its default values differ
			m = d.Match
		}
		p, found := w.find(d, &m)
		switch {
		case !found:
		case p.Confidence == deployment.Unknown:
			out.Unknown = append(out.Unknown, p)
		default:
			out.Running = append(out.Running, p)
		}
	}
	slices.SortStableFunc(out.Running, func(a, b Place) int { return cmp.Compare(sureness(b.Confidence), sureness(a.Confidence)) })
	return out, nil
}

func sureness(c deployment.Confidence) int {
	return slices.Index([]deployment.Confidence{deployment.Unknown, deployment.Weak, deployment.Strong, deployment.Exact}, c)
}

// find says what a deployment has to do with what is wanted.
func (w *Wanted) find(d *Deployment, m *deployment.Match) (p Place, found bool) {
	p = Place{
		Key: d.Key, Cluster: d.Cluster, Namespace: d.Namespace, Name: d.Name, Environment: d.Environment, Owner: d.Owner,
		Chart: d.Chart.Name, Version: d.Chart.Version, LastSeen: d.LastSeen,
	}
	switch {
	case d.Chart.Digest != "" && slices.Contains(w.Digests, d.Chart.Digest):
		p.Confidence, p.How = deployment.Exact, "the digest is pinned"
		return p, true
	case m.Confidence != deployment.Unknown && slices.Contains(w.Digests, m.Archive):
		p.Confidence, p.How = m.Confidence, m.How
		return p, true
	case m.Confidence == deployment.Unknown && !m.Differs && w.named(&d.Chart):
		p.Confidence, p.How = deployment.Unknown, m.How
		return p, true
	}
	return w.within(d, p)
}

// named says that a chart may be one of those that are wanted, by its name
// alone: the same version, or no exact one. One that nobody could name may be
// any.
func (w *Wanted) named(c *deployment.Chart) bool {
	if c.Name == "" {
		return len(w.Releases) > 0
	}
	return slices.ContainsFunc(w.Releases, func(r OwnRelease) bool {
		return r.Chart == c.Name && (c.Version == "" || deployment.SameVersion(r.Version, c.Version))
	})
}

// within looks at what a deployed chart depends on. Helm stores dependencies
// without their digests, so that a name is mostly all there is.
func (w *Wanted) within(d *Deployment, p Place) (Place, bool) {
	for i := range d.Dependencies {
		dep := &d.Dependencies[i]
		pinned := dep.Digest != "" && slices.Contains(w.Digests, dep.Digest)
		if !pinned && (dep.Name == "" || !w.named(dep)) {
			continue
		}
		p.Dependency, p.Confidence = true, deployment.Weak
		p.How = strings.TrimSpace("it depends on " + dep.Name + " " + cmp.Or(dep.Version, dep.Constraint))
		switch {
		case pinned:
			p.Confidence, p.How = deployment.Exact, p.How+", whose digest is pinned"
		case dep.Version == "":
			p.Confidence, p.How = deployment.Unknown, p.How+", and no exact version is known"
		}
		return p, true
	}
	return p, false
}
