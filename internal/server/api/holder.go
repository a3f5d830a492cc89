package api

import (
	"context"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// Holders says who may do what.
type Holders interface {
	Holders(ctx context.Context, c release.Caller, f release.HolderFilter) ([]release.Holder, error)
}

// holderAnswer is a grant with who holds it.
type holderAnswer struct {
	Kind     string       `json:"kind"` // account, group or token
	Name     string       `json:"name"` // a group's without its prefix
	Disabled bool         `json:"disabled,omitempty"`
	Grant    access.Grant `json:"grant"`
	Given    time.Time    `json:"given"`
	Token    *heldToken   `json:"token,omitempty"`
}

// heldToken is the token that holds a grant.
type heldToken struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"`
	Personal bool      `json:"personal"`
	Expires  time.Time `json:"expires"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

func holderOf(h *release.Holder) holderAnswer {
	out := holderAnswer{Kind: "account", Name: h.Name, Disabled: h.Disabled, Grant: h.Grant, Given: h.Given}
	if group := h.Group(); group != "" {
		out.Kind, out.Name = "group", group
	}
	if t := h.Token; t != nil {
		out.Kind, out.Token = "token", &heldToken{t.ID, t.Account, t.Personal, t.Expires, t.LastUsed}
	}
	return out
}

// listHolders is a page of who may do something in a project. The place to go on
// after is the grant's id with its holder's name, by which the list is in order.
func (d *Door) listHolders(c *call) (reply, error) {
	q, err := c.query("project", "tokens", "after", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	tokens, err := boolean("tokens", q.Get("tokens"))
	if err != nil {
		return reply{}, err
	}
	f := release.HolderFilter{Project: q.Get("project"), Tokens: tokens, Limit: min(limit+1, release.MaxHolders)}
	if after := q.Get("after"); after != "" {
		id, name, ok := strings.Cut(after, " ")
		if !ok || id == "" {
			return reply{}, problem.New(problem.Invalid, "after", "there is no item %.80q to go on after", after).Suggest("start again without after")
		}
		f.AfterID, f.AfterName = id, name
	}
	holders, err := d.svc.Holders(c.ctx, c.caller, f)
	if err != nil {
		return reply{}, err
	}
	l := list[holderAnswer]{Schema: "holder-list/v1", Items: []holderAnswer{}}
	shown := min(len(holders), f.Limit-1)
	for i := range shown {
		l.Items = append(l.Items, holderOf(&holders[i]))
	}
	if shown < len(holders) {
		last := &holders[shown-1]
		l.Next = last.Grant.ID + " " + last.Name
	}
	return reply{body: l}, nil
}
