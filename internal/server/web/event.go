package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Bounds of what a page shows of foreign text, in runes, and of lists, in rows.
// What is cut is said.
const (
	maxName       = 200
	maxSentence   = 1000
	maxEvidence   = 100
	maxFiles      = 200
	maxLinkedName = 1024 // bytes of a chart and its version; longer ones have no page
)

// shown is foreign text as one line of a page: what would not be seen, or would
// turn the text around, is U+FFFD, and more than most runes are cut.
func shown(s string, most int) string {
	total := len(s)
	cut := total > (most+1)*utf8.UTFMax
	if cut { // there is no need to look at what will not be shown
		s = s[:(most+1)*utf8.UTFMax]
	}
	s = strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return c
	}, plainText([]byte(s)))
	n := 0
	for i := range s {
		if n == most {
			s, cut = s[:i], true
			break
		}
		n++
	}
	if cut {
		s += "… (" + size(int64(total)) + ")"
	}
	return s
}

// happened are the kinds of events in the words of a list. A kind that is not
// here is shown as it is.
var happened = map[watch.EventKind]string{
	watch.FirstRead: "first read", watch.NewVersion: "new version", watch.Changed: "changed", watch.Repacked: "repacked",
	watch.Vanished: "vanished", watch.Returned: "returned", watch.ReturnedChanged: "returned, changed",
	watch.Duplicate: "listed twice", watch.CreatedRewritten: "time rewritten", watch.ArchiveMismatch: "other archive served",
	watch.EntryInvalid: "entry cannot be used", watch.IndexInvalid: "list cannot be read", watch.IndexShrunk: "list shrunk",
	watch.FeedContradicts: "feed and list differ", watch.Moved: "moved", watch.Archived: "repository archived",
	watch.Deprecated: "deprecated", watch.GoneQuiet: "gone quiet", watch.Unreachable: "no answer", watch.CredentialFault: "credential missing", watch.Recovered: "answers again",
	watch.MirrorRefused: "mirror refused", watch.Mirrored: "mirrored", watch.ProvenanceMismatch: "provenance of other bytes",
	watch.UnknownChart: "unknown chart", watch.UnreleasedBytes: "other bytes than released",
	watch.DeploymentSeen: "deployment seen", watch.DeploymentGone: "deployment gone", watch.VersionMoved: "version moved",
	watch.ImportOverdue: "import overdue", watch.ImportBack: "import made again",
	watch.AdvisoryOpened: "advisory opened", watch.DeadlinePassed: "deadline passed",
}

// The kinds that somebody can filter by, in the order of the list.
var (
	upstreamKinds = slices.Concat([]watch.EventKind{
		watch.Changed, watch.ReturnedChanged, watch.ArchiveMismatch, watch.Duplicate, watch.Vanished, watch.Returned, watch.Repacked,
		watch.NewVersion, watch.FirstRead, watch.Deprecated, watch.GoneQuiet, watch.Archived, watch.Moved, watch.Unreachable, watch.CredentialFault, watch.Recovered,
		watch.IndexInvalid, watch.IndexShrunk, watch.EntryInvalid, watch.FeedContradicts, watch.CreatedRewritten, watch.Mirrored, watch.MirrorRefused, watch.ProvenanceMismatch,
	}, deploymentKinds)
	deploymentKinds = []watch.EventKind{
		watch.UnknownChart, watch.UnreleasedBytes, watch.AdvisoryOpened, watch.DeadlinePassed, watch.VersionMoved, watch.DeploymentSeen, watch.DeploymentGone,
		watch.ImportOverdue, watch.ImportBack,
	}
)

// severityMark is a severity as a part of the page: up to four bars and a word.
type severityMark struct {
	Class, Word string
	Rank        int
}

func markOf(s watch.Severity) severityMark {
	switch rank := s.Rank(); rank {
	case -1:
		return severityMark{"s0", "Unknown", 0}
	case 0:
		return severityMark{"mute", "Info", 0}
	default:
		return severityMark{"s" + strconv.Itoa(rank), capital(string(s)), rank}
	}
}

// timeline is a list of events with its filter.
type timeline struct {
	Action     string // path of the page
	NoFilter   bool   // the parameters are such that a form cannot send them again
	Keep       []fact // parameters that say what the page is about
	Severities []choice
	Kinds      []choice
	Filtered   bool
	About      bool // the rows say what they are about
	Rows       []eventRow
	Newest     string
	Older      string
	All        string // URL without filter
	severity   string
	kind       string
	before     int64
}

type eventRow struct {
	ID       int64
	Time     moment
	Severity severityMark
	Kind     string
	On       link
	Message  string
	Question string
	URL      string // opens the row, or closes it
	Open     *evidence
}

// evidence is all that is known of one event.
type evidence struct {
	Sides     []pair // what was and what is; empty when the event is not of such a kind
	Does      []fact // what the difference does, the worst first
	DoesMore  []fact // the rest of it, folded
	At        moment
	Facts     []fact
	More      int // lines that are not shown
	Files     []fact
	MoreFiles int
	Told      bool // the files that differ are known, or why they are not
	LogIndex  int64
	LogURL    string // "" when it has no entry
}

// pair is one fact on both sides. A side that is not known is "".
type pair struct {
	Label    string
	Old, New string
	Differs  bool // both are known, and differ
}

// isDigest reports whether a value is a digest, to be shown as such.
func isDigest(s string) bool { return strings.HasPrefix(s, "sha256:") && len(s) == 71 }

// timeline reads a page of events. The filter says what the page at path
// is about, and keep are its parameters that stay. Cost: that of Events for 100
// rows.
func (d *Door) timeline(ctx context.Context, c release.Caller, f *frame, q url.Values, path string, keep []fact, filter watch.EventFilter, kinds []watch.EventKind) (*timeline, error) {
	t := &timeline{Action: path, Keep: keep, About: filter.Deployment == ""}
	if s := watch.Severity(q.Get("severity")); s.Rank() >= 0 {
		t.severity, filter.MinSeverity = string(s), s
	}
	t.kind = shown(q.Get("kind"), 64)
	filter.Kind = watch.EventKind(t.kind)
	t.Filtered = t.severity != "" || t.kind != ""
	t.NoFilter = slices.ContainsFunc(keep, func(k fact) bool { return !sendable(k.Value) })
	t.before, _ = strconv.ParseInt(q.Get("before"), 10, 64)
	t.before = max(t.before, 0)
	filter.Before, filter.Limit = t.before, eventsPerPage+1
	open, _ := strconv.ParseInt(q.Get("open"), 10, 64)
	events, err := d.cfg.Watching.Events(ctx, c, filter)
	if err != nil {
		return nil, err
	}
	t.offer(kinds)
	t.All = t.url(0, 0, false)
	if t.before > 0 {
		t.Newest = t.url(0, 0, true)
	}
	if len(events) > eventsPerPage {
		events = events[:eventsPerPage]
		t.Older = t.url(events[eventsPerPage-1].ID, 0, true)
	}
	for i := range events {
		e := &events[i]
		row := eventRow{
			ID: e.ID, Time: moment{e.Time, f.Now.at}, Severity: markOf(e.Severity), Kind: kindWords(e.Kind), On: f.about(e),
			Message: shown(e.Message, maxSentence), Question: capital(shown(e.Question, maxSentence)),
		}
		row.URL = t.url(t.before, e.ID, true)
		if e.ID == open {
			row.Open, row.URL = f.evidence(e), t.url(t.before, 0, true)
		}
		row.URL += "#e" + strconv.FormatInt(e.ID, 10)
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

func kindWords(k watch.EventKind) string { return cmp.Or(happened[k], shown(string(k), 64)) }

func (t *timeline) offer(kinds []watch.EventKind) {
	for _, s := range []choice{{"", "any", false}, {"low", "low and above", false}, {"medium", "medium and above", false}, {"high", "high and above", false}, {"critical", "critical", false}} {
		s.Selected = s.Value == t.severity
		t.Severities = append(t.Severities, s)
	}
	t.Kinds = append(t.Kinds, choice{"", "everything", t.kind == ""})
	known := t.kind == ""
	for _, k := range kinds {
		selected := string(k) == t.kind
		known = known || selected
		t.Kinds = append(t.Kinds, choice{string(k), kindWords(k), selected})
	}
	if !known {
		t.Kinds = append(t.Kinds, choice{t.kind, kindWords(watch.EventKind(t.kind)), true})
	}
}

// url is the page before an event (0: from the newest) with one row opened (0:
// none).
func (t *timeline) url(before, open int64, filtered bool) string {
	q := url.Values{}
	for _, k := range t.Keep {
		q.Set(k.Label, k.Value)
	}
	if filtered {
		set(q, "severity", t.severity)
		set(q, "kind", t.kind)
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if open > 0 {
		q.Set("open", strconv.FormatInt(open, 10))
	}
	return withQuery(t.Action, q)
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// sendable reports whether a form sends a text as it is.
func sendable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || c&0xfffe == 0xfffe })
}

// about is what an event is about, with the page of it.
func (f *frame) about(e *watch.Event) link {
	switch {
	case e.Deployment != "":
		return f.keyLink(e.Deployment)
	case e.Import != "":
		return link{"import " + e.Import, f.Base + "/deployments#imports"}
	case e.Chart != "" && e.Version != "" && e.Upstream != "":
		return link{chartVersion(e.Chart, e.Version), versionPath(f.Base, e.Upstream, e.Chart, e.Version)}
	case e.Chart != "" && e.Upstream != "":
		return link{shown(e.Chart, maxName), chartVersionsPath(f.Base, e.Upstream, e.Chart)}
	case e.Upstream != "":
		return link{e.Upstream, upstreamPath(f.Base, e.Upstream)}
	}
	return link{Text: shown(strings.TrimSpace(e.Chart+" "+e.Version), maxName)}
}

// sideOf takes the label of a line of evidence apart where the line is one side
// of a fact: “old digest” and “new digest”, “content before” and “content now”.
func sideOf(label string) (about string, isNew, ok bool) {
	for _, about := range []string{"digest", "archive", "content", "created", "size"} {
		switch label {
		case "old " + about, about + " before":
			return about, false, true
		case "new " + about, about + " now":
			return about, true, true
		}
	}
	return "", false, false
}

// aboutChange are the lines beside the sides of a changed version that do not say
// what the difference does. What does is labelled with the rule that found it.
var aboutChange = map[string]bool{"first seen": true, "missed since": true, "what is served": true, labelUntold: true}

// effectsShown is how many lines of what a difference does are not folded.
const effectsShown = 8

// labelUntold is the line of evidence that says why it is not known what a
// change did.
const labelUntold = "what changed"

// labelGet is the line with the command that fetches what was replaced.
const labelGet = "to get the archive before"

// evidence sets out what an event says.
func (f *frame) evidence(e *watch.Event) *evidence {
	ev := &evidence{At: moment{e.Time, f.Now.at}, LogIndex: e.LogIndex}
	if e.LogIndex > 0 {
		ev.LogURL = leafPath(f.Base, e.LogIndex)
	}
	lines := e.Evidence
	if len(lines) > maxEvidence {
		ev.More, lines = len(lines)-maxEvidence, lines[:maxEvidence]
	}
	side := func(label string) *pair {
		for i := range ev.Sides {
			if ev.Sides[i].Label == label {
				return &ev.Sides[i]
			}
		}
		ev.Sides = append(ev.Sides, pair{Label: label})
		return &ev.Sides[len(ev.Sides)-1]
	}
	for _, l := range lines {
		label, value := shown(l.Label, 64), shown(l.Value, maxSentence)
		switch about, isNew, ok := sideOf(label); {
		case !ok:
			ev.Facts = append(ev.Facts, fact{label, value, isDigest(value)})
		case isNew:
			side(about).New = value
		default:
			side(about).Old = value
		}
	}
	if ev.join(); len(ev.Sides) > 0 {
		for _, l := range ev.Facts {
			if !aboutChange[l.Label] {
				ev.Does = append(ev.Does, l)
			}
		}
		ev.Facts = slices.DeleteFunc(ev.Facts, func(l fact) bool { return !aboutChange[l.Label] })
		if len(ev.Does) > effectsShown {
			ev.Does, ev.DoesMore = ev.Does[:effectsShown], ev.Does[effectsShown:]
		}
	}
	for i := range ev.Sides {
		p := &ev.Sides[i]
		p.Differs = p.Old != "" && p.New != "" && p.Old != p.New
	}
	if get := e.ArchiveCommand(); get != "" {
		ev.Facts = append(ev.Facts, fact{labelGet, shown(get, maxSentence), false})
	}
	ev.Files, ev.MoreFiles = filesOf(e.Files)
	ev.Told = len(ev.Files) > 0 || slices.ContainsFunc(ev.Facts, func(f fact) bool { return f.Label == labelUntold })
	return ev
}

// join makes one line of the digest that was listed and that of the archive
// which was read, where they are the same on both sides.
func (ev *evidence) join() {
	at := func(label string) int {
		return slices.IndexFunc(ev.Sides, func(p pair) bool { return p.Label == label })
	}
	listed, read := at("digest"), at("archive")
	if listed < 0 || read < 0 || ev.Sides[listed].Old != ev.Sides[read].Old || ev.Sides[listed].New != ev.Sides[read].New {
		return
	}
	ev.Sides[listed].Label = "archive, as listed and as read"
	ev.Sides = slices.Delete(ev.Sides, read, read+1)
}

func filesOf(changes []chart.Change) (files []fact, more int) {
	if len(changes) > maxFiles {
		more, changes = len(changes)-maxFiles, changes[:maxFiles]
	}
	for _, c := range changes {
		kind := c.Kind
		if kind == "mode" {
			kind = "whether it is executable"
		}
		files = append(files, fact{Label: shown(c.Path, maxName), Value: shown(kind, 64)})
	}
	return files, more
}

// chartVersion is a foreign chart version as text.
func chartVersion(name, version string) string {
	return named(name) + " " + versioned(version)
}

// named is a foreign name that stands alone, so that there is something to see.
func named(s string) string { return cmp.Or(strings.TrimSpace(shown(s, maxName)), "(no name)") }

func versioned(s string) string { return cmp.Or(strings.TrimSpace(shown(s, maxName)), "(no version)") }

// plainWord reports whether a name stands in a shell as it is.
func plainWord(s string) bool {
	return s != "" && len(s) <= maxName && s[0] != '-' && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._/:@%+,-", c))
	})
}

// plainJSON writes JSON without the escapes that are for browsers; what is none
// stays as it is.
func plainJSON(text []byte, indent string) []byte {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return text
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if enc.Encode(v) != nil {
		return text
	}
	return bytes.TrimSpace(b.Bytes())
}
