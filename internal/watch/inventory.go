package watch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const (
	maxProblems = 200 // of one import that are kept
	maxProblem  = 500 // runes of each
	importOld   = 7 * Day
	deriveFor   = time.Minute // of one import
)

// keep bounds what an import could not read.
func (im *Import) keep(problems []string) {
	im.Problems = []string{}
	for i, p := range problems {
		if i == maxProblems {
			im.MoreProblems = len(problems) - i
			return
		}
		im.Problems = append(im.Problems, line(p, maxProblem))
	}
}

// Imports lists the imports of deployments by name, with what they could not
// read. One that brought something and was not repeated for 7 days is old;
// one that declared an interval and missed it clearly is overdue.
func (s *Service) Imports(ctx context.Context, c audit.Caller) ([]Import, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	list, err := s.store.Imports(ctx)
	for i := range list {
		im := &list[i]
		im.Old = im.Deployments > 0 && s.now().Sub(im.Time) >= time.Duration(importOld)
		im.expected(s.now())
		if im.Problems == nil {
			im.Problems = []string{}
		}
	}
	return list, err
}

// derive renders what files describe and we hold the archive of, for its images
// and its exposure. What the last import of this name derived of the same
// archive and values is taken over. What there is no time for in one minute is
// said, and done by the next import. Cost: see deployment.Render; the archives
// are read once each.
func (s *Service) derive(ctx context.Context, name string, list []Deployment) error {
	var wanted []*Deployment
	for i := range list {
		if d := &list[i]; d.Tool != deployment.Helm && d.Status != "disabled" && d.Match.Confidence != deployment.Unknown && d.Match.Archive != "" {
			wanted = append(wanted, d)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	before, err := s.store.DeploymentList(ctx, name)
	if err != nil {
		return err
	}
	known := make(map[string]*Deployment, len(before))
	for i := range before {
		known[before[i].Key] = &before[i]
	}
	slices.SortStableFunc(wanted, func(a, b *Deployment) int { return strings.Compare(a.Match.Archive, b.Match.Archive) })
	within, cancel := context.WithTimeout(ctx, deriveFor)
	defer cancel()
	var archive []byte
	var why error
	of := ""
	for _, d := range wanted {
		if was := known[d.Key]; was != nil && was.Rendering != nil && was.Rendering.Of == d.RenderingOf(d.Match.Archive) {
			d.Derive(*was.Rendering, was.Images)
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if within.Err() != nil {
			d.Unresolved = append(d.Unresolved, "images and exposure are not known yet: there was no time to render its chart; the next import goes on")
			continue
		}
		if of != d.Match.Archive {
			of = d.Match.Archive
			archive, why = read(s.registry.OpenArchive(within, of))(s.limits.Archive)
			if p, ok := problem.As(why); why != nil && (!ok || p.Kind != problem.NotFound && p.Rule != "blob-lost") && ctx.Err() == nil {
				s.log.WarnContext(ctx, "read an archive to render", "digest", of, "error", why)
			}
		}
		if why != nil {
			d.Unresolved = append(d.Unresolved, "images and exposure are not known: the archive of its chart is not kept here")
			continue
		}
		if err := renderOf(d, archive); err != nil {
			s.log.WarnContext(ctx, "render a chart", "digest", of, "deployment", d.Key, "error", err)
			d.Unresolved = append(d.Unresolved, "images and exposure are not known: rendering its chart broke off")
		}
	}
	return nil
}

// renderOf contains what a chart may do that was made to break Helm's engine.
func renderOf(d *Deployment, archive []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("render: %v", p)
		}
	}()
	d.Render(d.Match.Archive, archive, manifest.DefaultLimits())
	return nil
}
