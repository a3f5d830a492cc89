package client

import (
	"context"
	"maps"
	"net/url"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// LogInfo is the transparency log as the server says it stands. A key fetched
// from the server that it is to check proves nothing.
type LogInfo struct {
	Origin      string    `json:"origin"`
	Size        int64     `json:"size"`
	Root        string    `json:"root"` // base64
	Time        time.Time `json:"time"`
	VerifierKey string    `json:"verifier_key"`
	Checkpoint  string    `json:"checkpoint"` // the signed note
}

// LogLeaf is one entry of the log.
type LogLeaf struct {
	Index int64  `json:"index"`
	Leaf  string `json:"leaf"`
	Hash  string `json:"hash"` // base64
}

// Version is what runs at the server.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
}

// AuditRecord is an audit event with its place in the audit log.
type AuditRecord struct {
	Index  int64     `json:"index"`
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Event  string    `json:"event"` // such as release.refused.overwrite
	Action string    `json:"action,omitempty"`
	Actor  struct {
		Kind    string `json:"kind"`
		ID      string `json:"id,omitempty"`
		Name    string `json:"name,omitempty"`
		Issuer  string `json:"issuer,omitempty"`
		Subject string `json:"subject,omitempty"` // of a pipeline at its issuer
		Token   string `json:"token,omitempty"`
	} `json:"actor"`
	Resource struct {
		Project string `json:"project,omitempty"`
		Chart   string `json:"chart,omitempty"`
		Version string `json:"version,omitempty"`
		Digest  string `json:"digest,omitempty"`
	} `json:"resource,omitzero"`
	Outcome struct {
		Result string `json:"result"` // allowed, denied or error
		Rule   string `json:"rule,omitempty"`
		Status int    `json:"status,omitempty"`
	} `json:"outcome"`
	Before    string            `json:"before,omitempty"`
	After     string            `json:"after,omitempty"`
	Request   string            `json:"request,omitempty"`
	Door      string            `json:"door"`
	Reason    string            `json:"reason,omitempty"`
	Detail    map[string]string `json:"detail,omitempty"`
	Source    string            `json:"source,omitempty"` // the commitment to IP and UserAgent
	IP        string            `json:"ip,omitempty"`
	UserAgent string            `json:"user_agent,omitempty"`
}

// AuditFilter selects audit events; empty fields select all. Event is a name,
// or a prefix of names that ends in a dot.
type AuditFilter struct {
	Project, Chart, Version string
	Event, Actor, Outcome   string
	Source                  string    // address that the request came from
	Rule                    string    // that refused
	Since, Until            time.Time // whole seconds; Since is in the span, Until is not
}

// Version returns the version of the server.
func (c *Client) Version(ctx context.Context) (out Version, err error) {
	err = c.get(ctx, "/version", nil, "version/v1", &out)
	return out, err
}

// LogInfo returns where the log stands.
func (c *Client) LogInfo(ctx context.Context) (out LogInfo, err error) {
	err = c.get(ctx, "/log", nil, "log/v1", &out)
	return out, err
}

// Checkpoint returns the newest signed checkpoint in its exact bytes.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	return c.file(ctx, "/log/checkpoint", tlog.MaxCheckpoint)
}

// Leaf returns an entry of the log.
func (c *Client) Leaf(ctx context.Context, index int64) (out LogLeaf, err error) {
	err = c.get(ctx, "/log/leaves/"+strconv.FormatInt(index, 10), nil, "log-leaf/v1", &out)
	return out, err
}

// Consistency returns the proof that the log of size to continues that of size
// from; tlog.VerifyConsistency checks it.
func (c *Client) Consistency(ctx context.Context, from, to int64) ([]tlog.Hash, error) {
	var out struct {
		Hashes []string `json:"hashes"`
	}
	q := url.Values{"old": {strconv.FormatInt(from, 10)}, "new": {strconv.FormatInt(to, 10)}}
	if err := c.get(ctx, "/log/consistency", q, "log-consistency/v1", &out); err != nil {
		return nil, err
	}
	if len(out.Hashes) > 64 {
		return nil, problem.New(problem.Unavailable, "answer", "the server's consistency proof has %d hashes, more than any has", len(out.Hashes))
	}
	hashes := make([]tlog.Hash, len(out.Hashes))
	for i, s := range out.Hashes {
		h, err := parseHash(s)
		if err != nil {
			return nil, problem.New(problem.Unavailable, "answer", "the server's consistency proof is not well formed").Because(err)
		}
		hashes[i] = h
	}
	return hashes, nil
}

// parseHash reads a hash in base64.
func parseHash(s string) (h tlog.Hash, err error) {
	if err := h.UnmarshalJSON([]byte(strconv.Quote(s))); err != nil {
		return h, problem.New(problem.Invalid, "hash", "%.60q is not a hash", s).Because(err)
	}
	return h, nil
}

// Audit lists audit events, the newest first.
func (c *Client) Audit(ctx context.Context, f AuditFilter, p Page) (l List[AuditRecord], err error) {
	q := f.values()
	maps.Copy(q, p.values())
	err = c.get(ctx, "/audit", q, "audit-list/v1", &l)
	return l, err
}
