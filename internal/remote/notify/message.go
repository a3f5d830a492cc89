package notify

import (
	"fmt"
	"strings"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// message is what people are told in one delivery.
type message struct {
	subject string
	tally   string
	route   string
	digest  watch.Digest
	items   []watch.Words // from the gravest
}

// message puts a delivery into words.
func (s *Sender) message(r watch.Route, d watch.Delivery) message {
	m := message{route: r.Name, digest: r.Digest, items: make([]watch.Words, 0, len(d.Events))}
	for _, e := range watch.Gravest(d.Events) {
		m.items = append(m.items, e.Words())
	}
	m.tally = tally(m.items)
	switch {
	case r.Digest != watch.Immediately:
		m.tally = fmt.Sprintf("%s digest: %s", r.Digest, m.tally)
		m.subject = m.tally
	case len(m.items) == 1:
		m.subject = m.items[0].Headline()
	case len(m.items) > 1:
		m.subject = fmt.Sprintf("%s: %s", m.tally, m.items[0].Headline())
	}
	return m
}

// tally counts events by severity, from the gravest.
func tally(items []watch.Words) string {
	var parts []string
	for i := 0; i < len(items); {
		n := 0
		for i+n < len(items) && items[i+n].Severity == items[i].Severity {
			n++
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, items[i].Severity))
		i += n
	}
	text := count(len(items), "event")
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// page is the URL of a page, "" when nobody knows the server's address.
func (s *Sender) page(path string) string {
	if s.external == "" || path == "" {
		return ""
	}
	return s.external + path
}

func trimSlash(s string) string { return strings.TrimRight(s, "/") }
