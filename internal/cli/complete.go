package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/access"
)

// A shell waits for completions, so a server that does not answer soon has
// none. maxOffers bounds them.
const (
	completeIn = 2 * time.Second
	maxOffers  = 1000
)

// offers lists names from the server. Whatever goes wrong, there is nothing to
// offer, and nobody to tell.
func offers[T any](ctx context.Context, a *app, list func(*client.Client, context.Context, client.Page) (client.List[T], error), name func(T) string) []string {
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeIn)
	defer cancel()
	l, err := list(c, ctx, client.Page{Limit: maxOffers})
	if err != nil {
		return nil
	}
	var names []string
	for _, item := range l.Items {
		names = append(names, name(item))
	}
	return names
}

func (a *app) completeProjects(ctx context.Context) []string {
	return offers(ctx, a, (*client.Client).Projects, func(p client.Project) string { return p.Name + "\t" + p.Kind })
}

func (a *app) completeProjectArg(ctx context.Context, _ []string, _ string) []string {
	return a.completeProjects(ctx)
}

func (a *app) completeAccountArg(ctx context.Context, _ []string, _ string) []string {
	return offers(ctx, a, (*client.Client).Accounts, func(x client.Account) string { return x.Name + "\t" + x.Kind })
}

func (a *app) completeTokenArg(ctx context.Context, _ []string, _ string) []string {
	return offers(ctx, a, (*client.Client).Tokens, func(t client.Token) string { return t.ID + "\t" + printable(t.Name) })
}

func (a *app) completeGrantArg(ctx context.Context, _ []string, _ string) []string {
	return offers(ctx, a, func(c *client.Client, ctx context.Context, p client.Page) (client.List[client.AccountGrant], error) {
		return c.Grants(ctx, "", p)
	}, func(g client.AccountGrant) string { return g.Grant.ID + "\t" + g.Account })
}

func (a *app) completeReasons(ctx context.Context) []string {
	return offers(ctx, a, (*client.Client).YankReasons, func(r client.YankReason) string { return r.Code + "\t" + r.Meaning })
}

// completeRef offers projects, then the charts of a project, then the versions
// of a chart.
func (a *app) completeRef(ctx context.Context, _ []string, begun string) []string {
	if ref, err := client.ParseRef(strings.TrimSuffix(begun, "@")); err == nil && strings.Contains(begun, "@") {
		return offers(ctx, a, func(c *client.Client, ctx context.Context, p client.Page) (client.List[client.Release], error) {
			return c.Releases(ctx, ref.Project, ref.Chart, p)
		}, func(r client.Release) string { return ref.Project + "/" + ref.Chart + "@" + r.Version })
	}
	projects := a.completeProjects(ctx)
	for i := range projects {
		projects[i], _, _ = strings.Cut(projects[i], "\t")
	}
	at := slices.IndexFunc(projects, func(p string) bool { return strings.HasPrefix(begun, p+"/") })
	if at < 0 {
		for i := range projects {
			projects[i] += "/"
		}
		return projects
	}
	return offers(ctx, a, func(c *client.Client, ctx context.Context, p client.Page) (client.List[client.ChartSummary], error) {
		return c.Charts(ctx, projects[at], p)
	}, func(s client.ChartSummary) string { return projects[at] + "/" + s.Name + "@" })
}

func completeRoles(context.Context) []string {
	var out []string
	for _, r := range access.Roles() {
		out = append(out, string(r.Role)+"\t"+r.Description)
	}
	return out
}

func (a *app) completeAction(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return a.completeProjects(ctx)
	}
	var out []string
	for _, info := range access.Actions() {
		out = append(out, string(info.Action)+"\t"+info.Words)
	}
	return out
}
