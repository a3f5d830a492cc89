package watch

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// An archive can be swapped while its entry in the index stays. So those that
// matter are asked for again: of the newest version of each chart, and of every
// version that is deployed or mirrored, as far as it is kept.
//
// Each is asked for once a day with what the server said of it last time, which
// costs one request and a row when it is the same; a server that says nothing
// to compare with is not. Once a week each is read to its end whatever the
// server says. Both are due by the version, give or take a tenth, and done when
// a poll looks at the source's versions, which it does every 6 hours.
//
// Cost with all of 100,000 versions mirrored: 100,000 requests and 10 s of the
// database's writer a day. A source has 200 reads and 500 requests a poll, and
// a host as many in an hour in all, so that a round takes 8 days, and the
// reading of all archives 3 weeks.
const (
	askAgain  = 24 * time.Hour
	readAgain = 7 * 24 * time.Hour
	maxAsks   = 500 // of one round, and of one host in paceTime
	maxReads  = 200 // of one host in paceTime
	paceTime  = time.Hour
)

// recheck compares archives that are kept with those that are served, those
// first that were not compared for the longest. It returns how many are left.
func (r *round) recheck(ctx context.Context) (left int, err error) {
	list := r.stale()
	asks := 0
	for i, v := range list {
		if asks >= maxAsks || r.budget.spent() {
			return left + len(list) - i, nil
		}
		whole := r.wholeDue(v)
		if !r.paced.take(v.URL, whole, r.now) {
			left++
			continue
		}
		asks++
		if err := r.compareServed(ctx, v, whole); err != nil {
			return left, err
		}
	}
	return left, nil
}

// stale are the versions that are due.
func (r *round) stale() []*version {
	var list []*version
	for name, versions := range r.charts {
		newest := r.newestOf(name)
		for _, v := range versions {
			if v.fetched || v.Gone || v.Fault != "" || v.Archive == "" || v.ArchiveError != "" || v.URL == "" {
				continue
			}
			// What an OCI registry serves is what its manifest names, and the
			// poll asks for that.
			if r.source.Kind == SourceOCI || r.lease.Upstream.Keep == KeepNone && !r.mirrored(v) {
				continue
			}
			wanted := v == newest || r.mirrored(v) || r.deployed.runs(r.lease.Upstream.Name, v.Chart, v.Version)
			if wanted && (r.wholeDue(v) || r.askDue(v)) {
				list = append(list, v)
			}
		}
	}
	slices.SortFunc(list, func(a, b *version) int {
		return cmp.Or(a.Served.Asked.Compare(b.Served.Asked), newestFirst(a, b))
	})
	return list
}

func (r *round) askDue(v *version) bool {
	return (v.Served.ETag != "" || v.Served.LastModified != "") && r.past(v, v.Served.Asked, askAgain)
}

// wholeDue says whether an archive is to be read to its end. One that could not
// be is tried again a day later.
func (r *round) wholeDue(v *version) bool {
	return r.past(v, v.Served.Read, readAgain) && r.past(v, v.Served.Asked, askAgain)
}

func (r *round) past(v *version, t time.Time, pause time.Duration) bool {
	return !r.now.Before(t.Add(about(pause, r.source.ID, v.Chart, v.Version, t.UnixMilli())))
}

// compareServed asks for an archive again. The error is our own.
func (r *round) compareServed(ctx context.Context, v *version, whole bool) error {
	since := Validators{ETag: v.Served.ETag, LastModified: v.Served.LastModified}
	if whole {
		since = Validators{}
	}
	opened, err := r.sources.Archive(r.budget.ctx, *r.source, v.URL, since)
	if r.budget.ctx.Err() != nil {
		return nil
	}
	if err == nil && opened.Unchanged {
		r.budget.answered(nil)
		v.Served.Asked, v.touched = r.now.UTC(), true
		return nil
	}
	r.budget.archives++
	body, err := r.body(opened, err)
	if err == errLater {
		return nil
	}
	v.Served.Asked, v.touched = r.now.UTC(), true
	if err != nil {
		if kind := problem.KindOf(err); kind == problem.NotFound || kind == problem.Gone || kind == problem.TooLarge {
			r.unserved(v, err)
		}
		return nil // else it may be had tomorrow
	}
	if digest.SHA256(body) == v.Archive {
		v.Served = Served{ETag: opened.Validators.ETag, LastModified: opened.Validators.LastModified, Asked: r.now.UTC(), Read: r.now.UTC()}
		return nil
	}
	got, err := r.printed(body, opened.Validators)
	if err != nil {
		r.unserved(v, err)
		return nil
	}
	return r.swapped(ctx, v, got)
}

// unserved tells that what stands at the address of an archive is none.
func (r *round) unserved(v *version, err error) {
	e := r.event(ArchiveMismatch, Medium, v.Chart, v.Version, "%s %s is listed as before, and its archive is not served any more", v.Chart, v.Version)
	e.Question = askMismatch
	e.with("what is there", told(err))
	e.with("address", v.URL)
	e.with("archive kept", v.Archive)
	e.with("served last", timeText(v.Served.Read))
	e.Key = eventKey(e.Kind, r.source.ID, v.Chart, v.Version, "not served", v.Archive, stamp(v.Served.Read))
	v.told = append(v.told, e)
}

// swapped takes over an archive that was put in the place of another one, and
// tells what that does. Both are kept.
func (r *round) swapped(ctx context.Context, v *version, got *archive) error {
	old, before := v.Archive, len(v.told)
	if err := r.take(ctx, v, got); err != nil {
		return err
	}
	v.LastChange, r.health.LastChange = r.now, r.now
	if len(v.told) == before { // it is what is listed, or nothing is
		e := r.event(Changed, High, v.Chart, v.Version, "")
		e.Question = askChanged
		e.Key = eventKey(e.Kind, r.source.ID, v.Chart, v.Version, old, got.Digest, stamp(v.last), "served")
		v.told = append(v.told, e)
	}
	e := &v.told[before]
	e.with("index entry", "unchanged")
	r.judge(ctx, e, old, got, nil)
	if e.Kind == ArchiveMismatch {
		e.Message += ", while its index entry stays as it was"
	}
	return nil
}

// paced holds what is asked of a host again to a pace, however many upstreams
// are on it. It is of this process.
type paced struct {
	mu    sync.Mutex
	since time.Time
	hosts map[string]*pace
}

type pace struct{ asks, reads int }

// take takes one request to the host of a URL, and says false when it has had
// enough for this hour.
func (q *paced) take(rawURL string, whole bool, now time.Time) bool {
	host := strings.TrimPrefix(rawURL, "oci://")
	if u, err := url.Parse(rawURL); err == nil && u.Host != "" {
		host = strings.ToLower(u.Host)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if since := now.Sub(q.since); q.hosts == nil || since >= paceTime || since < 0 {
		q.since, q.hosts = now, map[string]*pace{}
	}
	p := q.hosts[host]
	if p == nil {
		p = &pace{}
		q.hosts[host] = p
	}
	if p.asks >= maxAsks || whole && p.reads >= maxReads {
		return false
	}
	p.asks++
	if whole {
		p.reads++
	}
	return true
}
