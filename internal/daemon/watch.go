package daemon

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/remote/notify"
	"github.com/chartkeep/chartkeep/internal/remote/source"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// ownRegistry is the registry as the watch knows it.
type ownRegistry struct{ service *release.Service }

var _ watch.Registry = ownRegistry{}

func (r ownRegistry) AllowInstance(ctx context.Context, c audit.Caller, a access.Action) error {
	return r.service.AllowInstance(ctx, c, a)
}

func (r ownRegistry) MirrorTarget(ctx context.Context, project, upstream string) error {
	return r.service.MirrorTarget(ctx, project, upstream)
}

func (r ownRegistry) Mirror(ctx context.Context, project string, archive io.Reader, o watch.MirrorOrigin) (watch.MirrorResult, error) {
	receipt, err := r.service.Mirror(ctx, project, archive, release.MirrorOrigin(o))
	if err != nil {
		return watch.MirrorResult{}, err
	}
	return watch.MirrorResult{Digest: receipt.Release.Archive, LogIndex: receipt.Release.LogIndex, Unchanged: receipt.Unchanged}, nil
}

func (r ownRegistry) ReleasesAfter(ctx context.Context, logIndex int64, limit int) ([]watch.OwnRelease, error) {
	list, err := r.service.ReleasesAfter(ctx, logIndex, limit)
	out := make([]watch.OwnRelease, len(list))
	for i := range list {
		rel := &list[i]
		out[i] = watch.OwnRelease{Project: rel.Project, Chart: rel.Chart, Version: rel.Version, Archive: rel.Archive, LogIndex: rel.LogIndex}
	}
	return out, err
}

func (r ownRegistry) OpenArchive(ctx context.Context, digest string) (io.ReadCloser, error) {
	return r.service.OpenKept(ctx, digest)
}

func (r ownRegistry) KeepArchive(ctx context.Context, archive []byte) (string, error) {
	return r.service.KeepArchive(ctx, archive)
}

// openWatch puts the watch together.
func (d *Daemon) openWatch(limits chart.Limits) error {
	eventsFor, err := d.cfg.eventsFor()
	if err != nil {
		return err
	}
	sender, err := notify.New(notify.Config{
		Client: d.out, Origin: d.keys.origin, ExternalURL: d.cfg.ExternalURL,
		Mail: notify.Mail{Server: d.cfg.MailServer, From: d.cfg.MailFrom, Credential: d.cfg.MailCredential},
	})
	if err != nil {
		return err
	}
	d.watch = watch.New(watch.Config{
		Store: d.store, Sources: source.New(d.out, source.Config{}), Registry: ownRegistry{d.service}, Sender: sender,
		Base: d.URL(), Limits: limits, Log: d.log, EventsFor: eventsFor,
		OpenAdvisories: func(ctx context.Context, upstream, chart, version string) (string, bool) {
			return d.judge.OpenAdvisories(ctx, upstream, chart, version)
		},
		Reviewed: func(ctx context.Context, chart, archive string) (bool, error) {
			return d.judge.ReviewedArchive(ctx, chart, archive)
		},
	})
	d.openJudgement()
	return nil
}

// watching runs what the watch does by itself until ctx ends: it polls what is
// due, delivers what happened, and takes the fingerprints of new releases.
func (d *Daemon) watching(ctx context.Context, beside *sync.WaitGroup, w *watch.Service) {
	beside.Go(func() { w.Work(ctx) })
	beside.Go(func() { watch.NewNotifier(w).Run(ctx) })
	beside.Go(func() { d.every(ctx, time.Minute, "take fingerprints", w.Fingerprint) })
	beside.Go(func() { d.every(ctx, time.Hour, "forget old events", w.Prune) })
	beside.Go(func() { d.every(ctx, time.Minute, "end alerts", w.EndAlerts) })
	beside.Go(func() { d.every(ctx, time.Minute, "tell of overdue imports", w.TellOverdue) })
}
