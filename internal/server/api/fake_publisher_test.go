package api

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

var samplePublisher = release.Publisher{
	Publisher: access.Publisher{
		ID: "pub-1", Project: "a", Provider: access.ProviderGitHub, Issuer: "https://token.actions.githubusercontent.com",
		Claims: map[string][]string{"repository_id": {"1"}, "repository_owner_id": {"2"}, "workflow": {".github/workflows/release.yml"}},
		Chart:  "web*", Versions: access.PrereleaseOnly, Expires: noon,
	},
	Name: "github octo/web", Maker: "ann", MakerDisabled: true, Created: noon, LastUsed: noon,
}

var sampleSteps = []access.PublisherStep{{Publisher: "pub-1", Claim: "repository_id", Want: "1", Got: "7", Why: "it is another"}}

func (f *fake) AddPublisher(_ context.Context, c release.Caller, want access.Publisher) (release.Publisher, error) {
	return samplePublisher, f.note(c, "AddPublisher %s %s %q %v %q %q", want.Project, want.Provider, want.Issuer, want.Claims, want.Chart, want.Versions)
}

func (f *fake) Publishers(_ context.Context, c release.Caller, project, madeBy string) ([]release.Publisher, error) {
	bare := release.Publisher{Publisher: access.Publisher{ID: "pub-2", Project: "a", Provider: access.ProviderGeneric, Issuer: "https://ci", Claims: map[string][]string{"sub": {"x"}}}, Name: "generic x", Maker: "ann", Created: noon, Removed: noon}
	return []release.Publisher{samplePublisher, bare}, f.note(c, "Publishers %q %q", project, madeBy)
}

func (f *fake) Publisher(_ context.Context, c release.Caller, id string) (release.Publisher, error) {
	return samplePublisher, f.note(c, "Publisher %s", id)
}

func (f *fake) RemovePublisher(_ context.Context, c release.Caller, id string) error {
	return f.note(c, "RemovePublisher %s", id)
}

func (f *fake) TestPublisher(_ context.Context, c release.Caller, project, token string, claims []byte) (release.PublisherTest, error) {
	t := release.PublisherTest{Checked: token != "", Subject: "repository_id:7,repository_owner_id:2",
		Bindings: []release.PublisherTestBinding{{ID: "pub-1", Name: "github octo/web", PublisherDecision: access.PublisherDecision{Ours: true, Steps: sampleSteps}}}}
	if token != "" {
		t = release.PublisherTest{Checked: true, Refusal: problem.New(problem.Unauthenticated, "oidc-expired", "the identity token has expired").With("at", "noon").Suggest("ask for a new one")}
	}
	return t, f.note(c, "TestPublisher %s %q %q", project, token, claims)
}

func (f *fake) ExchangeToken(_ context.Context, c release.Caller, token, project string) (string, release.Token, error) {
	return "ckt_secret", sampleToken, f.note(c, "ExchangeToken %q %s", token, project)
}

func (f *fake) LinkAccount(_ context.Context, c release.Caller, name, subject string) error {
	return f.note(c, "LinkAccount %s %q", name, subject)
}

func (f *fake) UnlinkAccount(_ context.Context, c release.Caller, name string) error {
	return f.note(c, "UnlinkAccount %s", name)
}

func (f *fake) AccountLinks(_ context.Context, c release.Caller) ([]release.AccountLink, error) {
	return []release.AccountLink{{Account: "ann", Issuer: "https://idp", Subject: "s1", Created: noon, Used: noon}, {Account: "bob", Issuer: "https://idp", Subject: "s2", Created: noon}},
		f.note(c, "AccountLinks")
}

var publisherRequests = []request{
	{"publishers", "GET", "/publishers?project=a&made-by=ann&limit=1", "", "", 200, `Publishers "a" "ann"`},
	{"publishers end", "GET", "/publishers?after=pub-1", "", "", 200, `Publishers "" ""`},
	{"publisher add", "POST", "/publishers", jsonType,
		`{"project":"a","provider":"github","claims":{"repository_id":["1"]},"chart":"web*","versions":"prerelease","expires":"2026-03-02T12:00:00Z"}`, 201,
		`AddPublisher a github "" map[repository_id:[1]] "web*" "prerelease"`},
	{"publisher", "GET", "/publishers/pub-1", "", "", 200, "Publisher pub-1"},
	{"publisher remove", "DELETE", "/publishers/pub-1", "", "", 204, "RemovePublisher pub-1"},
	{"publisher test", "POST", "/publishers/test", jsonType, `{"project":"a","claims":{"iss":"x"}}`, 200, `TestPublisher a "" "{\"iss\":\"x\"}"`},
	{"publisher test token", "POST", "/publishers/test", jsonType, `{"project":"a","token":"x.y.z"}`, 200, `TestPublisher a "x.y.z" ""`},
	{"exchange", "POST", "/oidc/exchange", jsonType, `{"token":"x.y.z","project":"a"}`, 201, `ExchangeToken "x.y.z" a`},
	{"account links", "GET", "/account-links", "", "", 200, "AccountLinks"},
	{"account link", "PUT", "/accounts/ann/link", jsonType, `{"subject":"s1"}`, 204, `LinkAccount ann "s1"`},
	{"account unlink", "DELETE", "/accounts/ann/link", "", "", 204, "UnlinkAccount ann"},
}
