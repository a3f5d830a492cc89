package daemon

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
)

// protected is a running server with people.
type protected struct {
	*testing.T
	d               *Daemon
	admin, ann, bob *client.Client
	token           string // ann's
}

func startProtected(t *testing.T) *protected {
	t.Helper()
	cfg := Default()
	cfg.Data, cfg.Listen = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0"
	d, err := Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		d.Close()
	})
	secret, err := os.ReadFile(filepath.Join(cfg.Data, fileToken))
	if err != nil {
		t.Fatal(err)
	}
	p := &protected{T: t, d: d}
	p.admin = p.as(strings.TrimSpace(string(secret)))
	p.ann, p.token = p.person("ann", "maintainer")
	p.bob, _ = p.person("bob", "approver")
	return p
}

func (p *protected) as(secret string) *client.Client {
	p.Helper()
	c, err := client.New(p.d.URL(), secret, client.Options{})
	p.ok(err)
	return c
}

func (p *protected) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *protected) person(name, role string) (*client.Client, string) {
	p.Helper()
	ctx := p.Context()
	_, err := p.admin.CreateAccount(ctx, name, "user", "")
	p.ok(err)
	g := client.Grant{Role: role, Project: "*"}
	_, err = p.admin.AddGrant(ctx, name, g)
	p.ok(err)
	token, err := p.admin.CreateToken(ctx, client.NewToken{Name: name, Account: name, Grants: []client.Grant{g}, Expires: time.Now().Add(time.Hour)})
	p.ok(err)
	return p.as(token.Secret), token.Secret
}

// ask makes one request, as a client without a credential or with ann's token.
func (p *protected) ask(signedIn bool, method, path string, headers map[string]string) (int, http.Header, string) {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), method, p.d.URL()+path, nil)
	p.ok(err)
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	if signedIn {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:"+p.token)))
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	p.ok(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	p.ok(err)
	return res.StatusCode, res.Header, string(body)
}

// TestWithheldAtEveryDoor asks for one release through every path and in every
// form that HTTP has, while it is served, in quarantine, served again, and under
// a tombstone.
func TestWithheldAtEveryDoor(t *testing.T) {
	p := startProtected(t)
	ctx := t.Context()
	_, err := p.admin.CreateProject(ctx, client.NewProject{Name: "team/demo", Public: true})
	p.ok(err)
	push := func(version string) client.Release {
		archive := charttest.Build(t, "web", version, map[string]string{"values.yaml": "key: " + version})
		prov := []byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: web\nversion: " + version + "\n\n...\nfiles:\n  web-" + version + ".tgz: " + digest.SHA256(archive) + "\n" +
			"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBAAA0\n-----END PGP SIGNATURE-----\n")
		rec, err := p.ann.Push(ctx, "team/demo", client.Upload{Archive: bytes.NewReader(archive), Size: int64(len(archive)), Provenance: prov})
		p.ok(err)
		return rec.Release
	}
	rel, other := push("1.0.0"), push("1.0.1")
	oci, classic := "/v2/team/demo/web", "/team/demo"
	paths := []struct {
		path    string
		headers map[string]string
		served  int
		// blocked and gone are 403 and 410 where nothing else is said.
		blocked, gone int
	}{
		{path: oci + "/manifests/1.0.0"},
		{path: oci + "/manifests/" + rel.Manifest},
		{path: oci + "/manifests/1.0.0", headers: map[string]string{"If-None-Match": `"` + rel.Manifest + `"`}, served: 304},
		{path: oci + "/blobs/" + rel.Digest},
		{path: oci + "/blobs/" + rel.Digest, headers: map[string]string{"Range": "bytes=0-9"}, served: 206},
		{path: oci + "/blobs/" + rel.Digest, headers: map[string]string{"If-None-Match": `"` + rel.Digest + `"`}, served: 304},
		{path: oci + "/blobs/" + rel.Config},
		{path: oci + "/blobs/" + rel.Provenance},
		{path: oci + "/referrers/" + rel.Manifest},
		{path: classic + "/charts/web-1.0.0.tgz"},
		{path: classic + "/charts/web-1.0.0.tgz", headers: map[string]string{"Range": "bytes=0-9"}, served: 206},
		{path: classic + "/charts/web-1.0.0.tgz", headers: map[string]string{"If-None-Match": `"` + rel.Digest + `"`}, served: 304},
		{path: classic + "/charts/web-1.0.0.tgz", headers: map[string]string{"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, served: 304},
		{path: classic + "/charts/web-1.0.0.tgz.prov"},
		{path: "/api" + classic + "/charts/web/1.0.0"},
		{path: "/api" + classic + "/charts/web/1.0.0/templates"},
		{path: "/api" + classic + "/charts/web/1.0.0/values"},
		// The record of the release stays, its proof too.
		{path: classic + "/charts/web-1.0.0.tgz.tlog-proof", blocked: 200, gone: 200},
		{path: "/api/v1/projects/team/demo/-/charts/web/releases/1.0.0", blocked: 200, gone: 200},
		{path: "/api/v1/projects/team/demo/-/charts/web/releases/1.0.0/proof", blocked: 200, gone: 200},
	}
	lists := []string{classic + "/index.yaml", classic + "/all/index.yaml", oci + "/tags/list", "/api" + classic + "/charts", "/api" + classic + "/charts/web"}
	etags, last := map[string]string{}, 0
	look := func(state string, code int) {
		t.Helper()
		for _, tt := range paths {
			want := code
			switch {
			case code == 200 && tt.served != 0:
				want = tt.served
			case code == 403 && tt.blocked != 0:
				want = tt.blocked
			case code == 410 && tt.gone != 0:
				want = tt.gone
			}
			for _, method := range []string{"GET", "HEAD"} {
				for _, signedIn := range []bool{false, true} {
					status, h, body := p.ask(signedIn, method, tt.path, tt.headers)
					want := want
					if method == "HEAD" && want == 206 {
						want = 200 // RFC 9110 §14.2: a range is of GET alone
					}
					if method == "HEAD" && signedIn && strings.Contains(tt.path, "/blobs/") && want >= 400 {
						want = 404 // a pusher is to come as far as the words
					}
					if status != want {
						t.Errorf("%s: %s %s %v, signed in %v: %d, want %d: %.200s", state, method, tt.path, tt.headers, signedIn, status, want, body)
					}
					if want >= 400 && (strings.Contains(h.Get("Cache-Control"), "max-age") || strings.Contains(h.Get("Cache-Control"), "immutable") || h.Get("Etag") != "") {
						t.Errorf("%s: %s %s may be cached: %v", state, method, tt.path, h)
					}
					if want >= 400 && method == "GET" && (!strings.Contains(body, rel.Digest) || !strings.Contains(body, "malware") && !strings.Contains(body, "secret")) {
						t.Errorf("%s: %s does not say why: %s", state, tt.path, body)
					}
				}
			}
		}
		for _, path := range lists {
			status, h, body := p.ask(false, "GET", path, nil)
			if status != 200 || strings.Contains(body, `"1.0.0"`) != (code == 200) || !strings.Contains(body, `"1.0.1"`) {
				t.Errorf("%s: %s: %d, lists 1.0.0 %v", state, path, status, strings.Contains(body, `"1.0.0"`))
			}
			if strings.HasSuffix(path, "index.yaml") {
				if before := etags[path]; before != "" && code != last {
					if status, _, _ := p.ask(false, "GET", path, map[string]string{"If-None-Match": before}); status != 200 {
						t.Errorf("%s: %s is still %s: %d", state, path, before, status)
					}
				}
				etags[path] = h.Get("Etag")
			}
		}
		last = code
		if status, _, body := p.ask(false, "GET", classic+"/charts/"+other.File, nil); status != 200 {
			t.Errorf("%s: another release: %d %s", state, status, body)
		}
	}
	look("served", 200)
	look("remembered", 200)
	_, err = p.ann.SetQuarantine(ctx, "team/demo", "web", "1.0.0", "malware", "opens a shell")
	p.ok(err)
	look("in quarantine", 403)
	_, err = p.bob.ConfirmQuarantine(ctx, "team/demo", "web", "1.0.0", "")
	p.ok(err)
	look("confirmed", 403)
	_, err = p.bob.LiftQuarantine(ctx, "team/demo", "web", "1.0.0", "")
	p.ok(err)
	look("lifted", 200)
	_, err = p.ann.SetQuarantine(ctx, "team/demo", "web", "1.0.0", "malware", "")
	p.ok(err)
	req, err := p.ann.RequestTombstone(ctx, "team/demo", "web", "1.0.0", "secret", "holds a key")
	p.ok(err)
	_, err = p.bob.ApproveRequest(ctx, req.ID, "")
	p.ok(err)
	look("under a tombstone", 410)
	d, err := p.ann.Release(ctx, "team/demo", "web", "1.0.0")
	p.ok(err)
	if _, _, page := p.ask(false, "GET", "/ui/projects/team/demo/-/charts/web/1.0.0", nil); strings.Contains(page, "key: 1.0.0") {
		t.Error("the page of the release shows its files")
	}
	if d.State != "tombstoned" || d.Tombstone == nil || d.Quarantine != nil || d.Tombstone.RequesterName != "ann" || d.Tombstone.ApproverName != "bob" {
		t.Errorf("shown %+v", d.Release)
	}
}
