package release

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// readable finds a project by its whole name and asks for the right to read.
func (s *Service) readable(ctx context.Context, c Caller, project string) (Project, error) {
	p, rest, err := s.find(ctx, c, project)
	if err != nil {
		return p, err
	}
	if rest != "" {
		return p, s.noSuchProject(c, project)
	}
	if err := s.allow(ctx, c, &p, "", access.ChartPull, false); err != nil {
		return p, err
	}
	if p.Kind != KindCharts {
		return p, problem.New(problem.NotFound, "project-kind", "project %s is of kind %s and has no charts", p.Name, p.Kind)
	}
	return p, nil
}

// visible hides a staged release from whoever may not push it.
func (s *Service) visible(c Caller, p *Project, r *Release) bool {
	return r.State != Staged || s.could(c, access.Request{Action: access.ProvAttach, Project: p.Name, ProjectPublic: p.Public, Chart: r.Chart})
}

func noRelease(p *Project, what string) error {
	return problem.New(problem.NotFound, "release", "project %s has no release %s", p.Name, what).
		Suggest("chartkeep release list --project %s", p.Name)
}

// byFile finds the release that an archive's file name belongs to.
func (s *Service) byFile(ctx context.Context, c Caller, project, file string) (Release, error) {
	p, err := s.readable(ctx, c, project)
	if err != nil {
		return Release{}, err
	}
	r, err := s.store.ReleaseByFile(ctx, p.ID, file)
	if problem.KindOf(err) == problem.NotFound && p.Policy.Mirror != "" {
		if err := s.pullFile(ctx, &p, file); err != nil {
			return r, err
		}
		r, err = s.store.ReleaseByFile(ctx, p.ID, file)
	}
	if problem.KindOf(err) == problem.NotFound || err == nil && !s.visible(c, &p, &r) {
		return Release{}, noRelease(&p, file)
	}
	if err == nil {
		err = s.attest(ctx, &r)
	}
	r.anonymize(c)
	return r, err
}

// OpenArchive opens the archive of a release by its file name. A yanked
// release is served; its note is in the answer.
func (s *Service) OpenArchive(ctx context.Context, c Caller, project, file string) (Release, Blob, error) {
	r, err := s.byFile(ctx, c, project, file)
	if err == nil {
		err = withheld(&r)
	}
	if err != nil {
		return r, nil, err
	}
	b, err := s.openLarge(ctx, r.Archive)
	if err != nil {
		return r, nil, err
	}
	b.of = &r
	return r, b, nil
}

// Provenance returns the provenance of a release by file name, x.tgz.prov.
func (s *Service) Provenance(ctx context.Context, c Caller, project, file string) (Release, []byte, error) {
	r, err := s.byFile(ctx, c, project, strings.TrimSuffix(file, ".prov"))
	if err == nil {
		err = withheld(&r)
	}
	if err != nil {
		return r, nil, err
	}
	if r.Provenance == "" {
		return r, nil, problem.New(problem.NotFound, "provenance", "release %s has no provenance", r.Ref())
	}
	b, err := s.readSmall(ctx, r.Provenance, MaxProvenance)
	return r, b, err
}

// ProofFile returns the proof of a release by file name, x.tgz.tlog-proof.
func (s *Service) ProofFile(ctx context.Context, c Caller, project, file string) (Release, []byte, error) {
	r, err := s.byFile(ctx, c, project, strings.TrimSuffix(file, ".tlog-proof"))
	if err != nil {
		return r, nil, err
	}
	p, err := s.store.Prove(ctx, r.LogIndex)
	if err != nil {
		return r, nil, err
	}
	return r, p.Marshal(), nil
}

// Proof proves that a release stands in the log.
func (s *Service) Proof(ctx context.Context, c Caller, project, name, version string) (tlog.Proof, error) {
	r, _, err := s.release(ctx, c, project, name, version)
	if err != nil {
		return tlog.Proof{}, err
	}
	return s.store.Prove(ctx, r.LogIndex)
}

func (s *Service) release(ctx context.Context, c Caller, project, name, version string) (Release, Project, error) {
	p, err := s.readable(ctx, c, project)
	if err != nil {
		return Release{}, p, err
	}
	if version == "latest" {
		list, err := s.listed(ctx, c, &p, name)
		if err != nil {
			return Release{}, p, err
		}
		if r := latest(list); r != nil {
			return *r, p, s.attest(ctx, r)
		}
		return Release{}, p, noRelease(&p, name)
	}
	r, err := s.store.ReleaseByVersion(ctx, p.ID, name, version)
	if problem.KindOf(err) == problem.NotFound && p.Policy.Mirror != "" {
		if err := s.pull(ctx, &p, name, version); err != nil {
			return r, p, err
		}
		r, err = s.store.ReleaseByVersion(ctx, p.ID, name, version)
	}
	if problem.KindOf(err) == problem.NotFound || err == nil && !s.visible(c, &p, &r) {
		return r, p, noRelease(&p, name+" "+version)
	}
	if err == nil {
		err = s.attest(ctx, &r)
	}
	r.anonymize(c)
	return r, p, err
}

// latest is the newest release that is not yanked; a pre-release only where
// there is nothing else. The list is newest first.
func latest(list []Release) *Release {
	var first *Release
	for i := range list {
		r := &list[i]
		if r.State != Active {
			continue
		}
		if first == nil {
			first = r
		}
		if v, err := chart.ParseVersion(r.Version); err == nil && !v.Prerelease() {
			return r
		}
	}
	return first
}

func (s *Service) listed(ctx context.Context, c Caller, p *Project, name string) ([]Release, error) {
	list, err := s.store.Releases(ctx, p.ID, name)
	if err != nil {
		return nil, err
	}
	out := list[:0]
	for i := range list {
		if s.visible(c, p, &list[i]) {
			list[i].anonymize(c)
			out = append(out, list[i])
		}
	}
	return out, nil
}

// Release returns one release with its Chart.yaml; version may be "latest".
func (s *Service) Release(ctx context.Context, c Caller, project, name, version string) (Detail, error) {
	r, p, err := s.release(ctx, c, project, name, version)
	if err != nil {
		return Detail{}, err
	}
	d, err := s.detail(ctx, r)
	if err != nil || r.State.Withheld() {
		return d, err
	}
	d.Signed, err = s.signed(ctx, &p, &r)
	return d, err
}

func (s *Service) detail(ctx context.Context, r Release) (Detail, error) {
	d := Detail{Release: r, Metadata: chart.Metadata{Name: r.Chart, Version: r.Version}}
	if r.State.Withheld() {
		return d, nil // its Chart.yaml is a part of what nobody gets
	}
	b, err := s.readSmall(ctx, r.Config, maxConfig)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d.Metadata); err != nil {
		// The config of an OCI push is the client's; the claim checked its
		// name and version, and the rest may be odd.
		d.Metadata = chart.Metadata{Name: r.Chart, Version: r.Version}
	}
	return d, nil
}

// Releases lists a chart's releases, newest version first. Cost: the chart's
// releases.
func (s *Service) Releases(ctx context.Context, c Caller, project, name string) ([]Release, error) {
	p, err := s.readable(ctx, c, project)
	if err != nil {
		return nil, err
	}
	list, err := s.listed(ctx, c, &p, name)
	if err == nil && len(list) == 0 {
		err = problem.New(problem.NotFound, "chart", "project %s has no chart %s", p.Name, name)
	}
	return list, err
}

// Charts lists the charts of a project by name.
func (s *Service) Charts(ctx context.Context, c Caller, project, after string, limit int) ([]ChartSummary, bool, error) {
	p, err := s.readable(ctx, c, project)
	if err != nil {
		return nil, false, err
	}
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	list, err := s.store.Charts(ctx, p.ID, after, limit+1)
	if err != nil {
		return nil, false, err
	}
	more := len(list) > limit
	return list[:min(limit, len(list))], more, nil
}

// maxFileServed bounds what ArchiveFiles returns of one file and in all.
const (
	maxFileServed = 1 << 20
	maxServed     = 4 << 20
)

// ArchiveFiles reads files out of a release's archive: exact paths below the
// chart's folder, or prefixes that end in "/". Files that are not there are
// left out, and so are files over 1 MiB and what exceeds 4 MiB in all.
func (s *Service) ArchiveFiles(ctx context.Context, c Caller, project, name, version string, names ...string) (map[string][]byte, error) {
	r, _, err := s.release(ctx, c, project, name, version)
	if err == nil {
		err = withheld(&r)
	}
	if err != nil {
		return nil, err
	}
	b, err := s.openLarge(ctx, r.Archive)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := b.RangeOK(); err != nil {
		return nil, err
	}
	zr, err := gzip.NewReader(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	total := 0
	// The claim has opened this very archive within its limits.
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		_, path, _ := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !wanted(path, names) || h.Size > maxFileServed || total+int(h.Size) > maxServed {
			continue
		}
		body, err := io.ReadAll(io.LimitReader(tr, maxFileServed))
		if err != nil {
			return nil, err
		}
		total += len(body)
		out[path] = body
	}
}

func wanted(path string, names []string) bool {
	for _, n := range names {
		if path == n || strings.HasSuffix(n, "/") && strings.HasPrefix(path, n) {
			return true
		}
	}
	return false
}

// Yank withdraws a release from resolution. Exact references still serve it,
// but for classic clients, which read an index; its name stays taken.
func (s *Service) Yank(ctx context.Context, c Caller, project, name, version, reason, text string) (Release, error) {
	if !knownYankReason(reason) {
		var codes []string
		for _, r := range YankReasons() {
			codes = append(codes, r.Code)
		}
		return Release{}, problem.New(problem.Invalid, "yank-reason", "%.40q is not a reason to yank", reason).
			With("reasons", "%s", strings.Join(codes, ", "))
	}
	return s.setState(ctx, c, project, name, version, access.ChartYank, &StateChange{Yank: true, Reason: reason, Text: text})
}

// Unyank takes a yank back.
func (s *Service) Unyank(ctx context.Context, c Caller, project, name, version, text string) (Release, error) {
	return s.setState(ctx, c, project, name, version, access.ChartUnyank, &StateChange{Reason: "none", Text: text})
}

// maxReason bounds the free text of a person, in bytes.
const maxReason = 1000

// checkReason takes text of one or more lines.
func checkReason(s string) error {
	if len(s) > maxReason {
		return problem.New(problem.TooLarge, "reason", "the reason has %d bytes, and %d are allowed", len(s), maxReason)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		return problem.New(problem.Invalid, "reason", "the reason has characters that are no text").Suggest("give it in plain words")
	}
	return nil
}

func (s *Service) setState(ctx context.Context, c Caller, project, name, version string, action access.Action, ch *StateChange) (Release, error) {
	if err := checkReason(ch.Text); err != nil {
		return Release{}, err
	}
	r, p, err := s.release(ctx, c, project, name, version)
	if err != nil {
		return r, err
	}
	v, verr := chart.ParseVersion(r.Version)
	if err := s.allow(ctx, c, &p, r.Chart, action, verr == nil && v.Prerelease()); err != nil {
		return r, err
	}
	ch.ReleaseID, ch.Now, ch.Event = r.ID, s.now(), s.event(c)
	r, err = s.store.SetState(ctx, ch)
	if err == nil && r.Yank != nil {
		_, r.Yank.ByName = actor(c) // joined when it is read
	}
	return r, err
}

// RefuseDelete records that somebody asked to delete a release, and says why
// it cannot be.
func (s *Service) RefuseDelete(ctx context.Context, c Caller, project, name, version string) error {
	p, rest, err := s.project(ctx, c, project, access.ChartPull, false)
	if err != nil {
		return err
	}
	if rest != "" {
		return s.noSuchProject(c, project)
	}
	return s.refuseDelete(ctx, c, &p, name, version)
}
