package watch

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// provenanceFor is how long a mirror waits for a provenance file that cannot be
// had, from when the version may be released. A provenance that comes later
// than the claim would not reach clients of the OCI door.
const provenanceFor = 24 * time.Hour

// provenance is what was found of one when an archive was released.
type provenance struct {
	asked   bool
	digest  string // of the file, "" for none
	archive string // that it was held against
	fault   error  // why it is not one of the archive
	missing error  // why it could not be had
}

// words say in the event of a release what became of its provenance.
func (p *provenance) words() string {
	switch {
	case !p.asked:
		return ""
	case p.fault != nil:
		return "not taken over: it is not of this archive"
	case p.missing != nil:
		return "could not be had: " + told(p.missing)
	case p.digest == "":
		return "none is published"
	}
	return p.digest
}

// provenanceOf reads the provenance of a version when it is released. One that
// is not of the archive is left out, and told of.
func (s *Service) provenanceOf(u *Upstream, src Source, v *VersionState, p *provenance) func(context.Context, string) ([]byte, error) {
	if v.URL == "" {
		return nil
	}
	return func(ctx context.Context, archive string) ([]byte, error) {
		p.asked, p.archive = true, archive
		b, err := s.sources.Provenance(ctx, src, v.URL)
		if err != nil {
			if ripe := v.FirstSeen.Add(time.Duration(u.Mirror.MinAge)); later(err) && s.now().Before(ripe.Add(provenanceFor)) {
				return nil, err // the next poll tries again
			}
			p.missing = err
			return nil, nil
		}
		if b == nil {
			return nil, nil
		}
		p.digest = digest.SHA256(b)
		parsed, err := chart.ParseProvenance(b)
		if err == nil {
			err = parsed.Check(chart.Metadata{Name: v.Chart, Version: v.Version}, archive)
		}
		if err != nil {
			p.fault = err
			return nil, nil
		}
		return b, nil
	}
}

// unproven is the event of a provenance that is not of its archive, nil for
// none. Of an archive that was replaced, the one that is published now is not
// expected to be.
func (s *Service) unproven(u *Upstream, v *VersionState, p *provenance) *Event {
	if p.fault == nil || v.Archive != "" && p.archive != v.Archive {
		return nil
	}
	e := Event{
		Time: s.now(), Kind: ProvenanceMismatch, Severity: High, Upstream: u.Name, SourceID: v.SourceID, Chart: v.Chart, Version: v.Version, Project: u.Mirror.Project,
		Message: "the provenance file that is published for " + v.Chart + " " + v.Version + " is not of the archive beside it", Question: askProvenance,
	}
	if f, ok := problem.As(p.fault); ok {
		e.with("fault", f.Message)
		for _, fact := range f.Facts {
			e.with(fact.Label, fact.Value)
		}
	}
	e.with("archive", p.archive)
	e.with("provenance file", p.digest)
	e.Key = eventKey(e.Kind, v.SourceID, v.Chart, v.Version, p.archive, p.digest)
	return &e
}
