package daemon

import (
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/oidc"
)

// Identity is how pipelines and people prove who they are to another party: the
// settings that begin with publisher- and oidc-.
type Identity struct {
	PublisherIssuers  []string // PLATFORM ISSUER [KEYS-FILE]
	PublisherAudience string   // whom identity tokens must be for; "" is the external URL
	PublisherMaxLife  string   // of an identity token, such as 1h
	OIDCIssuer        string   // of people; "" has nobody sign in through a provider
	OIDCClientID      string
	OIDCClientSecret  string
	OIDCName          string // on the button
	OIDCCreate        string // true makes accounts at the first sign-in
	OIDCGroups        []string
	OIDCDomains       []string
}

// defaultIdentity accepts the tokens of the two large platforms. They have no
// rights until somebody binds a pipeline.
func defaultIdentity() Identity {
	return Identity{
		PublisherIssuers: []string{"github https://token.actions.githubusercontent.com", "gitlab https://gitlab.com"},
		PublisherMaxLife: "1h", OIDCName: "single sign-on", OIDCCreate: "false",
	}
}

func identitySettings() []setting {
	return []setting{
		{name: "publisher-issuers", help: "issuers whose identity tokens pipelines may show, each: platform (github, gitlab, kubernetes or generic), issuer, and for one that cannot be reached a file of its keys",
			example: "kubernetes https://kubernetes.default.svc.cluster.local /etc/chartkeep/cluster-jwks.json", list: func(c *Config) *[]string { return &c.PublisherIssuers }},
		{name: "publisher-audience", help: "whom the identity tokens of pipelines must be for; none: the external URL", example: "https://charts.example.com", field: func(c *Config) *string { return &c.PublisherAudience }},
		{name: "publisher-max-life", help: "longest life of an identity token that is accepted", field: func(c *Config) *string { return &c.PublisherMaxLife }},
		{name: "oidc-issuer", help: "OpenID Connect issuer through which people sign in to the web UI; it needs external-url", example: "https://login.example.com", field: func(c *Config) *string { return &c.OIDCIssuer }},
		{name: "oidc-client-id", help: "what the issuer calls this server", example: "chartkeep", field: func(c *Config) *string { return &c.OIDCClientID }},
		{name: "oidc-client-secret", help: "secret for it; none for a public client", example: "secret", secret: true, field: func(c *Config) *string { return &c.OIDCClientSecret }},
		{name: "oidc-name", help: "what the sign-in page calls the issuer", field: func(c *Config) *string { return &c.OIDCName }},
		{name: "oidc-create-accounts", help: "true makes an account for everybody who signs in for the first time; false has an administrator link one", field: func(c *Config) *string { return &c.OIDCCreate }},
		{name: "oidc-allow-groups", help: "groups of which one is needed to sign in; none: everybody", example: "platform", list: func(c *Config) *[]string { return &c.OIDCGroups }},
		{name: "oidc-allow-domains", help: "domains of verified addresses of which one is needed to sign in; none: everybody", example: "example.com", list: func(c *Config) *[]string { return &c.OIDCDomains }},
	}
}

// issuers reads PublisherIssuers.
func (c *Identity) issuers() ([]oidc.Issuer, error) {
	var out []oidc.Issuer
	for _, s := range c.PublisherIssuers {
		bad := func(why string) error {
			return problem.New(problem.Invalid, "config-value", "publisher-issuers has %q, which is no issuer: %s", s, why).
				Suggest("write for example: gitlab https://gitlab.example.com")
		}
		f := strings.Fields(s)
		if len(f) < 2 || len(f) > 3 {
			return nil, bad("it has not two or three words")
		}
		i := oidc.Issuer{Provider: access.Provider(f[0]), URL: f[1]}
		if len(f) == 3 {
			i.Keys = f[2]
		}
		// The platforms whose names must not be taken for ids.
		known := map[string]access.Provider{"token.actions.githubusercontent.com": access.ProviderGitHub, "gitlab.com": access.ProviderGitLab}
		u, err := url.Parse(i.URL)
		switch {
		case !slices.Contains([]access.Provider{access.ProviderGitHub, access.ProviderGitLab, access.ProviderKubernetes, access.ProviderGeneric}, i.Provider):
			return nil, bad("there is no platform " + f[0])
		case i.Keys == "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != ""):
			return nil, bad("an issuer is a URL, unless a file has its keys")
		case i.Keys != "" && !filepath.IsAbs(i.Keys):
			return nil, bad("the file of its keys is not an absolute path")
		case u != nil && known[u.Host] != "" && known[u.Host] != i.Provider:
			return nil, bad("it is an issuer of " + string(known[u.Host]))
		case slices.ContainsFunc(out, func(o oidc.Issuer) bool { return o.URL == i.URL }):
			return nil, bad("it is there twice")
		}
		out = append(out, i)
	}
	return out, nil
}

// maxLife is PublisherMaxLife; 0 for the default.
func (c *Identity) maxLife() (time.Duration, error) {
	if c.PublisherMaxLife == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(c.PublisherMaxLife)
	if err != nil || d < time.Minute || d > 24*time.Hour {
		return 0, problem.New(problem.Invalid, "config-value", "publisher-max-life is a span between 1m and 24h, not %q", c.PublisherMaxLife)
	}
	return d, nil
}

func (c *Config) checkIdentity() error {
	if _, err := c.issuers(); err != nil {
		return err
	}
	if _, err := c.maxLife(); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "true", "false"}, c.OIDCCreate) {
		return problem.New(problem.Invalid, "config-value", "oidc-create-accounts is true or false, not %q", c.OIDCCreate)
	}
	if c.OIDCIssuer == "" {
		return nil
	}
	if u, err := url.Parse(c.OIDCIssuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return problem.New(problem.Invalid, "config-value", "oidc-issuer %q is not the URL of an issuer", c.OIDCIssuer)
	}
	if c.OIDCClientID == "" || c.ExternalURL == "" {
		return problem.New(problem.Invalid, "config-value", "oidc-issuer needs oidc-client-id and external-url as well")
	}
	return nil
}

// openOut makes the one way out of this server.
func (d *Daemon) openOut() error {
	networks, err := d.cfg.networks()
	if err != nil {
		return err
	}
	out := remote.Config{AllowNetworks: networks, Proxy: http.ProxyFromEnvironment, UserAgent: "chartkeep/" + ReadBuild().Version, Log: d.log}
	if d.cfg.Credentials != "" {
		if out.Credentials, err = remote.LoadCredentials(d.cfg.Credentials); err != nil {
			return err
		}
	}
	d.out = remote.New(out)
	return d.openWitnesses(out.Credentials)
}

// identity makes what checks the tokens of pipelines, and what signs people in.
func (d *Daemon) identity() (release.IdentityTokens, release.SignInConfig, error) {
	c := &d.cfg.Identity
	external := strings.TrimRight(d.cfg.ExternalURL, "/")
	issuers, err := c.issuers()
	if err != nil {
		return nil, release.SignInConfig{}, err
	}
	life, err := c.maxLife()
	if err != nil {
		return nil, release.SignInConfig{}, err
	}
	audience := c.PublisherAudience
	if audience == "" {
		audience = external
	}
	pipelines := oidc.New(oidc.Config{Client: d.out, Issuers: issuers, Audience: audience, MaxLife: life})
	if c.OIDCIssuer == "" {
		return pipelines, release.SignInConfig{}, nil
	}
	return pipelines, release.SignInConfig{
		Provider: oidc.NewLogin(oidc.LoginConfig{Client: d.out, Issuer: c.OIDCIssuer, ClientID: c.OIDCClientID, ClientSecret: c.OIDCClientSecret}),
		Name:     c.OIDCName, Issuer: c.OIDCIssuer, Redirect: external + "/ui/sso/callback", Create: c.OIDCCreate == "true",
		AllowedGroups: c.OIDCGroups, AllowedDomains: c.OIDCDomains,
	}, nil
}
