package watch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// DeploymentChange is what people declare of a deployment; nil leaves it, and
// "" takes a declaration back.
type DeploymentChange struct {
	Environment *string
	Owner       *string
	Route       *string
	Mission     *int // 0 to 3, -1 takes it back
	Exposure    *string
}

// ImportResult is what an import did.
type ImportResult struct {
	Import      string   `json:"import"`
	Deployments int      `json:"deployments"`
	Unresolved  int      `json:"unresolved"` // of them
	New         int      `json:"new"`
	Changed     int      `json:"changed"` // run another version than before
	Gone        int      `json:"gone"`
	Events      []Event  `json:"events"`
	Problems    []string `json:"problems"`
}

// Limits of an import.
const (
	maxDeployments = 50_000
	maxDeclared    = 200 // bytes of what people declare
)

// ImportDeployments records what was found at one place: each deployment is
// matched with what is published, and what the same import brought before and
// is not found now is gone. every declares how often it is made from now on, 0
// takes that back, and nil leaves it. Cost: the catalogue (all versions of all upstreams
// and all releases, read at most once a minute), and what the import brings.
func (s *Service) ImportDeployments(ctx context.Context, c audit.Caller, name string, found deployment.Inventory, every *Duration) (ImportResult, error) {
	if err := s.may(ctx, c, access.DeploymentWrite); err != nil {
		return ImportResult{}, err
	}
	if err := checkName(name); err != nil {
		return ImportResult{}, err
	}
	if err := checkEvery(every); err != nil {
		return ImportResult{}, err
	}
	if len(found.Deployments) > maxDeployments {
		return ImportResult{}, problem.New(problem.TooLarge, "deployments", "an import brings at most %d deployments, not %d", maxDeployments, len(found.Deployments)).
			Suggest("import it in parts, each under a name of its own")
	}
	catalogue, err := s.fresh(ctx)
	if err != nil {
		return ImportResult{}, err
	}
	res := ImportResult{Import: name, Deployments: len(found.Deployments), Events: []Event{}, Problems: found.Problems}
	if res.Problems == nil {
		res.Problems = []string{}
	}
	im := Import{Name: name, From: found.From, Every: every}
	im.keep(found.Problems)
	prints := map[string]*deployment.Print{}
	list := make([]Deployment, len(found.Deployments))
	keys := make(map[string]bool, len(list))
	for i, d := range found.Deployments {
		if err := checkDeployment(&d); err != nil {
			return ImportResult{}, err
		}
		if keys[d.Key] {
			return ImportResult{}, problem.New(problem.Invalid, "deployment-key", "the import has two deployments with the key %.200s", d.Key)
		}
		keys[d.Key] = true
		if d.Match, err = s.confirm(ctx, prints, catalogue.Match(&d), d.Print); err != nil {
			return ImportResult{}, err
		}
		list[i] = Deployment{Deployment: d, Import: name}
	}
	if err := s.derive(ctx, name, list); err != nil {
		return ImportResult{}, err
	}
	for i := range list {
		if d := &list[i]; d.Match.Confidence == deployment.Unknown || len(d.Unresolved) > 0 {
			res.Unresolved++
		}
	}
	now := s.now()
	became := map[string]*int{} // by key, since the store may compare again
	ev := s.event(c, audit.DeploymentImported, access.DeploymentWrite)
	ev.Detail = map[string]string{"import": name, "deployments": fmt.Sprint(len(list))}
	events, err := s.store.ReplaceDeployments(ctx, im, list, ev, now, func(was, is *Deployment) []Event {
		switch {
		case was == nil:
			became[is.Key] = &res.New
		case is == nil:
			became[was.Key] = &res.Gone
		case was.Chart.Version != is.Chart.Version || was.Fingerprint != is.Fingerprint:
			became[is.Key] = &res.Changed
		}
		return compareDeployment(was, is, now)
	})
	if err != nil {
		return ImportResult{}, err
	}
	for _, count := range became {
		*count++
	}
	res.Events = append(res.Events, events...)
	s.nudge()
	return res, nil
}

// confirm compares the default values too: the fingerprint leaves them out,
// since Helm changes them when it installs. prints keeps what was read of each
// archive. An archive that cannot be read confirms nothing: the match is then
// no longer exact.
func (s *Service) confirm(ctx context.Context, prints map[string]*deployment.Print, m deployment.Match, stored *deployment.Print) (deployment.Match, error) {
	if m.Confidence != deployment.Exact || stored == nil || m.Archive == "" {
		return m, nil
	}
	archive, known := prints[m.Archive]
	if !known {
		body, err := read(s.registry.OpenArchive(ctx, m.Archive))(s.limits.Archive)
		if err == nil {
			var p deployment.Print
			if p, _, err = deployment.PrintArchive(bytes.NewReader(body), s.limits); err == nil {
				archive = &p
			}
		}
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		if err != nil {
			s.log.WarnContext(ctx, "read an archive to confirm a match", "digest", m.Archive, "error", err)
		}
		prints[m.Archive] = archive
	}
	if archive == nil {
		m.Confidence, m.How = deployment.Strong, m.How+"; its default values could not be compared"
		return m, nil
	}
	return m.Confirm(*stored, *archive), nil
}

// checkDeployment bounds what an import brings, and masks its values again: who
// sends it may have an older program.
func checkDeployment(d *deployment.Deployment) error {
	for _, t := range []struct {
		name, value string
		limit       int
	}{
		{"key", d.Key, 1024}, {"from", d.From, 4096}, {"cluster", d.Cluster, 256}, {"namespace", d.Namespace, 256}, {"name", d.Name, 256}, {"environment", d.Environment, maxDeclared},
		{"owner", d.Owner, maxDeclared}, {"chart", d.Chart.Name, 256}, {"version", d.Chart.Version, 256}, {"constraint", d.Chart.Constraint, 1024}, {"repository", d.Chart.Repository, 2048},
	} {
		if len(t.value) > t.limit {
			return problem.New(problem.Invalid, "deployment-"+t.name, "the %s of a deployment has more than %d bytes", t.name, t.limit).With("key", "%.200s", d.Key)
		}
	}
	d.Rendering = nil // it is made here
	if d.Key == "" {
		return problem.New(problem.Invalid, "deployment-key", "a deployment has no key")
	}
	if len(d.Values) > 0 {
		var values map[string]any
		if err := json.Unmarshal(d.Values, &values); err != nil {
			return problem.New(problem.Invalid, "deployment-values", "the values of deployment %.200s are not a JSON object", d.Key)
		}
		text, err := json.Marshal(deployment.Mask(values))
		if err != nil {
			return err
		}
		d.Values = text
	}
	return checkExposure(&d.Exposure)
}

func checkExposure(e *deployment.Exposure) error {
	switch *e {
	case "":
		*e = deployment.ExposureUnknown
	case deployment.ExposureUnknown, deployment.ExposureSmall, deployment.ExposureControlled, deployment.ExposureOpen:
	default:
		return problem.New(problem.Invalid, "exposure", "exposure is small, controlled or open, not %.40q", string(*e))
	}
	return nil
}

// compareDeployment says what happened to a deployment between two imports.
func compareDeployment(was, is *Deployment, now time.Time) []Event {
	d := is
	if d == nil {
		d = was
	}
	event := func(kind EventKind, sev Severity, format string, args ...any) Event {
		e := Event{Time: now, Kind: kind, Severity: sev, Upstream: d.Match.Upstream, Project: d.Match.Project, Chart: d.Chart.Name, Version: d.Chart.Version,
			Deployment: d.Key, Owner: d.Owner, Route: d.Route, Message: fmt.Sprintf(format, args...)}
		e.with("where", d.From)
		e.with("environment", d.Environment)
		e.with("owner", cmp.Or(d.Owner, "nobody is named"))
		e.Key = strings.Join([]string{string(kind), d.Import, d.Key, d.Chart.Version, d.Fingerprint, stamp(now)}, "/")
		return e
	}
	var out []Event
	version := cmp.Or(d.Chart.Version, d.Chart.Constraint, "of unknown version")
	switch {
	case is == nil:
		return []Event{event(DeploymentGone, Low, "%s is there no more; it ran %s %s", d.Key, d.Chart.Name, version)}
	case was == nil:
		out = append(out, event(DeploymentSeen, Info, "%s runs %s %s", d.Key, d.Chart.Name, version))
	case was.Chart.Version != is.Chart.Version:
		out = append(out, event(VersionMoved, Info, "%s runs %s %s now, and ran %s before", d.Key, d.Chart.Name, version, cmp.Or(was.Chart.Version, was.Chart.Constraint)))
	case was.Fingerprint == is.Fingerprint && was.Match.Differs == is.Match.Differs && was.Match.Confidence == is.Match.Confidence:
		return nil
	}
	if d.Tool != deployment.Helm || d.Match.Confidence != deployment.Unknown && !d.Match.Differs {
		return out
	}
	if d.Match.Differs {
		e := event(UnreleasedBytes, Critical, "%s runs other bytes than the released %s %s", d.Key, d.Chart.Name, version)
		e.Question = "who installed it, from where, and what does it do that the release does not?"
		e.with("fingerprint of what runs", d.Fingerprint)
		return append(out, e)
	}
	if was == nil || was.Match.Confidence != deployment.Unknown {
		e := event(UnknownChart, Medium, "%s runs %s %s, which nobody known released", d.Key, d.Chart.Name, version)
		e.Question = "where does the chart come from? watch its upstream, or release it in a project"
		e.with("match", d.Match.How)
		out = append(out, e)
	}
	return out
}

// Deployments lists what runs where, by key; importName "" lists what every
// import brought.
func (s *Service) Deployments(ctx context.Context, c audit.Caller, importName string) ([]Deployment, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.Deployments(ctx, importName)
}

// DeploymentList is Deployments without values and what archives are compared
// with. Cost: a tenth of it.
func (s *Service) DeploymentList(ctx context.Context, c audit.Caller, importName string) ([]Deployment, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.DeploymentList(ctx, importName)
}

// Deployment returns one deployment.
func (s *Service) Deployment(ctx context.Context, c audit.Caller, key string) (Deployment, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Deployment{}, err
	}
	return s.store.Deployment(ctx, key)
}

// SetDeployment changes what people declare of a deployment. It stays over
// imports, and wins over what they say.
func (s *Service) SetDeployment(ctx context.Context, c audit.Caller, key string, ch DeploymentChange) (Deployment, error) {
	if err := s.may(ctx, c, access.DeploymentWrite); err != nil {
		return Deployment{}, err
	}
	ev := s.event(c, audit.DeploymentSet, access.DeploymentWrite)
	ev.Detail = map[string]string{"deployment": key}
	defer s.declared.Add(1)
	return s.store.SetDeployment(ctx, key, ev, s.now(), func(d Deployment) (Deployment, error) {
		for _, t := range []struct {
			to    *string
			given *string
		}{{&d.Environment, ch.Environment}, {&d.Owner, ch.Owner}, {&d.Route, ch.Route}} {
			if t.given == nil {
				continue
			}
			if len(*t.given) > maxDeclared || strings.ContainsFunc(*t.given, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return d, problem.New(problem.Invalid, "deployment-text", "what is declared of a deployment is one line of at most %d bytes", maxDeclared)
			}
			*t.to = *t.given
		}
		if ch.Mission != nil {
			switch {
			case *ch.Mission == -1:
				d.Mission = nil
			case *ch.Mission < 0 || *ch.Mission > 3:
				return d, problem.New(problem.Invalid, "mission", "the mission tier is 0 (lowest) to 3, or -1 for none, not %d", *ch.Mission)
			default:
				d.Mission = ch.Mission
			}
		}
		if ch.Exposure != nil {
			e := deployment.Exposure(*ch.Exposure)
			if err := checkExposure(&e); err != nil {
				return d, err
			}
			d.Exposure, d.ExposureWhy = e, "declared"
			if *ch.Exposure == "" {
				d.ExposureWhy = ""
			}
		}
		return d, nil
	})
}

// Outdated says how far each deployment is behind what is published, by key.
// Cost: the catalogue, and for each deployment the versions of its chart.
func (s *Service) Outdated(ctx context.Context, c audit.Caller, importName string) ([]deployment.Row, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	list, err := s.store.DeploymentList(ctx, importName)
	if err != nil {
		return nil, err
	}
	return s.Behind(ctx, c, list...)
}

// Behind says of each of some deployments how far it is behind. Cost: the
// catalogue, and for each deployment the versions of its chart.
func (s *Service) Behind(ctx context.Context, c audit.Caller, list ...Deployment) ([]deployment.Row, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	catalogue, err := s.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	rows := make([]deployment.Row, len(list))
	for i := range list {
		rows[i] = catalogue.Outdated(&list[i].Deployment, now)
		if m := list[i].Match; m.Differs && rows[i].Match.Confidence == deployment.Exact { // its default values differ
			rows[i].State, rows[i].Why, rows[i].Match = deployment.Unchecked, m.How, m
		}
	}
	return rows, nil
}

// CompareEnvironments says in what two environments differ. Cost: all
// deployments without their values, and those of the two with them.
func (s *Service) CompareEnvironments(ctx context.Context, c audit.Caller, a, b string) (deployment.Differences, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return deployment.Differences{}, err
	}
	list, err := s.store.DeploymentList(ctx, "")
	if err != nil {
		return deployment.Differences{}, err
	}
	of := map[string]int{}
	for i := range list {
		of[list[i].Environment]++
	}
	for _, env := range []string{a, b} {
		if env == "" || of[env] == 0 {
			return deployment.Differences{}, problem.New(problem.NotFound, "environment", "no deployment is in an environment %q", env).
				Suggest("chartkeep deployment set KEY --environment NAME")
		}
	}
	both, err := s.wholeOf(ctx, list, a, b, of[a]+of[b] < len(list)/4)
	if err != nil {
		return deployment.Differences{}, err
	}
	return deployment.CompareEnvironments(both, a, b), nil
}

// wholeOf reads deployments of two environments with their values: one by one
// where they are few, else all of them at once.
func (s *Service) wholeOf(ctx context.Context, list []Deployment, a, b string, few bool) (out []deployment.Deployment, err error) {
	if !few {
		if list, err = s.store.Deployments(ctx, ""); err != nil {
			return nil, err
		}
	}
	for i := range list {
		d := list[i]
		if d.Environment != a && d.Environment != b {
			continue
		}
		if few {
			d, err = s.store.Deployment(ctx, d.Key)
			if problem.KindOf(err) == problem.NotFound {
				continue // gone meanwhile
			}
			if err != nil {
				return nil, err
			}
		}
		out = append(out, d.Deployment)
	}
	return out, nil
}

// fresh is the catalogue as it is now, with the fingerprints of what was
// released a moment ago as far as they can be taken in a few seconds.
func (s *Service) fresh(ctx context.Context) (*deployment.Catalogue, error) {
	within, cancel := context.WithTimeout(ctx, fingerprintFor)
	defer cancel()
	if err := s.Fingerprint(within); err != nil && within.Err() == nil {
		return nil, err
	}
	s.shelf.mu.Lock()
	s.shelf.made = nil
	s.shelf.mu.Unlock()
	return s.catalogue(ctx)
}

const fingerprintFor = 10 * time.Second

// catalogueFor is how long a catalogue is used before it is read again.
const catalogueFor = time.Minute

// shelf keeps the catalogue of what is published.
type shelf struct {
	mu   sync.Mutex
	at   time.Time
	made *deployment.Catalogue
}

// catalogue is what upstreams and our own registry publish. Cost, when it is
// read: all versions of all upstreams, and all releases.
func (s *Service) catalogue(ctx context.Context) (*deployment.Catalogue, error) {
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	if s.shelf.made != nil && s.now().Sub(s.shelf.at) < catalogueFor {
		return s.shelf.made, nil
	}
	var list []deployment.Published
	ups, err := s.store.Upstreams(ctx)
	if err != nil {
		return nil, err
	}
	for i := range ups {
		u := &ups[i]
		urls := map[int64]string{}
		for _, src := range u.Sources {
			urls[src.ID] = src.URL
		}
		versions, err := s.store.Versions(ctx, u.ID, "")
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			p := deployment.Published{
				Upstream: u.Name, Repository: urls[v.SourceID], Chart: v.Chart, Version: v.Version, AppVersion: v.AppVersion, Archive: cmp.Or(v.Archive, prefixed(slices.Concat(v.Digests, []string{""})[0])),
				Fingerprint: v.Fingerprint, FirstSeen: v.FirstSeen, Created: v.Created, Deprecated: v.Deprecated, Gone: v.Gone,
			}
			list = append(list, p)
			for _, b := range v.Earlier {
				if b.Archive == "" {
					continue
				}
				p.Archive, p.Fingerprint, p.Earlier = b.Archive, b.Fingerprint, true
				list = append(list, p)
			}
		}
	}
	own, err := s.store.OwnPublished(ctx)
	if err != nil {
		return nil, err
	}
	for i := range own {
		own[i].Repository = s.base + "/" + own[i].Project
	}
	s.shelf.at, s.shelf.made = s.now(), deployment.NewCatalogue(append(list, own...))
	return s.shelf.made, nil
}

// EventFeed is the Atom feed of one upstream or one deployment; base is the URL
// under which the reader reaches this server.
func (s *Service) EventFeed(ctx context.Context, c audit.Caller, f EventFilter, base string) ([]byte, error) {
	events, err := s.Events(ctx, c, f)
	if err != nil {
		return nil, err
	}
	title, query := "upstream "+f.Upstream, url.Values{"upstream": {f.Upstream}}
	if f.Deployment != "" {
		title, query = "deployment "+f.Deployment, url.Values{"deployment": {f.Deployment}}
	}
	return Feed("Chartkeep: "+title, base+"/api/v1/feed?"+query.Encode(), events), nil
}
