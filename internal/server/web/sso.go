package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// SignIn is how people sign in through an identity provider; *release.Service
// satisfies it.
type SignIn interface {
	// SignInName is what the provider is called, "" where there is none.
	SignInName() string
	// BeginSignIn returns where the browser has to go, and what it keeps until
	// it comes back.
	BeginSignIn(ctx context.Context, next string) (url, sealed string, err error)
	FinishSignIn(ctx context.Context, c release.Caller, sealed string, a release.SignInAnswer) (p access.Principal, next string, err error)
}

// ssoCookie keeps a sign-in on its way through the identity provider. It is of
// this browser, so that nobody can hand it an answer of their own.
const ssoCookie = "chartkeep_sso"

// provider is what the button on the sign-in form says, "" for none.
func (d *Door) provider() string {
	if d.cfg.SignIn == nil {
		return ""
	}
	return d.cfg.SignIn.SignInName()
}

func (d *Door) setFlow(w http.ResponseWriter, r *http.Request, value string, life time.Duration) {
	c := &http.Cookie{
		Name: ssoCookie, Value: value, Path: server.ContextPath(r) + prefix + "/sso", MaxAge: int(life / time.Second), HttpOnly: true, Secure: server.Secure(r),
		SameSite: http.SameSiteLaxMode, // the way back is a link on the provider's page
	}
	if life <= 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// beginSSO sends the browser to the identity provider. It is a link and no form:
// a policy that keeps forms on this server would stop the way there.
func (d *Door) beginSSO(w http.ResponseWriter, r *http.Request) error {
	if d.provider() == "" {
		return noPage(r.URL.Path)
	}
	to, sealed, err := d.cfg.SignIn.BeginSignIn(r.Context(), next(r.URL.Query().Get("next")))
	if err != nil {
		return err
	}
	d.setFlow(w, r, sealed, release.SignInLife)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// finishSSO takes the browser back from the identity provider. Wrong answers
// count for their source like wrong passwords: each costs the provider a request.
func (d *Door) finishSSO(w http.ResponseWriter, r *http.Request) error {
	if d.provider() == "" {
		return noPage(r.URL.Path)
	}
	q := r.URL.Query()
	a := release.SignInAnswer{Code: q.Get("code"), State: q.Get("state"), Issuer: q.Get("iss"), Error: q.Get("error")}
	sealed := ""
	if c, err := r.Cookie(ssoCookie); err == nil {
		sealed = c.Value
	}
	d.setFlow(w, r, "", 0) // a flow is finished once
	var p access.Principal
	var to string
	err := server.GuardIdentity(r, a.Code, func() (err error) {
		p, to, err = d.cfg.SignIn.FinishSignIn(r.Context(), server.CallerOf(r), sealed, a)
		return err
	})
	if err != nil {
		return d.refuseSSO(w, r, to, err)
	}
	c := server.CallerOf(r)
	c.Principal = p
	session, expires, err := d.svc.MintSession(r.Context(), c)
	if err != nil {
		return err
	}
	server.SetSession(w, r, session, expires)
	return redirect(w, r, next(to))
}

// refuseSSO shows the form again with what went wrong.
func (d *Door) refuseSSO(w http.ResponseWriter, r *http.Request, to string, err error) error {
	status, p := server.Status(err)
	if status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusTooManyRequests {
		return err
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	form := signInForm{Next: next(to), Failed: sentence(p.Message), Facts: p.Facts}
	if p.Try != "" && !strings.HasPrefix(p.Try, "sign in again") {
		form.Facts = append(form.Facts, problem.Fact{Label: "next", Value: p.Try})
	}
	return d.showSignIn(w, r, status, form)
}
