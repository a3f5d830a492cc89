package source_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/source"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// ownServer runs a whole server with a private project, in this process.
func ownServer(t *testing.T, archives map[string][]byte) (url, password string) {
	t.Helper()
	cfg := daemon.Default()
	cfg.Data, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	d, err := daemon.Open(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		d.Close()
	})
	b, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	password = strings.TrimSpace(string(b))
	admin, err := client.New(d.URL(), password, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateProject(t.Context(), client.NewProject{Name: "platform"}); err != nil {
		t.Fatal(err)
	}
	for _, a := range archives {
		if _, err := admin.Push(t.Context(), "platform", client.Upload{Archive: bytes.NewReader(a), Size: int64(len(a))}); err != nil {
			t.Fatal(err)
		}
	}
	return d.URL(), password
}

// Our own registry, as an OCI registry with its token flow and as a chart
// repository.
func TestOwnRegistry(t *testing.T) {
	archives := map[string][]byte{}
	for _, version := range []string{"1.0.0", "1.1.0+build.7", "2.0.0-rc.1"} {
		archives[version] = charttest.Build(t, "web", version, nil)
	}
	url, password := ownServer(t, archives)
	host := strings.TrimPrefix(url, "http://")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"password": password + "\n",
		"c.yaml":   "credentials: {own: {host: '" + host + "', username: bot, password_file: password}}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	creds, err := remote.LoadCredentials(filepath.Join(dir, "c.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out := remote.New(remote.Config{Credentials: creds, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	defer out.Close()
	s := source.New(out, source.Config{})
	for _, src := range []watch.Source{
		{Kind: watch.SourceOCI, URL: "oci://" + host + "/platform/web", Credential: "own"},
		{Kind: watch.SourceIndex, URL: url + "/platform", Credential: "own"},
	} {
		bare := src
		bare.Credential = ""
		_, err := s.Poll(t.Context(), bare, watch.Validators{})
		if k := problem.KindOf(err); k != problem.Denied && k != problem.NotFound {
			t.Errorf("%s: a private project without a credential: %v", src.Kind, err)
		}
		f, err := s.Poll(t.Context(), src, watch.Validators{})
		if err != nil {
			t.Fatal(err)
		}
		if f.Index.Len() != len(archives) || len(f.Index.Charts) != 1 || f.Index.Charts[0].Name != "web" {
			t.Fatalf("%s: %+v", src.Kind, f.Index)
		}
		for _, v := range f.Index.Charts[0].Versions {
			if "sha256:"+v.Digest != digest.SHA256(archives[v.Version]) {
				t.Errorf("%s: %+v", src.Kind, v)
			}
			rc, err := s.Archive(t.Context(), src, v.URLs[0], watch.Validators{})
			if err != nil {
				t.Fatalf("%s: %v", v.URLs[0], err)
			}
			b, err := io.ReadAll(rc)
			rc.Close()
			if err != nil || !bytes.Equal(b, archives[v.Version]) {
				t.Errorf("%s: %d bytes, %v", v.URLs[0], len(b), err)
			}
		}
		if again, err := s.Poll(t.Context(), src, f.Validators); err != nil || !again.Unchanged {
			t.Errorf("%s again: %+v %v", src.Kind, again, err)
		}
	}
}
