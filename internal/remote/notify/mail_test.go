package notify

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// opened is a mail as another reader understands it.
type opened struct {
	header     mail.Header
	subject    string
	text, html string
}

func open(t *testing.T, data []byte) opened {
	t.Helper()
	for l := range bytes.SplitSeq(data, []byte("\r\n")) {
		if len(l) > 998 || bytes.ContainsAny(l, "\r\n\x00") {
			t.Fatalf("a line of %d bytes: %.80q", len(l), l)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	o := opened{header: m.Header}
	if o.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q: %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i, want := range []string{"text/plain", "text/html"} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind != want {
			t.Errorf("part %d is %s", i, kind)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			o.text = string(text)
		} else {
			o.html = string(text)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after the parts: %v", err)
	}
	return o
}

var from = mail.Address{Name: "Chärtkeep", Address: "keep@example.com"}

func TestMailGolden(t *testing.T) {
	s := newSender(t, remote.New(remote.Config{}), Mail{})
	for name, r := range map[string]watch.Route{"mail": {Name: "team"}, "mail-digest": {Name: "team", Digest: watch.Daily}} {
		events := story()
		if r.Digest != "" {
			events = append(events, many(5)...)
		}
		e := compose(from, "team@example.com", "MSGID", "keep.example.com/log", s.message(r, delivery(events...)), s.page, evening)
		o := open(t, e.data)
		golden(t, name+".txt", []byte(strings.ReplaceAll(o.text, "\r\n", "\n")))
		golden(t, name+".html", []byte(strings.ReplaceAll(o.html, "\r\n", "\n")))
		golden(t, name+".eml", bytes.ReplaceAll(e.data, []byte("\r\n"), []byte("\n")))
		if o.header.Get("Message-Id") != "<MSGID@keep.example.com-log>" || o.header.Get("To") != "<team@example.com>" || len(o.header) != 8 {
			t.Errorf("headers %v", o.header)
		}
		if a, err := mail.ParseAddress(o.header.Get("From")); err != nil || *a != from {
			t.Errorf("from %v: %v", a, err)
		}
		if at, err := o.header.Date(); err != nil || !at.Equal(evening) {
			t.Errorf("date %s: %v", at, err)
		}
	}
}

func TestMailSubjects(t *testing.T) {
	s := newSender(t, remote.New(remote.Config{}), Mail{})
	for _, tt := range []struct {
		route  watch.Route
		events []watch.Event
		want   string
	}{
		{watch.Route{}, story()[:1], "[Chartkeep] info: airflow 8.9.0 is listed by airflow-helm"},
		{watch.Route{}, story(), "[Chartkeep] 3 events (1 critical, 1 high, 1 info): critical: prod-eu/data/web runs a chart that nobody released"},
		{watch.Route{Digest: watch.Weekly}, story(), "[Chartkeep] weekly digest: 3 events (1 critical, 1 high, 1 info)"},
		{watch.Route{}, []watch.Event{{Severity: watch.Low, Upstream: "u", Chart: "web", Message: "gräßlich"}}, "[Chartkeep] low: u: gräßlich"},
		{watch.Route{}, []watch.Event{{Severity: watch.Low, Message: "=?utf-8?q?x?="}}, "[Chartkeep] low: = ?utf-8?q?x?="},
	} {
		o := open(t, compose(from, "a@b.example", "x", "", s.message(tt.route, delivery(tt.events...)), s.page, evening).data)
		if o.subject != tt.want {
			t.Errorf("%q, want %q", o.subject, tt.want)
		}
	}
}

// A digest of more events than a mail lists says how many it does not.
func TestMailCounts(t *testing.T) {
	s := newSender(t, remote.New(remote.Config{}), Mail{})
	o := open(t, compose(from, "a@b.example", "x", "", s.message(watch.Route{Digest: watch.Daily}, delivery(many(700)...)), s.page, evening).data)
	if n := strings.Count(o.text, " is listed by charts"); n != maxInMail {
		t.Errorf("%d events are listed", n)
	}
	for _, text := range []string{o.text, o.html} {
		if !strings.Contains(text, "200 events more are not listed here") || !strings.Contains(text, "700 events") {
			t.Errorf("what is left out is not said: %.300s", text)
		}
	}
}

func FuzzMail(f *testing.F) {
	f.Add("plain", "web", "label", "value", "team@example.com", "id")
	f.Add("a\r\nBcc: evil@example.com\r\n\r\nbody", "\r\n.\r\n", "--=_", "<script>alert(1)</script>", "a@b\r\nX: y", "id\r\nX: y")
	f.Add(strings.Repeat("ä", 3000), "=?utf-8?q?a?=", "\xff\x00", "\u202e", "", "")
	f.Add(strings.Repeat("= ", 400), "'\"", "javascript:alert(1)", "?= =?", "x", "y")
	s, err := New(Config{ExternalURL: "https://keep.example.com"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, message, name, label, value, to, id string) {
		events := []watch.Event{
			{Severity: watch.Critical, Upstream: name, Chart: label, Message: message, Question: value, Evidence: []watch.Fact{{Label: label, Value: value}}},
			{Severity: watch.Severity(value), Deployment: name, Message: value},
		}
		for _, r := range []watch.Route{{Name: "team"}, {Name: "team", Digest: watch.Daily}} {
			e := compose(from, to, id, name, s.message(r, delivery(events...)), s.page, evening)
			o := open(t, e.data)
			if len(o.header) != 8 || o.header.Get("Bcc") != "" || o.header.Get("X") != "" {
				t.Fatalf("headers %v", o.header)
			}
			if strings.Contains(o.html, "<script") || strings.Contains(o.html, `href="javascript`) || strings.Count(o.html, "<a ") > 2 {
				t.Fatalf("%s", o.html)
			}
		}
	})
}
