package source

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mmcdole/gofeed"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

const atomFeed = `<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Release notes from charts</title>
<entry><id>tag:github.com,2008:Repository/1/airflow-8.9.0</id><updated>2026-04-30T10:00:00Z</updated>
<link rel="alternate" type="text/html" href="https://github.com/airflow-helm/charts/releases/tag/airflow-8.9.0"/>
<title>The big one</title><content type="html">&lt;p&gt;notes&lt;/p&gt;</content></entry>
<entry><id>2</id><title>Talk at a conference</title><link href="https://h.example/talk"/></entry>
</feed>`

const rssFeed = `<rss version="2.0"><channel><title>x</title>
<item><guid>g1</guid><title>redis-ha 4.1.0 is out</title><link>https://h.example/1</link><pubDate>Thu, 01 Jan 2026 00:00:00 +0000</pubDate><description>text</description></item>
<item><title>Release v4.0.9</title><link>https://h.example/2</link></item>
</channel></rss>`

const rdfFeed = `<?xml version="1.0" encoding="ISO-8859-1"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
<channel><title>x</title></channel><item rdf:about="https://h.example/3"><title>caf` + "\xe9" + ` chart-1.0.0</title><link>https://h.example/3</link></item></rdf:RDF>`

const jsonFeed = `{"version":"https://jsonfeed.org/version/1.1","title":"x","items":[{"id":"j1","title":"v2.0.0","url":"https://h.example/4","content_text":"t","date_published":"2026-02-03T00:00:00Z"}]}`

// described is notes in short.
func described(notes []watch.Note) []string {
	var out []string
	for _, n := range notes {
		day := ""
		if !n.Published.IsZero() {
			day = n.Published.Format(time.DateOnly)
		}
		out = append(out, fmt.Sprintf("%s|%s|%s|%s|%s|%s|%s", n.Key, n.Chart, n.Version, n.Title, n.URL, day, n.Text))
	}
	return out
}

func TestFeed(t *testing.T) {
	h := newSite(t)
	s := reader(t, Config{}, "", nil)
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"atom", atomFeed, []string{
			"tag:github.com,2008:Repository/1/airflow-8.9.0|airflow|8.9.0|The big one|https://github.com/airflow-helm/charts/releases/tag/airflow-8.9.0|2026-04-30|<p>notes</p>",
			"2|web||Talk at a conference|https://h.example/talk||",
		}},
		{"rss", rssFeed, []string{
			"g1|web|4.1.0|redis-ha 4.1.0 is out|https://h.example/1|2026-01-01|text",
			"https://h.example/2|web|4.0.9|Release v4.0.9|https://h.example/2||",
		}},
		{"rdf", rdfFeed, []string{"https://h.example/3|chart|1.0.0|café chart-1.0.0|https://h.example/3||"}},
		{"json", jsonFeed, []string{"j1|web|2.0.0|v2.0.0|https://h.example/4|2026-02-03|t"}},
	} {
		h.text("/"+tc.name, tc.text, false)
		src := watch.Source{Kind: watch.SourceFeed, URL: h.URL + "/" + tc.name, Chart: "web"}
		f := poll(t, s, src, watch.Validators{})
		if got := described(f.Notes); !slices.Equal(got, tc.want) {
			t.Errorf("%s:\n%s\nwant\n%s", tc.name, strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
		}
		if f = poll(t, s, src, f.Validators); !f.Unchanged {
			t.Errorf("%s again: %+v", tc.name, f)
		}
	}
}

func TestFeedRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, text, says string
		kind             problem.Kind
	}{
		{"empty", " \n", "empty", problem.Invalid},
		{"page", "<!DOCTYPE html><html><body>x</body></html>", "no feed", problem.Invalid},
		{"text", "hello", "no feed", problem.Invalid},
		{"cut", atomFeed[:300], "", problem.Invalid},
		{"deep", "<rss><channel><item>" + strings.Repeat("<a:b>", 100_000), "levels", problem.TooLarge},
		{"deep with ends of others", "<rss><channel><item>" + strings.Repeat("<a:b></x>", 10) + strings.Repeat("<a:b>", 100), "levels", problem.TooLarge},
		{"attributes", "<rss " + strings.Repeat(`xmlns:a="b" `, 1000) + ">", "attributes", problem.TooLarge},
		{"elements", "<rss>" + strings.Repeat("<a/>", maxElements+1), "elements", problem.TooLarge},
		{"pieces", "<rss><channel><x:y>" + strings.Repeat("a<![CDATA[b]]>", 10_000), "pieces", problem.TooLarge},
		{"entities", `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><rss><channel><item><title>&b;&b;</title></item></channel></rss>`, "", ""},
		{"encoding", `<?xml version="1.0" encoding="iso-2022-jp"?><rss><channel/></rss>`, "is not read", problem.Invalid},
		{"broken JSON", `{"version":"https://jsonfeed.org/version/1.1","items":[`, "no feed", problem.Invalid},
	} {
		items, err := parseFeed([]byte(tc.text))
		if tc.kind == "" {
			if err != nil || len(items) != 1 || len(items[0].Title) > 20 {
				t.Errorf("%s: %v %v", tc.name, items, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: is taken", tc.name)
			continue
		}
		wants(t, err, tc.kind, tc.says)
	}
}

// A version that was published anew has the same id on Artifact Hub, and
// another time.
func TestArtifactHub(t *testing.T) {
	h := newSite(t)
	item := func(version, date string) string {
		return fmt.Sprintf("<item><title>%s</title><link>https://artifacthub.io/packages/helm/r/web/%[1]s</link><description>web %[1]s</description><guid>5d0-1#%[1]s</guid><pubDate>%s</pubDate></item>", version, date)
	}
	rss := func(items ...string) string {
		return `<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>r/web (Artifact Hub)</title>` + strings.Join(items, "") + "</channel></rss>"
	}
	one := item("1.0.0", "Thu, 01 Jan 2026 00:00:00 +0000")
	h.text("/api/v1/packages/helm/r/web/feed/rss", rss(one), true)
	s := reader(t, Config{}, "", nil)
	src := watch.Source{Kind: watch.SourceArtifactHub, URL: h.URL + "/packages/helm/r/web"}
	f := poll(t, s, src, watch.Validators{})
	want := []string{"5d0-1#1.0.0|web|1.0.0|1.0.0|https://artifacthub.io/packages/helm/r/web/1.0.0|2026-01-01|web 1.0.0"}
	if got := described(f.Notes); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	h.text("/api/v1/packages/helm/r/web/feed/rss", rss(item("1.0.0", "Fri, 02 Jan 2026 00:00:00 +0000")), true)
	again := poll(t, s, src, f.Validators)
	if len(again.Notes) != 1 || again.Notes[0].Key != f.Notes[0].Key || again.Notes[0].Published.Equal(f.Notes[0].Published) {
		t.Errorf("published anew: %+v", again.Notes)
	}
	for _, u := range []string{"/packages/helm/r/web/1.0.0", "/packages/helm/r/web/"} {
		src.URL = h.URL + u
		if f := poll(t, s, src, watch.Validators{}); len(f.Notes) != 1 || f.Notes[0].Chart != "web" {
			t.Errorf("%s: %+v", u, f)
		}
	}
	src.URL = h.URL + "/packages/search"
	_, err := s.Poll(t.Context(), src, watch.Validators{})
	wants(t, err, problem.Invalid, "artifacthub.io/packages/helm/REPOSITORY/NAME")
}

func TestItemVersion(t *testing.T) {
	for _, tc := range []struct{ title, link, chart, version string }{
		{"v1.2.3", "", "", "1.2.3"},
		{"Release 1.2.3 - the best", "", "", "1.2.3"},
		{"airflow-8.9.0", "", "airflow", "8.9.0"},
		{"Announcing [redis-1.0.0-rc.1]!", "", "redis", "1.0.0-rc.1"},
		{"Anything", "https://github.com/o/r/releases/tag/charts%2Fweb%2F1.0.0", "web", "1.0.0"},
		{"Anything", "https://gitlab.com/o/r/-/releases/v1.0.0", "", "1.0.0"},
		{"v2.0.0", "https://github.com/o/r/releases/tag/latest", "", "2.0.0"},
		{"News of 2026", "https://h.example", "", ""},
		{"", "", "", ""},
	} {
		chart, version, ok := itemVersion(&gofeed.Item{Title: tc.title, Link: tc.link})
		if chart != tc.chart || version != tc.version || ok != (version != "") {
			t.Errorf("%q %q: %q %q %v", tc.title, tc.link, chart, version, ok)
		}
	}
}

func FuzzFeed(f *testing.F) {
	for _, s := range []string{atomFeed, rssFeed, rdfFeed, jsonFeed, "<rss><channel><item><a:b>x</a:b>", `<feed xmlns="http://www.w3.org/2005/Atom"><entry><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">a<b>c</b></div></content></entry></feed>`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := parseFeed(b)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Fatalf("no problem: %v", err)
			}
			return
		}
		for _, it := range items {
			for _, kind := range []watch.SourceKind{watch.SourceFeed, watch.SourceArtifactHub} {
				n := feedNote(it, watch.Source{Kind: kind})
				if len(n.Key) > maxTitle+100 || len(n.Text) > maxText+10 || strings.ContainsAny(n.Title+n.Chart, "\x00\n\x1b") {
					t.Fatalf("%+v", n)
				}
			}
		}
	})
}
