package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// What the pages of upstreams look back at.
const (
	alarmTime  = 30 * 24 * time.Hour // a changed version stands above all else for so long
	alarmsRead = 200                 // of each kind
	stripTime  = 14 * 24 * time.Hour
	stripSlots = 28
	stripRead  = 1000 // events
)

const (
	upstreamsPerPage = 50
	deployedShown    = 20
	alarmsShown      = 20
)

// upstreamsPage answers whether the watchers are well, and whether somebody
// changed a published version.
type upstreamsPage struct {
	frame
	Query    string
	Alarm    *alarm
	Rows     []upstreamRow
	Total    int // upstreams
	Found    int // by the search; Total without one
	Versions int // listed, of all
	Since    moment
	From, To int
	Newer    string
	Older    string
	MayAdd   bool
}

type upstreamRow struct {
	Name, URL   string
	Kinds       string
	Versions    int
	VersionsURL string
	State       sourceState
	Strip       strip
	Last, Next  moment
	Newest      *newestVersion // nil when none came since it was first read
	Changed     int            // in alarmTime
	Repacked    int
	Deployed    int
}

type newestVersion struct {
	link
	Seen moment
}

// sourceState says in words how polls go.
type sourceState struct {
	Class, Icon, Word string
	Why               string // in a sentence; "" when all is well
	rank              int    // the most urgent first
}

func (d *Door) upstreams(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	list, err := d.cfg.Watching.Upstreams(ctx, c)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	p := &upstreamsPage{frame: d.frameOf(r, "Upstreams", "upstreams"), Total: len(list), Query: shown(strings.TrimSpace(q.Get("q")), maxName)}
	p.MayAdd = d.can(ctx, c, access.UpstreamWrite, "", "", false)
	deployed, err := d.runs(ctx, c)
	if err != nil {
		return err
	}
	changed, err := d.changes(ctx, c, watch.EventFilter{}, p.Now.at)
	if err != nil {
		return err
	}
	if p.Alarm, err = d.alarm(ctx, c, &p.frame, changed, q.Get("alarm"), deployed, p.Base+"/upstreams"); err != nil {
		return err
	}
	alarms, runs := map[string]int{}, map[string]int{}
	for i := range changed {
		alarms[changed[i].Upstream]++
	}
	for i := range deployed {
		runs[deployed[i].Match.Upstream]++
	}
	for i := range list {
		u := &list[i]
		for _, src := range u.Sources {
			if src.Kind.Lists() {
				p.Versions += src.Health.Versions
			}
		}
		if strings.Contains(u.Name, strings.ToLower(p.Query)) {
			row := p.upstreamRow(u, alarms[u.Name])
			row.Deployed = runs[u.Name]
			p.Rows = append(p.Rows, row)
		}
	}
	slices.SortStableFunc(p.Rows, func(a, b upstreamRow) int {
		return cmp.Or(cmp.Compare(a.State.rank, b.State.rank), strings.Compare(a.Name, b.Name))
	})
	p.Found = len(p.Rows)
	p.From, p.To, p.Newer, p.Older = pageOf(p.Found, upstreamsPerPage, q, p.Base+"/upstreams", "q")
	p.Rows = p.Rows[p.From:p.To]
	if err := d.readRows(ctx, c, p, list); err != nil {
		return err
	}
	return d.render(w, r, http.StatusOK, "upstreams", p)
}

// pageOf cuts a list of n rows where the query says from, and leads to the
// pages beside it; the parameters named in keep stay.
func pageOf(n, per int, q url.Values, path string, keep ...string) (from, to int, newer, older string) {
	from, _ = strconv.Atoi(q.Get("from"))
	from = min(max(from, 0), n)
	to = min(from+per, n)
	at := func(i int) string {
		kept := url.Values{}
		for _, k := range keep {
			if q.Has(k) {
				kept.Set(k, q.Get(k))
			}
		}
		if i > 0 {
			kept.Set("from", strconv.Itoa(i))
		}
		return withQuery(path, kept)
	}
	if from > 0 {
		newer = at(max(0, from-per))
	}
	if to < n {
		older = at(to)
	}
	return from, to, newer, older
}

func (f *frame) upstreamRow(u *watch.Upstream, alarms int) upstreamRow {
	row := upstreamRow{
		Name: u.Name, URL: upstreamPath(f.Base, u.Name), VersionsURL: upstreamPath(f.Base, u.Name) + "/versions",
		Kinds: kindsOf(u), State: stateOfUpstream(u, alarms, f.Now.at), Changed: alarms,
	}
	var last, next time.Time
	for _, src := range u.Sources {
		h := &src.Health
		if src.Kind.Lists() {
			row.Versions += h.Versions
		}
		if h.LastPoll.After(last) {
			last = h.LastPoll
		}
		if next.IsZero() || !h.NextPoll.IsZero() && h.NextPoll.Before(next) {
			next = h.NextPoll
		}
	}
	row.Last, row.Next = moment{last, f.Now.at}, moment{next, f.Now.at}
	return row
}

// sourceKinds are the kinds of source in words.
var sourceKinds = map[watch.SourceKind]string{
	watch.SourceIndex: "index", watch.SourceOCI: "OCI tags", watch.SourceGitHub: "GitHub releases", watch.SourceFeed: "feed",
	watch.SourceArtifactHub: "Artifact Hub", watch.SourceChangelog: "changelog",
}

func sourceKind(k watch.SourceKind) string { return cmp.Or(sourceKinds[k], shown(string(k), 64)) }

func kindsOf(u *watch.Upstream) string {
	var kinds []string
	for _, src := range u.Sources {
		if k := sourceKind(src.Kind); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	return strings.Join(kinds, ", ")
}

// stateOfSource says how the polls of a source go. It is well only after a poll
// that worked.
func stateOfSource(h *watch.Health, now time.Time) sourceState {
	switch {
	case !h.HeldUntil.IsZero():
		return sourceState{"unk", "unk", "Waits", "until " + moment{h.HeldUntil, now}.Text() + ": an earlier poll did not end, or another process of the server is at it", 1}
	case h.Failures > 0 && strings.HasPrefix(h.Rule, "credential"):
		return sourceState{"unk", "unk", "Not polled", faultOf(h), 1}
	case h.Failures > 0:
		why := plural(h.Failures, "failure")
		if h.Failures > 1 {
			why += " in a row"
		}
		if h.LastSuccess.IsZero() {
			why += ", it never answered"
		} else {
			why += ", last answer " + moment{h.LastSuccess, now}.Distance()
		}
		if h.Error != "" {
			why += ": " + faultOf(h)
		}
		return sourceState{"unk", "unk", "No answer", why, 1}
	case h.Suspect != "":
		why := shown(h.Suspect, maxSentence)
		if !h.SuspectSince.IsZero() {
			why += ", " + plural(h.Suspects, "poll") + " since " + moment{h.SuspectSince, now}.Text()
		}
		return sourceState{"warn", "warn", "Held back", why, 2}
	case h.Error != "": // it answered with what cannot be used
		return sourceState{"unk", "unk", "Cannot be read", faultOf(h), 1}
	case h.LastSuccess.IsZero():
		return sourceState{"unk", "unk", "Not polled yet", "", 3}
	}
	return sourceState{"ok", "ok", "Well", "", 4}
}

// faultOf is what was wrong with the last poll, and what to do about it.
func faultOf(h *watch.Health) string {
	fault := shown(h.Error, maxSentence)
	if h.Try != "" {
		fault += "; " + shown(h.Try, maxSentence)
	}
	return fault
}

// stateOfUpstream is the most urgent state of its sources, unless it changed a
// published version.
func stateOfUpstream(u *watch.Upstream, alarms int, now time.Time) sourceState {
	if alarms > 0 {
		return sourceState{"bad", "bad", "Alarm", plural(alarms, "published version") + " changed in 30 d", 0}
	}
	worst := sourceState{"unk", "unk", "No sources", "", 3}
	for i := range u.Sources {
		s := stateOfSource(&u.Sources[i].Health, now)
		if s.Why != "" && len(u.Sources) > 1 {
			s.Why = sourceKind(u.Sources[i].Kind) + ": " + s.Why
		}
		if i == 0 || s.rank < worst.rank {
			worst = s
		}
	}
	return worst
}

// readRows fills in what events tell of the upstreams of a page. Cost: two
// look-ups for the page and one for each row.
func (d *Door) readRows(ctx context.Context, c release.Caller, p *upstreamsPage, list []watch.Upstream) error {
	recent, err := d.cfg.Watching.Events(ctx, c, watch.EventFilter{Since: p.Now.at.Add(-stripTime), Limit: stripRead})
	if err != nil {
		return err
	}
	repacked, err := d.cfg.Watching.Events(ctx, c, watch.EventFilter{Kind: watch.Repacked, Since: p.Now.at.Add(-alarmTime), Limit: stripRead})
	if err != nil {
		return err
	}
	byName := map[string]*watch.Upstream{}
	for i := range list {
		byName[list[i].Name] = &list[i]
	}
	for i := range p.Rows {
		row := &p.Rows[i]
		row.Strip = stripOf(byName[row.Name], recent, p.Now.at)
		for j := range repacked {
			if repacked[j].Upstream == row.Name {
				row.Repacked++
			}
		}
		newest, err := d.cfg.Watching.Events(ctx, c, watch.EventFilter{Upstream: row.Name, Kind: watch.NewVersion, Limit: 1})
		if err != nil {
			return err
		}
		if len(newest) > 0 {
			row.Newest = &newestVersion{p.about(&newest[0]), moment{newest[0].Time, p.Now.at}}
		}
	}
	return nil
}

// strip is a picture of the last 14 days of an upstream, two marks a day.
type strip struct {
	Label string // the same in words
	Marks []stripMark
}

type stripMark struct {
	Kind string // unknown, quiet, news, failed, alarm
	X    int    // left edge
	C    int    // centre of a wider mark
}

// stripOf draws what events and health tell. recent are the newest events of
// all upstreams, newest first, stripRead at most: what is older than those is
// not known here.
func stripOf(u *watch.Upstream, recent []watch.Event, now time.Time) strip {
	const slot = stripTime / stripSlots
	kinds := [stripSlots]string{}
	at := func(t time.Time) int { return stripSlots - 1 - int(now.Sub(t)/slot) }
	known := at(u.Created)
	if len(recent) == stripRead {
		known = max(known, at(recent[stripRead-1].Time))
	}
	failed := stripSlots
	for _, src := range u.Sources {
		if h := &src.Health; h.Failures > 0 {
			since := h.LastSuccess
			if since.IsZero() {
				since = u.Created
			}
			failed = min(failed, at(since)+1, stripSlots-1)
		}
	}
	for i := range kinds {
		switch {
		case i < known:
			kinds[i] = "unknown"
		case i >= failed:
			kinds[i] = "failed"
		default:
			kinds[i] = "quiet"
		}
	}
	for i := range recent {
		e := &recent[i]
		n := at(e.Time)
		if e.Upstream != u.Name || n < 0 || n >= stripSlots {
			continue
		}
		switch e.Kind {
		case watch.Changed, watch.ReturnedChanged:
			kinds[n] = "alarm"
		case watch.Unreachable, watch.Recovered:
		default:
			if kinds[n] != "alarm" {
				kinds[n] = "news"
			}
		}
	}
	s := strip{}
	count := map[string]int{}
	for i, k := range kinds {
		count[k]++
		s.Marks = append(s.Marks, stripMark{k, 2 + 6*i, 3 + 6*i})
	}
	s.Label = stripWords(count)
	return s
}

func stripWords(count map[string]int) string {
	words := []string{}
	for _, k := range []struct{ kind, words string }{
		{"alarm", "a published version changed"}, {"news", "news"}, {"failed", "no answer"}, {"unknown", "not known"},
	} {
		if n := count[k.kind]; n > 0 {
			words = append(words, k.words+" in "+strconv.Itoa(n))
		}
	}
	if len(words) == 0 {
		return "14 days, nothing new"
	}
	return "14 days in 28 halves: " + strings.Join(words, ", ")
}

// upstreamPage is one upstream: its sources, what happened, what is mirrored.
type upstreamPage struct {
	frame
	Name        string
	State       sourceState
	Alarm       *alarm
	Kinds       string
	Charts      []string
	Keep        string
	QuietAfter  string
	Created     moment
	Versions    int
	VersionsURL string
	Sources     []sourceRow
	Mirror      *mirrorView
	Timeline    *timeline
	Notes       []noteView
	Deployed    int
	DeployedURL string
	FeedURL     string
	MaySet      bool
}

type sourceRow struct {
	Kind, URL   string
	Link        string // URL that a browser can open, "" for none
	State       sourceState
	Chart       string
	Credential  string
	Every       string
	Lists       bool
	Versions    int
	Last, Next  moment
	LastSuccess moment
	LastChange  moment
}

type mirrorView struct {
	Project  link
	Charts   []string
	Versions string
	MinAge   string
	Reviewed bool
	OnDemand bool
}

// noteView is a note as plain text, whatever it was written in.
type noteView struct {
	Title     string
	URL       string // "" when it is none that a browser may open
	On        link
	Text      string
	More      int // bytes that are not shown
	Digest    string
	Published moment
	FirstSeen moment
}

const (
	notesShown = 10
	maxNote    = 32 << 10 // bytes of a note that are shown
)

var keepWords = map[watch.Keep]string{
	watch.KeepNew:  "of versions that appear from now on, and the newest of each chart",
	watch.KeepAll:  "of every version, fetched little by little",
	watch.KeepNone: "none: digests alone, so what a change did cannot be told",
}

// spanOf writes a configured span as people write it there.
func spanOf(d watch.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func (d *Door) upstream(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c, q := r.Context(), server.CallerOf(r), r.URL.Query()
	u, err := d.cfg.Watching.Upstream(ctx, c, req.upstream)
	if err != nil {
		return err
	}
	base := server.ContextPath(r) + prefix
	p := &upstreamPage{
		frame: d.frameOf(r, u.Name, "upstreams", link{"Upstreams", base + "/upstreams"}, link{u.Name, ""}),
		Name:  u.Name, Kinds: kindsOf(&u), Keep: cmp.Or(keepWords[u.Keep], string(u.Keep)), QuietAfter: spanOf(u.QuietAfter),
		VersionsURL: upstreamPath(base, u.Name) + "/versions", DeployedURL: base + "/deployments?" + url.Values{"upstream": {u.Name}}.Encode(),
		FeedURL: server.BaseURL(r) + "/api/v1/feed?" + url.Values{"upstream": {u.Name}}.Encode(),
	}
	p.Created = moment{u.Created, p.Now.at}
	p.MaySet = d.can(ctx, c, access.UpstreamWrite, "", "", false)
	for _, glob := range u.Charts {
		p.Charts = append(p.Charts, shown(glob, maxName))
	}
	deployed, err := d.runs(ctx, c)
	if err != nil {
		return err
	}
	for i := range deployed {
		if deployed[i].Match.Upstream == u.Name {
			p.Deployed++
		}
	}
	changed, err := d.changes(ctx, c, watch.EventFilter{Upstream: u.Name}, p.Now.at)
	if err != nil {
		return err
	}
	self := upstreamPath(p.Base, u.Name)
	if p.Alarm, err = d.alarm(ctx, c, &p.frame, changed, q.Get("alarm"), deployed, self); err != nil {
		return err
	}
	p.State = stateOfUpstream(&u, len(changed), p.Now.at)
	p.showSources(&u)
	notes, err := d.cfg.Watching.Notes(ctx, c, u.Name, "", "", notesShown)
	if err != nil {
		return err
	}
	p.Notes = p.notes(u.Name, notes)
	if p.Timeline, err = d.timeline(ctx, c, &p.frame, q, self, nil, watch.EventFilter{Upstream: u.Name}, upstreamKinds); err != nil {
		return err
	}
	return d.render(w, r, http.StatusOK, "upstream", p)
}

func (p *upstreamPage) showSources(u *watch.Upstream) {
	for i := range u.Sources {
		src := &u.Sources[i]
		h, now := &src.Health, p.Now.at
		if src.Kind.Lists() {
			p.Versions += h.Versions
		}
		p.Sources = append(p.Sources, sourceRow{
			Kind: sourceKind(src.Kind), URL: shown(src.URL, maxSentence), Link: webURL(src.URL), State: stateOfSource(h, now),
			Chart: shown(src.Chart, maxName), Credential: shown(src.Credential, maxName), Every: spanOf(src.Interval), Lists: src.Kind.Lists(), Versions: h.Versions,
			Last: moment{h.LastPoll, now}, Next: moment{h.NextPoll, now}, LastSuccess: moment{h.LastSuccess, now}, LastChange: moment{h.LastChange, now},
		})
	}
	if m := u.Mirror; m != nil {
		p.Mirror = &mirrorView{
			Project: link{m.Project, projectPath(p.Base, m.Project)}, Versions: shown(m.Versions, maxName), MinAge: spanOf(m.MinAge), Reviewed: m.Reviewed, OnDemand: m.OnDemand,
		}
		for _, glob := range m.Charts {
			p.Mirror.Charts = append(p.Mirror.Charts, shown(glob, maxName))
		}
	}
}

func (f *frame) notes(upstream string, list []watch.Note) []noteView {
	var out []noteView
	for i := range list {
		n := &list[i]
		v := noteView{
			Title: cmp.Or(strings.TrimSpace(shown(n.Title, maxName)), "(no title)"), URL: webURL(shorten(n.URL, maxSentence)), Digest: shown(n.Digest, maxName),
			Published: moment{n.Published, f.Now.at}, FirstSeen: moment{n.FirstSeen, f.Now.at},
		}
		if len(n.URL) > maxSentence {
			v.URL = ""
		}
		if n.Chart != "" && n.Version != "" {
			v.On = link{chartVersion(n.Chart, n.Version), versionPath(f.Base, upstream, n.Chart, n.Version)}
		}
		text := n.Text
		if len(text) > maxNote {
			v.More, text = len(text)-maxNote, text[:maxNote]
		}
		v.Text = strings.TrimSpace(plainText([]byte(text)))
		out = append(out, v)
	}
	return out
}
