package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Alert is something alarming that happened to the registry, once or again and
// again. It ends when it did not happen for a quarter of an hour.
type Alert struct {
	ID         int64     `json:"id"`
	Key        string    `json:"key"`
	Event      string    `json:"event"` // name of the audit event
	Severity   string    `json:"severity"`
	Project    string    `json:"project,omitempty"`
	Chart      string    `json:"chart,omitempty"`
	Version    string    `json:"version,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Message    string    `json:"message"`
	Count      int64     `json:"count"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	FirstIndex int64     `json:"first_audit_index"`
	LastIndex  int64     `json:"last_audit_index"`
	Ended      time.Time `json:"ended,omitzero"`
}

// Alerts lists alerts, newest first; open leaves out those that ended.
func (c *Client) Alerts(ctx context.Context, open bool, limit int) ([]Alert, error) {
	var l List[Alert]
	err := c.get(ctx, "/alerts", url.Values{"limit": {strconv.Itoa(limit)}, "open": {strconv.FormatBool(open)}}, "alert-list/v1", &l)
	return l.Items, err
}

// AlertDeliveries lists what was sent of an alert, or waits to be.
func (c *Client) AlertDeliveries(ctx context.Context, id int64) ([]Delivery, error) {
	var l List[Delivery]
	err := c.get(ctx, "/alerts/"+strconv.FormatInt(id, 10)+"/deliveries", nil, "delivery-list/v1", &l)
	return l.Items, err
}

// TestAlert raises an alert that means nothing. It returns the key of it; the
// alert and its deliveries follow within seconds.
func (c *Client) TestAlert(ctx context.Context) (key string, err error) {
	var out struct {
		Key string `json:"key"`
	}
	err = c.send(ctx, http.MethodPost, "/alerts/test", nil, "alert-test/v1", &out)
	return out.Key, err
}
