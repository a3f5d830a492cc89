package daemon

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server/web"
)

// healthTimeout is how long the parts of a report may take together.
const healthTimeout = 5 * time.Second

// Health implements web.Health. Cost: the checks of /readyz, two heads, all
// routes, and at most web.AlertsMost alerts and web.UntoldMost events.
func (d *Daemon) Health(ctx context.Context) web.HealthReport {
	ctx, stop := context.WithTimeout(ctx, healthTimeout)
	defer stop()
	rep := web.HealthReport{
		Commit: ReadBuild().Commit, Started: d.started, Database: "SQLite", ReadOnly: d.store.ReadOnly(), RecordsMissing: d.custody.Missing(), Jobs: d.jobs.list(),
	}
	if d.cfg.Database != "" {
		rep.Database = "PostgreSQL"
	}
	for _, c := range d.checks {
		rep.Checks = append(rep.Checks, web.HealthCheck{Name: c.Name, Err: c.Run(ctx)})
	}
	for _, log := range custody.Logs {
		kept := web.KeptLog{Name: "releases", Size: -1, Kept: d.custody.Kept(log)}
		name := release.ReleaseLog
		if log == custody.Audits {
			kept.Name, name = "audit events", release.AuditLog
		}
		if head, err := d.store.StoredHead(ctx, name); err == nil {
			kept.Size = head.Size
		}
		rep.Kept = append(rep.Kept, kept)
	}
	rep.Untold, rep.UntoldErr = d.store.Waiting(ctx, web.UntoldMost)
	alerts, err := d.store.ListAlerts(ctx, true, web.AlertsMost)
	rep.Alerts, rep.AlertsErr = len(alerts), err
	routes, err := d.store.Routes(ctx)
	rep.RoutesErr = err
	for i := range routes {
		r := &routes[i]
		state := web.RouteState{Name: r.Name, Waiting: r.Health.Waiting, Failed: r.Health.Failed, LastSuccess: r.Health.LastSuccess}
		if r.Health.LastFailure.After(r.Health.LastSuccess) {
			state.Error = r.Health.Error
		}
		rep.Routes = append(rep.Routes, state)
	}
	// Both were read when the server was put together.
	rep.ScrubRate, _ = d.cfg.scrubRate()
	rep.ScrubEvery, _ = d.cfg.scrubEvery()
	return rep
}

// jobs remembers how the jobs fare that run again and again.
type jobs struct {
	mu   sync.Mutex
	last map[string]web.JobState
}

func (j *jobs) note(name string, at time.Time, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last == nil {
		j.last = map[string]web.JobState{}
	}
	j.last[name] = web.JobState{Name: name, Last: at, Err: err}
}

func (j *jobs) list() []web.JobState {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]web.JobState, 0, len(j.last))
	for _, s := range j.last {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b web.JobState) int { return strings.Compare(a.Name, b.Name) })
	return out
}
