package watch

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of an event in words. Evidence is foreign text in part.
const (
	maxSentence  = 400 // runes
	maxFact      = 300
	maxFacts     = 12
	maxFileNames = 5
)

// Words are an event as people read it. Every text is one line without control
// characters and of bounded length; it is not escaped for any format.
type Words struct {
	Severity Severity
	Kind     EventKind
	Time     time.Time
	About    string // "airflow 8.9.0 of airflow-helm"
	Group    string // About without the version, to put events together
	Source   string // the upstream that What is about and may not name; "" for none
	What     string // one sentence: what happened
	Facts    []Fact
	Question string // what somebody has to find out now; "" for none
	Command  string // what to run, safe to paste into a shell; "" for none
	Page     string // path and query in the web UI, from the server's root; "" for none
}

// Words puts an event into words.
func (e Event) Words() Words {
	w := Words{
		Severity: e.Severity, Kind: e.Kind, Time: e.Time.UTC(),
		About: line(e.about(e.Chart+" "+e.Version), maxSentence), Group: line(e.about(e.Chart), maxSentence),
		What: line(e.Message, maxSentence), Question: line(e.Question, maxSentence),
		Facts: make([]Fact, 0, min(len(e.Evidence), maxFacts)+2),
	}
	for i, f := range e.Evidence {
		if i == maxFacts {
			w.Facts = append(w.Facts, Fact{"more", counted(len(e.Evidence)-i, "line") + " of evidence " + are(len(e.Evidence)-i) + " not shown"})
			break
		}
		w.Facts = append(w.Facts, Fact{line(f.Label, 40), line(f.Value, maxFact)})
	}
	if len(e.Files) > 0 {
		names := make([]string, 0, maxFileNames)
		for _, f := range e.Files[:min(len(e.Files), maxFileNames)] {
			names = append(names, f.Path+" "+f.Kind)
		}
		files := counted(len(e.Files), "file")
		if len(e.Files) > maxFileNames {
			names = append(names, "…")
		}
		w.Facts = append(w.Facts, Fact{"differ", line(files+": "+strings.Join(names, ", "), maxFact)})
	}
	if get := e.ArchiveCommand(); get != "" {
		w.Facts = append(w.Facts, Fact{"to get the archive before", get})
	}
	if e.LogIndex > 0 {
		w.Facts = append(w.Facts, Fact{"log index", fmt.Sprint(e.LogIndex)})
	}
	switch {
	case e.Deployment != "":
		w.Command, w.Page = command("chartkeep deployment show", e.Deployment), deploymentPage(e.Deployment)
	case e.Import != "":
		w.Command, w.Page = command("chartkeep deployment list --import", e.Import), "/ui/deployments#imports"
	case e.Upstream != "":
		w.Command, w.Page = command("chartkeep upstream show", e.Upstream), "/ui/upstreams/"+url.PathEscape(e.Upstream)
		w.Source = line(e.Upstream, maxSentence)
	case e.Project != "":
		w.Command = command("chartkeep audit list --project", e.Project)
		w.Page = "/ui/audit?" + url.Values{"project": {e.Project}}.Encode()
	case slices.Contains(AlertEvents(), e.Kind):
		w.Command, w.Page = "chartkeep alert list", "/ui/audit?"+url.Values{"action": {string(e.Kind)}}.Encode()
	}
	return w
}

// ArchiveCommand is the command that fetches the archive that was kept before
// what the event tells of; "" where none was.
func (e Event) ArchiveCommand() string {
	i := slices.IndexFunc(e.Evidence, func(f Fact) bool { return f.Label == archiveBefore })
	if i < 0 || e.Upstream == "" || strings.HasPrefix(e.Chart, "-") || strings.HasPrefix(e.Version, "-") {
		return ""
	}
	out := command("chartkeep upstream archive --digest", e.Evidence[i].Value)
	for _, word := range []string{e.Upstream, e.Chart, e.Version} {
		if out == "" {
			break
		}
		out = command(out, word)
	}
	return out
}

// Headline is the event in one line: severity, upstream, what happened.
func (w *Words) Headline() string {
	if w.Source == "" || strings.Contains(w.What, w.Source) {
		return fmt.Sprintf("%s: %s", w.Severity, w.What)
	}
	return fmt.Sprintf("%s: %s: %s", w.Severity, w.Source, w.What)
}

// about names what an event is about, with a name for the chart.
func (e *Event) about(name string) string {
	name = strings.TrimSpace(name)
	switch {
	case e.Deployment != "":
		return e.Deployment
	case e.Import != "":
		return "import " + e.Import
	case name != "" && e.Upstream != "":
		return name + " of " + e.Upstream
	case name != "" && e.Project != "":
		return name + " in " + e.Project
	case name != "":
		return name
	case e.Upstream != "":
		return e.Upstream
	}
	return e.Project
}

// Gravest sorts events for people: by severity from the gravest, then by what
// they are about, then as they came. An unknown severity comes first.
func Gravest(events []Event) []Event {
	sorted := slices.Clone(events)
	rank := func(s Severity) int {
		if r := s.Rank(); r >= 0 {
			return r
		}
		return Critical.Rank() + 1
	}
	slices.SortStableFunc(sorted, func(a, b Event) int {
		if d := rank(b.Severity) - rank(a.Severity); d != 0 {
			return d
		}
		if d := strings.Compare(a.about(a.Chart), b.about(b.Chart)); d != 0 {
			return d
		}
		return int(a.ID - b.ID)
	})
	return sorted
}

// line makes one line of foreign text: what is no character of a line becomes
// a space, as do those that reorder the others, and more than most runes are
// cut.
func line(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == '\ufeff',
			r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == '\u200e', r == '\u200f', r == '\u061c':
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n++; n == most {
			return s[:i] + "…"
		}
	}
	return s
}

// command is a command about a name, as a POSIX shell takes it; "" for a name
// that does not stand in one short line as it is.
func command(verb, name string) string {
	if name == "" || line(name, maxFact) != name {
		return ""
	}
	word := name
	if strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/:@%+,-", r))
	}) {
		word = "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	if name[0] == '-' {
		word = "-- " + word
	}
	return verb + " " + word
}

// deploymentPage is the page of a deployment. A key that is no path of its own
// stands in the query.
func deploymentPage(key string) string {
	if len(key) > maxSentence {
		return ""
	}
	parts := strings.Split(key, "/")
	for i, p := range parts {
		if p == "" || p == "." || p == ".." || strings.ContainsFunc(p, unicode.IsControl) {
			return "/ui/deployments?" + url.Values{"key": {key}}.Encode()
		}
		parts[i] = url.PathEscape(p)
	}
	return "/ui/deployments/" + strings.Join(parts, "/")
}
