package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// offer is a chart that somebody wants to publish.
type offer struct {
	project, chart, version string
	archive                 []byte
}

func (o *offer) file() string   { return o.chart + "-" + o.version + ".tgz" }
func (o *offer) repo() string   { return o.project + "/" + o.chart }
func (o *offer) digest() string { return sum(o.archive) }
func (o *offer) String() string { return o.repo() + "@" + o.version }

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// newOffer makes a chart whose bytes the salt alone decides. ballast adds that
// many bytes that do not compress.
func newOffer(t testing.TB, project, chart, version, salt string, ballast int) offer {
	t.Helper()
	extra := map[string]string{"README.md": salt}
	if ballast > 0 {
		seed := sha256.Sum256([]byte(salt + version))
		b := make([]byte, ballast)
		_, _ = rand.NewChaCha8(seed).Read(b) // never fails
		extra["files/ballast"] = string(b)
	}
	return offer{project, chart, version, charttest.Build(t, chart, version, extra)}
}

// answer is what a push came to. With err, nothing is known of the outcome.
type answer struct {
	status int
	text   string
	err    error
}

func (a *answer) accepted() bool { return a.err == nil && a.status/100 == 2 }

func (a *answer) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, a.text)
}

// publisher pushes to one server with one token.
type publisher struct {
	url, token string
	http       *http.Client
}

func publisherOf(s *daemontest.Server) *publisher {
	return &publisher{s.URL, s.Admin, s.HTTP}
}

// door is a way to push a chart. upload is what can be done before the claim.
type door struct {
	name   string
	upload func(context.Context, *publisher, *offer) error
	claim  func(context.Context, *publisher, *offer) answer
}

// doors are all of them.
var doors = []door{
	{"oci", ociUpload, ociClaim},
	{"chartmuseum", nothing, func(ctx context.Context, p *publisher, o *offer) answer {
		return p.send(ctx, http.MethodPost, "/api/"+o.project+"/charts", "application/gzip", o.archive)
	}},
	{"api", nothing, apiClaim},
}

func (d *door) push(ctx context.Context, p *publisher, o *offer) answer {
	if err := d.upload(ctx, p, o); err != nil {
		return answer{err: err}
	}
	return d.claim(ctx, p, o)
}

func nothing(context.Context, *publisher, *offer) error { return nil }

// send makes a request and reads the answer.
func (p *publisher) send(ctx context.Context, method, path, contentType string, body []byte) answer {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if p.token != "" {
		req.SetBasicAuth("anyone", p.token)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{status: res.StatusCode, text: string(b), err: err}
}

func (p *publisher) get(ctx context.Context, path string) answer {
	return p.send(ctx, http.MethodGet, path, "", nil)
}

func (o *offer) config() []byte {
	b, err := json.Marshal(map[string]string{"apiVersion": "v2", "name": o.chart, "version": o.version})
	if err != nil {
		panic(err)
	}
	return b
}

func (o *offer) manifest() []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":%q,"size":%d}]}`,
		sum(o.config()), len(o.config()), o.digest(), len(o.archive))
}

// ociUpload brings both blobs: the archive in one request or in chunks, the
// config in one.
func ociUpload(ctx context.Context, p *publisher, o *offer) error {
	uploads := "/v2/" + o.repo() + "/blobs/uploads/"
	post := func(digest string, b []byte) error {
		a := p.send(ctx, http.MethodPost, uploads+"?digest="+digest, "application/octet-stream", b)
		if a.err == nil && a.status != http.StatusCreated {
			return fmt.Errorf("blob of %s: %s", o, &a)
		}
		return a.err
	}
	if err := post(sum(o.config()), o.config()); err != nil {
		return err
	}
	if n := len(o.archive); n < 10 || o.archive[n-5]%2 == 0 { // as good as random
		return post(o.digest(), o.archive)
	}
	return chunked(ctx, p, uploads, o)
}

func chunked(ctx context.Context, p *publisher, uploads string, o *offer) error {
	location := ""
	step := func(method, path, span string, b []byte, want int) error {
		req, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(b))
		if err != nil {
			return err
		}
		req.SetBasicAuth("anyone", p.token)
		req.Header.Set("Content-Type", "application/octet-stream")
		if span != "" {
			req.Header.Set("Content-Range", span)
		}
		res, err := p.http.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != want {
			err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
		}
		location = strings.TrimPrefix(res.Header.Get("Location"), p.url)
		return err
	}
	if err := step(http.MethodPost, uploads, "", nil, http.StatusAccepted); err != nil {
		return err
	}
	half := len(o.archive) / 2
	if err := step(http.MethodPatch, location, fmt.Sprintf("0-%d", half-1), o.archive[:half], http.StatusAccepted); err != nil {
		return err
	}
	if err := step(http.MethodPatch, location, fmt.Sprintf("%d-%d", half, len(o.archive)-1), o.archive[half:], http.StatusAccepted); err != nil {
		return err
	}
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	return step(http.MethodPut, location+sep+"digest="+o.digest(), "", nil, http.StatusCreated)
}

func ociClaim(ctx context.Context, p *publisher, o *offer) answer {
	return p.send(ctx, http.MethodPut, "/v2/"+o.repo()+"/manifests/"+strings.ReplaceAll(o.version, "+", "_"),
		"application/vnd.oci.image.manifest.v1+json", o.manifest())
}

// apiClaim pushes through the management API.
func apiClaim(ctx context.Context, p *publisher, o *offer) answer {
	const boundary = "a-boundary-of-the-tests"
	var b bytes.Buffer
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"chart\"; filename=%q\r\nContent-Type: application/octet-stream\r\n\r\n", boundary, o.file())
	b.Write(o.archive)
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return p.send(ctx, http.MethodPost, "/api/v1/projects/"+o.project+"/-/releases", "multipart/form-data; boundary="+boundary, b.Bytes())
}
