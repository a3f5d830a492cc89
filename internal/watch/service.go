package watch

import (
	"context"
	"log/slog"
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
}

// New makes a service. It does nothing by itself: see Work.
func New(cfg Config) *Service {
	s := &Service{
		store: cfg.Store, sources: cfg.Sources, registry: cfg.Registry, sender: cfg.Sender, limits: cfg.Limits, base: cfg.Base,
		log: cfg.Log, now: cfg.Now, wake: make(chan struct{}, 1),
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
