package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func newDoor(t testing.TB, f *fakeService) *Door {
	t.Helper()
	cfg := Config{Version: "0.1.0", Now: func() time.Time { return now }, Health: f, Runbooks: "https://runbooks.example/"}
	if f.watching != nil {
		cfg.Watching = f.watching
	}
	if f.judging != nil {
		cfg.Judging = f.judging
	}
	if f.door != nil && f.door.cfg.Watching == cfg.Watching && f.door.cfg.Judging == cfg.Judging {
		return f.door
	}
	d, err := New(f, cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.door = d
	return d
}

func serve(t testing.TB, f *fakeService, c release.Caller, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	d := newDoor(t, f)
	w := httptest.NewRecorder()
	server.Wrap(audit.DoorWeb, d.Serve, d.WriteError).ServeHTTP(w, server.WithCaller(r, c))
	return w
}

func get(t testing.TB, f *fakeService, c release.Caller, path string) *httptest.ResponseRecorder {
	t.Helper()
	return serve(t, f, c, httptest.NewRequest("GET", "https://keep.example"+path, nil))
}

func post(t testing.TB, f *fakeService, c release.Caller, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", "https://keep.example"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return serve(t, f, c, r)
}

var people = map[string]release.Caller{"nobody": nobody, "maintainer": maintainer, "reader": reader, "admin": admin, "manager": manager, "approver": approver}

// TestPages runs testdata/pages*.txt:
//
//	PERSON PATH STATUS        opens a page; every page is held to checkPage
//	has SELECTOR [| WORDS]    an element fits, and has these words
//	not SELECTOR [| WORDS]    none does
func TestPages(t *testing.T) {
	opened := map[string]bool{}
	files, _ := filepath.Glob("testdata/pages*.txt")
	for _, name := range files {
		runPages(t, name, opened)
	}
	for p := pageHome; p <= pageMe; p++ {
		if p.readable() && !opened[fmt.Sprint(p)] {
			t.Errorf("no line opens page %d", p)
		}
	}
}

func runPages(t *testing.T, path string, opened map[string]bool) {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	script := filepath.Base(path)
	f := newSample(t)
	var doc *element
	line := 0
	for s := bufio.NewScanner(file); s.Scan(); {
		line++
		word, rest, _ := strings.Cut(strings.TrimSpace(s.Text()), " ")
		selector, words, _ := strings.Cut(rest, " | ")
		switch word {
		case "", "#":
		case "has", "not":
			n := 0
			for _, e := range doc.all(strings.TrimSpace(selector)) {
				if strings.Contains(e.words(), words) {
					n++
				}
			}
			if (n > 0) != (word == "has") {
				t.Errorf("%s:%d: %d elements fit %s\n%s", script, line, n, rest, doc.one(t, "main").words())
			}
		default:
			path, status, _ := strings.Cut(rest, " ")
			c, ok := people[word]
			if !ok {
				t.Fatalf("%s:%d: nobody is called %s", script, line, word)
			}
			w := get(t, f, c, path)
			if fmt.Sprint(w.Code) != status {
				t.Errorf("%s:%d: status %d, want %s", script, line, w.Code, status)
			}
			doc = &element{}
			if w.Body.Len() > 0 {
				doc = parseHTML(t, w.Body.String())
				t.Run(fmt.Sprintf("%s line %d", script, line), func(t *testing.T) { checkPage(t, doc) })
			}
			if req, err := parse(strings.SplitN(path, "?", 2)[0]); err == nil {
				opened[fmt.Sprint(req.page)] = true
			}
			for name, want := range map[string]string{"Content-Security-Policy": csp, "Cache-Control": "no-store"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s:%d: header %s is %q", script, line, name, got)
				}
			}
		}
	}
}

// TestEveryTemplate: each file of templates is a page that some test renders.
func TestEveryTemplate(t *testing.T) {
	files, _ := filepath.Glob("templates/*.html")
	var script []byte
	scripts, _ := filepath.Glob("testdata/pages*.txt")
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		script = append(script, text...)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".html")
		if name != "base" && !strings.HasPrefix(name, "parts") && !strings.Contains(string(script), "# page "+name+"\n") {
			t.Errorf("testdata/pages*.txt has no section for the page %s", name)
		}
	}
}

func TestFirstRun(t *testing.T) {
	doc := parseHTML(t, get(t, newFake(t), admin, "/ui/").Body.String())
	checkPage(t, doc)
	if !strings.Contains(doc.one(t, "h1").words(), "No charts yet") || len(doc.all("ol.steps li")) != 3 {
		t.Errorf("the first page is %s", doc.one(t, "main").words())
	}
	if !strings.Contains(doc.text, "export CHARTKEEP_SERVER=https://keep.example") {
		t.Error("the steps lack the server's URL")
	}
	doc = parseHTML(t, get(t, newFake(t), nobody, "/ui/").Body.String())
	checkPage(t, doc)
	if len(doc.all("ol.steps")) != 0 || !strings.Contains(doc.words(), "No public projects") {
		t.Errorf("for a stranger the first page is %s", doc.one(t, "main").words())
	}
	empty := newFake(t)
	doc = parseHTML(t, get(t, empty, nobody, "/ui/log").Body.String())
	checkPage(t, doc)
}

// TestProofStates: what could not be checked is not called broken, and what is
// broken is not called anything else.
func TestProofStates(t *testing.T) {
	const path = "/ui/projects/platform/charts/web/1.4.2"
	state := func(change func(*fakeService)) *element {
		f := newSample(t)
		change(f)
		w := get(t, f, nobody, path)
		doc := parseHTML(t, w.Body.String())
		checkPage(t, doc)
		return doc
	}
	ok := state(func(*fakeService) {})
	if got := ok.one(t, ".proof").words(); !strings.Contains(got, "Proven: entry 14 of the log names this archive") || len(ok.all(".badge.ok")) != 2 {
		t.Errorf("proven: %s", got)
	}
	for name, tc := range map[string]struct {
		change func(*fakeService)
		class  string
		words  string
	}{
		"store down":    {func(f *fakeService) { f.proofErr = errors.New("disk") }, "unk", "the proof could not be fetched. This says nothing about the bytes"},
		"other archive": {func(f *fakeService) { f.find("platform", "web", "1.4.2").Release.Archive = digestOf("swapped") }, "bad", "the entry names the archive sha256:"},
		"other entry":   {func(f *fakeService) { f.find("platform", "web", "1.4.2").Release.LogIndex = 13 }, "bad", "the entry names another release"},
		"changed leaf": {func(f *fakeService) {
			f.leaves[14] = []byte(strings.Replace(string(f.leaves[14]), "133662", "133663", 1))
		}, "bad", ""},
		"other key": {func(f *fakeService) { f.vkey = newOther(t).vkey }, "bad", ""},
	} {
		doc := state(tc.change)
		proof := doc.one(t, ".proof")
		if !proof.fits("."+tc.class) || !strings.Contains(proof.words(), tc.words) || len(doc.all(".side .st.ok")) != 0 {
			t.Errorf("%s: %v %s", name, proof.attrs, proof.words())
		}
	}
}

// newOther is a log with the same name and another key.
func newOther(t testing.TB) *fakeService {
	f := newFake(t)
	other := strings.NewReader(strings.Repeat("another randomness for other key", 8))
	_, vkey, err := tlog.GenerateKey(other, f.origin)
	if err != nil {
		t.Fatal(err)
	}
	f.vkey = vkey
	return f
}

func TestSignIn(t *testing.T) {
	f := newSample(t)
	for name, tc := range map[string]struct {
		form   url.Values
		status int
		to     string // where it leads, or words of the page
	}{
		"token":          {url.Values{"token": {" ckt_right\n"}, "next": {"/log?before=3"}}, 303, "/ui/log?before=3"},
		"password":       {url.Values{"account": {"admin"}, "password": {"right"}}, 303, "/ui/"},
		"foreign next":   {url.Values{"token": {"ckt_right"}, "next": {"//evil.example/"}}, 303, "/ui/"},
		"foreign next 2": {url.Values{"token": {"ckt_right"}, "next": {"https://evil.example/"}}, 303, "/ui/"},
		"foreign next 3": {url.Values{"token": {"ckt_right"}, "next": {"/\\evil.example/"}}, 303, "/ui/"},
		"foreign next 4": {url.Values{"token": {"ckt_right"}, "next": {"/../v2/"}}, 303, "/ui/"},
		"wrong token":    {url.Values{"token": {"ckt_wrong"}}, 401, "This token is not valid"},
		"wrong password": {url.Values{"account": {"admin"}, "password": {"wrong"}}, 401, "The account and the password do not belong together"},
		"nothing":        {url.Values{}, 400, "A token is needed"},
		"too long":       {url.Values{"token": {strings.Repeat("x", 5000)}}, 400, "too long"},
	} {
		w := post(t, f, nobody, "/ui/sign-in", tc.form)
		if w.Code != tc.status {
			t.Errorf("%s: status %d\n%s", name, w.Code, w.Body)
			continue
		}
		cookie := w.Header().Get("Set-Cookie")
		if tc.status == 303 {
			if w.Header().Get("Location") != tc.to {
				t.Errorf("%s: leads to %s", name, w.Header().Get("Location"))
			}
			for _, want := range []string{server.SessionCookie + "=session-of-", "Path=/ui", "HttpOnly", "SameSite=Lax"} {
				if !strings.Contains(cookie, want) {
					t.Errorf("%s: cookie %q lacks %s", name, cookie, want)
				}
			}
			continue
		}
		doc := parseHTML(t, w.Body.String())
		checkPage(t, doc)
		if cookie != "" || !strings.Contains(doc.one(t, "[role=alert]").words(), tc.to) {
			t.Errorf("%s: cookie %q, %s", name, cookie, doc.one(t, "main").words())
		}
		if strings.Contains(w.Body.String(), "ckt_wrong") || strings.Contains(w.Body.String(), `value="wrong"`) {
			t.Errorf("%s: the page repeats the secret", name)
		}
	}
	w := post(t, f, maintainer, "/ui/sign-out", nil)
	if w.Code != 303 || !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("sign out: %d %v", w.Code, w.Header())
	}
}

// TestForms: a form of another site changes nothing, one of ours does.
func TestForms(t *testing.T) {
	f := newSample(t)
	const target = "/ui/projects/platform/charts/web/1.4.2/yank"
	form := url.Values{"reason": {"security"}, "text": {" CVE-2026-1 "}}
	for _, header := range []string{"cross-site", "same-site"} {
		r := httptest.NewRequest("POST", "https://keep.example"+target, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", header)
		if w := serve(t, f, maintainer, r); w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d", header, w.Code)
		}
	}
	if w := post(t, f, reader, target, form); w.Code != http.StatusForbidden && w.Code != http.StatusNotFound {
		t.Errorf("a reader yanks with status %d", w.Code)
	}
	if len(f.yanks) != 0 {
		t.Fatalf("yanked: %v", f.yanks)
	}
	w := post(t, f, maintainer, target, form)
	if w.Code != 303 || w.Header().Get("Location") != "/ui/projects/platform/charts/web/1.4.2" || len(f.yanks) != 1 || f.yanks[0] != "platform/web@1.4.2 security CVE-2026-1" {
		t.Errorf("status %d, to %s, yanked %v", w.Code, w.Header().Get("Location"), f.yanks)
	}
	if w := get(t, f, maintainer, target); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET of a form's target: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	post(t, f, maintainer, "/ui/projects/team-a/web/charts/x/1.0.0+b/unyank", url.Values{"text": {"fixed"}})
	if len(f.yanks) != 2 || f.yanks[1] != "team-a/web/x@1.0.0+b back fixed" {
		t.Errorf("yanks: %v", f.yanks)
	}
	if w := post(t, f, maintainer, target, url.Values{"text": {strings.Repeat("x", maxForm)}}); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a form over the limit: status %d", w.Code)
	}
}

func TestTheme(t *testing.T) {
	f := newSample(t)
	w := post(t, f, nobody, "/ui/theme", url.Values{"theme": {"dark"}, "next": {"/log"}})
	if w.Code != 303 || w.Header().Get("Location") != "/ui/log" || !strings.Contains(w.Header().Get("Set-Cookie"), "chartkeep_theme=dark; Path=/ui") {
		t.Fatalf("status %d, header %v", w.Code, w.Header())
	}
	r := httptest.NewRequest("GET", "https://keep.example/ui/", nil)
	r.Header.Set("Cookie", "chartkeep_theme=dark")
	if !strings.Contains(serve(t, f, nobody, r).Body.String(), `data-theme="dark"`) {
		t.Error("the page is not dark")
	}
	r.Header.Set("Cookie", `chartkeep_theme="><b`)
	if strings.Contains(serve(t, f, nobody, r).Body.String(), "data-theme") {
		t.Error("a theme that does not exist was taken")
	}
	if w := post(t, f, nobody, "/ui/theme", url.Values{"theme": {"auto"}}); !strings.Contains(w.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("back to the system: %v", w.Header())
	}
}

func TestAssets(t *testing.T) {
	f := newSample(t)
	doc := parseHTML(t, get(t, f, nobody, "/ui/").Body.String())
	for _, l := range doc.all("link") {
		w := get(t, f, nobody, l.attrs["href"])
		if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Body.Len() == 0 {
			t.Errorf("%s: status %d, %v", l.attrs["href"], w.Code, w.Header())
		}
	}
	if w := get(t, f, nobody, "/ui/assets/style.css"); w.Code != http.StatusNotFound {
		t.Errorf("a name without hash: status %d", w.Code)
	}
}

// TestErrors: each answer that is no page is one.
func TestErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  error
		status int
		words  []string
	}{
		"internal":    {errors.New("secret detail"), 500, []string{"500, our fault", "01JD8Q6Y2M7T"}},
		"unavailable": {problem.New(problem.Unavailable, "read-only", "the database is behind the newest checkpoint").With("ends at", "41,180").Suggest("chartkeep log recover"), 503, []string{"503, not available", "The database is behind", "Ends at 41,180", "chartkeep log recover"}},
		"gone":        {problem.New(problem.Gone, "project-removed", "the project x was removed"), 410, []string{"410, removed"}},
		"cut":         {access.Refuse(access.Anonymous(), access.Request{Action: access.ChartPull, Project: "x"}, now), 401, []string{"401, not signed in"}},
	} {
		f := newSample(t)
		f.fault = tc.fault
		w := get(t, f, admin, "/ui/projects")
		doc := parseHTML(t, w.Body.String())
		checkPage(t, doc)
		for _, words := range tc.words {
			if !strings.Contains(doc.words(), words) {
				t.Errorf("%s: lacks %q: %s", name, words, doc.one(t, "main").words())
			}
		}
		if w.Code != tc.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: status %d\n%s", name, w.Code, w.Body)
		}
	}
}

// TestThroughServer mounts the door as the daemon does, below a context path.
func TestThroughServer(t *testing.T) {
	d := newDoor(t, newSample(t))
	external, err := server.ParseExternalURL("https://keep.example/deep")
	if err != nil {
		t.Fatal(err)
	}
	h := server.New(server.Config{External: external}, []server.Route{{Prefix: "ui", Door: audit.DoorWeb, Serve: d.Serve, WriteError: d.WriteError, Cookie: true}})
	srv := httptest.NewServer(h)
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/deep/ui/projects/platform/charts/airflow/8.9.0")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Security-Policy") != csp {
		t.Fatalf("status %d, error %v, header %v", resp.StatusCode, err, resp.Header)
	}
	doc := parseHTML(t, string(body))
	for _, a := range doc.all("a") {
		if href := a.attrs["href"]; strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "/deep/ui/") {
			t.Errorf("a link leaves the context path: %s", href)
		}
	}
	if !strings.Contains(doc.text, "OCI clients reach a server only at the root of its host") {
		t.Error("the page offers OCI below a path")
	}
}

// FuzzParse: a path is read in one way, and never as another page's.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/ui", "/ui/", "/uix", "/ui/log/12", "/ui/projects/a/b/charts/c/1.0.0+x/yank", "/ui/projects/charts/charts/x", "/ui/projects/a/charts", "/ui/log/-1", "/ui//", "/ui/projects/../x", "/ui/upstreams/a/version", "/ui/deployments/a/b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		req, err := parse(path)
		if err != nil {
			if problem.KindOf(err) != problem.NotFound {
				t.Fatalf("parse %q: %v", path, err)
			}
			return
		}
		if req.page == 0 {
			t.Fatalf("parse %q: no page and no error", path)
		}
		if strings.Contains(req.upstream, "/") {
			t.Fatalf("%q has the upstream %q", path, req.upstream)
		}
		if req.page == pageDeployment && deploymentPath("/ui", req.deployment) == "" && len(path) <= maxLinkedName {
			t.Fatalf("%q is a page that nothing leads to", path)
		}
		for seg := range strings.SplitSeq(req.project, "/") {
			if seg == "." || seg == ".." || seg == "charts" {
				t.Fatalf("%q has the project %q", path, req.project)
			}
		}
	})
}

// FuzzNext: wherever a form says that it leads back to, it stays below /ui.
func FuzzNext(f *testing.F) {
	for _, s := range []string{"/", "/log?before=1", "//evil.example", "/\\evil.example", "https://evil.example/", "/%2e%2e/v2/", "/a\nb", "javascript:alert(1)", "/?x=//y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := prefix + next(s)
		u, err := url.Parse(got)
		if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, prefix+"/") || strings.ContainsAny(got, "\r\n\\") {
			t.Fatalf("%q leads to %q (%v)", s, got, err)
		}
		base := &url.URL{Scheme: "https", Host: "keep.example", Path: "/ui/sign-in"}
		if to := base.ResolveReference(u); to.Host != "keep.example" || !strings.HasPrefix(to.Path, prefix+"/") {
			t.Fatalf("%q leads to %s", s, to)
		}
	})
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s ago", 59 * time.Second: "59 s ago", time.Minute: "1 min ago", 4 * time.Hour: "4 h ago",
		32 * time.Hour: "1 d 8 h ago", 48 * time.Hour: "2 d ago", 264 * 24 * time.Hour: "264 d ago", -32 * time.Hour: "in 1 d 8 h",
	} {
		if got := (moment{now.Add(-d), now}).Distance(); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 41207: "41,207", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
	if got := wrap(`a/b.c-<d>`); got != "a/<wbr/>b.<wbr/>c-<wbr/>&lt;d&gt;" {
		t.Errorf("wrap: %s", got)
	}
	v := newDigest(digestOf("x"))
	if v.Head+v.Mid+v.Tail != strings.Join(v.Lines, "") || len(v.Lines) != 4 || len(v.Head) != 8 || len(v.Tail) != 4 {
		t.Errorf("digest: %+v", v)
	}
	if got := newDigest("none"); got.Head != "none" || got.Mid != "" {
		t.Errorf("digest of no digest: %+v", got)
	}
	for s, want := range map[string]string{
		"web 1.4.2 is released": "web 1.4.2 is released", "there is no project x": "There is no project x", "": "", "the": "The",
	} {
		if got := sentence(s); got != want {
			t.Errorf("sentence: %q", got)
		}
	}
}
