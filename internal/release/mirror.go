package release

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// mirrorID is who releases in a mirror.
const mirrorID = "mirror"

// MirrorOrigin is where the bytes of a mirrored release came from.
type MirrorOrigin struct {
	Upstream  string // the project's Policy.Mirror
	URL       string
	Chart     string
	Version   string
	Digest    string    // sha256:… as the upstream lists it; "" unknown
	Created   time.Time // as the upstream says; zero when it does not
	FirstSeen time.Time // by our own clock
	// Provenance reads the provenance of the archive with a digest, nil for
	// none. It is asked only for what is not released yet, and its error ends
	// the release. nil asks for none.
	Provenance func(ctx context.Context, archive string) ([]byte, error)
}

// checkPolicy refuses what contradicts itself, and brings the policy into the
// form that is stored.
func checkPolicy(p *Project) error {
	policy, err := CheckPolicy(p.Policy)
	if err != nil {
		return err
	}
	p.Policy, p.PolicyDigest = policy, PolicyDigest(policy)
	m, sig := p.Policy.Mirror, policy.Signatures
	switch {
	case p.Kind != KindCharts && sig != nil:
		return problem.New(problem.Invalid, signature.RulePolicy, "only a project of kind charts has releases that could be signed")
	case m == "":
		return nil
	case sig != nil && (sig.Distinct || len(sig.Kinds) > 0 && !slices.Equal(sig.Kinds, []signature.Kind{signature.PGP})):
		return problem.New(problem.Invalid, "project-mirror", "a mirror takes what its upstream publishes: only provenance files of given keys can be asked for")
	case p.Kind != KindCharts:
		return problem.New(problem.Invalid, "project-mirror", "only a project of kind charts can mirror an upstream")
	case p.State == ProjectImporting:
		return problem.New(problem.Invalid, "project-mirror", "a project either mirrors an upstream or takes over the history of an older repository")
	case p.Policy.RequireProvenance:
		return problem.New(problem.Invalid, "project-mirror", "a mirror takes what its upstream publishes, and cannot ask for signatures")
	case len(m) > 63 || !chart.IsSegment(m):
		return problem.New(problem.Invalid, "project-mirror", "%.80q is not a name of an upstream", m)
	}
	return nil
}

// MirrorTarget refuses a project that does not mirror this upstream. It asks
// for no right: who may set up a mirror was asked before.
func (s *Service) MirrorTarget(ctx context.Context, project, upstream string) error {
	_, err := s.mirrorTarget(ctx, project, upstream)
	return err
}

func (s *Service) mirrorTarget(ctx context.Context, project, upstream string) (Project, error) {
	p, err := s.store.ProjectFor(ctx, project)
	switch {
	case err == nil && p.Name != project, problem.KindOf(err) == problem.NotFound:
		return p, problem.New(problem.NotFound, "project", "there is no project %s", project).
			Suggest("chartkeep project create %s --mirror %s", project, upstream)
	case err != nil:
		return p, err
	case p.State == ProjectRemoved:
		return p, RefuseRemoved(p.Name)
	case p.Policy.Mirror == "":
		return p, problem.New(problem.Policy, "project-mirror", "project %s is no mirror: it was made for releases of your own", p.Name).
			Suggest("chartkeep project create NAME --mirror %s", upstream)
	case p.Policy.Mirror != upstream:
		return p, problem.New(problem.Policy, "project-mirror", "project %s mirrors the upstream %s, and not %s", p.Name, p.Policy.Mirror, upstream).
			Suggest("chartkeep project create NAME --mirror %s", upstream)
	}
	return p, nil
}

// Mirror releases an archive of an upstream in the project that mirrors it, as
// the bytes that stand for this version from now on. The same bytes again are
// no error, and are not read. It asks for no right: the mirror was set up by
// who may.
//
// A mirrored release is as frozen as every other. Its version need not be
// strict SemVer, only one that Helm can read, and its leaf is that of a release
// which was published elsewhere, with what the upstream says of it. Its
// provenance is claimed with it, and has to be of this archive. The index
// states as its time of creation when we first saw it, since clients take that
// time for its age.
func (s *Service) Mirror(ctx context.Context, project string, archive io.Reader, from MirrorOrigin) (Receipt, error) {
	p, err := s.mirrorTarget(ctx, project, from.Upstream)
	if err != nil {
		return Receipt{}, err
	}
	held, err := s.store.ReleaseByVersion(ctx, p.ID, from.Chart, from.Version)
	if err == nil && held.Archive == from.Digest {
		return Receipt{Release: held, Unchanged: true}, nil
	}
	if err != nil && problem.KindOf(err) != problem.NotFound {
		return Receipt{}, err
	}
	u, err := s.blobs.Begin(ctx)
	if err != nil {
		return Receipt{}, err
	}
	defer u.Cancel()
	c := Caller{Principal: access.Principal{Kind: access.KindSystem, ID: mirrorID, Name: mirrorID}, Door: audit.DoorMirror}
	a, err := chart.Open(io.TeeReader(archive, u), s.limits)
	if _, ok := problem.As(err); err != nil && !ok {
		return Receipt{}, problem.New(problem.Unavailable, "mirror-broken", "the transfer of %s %s from the upstream %s broke off", from.Chart, from.Version, from.Upstream).Because(err)
	}
	if err != nil {
		return Receipt{}, s.refusedArchive(ctx, c, &p, "", err)
	}
	if err := checkMirror(&a, &from); err != nil {
		return Receipt{}, s.refusedChart(ctx, c, &p, &a, err)
	}
	var prov []byte
	if from.Provenance != nil {
		if prov, err = from.Provenance(ctx, a.Digest); err != nil {
			return Receipt{}, err
		}
		if err := checkProvenance(&a, prov); err != nil {
			return Receipt{}, s.refusedChart(ctx, c, &p, &a, err)
		}
	}
	claim := s.newClaim(c, &p, &a, prov, &ImportOrigin{URL: from.URL, Created: from.Created, Digest: from.Digest})
	claim.RequireState, claim.Whole = ProjectActive, true
	if !from.FirstSeen.IsZero() {
		claim.Fragment = func(time.Time) []byte {
			return index.Fragment(a.Metadata, []string{"charts/" + claim.Release.File}, from.FirstSeen, strings.TrimPrefix(a.Digest, "sha256:"))
		}
	}
	return s.claimArchive(ctx, c, claim, &a, u)
}

// checkMirror asks of a mirrored archive what addresses need, and that it is
// what the upstream lists.
func checkMirror(a *chart.Archive, from *MirrorOrigin) error {
	m := a.Metadata
	if m.Name != from.Chart || m.Version != from.Version {
		return problem.New(problem.Disproven, "mirror-mismatch", "the upstream serves %s %s as %s %s", m.Name, m.Version, from.Chart, from.Version)
	}
	if err := checkAddress(a); err != nil {
		return err
	}
	// What is no version cannot take a name that signatures may have as a tag.
	if key, _ := chart.LenientVersion(m.Version); key == "" {
		return problem.New(problem.Invalid, "mirror-version", "%.80q of %s is not a version that Helm can read", m.Version, m.Name)
	}
	if from.Digest != "" && from.Digest != a.Digest {
		return problem.New(problem.Disproven, "mirror-digest", "the archive of %s %s is not the one that the upstream lists", m.Name, m.Version).
			With("listed", "%s", from.Digest).With("archive", "%s", a.Digest)
	}
	return nil
}

// refuseMirror is the answer to a push by hand into a mirror.
func refuseMirror(p *Project) error {
	return problem.New(problem.Policy, "project-mirror", "project %s mirrors the upstream %s, and only the mirror releases there", p.Name, p.Policy.Mirror).
		Suggest("push releases of your own to another project: chartkeep project create NAME")
}

// pull asks for a version that a mirror does not have yet. The error is nil
// when it is released now; it is nothing but NotFound where nobody has it.
func (s *Service) pull(ctx context.Context, p *Project, name, version string) error {
	if s.demand == nil || p.Policy.Mirror == "" || name == "" || version == "" {
		return noRelease(p, name+" "+version)
	}
	return s.demand(ctx, p.Name, name, version)
}

// pullFile is pull for the name of an archive. A name can be read in several
// ways: foo-1.0.0-2.0.0.tgz is foo 1.0.0-2.0.0 or foo-1.0.0 2.0.0.
func (s *Service) pullFile(ctx context.Context, p *Project, file string) error {
	refusal := noRelease(p, file)
	if s.demand == nil || p.Policy.Mirror == "" {
		return refusal
	}
	base, ok := strings.CutSuffix(file, ".tgz")
	for i := 1; ok && i < len(base)-1; i++ {
		if base[i] != '-' {
			continue
		}
		if key, _ := chart.LenientVersion(base[i+1:]); key == "" {
			continue
		}
		err := s.pull(ctx, p, base[:i], base[i+1:])
		if e, isProblem := problem.As(err); err == nil || !isProblem || e.Kind != problem.NotFound {
			return err
		} else if len(e.Facts) > 0 {
			refusal = err // it knows more than that there is none
		}
	}
	return refusal
}

// manifest finds a manifest of a chart, and what a mirror has on demand. It is
// what its digest says, and that of a release what the log says.
func (s *Service) manifest(ctx context.Context, p *Project, rest, ref string) (Manifest, error) {
	m, err := s.findManifest(ctx, p, rest, ref)
	if err != nil {
		return m, err
	}
	return m, s.attestManifest(ctx, &m)
}

func (s *Service) findManifest(ctx context.Context, p *Project, rest, ref string) (Manifest, error) {
	repo := p.Name
	if rest != "" {
		repo += "/" + rest
	}
	m, err := s.store.Manifest(ctx, repo, ref)
	if problem.KindOf(err) != problem.NotFound || p.Policy.Mirror == "" || strings.Contains(ref, ":") {
		return m, err
	}
	if pulled := s.pull(ctx, p, rest, chart.VersionForTag(ref)); pulled == nil {
		return s.store.Manifest(ctx, repo, ref)
	} else if problem.KindOf(pulled) != problem.NotFound {
		err = pulled
	}
	return m, err
}

// ReleasesAfter lists releases of all projects by log index after one. It asks
// for no right: it serves other rooms of this server. Cost: limit rows.
func (s *Service) ReleasesAfter(ctx context.Context, logIndex int64, limit int) ([]Release, error) {
	return s.store.ReleasesAfter(ctx, logIndex, limit)
}
