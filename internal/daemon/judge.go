package daemon

import (
	"context"
	"io"
	"sync"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/remote/desk"
	"github.com/chartkeep/chartkeep/internal/remote/feed"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// keptBlobs is the registry as the judgement knows it.
type keptBlobs struct{ service *release.Service }

var _ upgrade.Registry = keptBlobs{}

func (r keptBlobs) AllowInstance(ctx context.Context, c audit.Caller, a access.Action) error {
	return r.service.AllowInstance(ctx, c, a)
}

func (r keptBlobs) KeepBlob(ctx context.Context, content io.Reader) (string, int64, error) {
	return r.service.KeepBlob(ctx, content)
}

func (r keptBlobs) OpenBlob(ctx context.Context, digest string) (io.ReadCloser, error) {
	return r.service.OpenKept(ctx, digest)
}

// openJudgement puts the judgement together. It goes out as the watch does.
func (d *Daemon) openJudgement() {
	feeds := advisory.DefaultLimits()
	d.judge = upgrade.New(upgrade.Config{
		Store: d.store, Watch: d.watch, Registry: keptBlobs{d.service}, Mirrors: feed.New(d.out, feeds.Import), Desk: desk.New(d.out),
		Base: d.URL(), Feeds: feeds, Render: manifest.DefaultLimits(), Log: d.log,
	})
}

// judging runs what the judgement does by itself until ctx ends.
func (d *Daemon) judging(ctx context.Context, beside *sync.WaitGroup) {
	beside.Go(func() { d.judge.Work(ctx) })
}
