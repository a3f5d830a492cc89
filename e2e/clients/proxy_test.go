package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// authority makes a certificate for 127.0.0.1, signed by a test CA, and
// returns the files of CA, certificate and key.
func authority(t *testing.T, dir string) (ca, cert, key string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, root, root, &caKey.PublicKey, caKey)
	must(err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	must(err)
	return put("ca.pem", "CERTIFICATE", caDER), put("cert.pem", "CERTIFICATE", leafDER), put("key.pem", "PRIVATE KEY", keyDER)
}

// TestTLS: the same clients over TLS, with a CA of one's own.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := authority(t, dir)
	pool := x509.NewCertPool()
	b, err := os.ReadFile(ca)
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatalf("read the CA: %v", err)
	}
	opt := daemontest.Options{
		Flags: []string{"--tls-cert", cert, "--tls-key", key},
		HTTP:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}},
	}
	each(t, opt, func(t *testing.T, s *site, sh *shell, helm string) {
		s.project(client.NewProject{Name: "tls"})
		archive := charttest.Build(t, "app", "1.0.0", nil)
		file := sh.write("app-1.0.0.tgz", archive)
		sh.fail([]string{"certificate"}, helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin)
		sh.do(helm, "registry", "login", s.Addr, "-u", "ci", "-p", s.Admin, "--ca-file", ca)
		sh.do(helm, "push", file, "oci://"+s.Addr+"/tls", "--ca-file", ca)
		sh.read("app-1.0.0.tgz")
		sh.do(helm, "pull", "oci://"+s.Addr+"/tls/app", "--version", "1.0.0", "--ca-file", ca)
		want(t, "OCI", sh.read("app-1.0.0.tgz"), archive)
		sh.fail([]string{"certificate"}, helm, "repo", "add", "tls", s.URL+"/tls", "--username", "x", "--password", s.Admin)
		sh.do(helm, "repo", "add", "tls", s.URL+"/tls", "--username", "x", "--password", s.Admin, "--ca-file", ca)
		sh.do(helm, "pull", "tls/app")
		want(t, "repository", sh.read("app-1.0.0.tgz"), archive)
		sh.source("app", "1.1.0")
		sh.do("helm-cm-push", "app", s.URL+"/tls", "--username", "x", "--password", s.Admin, "--ca-file", ca)
		sh.do("oras", "repo", "tags", s.Addr+"/tls/app", "-u", "x", "-p", s.Admin, "--ca-file", ca)
	})
}

// TestContextPath puts the server below a path of a reverse proxy: one that
// strips the path and says so, and one that leaves it to the server.
func TestContextPath(t *testing.T) {
	proxy := func(t *testing.T, strip bool, target func() string) *httptest.Server {
		p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			u, err := url.Parse(target())
			if err != nil {
				t.Error(err)
				return
			}
			r.SetURL(u)
			r.Out.Host = r.In.Host
			if rest, below := strings.CutPrefix(r.In.URL.Path, "/charts-host"); below && strip {
				r.Out.URL.Path, r.Out.URL.RawPath = rest, ""
				r.Out.Header.Set("X-Forwarded-Prefix", "/charts-host")
			}
			r.SetXForwarded()
		}}
		front := httptest.NewServer(p)
		t.Cleanup(front.Close)
		return front
	}
	for _, way := range []string{"forwarded", "external URL"} {
		t.Run(way, func(t *testing.T) {
			target := ""
			front := proxy(t, way == "forwarded", func() string { return target })
			opt := daemontest.Options{Flags: []string{"--trusted-proxy", "127.0.0.1/32"}}
			if way == "external URL" {
				opt.Flags = append(opt.Flags, "--external-url", front.URL+"/charts-host")
			}
			each(t, opt, func(t *testing.T, s *site, sh *shell, helm string) {
				target = s.URL
				s.project(client.NewProject{Name: "team-a/web"})
				archive := charttest.Build(t, "app", "1.0.0", nil)
				s.push("team-a/web", archive)
				repo := front.URL + "/charts-host/team-a/web"
				sh.do(helm, "repo", "add", "web", repo, "--username", "x", "--password", s.Admin)
				sh.do(helm, "pull", "web/app")
				want(t, "repository", sh.read("app-1.0.0.tgz"), archive)
				// The plugin finds the context path in the index.
				sh.source("app", "1.1.0")
				if out := sh.do("helm-cm-push", "app", repo, "--username", "x", "--password", s.Admin); !strings.Contains(out, "Done.") {
					t.Errorf("cm-push: %s", out)
				}
				sh.do(helm, "repo", "update", "web")
				sh.do(helm, "pull", "web/app", "--version", "1.1.0")
				sh.read("app-1.1.0.tgz")
				// OCI clients want /v2/ at the root, and find it there.
				host := strings.TrimPrefix(front.URL, "http://")
				sh.do(helm, "registry", "login", host, "-u", "x", "-p", s.Admin, "--plain-http")
				sh.do(helm, "pull", "oci://"+host+"/team-a/web/app", "--version", "1.0.0", "--plain-http")
				want(t, "OCI", sh.read("app-1.0.0.tgz"), archive)
				sh.do(helm, "push", sh.write("app-1.2.0.tgz", charttest.Build(t, "app", "1.2.0", nil)), "oci://"+host+"/team-a/web", "--plain-http")
			})
		})
	}
}
