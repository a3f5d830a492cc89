package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// ann is the caller of the tests: a person with a personal token.
var ann = release.Caller{
	Principal: access.Principal{ID: "usr-1", Name: "ann", Kind: access.KindUser, TokenID: "tok-1", Expires: noon,
		Grants: []access.Grant{sampleGrant}, Of: &access.Principal{ID: "usr-1", Name: "ann"}},
	Door: audit.DoorAPI, RequestID: "req-1",
}

func serve(svc *fake, method, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://keep.example/", strings.NewReader(body))
	u, err := url.Parse("/api/v1" + path)
	if err != nil {
		panic(err)
	}
	r.URL = u
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	door := New(svc, svc, Config{Version: "1.0.0", Commit: "abc", Judging: svc})
	server.Wrap(audit.DoorAPI, door.Serve, WriteError).ServeHTTP(w, server.WithCaller(r, ann))
	return w
}

const jsonType = "application/json"

// part is a part of a form; forms are written with a fixed boundary, so that
// they can stand in tables.
type part struct{ name, file, content string }

const boundary = "b0undary"

const formType = "multipart/form-data; boundary=" + boundary

func form(parts ...part) string {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.SetBoundary(boundary)
	for _, p := range parts {
		f, _ := w.CreateFormFile(p.name, p.file)
		_, _ = f.Write([]byte(p.content))
	}
	_ = w.Close()
	return b.String()
}

// request is one request and what becomes of it.
type request struct {
	name, method, path, contentType, body string
	status                                int
	call                                  string // of the service; "" for none
}

// requests has at least one request for each route.
var requests = slices.Concat(watchingRequests, publisherRequests, judgingRequests, protectRequests, signingRequests, integrityRequests)

// watchingRequests are those of the registry and the watch.
var watchingRequests = []request{
	{"version", "GET", "/version", "", "", 200, ""},
	{"whoami", "GET", "/whoami", "", "", 200, ""},
	{"can-i", "GET", "/can-i?action=chart.push&project=team-a/web&chart=nginx&prerelease=true&account=bob", "", "", 200, `CanI "bob" chart.push "team-a/web" "nginx" true`},
	{"projects", "GET", "/projects?limit=2", "", "", 200, "Projects"},
	{"projects after", "GET", "/projects?limit=2&after=b", "", "", 200, "Projects"},
	{"project create", "POST", "/projects", jsonType, `{"name":"team-a/web","public":true,"policy":{"require_provenance":true}}`, 201,
		`CreateProject team-a/web kind=charts public=true importing=false policy={"require_provenance":true}`},
	{"project create artifacts", "POST", "/projects", jsonType + "; charset=utf-8", `{"name":"x","kind":"artifacts","importing":true}`, 201,
		`CreateProject x kind=artifacts public=false importing=true policy={"require_provenance":false}`},
	{"project", "GET", "/projects/team-a/web", "", "", 200, "Project team-a/web"},
	{"project head", "HEAD", "/projects/a", "", "", 200, "Project a"},
	{"project set", "PATCH", "/projects/team-a/web", jsonType, `{"public":false}`, 200, "SetProject team-a/web public=false policy=- hub=-"},
	{"project set policy", "PATCH", "/projects/a", jsonType, `{"public":null,"policy":{"require_provenance":true}}`, 200, "SetProject a public=- policy=true hub=-"},
	{"project set artifact hub", "PATCH", "/projects/a", jsonType, `{"artifacthub_id":"` + sampleUUID + `"}`, 200, `SetProject a public=- policy=- hub="` + sampleUUID + `"`},
	{"project set no artifact hub", "PATCH", "/projects/a", jsonType, `{"artifacthub_id":""}`, 200, `SetProject a public=- policy=- hub=""`},
	{"project remove", "POST", "/projects/team-a/web/-/remove", jsonType, `{"reason":"gone"}`, 204, `RemoveProject team-a/web "gone"`},
	{"cut-over", "POST", "/projects/a/-/cut-over", "", "", 200, "CutOver a"},
	{"push", "POST", "/projects/team-a/web/-/releases", "application/gzip", "bytes", 201, `PushArchive team-a/web archive="bytes" prov="" {Force:false FileName:}`},
	{"push form", "POST", "/projects/a/-/releases", formType, form(part{"prov", "x.prov", "signed"}, part{"chart", "nginx-1.2.3.tgz", "bytes"}), 201,
		`PushArchive a archive="bytes" prov="signed" {Force:false FileName:nginx-1.2.3.tgz}`},
	{"import", "POST", "/projects/a/-/imports", formType,
		form(part{"origin", "", `{"url":"https://old.example/x.tgz","created":"2020-01-02T03:04:05Z","digest":"sha256:aa"}`}, part{"prov", "p", "signed"}, part{"chart", "v.tgz", "bytes"}), 201,
		`ImportRelease a archive="bytes" prov="signed" {URL:https://old.example/x.tgz Created:2020-01-02 03:04:05 +0000 UTC Digest:sha256:aa}`},
	{"provenance", "POST", "/projects/a/-/provenance", "text/plain", "signed text", 200, `AttachProvenance a "signed text"`},
	{"charts", "GET", "/projects/team-a/web/-/charts?limit=1", "", "", 200, `Charts team-a/web after="" limit=1`},
	{"charts end", "GET", "/projects/a/-/charts?after=nginx", "", "", 200, `Charts a after="nginx" limit=100`},
	{"releases", "GET", "/projects/a/-/charts/nginx/releases", "", "", 200, "Releases a nginx"},
	{"releases page", "GET", "/projects/a/-/charts/nginx/releases?limit=1&after=1.2.3%2Bb.1", "", "", 200, "Releases a nginx"},
	{"release", "GET", "/projects/team-a/web/-/charts/nginx/releases/1.2.3+b.1", "", "", 200, "Proof team-a/web nginx 1.2.3+b.1"},
	{"release latest", "GET", "/projects/a/-/charts/nginx/releases/latest", "", "", 200, "Proof a nginx 1.2.3"},
	{"proof", "GET", "/projects/a/-/charts/nginx/releases/1.2.3/proof", "", "", 200, "Proof a nginx 1.2.3"},
	{"yank", "POST", "/projects/team-a/web/-/charts/nginx/releases/1.2.3/yank", jsonType, `{"reason":"security","text":"CVE"}`, 200, `Yank team-a/web nginx 1.2.3 security "CVE"`},
	{"unyank", "POST", "/projects/a/-/charts/nginx/releases/1.2.3/unyank", jsonType, `{"text":"false alarm"}`, 200, `Unyank a nginx 1.2.3 "false alarm"`},
	{"yank reasons", "GET", "/yank-reasons", "", "", 200, ""},
	{"accounts", "GET", "/accounts", "", "", 200, "Accounts"},
	{"account create", "POST", "/accounts", jsonType, `{"name":"ann","kind":"user","password":"sesame"}`, 201, `CreateAccount ann user "sesame"`},
	{"password", "PUT", "/accounts/ann/password", jsonType, `{"password":"new"}`, 204, `SetPassword ann "new"`},
	{"disable", "POST", "/accounts/ann/disable", "", "", 204, "DisableAccount ann"},
	{"grants", "GET", "/grants?account=ann", "", "", 200, `Grants "ann"`},
	{"grant add", "POST", "/grants", jsonType, `{"account":"ann","grant":{"role":"publisher","project":"a","chart":"web*","versions":"prerelease","expires":"2026-03-02T12:00:00Z"}}`, 201,
		"AddGrant ann {ID: Role:publisher Project:a Chart:web* Versions:prerelease Expires:2026-03-02 12:00:00 +0000 UTC}"},
	{"holders", "GET", "/holders?project=a", "", "", 200, "Holders {Project:a Tokens:false AfterName: AfterID: Limit:101}"},
	{"holders page", "GET", "/holders?tokens=true&limit=1&after=grn-9+a%20b", "", "", 200, "Holders {Project: Tokens:true AfterName:a b AfterID:grn-9 Limit:2}"},
	{"grant revoke", "DELETE", "/grants/grn-1", "", "", 204, "RevokeGrant grn-1"},
	{"tokens", "GET", "/tokens", "", "", 200, "Tokens"},
	{"token create", "POST", "/tokens", jsonType, `{"name":"ci","account":"bot","grants":[{"role":"reader","project":"a"}],"expires":"2026-03-02T12:00:00Z"}`, 201,
		"CreateToken {Name:ci Account:bot Grants:[{ID: Role:reader Project:a Chart: Versions: Expires:0001-01-01 00:00:00 +0000 UTC}] Expires:2026-03-02 12:00:00 +0000 UTC}"},
	{"token revoke", "DELETE", "/tokens/tok-1", "", "", 204, "RevokeToken tok-1"},
	{"log", "GET", "/log", "", "", 200, "LogInfo"},
	{"leaf", "GET", "/log/leaves/3", "", "", 200, "Leaf 3"},
	{"consistency", "GET", "/log/consistency?old=3&new=5", "", "", 200, "Consistency 3 5"},
	{"audit", "GET", "/audit?project=a&chart=c&version=v&event=release.refused.&actor=ann&outcome=denied&after=9&limit=1", "", "", 200,
		"Audit {Project:a Chart:c Version:v Action:release.refused. Actor:ann Outcome:denied Before:9 Limit:1}"},
	{"audit all", "GET", "/audit", "", "", 200, "Audit {Project: Chart: Version: Action: Actor: Outcome: Before:0 Limit:100}"},
	{"audit end", "GET", "/audit?after=0", "", "", 200, ""},
	{"openapi", "GET", "/openapi.yaml", "", "", 200, ""},
	{"upstreams", "GET", "/upstreams?limit=1", "", "", 200, "Upstreams"},
	{"upstream add", "POST", "/upstreams", jsonType, `{"name":"a","charts":["air*"],"keep":"all","quiet_after":"90d","mirror":{"project":"m","min_age":"7d","on_demand":true},"sources":[{"kind":"index","url":"https://c.example.test","interval":"2h"}]}`, 201,
		"AddUpstream a \"\" all 90d 1 sources [{0 0  index https://c.example.test   2h {0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC 0001-01-01 00:00:00 +0000 UTC 0    0  0 0001-01-01 00:00:00 +0000 UTC  false} {   }}]"},
	{"upstream preset", "POST", "/upstreams", jsonType, `{"preset":"airflow-helm"}`, 201, `AddUpstream  "airflow-helm"  - 0 sources []`},
	{"upstream bad span", "POST", "/upstreams", jsonType, `{"name":"a","quiet_after":"soon"}`, 400, ""},
	{"upstream", "GET", "/upstreams/a", "", "", 200, "Upstream a"},
	{"upstream set", "PATCH", "/upstreams/a", jsonType, `{"quiet_after":"0s","no_mirror":true}`, 200, "SetUpstream a charts=false quiet=0s mirror=false no=true sources=false"},
	{"upstream remove", "DELETE", "/upstreams/a", "", "", 204, "RemoveUpstream a"},
	{"upstream poll", "POST", "/upstreams/a/poll", "", "", 204, "PollNow a"},
	{"upstream versions", "GET", "/upstreams/a/versions?chart=airflow", "", "", 200, `Versions a "airflow"`},
	{"upstream versions after", "GET", "/upstreams/a/versions?after=airflow@8.9.0%233&limit=1", "", "", 200, `Versions a ""`},
	{"upstream notes", "GET", "/upstreams/a/notes?chart=airflow&version=8.9.0&limit=5", "", "", 200, `Notes a "airflow" "8.9.0" 5`},
	{"events", "GET", "/events?upstream=argo&min_severity=high&since=2026-03-01T00:00:00Z&after=10&limit=1", "", "", 200,
		"Events {Upstream:argo Chart: Version: Kind: MinSeverity:high Deployment: Since:2026-03-01 00:00:00 +0000 UTC Before:10 Limit:1}"},
	{"events end", "GET", "/events?after=0", "", "", 200, ""},
	{"events bad severity", "GET", "/events?min_severity=loud", "", "", 400, ""},
	{"events bad time", "GET", "/events?since=yesterday", "", "", 400, ""},
	{"feed", "GET", "/feed?upstream=argo", "", "", 200, `EventFeed "argo" "" http://keep.example`},
	{"feed of nothing", "GET", "/feed", "", "", 400, ""},
	{"deployments", "GET", "/deployments?import=prod", "", "", 200, "Imports"},
	{"deployments go on", "GET", "/deployments?after=prod/data/airflow", "", "", 200, `DeploymentList ""`},
	{"deployment", "GET", "/deployment?key=prod/data/airflow", "", "", 200, "Deployment prod/data/airflow"},
	{"deployment no key", "GET", "/deployment", "", "", 400, ""},
	{"deployment set", "PATCH", "/deployment?key=a/b/c", jsonType, `{"owner":"data","mission":3,"exposure":""}`, 200, `SetDeployment a/b/c - "data" - 3 ""`},
	{"deployment import", "PUT", "/deployments/imports/prod", jsonType, `{"from":"x","deployments":[{"key":"a/b/c","tool":"helm","name":"c","chart":{"name":"web"}}],"problems":["y"]}`, 200, "ImportDeployments prod 1 [y] every -"},
	{"deployment import unknown field", "PUT", "/deployments/imports/prod", jsonType, `{"deployments":[{"secret":1}]}`, 400, ""},
	{"deployment import with an interval", "PUT", "/deployments/imports/prod", jsonType, `{"deployments":[],"problems":["y"],"every":"15m"}`, 200, "ImportDeployments prod 0 [y] every 15m"},
	{"deployment import with a bad interval", "PUT", "/deployments/imports/prod", jsonType, `{"deployments":[],"every":"often"}`, 400, ""},
	{"upstream archive", "GET", "/upstreams/up/archive?chart=web&version=1.0.0&which=before", "", "", 200, `KeptArchive up web 1.0.0 "before"`},
	{"upstream archive of nothing", "GET", "/upstreams/up/archive?chart=web", "", "", 400, ""},
	{"outdated", "GET", "/outdated", "", "", 200, `Outdated ""`},
	{"environments", "GET", "/environments/compare?a=staging&b=production", "", "", 200, "CompareEnvironments staging production"},
	{"routes", "GET", "/routes", "", "", 200, "Routes"},
	{"route add", "POST", "/routes", jsonType, `{"name":"sec","kind":"webhook","target":"https://hooks.example.test","events":["changed"],"min_severity":"high"}`, 201, "AddRoute sec webhook https://hooks.example.test [changed] high"},
	{"route remove", "DELETE", "/routes/sec", "", "", 204, "RemoveRoute sec"},
	{"route test", "POST", "/routes/sec/test", "", "", 204, "TestRoute sec"},
	{"route resend", "POST", "/routes/sec/resend", jsonType, `{"delivery":"dlv-1"}`, 200, "ResendDeliveries sec dlv-1"},
	{"route resend all", "POST", "/routes/sec/resend", jsonType, `{}`, 200, "ResendDeliveries sec "},
	{"rotations", "GET", "/log/rotations", "", "", 200, ""},
	{"witnesses", "GET", "/log/witnesses", "", "", 200, "Witnesses"},
	{"alerts", "GET", "/alerts?open=true&limit=3", "", "", 200, "Alerts true 3"},
	{"alert deliveries", "GET", "/alerts/3/deliveries", "", "", 200, "AlertDeliveries 3"},
	{"alert test", "POST", "/alerts/test", "", "", 202, "TestAlert"},
	{"route deliveries", "GET", "/routes/sec/deliveries?limit=3", "", "", 200, "RouteDeliveries sec 3"},
}

func TestRoutes(t *testing.T) {
	doc := readDocument(t)
	used := map[string]bool{}
	var all bytes.Buffer
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			svc := &fake{}
			w := serve(svc, tt.method, tt.path, tt.contentType, tt.body)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if svc.call != tt.call {
				t.Errorf("the service was called\n%s, want\n%s", svc.call, tt.call)
			}
			if tt.call != "" && !strings.HasPrefix(tt.call, "LogInfo") && !strings.HasPrefix(tt.call, "Consistency") && svc.who.Principal.ID != "usr-1" {
				t.Errorf("the service was asked for %+v", svc.who)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			op := doc.operation(t, tt.method, tt.path)
			used[op.id] = true
			op.checkAnswer(t, w)
			if tt.name != "openapi" {
				_, _ = fmt.Fprintf(&all, "### %s: %s %s\n%d %s\n%s\n", tt.name, tt.method, tt.path, w.Code, w.Header().Get("Content-Type"), indented(w.Body.Bytes()))
			}

			// The same request, refused by the service.
			if tt.call == "" {
				return
			}
			w = serve(&fake{err: overwrite()}, tt.method, tt.path, tt.contentType, tt.body)
			if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"kind":"immutable"`) {
				t.Errorf("refused by the service: %d %s", w.Code, w.Body)
			}
			op.checkAnswer(t, w)
		})
	}
	golden(t, "answers.golden", all.Bytes())
	for _, r := range routes {
		if id := doc.find(r.method, r.pattern).id; !used[id] {
			t.Errorf("no test calls %s %s", r.method, r.pattern)
		}
	}
}

func indented(b []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, b, "", "  ") != nil {
		return string(b)
	}
	return strings.TrimSpace(out.String()) + "\n"
}

func TestUnchangedIs200(t *testing.T) {
	w := serve(&fake{unchanged: true}, "POST", "/projects/a/-/releases", "application/gzip", "x")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"unchanged":true`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestRefusals has what the door itself refuses; the service is not called.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", maxJSON)
	tooLong := form(part{"prov", "p", strings.Repeat("x", release.MaxProvenance+1)}, part{"chart", "c", "x"})
	var all bytes.Buffer
	for _, tt := range []struct {
		name, method, path, contentType, body string
		status                                int
	}{
		{"unknown path", "GET", "/nothing", "", "", 404},
		{"root", "GET", "", "", "", 404},
		{"root with slash", "GET", "/", "", "", 404},
		{"trailing slash", "GET", "/projects/", "", "", 404},
		{"trailing slash of a project", "GET", "/projects/a/", "", "", 404},
		{"empty segment", "GET", "/projects/a//b", "", "", 404},
		{"hyphen without more", "GET", "/projects/a/-", "", "", 404},
		{"hyphen as project", "GET", "/projects/-/charts", "", "", 404},
		{"hyphen as chart", "GET", "/projects/a/-/charts/-/releases", "", "", 404},
		{"chart of two segments", "GET", "/projects/a/-/charts/b/c/releases", "", "", 404},
		{"method", "DELETE", "/projects/a", "", "", 405},
		{"method of a release", "DELETE", "/projects/a/-/charts/nginx/releases/1.2.3", "", "", 405},
		{"method put", "PUT", "/projects/a/-/charts/nginx/releases/1.2.3", "", "", 405},
		{"no json", "POST", "/projects", jsonType, "", 400},
		{"broken json", "POST", "/projects", jsonType, `{"name":`, 400},
		{"unknown field", "POST", "/projects", jsonType, `{"name":"a","owner":"x"}`, 400},
		{"id of a grant", "POST", "/grants", jsonType, `{"account":"a","grant":{"id":"grn-9","role":"reader","project":"a"}}`, 400},
		{"wrong type", "POST", "/projects", jsonType, `{"name":1}`, 400},
		{"two values", "POST", "/projects", jsonType, `{"name":"a"}{"name":"b"}`, 400},
		{"garbage behind", "POST", "/projects", jsonType, `{"name":"a"} x`, 400},
		{"large json", "POST", "/projects", jsonType, `{"name":"` + long + `"}`, 413},
		{"not json", "POST", "/projects", "text/plain", `{"name":"a"}`, 415},
		{"no type", "POST", "/projects", "", `{"name":"a"}`, 415},
		{"curl's type for an archive", "POST", "/projects/a/-/releases", "application/x-www-form-urlencoded", "x", 415},
		{"raw import", "POST", "/projects/a/-/imports", "application/gzip", "x", 415},
		{"form without boundary", "POST", "/projects/a/-/releases", "multipart/form-data", "x", 400},
		{"form without chart", "POST", "/projects/a/-/releases", formType, form(part{"prov", "p", "x"}), 400},
		{"form with prov behind", "POST", "/projects/a/-/releases", formType, form(part{"chart", "c", "x"}, part{"prov", "p", "x"}), 400},
		{"form with prov twice", "POST", "/projects/a/-/releases", formType, form(part{"prov", "p", "x"}, part{"prov", "p", "y"}, part{"chart", "c", "x"}), 400},
		{"form with another part", "POST", "/projects/a/-/releases", formType, form(part{"force", "", "true"}, part{"chart", "c", "x"}), 400},
		{"origin in a push", "POST", "/projects/a/-/releases", formType, form(part{"origin", "", "{}"}, part{"chart", "c", "x"}), 400},
		{"import without origin", "POST", "/projects/a/-/imports", formType, form(part{"chart", "c", "x"}), 400},
		{"import with odd origin", "POST", "/projects/a/-/imports", formType, form(part{"origin", "", `{"uri":"x"}`}, part{"chart", "c", "x"}), 400},
		{"form cut in the archive", "POST", "/projects/a/-/releases", formType, strings.TrimSuffix(form(part{"chart", "c", "x"}), "\r\n--"+boundary+"--\r\n"), 400},
		{"form cut before the archive", "POST", "/projects/a/-/releases", formType, form(part{"prov", "p", "x"})[:60], 400},
		{"form with large prov", "POST", "/projects/a/-/releases", formType, tooLong, 413},
		{"large provenance", "POST", "/projects/a/-/provenance", "text/plain", strings.Repeat("x", release.MaxProvenance+1), 413},
		{"empty provenance", "POST", "/projects/a/-/provenance", "text/plain", "", 400},
		{"force", "POST", "/projects/a/-/releases?force=true", "application/gzip", "x", 400},
		{"unknown parameter", "GET", "/projects?before=x", "", "", 400},
		{"parameter twice", "GET", "/projects?limit=1&limit=2", "", "", 400},
		{"broken query", "GET", "/projects?limit=%zz", "", "", 400},
		{"limit 0", "GET", "/projects?limit=0", "", "", 400},
		{"limit 1001", "GET", "/audit?limit=1001", "", "", 400},
		{"limit x", "GET", "/projects/a/-/charts?limit=x", "", "", 400},
		{"unknown after", "GET", "/projects?after=zzz", "", "", 400},
		{"leaf -1", "GET", "/log/leaves/-1", "", "", 400},
		{"leaf +1", "GET", "/log/leaves/+1", "", "", 400},
		{"leaf beyond int64", "GET", "/log/leaves/9223372036854775808", "", "", 400},
		{"consistency without new", "GET", "/log/consistency?old=1", "", "", 400},
		{"odd prerelease", "GET", "/can-i?action=x&prerelease=yes", "", "", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svc := &fake{}
			w := serve(svc, tt.method, tt.path, tt.contentType, tt.body)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if svc.call != "" && svc.call != "Projects" { // a page is cut after the list was read
				t.Errorf("the service was called: %s", svc.call)
			}
			_, _ = fmt.Fprintf(&all, "### %s: %s %s\n%d Allow: %s\n%s\n", tt.name, tt.method, tt.path, w.Code, w.Header().Get("Allow"), indented(w.Body.Bytes()))
		})
	}
	golden(t, "refusals.golden", all.Bytes())
}

func TestErrorForm(t *testing.T) {
	var all bytes.Buffer
	for _, err := range []error{
		overwrite(),
		problem.New(problem.Unauthenticated, "token", "no"),
		problem.New(problem.Policy, "require-provenance", "no"),
		fmt.Errorf("open database: secret"),
	} {
		w := serve(&fake{err: err}, "GET", "/projects/a", "", "")
		_, _ = fmt.Fprintf(&all, "%d WWW-Authenticate: %s\n%s\n", w.Code, w.Header().Get("WWW-Authenticate"), indented(w.Body.Bytes()))
	}
	if strings.Contains(all.String(), "secret") {
		t.Errorf("a cause is shown: %s", &all)
	}
	golden(t, "errors.golden", all.Bytes())
}

// FuzzMatch holds that a path matches at most one pattern per method, and
// that its parameters put together give the path again.
func FuzzMatch(f *testing.F) {
	for _, r := range requests {
		f.Add(r.path)
	}
	f.Add("/projects/a/-/charts/-/releases/-/-")
	f.Fuzz(func(t *testing.T, path string) {
		path, _, _ = strings.Cut(strings.TrimPrefix(path, "/"), "?")
		seen := map[string]string{}
		for _, r := range routes {
			params, ok := match(r.pattern, strings.Split(path, "/"))
			if !ok {
				continue
			}
			if other, twice := seen[r.method]; twice {
				t.Fatalf("%s %q matches %s and %s", r.method, path, other, r.pattern)
			}
			seen[r.method] = r.pattern
			back := r.pattern[1:]
			for name, value := range params {
				if value == "" || value == "-" || name != "project" && strings.Contains(value, "/") {
					t.Fatalf("%q: parameter %s is %q", path, name, value)
				}
				back = strings.Replace(strings.Replace(back, "{"+name+"...}", value, 1), "{"+name+"}", value, 1)
			}
			if back != path {
				t.Fatalf("%q matches %s and gives %q", path, r.pattern, back)
			}
		}
	})
}

// FuzzRequest holds that no request makes the door panic or fail by its own
// fault.
func FuzzRequest(f *testing.F) {
	for _, r := range requests {
		f.Add(r.method, r.path, r.contentType, r.body)
	}
	f.Fuzz(func(t *testing.T, method, path, contentType, body string) {
		if u, err := url.Parse("/api/v1" + path); err != nil || u.Host != "" || strings.ContainsAny(method, " \r\n\x00") || method == "" {
			return
		}
		w := serve(&fake{}, "GET", "/version", "", "") // a request must not disturb the next
		if w.Code != 200 {
			t.Fatal(w.Code)
		}
		r, err := http.NewRequest(method, "http://h/", strings.NewReader(body))
		if err != nil {
			return
		}
		w = serve(&fake{}, r.Method, path, contentType, body)
		if w.Code >= 500 {
			t.Fatalf("%s %q %q %q: %d %s", method, path, contentType, body, w.Code, w.Body)
		}
	})
}

// FuzzDecode holds that what is taken is one JSON object and nothing else.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"name":"a","grants":[{"role":"x"}],"expires":"2026-03-02T12:00:00Z"}`, `null`, `[]`, `{"name":"a"}{}`, `{"expires":"x"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var req tokenRequest
		err := decodeJSON(strings.NewReader(s), &req)
		if err != nil {
			if problem.KindOf(err) != problem.Invalid {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if trimmed := strings.TrimSpace(s); !strings.HasPrefix(trimmed, "{") || !json.Valid([]byte(s)) {
			t.Fatalf("%q is taken as %+v", s, req)
		}
		if req.Expires.After(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Fatalf("%q gives %v", s, req.Expires)
		}
	})
}
