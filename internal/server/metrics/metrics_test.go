package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

var _ server.Recorder = (*Metrics)(nil)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := New()
	open := m.Begin(audit.DoorOCI)
	m.Begin(audit.DoorOCI)("PUT", 201, 3*time.Millisecond)
	m.Begin(audit.DoorOCI)("BREW", 418, time.Millisecond)
	m.Refused(audit.DoorOCI, problem.Immutable, "overwrite")
	m.Refused(audit.DoorOCI, problem.Immutable, "overwrite")
	m.AuthFailed(audit.DoorAPI)
	m.Registerer().MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "chartkeep_claims_total", Help: "x"}))
	text := scrape(t, m)
	for _, line := range []string{
		`chartkeep_http_requests_total{code="2xx",door="oci",method="PUT"} 1`,
		`chartkeep_http_requests_total{code="4xx",door="oci",method="other"} 1`,
		`chartkeep_http_request_duration_seconds_bucket{door="oci",le="0.005"} 2`,
		`chartkeep_http_requests_in_flight{door="oci"} 1`,
		`chartkeep_refusals_total{door="oci",kind="immutable",rule="overwrite"} 2`,
		`chartkeep_auth_failures_total{door="api"} 1`,
		`chartkeep_claims_total 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if !strings.Contains(text, "go_goroutines ") {
		t.Error("the runtime's metrics are missing")
	}
	open("GET", 200, 0)
	if !strings.Contains(scrape(t, m), `chartkeep_http_requests_in_flight{door="oci"} 0`) {
		t.Error("the request that ended is still in flight")
	}
}

func TestTwoInOneProcess(t *testing.T) {
	a, b := New(), New()
	a.AuthFailed(audit.DoorOCI)
	if strings.Contains(scrape(t, b), "chartkeep_auth_failures_total{") {
		t.Error("two registries share their counts")
	}
}

func TestClass(t *testing.T) {
	for status, want := range map[int]string{101: "1xx", 200: "2xx", 204: "2xx", 304: "3xx", 404: "4xx", 499: "4xx", 500: "5xx", 503: "5xx"} {
		if got := class(status); got != want {
			t.Errorf("class(%d) = %s, want %s", status, got, want)
		}
	}
}
