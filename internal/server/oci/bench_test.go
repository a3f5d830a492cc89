package oci

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// nowhere is a ResponseWriter that keeps nothing but the status.
type nowhere struct {
	h      http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

// BenchmarkPull is what the door itself costs for a pull: one manifest by tag
// and one blob, with the registry's and the network's part taken away.
func BenchmarkPull(b *testing.B) {
	s := newSite(b)
	_, _ = s.image("public/web", "1.0.0", "layer")
	door := New(s.fake)
	manifest := httptest.NewRequest(http.MethodGet, "/v2/public/web/manifests/1.0.0", nil)
	blob := httptest.NewRequest(http.MethodGet, "/v2/public/web/blobs/"+digestOf("", []byte("layer")), nil)
	w := &nowhere{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range []*http.Request{manifest, blob} {
			clear(w.h)
			if err := door.Serve(w, r); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPullHTTP is the same over connections on the loopback, client
// included.
func BenchmarkPullHTTP(b *testing.B) {
	s := newSite(b)
	_, _ = s.image("public/web", "1.0.0", "layer")
	paths := []string{"/v2/public/web/manifests/1.0.0", "/v2/public/web/blobs/" + digestOf("", []byte("layer"))}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for _, path := range paths {
				if a := s.do(http.MethodGet, path, nil); a.StatusCode != http.StatusOK {
					b.Errorf("status %d", a.StatusCode)
				}
			}
		}
	})
}
