package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// offer releases one version, and tells what came of it. It says false when it
// may work another time.
func (r *round) offer(ctx context.Context, v *version) bool {
	project := r.choice.Project
	res, err := r.claim(ctx, v)
	if later(err) {
		r.log.WarnContext(ctx, "mirror a version", "upstream", r.lease.Upstream.Name, "chart", v.Chart, "version", v.Version, "error", err)
		return false
	}
	if err == nil {
		e := r.event(Mirrored, Info, v.Chart, v.Version, "%s %s is released in %s", v.Chart, v.Version, project)
		e.Project = project
		e.with("digest", res.Digest)
		e.with("log index", fmt.Sprint(res.LogIndex))
		e.Key = eventKey(e.Kind, r.source.ID, project, v.Chart, v.Version)
		r.events = append(r.events, e)
		return true
	}
	r.refused(v, err)
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

func (r *round) claim(ctx context.Context, v *version) (MirrorResult, error) {
	st := r.state(v)
	if err := r.unchanged(ctx, &r.lease.Upstream, st, slices.Clone(v.told)); err != nil {
		return MirrorResult{}, err
	}
	rc, err := r.registry.OpenArchive(ctx, v.Archive)
	if err != nil {
		return MirrorResult{}, err
	}
	defer rc.Close()
	return r.registry.Mirror(ctx, r.choice.Project, rc, originOf(&r.lease.Upstream, st))
}

func originOf(u *Upstream, v *VersionState) MirrorOrigin {
	o := MirrorOrigin{Upstream: u.Name, URL: v.URL, Chart: v.Chart, Version: v.Version, Created: v.Created, FirstSeen: v.FirstSeen}
	if !v.Bare && len(v.Digests) > 0 {
		o.Digest = prefixed(v.Digests[0])
	}
	return o
}

// unchanged refuses a version whose content changed after we first saw it: the
// first bytes are those that are released, and these are not. more are events
// that are not in the store yet. Cost: the version's events, where its state
// says that there may be some.
func (s *Service) unchanged(ctx context.Context, u *Upstream, v *VersionState, more []Event) error {
	events := more
	if v.LastChange.After(v.FirstSeen.Add(time.Second)) {
		kept, err := s.store.Events(ctx, EventFilter{Upstream: u.Name, Chart: v.Chart, Version: v.Version, Since: v.FirstSeen, Limit: 1000})
		if err != nil {
			return err
		}
		events = append(events, kept...)
	}
	for i := range events {
		e := &events[i]
		if (e.Kind == Changed || e.Kind == ReturnedChanged) && e.Severity.Rank() >= Medium.Rank() {
			p := problem.New(problem.Disproven, "mirror-changed", "%s %s was replaced after it was first seen, and before it was released here", v.Chart, v.Version).
				With("first seen", "%s", timeText(v.FirstSeen)).With("replaced", "%s", timeText(e.Time))
			for _, f := range e.Evidence {
				if f.Label == "old digest" || f.Label == "new digest" {
					p.With(f.Label, "%s", f.Value)
				}
			}
			return p.Suggest("look at both: chartkeep upstream show %s", u.Name)
		}
	}
	return nil
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
		if err := s.unchanged(ctx, u, v, nil); err != nil {
			return err
		}
		return s.pullVersion(ctx, u, v)
	}
	return notMirrored(project, chartName, version)
}

// pullVersion releases a version from the archive that is kept, or fetches it.
func (s *Service) pullVersion(ctx context.Context, u *Upstream, v *VersionState) error {
	open := func() (io.ReadCloser, error) {
		if v.Archive != "" && v.ArchiveError == "" {
			return s.registry.OpenArchive(ctx, v.Archive)
		}
		i := slices.IndexFunc(u.Sources, func(src Source) bool { return src.ID == v.SourceID })
		if i < 0 || v.URL == "" {
			return nil, notMirrored(u.Mirror.Project, v.Chart, v.Version).With("upstream", "%s lists it without an address", u.Name)
		}
		return s.sources.Archive(ctx, u.Sources[i], v.URL)
	}
	rc, err := open()
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = s.registry.Mirror(ctx, u.Mirror.Project, rc, originOf(u, v))
	return err
}
