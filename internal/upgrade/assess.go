package upgrade

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// judged is everything that is known of one deployment at one time.
type judged struct {
	subject    *subject
	assessment Assessment
	running    *source                // nil where it is not had
	versions   []deployment.Published // all of the chart, the newest first
	options    []option               // compared, the least version first
	choices    choices                // by which values the images that run are chosen
}

// judge works out what is open on a deployment, and what each newer version
// would do about it. Nothing is written. Cost: the images; a rendering for each
// version that was not compared before, at most eight, and two for what runs.
func (s *Service) judge(ctx context.Context, is *state, d *watch.Deployment) (*judged, error) {
	open, err := s.store.OpenExposures(ctx, d.Key)
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Second)
	j := &judged{subject: newSubject(d, open, now)}
	a := &j.assessment
	*a = Assessment{
		Deployment: d.Key, Chart: d.Chart.Name, Version: d.Chart.Version, Environment: d.Environment, Owner: d.Owner,
		Exposure: j.subject.exposure, Mission: j.subject.mission, At: now, Inputs: is.inputs(now),
		Findings: []Finding{}, Lifted: []Finding{}, Unknown: []UnknownImage{}, Doubts: []string{},
	}
	a.doubt(a.Inputs.Old...)
	a.doubt(d.Unresolved...)
	if j.versions, err = s.watch.ChartVersions(ctx, *d); err != nil {
		return nil, err
	}
	var missing string
	if j.running, missing, err = s.running(ctx, d); err != nil {
		return nil, err
	}
	if missing != "" {
		a.doubt("what runs could not be rendered, so its posture is not judged: " + missing)
	}
	if j.options, err = s.weigh(ctx, is, d, j.running, newer(j.versions, d.Chart.Version)); err != nil {
		return nil, err
	}
	run, err := s.runs(ctx, is, j, d)
	if err != nil {
		return nil, err
	}
	j.decide(is, run)
	return j, nil
}

// runs is what is open on what a deployment runs.
func (s *Service) runs(ctx context.Context, is *state, j *judged, d *watch.Deployment) (found, error) {
	a := &j.assessment
	images := d.Images
	var own *pair
	if j.running != nil {
		var err error
		if own, err = s.compare(ctx, d, j.running, nil); err != nil {
			if _, ok := problem.As(err); !ok {
				return found{}, err
			}
			a.doubt("what runs could not be rendered, so its posture is not judged: " + sayError(err))
		}
	}
	if own != nil && !own.known[0] {
		a.doubt("what runs does not render with the values that are known, so its posture is not judged: " + own.reason)
		own = nil
	}
	if own != nil {
		j.choices = own.choices
		if len(images) == 0 {
			images = own.images[0]
		} else if d.Tool == deployment.Helm && !slices.Equal(distinct(images), own.images[0]) {
			a.doubt("what is deployed runs other images than its chart renders with these values; those that run were judged")
		}
	}
	var hidden []string
	if own != nil && d.Tool != deployment.Helm { // of what Helm stored, the images themselves are known
		hidden = own.hidden[0]
	}
	if len(images)+len(hidden) == 0 {
		a.NotJudged = "its images are not known"
		if len(d.Unresolved) > 0 {
			a.NotJudged += ": " + strings.Join(d.Unresolved, "; ")
		}
	}
	a.Images = len(distinct(images)) + len(hidden)
	run := is.look(images, repositories(d), d.Chart.Name, d.Chart.Version)
	run.hide(hidden)
	if own != nil {
		run.addChart(OfPosture, own.posture[0])
	}
	if n := len(j.options); n > 0 && j.options[n-1].pair != nil {
		run.addChart(OfHardening, j.options[n-1].pair.hardening)
	}
	return run, nil
}

// decide works out the deadline of everything that is open.
func (j *judged) decide(is *state, run found) {
	a := &j.assessment
	a.Unknown = append(a.Unknown, run.unknown...)
	derived := 0
	for _, key := range run.keys() {
		f := run.byKey[key]
		var fix time.Time
		if o := firstFix(j.options, f); o != nil {
			if fix = o.FirstSeen; !o.Created.IsZero() && fix.Sub(o.Created) > 24*time.Hour {
				a.doubt(fmt.Sprintf("the fix may be older than our clock: its publisher dates %s to %s, we first saw it on %s and count from there",
					o.Version, o.Created.UTC().Format(time.DateOnly), fix.UTC().Format(time.DateOnly)))
			}
		}
		is.decide(f, run.open[key], j.subject, fix)
		if f.Decision.Lifted != nil {
			a.Lifted = append(a.Lifted, *f)
			continue
		}
		a.Findings = append(a.Findings, *f)
		if f.Decision.Derived {
			derived++
		}
	}
	slices.SortFunc(a.Findings, urgency)
	slices.SortFunc(a.Lifted, urgency)
	if len(a.Findings) > 0 && !a.Findings[0].Decision.Deadline.IsZero() {
		a.Deadline, a.SetBy = a.Findings[0].Decision.Deadline, a.Findings[0].Key
	}
	if n := len(a.Unknown); n > 0 {
		a.doubt(count(n, "image is", "images are") + " unknown: not known to be clean")
	}
	if derived > 0 {
		a.doubt("the deadlines of " + count(derived, "finding", "findings") + " rest on inputs that were derived and published by nobody")
	}
	if j.subject.exposure.Value == "" {
		a.doubt("its exposure is not known; it is judged as if open to everybody")
	}
	if a.NotJudged != "" {
		a.doubt(a.NotJudged)
	}
}

// doubt adds what weakens the conclusion, once.
func (a *Assessment) doubt(list ...string) {
	for _, d := range list {
		if !slices.Contains(a.Doubts, d) {
			a.Doubts = append(a.Doubts, d)
		}
	}
}

// exposed is the assessment as what is open over time.
func (a *Assessment) exposed() []Exposed {
	out := make([]Exposed, len(a.Findings))
	for i := range a.Findings {
		f := &a.Findings[i]
		out[i] = Exposed{Deployment: a.Deployment, Key: f.Key, Environment: a.Environment, Severity: f.Severity, Kind: f.Kind, Opened: f.Since, Deadline: f.Decision.Deadline}
	}
	return out
}

// Assessment is what is open on a deployment, as it was judged last.
func (s *Service) Assessment(ctx context.Context, c audit.Caller, key string) (Assessment, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Assessment{}, err
	}
	return s.assessment(ctx, key)
}

// assessment judges now what was never judged.
func (s *Service) assessment(ctx context.Context, key string) (Assessment, error) {
	a, err := s.store.Assessment(ctx, key)
	if problem.KindOf(err) != problem.NotFound {
		return a, err
	}
	d, err := s.watch.OneDeployment(ctx, key)
	if err != nil {
		return Assessment{}, err
	}
	is, err := s.think(ctx)
	if err != nil {
		return Assessment{}, err
	}
	j, err := s.judge(ctx, is, &d)
	if err != nil {
		return Assessment{}, err
	}
	return j.assessment, nil
}

// Explain says why a finding on a deployment is due when it is. The finding is
// named by its key, advisory id, alias or rule.
func (s *Service) Explain(ctx context.Context, c audit.Caller, key, finding string) (Explanation, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Explanation{}, err
	}
	a, err := s.assessment(ctx, key)
	if err != nil {
		return Explanation{}, err
	}
	if finding == "" {
		finding = a.SetBy
	}
	for _, list := range [][]Finding{a.Findings, a.Lifted} {
		for _, f := range list {
			if f.Key == finding || f.Advisory == finding && finding != "" || f.Rule == finding && finding != "" || slices.Contains(f.Aliases, finding) {
				return Explanation{Deployment: key, Finding: f, Decision: f.Decision, Inputs: a.Inputs}, nil
			}
		}
	}
	p := problem.New(problem.NotFound, "finding", "nothing called %.80s is open on %s", finding, key)
	if finding == "" {
		p = problem.New(problem.NotFound, "finding", "nothing on %s has a deadline", key)
	}
	if n := len(a.Unknown); n > 0 {
		p.With("unknown", "%s not known to be clean", count(n, "image is", "images are"))
	}
	return Explanation{}, p.Suggest("chartkeep deployment show %s", key)
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
