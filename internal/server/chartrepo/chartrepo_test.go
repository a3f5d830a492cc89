package chartrepo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

func serve(t testing.TB, f *fakeService, r *http.Request, c release.Caller) *httptest.ResponseRecorder {
	t.Helper()
	h := server.Wrap(audit.DoorClassic, New(f, Config{Version: "0.1.0", MaxArchive: 4 << 20, TempDir: t.TempDir()}).Serve, WriteError)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, server.WithCaller(r, c))
	return w
}

// TestScripts runs testdata/*.txt: requests and what must be in the answers.
//
//	METHOD PATH [anonymous]   a request, by a publisher unless said otherwise
//	> Name: value             a header of it
//	> body FILE               its body: NAME-VERSION.tgz, or other-NAME-VERSION.tgz for other bytes, or text
//	> form FIELD=FILE …       its body as a form
//	status N                  of the answer
//	Name: value               a header of it, whole; "-" when it must be missing
//	body TEXT                 is in the body; ! before body: is not; empty: has no body
//
// Lines with the digests $web142 and so on stand for those of the fake.
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	var vars []string
	for _, r := range f.charts {
		vars = append(vars, "$"+r.Chart+strings.NewReplacer(".", "", "-", "").Replace(r.Version)+"$", r.Archive)
	}
	lines := strings.Split(strings.NewReplacer(vars...).Replace(string(text)), "\n")
	var w *httptest.ResponseRecorder
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		at := fmt.Sprintf("%s:%d", filepath.Base(file), i+1)
		method, rest, _ := strings.Cut(line, " ")
		switch method {
		case "", "#":
		case "GET", "HEAD", "POST", "PUT", "DELETE":
			caller := publisher
			path, anonymous := strings.CutSuffix(rest, " anonymous")
			if anonymous {
				caller = release.Caller{}
			}
			r := httptest.NewRequest(method, path, nil)
			for ; i+1 < len(lines) && strings.HasPrefix(lines[i+1], "> "); i++ {
				setRequest(t, r, lines[i+1][2:])
			}
			w = serve(t, f, r, caller)
		case "status":
			if strconv.Itoa(w.Code) != rest {
				t.Errorf("%s: status %d, want %s; body %s", at, w.Code, rest, w.Body)
			}
		case "body":
			if !strings.Contains(w.Body.String(), rest) {
				t.Errorf("%s: body lacks %s:\n%s", at, rest, w.Body)
			}
		case "!":
			if strings.Contains(w.Body.String(), strings.TrimPrefix(rest, "body ")) {
				t.Errorf("%s: body has %s:\n%s", at, rest, w.Body)
			}
		case "empty":
			if w.Body.Len() != 0 {
				t.Errorf("%s: body of %d bytes, want none", at, w.Body.Len())
			}
		default:
			name, want, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s: cannot read %q", at, line)
			}
			if got := w.Header().Get(name); got != want && (want != "-" || got != "") {
				t.Errorf("%s: header %s is %q, want %q", at, name, got, want)
			}
		}
	}
	if f.opened != 0 {
		t.Errorf("%d archives were not closed", f.opened)
	}
}

func setRequest(t *testing.T, r *http.Request, line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "body":
		r.Body = io.NopCloser(bytes.NewReader(scriptFile(t, rest)))
	case "form":
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for field := range strings.FieldsSeq(rest) {
			name, file, _ := strings.Cut(field, "=")
			part, _ := w.CreateFormFile(name, file)
			_, _ = part.Write(scriptFile(t, file))
		}
		_ = w.Close()
		r.Body = io.NopCloser(&b)
		r.Header.Set("Content-Type", w.FormDataContentType())
	default:
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("cannot read request line %q", line)
		}
		r.Header.Add(name, value)
	}
}

// scriptFile returns the archive that a name means, or the name itself.
func scriptFile(t *testing.T, file string) []byte {
	base, ok := strings.CutSuffix(file, ".tgz")
	if !ok {
		return []byte(file)
	}
	base, other := strings.CutPrefix(base, "other-")
	name, version, _ := strings.Cut(base, "-")
	extra := map[string]string{"templates/svc.yaml": "kind: Service\n"}
	if other {
		extra["values.yaml"] = "replicas: 2\n"
	}
	return charttest.Build(t, name, version, extra)
}

// TestIndexForms reads all variants of an index and compares what they say.
func TestIndexForms(t *testing.T) {
	f := newFake(t)
	get := func(path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return serve(t, f, r, release.Caller{})
	}
	plain := get("/demo/index.yaml")
	zipped := get("/demo/index.yaml", "Accept-Encoding", "gzip, deflate")
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(unzipped, plain.Body.Bytes()) {
		t.Error("the compressed index is another one")
	}
	if got := zipped.Header().Get("Content-Length"); got == plain.Header().Get("Content-Length") || got == "" {
		t.Errorf("Content-Length of the compressed index is %q", got)
	}
	var fromJSON, fromYAML map[string]any
	if err := json.Unmarshal(unzipped, &fromJSON); err != nil {
		t.Fatal(err)
	}
	asYAML := get("/demo/index.yaml", "Accept", "application/yaml")
	if err := yaml.Unmarshal(asYAML.Body.Bytes(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(fromJSON["entries"]), fmt.Sprint(fromYAML["entries"]); a != b {
		t.Errorf("JSON says\n%s\nYAML says\n%s", a, b)
	}
	if strings.HasPrefix(asYAML.Body.String(), "{") {
		t.Error("the YAML form is JSON")
	}
	etags := map[string]bool{}
	for _, w := range []*httptest.ResponseRecorder{plain, zipped, asYAML, get("/demo/index.yaml", "Accept", "application/json")} {
		etags[w.Header().Get("Etag")] = true
	}
	if len(etags) != 4 {
		t.Errorf("four variants have the entity tags %v", etags)
	}

	// What all charts of the API are is what the index says.
	var all map[string]any
	if err := json.Unmarshal(get("/api/demo/charts").Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(fromJSON["entries"]), fmt.Sprint(all); a != b {
		t.Errorf("the index says\n%s\nthe API says\n%s", a, b)
	}
	var page map[string]any
	if err := json.Unmarshal(get("/api/demo/charts?limit=10").Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(page), fmt.Sprint(all); a != b {
		t.Errorf("a page with all charts is\n%s\nwithout limit it is\n%s", a, b)
	}
}

// TestIndexNotModified: an answer of 304 builds nothing.
func TestIndexNotModified(t *testing.T) {
	f := newFake(t)
	r := httptest.NewRequest("GET", "/demo/index.yaml", nil)
	etag := serve(t, f, r, release.Caller{}).Header().Get("Etag")
	f.builds = 0
	r.Header.Set("If-None-Match", etag)
	for _, method := range []string{"GET", "HEAD"} {
		r.Method = method
		if w := serve(t, f, r, release.Caller{}); w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("Etag") != etag {
			t.Errorf("%s: status %d, body %d bytes, ETag %s", method, w.Code, w.Body.Len(), w.Header().Get("Etag"))
		}
	}
	if f.builds != 0 {
		t.Errorf("%d indexes were built", f.builds)
	}
	f.projects["demo"].Generation++
	if w := serve(t, f, r, release.Caller{}); w.Code != http.StatusOK || w.Header().Get("Etag") == etag {
		t.Errorf("after a change: status %d, ETag %s", w.Code, w.Header().Get("Etag"))
	}
}

func TestIndexContextPath(t *testing.T) {
	f := newFake(t)
	external, err := server.ParseExternalURL("https://keep.example/charts-host")
	if err != nil {
		t.Fatal(err)
	}
	h := server.New(server.Config{External: external}, []server.Route{{Door: audit.DoorClassic, Serve: New(f, Config{}).Serve, WriteError: WriteError}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/charts-host/demo/index.yaml", nil))
	if !strings.Contains(w.Body.String(), `"serverInfo":{"contextPath":"/charts-host"}`) {
		t.Errorf("no context path in %d %s", w.Code, w.Body)
	}
}

// TestDamagedArchive: a client must not take bytes that do not match for an
// archive.
func TestDamagedArchive(t *testing.T) {
	f := newFake(t)
	f.find("demo", "web", "1.4.2").damaged = true
	d := New(f, Config{})
	srv := httptest.NewServer(server.Wrap(audit.DoorClassic, d.Serve, WriteError))
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/demo/charts/web-1.4.2.tgz")
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the damaged archive was read to its end without an error")
	}
}

// TestRealConnection sends what curl and Helm send and reads it back as they
// do.
func TestRealConnection(t *testing.T) {
	f := newFake(t)
	srv := httptest.NewServer(server.Wrap(audit.DoorClassic, New(f, Config{}).Serve, WriteError))
	defer srv.Close()
	want := f.find("demo", "web", "1.4.2").bytes
	for _, tc := range []struct {
		ranges string
		status int
		body   []byte
	}{
		{"", 200, want},
		{"bytes=10-19", 206, want[10:20]},
		{"bytes=-5", 206, want[len(want)-5:]},
		{"bytes=0-", 206, want},
		{"bytes=0-0,5-6", 200, want},
		{fmt.Sprintf("bytes=%d-", len(want)), 416, nil},
	} {
		r, _ := http.NewRequest("GET", srv.URL+"/demo/charts/web-1.4.2.tgz", nil)
		if tc.ranges != "" {
			r.Header.Set("Range", tc.ranges)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tc.status || tc.body != nil && !bytes.Equal(body, tc.body) {
			t.Errorf("range %q: status %d, %d bytes, error %v", tc.ranges, resp.StatusCode, len(body), err)
		}
		if tc.status == 416 && resp.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", len(want)) {
			t.Errorf("416 with Content-Range %q", resp.Header.Get("Content-Range"))
		}
	}
}

// TestLargeForm: an archive that does not fit in memory goes through a file
// that is gone afterwards, and one over the limit is refused.
func TestLargeForm(t *testing.T) {
	for _, size := range []int{spoolMemory, spoolMemory + 1, 3 << 20, 4<<20 + 1} {
		dir := t.TempDir()
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, _ := w.CreateFormFile(fieldChart, `C:\charts\web-1.0.0.tgz`)
		payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		_, _ = part.Write(payload)
		prov, _ := w.CreateFormFile(fieldProv, "web-1.0.0.tgz.prov")
		_, _ = prov.Write([]byte("signed"))
		_ = w.Close()
		f, err := readForm(&b, w.Boundary(), Config{MaxArchive: 4 << 20, TempDir: dir})
		if size > 4<<20 {
			if problem.KindOf(err) != problem.TooLarge {
				t.Errorf("%d bytes: %v", size, err)
			}
		} else {
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if f.fileName != "web-1.0.0.tgz" || string(f.prov) != "signed" {
				t.Errorf("%d bytes: file name %q, provenance %q", size, f.fileName, f.prov)
			}
			archive, err := f.archive.open()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(archive); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes: read back %d bytes, error %v", size, len(got), err)
			}
			f.archive.close()
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%d bytes: left behind %v", size, left)
		}
	}
}

// FuzzForm: a form is read within its limits or refused, and what is taken
// from it is one archive and one provenance at most.
func FuzzForm(f *testing.F) {
	const boundary = "b"
	f.Add("--b\r\nContent-Disposition: form-data; name=\"chart\"; filename=\"x.tgz\"\r\n\r\nbytes\r\n--b--\r\n")
	f.Add("--b\r\nContent-Disposition: form-data; name=\"prov\"\r\n\r\ntext\r\n--b\r\nContent-Disposition: form-data; name=\"chart\"\r\n\r\nbytes\r\n--b--\r\n")
	f.Add("--b\r\nContent-Disposition: form-data; name=chart\r\nContent-Disposition: form-data; name=prov\r\n\r\n\r\n--b--")
	f.Add("--b\r\n\r\n\r\n--b--\r\n")
	f.Add("no form at all")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body string) {
		form, err := readForm(strings.NewReader(body), boundary, Config{MaxArchive: 64, TempDir: dir})
		if err != nil {
			if k := problem.KindOf(err); k != problem.Invalid && k != problem.TooLarge {
				t.Fatalf("a bad form is our fault: %v", err)
			}
			return
		}
		defer form.archive.close()
		if !form.hasArchive && form.prov == nil {
			t.Fatal("an empty form was taken")
		}
		if form.archive.size > 64 {
			t.Fatalf("an archive of %d bytes was taken", form.archive.size)
		}
	})
}

// FuzzParse: whatever a path is, it is read in one way only, and what was
// understood can be written down and understood again.
func FuzzParse(f *testing.F) {
	file, err := os.Open("testdata/api.txt")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if method, rest, ok := strings.Cut(s.Text(), " "); ok && strings.HasPrefix(rest, "/") {
			path, query, _ := strings.Cut(strings.TrimSuffix(rest, " anonymous"), "?")
			f.Add(method, path, query)
		}
	}
	f.Add("GET", "/a/b/c/all/index.yaml", "format=yaml")
	f.Add("GET", "/a/all/charts/x.tgz", "")
	f.Add("GET", "/api/a/charts/../charts/x", "")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		req, err := parse(method, path, query)
		if err != nil {
			if k := problem.KindOf(err); k != problem.NotFound && k != problem.Invalid && k != problem.Unsupported {
				t.Fatalf("parse %q: %v", path, err)
			}
			return
		}
		again, err := parse(method, pathOf(req, path), query)
		if err != nil || again != req {
			t.Fatalf("%q is %+v, written down it is %+v, %v", path, req, again, err)
		}
		for seg := range strings.SplitSeq(req.project, "/") {
			if seg == "." || seg == ".." || seg == segCharts && req.op >= opCharts {
				t.Fatalf("%q has the project %q", path, req.project)
			}
		}
	})
}

// pathOf writes down what was understood of a path.
func pathOf(req request, path string) string {
	switch req.op {
	case opIndex:
		if req.all {
			return "/" + req.project + "/all/index.yaml"
		}
		return "/" + req.project + "/index.yaml"
	case opArchive, opProvenance, opProof:
		return "/" + req.project + "/charts/" + req.file
	case opPushProvenance:
		return "/api/" + req.project + "/prov"
	case opCharts, opPush, opVersions, opVersion, opTemplates, opValues, opDelete:
		p := "/api/" + req.project + "/charts"
		if req.chart != "" {
			p += "/" + req.chart
		}
		if req.version != "" {
			p += "/" + req.version
		}
		switch req.op {
		case opTemplates:
			p += "/templates"
		case opValues:
			p += "/values"
		}
		return p
	}
	return path
}

// FuzzConditions: no header makes a read fail other than by 412 and 416, and a
// range lies within its file.
func FuzzConditions(f *testing.F) {
	f.Add(`"a", W/"b"`, "bytes=0-9", "gzip;q=0.5, *;q=0", "text/yaml;q=0.3, application/json", int64(100))
	f.Add("*", "bytes=-1", "identity", "*/*", int64(0))
	f.Add(`W/"`, "bytes=9223372036854775808-", "gzip;q=x", "yaml", int64(1))
	f.Fuzz(func(t *testing.T, etags, ranges, encoding, accept string, size int64) {
		if size < 0 {
			return
		}
		matches([]string{etags}, `"a"`, true)
		acceptsGzip(encoding)
		prefersYAML(accept)
		s, ok, err := parseRange(ranges, size)
		if err != nil {
			if status, _ := server.Status(err); status != 416 {
				t.Fatalf("range %q: status %d", ranges, status)
			}
			return
		}
		if ok && (s.offset < 0 || s.n < 1 || s.offset+s.n > size) {
			t.Fatalf("range %q of %d bytes is %+v", ranges, size, s)
		}
	})
}

func TestNegotiation(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false,
		"application/yaml": true, "text/yaml": true, "application/x-yaml, */*": true,
		"application/yaml;q=0.5, application/json": false, "application/json;q=0.5, application/yaml": true,
		"application/json, application/yaml": false, "application/yaml;q=0": false, "application/gzip, application/octet-stream": false,
	} {
		if got := prefersYAML(header); got != want {
			t.Errorf("Accept %q: YAML %v, want %v", header, got, want)
		}
	}
	for header, want := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br": true, "identity": false, "gzip;q=0": false, "*": true,
		"gzip;q=0, *": false, "br;q=1.0, gzip; q=0.8": true, "GZIP": true, "gzip;q=2": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("Accept-Encoding %q: gzip %v, want %v", header, got, want)
		}
	}
	for header, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"b" , W/"a"`: true, `*`: true, `"b"`: false, `a`: false, `"a`: false, ``: false,
	} {
		if got := matches([]string{header}, `"a"`, true); got != want {
			t.Errorf("If-None-Match %s: %v, want %v", header, got, want)
		}
	}
}

// BenchmarkIndexNotModified and BenchmarkArchive are the door's own cost; the
// registry behind it is free.
func BenchmarkIndexNotModified(b *testing.B) {
	f := newFake(b)
	h := server.Wrap(audit.DoorClassic, New(f, Config{}).Serve, WriteError)
	r := httptest.NewRequest("GET", "/demo/index.yaml", nil)
	r.Header.Set("If-None-Match", `"g7-x"`)
	r = server.WithCaller(r, release.Caller{})
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusNotModified {
			b.Fatal(w.Code)
		}
	}
}

func BenchmarkArchive(b *testing.B) {
	f := newFake(b)
	h := server.Wrap(audit.DoorClassic, New(f, Config{}).Serve, WriteError)
	r := server.WithCaller(httptest.NewRequest("GET", "/demo/charts/web-1.4.2.tgz", nil), release.Caller{})
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
