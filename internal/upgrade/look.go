package upgrade

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// subject is a deployment with what decides about it.
type subject struct {
	d        *watch.Deployment
	exposure decision.Value
	mission  decision.Value
	opened   map[string]Exposed // what is known to be open on it, by key
	now      time.Time
}

func newSubject(d *watch.Deployment, open []Exposed, now time.Time) *subject {
	s := &subject{d: d, opened: make(map[string]Exposed, len(open)), now: now}
	s.exposure = decision.Value{Name: "exposure", Source: "nobody said, and it could not be derived"}
	if d.Exposure != "" && d.Exposure != deployment.ExposureUnknown {
		s.exposure.Value, s.exposure.Source = string(d.Exposure), d.ExposureWhy
		s.exposure.Derived = d.ExposureWhy != "declared"
	}
	s.mission = decision.Value{Name: "mission", Source: "nobody declared a tier"}
	if d.Mission != nil {
		s.mission.Value, s.mission.Source = strconv.Itoa(*d.Mission), "declared"
	}
	for _, e := range open {
		s.opened[e.Key] = e
	}
	return s
}

// since is when a finding was first known to be open here.
func (s *subject) since(key string) time.Time {
	if e, ok := s.opened[key]; ok {
		return e.Opened
	}
	return s.now
}

// found is what is open on one version of a chart, before it is decided by when
// it has to be closed.
type found struct {
	byKey   map[string]*Finding
	open    map[string]advisory.Open // of advisories, by key
	unknown []UnknownImage
}

// look matches the images of a version, and the version itself, with what is
// known. Cost: the images.
func (is *state) look(images, repositories []string, name, version string) found {
	out := found{byKey: map[string]*Finding{}, open: map[string]advisory.Open{}, unknown: []UnknownImage{}}
	for _, m := range is.db.MatchImages(distinct(images)) {
		if m.Unknown {
			out.unknown = append(out.unknown, UnknownImage{Image: m.Image, Why: m.Why})
		}
		for _, o := range m.Found {
			f := out.add(OfAdvisory, o)
			f.Images = append(f.Images, m.Image)
			f.Confidence = m.Confidence
			if !slices.Contains(strings.Split(f.Version, ", "), m.Version) {
				f.Version = strings.TrimPrefix(f.Version+", "+m.Version, ", ")
			}
		}
	}
	for _, o := range is.db.MatchChart(repositories, name, version) {
		f := out.add(OfChartAdvisory, o)
		f.Version = version
	}
	return out
}

// hide notes images of which not even the name is known.
func (out *found) hide(images []string) {
	for _, ref := range images {
		out.unknown = append(out.unknown, UnknownImage{Image: ref, Why: "its name holds a masked value"})
	}
}

// add notes that an advisory is open; the same one on the same component is one
// finding, whatever images it is in.
func (out *found) add(kind FindingKind, o advisory.Open) *Finding {
	id := cmp.Or(o.Advisory.CVE(), o.Advisory.ID)
	component := o.Affected.Component.String()
	key := id + " in " + component
	if f := out.byKey[key]; f != nil {
		if f.Doubt != "" && o.Doubt == "" {
			f.Doubt = "" // one of the images has it for certain
		}
		return f
	}
	f := &Finding{
		Key: key, Kind: kind, Title: o.Advisory.Summary, Advisory: o.Advisory.ID, Aliases: o.Advisory.Aliases, Component: component,
		Fixed: o.Fixed, Workaround: o.Advisory.Workaround, Doubt: o.Doubt, Severity: SeverityUnknown,
	}
	out.byKey[key], out.open[key] = f, o
	return f
}

// addChart notes findings of what is rendered.
func (out *found) addChart(kind FindingKind, list []manifest.Finding) {
	for _, m := range list {
		if m.Severity.Rank() <= manifest.Info.Rank() {
			continue
		}
		key := m.Rule + " in " + m.Object
		if old := out.byKey[key]; old != nil {
			if m.Severity.Rank() > old.Severity.Rank() {
				old.Severity, old.Title = m.Severity, m.Message
			}
			continue
		}
		out.byKey[key] = &Finding{Key: key, Kind: kind, Severity: m.Severity, Title: m.Message, Rule: m.Rule, Object: m.Object}
	}
}

// keys are the keys in order.
func (out *found) keys() []string {
	keys := make([]string, 0, len(out.byKey))
	for k := range out.byKey {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// decide works out by when a finding has to be closed. fix is when a version
// that closes it was first seen, zero while there is none.
func (is *state) decide(f *Finding, o advisory.Open, s *subject, fix time.Time) {
	f.Since = s.since(f.Key)
	if fix.After(f.Since) {
		// It was known to be open before the fix came: the clock runs already.
		fix = time.Time{}
	}
	if f.Kind == OfPosture || f.Kind == OfHardening || f.Kind == OfChartAdvisory {
		if f.Kind == OfChartAdvisory {
			is.rate(f, o, new(decision.Input))
		}
		f.Decision = is.policy.DecideChart(decision.ChartInput{
			Rule: cmp.Or(f.Rule, f.Advisory), Severity: string(f.Severity), Kind: string(f.Kind), Exposure: s.exposure, Mission: s.mission,
			FirstSeen: f.Since, Fix: fix, Now: s.now, Waivers: is.waived(f, s),
		})
		return
	}
	in := decision.Input{
		Advisory: f.Advisory, CVE: o.Advisory.CVE(), Exposure: s.exposure, Mission: s.mission,
		Published: o.Advisory.Published, FixAvailable: fix, FirstSeen: f.Since, Now: s.now,
		Waivers: is.waived(f, s), VEX: is.stated(f, o),
	}
	is.enrich(f, o, &in)
	is.rate(f, o, &in)
	f.Decision = is.policy.Decide(in)
}

// enrich takes over what catalogues say of the vulnerability.
func (is *state) enrich(f *Finding, o advisory.Open, in *decision.Input) {
	cve := in.CVE
	if cve == "" {
		return
	}
	if k, snap, ok := is.db.KEV(cve); ok {
		f.Exploited = true
		in.Exploited = decision.Value{Name: "exploited", Value: "yes", Source: "CISA KEV, added " + k.Added.UTC().Format(time.DateOnly), Snapshot: snap.Digest}
		in.Ransomware = decision.Value{Name: "ransomware", Value: yes(k.Ransomware), Source: "CISA KEV", Snapshot: snap.Digest}
	} else if snap.Digest != "" {
		in.Exploited = decision.Value{Name: "exploited", Value: "no", Source: "not in CISA KEV of " + snap.Dated.UTC().Format(time.DateOnly), Snapshot: snap.Digest}
	}
	if !f.Exploited && o.Advisory.KEVLinked {
		f.Exploited = true
		in.Exploited = decision.Value{Name: "exploited", Value: "yes", Source: "the record " + o.Advisory.ID + " leads to the KEV catalogue"}
	}
	if p, snap, ok := is.db.Points(cve); ok {
		source := "CISA Vulnrichment, " + p.Dated.UTC().Format(time.DateOnly)
		if p.Exploitation != "" {
			in.Exploitation = decision.Value{Name: "exploitation", Value: string(p.Exploitation), Source: source, Snapshot: snap.Digest}
		}
		if p.Automatable != nil {
			in.Automatable = decision.Value{Name: "automatable", Value: yes(*p.Automatable), Source: source, Snapshot: snap.Digest}
		}
		if p.Total != nil {
			impact := "partial"
			if *p.Total {
				impact = "total"
			}
			in.Impact = decision.Value{Name: "impact", Value: impact, Source: source, Snapshot: snap.Digest}
		}
	}
	if e, snap, ok := is.db.EPSS(cve); ok {
		f.EPSS = &e.EPSS
		in.EPSS = decision.Value{Name: "epss", Value: strconv.FormatFloat(e.EPSS, 'f', -1, 64), Source: "FIRST EPSS " + snap.Model, Snapshot: snap.Digest}
		in.EPSSModel, in.EPSSDated = snap.Model, snap.Dated
	} else if snap.Digest != "" {
		in.EPSS = decision.Value{Name: "epss", Source: "not in FIRST EPSS " + snap.Model, Snapshot: snap.Digest}
		in.EPSSModel, in.EPSSDated = snap.Model, snap.Dated
	}
}

// rate fills in what the CVSS vectors of the record say, and of CISA where the
// record has none.
func (is *state) rate(f *Finding, o advisory.Open, in *decision.Input) {
	scores := o.Affected.Severity
	if len(scores) == 0 {
		scores = o.Advisory.Severity
	}
	source := o.Advisory.ID
	if p, _, ok := is.db.Points(o.Advisory.CVE()); ok && len(scores) == 0 {
		scores, source = p.Scores, "CISA Vulnrichment"
	}
	vectors := make([]string, len(scores))
	for i, s := range scores {
		vectors[i] = s.Vector
	}
	r := decision.Rate(vectors)
	r.Fill(in, source, "")
	if r.Version != "" {
		f.Score = r.Score
		f.Severity = severityOf(r.Severity)
	} else if f.Kind == OfChartAdvisory && f.Severity == SeverityUnknown && o.Advisory.Rating != "" {
		f.Severity = severityOf(o.Advisory.Rating)
	}
}

// severityOf is a CVSS rating, or a word of a record, as a severity.
func severityOf(word string) manifest.Severity {
	switch s := manifest.Severity(strings.ToLower(word)); s {
	case manifest.Low, manifest.Medium, manifest.High, manifest.Critical:
		return s
	case "moderate":
		return manifest.Medium
	case "none", "info":
		return manifest.Info
	}
	return SeverityUnknown
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// stated are the VEX statements in force on a finding: of each author the newest.
func (is *state) stated(f *Finding, o advisory.Open) []decision.Lift {
	var out []decision.Lift
	said := map[string]bool{}
	var products []string
	for _, ref := range f.Images {
		if image, err := advisory.ParseImage(ref); err == nil {
			products = append(products, advisory.Products(image, o.Affected.Component, f.Version)...)
		}
	}
	if len(f.Images) == 0 {
		products = advisory.Products(advisory.Image{}, o.Affected.Component, f.Version)
	}
	for _, st := range is.db.Statements(append([]string{o.Advisory.ID}, o.Advisory.Aliases...), products) {
		if said[st.Author] {
			continue
		}
		said[st.Author] = true
		switch st.Status {
		case decision.NotAffected, decision.Fixed, decision.Affected:
			out = append(out, decision.Lift{
				ID: st.Document, Status: st.Status, Reason: cmp.Or(st.Impact, st.Justification), By: st.Author,
				Source: "OpenVEX " + st.Document, Snapshot: st.Snapshot.Digest,
			})
		}
	}
	return out
}

// waived are the waivers that are meant for a finding on a deployment, expired
// ones too: the decision says what they did.
func (is *state) waived(f *Finding, s *subject) []decision.Lift {
	var out []decision.Lift
	for i := range is.waivers {
		if w := &is.waivers[i]; w.Covers(f, s.d.Key) {
			out = append(out, decision.Lift{
				ID: strconv.FormatInt(w.ID, 10), Status: "waived", Reason: w.Reason, By: cmp.Or(w.ApprovedByName, w.ApprovedBy), Expires: w.Expires,
				Source: fmt.Sprintf("waiver %d", w.ID),
			})
		}
	}
	return out
}

// Covers says whether a waiver is meant for a finding on the deployment with a
// key. It may have ended, or wait for approval.
func (w *Waiver) Covers(f *Finding, key string) bool {
	if w.Component != "" && w.Component != f.Component {
		return false
	}
	if w.Deployments != "" && !glob(w.Deployments, key) {
		return false
	}
	return w.Finding == f.Key || w.Finding == f.Advisory && f.Advisory != "" || w.Finding == f.Rule && f.Rule != "" || slices.Contains(f.Aliases, w.Finding)
}

// glob matches a key; a star stands for any part of it, slashes included.
func glob(pattern, key string) bool {
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(key, "/", "\x00"))
	return err == nil && ok
}

func distinct(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// urgency orders findings: the earliest deadline first, then the most severe,
// then by key.
func urgency(a, b Finding) int {
	return cmp.Or(byTime(a.Decision.Deadline, b.Decision.Deadline), b.Severity.Rank()-a.Severity.Rank(), strings.Compare(a.Key, b.Key))
}

// byTime orders times, zero last.
func byTime(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}
