package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Pipelines manages which pipelines publish without a token of their own, gives
// them their short tokens, and ties accounts to people of an identity provider.
type Pipelines interface {
	AddPublisher(ctx context.Context, c release.Caller, want access.Publisher) (release.Publisher, error)
	Publishers(ctx context.Context, c release.Caller, project, madeBy string) ([]release.Publisher, error)
	Publisher(ctx context.Context, c release.Caller, id string) (release.Publisher, error)
	RemovePublisher(ctx context.Context, c release.Caller, id string) error
	TestPublisher(ctx context.Context, c release.Caller, project, token string, claims []byte) (release.PublisherTest, error)
	ExchangeToken(ctx context.Context, c release.Caller, token, project string) (secret string, t release.Token, err error)
	LinkAccount(ctx context.Context, c release.Caller, name, subject string) error
	UnlinkAccount(ctx context.Context, c release.Caller, name string) error
	AccountLinks(ctx context.Context, c release.Caller) ([]release.AccountLink, error)
}

// publisherRequest asks for a binding; an issuer that is left out is the one
// that the server knows of the provider.
type publisherRequest struct {
	Project  string              `json:"project"`
	Provider access.Provider     `json:"provider"`
	Issuer   string              `json:"issuer"`
	Claims   map[string][]string `json:"claims"`
	Chart    string              `json:"chart"`
	Versions access.VersionKind  `json:"versions"`
	Expires  time.Time           `json:"expires"`
}

type publisherAnswer struct {
	Schema string `json:"schema"`
	release.Publisher
}

func (d *Door) listPublishers(c *call) (reply, error) {
	q, err := c.query("project", "made-by", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	list, err := d.svc.Publishers(c.ctx, c.caller, q.Get("project"), q.Get("made-by"))
	if err != nil {
		return reply{}, err
	}
	return page("publisher-list/v1", list, func(p release.Publisher) string { return p.ID }, q)
}

func (d *Door) addPublisher(c *call) (reply, error) {
	var req publisherRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	p, err := d.svc.AddPublisher(c.ctx, c.caller, access.Publisher{
		Project: req.Project, Provider: req.Provider, Issuer: req.Issuer, Claims: req.Claims, Chart: req.Chart, Versions: req.Versions, Expires: req.Expires,
	})
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: publisherAnswer{"publisher/v1", p}}, nil
}

func (d *Door) getPublisher(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	p, err := d.svc.Publisher(c.ctx, c.caller, c.params["id"])
	if err != nil {
		return reply{}, err
	}
	return reply{body: publisherAnswer{"publisher/v1", p}}, nil
}

func (d *Door) removePublisher(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.RemovePublisher(c.ctx, c.caller, c.params["id"])
}

// publisherTestRequest asks what would come of a token, or of the claims of one.
type publisherTestRequest struct {
	Project string          `json:"project"`
	Token   string          `json:"token"`
	Claims  json.RawMessage `json:"claims"`
}

type publisherTestAnswer struct {
	Schema string `json:"schema"`
	release.PublisherTest
}

func (d *Door) testPublisher(c *call) (reply, error) {
	var req publisherTestRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	if (req.Token == "") == (req.Claims == nil) {
		return reply{}, problem.New(problem.Invalid, "publisher-test", "either a token or claims are needed")
	}
	t, err := d.svc.TestPublisher(c.ctx, c.caller, req.Project, req.Token, req.Claims)
	if err != nil {
		return reply{}, err
	}
	t.Bindings = notNil(t.Bindings)
	return reply{body: publisherTestAnswer{"publisher-test/v1", t}}, nil
}

// exchangeRequest shows the identity token of a pipeline.
type exchangeRequest struct {
	Token   string `json:"token"`
	Project string `json:"project"`
}

// exchangeAnswer is the short token; its secret is shown this once.
type exchangeAnswer struct {
	Schema    string         `json:"schema"`
	ID        string         `json:"id"`
	Publisher string         `json:"publisher"` // what the pipeline is called
	Project   string         `json:"project"`
	Secret    string         `json:"secret"`
	Grants    []access.Grant `json:"grants"`
	Expires   time.Time      `json:"expires"`
}

// exchange needs no credential: the identity token is one. Wrong ones are
// counted for their source like wrong passwords.
func (d *Door) exchange(c *call) (reply, error) {
	var req exchangeRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	var a exchangeAnswer
	err := server.GuardIdentity(c.r, req.Token, func() error {
		secret, t, err := d.svc.ExchangeToken(c.ctx, c.caller, req.Token, req.Project)
		a = exchangeAnswer{"exchange/v1", t.ID, t.Name, req.Project, secret, notNil(t.Grants), t.Expires}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: a}, nil
}

func (d *Door) listAccountLinks(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	list, err := d.svc.AccountLinks(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("account-link-list/v1", list, func(l release.AccountLink) string { return l.Issuer + " " + l.Subject }, q)
}

type linkRequest struct {
	Subject string `json:"subject"`
}

func (d *Door) linkAccount(c *call) (reply, error) {
	var req linkRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.LinkAccount(c.ctx, c.caller, c.params["account"], req.Subject)
}

func (d *Door) unlinkAccount(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.svc.UnlinkAccount(c.ctx, c.caller, c.params["account"])
}
