package watch

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mmcdole/gofeed"
)

var updateFeed = flag.Bool("update-feed", false, "write the golden feed anew")

func feedEvents() []Event {
	at := time.Date(2026, 11, 21, 18, 2, 0, 0, time.UTC)
	return []Event{
		{ID: 1, Time: at.Add(-time.Hour), Kind: NewVersion, Severity: Info, Upstream: "airflow-helm", Chart: "airflow", Version: "8.9.0", Message: "airflow 8.9.0 is listed", Key: "airflow-helm new 8.9.0"},
		{
			ID: 2, Time: at, Kind: Changed, Severity: High, Upstream: "airflow-helm", Chart: "airflow", Version: "8.8.0", Key: "airflow-helm changed 8.8.0",
			Message: "airflow 8.8.0 has other content <than> it had & no notice", Question: "who changed it, and why?",
			Evidence: []Fact{{"old digest", "sha256:aa"}, {"note", "\x00\x1b[31m]]>\u202eevil"}},
		},
	}
}

func TestFeedGolden(t *testing.T) {
	got := Feed("airflow-helm: events", "https://charts.example.com/base/api/v1/feed?upstream=airflow-helm", feedEvents())
	path := filepath.Join("testdata", "feed.golden.xml")
	if *updateFeed {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
}

// Another reader understands the feed.
func TestFeedIsRead(t *testing.T) {
	events := feedEvents()
	f, err := gofeed.NewParser().Parse(bytes.NewReader(Feed("t", "https://charts.example.com/base/api/v1/feed?upstream=a", events)))
	if err != nil {
		t.Fatal(err)
	}
	if f.FeedType != "atom" || len(f.Items) != 2 || f.FeedLink != "https://charts.example.com/base/api/v1/feed?upstream=a" || !f.UpdatedParsed.Equal(events[1].Time) {
		t.Fatalf("read as %+v", f)
	}
	if i := f.Items[0]; i.Title != "high: airflow-helm: airflow 8.8.0 has other content <than> it had & no notice" || i.Link != "https://charts.example.com/base/ui/upstreams/airflow-helm" ||
		!strings.Contains(i.Content, "&lt;than&gt;") || !i.PublishedParsed.Equal(events[1].Time) || cmp.Diff([]string{"changed", "high"}, i.Categories) != "" {
		t.Errorf("entry read as %+v", i)
	}
}

// Ids stay when the server moves, events are added, or texts are reworded.
func TestFeedIDs(t *testing.T) {
	events := feedEvents()
	ids := func(self string, events []Event) map[string]string {
		var f atomFeed
		if err := xml.Unmarshal(Feed("t", self, events), &f); err != nil {
			t.Fatal(err)
		}
		out := map[string]string{"": f.ID}
		for _, e := range f.Entries {
			out[e.Title] = e.ID
		}
		return out
	}
	before := ids("https://a.example.com/api/v1/feed?upstream=x", events)
	after := ids("https://b.example.com/y", append(events, Event{Message: "more", Severity: Info, Key: "more"}))
	if before[""] != "tag:a.example.com,2026:/api/v1/feed?upstream=x" || len(after) != 4 {
		t.Errorf("feed id %s, %d entries", before[""], len(after))
	}
	for title, id := range before {
		if title != "" && (after[title] != id || !strings.HasPrefix(id, "urn:uuid:") || len(id) != 45) {
			t.Errorf("%s: %s became %s", title, id, after[title])
		}
	}
	if empty := string(Feed("t", "not a url", nil)); !strings.Contains(empty, "<updated>1970-01-01T00:00:00Z</updated>") || !strings.Contains(empty, "<id>urn:uuid:") {
		t.Errorf("an empty feed: %s", empty)
	}
}

func FuzzFeed(f *testing.F) {
	f.Add("title", "https://example.com/api/v1/feed?upstream=x", "message", "label", "value", "key")
	f.Add("\x00", "::", "]]>", "<b>", "\xff\u202e", "")
	f.Add("", "https://example.com/\"><x", "&#0;", "\uffff", "\x1b", "k\n")
	f.Fuzz(func(t *testing.T, title, self, message, label, value, key string) {
		e := Event{Severity: Severity(label), Kind: EventKind(value), Upstream: key, Deployment: value, Message: message, Question: title, Evidence: []Fact{{label, value}}, Key: key}
		b := Feed(title, self, []Event{e, {Message: fmt.Sprint(len(key)), Key: key + "2"}})
		var back atomFeed
		if err := xml.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if len(back.Entries) != 2 || bytes.ContainsAny(b, "\x00\x0b\x1b") {
			t.Errorf("%d entries\n%s", len(back.Entries), b)
		}
	})
}
