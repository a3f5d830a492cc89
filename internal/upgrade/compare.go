package upgrade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// pair is what moving from one archive to another does under the values of a
// deployment. It is not changed after it was made.
type pair struct {
	archive   string                // digest of the new version as it was read
	images    [2][]string           // that the old and the new version run
	hidden    [2][]string           // of them those whose name holds a masked value
	posture   [2][]manifest.Finding // of each by itself
	hardening []manifest.Finding    // that the new version offers and nobody uses
	effort    manifest.Effort
	undo      manifest.UndoVerdict
	known     [2]bool // it could be rendered
	choices   choices // by which values the images of the old version are chosen, where it is compared with none
	reason    string  // why a side could not
}

// choices are the values by which images are chosen, by reference.
type choices map[string][]manifest.ImageValue

// source is an archive that is read when it is needed. name is its digest as it
// is known before; nil is an archive that is not had.
type source struct {
	name string
	read func(ctx context.Context) (archive []byte, digest string, err error)

	kept *manifest.Base // see base
}

// bytes reads a source; none is no archive.
func (f *source) bytes(ctx context.Context) ([]byte, string, error) {
	if f == nil {
		return nil, "", nil
	}
	return f.read(ctx)
}

// base is a source that others are compared with: it is read and rendered once.
// The options must be the same each time. None is no base.
func (f *source) base(ctx context.Context, o manifest.Options) (*manifest.Base, error) {
	if f == nil {
		return nil, nil
	}
	if f.kept == nil {
		archive, _, err := f.read(ctx)
		if err != nil {
			return nil, err
		}
		f.kept = manifest.NewBase(archive, o)
	}
	return f.kept, nil
}

func (f *source) key() string {
	if f == nil {
		return ""
	}
	return f.name
}

// options are how a deployment's chart is rendered.
func (s *Service) options(d *watch.Deployment) (manifest.Options, error) {
	values, _, err := d.RenderValues()
	return manifest.Options{Values: values, Name: d.Name, Namespace: d.Namespace, Upgrade: true, Limits: s.render, Templates: &s.templates}, err
}

// compare compares two archives under the values of a deployment; nil is one
// that is not had. Cost: nothing when the pair, or that it could not be
// compared a moment ago, is on the shelf; else reading the new archive and a
// rendering, and for the first version of a source the same of the old one.
func (s *Service) compare(ctx context.Context, d *watch.Deployment, old, new *source) (*pair, error) {
	key := pairKey(d, old.key(), new.key())
	if p, err := s.shelf.get(key, s.now()); p != nil || err != nil {
		return p, err
	}
	p, err := s.compareNow(ctx, d, old, new)
	if _, ok := problem.As(err); err == nil || ok && ctx.Err() == nil {
		if failed := s.shelf.put(key, p, err, s.now()); failed != nil {
			return nil, failed
		}
	}
	return p, err
}

func (s *Service) compareNow(ctx context.Context, d *watch.Deployment, old, new *source) (*pair, error) {
	o, err := s.options(d)
	if err != nil {
		return nil, err
	}
	was, err := old.base(ctx, o)
	if err != nil {
		return nil, err
	}
	is, name, err := new.bytes(ctx)
	if err != nil {
		return nil, err
	}
	p, _, err := compared(was, is, o)
	if err != nil {
		return nil, err
	}
	p.archive = name
	if is == nil && p.known[0] {
		p.choices, _ = was.ImageValues() // of a chart that does not take other tags nothing is known
	}
	return p, nil
}

// compared compares two archives, of which one may be nil: then the other one
// is compared with itself, and what an upgrade asks of people is not known, and
// not small for that.
func compared(old *manifest.Base, new []byte, o manifest.Options) (*pair, manifest.Comparison, error) {
	missing := -1
	switch {
	case old == nil:
		missing, old = 0, manifest.NewBase(new, o)
	case new == nil:
		missing, new = 1, old.Archive()
	}
	c, err := old.Compare(new)
	if err != nil {
		return nil, c, err
	}
	if missing >= 0 {
		c.Effort = manifest.EffortOf([]manifest.Finding{{
			Rule: "compared-as-text", Severity: manifest.Medium, Object: c.New.Name, Message: "the archive of the other version is not had, so the two were not compared",
		}}, "", "")
		c.Undo = manifest.Undo{Verdict: manifest.UndoUnknown, Reasons: []manifest.Obstacle{}}
	}
	p := pairOf(&c)
	if missing >= 0 {
		p.images[missing], p.hidden[missing], p.posture[missing], p.known[missing], p.hardening = nil, nil, nil, false, nil
	}
	return p, c, nil
}

func pairKey(d *watch.Deployment, old, new string) string {
	h := sha256.New()
	for _, part := range []string{old, new, d.Name, d.Namespace} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Write(d.Values)
	return hex.EncodeToString(h.Sum(nil))
}

// pairOf keeps of a comparison what plans need.
func pairOf(c *manifest.Comparison) *pair {
	p := &pair{effort: c.Effort, undo: c.Undo.Verdict}
	for i, side := range []*manifest.Side{&c.Old, &c.New} {
		p.images[i], p.hidden[i] = refs(side)
		p.posture[i], p.known[i] = side.Posture, side.Known
		if !side.Known {
			p.reason = side.Reason
		}
	}
	for _, f := range c.Findings {
		if f.Rule == "hardening-offered" {
			p.hardening = append(p.hardening, f)
		}
	}
	return p
}

// refs are the images that a side surely or likely runs, sorted; those whose
// name holds a masked value are not known, and stand apart.
func refs(side *manifest.Side) (known, hidden []string) {
	for _, i := range side.Images {
		switch {
		case i.Confidence == manifest.Possible:
		case deployment.MadeOfMasked(i.Ref):
			hidden = append(hidden, i.Ref)
		default:
			known = append(known, i.Ref)
		}
	}
	return distinct(known), distinct(hidden)
}
