package watch

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
)

// Config is what a Service is made of.
type Config struct {
	Store    Store
	Sources  Sources
	Registry Registry
	Sender   Sender       // nil delivers nothing
	Base     string       // URL of our own registry, as deployments name it; "" unknown
	Limits   chart.Limits // of archives from upstreams
	Log      *slog.Logger
	Now      func() time.Time // nil is time.Now

	// OpenAdvisories says what is known of the advisories on what a version
	// runs, in one line, and whether any is open. nil, and "": not known.
	OpenAdvisories func(ctx context.Context, upstream, chart, version string) (text string, open bool)
	// Reviewed says whether an archive of a chart was reviewed and signed off.
	// nil: this server keeps no reviews, and a mirror that takes only what was
	// reviewed takes nothing.
	Reviewed func(ctx context.Context, chart, archiveDigest string) (bool, error)
	// EventsFor is how long events are kept that nothing holds; 0 is 400 days.
	EventsFor time.Duration
}

// Service is the watch. Its methods may be called concurrently.
type Service struct {
	store    Store
	sources  Sources
	registry Registry
	sender   Sender
	limits   chart.Limits
	log      *slog.Logger
	now      func() time.Time
	base     string

	shelf    shelf
	wake     chan struct{} // something became due in this process
	rest     rests
	deployed running
	pulls    pulls
	paced    paced
	awake    awake
	polling  sync.Map     // ids of sources that this process polls now
	declared atomic.Int64 // how often this process took what people declare of deployments

	openAdvisories func(ctx context.Context, upstream, chart, version string) (string, bool)
	reviewed       func(ctx context.Context, chart, archiveDigest string) (bool, error)
	eventsFor      time.Duration
}

// New makes a service. It does nothing by itself: see Work.
func New(cfg Config) *Service {
	s := &Service{
		store: cfg.Store, sources: cfg.Sources, registry: cfg.Registry, sender: cfg.Sender, limits: cfg.Limits, base: cfg.Base,
		log: cfg.Log, now: cfg.Now, wake: make(chan struct{}, 1),
		openAdvisories: cfg.OpenAdvisories, reviewed: cfg.Reviewed, eventsFor: cmp.Or(cfg.EventsFor, eventsFor),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// may asks for a right over everything that is watched. Upstreams and
// deployments belong to no project, so only a grant on all projects gives it.
func (s *Service) may(ctx context.Context, c audit.Caller, action access.Action) error {
	return s.registry.AllowInstance(ctx, c, action)
}

// event begins an audit event for what a caller does.
func (s *Service) event(c audit.Caller, name audit.Name, action access.Action) audit.Event {
	a := audit.ActorOf(c.Principal)
	if of := c.Principal.Of; of != nil {
		a.ID, a.Name = of.ID, of.Name
	}
	return audit.Event{
		Time: s.now(), Name: name, Action: action, Actor: a, Source: c.Source, RequestID: c.RequestID, Door: c.Door,
		Outcome: audit.Outcome{Result: audit.Allowed},
	}
}

// nudge tells Work that something may be due.
func (s *Service) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
