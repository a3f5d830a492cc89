package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) routeCommands() *cobra.Command {
	return group("route", "Decide who is told of what happened",
		a.routeAddCommand(), a.routeListCommand(), a.routeShowCommand(), a.routeDeliveriesCommand(), a.routeResendCommand(), a.routeTestCommand(), a.routeRemoveCommand())
}

// routeResult is a route with its newest deliveries.
type routeResult struct {
	client.Route
	Deliveries []client.Delivery `json:"deliveries,omitempty"`
}

func (routeResult) schema() string   { return "route/v1" }
func (r routeResult) keys() []string { return []string{r.Name} }

func (r routeResult) view() view {
	facts := []fact{{"route", r.Name}, {"sends", kindWords[r.Kind]}, {"to", cmp.Or(r.Target, "what credential "+r.Credential+" says")}, {"events", routeWords(r.Route)},
		{"when", cmp.Or(r.Digest, "at once")}, {"state", routeHealth(r.Health)}, {"since", stampSeconds(r.Created)}}
	v := view{{facts: facts}}
	if len(r.Deliveries) > 0 {
		v = append(v, deliveryList{Items: r.Deliveries}.view()...)
	}
	return v
}

// deliveryList are deliveries of a route, the newest first.
type deliveryList struct {
	Items []client.Delivery `json:"items"`
}

func (deliveryList) schema() string { return "delivery-list/v1" }

func (r deliveryList) keys() []string {
	return keysOf(r.Items, func(d client.Delivery) string { return d.ID })
}

func (r deliveryList) view() view {
	b := block{head: []string{"DELIVERY", "DUE", "TRIES", "STATE", "ERROR"}, empty: "nothing was sent there in the last 90 days"}
	for _, d := range r.Items {
		b.rows = append(b.rows, []string{d.ID, stamp(d.Due), number(int64(d.Attempts)), d.State, d.Error})
	}
	return view{b}
}

// resentResult says how many deliveries are sent again.
type resentResult struct {
	Route      string `json:"route"`
	Deliveries int    `json:"deliveries"`
}

func (resentResult) schema() string   { return "route-resent/v1" }
func (r resentResult) keys() []string { return []string{r.Route} }

func (r resentResult) view() view {
	switch r.Deliveries {
	case 0:
		return view{{text: "nothing of " + r.Route + " has failed"}}
	case 1:
		return view{{text: "1 delivery of " + r.Route + " is sent again"}}
	}
	return view{{text: fmt.Sprintf("%d deliveries of %s are sent again", r.Deliveries, r.Route)}}
}

var kindWords = map[string]string{"webhook": "a signed webhook", "slack": "Slack messages", "mail": "mail", "alertmanager": "alerts for Alertmanager"}

// routeWords says which events a route takes.
func routeWords(r client.Route) string {
	words := []string{cmp.Or(strings.Join(r.Events, ", "), "all") + ", " + cmp.Or(r.MinSeverity, "info") + " and above"}
	for _, f := range []struct {
		label string
		globs []string
	}{{"upstreams", r.Upstreams}, {"charts", r.Charts}, {"projects", r.Projects}, {"owners", r.Owners}} {
		if len(f.globs) > 0 {
			words = append(words, f.label+" "+strings.Join(f.globs, ", "))
		}
	}
	return strings.Join(words, "; ")
}

func routeHealth(h client.RouteHealth) string {
	var words []string
	switch {
	case h.LastFailure.After(h.LastSuccess):
		words = append(words, "fails since "+stamp(h.LastFailure)+": "+h.Error)
	case h.LastSuccess.IsZero():
		words = append(words, "nothing was sent yet")
	default:
		words = append(words, "ok, last sent "+stamp(h.LastSuccess))
	}
	if h.Waiting > 0 {
		words = append(words, fmt.Sprintf("%d waiting", h.Waiting))
	}
	if h.Failed > 0 {
		words = append(words, fmt.Sprintf("%d given up", h.Failed))
	}
	return strings.Join(words, "; ")
}

type routeList struct {
	Items []client.Route `json:"items"`
}

func (routeList) schema() string { return "route-list/v1" }

func (r routeList) keys() []string {
	return keysOf(r.Items, func(x client.Route) string { return x.Name })
}

func (r routeList) view() view {
	b := block{head: []string{"ROUTE", "KIND", "TO", "EVENTS", "STATE"}, empty: "nobody is told of anything; tell somebody with: chartkeep route add NAME --webhook URL"}
	for _, x := range r.Items {
		b.rows = append(b.rows, []string{x.Name, x.Kind, cmp.Or(x.Target, "credential "+x.Credential), routeWords(x), routeHealth(x.Health)})
	}
	return view{b}
}

type routeOptions struct {
	client.NewRoute
	webhook, mail, alertmanager string
	slack                       bool
}

func (o *routeOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.webhook, "webhook", "", "send signed webhooks to `URL`")
	f.BoolVar(&o.slack, "slack", false, "send Slack messages to the URL of --credential")
	f.StringVar(&o.mail, "mail", "", "send mail to `ADDRESS`")
	f.StringVar(&o.alertmanager, "alertmanager", "", "send alerts to the Alertmanager at `URL`")
	f.StringVar(&o.Credential, "credential", "", "`NAME` in the server's credentials file: the signing secret, the Slack URL or the mail account")
	f.StringSliceVar(&o.Events, "events", nil, "only these `EVENTS` (default: all)")
	f.StringVar(&o.MinSeverity, "min-severity", "info", "only events of `SEVERITY` and above: info, low, medium, high, critical")
	f.StringSliceVar(&o.Upstreams, "upstreams", nil, "only upstreams that match `GLOBS`")
	f.StringSliceVar(&o.Charts, "charts", nil, "only charts that match `GLOBS`")
	f.StringSliceVar(&o.Projects, "projects", nil, "only projects that match `GLOBS`")
	f.StringSliceVar(&o.Owners, "owners", nil, "only what concerns deployments of these `OWNERS`")
	f.StringVar(&o.Digest, "digest", "", "collect events: `WHEN` is daily (6:00 UTC) or weekly (Mondays)")
}

// kind fills in kind and target from the one flag that says where to send.
func (o *routeOptions) kind() error {
	n := 0
	for _, k := range []struct {
		given        bool
		kind, target string
	}{{o.webhook != "", "webhook", o.webhook}, {o.slack, "slack", ""}, {o.mail != "", "mail", o.mail}, {o.alertmanager != "", "alertmanager", o.alertmanager}} {
		if k.given {
			n++
			o.Kind, o.Target = k.kind, k.target
		}
	}
	if n != 1 {
		return usage("a route needs one of --webhook, --slack, --mail and --alertmanager").try("chartkeep route add NAME --webhook URL")
	}
	return nil
}

func (a *app) routeAddCommand() *cobra.Command {
	var opt routeOptions
	return a.leaf(command{
		use: "add NAME [flags]", short: "Send events to somebody from now on",
		example: `
chartkeep route add security --webhook https://hooks.example.com/chartkeep \
    --credential hooks --min-severity high
chartkeep route add team --mail platform@example.com --digest daily`,
		args: arguments{1, 1, "a NAME for the route"}, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			if err := opt.kind(); err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			opt.Name = args[0]
			r, err := c.AddRoute(ctx, opt.NewRoute)
			if err != nil {
				return nil, err
			}
			return routeResult{Route: r}, nil
		},
	})
}

func (a *app) routeListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List who is told of what, and how deliveries go",
		example: `chartkeep route list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Routes)
			if err != nil {
				return nil, err
			}
			return routeList{items}, nil
		},
	})
}

func (a *app) routeShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show NAME", short: "Show a route with its newest deliveries",
		example: `chartkeep route show security`,
		args:    arguments{1, 1, "the NAME of a route"}, complete: a.completeRouteArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			for r, err := range client.All(ctx, c.Routes) {
				if err != nil {
					return nil, err
				}
				if r.Name != args[0] {
					continue
				}
				deliveries, err := c.Deliveries(ctx, r.Name, 20)
				if err != nil {
					return nil, err
				}
				return routeResult{r, deliveries}, nil
			}
			return nil, noRoute(args[0])
		},
	})
}

func (a *app) routeDeliveriesCommand() *cobra.Command {
	limit := 100
	return a.leaf(command{
		use: "deliveries NAME [flags]", short: "List what was sent to a route, the newest first",
		example: `chartkeep route deliveries security`,
		args:    arguments{1, 1, "the NAME of a route"}, complete: a.completeRouteArg,
		flags: func(f *pflag.FlagSet) {
			f.IntVar(&limit, "limit", 100, "the newest `NUMBER` of deliveries, at most 1000")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := c.Deliveries(ctx, args[0], limit)
			if err != nil {
				return nil, err
			}
			return deliveryList{items}, nil
		},
	})
}

func (a *app) routeResendCommand() *cobra.Command {
	return a.leaf(command{
		use: "resend NAME [DELIVERY]", short: "Send again what was given up",
		long: `
Send deliveries of a route again that have failed: one of them, or all. They go
out at once, under the ids that they had.`,
		example: `chartkeep route resend security`,
		args:    arguments{1, 2, "the NAME of a route, and perhaps the id of a DELIVERY"}, complete: a.completeRouteArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			delivery := ""
			if len(args) > 1 {
				delivery = args[1]
			}
			n, err := c.ResendDeliveries(ctx, args[0], delivery)
			if err != nil {
				return nil, err
			}
			return resentResult{args[0], n}, nil
		},
	})
}

func (a *app) routeTestCommand() *cobra.Command {
	return a.leaf(command{
		use: "test NAME", short: "Send a test message now, and say whether it arrived",
		example: `chartkeep route test security`,
		args:    arguments{1, 1, "the NAME of a route"}, complete: a.completeRouteArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.TestRoute(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "route-tested/v1", Name: args[0], Change: "took a test message"}, nil
		},
	})
}

func (a *app) routeRemoveCommand() *cobra.Command {
	return a.leaf(command{
		use: "remove NAME", short: "Send nothing there any more",
		example: `chartkeep route remove security`,
		args:    arguments{1, 1, "the NAME of a route"}, complete: a.completeRouteArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RemoveRoute(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "route-removed/v1", Name: args[0], Change: "is removed; what waited is dropped"}, nil
		},
	})
}

func noRoute(name string) error {
	return problem.New(problem.NotFound, "route", "there is no route %s", name).Suggest("chartkeep route list")
}

func (a *app) completeRouteArg(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return nil
	}
	l, err := c.Routes(ctx, client.Page{Limit: 200})
	if err != nil {
		return nil
	}
	return keysOf(l.Items, func(r client.Route) string { return r.Name })
}
