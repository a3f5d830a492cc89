package api

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/server"
)

// judgingRequests has at least one request for each route of the judgement.
var judgingRequests = []request{
	{"feeds", "GET", "/advisory-feeds?limit=3", "", "", 200, "Feeds"},
	{"feed add", "POST", "/advisory-feeds", jsonType, `{"name":"bitnami","kind":"osv","url":"https://feeds.example.test/x.zip","credential":"gh","interval":"12h","stale_after":"3d"}`, 201,
		"AddFeed {Name:bitnami Kind:osv URL:https://feeds.example.test/x.zip Credential:gh Interval:12h StaleAfter:3d}"},
	{"feed set", "PATCH", "/advisory-feeds/bitnami", jsonType, `{"url":"","interval":null}`, 200, `SetFeed bitnami url="" credential=- interval=- stale=-`},
	{"feed remove", "DELETE", "/advisory-feeds/bitnami", "", "", 204, "RemoveFeed bitnami"},
	{"feed read", "POST", "/advisory-feeds/bitnami/read", "", "", 204, "FeedNow bitnami"},
	{"feed import", "PUT", "/advisory-feeds/bitnami/records?file=x.tar.gz", "application/gzip", "records", 200, `ImportFeed bitnami x.tar.gz "records"`},
	{"feed import without a name", "PUT", "/advisory-feeds/bitnami/records", "", "records", 200, `ImportFeed bitnami bitnami "records"`},
	{"feed import with a long name", "PUT", "/advisory-feeds/bitnami/records?file=" + strings.Repeat("x", 256), "", "records", 400, ""},
	{"feed import with an odd name", "PUT", "/advisory-feeds/bitnami/records?file=%ff", "", "records", 400, ""},
	{"snapshots", "GET", "/advisory-feeds/bitnami/snapshots?limit=2", "", "", 200, "Snapshots bitnami 2"},
	{"advisories", "GET", "/advisories?query=severity:high+redis&limit=2", "", "", 200, "Advisories {Query:severity:high redis Limit:2 After:0}"},
	{"advisories go on", "GET", "/advisories?after=2", "", "", 200, "Advisories {Query: Limit:100 After:2}"},
	{"advisories bad after", "GET", "/advisories?after=x", "", "", 400, ""},
	{"advisory", "GET", "/advisory?id=rights-wildcard+in+ClusterRole/web", "", "", 200, "Advisory rights-wildcard in ClusterRole/web"},
	{"advisory without an id", "GET", "/advisory", "", "", 400, ""},
	{"match", "POST", "/advisories/match", jsonType, `{"images":["a/b:1","c@sha256:x"]}`, 200, "MatchImages [a/b:1 c@sha256:x]"},
	{"match nothing", "POST", "/advisories/match", jsonType, `{"images":[]}`, 400, ""},
	{"match too much", "POST", "/advisories/match", jsonType, `{"images":["a"` + strings.Repeat(`,"a"`, maxImages) + `]}`, 400, ""},
	{"assessment", "GET", "/assessment?key=prod/data/airflow", "", "", 200, "Assessment prod/data/airflow"},
	{"assessment of nothing", "GET", "/assessment", "", "", 400, ""},
	{"explanation", "GET", "/explanation?key=prod/data/airflow&finding=CVE-2026-1", "", "", 200, `Explain prod/data/airflow "CVE-2026-1"`},
	{"explanation of the deadline", "GET", "/explanation?key=prod/data/airflow", "", "", 200, `Explain prod/data/airflow ""`},
	{"explanation of nothing", "GET", "/explanation?finding=x", "", "", 400, ""},

	{"decision policy", "GET", "/decision-policy", "", "", 200, "Policy"},
	{"decision policy set", "PUT", "/decision-policy", "application/yaml", "name: ours\n", 200, `SetPolicy "name: ours\n"`},
	{"decision policy as JSON", "PUT", "/decision-policy", jsonType, "{}", 415, ""},
	{"decision policy too large", "PUT", "/decision-policy", "text/yaml", strings.Repeat("x", maxJSON+1), 413, ""},
	{"waivers", "GET", "/waivers?all=true", "", "", 200, "Waivers true"},
	{"waivers bad all", "GET", "/waivers?all=yes", "", "", 400, ""},
	{"waiver request", "POST", "/waivers", jsonType, `{"finding":"CVE-2026-1","deployments":"prod/*","component":"Bitnami/redis","reason":"not reachable","expires":"2026-04-01T00:00:00Z"}`, 201,
		"RequestWaiver {Finding:CVE-2026-1 Deployments:prod/* Component:Bitnami/redis Reason:not reachable Expires:2026-04-01 00:00:00 +0000 UTC}"},
	{"waiver approve", "POST", "/waivers/7/approve", "", "", 200, "ApproveWaiver 7"},
	{"waiver end", "POST", "/waivers/7/end", "", "", 200, "EndWaiver 7"},
	{"waiver of no number", "POST", "/waivers/x/end", "", "", 400, ""},

	{"reviews", "GET", "/reviews?deployment=prod/data/airflow&chart=airflow&version=8.9.0&state=open&after=9&limit=2", "", "", 200,
		"Reviews {Deployment:prod/data/airflow Chart:airflow To:8.9.0 State:open Before:9 Limit:2}"},
	{"reviews one", "GET", "/reviews?limit=1", "", "", 200, "Reviews {Deployment: Chart: To: State: Before:0 Limit:1}"},
	{"reviews no more", "GET", "/reviews?after=0", "", "", 200, ""},
	{"reviews bad state", "GET", "/reviews?state=done", "", "", 400, ""},
	{"review make", "POST", "/reviews", jsonType, `{"deployment":"prod/data/airflow"}`, 201, `MakeReview prod/data/airflow ""`},
	{"review make of a version", "POST", "/reviews", jsonType, `{"deployment":"prod/data/airflow","version":"8.9.0"}`, 201, `MakeReview prod/data/airflow "8.9.0"`},
	{"review", "GET", "/reviews/sha256:0123456789", "", "", 200, "Review sha256:0123456789"},
	{"review sign", "POST", "/reviews/sha256:0123456789/sign", jsonType, `{"role":"security","accept":true,"text":"fine","answers":{"a":"yes"}}`, 200,
		"SignReview sha256:0123456789 {Role:security Accept:true Text:fine Answers:map[a:yes]}"},

	{"plans", "GET", "/plans", "", "", 200, "Plans"},
	{"plans go on", "GET", "/plans?limit=1", "", "", 200, "Plans"},
	{"plan", "GET", "/plan?key=prod/data/airflow", "", "", 200, "Plan prod/data/airflow"},
	{"plan accept", "POST", "/plan/accept?key=prod/data/airflow", jsonType, `{"digest":"sha256:aa"}`, 200, "AcceptPlan prod/data/airflow sha256:aa"},
	{"plan accept of nothing", "POST", "/plan/accept", jsonType, `{"digest":"sha256:aa"}`, 400, ""},
	{"agenda", "GET", "/agenda?owner=data", "", "", 200, `Agenda "data"`},
	{"calendar", "GET", "/calendar.ics", "", "", 200, `Calendar ""`},
	{"windows", "GET", "/windows", "", "", 200, "Windows"},
	{"window put", "PUT", "/windows/nights", jsonType, `{"schedule":"0 2 * * *","duration":"3h","zone":"Europe/Berlin","environments":["prod*"],"reason":"quiet"}`, 204,
		"PutWindow {Name:nights Freeze:false Schedule:0 2 * * * Start:0001-01-01 00:00:00 +0000 UTC End:0001-01-01 00:00:00 +0000 UTC Duration:3h Zone:Europe/Berlin Environments:[prod*] Deployments:[] Reason:quiet Security:false Created:0001-01-01 00:00:00 +0000 UTC CreatedBy:}"},
	{"window remove", "DELETE", "/windows/nights", "", "", 204, "RemoveWindow nights"},

	{"status", "GET", "/status?owner=data", "", "", 200, `Status "data"`},
	{"upgrades", "GET", "/upgrades?deployment=prod/data/airflow&owner=data&state=planned&open=true", "", "", 200,
		"Upgrades {Deployment:prod/data/airflow Owner:data State:planned Open:true Limit:1000}"},
	{"upgrade", "GET", "/upgrades/4", "", "", 200, "Upgrade 4"},
	{"upgrade of no number", "GET", "/upgrades/-4", "", "", 400, ""},
	{"upgrade dismiss", "POST", "/upgrades/4/dismiss", jsonType, `{"reason":"retired","until":"2026-06-01T00:00:00Z"}`, 200, `DismissUpgrade 4 "retired" 2026-06-01T00:00:00Z`},
	{"pull request", "GET", "/upgrades/4/pull-request", "", "", 200, "PullRequest 4"},
	{"practice", "GET", "/practice?since=2026-01-01T00:00:00Z", "", "", 200, "Practice 2026-01-01T00:00:00Z"},
	{"practice bad time", "GET", "/practice?since=lately", "", "", 400, ""},

	{"trackers", "GET", "/trackers", "", "", 200, "Trackers"},
	{"tracker add", "POST", "/trackers", jsonType, `{"name":"ops","kind":"github","url":"https://github.com/example/ops","credential":"gh","owners":["data"],"labels":["security"],"min_severity":"high"}`, 201,
		"AddTracker ops github https://github.com/example/ops  gh [data] [security] high"},
	{"tracker remove", "DELETE", "/trackers/ops", "", "", 204, "RemoveTracker ops"},
	{"tickets", "GET", "/tickets?tracker=ops&limit=5", "", "", 200, `Tickets "ops" 5`},
}

// A server without a judgement has none of its paths, and all others.
func TestWithoutJudging(t *testing.T) {
	door := New(&fake{}, &fake{}, Config{Version: "1.0.0"})
	for _, r := range judgingRequests {
		req := httptest.NewRequest(r.method, "http://keep.example/api/v1"+strings.ReplaceAll(r.path, "+", "%20"), strings.NewReader(r.body))
		w := httptest.NewRecorder()
		server.Wrap(audit.DoorAPI, door.Serve, WriteError).ServeHTTP(w, server.WithCaller(req, ann))
		if w.Code != 404 || !strings.Contains(w.Body.String(), `"rule":"judging"`) {
			t.Errorf("%s %s: %d %s", r.method, r.path, w.Code, w.Body)
		}
	}
}
