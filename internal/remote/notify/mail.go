package notify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"html/template"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// Limits of a mail.
const (
	maxSubject = 150 // runes
	maxInMail  = 500 // events
)

// envelope is a mail ready to be sent.
type envelope struct {
	from, to string // addresses
	data     []byte // headers and body, with CRLF
}

// compose writes a mail (RFC 5322, MIME): the same as text and as HTML. It
// depends on its arguments alone.
func compose(from mail.Address, to, id, origin string, m message, link func(string) string, at time.Time) envelope {
	g := group(m, link)
	var html bytes.Buffer
	if err := page.Execute(&html, g); err != nil {
		panic(err) // it writes to memory
	}
	boundary := fmt.Sprintf("=_%x", sha256.Sum256([]byte(id)))[:40] // no quoted-printable text has "=_"
	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", from.String())
	header("To", "<"+oneLine(to, 320)+">")
	header("Subject", subject(m.subject))
	header("Date", at.UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+oneLine(id, 100)+"@"+messageHost(origin)+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: no answers from holidays
	header("MIME-Version", "1.0")
	header("Content-Type", `multipart/alternative; boundary="`+boundary+`"`)
	part := func(kind, text string) {
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", boundary, kind)
		q := quotedprintable.NewWriter(&b)
		q.Write([]byte(text)) // to memory
		q.Close()
	}
	part("text/plain", g.text())
	part("text/html", html.String())
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return envelope{from.Address, to, b.Bytes()}
}

// subject is a text as the value of the header: encoded where it is not ASCII
// (RFC 2047), and folded between encoded words so that no line is too long.
func subject(text string) string {
	text = strings.ReplaceAll(oneLine(text, maxSubject), "=?", "= ?") // looks like an encoded word
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", "[Chartkeep] "+text), "?= =?", "?=\r\n =?")
}

// oneLine cuts a text to so many runes and takes out what would begin a new
// header.
func oneLine(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// messageHost is the part of a Message-ID after the @, made of the origin.
func messageHost(origin string) string {
	host := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, origin)
	if host = strings.Trim(host, ".-"); host == "" {
		return "chartkeep"
	}
	return host
}

// letter is a message with its events grouped by severity and by what they are
// about.
type letter struct {
	Route    string
	Intro    string
	Detailed bool
	Groups   []severityGroup
	More     int // events that are only counted
}

type severityGroup struct {
	Severity watch.Severity
	Count    int
	Charts   []chartGroup
}

type chartGroup struct {
	About string
	Items []item
}

type item struct {
	watch.Words
	When string
	Link string
}

func group(m message, link func(string) string) *letter {
	l := &letter{Route: m.route, Detailed: m.digest == watch.Immediately}
	switch {
	case !l.Detailed:
		l.Intro = fmt.Sprintf("What happened since the last %s digest: %s.", m.digest, tally(m.items))
	case len(m.items) > 1:
		l.Intro = m.tally + "."
	}
	shown := m.items
	if len(shown) > maxInMail {
		l.More, shown = len(shown)-maxInMail, shown[:maxInMail]
	}
	for _, w := range shown {
		if n := len(l.Groups); n == 0 || l.Groups[n-1].Severity != w.Severity {
			l.Groups = append(l.Groups, severityGroup{Severity: w.Severity})
		}
		g := &l.Groups[len(l.Groups)-1]
		g.Count++
		if n := len(g.Charts); n == 0 || g.Charts[n-1].About != w.Group {
			g.Charts = append(g.Charts, chartGroup{About: w.Group})
		}
		c := &g.Charts[len(g.Charts)-1]
		c.Items = append(c.Items, item{w, w.Time.Format("2006-01-02 15:04Z"), link(w.Page)})
	}
	return l
}

// text is the letter as plain text.
func (l *letter) text() string {
	var b strings.Builder
	if l.Intro != "" {
		b.WriteString(l.Intro + "\n\n")
	}
	for _, g := range l.Groups {
		fmt.Fprintf(&b, "%s: %s\n\n", strings.ToUpper(string(g.Severity)), count(g.Count, "event"))
		for _, c := range g.Charts {
			if c.About != "" {
				b.WriteString(c.About + "\n")
			}
			for _, i := range c.Items {
				i.text(&b, l.Detailed)
			}
			b.WriteString("\n")
		}
	}
	if l.More > 0 {
		fmt.Fprintf(&b, "%s more are not listed here. All of them: chartkeep upstream list\n\n", count(l.More, "event"))
	}
	fmt.Fprintf(&b, "-- \nSent by route %s of Chartkeep. To end it: chartkeep route remove %s\n", l.Route, l.Route)
	return b.String()
}

func (i *item) text(b *strings.Builder, detailed bool) {
	fmt.Fprintf(b, "  %s  %s\n", i.When, i.What)
	if detailed {
		for _, f := range i.Facts {
			fmt.Fprintf(b, "    %s: %s\n", f.Label, f.Value)
		}
	}
	if i.Question != "" && i.grave(detailed) {
		fmt.Fprintf(b, "    Question: %s\n", i.Question)
	}
	if i.Command != "" && i.grave(detailed) {
		fmt.Fprintf(b, "    Try: %s\n", i.Command)
	}
	if i.Link != "" && i.grave(detailed) {
		fmt.Fprintf(b, "    %s\n", i.Link)
	}
}

// grave reports whether an item is told with what to do about it: in a digest,
// that is so for severities that cannot wait.
func (i *item) grave(detailed bool) bool {
	return detailed || i.Severity.Rank() < 0 || i.Severity.Rank() >= watch.High.Rank()
}

// page is the letter as HTML without images, scripts or styles from elsewhere.
var page = template.Must(template.New("mail").Funcs(template.FuncMap{
	"grave": func(i item, detailed bool) bool { return i.grave(detailed) },
	"count": count,
}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Chartkeep</title></head><body>
{{with .Intro}}<p>{{.}}</p>
{{end}}{{range .Groups}}<h2>{{.Severity}}: {{count .Count "event"}}</h2>
{{range .Charts}}{{with .About}}<h3>{{.}}</h3>
{{end}}<ul>
{{range .Items}}<li>{{.When}} <b>{{.What}}</b>
{{- if $.Detailed}}{{range .Facts}}<br>{{.Label}}: {{.Value}}{{end}}{{end}}
{{- if grave . $.Detailed}}{{with .Question}}<br>Question: {{.}}{{end}}{{with .Command}}<br><code>{{.}}</code>{{end}}{{with .Link}}<br><a href="{{.}}">{{.}}</a>{{end}}{{end}}</li>
{{end}}</ul>
{{end}}{{end}}{{if .More}}<p>{{count .More "event"}} more are not listed here. All of them: <code>chartkeep upstream list</code></p>
{{end}}<p>Sent by route {{.Route}} of Chartkeep. To end it: <code>chartkeep route remove {{.Route}}</code></p>
</body></html>
`))
