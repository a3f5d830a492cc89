package upgrade

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// maxRows bounds the rows of a table in a ticket or an agenda.
const maxRows = 50

// writeUpgrade writes the story of an upgrade as Markdown, for tickets and pull
// requests. Texts of others are escaped.
func (s *Service) writeUpgrade(w io.Writer, u *Upgrade, r *Review) {
	fmt.Fprintf(w, "**%s** runs %s %s. Move it to **%s**.\n\n", escape(u.Deployment), escape(u.Chart), escape(u.From), escape(u.To))
	fact := func(label, value string) {
		if value != "" {
			fmt.Fprintf(w, "- %s: %s\n", label, value)
		}
	}
	fact("State", string(u.State)+", since "+stamp(u.Since))
	fact("Waits for", escape(u.WaitsFor))
	fact("Owner", escape(u.Owner))
	if !u.Deadline.IsZero() {
		fact("Deadline", stamp(u.Deadline))
	} else {
		fact("Due by cadence", stamp(u.Due))
	}
	if u.Slot != nil {
		fact("Slot", stamp(u.Slot.Start)+" to "+stamp(u.Slot.End)+", window "+escape(u.Slot.Window))
	}
	if s.base != "" {
		fact("Page", fmt.Sprintf("%s/ui/upgrades/%d", s.base, u.ID))
	}
	if r.Digest == "" {
		fmt.Fprint(w, "\nThere is no review yet.\n")
		return
	}
	fact("Review", "`"+r.Digest+"`, "+string(r.State))
	fmt.Fprintf(w, "\n### Verdict: %s\n\n%s\n\n", r.Verdict.Advice, escape(r.Verdict.Text))
	list(w, r.Verdict.Reasons)
	if len(r.Doubts) > 0 {
		fmt.Fprint(w, "\n### Doubts\n\n")
		list(w, r.Doubts)
	}
	for _, t := range []struct {
		title string
		list  []Finding
	}{{"Closed", r.Closed}, {"Introduced", r.Introduced}} {
		if len(t.list) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n### %s\n\n| Severity | Finding | Due | Title |\n| --- | --- | --- | --- |\n", t.title)
		for _, f := range t.list[:min(len(t.list), maxRows)] {
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", f.Severity, escape(f.Key), stamp(f.Decision.Deadline), escape(f.Title))
		}
		if n := len(t.list) - maxRows; n > 0 {
			fmt.Fprintf(w, "\n%d more.\n", n)
		}
	}
	if len(r.Checklist) > 0 {
		fmt.Fprint(w, "\n### Checklist\n\n")
		for _, item := range r.Checklist {
			done := " "
			for _, o := range r.Signoffs {
				if o.Answers[item.ID] != "" {
					done = "x"
				}
			}
			fmt.Fprintf(w, "- [%s] %s\n", done, escape(item.Text))
		}
	}
}

func list(w io.Writer, items []string) {
	for _, i := range items {
		fmt.Fprintf(w, "- %s\n", escape(i))
	}
}

// stamp is a time as pages have it; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// escaper takes from a foreign text what Markdown would make of it: markup,
// links, images, mentions, references to issues, and breaks of a table.
var escaper = strings.NewReplacer(
	"\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;", "|", "\\|", "@", "&#64;", "~", "\\~",
	"\r", " ", "\n", " ",
)

// reference is what trackers link to an issue.
var reference = regexp.MustCompile(`#(\d)`)

func escape(s string) string { return escaper.Replace(reference.ReplaceAllString(s, "&#35;$1")) }
