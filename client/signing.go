package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// Signature is one signature of a release, and what came of looking at it.
type Signature = signature.Signature

// SignaturePolicy is what a project asks of signatures, and Signer a key or an
// identity with what it may sign.
type (
	SignaturePolicy = signature.Policy
	Signer          = signature.Signer
)

// Signed is what came of the signatures of a release.
type Signed struct {
	Signatures []Signature `json:"signatures,omitempty"`
	Waits      []string    `json:"waits_for,omitempty"`    // what a staged release still needs
	Would      []string    `json:"would_refuse,omitempty"` // what a policy that only reports would have refused
}

// StagedRelease is a release that nobody sees yet.
type StagedRelease struct {
	Release
	Waits []string `json:"waits_for"`
}

// Trial is what a policy would have said of the releases of a project.
type Trial struct {
	Weaker   []string       `json:"weaker"` // what it lets through that the project's policy refuses
	Examined int            `json:"examined"`
	Items    []TrialRelease `json:"items"` // those that it would have refused
	Next     string         `json:"next,omitempty"`
}

// TrialRelease is what a policy would have said of a release.
type TrialRelease struct {
	Release    string      `json:"release"`
	Time       string      `json:"time"`
	Refused    []string    `json:"refused"`
	Signatures []Signature `json:"signatures"`
}

// MaxBundle bounds a sigstore bundle, in bytes.
const MaxBundle = signature.MaxBundle

// AttachBundle attaches a sigstore bundle to a release.
func (c *Client) AttachBundle(ctx context.Context, project, chartName, version string, bundle []byte) (out Receipt, err error) {
	path, err := releasePath(project, chartName, version)
	if err != nil {
		return out, err
	}
	err = c.json(ctx, call{
		method: http.MethodPost, path: api + path + "/signatures",
		body: bytes.NewReader(bundle), size: int64(len(bundle)), contentType: signature.MediaType,
	}, "release-receipt/v1", &out)
	return out, err
}

// Bundle fetches a sigstore bundle of a release by the digest of its signature.
func (c *Client) Bundle(ctx context.Context, project, chartName, version, d string) ([]byte, error) {
	path, err := releasePath(project, chartName, version)
	if err != nil {
		return nil, err
	}
	of, err := segments(d)
	if err != nil {
		return nil, err
	}
	return c.file(ctx, api+path+"/signatures"+of, MaxBundle)
}

// Staged lists the releases of a project that wait for something.
func (c *Client) Staged(ctx context.Context, project string, p Page) (l List[StagedRelease], err error) {
	path, err := projectPath(project)
	if err != nil {
		return l, err
	}
	err = c.get(ctx, path+"/-/staged", p.values(), "staged-list/v1", &l)
	return l, err
}

// PolicyDocument fetches a policy by the digest that leaves name it by, and
// makes sure that it is the one.
func (c *Client) PolicyDocument(ctx context.Context, d string) (json.RawMessage, error) {
	of, err := segments(d)
	if err != nil {
		return nil, err
	}
	b, err := c.file(ctx, api+"/policies"+of, MaxPolicy)
	if err != nil {
		return nil, err
	}
	if got := digest.SHA256(b); got != d {
		return nil, problem.New(problem.Disproven, "policy-digest", "the server answered with another policy than the one that was asked for").
			With("asked", "%s", d).With("answered", "%s", got)
	}
	return b, nil
}

// MaxPolicy bounds the document of a policy in bytes.
const MaxPolicy = 256 << 10

// TryPolicy asks what a policy would have said of what is released. It changes
// nothing. Chart and version may be empty; after is Next of the answer before.
func (c *Client) TryPolicy(ctx context.Context, project string, document json.RawMessage, chartName, version, after string) (out Trial, err error) {
	path, err := projectPath(project)
	if err != nil {
		return out, err
	}
	q := url.Values{}
	for name, value := range map[string]string{"chart": chartName, "version": version, "after": after} {
		if value != "" {
			q.Set(name, value)
		}
	}
	err = c.json(ctx, call{
		method: http.MethodPost, path: api + path + "/-/policy-trial", query: q,
		body: bytes.NewReader(document), size: int64(len(document)), contentType: "application/json",
	}, "policy-trial/v1", &out)
	return out, err
}
