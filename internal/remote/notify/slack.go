package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Limits of Slack's form, in characters and blocks.
const (
	maxSlackText   = 3000
	maxSlackBlocks = 50
	maxSlackFull   = 20 // events with all that is known; more get a line each
)

type slackMessage struct {
	Text        string       `json:"text"` // what notifications show
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

type slackBlock struct {
	Type string    `json:"type"`
	Text slackText `json:"text"`
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
	// Verbatim keeps names and addresses in foreign text from becoming links
	// and mentions.
	Verbatim bool `json:"verbatim"`
}

// slack posts a delivery to an incoming webhook. Its URL is the target of the
// route, or that of the credential.
func (s *Sender) slack(ctx context.Context, r watch.Route, d watch.Delivery) error {
	target, at := r.Target, remote.Shown(r.Target)
	if r.Credential != "" {
		u, err := s.client.URL(r.Credential)
		if err != nil {
			return later(err)
		}
		target, at = u.String(), "the URL of credential "+r.Credential
	} else if err := s.client.Check("", target); err != nil {
		return later(err)
	}
	body, err := json.Marshal(s.slackMessage(s.message(r, d)))
	if err != nil {
		return err
	}
	return s.post(ctx, target, r.Credential, at, http.Header{"Content-Type": {"application/json"}}, body)
}

func (s *Sender) slackMessage(m message) slackMessage {
	out := slackMessage{Text: slackEscape(m.subject, maxSlackText)}
	section := func(text string) {
		out.Blocks = append(out.Blocks, slackBlock{"section", slackText{"mrkdwn", text, true}})
	}
	if len(m.items) != 1 {
		section("*" + slackEscape(m.tally, maxSlackText-2) + "*")
	}
	if len(m.items) <= maxSlackFull {
		for _, w := range m.items {
			section(s.slackEvent(&w))
		}
		return out
	}
	// One line an event, as many lines as fit into a section.
	var b strings.Builder
	shown, length := 0, 0
	for _, w := range m.items {
		text := slackEscape(w.Headline(), 600) + "\n"
		n := utf8.RuneCountInString(text)
		if length+n > maxSlackText {
			if len(out.Blocks) == maxSlackBlocks-2 {
				break
			}
			section(b.String())
			b.Reset()
			length = 0
		}
		b.WriteString(text)
		length, shown = length+n, shown+1
	}
	section(b.String())
	if left := len(m.items) - shown; left > 0 {
		section(fmt.Sprintf("%s more are not shown here: `chartkeep upstream list`%s", count(left, "event"), s.slackLink("/ui/upstreams", "open")))
	}
	return out
}

// slackEvent is all that is known of an event in one section. What does not
// fit is left out from the end of the evidence, never the question.
func (s *Sender) slackEvent(w *watch.Words) string {
	head := fmt.Sprintf("*%s* %s\n%s\n", w.Severity, slackEscape(w.About, 300), slackEscape(w.What, 800))
	tail := ""
	if w.Question != "" {
		tail += "Question: " + slackEscape(w.Question, 800) + "\n"
	}
	if w.Command != "" {
		tail += "`" + strings.ReplaceAll(slackEscape(w.Command, 400), "`", "'") + "`"
	}
	tail += s.slackLink(w.Page, "open")
	room := maxSlackText - utf8.RuneCountInString(head) - utf8.RuneCountInString(tail)
	var facts strings.Builder
	for _, f := range w.Facts {
		text := fmt.Sprintf("• %s: %s\n", slackEscape(f.Label, 100), slackEscape(f.Value, 500))
		if room -= utf8.RuneCountInString(text); room < 0 {
			break
		}
		facts.WriteString(text)
	}
	return head + facts.String() + tail
}

func (s *Sender) slackLink(page, words string) string {
	if s.external == "" || page == "" {
		return ""
	}
	// Escaped as a URL, it has none of the characters that end a link but &.
	url := strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "&", "&amp;").Replace(s.page(page))
	return " · <" + url + "|" + words + ">"
}

// slackEscape escapes the three characters that begin links, mentions and
// entities, and cuts what gets longer than most characters, never inside an
// entity.
func slackEscape(text string, most int) string {
	var b strings.Builder
	n := 0
	for i, r := range text {
		part := string(r)
		switch r {
		case '&':
			part = "&amp;"
		case '<':
			part = "&lt;"
		case '>':
			part = "&gt;"
		}
		if n += utf8.RuneCountInString(part); n > most-1 && !(n == most && i+utf8.RuneLen(r) == len(text)) {
			b.WriteString("…")
			break
		}
		b.WriteString(part)
	}
	return b.String()
}
