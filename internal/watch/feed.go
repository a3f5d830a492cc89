package watch

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Of an Atom feed (RFC 4287), what we say.
type (
	atomFeed struct {
		XMLName   xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
		ID        string      `xml:"id"`
		Title     string      `xml:"title"`
		Updated   string      `xml:"updated"`
		Link      atomLink    `xml:"link"`
		Author    string      `xml:"author>name"`
		Generator string      `xml:"generator"`
		Entries   []atomEntry `xml:"entry"`
	}
	atomEntry struct {
		ID         string         `xml:"id"`
		Title      string         `xml:"title"`
		Published  string         `xml:"published"`
		Updated    string         `xml:"updated"`
		Link       *atomLink      `xml:"link"`
		Categories []atomCategory `xml:"category"`
		Content    atomContent    `xml:"content"`
	}
	atomLink struct {
		Rel  string `xml:"rel,attr"`
		Type string `xml:"type,attr"`
		Href string `xml:"href,attr"`
	}
	atomCategory struct {
		Term string `xml:"term,attr"`
	}
	atomContent struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	}
)

// Feed renders events as an Atom feed (RFC 4287), newest first. self is the
// URL at which it is served; the feed's id is made of it. An entry's id is made
// of the event's key and time alone, so it stays the same at every address.
// Entries link to pages of the server whose /api/v1/ is in self. A feed without
// entries was updated in 1970: it has no other time.
// Cost: linear in the events, and a sort.
func Feed(title, self string, events []Event) []byte {
	f := atomFeed{
		ID: feedID(self), Title: line(title, maxSentence), Updated: atomTime(time.Unix(0, 0)),
		Link: atomLink{"self", "application/atom+xml", self}, Author: "Chartkeep", Generator: "Chartkeep",
	}
	end := strings.LastIndex(self, "/api/v1/")
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b Event) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	for i, e := range sorted {
		if i == 0 {
			f.Updated = atomTime(e.Time)
		}
		w := e.Words()
		entry := atomEntry{
			ID: entryID(&e), Title: w.Headline(), Published: atomTime(e.Time), Updated: atomTime(e.Time),
			Categories: []atomCategory{{string(w.Kind)}, {string(w.Severity)}}, Content: atomContent{"html", w.html()},
		}
		if end >= 0 && w.Page != "" {
			entry.Link = &atomLink{"alternate", "text/html", self[:end] + w.Page}
		}
		f.Entries = append(f.Entries, entry)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", " ")
	// It writes to memory, and puts U+FFFD for what XML has no place for.
	if err := enc.Encode(f); err != nil {
		panic(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// html is an event as the content of an entry.
func (w *Words) html() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<p><b>%s</b><br>%s</p>", html.EscapeString(w.About), html.EscapeString(w.What))
	if len(w.Facts) > 0 {
		b.WriteString("<ul>")
		for _, f := range w.Facts {
			fmt.Fprintf(&b, "<li>%s: %s</li>", html.EscapeString(f.Label), html.EscapeString(f.Value))
		}
		b.WriteString("</ul>")
	}
	if w.Question != "" {
		fmt.Fprintf(&b, "<p>%s</p>", html.EscapeString(w.Question))
	}
	if w.Command != "" {
		fmt.Fprintf(&b, "<p><code>%s</code></p>", html.EscapeString(w.Command))
	}
	return b.String()
}

// feedID is a tag URI (RFC 4151) of the address.
func feedID(self string) string {
	u, err := url.Parse(self)
	if err != nil || u.Hostname() == "" {
		return nameUUID("feed\n" + self)
	}
	return "tag:" + strings.ToLower(u.Hostname()) + ",2026:" + u.RequestURI()
}

func entryID(e *Event) string {
	return nameUUID(fmt.Sprintf("event\n%d\n%s", e.Time.UnixMilli(), e.Key))
}

// nameUUID is a UUID made of a name (RFC 9562, version 8), as a URN.
func nameUUID(name string) string {
	h := sha256.Sum256([]byte("chartkeep/atom/v1\n" + name))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

func atomTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
