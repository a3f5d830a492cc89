package upgrade

import (
	"context"
	"log/slog"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/manifest"
)

// Config is what a Service is made of.
type Config struct {
	Store    Store
	Watch    Watch
	Registry Registry
	Mirrors  Mirrors
	Desk     Desk            // nil makes no tickets
	Base     string          // URL of this server's pages, for tickets and calendars; "" unknown
	Feeds    advisory.Limits // of feeds
	Render   manifest.Limits // of charts of strangers
	Log      *slog.Logger
	Now      func() time.Time // nil is time.Now
}

// Service is the judgement. Its methods may be called concurrently.
type Service struct {
	store    Store
	watch    Watch
	registry Registry
	mirrors  Mirrors
	desk     Desk
	base     string
	feeds    advisory.Limits
	render   manifest.Limits
	log      *slog.Logger
	now      func() time.Time

	wake      [duties]chan struct{} // something became due in this process, by duty
	mind      mind
	templates manifest.Templates
	shelf     shelf
	lists     lists
	looked    looked
	told      told
}

// New makes a service. It does nothing by itself: see Work.
func New(cfg Config) *Service {
	s := &Service{
		store: cfg.Store, watch: cfg.Watch, registry: cfg.Registry, mirrors: cfg.Mirrors, desk: cfg.Desk, base: cfg.Base,
		feeds: cfg.Feeds, render: cfg.Render, log: cfg.Log, now: cfg.Now,
	}
	for i := range s.wake {
		s.wake[i] = make(chan struct{}, 1)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// may asks for a right over everything that is watched: deployments belong to
// no project, so only a grant on all projects gives it.
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
	for _, wake := range s.wake {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}
