package api

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Watching is what the API needs of the watch; *watch.Service has it.
// Authorisation is inside.
type Watching interface {
	Upstreams(ctx context.Context, c audit.Caller) ([]watch.Upstream, error)
	Upstream(ctx context.Context, c audit.Caller, name string) (watch.Upstream, error)
	AddUpstream(ctx context.Context, c audit.Caller, u watch.NewUpstream) (watch.Upstream, error)
	SetUpstream(ctx context.Context, c audit.Caller, name string, ch watch.UpstreamChange) (watch.Upstream, error)
	RemoveUpstream(ctx context.Context, c audit.Caller, name string) error
	PollNow(ctx context.Context, c audit.Caller, name string) error
	Versions(ctx context.Context, c audit.Caller, upstream, chart string) ([]watch.VersionState, error)
	KeptArchive(ctx context.Context, c audit.Caller, upstream, chart, version, which string) (archive []byte, digest string, err error)
	Notes(ctx context.Context, c audit.Caller, upstream, chart, version string, limit int) ([]watch.Note, error)
	Events(ctx context.Context, c audit.Caller, f watch.EventFilter) ([]watch.Event, error)
	EventFeed(ctx context.Context, c audit.Caller, f watch.EventFilter, base string) ([]byte, error)

	DeploymentList(ctx context.Context, c audit.Caller, importName string) ([]watch.Deployment, error)
	Imports(ctx context.Context, c audit.Caller) ([]watch.Import, error)
	Deployment(ctx context.Context, c audit.Caller, key string) (watch.Deployment, error)
	SetDeployment(ctx context.Context, c audit.Caller, key string, ch watch.DeploymentChange) (watch.Deployment, error)
	ImportDeployments(ctx context.Context, c audit.Caller, name string, found deployment.Inventory, every *watch.Duration) (watch.ImportResult, error)
	Outdated(ctx context.Context, c audit.Caller, importName string) ([]deployment.Row, error)
	Where(ctx context.Context, c audit.Caller, w watch.Wanted) (watch.Whereabouts, error)
	CompareEnvironments(ctx context.Context, c audit.Caller, a, b string) (deployment.Differences, error)

	Routes(ctx context.Context, c audit.Caller) ([]watch.Route, error)
	AddRoute(ctx context.Context, c audit.Caller, r watch.Route) (watch.Route, error)
	RemoveRoute(ctx context.Context, c audit.Caller, name string) error
	TestRoute(ctx context.Context, c audit.Caller, name string) error
	ResendDeliveries(ctx context.Context, c audit.Caller, route, delivery string) (int, error)
	RouteDeliveries(ctx context.Context, c audit.Caller, route string, limit int) ([]watch.Delivery, error)

	Alerts(ctx context.Context, c audit.Caller, open bool, limit int) ([]watch.Alert, error)
	AlertDeliveries(ctx context.Context, c audit.Caller, id int64) ([]watch.Delivery, error)
	TestAlert(ctx context.Context, c audit.Caller) (key string, err error)
}
