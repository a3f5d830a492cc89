package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// What follows is for the judgement of what is deployed. It asks for no right:
// whoever answers somebody does.

// AllDeployments hands out every deployment with its values. Cost: all of them.
func (s *Service) AllDeployments(ctx context.Context, each func(Deployment) error) error {
	list, err := s.store.Deployments(ctx, "")
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

// ListDeployments lists them without their values.
func (s *Service) ListDeployments(ctx context.Context) ([]Deployment, error) {
	return s.store.DeploymentList(ctx, "")
}

// OneDeployment is one of them.
func (s *Service) OneDeployment(ctx context.Context, key string) (Deployment, error) {
	return s.store.Deployment(ctx, key)
}

// ChartVersions are the published versions of a deployment's chart, see
// deployment.Catalogue.Versions. What was published within the last minute may
// be missing.
func (s *Service) ChartVersions(ctx context.Context, d Deployment) ([]deployment.Published, error) {
	c, err := s.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return c.Versions(&d.Deployment), nil
}

// ChartNotes are the texts that sources of an upstream publish about the
// versions of a chart, the newest thousand; none for a chart of our own.
func (s *Service) ChartNotes(ctx context.Context, upstream, chart string) ([]Note, error) {
	if upstream == "" {
		return nil, nil
	}
	u, err := s.store.Upstream(ctx, upstream)
	if problem.KindOf(err) == problem.NotFound {
		return nil, nil // it is watched no more
	}
	if err != nil {
		return nil, err
	}
	return s.store.Notes(ctx, u.ID, chart, "", 1000)
}

// FetchArchive reads the bytes of a version: those that are kept, else those
// that its source serves now. What is fetched is kept in the blob store, so that
// a review can be made again from the same bytes. Bytes that the list does not
// name are refused (problem.Disproven).
func (s *Service) FetchArchive(ctx context.Context, p deployment.Published) (archive []byte, name string, err error) {
	if p.Upstream == "" {
		b, err := read(s.registry.OpenArchive(ctx, p.Archive))(s.limits.Archive)
		return b, p.Archive, err
	}
	u, err := s.store.Upstream(ctx, p.Upstream)
	if err != nil {
		return nil, "", err
	}
	list, err := s.store.Versions(ctx, u.ID, p.Chart)
	if err != nil {
		return nil, "", err
	}
	for i := range list {
		v := &list[i]
		if v.Version != p.Version || v.Gone && v.Archive == "" {
			continue
		}
		if v.Archive != "" {
			b, err := read(s.registry.OpenArchive(ctx, v.Archive))(s.limits.Archive)
			return b, v.Archive, err
		}
		return s.fetchNow(ctx, &u, v)
	}
	return nil, "", problem.New(problem.NotFound, "version", "upstream %s has no version %s of %s any more", p.Upstream, p.Version, p.Chart)
}

// fetchNow fetches an archive that is not kept with its version.
func (s *Service) fetchNow(ctx context.Context, u *Upstream, v *VersionState) ([]byte, string, error) {
	i := slices.IndexFunc(u.Sources, func(src Source) bool { return src.ID == v.SourceID })
	name := ""
	if i >= 0 && u.Sources[i].Kind == SourceIndex && len(v.Digests) > 0 {
		name = prefixed(v.Digests[0]) // an OCI registry lists the digests of manifests
	}
	if name != "" {
		// It may have been fetched for a judgement before.
		b, err := read(s.registry.OpenArchive(ctx, name))(s.limits.Archive)
		if problem.KindOf(err) != problem.NotFound {
			return b, name, err
		}
	}
	if i < 0 || v.URL == "" {
		return nil, "", problem.New(problem.Unavailable, "archive-url", "%s %s is listed without an address", v.Chart, v.Version)
	}
	opened, err := s.sources.Archive(ctx, u.Sources[i], v.URL, Validators{})
	if err != nil {
		return nil, "", err
	}
	b, err := read(opened.ReadCloser, nil)(s.limits.Archive)
	if err != nil {
		return nil, "", err
	}
	if _, err := chart.Open(strings.NewReader(string(b)), s.limits); err != nil {
		return nil, "", err
	}
	if is := digest.SHA256(b); name != "" && name != is {
		return nil, "", problem.New(problem.Disproven, "archive-mismatch", "the archive of %s %s that is served is not the one in the index", v.Chart, v.Version).
			With("index", "%s", name).With("served", "%s", is)
	}
	name, err = s.registry.KeepArchive(ctx, b)
	if err != nil {
		return nil, "", fmt.Errorf("keep archive of %s %s: %w", v.Chart, v.Version, err)
	}
	return b, name, nil
}

// Changes names the present state of deployments and of what is published: it is
// another text when one of them changed. What people declare is in it as far as
// this process took it, and our own releases when their fingerprints are taken.
// Cost: the imports, and the upstreams with their sources.
func (s *Service) Changes(ctx context.Context) (string, error) {
	imports, err := s.store.Imports(ctx)
	if err != nil {
		return "", err
	}
	ups, err := s.store.Upstreams(ctx)
	if err != nil {
		return "", err
	}
	own, err := s.store.FingerprintedTo(ctx)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%d %d", own, s.declared.Load())
	for _, i := range imports {
		fmt.Fprintf(&out, " %s@%d", i.Name, i.Time.UnixMilli())
	}
	for _, u := range ups {
		for _, src := range u.Sources {
			fmt.Fprintf(&out, " %d@%d", src.ID, src.Health.LastChange.UnixMilli())
		}
	}
	return out.String(), nil
}
