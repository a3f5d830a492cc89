package watch

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// What one poll may fetch. The rest waits for the next.
const (
	maxArchives     = 200
	maxArchiveBytes = 512 << 20
	maxRetries      = 20 // of archives that could not be had before
	maxDead         = 3  // failures in a row, after which the host is left alone
)

// budget is what a round has fetched, and until when it may.
type budget struct {
	ctx                     context.Context
	archives, retries, dead int
	bytes                   int64
}

func (b *budget) spent() bool {
	return b.archives >= maxArchives || b.bytes >= maxArchiveBytes || b.dead >= maxDead || b.ctx.Err() != nil
}

// archive is an archive that was fetched and is a chart.
type archive struct {
	chart.Archive
	bytes       []byte
	fingerprint string
	served      Validators
}

// maxEarlier is how many archives that were replaced are remembered of one
// version.
const maxEarlier = 20

// errLater is why an archive is not there that nobody failed to fetch.
var errLater = problem.New(problem.Unavailable, "archive-later", "it was not fetched yet; the next polls go on")

// fetchChanged fetches the archives without which it cannot be told what
// happened: of versions that changed, those first that can be compared, and of
// new ones.
func (r *round) fetchChanged(ctx context.Context) error {
	var list []*version
	for _, versions := range r.charts {
		for _, v := range versions {
			if !v.Gone && v.Fault == "" && (v.change != nil || v.fresh && !r.first || v.tells(Duplicate)) {
				list = append(list, v)
			}
		}
	}
	slices.SortFunc(list, func(a, b *version) int {
		return cmp.Or(compareBool(b.change != nil && b.Archive != "", a.change != nil && a.Archive != ""),
			compareBool(b.change != nil, a.change != nil), newestFirst(a, b))
	})
	for _, v := range list {
		old := v.Archive
		got, err := r.fetch(v)
		if err == nil {
			err = r.take(ctx, v, got)
			if err != nil {
				return err
			}
		}
		for i := range v.told {
			e := &v.told[i]
			switch e.Kind {
			case Changed, Returned, ReturnedChanged:
				if v.change != nil {
					r.judge(ctx, e, old, got, err)
				}
			case Duplicate:
				r.judge(ctx, e, old, got, err)
			}
		}
	}
	return nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// newestFirst orders by chart, and then the newest version first.
func newestFirst(a, b *version) int {
	a.order()
	b.order()
	return cmp.Or(strings.Compare(a.Chart, b.Chart), compareBool(b.stable, a.stable), strings.Compare(b.sortKey, a.sortKey))
}

func (v *version) tells(kind EventKind) bool {
	return slices.ContainsFunc(v.told, func(e Event) bool { return e.Kind == kind })
}

// fetch reads the archive of a version. The error says why there is none, and
// is kept with the version.
func (r *round) fetch(v *version) (*archive, error) {
	if r.lease.Upstream.Keep == KeepNone && !r.mirrored(v) {
		return nil, problem.New(problem.Unsupported, "archive-not-kept", "archives of this upstream are not kept")
	}
	got, err := r.download(v)
	if err == nil {
		v.fetched = true
		return got, nil
	}
	if err == errLater && v.Archive == "" {
		return nil, err // as before
	}
	v.fetched = err != errLater
	text := "the transfer failed"
	if p, ok := problem.As(err); ok {
		text = p.Message
	}
	if v.ArchiveError != text {
		v.ArchiveError, v.touched = text, true
	}
	return nil, problem.New(problem.KindOf(err), "archive", "%s", text)
}

func (r *round) download(v *version) (*archive, error) {
	b := &r.budget
	switch {
	case v.URL == "":
		return nil, problem.New(problem.Invalid, "archive-url", "it is listed without an address")
	case b.spent():
		return nil, errLater
	}
	b.archives++
	opened, err := r.sources.Archive(b.ctx, *r.source, v.URL, Validators{})
	body, err := r.body(opened, err)
	if err != nil {
		return nil, err
	}
	return r.printed(body, opened.Validators)
}

// body reads what a source serves, and counts it.
func (r *round) body(opened Opened, err error) ([]byte, error) {
	b := &r.budget
	body, err := read(opened.ReadCloser, err)(r.limits.Archive)
	b.bytes += int64(len(body))
	if b.ctx.Err() != nil {
		return nil, errLater
	}
	b.answered(err)
	return body, err
}

// answered notes whether a host is there.
func (b *budget) answered(err error) {
	if kind := problem.KindOf(err); err == nil {
		b.dead = 0
	} else if kind == problem.Unavailable || kind == problem.Internal {
		b.dead++
	}
}

func (r *round) printed(body []byte, served Validators) (*archive, error) {
	print, a, err := deployment.PrintArchive(bytes.NewReader(body), r.limits)
	if err != nil {
		return nil, err
	}
	return &archive{Archive: a, bytes: body, fingerprint: print.Fingerprint, served: served}, nil
}

// read reads what was opened up to a limit, and closes it.
func read(rc io.ReadCloser, err error) func(limit int64) ([]byte, error) {
	return func(limit int64) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		b, err := io.ReadAll(io.LimitReader(rc, limit+1))
		if err == nil && int64(len(b)) > limit {
			err = problem.New(problem.TooLarge, "archive-size", "the archive has more than %d bytes", limit)
		}
		return b, err
	}
}

// take keeps an archive that was fetched. The error is our own.
func (r *round) take(ctx context.Context, v *version, got *archive) error {
	kept, err := r.registry.KeepArchive(ctx, got.bytes)
	if err != nil {
		return fmt.Errorf("keep archive of %s %s: %w", v.Chart, v.Version, err)
	}
	r.mismatch(v, got)
	r.archiveNote(v, got)
	last := len(v.Earlier) - 1
	switch noted := last >= 0 && v.Archive != "" && v.Earlier[last].Archive == v.Archive; {
	case noted && v.Archive == kept: // the index says something else, and what is served is the same
		v.Earlier = v.Earlier[:last]
	case !noted && v.current() && v.Archive != kept: // and the index did not say so
		v.replaced(v.listed(), r.now)
	}
	v.Archive, v.Content, v.Fingerprint, v.ArchiveError, v.touched = kept, got.Content, got.fingerprint, "", true
	v.Served = Served{ETag: got.served.ETag, LastModified: got.served.LastModified, Asked: r.now.UTC(), Read: r.now.UTC()}
	v.observed = append(v.observed, Observation{
		What: tlog.ObservedArchive, Chart: v.Chart, Version: v.Version, Archive: kept, Content: got.Content, Created: v.Created,
	})
	return nil
}

// current says whether the archive that is kept is what the version was last,
// and not what it was before something that could not be had.
func (v *VersionState) current() bool {
	return v.Archive != "" && (v.ArchiveError == "" || !slices.ContainsFunc(v.Earlier, func(b Bytes) bool { return b.Archive == v.Archive }))
}

// replaced remembers what a version was, and that something else is there now.
func (v *version) replaced(listed string, now time.Time) {
	if len(v.Earlier) >= maxEarlier {
		return
	}
	b := Bytes{Listed: listed, Replaced: now.UTC()}
	if v.current() {
		b.Archive, b.Content, b.Fingerprint = v.Archive, v.Content, v.Fingerprint
	}
	v.Earlier, v.touched = append(v.Earlier, b), true
}

// mismatch tells when the archive that is served is not the one that is listed,
// or of another chart or version.
func (r *round) mismatch(v *version, got *archive) {
	m := got.Metadata
	listed := v.listed()
	if m.Name == v.Chart && m.Version == v.Version && (listed == "" || slices.Contains(v.Digests, strings.TrimPrefix(got.Digest, "sha256:"))) {
		return
	}
	e := r.event(ArchiveMismatch, High, v.Chart, v.Version, "the archive that is served for %s %s is not the one that is listed", v.Chart, v.Version)
	if m.Name != v.Chart || m.Version != v.Version {
		e.Message = fmt.Sprintf("the archive that is served for %s %s says that it is %s %s", v.Chart, v.Version, m.Name, m.Version)
	}
	e.Question = askMismatch
	e.with("digest listed", listed)
	e.with("digest served", got.Digest)
	e.with("content", got.Content)
	e.with("address", v.URL)
	e.Key = eventKey(e.Kind, r.source.ID, v.Chart, v.Version, listed, got.Digest, stamp(v.last))
	v.told = append(v.told, e)
}

// archiveBefore is the label of the archive that was kept before a change.
const archiveBefore = "archive before"

// judge adds to the event of a change what the two archives say. old is the
// digest of the one that was kept before, "" for none; got is the new one, or
// nil for the reason why.
func (r *round) judge(ctx context.Context, e *Event, old string, got *archive, why error) {
	const untold = "what changed"
	if got == nil {
		e.with(archiveBefore, old)
		e.with(untold, "cannot be told without the new archive: "+why.Error())
		return
	}
	e.with(archiveBefore, old)
	e.with("archive now", got.Digest)
	e.with("content now", got.Content)
	if old == "" {
		e.with(untold, "cannot be told, since the old archive was not kept")
		return
	}
	body, err := read(r.registry.OpenArchive(ctx, old))(r.limits.Archive)
	var was chart.Archive
	if err == nil {
		was, err = chart.Open(bytes.NewReader(body), r.limits)
	}
	if err != nil {
		r.log.WarnContext(ctx, "read an archive that was kept", "digest", old, "error", err)
		e.with(untold, "cannot be told, since the old archive could not be read")
		return
	}
	e.with("content before", was.Content)
	if was.Content == got.Content && e.Kind == Duplicate {
		return // two digests, and what is served stayed
	}
	if was.Content == got.Content {
		e.Severity, e.Question = Low, ""
		if e.Kind == Changed || e.Kind == ArchiveMismatch {
			e.Kind = Repacked
		}
		e.Message = fmt.Sprintf("%s %s was packed again: other bytes, the same files", e.Chart, e.Version)
		if was.Digest == got.Digest {
			e.Message = fmt.Sprintf("%s %s is listed in another way, and its archive is the same as before", e.Chart, e.Version)
		}
		return
	}
	if e.Kind == Returned {
		e.Kind = ReturnedChanged
	}
	e.Severity = High
	e.Files = chart.Diff(was.Files, got.Files)
	switch {
	case e.Kind == Duplicate:
		e.with("what is served", "is not what was served before: files that differ: "+strconv.Itoa(len(e.Files)))
	case len(e.Files) == 1:
		e.Message = fmt.Sprintf("%s %s was replaced: %s differs", e.Chart, e.Version, e.Files[0].Path)
	default:
		e.Message = fmt.Sprintf("%s %s was replaced: %d files differ", e.Chart, e.Version, len(e.Files))
	}
	e.does(body, got.bytes)
}

// maxFindings is how much an event says of what a difference does; the worst
// comes first.
const maxFindings = 30

// does adds what the difference of two archives does when both are rendered
// with their default values. More rights under a published version are the
// gravest that can be found.
func (e *Event) does(old, new []byte) {
	result, err := compareArchives(old, new)
	if err != nil {
		e.with("what it does", "is not known: "+err.Error())
		return
	}
	for i, f := range result.Findings {
		if f.Severity == manifest.Critical || strings.HasPrefix(f.Rule, "rights-") && f.Severity.Rank() >= manifest.High.Rank() {
			e.Severity = Critical
		}
		if i >= maxFindings {
			continue
		}
		line := f.Object + " " + f.Message
		switch {
		case f.Old != "" && f.New != "":
			line += ": " + f.Old + " → " + f.New
		case f.Old != "" || f.New != "":
			line += ": " + f.Old + f.New
		}
		e.with(f.Rule, line)
	}
	if n := len(result.Findings) - maxFindings; n > 0 {
		e.with("and more", fmt.Sprint(n))
	}
	if len(result.Findings) == 0 {
		e.with("what it does", "nothing that is rendered with the default values differs")
	}
}

// compareArchives contains what Helm's engine may do with a chart that was made
// to break it: the poll would meet it again each time.
func compareArchives(old, new []byte) (result manifest.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = problem.New(problem.Invalid, "render-broken", "rendering the charts broke off")
		}
	}()
	return manifest.CompareArchives(old, new, manifest.Options{})
}

// wanted are the versions whose archives are to be had beside those that
// changed, newest first; those that could not be had before come last.
func (r *round) wanted() []*version {
	keep := r.lease.Upstream.Keep
	began := r.began()
	var list []*version
	for name, versions := range r.charts {
		newest := r.newestOf(name)
		for _, v := range versions {
			v.first = v == newest
			if v.fetched || v.Gone || v.Fault != "" || v.Archive != "" && v.ArchiveError == "" {
				continue
			}
			if keep == KeepAll || r.mirrored(v) ||
				keep == KeepNew && (v.first || v.Archive != "" || v.FirstSeen.After(began) || r.deployed.runs(r.lease.Upstream.Name, v.Chart, v.Version)) {
				list = append(list, v)
			}
		}
	}
	slices.SortFunc(list, func(a, b *version) int {
		return cmp.Or(compareBool(a.failed(), b.failed()), compareBool(b.first, a.first), newestFirst(a, b))
	})
	return list
}

// failed says whether the archive could not be had before.
func (v *version) failed() bool { return v.ArchiveError != "" && v.ArchiveError != errLater.Message }

// fetchWanted fetches what is wanted as far as the budget goes, and returns how
// many are left that were never tried.
func (r *round) fetchWanted(ctx context.Context, list []*version) (left int, err error) {
	for i, v := range list {
		if v.failed() {
			if r.budget.retries >= maxRetries {
				return 0, nil
			}
			r.budget.retries++
		}
		if r.budget.spent() {
			return len(list) - i, nil
		}
		old := v.Archive
		got, err := r.fetch(v)
		if err != nil {
			continue
		}
		if err := r.take(ctx, v, got); err != nil {
			return 0, err
		}
		if old != "" && old != got.Digest { // it changed when the new one could not be had
			e := r.event(Changed, High, v.Chart, v.Version, "")
			e.Question = askChanged
			e.Key = eventKey(e.Kind, r.source.ID, v.Chart, v.Version, old, got.Digest, stamp(v.LastChange), "told later")
			r.judge(ctx, &e, old, got, nil)
			v.told = append(v.told, e)
		}
	}
	return 0, nil
}

// running remembers which versions of upstreams are deployed.
type running struct {
	mu   sync.Mutex
	at   time.Time
	what map[string]bool
}

const runningFor = 10 * time.Minute

func runningKey(upstream, chartName, version string) string {
	return upstream + "\x00" + chartName + "\x00" + version
}

// refresh reads the deployments when what is known is old. Cost: all
// deployments.
func (q *running) refresh(ctx context.Context, store Deployments, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.what != nil && now.Sub(q.at) < runningFor {
		return nil
	}
	list, err := store.DeploymentList(ctx, "")
	if err != nil {
		return err
	}
	q.at, q.what = now, map[string]bool{}
	for i := range list {
		if m := &list[i].Match; m.Upstream != "" {
			q.what[runningKey(m.Upstream, m.Chart, m.Version)] = true
		}
	}
	return nil
}

func (q *running) runs(upstream, chartName, version string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.what[runningKey(upstream, chartName, version)]
}
