package upgrade

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/notes"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// maxNoteVersions bounds of how many versions between two the notes are read.
const maxNoteVersions = 100

// MakeReview reviews a version for a deployment; "" is the version that the
// deployment's plan chose. The same move under the same inputs is the same
// review, with the sign-offs that it has.
func (s *Service) MakeReview(ctx context.Context, c audit.Caller, key, version string) (Review, error) {
	if err := s.may(ctx, c, access.UpgradeReview); err != nil {
		return Review{}, err
	}
	d, err := s.watch.OneDeployment(ctx, key)
	if err != nil {
		return Review{}, err
	}
	if version == "" {
		p, err := s.store.Plan(ctx, key)
		if err != nil || p.Chosen == nil {
			return Review{}, problem.New(problem.NotFound, "review-version", "the plan of %s has no version to move to", key).
				Suggest("name one: chartkeep review make %s VERSION", key)
		}
		version = p.Chosen.Version
	}
	is, err := s.think(ctx)
	if err != nil {
		return Review{}, err
	}
	j, err := s.judge(ctx, is, &d)
	if err != nil {
		return Review{}, err
	}
	r, err := s.review(ctx, is, &d, j, version)
	if err != nil {
		return Review{}, err
	}
	r, err = s.putReview(ctx, r)
	if err != nil {
		return Review{}, err
	}
	return r, s.tellUpgrade(ctx, &r)
}

// review makes a review of one version. Cost: a rendering, another one where what
// runs was not rendered yet, and the notes of the versions between.
func (s *Service) review(ctx context.Context, is *state, d *watch.Deployment, j *judged, version string) (Review, error) {
	v, err := versionOf(j.versions, version, d)
	if err != nil {
		return Review{}, err
	}
	archive, name, err := s.watch.FetchArchive(ctx, v)
	if err != nil {
		return Review{}, err
	}
	opt, err := s.options(d)
	if err != nil {
		return Review{}, err
	}
	running, err := j.running.base(ctx, opt)
	if err != nil {
		return Review{}, err
	}
	a := &j.assessment
	r := Review{
		Deployment: d.Key, Chart: d.Chart.Name, Made: a.At, Inputs: a.Inputs, State: ReviewOpen, Signoffs: []Signoff{},
		Closed: []Finding{}, Introduced: []Finding{}, Remaining: []Finding{}, Unknown: []UnknownImage{}, Notes: []NoteHints{},
		Doubts: []string{}, Checklist: []ChecklistItem{}, Roles: []SignRole{Reviewer},
	}
	r.From = Side{Version: d.Chart.Version, Archive: j.running.key(), Upstream: d.Match.Upstream, Project: d.Match.Project, Images: distinct(d.Images)}
	r.To = Side{Version: v.Version, Archive: name, Upstream: v.Upstream, Project: v.Project, FirstSeen: v.FirstSeen}
	if was, err := versionOf(j.versions, d.Chart.Version, d); err == nil {
		r.From.FirstSeen = was.FirstSeen
	}
	o := option{Published: v}
	if err := compareFully(is, d, running, archive, opt, &o, &r); err != nil {
		return Review{}, err
	}
	r.sort(is, j, &o)
	published, versions, err := s.notesBetween(ctx, j, &v)
	if err != nil {
		return Review{}, err
	}
	if err := r.read(archive, published, versions); err != nil {
		return Review{}, err
	}
	r.weighDoubts(j)
	r.conclude(&o)
	r.ask()
	return r, r.seal()
}

// grounds names everything that a review of an option would be made from, so
// that it need not be made again to learn that it comes to the same: what is
// open before and after, archives and values, policy, and texts. Cost: one query.
func (s *Service) grounds(ctx context.Context, j *judged, o *option) (string, error) {
	d := j.subject.d
	published, _, err := s.notesBetween(ctx, j, &o.Published)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", pairKey(d, j.running.key(), o.Archive), j.assessment.Inputs.Policy.Digest, d.Key)
	for _, f := range j.assessment.Findings {
		fmt.Fprintf(h, "now %s %s %d %t\n", f.Key, f.Severity, f.Decision.Deadline.Unix(), o.closes(&f))
	}
	for _, f := range j.assessment.Lifted {
		fmt.Fprintf(h, "lifted %s\n", f.Key)
	}
	for _, key := range o.found.keys() {
		fmt.Fprintf(h, "then %s\n", key)
	}
	for _, u := range o.found.unknown {
		fmt.Fprintf(h, "unknown %s\n", u.Image)
	}
	for _, n := range published {
		fmt.Fprintf(h, "note %s %s\n", n.Version, n.Digest)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// versionOf finds a published version of a chart.
func versionOf(list []deployment.Published, version string, d *watch.Deployment) (deployment.Published, error) {
	key, _ := chart.LenientVersion(version)
	for _, p := range list {
		k, _ := chart.LenientVersion(p.Version)
		if !p.Earlier && (p.Version == version || key != "" && k == key) {
			return p, nil
		}
	}
	p := problem.New(problem.NotFound, "version", "no version %.80s of chart %s is known", version, d.Chart.Name)
	if d.Match.Upstream == "" && d.Match.Project == "" {
		p.With("match", "%s", d.Match.How)
	}
	return deployment.Published{}, p.Suggest("chartkeep deployment show %s", d.Key)
}

// compareFully compares what runs, nil where that is not had, with the version,
// with all texts.
func compareFully(is *state, d *watch.Deployment, running *manifest.Base, archive []byte, opt manifest.Options, o *option, r *Review) (err error) {
	if o.pair, r.Compared, err = compared(running, archive, opt); err != nil {
		return err
	}
	if running == nil {
		r.doubt("the archive of what runs is not had: nothing could be compared with it")
	}
	r.To.Images = o.pair.images[1]
	if r.To.Images == nil {
		r.To.Images = []string{}
	}
	if len(r.From.Images) == 0 {
		r.From.Images = append([]string{}, o.pair.images[0]...)
	}
	o.found = is.look(r.To.Images, repositories(d), d.Chart.Name, o.Version)
	o.found.hide(o.pair.hidden[1])
	o.found.addChart(OfPosture, o.pair.posture[1])
	if !o.pair.known[1] {
		r.doubt("the new version does not render with these values: " + o.pair.reason)
	}
	return nil
}

// sort says what is closed, introduced, and remains.
func (r *Review) sort(is *state, j *judged, o *option) {
	now := map[string]bool{}
	for _, f := range j.assessment.Findings {
		now[f.Key] = true
		switch {
		case f.Kind == OfHardening:
			continue
		case o.closes(&f):
			r.Closed = append(r.Closed, f)
		default:
			if o.found.byKey[f.Key] == nil {
				f.Doubt = strings.TrimPrefix(f.Doubt+"; it is not known whether the new version closes it", "; ")
			} else if is := o.found.byKey[f.Key]; f.Kind == OfAdvisory {
				f.Images, f.Version, f.Fixed = is.Images, is.Version, is.Fixed
			}
			r.Remaining = append(r.Remaining, f)
		}
	}
	lifted := map[string]bool{}
	for _, f := range j.assessment.Lifted {
		lifted[f.Key] = true
	}
	for _, key := range o.found.keys() {
		f := o.found.byKey[key]
		if now[key] || lifted[key] || f.Kind == OfPosture && j.running == nil {
			continue
		}
		is.decide(f, o.found.open[key], j.subject, time.Time{})
		if f.Decision.Lifted == nil {
			r.Introduced = append(r.Introduced, *f)
		}
	}
	r.Unknown = append(r.Unknown, o.found.unknown...)
	for _, list := range [][]Finding{r.Closed, r.Introduced, r.Remaining} {
		slices.SortFunc(list, urgency)
	}
	if len(r.Closed) > 0 && !r.Closed[0].Decision.Deadline.IsZero() {
		r.Deadline, r.SetBy = r.Closed[0].Decision.Deadline, r.Closed[0].Key
	}
}

// between are the versions that a move passes, the newest first, by their
// identity.
func between(j *judged, from, to string) []string {
	_, low := chart.LenientVersion(from)
	_, high := chart.LenientVersion(to)
	var out []string
	for _, p := range j.versions {
		key, at := chart.LenientVersion(p.Version)
		if key != "" && !p.Earlier && at > low && at <= high && !slices.Contains(out, key) && len(out) < maxNoteVersions {
			out = append(out, key)
		}
	}
	return out
}

// notesBetween are what sources say of the versions that a move passes, in the
// order of the versions. What was read from archives is left out: the new
// archive has all of it.
func (s *Service) notesBetween(ctx context.Context, j *judged, to *deployment.Published) ([]watch.Note, []string, error) {
	d := j.subject.d
	versions := between(j, d.Chart.Version, to.Version)
	list, err := s.watch.ChartNotes(ctx, to.Upstream, d.Chart.Name)
	if err != nil {
		return nil, nil, err
	}
	by := map[string][]watch.Note{}
	for _, n := range list {
		if key, _ := chart.LenientVersion(n.Version); !strings.HasPrefix(n.Key, "archive:") && slices.Contains(versions, key) {
			by[key] = append(by[key], n)
		}
	}
	var out []watch.Note
	for _, key := range versions {
		out = append(out, by[key]...)
	}
	return out, versions, nil
}

// read reads what is written about the versions between: in the archive's
// changelog and annotations, and in what sources publish.
func (r *Review) read(archive []byte, published []watch.Note, versions []string) error {
	read := readNotes{review: r}
	if err := read.archive(archive, versions); err != nil {
		return err
	}
	for _, n := range published {
		read.text(n.Version, cmp.Or(n.Title, "notes of "+n.Version), n.URL, n.Text)
	}
	if !read.any {
		r.doubt("no release notes of the versions between are known")
	}
	return nil
}

// readNotes collects the hints of texts.
type readNotes struct {
	review *Review
	any    bool // a text was there
}

// text reads a text about one version.
func (n *readNotes) text(version, source, url, text string) {
	n.any = true
	list, err := notes.Read(text, notes.DefaultLimits())
	if err != nil {
		n.review.doubt(source + " could not be read: " + sayError(err))
		return
	}
	var hints []notes.Hint
	for _, rel := range list {
		hints = append(hints, rel.Hints...)
		n.unread(source, rel)
	}
	n.add(version, source, url, text, hints)
}

func (n *readNotes) unread(source string, rel notes.Release) {
	if rel.Unread != "" {
		n.review.doubt(source + ": " + rel.Unread)
	}
}

func (n *readNotes) add(version, source, url, text string, hints []notes.Hint) {
	if len(hints) > 0 {
		n.review.Notes = append(n.review.Notes, NoteHints{Version: version, Source: source, URL: url, Digest: digest.SHA256([]byte(text)), Hints: hints})
	}
}

// archive reads the changelog of an archive, of all versions between, and the
// annotations of its Chart.yaml.
func (n *readNotes) archive(archive []byte, versions []string) error {
	var log []byte
	a, err := chart.OpenEach(bytes.NewReader(archive), chart.DefaultLimits(), func(path string, content []byte) {
		if strings.EqualFold(path, "CHANGELOG.md") {
			log = content
		}
	})
	if err != nil {
		return err
	}
	if rel, err := notes.ReadChart(string(a.ChartYAML), notes.DefaultLimits()); err != nil {
		n.review.doubt("the annotations of Chart.yaml could not be read: " + sayError(err))
	} else {
		n.any = n.any || len(rel.Hints) > 0
		n.unread("Chart.yaml", rel)
		n.add(n.review.To.Version, "annotations of Chart.yaml", "", string(a.ChartYAML), rel.Hints)
	}
	if log == nil {
		return nil
	}
	list, err := notes.Read(string(log), notes.DefaultLimits())
	if err != nil {
		n.review.doubt("the changelog in the archive could not be read: " + sayError(err))
		return nil
	}
	for _, rel := range list {
		key, _ := chart.LenientVersion(rel.Version)
		if slices.Contains(versions, key) {
			n.any = true
			n.unread("changelog in the archive", rel)
			n.add(rel.Version, "changelog in the archive", "", string(log), rel.Hints)
		}
	}
	return nil
}

// substance is what a review comes to, as facts: our own sentences are not in
// it, so that a newer program that says the same in other words takes no
// sign-off away.
type substance struct {
	Form               string
	Deployment, Chart  string
	From, To           string
	Archives           [2]string
	Policy             string
	Closed, Introduced []string
	Remaining, Unknown []string
	Advice             string
	Effort             manifest.EffortClass
	Undo               manifest.UndoVerdict
	Asked              []string
	Notes              []string // that ask for something, in their own words
}

// comesTo is the substance of the review.
func (r *Review) comesTo() substance {
	names := func(list []Finding) []string {
		out := make([]string, len(list))
		for i, f := range list {
			out[i] = fmt.Sprintf("%s %s %s", f.Key, f.Severity, f.Decision.Deadline.UTC().Format(time.RFC3339))
		}
		return out
	}
	is := substance{
		Form: "chartkeep review v1", Deployment: r.Deployment, Chart: r.Chart, From: r.From.Version, To: r.To.Version, Archives: [2]string{r.From.Archive, r.To.Archive},
		Policy: r.Inputs.Policy.Digest, Closed: names(r.Closed), Introduced: names(r.Introduced), Remaining: names(r.Remaining), Advice: r.Verdict.Advice,
		Effort: r.Compared.Effort.Class, Undo: r.Compared.Undo.Verdict,
	}
	for _, u := range r.Unknown {
		is.Unknown = append(is.Unknown, u.Image)
	}
	for _, item := range r.Checklist {
		if item.Required {
			is.Asked = append(is.Asked, string(item.Role)+" "+item.Finding)
		}
	}
	for _, n := range r.Notes {
		for _, h := range n.Hints {
			if asks(h) {
				is.Notes = append(is.Notes, n.Version+" "+h.Rule+" "+h.Text)
			}
		}
	}
	return is
}

// seal gives the review its digest, over all that it says and not over what
// becomes of it, and names its substance.
func (r *Review) seal() error {
	what, err := json.Marshal(r.comesTo())
	if err != nil {
		return fmt.Errorf("write the substance of the review: %w", err)
	}
	r.Substance = digest.SHA256(what)
	body := *r
	body.ID, body.Digest, body.State, body.Signoffs = 0, "", "", nil
	// The same review made a moment later is the same review.
	body.Made = time.Time{}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write the review: %w", err)
	}
	r.Digest = digest.SHA256(text)
	return nil
}

func (r *Review) doubt(list ...string) {
	for _, d := range list {
		if !slices.Contains(r.Doubts, d) {
			r.Doubts = append(r.Doubts, d)
		}
	}
}

// Reviews lists the newest reviews, without their details.
func (s *Service) Reviews(ctx context.Context, c audit.Caller, f ReviewFilter) ([]Review, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	return s.store.ListReviews(ctx, f)
}

// Review is one review with everything in it.
func (s *Service) Review(ctx context.Context, c audit.Caller, digest string) (Review, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return Review{}, err
	}
	return s.store.Review(ctx, digest)
}
