package upgrade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// shelf keeps what was compared lately: rendering two charts costs a tenth of a
// second or more, and plans, reviews and pages ask for the same pairs.
type shelf struct {
	mu    sync.Mutex
	pairs map[string]*pair
}

// maxPairs bounds the shelf. A pair has some kilobytes: the texts of a
// comparison are left out.
const maxPairs = 4096

// pair is what moving from one archive to another does under the values of a
// deployment. It is not changed after it was made.
type pair struct {
	images    [2][]string           // that the old and the new version run
	posture   [2][]manifest.Finding // of each by itself
	hardening []manifest.Finding    // that the new version offers and nobody uses
	effort    manifest.Effort
	undo      manifest.UndoVerdict
	known     [2]bool // it could be rendered
	reason    string  // why a side could not
	masked    bool    // an image's name has a masked value in it
}

// bytesOf is an archive with its digest; without bytes it is not had.
type bytesOf struct {
	digest  string
	archive []byte
}

// options are how a deployment's chart is rendered.
func (s *Service) options(d *watch.Deployment) (manifest.Options, error) {
	o := manifest.Options{Name: d.Name, Namespace: d.Namespace, Upgrade: true, Limits: s.render}
	if len(d.Values) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(d.Values, &o.Values); err != nil {
		return o, fmt.Errorf("read the values of %s: %w", d.Key, err)
	}
	return o, nil
}

// compare compares two archives under the values of a deployment, the old one
// by itself where new is nil, and the new one where the old is not had. Cost:
// two renderings, unless the pair is on the shelf.
func (s *Service) compare(ctx context.Context, d *watch.Deployment, old, new bytesOf) (*pair, error) {
	key := pairKey(d, old.digest, new.digest)
	s.shelf.mu.Lock()
	p := s.shelf.pairs[key]
	s.shelf.mu.Unlock()
	if p != nil {
		return p, nil
	}
	o, err := s.options(d)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch {
	case old.archive == nil:
		p, err = alone(1, new.archive, o)
	case new.archive == nil:
		p, err = alone(0, old.archive, o)
	default:
		var c manifest.Comparison
		if c, err = manifest.CompareCharts(old.archive, new.archive, o); err == nil {
			p = pairOf(&c)
		}
	}
	if err != nil {
		return nil, err
	}
	s.shelf.mu.Lock()
	if s.shelf.pairs == nil || len(s.shelf.pairs) >= maxPairs {
		s.shelf.pairs = map[string]*pair{}
	}
	s.shelf.pairs[key] = p
	s.shelf.mu.Unlock()
	return p, nil
}

func pairKey(d *watch.Deployment, old, new string) string {
	h := sha256.New()
	for _, part := range []string{old, new, d.Name, d.Namespace} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Write(d.Values)
	return hex.EncodeToString(h.Sum(nil))
}

// alone is a pair of which one side is not had. What an upgrade then asks of
// people is not known, and not small for that.
func alone(side int, archive []byte, o manifest.Options) (*pair, error) {
	c, err := manifest.CompareCharts(archive, archive, o)
	if err != nil {
		return nil, err
	}
	p := pairOf(&c)
	p.images[1-side], p.posture[1-side], p.known[1-side] = nil, nil, false
	p.hardening, p.undo = nil, manifest.UndoUnknown
	p.effort = manifest.EffortOf([]manifest.Finding{{
		Rule: "compared-as-text", Severity: manifest.Medium, Object: c.New.Name, Message: "the archive of the other version is not had, so the two were not compared",
	}}, "", "")
	return p, nil
}

// pairOf keeps of a comparison what plans need.
func pairOf(c *manifest.Comparison) *pair {
	p := &pair{effort: c.Effort, undo: c.Undo.Verdict}
	for i, side := range []*manifest.Side{&c.Old, &c.New} {
		var hidden bool
		p.images[i], hidden = refs(side)
		p.masked = p.masked || hidden
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

// refs are the images that a side surely or likely runs, sorted. Those whose
// name is made of a masked value are left out, and that is said.
func refs(side *manifest.Side) (out []string, hidden bool) {
	for _, i := range side.Images {
		switch {
		case i.Confidence == manifest.Possible:
		case strings.Contains(i.Ref, "***"):
			hidden = true
		default:
			out = append(out, i.Ref)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), hidden
}

// bytesOfVersion reads an archive that is kept; without bytes, and the reason,
// where it is not.
func (s *Service) bytesOfKept(ctx context.Context, digest string) (bytesOf, string, error) {
	if digest == "" {
		return bytesOf{}, "its bytes are not had", nil
	}
	b, err := s.readBlob(ctx, digest)
	if problem.KindOf(err) == problem.NotFound {
		return bytesOf{}, "its bytes are not had any more", nil
	}
	return bytesOf{digest, b}, "", err
}
