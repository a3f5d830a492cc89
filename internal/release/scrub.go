package release

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// ScrubConfig is how stored things are compared with the log.
type ScrubConfig struct {
	Stored Stored
	Scrubs Scrubs
	// LogKeys and AuditKeys are what the two logs' heads are signed with.
	LogKeys, AuditKeys note.Verifiers
	Rate               int64         // bytes a second that are read of blobs; 0 is no bound
	Every              time.Duration // from the end of one pass to the next
}

// The scrub's lease. It is renewed long before it ends.
const (
	scrubLease = 5 * time.Minute
	scrubSave  = 15 * time.Second
)

// maxOpen bounds how many open findings are kept in memory.
const maxOpen = 10_000

// ScrubView is the scrub for people.
type ScrubView struct {
	ScrubState
	Open []Finding `json:"open"` // what is wrong now, the newest first, 1000 at most
}

// Scrub does a pass when one is due and nobody else is at it, and learns what
// others have found. It returns when the pass is complete, or when ctx ends:
// then the next call, here or in another process, takes it up where it stood.
// It is called about once a minute.
func (s *Service) Scrub(ctx context.Context) error {
	cfg := s.scrub
	if cfg.Scrubs == nil {
		return nil
	}
	if err := s.learnFindings(ctx); err != nil {
		return err
	}
	token, st, err := cfg.Scrubs.LeaseScrub(ctx, s.now(), scrubLease)
	if err != nil || token == 0 {
		return err
	}
	if now := s.now(); !st.Running || st.Seal != s.scrubSeal(&st) {
		st = ScrubState{Due: st.Due, Last: st.Last, Running: true, Started: now}
	}
	saved := s.now()
	save := func(hold time.Duration, events ...audit.Event) error {
		// What ends the pass must not keep it from being given back.
		saved, st.Seal = s.now(), s.scrubSeal(&st)
		return cfg.Scrubs.SaveScrub(context.WithoutCancel(ctx), token, st, saved, hold, events...)
	}
	begun := time.Now()
	e := &Examination{
		Stored: cfg.Stored, Blobs: s.blobs, Projects: s.store.AllProjects, Origin: s.name, LogKeys: cfg.LogKeys, AuditKeys: cfg.AuditKeys, Rate: cfg.Rate,
		Find: func(f Finding) error { return s.found(ctx, f) },
		Progress: func() error {
			if s.now().Sub(saved) < scrubSave {
				return nil
			}
			st.Work += time.Since(begun)
			begun = time.Now()
			return save(scrubLease)
		},
	}
	err = e.Run(ctx, &st)
	st.Work += time.Since(begun)
	if err != nil {
		if serr := save(0); serr != nil && ctx.Err() == nil {
			return fmt.Errorf("scrub: %w", serr)
		}
		return fmt.Errorf("scrub: %w", err)
	}
	return s.scrubbed(ctx, e, &st, save)
}

// scrubbed ends a complete pass: what it did not find is no more.
func (s *Service) scrubbed(ctx context.Context, e *Examination, st *ScrubState, save func(time.Duration, ...audit.Event) error) error {
	now := s.now()
	if _, err := s.scrub.Scrubs.ResolveFindings(ctx, st.Started, now); err != nil {
		return err
	}
	if err := s.learnFindings(ctx); err != nil {
		return err
	}
	st.Done.Findings = int64(s.doubts.count())
	report := &ScrubReport{
		Started: st.Started, Ended: now, Duration: st.Work, LogSize: st.Size, LogRoot: e.Root().String(), Counts: st.Done,
	}
	ev := s.scrubEvent(audit.IntegrityChecked, audit.Allowed)
	ev.Detail = map[string]string{
		"leaves": strconv.FormatInt(st.Done.Leaves, 10), "releases": strconv.FormatInt(st.Done.Releases, 10),
		"blobs": strconv.FormatInt(st.Done.Blobs, 10), "bytes": strconv.FormatInt(st.Done.Bytes, 10),
		"findings": strconv.FormatInt(st.Done.Findings, 10), "log-size": strconv.FormatInt(st.Size, 10),
	}
	*st = ScrubState{Due: now.Add(s.scrub.Every), Last: report}
	return save(0, ev)
}

// scrubSeal keeps whoever can write the row from moving a pass past a release:
// then the pass begins anew.
func (s *Service) scrubSeal(st *ScrubState) string {
	return s.mac("scrub", st.Started.UTC().Format(time.RFC3339Nano), strconv.FormatInt(st.Next, 10))
}

// scrubID is who records what was found.
const scrubID = "scrub"

func (s *Service) scrubEvent(name audit.Name, result audit.Result) audit.Event {
	return audit.Event{
		Time: s.now(), Name: name, Door: audit.DoorServer, Outcome: audit.Outcome{Result: result},
		Actor: audit.Actor{Kind: access.KindSystem, ID: scrubID, Name: scrubID},
	}
}

// found keeps a finding, tells of it once, and sees to it that what it is
// about is not served.
func (s *Service) found(ctx context.Context, f Finding) error {
	s.doubts.add(&f)
	s.verified.remove(f.Logged)
	ev := s.scrubEvent(f.Kind.Event(), audit.Failed)
	ev.Outcome.Rule = string(f.Kind)
	ev.Resource = audit.Resource{Project: f.Project, Chart: f.Chart, Version: f.Version, Digest: f.Logged}
	ev.Before, ev.After, ev.Reason = f.Logged, f.Found, f.Message
	if f.LogIndex >= 0 {
		ev.Detail = map[string]string{"log-index": strconv.FormatInt(f.LogIndex, 10)}
	}
	opened, err := s.scrub.Scrubs.RecordFinding(ctx, f, ev, s.now())
	if err == nil && opened {
		s.log.ErrorContext(ctx, "integrity", "finding", f.Kind, "what", f.Message, "key", f.Key)
	}
	return err
}

// learnFindings takes over what this process and others have found.
func (s *Service) learnFindings(ctx context.Context) error {
	open, err := s.scrub.Scrubs.Findings(ctx, true, maxOpen)
	if err != nil {
		return err
	}
	s.doubts.set(open)
	for i := range open {
		s.verified.remove(open[i].Logged)
	}
	return nil
}

// ScrubStatus shows where the scrub stands and what is wrong, to whoever may
// read the audit trail of everything.
func (s *Service) ScrubStatus(ctx context.Context, c Caller) (ScrubView, error) {
	if err := s.AllowInstance(ctx, c, access.AuditRead); err != nil {
		return ScrubView{}, err
	}
	if s.scrub.Scrubs == nil {
		return ScrubView{}, problem.New(problem.Unsupported, "scrub", "this server has no scrub")
	}
	st, err := s.scrub.Scrubs.ScrubState(ctx)
	if err != nil {
		return ScrubView{}, err
	}
	st.Seal = ""
	open, err := s.scrub.Scrubs.Findings(ctx, true, 1000)
	return ScrubView{st, open}, err
}

// StartScrub makes a pass due now. One that runs already goes on, and is
// followed by another. ScrubAsked of the process that is to do it must be
// called afterwards for it to begin at once, and not within a minute.
func (s *Service) StartScrub(ctx context.Context, c Caller) (ScrubView, error) {
	if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return ScrubView{}, err
	}
	if s.scrub.Scrubs == nil {
		return ScrubView{}, problem.New(problem.Unsupported, "scrub", "this server has no scrub")
	}
	if err := s.scrub.Scrubs.AskScrub(ctx, s.now()); err != nil {
		return ScrubView{}, err
	}
	select {
	case s.asked <- struct{}{}:
	default:
	}
	return s.ScrubStatus(ctx, c)
}

// Scrubbing runs Scrub when it is asked for, and every minute, until ctx ends.
func (s *Service) Scrubbing(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if err := s.Scrub(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "background work failed", "job", "scrub", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.asked:
		case <-t.C:
		}
	}
}

// ScrubGauges are what the metrics show: open findings, and when the last
// complete pass ended (zero: never).
func (s *Service) ScrubGauges(ctx context.Context) (open int, last time.Time, bytes int64, err error) {
	if s.scrub.Scrubs == nil {
		return 0, time.Time{}, 0, nil
	}
	st, err := s.scrub.Scrubs.ScrubState(ctx)
	if err == nil && st.Last != nil {
		last, bytes = st.Last.Ended, st.Last.Counts.Bytes
	}
	return s.doubts.count(), last, bytes + st.Done.Bytes, err
}
