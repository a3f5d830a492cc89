package monitor

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Service follows logs until it is stopped.
type Service struct {
	Monitors []*Monitor
	Sinks    []Sink
	Interval time.Duration // between rounds; a tenth is added or taken away
	Log      *slog.Logger
	// Told is called with every report, by one goroutine for each log; nil is
	// nobody.
	Told func(Report)

	mu      sync.Mutex
	reports map[string]*told
}

// told is what is known of a log from outside its goroutine.
type told struct {
	report Report
	rounds map[bool]int64 // by whether the log was read to its end
	failed map[string]int64
}

// maxPause bounds the pause after rounds that failed.
const maxPause = 15 * time.Minute

// Run follows every log until ctx ends. The error is that of a folder which
// cannot be written to: to go on would be to forget.
func (s *Service) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	for _, m := range s.Monitors {
		running.Go(func() {
			if err := s.follow(ctx, m); err != nil {
				stop(err)
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil && err != context.Canceled {
		return err
	}
	return nil
}

func (s *Service) follow(ctx context.Context, m *Monitor) error {
	failures := 0
	for {
		r, err := m.Round(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		undelivered, err := m.Deliver(ctx, s.Sinks)
		if err != nil && ctx.Err() == nil {
			return err
		}
		r.Waiting = m.Waiting()
		failures++
		if r.Good.Equal(r.Time) {
			failures = 0
		}
		s.note(&r, undelivered)
		timer := time.NewTimer(s.pause(m.Rand, failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// pause is how long to wait until the next round: the interval, doubled with
// every failure up to a limit, with a tenth of jitter so that many monitors do
// not ask at once.
func (s *Service) pause(rng *rand.Rand, failures int) time.Duration {
	d := s.Interval
	for range failures {
		if d *= 2; d > maxPause {
			d = max(maxPause, s.Interval)
			break
		}
	}
	return d + time.Duration((rng.Float64()*2-1)*float64(d)/10)
}

// note keeps a report for whoever asks, and logs what changed.
func (s *Service) note(r *Report, undelivered map[string]error) {
	s.mu.Lock()
	if s.reports == nil {
		s.reports = map[string]*told{}
	}
	t := s.reports[r.Log]
	if t == nil {
		t = &told{rounds: map[bool]int64{}, failed: map[string]int64{}}
		s.reports[r.Log] = t
	}
	before := t.report.Unchecked
	t.report = *r
	t.rounds[r.Good.Equal(r.Time)]++
	for name := range undelivered {
		t.failed[name]++
	}
	s.mu.Unlock()
	if s.Log != nil {
		if r.Leaves > 0 || r.Archives > 0 {
			s.Log.Info("looked", "log", r.Log, "size", r.Size, "new", r.Leaves, "archives", r.Archives, "findings", len(r.Findings))
		}
		for _, u := range r.Unchecked {
			if !slices.Contains(before, u) {
				s.Log.Warn("could not check", "log", r.Log, "what", u)
			}
		}
		for name, err := range undelivered {
			s.Log.Warn("could not tell", "log", r.Log, "sink", name, "reason", messageOf(err))
		}
	}
	if s.Told != nil {
		s.Told(*r)
	}
}

// Handler serves /metrics, and /healthz: 200 while every log was read to its
// end within BlindAfter, else 503 with the names of the others.
func (s *Service) Handler(now func() time.Time) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s, now})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		blind := s.blind(now())
		if len(blind) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		for _, name := range blind {
			_, _ = w.Write([]byte("not read to its end: " + name + "\n"))
		}
		if len(blind) == 0 {
			_, _ = w.Write([]byte("ok\n"))
		}
	})
	return mux
}

// blind lists the logs that were not read to their end lately.
func (s *Service) blind(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, m := range s.Monitors {
		t := s.reports[m.origin]
		if t == nil || now.Sub(t.report.Good) > m.BlindAfter {
			out = append(out, m.origin)
		}
	}
	return out
}

// collector makes the metrics when they are asked for.
type collector struct {
	s   *Service
	now func() time.Time
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("chartkeep_monitor_"+name, help, append([]string{"log"}, labels...), nil)
}

var (
	descSize     = desc("log_leaves", "Leaves of the log that were believed and replayed.")
	descReleases = desc("log_releases", "Releases that the leaves made.")
	descGood     = desc("last_read_timestamp_seconds", "When the log was last read to its end; 0 for never.")
	descLogTime  = desc("log_time_seconds", "The newest time that a leaf states.")
	descRounds   = desc("rounds_total", "Rounds, by whether the log was read to its end.", "read")
	descFindings = desc("findings", "Findings that are not over and that nobody accepted.", "rule", "severity")
	descUnknown  = desc("leaves_unknown", "Leaves whose type is not known to this version.")
	descBacklog  = desc("archives_waiting", "Leaves whose archives were not looked at yet.")
	descWaiting  = desc("findings_waiting", "Findings that wait to be told.")
	descFailed   = desc("deliveries_failed_total", "Deliveries that a sink did not take.", "sink")
	descUncheck  = desc("unchecked", "What could not be checked in the last round.")
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSize, descReleases, descGood, descLogTime, descRounds, descFindings, descUnknown, descBacklog, descWaiting, descFailed, descUncheck} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for name, t := range c.s.reports {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
		}
		count := func(d *prometheus.Desc, v int64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{name}, labels...)...)
		}
		r := &t.report
		gauge(descSize, float64(r.Size))
		gauge(descReleases, float64(r.Releases))
		gauge(descGood, seconds(r.Good))
		gauge(descLogTime, seconds(r.LogTime))
		gauge(descUnknown, float64(r.Unknown))
		gauge(descBacklog, float64(r.Backlog))
		gauge(descWaiting, float64(r.Waiting))
		gauge(descUncheck, float64(len(r.Unchecked)))
		count(descRounds, t.rounds[true], "true")
		count(descRounds, t.rounds[false], "false")
		for sink, n := range t.failed {
			count(descFailed, n, sink)
		}
		open := map[[2]string]int{}
		for _, f := range r.Findings {
			if !f.Accepted {
				open[[2]string{f.Rule, string(f.Severity)}]++
			}
		}
		for k, n := range open {
			gauge(descFindings, float64(n), k[0], k[1])
		}
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
