package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/signature"
)

const (
	blockPath     = "/ui/projects/platform/charts/web/1.4.2/quarantine"
	tombstonePath = "/ui/projects/platform/charts/web/1.4.2/tombstone"
)

// formCase is a form: who may send it, what it does, and the page that follows.
type formCase struct {
	who  release.Caller
	path string
	form url.Values
	did  string
	to   string
}

// protectForms is every form of these pages.
var protectForms = map[string]formCase{
	"give a role": {owner, "/ui/access/platform", url.Values{"do": {"give"}, "account": {" ann "}, "role": {"publisher"}, "charts": {"web*"}, "prerelease": {"yes"}, "days": {"30"}, "project": {"*"}},
		"web-lead gives ann publisher in platform web* prerelease", "/ui/access/platform#members"},
	"take a role":      {owner, "/ui/access/platform", url.Values{"do": {"take"}, "id": {"grn-101"}}, "web-lead takes grn-101", "/ui/access/platform#members"},
	"end a token":      {owner, "/ui/access/platform", url.Values{"do": {"end-token"}, "id": {"tok-laptop"}}, "web-lead ends tok-laptop", "/ui/access/platform#tokens"},
	"end a publisher":  {owner, "/ui/access/platform", url.Values{"do": {"end-publisher"}, "id": {"pub-1"}}, "web-lead ends pub-1", "/ui/access/platform#publishers"},
	"set a policy":     {owner, "/ui/policy/platform", url.Values{"do": {"set"}, "document": {"require_provenance: true\n"}, "text": {"agreed"}}, `web-lead sets platform {"require_provenance":true} because agreed`, "/ui/policy/platform#force"},
	"approve":          {approver, "/ui/requests/2", url.Values{"do": {"approve"}, "text": {" seen "}}, "sec-lead approves 2 seen", "/ui/requests/2"},
	"decline":          {approver, "/ui/requests/3", url.Values{"do": {"decline"}}, "sec-lead declines 3 ", "/ui/requests/3"},
	"withdraw":         {maintainer, "/ui/requests/2", url.Values{"do": {"withdraw"}, "text": {"no"}}, "ops-lead withdraws 2 no", "/ui/requests/2"},
	"quarantine":       {maintainer, blockPath, url.Values{"do": {"set"}, "reason": {"malware"}, "text": {" a shell "}}, "ops-lead blocks platform/web@1.4.2 malware a shell", "/ui/projects/platform/charts/web/1.4.2"},
	"confirm":          {approver, blockPath, url.Values{"do": {"confirm"}}, "sec-lead confirms platform/web@1.4.2 ", "/ui/projects/platform/charts/web/1.4.2"},
	"lift":             {maintainer, blockPath, url.Values{"do": {"lift"}, "text": {"false"}}, "ops-lead lifts platform/web@1.4.2 false", "/ui/projects/platform/charts/web/1.4.2"},
	"ask for a burial": {maintainer, tombstonePath, url.Values{"reason": {"secret"}, "text": {"a key"}}, "ops-lead wants platform/web@1.4.2 gone secret a key", "/ui/requests/4"},
}

// TestProtectForms: each form does what it says for whoever may, nothing for
// whoever may not, and nothing when another site sent it.
func TestProtectForms(t *testing.T) {
	for name, tt := range protectForms {
		t.Run(name, func(t *testing.T) {
			checkForm(t, tt, func(f *fakeService) []string { return f.protect.did })
		})
	}
	for _, path := range []string{blockPath, tombstonePath} {
		if w := get(t, newSample(t), maintainer, path); w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("GET %s: %d, Allow %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
}

// checkForm sends a form as everybody: it is refused from another site and from
// whoever may not, and does what it says for whoever may.
func checkForm(t *testing.T, tt formCase, did func(*fakeService) []string) {
	t.Helper()
	f := newSample(t)
	for _, site := range []string{"cross-site", "same-site"} {
		r := httptest.NewRequest("POST", "https://keep.example"+tt.path, strings.NewReader(tt.form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		if w := serve(t, f, tt.who, r); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "another site") {
			t.Errorf("%s: status %d", site, w.Code)
		}
	}
	r := httptest.NewRequest("POST", "https://keep.example"+tt.path, strings.NewReader(tt.form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://evil.example")
	if w := serve(t, f, tt.who, r); w.Code != http.StatusForbidden {
		t.Errorf("foreign origin: status %d", w.Code)
	}
	for who, c := range map[string]release.Caller{"nobody": nobody, "reader": reader} {
		w := post(t, f, c, tt.path, tt.form)
		if w.Code != 401 && w.Code != 403 && w.Code != 404 {
			t.Errorf("%s: status %d", who, w.Code)
		}
		checkPage(t, parseHTML(t, w.Body.String()))
	}
	if tt.form.Has("do") {
		if w := post(t, f, tt.who, tt.path, url.Values{"do": {"overwrite"}, "document": {"{}"}}); w.Code != 400 {
			t.Errorf("a form that there is none: status %d", w.Code)
		}
	}
	if done := did(f); len(done) != 0 {
		t.Fatalf("done: %q", done)
	}
	w := post(t, f, tt.who, tt.path, tt.form)
	if done := did(f); w.Code != 303 || w.Header().Get("Location") != tt.to || !slices.Equal(done, []string{tt.did}) {
		t.Errorf("status %d, to %s, done %q", w.Code, w.Header().Get("Location"), done)
	}
}

// TestProtectRefusals: what the person can put right is told beside the form,
// with what was typed.
func TestProtectRefusals(t *testing.T) {
	second := problem.New(problem.Denied, "second-person", "this needs two people, and the first one was you").Suggest("ask a person with the role approver")
	for name, tt := range map[string]struct {
		who    release.Caller
		path   string
		form   url.Values
		refuse error
		status int
		has    string
		words  string
	}{
		"no such account":   {owner, "/ui/access/platform", url.Values{"do": {"give"}, "account": {"none"}, "role": {"publisher"}, "charts": {"<w>*"}}, nil, 404, "[role=alert]", "there is no account none"},
		"more than allowed": {owner, "/ui/access/platform", url.Values{"do": {"give"}, "account": {"ann"}, "role": {"instance-admin"}}, nil, 400, "[role=alert]", "concerns the whole server"},
		"no role":           {owner, "/ui/access/platform", url.Values{"do": {"give"}, "account": {"ann"}, "role": {"<king>"}}, nil, 400, "[role=alert]", "there is no role"},
		"no policy":         {owner, "/ui/policy/platform", url.Values{"do": {"try"}, "document": {"overwrite: <yes>"}}, nil, 400, "[role=alert]", "is not the policy of a project"},
		"a bad policy":      {owner, "/ui/policy/platform", url.Values{"do": {"try"}, "document": {"mirror: refused"}}, nil, 400, "[role=alert]", "no kinds of them are named"},
		"too large":         {owner, "/ui/policy/platform", url.Values{"do": {"try"}, "document": {strings.Repeat("#", release.MaxPolicy+1)}}, nil, 400, "[role=alert]", "are allowed"},
		"overtaken":         {owner, "/ui/policy/platform", url.Values{"do": {"set"}, "document": {"{}"}}, problem.New(problem.Conflict, "request-open", "there is a request about it already"), 409, "[role=alert]", "there is a request"},
		"oneself":           {approver, "/ui/requests/2", url.Values{"do": {"approve"}}, second, 403, "[role=alert]", "this needs two people, and the first one was you"},
		"confirm oneself":   {approver, blockPath, url.Values{"do": {"confirm"}}, second, 403, "h1", "This needs two people, and the first one was you"},
		"no reason":         {maintainer, blockPath, url.Values{"do": {"set"}}, problem.New(problem.Invalid, "block-reason", `"" is not a reason to block a release`), 400, "h1", "is not a reason to block a release"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSample(t)
			f.protect.refuse = tt.refuse
			w := post(t, f, tt.who, tt.path, tt.form)
			doc := parseHTML(t, w.Body.String())
			checkPage(t, doc)
			if w.Code != tt.status || !strings.Contains(doc.one(t, tt.has).words(), tt.words) {
				t.Errorf("status %d: %s", w.Code, doc.one(t, "main").words())
			}
			if len(f.protect.did) != 0 {
				t.Errorf("done: %q", f.protect.did)
			}
			for field, typed := range tt.form {
				if (field == "charts" || field == "document") && len(typed[0]) < 100 && !strings.Contains(w.Body.String(), escaped(typed[0])) {
					t.Errorf("what was typed is gone: %s", typed[0])
				}
			}
		})
	}
}

func escaped(s string) string { return strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(s) }

// TestPolicyTrial: a policy is shown with what it comes to before anybody can
// set it, and what is set is what was shown.
func TestPolicyTrial(t *testing.T) {
	f := newSample(t)
	w := post(t, f, owner, "/ui/policy/platform", url.Values{"do": {"try"}, "document": {"weaken_delay: 1s"}})
	doc := parseHTML(t, w.Body.String())
	checkPage(t, doc)
	main := doc.one(t, "#trial").words()
	for _, words := range []string{"Weaker: it lets more through", "Nothing was changed.", "takes a second person and then waits for 1 d", "What weakens the policy takes effect sooner",
		"1, of 9 releases that were tried", "platform/web@1.4.2", "it lacks a pgp <signature>"} {
		if !strings.Contains(main, words) {
			t.Errorf("the trial lacks %q: %s", words, main)
		}
	}
	if w.Code != 200 || len(f.protect.did) != 0 {
		t.Fatalf("status %d, done %q", w.Code, f.protect.did)
	}
	form := url.Values{}
	for _, in := range doc.all("#trial form input[type=hidden]") {
		form.Set(in.attrs["name"], in.attrs["value"])
	}
	form.Set("text", "a reason")
	f.protect.asked = &release.Request{ID: 7}
	w = post(t, f, owner, "/ui/policy/platform", form)
	if w.Header().Get("Location") != "/ui/requests/7" || len(f.protect.did) != 1 || f.protect.did[0] != `web-lead sets platform {"require_provenance":false,"weaken_delay":"1s"} because a reason` {
		t.Errorf("status %d to %s, done %q", w.Code, w.Header().Get("Location"), f.protect.did)
	}

	// What is stricter counts at once, and there is more to try.
	w = post(t, f, owner, "/ui/policy/platform", url.Values{"do": {"try"}, "document": {"require_provenance: true"}})
	doc = parseHTML(t, w.Body.String())
	checkPage(t, doc)
	if got := doc.one(t, "#trial").words(); !strings.Contains(got, "One person can set it") || !strings.Contains(got, "Try it on charts after web") {
		t.Errorf("stricter: %s", got)
	}
	// Who may not set a policy may try one, and is offered no more.
	w = post(t, f, maintainer, "/ui/policy/platform", url.Values{"do": {"try"}, "document": {"{}"}})
	doc = parseHTML(t, w.Body.String())
	checkPage(t, doc)
	if w.Code != 200 || len(doc.all("button[class=main]")) != 0 {
		t.Errorf("maintainer: status %d", w.Code)
	}
}

// TestHolderPages: a long list is cut into pages, each of which begins where the
// one before ended.
func TestHolderPages(t *testing.T) {
	f := newSample(t)
	f.protect.holders = nil
	for i := range 250 {
		h := release.Holder{Name: "u" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Given: now}
		h.Grant.ID, h.Grant.Role, h.Grant.Project = "grn-"+h.Name, "reader", "platform"
		f.protect.holders = append(f.protect.holders, h)
	}
	seen := 0
	for path := "/ui/access/platform"; path != ""; {
		doc := parseHTML(t, get(t, f, owner, path).Body.String())
		checkPage(t, doc)
		rows := doc.all("#members tbody tr")
		if !strings.Contains(rows[0].words(), f.protect.holders[seen].Name) || len(rows) > holdersPerPage {
			t.Fatalf("a page of %d rows begins with %s", len(rows), rows[0].words())
		}
		seen += len(rows)
		path = ""
		for _, a := range doc.all("#members .pager a") {
			path, _, _ = strings.Cut(a.attrs["href"], "#")
		}
	}
	if seen != 250 {
		t.Errorf("%d of 250 were seen", seen)
	}
}

// readOnlyServer serves the pages of a registry that takes no writes, or does.
func readOnlyServer(t *testing.T, f *fakeService, reason *problem.Error) *httptest.Server {
	t.Helper()
	d := newDoor(t, f)
	external, err := server.ParseExternalURL("https://keep.example")
	if err != nil {
		t.Fatal(err)
	}
	h := server.New(server.Config{External: external, Authenticator: sessions{}, ReadOnly: func() *problem.Error { return reason }},
		[]server.Route{{Prefix: "ui", Door: audit.DoorWeb, Serve: d.Serve, WriteError: d.WriteError, Cookie: true}})
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// sessions takes the name of a person as a session.
type sessions struct{}

func (sessions) Authenticate(_ context.Context, secret string) (access.Principal, error) {
	return people[secret].Principal, nil
}

func (sessions) AuthenticateBasic(context.Context, string, string) (access.Principal, error) {
	return access.Principal{}, problem.New(problem.Unauthenticated, "credential", "no")
}

func browse(t *testing.T, method, address, person string, form url.Values) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: server.SessionCookie, Value: person})
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// TestReadOnly opens every page of the scripts on a server that takes no writes:
// each says so above all else, and no form but those of this browser alone can be
// sent. What is sent all the same is answered with the same words.
func TestReadOnly(t *testing.T) {
	reason := problem.New(problem.Unavailable, "read-only", "this registry is read-only: its database went back behind what was <signed>").
		With("database", "41,180 leaves").Suggest("the operator stops the server and runs: chartkeep log recover")
	f := newSample(t)
	closed, open := readOnlyServer(t, f, reason), readOnlyServer(t, f, nil)
	scripts := ""
	for _, name := range []string{"testdata/pages.txt", "testdata/pages-protect.txt", "testdata/pages-evidence.txt"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		scripts += string(text)
	}
	pages, forms := 0, 0
	for line := range strings.Lines(scripts) {
		who, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		path, status, _ := strings.Cut(rest, " ")
		if people[who].Principal.ID == "" && who != "nobody" || status != "200" || strings.HasSuffix(path, ".ics") || path == "/ui/agenda" {
			continue
		}
		code, body := browse(t, "GET", closed.URL+path, who, nil)
		if code != 200 {
			t.Errorf("%s: status %d", path, code)
			continue
		}
		doc := parseHTML(t, body)
		checkPage(t, doc)
		pages++
		banner := doc.one(t, "[aria-labelledby=read-only]").words()
		for _, words := range []string{"This registry is read-only: its database went back behind what was <signed>", "Database 41,180 leaves", "chartkeep log recover", "Nothing can be changed"} {
			if !strings.Contains(banner, words) {
				t.Fatalf("%s: the banner lacks %q: %s", path, words, banner)
			}
		}
		for _, form := range doc.all("form[method=post]") {
			if action := form.attrs["action"]; action == "/ui/theme" || action == "/ui/sign-out" || action == "/ui/audit/export" {
				continue
			}
			forms++
			for _, b := range form.all("button") {
				if _, disabled := b.attrs["disabled"]; !disabled {
					t.Errorf("%s: the button %q can be pressed", path, b.words())
				}
			}
		}
		if _, body := browse(t, "GET", open.URL+path, who, nil); strings.Contains(body, "read-only: its database") || strings.Contains(body, "disabled=") {
			t.Errorf("%s: a server that takes writes says it does not", path)
		}
	}
	if pages < 60 || forms < 30 {
		t.Errorf("%d pages with %d forms were looked at", pages, forms)
	}
	for name, tt := range protectForms {
		code, body := browse(t, "POST", closed.URL+tt.path, "owner", tt.form)
		doc := parseHTML(t, body)
		checkPage(t, doc)
		for _, words := range []string{"503, read-only", "This was not done", "Nothing was changed.", "This registry is read-only: its database went back behind what was <signed>", "chartkeep log recover"} {
			if !strings.Contains(doc.one(t, "main").words(), words) {
				t.Errorf("%s: lacks %q: %s", name, words, doc.one(t, "main").words())
			}
		}
		if code != 503 || len(f.protect.did) != 0 {
			t.Errorf("%s: status %d, done %q", name, code, f.protect.did)
		}
	}
	// Who leaves, and who wants other colours, changes nothing here.
	for _, path := range []string{"/ui/sign-out", "/ui/theme"} {
		if code, _ := browse(t, "POST", closed.URL+path, "owner", url.Values{"theme": {"dark"}}); code != 303 {
			t.Errorf("%s: status %d", path, code)
		}
	}
}

// TestSignerFingerprint: a PGP key is shown by its fingerprint, which people
// compare with what its owner says.
func TestSignerFingerprint(t *testing.T) {
	e, err := openpgp.NewEntity("Releases", "", "releases@example.test", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var packets bytes.Buffer
	if err := e.Serialize(&packets); err != nil {
		t.Fatal(err)
	}
	signers, err := signature.Keyring(packets.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	f := newSample(t)
	for i := range f.projects {
		if f.projects[i].Name == "platform" {
			f.projects[i].Policy.Signatures = &signature.Policy{Require: signature.Any, Kinds: []signature.Kind{signature.PGP}, Signers: append(signers, signature.Signer{Name: "odd", PGP: "no <key>"})}
		}
	}
	doc := openPage(t, f, owner, "/ui/policy/platform")
	want := fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
	rows := doc.all("#force td code")
	if len(rows) != 1 || strings.ReplaceAll(rows[0].words(), " ", "") != want || len(strings.Fields(rows[0].words())) != len(want)/4 {
		t.Errorf("the fingerprint %s is not there: %s", want, doc.one(t, "#force").words())
	}
	if !strings.Contains(doc.one(t, "#force").words(), "not readable: its fingerprint is not known") {
		t.Error("a key that cannot be read is not said to be one")
	}
}
