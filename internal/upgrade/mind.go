package upgrade

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/calendar"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// mind keeps in memory what judgements are made from, as long as the store says
// that it is the same.
type mind struct {
	mu    sync.Mutex // held while a state is read, so that it is read once
	now   *state
	packs map[string]advisory.Pack // by digest: those of the state
}

// state is one set of inputs. It is not changed after it was made.
type state struct {
	number  int64 // Store.Inputs when it was read
	db      *advisory.Database
	policy  *decision.Policy
	ref     PolicyRef
	feeds   []Feed
	windows []calendar.Window
	waivers []Waiver // that are approved and not ended; expiry is the decision's
}

// think returns the inputs as they are now. Cost: the feeds while nothing has
// changed; else the packs that changed, and the database made anew, which is
// about a second for ten thousand advisories.
func (s *Service) think(ctx context.Context) (*state, error) {
	s.mind.mu.Lock()
	defer s.mind.mu.Unlock()
	number, err := s.store.Inputs(ctx)
	if err != nil {
		return nil, err
	}
	if old := s.mind.now; old != nil && old.number == number {
		// How fresh the data are changes without them.
		is := *old
		is.feeds, err = s.store.Feeds(ctx)
		return &is, err
	}
	is := &state{number: number}
	if is.feeds, err = s.store.Feeds(ctx); err != nil {
		return nil, err
	}
	if is.windows, err = s.store.Windows(ctx); err != nil {
		return nil, err
	}
	waivers, err := s.store.Waivers(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	for _, w := range waivers {
		if w.ApprovedBy != "" && w.Ended.IsZero() {
			is.waivers = append(is.waivers, w)
		}
	}
	if err := s.readPolicy(ctx, is); err != nil {
		return nil, err
	}
	packs := map[string]advisory.Pack{}
	var list []advisory.Pack
	for _, f := range is.feeds {
		if f.Current == nil {
			continue
		}
		p, kept := s.mind.packs[packKey(f.Current)]
		if !kept {
			if p, err = s.openPack(ctx, f); err != nil {
				return nil, err
			}
		}
		packs[packKey(f.Current)] = p
		list = append(list, p)
	}
	var faults []advisory.Fault
	is.db, faults = advisory.NewDatabase(advisory.Curated(), list...)
	for _, f := range faults[:min(len(faults), keptFaults)] {
		s.log.WarnContext(ctx, "bring the feeds of advisories together", "fault", f.String())
	}
	s.mind.now, s.mind.packs = is, packs
	return is, nil
}

func packKey(s *advisory.Snapshot) string { return s.Feed + " " + s.Digest }

// readPolicy takes the policy that was set last, else the one that is built in.
func (s *Service) readPolicy(ctx context.Context, is *state) error {
	doc, err := s.store.Policy(ctx)
	switch {
	case problem.KindOf(err) == problem.NotFound:
		is.policy = decision.Default()
	case err != nil:
		return err
	default:
		if is.policy, err = decision.ReadPolicy([]byte(doc.Text)); err != nil {
			return fmt.Errorf("read the decision policy that was set at %s: %w", doc.Set.UTC().Format(time.RFC3339), err)
		}
	}
	is.ref = refOf(is.policy)
	return nil
}

// openPack reads the records of a feed's current snapshot; they must have the
// digest of the snapshot.
func (s *Service) openPack(ctx context.Context, f Feed) (advisory.Pack, error) {
	blob, err := s.registry.OpenBlob(ctx, f.Current.Blob)
	if err != nil {
		return advisory.Pack{}, fmt.Errorf("open the snapshot of feed %s: %w", f.Name, err)
	}
	defer blob.Close()
	p, err := advisory.OpenPack(blob, *f.Current, s.feeds)
	if err != nil {
		return advisory.Pack{}, fmt.Errorf("read the snapshot of feed %s: %w", f.Name, err)
	}
	return p, nil
}

// inputs names the state, and says what of it is old at a time.
func (is *state) inputs(now time.Time) Inputs {
	in := Inputs{Policy: is.ref, Snapshots: []advisory.Snapshot{}}
	for _, f := range is.feeds {
		if f.Current == nil {
			in.Old = append(in.Old, fmt.Sprintf("%s: never read", f.Name))
			continue
		}
		in.Snapshots = append(in.Snapshots, *f.Current)
		if old := is.age(&f, now); old != "" {
			in.Old = append(in.Old, f.Name+": "+old)
		}
	}
	return in
}

// age says how old the data of a feed are where they are older than they may
// be, else "". A feed that is read by schedule is as old as its last successful
// read; one that is imported by hand as old as its data or its import,
// whichever is older.
func (is *state) age(f *Feed, now time.Time) string {
	if f.Current == nil {
		return ""
	}
	at, what := f.Health.LastSuccess, "read"
	if f.URL == "" || at.IsZero() {
		at, what = f.Current.Taken, "imported"
	}
	if d := f.Current.Dated; !d.IsZero() && d.Before(at) && (f.URL == "" || f.Kind == advisory.EPSS) {
		at, what = d, "dated"
	}
	may := time.Duration(f.StaleAfter)
	if may == 0 {
		may = is.policy.StaleAfter(string(f.Kind))
	}
	if now.Sub(at) <= may {
		return ""
	}
	return fmt.Sprintf("%s %s ago", what, ago(now.Sub(at)))
}

// ago is a span in the words of pages.
func ago(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
