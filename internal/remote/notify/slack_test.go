package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func slackJSON(t *testing.T, s *Sender, r watch.Route, events ...watch.Event) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s.slackMessage(s.message(r, delivery(events...)))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSlackGolden(t *testing.T) {
	s := newSender(t, remote.New(remote.Config{}), Mail{})
	r := watch.Route{Name: "team", Kind: watch.RouteSlack}
	golden(t, "slack.json", slackJSON(t, s, r, story()...))
	daily := r
	daily.Digest = watch.Daily
	golden(t, "slack-digest.json", slackJSON(t, s, daily, append(story(), many(30)...)...))
}

func many(n int) []watch.Event {
	events := make([]watch.Event, n)
	for i := range events {
		events[i] = watch.Event{
			ID: int64(100 + i), Time: evening, Kind: watch.NewVersion, Severity: watch.Low, Upstream: "charts", Chart: fmt.Sprintf("app-%d", i%3), Version: fmt.Sprintf("1.%d.0", i),
			Message: fmt.Sprintf("app-%d 1.%d.0 is listed by charts", i%3, i), Key: fmt.Sprintf("new-version/2/%d", i),
		}
	}
	return events
}

func TestSlackTargets(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if !json.Valid(body) || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("webhook-signature") != "" {
			t.Errorf("%v %s", req.Header, body)
		}
		got = append(got, req.URL.Path)
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	c := client(t, map[string]string{"url": srv.URL + "/services/T0/B0/verysecret", "elsewhere": "http://127.0.0.2:1/services/verysecret"},
		credential("chat", host, "url_file: url"), credential("moved", host, "url_file: elsewhere"))
	s := newSender(t, c, Mail{})
	for _, r := range []watch.Route{{Kind: watch.RouteSlack, Credential: "chat"}, {Kind: watch.RouteSlack, Target: srv.URL + "/open"}} {
		if err := s.Send(t.Context(), r, delivery(story()...)); err != nil {
			t.Error(err)
		}
	}
	if strings.Join(got, " ") != "/services/T0/B0/verysecret /open" {
		t.Errorf("asked for %v", got)
	}
	for _, name := range []string{"moved", "none"} {
		err := s.Send(t.Context(), watch.Route{Kind: watch.RouteSlack, Credential: name}, delivery(story()...))
		if problem.KindOf(err) != problem.Unavailable || strings.Contains(err.Error(), "verysecret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv.Close()
	err := s.Send(t.Context(), watch.Route{Kind: watch.RouteSlack, Credential: "chat"}, delivery(story()...))
	if problem.KindOf(err) != problem.Unavailable || strings.Contains(err.Error(), "verysecret") {
		t.Errorf("nobody listens: %v", err)
	}
}

// checkSlack holds a message to Slack's limits, and to saying what was left out.
func checkSlack(t *testing.T, m slackMessage, events int) {
	t.Helper()
	if len(m.Blocks) > 50 || len(m.Blocks) == 0 || utf8.RuneCountInString(m.Text) > 3000 || m.Text == "" && events > 0 {
		t.Errorf("%d blocks, text of %d", len(m.Blocks), utf8.RuneCountInString(m.Text))
	}
	for _, b := range m.Blocks {
		if n := utf8.RuneCountInString(b.Text.Text); n > 3000 || n == 0 || !utf8.ValidString(b.Text.Text) {
			t.Errorf("a block of %d characters: %.100q", n, b.Text.Text)
		}
	}
}

func TestSlackLimits(t *testing.T) {
	s := newSender(t, remote.New(remote.Config{}), Mail{})
	facts := make([]watch.Fact, 20)
	for i := range facts {
		facts[i] = watch.Fact{Label: strings.Repeat("<", 100), Value: strings.Repeat("&", 1000)}
	}
	for _, n := range []int{1, 20, 21, 500} {
		events := many(n)
		for i := range events {
			events[i].Message, events[i].Question = strings.Repeat("&<>", 300), strings.Repeat(">", 1000)
			if n <= 20 {
				events[i].Evidence = facts
			}
		}
		m := s.slackMessage(s.message(watch.Route{}, delivery(events...)))
		checkSlack(t, m, n)
		last := m.Blocks[len(m.Blocks)-1].Text.Text
		if n == 500 && !strings.Contains(last, " more are not shown here") || n == 21 && strings.Contains(last, "not shown") {
			t.Errorf("of %d events the last block is %.200q", n, last)
		}
	}
}

func FuzzSlack(f *testing.F) {
	f.Add("plain", "label", "value", 1)
	f.Add("<!channel> <@U1> <https://evil|ok> & &amp; `x`", "<a>", "*b* _i_", 25)
	f.Add(strings.Repeat("&", 5000), "\xff", "\x00\u202e", 200)
	s, err := New(Config{ExternalURL: "https://keep.example.com"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message, label, value string, n int) {
		if n < 1 || n > 300 {
			return
		}
		events := make([]watch.Event, n)
		for i := range events {
			events[i] = watch.Event{Severity: watch.Low, Upstream: value, Chart: label, Deployment: label, Message: message, Question: value, Evidence: []watch.Fact{{Label: label, Value: value}}}
		}
		m := s.slackMessage(s.message(watch.Route{}, delivery(events...)))
		checkSlack(t, m, n)
		for _, b := range m.Blocks {
			// Every < is one of our own links, and every & begins an entity.
			rest := b.Text.Text
			for strings.Contains(rest, "<") {
				_, after, _ := strings.Cut(rest, "<")
				link, tail, ok := strings.Cut(after, ">")
				if !ok || !strings.HasPrefix(link, "https://keep.example.com/ui/") || !strings.HasSuffix(link, "|open") || strings.Count(link, "|") != 1 {
					t.Fatalf("a link that is not ours: %q", link)
				}
				rest = tail
			}
			for _, part := range strings.Split(b.Text.Text, "&")[1:] {
				if !strings.HasPrefix(part, "amp;") && !strings.HasPrefix(part, "lt;") && !strings.HasPrefix(part, "gt;") {
					t.Fatalf("an & that is not escaped: %.60q", part)
				}
			}
		}
	})
}

func TestSlackEscapeCuts(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"&", 5, "&amp;"}, {"&x", 5, "…"}, {"a&b", 7, "a&amp;b"}, {"a&b", 6, "a…"}, {"", 3, ""}, {"äöü", 3, "äöü"},
	} {
		if got := slackEscape(tt.text, tt.most); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.text, tt.most, got, tt.want)
		}
	}
}
