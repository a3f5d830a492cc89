package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

// auditList are events of the audit trail, the newest first.
type auditList struct {
	Items []client.AuditRecord `json:"items"`
	// More says that there are older events than those asked for.
	More bool `json:"more"`
}

func (auditList) schema() string { return "audit-list/v1" }

func (r auditList) keys() []string {
	return keysOf(r.Items, func(x client.AuditRecord) string { return number(x.Index) })
}

func (r auditList) view() view {
	b := block{head: []string{"INDEX", "TIME", "ACTOR", "RESULT", "EVENT AND SUBJECT"}, empty: "there are no such events"}
	for _, x := range r.Items {
		what := x.Event
		if subject := auditSubject(x); subject != "" {
			what += " " + subject
		}
		if x.Reason != "" {
			what += ": " + x.Reason
		}
		b.rows = append(b.rows, []string{number(x.Index), stamp(x.Time), cmp.Or(x.Actor.Name, x.Actor.ID, x.Actor.Kind), x.Outcome.Result, what})
	}
	return view{b}
}

func auditSubject(x client.AuditRecord) string {
	s := x.Resource.Project
	if s == "" { // what concerns the server as a whole
		s = cmp.Or(x.Detail["upstream"], x.Detail["deployment"], x.Detail["import"], x.Detail["route"])
	}
	if x.Resource.Chart != "" {
		s += "/" + x.Resource.Chart
	}
	if x.Resource.Version != "" {
		s += "@" + x.Resource.Version
	}
	return s
}

type auditOptions struct {
	auditFilterOptions
	limit int
}

func (o *auditOptions) register(f *pflag.FlagSet) {
	o.auditFilterOptions.register(f)
	f.IntVar(&o.limit, "limit", 50, "the newest `NUMBER` of events; 0 is all")
}

func (a *app) auditCommands() *cobra.Command {
	return group("audit", "Read the audit trail, check it, and export it",
		a.auditListCommand(), a.auditVerifyCommand(), a.auditExportCommand(), a.auditRefusedCommands())
}

func (a *app) auditListCommand() *cobra.Command {
	var opt auditOptions
	return a.leaf(command{
		use: "list [flags]", short: "List audit events, the newest first",
		long: `
List audit events, the newest first. Whoever may read the trail of one project
only has to name it with --project.`,
		example: `
chartkeep audit list --project demo
# every try to replace a release
chartkeep audit list --event release.refused.overwrite --limit 0`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			filter, err := opt.filter(a.now())
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r := auditList{}
			r.Items, r.More, err = newest(opt.limit, func(p client.Page) (client.List[client.AuditRecord], error) { return c.Audit(ctx, filter, p) })
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

// newest collects the first of a list that has the newest items first, limit of
// them or with 0 all, and says whether there are more.
func newest[T any](limit int, list func(client.Page) (client.List[T], error)) (items []T, more bool, err error) {
	if limit < 0 {
		return nil, false, usage("--limit %d is below 0", limit)
	}
	page := client.Page{Limit: 1000}
	if limit > 0 && limit < page.Limit {
		page.Limit = limit
	}
	items = []T{}
	for {
		l, err := list(page)
		if err != nil {
			return nil, false, err
		}
		items = append(items, l.Items...)
		if limit > 0 && len(items) >= limit {
			return items[:limit], l.Next != "" || len(items) > limit, nil
		}
		if l.Next == "" || len(l.Items) == 0 {
			return items, false, nil
		}
		page.After = l.Next
	}
}
