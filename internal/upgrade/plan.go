package upgrade

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// What a plan says to do.
const (
	ActUpgrade = "upgrade"    // a version closes what has a deadline
	ActCadence = "cadence"    // a newer version, without security news that has a deadline
	ActRemedy  = "remedy"     // something is open, and no version closes it
	ActWait    = "wait"       // nothing newer, and nothing open
	ActUnknown = "not-judged" // it cannot be told
)

// How long things take, by effort: the length of a slot, and the time for tests
// before it.
const (
	cadence  = 30 * 24 * time.Hour // from when a version was first seen, without security news
	horizon  = 90 * 24 * time.Hour // how far a slot is looked for without a deadline
	slotTime = time.Hour
)

// plan says what to do about a deployment. It is pure but for what judge read.
func (s *Service) plan(is *state, d *watch.Deployment, j *judged) (Plan, error) {
	a := &j.assessment
	p := Plan{
		Deployment: d.Key, Chart: d.Chart.Name, From: d.Chart.Version, Made: a.At, Inputs: a.Inputs, Open: len(a.Findings),
		Deadline: a.Deadline, SetBy: a.SetBy, Candidates: []Candidate{}, Remedies: []Remedy{}, Approvals: []SignRole{Reviewer}, Doubts: slices.Clone(a.Doubts),
	}
	for i := range j.options {
		p.Candidates = append(p.Candidates, j.candidate(&j.options[i]))
	}
	p.choose(j)
	p.remedy(is, j)
	p.act(j)
	p.schedule(is, d, j)
	body := p
	body.Made, body.Digest = time.Time{}, ""
	text, err := json.Marshal(body)
	if err != nil {
		return Plan{}, fmt.Errorf("write the plan of %s: %w", d.Key, err)
	}
	p.Digest = digest.SHA256(text)
	return p, nil
}

// candidate is an option as plans show it.
func (j *judged) candidate(o *option) Candidate {
	c := Candidate{
		Side:   Side{Version: o.Version, Archive: o.Archive, Upstream: o.Upstream, Project: o.Project, FirstSeen: o.FirstSeen, Images: []string{}},
		Closes: []string{}, Why: o.why,
	}
	if o.pair == nil {
		c.Effort = manifest.EffortOf([]manifest.Finding{{Rule: "compared-as-text", Severity: manifest.Medium, Object: o.Version, Message: "was not compared"}}, "", "")
		return c
	}
	c.Effort = o.pair.effort
	c.Images = append(c.Images, o.pair.images[1]...)
	c.Unknown = len(o.found.unknown)
	now := map[string]bool{}
	due := 0
	for i := range j.assessment.Findings {
		f := &j.assessment.Findings[i]
		now[f.Key] = true
		switch {
		case f.Kind == OfHardening:
		case o.closes(f):
			c.Closed++
			c.Closes = append(c.Closes, f.Key)
			continue
		default:
			c.Remaining++
		}
		if f.Decision.Deadline.Equal(j.assessment.Deadline) && !f.Decision.Deadline.IsZero() {
			due++
		}
	}
	for key := range o.found.byKey {
		if !now[key] {
			c.Introduced++
		}
	}
	c.Meets = o.pair.known[1] && due == 0 && !j.assessment.Deadline.IsZero()
	if due > 0 && c.Why == "" {
		c.Why = "it leaves open " + count(due, "finding", "findings") + " with the earliest deadline"
	}
	return c
}

// choose takes the version with the least effort among those that meet the
// earliest deadline; where none meets it, the one that closes most of what has
// a deadline; without a deadline, the newest that is not blocked.
func (p *Plan) choose(j *judged) {
	if n := len(p.Candidates); n > 0 {
		p.Newest = &p.Candidates[n-1]
	}
	var best *Candidate
	for i := range p.Candidates {
		c := &p.Candidates[i]
		if c.Archive == "" || !p.Deadline.IsZero() && c.Closed == 0 || c.Why != "" && c.Closed == 0 {
			continue
		}
		if best == nil || p.better(c, best) {
			best = c
		}
	}
	p.Chosen = best
}

func (p *Plan) better(a, b *Candidate) bool {
	if p.Deadline.IsZero() {
		// No deadline: the newest, unless something blocks it.
		return cmp.Or(flag(b.Effort.Blocked, a.Effort.Blocked), 1) > 0
	}
	return cmp.Or(
		flag(a.Meets, b.Meets),
		flag(b.Effort.Blocked, a.Effort.Blocked),
		a.Closed*flagOf(!a.Meets)-b.Closed*flagOf(!b.Meets), // among those that do not meet it, what closes more
		b.Effort.Points-a.Effort.Points,
		a.Closed-b.Closed,
		b.Introduced-a.Introduced,
	) > 0
}

// flag orders yes before no.
func flag(a, b bool) int { return flagOf(a) - flagOf(b) }

func flagOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// act says what the plan comes to.
func (p *Plan) act(j *judged) {
	a := &j.assessment
	left := 0
	if p.Chosen != nil {
		left = p.Chosen.Remaining
	}
	switch {
	case a.NotJudged != "":
		p.Action, p.Text = ActUnknown, "It cannot be told what is open: "+a.NotJudged+"."
	case p.Chosen != nil && !p.Deadline.IsZero() && p.Chosen.Closed > 0:
		p.Action = ActUpgrade
		p.Text = fmt.Sprintf("Move to %s: it closes %d of %d findings", p.Chosen.Version, p.Chosen.Closed, p.Open)
		if p.Chosen.Meets {
			p.Text += " and meets the earliest deadline with the least effort."
		} else {
			p.Text += ", and no known version closes what is due first. See the remedies for the rest."
		}
	case len(a.Findings) > 0 && (p.Chosen == nil || p.Chosen.Closed == 0) && !p.Deadline.IsZero():
		p.Action = ActRemedy
		p.Text = fmt.Sprintf("No fixed chart exists: %s open, and no known version of %s closes what is due.", count(p.Open, "finding is", "findings are"), p.Chart)
	case p.Chosen != nil:
		p.Action = ActCadence
		p.Text = fmt.Sprintf("Move to %s by cadence: nothing that is open has a deadline.", p.Chosen.Version)
		if left > 0 {
			p.Text += fmt.Sprintf(" %s stay open.", count(left, "finding", "findings"))
		}
	case len(j.versions) == 0:
		p.Action, p.Text = ActUnknown, "It is not known which published chart this is, so there is nothing to move to."
	default:
		p.Action, p.Text = ActWait, "It runs the newest version, and nothing that is open has a deadline."
	}
	if n := len(a.Unknown); n > 0 {
		p.Text += fmt.Sprintf(" %s unknown.", count(n, "image is", "images are"))
	}
}

// schedule finds the slot, the depth of tests and who approves.
func (p *Plan) schedule(is *state, d *watch.Deployment, j *judged) {
	p.Tests = "smoke"
	if p.Chosen == nil {
		p.Due = p.Deadline
		return
	}
	switch e := p.Chosen.Effort; {
	case e.Class == manifest.EffortLarge, e.Blocked:
		p.Tests = "upgrade-and-rollback"
	case e.Class == manifest.EffortMedium:
		p.Tests = "upgrade"
	}
	if slices.Contains(p.Chosen.Effort.Approvers, manifest.ApproverSecurity) {
		p.Approvals = append(p.Approvals, Security)
	}
	now := j.subject.now
	p.Due = p.Deadline
	if p.Action == ActCadence {
		from := p.Chosen.FirstSeen
		if from.IsZero() {
			from = now
		}
		p.Due = from.Add(cadence)
	}
	until := p.Due
	if until.IsZero() || p.Action == ActCadence && until.Before(now) {
		until = now.Add(horizon)
	}
	security := p.Action == ActUpgrade
	slot, freeze, ok := calendar.Next(is.windows, d.Key, d.Environment, now.UTC().Truncate(time.Hour).Add(time.Hour), until, slotTime, security)
	if ok && slot.Window == "" {
		p.Doubts = append(p.Doubts, "no window is meant for this deployment: any time before it is due is taken as allowed")
		return
	}
	if ok {
		p.Slot = &slot
		return
	}
	switch {
	case !until.After(now):
		p.Emergency = "the deadline has passed"
	case freeze != "":
		p.Emergency = fmt.Sprintf("freeze %s leaves no slot before the deadline", freeze)
	default:
		p.Emergency = "no window opens before the deadline"
	}
	p.Emergency += "; an emergency change needs two approvers"
	if !slices.Contains(p.Approvals, Security) {
		p.Approvals = append(p.Approvals, Security)
	}
}

// Plans lists the newest plan of every deployment, by due time.
func (s *Service) Plans(ctx context.Context, c audit.Caller) ([]Plan, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.Plans(ctx)
}

// Plan is the newest plan of a deployment, or the one with a digest, with the
// reviews that its candidates have now.
func (s *Service) Plan(ctx context.Context, c audit.Caller, deploymentOrDigest string) (Plan, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Plan{}, err
	}
	p, err := s.store.Plan(ctx, deploymentOrDigest)
	if err != nil {
		return Plan{}, err
	}
	reviews, err := s.store.ListReviews(ctx, ReviewFilter{Deployment: p.Deployment})
	if err != nil {
		return Plan{}, err
	}
	for _, c := range slices.Concat([]*Candidate{p.Chosen, p.Newest}, pointers(p.Candidates)) {
		i := slices.IndexFunc(reviews, func(r Review) bool { return c != nil && r.To.Version == c.Version && r.From.Version == p.From })
		if i >= 0 {
			c.Review, c.Reviewed = reviews[i].Digest, reviews[i].State
		}
	}
	return p, nil
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// AcceptPlan takes the slot of a deployment's newest plan for its upgrade. The
// plan must be the one with the digest: who accepts has read that one. Its
// version must have been reviewed, and its review signed.
func (s *Service) AcceptPlan(ctx context.Context, c audit.Caller, key, planDigest string) (Upgrade, error) {
	if err := s.may(ctx, c, access.UpgradePlan); err != nil {
		return Upgrade{}, err
	}
	p, err := s.store.Plan(ctx, key)
	if err != nil {
		return Upgrade{}, err
	}
	switch {
	case p.Digest != planDigest:
		return Upgrade{}, problem.New(problem.Conflict, "plan-changed", "the plan of %s is another one now", key).
			With("yours", "%s", planDigest).With("now", "%s", p.Digest).Suggest("read it: chartkeep plan show %s", key)
	case p.Chosen == nil:
		return Upgrade{}, problem.New(problem.Conflict, "plan-empty", "the plan of %s has no version to move to: %s", key, p.Text)
	}
	up, err := s.openUpgrade(ctx, key, p.Chosen.Version)
	if err != nil {
		return Upgrade{}, err
	}
	if up.State == Seen {
		refusal := problem.New(problem.Policy, "plan-unreviewed", "the upgrade of %s to %s waits for %s", key, p.Chosen.Version, up.WaitsFor)
		if up.Review == "" {
			return Upgrade{}, refusal.Suggest("chartkeep review make %s %s", key, p.Chosen.Version)
		}
		return Upgrade{}, refusal.Suggest("chartkeep review show %s", short(up.Review))
	}
	ev := s.event(c, audit.UpgradePlanned, access.UpgradePlan)
	ev.Detail = map[string]string{"deployment": key, "version": p.Chosen.Version, "plan": p.Digest}
	return s.store.MoveUpgrade(ctx, up.ID, nil, &ev, func(u Upgrade) (Upgrade, error) {
		if u.State != Reviewed && u.State != Planned {
			return u, problem.New(problem.Conflict, "upgrade-state", "the upgrade of %s to %s is %s", u.Deployment, u.To, u.State)
		}
		u.State, u.Since, u.Plan, u.Slot, u.Due, u.Deadline = Planned, ev.Time, p.Digest, p.Slot, p.Due, p.Deadline
		u.WaitsFor = "its tests"
		text := "plan accepted"
		if p.Slot != nil {
			text += ", slot " + p.Slot.Start.UTC().Format("2006-01-02 15:04Z")
		} else if p.Emergency != "" {
			text += ", " + p.Emergency
		}
		u.Steps = append(u.Steps, Step{Time: ev.Time, State: Planned, By: ev.Actor.ID, ByName: ev.Actor.Name, Text: text})
		return u, nil
	})
}

// openUpgrade is the open upgrade of a deployment to a version.
func (s *Service) openUpgrade(ctx context.Context, key, version string) (Upgrade, error) {
	list, err := s.store.ListUpgrades(ctx, UpgradeFilter{Deployment: key, Open: true})
	if err != nil {
		return Upgrade{}, err
	}
	for _, u := range list {
		if u.To == version {
			return u, nil
		}
	}
	return Upgrade{}, problem.New(problem.NotFound, "upgrade", "there is no open upgrade of %s to %s", key, version).Suggest("chartkeep status")
}

// remedy says what else than a version of the chart helps against what is due.
func (p *Plan) remedy(is *state, j *judged) {
	covered := map[string]bool{}
	if p.Chosen != nil {
		for i := range j.options {
			o := &j.options[i]
			if o.Version != p.Chosen.Version {
				continue
			}
			for k := range j.assessment.Findings {
				covered[j.assessment.Findings[k].Key] = o.closes(&j.assessment.Findings[k])
			}
		}
	}
	byImage := map[string][]*Finding{}
	var none []string
	for i := range j.assessment.Findings {
		f := &j.assessment.Findings[i]
		if covered[f.Key] || f.Kind == OfPosture || f.Kind == OfHardening {
			continue
		}
		if f.Workaround != "" {
			p.Remedies = append(p.Remedies, Remedy{Kind: "mitigate", Text: f.Workaround, For: []string{f.Key}, Verified: "this is the advisory's own text; nothing of it was checked"})
		}
		if len(f.Fixed) == 0 && f.Workaround == "" {
			none = append(none, f.Key)
		}
		for _, image := range f.Images {
			if len(f.Fixed) > 0 {
				byImage[image] = append(byImage[image], f)
			}
		}
	}
	for _, image := range sortedKeys(byImage) {
		p.Remedies = append(p.Remedies, is.override(j, image, byImage[image]))
	}
	if len(none) > 0 {
		p.Remedies = append(p.Remedies, Remedy{
			Kind: "move-away", For: none, Verified: "no record names a fixed version or a workaround",
			Text: fmt.Sprintf("No version is known that fixes %s. Restrict who reaches it, replace it, or ask for a waiver with a date.", count(len(none), "finding", "findings")),
		})
	}
	for _, u := range j.assessment.Unknown {
		p.Remedies = append(p.Remedies, Remedy{
			Kind: "map-image", Text: "Nobody knows what is open in " + u.Image + ". Map it to a component, or look into it.", For: []string{u.Image}, Image: u.Image,
			Verified: u.Why,
		})
	}
}

// override looks for the least tag of the same image that closes all of its
// findings that can be closed, and asks the same chain whether it does. That
// such a tag was published is not known here.
func (is *state) override(j *judged, image string, findings []*Finding) Remedy {
	r := Remedy{Kind: "override-image", Image: image, For: []string{}}
	var targets []string
	for _, f := range findings {
		r.For = append(r.For, f.Key)
		targets = append(targets, f.Fixed...)
	}
	slices.Sort(targets)
	targets = slices.Compact(targets)
	before := is.db.MatchImage(image)
	best, left := "", len(before.Open)
	far, farLeft := "", left // whatever its major version
	for _, version := range sortVersions(targets) {
		m := is.db.MatchImage(retag(image, version))
		if m.Unknown {
			continue
		}
		if len(m.Open) < farLeft {
			far, farLeft = version, len(m.Open)
		}
		if len(m.Open) < left && sameMajor(version, before.Version) {
			best, left = version, len(m.Open)
		}
	}
	other := ""
	switch {
	case best == "" && far != "":
		best, left, other = far, farLeft, " It is another major version."
	case far != "" && farLeft < left:
		other = fmt.Sprintf(" %s, another major version, would leave %d.", far, farLeft)
	}
	if best == "" {
		r.Kind, r.Text = "move-away", fmt.Sprintf("No version of %s is known that has fewer open advisories.", image)
		r.Verified = fmt.Sprintf("the %s that records name were looked up", count(len(targets), "fixed version", "fixed versions"))
		return r
	}
	r.Target = retag(image, best)
	name, _, _ := manifest.ImageName(image)
	r.Text = fmt.Sprintf("Set %s to version %s: %d of its %d open advisories remain.", name, best, left, len(before.Open)) + other
	r.Verified = "looked up in the same snapshots"
	if chosen := j.choices[image]; len(chosen) > 0 {
		r.Values = valuesOf(chosen, best)
		r.Verified += "; a rendering shows that these values choose it"
	} else {
		r.Values = valuesFor(j, image, best)
	}
	r.Verified += fmt.Sprintf("; whether the tag %s was published, and whether the chart works with it, was not checked", r.Target)
	return r
}

// valuesOf is the YAML that chooses another version of an image.
func valuesOf(chosen []manifest.ImageValue, version string) string {
	top := map[string]any{}
	for _, v := range chosen {
		m := top
		for _, key := range v.Path[:len(v.Path)-1] {
			below, _ := m[key].(map[string]any)
			if below == nil {
				below = map[string]any{}
				m[key] = below
			}
			m = below
		}
		m[v.Path[len(v.Path)-1]] = v.With(version)
	}
	var b strings.Builder
	writeValues(&b, top, "")
	return b.String()
}

func writeValues(b *strings.Builder, m map[string]any, indent string) {
	for _, k := range sortedKeys(m) {
		key := k
		if !plainKey.MatchString(k) || notText.MatchString(k) {
			key = strconv.Quote(k)
		}
		if below, ok := m[k].(map[string]any); ok {
			fmt.Fprintf(b, "%s%s:\n", indent, key)
			writeValues(b, below, indent+"  ")
			continue
		}
		fmt.Fprintf(b, "%s%s: %q\n", indent, key, m[k])
	}
}

// plainKey is a key that YAML reads as text without quotes, but for those of
// notText.
var (
	plainKey = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	notText  = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)
)

// sameMajor reports whether two versions have the same major version.
func sameMajor(a, b string) bool {
	x, _, _ := strings.Cut(a, ".")
	y, _, _ := strings.Cut(b, ".")
	return x == y
}

// retag is an image with another version for its tag, without a digest.
func retag(image, version string) string {
	name, _, _ := manifest.ImageName(image)
	return name + ":" + version
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// valuesFor is the YAML that sets the tag of an image, where the values that
// somebody set show the path; "" where they do not.
func valuesFor(j *judged, image, version string) string {
	var values map[string]any
	if json.Unmarshal(j.subject.d.Values, &values) != nil {
		return ""
	}
	_, tag, _ := manifest.ImageName(image)
	path := tagPath(values, tag, nil, 0)
	if path == nil {
		return ""
	}
	return valuesOf([]manifest.ImageValue{{Path: path}}, version)
}

// tagPath is the path of the one value called tag that has this text; nil for
// none or several.
func tagPath(m map[string]any, tag string, at []string, depth int) (path []string) {
	if tag == "" || depth > 20 {
		return nil
	}
	found := 0
	for _, k := range sortedKeys(m) {
		switch v := m[k].(type) {
		case map[string]any:
			if below := tagPath(v, tag, append(slices.Clone(at), k), depth+1); below != nil {
				path = below
				found++
			}
		case string:
			if v == tag && strings.HasSuffix(strings.ToLower(k), "tag") {
				path = append(slices.Clone(at), k)
				found++
			}
		}
	}
	if found != 1 {
		return nil
	}
	return path
}
