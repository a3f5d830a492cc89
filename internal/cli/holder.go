package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/client"
)

// holderList is who holds what in a project.
type holderList struct {
	Project string          `json:"project,omitempty"`
	Items   []client.Holder `json:"items"`
}

func (holderList) schema() string { return "holder-list/v1" }

func (r holderList) keys() []string {
	return keysOf(r.Items, func(h client.Holder) string { return h.Grant.ID })
}

func (r holderList) view() view {
	b := block{head: []string{"HOLDER", "KIND", "GRANT", "EXPIRES", "GIVEN", "ID"}, empty: "nobody holds a grant here"}
	for i := range r.Items {
		h := &r.Items[i]
		kind, ends := h.Kind, h.Grant.Expires
		switch t := h.Token; {
		case t == nil && h.Disabled:
			kind = "disabled " + kind
		case t != nil && t.Personal:
			kind = "personal token of " + t.Account
		case t != nil:
			kind = "token, made by " + t.Account
		}
		if t := h.Token; t != nil && (ends.IsZero() || t.Expires.Before(ends)) {
			ends = t.Expires
		}
		b.rows = append(b.rows, []string{h.Name, kind, grantWords(h.Grant), cmp.Or(day(ends), "never"), day(h.Given), h.Grant.ID})
	}
	return view{b}
}

func (a *app) grantHoldersCommand() *cobra.Command {
	return a.leaf(command{
		use: "holders [PROJECT]", short: "List who may do what in a project",
		long: `
List the grants that reach a project, those of wider grants too, with who holds
them: accounts, groups of the identity provider, and tokens that have not ended.
Who may read the audit trail of the project may ask. Without a project they are
those of the whole server, for administrators.

Everyone may pull from a public project. Pipelines that publish without a token
are in chartkeep publisher list.`,
		example: `
chartkeep grant holders demo
chartkeep grant holders demo -o json`,
		args: arguments{0, 1, "a PROJECT"}, complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r := holderList{Items: []client.Holder{}}
			if len(args) == 1 {
				r.Project = args[0]
			}
			for _, tokens := range []bool{false, true} {
				items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Holder], error) {
					return c.Holders(ctx, r.Project, tokens, p)
				})
				if err != nil {
					return nil, err
				}
				r.Items = append(r.Items, items...)
			}
			return r, nil
		},
	})
}
