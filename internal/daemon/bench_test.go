package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// benchServer is a server without its listener: requests go to its handler, so
// that a profile shows the server alone.
func benchServer(b *testing.B) (handle func(method, path string, body []byte, header ...string) *httptest.ResponseRecorder) {
	b.Helper()
	cfg := Default()
	cfg.Data, cfg.Listen, cfg.LogLevel = filepath.Join(b.TempDir(), "data"), "127.0.0.1:0", "warn"
	d, err := Open(b.Context(), cfg, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		<-done
		d.Close()
	})
	token, err := os.ReadFile(d.folder.file(fileToken))
	if err != nil {
		b.Fatal(err)
	}
	handle = func(method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, path, bytes.NewReader(body))
		req.SetBasicAuth("bench", strings.TrimSpace(string(token)))
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, req)
		return w
	}
	if w := handle("POST", "/api/v1/projects", []byte(`{"name":"bench"}`), "Content-Type", "application/json"); w.Code != 201 {
		b.Fatal(w.Code, w.Body)
	}
	return handle
}

// benchChart is a chart of about 20 KB, whose bytes differ with n.
func benchChart(b *testing.B, name, version string) []byte {
	var noise strings.Builder
	for i := range 400 {
		fmt.Fprintf(&noise, "key%d: %x\n", i, uint32(i)*2654435761^uint32(len(version)*7919))
	}
	return charttest.Build(b, name, version, map[string]string{
		"README.md": noise.String(), "templates/deployment.yaml": strings.Repeat("# a line that compresses well\n", 500),
	})
}

func BenchmarkClassicPush(b *testing.B) {
	for _, publishers := range []int{1, 16} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			handle := benchServer(b)
			charts := make([][]byte, b.N)
			for i := range charts {
				charts[i] = benchChart(b, fmt.Sprintf("chart%d", i%50), fmt.Sprintf("1.0.%d", i))
			}
			var next atomic.Int64
			b.ResetTimer()
			b.SetParallelism(max(1, publishers/2))
			one := func() {
				i := next.Add(1) - 1
				if w := handle("POST", "/api/bench/charts", charts[i]); w.Code != http.StatusCreated {
					b.Error(w.Code, w.Body)
				}
			}
			if publishers == 1 {
				for range b.N {
					one()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	handle := benchServer(b)
	for i := range 200 {
		if w := handle("POST", "/api/bench/charts", benchChart(b, fmt.Sprintf("chart%d", i%10), fmt.Sprintf("1.0.%d", i))); w.Code != 201 {
			b.Fatal(w.Code, w.Body)
		}
	}
	etag := handle("GET", "/bench/index.yaml", nil, "Accept-Encoding", "gzip").Header().Get("Etag")
	manifest := handle("GET", "/v2/bench/chart1/manifests/1.0.1", nil)
	_, rest, _ := strings.Cut(manifest.Body.String(), `content.v1.tar+gzip","digest":"`)
	layer := rest[:71]
	for _, c := range []struct {
		name, path string
		header     []string
		code       int
	}{
		{"archive", "/bench/charts/chart1-1.0.1.tgz", nil, 200},
		{"manifest", "/v2/bench/chart1/manifests/1.0.1", nil, 200},
		{"blob", "/v2/bench/chart1/blobs/" + layer, nil, 200},
		{"index", "/bench/index.yaml", []string{"Accept-Encoding", "gzip"}, 200},
		{"revalidate", "/bench/index.yaml", []string{"Accept-Encoding", "gzip", "If-None-Match", etag}, 304},
		{"proof", "/bench/charts/chart1-1.0.1.tgz.tlog-proof", nil, 200},
		{"checkpoint", "/log/checkpoint", nil, 200},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if w := handle("GET", c.path, nil, c.header...); w.Code != c.code {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
