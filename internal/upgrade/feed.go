package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Bounds and defaults of feeds.
const (
	maxFeeds        = 100
	minFeedInterval = watch.Duration(15 * time.Minute)
	maxFeedInterval = 30 * watch.Day
	maxURL          = 1024 // bytes
	feedHold        = 15 * time.Minute
	feedTime        = 12 * time.Minute // of it, for reading
	maxFaults       = 100              // that an answer lists
	keptFaults      = 10               // that a feed's health keeps
	keptShare       = 75               // percent of its records that a feed read by schedule must still have
)

// Feeds lists all feeds with the state of their data.
func (s *Service) Feeds(ctx context.Context, c audit.Caller) ([]Feed, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	is, err := s.think(ctx)
	if err != nil {
		// A snapshot that cannot be read is no reason to hide the feeds.
		s.log.ErrorContext(ctx, "read the inputs of judgements", "error", err)
		return s.store.Feeds(ctx)
	}
	now := s.now()
	out := slices.Clone(is.feeds)
	for i := range out {
		out[i].Old = is.age(&out[i], now)
	}
	return out, nil
}

// AddFeed makes a feed. With a URL it is read at once, and by schedule from
// then on; without one it waits for imports.
func (s *Service) AddFeed(ctx context.Context, c audit.Caller, n NewFeed) (Feed, error) {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return Feed{}, err
	}
	f := feedOf(n)
	if err := checkFeed(&f); err != nil {
		return Feed{}, err
	}
	all, err := s.store.Feeds(ctx)
	if err != nil {
		return Feed{}, err
	}
	if len(all) >= maxFeeds {
		return Feed{}, problem.New(problem.Invalid, "feeds", "there are %d feeds already, which is the most", maxFeeds).
			Suggest("import into one of them, or remove one: chartkeep advisory feed list")
	}
	ev := s.event(c, audit.FeedAdded, access.AdvisoryWrite)
	ev.Detail = map[string]string{"feed": f.Name, "kind": string(f.Kind), "url": f.URL}
	f.CreatedBy = ev.Actor.ID
	f, err = s.store.CreateFeed(ctx, f, ev, s.now())
	if err == nil {
		s.nudge()
	}
	return f, err
}

func feedOf(n NewFeed) Feed {
	f := Feed{Name: n.Name, Kind: n.Kind, URL: n.URL, Credential: n.Credential, Interval: n.Interval, StaleAfter: n.StaleAfter}
	if f.URL != "" && f.Interval == 0 {
		f.Interval = watch.Day
	}
	return f
}

func checkFeed(f *Feed) error {
	if err := checkName("feed", f.Name); err != nil {
		return err
	}
	if !slices.Contains(advisory.Kinds, f.Kind) {
		return problem.New(problem.Invalid, "feed-kind", "%.40q is no kind of feed", string(f.Kind)).With("kinds", "%s", kinds())
	}
	if f.URL == "" {
		if f.Credential != "" || f.Interval != 0 {
			return problem.New(problem.Invalid, "feed-url", "a feed without a URL is imported by hand: it has no credential and no interval")
		}
		return checkStale(f)
	}
	u, err := url.Parse(f.URL)
	switch {
	case len(f.URL) > maxURL, err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return problem.New(problem.Invalid, "feed-url", "%.200q is not the address of a feed", f.URL).Suggest("give an http or https URL of a file or an archive of files")
	case u.User != nil:
		return problem.New(problem.Invalid, "feed-url", "the URL of feed %s has a credential in it", f.Name).
			Suggest("put it into the server's credentials file and name it: --credential NAME")
	}
	if f.Interval < minFeedInterval || f.Interval > maxFeedInterval {
		return problem.New(problem.Invalid, "feed-interval", "a feed is read every %s to %s, not %s", minFeedInterval, maxFeedInterval, f.Interval)
	}
	return checkStale(f)
}

func checkStale(f *Feed) error {
	if f.StaleAfter != 0 && (f.StaleAfter < watch.Duration(time.Hour) || f.StaleAfter > 3650*watch.Day) {
		return problem.New(problem.Invalid, "feed-stale", "data are called old after an hour to ten years, not %s", f.StaleAfter)
	}
	return nil
}

func kinds() string {
	words := make([]string, len(advisory.Kinds))
	for i, k := range advisory.Kinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}

// checkName checks the name of a feed, a window or a tracker.
func checkName(what, name string) error {
	if p := watch.CheckName(what+"-name", "a "+what, name); p != nil {
		return p
	}
	return nil
}

// SetFeed changes where and how often a feed is read.
func (s *Service) SetFeed(ctx context.Context, c audit.Caller, name string, ch FeedChange) (Feed, error) {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return Feed{}, err
	}
	ev := s.event(c, audit.FeedSet, access.AdvisoryWrite)
	ev.Detail = map[string]string{"feed": name}
	f, err := s.store.UpdateFeed(ctx, name, ev, s.now(), func(f Feed) (Feed, error) {
		if ch.URL != nil {
			f.URL, f.Validators = *ch.URL, watch.Validators{}
			if f.URL != "" && f.Interval == 0 {
				f.Interval = watch.Day
			}
			if f.URL == "" {
				f.Interval, f.Credential = 0, ""
			}
		}
		if ch.Credential != nil {
			f.Credential = *ch.Credential
		}
		if ch.Interval != nil {
			f.Interval = *ch.Interval
		}
		if ch.StaleAfter != nil {
			f.StaleAfter = *ch.StaleAfter
		}
		return f, checkFeed(&f)
	})
	if err == nil {
		s.nudge()
	}
	return f, err
}

// RemoveFeed takes a feed out of every judgement from now on.
func (s *Service) RemoveFeed(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return err
	}
	ev := s.event(c, audit.FeedRemoved, access.AdvisoryWrite)
	ev.Detail = map[string]string{"feed": name}
	err := s.store.RemoveFeed(ctx, name, ev, s.now())
	if err == nil {
		s.nudge()
	}
	return err
}

// FeedNow has a feed read as soon as possible.
func (s *Service) FeedNow(ctx context.Context, c audit.Caller, name string) error {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return err
	}
	f, err := s.feed(ctx, name)
	if err != nil {
		return err
	}
	if f.URL == "" {
		return problem.New(problem.Invalid, "feed-url", "feed %s has no URL: it is imported by hand", name).Suggest("chartkeep advisory import %s FILE", name)
	}
	if err := s.store.FeedNow(ctx, name, s.now()); err != nil {
		return err
	}
	s.nudge()
	return nil
}

func (s *Service) feed(ctx context.Context, name string) (Feed, error) {
	all, err := s.store.Feeds(ctx)
	if err != nil {
		return Feed{}, err
	}
	for _, f := range all {
		if f.Name == name {
			return f, nil
		}
	}
	return Feed{}, problem.New(problem.NotFound, "feed", "there is no feed %.80s", name).Suggest("chartkeep advisory feed list")
}

// Snapshots lists the states of a feed, the newest first.
func (s *Service) Snapshots(ctx context.Context, c audit.Caller, feed string, limit int) ([]advisory.Snapshot, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, err
	}
	if _, err := s.feed(ctx, feed); err != nil {
		return nil, err
	}
	return s.store.Snapshots(ctx, feed, limit)
}

// ImportFeed makes what a file holds, or an archive of files, the state of a
// feed. What it does not hold the feed has no more: an import is a whole state.
// Cost: the file; nothing is written when the records are the same.
func (s *Service) ImportFeed(ctx context.Context, c audit.Caller, feed, file string, body io.Reader) (Imported, error) {
	if err := s.may(ctx, c, access.AdvisoryWrite); err != nil {
		return Imported{}, err
	}
	f, err := s.feed(ctx, feed)
	if err != nil {
		return Imported{}, err
	}
	ev := s.event(c, audit.FeedImported, access.AdvisoryWrite)
	ev.Detail = map[string]string{"feed": feed, "file": file}
	return s.take(ctx, f, 0, f.Validators, file, body, &ev)
}

// take reads records and makes them the current snapshot of a feed.
func (s *Service) take(ctx context.Context, f Feed, lease int64, v watch.Validators, file string, body io.Reader, ev *audit.Event) (Imported, error) {
	b := advisory.NewBuilder(f.Kind, s.feeds)
	if err := b.Add(file, body); err != nil {
		return Imported{}, err
	}
	pack, faults, err := b.Pack()
	if err != nil {
		return Imported{}, err
	}
	now := s.now()
	snap := pack.With(advisory.Snapshot{Feed: f.Name, Taken: now}).Snapshot()
	snap.Faults = len(faults)
	if f.Current != nil && lease != 0 && snap.Records*100 < f.Current.Records*keptShare {
		return Imported{}, problem.New(problem.Invalid, "feed-shrunk", "feed %s has %s now, and had %d; its last state stays", f.Name, count(snap.Records, "record", "records"), f.Current.Records).
			Suggest("look at %s; if it is meant, import it by hand: chartkeep advisory import %s FILE", remoteName(f.URL), f.Name)
	}
	out := Imported{Feed: f.Name, Faults: faults[:min(len(faults), maxFaults)]}
	if out.Faults == nil {
		out.Faults = []advisory.Fault{}
	}
	h := FeedHealth{LastTry: now, LastSuccess: now}
	for _, fault := range out.Faults[:min(len(out.Faults), keptFaults)] {
		h.Faults = append(h.Faults, fault.String())
	}
	if f.Interval > 0 {
		h.NextTry = now.Add(jitter(f.Name, time.Duration(f.Interval)))
	}
	if f.Current != nil && f.Current.Digest == snap.Digest {
		snap = *f.Current
		out.Unchanged = true
	} else {
		if snap.Blob, err = s.keep(ctx, pack); err != nil {
			return Imported{}, err
		}
		if err := s.difference(ctx, f, pack, &out); err != nil {
			s.log.WarnContext(ctx, "compare with the snapshot before", "feed", f.Name, "error", err)
		}
	}
	if ev != nil {
		ev.Detail["digest"], ev.Detail["records"] = snap.Digest, fmt.Sprint(snap.Records)
	}
	f, err = s.store.RecordFeed(ctx, f.Name, lease, h, v, &snap, ev, now)
	if err != nil {
		return Imported{}, err
	}
	out.Snapshot = *f.Current
	s.nudge()
	return out, nil
}

// remoteName is an address without its query, which may be a secret.
func remoteName(address string) string {
	at, _, _ := strings.Cut(address, "?")
	return at
}

// keep stores the bytes of a pack.
func (s *Service) keep(ctx context.Context, p advisory.Pack) (string, error) {
	r, w := io.Pipe()
	go func() {
		_, err := p.WriteTo(w)
		w.CloseWithError(err)
	}()
	digest, _, err := s.registry.KeepBlob(ctx, r)
	r.Close() // so that the writer ends where the store gave up
	return digest, err
}

// difference counts what an import adds, changes and takes away.
func (s *Service) difference(ctx context.Context, f Feed, is advisory.Pack, out *Imported) error {
	if f.Current == nil {
		out.Added = is.Snapshot().Records
		return nil
	}
	was, err := s.openPack(ctx, f)
	if err != nil {
		out.Added = is.Snapshot().Records // nothing of it is known to have been there
		return err
	}
	out.Added, out.Removed = is.Since(was)
	return nil
}

// jitter spreads what is done by interval, by up to a tenth, the same for a
// name at every time.
func jitter(name string, interval time.Duration) time.Duration {
	var sum uint32 = 2166136261
	for i := range len(name) {
		sum = (sum ^ uint32(name[i])) * 16777619
	}
	return interval + interval/10*time.Duration(sum%1000)/1000
}

// ReadFeeds reads the feeds that are due, and returns how many those were. The
// errors are our own; that a feed cannot be read is none, and is in its health.
func (s *Service) ReadFeeds(ctx context.Context) (int, error) {
	n := 0
	for {
		leases, err := s.store.LeaseFeeds(ctx, s.now(), feedHold, 1)
		if err != nil || len(leases) == 0 {
			return n, err
		}
		for _, l := range leases {
			n++
			if err := s.readFeed(ctx, l); err != nil {
				return n, err
			}
		}
	}
}

// readFeed reads one feed and writes what came of it.
func (s *Service) readFeed(ctx context.Context, l FeedLease) error {
	asked, cancel := context.WithTimeout(ctx, feedTime)
	defer cancel()
	err := s.fetchFeed(asked, l)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if p, ok := problem.As(err); ok && p.Rule == "lease" {
		return nil // somebody else reads it now
	}
	f, now := l.Feed, s.now()
	h := f.Health
	h.LastTry, h.Error = now, sayError(err)
	h.Failures++
	wait := min(time.Duration(f.Interval), time.Minute<<min(h.Failures, 12))
	if a, ok := errors.AsType[retryAfter](err); ok {
		wait = max(wait, time.Duration(a))
	}
	h.NextTry = now.Add(jitter(f.Name, wait))
	s.log.WarnContext(ctx, "a feed could not be read", "feed", f.Name, "failures", h.Failures, "error", err)
	_, err = s.store.RecordFeed(ctx, f.Name, l.Token, h, f.Validators, nil, nil, now)
	if p, ok := problem.As(err); ok && p.Kind == problem.Conflict {
		return nil
	}
	return err
}

// retryAfter is a pause that a server asked for.
type retryAfter time.Duration

func (r retryAfter) Error() string { return "the server asks for a pause" }

func (s *Service) fetchFeed(ctx context.Context, l FeedLease) error {
	f := l.Feed
	got, err := s.mirrors.ReadFeed(ctx, f)
	if err != nil {
		if got.RetryAfter > 0 {
			err = errors.Join(err, retryAfter(got.RetryAfter))
		}
		return err
	}
	if got.Unchanged {
		now := s.now()
		h := FeedHealth{LastTry: now, LastSuccess: now, Faults: f.Health.Faults, NextTry: now.Add(jitter(f.Name, time.Duration(f.Interval)))}
		_, err := s.store.RecordFeed(ctx, f.Name, l.Token, h, f.Validators, nil, nil, now)
		return err
	}
	defer got.Body.Close()
	_, err = s.take(ctx, f, l.Token, got.Validators, got.Name, got.Body, nil)
	return err
}

// sayError is an error in one line for people.
func sayError(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Message
	}
	return "it could not be read; the server's log has the reason"
}

// MatchImages says what is open on images.
func (s *Service) MatchImages(ctx context.Context, c audit.Caller, images []string) ([]advisory.ImageMatch, Inputs, error) {
	if err := s.may(ctx, c, access.WatchRead); err != nil {
		return nil, Inputs{}, err
	}
	is, err := s.think(ctx)
	if err != nil {
		return nil, Inputs{}, err
	}
	return is.db.MatchImages(images), is.inputs(s.now()), nil
}
