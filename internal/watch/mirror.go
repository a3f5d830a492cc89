package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// selection is a mirror's choice among the versions of an upstream.
type selection struct {
	*Mirror
	watched  []string
	versions *semver.Constraints // nil: all stable ones
}

func (u *Upstream) selection() (*selection, error) {
	if u.Mirror == nil {
		return nil, nil
	}
	s := &selection{Mirror: u.Mirror, watched: u.Charts}
	var err error
	if u.Mirror.Versions != "" {
		s.versions, err = semver.NewConstraint(u.Mirror.Versions)
	}
	return s, err
}

// takes says whether a version is one of those that are mirrored, whatever its
// age.
func (s *selection) takes(v *VersionState) bool {
	if !matches(s.watched, v.Chart) || !matches(s.Charts, v.Chart) || v.Fault != "" {
		return false
	}
	parsed, err := semver.NewVersion(v.Version)
	switch {
	case err != nil:
		return false
	case s.versions == nil:
		return parsed.Prerelease() == ""
	}
	return s.versions.Check(parsed)
}

// ripe is when a version is old enough.
func (s *selection) ripe(v *VersionState) time.Time {
	return v.FirstSeen.Add(time.Duration(s.MinAge))
}

// mirrored says whether a version is to be released in a project of ours, so
// that its archive is wanted.
func (r *round) mirrored(v *version) bool {
	return r.choice != nil && !r.choice.OnDemand && r.choice.takes(&v.VersionState)
}

// mirror releases what is to be mirrored and is old enough, and tells of each
// version once. What another process released before is no news. It returns
// when it has to be looked at again, zero for never.
func (r *round) mirror(ctx context.Context) (next time.Time) {
	if r.choice == nil || r.choice.OnDemand {
		return time.Time{}
	}
	if err := r.registry.MirrorTarget(ctx, r.choice.Project, r.lease.Upstream.Name); later(err) {
		return r.now
	} else if err != nil {
		r.refused(nil, err)
		return time.Time{}
	}
	var list []*version
	for _, versions := range r.charts {
		for _, v := range versions {
			if v.Gone || v.Archive == "" || v.ArchiveError != "" || !r.mirrored(v) {
				continue
			}
			if at := r.choice.ripe(r.state(v)); at.After(r.now) {
				if next.IsZero() || at.Before(next) {
					next = at
				}
				continue
			}
			list = append(list, v)
		}
	}
	slices.SortFunc(list, newestFirst)
	if r.choice.Reviewed {
		var err error
		waiting := len(list)
		if list, err = r.reviewedOf(ctx, list); err != nil {
			r.refused(nil, err)
			return time.Time{}
		}
		if len(list) < waiting {
			next = r.now // so that the next poll looks whether somebody signed
		}
	}
	for _, v := range list {
		if !r.rest.offer(r.source.ID, v.Chart+"\x00"+v.Version+"\x00"+v.Archive) {
			continue
		}
		if ctx.Err() != nil || !r.offer(ctx, v) {
			r.rest.forget([]Source{*r.source})
			return r.now
		}
	}
	return next
}

// reviewedOf are the versions whose first bytes somebody reviewed, and those
// that are refused whatever a review says. The error is that of a server
// without reviews.
func (r *round) reviewedOf(ctx context.Context, list []*version) (out []*version, err error) {
	for _, v := range list {
		first, _, failed := r.firstBytes(&r.lease.Upstream, &v.VersionState)
		if failed == nil {
			err := r.mayMirror(ctx, &r.lease.Upstream, v.Chart, first)
			if problem.KindOf(err) == problem.Unsupported {
				return nil, err
			}
			if err != nil {
				if later(err) {
					r.log.WarnContext(ctx, "ask for the review of a version", "upstream", r.lease.Upstream.Name, "chart", v.Chart, "version", v.Version, "error", err)
				}
				continue
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// mayMirror refuses an archive that has to be reviewed before it is mirrored.
// archive is "" where it is not known.
func (s *Service) mayMirror(ctx context.Context, u *Upstream, chartName, archive string) error {
	if !u.Mirror.Reviewed {
		return nil
	}
	if s.reviewed == nil {
		return noReviews(u.Name)
	}
	ok := false
	if archive != "" {
		var err error
		if ok, err = s.reviewed(ctx, chartName, archive); err != nil {
			return err
		}
	}
	if !ok {
		return problem.New(problem.NotFound, "mirror-unreviewed", "the mirror of %s takes only what was reviewed, and nobody signed this archive off", u.Name).
			With("archive", "%s", cmp.Or(archive, "not kept, so that nobody can have reviewed it"))
	}
	return nil
}

func noReviews(name string) error {
	return problem.New(problem.Unsupported, "mirror-reviewed", "the mirror of %s takes only what was reviewed, and this server keeps no reviews, so it takes nothing", name).
		Suggest("chartkeep upstream set %s --mirror-project PROJECT", name)
}

// later says whether what failed may work another time.
func later(err error) bool {
	kind := problem.KindOf(err)
	return err != nil && (kind == problem.Internal || kind == problem.Unavailable)
}

// state is what is known of a version, with the time that the store is about to
// give to one that is new.
func (r *round) state(v *version) *VersionState {
	st := v.VersionState
	if st.FirstSeen.IsZero() {
		st.FirstSeen, st.LastChange = r.now, r.now
	}
	return &st
}

// offer releases one version as the first bytes that were seen of it, and tells
// what came of it. Other bytes that stand there since are offered too: the claim
// refuses them, and that is told. It says false when it may work another time.
func (r *round) offer(ctx context.Context, v *version) bool {
	u, st := &r.lease.Upstream, r.state(v)
	first, replaced, err := r.firstBytes(u, st)
	var res MirrorResult
	var proven provenance
	if err == nil {
		res, err = r.claim(ctx, u, *r.source, st, first, &proven)
	}
	if e := r.unproven(u, st, &proven); e != nil {
		r.events = append(r.events, *e)
	}
	if err == nil {
		e := r.event(Mirrored, Info, v.Chart, v.Version, "%s %s is released in %s", v.Chart, v.Version, r.choice.Project)
		e.Project = r.choice.Project
		e.with("digest", res.Digest)
		e.with("log index", fmt.Sprint(res.LogIndex))
		e.with("provenance", proven.words())
		e.Key = eventKey(e.Kind, r.source.ID, e.Project, v.Chart, v.Version)
		r.events = append(r.events, e)
		if replaced && first != v.Archive {
			_, err = r.claim(ctx, u, *r.source, st, v.Archive, &provenance{})
		}
	}
	if later(err) {
		r.log.WarnContext(ctx, "mirror a version", "upstream", u.Name, "chart", v.Chart, "version", v.Version, "error", err)
		return false
	}
	if err != nil {
		r.refused(v, err)
	}
	return true
}

// refused tells that a version cannot be released in our project, or nil for
// all of them.
func (r *round) refused(v *version, err error) {
	e := r.event(MirrorRefused, Medium, "", "", "nothing is released in %s", r.choice.Project)
	e.Question, e.Project = askUnmirrored, r.choice.Project
	archive := ""
	if v != nil {
		e.Chart, e.Version, archive = v.Chart, v.Version, v.Archive
		e.Message = fmt.Sprintf("%s %s is not released in %s", v.Chart, v.Version, r.choice.Project)
	} else {
		e.Question = askTarget
	}
	if p, ok := problem.As(err); ok {
		e.Message += ": " + p.Message
		if p.Kind == problem.Immutable || p.Kind == problem.Disproven {
			e.Severity = High
		}
		for _, f := range p.Facts {
			e.with(f.Label, f.Value)
		}
	}
	e.with("archive of the upstream", archive)
	e.Key = eventKey(e.Kind, r.source.ID, e.Project, e.Chart, e.Version, archive, e.Message)
	r.events = append(r.events, e)
}

// claim releases an archive of a version that is kept, with the provenance that
// is published for it.
func (s *Service) claim(ctx context.Context, u *Upstream, src Source, v *VersionState, archive string, proven *provenance) (MirrorResult, error) {
	rc, err := s.registry.OpenArchive(ctx, archive)
	if err != nil {
		return MirrorResult{}, err
	}
	defer rc.Close()
	o := originOf(u, v)
	if archive != v.Archive {
		o.Digest = archive // and not what is listed now
	}
	o.Provenance = s.provenanceOf(u, src, v, proven)
	return s.registry.Mirror(ctx, u.Mirror.Project, rc, o)
}

func originOf(u *Upstream, v *VersionState) MirrorOrigin {
	o := MirrorOrigin{Upstream: u.Name, URL: v.URL, Chart: v.Chart, Version: v.Version, Created: v.Created, FirstSeen: v.FirstSeen}
	if !v.Bare && len(v.Digests) > 0 {
		o.Digest = prefixed(v.Digests[0])
	}
	return o
}

// firstBytes is the archive that a version had when it was first seen, "" when
// none is kept, and whether its files were replaced since. It is refused when
// they were and the first are not kept: whatever is there now is not what was
// published first. What was served first counts only if it was what was listed.
func (s *Service) firstBytes(u *Upstream, v *VersionState) (archive string, replaced bool, err error) {
	if len(v.Earlier) == 0 {
		return v.Archive, false, nil
	}
	for _, b := range v.Earlier {
		replaced = replaced || b.Content == "" || b.Content != v.Content
	}
	first := &v.Earlier[0]
	if first.Archive != "" && (first.Listed == "" || first.Listed == first.Archive) {
		return first.Archive, replaced, nil
	}
	return "", true, problem.New(problem.Disproven, "mirror-changed", "%s %s was replaced after it was first seen, and what it was then is not kept", v.Chart, v.Version).
		With("first seen", "%s", timeText(v.FirstSeen)).With("replaced", "%s", timeText(first.Replaced)).
		With("old digest", "%s", cmp.Or(first.Listed, digestText(""))).With("new digest", "%s", cmp.Or(originOf(u, v).Digest, digestText(""))).
		Suggest("look at both: chartkeep upstream show %s", u.Name)
}

// pulls are the versions that are released on demand right now, and those that
// could not be a moment ago.
type pulls struct {
	mu      sync.Mutex
	running map[string]*pull
	refused map[string]refusal
	slots   chan struct{}
}

type pull struct {
	done chan struct{}
	err  error
}

type refusal struct {
	err   error
	until time.Time
}

const (
	pullTime    = 2 * time.Minute
	concurrent  = 8           // pulls from upstreams
	refuseFor   = time.Minute // how long a refusal is remembered
	maxRefusals = 10_000      // then all are forgotten
)

// Pull releases a version of an upstream in the project that mirrors it on
// demand. Whoever asks for the same version meanwhile waits for the same
// answer, and what nobody has is not looked for again within a minute.
// NotFound when the project is no such mirror, or the version is not one that
// it takes, with the reason; Unavailable when it may work later. The log and the
// audit trail tell of it, and no event: there is no poll that it belongs to.
func (s *Service) Pull(ctx context.Context, project, chartName, version string) error {
	key := project + "\x00" + chartName + "\x00" + version
	q := &s.pulls
	q.mu.Lock()
	if q.running == nil {
		q.running, q.refused, q.slots = map[string]*pull{}, map[string]refusal{}, make(chan struct{}, concurrent)
	}
	if no, ok := q.refused[key]; ok && s.now().Before(no.until) {
		q.mu.Unlock()
		return no.err
	}
	p, ok := q.running[key]
	if !ok {
		p = &pull{done: make(chan struct{})}
		q.running[key] = p
		// Others may wait for it: it ends though this one goes away.
		go s.runPull(context.WithoutCancel(ctx), p, key, project, chartName, version)
	}
	q.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) runPull(ctx context.Context, p *pull, key, project, chartName, version string) {
	q := &s.pulls
	ctx, cancel := context.WithTimeout(ctx, pullTime)
	defer cancel()
	p.err = errors.New("pull: it panicked")
	defer func() {
		if broke := recover(); broke != nil {
			s.log.Error("a pull panicked", "project", project, "chart", chartName, "version", version, "panic", broke)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.running, key)
		if p.err != nil {
			if len(q.refused) >= maxRefusals {
				clear(q.refused)
			}
			q.refused[key] = refusal{p.err, s.now().Add(refuseFor)}
		}
		close(p.done)
	}()
	select {
	case q.slots <- struct{}{}:
		defer func() { <-q.slots }()
		p.err = s.pull(ctx, project, chartName, version)
	case <-ctx.Done():
		p.err = problem.New(problem.Unavailable, "mirror-busy", "too much is being mirrored right now").Suggest("ask again in a minute")
	}
}

func notMirrored(project, chartName, version string) *problem.Error {
	return problem.New(problem.NotFound, "mirror-version", "project %s has no release %s %s, and its upstream has none to mirror", project, chartName, version)
}

func (s *Service) pull(ctx context.Context, project, chartName, version string) error {
	all, err := s.store.Upstreams(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(u Upstream) bool { return u.Mirror != nil && u.Mirror.Project == project && u.Mirror.OnDemand })
	if i < 0 {
		return notMirrored(project, chartName, version)
	}
	u := &all[i]
	choice, err := u.selection()
	if err != nil {
		return err
	}
	list, err := s.store.Versions(ctx, u.ID, chartName)
	if err != nil {
		return err
	}
	for j := range list {
		v := &list[j]
		if v.Version != version || v.Gone {
			continue
		}
		if !choice.takes(v) {
			return notMirrored(project, chartName, version).With("upstream", "%s has it, and the mirror does not take it", u.Name)
		}
		if at := choice.ripe(v); at.After(s.now()) {
			return notMirrored(project, chartName, version).
				With("first seen", "%s", timeText(v.FirstSeen)).With("mirrored from", "%s, when it is %s old", timeText(at), choice.MinAge)
		}
		return s.pullVersion(ctx, u, v)
	}
	return notMirrored(project, chartName, version)
}

// pullVersion releases the first bytes of a version that are kept, or what is
// served, if it is what is listed.
func (s *Service) pullVersion(ctx context.Context, u *Upstream, v *VersionState) error {
	first, _, err := s.firstBytes(u, v)
	if err == nil {
		err = s.mayMirror(ctx, u, v.Chart, cmp.Or(first, originOf(u, v).Digest))
	}
	if err != nil {
		return err
	}
	var proven provenance
	defer func() {
		if e := s.unproven(u, v, &proven); e != nil {
			if err := s.Tell(ctx, []Event{*e}); err != nil {
				s.log.ErrorContext(ctx, "tell of a provenance", "upstream", u.Name, "chart", v.Chart, "version", v.Version, "error", err)
			}
		}
	}()
	var src Source
	i := slices.IndexFunc(u.Sources, func(src Source) bool { return src.ID == v.SourceID })
	if i >= 0 {
		src = u.Sources[i]
	}
	if first != "" {
		_, err = s.claim(ctx, u, src, v, first, &proven)
		return err
	}
	if i < 0 || v.URL == "" {
		return notMirrored(u.Mirror.Project, v.Chart, v.Version).With("upstream", "%s lists it without an address", u.Name)
	}
	opened, err := s.sources.Archive(ctx, src, v.URL, Validators{})
	if err != nil {
		return err
	}
	defer opened.Close()
	o := originOf(u, v)
	o.Provenance = s.provenanceOf(u, src, v, &proven)
	_, err = s.registry.Mirror(ctx, u.Mirror.Project, opened, o)
	return err
}
