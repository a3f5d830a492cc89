package watch

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// newestOf is the newest version of a chart that is listed: by SemVer, stable
// before pre-releases; nil when none is listed.
func (r *round) newestOf(name string) *version {
	var best *version
	for _, v := range r.charts[name] {
		if !v.Gone && v.Fault == "" && (best == nil || v.newer(best)) {
			best = v
		}
	}
	return best
}

func (v *version) newer(than *version) bool {
	v.order()
	than.order()
	if v.stable != than.stable {
		return v.stable
	}
	return v.sortKey > than.sortKey
}

// order finds the identity of a version, where it stands among others, and
// whether it is a pre-release, as Helm reads it.
func (v *version) order() {
	if v.sortKey == "" {
		v.key, v.sortKey = chart.LenientVersion(v.Version)
		v.stable = v.key != "" && !strings.Contains(v.key, "-")
	}
}

// newest says of each chart whether its newest version is deprecated.
func (r *round) newest() map[string]bool {
	out := make(map[string]bool, len(r.charts))
	for name := range r.charts {
		if v := r.newestOf(name); v != nil {
			out[name] = v.Deprecated
		}
	}
	return out
}

// deprecated tells of charts whose newest version says that the chart is
// deprecated, when the newest did not say so before.
func (r *round) deprecated(before map[string]bool) {
	for name := range r.charts {
		was, known := before[name]
		v := r.newestOf(name)
		if v == nil || !v.Deprecated || was || !known {
			continue
		}
		e := r.event(Deprecated, Medium, name, v.Version, "the chart %s is deprecated, says its newest version %s", name, v.Version)
		e.Question = askQuiet
		e.Key = eventKey(e.Kind, r.source.ID, name, v.Version, stamp(v.last))
		v.told, v.touched = append(v.told, e), true
	}
}

// quiet tells of charts that had no new version for long.
//
// A version counts from when we first saw it. Those that the first poll found
// are older than that: of them the upstream's own time is taken where it is
// earlier, and it is said whose time it is. An upstream that rewrites its times
// is called quiet later, by QuietAfter after the first poll at the latest.
//
// It is told once for each newest version, and once more when advisories on it
// are open: then nobody repairs what is known to be broken.
func (r *round) quiet(ctx context.Context) {
	after := time.Duration(r.lease.Upstream.QuietAfter)
	if after == 0 {
		return
	}
	began := r.began()
	for name, versions := range r.charts {
		newest := r.newestOf(name)
		if newest == nil || newest.Deprecated {
			continue // it was said before, or there is nothing left
		}
		var last time.Time
		var from *version
		said := false
		for _, v := range versions {
			at, theirs := v.FirstSeen, false
			if v.fresh {
				at = r.now
			}
			if !at.After(began.Add(pollHold)) && !v.Created.IsZero() && v.Created.Before(at) {
				at, theirs = v.Created, true
			}
			if at.After(last) || at.Equal(last) && v == newest {
				last, from, said = at, v, theirs
			}
		}
		silent := r.now.Sub(last)
		if silent < after {
			continue
		}
		e := r.event(GoneQuiet, Medium, name, newest.Version, "%s had no new version for %s", name, counted(int(silent.Hours()/24), "day"))
		e.Question = askQuiet
		e.with("newest version", newest.Version)
		e.with("app version", newest.AppVersion)
		e.with("last new version", from.Version)
		if said {
			e.with("published, as the upstream says", timeText(last))
		} else {
			e.with("first seen", timeText(last))
		}
		e.with("called quiet after", r.lease.Upstream.QuietAfter.String())
		text, open := "", false
		if r.openAdvisories != nil {
			text, open = r.openAdvisories(ctx, r.lease.Upstream.Name, name, newest.Version)
		}
		e.with("open advisories", cmp.Or(text, "not known"))
		e.Key = eventKey(e.Kind, r.source.ID, name, newest.Version)
		if open {
			e.Severity, e.Message = High, e.Message+", and advisories on its newest version are open"
			e.Key = eventKey(e.Kind, r.source.ID, name, newest.Version, "advisories open")
		}
		r.events = append(r.events, e)
	}
}

// began is when the source was first read: nothing that it listed then is known
// to be any younger.
func (r *round) began() time.Time {
	began := r.now
	for _, versions := range r.charts {
		for _, v := range versions {
			if !v.fresh && v.FirstSeen.Before(began) {
				began = v.FirstSeen
			}
		}
	}
	return began
}

// repository tells where a source is now, and that nobody works on it.
func (r *round) repository() {
	state := r.found.Repository
	to := r.found.MovedTo
	if state != nil && state.MovedTo != "" {
		to = state.MovedTo
	}
	if to != "" && to != r.was.Moved {
		e := r.event(Moved, Medium, "", "", "%s answers from another address", r.source.URL)
		e.Question = askMoved
		e.with("address now", to)
		e.Key = eventKey(e.Kind, r.source.ID, to, stamp(r.was.LastPoll))
		r.events = append(r.events, e)
	}
	if to != "" || !r.found.Unchanged {
		r.health.Moved = to
	}
	if state == nil {
		return
	}
	if state.Archived && !r.was.Archived {
		e := r.event(Archived, Medium, "", "", "the repository %s is archived: nobody can change it", r.source.URL)
		e.Question = askDead
		e.Key = eventKey(e.Kind, r.source.ID, stamp(r.was.LastPoll))
		r.events = append(r.events, e)
	}
	r.health.Archived = state.Archived
}
