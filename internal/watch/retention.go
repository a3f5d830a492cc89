package watch

import (
	"context"
	"errors"
	"time"
)

// How long is kept what happened, and what became of telling it.
const (
	eventsFor     = 400 * 24 * time.Hour // default
	deliveriesFor = 90 * 24 * time.Hour
	pruneBatch    = 500
	pruneBatches  = 20 // in one call
)

// An event that says how something is, and not only what happened, is open
// until that ends: then nobody has to remember it.
var (
	openWhileWatched = []EventKind{
		FirstRead, FeedContradicts, Moved, Archived, Deprecated, GoneQuiet, MirrorRefused, ProvenanceMismatch,
	}
	openUntilRecovered = []EventKind{IndexInvalid, IndexShrunk, Unreachable, CredentialFault}
	openWhileDeployed  = []EventKind{UnknownChart, UnreleasedBytes, DeploymentSeen, AdvisoryOpened, DeadlinePassed}
)

// Prune forgets events that are older than Config.EventsFor and deliveries
// older than 90 days, in transactions of 500 rows and 10,000 in a call. What
// stays all the same:
//
//   - events with a leaf in the log, which they explain;
//   - events that a waiting delivery, or one of the last 90 days, is of, and
//     those that were not relayed yet;
//   - what is open: that an upstream which is still watched is unreachable, moved,
//     archived, quiet, cannot be read or mirrored, unless something of it
//     recovered since; and what a deployment runs that is still there.
//
// The key of a pruned event stays, so that a condition that lasts is not told
// of again as news. Cost: what is pruned, and for each 500 of it those that are
// old and stay without a leaf.
func (s *Service) Prune(ctx context.Context) error {
	now := s.now()
	p := Pruning{
		Events: now.Add(-s.eventsFor), Deliveries: now.Add(-deliveriesFor), WhileWatched: openWhileWatched, UntilRecovered: openUntilRecovered, WhileDeployed: openWhileDeployed, Limit: pruneBatch,
	}
	events, deliveries := 0, 0
	for range pruneBatches {
		e, d, err := s.store.Prune(ctx, p)
		if err != nil {
			return err
		}
		events, deliveries = events+e, deliveries+d
		if e < p.Limit && d < p.Limit {
			break
		}
	}
	if events+deliveries > 0 {
		s.log.InfoContext(ctx, "old events are forgotten", "events", events, "deliveries", deliveries)
	}
	return nil
}

// Tell records events that other rooms of this server raise: each once by its
// Key, and relayed to routes like all others. A zero Time is now. It asks for no
// right. In an error nothing of the last 2,000 is recorded; it can be repeated.
func (s *Service) Tell(ctx context.Context, events []Event) error {
	now := s.now()
	for len(events) > 0 {
		n := min(len(events), maxPiece)
		piece := make([]Event, n)
		for i, e := range events[:n] {
			if e.Key == "" || e.Kind == "" || e.Severity.Rank() < 0 {
				return errors.New("tell events: one has no key, kind or severity")
			}
			if e.Time.IsZero() {
				e.Time = now
			}
			piece[i] = e
		}
		fresh, err := s.store.RecordEvents(ctx, piece, now)
		if err != nil {
			return err
		}
		for i := range fresh {
			e := &fresh[i]
			s.log.InfoContext(ctx, "event", "event", e.Kind, "severity", e.Severity, "upstream", e.Upstream, "chart", e.Chart, "version", e.Version, "deployment", e.Deployment, "id", e.ID)
		}
		events = events[n:]
	}
	return nil
}
