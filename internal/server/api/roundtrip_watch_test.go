package api

import (
	"context"
	"testing"

	"github.com/chartkeep/chartkeep/client"
)

// TestRoundTripOfWatching is TestRoundTrip for upstreams, deployments and
// routes.
func TestRoundTripOfWatching(t *testing.T) {
	roundTrip(t, map[string]func(context.Context, *client.Client) result{
		"Upstream": func(ctx context.Context, c *client.Client) result {
			v, err := c.Upstream(ctx, "a")
			return result{v, err, "Upstream a", "GET /upstreams/a"}
		},
		"UpstreamVersions": func(ctx context.Context, c *client.Client) result {
			v, err := c.UpstreamVersions(ctx, "a", "airflow", client.Page{})
			return result{v, err, `Versions a "airflow"`, "GET /upstreams/a/versions"}
		},
		"Deployments": func(ctx context.Context, c *client.Client) result {
			v, err := c.Deployments(ctx, "prod", client.Page{})
			return result{v, err, "Imports", "GET /deployments?import=prod"}
		},
		"Deployment": func(ctx context.Context, c *client.Client) result {
			v, err := c.Deployment(ctx, "prod/data/airflow")
			return result{v, err, "Deployment prod/data/airflow", "GET /deployment?key=prod/data/airflow"}
		},
		"ResendDeliveries": func(ctx context.Context, c *client.Client) result {
			n, err := c.ResendDeliveries(ctx, "sec", "dlv-1")
			if err == nil && n != 2 {
				t.Errorf("%d deliveries are sent again", n)
			}
			return result{nil, err, "ResendDeliveries sec dlv-1", ""}
		},
		"Deliveries": func(ctx context.Context, c *client.Client) result {
			v, err := c.Deliveries(ctx, "sec", 3)
			if err == nil && (len(v) != 1 || v[0].ID != "dlv-1" || v[0].Attempts != 2) {
				t.Errorf("deliveries %+v", v)
			}
			return result{nil, err, "RouteDeliveries sec 3", ""}
		},
		"Alerts": func(ctx context.Context, c *client.Client) result {
			v, err := c.Alerts(ctx, true, 3)
			if err == nil && (len(v) != 1 || v[0].Count != 12 || v[0].Event != "release.refused.overwrite" || v[0].Ended.IsZero()) {
				t.Errorf("alerts %+v", v)
			}
			return result{nil, err, "Alerts true 3", ""}
		},
		"AlertDeliveries": func(ctx context.Context, c *client.Client) result {
			v, err := c.AlertDeliveries(ctx, 3)
			if err == nil && (len(v) != 1 || v[0].State != "delivered") {
				t.Errorf("deliveries %+v", v)
			}
			return result{nil, err, "AlertDeliveries 3", ""}
		},
		"TestAlert": func(ctx context.Context, c *client.Client) result {
			key, err := c.TestAlert(ctx)
			if err == nil && key != "alert.tested X" {
				t.Errorf("key %q", key)
			}
			return result{nil, err, "TestAlert", ""}
		},
	})
}
