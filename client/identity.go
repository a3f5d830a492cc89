package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Account is a person or a machine that can hold grants.
type Account struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // user or robot
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
}

// Grant gives a role in one project, in all below a prefix ("team-a/*") or in
// all ("*"). Empty fields are no limit.
type Grant struct {
	ID       string    `json:"id,omitempty"` // chosen by the server
	Role     string    `json:"role"`
	Project  string    `json:"project"`
	Chart    string    `json:"chart,omitempty"`
	Versions string    `json:"versions,omitempty"` // any or prerelease
	Expires  time.Time `json:"expires,omitzero"`
}

// AccountGrant is a grant with the name of the account that holds it.
type AccountGrant struct {
	Account string `json:"account"`
	Grant   Grant  `json:"grant"`
}

// Token is a credential as it may be shown: without its secret.
type Token struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Account  string    `json:"account"`  // name of the owner, or of who made it
	Personal bool      `json:"personal"` // stands for its account; else it belongs to its projects
	Grants   []Grant   `json:"grants"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	LastUsed time.Time `json:"last_used,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
}

// NewToken asks for a token. Account "" is the caller's own.
type NewToken struct {
	Name    string    `json:"name"`
	Account string    `json:"account,omitempty"`
	Grants  []Grant   `json:"grants"`
	Expires time.Time `json:"expires"`
}

// TokenSecret is a new token with its secret, which is shown this once.
type TokenSecret struct {
	Token
	Secret string `json:"secret"`
}

// Principal is who the server takes the caller for.
type Principal struct {
	ID      string    `json:"id,omitempty"`
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // anonymous, user, token or system
	Issuer  string    `json:"issuer,omitempty"`
	TokenID string    `json:"token_id,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Grants  []Grant   `json:"grants"`
	// Account is set for a personal token: the rights are those that both the
	// token's grants and the account's give.
	Account *struct {
		ID     string  `json:"id"`
		Name   string  `json:"name"`
		Grants []Grant `json:"grants"`
	} `json:"account,omitempty"`
}

// Question asks whether an account ("" is the caller) may do something.
type Question struct {
	Account    string
	Action     string // such as chart.push
	Project    string // "" for what concerns the server
	Chart      string
	Prerelease bool
}

// Decision is the answer with its reasons.
type Decision struct {
	Allowed bool           `json:"allowed"`
	Grant   *Grant         `json:"grant,omitempty"`
	Steps   []DecisionStep `json:"steps"`
}

// DecisionStep is what was looked at, and what came of it.
type DecisionStep struct {
	Holder  string `json:"holder"`
	Grant   *Grant `json:"grant,omitempty"`
	Matched bool   `json:"matched"`
	Why     string `json:"why"`
}

// WhoAmI says who the server takes the caller for.
func (c *Client) WhoAmI(ctx context.Context) (out Principal, err error) {
	err = c.get(ctx, "/whoami", nil, "principal/v1", &out)
	return out, err
}

// CanI decides a question with the rules of the server.
func (c *Client) CanI(ctx context.Context, q Question) (out Decision, err error) {
	v := url.Values{"action": {q.Action}}
	for name, value := range map[string]string{"account": q.Account, "project": q.Project, "chart": q.Chart} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Prerelease {
		v.Set("prerelease", strconv.FormatBool(true))
	}
	err = c.get(ctx, "/can-i", v, "decision/v1", &out)
	return out, err
}

// Accounts lists the accounts.
func (c *Client) Accounts(ctx context.Context, p Page) (l List[Account], err error) {
	err = c.get(ctx, "/accounts", p.values(), "account-list/v1", &l)
	return l, err
}

// CreateAccount makes an account of kind user or robot. Without a password it
// signs in through tokens alone.
func (c *Client) CreateAccount(ctx context.Context, name, kind, password string) (out Account, err error) {
	in := struct {
		Name     string `json:"name"`
		Kind     string `json:"kind"`
		Password string `json:"password,omitempty"`
	}{name, kind, password}
	err = c.send(ctx, http.MethodPost, "/accounts", in, "account/v1", &out)
	return out, err
}

// SetPassword sets the password of an account.
func (c *Client) SetPassword(ctx context.Context, account, password string) error {
	path, err := segments(account)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPut, "/accounts"+path+"/password", map[string]string{"password": password}, "", nil)
}

// DisableAccount takes all its rights from an account, and from its tokens.
func (c *Client) DisableAccount(ctx context.Context, account string) error {
	path, err := segments(account)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, "/accounts"+path+"/disable", nil, "", nil)
}

// Grants lists grants of an account; account "" lists all.
func (c *Client) Grants(ctx context.Context, account string, p Page) (l List[AccountGrant], err error) {
	q := p.values()
	if account != "" {
		q.Set("account", account)
	}
	err = c.get(ctx, "/grants", q, "grant-list/v1", &l)
	return l, err
}

// AddGrant gives an account a grant.
func (c *Client) AddGrant(ctx context.Context, account string, g Grant) (out AccountGrant, err error) {
	g.ID = ""
	err = c.send(ctx, http.MethodPost, "/grants", AccountGrant{account, g}, "grant/v1", &out)
	return out, err
}

// RevokeGrant takes a grant away.
func (c *Client) RevokeGrant(ctx context.Context, id string) error {
	return c.revoke(ctx, "/grants", id)
}

// Tokens lists the tokens that the caller may see.
func (c *Client) Tokens(ctx context.Context, p Page) (l List[Token], err error) {
	err = c.get(ctx, "/tokens", p.values(), "token-list/v1", &l)
	return l, err
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, t NewToken) (out TokenSecret, err error) {
	grants := make([]Grant, len(t.Grants))
	for i, g := range t.Grants {
		g.ID = ""
		grants[i] = g
	}
	t.Grants = grants
	err = c.send(ctx, http.MethodPost, "/tokens", t, "token-secret/v1", &out)
	return out, err
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.revoke(ctx, "/tokens", id)
}

func (c *Client) revoke(ctx context.Context, path, id string) error {
	p, err := segments(id)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodDelete, path+p, nil, "", nil)
}
