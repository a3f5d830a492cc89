package api

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
)

// TestRoundTripOfJudging is TestRoundTrip for the judgement; every field of its
// answers is set.
func TestRoundTripOfJudging(t *testing.T) {
	const key = "prod/data/airflow"
	day, none := "1d", ""
	page := client.Page{Limit: 3}
	roundTrip(t, map[string]func(context.Context, *client.Client) result{
		"Feeds": func(ctx context.Context, c *client.Client) result {
			v, err := c.Feeds(ctx, page)
			return result{v, err, "Feeds", "GET /advisory-feeds?limit=3"}
		},
		"AddFeed": func(ctx context.Context, c *client.Client) result {
			v, err := c.AddFeed(ctx, client.NewFeed{Name: "bitnami", Kind: "osv", URL: "https://feeds.example.test/x.zip", Credential: "gh", Interval: "12h", StaleAfter: "3d"})
			return result{v, err, "AddFeed {Name:bitnami Kind:osv URL:https://feeds.example.test/x.zip Credential:gh Interval:12h StaleAfter:3d}", "POST /advisory-feeds"}
		},
		"SetFeed": func(ctx context.Context, c *client.Client) result {
			v, err := c.SetFeed(ctx, "bitnami", client.FeedChange{URL: &none, StaleAfter: &day})
			return result{v, err, `SetFeed bitnami url="" credential=- interval=- stale=1d`, "PATCH /advisory-feeds/bitnami"}
		},
		"RemoveFeed": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.RemoveFeed(ctx, "bitnami"), "RemoveFeed bitnami", ""}
		},
		"ReadFeed": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.ReadFeed(ctx, "bitnami"), "FeedNow bitnami", ""}
		},
		"ImportFeed": func(ctx context.Context, c *client.Client) result {
			v, err := c.ImportFeed(ctx, "bitnami", "x.tar.gz", strings.NewReader("records"), -1)
			return result{v, err, `ImportFeed bitnami x.tar.gz "records"`, "PUT /advisory-feeds/bitnami/records?file=x.tar.gz"}
		},
		"ImportFeed of much": func(ctx context.Context, c *client.Client) result {
			much := strings.Repeat("x", 5<<20)
			v, err := c.ImportFeed(ctx, "bitnami", "", strings.NewReader(much), int64(len(much)))
			return result{v, err, `ImportFeed bitnami bitnami "` + much[:100] + `"`, "PUT /advisory-feeds/bitnami/records"}
		},
		"Snapshots": func(ctx context.Context, c *client.Client) result {
			v, err := c.Snapshots(ctx, "bitnami", 2)
			return result{client.List[client.Snapshot]{Items: v}, err, "Snapshots bitnami 2", "GET /advisory-feeds/bitnami/snapshots?limit=2"}
		},
		"Advisories": func(ctx context.Context, c *client.Client) result {
			v, err := c.Advisories(ctx, "severity:high redis", client.Page{After: "2", Limit: 2})
			return result{v, err, "Advisories {Query:severity:high redis Limit:2 After:2}", "GET /advisories?after=2"}
		},
		"Advisory": func(ctx context.Context, c *client.Client) result {
			v, err := c.Advisory(ctx, "rights-wildcard in ClusterRole/web")
			return result{v, err, "Advisory rights-wildcard in ClusterRole/web", "GET /advisory?id=rights-wildcard+in+ClusterRole/web"}
		},
		"MatchImages": func(ctx context.Context, c *client.Client) result {
			v, err := c.MatchImages(ctx, []string{"a/b:1", "c@sha256:x"})
			return result{v, err, "MatchImages [a/b:1 c@sha256:x]", "POST /advisories/match"}
		},
		"Assessment": func(ctx context.Context, c *client.Client) result {
			v, err := c.Assessment(ctx, key)
			return result{v, err, "Assessment " + key, "GET /assessment?key=prod/data/airflow"}
		},
		"Explain": func(ctx context.Context, c *client.Client) result {
			v, err := c.Explain(ctx, key, "CVE-2026-1")
			return result{v, err, "Explain " + key + ` "CVE-2026-1"`, "GET /explanation?key=prod/data/airflow&finding=CVE-2026-1"}
		},
		"DecisionPolicy": func(ctx context.Context, c *client.Client) result {
			v, err := c.DecisionPolicy(ctx)
			return result{v, err, "Policy", "GET /decision-policy"}
		},
		"SetDecisionPolicy": func(ctx context.Context, c *client.Client) result {
			v, err := c.SetDecisionPolicy(ctx, strings.NewReader("name: ours\n"), 11)
			return result{v, err, `SetPolicy "name: ours\n"`, "GET /decision-policy"}
		},
		"Waivers": func(ctx context.Context, c *client.Client) result {
			v, err := c.Waivers(ctx, true, page)
			return result{v, err, "Waivers true", "GET /waivers?all=true"}
		},
		"RequestWaiver": func(ctx context.Context, c *client.Client) result {
			v, err := c.RequestWaiver(ctx, client.NewWaiver{Finding: "CVE-2026-1", Deployments: "prod/*", Component: "Bitnami/redis", Reason: "why", Expires: noon})
			return result{v, err, "RequestWaiver {Finding:CVE-2026-1 Deployments:prod/* Component:Bitnami/redis Reason:why Expires:2026-03-02 12:00:00 +0000 UTC}", "POST /waivers"}
		},
		"ApproveWaiver": func(ctx context.Context, c *client.Client) result {
			v, err := c.ApproveWaiver(ctx, 7)
			return result{v, err, "ApproveWaiver 7", "POST /waivers/7/approve"}
		},
		"EndWaiver": func(ctx context.Context, c *client.Client) result {
			v, err := c.EndWaiver(ctx, 7)
			return result{v, err, "EndWaiver 7", "POST /waivers/7/end"}
		},
		"Reviews": func(ctx context.Context, c *client.Client) result {
			v, err := c.Reviews(ctx, client.ReviewFilter{Deployment: key, Chart: "airflow", Version: "8.9.0", State: "open"}, client.Page{After: "9", Limit: 2})
			return result{v, err, "Reviews {Deployment:" + key + " Chart:airflow To:8.9.0 State:open Before:9 Limit:2}",
				"GET /reviews?deployment=prod/data/airflow&chart=airflow&version=8.9.0&state=open&after=9&limit=2"}
		},
		"MakeReview": func(ctx context.Context, c *client.Client) result {
			v, err := c.MakeReview(ctx, key, "8.9.0")
			return result{v, err, "MakeReview " + key + ` "8.9.0"`, "POST /reviews"}
		},
		"Review": func(ctx context.Context, c *client.Client) result {
			v, err := c.Review(ctx, "sha256:0123456789")
			return result{v, err, "Review sha256:0123456789", "GET /reviews/sha256:0123456789"}
		},
		"SignReview": func(ctx context.Context, c *client.Client) result {
			v, err := c.SignReview(ctx, "sha256:0123456789", client.Sign{Role: "security", Accept: true, Text: "fine", Answers: map[string]string{"a": "yes"}})
			return result{v, err, "SignReview sha256:0123456789 {Role:security Accept:true Text:fine Answers:map[a:yes]}", "POST /reviews/sha256:0123456789/sign"}
		},
		"Plans": func(ctx context.Context, c *client.Client) result {
			v, err := c.Plans(ctx, page)
			return result{v, err, "Plans", "GET /plans"}
		},
		"Plan": func(ctx context.Context, c *client.Client) result {
			v, err := c.Plan(ctx, key)
			return result{v, err, "Plan " + key, "GET /plan?key=prod/data/airflow"}
		},
		"AcceptPlan": func(ctx context.Context, c *client.Client) result {
			v, err := c.AcceptPlan(ctx, key, "sha256:aa")
			return result{v, err, "AcceptPlan " + key + " sha256:aa", "POST /plan/accept?key=prod/data/airflow"}
		},
		"Windows": func(ctx context.Context, c *client.Client) result {
			v, err := c.Windows(ctx, page)
			return result{v, err, "Windows", "GET /windows"}
		},
		"PutWindow": func(ctx context.Context, c *client.Client) result {
			err := c.PutWindow(ctx, "nights", client.NewWindow{Freeze: true, Schedule: "s", Start: noon, End: noon, Duration: "3h", Zone: "UTC", Environments: []string{"e"}, Deployments: []string{"d"}, Reason: "r", Security: true})
			return result{nil, err, "PutWindow {Name:nights Freeze:true Schedule:s Start:2026-03-02 12:00:00 +0000 UTC End:2026-03-02 12:00:00 +0000 UTC Duration:3h Zone:UTC Environments:[e] Deployments:[d] Reason:r Security:true Created:0001-01-01 00:00:00 +0000 UTC CreatedBy:}", ""}
		},
		"RemoveWindow": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.RemoveWindow(ctx, "nights"), "RemoveWindow nights", ""}
		},
		"Status": func(ctx context.Context, c *client.Client) result {
			v, err := c.Status(ctx, "data", page)
			return result{v, err, `Status "data"`, "GET /status?owner=data"}
		},
		"Upgrades": func(ctx context.Context, c *client.Client) result {
			v, err := c.Upgrades(ctx, client.UpgradeFilter{Deployment: key, Owner: "data", State: "planned", Open: true}, page)
			return result{v, err, "Upgrades {Deployment:" + key + " Owner:data State:planned Open:true Limit:1000}",
				"GET /upgrades?deployment=prod/data/airflow&owner=data&state=planned&open=true"}
		},
		"Upgrade": func(ctx context.Context, c *client.Client) result {
			v, err := c.Upgrade(ctx, 4)
			return result{v, err, "Upgrade 4", "GET /upgrades/4"}
		},
		"DismissUpgrade": func(ctx context.Context, c *client.Client) result {
			v, err := c.DismissUpgrade(ctx, 4, "retired", noon)
			return result{v, err, `DismissUpgrade 4 "retired" ` + noon.Format(time.RFC3339), "POST /upgrades/4/dismiss"}
		},
		"Practice": func(ctx context.Context, c *client.Client) result {
			v, err := c.Practice(ctx, noon)
			return result{v, err, "Practice " + noon.Format(time.RFC3339), "GET /practice?since=2026-01-01T00:00:00Z"}
		},
		"Trackers": func(ctx context.Context, c *client.Client) result {
			v, err := c.Trackers(ctx, page)
			return result{v, err, "Trackers", "GET /trackers"}
		},
		"AddTracker": func(ctx context.Context, c *client.Client) result {
			v, err := c.AddTracker(ctx, client.NewTracker{Name: "ops", Kind: "github", URL: "https://github.com/example/ops", API: "a", Credential: "gh", Owners: []string{"data"}, Labels: []string{"security"}, Severity: "high"})
			return result{v, err, "AddTracker ops github https://github.com/example/ops a gh [data] [security] high", "POST /trackers"}
		},
		"RemoveTracker": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.RemoveTracker(ctx, "ops"), "RemoveTracker ops", ""}
		},
		"Tickets": func(ctx context.Context, c *client.Client) result {
			v, err := c.Tickets(ctx, "ops", 5)
			return result{client.List[client.Ticket]{Items: v}, err, `Tickets "ops" 5`, "GET /tickets?tracker=ops&limit=5"}
		},
	})
}

func TestRoundTripOfTexts(t *testing.T) {
	svc := &fake{}
	c := connect(t, svc)
	agenda, err := c.Agenda(t.Context(), "data")
	if err != nil || agenda != "# Agenda\n" || svc.call != `Agenda "data"` {
		t.Errorf("Agenda = %q, %v after %s", agenda, err, svc.call)
	}
	ics, err := c.Calendar(t.Context(), "")
	if err != nil || !strings.HasPrefix(ics, "BEGIN:VCALENDAR\r\n") || svc.call != `Calendar ""` {
		t.Errorf("Calendar = %q, %v after %s", ics, err, svc.call)
	}
	pull, err := c.PullRequest(t.Context(), 4)
	if err != nil || pull != "## Move web\n" || svc.call != "PullRequest 4" {
		t.Errorf("PullRequest = %q, %v after %s", pull, err, svc.call)
	}
}
