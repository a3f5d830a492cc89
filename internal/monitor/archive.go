package monitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const (
	archiveTime = 10 * time.Minute // for one archive
	sampleSize  = 8                // others in a round, at random
	// stagedTime is how long a release without provenance may be out of sight:
	// where a policy asks for one, nobody sees it before it has come.
	stagedTime = 24 * time.Hour
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// checkArchives goes on with the archives and provenance files of the leaves
// behind the cursor, tries again what failed, and takes samples.
func (m *Monitor) checkArchives(r *round) {
	again := m.st.Retries
	m.st.Retries = nil
	for i, index := range again {
		if r.over(m) {
			m.st.Retries = append(m.st.Retries, again[i:]...)
			break
		}
		if !m.checkLeaf(r, index) {
			m.st.Retries = append(m.st.Retries, index)
		}
	}
	for m.st.Cursor < m.st.Size && !r.over(m) {
		if len(m.st.Retries) >= maxRetries {
			r.uncheck("%d archives could not be checked; no others are looked at until they can", len(m.st.Retries))
			return
		}
		if !m.checkLeaf(r, m.st.Cursor) && r.ctx.Err() == nil {
			m.st.Retries = append(m.st.Retries, m.st.Cursor)
		}
		if r.ctx.Err() == nil {
			m.st.Cursor++
		}
	}
	if left := m.st.Size - m.st.Cursor; left > 0 {
		r.uncheck("the archives of %d leaves wait to be looked at", left)
	}
	if m.Depth != ArchivesSample || m.st.Size == 0 {
		return
	}
	for range sampleSize {
		if r.over(m) {
			return
		}
		if i := m.Rand.Int64N(m.st.Size); !slices.Contains(m.st.Retries, i) && !m.checkLeaf(r, i) {
			m.st.Retries = append(m.st.Retries, i)
		}
	}
}

// checkLeaf holds what is served against a leaf. It reports false when it has
// to be looked at again: since it could not be checked, which is said, or since
// it does not hold.
func (m *Monitor) checkLeaf(r *round, index int64) bool {
	leaf, err := m.leaf(r, index)
	switch problem.KindOf(err) {
	case problem.Unsupported, problem.Invalid:
		if err != nil {
			return true // the history has told of it
		}
	}
	if err != nil {
		r.failed(fmt.Sprintf("leaf %d could not be fetched", index), err)
		return false
	}
	switch l := leaf.(type) {
	case tlog.Release:
		return m.checkRelease(r, index, &l)
	case tlog.Legacy:
		return m.checkRelease(r, index, &l.Release)
	case tlog.Attach:
		if l.Kind == tlog.AttachProvenance {
			return m.checkProvenance(r, index, l.Project, l.Chart, l.Version, l.Digest)
		}
	}
	return true
}

// served says what became of a request for a file of a release.
type served int

const (
	servedBytes   served = iota
	servedNothing        // it is refused or not there
	servedUnknown        // it could not be found out
)

// closed reports whether a project serves nothing any more.
func (m *Monitor) closed(project string) bool {
	p, ok := m.log.replay.Project(project)
	return !ok || p.State == "removed"
}

// archive fetches an archive through the classic door and hashes it.
func (m *Monitor) archive(r *round, project, file string, size int64) (sum string, n int64, what served, err error) {
	ctx, done := context.WithTimeout(r.ctx, archiveTime)
	defer done()
	body, err := m.c.Archive(ctx, project, file, size+1)
	if err != nil {
		return "", 0, servedOf(err), err
	}
	defer body.Close()
	h := sha256.New()
	n, err = io.Copy(h, &pacedReader{ctx: ctx, r: body, rate: m.Rate, now: m.Now, begin: m.Now()})
	r.report.Bytes += n
	if problem.KindOf(err) == problem.TooLarge {
		return "more than " + itoa(size) + " bytes", n, servedBytes, nil
	}
	if err != nil {
		return "", n, servedUnknown, err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), n, servedBytes, nil
}

func servedOf(err error) served {
	switch problem.KindOf(err) {
	case problem.Gone, problem.NotFound, problem.Denied, problem.Policy, problem.Unauthenticated:
		return servedNothing
	}
	return servedUnknown
}

// checkRelease holds the archive, the provenance and the tag of a release
// against its leaf.
func (m *Monitor) checkRelease(r *round, index int64, l *tlog.Release) bool {
	rel, ok := m.log.replay.Release(l.Project, l.Chart, l.Version)
	if !ok || rel.Index != index || m.closed(l.Project) {
		return true // a second leaf, which the history has told of, or a removed project
	}
	area := "archive:" + itoa(index)
	about := func(rule, format string, args ...any) *Finding {
		f := m.finding(rule, area, itoa(index), format, args...)
		f.Index, f.Project, f.Chart, f.Version, f.leaf = index, l.Project, l.Chart, l.Version, rel.Changed
		return f
	}
	ref := client.Ref{Project: l.Project, Chart: l.Chart, Version: l.Version}
	sum, n, what, err := m.archive(r, l.Project, chart.FileName(l.Chart, l.Version), l.Size)
	withdrawn := rel.Withheld()
	switch {
	case what == servedUnknown:
		r.failed("the archive of "+ref.String()+" could not be fetched", err)
		return false
	case what == servedNothing && withdrawn:
		r.checked[area] = true
		return true
	case what == servedNothing && !m.reads(r, l.Project):
		return false // of a project that is not shown to the monitor
	case what == servedNothing && !rel.Provenance && r.now.Before(l.Time.Add(stagedTime)):
		r.uncheck("the archive of %s is not served; it may wait for its provenance", ref)
		return false
	case what == servedNothing:
		r.checked[area] = true
		m.doubt(r, about(RuleArchiveMissing, "the archive of %s is not served, and no leaf says why", ref).with("answer", "%s", messageOf(err)))
		return false
	}
	r.report.Archives++
	r.checked[area] = true
	fine := true
	if withdrawn {
		m.doubt(r, about(RuleArchiveServed, "the archive of %s is served, and a leaf says that it was withdrawn", ref))
		fine = false
	}
	if sum != l.Archive {
		f := about(RuleArchive, "the archive of %s that is served is not the one of its leaf", ref).
			with("digest", "%s", sum).with("digest in the leaf", "%s", l.Archive).with("size", "%d", n).with("size in the leaf", "%d", l.Size)
		m.prove(r, f, index)
		m.raise(r, f)
		fine = false
	}
	if l.Provenance != "" && !withdrawn && !m.checkProvenance(r, index, l.Project, l.Chart, l.Version, l.Provenance) {
		fine = false
	}
	if !withdrawn && !m.checkManifest(r, index, l) {
		fine = false
	}
	return fine
}

// prove keeps a proof of the leaf that a server's answer contradicts.
func (m *Monitor) prove(r *round, f *Finding, index int64) {
	e := client.Evidence{Kind: client.EvidenceAnswer, Found: f.Message, Release: f.Ref()}
	for _, fact := range f.Facts {
		e.Found += "; " + fact.Label + " " + fact.Value
	}
	ctx, done := r.within()
	defer done()
	if p, err := m.c.EntryProof(ctx, r.cp, index); err == nil {
		e.Proofs = []string{string(p.Marshal())}
	} else {
		r.failed(fmt.Sprintf("leaf %d could not be proven for the evidence", index), err)
	}
	m.keep(r, f, &e)
}

// checkProvenance holds the provenance that is served against the digest that
// a leaf has of it.
func (m *Monitor) checkProvenance(r *round, index int64, project, chartName, version, want string) bool {
	rel, ok := m.log.replay.Release(project, chartName, version)
	if !ok || rel.Withheld() || m.closed(project) {
		return true
	}
	area := "provenance:" + itoa(index)
	about := func(rule, format string, args ...any) *Finding {
		f := m.finding(rule, area, itoa(index), format, args...)
		f.Index, f.Project, f.Chart, f.Version = index, project, chartName, version
		return f
	}
	ref := client.Ref{Project: project, Chart: chartName, Version: version}
	ctx, done := r.within()
	defer done()
	text, err := m.c.Provenance(ctx, project, chart.FileName(chartName, version))
	switch {
	case err != nil && servedOf(err) == servedUnknown:
		r.failed("the provenance of "+ref.String()+" could not be fetched", err)
		return false
	case err != nil && !m.reads(r, project):
		return false
	case err != nil:
		r.checked[area] = true
		m.doubt(r, about(RuleProvenanceGone, "the provenance of %s is not served, and no leaf says why", ref).with("answer", "%s", messageOf(err)))
		return false
	}
	r.checked[area] = true
	if got := digest.SHA256(text); got != want {
		f := about(RuleProvenance, "the provenance of %s that is served is not the one of its leaf", ref).
			with("digest", "%s", got).with("digest in the leaf", "%s", want)
		m.prove(r, f, index)
		m.raise(r, f)
		return false
	}
	return true
}

// checkManifest holds the OCI manifest under a release's tag against its leaf.
func (m *Monitor) checkManifest(r *round, index int64, l *tlog.Release) bool {
	if !chart.IsRepository(l.Project+"/"+l.Chart) || !chart.IsTag(chart.TagFor(l.Version)) {
		return true
	}
	area := "manifest:" + itoa(index)
	ctx, done := r.within()
	defer done()
	ref := client.Ref{Project: l.Project, Chart: l.Chart, Version: l.Version}
	text, err := m.c.Manifest(ctx, l.Project, l.Chart, chart.TagFor(l.Version))
	if err != nil {
		r.failed("the OCI manifest of "+ref.String()+" could not be fetched", err)
		return false
	}
	r.checked[area] = true
	if !digest.Matches(text, l.Manifest) {
		f := m.finding(RuleTagDigest, area, itoa(index), "the tag of %s stands on another manifest than its leaf says", ref).
			with("manifest", "%s", digest.SHA256(text)).with("manifest in the leaf", "%s", l.Manifest)
		f.Index, f.Project, f.Chart, f.Version = index, l.Project, l.Chart, l.Version
		m.prove(r, f, index)
		m.raise(r, f)
		return false
	}
	return true
}

// pacedReader reads no faster than a rate in bytes a second; 0 is no limit.
type pacedReader struct {
	ctx   context.Context
	r     io.Reader
	rate  int64
	now   func() time.Time
	begin time.Time
	n     int64
}

func (p *pacedReader) Read(b []byte) (int, error) {
	if p.rate > 0 {
		const most = 64 << 10
		b = b[:min(len(b), most)]
		ahead := time.Duration(float64(p.n)/float64(p.rate)*float64(time.Second)) - p.now().Sub(p.begin)
		if ahead > 0 {
			timer := time.NewTimer(ahead)
			defer timer.Stop()
			select {
			case <-p.ctx.Done():
				return 0, p.ctx.Err()
			case <-timer.C:
			}
		}
	}
	n, err := p.r.Read(b)
	p.n += int64(n)
	return n, err
}
