package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// knows is an authenticator with one token.
type knows string

func (k knows) Authenticate(_ context.Context, secret string) (access.Principal, error) {
	if secret != string(k) {
		return access.Principal{}, problem.New(problem.Unauthenticated, "token", "the token is not valid")
	}
	return ann.Principal, nil
}

func (k knows) AuthenticateBasic(ctx context.Context, _, password string) (access.Principal, error) {
	return k.Authenticate(ctx, password)
}

// connect starts a whole server with the API and a client of it.
func connect(t *testing.T, svc *fake) *client.Client {
	t.Helper()
	external, err := server.ParseExternalURL("http://keep.example/base")
	if err != nil {
		t.Fatal(err)
	}
	door := New(svc, svc, Config{Version: "1.0.0", Commit: "abc", Judging: svc})
	ts := httptest.NewServer(server.New(server.Config{Authenticator: knows("ckt_good"), External: external}, []server.Route{
		{Prefix: Prefix, Door: audit.DoorAPI, Serve: door.Serve, WriteError: WriteError},
	}))
	t.Cleanup(ts.Close)
	c, err := client.New(ts.URL+"/base/", "ckt_good", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRoundTrip calls every method of the client. What it decoded is encoded
// again and held against what the server meant, so that a field that one side
// lacks is found.
func TestRoundTrip(t *testing.T) {
	public := true
	upload := func() client.Upload {
		return client.Upload{FileName: "nginx-1.2.3.tgz", Archive: strings.NewReader("bytes"), Size: 5, Provenance: []byte("signed")}
	}
	grant := client.Grant{ID: "dropped", Role: "reader", Project: "a", Expires: noon}
	roundTrip(t, map[string]func(context.Context, *client.Client) result{
		"Version": func(ctx context.Context, c *client.Client) result {
			v, err := c.Version(ctx)
			return result{v, err, "", "GET /version"}
		},
		"Witnesses": func(ctx context.Context, c *client.Client) result {
			v, err := c.Witnesses(ctx)
			return result{v, err, "Witnesses", "GET /log/witnesses"}
		},
		"WhoAmI": func(ctx context.Context, c *client.Client) result {
			v, err := c.WhoAmI(ctx)
			return result{v, err, "", "GET /whoami"}
		},
		"CanI": func(ctx context.Context, c *client.Client) result {
			v, err := c.CanI(ctx, client.Question{Account: "bob", Action: "chart.push", Project: "team-a/web", Chart: "nginx", Prerelease: true})
			return result{v, err, `CanI "bob" chart.push "team-a/web" "nginx" true`, "GET /can-i?action=x"}
		},
		"Projects": func(ctx context.Context, c *client.Client) result {
			v, err := c.Projects(ctx, client.Page{Limit: 1, After: "a"})
			return result{v, err, "Projects", "GET /projects?limit=1&after=a"}
		},
		"Project": func(ctx context.Context, c *client.Client) result {
			v, err := c.Project(ctx, "team-a/web")
			return result{v, err, "Project team-a/web", "GET /projects/team-a/web"}
		},
		"CreateProject": func(ctx context.Context, c *client.Client) result {
			v, err := c.CreateProject(ctx, client.NewProject{Name: "a", Kind: "artifacts", Public: true, Importing: true, Policy: client.Policy{RequireProvenance: true}})
			return result{v, err, `CreateProject a kind=artifacts public=true importing=true policy={"require_provenance":true}`, "GET /projects/a"}
		},
		"SetProject": func(ctx context.Context, c *client.Client) result {
			v, err := c.SetProject(ctx, "a", client.ProjectChange{Public: &public, Policy: &client.Policy{RequireProvenance: true}})
			return result{v, err, "SetProject a public=true policy=true hub=-", "GET /projects/a"}
		},
		"SetProject to no id": func(ctx context.Context, c *client.Client) result {
			none := ""
			v, err := c.SetProject(ctx, "a", client.ProjectChange{ArtifactHubID: &none})
			return result{v, err, `SetProject a public=- policy=- hub=""`, "GET /projects/a"}
		},
		"CutOver": func(ctx context.Context, c *client.Client) result {
			v, err := c.CutOver(ctx, "a/b")
			return result{v, err, "CutOver a/b", "GET /projects/a/b"}
		},
		"RemoveProject": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.RemoveProject(ctx, "a", "gone"), `RemoveProject a "gone"`, ""}
		},
		"Push": func(ctx context.Context, c *client.Client) result {
			v, err := c.Push(ctx, "team-a/web", upload())
			return result{v, err, `PushArchive team-a/web archive="bytes" prov="signed" {Force:false FileName:nginx-1.2.3.tgz}`, "POST /projects/team-a/web/-/releases"}
		},
		"Push without provenance and size": func(ctx context.Context, c *client.Client) result {
			v, err := c.Push(ctx, "a", client.Upload{Archive: strings.NewReader("bytes"), Size: -1})
			return result{v, err, `PushArchive a archive="bytes" prov="" {Force:false FileName:}`, "POST /projects/a/-/releases"}
		},
		"Push of a large archive": func(ctx context.Context, c *client.Client) result {
			large := strings.Repeat("x", 3<<20) // with Expect: 100-continue
			v, err := c.Push(ctx, "a", client.Upload{Archive: strings.NewReader(large), Size: 3 << 20})
			return result{v, err, `PushArchive a archive="` + large + `" prov="" {Force:false FileName:}`, "POST /projects/a/-/releases"}
		},
		"ImportRelease": func(ctx context.Context, c *client.Client) result {
			v, err := c.ImportRelease(ctx, "a", upload(), client.Origin{URL: "https://old.example/x", Created: noon, Digest: "sha256:aa"})
			return result{v, err, `ImportRelease a archive="bytes" prov="signed" {URL:https://old.example/x Created:2026-03-02 12:00:00 +0000 UTC Digest:sha256:aa}`, "POST /projects/a/-/releases"}
		},
		"AttachProvenance": func(ctx context.Context, c *client.Client) result {
			v, err := c.AttachProvenance(ctx, "a", []byte("signed"))
			return result{v, err, `AttachProvenance a "signed"`, "POST /projects/a/-/provenance"}
		},
		"Charts": func(ctx context.Context, c *client.Client) result {
			v, err := c.Charts(ctx, "a", client.Page{})
			return result{v, err, `Charts a after="" limit=100`, "GET /projects/a/-/charts"}
		},
		"Releases": func(ctx context.Context, c *client.Client) result {
			v, err := c.Releases(ctx, "a", "nginx", client.Page{After: "1.2.3+b.1"})
			return result{v, err, "Releases a nginx", "GET /projects/a/-/charts/nginx/releases?after=1.2.3%2Bb.1"}
		},
		"Release": func(ctx context.Context, c *client.Client) result {
			v, err := c.Release(ctx, "team-a/web", "nginx", "1.2.3+b.1")
			return result{v, err, "Proof team-a/web nginx 1.2.3+b.1", "GET /projects/team-a/web/-/charts/nginx/releases/1.2.3+b.1"}
		},
		"Yank": func(ctx context.Context, c *client.Client) result {
			v, err := c.Yank(ctx, "a", "nginx", "1.2.3", "security", "CVE")
			return result{v, err, `Yank a nginx 1.2.3 security "CVE"`, "POST /projects/a/-/charts/nginx/releases/1.2.3/yank"}
		},
		"Unyank": func(ctx context.Context, c *client.Client) result {
			v, err := c.Unyank(ctx, "a", "nginx", "1.2.3", "fine")
			return result{v, err, `Unyank a nginx 1.2.3 "fine"`, "POST /projects/a/-/charts/nginx/releases/1.2.3/unyank"}
		},
		"YankReasons": func(ctx context.Context, c *client.Client) result {
			v, err := c.YankReasons(ctx, client.Page{})
			return result{v, err, "", "GET /yank-reasons"}
		},
		"Accounts": func(ctx context.Context, c *client.Client) result {
			v, err := c.Accounts(ctx, client.Page{})
			return result{v, err, "Accounts", "GET /accounts"}
		},
		"CreateAccount": func(ctx context.Context, c *client.Client) result {
			v, err := c.CreateAccount(ctx, "ann", "user", "sesame")
			return result{v, err, `CreateAccount ann user "sesame"`, "POST /accounts"}
		},
		"SetPassword": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.SetPassword(ctx, "ann", "new"), `SetPassword ann "new"`, ""}
		},
		"DisableAccount": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.DisableAccount(ctx, "ann"), "DisableAccount ann", ""}
		},
		"Grants": func(ctx context.Context, c *client.Client) result {
			v, err := c.Grants(ctx, "ann", client.Page{})
			return result{v, err, `Grants "ann"`, "GET /grants"}
		},
		"Holders": func(ctx context.Context, c *client.Client) result {
			v, err := c.Holders(ctx, "a", false, client.Page{})
			return result{v, err, "Holders {Project:a Tokens:false AfterName: AfterID: Limit:101}", "GET /holders"}
		},
		"AddGrant": func(ctx context.Context, c *client.Client) result {
			v, err := c.AddGrant(ctx, "ann", grant)
			return result{v, err, "AddGrant ann {ID: Role:reader Project:a Chart: Versions: Expires:2026-03-02 12:00:00 +0000 UTC}", "POST /grants"}
		},
		"RevokeGrant": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.RevokeGrant(ctx, "grn-1"), "RevokeGrant grn-1", ""}
		},
		"Tokens": func(ctx context.Context, c *client.Client) result {
			v, err := c.Tokens(ctx, client.Page{})
			return result{v, err, "Tokens", "GET /tokens"}
		},
		"CreateToken": func(ctx context.Context, c *client.Client) result {
			v, err := c.CreateToken(ctx, client.NewToken{Name: "ci", Account: "bot", Grants: []client.Grant{grant}, Expires: noon})
			return result{v, err, "CreateToken {Name:ci Account:bot Grants:[{ID: Role:reader Project:a Chart: Versions: Expires:2026-03-02 12:00:00 +0000 UTC}] Expires:2026-03-02 12:00:00 +0000 UTC}", "POST /tokens"}
		},
		"RevokeToken": func(ctx context.Context, c *client.Client) result {
			return result{nil, c.RevokeToken(ctx, "tok-1"), "RevokeToken tok-1", ""}
		},
		"LogInfo": func(ctx context.Context, c *client.Client) result {
			v, err := c.LogInfo(ctx)
			return result{v, err, "LogInfo", "GET /log"}
		},
		"Leaf": func(ctx context.Context, c *client.Client) result {
			v, err := c.Leaf(ctx, 3)
			return result{v, err, "Leaf 3", "GET /log/leaves/3"}
		},
		"Audit": func(ctx context.Context, c *client.Client) result {
			v, err := c.Audit(ctx, client.AuditFilter{Project: "a", Chart: "b", Version: "c", Event: "d.", Actor: "e", Outcome: "denied"}, client.Page{After: "9", Limit: 5})
			return result{v, err, "Audit {Project:a Chart:b Version:c Action:d. Actor:e Outcome:denied Before:9 Limit:5}", "GET /audit"}
		},
	})
}

// result is what a method of the client returned, and what it should mean.
type result struct {
	got  any
	err  error
	call string // of the service
	path string // whose answer is meant; see requests
}

// roundTrip calls methods of the client, once answered and once refused.
func roundTrip(t *testing.T, calls map[string]func(context.Context, *client.Client) result) {
	t.Helper()
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			svc := &fake{}
			res := call(ctx, connect(t, svc))
			if res.err != nil {
				t.Fatal(res.err)
			}
			if svc.call != res.call {
				t.Errorf("the service was called\n%.300s, want\n%.300s", svc.call, res.call)
			}
			if res.path != "" {
				if d := cmp.Diff(meant(t, res.path), asJSON(t, res.got)); d != "" {
					t.Errorf("(-server +client):\n%s", d)
				}
			}

			want := overwrite()
			res = call(ctx, connect(t, &fake{err: want}))
			if res.call == "" {
				return // nothing that can refuse is asked
			}
			p, ok := errors.AsType[*problem.Error](res.err)
			if !ok {
				t.Fatalf("the refusal came as %v", res.err)
			}
			wire := *want.(*problem.Error)
			wire.Err = nil
			if d := cmp.Diff(&wire, p); d != "" {
				t.Errorf("the refusal (-made +arrived):\n%s", d)
			}
		})
	}
}

// meant is the answer to a request as plain data, without its schema.
func meant(t *testing.T, request string) any {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	body, contentType := "{}", jsonType
	for _, r := range requests {
		if r.method == method && r.path == path && r.body != "" && r.status < 300 {
			body = r.body
		}
	}
	if strings.HasSuffix(path, "/-/releases") {
		body, contentType = "bytes", "application/gzip"
	}
	w := serve(&fake{}, method, path, contentType, body)
	if w.Code >= 300 {
		t.Fatalf("%s: %d %s", request, w.Code, w.Body)
	}
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	delete(v, "schema")
	return v
}

func asJSON(t *testing.T, got any) any {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	delete(v, "schema")
	return v
}

func TestRoundTripOfBytes(t *testing.T) {
	c := connect(t, &fake{})
	proof, err := c.Proof(t.Context(), "a", "nginx", "1.2.3")
	if err != nil || string(proof) != string(sampleProof.Marshal()) {
		t.Errorf("Proof = %q, %v", proof, err)
	}
	hashes, err := c.Consistency(t.Context(), 3, 5)
	if err != nil || len(hashes) != 2 || hashes[1][1] != 3 {
		t.Errorf("Consistency = %v, %v", hashes, err)
	}
	r, err := c.Push(t.Context(), "a", client.Upload{Archive: strings.NewReader("x"), Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.ParseProof(); err != nil || p.Index != sampleProof.Index || string(p.Leaf) != string(sampleProof.Leaf) {
		t.Errorf("ParseProof = %+v, %v", p, err)
	}
}

func TestWrongTokenOverTheWire(t *testing.T) {
	c := connect(t, &fake{})
	bad, err := client.New(c.Server(), "ckt_bad", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bad.Push(t.Context(), "a", client.Upload{Archive: strings.NewReader(strings.Repeat("x", 3<<20)), Size: 3 << 20})
	if p, ok := problem.As(err); !ok || p.Kind != problem.Unauthenticated || p.Rule != "token" {
		t.Errorf("a push with a wrong token: %v", err)
	}
}

func TestAll(t *testing.T) {
	c := connect(t, &fake{})
	var names []string
	for p, err := range client.All(t.Context(), c.Projects) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Name)
	}
	if strings.Join(names, " ") != "a b team-a/web" {
		t.Errorf("projects %v", names)
	}
}
