package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) alertCommands() *cobra.Command {
	return group("alert", "See what alarmed the registry, and test that alerts arrive", a.alertListCommand(), a.alertTestCommand())
}

type alertList struct {
	Items []client.Alert `json:"items"`
}

func (alertList) schema() string { return "alert-list/v1" }

func (r alertList) keys() []string {
	return keysOf(r.Items, func(x client.Alert) string { return x.Key })
}

func (r alertList) view() view {
	b := block{head: []string{"SEVERITY", "WHAT HAPPENED", "BY", "TIMES", "SINCE", "LAST", "STATE"}, empty: "nothing alarming happened"}
	for _, x := range r.Items {
		state := "open"
		if !x.Ended.IsZero() {
			state = "ended"
		}
		b.rows = append(b.rows, []string{x.Severity, x.Message, x.Actor, thousands(x.Count), stamp(x.First), stamp(x.Last), state})
	}
	return view{b}
}

func (a *app) alertListCommand() *cobra.Command {
	var open bool
	var limit int
	return a.leaf(command{
		use: "list [--open]", short: "List what alarmed the registry, newest first",
		long: `
List what alarmed the registry: refused overwrites, damaged archives, weaker
policies and the like. The same again and again is one alert with a count; it
ends when it did not happen for 15 minutes. chartkeep audit list has each event.`,
		example: `
chartkeep alert list --open
chartkeep alert list --limit 500 -o json`,
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&open, "open", false, "only those that may go on")
			f.IntVar(&limit, "limit", 50, "at most so `MANY`")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := c.Alerts(ctx, open, limit)
			if err != nil {
				return nil, err
			}
			return alertList{items}, nil
		},
	})
}

// alertTest is what became of a test alert at each route.
type alertTest struct {
	Key    string      `json:"key"`
	Routes []routeTest `json:"routes"`
}

type routeTest struct {
	Route string `json:"route"`
	State string `json:"state"` // delivered, failed, waiting, or not-taken
	Error string `json:"error,omitempty"`
}

// notTaken is the state of a route whose conditions leave the alert out.
const notTaken = "not-taken"

func (alertTest) schema() string   { return "alert-test/v1" }
func (r alertTest) keys() []string { return []string{r.Key} }

func (r alertTest) view() view {
	b := block{head: []string{"ROUTE", "TEST ALERT", "ERROR"}, empty: "there are no routes: nobody is told of alerts"}
	for _, x := range r.Routes {
		b.rows = append(b.rows, []string{x.Route, strings.ReplaceAll(x.State, "-", " "), x.Error})
	}
	return view{b}
}

// err is nil when at least one route delivered it and none failed.
func (r alertTest) err() error {
	var failing []string
	told := false
	for _, x := range r.Routes {
		switch x.State {
		case "delivered":
			told = true
		case notTaken:
		default:
			failing = append(failing, x.Route)
		}
	}
	switch {
	case len(failing) > 0:
		return problem.New(problem.Unavailable, "alert-test", "the test alert did not arrive through %s", strings.Join(failing, ", ")).
			Suggest("chartkeep route show %s", failing[0])
	case len(r.Routes) == 0:
		return problem.New(problem.Unavailable, "alert-test", "nobody was told: there are no routes").
			Suggest("chartkeep route add NAME --webhook URL --credential NAME")
	case !told:
		return problem.New(problem.Unavailable, "alert-test", "nobody was told: no route takes alerts").
			Suggest("add a route without --events, with --min-severity high")
	}
	return nil
}

func (a *app) alertTestCommand() *cobra.Command {
	wait := 30 * time.Second
	return a.leaf(command{
		use: "test", short: "Raise an alert that means nothing, and see whom it reaches",
		long: `
Raise an alert that means nothing. It goes the whole way of a true one: audit
trail, outbox, alert, routes. The command waits until each route has delivered
it, or not, and fails when one did not or nobody was told. A route with a digest
tells it later.`,
		example: `chartkeep alert test`,
		flags: func(f *pflag.FlagSet) {
			f.DurationVar(&wait, "wait", wait, "for how long to wait for deliveries")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			routes, err := everyRoute(ctx, c)
			if err != nil {
				return nil, err
			}
			r := alertTest{Routes: []routeTest{}}
			if r.Key, err = c.TestAlert(ctx); err != nil {
				return nil, err
			}
			if r.Routes, err = followTest(ctx, c, r.Key, routes, wait); err != nil {
				return nil, err
			}
			return r, r.err()
		},
	})
}

func everyRoute(ctx context.Context, c *client.Client) ([]client.Route, error) {
	var out []client.Route
	for p := (client.Page{Limit: 1000}); ; {
		l, err := c.Routes(ctx, p)
		if err != nil {
			return nil, err
		}
		out = append(out, l.Items...)
		if l.Next == "" {
			return out, nil
		}
		p.After = l.Next
	}
}

// relayTime is how long it takes at most, on a server that is well, until an
// event that no route takes would have been planned.
const relayTime = 6 * time.Second

// followTest asks what became of an alert until nothing waits any more. A
// digest waits for its day, and an attempt that failed for the next one.
func followTest(ctx context.Context, c *client.Client, key string, routes []client.Route, wait time.Duration) ([]routeTest, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var out []routeTest
	begun := time.Now()
	for {
		list, err := c.Alerts(ctx, false, 100)
		if err != nil && ctx.Err() == nil {
			return out, err
		}
		if i := slices.IndexFunc(list, func(x client.Alert) bool { return x.Key == key }); i >= 0 {
			sent, err := c.AlertDeliveries(ctx, list[i].ID)
			if err != nil && ctx.Err() == nil {
				return out, err
			}
			if err == nil {
				var settled bool
				out, settled = routeTests(routes, sent)
				// Deliveries to all routes are planned together: with the first
				// one it is known who does not take it.
				if settled && (len(sent) > 0 || time.Since(begun) > relayTime) {
					return out, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			if out == nil {
				return out, problem.New(problem.Unavailable, "alert-test", "the test alert did not come out of the audit trail within %s", wait).
					Suggest("see the log of the server: tell events")
			}
			return out, nil
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func routeTests(routes []client.Route, sent []client.Delivery) (out []routeTest, settled bool) {
	settled = true
	for _, r := range routes {
		t := routeTest{Route: r.Name, State: notTaken}
		for _, d := range sent {
			if d.Route == r.Name {
				t.State, t.Error = d.State, d.Error
				if d.State == "waiting" && d.Attempts == 0 && r.Digest == "" {
					settled = false
				}
				if d.State == "waiting" && r.Digest != "" {
					t.State, t.Error = notTaken, "it waits for the "+r.Digest+" digest"
				}
			}
		}
		out = append(out, t)
	}
	return out, settled
}
