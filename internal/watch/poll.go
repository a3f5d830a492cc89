package watch

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// How polls run. A lease outlives its poll, and asking and fetching end before
// it does, so that what was found is written though the upstream is slow.
const (
	concurrentPolls = 16
	pollTime        = 8 * time.Minute
	askTime         = 4 * time.Minute // of it, for what the source lists or says
	fetchTime       = 3 * time.Minute // and for archives
	pollHold        = 10 * time.Minute
	writeTime       = time.Minute
	lookEvery       = 10 * time.Second // for what became due
	maxPause        = 24 * time.Hour   // between two polls of a source that fails
	maxPiece        = 2000             // versions or notes that one transaction writes
)

// A source is called unreachable after so many failures in a row, and so long
// after its last success.
const (
	unreachableAfter = 3
	unreachableFor   = time.Hour
)

// Work polls what is due until ctx ends. At most 16 polls run at a time in this
// process, each with a deadline of its own, so that an upstream that hangs or
// answers slowly holds up nobody. A poll that breaks off is begun again by
// whoever finds its lease run out.
func (s *Service) Work(ctx context.Context) {
	slots := make(chan struct{}, concurrentPolls)
	var running sync.WaitGroup
	defer running.Wait()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		free := 0
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
			free++
		}
		for more := true; more; {
			select {
			case slots <- struct{}{}:
				free++
			default:
				more = false
			}
		}
		leases, err := s.store.LeaseSources(ctx, s.now(), pollHold, free)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "look for sources that are due", "error", err)
		}
		for range free - len(leases) {
			<-slots
		}
		for _, l := range leases {
			running.Go(func() {
				defer func() { <-slots }()
				s.poll(ctx, l)
			})
		}
		if len(leases) == free {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-s.wake:
		}
	}
}

// PollDue polls everything that is due now and returns how many sources that
// were. The errors are our own, such as those of the store; that a source
// cannot be polled is none.
func (s *Service) PollDue(ctx context.Context) (polled int, err error) {
	for {
		leases, failed := s.store.LeaseSources(ctx, s.now(), pollHold, concurrentPolls)
		if failed != nil || len(leases) == 0 {
			return polled, errors.Join(err, failed)
		}
		polled += len(leases)
		errs := make([]error, len(leases))
		var running sync.WaitGroup
		for i, l := range leases {
			running.Go(func() { errs[i] = s.poll(ctx, l) })
		}
		running.Wait()
		err = errors.Join(append(errs, err)...)
	}
}

// round is one poll of one source.
type round struct {
	*Service
	lease  Lease
	source *Source
	was    Health // before this round
	now    time.Time
	found  Found
	first  bool // nothing of the source was taken over before
	taken  bool // a list that had shrunk is taken over

	charts     map[string]map[string]*version // chart, version
	events     []Event                        // of the source as a whole
	notes      []Note
	health     Health
	validators Validators
	budget     budget
	choice     *selection // of the mirror; nil without one
	restUntil  time.Time
}

// poll polls a source and writes what it found. The error is that of the
// store, or of the blobs behind the registry; it is logged.
func (s *Service) poll(ctx context.Context, l Lease) (err error) {
	r := &round{Service: s, lease: l, source: &l.Source, was: l.Source.Health, health: l.Source.Health, validators: l.Source.Validators}
	r.first = r.was.LastSuccess.IsZero()
	s.polling.Store(l.Source.ID, true)
	defer s.polling.Delete(l.Source.ID)
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "a poll panicked", "upstream", l.Upstream.Name, "source", l.Source.URL, "panic", p, "stack", string(debug.Stack()))
			err = r.broken(ctx, fmt.Errorf("poll %s: %v", l.Source.URL, p))
		}
		if err != nil {
			s.rest.forget([]Source{l.Source}) // what was not written is done again
		}
		if problem.KindOf(err) == problem.Conflict {
			// Somebody else polls it now, or it is watched no more.
			s.log.InfoContext(ctx, "a poll lost its lease", "upstream", l.Upstream.Name, "source", l.Source.URL)
			err = nil
		} else if err != nil {
			s.log.ErrorContext(ctx, "record a poll", "upstream", l.Upstream.Name, "source", l.Source.URL, "error", err)
		}
	}()
	within, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	r.found, err = r.ask(within)
	r.now = s.now()
	if ctx.Err() != nil {
		return r.release(ctx)
	}
	if err != nil {
		return r.failed(ctx, err)
	}
	r.validators = r.found.Validators
	if r.choice, err = l.Upstream.selection(); err != nil {
		return err // not reached: the range was read when the upstream was set
	}
	r.repository()
	switch {
	case r.found.Unchanged && s.rest.resting(r.source.ID, r.now):
		r.restUntil = s.rest.until(r.source.ID)
	case r.source.Kind.Lists():
		err = r.list(within)
	default:
		err = r.read(within)
	}
	if ctx.Err() != nil {
		return r.release(ctx)
	}
	if err != nil {
		return err
	}
	return r.finish(ctx)
}

func (r *round) ask(ctx context.Context) (Found, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return r.sources.Poll(ctx, *r.source, r.source.Validators)
}

// broken records that a poll broke off by our own fault: it waits like one of
// a source that fails, and the source is not blamed.
func (r *round) broken(ctx context.Context, cause error) error {
	if r.now.IsZero() {
		r.now = r.Service.now()
	}
	r.health = r.was
	r.health.LastPoll = r.now
	r.health.failed("the poll broke off by a fault of this server; its log says where", "", "")
	r.health.Failures++
	r.health.NextPoll = r.next()
	err := r.write(ctx, &Poll{Validators: r.source.Validators, Health: r.health})
	return errors.Join(cause, err)
}

// release gives the lease back, so that a restart does not wait for its end.
func (r *round) release(ctx context.Context) error {
	return r.write(ctx, &Poll{Validators: r.source.Validators, Health: r.was})
}

// failed records a poll that read nothing, or nothing that can be used.
func (r *round) failed(ctx context.Context, cause error) error {
	h := &r.health
	h.LastPoll = r.now
	p, ok := problem.As(cause)
	switch {
	case ok:
		h.failed(p.Message, p.Rule, p.Try)
	case errors.Is(cause, context.DeadlineExceeded):
		h.failed(fmt.Sprintf("it was not read within %s", Duration(askTime)), "", "")
	default:
		h.failed("it cannot be read; the log of this server says why", "", "")
	}
	var e Event
	// A credential that is not as it should be is our own affair, and says
	// nothing of what is published.
	if kind := problem.KindOf(cause); h.credential() {
		h.Failures++
		e = r.event(CredentialFault, Medium, "", "", "%s is not polled: %s", r.source.URL, h.Error)
		e.Question = askCredential
		e.with("what to do", p.Try)
		e.with("and then", command("chartkeep upstream poll", r.lease.Upstream.Name))
		e.Key = eventKey(e.Kind, r.source.ID, h.Rule, h.Error, stamp(h.LastSuccess))
	} else if kind == problem.Invalid || kind == problem.TooLarge {
		h.Failures = 0
		sev := Low
		if r.source.Kind.Lists() {
			sev = Medium
		}
		e = r.event(IndexInvalid, sev, "", "", "what %s publishes cannot be read: %s", r.source.URL, h.Error)
		e.Question = askUnread
		e.Key = eventKey(e.Kind, r.source.ID, h.Error, stamp(h.LastSuccess))
	} else {
		if !ok {
			r.log.WarnContext(ctx, "poll a source", "upstream", r.lease.Upstream.Name, "source", r.source.URL, "error", cause)
		}
		h.Failures++
		if !r.lost(h) {
			h.NextPoll = r.next()
			return r.write(ctx, &Poll{Validators: r.source.Validators, Health: *h})
		}
		e = r.event(Unreachable, Medium, "", "", "%s cannot be polled: %s", r.source.URL, h.Error)
		e.Question = askUnread
		e.with("failures in a row", fmt.Sprint(h.Failures))
		e.Key = eventKey(e.Kind, r.source.ID, stamp(h.LastSuccess))
	}
	if p != nil {
		for _, f := range p.Facts {
			e.with(f.Label, f.Value)
		}
	}
	e.with("last success", timeText(h.LastSuccess))
	h.NextPoll = r.next()
	return r.write(ctx, &Poll{Validators: r.source.Validators, Health: *h, Events: []Event{e}})
}

// failed is what was wrong with the last poll, "" for nothing, and what to do.
func (h *Health) failed(message, rule, try string) { h.Error, h.Rule, h.Try = message, rule, try }

// credential reports whether the last poll failed for the credential that the
// source names.
func (h *Health) credential() bool { return strings.HasPrefix(h.Rule, "credential") }

// lost says whether a source is called unreachable in a state of health.
func (r *round) lost(h *Health) bool {
	since := h.LastSuccess
	if since.IsZero() {
		since = r.lease.Upstream.Created
	}
	return h.Failures >= unreachableAfter && h.LastPoll.Sub(since) >= unreachableFor
}

// recovered tells that what was told of as failing works again.
func (r *round) recovered() {
	h := &r.was
	var again string
	switch {
	case r.health.Suspect != "":
		return
	case h.credential():
		again = fmt.Sprintf("%s is polled again with the credential that it names", r.source.URL)
	case r.lost(h):
		again = fmt.Sprintf("%s can be polled again", r.source.URL)
	case h.Error != "" && h.Failures == 0:
		again = fmt.Sprintf("what %s publishes can be read again", r.source.URL)
	case h.Suspect != "" && !r.taken:
		again = fmt.Sprintf("%s lists again what was missing", r.source.URL)
	default:
		return
	}
	e := r.event(Recovered, Info, "", "", "%s", again)
	e.with("last success before", timeText(h.LastSuccess))
	e.Key = eventKey(e.Kind, r.source.ID, stamp(h.LastSuccess), stamp(h.LastPoll))
	r.events = append(r.events, e)
}

// next is when a source is polled next: after its interval, doubled with every
// failure but the first, up to 24 hours, give or take a tenth, so that sources
// which were added together do not stay together. A pause that the server asked
// for is kept, up to 24 hours.
func (r *round) next() time.Time {
	pause := time.Duration(r.source.Interval)
	for range r.health.Failures - 1 {
		if pause >= maxPause {
			break
		}
		pause *= 2
	}
	if r.health.Failures > 0 {
		pause = min(pause, maxPause)
	}
	pause = about(pause, r.source.ID, r.now.UnixMilli())
	return r.now.Add(max(pause, min(r.found.RetryAfter, maxPause)))
}

// about is a pause, give or take a tenth, by what it is for.
func about(pause time.Duration, what ...any) time.Duration {
	h := fnv.New32a()
	fmt.Fprint(h, what...)
	return pause + time.Duration(int64(pause)/1000*(int64(h.Sum32()%201)-100))
}

// finish writes what is left of a round that read the source.
func (r *round) finish(ctx context.Context) error {
	h := &r.health
	h.LastPoll, h.Failures = r.now, 0
	h.failed("", "", "")
	if h.Suspect == "" {
		h.LastSuccess = r.now
	}
	h.NextPoll = r.next()
	r.recovered()
	if err := r.flush(ctx, true); err != nil {
		return err
	}
	r.rest.set(r.source.ID, r.restUntil)
	return nil
}

// flush writes the versions that were touched, with what is told of each, in
// pieces of at most 2,000, and at the end of the round what concerns the source
// as a whole. A version and its events are always in one piece.
func (r *round) flush(ctx context.Context, last bool) error {
	list := r.touched()
	for len(list) > maxPiece || len(r.notes) > maxPiece || !last && len(list)+len(r.notes) > 0 {
		n, m := min(len(list), maxPiece), min(len(r.notes), maxPiece)
		p := r.piece(list[:n])
		p.Notes, p.More = r.notes[:m], true
		if err := r.write(ctx, p); err != nil {
			return err
		}
		settle(list[:n])
		list, r.notes = list[n:], r.notes[m:]
	}
	if !last {
		return nil
	}
	p := r.piece(list)
	p.Notes, p.Events = r.notes, append(p.Events, r.events...)
	p.Validators, p.Health = r.validators, r.health
	return r.write(ctx, p)
}

func (r *round) touched() []*version {
	var list []*version
	for _, versions := range r.charts {
		for _, v := range versions {
			if v.touched {
				list = append(list, v)
			}
		}
	}
	slices.SortFunc(list, func(a, b *version) int {
		if n := strings.Compare(a.Chart, b.Chart); n != 0 {
			return n
		}
		return strings.Compare(a.Version, b.Version)
	})
	return list
}

// piece is the poll that writes some versions.
func (r *round) piece(list []*version) *Poll {
	p := &Poll{}
	if len(list) == 0 {
		return p
	}
	p.Versions = make([]VersionState, len(list))
	for i, v := range list {
		p.Versions[i] = v.VersionState
		p.Observed = append(p.Observed, v.observed...)
		p.Events = append(p.Events, v.told...)
	}
	p.Events = r.gather(p.Events)
	return p
}

// settle notes that versions were written.
func settle(list []*version) {
	for _, v := range list {
		v.touched, v.told, v.observed = false, nil, nil
	}
}

// write hands a poll to the store. It runs to its end though the server stops.
func (r *round) write(ctx context.Context, p *Poll) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	p.SourceID, p.Lease, p.Now = r.source.ID, r.lease.Token, r.now
	if p.Now.IsZero() {
		p.Now = r.Service.now()
	}
	events, err := r.store.RecordPoll(ctx, p)
	for i := range events {
		e := &events[i]
		r.log.InfoContext(ctx, "upstream event", "event", e.Kind, "severity", e.Severity, "upstream", e.Upstream, "chart", e.Chart, "version", e.Version, "id", e.ID)
	}
	return err
}

// restMost is how long a source is taken to be at rest at most: what depends
// on time alone, such as that it went quiet, is looked for that often.
const restMost = 6 * time.Hour

// rests remembers until when a source needs no more than to be asked whether
// anything is new: its archives are had and nothing waits for its age. It is
// of this process alone; what it forgets costs one reading of the source's
// versions.
type rests struct {
	mu      sync.Mutex
	ends    map[int64]time.Time
	offered map[int64]map[string]struct{} // to the mirror, by source
}

func (q *rests) resting(id int64, now time.Time) bool { return now.Before(q.until(id)) }

func (q *rests) until(id int64) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ends[id]
}

func (q *rests) set(id int64, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ends == nil {
		q.ends = map[int64]time.Time{}
	}
	q.ends[id] = until
}

// forget makes the next polls of sources thorough.
func (q *rests) forget(sources []Source) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range sources {
		delete(q.ends, sources[i].ID)
		delete(q.offered, sources[i].ID)
	}
}

// offer says whether a version was not offered to the mirror yet.
func (q *rests) offer(id int64, what string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.offered == nil {
		q.offered = map[int64]map[string]struct{}{}
	}
	if q.offered[id] == nil {
		q.offered[id] = map[string]struct{}{}
	}
	if _, was := q.offered[id][what]; was {
		return false
	}
	q.offered[id][what] = struct{}{}
	return true
}
