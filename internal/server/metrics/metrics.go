// Package metrics measures requests for Prometheus.
//
// It has a registry of its own: nothing is global, and a process can have two.
// Other parts add their collectors through Registerer. The names of the
// metrics are an interface to operators; docs and alert rules rely on them:
//
//	chartkeep_http_requests_total{door,method,code}   code is 2xx, 3xx, 4xx or 5xx
//	chartkeep_http_request_duration_seconds{door}     until the last byte was written
//	chartkeep_http_requests_in_flight{door}
//	chartkeep_refusals_total{door,kind,rule}          writes that were refused, such as overwrites
//	chartkeep_auth_failures_total{door}
//
// door is empty for probes, scrapes and paths that no door has. All labels
// come from closed lists, so that clients cannot add series.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Metrics is a server.Recorder. Its methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	refusals *prometheus.CounterVec
	failures *prometheus.CounterVec
}

// New makes a registry with the metrics of requests, of the process and of the
// Go runtime.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chartkeep_http_requests_total",
			Help: "Requests by door, method and class of status.",
		}, []string{"door", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chartkeep_http_request_duration_seconds",
			Help:    "Time from the header of a request to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"door"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "chartkeep_http_requests_in_flight",
			Help: "Requests that are being served.",
		}, []string{"door"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chartkeep_refusals_total",
			Help: "Writes that were refused, by kind of problem and rule.",
		}, []string{"door", "kind", "rule"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chartkeep_auth_failures_total",
			Help: "Wrong credentials by door.",
		}, []string{"door"}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.inFlight, m.refusals, m.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registerer is where other parts add their collectors.
func (m *Metrics) Registerer() prometheus.Registerer { return m.registry }

// Handler serves the text form. A collector that fails is left out of the
// answer, so that one broken part does not blind the operator.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}

// Begin counts a request in, the function counts it out.
func (m *Metrics) Begin(door audit.Door) func(method string, status int, took time.Duration) {
	g := m.inFlight.WithLabelValues(string(door))
	g.Inc()
	return func(method string, status int, took time.Duration) {
		g.Dec()
		m.requests.WithLabelValues(string(door), knownMethod(method), class(status)).Inc()
		m.duration.WithLabelValues(string(door)).Observe(took.Seconds())
	}
}

// Refused counts a refused write.
func (m *Metrics) Refused(door audit.Door, kind problem.Kind, rule string) {
	m.refusals.WithLabelValues(string(door), string(kind), rule).Inc()
}

// AuthFailed counts a wrong credential.
func (m *Metrics) AuthFailed(door audit.Door) { m.failures.WithLabelValues(string(door)).Inc() }

func class(status int) string {
	switch {
	case status < 200:
		return "1xx"
	case status < 300:
		return "2xx"
	case status < 400:
		return "3xx"
	case status < 500:
		return "4xx"
	}
	return "5xx"
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
