package oci

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Rules of the problems of the token end point.
const (
	RuleTokenForm = "token-form" // the form of a POST cannot be read
	RuleGrantType = "grant-type" // not a grant type of the OAuth2 variant
	RuleBearer    = "bearer-for-bearer"
)

// maxTokenForm bounds the form of a token request, in bytes.
const maxTokenForm = 64 << 10

// minTokenLife is the least expires_in: older clients take a token with fewer
// seconds to live for one that has ended ("Token Response Fields").
const minTokenLife = 60

// token answers the token end point. A GET authenticates with Basic, or not at
// all; a POST with the credential in its form (OAuth2, grant types password and
// refresh_token). The answer grants what the caller has of what it asks for,
// which may be nothing; that is no error.
//
// A token of this server is its own refresh token, so that none is returned.
func (d *Door) token(w http.ResponseWriter, r *http.Request, req *Request) error {
	if hasBearer(r) {
		return bearerForBearer()
	}
	c := server.CallerOf(r)
	q := req.Query
	if r.Method == http.MethodPost {
		var err error
		if q, err = tokenForm(w, r); err != nil {
			return err
		}
		p, err := d.tokenOwner(r, q, c.Principal)
		if err != nil {
			return err
		}
		c.Principal = p
	}
	scopes, err := access.ParseScope(strings.Join(q["scope"], " "))
	if err != nil {
		return err
	}
	now := time.Now()
	token, granted, expires, err := d.registry.MintBearer(r.Context(), c, scopes, service(r))
	if err != nil {
		return err
	}
	names := make([]string, len(granted))
	for i, s := range granted {
		names[i] = s.String()
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	return server.WriteJSON(w, http.StatusOK, struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
		IssuedAt    string `json:"issued_at"`
		Scope       string `json:"scope"`
		TokenType   string `json:"token_type"`
	}{
		token, token,
		max(int64(expires.Sub(now)/time.Second), minTokenLife),
		now.UTC().Format(time.RFC3339),
		strings.Join(names, " "),
		"Bearer",
	})
}

// tokenForm reads the form of a POST.
func tokenForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(t), "application/x-www-form-urlencoded") {
		return nil, problem.New(problem.Invalid, server.RuleMediaType, "a token request is a form, not %q", clip(t)).
			With("takes", "application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTokenForm))
	if err != nil {
		return nil, err
	}
	q, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, problem.New(problem.Invalid, RuleTokenForm, "the form cannot be read").Because(err)
	}
	return q, nil
}

// tokenOwner authenticates the credential of a form. Without one, the principal
// of the request stands: anonymous, or that of its Authorization header.
func (d *Door) tokenOwner(r *http.Request, q url.Values, p access.Principal) (access.Principal, error) {
	user, secret := "", ""
	check := d.registry.Authenticate
	switch grant := q.Get("grant_type"); grant {
	case "":
	case "refresh_token":
		if secret = q.Get("refresh_token"); strings.HasPrefix(secret, access.BearerPrefix) {
			return p, bearerForBearer()
		}
	case "password":
		user, secret = q.Get("username"), q.Get("password")
		check = nil
	default:
		return p, problem.New(problem.Invalid, RuleGrantType, "grant type %q is not offered", clip(grant)).
			With("offered", "password, refresh_token")
	}
	if user == "" && secret == "" {
		return p, nil
	}
	err := server.Guard(r, user, secret, func() (err error) {
		if check != nil {
			p, err = check(r.Context(), secret)
		} else {
			p, err = d.registry.AuthenticateBasic(r.Context(), user, secret)
		}
		return err
	})
	return p, err
}

// bearerForBearer refuses a bearer as the credential for another one: it would
// live for ever, and so would a right that was taken away.
func bearerForBearer() error {
	return problem.New(problem.Unauthenticated, RuleBearer, "a bearer token does not get another one").
		Suggest("send the token or the password that the bearer was asked for with")
}

// service is the name of this registry to the token end point: the host that
// clients know it by.
func service(r *http.Request) string {
	_, rest, _ := strings.Cut(server.BaseURL(r), "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
