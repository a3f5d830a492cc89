package daemon

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// session signs in with the first token and returns the cookie.
func session(t *testing.T, d *Daemon) string {
	t.Helper()
	token, err := os.ReadFile(d.folder.file(fileToken))
	if err != nil {
		t.Fatal(err)
	}
	here := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := here.PostForm(d.URL()+"/ui/sign-in", url.Values{"token": {strings.TrimSpace(string(token))}})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if len(res.Cookies()) != 1 {
		t.Fatalf("sign in: %d, %d cookies\n%s", res.StatusCode, len(res.Cookies()), body)
	}
	return res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
}

// says fails unless a page answers and has all of these words, its tags taken out.
func says(t *testing.T, d *Daemon, cookie, path string, words ...string) string {
	t.Helper()
	code, body := request(t, d, "GET", path, nil, "Cookie", cookie)
	text := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, " ")), " ")
	if code != 200 {
		t.Fatalf("GET %s: %d\n%s", path, code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q\n%s", path, w, text)
		}
	}
	return body
}

// TestEvidencePages: what the pages of the log, the trail and the health show is
// what happened on a whole server.
func TestEvidencePages(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	created(t, d, "demo")
	pushed(t, d, "web", "1.0.0")
	stop()
	old := t.TempDir()
	copyDatabase(t, cfg.Data, old)
	d, stop = run(t, cfg)
	cookie := session(t, d)
	other := charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": "debug: true\n"})
	for range 3 {
		if code, _ := request(t, d, "POST", "/api/demo/charts", other); code != 409 {
			t.Fatalf("an overwrite answers %d", code)
		}
	}
	list := says(t, d, cookie, "/ui/audit?event=release.refused.", "overwrite refused 3 times since", "last of 3", "web 1. 0. 0")
	opened := regexp.MustCompile(`href="(/ui/audit/\d+)"`).FindStringSubmatch(list)
	if opened == nil {
		t.Fatal("the list leads to no event")
	}
	event := says(t, d, cookie, opened[1], "In the audit log", "Nothing was changed.", "a copy is kept aside", "these bytes 3 times", "values.yaml", "as logged", "Inclusion proof")
	copied := regexp.MustCompile(`href="(/ui/audit/refused\?[^"]*)"`).FindStringSubmatch(event)
	if copied == nil {
		t.Fatal("the event leads to no copy")
	}
	if code, body := request(t, d, "GET", strings.ReplaceAll(copied[1], "&amp;", "&"), nil, "Cookie", cookie); code != 200 || body != string(other) {
		t.Errorf("the copy: %d, %d bytes of %d", code, len(body), len(other))
	}
	form := url.Values{"format": {"jsonl"}, "event": {"release."}}.Encode()
	code, lines := request(t, d, "POST", "/ui/audit/export", []byte(form), "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie)
	_, same := request(t, d, "GET", "/api/v1/audit/export?event=release.", nil)
	if code != 200 || lines != same || strings.Count(lines, "\n") != 4 {
		t.Errorf("export: %d\n%s\nand through the API\n%s", code, lines, same)
	}
	says(t, d, cookie, "/ui/audit?event=audit.exported", "audit trail exported")
	says(t, d, cookie, "/ui/log", "nobody witnesses this log", "Rotation none", "chartkeep log consistency checkpoint --log-key log.vkey --server "+d.URL())
	says(t, d, cookie, "/ui/health", "store works", "history works", "Writes taken", "SQLite", "Checkpoint signed", "nobody is told of alerts")
	pushed(t, d, "web", "2.0.0")
	stop()

	copyDatabase(t, old, cfg.Data)
	d, _ = run(t, cfg)
	cookie = session(t, d)
	says(t, d, cookie, "/ui/health", "Does not work", "history fails", "Writes all refused", "chartkeep log recover --data DIR", "Still works pull")
}
