package deployment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// Published is a chart version that somebody published.
type Published struct {
	Project     string // of our own registry, or
	Upstream    string // somebody else's that is watched; neither, for an index that was just read
	Repository  string // URL where it is published; "" unknown
	Chart       string
	Version     string
	AppVersion  string
	Archive     string // sha256:…; "" unknown
	Fingerprint string // "" while the archive was not had
	FirstSeen   time.Time
	Created     time.Time // as its publisher says
	Deprecated  bool
	Gone        bool // listed no more
	Earlier     bool // these are bytes that the version had, and has no more
}

// origin names where it was published.
func (p *Published) origin() string {
	switch {
	case p.Project != "":
		return "project " + p.Project
	case p.Upstream != "":
		return "upstream " + p.Upstream
	}
	return p.Repository
}

// when is when the version came to be known.
func (p *Published) when() time.Time {
	if p.FirstSeen.IsZero() || !p.Created.IsZero() && p.Created.Before(p.FirstSeen) && p.Project == "" && p.Upstream == "" {
		return p.Created
	}
	return p.FirstSeen
}

// Catalogue finds published versions. It is made once and then safe for
// concurrent use. It takes about 200 bytes for a version beside the list.
type Catalogue struct {
	list    []Published
	prints  map[string][]int
	digests map[string][]int
	charts  map[string][]int // by name
}

// NewCatalogue makes a catalogue of a list, which it keeps. Cost: linear.
func NewCatalogue(list []Published) *Catalogue {
	c := &Catalogue{list: list, prints: map[string][]int{}, digests: map[string][]int{}, charts: map[string][]int{}}
	for i := range list {
		p := &list[i]
		c.charts[p.Chart] = append(c.charts[p.Chart], i)
		if p.Fingerprint != "" {
			c.prints[p.Fingerprint] = append(c.prints[p.Fingerprint], i)
		}
		if p.Archive != "" {
			c.digests[p.Archive] = append(c.digests[p.Archive], i)
		}
	}
	return c
}

// Match tells which published version a deployment is: by the fingerprint of
// what Helm stored, by the digest that is pinned, by repository, name and
// version, and last by name and version where only one repository has them. A
// repository is never guessed. Cost: the versions of charts of that name.
func (c *Catalogue) Match(d *Deployment) Match {
	if m, ok := c.same(d.Fingerprint, c.prints, "what Helm stored is what this archive holds"); ok {
		return m
	}
	if m, ok := c.same(d.Chart.Digest, c.digests, "the digest of the archive is pinned"); ok {
		return m
	}
	if d.Chart.Name == "" {
		return unmatched("it does not say which chart it is")
	}
	version := d.Chart.Version
	var named, here []*Published
	published := 0
	for _, i := range c.charts[d.Chart.Name] {
		p := &c.list[i]
		if p.Earlier {
			continue
		}
		published++
		if !SameVersion(p.Version, version) {
			continue
		}
		named = append(named, p)
		if d.Chart.Repository != "" && p.Repository != "" && sameRepository(d.Chart.Repository, p.Repository, p.Chart) {
			here = append(here, p)
		}
	}
	confidence, how := Strong, "repository, name and version are the same"
	list := here
	if len(here) == 0 && d.Chart.Repository == "" {
		confidence, how, list = Weak, "name and version are those of this one alone; its repository is not known", named
	}
	// What was read has other bytes, is not it.
	other := 0
	list = slices.DeleteFunc(slices.Clone(list), func(p *Published) bool {
		differs := d.Fingerprint != "" && p.Fingerprint != "" || d.Chart.Digest != "" && p.Archive != ""
		if differs {
			other++
		}
		return differs
	})
	switch {
	case version == "":
		return unmatched(fmt.Sprintf("no exact version of %s is known", d.Chart.Name))
	case len(list) == 0 && other > 0:
		m := unmatched(fmt.Sprintf("a chart %s %s was published, and what is deployed has other bytes", d.Chart.Name, version))
		m.Differs, m.Chart, m.Version = true, d.Chart.Name, version
		return m
	case len(list) == 0 && len(named) > 0:
		return unmatched(fmt.Sprintf("%s %s is published, but not known of %s", d.Chart.Name, version, d.Chart.Repository))
	case len(list) == 0 && published > 0:
		return unmatched(fmt.Sprintf("charts named %s are published, but no version %s", d.Chart.Name, version))
	case len(list) == 0:
		return unmatched(fmt.Sprintf("no chart named %s is known", d.Chart.Name))
	}
	if origins := originsOf(list); len(origins) > 1 {
		return unmatched(fmt.Sprintf("%s %s is published by %s; none is guessed", d.Chart.Name, version, strings.Join(origins, ", ")))
	}
	return matched(confidence, how, list)
}

// same finds what has exactly this fingerprint or digest.
func (c *Catalogue) same(key string, index map[string][]int, how string) (Match, bool) {
	if key == "" || len(index[key]) == 0 {
		return Match{}, false
	}
	var list []*Published
	for _, i := range index[key] {
		list = append(list, &c.list[i])
	}
	first := list[0]
	if !slices.ContainsFunc(list, func(p *Published) bool { return !p.Earlier }) {
		how += ", which its publisher has replaced since"
	}
	for _, p := range list[1:] {
		if p.Chart != first.Chart || p.Version != first.Version {
			return unmatched(fmt.Sprintf("the same bytes are published as %s %s and %s %s", first.Chart, first.Version, p.Chart, p.Version)), true
		}
	}
	return matched(Exact, how, list), true
}

// matched is a match with one version, which a project of ours and an upstream
// may both have.
func matched(confidence Confidence, how string, list []*Published) Match {
	m := Match{Confidence: confidence, How: how, Chart: list[0].Chart, Version: list[0].Version}
	for _, p := range list {
		m.Project, m.Upstream, m.Archive = cmp.Or(m.Project, p.Project), cmp.Or(m.Upstream, p.Upstream), cmp.Or(m.Archive, p.Archive)
	}
	return m
}

func originsOf(list []*Published) []string {
	var out []string
	for _, p := range list {
		if o := p.origin(); !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out
}

// SameVersion compares as Helm does: a v in front and build metadata behind
// make no other version. Flux appends build metadata of its own.
func SameVersion(a, b string) bool {
	return a == b || plainVersion(a) == plainVersion(b)
}

func plainVersion(s string) string {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "+")
	return s
}

// sameRepository compares two addresses of repositories by host and path: one
// may answer to several schemes. A chart in an OCI registry is addressed with
// its name or without.
func sameRepository(a, b, name string) bool {
	return plainRepository(a, name) == plainRepository(b, name)
}

func plainRepository(s, name string) string {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(s), "://")
	if !ok {
		return s
	}
	host, path, _ := strings.Cut(rest, "/")
	path = strings.Trim(strings.TrimSuffix(strings.TrimRight(path, "/"), "index.yaml"), "/")
	if strings.EqualFold(scheme, "oci") {
		path = strings.Trim(strings.TrimSuffix("/"+path, "/"+name), "/")
	}
	return strings.ToLower(host) + "/" + path
}

// State is how a deployment stands to what is published.
type State string

// The states.
const (
	Current    State = "current"    // nothing newer is published
	Outdated   State = "outdated"   // something newer is
	Unchecked  State = "unchecked"  // it could not be told; never to be taken for current
	Withdrawn  State = "withdrawn"  // what it runs is published no more, and nothing newer is
	Deprecated State = "deprecated" // the chart will have no newer version
)

// Row is a deployment beside what is published of its chart.
type Row struct {
	Key         string    `json:"key"`
	From        string    `json:"from"`
	Cluster     string    `json:"cluster,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Name        string    `json:"name"`
	Environment string    `json:"environment,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	Chart       string    `json:"chart"`
	Version     string    `json:"version,omitempty"`
	Constraint  string    `json:"constraint,omitempty"`
	Published   string    `json:"published,omitempty"` // by whom
	Newest      string    `json:"newest,omitempty"`    // newest stable version
	Allowed     string    `json:"allowed,omitempty"`   // newest that the constraint takes
	Step        string    `json:"step,omitempty"`      // major, minor, patch or pre-release
	Releases    int       `json:"releases"`            // stable versions that are newer
	Since       time.Time `json:"since,omitzero"`      // since when something newer is known
	Days        int       `json:"days"`                // that is how many days ago
	State       State     `json:"state"`
	Why         string    `json:"why"`
	Match       Match     `json:"match"`
}

// Finding is what a command that checks reports.
type Finding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // info, low, medium, high, critical
	Object   string `json:"object"`
	Message  string `json:"message"`
}

// Outdated says how far a deployment is behind. Pre-releases count only for
// what is one itself, and where nothing stable is published. Cost: the versions
// of charts of that name.
func (c *Catalogue) Outdated(d *Deployment, now time.Time) Row {
	r := Row{
		Key: d.Key, From: d.From, Cluster: d.Cluster, Namespace: d.Namespace, Name: d.Name, Environment: d.Environment, Owner: d.Owner,
		Chart: d.Chart.Name, Version: d.Chart.Version, Constraint: d.Chart.Constraint, State: Unchecked, Match: c.Match(d),
	}
	list, why := c.line(d, &r.Match)
	if why != "" {
		r.Why = why
		return r
	}
	r.Published = list[0].origin()
	is, err := semver.NewVersion(cmp.Or(d.Chart.Version, "0.0.0-0"))
	if err != nil {
		r.Why = fmt.Sprintf("%q is no version that can be compared", d.Chart.Version)
		return r
	}
	known := r.compare(list, is, now)
	switch {
	case r.Newest == "":
		r.Why = "no version that can be compared is published"
	case d.Chart.Version == "":
		r.Version, r.State, r.Why = r.Allowed, Current, fmt.Sprintf("%s takes the newest version that it allows", cmp.Or(d.Chart.Constraint, "it"))
		if r.Allowed == "" {
			r.State, r.Why = Unchecked, fmt.Sprintf("no published version is in the range %s", d.Chart.Constraint)
		} else if r.Allowed != r.Newest {
			r.State, r.Why = Outdated, fmt.Sprintf("the range %s takes %s, and %s is published", d.Chart.Constraint, r.Allowed, r.Newest)
		}
	case r.Releases > 0:
		r.State, r.Why = Outdated, fmt.Sprintf("%s is published, %s", r.Newest, behindWords(&r))
	case deprecated(list):
		r.State, r.Why = Deprecated, "its publisher says that the chart is deprecated"
	case !known:
		r.State, r.Why = Withdrawn, fmt.Sprintf("version %s is published no more", d.Chart.Version)
	default:
		r.State, r.Why = Current, "nothing newer is published"
	}
	return r
}

func behindWords(r *Row) string {
	words := fmt.Sprintf("%d versions on (%s)", r.Releases, r.Step)
	if r.Releases == 1 {
		words = "the next version (" + r.Step + ")"
	}
	if r.Days > 0 {
		words += ", for " + counted(r.Days, "day")
	}
	return words
}

// counted is a number of things: 1 day, 2 days.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// line is the line of versions that a deployment belongs to: all that its
// publisher has of the chart.
func (c *Catalogue) line(d *Deployment, m *Match) ([]*Published, string) {
	var list []*Published
	for _, i := range c.charts[d.Chart.Name] {
		p := &c.list[i]
		switch {
		case p.Earlier:
		case m.Confidence != Unknown && m.Upstream != "" && p.Upstream != m.Upstream: // an upstream is ahead of its mirror
		case m.Confidence != Unknown && m.Upstream == "" && m.Project != "" && p.Project != m.Project:
		case d.Chart.Repository != "" && m.Upstream == "" && m.Project == "" && !sameRepository(d.Chart.Repository, p.Repository, p.Chart):
		default:
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		if d.Chart.Repository != "" {
			return nil, fmt.Sprintf("nothing is known of chart %s in %s", d.Chart.Name, d.Chart.Repository)
		}
		return nil, m.How
	}
	if origins := originsOf(list); len(origins) > 1 {
		return nil, fmt.Sprintf("charts named %s are published by %s; none is guessed", d.Chart.Name, strings.Join(origins, ", "))
	}
	if m.Differs {
		return nil, m.How
	}
	return list, ""
}

// compare fills in what is newer, and says whether the version itself is
// published.
func (r *Row) compare(list []*Published, is *semver.Version, now time.Time) (known bool) {
	var constraint *semver.Constraints
	if r.Constraint != "" {
		constraint, _ = semver.NewConstraint(r.Constraint)
	}
	stable := slices.ContainsFunc(list, func(p *Published) bool {
		v, err := semver.NewVersion(p.Version)
		return err == nil && v.Prerelease() == "" && !p.Gone
	})
	var newest, allowed *semver.Version
	for _, p := range list {
		v, err := semver.NewVersion(p.Version)
		if err != nil || p.Gone {
			continue
		}
		known = known || SameVersion(p.Version, r.Version)
		if constraint != nil && constraint.Check(v) && (allowed == nil || v.GreaterThan(allowed)) {
			allowed, r.Allowed = v, p.Version
		}
		if stable && v.Prerelease() != "" {
			continue
		}
		if newest == nil || v.GreaterThan(newest) {
			newest, r.Newest = v, p.Version
		}
		if r.Version == "" || !v.GreaterThan(is) {
			continue
		}
		r.Releases++
		if when := p.when(); !when.IsZero() && (r.Since.IsZero() || when.Before(r.Since)) {
			r.Since = when
		}
	}
	from := is
	if r.Version == "" {
		from = allowed
	}
	if newest != nil && from != nil && newest.GreaterThan(from) {
		r.Step = step(from, newest)
	}
	if !r.Since.IsZero() && now.After(r.Since) {
		r.Days = int(now.Sub(r.Since) / (24 * time.Hour))
	}
	return known
}

func step(from, to *semver.Version) string {
	switch {
	case to.Major() != from.Major():
		return "major"
	case to.Minor() != from.Minor():
		return "minor"
	case to.Patch() != from.Patch():
		return "patch"
	}
	return "pre-release"
}

// deprecated says whether the newest version is.
func deprecated(list []*Published) bool {
	var newest *Published
	best := ""
	for _, p := range list {
		if p.Gone {
			continue
		}
		if _, key := chart.LenientVersion(p.Version); newest == nil || key > best {
			newest, best = p, key
		}
	}
	return newest != nil && newest.Deprecated
}

// Findings are what a row is to be reported for; none for what is current.
func (r *Row) Findings() []Finding {
	severity, rule := "", ""
	switch r.State {
	case Outdated:
		rule = "chart-outdated"
		severity = map[string]string{"major": "medium"}[r.Step]
		severity = cmp.Or(severity, "low")
	case Unchecked:
		rule, severity = "chart-unchecked", "medium"
		if r.Match.Differs {
			rule, severity = "chart-bytes-differ", "critical"
		}
	case Withdrawn:
		rule, severity = "chart-withdrawn", "medium"
	case Deprecated:
		rule, severity = "chart-deprecated", "medium"
	default:
		return nil
	}
	return []Finding{{rule, severity, r.Key, fmt.Sprintf("%s %s: %s", cmp.Or(r.Chart, "chart"), cmp.Or(r.Version, r.Constraint, "of unknown version"), r.Why)}}
}
