package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// gauges reads the state that alerts are about when metrics are asked for. What
// cannot be read is left out, so that a rule on its absence fires.
type gauges struct {
	store interface {
		watch.Routes
		watch.Alerts
		Upstreams(ctx context.Context) ([]watch.Upstream, error)
	}
	log *slog.Logger

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
}

// gaugesFor is how long an answer is kept: whoever scrapes every second costs
// no more than whoever scrapes four times a minute.
const gaugesFor = 15 * time.Second

var (
	openAlerts     = prometheus.NewDesc("chartkeep_alerts_open", "Alerts that may go on, by event.", []string{"event", "severity"}, nil)
	deliveries     = prometheus.NewDesc("chartkeep_deliveries", "Messages to routes that wait, or that were given up.", []string{"route", "state"}, nil)
	sourcesFailing = prometheus.NewDesc("chartkeep_sources_failing", "Sources of upstreams whose last poll failed.", []string{"upstream"}, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- openAlerts
	ch <- deliveries
	ch <- sourcesFailing
}

// Collect implements prometheus.Collector. Cost: all routes, upstreams and open
// alerts.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) > gaugesFor {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		g.last, g.at = nil, time.Now()
		for _, read := range []func(context.Context) error{g.readAlerts, g.readRoutes, g.readSources} {
			if err := read(ctx); err != nil {
				g.log.WarnContext(ctx, "read metrics", "error", err)
			}
		}
	}
	for _, m := range g.last {
		ch <- m
	}
}

func (g *gauges) set(desc *prometheus.Desc, value float64, labels ...string) {
	g.last = append(g.last, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...))
}

func (g *gauges) readAlerts(ctx context.Context) error {
	list, err := g.store.ListAlerts(ctx, true, 1000)
	if err != nil {
		return err
	}
	open := map[audit.Name]int{}
	for _, a := range list {
		open[a.Event]++
	}
	for _, d := range audit.Names() {
		if d.Alerts {
			g.set(openAlerts, float64(open[d.Name]), string(d.Name), string(d.Severity))
		}
	}
	return nil
}

func (g *gauges) readRoutes(ctx context.Context) error {
	list, err := g.store.Routes(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		g.set(deliveries, float64(r.Health.Waiting), r.Name, watch.DeliveryWaiting)
		g.set(deliveries, float64(r.Health.Failed), r.Name, watch.DeliveryFailed)
	}
	return nil
}

func (g *gauges) readSources(ctx context.Context) error {
	list, err := g.store.Upstreams(ctx)
	if err != nil {
		return err
	}
	for _, u := range list {
		failing := 0
		for _, s := range u.Sources {
			if s.Health.Failures > 0 {
				failing++
			}
		}
		g.set(sourcesFailing, float64(failing), u.Name)
	}
	return nil
}
