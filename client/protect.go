package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Quarantine is why, when and by whom a release was blocked.
type Quarantine struct {
	Reason          string    `json:"reason"` // malware, secret, legal or other
	Text            string    `json:"text,omitempty"`
	By              string    `json:"by"`
	ByName          string    `json:"by_name"`
	Time            time.Time `json:"time"`
	LogIndex        int64     `json:"log_index"`
	Lapses          time.Time `json:"lapses,omitzero"` // when it is served again, unless a second person confirms
	Confirmed       time.Time `json:"confirmed,omitzero"`
	ConfirmedBy     string    `json:"confirmed_by,omitempty"`
	ConfirmedByName string    `json:"confirmed_by_name,omitempty"`
}

// Tombstone is why and when the bytes of a release went, and which two people
// wanted it.
type Tombstone struct {
	Reason        string    `json:"reason"`
	Text          string    `json:"text,omitempty"`
	Requester     string    `json:"requester"`
	RequesterName string    `json:"requester_name"`
	Approver      string    `json:"approver"`
	ApproverName  string    `json:"approver_name"`
	Time          time.Time `json:"time"`
	LogIndex      int64     `json:"log_index"`
	Request       int64     `json:"request"`
}

// Request is something that one person asks for and another decides.
type Request struct {
	ID            int64           `json:"id"`
	Kind          string          `json:"kind"` // tombstone or policy
	Project       string          `json:"project"`
	Chart         string          `json:"chart,omitempty"`
	Version       string          `json:"version,omitempty"`
	Digest        string          `json:"digest,omitempty"`
	Before        string          `json:"before,omitempty"` // digests of policies
	After         string          `json:"after,omitempty"`
	Document      json.RawMessage `json:"document,omitempty"` // the policy that is asked for
	Weaker        []string        `json:"weaker,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	Text          string          `json:"text,omitempty"`
	Requester     string          `json:"requester"`
	RequesterName string          `json:"requester_name"`
	Made          time.Time       `json:"made"`
	Expires       time.Time       `json:"expires"`
	State         string          `json:"state"` // waiting, approved, declined, withdrawn, lapsed or done
	Decider       string          `json:"decider,omitempty"`
	DeciderName   string          `json:"decider_name,omitempty"`
	Decided       time.Time       `json:"decided,omitzero"`
	Effective     time.Time       `json:"effective,omitzero"`
	Answer        string          `json:"answer,omitempty"`
}

// SetQuarantine blocks a release at every door, at once. Another person has to
// confirm it within a day, or it is served again.
func (c *Client) SetQuarantine(ctx context.Context, project, chartName, version, reason, text string) (Release, error) {
	return c.setState(ctx, project, chartName, version, "/quarantine", map[string]string{"reason": reason, "text": text})
}

// ConfirmQuarantine makes a quarantine stay that another person set.
func (c *Client) ConfirmQuarantine(ctx context.Context, project, chartName, version, text string) (Release, error) {
	return c.setState(ctx, project, chartName, version, "/quarantine/confirm", map[string]string{"text": text})
}

// LiftQuarantine serves a release again.
func (c *Client) LiftQuarantine(ctx context.Context, project, chartName, version, text string) (Release, error) {
	return c.setState(ctx, project, chartName, version, "/quarantine/lift", map[string]string{"text": text})
}

// Quarantines lists what is in quarantine, oldest first; project "" lists what
// is in any.
func (c *Client) Quarantines(ctx context.Context, project string, p Page) (l List[Release], err error) {
	err = c.get(ctx, "/quarantines", with(p.values(), "project", project), "release-list/v1", &l)
	return l, err
}

// RequestTombstone asks that the bytes of a release go for good.
func (c *Client) RequestTombstone(ctx context.Context, project, chartName, version, reason, text string) (out Request, err error) {
	path, err := releasePath(project, chartName, version)
	if err != nil {
		return out, err
	}
	err = c.send(ctx, http.MethodPost, path+"/tombstone", map[string]string{"reason": reason, "text": text}, "request/v1", &out)
	return out, err
}

// Requests lists requests, newest first; all also lists those that are over.
func (c *Client) Requests(ctx context.Context, project string, all bool, p Page) (l List[Request], err error) {
	q := with(p.values(), "project", project)
	if all {
		q.Set("all", "true")
	}
	err = c.get(ctx, "/requests", q, "request-list/v1", &l)
	return l, err
}

// Request returns one request.
func (c *Client) Request(ctx context.Context, id int64) (out Request, err error) {
	err = c.get(ctx, "/requests/"+strconv.FormatInt(id, 10), nil, "request/v1", &out)
	return out, err
}

// ApproveRequest agrees with a request of another person.
func (c *Client) ApproveRequest(ctx context.Context, id int64, text string) (Request, error) {
	return c.decideRequest(ctx, id, "approve", text)
}

// DeclineRequest says no to a request.
func (c *Client) DeclineRequest(ctx context.Context, id int64, text string) (Request, error) {
	return c.decideRequest(ctx, id, "decline", text)
}

// WithdrawRequest takes a request back, also one that was approved and has not
// taken effect.
func (c *Client) WithdrawRequest(ctx context.Context, id int64, text string) (Request, error) {
	return c.decideRequest(ctx, id, "withdraw", text)
}

func (c *Client) decideRequest(ctx context.Context, id int64, verb, text string) (out Request, err error) {
	err = c.send(ctx, http.MethodPost, "/requests/"+strconv.FormatInt(id, 10)+"/"+verb, map[string]string{"text": text}, "request/v1", &out)
	return out, err
}

// Place is a deployment that runs a release, or may run it.
type Place struct {
	Key         string    `json:"key"`
	Cluster     string    `json:"cluster,omitempty"`
	Namespace   string    `json:"namespace,omitempty"`
	Name        string    `json:"name"`
	Environment string    `json:"environment,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	Chart       string    `json:"chart"` // that is deployed
	Version     string    `json:"version,omitempty"`
	Dependency  bool      `json:"dependency,omitempty"` // the release is a part of that chart
	Confidence  string    `json:"confidence"`           // exact, strong, weak or unknown
	How         string    `json:"how"`
	LastSeen    time.Time `json:"last_seen"`
}

// Whereabouts are the deployments of one archive.
type Whereabouts struct {
	Digest   string    `json:"digest"`
	Releases []Release `json:"releases"` // that have these bytes, or had
	Running  []Place   `json:"running"`  // surest first
	Unknown  []Place   `json:"unknown"`  // of which it cannot be told; never to be taken for free of it
}

// Where lists the deployments that run an archive, by its digest or that of
// its manifest.
func (c *Client) Where(ctx context.Context, digest string) (out Whereabouts, err error) {
	err = c.get(ctx, "/where", url.Values{"digest": {digest}}, "where/v1", &out)
	return out, err
}

// WhereRelease lists the deployments that run a release.
func (c *Client) WhereRelease(ctx context.Context, project, chartName, version string) (out Whereabouts, err error) {
	err = c.get(ctx, "/where", url.Values{"project": {project}, "chart": {chartName}, "version": {version}}, "where/v1", &out)
	return out, err
}

// with adds a parameter unless it is empty.
func with(q url.Values, name, value string) url.Values {
	if value != "" {
		q.Set(name, value)
	}
	return q
}
