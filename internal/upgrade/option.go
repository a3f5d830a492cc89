package upgrade

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// maxOptions bounds how many versions of a chart are compared for one
// deployment; each costs a rendering the first time.
const maxOptions = 8

// option is a version that a deployment could move to, compared.
type option struct {
	deployment.Published
	pair  *pair // nil where it could not be compared
	found found // what would be open
	why   string
}

// newer are the versions that a deployment could move to, the least first: of
// each minor version the newest patch, and of those the own, the next three, and
// the newest four. Pre-releases are for those who run one; versions that are
// listed no more, and bytes that were replaced, are for nobody.
func newer(list []deployment.Published, current string) []deployment.Published {
	key, at := chart.LenientVersion(current)
	if key == "" {
		return nil
	}
	pre := strings.Contains(key, "-")
	byLine := map[string]deployment.Published{}
	order := func(p *deployment.Published) string {
		_, sortKey := chart.LenientVersion(p.Version)
		return sortKey
	}
	for _, p := range list {
		k, sortKey := chart.LenientVersion(p.Version)
		if k == "" || sortKey <= at || p.Gone || p.Earlier || strings.Contains(k, "-") && !pre {
			continue
		}
		parts := strings.SplitN(k, ".", 3)
		line := strings.Join(parts[:min(len(parts), 2)], ".")
		if old, ok := byLine[line]; !ok || order(&old) < sortKey {
			byLine[line] = p
		}
	}
	out := make([]deployment.Published, 0, len(byLine))
	for _, p := range byLine {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b deployment.Published) int { return strings.Compare(order(&a), order(&b)) })
	if len(out) > maxOptions {
		out = slices.Concat(out[:maxOptions/2], out[len(out)-maxOptions/2:])
	}
	return out
}

// weigh compares the versions that a deployment could move to with what it
// runs. The error is our own; a version that cannot be had or rendered says so.
func (s *Service) weigh(ctx context.Context, is *state, d *watch.Deployment, running *source, versions []deployment.Published) ([]option, error) {
	out := make([]option, 0, len(versions))
	for _, v := range versions {
		o, err := s.option(ctx, is, d, running, v)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func (s *Service) option(ctx context.Context, is *state, d *watch.Deployment, running *source, v deployment.Published) (option, error) {
	o := option{Published: v}
	var err error
	if o.pair, err = s.compare(ctx, d, running, s.published(v)); err != nil {
		if _, ok := problem.As(err); !ok || ctx.Err() != nil {
			return o, err
		}
		o.pair, o.Archive, o.why = nil, "", "it could not be compared: "+sayError(err)
		return o, nil
	}
	o.Archive = o.pair.archive
	if !o.pair.known[1] {
		o.why = "it does not render with these values: " + o.pair.reason
	}
	o.found = is.look(o.pair.images[1], repositories(d), d.Chart.Name, v.Version)
	o.found.hide(o.pair.hidden[1])
	return o, nil
}

// published is the archive of a version, fetched where it is not kept. One whose
// digest is not known beforehand has a name that no other version has.
func (s *Service) published(v deployment.Published) *source {
	return &source{
		name: v.Archive + " " + v.Upstream + " " + v.Project + " " + v.Version,
		read: func(ctx context.Context) ([]byte, string, error) {
			archive, name, err := s.watch.FetchArchive(ctx, v)
			if p, ok := problem.As(err); ok {
				err = problem.New(p.Kind, p.Rule, "its archive could not be had: %s", p.Message)
			}
			return archive, name, err
		},
	}
}

// running is the archive that a deployment was matched with; nil, and why, where
// it is not had.
func (s *Service) running(ctx context.Context, d *watch.Deployment) (*source, string, error) {
	name := d.Match.Archive
	if name == "" {
		return nil, "its bytes are not had", nil
	}
	r, err := s.registry.OpenBlob(ctx, name)
	if problem.KindOf(err) == problem.NotFound {
		return nil, "its bytes are not had any more", nil
	}
	if err != nil {
		return nil, "", err
	}
	r.Close()
	return &source{name: name, read: func(ctx context.Context) ([]byte, string, error) {
		b, err := s.readBlob(ctx, name)
		return b, name, err
	}}, "", nil
}

// repositories are the addresses that a deployment's chart is known to come
// from.
func repositories(d *watch.Deployment) []string {
	if d.Chart.Repository == "" {
		return nil
	}
	return []string{d.Chart.Repository}
}

// readBlob reads an archive by digest, within the limits of charts.
func (s *Service) readBlob(ctx context.Context, digest string) ([]byte, error) {
	r, err := s.registry.OpenBlob(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	limit := s.render.Archive.Archive
	if limit == 0 {
		limit = manifest.DefaultLimits().Archive.Archive
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read archive %s: %w", digest, err)
	}
	if n > limit {
		return nil, problem.New(problem.TooLarge, "archive-size", "the archive has more than %d bytes", limit)
	}
	return b.Bytes(), nil
}

// closes reports whether an option closes a finding for certain: it is compared,
// and its images and advisories are known. An image of it that nobody knows
// could be where the finding went, when it is an image of the same component.
func (o *option) closes(f *Finding) bool {
	if o.pair == nil || !o.pair.known[1] {
		return false
	}
	switch f.Kind {
	case OfPosture:
		return !slices.ContainsFunc(o.pair.posture[1], func(m manifest.Finding) bool { return m.Rule+" in "+m.Object == f.Key })
	case OfHardening:
		return false // it is offered there, not used
	}
	if o.found.byKey[f.Key] != nil {
		return false
	}
	// The image may be there with a tag that cannot be read: not known to be
	// closed.
	for _, u := range o.found.unknown {
		if slices.ContainsFunc(f.Images, func(ref string) bool { return sameRepository(ref, u.Image) }) {
			return false
		}
	}
	return true
}

// sameRepository reports whether two references name the same image but for tag
// and digest.
func sameRepository(a, b string) bool {
	x, _, _ := manifest.ImageName(a)
	y, _, _ := manifest.ImageName(b)
	return x == y
}

// firstFix is the version that closes a finding and was seen first; nil while
// there is none.
func firstFix(options []option, f *Finding) (first *option) {
	for i := range options {
		o := &options[i]
		if o.closes(f) && !o.FirstSeen.IsZero() && (first == nil || o.FirstSeen.Before(first.FirstSeen)) {
			first = o
		}
	}
	return first
}

// sortVersions puts versions in their order, the least first; what cannot be
// read comes last.
func sortVersions(list []string) []string {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b string) int {
		x, i := chart.LenientVersion(a)
		y, k := chart.LenientVersion(b)
		return cmp.Or(flag(x == "", y == ""), strings.Compare(i, k))
	})
	return out
}
