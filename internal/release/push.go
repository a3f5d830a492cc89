package release

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// PushArchive releases a chart that comes as an archive, with or without its
// provenance. The same archive again is no error; see Receipt.Unchanged.
func (s *Service) PushArchive(ctx context.Context, c Caller, project string, archive io.Reader, prov []byte, opt PushOptions) (Receipt, error) {
	return s.pushArchive(ctx, c, project, archive, prov, opt, nil)
}

// ImportRelease takes over a release that an older repository published. The
// project must be importing. Versions need not be strict; what the older
// repository said of the release is recorded beside what was found.
func (s *Service) ImportRelease(ctx context.Context, c Caller, project string, archive io.Reader, prov []byte, from ImportOrigin) (Receipt, error) {
	return s.pushArchive(ctx, c, project, archive, prov, PushOptions{}, &from)
}

func (s *Service) pushArchive(ctx context.Context, c Caller, project string, archive io.Reader, prov []byte, opt PushOptions, from *ImportOrigin) (Receipt, error) {
	p, err := s.pushTarget(ctx, c, project, from)
	if err != nil {
		return Receipt{}, err
	}
	u, err := s.blobs.Begin(ctx)
	if err != nil {
		return Receipt{}, err
	}
	defer u.Cancel()
	a, err := chart.Open(io.TeeReader(archive, u), s.limits)
	if err != nil {
		return Receipt{}, s.refusedArchive(ctx, c, &p, opt.FileName, err)
	}
	if from == nil {
		err = checkArchive(&a, opt.FileName)
	} else {
		err = checkImport(&a, from)
	}
	if err == nil {
		err = checkProvenance(&a, prov)
	}
	if err != nil {
		return Receipt{}, s.refusedChart(ctx, c, &p, &a, err)
	}
	if err := s.allowPush(ctx, c, &p, &a, from); err != nil {
		return Receipt{}, err
	}
	claim := s.newClaim(c, &p, &a, prov, from)
	claim.Force = opt.Force
	return s.claimArchive(ctx, c, claim, &a, u)
}

// claimArchive claims what came as an archive, under a manifest of our own.
func (s *Service) claimArchive(ctx context.Context, c Caller, claim *Claim, a *chart.Archive, u Upload) (Receipt, error) {
	prov := claim.Prov
	claim.Manifest, claim.Config = ownManifest(a, claim.Release.Provenance, int64(len(prov)))
	claim.Release.Manifest, claim.Release.Config = claim.Manifest.Digest, digest.SHA256(claim.Config)
	claim.Manifest.Repository = claim.Release.Repository()
	claim.Links = append(claim.Links, Link{claim.Release.Config, int64(len(claim.Config)), true}, Link{a.Digest, a.Size, false})
	if prov != nil {
		claim.Links = append(claim.Links, Link{claim.Release.Provenance, int64(len(prov)), true})
	}
	claim.offered = u.Bytes
	return s.claim(ctx, c, claim, a, func() error {
		if err := s.notErasing(ctx, a.Digest); err != nil {
			return err
		}
		_, _, err := u.Commit(ctx, a.Digest)
		return err
	})
}

// pushTarget finds the project of a classic push and asks for the right
// before the body is read, as far as it can be asked then.
func (s *Service) pushTarget(ctx context.Context, c Caller, project string, from *ImportOrigin) (Project, error) {
	p, rest, err := s.find(ctx, c, project)
	if err != nil {
		return p, err
	}
	if rest != "" {
		return p, s.noSuchProject(c, project)
	}
	req := access.Request{Action: access.ChartPush, Project: p.Name, ProjectPublic: p.Public}
	if from != nil {
		req.Action = access.HistoryImport
	}
	if !s.could(c, req) {
		return p, s.refuse(ctx, c, req)
	}
	return p, s.pushable(&p, from)
}

// CanPush is nil when the caller could push some chart to the project now, and
// the refusal otherwise. Doors ask it before they read a form.
func (s *Service) CanPush(ctx context.Context, c Caller, project string) error {
	_, err := s.pushTarget(ctx, c, project, nil)
	return err
}

func (s *Service) noSuchProject(c Caller, name string) error {
	unknown := access.Request{Action: access.ChartPull, Project: name}
	if !access.Allowed(c.Principal, unknown, s.now()) {
		return access.Refuse(c.Principal, unknown, s.now())
	}
	return problem.New(problem.NotFound, "project", "there is no project %s", name).Suggest("chartkeep project list")
}

// pushable says whether a project takes charts now, and of this kind.
func (s *Service) pushable(p *Project, from *ImportOrigin) error {
	switch {
	case p.Kind != KindCharts:
		return problem.New(problem.Policy, "project-kind", "project %s is of kind %s and takes no charts, since it could not keep them unchanged", p.Name, p.Kind).
			Suggest("chartkeep project create NAME --kind charts")
	case p.Policy.Mirror != "":
		return refuseMirror(p)
	case from == nil && p.State == ProjectImporting:
		return problem.New(problem.Conflict, "project-importing", "project %s is taking over the history of an older repository, and takes new releases after its cut-over", p.Name).
			Suggest("chartkeep project cut-over %s", p.Name)
	case from != nil && p.State != ProjectImporting:
		return problem.New(problem.Conflict, "project-not-importing", "project %s is %s, and history can be taken over only before the cut-over", p.Name, p.State).
			Suggest("push the chart as a new release: chartkeep push FILE --project %s", p.Name)
	}
	return nil
}

// checkArchive holds a new release to the strict rules and to the name under
// which it came.
func checkArchive(a *chart.Archive, fileName string) error {
	if err := a.Check(); err != nil {
		return err
	}
	want := chart.FileName(a.Metadata.Name, a.Metadata.Version)
	if fileName != "" && fileName != want {
		return problem.New(problem.Invalid, "file-name-mismatch", "the file is named %.200s, but its Chart.yaml says %s %s", fileName, a.Metadata.Name, a.Metadata.Version).
			With("expected", "%s", want).Suggest("mv %.200s %s", fileName, want)
	}
	return nil
}

// checkAddress asks only that a chart can be served through every door.
func checkAddress(a *chart.Archive) error {
	if err := chart.CheckName(a.Metadata.Name); err != nil {
		return err
	}
	// The tag has to lead back to the version: 1.0_a and 1.0+a would share one.
	tag := chart.TagFor(a.Metadata.Version)
	if !chart.IsTag(tag) || chart.VersionForTag(tag) != a.Metadata.Version || fallbackTag(tag) {
		return problem.New(problem.Invalid, "import-version", "version %.80q of %s cannot be an OCI tag, so it cannot be served through every door", a.Metadata.Version, a.Metadata.Name).
			Suggest("leave this release out: Helm cannot install it by its version either")
	}
	return nil
}

// checkImport asks of history only what addresses need. The digest that the
// older repository stated must be that of the bytes, or a person has to look.
func checkImport(a *chart.Archive, from *ImportOrigin) error {
	if err := checkAddress(a); err != nil {
		return err
	}
	if from.Digest != "" && from.Digest != a.Digest {
		return problem.New(problem.Disproven, "import-digest", "the archive of %s %s is not the one that the older repository's index names", a.Metadata.Name, a.Metadata.Version).
			With("index", "%s", from.Digest).With("archive", "%s", a.Digest).
			Suggest("find out which of both was released, and import that archive without the index")
	}
	return nil
}

func checkProvenance(a *chart.Archive, prov []byte) error {
	if prov == nil {
		return nil
	}
	p, err := chart.ParseProvenance(prov)
	if err != nil {
		return err
	}
	return p.Check(a.Metadata, a.Digest)
}

// allowPush asks for the right now that chart and version are known.
func (s *Service) allowPush(ctx context.Context, c Caller, p *Project, a *chart.Archive, from *ImportOrigin) error {
	v, err := chart.ParseVersion(a.Metadata.Version)
	action := access.ChartPush
	if from != nil {
		action = access.HistoryImport
	}
	return s.allow(ctx, c, p, a.Metadata.Name, action, err == nil && v.Prerelease())
}

// refusedArchive answers bytes that are no chart. A reader that failed is the
// client's connection, or our own disk, and nothing is recorded.
func (s *Service) refusedArchive(ctx context.Context, c Caller, p *Project, fileName string, err error) error {
	if problem.KindOf(err) == problem.Unavailable {
		return err
	}
	if _, ok := problem.As(err); !ok {
		return problem.New(problem.Invalid, "upload-broken", "the upload ended before the archive was complete").
			Suggest("push again").Because(err)
	}
	return s.refused(ctx, c, refusalName(err), audit.Resource{Project: p.Name}, err, offeredFile(fileName))
}

func offeredFile(name string) map[string]string {
	if name == "" {
		return nil
	}
	return map[string]string{"file": name}
}

func (s *Service) refusedChart(ctx context.Context, c Caller, p *Project, a *chart.Archive, err error) error {
	r := audit.Resource{Project: p.Name, Chart: a.Metadata.Name, Version: a.Metadata.Version, Digest: a.Digest}
	return s.refused(ctx, c, refusalName(err), r, err, nil)
}

// refusalName sorts refusals for the audit trail.
func refusalName(err error) audit.Name {
	e, ok := problem.As(err)
	switch {
	case !ok:
		return audit.RefusedValidation
	case e.Kind == problem.TooLarge:
		return audit.RefusedLimit
	case e.Kind == problem.Policy && !strings.HasPrefix(e.Rule, "signature"):
		return audit.RefusedPolicy
	case e.Rule == "chart-version":
		return audit.RefusedVersion
	case strings.HasPrefix(e.Rule, "provenance"):
		return audit.RefusedProvenance
	case strings.HasPrefix(e.Rule, "signature"):
		return audit.RefusedSignature
	case strings.HasSuffix(e.Rule, "mismatch"):
		return audit.RefusedMismatch
	case e.Rule == "import-digest":
		return audit.RefusedDigest
	}
	return audit.RefusedValidation
}

// newClaim fills in what follows from the archive, whichever door it came
// through.
func (s *Service) newClaim(c Caller, p *Project, a *chart.Archive, prov []byte, from *ImportOrigin) *Claim {
	m := a.Metadata
	r := Release{
		ProjectID: p.ID, Project: p.Name, Chart: m.Name, Version: m.Version, Tag: chart.TagFor(m.Version), File: chart.FileName(m.Name, m.Version),
		Archive: a.Digest, Size: a.Size, Content: a.Content, Door: string(c.Door), Legacy: from != nil,
	}
	r.Publisher, r.By = actor(c)
	if v, err := chart.ParseVersion(m.Version); err == nil {
		r.Key, r.SortKey = v.Key(), v.SortKey()
	} else {
		r.Key, r.SortKey = chart.LenientVersion(m.Version)
	}
	claim := &Claim{Now: s.now(), Event: s.event(c), Prov: prov, Legacy: from, RequireState: ProjectActive}
	if from != nil {
		claim.RequireState = ProjectImporting
	}
	if prov != nil {
		r.Provenance = digest.SHA256(prov)
	}
	claim.Release, claim.Source = r, tlog.Source(c.Principal.Source)
	claim.project = *p
	created := func(t time.Time) time.Time {
		if from != nil && !from.Created.IsZero() {
			return from.Created // what clients saw before they see now
		}
		return t
	}
	claim.Fragment = func(t time.Time) []byte {
		return index.Fragment(m, []string{"charts/" + r.File}, created(t), strings.TrimPrefix(r.Archive, "sha256:"))
	}
	return claim
}

// claim makes the release exist. store makes the archive's bytes durable; it is
// not called where the name is held already, since nothing frees a name: then
// the transaction can only say "unchanged" or refuse.
func (s *Service) claim(ctx context.Context, c Caller, claim *Claim, a *chart.Archive, store func() error) (Receipt, error) {
	r := &claim.Release
	held, err := s.store.ReleaseByFile(ctx, r.ProjectID, r.File)
	if problem.KindOf(err) == problem.NotFound && r.Key != "" && !r.Legacy {
		held, err = s.store.ReleaseByKey(ctx, r.ProjectID, r.Chart, r.Key)
	}
	switch {
	case err == nil:
		claim.MustBeHeld = true
		if !held.State.Withheld() && held.Archive != r.Archive && held.Content != r.Content && held.Chart == r.Chart && held.Version == r.Version {
			claim.Differs, claim.DiffersFrom = s.difference(ctx, &held, a)
		}
		if held.Archive != r.Archive {
			claim.Copy = s.keepRefused(ctx, claim)
		}
	case problem.KindOf(err) != problem.NotFound:
		return Receipt{}, err
	default:
		if err := s.judgeClaim(ctx, c, claim); err != nil {
			return Receipt{}, err
		}
		if err := store(); err != nil {
			return Receipt{}, err
		}
	}
	res, err := s.store.Claim(ctx, claim)
	if problem.KindOf(err) == problem.Immutable && claim.Copy == "" && res.Release.Archive != r.Archive {
		// Another push won while this one was on its way, and was stored.
		claim.offered = func(limit int64) ([]byte, error) { return s.readSmall(ctx, r.Archive, limit) }
		s.keepRefused(ctx, claim)
	}
	if err != nil {
		return Receipt{Release: res.Release}, err
	}
	receipt := Receipt(res)
	if receipt.Release.By == "" {
		receipt.Release.By = r.By
	}
	if res.Unchanged && claim.Prov != nil && res.Release.Provenance != r.Provenance {
		// The push of a released archive may bring its provenance, once.
		return s.attach(ctx, c, &res.Release, claim.Prov)
	}
	if res.Unchanged && res.Release.State == Staged {
		return s.complete(ctx, c, &res.Release)
	}
	return receipt, nil
}

// difference compares an offered archive with the released one, for the
// message of a refusal. What cannot be read makes no message.
func (s *Service) difference(ctx context.Context, held *Release, a *chart.Archive) ([]chart.Change, string) {
	b, err := s.openLarge(ctx, held.Archive)
	if err != nil {
		s.log.WarnContext(ctx, "compare with released archive", "release", held.Ref(), "error", err)
		return nil, ""
	}
	defer b.Close()
	old, err := chart.Open(io.NewSectionReader(b.file, 0, b.Size()), s.limits)
	if err != nil {
		s.log.WarnContext(ctx, "compare with released archive", "release", held.Ref(), "error", err)
		return nil, ""
	}
	return chart.Diff(old.Files, a.Files), held.Archive
}

// AttachProvenance adds a provenance to the release that it names, once.
func (s *Service) AttachProvenance(ctx context.Context, c Caller, project string, prov []byte) (Receipt, error) {
	p, rest, err := s.find(ctx, c, project)
	if err != nil {
		return Receipt{}, err
	}
	if rest != "" {
		return Receipt{}, s.noSuchProject(c, project)
	}
	req := access.Request{Action: access.ProvAttach, Project: p.Name, ProjectPublic: p.Public}
	if !s.could(c, req) {
		return Receipt{}, s.refuse(ctx, c, req)
	}
	parsed, err := chart.ParseProvenance(prov)
	if err != nil {
		return Receipt{}, s.refused(ctx, c, audit.ProvRefused, audit.Resource{Project: p.Name}, err, nil)
	}
	r, err := s.store.ReleaseByVersion(ctx, p.ID, parsed.Name, parsed.Version)
	if err != nil {
		return Receipt{}, err
	}
	v, verr := chart.ParseVersion(r.Version)
	if err := s.allow(ctx, c, &p, r.Chart, access.ProvAttach, verr == nil && v.Prerelease()); err != nil {
		return Receipt{}, err
	}
	if err := parsed.Check(chart.Metadata{Name: r.Chart, Version: r.Version}, r.Archive); err != nil {
		return Receipt{}, s.refused(ctx, c, audit.ProvRefused, audit.Resource{Project: p.Name, Chart: r.Chart, Version: r.Version}, err, nil)
	}
	return s.attach(ctx, c, &r, prov)
}

func (s *Service) attach(ctx context.Context, c Caller, r *Release, prov []byte) (Receipt, error) {
	judge, err := s.attachJudge(ctx, r, offered{prov: prov})
	if err != nil {
		return Receipt{}, err
	}
	res, err := s.store.Attach(ctx, &Attachment{ReleaseID: r.ID, Digest: digest.SHA256(prov), Bytes: prov, Judge: judge, Now: s.now(), Event: s.event(c)})
	return Receipt(res), err
}

// readSmall reads a blob of at most limit bytes, verified.
func (s *Service) readSmall(ctx context.Context, d string, limit int64) ([]byte, error) {
	b, err := s.open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.Size() > limit {
		return nil, problem.New(problem.TooLarge, "blob-size", "the blob %s has %d bytes, and %d are allowed where it is used", d, b.Size(), limit)
	}
	var buf bytes.Buffer
	if _, err := b.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	return buf.Bytes(), nil
}
