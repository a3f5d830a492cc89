package source

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// BenchmarkIndex polls an index of 100,000 versions: with validators, without
// any, and when it changed.
func BenchmarkIndex(b *testing.B) {
	var text strings.Builder
	text.WriteString("apiVersion: v1\nentries:\n")
	for c := range 100 {
		fmt.Fprintf(&text, "  chart-%d:\n", c)
		for v := range 1000 {
			fmt.Fprintf(&text, "  - apiVersion: v2\n    appVersion: 1.0.%d\n    created: \"2026-01-02T03:04:05.123456789Z\"\n    description: A chart that does what charts do\n    digest: a%063x\n    name: chart-%d\n    type: application\n    urls:\n    - chart-%[3]d-1.0.%[1]d.tgz\n    version: 1.0.%[1]d\n", v, c*1000+v, c)
		}
	}
	body := []byte(text.String())
	etag := true
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if etag {
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		_, _ = w.Write(body)
	}))
	defer h.Close()
	client := remote.New(remote.Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	defer client.Close()
	s := New(client, Config{})
	src := watch.Source{Kind: watch.SourceIndex, URL: h.URL}
	known, err := s.Poll(b.Context(), src, watch.Validators{})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, v watch.Validators, unchanged, tagged bool) {
		b.Run(name, func(b *testing.B) {
			etag = tagged
			b.ReportAllocs()
			for b.Loop() {
				f, err := s.Poll(b.Context(), src, v)
				if err != nil || f.Unchanged != unchanged {
					b.Fatal(f.Unchanged, err)
				}
			}
		})
	}
	run("304", known.Validators, true, true)
	run("hash", watch.Validators{Digest: known.Validators.Digest}, true, false)
	run("changed", watch.Validators{}, false, false)
}
