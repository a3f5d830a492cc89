package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// NewPublisher asks that a pipeline may publish without a token of its own.
type NewPublisher struct {
	Project  string              `json:"project"`
	Provider string              `json:"provider"`         // github, gitlab, kubernetes or generic
	Issuer   string              `json:"issuer,omitempty"` // "" where the server knows one of the provider
	Claims   map[string][]string `json:"claims"`
	Chart    string              `json:"chart,omitempty"`
	Versions string              `json:"versions,omitempty"`
	Expires  time.Time           `json:"expires,omitzero"`
}

// Publisher is a binding: which pipeline may publish, and what.
type Publisher struct {
	ID string `json:"id"`
	NewPublisher
	Name          string    `json:"name"` // for people
	Maker         string    `json:"made_by"`
	MakerDisabled bool      `json:"maker_disabled,omitempty"` // who made it has left; it still stands
	Created       time.Time `json:"created"`
	LastUsed      time.Time `json:"last_used,omitzero"`
	Removed       time.Time `json:"removed,omitzero"`
}

// PublisherStep is one line of the explanation of a match.
type PublisherStep struct {
	Publisher string `json:"publisher,omitempty"`
	Claim     string `json:"claim"`
	Want      string `json:"want"`
	Got       string `json:"got"`
	Matched   bool   `json:"matched"`
	Why       string `json:"why"`
}

// PublisherTest is what would come of a token.
type PublisherTest struct {
	Accepted bool           `json:"accepted"`
	Checked  bool           `json:"checked"` // signature, times and audience were checked
	Refusal  *problem.Error `json:"refusal,omitempty"`
	Subject  string         `json:"subject,omitempty"`
	Bindings []struct {
		ID      string          `json:"id"`
		Name    string          `json:"name"`
		Matched bool            `json:"matched"`
		Ours    bool            `json:"ours"` // the ids match
		Steps   []PublisherStep `json:"steps"`
	} `json:"bindings"`
}

// ShortToken is what a pipeline gets for its identity token.
type ShortToken struct {
	ID        string    `json:"id"`
	Publisher string    `json:"publisher"` // what the pipeline is called
	Project   string    `json:"project"`
	Secret    string    `json:"secret"`
	Grants    []Grant   `json:"grants"`
	Expires   time.Time `json:"expires"`
}

// AccountLink ties an account to a person of an identity provider.
type AccountLink struct {
	Account string    `json:"account"`
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
}

// Publishers lists the bindings of a project ("" for all that the caller may
// see), made by one account ("" for anybody).
func (c *Client) Publishers(ctx context.Context, project, madeBy string, p Page) (l List[Publisher], err error) {
	v := p.values()
	for name, value := range map[string]string{"project": project, "made-by": madeBy} {
		if value != "" {
			v.Set(name, value)
		}
	}
	err = c.get(ctx, "/publishers", v, "publisher-list/v1", &l)
	return l, err
}

// AddPublisher makes a binding.
func (c *Client) AddPublisher(ctx context.Context, p NewPublisher) (out Publisher, err error) {
	err = c.send(ctx, http.MethodPost, "/publishers", p, "publisher/v1", &out)
	return out, err
}

// Publisher shows a binding.
func (c *Client) Publisher(ctx context.Context, id string) (out Publisher, err error) {
	path, err := segments(id)
	if err != nil {
		return out, err
	}
	err = c.get(ctx, "/publishers"+path, nil, "publisher/v1", &out)
	return out, err
}

// RemovePublisher ends a binding.
func (c *Client) RemovePublisher(ctx context.Context, id string) error {
	return c.revoke(ctx, "/publishers", id)
}

// TestPublisher explains what would come of a token, or of the claims of one as
// JSON; one of both is empty.
func (c *Client) TestPublisher(ctx context.Context, project, token string, claims json.RawMessage) (out PublisherTest, err error) {
	in := struct {
		Project string          `json:"project"`
		Token   string          `json:"token,omitempty"`
		Claims  json.RawMessage `json:"claims,omitempty"`
	}{project, token, claims}
	err = c.send(ctx, http.MethodPost, "/publishers/test", in, "publisher-test/v1", &out)
	return out, err
}

// ExchangeToken shows the identity token of a pipeline and gets a short token
// for one project. It takes no other credential.
func (c *Client) ExchangeToken(ctx context.Context, token, project string) (out ShortToken, err error) {
	in := struct {
		Token   string `json:"token"`
		Project string `json:"project"`
	}{token, project}
	err = c.send(ctx, http.MethodPost, "/oidc/exchange", in, "exchange/v1", &out)
	return out, err
}

// AccountLinks lists who of the identity provider has which account.
func (c *Client) AccountLinks(ctx context.Context, p Page) (l List[AccountLink], err error) {
	err = c.get(ctx, "/account-links", p.values(), "account-link-list/v1", &l)
	return l, err
}

// LinkAccount ties an account to a person of the identity provider.
func (c *Client) LinkAccount(ctx context.Context, account, subject string) error {
	path, err := segments(account)
	if err != nil {
		return err
	}
	in := struct {
		Subject string `json:"subject"`
	}{subject}
	return c.send(ctx, http.MethodPut, "/accounts"+path+"/link", in, "", nil)
}

// UnlinkAccount takes the links of an account away.
func (c *Client) UnlinkAccount(ctx context.Context, account string) error {
	path, err := segments(account)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, "/accounts"+path+"/link", nil, "", nil)
}
