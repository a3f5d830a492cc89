package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// uploads are the requests that carry bytes, at every door, with a body of
// their own.
func (v *victim) uploads(o *offer) map[string][]byte {
	v.t.Helper()
	var form bytes.Buffer
	fmt.Fprintf(&form, "--b\r\nContent-Disposition: form-data; name=\"chart\"; filename=%q\r\n\r\n%s\r\n--b--\r\n", o.file(), o.archive)
	sized := func(method, target, contentType string, body []byte) []byte {
		return append(v.head(method, target, "Content-Type: "+contentType, fmt.Sprint("Content-Length: ", len(body))), body...)
	}
	return map[string][]byte{
		"oci single POST":      sized("POST", "/v2/"+o.repo()+"/blobs/uploads/?digest="+o.digest(), "application/octet-stream", o.archive),
		"oci PATCH":            sized("PATCH", v.session(o.repo()), "application/octet-stream", o.archive),
		"oci manifest":         sized("PUT", "/v2/"+o.repo()+"/manifests/"+o.version, "application/vnd.oci.image.manifest.v1+json", o.manifest()),
		"chartmuseum raw":      sized("POST", "/api/"+o.project+"/charts", "application/gzip", o.archive),
		"chartmuseum form":     sized("POST", "/api/"+o.project+"/charts", "multipart/form-data; boundary=b", form.Bytes()),
		"chartmuseum prov":     sized("POST", "/api/"+o.project+"/prov", "text/plain", o.archive),
		"management form":      sized("POST", "/api/v1/projects/"+o.project+"/-/releases", "multipart/form-data; boundary=b", form.Bytes()),
		"management JSON":      sized("POST", "/api/v1/projects", "application/json", []byte(`{"name":"x/y/z"}`+strings.Repeat(" ", 2000))),
		"sign in to the pages": sized("POST", "/ui/login", "application/x-www-form-urlencoded", []byte("token="+strings.Repeat("a", 2000))),
	}
}

// session begins an OCI upload and returns its path.
func (v *victim) session(repo string) string {
	v.t.Helper()
	req, err := http.NewRequest(http.MethodPost, v.url+"/v2/"+repo+"/blobs/uploads/", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.SetBasicAuth("x", v.token)
	res, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		v.t.Fatalf("begin an upload: %s", res.Status)
	}
	return strings.TrimPrefix(res.Header.Get("Location"), v.url)
}

// cancelAll ends the uploads that are under way, as clients do that give up.
// Those of the server's own folder are the truth of which there are.
func (v *victim) cancelAll(sessions []string) {
	v.t.Helper()
	for _, path := range sessions {
		if a := v.send(context.Background(), http.MethodDelete, path, "", nil); a.status != http.StatusNoContent {
			v.t.Errorf("cancel %s: %s", path, &a)
		}
	}
}

// TestHalfUploads cuts the connection at every part of every upload.
func TestHalfUploads(t *testing.T) {
	v := newVictim(t)
	o := newOffer(t, victimProject, "half", "1.0.0", "half", 200_000)
	var sessions []string
	rng := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		for name, request := range v.uploads(&o) {
			if name == "oci PATCH" {
				sessions = append(sessions, strings.Fields(string(request[:200]))[1])
			}
			head := bytes.Index(request, []byte("\r\n\r\n")) + 4
			c := v.dial()
			if _, err := c.Write(request[:head+rng.IntN(len(request)-head)]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			c.Close()
		}
	}
	v.settled()
	if err := v.ob.absent(t.Context(), &o); err != nil {
		t.Error(err)
	}
	v.cancelAll(sessions)
	v.unharmed()
	v.small(200)
}

// TestBodiesThatLie sends bodies that are not as long, or not what, their
// headers say.
func TestBodiesThatLie(t *testing.T) {
	v := newVictim(t)
	o := newOffer(t, victimProject, "liar", "1.0.0", "liar", 10_000)
	push := func(headers ...string) []byte {
		return v.head("POST", "/api/"+victimProject+"/charts", append(headers, "Content-Type: application/gzip")...)
	}
	for name, request := range map[string][]byte{
		"shorter than the body":    append(push("Content-Length: 100"), o.archive...),
		"zero":                     append(push("Content-Length: 0"), o.archive...),
		"negative":                 append(push("Content-Length: -1"), o.archive...),
		"no number":                append(push("Content-Length: ten"), o.archive...),
		"beyond any number":        append(push("Content-Length: 99999999999999999999999"), o.archive...),
		"two that differ":          append(push("Content-Length: 100", "Content-Length: 200"), o.archive...),
		"length and chunks":        append(push("Content-Length: 7", "Transfer-Encoding: chunked"), "0\r\n\r\nGET"...),
		"an unknown encoding":      append(push("Transfer-Encoding: gzip"), o.archive...),
		"chunk without a number":   append(push("Transfer-Encoding: chunked"), "xyz\r\nabc\r\n"...),
		"chunk of a huge number":   append(push("Transfer-Encoding: chunked"), "fffffffffffffffff\r\nabc\r\n"...),
		"chunk extensions of 1 MB": append(push("Transfer-Encoding: chunked"), "1;"+strings.Repeat("a", 1<<20)+"\r\nx\r\n0\r\n\r\n"...),
		"trailers":                 append(push("Transfer-Encoding: chunked", "Trailer: Authorization"), "4\r\nabcd\r\n0\r\nAuthorization: Bearer x\r\nX: y\r\n\r\n"...),
		"no header ends":           []byte("POST /api/" + victimProject + "/charts HTTP/1.1\r\nHost: x\r\n"),
		"HTTP/0.9":                 []byte("GET /\r\n\r\n"),
		"HTTP/3.0":                 []byte("GET / HTTP/3.0\r\nHost: x\r\n\r\n"),
		"TLS":                      []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n"),
		"HTTP/2 in the clear":      []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
	} {
		if name == "no header ends" {
			v.dial().Write(request) // and is closed by the test's end
			continue
		}
		if res := v.raw(request); res != nil && (res.StatusCode < 400 || res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented && res.StatusCode != http.StatusHTTPVersionNotSupported) {
			if name != "HTTP/2 in the clear" {
				t.Errorf("%s: answered %s: %s", name, res.Status, res.Header.Get("X-Body"))
			}
		}
	}
	if err := v.ob.absent(t.Context(), &o); err != nil {
		t.Error(err)
	}
	v.unharmed()
}

// TestWrongDigests: bytes are stored under their own digest or not at all.
func TestWrongDigests(t *testing.T) {
	v := newVictim(t)
	ctx := t.Context()
	o := newOffer(t, victimProject, "digest", "1.0.0", "digest", 50_000)
	other := sum([]byte("something else"))
	for _, digest := range []string{
		other, strings.ToUpper(o.digest()), strings.TrimPrefix(o.digest(), "sha256:"), o.digest()[:40], o.digest() + "00", "sha256:" + strings.Repeat("g", 64),
		"sha512:" + strings.TrimPrefix(o.digest(), "sha256:"), "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../../../../etc/passwd", "sha256:", ":", "sha256:" + strings.Repeat("0", 100_000/2),
		"sha256+b64:" + strings.Repeat("a", 64), o.digest() + "\x00", " " + o.digest(), "blake3:" + strings.Repeat("a", 64),
	} {
		q := url.QueryEscape(digest)
		for what, a := range map[string]answer{
			"single POST": v.send(ctx, "POST", "/v2/"+o.repo()+"/blobs/uploads/?digest="+q, "application/octet-stream", o.archive),
			"session":     v.send(ctx, "PUT", v.session(o.repo())+"?digest="+q, "application/octet-stream", o.archive),
			"manifest":    v.send(ctx, "PUT", "/v2/"+o.repo()+"/manifests/"+url.PathEscape(digest), "application/vnd.oci.image.manifest.v1+json", o.manifest()),
			"mount":       v.send(ctx, "POST", "/v2/"+o.repo()+"/blobs/uploads/?mount="+q+"&from=x/y", "", nil),
			"blob":        v.get(ctx, "/v2/"+o.repo()+"/blobs/"+url.PathEscape(digest)),
		} {
			mounted := what == "mount" && a.status == http.StatusAccepted // begins an upload instead
			if a.err != nil || !mounted && (a.status < 400 || a.status >= 500) {
				t.Errorf("%s of %.80q: %s", what, digest, &a)
			}
		}
	}
	if a := v.send(ctx, "PUT", "/v2/"+o.repo()+"/manifests/1.0.0", "application/vnd.oci.image.manifest.v1+json", o.manifest()); a.status != 400 || !strings.Contains(a.text, "MANIFEST_BLOB_UNKNOWN") {
		t.Errorf("a manifest of blobs that nobody brought: %s", &a)
	}
	// What began and was not ended is listed in the store's own folder only.
	v.endSessions()
	v.unharmed()
}

// endSessions takes what uploads left open away, as the sweep does after a
// day; there must be nothing else in that folder.
func (v *victim) endSessions() {
	v.t.Helper()
	dir := filepath.Join(v.s.Data, "blobs", "uploads")
	entries, err := os.ReadDir(dir)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() != 0 {
			v.t.Errorf("an upload that brought nothing, or was refused, keeps bytes: %s %v", e.Name(), err)
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			v.t.Fatal(err)
		}
	}
}

// hostile are names that mean something to somebody on the way.
var hostile = []string{
	"", ".", "..", "...", "/", "//", "\\", "%2e%2e", "%2f", "..%2f..%2f", "%00", "%0a", "%0d%0aX-Injected:%201", "%", "%zz", "%c0%ae%c0%ae", "a%2fb",
	"con", "nul", "-", "--", "-rf", "~", "~root", "$HOME", "`id`", "$(id)", "{{.}}", "'", "\"", "';--", "<script>", "%3Cscript%3E", "*", "?", "#", "&", ";", ":", "@", "|",
	"_", "__", "a__b", "a___b", "a..b", "a.", ".a", "a-", "-a", "A", "\u00e9", "%e2%80%ae", "%ff%fe", "\u202e", "\ufeff", "charts", "api", "v1", "v2", "ui", "log", "all", "blobs", "manifests",
	"tags", "referrers", "uploads", "index.yaml", "readyz", "latest", "v1.0.0", "1.0", "01.0.0", "1.0.0+a", "1.0.0_a", ">=0", "^1", "1.0.0-", "99999999999999999999.0.0",
	"good", "good-1.0.0.tgz", "good-1.0.0.tgz.prov", "good-1.0.0.tgz.tlog-proof", "../good-1.0.0.tgz", "..%2fgood-1.0.0.tgz",
	"sha256:" + strings.Repeat("0", 64), "sha512:00", "sha256:..", strings.Repeat("a", 300), strings.Repeat("a/", 200) + "a", strings.Repeat("%41", 3000),
}

// shapes are the paths of every door, %s standing for a name.
var shapes = []string{
	"GET /%s", "GET /%s/index.yaml", "GET /%s/all/index.yaml", "GET /%s/charts/%s", "HEAD /in/put/charts/%s", "GET /in/put/charts/%s",
	"GET /api/%s/charts", "POST /api/%s/charts", "GET /api/in/put/charts/%s", "GET /api/in/put/charts/good/%s", "GET /api/in/put/charts/good/%s/templates", "DELETE /api/in/put/charts/%s/%s", "POST /api/%s/prov",
	"GET /v2/%s", "GET /v2/%s/tags/list", "GET /v2/%s/manifests/%s", "PUT /v2/in/put/%s/manifests/1.0.0", "PUT /v2/in/put/bad/manifests/%s", "GET /v2/in/put/good/manifests/%s", "GET /v2/in/put/good/blobs/%s",
	"POST /v2/%s/blobs/uploads/", "PATCH /v2/in/put/good/blobs/uploads/%s", "PUT /v2/in/put/good/blobs/uploads/%s?digest=%s", "GET /v2/in/put/good/blobs/uploads/%s", "DELETE /v2/in/put/good/blobs/uploads/%s",
	"DELETE /v2/in/put/good/manifests/%s", "DELETE /v2/in/put/good/blobs/%s", "GET /v2/%s/referrers/%s", "GET /v2/in/put/good/tags/list?n=%s&last=%s", "GET /v2/_catalog?n=%s&last=%s", "POST /v2/in/put/good/blobs/uploads/?mount=%s&from=%s",
	"GET /api/v1/projects/%s", "PATCH /api/v1/projects/%s", "POST /api/v1/projects/%s/-/remove", "GET /api/v1/projects/in/put/-/charts/%s", "GET /api/v1/projects/in/put/-/charts/good/releases/%s", "POST /api/v1/projects/in/put/-/charts/%s/releases/%s/yank",
	"GET /api/v1/accounts?after=%s&limit=%s", "PUT /api/v1/accounts/%s/password", "DELETE /api/v1/tokens/%s", "DELETE /api/v1/grants/%s", "GET /api/v1/audit?event=%s&before=%s", "GET /api/v1/log/leaves/%s", "GET /api/v1/log/consistency?old=%s&new=%s", "GET /api/v1/can-i?action=%s&project=%s",
	"GET /log/%s", "GET /log/tile/0/%s", "GET /log/tile/entries/%s", "GET /log/tile/%s/000", "GET /ui/%s", "GET /ui/projects/%s", "GET /metrics/%s", "GET /readyz/%s", "OPTIONS /%s", "TRACE /%s", "CONNECT /%s", "FOO /v2/%s",
}

// TestHostileNames sends names with every kind of trick to every path.
func TestHostileNames(t *testing.T) {
	v := newVictim(t)
	sent, byStatus := 0, map[int]int{}
	var mu sync.Mutex
	var workers sync.WaitGroup
	work := make(chan string)
	for range 8 {
		workers.Go(func() {
			for line := range work {
				method, target, _ := strings.Cut(line, " ")
				status := v.hostile(method, target)
				mu.Lock()
				sent++
				byStatus[status]++
				mu.Unlock()
			}
		})
	}
	for _, shape := range shapes {
		for i, name := range hostile {
			line := strings.ReplaceAll(shape, "%s", name)
			if strings.Count(shape, "%s") == 2 && i%2 == 0 { // two names, not twice the same
				line = strings.Replace(strings.Replace(shape, "%s", name, 1), "%s", hostile[(i*7+3)%len(hostile)], 1)
			}
			work <- line
		}
	}
	close(work)
	workers.Wait()
	t.Logf("%d requests, answers by status: %v", sent, byStatus)
	if sent < 4000 {
		t.Errorf("only %d requests were sent", sent)
	}
	v.endSessions()
	v.unharmed()
	v.small(250)
}

// hostile sends one request and returns the status, 0 for none.
func (v *victim) hostile(method, target string) int {
	body := ""
	if method == "POST" || method == "PUT" || method == "PATCH" {
		body = `{"reason":"broken"}`
	}
	request := append(v.head(method, target, fmt.Sprint("Content-Length: ", len(body)), "Content-Type: application/json", "Connection: close"), body...)
	res := v.raw(request)
	if res == nil {
		return 0
	}
	// A tag may be any word that is no version, and an upload may begin.
	tagged, _ := strings.CutPrefix(target, "/v2/in/put/bad/manifests/")
	if res.StatusCode == http.StatusCreated && (tagged == target || looksLikeVersion(tagged)) {
		v.t.Errorf("%s %.200s: accepted: %.300s", method, target, res.Header.Get("X-Body"))
	}
	switch {
	case res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented:
		v.t.Errorf("%s %.200s: answered %s: %.300s", method, target, res.Status, res.Header.Get("X-Body"))
	case res.Header.Get("X-Injected") != "":
		v.t.Errorf("%s %.200s: a header was injected", method, target)
	case res.StatusCode == http.StatusOK && strings.Contains(res.Header.Get("X-Body"), "root:"):
		v.t.Errorf("%s %.200s: a file of the machine was served", method, target)
	}
	return res.StatusCode
}

// looksLikeVersion says whether some client takes a tag for a version.
func looksLikeVersion(tag string) bool {
	_, err := semver.NewVersion(strings.ReplaceAll(tag, "_", "+"))
	return err == nil
}

// TestHugeHeaders: a request's head has limits, and what is over them is cheap.
func TestHugeHeaders(t *testing.T) {
	v := newVictim(t)
	many := make([]string, 20_000)
	for i := range many {
		many[i] = fmt.Sprintf("X-%d: %d", i, i)
	}
	for name, request := range map[string][]byte{
		"one header of 10 MB":   v.head("GET", "/v2/", "X-Large: "+strings.Repeat("a", 10<<20)),
		"20000 headers":         v.head("GET", "/v2/", many...),
		"a path of 1 MB":        v.head("GET", "/"+strings.Repeat("a", 1<<20)),
		"a query of 1 MB":       v.head("GET", "/v2/_catalog?n="+strings.Repeat("1", 1<<20)),
		"a method of 1 MB":      v.head(strings.Repeat("G", 1<<20), "/"),
		"a host of 1 MB":        append([]byte("GET / HTTP/1.1\r\nHost: "+strings.Repeat("h", 1<<20)), "\r\n\r\n"...),
		"a credential of 1 MB":  append([]byte("GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic "+strings.Repeat("QQ", 1<<19)), "\r\n\r\n"...),
		"a line without an end": []byte(strings.Repeat("GET ", 1<<20)),
	} {
		if res := v.raw(request); res != nil && (res.StatusCode < 400 || res.StatusCode >= 500) {
			t.Errorf("%s: answered %s", name, res.Status)
		}
	}
	// Headers within the limits that lie all the same.
	for _, h := range []string{
		"Range: bytes=" + strings.Repeat("0-0,", 5000) + "1-1", "Range: bytes=-99999999999999999999", "Range: bytes=9-1", "Range: lines=1-2",
		"If-None-Match: " + strings.Repeat("\"a\",", 10_000), "If-Modified-Since: yesterday", "Accept: " + strings.Repeat("a/b;q=0.1,", 5000),
		"Accept-Encoding: " + strings.Repeat("gzip;q=1,", 5000), "X-Forwarded-For: " + strings.Repeat("1.2.3.4,", 5000), "X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /../..",
		"Forwarded: for=evil", "Content-Length: 0", "Expect: 200-ok", "Cookie: " + strings.Repeat("a=b;", 10_000), "Upgrade: h2c", "Content-Encoding: gzip",
	} {
		for _, path := range []string{"/" + victimProject + "/index.yaml", "/" + victimProject + "/charts/good-1.0.0.tgz", "/v2/" + victimProject + "/good/blobs/" + v.good.digest(), "/ui/"} {
			res := v.raw(v.head("GET", path, h, "Connection: close"))
			if res == nil || res.StatusCode >= 500 || strings.Contains(res.Header.Get("X-Body"), "evil.example") {
				t.Errorf("%.60s with %.60s: answered %v", path, h, res)
			}
		}
	}
	v.unharmed()
	v.small(250)
}

// TestSlowClients: connections that say next to nothing keep nobody else from
// being served, and those that never end their header are closed.
func TestSlowClients(t *testing.T) {
	v := newVictim(t)
	o := newOffer(t, victimProject, "slow", "1.0.0", "slow", 100_000)
	const each = 100
	var headers []io.ReadWriteCloser
	begun := time.Now()
	for range each {
		c := v.dial()
		if _, err := c.Write([]byte("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")); err != nil {
			t.Fatal(err)
		}
		headers = append(headers, c)
	}
	requests := v.uploads(&o)
	session := strings.Fields(string(requests["oci PATCH"][:200]))[1]
	var bodies []io.Closer
	for name, request := range requests {
		if name == "oci PATCH" || name == "oci manifest" || name == "sign in to the pages" {
			continue
		}
		for range each / 5 {
			c := v.dial()
			if _, err := c.Write(request[:bytes.Index(request, []byte("\r\n\r\n"))+30]); err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, c)
		}
	}
	// Meanwhile others are served, and fast.
	var slowest time.Duration
	for range 50 {
		at := time.Now()
		if a := v.get(t.Context(), "/"+victimProject+"/index.yaml"); !a.accepted() {
			t.Fatalf("not served beside slow clients: %s", &a)
		}
		slowest = max(slowest, time.Since(at))
	}
	if a := v.get(t.Context(), "/readyz"); !a.accepted() {
		t.Errorf("not ready beside slow clients: %s", &a)
	}
	t.Logf("beside %d slow headers and %d slow bodies the slowest of 50 answers took %s", len(headers), len(bodies), slowest.Round(time.Millisecond))
	if slowest > 2*time.Second {
		t.Errorf("an answer took %s", slowest)
	}
	for _, c := range bodies {
		c.Close()
	}
	if !testing.Short() { // the limit for a header is 10 s
		for _, c := range headers {
			ended := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, c)
				close(ended)
			}()
			select {
			case <-ended:
			case <-time.After(daemontest.Patience):
				t.Fatal("a connection without a whole header is never closed")
			}
		}
		t.Logf("all connections without a whole header were closed after %s", time.Since(begun).Round(time.Second))
	}
	for _, c := range headers {
		c.Close()
	}
	v.cancelAll([]string{session})
	v.unharmed()
}

// TestBadForms sends forms and documents with which something is wrong.
func TestBadForms(t *testing.T) {
	v := newVictim(t)
	ctx := t.Context()
	o := newOffer(t, victimProject, "form", "1.0.0", "form", 0)
	part := func(disposition, body string) string {
		return "--b\r\nContent-Disposition: " + disposition + "\r\n\r\n" + body + "\r\n"
	}
	chart := part(`form-data; name="chart"; filename="form-1.0.0.tgz"`, string(o.archive))
	fields := strings.Repeat(part(`form-data; name="x"`, "y"), 5000)
	forms := map[string]string{
		"nothing":               "",
		"no end":                chart,
		"chart twice":           chart + chart + "--b--\r\n",
		"5000 fields":           fields + "--b--\r\n",
		"5000 fields and chart": fields + chart + "--b--\r\n",
		"another name":          part(`form-data; name="chart"; filename="other-1.0.0.tgz"`, string(o.archive)) + "--b--\r\n",
		"a name of 1 MB":        part(`form-data; name="`+strings.Repeat("c", 1<<20)+`"`, "x") + "--b--\r\n",
		"a part header of 1 MB": "--b\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\nx\r\n--b--\r\n",
		"no disposition":        "--b\r\n\r\nx\r\n--b--\r\n",
		"prov of 2 MB":          part(`form-data; name="prov"; filename="p"`, strings.Repeat("p", 2<<20)) + chart + "--b--\r\n",
		"prov that is none":     part(`form-data; name="prov"; filename="p"`, "no provenance") + chart + "--b--\r\n",
		"an empty chart":        part(`form-data; name="chart"; filename="form-1.0.0.tgz"`, "") + "--b--\r\n",
	}
	for name, form := range forms {
		for _, path := range []string{"/api/" + victimProject + "/charts", "/api/v1/projects/" + victimProject + "/-/releases"} {
			a := v.send(ctx, "POST", path, "multipart/form-data; boundary=b", []byte(form))
			if a.err != nil || a.status < 400 || a.status >= 500 {
				t.Errorf("form: %s: %s: %s", name, path, &a)
			}
		}
	}
	for _, contentType := range []string{"multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + strings.Repeat("b", 5000), "multipart/mixed; boundary=b", "text/html", "a/b/c;;;"} {
		for _, path := range []string{"/api/" + victimProject + "/charts", "/api/v1/projects/" + victimProject + "/-/releases"} {
			a := v.send(ctx, "POST", path, contentType, []byte(chart+"--b--\r\n"))
			if a.err != nil || a.status < 400 || a.status >= 500 {
				t.Errorf("type %.60s: %s: %s", contentType, path, &a)
			}
		}
	}
	for name, doc := range map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "no JSON": "{", "two documents": `{"name":"a1"}{"name":"b1"}`, "unknown key": `{"name":"a3","nane":"b"}`,
		"wrong type": `{"name":1}`, "deep": strings.Repeat(`{"name":`, 100_000), "deep list": strings.Repeat("[", 1<<20), "long": `{"name":"` + strings.Repeat("a", 4<<20) + `"}`, "NUL": `{"name":"a\u0000b"}`,
		"surrogate": `{"name":"\ud800"}`, "no UTF-8": "{\"name\":\"\xff\"}", "a number": `{"name":"a4","public":1e999}`, "reserved": `{"name":"charts"}`, "climbs": `{"name":"../x"}`, "within another": `{"name":"in/put/deeper"}`, "around another": `{"name":"in"}`,
	} {
		if a := v.send(ctx, "POST", "/api/v1/projects", "application/json", []byte(doc)); a.err != nil || a.status < 400 || a.status >= 500 {
			t.Errorf("document: %s: %s", name, &a)
		}
	}
	v.badManifests(ctx, &o)
	v.unharmed()
	v.small(250)
}

// badManifests puts manifests with which something is wrong.
func (v *victim) badManifests(ctx context.Context, o *offer) {
	v.t.Helper()
	layer := fmt.Sprintf(`{"mediaType":"application/octet-stream","digest":%q,"size":1},`, sum(nil))
	for name, m := range map[string]string{
		"nothing": "", "no JSON": "{", "a list": "[]", "5 MB": `{"schemaVersion":2,"x":"` + strings.Repeat("a", 5<<20) + `"}`, "deep": `{"schemaVersion":2,"x":` + strings.Repeat("[", 1<<20),
		"20000 layers":  `{"schemaVersion":2,"layers":[` + strings.TrimSuffix(strings.Repeat(layer, 20_000), ",") + `]}`,
		"negative size": strings.Replace(string(o.manifest()), `"size":`, `"size":-`, 1), "size as text": strings.Replace(string(o.manifest()), `"size":`, `"size":"1","x":`, 1),
		"no digest": strings.Replace(string(o.manifest()), "sha256:", "sha256:zz", 1), "key twice": strings.Replace(string(o.manifest()), "{", `{"schemaVersion":2,`, 1),
		"size beyond": strings.Replace(string(o.manifest()), `"size":`, `"size":9223372036854775807,"x":`, 1),
	} {
		for _, ref := range []string{"1.0.0", "1.0.0?tag=2.0.0", sum([]byte(m))} {
			a := v.send(ctx, "PUT", "/v2/"+o.repo()+"/manifests/"+ref, "application/vnd.oci.image.manifest.v1+json", []byte(m))
			if a.err != nil || a.status < 400 || a.status >= 500 {
				v.t.Errorf("manifest: %s as %.20s: %s", name, ref, &a)
			}
		}
	}
}

// TestBadCredentials: what is no credential costs little, gives nothing, and
// locks out nobody who has one.
func TestBadCredentials(t *testing.T) {
	v := newVictim(t)
	byStatus := map[int]int{}
	for i := range 400 {
		for _, header := range []string{
			"Authorization: Bearer nonsense" + fmt.Sprint(i), "Authorization: Basic !!!!", "Authorization: Basic " + strings.Repeat("QUJD", 5000), "Authorization: Digest x", "Authorization: Bearer " + v.token + "x",
			"Authorization: Bearer ey.ey.ey", "Authorization: ", "Cookie: chartkeep_session=x" + fmt.Sprint(i),
		} {
			res := v.raw(fmt.Appendf(nil, "GET /%s/index.yaml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n", victimProject, header))
			if res == nil {
				t.Errorf("%.40s: no answer", header)
				continue
			}
			byStatus[res.StatusCode]++
			if res.StatusCode < 400 || res.StatusCode >= 500 {
				t.Errorf("%.40s: answered %s", header, res.Status)
			}
		}
	}
	t.Logf("answers by status: %v", byStatus)
	v.unharmed()
	v.small(250)
}
