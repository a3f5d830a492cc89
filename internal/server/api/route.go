package api

import (
	"net/http"

	"github.com/chartkeep/chartkeep/internal/watch"
)

type routeAnswer struct {
	Schema string `json:"schema"`
	watch.Route
}

func (d *Door) listRoutes(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	all, err := d.watching.Routes(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return page("route-list/v1", all, func(r watch.Route) string { return r.Name }, q)
}

// routeRequest asks for a new route.
type routeRequest struct {
	Name        string            `json:"name"`
	Kind        watch.RouteKind   `json:"kind"`
	Target      string            `json:"target"`
	Credential  string            `json:"credential"`
	Events      []watch.EventKind `json:"events"`
	MinSeverity watch.Severity    `json:"min_severity"`
	Upstreams   []string          `json:"upstreams"`
	Charts      []string          `json:"charts"`
	Projects    []string          `json:"projects"`
	Owners      []string          `json:"owners"`
	Digest      watch.Digest      `json:"digest"`
}

func (d *Door) addRoute(c *call) (reply, error) {
	var req routeRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	r, err := d.watching.AddRoute(c.ctx, c.caller, watch.Route{
		Name: req.Name, Kind: req.Kind, Target: req.Target, Credential: req.Credential, Events: req.Events, MinSeverity: req.MinSeverity,
		Upstreams: req.Upstreams, Charts: req.Charts, Projects: req.Projects, Owners: req.Owners, Digest: req.Digest,
	})
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusCreated, body: routeAnswer{"route/v1", r}}, nil
}

func (d *Door) removeRoute(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.watching.RemoveRoute(c.ctx, c.caller, c.params["route"])
}

func (d *Door) testRoute(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{}, d.watching.TestRoute(c.ctx, c.caller, c.params["route"])
}

// resendRequest names a delivery that has failed; none names all of them.
type resendRequest struct {
	Delivery string `json:"delivery"`
}

type resentAnswer struct {
	Schema     string `json:"schema"`
	Route      string `json:"route"`
	Deliveries int    `json:"deliveries"` // that are sent again
}

func (d *Door) resendDeliveries(c *call) (reply, error) {
	var req resendRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	n, err := d.watching.ResendDeliveries(c.ctx, c.caller, c.params["route"], req.Delivery)
	if err != nil {
		return reply{}, err
	}
	return reply{body: resentAnswer{"route-resent/v1", c.params["route"], n}}, nil
}

func (d *Door) listDeliveries(c *call) (reply, error) {
	q, err := c.query("limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	all, err := d.watching.RouteDeliveries(c.ctx, c.caller, c.params["route"], limit)
	if err != nil {
		return reply{}, err
	}
	return reply{body: list[watch.Delivery]{Schema: "delivery-list/v1", Items: notNil(all)}}, nil
}
