package watch

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/upstream"
)

// A list from which much is missing at once is more often a bad download, or a
// bad build of the index, than the wish of who publishes. It is suspect when at
// least shrunkFrom versions and a shrunkPart-th of all that were listed are
// missing. Then the last good state stays, as a whole. The list is taken over
// when it was suspect in shrunkPolls polls in a row over at least shrunkTime.
const (
	shrunkFrom  = 3
	shrunkPart  = 4
	shrunkPolls = 3
	shrunkTime  = 24 * time.Hour
)

// newChart is up to how many versions a chart that was never seen may have to
// be told of one by one. With more it is older than our knowledge of it.
const newChart = 3

// version is what a round knows of one version.
type version struct {
	VersionState
	last     time.Time // LastChange as it was kept before this round
	fresh    bool      // was not known before this round
	touched  bool      // has to be written
	change   *upstream.Event
	told     []Event
	observed []Observation
	fetched  bool   // this round tried to have its archive
	first    bool   // is the newest of its chart
	key      string // see order
	sortKey  string
	stable   bool
}

// list takes over what a source lists, and does what depends on it: archives,
// the mirror, and what time alone brings.
func (r *round) list(ctx context.Context) error {
	var tracker upstream.Tracker
	if err := r.load(ctx, &tracker); err != nil {
		return err
	}
	h := &r.health
	if r.found.Index != nil {
		x := r.watched(r.found.Index)
		if r.shrunk(&tracker, &x) {
			r.validators = r.source.Validators // so that the list is sent again
			return nil
		}
		before := r.newest()
		r.observe(&tracker, x)
		r.deprecated(before)
	}
	h.Suspect, h.Suspects, h.SuspectSince = "", 0, time.Time{}
	var done context.CancelFunc
	r.budget.ctx, done = context.WithTimeout(ctx, fetchTime)
	defer done()
	if err := r.fetchChanged(ctx); err != nil {
		return err
	}
	if err := r.deployed.refresh(ctx, r.store, r.now); err != nil {
		return err
	}
	waiting := r.wanted()
	if len(waiting) > 0 { // what is known is worth more than what else can be had
		if err := r.flush(ctx, false); err != nil {
			return err
		}
	}
	left, err := r.fetchWanted(ctx, waiting)
	if err == nil && left == 0 {
		left, err = r.recheck(ctx)
	}
	if err != nil {
		return err
	}
	ripe := r.mirror(ctx)
	r.quiet(ctx)
	if left == 0 {
		r.restUntil = r.now.Add(restMost)
		if !ripe.IsZero() && ripe.Before(r.restUntil) {
			r.restUntil = ripe
		}
	}
	return nil
}

// load reads what is known of the charts that are watched. What is known of
// others stays as it is.
func (r *round) load(ctx context.Context, t *upstream.Tracker) error {
	r.charts = map[string]map[string]*version{}
	globs := r.lease.Upstream.Charts
	return r.store.VersionStates(ctx, r.source.ID, func(st VersionState) error {
		if !matches(globs, st.Chart) {
			return nil
		}
		r.keep(&version{VersionState: st, last: st.LastChange})
		t.Restore(st.Known)
		return nil
	})
}

func (r *round) keep(v *version) {
	versions := r.charts[v.Chart]
	if versions == nil {
		versions = map[string]*version{}
		r.charts[v.Chart] = versions
	}
	versions[v.Version] = v
}

// watched is the part of an index that is watched.
func (r *round) watched(x *upstream.Index) upstream.Index {
	globs := r.lease.Upstream.Charts
	if len(globs) == 0 {
		return *x
	}
	out := upstream.Index{Generated: x.Generated}
	for _, c := range x.Charts {
		if matches(globs, c.Name) {
			out.Charts = append(out.Charts, c)
		}
	}
	return out
}

// shrunk judges whether a list is suspect, and notes it.
func (r *round) shrunk(t *upstream.Tracker, x *upstream.Index) bool {
	missing, listed := t.Missing(*x)
	if missing < shrunkFrom || missing*shrunkPart < listed {
		return false
	}
	h := &r.health
	if h.Suspects == 0 {
		h.SuspectSince = r.now
	}
	h.Suspects++
	if h.Suspects >= shrunkPolls && r.now.Sub(h.SuspectSince) >= shrunkTime {
		r.taken = true
		return false
	}
	h.Suspect = fmt.Sprintf("%d of %d versions are missing at once", missing, listed)
	if h.Suspects > 1 {
		return true
	}
	e := r.event(IndexShrunk, Medium, "", "", "%d of %d versions are missing from %s at once; the last good state stays", missing, listed, r.source.URL)
	e.Question = askUnread
	e.with("taken over", fmt.Sprintf("when it looks so in %d polls over at least %s", shrunkPolls, Duration(shrunkTime)))
	e.with("last success", timeText(h.LastSuccess))
	e.Key = eventKey(e.Kind, r.source.ID, stamp(h.SuspectSince))
	r.events = append(r.events, e)
	return true
}

// observe compares a list with what is known and words what happened.
func (r *round) observe(t *upstream.Tracker, x upstream.Index) {
	events := t.Observe(x)
	known := make(map[string]bool, len(r.charts)) // charts that are not new
	for name := range r.charts {
		known[name] = true
	}
	for i := range x.Charts {
		c := &x.Charts[i]
		seen := make(map[string]bool, len(c.Versions))
		for j := range c.Versions {
			if v := &c.Versions[j]; !seen[v.Version] { // Helm takes the first of two
				seen[v.Version] = true
				r.entry(c.Name, v)
			}
		}
	}
	for k := range t.Changed() {
		v := r.charts[k.Chart][k.Version]
		v.Known, v.touched = k, true
		r.health.LastChange = r.now
		if !v.fresh { // else the store gives it the time of its leaf
			v.LastChange = r.now
		}
	}
	added := map[string]int{}
	for i := range events {
		if events[i].Kind == upstream.Added {
			added[events[i].Chart]++
		}
	}
	for i := range events {
		e := &events[i]
		v := r.charts[e.Chart][e.Version]
		v.note(e, r.now)
		if e.Kind == upstream.Added && (r.first || !known[e.Chart] && added[e.Chart] > newChart) {
			continue
		}
		v.told = append(v.told, r.tell(v, *e))
	}
	for name, n := range added {
		if !r.first && !known[name] && n > newChart {
			r.chartAppeared(name, n)
		}
	}
	r.health.Versions = 0
	for _, versions := range r.charts {
		for _, v := range versions {
			if !v.Gone {
				r.health.Versions++
			}
		}
	}
	if r.first {
		e := r.event(FirstRead, Info, "", "", "%s of %s %s known from now on, of %s", counted(r.health.Versions, "version"), counted(len(r.charts), "chart"), are(r.health.Versions), r.source.URL)
		e.Key = eventKey(e.Kind, r.source.ID)
		r.events = append(r.events, e)
	}
}

// entry takes over what is listed of a version beside what the tracker knows.
func (r *round) entry(name string, listed *upstream.Version) {
	v := r.charts[name][listed.Version]
	if v == nil {
		v = &version{fresh: true, touched: true}
		v.Chart, v.Version = name, listed.Version
		r.keep(v)
	}
	url := ""
	if len(listed.URLs) > 0 {
		url = listed.URLs[0]
	}
	if v.AppVersion != listed.AppVersion || v.Deprecated != listed.Deprecated || v.URL != url {
		v.AppVersion, v.Deprecated, v.URL, v.touched = strings.Clone(listed.AppVersion), listed.Deprecated, strings.Clone(url), true
	}
}

// chartAppeared tells of a chart that has many versions and was never seen:
// new here, or watched only from now on.
func (r *round) chartAppeared(name string, n int) {
	v := r.newestOf(name)
	if v == nil {
		return
	}
	e := r.event(NewVersion, Info, name, v.Version, "%s is listed for the first time, with %d versions", name, n)
	e.Question = askNew
	e.with("newest", v.Version)
	e.with("app version", v.AppVersion)
	e.Key = eventKey(e.Kind, r.source.ID, name)
	v.told = append(v.told, e)
}

// note keeps for the log what happened to a version, and what it was before.
func (v *version) note(e *upstream.Event, now time.Time) {
	o := Observation{Chart: v.Chart, Version: v.Version, Created: v.Created}
	switch e.Kind {
	case upstream.Changed:
		o.What, o.Archive, v.change = tlog.ObservedChanged, e.NewDigest, e
		v.replaced(prefixed(e.OldDigest), now)
	case upstream.Duplicate:
		if v.fresh {
			return
		}
		o.What, o.Archive = tlog.ObservedChanged, e.NewDigest
	case upstream.Vanished:
		o.What, o.Archive = tlog.ObservedVanished, e.OldDigest
	case upstream.Returned:
		o.What, o.Archive = tlog.ObservedReturned, e.NewDigest
		if e.OldDigest != e.NewDigest {
			v.change = e
			if e.OldDigest != "" && e.NewDigest != "" {
				v.replaced(prefixed(e.OldDigest), now)
			}
		}
	default:
		return
	}
	o.Archive = prefixed(o.Archive)
	v.observed = append(v.observed, o)
}

// prefixed is a bare digest with its algorithm; "" where it is none, as
// foreign indexes can have anything in its place.
func prefixed(bare string) string {
	if len(bare) != 64 {
		return ""
	}
	return "sha256:" + bare
}

// listed is the digest under which a version is listed now, "" for none.
func (v *version) listed() string {
	if v.Bare || len(v.Digests) == 0 {
		return ""
	}
	return cmp.Or(prefixed(v.Digests[0]), "")
}
