package watch

import (
	"context"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds and defaults of what is watched.
const (
	minInterval   = Duration(5 * time.Minute)
	maxInterval   = 30 * Day
	listInterval  = Duration(time.Hour) // default of a source that lists versions
	otherInterval = Duration(6 * time.Hour)
	quietAfter    = 180 * Day // default
	maxQuiet      = 3650 * Day
	maxSources    = 20
	maxGlobs      = 100
	maxURL        = 1024 // bytes
)

// AddUpstream watches a chart source from now on. Its sources are polled at
// once; the first poll records what there is and makes no events of it but one.
func (s *Service) AddUpstream(ctx context.Context, c audit.Caller, n NewUpstream) (Upstream, error) {
	if err := s.may(ctx, c, access.UpstreamWrite); err != nil {
		return Upstream{}, err
	}
	u := Upstream{Name: n.Name, Charts: n.Charts, Keep: n.Keep, QuietAfter: quietAfter, Mirror: n.Mirror}
	if n.QuietAfter != nil {
		u.QuietAfter = *n.QuietAfter
	}
	if n.Preset != "" {
		sources, err := presetSources(n.Preset)
		if err != nil {
			return Upstream{}, err
		}
		u.Sources = sources
		if u.Name == "" {
			u.Name = n.Preset
		}
	}
	u.Sources = append(u.Sources, n.Sources...)
	if err := s.check(ctx, &u); err != nil {
		return Upstream{}, err
	}
	ev := s.event(c, audit.UpstreamAdded, access.UpstreamWrite)
	ev.Detail = describe(&u)
	u.CreatedBy = ev.Actor.ID
	u, err := s.store.CreateUpstream(ctx, u, ev, s.now())
	if err == nil {
		s.nudge()
	}
	return u, err
}

// SetUpstream changes what is watched, or mirrored. Charts that it watches from
// now on are told of by one event each, and what is watched no more keeps its
// last state.
func (s *Service) SetUpstream(ctx context.Context, c audit.Caller, name string, ch UpstreamChange) (Upstream, error) {
	if err := s.may(ctx, c, access.UpstreamWrite); err != nil {
		return Upstream{}, err
	}
	apply := func(u Upstream) (Upstream, error) {
		if ch.Charts != nil {
			u.Charts = *ch.Charts
		}
		if ch.Keep != nil {
			u.Keep = *ch.Keep
		}
		if ch.QuietAfter != nil {
			u.QuietAfter = *ch.QuietAfter
		}
		if ch.Mirror != nil {
			u.Mirror = ch.Mirror
		}
		if ch.NoMirror {
			u.Mirror = nil
		}
		if ch.Sources != nil {
			u.Sources = slices.Clone(*ch.Sources)
		}
		return u, checkUpstream(&u)
	}
	u, err := s.store.Upstream(ctx, name)
	if err == nil {
		u, err = apply(u)
	}
	if err == nil && ch.Mirror != nil && u.Mirror != nil {
		err = s.checkMirror(ctx, &u)
	}
	if err != nil {
		return Upstream{}, err
	}
	ev := s.event(c, audit.UpstreamSet, access.UpstreamWrite)
	ev.Detail = describe(&u)
	u, err = s.store.UpdateUpstream(ctx, name, ev, s.now(), apply)
	if err == nil {
		s.rest.forget(u.Sources)
		s.held(&u)
		s.nudge()
	}
	return u, err
}

// RemoveUpstream watches an upstream no more and forgets its state. What was
// told of it, mirrored from it and logged stays.
func (s *Service) RemoveUpstream(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.UpstreamWrite); err != nil {
		return err
	}
	return s.store.RemoveUpstream(ctx, name, s.event(c, audit.UpstreamRemoved, access.UpstreamWrite), s.now())
}

// PollNow makes the sources of an upstream due, whatever pause they are in.
func (s *Service) PollNow(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.UpstreamWrite); err != nil {
		return err
	}
	u, err := s.store.Upstream(ctx, name)
	if err != nil {
		return err
	}
	s.rest.forget(u.Sources) // who asks wants all of it done
	if err := s.store.PollNow(ctx, name, s.now()); err != nil {
		return err
	}
	s.nudge()
	return nil
}

// Upstreams lists all upstreams by name, with the health of their sources.
func (s *Service) Upstreams(ctx context.Context, c audit.Caller) ([]Upstream, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	list, err := s.store.Upstreams(ctx)
	for i := range list {
		s.held(&list[i])
	}
	return list, err
}

// held leaves of who holds a source what people have to know: that it is not
// polled, and not by us either.
func (s *Service) held(u *Upstream) {
	now := s.now()
	for i := range u.Sources {
		h := &u.Sources[i].Health
		if _, ours := s.polling.Load(u.Sources[i].ID); ours || !h.HeldUntil.After(now) {
			h.HeldUntil = time.Time{}
		}
	}
}

// Upstream returns one.
func (s *Service) Upstream(ctx context.Context, c audit.Caller, name string) (Upstream, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Upstream{}, err
	}
	u, err := s.store.Upstream(ctx, name)
	s.held(&u)
	return u, err
}

// Versions lists what is known of the versions of a chart of an upstream, ""
// for all charts: by chart, the newest version first. Cost: the rows listed.
func (s *Service) Versions(ctx context.Context, c audit.Caller, name, chartName string) ([]VersionState, error) {
	u, err := s.Upstream(ctx, c, name)
	if err != nil {
		return nil, err
	}
	list, err := s.store.Versions(ctx, u.ID, chartName)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]string, len(list))
	for i := range list {
		_, keys[list[i].Version] = chart.LenientVersion(list[i].Version)
	}
	slices.SortFunc(list, func(a, b VersionState) int {
		if n := strings.Compare(a.Chart, b.Chart); n != 0 {
			return n
		}
		return strings.Compare(keys[b.Version], keys[a.Version])
	})
	return list, nil
}

// Notes lists what the sources of an upstream wrote, newest first; chart and
// version may be "". Cost: limit rows.
func (s *Service) Notes(ctx context.Context, c audit.Caller, name, chartName, version string, limit int) ([]Note, error) {
	u, err := s.Upstream(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	return s.store.Notes(ctx, u.ID, chartName, version, limit)
}

// Events lists what happened, newest first. Cost: see Upstreams.Events of Store.
func (s *Service) Events(ctx context.Context, c audit.Caller, f EventFilter) ([]Event, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.Events(ctx, f)
}

// check holds an upstream to the rules, and asks whether its mirror's project
// is one.
func (s *Service) check(ctx context.Context, u *Upstream) error {
	if err := checkUpstream(u); err != nil || u.Mirror == nil {
		return err
	}
	return s.checkMirror(ctx, u)
}

// checkMirror asks whether a mirror can do what it is to do.
func (s *Service) checkMirror(ctx context.Context, u *Upstream) error {
	if u.Mirror.Reviewed && s.reviewed == nil {
		return noReviews(u.Name)
	}
	return s.registry.MirrorTarget(ctx, u.Mirror.Project, u.Name)
}

// checkUpstream holds an upstream to the rules and fills in defaults.
func checkUpstream(u *Upstream) error {
	if err := checkName(u.Name); err != nil {
		return err
	}
	switch u.Keep {
	case "":
		u.Keep = KeepNew
	case KeepNew, KeepAll, KeepNone:
	default:
		return invalid("keep", "there is no way %.40q to keep archives", u.Keep).With("ways", "%s, %s, %s", KeepNew, KeepAll, KeepNone)
	}
	if u.QuietAfter != 0 && (u.QuietAfter < Day || u.QuietAfter > maxQuiet) {
		return invalid("quiet-after", "an upstream can be called quiet after %s to %s, and %s is neither that nor 0 for never", Day, maxQuiet, u.QuietAfter)
	}
	if err := checkGlobs(u.Charts); err != nil {
		return err
	}
	switch n := len(u.Sources); {
	case n == 0:
		return invalid("sources", "the upstream %s has no source", u.Name).Suggest("chartkeep upstream add %s --index URL", u.Name)
	case n > maxSources:
		return invalid("sources", "the upstream %s has %d sources, %d are allowed", u.Name, n, maxSources)
	}
	for i := range u.Sources {
		if err := u.Sources[i].check(); err != nil {
			return err
		}
	}
	if u.Mirror != nil {
		return u.Mirror.check(u)
	}
	return nil
}

func invalid(rule, format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "upstream-"+rule, format, args...)
}

// checkName takes names that fit into URLs, commands and leaves.
func checkName(name string) error {
	if p := CheckName("upstream-name", "an upstream", name); p != nil {
		return p.Suggest("name it after who publishes: airflow-helm")
	}
	return nil
}

// CheckName is what is wrong with a name that somebody gives to something, such
// as "a feed"; nil for nothing.
func CheckName(rule, what, name string) *problem.Error {
	ok := name != "" && len(name) <= 63 && name[0] != '-' && name[len(name)-1] != '-'
	for i := 0; ok && i < len(name); i++ {
		ok = name[i] >= 'a' && name[i] <= 'z' || name[i] >= '0' && name[i] <= '9' || name[i] == '-'
	}
	if ok {
		return nil
	}
	return problem.New(problem.Invalid, rule, "%.80q is not a name for %s", name, what).With("form", "1 to 63 lower-case letters, digits and hyphens between them")
}

func checkGlobs(globs []string) error {
	if len(globs) > maxGlobs {
		return invalid("charts", "%d patterns are given, %d are allowed", len(globs), maxGlobs)
	}
	for _, g := range globs {
		if _, err := path.Match(g, ""); err != nil || g == "" || len(g) > 256 {
			return invalid("charts", "%.80q is not a pattern of chart names", g).Suggest("write a name, or * and ? for any part of one: airflow*")
		}
	}
	return nil
}

// matches says whether a name fits one of the globs; none means all.
func matches(globs []string, name string) bool {
	if len(globs) == 0 {
		return true
	}
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, _ := path.Match(g, name)
		return ok
	})
}

// check holds a source to the rules, fills in its interval and writes its URL
// in one form.
func (src *Source) check() error {
	interval := otherInterval
	switch src.Kind {
	case SourceIndex, SourceOCI:
		interval = listInterval
	case SourceGitHub, SourceFeed, SourceArtifactHub, SourceChangelog:
	default:
		return invalid("kind", "there is no kind %.40q of source", src.Kind).
			With("kinds", "%s, %s, %s, %s, %s, %s", SourceIndex, SourceOCI, SourceGitHub, SourceFeed, SourceArtifactHub, SourceChangelog)
	}
	if src.Interval == 0 {
		src.Interval = interval
	}
	if src.Interval < minInterval || src.Interval > maxInterval {
		return invalid("interval", "a source is polled every %s to %s, and not every %s", minInterval, maxInterval, src.Interval)
	}
	if len(src.Chart) > 256 || strings.ContainsFunc(src.Chart, unicode.IsControl) {
		return invalid("source-chart", "%.80q is not a name of a chart", src.Chart)
	}
	if len(src.Credential) > 64 || strings.ContainsFunc(src.Credential, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return invalid("credential", "the name of a credential has up to 64 plain characters").
			Suggest("name one of the server's credentials file; the credential itself is never given here")
	}
	return src.checkURL()
}

func (src *Source) checkURL() error {
	bad := func(format string, args ...any) *problem.Error {
		e := invalid("url", "the address of a source of kind %s cannot be used: "+format, append([]any{src.Kind}, args...)...)
		switch src.Kind {
		case SourceOCI:
			return e.Suggest("write oci://HOST/PATH/CHART")
		case SourceGitHub:
			return e.Suggest("write https://github.com/OWNER/REPOSITORY")
		}
		return e.Suggest("write https://HOST/PATH")
	}
	u, err := url.Parse(src.URL)
	switch {
	case err != nil || len(src.URL) > maxURL || strings.ContainsFunc(src.URL, func(r rune) bool { return r <= ' ' || r > '~' }):
		return bad("it is not a URL of at most %d plain characters", maxURL)
	case u.User != nil: // and it is not repeated, since it may hold a password
		return bad("it has a user name or a password in it").Suggest("put them into the server's credentials file, and name the entry")
	case u.Fragment != "" || strings.Contains(src.URL, "#"):
		return bad("it has a fragment")
	case u.Hostname() == "":
		return bad("it has no host")
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	segments := strings.Split(strings.Trim(u.Path, "/"), "/")
	if src.Kind == SourceOCI {
		if u.Scheme != "oci" || u.RawQuery != "" || len(segments) < 1 || !chart.IsRepository(strings.Trim(u.Path, "/")) {
			return bad("it is not oci://, a host and a repository")
		}
	} else if u.Scheme != "http" && u.Scheme != "https" {
		return bad("its scheme is %.20q, and not http or https", u.Scheme)
	}
	if src.Kind == SourceGitHub && (len(segments) != 2 || segments[0] == "" || segments[1] == "" || u.RawQuery != "") {
		return bad("it does not name an owner and a repository")
	}
	src.URL = strings.TrimSuffix(u.String(), "/")
	return nil
}

func (m *Mirror) check(u *Upstream) error {
	if m.Project == "" {
		return invalid("mirror", "the mirror of %s has no project", u.Name).
			Suggest("chartkeep project create NAME --mirror %s", u.Name)
	}
	if !slices.ContainsFunc(u.Sources, func(src Source) bool { return src.Kind.Lists() }) {
		return invalid("mirror", "the upstream %s has no source that lists versions, so there is nothing to mirror", u.Name)
	}
	if err := checkGlobs(m.Charts); err != nil {
		return err
	}
	if m.Versions != "" {
		if _, err := semver.NewConstraint(m.Versions); err != nil {
			return invalid("mirror-versions", "%.80q is not a range of versions as Helm reads it", m.Versions).Suggest("write >=1.2.0 <2.0.0, ^1.2.0 or 1.x")
		}
	}
	if m.MinAge > 3650*Day {
		return invalid("mirror-age", "a version is mirrored after %s at most, and not after %s", 3650*Day, m.MinAge)
	}
	return nil
}

// describe says in an audit event what is watched.
func describe(u *Upstream) map[string]string {
	d := map[string]string{}
	for _, src := range u.Sources {
		at := string(src.Kind)
		if d[at] != "" {
			d[at] += " "
		}
		d[at] += src.URL
	}
	if m := u.Mirror; m != nil {
		d["mirror"] = m.Project
	}
	return d
}
