package api

import (
	"net/http"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func (d *Door) listAlerts(c *call) (reply, error) {
	q, err := c.query("open", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	open := q.Get("open")
	if open != "" && open != "true" && open != "false" {
		return reply{}, problem.New(problem.Invalid, "query", "open is true or false, and not %.20q", open)
	}
	all, err := d.watching.Alerts(c.ctx, c.caller, open == "true", limit)
	if err != nil {
		return reply{}, err
	}
	return reply{body: list[watch.Alert]{Schema: "alert-list/v1", Items: notNil(all)}}, nil
}

func (d *Door) listAlertDeliveries(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	id, err := strconv.ParseInt(c.params["alert"], 10, 64)
	if err != nil {
		return reply{}, problem.New(problem.NotFound, "alert", "there is no alert %.40q", c.params["alert"]).Suggest("chartkeep alert list")
	}
	all, err := d.watching.AlertDeliveries(c.ctx, c.caller, id)
	if err != nil {
		return reply{}, err
	}
	return reply{body: list[watch.Delivery]{Schema: "delivery-list/v1", Items: notNil(all)}}, nil
}

type alertTestAnswer struct {
	Schema string `json:"schema"`
	Key    string `json:"key"` // of the alert that comes of it
}

func (d *Door) testAlert(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	key, err := d.watching.TestAlert(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusAccepted, body: alertTestAnswer{"alert-test/v1", key}}, nil
}
