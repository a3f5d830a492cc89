package watch

import (
	"path"
	"slices"
	"time"
)

// maxTogether is how many events that are told at once go into one message. A
// digest takes as many as there are.
const maxTogether = 20

// digestHour is when digests go out, in UTC.
const digestHour = 6

// Due is when what happens at a time is told: at once, or at the next slot of
// the digest after it, which is 06:00 UTC of a day or of a Monday.
func (d Digest) Due(t time.Time) time.Time {
	if d == Immediately {
		return t
	}
	t = t.UTC()
	slot := time.Date(t.Year(), t.Month(), t.Day(), digestHour, 0, 0, 0, time.UTC)
	for !slot.After(t) || d == Weekly && slot.Weekday() != time.Monday {
		slot = slot.AddDate(0, 0, 1)
	}
	return slot
}

// audience is whom events may concern, as it is at a time.
type audience struct {
	now     time.Time
	routes  []Route
	mirrors map[string]string // project of the mirror, by upstream

	byKey      map[string]concerned
	byUpstream map[[2]string][]concerned // by upstream and chart; chart "" has all of it
	byProject  map[[2]string][]concerned
	byImport   map[string][]concerned
}

// concerned says who is told of a deployment.
type concerned struct{ owner, route string }

func newAudience(now time.Time, routes []Route, deployments []Deployment, upstreams []Upstream) *audience {
	a := &audience{
		now: now, routes: routes, mirrors: map[string]string{},
		byKey: map[string]concerned{}, byUpstream: map[[2]string][]concerned{}, byProject: map[[2]string][]concerned{},
		byImport: map[string][]concerned{},
	}
	for _, u := range upstreams {
		if u.Mirror != nil {
			a.mirrors[u.Name] = u.Mirror.Project
		}
	}
	for i := range deployments {
		d := &deployments[i]
		c := concerned{d.Owner, d.Route}
		if c == (concerned{}) {
			continue
		}
		a.byKey[d.Key] = c
		note := func(in map[[2]string][]concerned, where string) {
			for _, k := range [][2]string{{where, d.Match.Chart}, {where, ""}} {
				if where != "" && !slices.Contains(in[k], c) {
					in[k] = append(in[k], c)
				}
			}
		}
		note(a.byUpstream, d.Match.Upstream)
		note(a.byProject, d.Match.Project)
		if !slices.Contains(a.byImport[d.Import], c) {
			a.byImport[d.Import] = append(a.byImport[d.Import], c)
		}
	}
	return a
}

// of lists who is concerned by an event: those of its deployment, and those of
// every deployment that runs a version of its chart, from the upstream or from
// the project that mirrors it. An event about a whole upstream concerns those
// of everything that came from it, and one about an import those of all that it
// brought.
func (a *audience) of(e *Event) []concerned {
	var out []concerned
	if e.Owner != "" || e.Route != "" {
		out = append(out, concerned{e.Owner, e.Route})
	}
	if e.Deployment != "" {
		return append(out, a.byKey[e.Deployment])
	}
	if e.Import != "" {
		return append(out, a.byImport[e.Import]...)
	}
	out = append(out, a.byUpstream[[2]string{e.Upstream, e.Chart}]...)
	projects := []string{e.Project}
	if p := a.mirrors[e.Upstream]; p != e.Project {
		projects = append(projects, p)
	}
	for _, p := range projects {
		out = append(out, a.byProject[[2]string{p, e.Chart}]...)
	}
	return out
}

// plan makes the deliveries of events: each event once for each route that
// takes it. It depends on its arguments alone; the store names deliveries.
// Cost: routes times events.
func (a *audience) plan(events []Event) []Delivery {
	var out []Delivery
	for i := range a.routes {
		r := &a.routes[i]
		var taken []Event
		seen := map[string]bool{}
		for j := range events {
			e := &events[j]
			if !seen[e.Key] && a.takes(r, e) {
				seen[e.Key] = true
				taken = append(taken, *e)
			}
		}
		most := maxTogether
		if r.Digest != Immediately {
			most = max(len(taken), 1)
		}
		for part := range slices.Chunk(taken, most) {
			out = append(out, Delivery{
				RouteID: r.ID, Route: r.Name, Events: part, Due: r.Digest.Due(a.now), State: DeliveryWaiting,
			})
		}
	}
	return out
}

// takes reports whether a route takes an event. All of its conditions must
// hold. An event whose severity is not known is taken whatever the least is.
func (a *audience) takes(r *Route, e *Event) bool {
	if len(r.Events) > 0 && !slices.Contains(r.Events, e.Kind) ||
		e.Severity.Rank() >= 0 && e.Severity.Rank() < r.MinSeverity.Rank() ||
		!fits(r.Upstreams, e.Upstream) || !fits(r.Charts, e.Chart) ||
		!fits(r.Projects, e.Project) && !fits(r.Projects, a.mirrors[e.Upstream]) {
		return false
	}
	return len(r.Owners) == 0 || slices.ContainsFunc(a.of(e), func(c concerned) bool {
		return c.route != "" && c.route == r.Name || c.owner != "" && slices.Contains(r.Owners, c.owner)
	})
}

// fits reports whether a name fits one of the globs; without globs every name
// does. What has no name fits none.
func fits(globs []string, name string) bool {
	if len(globs) == 0 {
		return true
	}
	return name != "" && slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, name)
		return err == nil && ok
	})
}
