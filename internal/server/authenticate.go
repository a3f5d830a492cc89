package server

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Authenticator turns credentials into principals. A credential that is not
// valid is problem.Unauthenticated; any other error means that it could not be
// checked, and refuses as well.
type Authenticator interface {
	// Authenticate checks a token, a bearer or a session.
	Authenticate(ctx context.Context, secret string) (access.Principal, error)
	// AuthenticateBasic checks a user name with a password; a token is taken
	// as the password of any user name.
	AuthenticateBasic(ctx context.Context, user, password string) (access.Principal, error)
}

// SessionCookie is the name of the cookie of a person signed in at /ui.
const SessionCookie = "chartkeep_session"

// isSecret reports whether it has the form of the secrets that are random
// enough to be looked up by a plain hash. Everything else is checked as a
// password, which is slow by intent.
func isSecret(s string) bool {
	return strings.HasPrefix(s, access.TokenPrefix) || strings.HasPrefix(s, access.BearerPrefix)
}

// maxCredential bounds the Authorization header and the cookie, in bytes. A
// bearer lists its scopes, which makes it the longest.
const maxCredential = 16 << 10

// credential is what a request shows to say who asks.
type credential struct {
	scheme string // "basic", "bearer", "session", or "" for none
	user   string
	secret string
}

// credentialOf reads the credential of a request; cookie says that the route
// takes the session cookie and nothing else.
func credentialOf(r *http.Request, cookie bool) (credential, error) {
	if cookie {
		c, err := r.Cookie(SessionCookie)
		if err != nil || c.Value == "" || len(c.Value) > maxCredential {
			return credential{}, nil
		}
		return credential{scheme: "session", secret: c.Value}, nil
	}
	values := r.Header["Authorization"]
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return credential{}, nil
	}
	return parseAuthorization(values)
}

// parseAuthorization reads the Authorization header (RFC 9110 section 11.6.2).
func parseAuthorization(values []string) (credential, error) {
	bad := func(why string) error {
		return problem.New(problem.Unauthenticated, RuleCredential, "the Authorization header is not valid: %s", why).
			Suggest("use a token: as the password of Basic with any user name, or as Bearer")
	}
	if len(values) > 1 {
		return credential{}, bad("it is there more than once")
	}
	if len(values[0]) > maxCredential {
		return credential{}, bad("it is too long")
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case strings.EqualFold(scheme, "bearer"):
		if rest == "" || strings.ContainsAny(rest, " \t,") {
			return credential{}, bad("the bearer is empty or has spaces")
		}
		return credential{scheme: "bearer", secret: rest}, nil
	case strings.EqualFold(scheme, "basic"):
		raw, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return credential{}, bad("it is not base64")
		}
		user, password, ok := strings.Cut(string(raw), ":")
		if !ok {
			return credential{}, bad("it has no colon between user name and password")
		}
		return credential{scheme: "basic", user: user, secret: password}, nil
	default:
		return credential{}, bad("only Basic and Bearer are known")
	}
}

// authenticate sets the caller of the request, or says why it cannot.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request, st *state) error {
	cred, err := credentialOf(r, st.route.Cookie)
	if err != nil {
		s.guard.failed(st.route.Door, st.client.addr)
		return err
	}
	var p access.Principal
	switch cred.scheme {
	case "":
		return nil
	case "session":
		p, err = s.cfg.Authenticator.Authenticate(r.Context(), cred.secret)
		if problem.KindOf(err) == problem.Unauthenticated {
			// A session that ran out is no attempt: the person is anonymous
			// again and can reach the sign-in page.
			EndSession(w, r)
			return nil
		}
		if err == nil {
			s.known(st, p)
		}
		return err
	}
	err = s.guard.check(r.Context(), st.route.Door, st.client.addr, cred, func() (err error) {
		if cred.scheme == "basic" {
			p, err = s.cfg.Authenticator.AuthenticateBasic(r.Context(), cred.user, cred.secret)
		} else {
			p, err = s.cfg.Authenticator.Authenticate(r.Context(), cred.secret)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.known(st, p)
	return nil
}

// known makes a principal the caller of the request.
func (s *Server) known(st *state, p access.Principal) {
	st.caller.Principal = p
	if p.TokenID != "" && st.client.addr.IsValid() && s.cfg.TokenUsed != nil {
		s.cfg.TokenUsed(p.TokenID, sourceOf(st.client.addr))
	}
}

// Guard runs a check of a password that a door read by itself, such as that of
// a sign-in form or of the token end point, under the limits that hold for the
// Authorization header: per source, and few at a time. check returns
// problem.Unauthenticated for a wrong one.
func Guard(r *http.Request, user, password string, check func() error) error {
	st := stateOf(r)
	if st.guard == nil {
		return check()
	}
	return st.guard.check(r.Context(), st.caller.Door, st.client.addr, credential{scheme: "basic", user: user, secret: password}, check)
}

// GuardIdentity is Guard for what another party vouches for, such as an identity
// token: wrong ones count for their source, but their check costs no memory, and
// waits for no password's.
func GuardIdentity(r *http.Request, token string, check func() error) error {
	st := stateOf(r)
	if st.guard == nil {
		return check()
	}
	return st.guard.check(r.Context(), st.caller.Door, st.client.addr, credential{scheme: "identity", secret: token}, check)
}

// SetSession gives the browser the cookie of a session that ends at expires.
func SetSession(w http.ResponseWriter, r *http.Request, session string, expires time.Time) {
	http.SetCookie(w, sessionCookie(r, session, expires))
}

// EndSession takes the cookie back.
func EndSession(w http.ResponseWriter, r *http.Request) {
	c := sessionCookie(r, "", time.Unix(1, 0))
	c.MaxAge = -1
	http.SetCookie(w, c)
}

func sessionCookie(r *http.Request, value string, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name:     SessionCookie,
		Value:    value,
		Path:     ContextPath(r) + "/ui",
		Expires:  expires,
		HttpOnly: true,
		Secure:   Secure(r),
		SameSite: http.SameSiteLaxMode, // Strict would sign a person out who follows a link from a mail
	}
}
