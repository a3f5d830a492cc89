package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Protecting is what the pages ask of the registry about rights, policies and
// what takes two people. The rules of Service hold for its methods, too.
type Protecting interface {
	Holders(ctx context.Context, c release.Caller, f release.HolderFilter) ([]release.Holder, error)
	AddGrant(ctx context.Context, c release.Caller, account string, g access.Grant) (access.Grant, error)
	RevokeGrant(ctx context.Context, c release.Caller, id string) error
	RevokeToken(ctx context.Context, c release.Caller, id string) error
	Publishers(ctx context.Context, c release.Caller, project, made string) ([]release.Publisher, error)
	RemovePublisher(ctx context.Context, c release.Caller, id string) error

	// PolicyDocument returns a policy by its digest, as canonical JSON.
	PolicyDocument(ctx context.Context, c release.Caller, digest string) ([]byte, error)
	// TryPolicy changes nothing.
	TryPolicy(ctx context.Context, c release.Caller, project string, policy release.Policy, name, version, after string) (release.Trial, error)
	SetProject(ctx context.Context, c release.Caller, name string, ch release.ProjectChange) (release.ProjectSet, error)

	SetQuarantine(ctx context.Context, c release.Caller, project, chart, version, reason, text string) (release.Release, error)
	ConfirmQuarantine(ctx context.Context, c release.Caller, project, chart, version, text string) (release.Release, error)
	LiftQuarantine(ctx context.Context, c release.Caller, project, chart, version, text string) (release.Release, error)
	// Quarantines lists what is in quarantine, of all projects for "", oldest
	// first.
	Quarantines(ctx context.Context, c release.Caller, project string) ([]release.Release, error)
	RequestTombstone(ctx context.Context, c release.Caller, project, chart, version, reason, text string) (release.Request, error)
	// Requests lists requests, newest first.
	Requests(ctx context.Context, c release.Caller, f release.RequestFilter) ([]release.Request, error)
	Request(ctx context.Context, c release.Caller, id int64) (release.Request, error)
	ApproveRequest(ctx context.Context, c release.Caller, id int64, text string) (release.Request, error)
	DeclineRequest(ctx context.Context, c release.Caller, id int64, text string) (release.Request, error)
	WithdrawRequest(ctx context.Context, c release.Caller, id int64, text string) (release.Request, error)
}

// Alerting is what the pages ask about alerts.
type Alerting interface {
	// Alerts lists alerts, newest first; open leaves out those that ended.
	Alerts(ctx context.Context, c audit.Caller, open bool, limit int) ([]watch.Alert, error)
	// AlertDeliveries says what was sent of an alert, by route.
	AlertDeliveries(ctx context.Context, c audit.Caller, id int64) ([]watch.Delivery, error)
}

// protection serves the pages of rights, policies, requests and alerts.
func (d *Door) protection(w http.ResponseWriter, r *http.Request, req request) error {
	switch req.page {
	case pageAccess:
		return d.access(w, r, req.project, refusal{})
	case pagePolicy:
		return d.policy(w, r, req.project, proposal{})
	case pageRequests:
		return d.requests(w, r)
	case pageRequest:
		return d.request(w, r, req.index)
	case pageAlerts:
		return d.alerts(w, r)
	}
	return fmt.Errorf("serve %s: page %d has no handler", r.URL.Path, req.page)
}

// protect does what a form of these pages asks for.
func (d *Door) protect(w http.ResponseWriter, r *http.Request, req request) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	switch req.page {
	case pageAccess:
		return d.setAccess(w, r, req.project)
	case pagePolicy:
		return d.propose(w, r, req.project)
	case pageRequest:
		return d.decide(w, r, req.index)
	case pageQuarantine:
		return d.quarantine(w, r, req)
	}
	return d.tombstone(w, r, req)
}

// maxPolicyForm bounds the form of a policy: every byte of the document may be
// escaped.
const maxPolicyForm = 3*release.MaxPolicy + maxForm

// person of a caller: the account behind it.
func accountOf(c *release.Caller) string {
	if c.Principal.Of != nil {
		return c.Principal.Of.ID
	}
	return c.Principal.ID
}

// isPerson says whether somebody may be one of two people.
func isPerson(c *release.Caller) bool {
	return c.Principal.Kind == access.KindUser && (c.Principal.Of == nil || c.Principal.Of.Kind == access.KindUser)
}

// mayAct asks for a right in a project, "" for the server, without a chart.
func (d *Door) mayAct(ctx context.Context, c release.Caller, a access.Action, project string) bool {
	return d.can(ctx, c, a, project, "", false)
}
