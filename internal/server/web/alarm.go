package web

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// alarm is a published version that was changed, from both sides. A page has
// one at most, above all else; the others are listed in it.
type alarm struct {
	Upstream link
	What     link // chart and version
	Message  string
	Question string
	*evidence
	Known     bool // the facts of the version could be read
	FirstSeen moment
	FirstLog  link
	Mirror    link // project that serves the bytes that it released first
	running
	URL    string // the event in its timeline
	Others []alarmRow
	More   int // changes that are not listed
}

type alarmRow struct {
	link     // to the alarm
	Upstream string
	Time     moment
	Message  string
	Current  bool
}

// changes reads the changed versions of the last 30 days, newest first; the
// filter can narrow them to an upstream, a chart or a version.
func (d *Door) changes(ctx context.Context, c release.Caller, filter watch.EventFilter, now time.Time) ([]watch.Event, error) {
	filter.MinSeverity, filter.Since, filter.Limit = watch.High, now.Add(-alarmTime), alarmsRead
	var out []watch.Event
	for _, kind := range []watch.EventKind{watch.Changed, watch.ReturnedChanged} {
		filter.Kind = kind
		events, err := d.cfg.Watching.Events(ctx, c, filter)
		if err != nil {
			return nil, err
		}
		out = append(out, events...)
	}
	slices.SortStableFunc(out, func(a, b watch.Event) int { return cmp.Compare(b.ID, a.ID) })
	return out, nil
}

// alarm shows one of the changes: the one with the id that was picked, else the
// newest. It is nil when there is none.
func (d *Door) alarm(ctx context.Context, c release.Caller, f *frame, changes []watch.Event, picked string, deployed []run, path string) (*alarm, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	at := max(0, slices.IndexFunc(changes, func(e watch.Event) bool { return strconv.FormatInt(e.ID, 10) == picked }))
	e := &changes[at]
	id := strconv.FormatInt(e.ID, 10)
	a := &alarm{
		Upstream: link{e.Upstream, upstreamPath(f.Base, e.Upstream)}, What: f.about(e),
		Message: shown(e.Message, maxSentence), Question: capital(shown(e.Question, maxSentence)), evidence: f.evidence(e),
		URL: upstreamPath(f.Base, e.Upstream) + "?before=" + strconv.FormatInt(e.ID+1, 10) + "&open=" + id + "#e" + id,
	}
	a.running = f.running(e.Upstream, e.Chart, e.Version, a.Sides, deployed)
	for i := range changes {
		o := &changes[i]
		if len(a.Others) == alarmsShown {
			a.More = len(changes) - alarmsShown
			break
		}
		url := path + "?alarm=" + strconv.FormatInt(o.ID, 10)
		a.Others = append(a.Others, alarmRow{link{f.about(o).Text, url}, o.Upstream, moment{o.Time, f.Now.at}, shown(o.Message, maxSentence), i == at})
	}
	if len(changes) == 1 {
		a.Others = nil
	}
	return a, d.readAlarm(ctx, c, f, a, e)
}

// running are the deployments of a version of an upstream.
type running struct {
	Deployed []runningRow
	MoreRuns int
}

type runningRow struct {
	link
	Bytes string // which bytes it runs
}

// running lists the deployments of a version. Sides are those of its change, if
// there was one: an exact match tells on which of them a deployment is.
func (f *frame) running(upstream, name, version string, sides []pair, deployed []run) running {
	var out running
	for i := range deployed {
		m := &deployed[i].Match
		if m.Chart != name || m.Version != version || m.Upstream != upstream && !m.Differs {
			continue
		}
		if len(out.Deployed) == deployedShown {
			out.MoreRuns++
			continue
		}
		row := runningRow{f.keyLink(deployed[i].Key), "going by names: which bytes is not known"}
		switch {
		case m.Differs:
			row.Bytes = "other bytes than those that are known now"
		case m.Confidence == deployment.Exact:
			row.Bytes = "these bytes"
			for _, s := range sides {
				if s.Differs && m.Archive == s.Old {
					row.Bytes = "the bytes from before"
				} else if s.Differs && m.Archive == s.New {
					row.Bytes = "the bytes that are offered now"
				}
			}
		}
		out.Deployed = append(out.Deployed, row)
	}
	return out
}

// readAlarm fills in what is known of the version itself. An upstream that is
// watched no more has left its events alone.
func (d *Door) readAlarm(ctx context.Context, c release.Caller, f *frame, a *alarm, e *watch.Event) error {
	list, err := d.cfg.Watching.Upstreams(ctx, c)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(u watch.Upstream) bool { return u.Name == e.Upstream })
	if at < 0 {
		a.Upstream.URL, a.What.URL = "", ""
		return nil
	}
	if m := list[at].Mirror; m != nil {
		a.Mirror = link{m.Project, projectPath(f.Base, m.Project)}
	}
	versions, err := d.cfg.Watching.Versions(ctx, c, e.Upstream, e.Chart)
	if err != nil {
		return err
	}
	for i := range versions {
		v := &versions[i]
		if v.Chart != e.Chart || v.Version != e.Version || v.SourceID != e.SourceID {
			continue
		}
		a.Known, a.FirstSeen = true, moment{v.FirstSeen, f.Now.at}
		a.Facts = slices.DeleteFunc(a.Facts, func(l fact) bool { return l.Label == "first seen" }) // it stands on its side
		a.FirstLog = link{number(v.LogIndex), leafPath(f.Base, v.LogIndex)}
	}
	return nil
}
