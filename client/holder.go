package client

import (
	"context"
	"strconv"
	"time"
)

// Holder is a grant with who holds it.
type Holder struct {
	Kind     string     `json:"kind"` // account, group or token
	Name     string     `json:"name"`
	Disabled bool       `json:"disabled,omitempty"` // the account may do nothing any more
	Grant    Grant      `json:"grant"`
	Given    time.Time  `json:"given"`
	Token    *HeldToken `json:"token,omitempty"`
}

// HeldToken is the token that holds a grant.
type HeldToken struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"`  // name of the owner, or of who made it
	Personal bool      `json:"personal"` // it can do no more than its account
	Expires  time.Time `json:"expires"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

// Holders lists the grants that reach a project, by who holds them: accounts and
// groups, or tokens. Project "" is all, for administrators.
func (c *Client) Holders(ctx context.Context, project string, tokens bool, p Page) (l List[Holder], err error) {
	q := p.values()
	if project != "" {
		q.Set("project", project)
	}
	if tokens {
		q.Set("tokens", strconv.FormatBool(true))
	}
	err = c.get(ctx, "/holders", q, "holder-list/v1", &l)
	return l, err
}
