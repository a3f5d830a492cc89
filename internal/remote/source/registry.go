package source

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry"
	ociremote "oras.land/oras-go/v2/registry/remote"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
)

// Limits of what a registry says.
const (
	maxManifest  = 4 << 20
	maxToken     = 64 << 10
	maxTokenBody = 1 << 20
	maxTokens    = 1000
	maxTagPages  = 1000
	maxTagPage   = 8 << 20
	tagsPerPage  = 1000
)

// tokenKey is what a token of a registry was made for.
type tokenKey struct{ credential, host, repository string }

// registryClient sends the requests of one repository and answers the
// registry's challenges: Basic, and Bearer by the token flow of the distribution
// specification. The account of the credential is shown to the registry and to
// the realms that the credential allows; everybody else is asked as anonymous.
// oras has such a client, which takes any realm for the registry's word and
// refuses private addresses that this server allows.
type registryClient struct {
	sources    *Sources
	http       *http.Client
	credential string // "" where it is not bound to the host
	key        tokenKey
	plain      bool
}

// repository is one of an OCI registry.
type repository struct {
	*ociremote.Repository
	client *registryClient
}

// get asks for a path below the repository's.
func (r *repository) get(ctx context.Context, path, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.client.base()+r.Reference.Repository+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	return r.client.Do(req)
}

// repository opens a repository of an OCI registry, oci://host/path, without
// asking anything.
func (s *Sources) repository(credential, host, path string) (*repository, error) {
	ref := registry.Reference{Registry: host, Repository: path}
	if ref.ValidateRegistry() != nil || ref.ValidateRepository() != nil {
		return nil, problem.New(problem.Invalid, "source-url", "oci://%s/%s names no repository of an OCI registry", host, path)
	}
	plain := s.client.PlainHTTP(credential, ref.Host())
	scheme := "https"
	if plain {
		scheme = "http"
	}
	base := scheme + "://" + ref.Host()
	if err := s.client.Check("", base); err != nil {
		return nil, err
	}
	c := &registryClient{sources: s, plain: plain, key: tokenKey{credential, ref.Host(), path}}
	if credential != "" {
		switch err := s.client.Check(credential, base); {
		case err == nil:
			c.credential = credential
		case problem.KindOf(err) != problem.Denied:
			return nil, err
		}
	}
	var err error
	if c.http, err = s.client.Unsigned(credential); err != nil {
		return nil, err
	}
	return &repository{&ociremote.Repository{
		Client: c, Reference: ref, PlainHTTP: plain,
		TagListPageSize: tagsPerPage, TagListMaxPages: maxTagPages, MaxMetadataBytes: maxTagPage,
	}, c}, nil
}

// Do sends a request. An answer that is none of 2xx is an error: a problem.
func (c *registryClient) Do(req *http.Request) (*http.Response, error) {
	if req.URL.Host != c.key.host {
		return nil, problem.New(problem.Denied, "registry-host", "the registry %s leads on to %s", c.key.host, req.URL.Host)
	}
	known := c.token()
	res, err := c.send(req, known)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusUnauthorized {
		challenges := res.Header.Values("WWW-Authenticate")
		refused := remote.Refusal(res, c.credential)
		res.Body.Close() // before a token is asked for: both count for their host
		header, err := c.answer(req.Context(), challenges)
		if err != nil {
			return nil, err
		}
		if header == "" {
			return nil, refused
		}
		if res, err = c.send(req, header); err != nil {
			return nil, err
		}
		if res.StatusCode/100 == 2 {
			c.keep(header)
		}
	}
	if err := remote.Refusal(res, c.credential); err != nil {
		res.Body.Close()
		return nil, err
	}
	return res, nil
}

func (c *registryClient) send(req *http.Request, authorization string) (*http.Response, error) {
	out := req.Clone(req.Context())
	if authorization != "" {
		out.Header.Set("Authorization", authorization)
	}
	res, err := c.http.Do(out)
	if err != nil {
		if p, ok := problem.As(err); ok {
			return nil, p
		}
		return nil, err
	}
	return res, nil
}

func (c *registryClient) token() string {
	c.sources.mu.Lock()
	defer c.sources.mu.Unlock()
	return c.sources.tokens[c.key]
}

// keep remembers what was accepted. A token that has expired is answered with a
// challenge, and replaced.
func (c *registryClient) keep(header string) {
	if strings.HasPrefix(header, "Basic ") {
		return // a password is read again at every use
	}
	c.sources.mu.Lock()
	defer c.sources.mu.Unlock()
	if len(c.sources.tokens) >= maxTokens {
		clear(c.sources.tokens)
	}
	c.sources.tokens[c.key] = header
}

// answer makes the Authorization header that a registry asks for; "" where
// there is nothing to answer with.
func (c *registryClient) answer(ctx context.Context, challenges []string) (string, error) {
	for _, ch := range challenges {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(ch), " ")
		if strings.EqualFold(scheme, "bearer") {
			return c.bearer(ctx, parameters(rest))
		}
	}
	for _, ch := range challenges {
		scheme, _, _ := strings.Cut(strings.TrimSpace(ch), " ")
		if strings.EqualFold(scheme, "basic") && c.credential != "" {
			return c.account(c.base())
		}
	}
	return "", nil
}

func (c *registryClient) base() string {
	if c.plain {
		return "http://" + c.key.host + "/v2/"
	}
	return "https://" + c.key.host + "/v2/"
}

// account is the Authorization header with the credential's account for a URL;
// "" where it has none.
func (c *registryClient) account(at string) (string, error) {
	a, err := c.sources.client.AccountAt(c.credential, at)
	switch {
	case err != nil:
		return "", err
	case a.Token != "":
		return "Bearer " + a.Token, nil
	case a.Password == "":
		return "", nil
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(a.Username, a.Password)
	return r.Header.Get("Authorization"), nil
}

// bearer gets a token from the realm of a challenge. The token of a credential
// that has one is sent as it is.
func (c *registryClient) bearer(ctx context.Context, p map[string]string) (string, error) {
	realm, err := url.Parse(p["realm"])
	if err != nil || realm.Host == "" {
		return "", problem.New(problem.Invalid, "registry-realm", "the registry %s names no realm for its tokens", c.key.host)
	}
	if realm.Scheme == "http" && !c.plain {
		return "", problem.New(problem.Denied, "registry-realm", "the registry %s wants a token made by %s, over http", c.key.host, realm.Host)
	}
	realm.User = nil
	header := ""
	if c.credential != "" {
		// A bearer token is for the registry and for no realm.
		if header, err = c.account(c.base()); err != nil || strings.HasPrefix(header, "Bearer ") {
			return header, err
		}
		if header != "" {
			if header, err = c.account(realm.String()); err != nil {
				return "", err
			}
		}
	}
	q := realm.Query()
	if p["service"] != "" {
		q.Set("service", p["service"])
	}
	scope := p["scope"]
	if scope == "" {
		scope = "repository:" + c.key.repository + ":pull"
	}
	q.Set("scope", scope)
	realm.RawQuery = q.Encode()
	return c.fetchToken(ctx, realm, header)
}

func (c *registryClient) fetchToken(ctx context.Context, at *url.URL, authorization string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", problem.New(problem.Invalid, "registry-realm", "the registry %s names a realm that is no URL", c.key.host)
	}
	res, err := c.send(req, authorization)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if err := remote.Refusal(res, c.credential); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxTokenBody))
	if err != nil {
		return "", err
	}
	var t struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(b, &t); err != nil || t.Token == "" && t.Access == "" {
		return "", problem.New(problem.Invalid, "registry-token", "%s gives no token", remote.Shown(at.String()))
	}
	if t.Token == "" {
		t.Token = t.Access
	}
	for i := range len(t.Token) {
		if t.Token[i] <= ' ' || t.Token[i] >= 0x7f || len(t.Token) > maxToken {
			return "", problem.New(problem.Invalid, "registry-token", "%s gives a token that cannot be sent", remote.Shown(at.String()))
		}
	}
	return "Bearer " + t.Token, nil
}

// parameters reads the parameters of a challenge (RFC 9110 §11.2), quoted or
// not. Names are lower case; of a name that stands there twice the first counts.
func parameters(s string) map[string]string {
	out := map[string]string{}
	for len(out) < 32 {
		s = strings.TrimLeft(s, " \t,")
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		name, s = strings.ToLower(strings.TrimSpace(name)), strings.TrimLeft(rest, " \t")
		var value strings.Builder
		if strings.HasPrefix(s, `"`) {
			s = s[1:]
			for s != "" && s[0] != '"' {
				if s[0] == '\\' && len(s) > 1 {
					s = s[1:]
				}
				value.WriteByte(s[0])
				s = s[1:]
			}
			s = strings.TrimPrefix(s, `"`)
		} else {
			i := strings.IndexAny(s, ", \t")
			if i < 0 {
				i = len(s)
			}
			value.WriteString(s[:i])
			s = s[i:]
		}
		if _, twice := out[name]; !twice {
			out[name] = value.String()
		}
	}
	return out
}
