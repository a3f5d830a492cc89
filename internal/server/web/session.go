package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// signInPage is where somebody says who they are.
type signInPage struct {
	frame
	SignInForm formOf
}

// formOf is the form with the base of its target.
type formOf struct {
	Base   string
	Form   signInForm
	Closed bool // the server takes no forms, and so no sign-in, which is an event of the audit trail
}

// signInForm is what the form holds; it also stands on the page of a 401.
type signInForm struct {
	Next    string // where to go afterwards, a path below /ui
	Account string // as it was typed
	Failed  string // why the last attempt failed
	Facts   []problem.Fact
	// Provider is the identity provider that people can sign in through, "" for
	// none.
	Provider string
}

func (d *Door) signInPage(w http.ResponseWriter, r *http.Request) error {
	return d.showSignIn(w, r, http.StatusOK, signInForm{Next: next(r.URL.Query().Get("next"))})
}

func (d *Door) showSignIn(w http.ResponseWriter, r *http.Request, status int, form signInForm) error {
	form.Provider = d.provider()
	p := &signInPage{frame: d.frameOf(r, "Sign in", navSignIn)}
	p.SignInForm = formOf{p.Base, form, p.Closed()}
	return d.render(w, r, status, "sign-in", p)
}

// signIn takes a token, or an account with its password.
func (d *Door) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	token, account := strings.TrimSpace(r.PostForm.Get("token")), strings.TrimSpace(r.PostForm.Get("account"))
	form := signInForm{Next: next(r.PostForm.Get("next")), Account: account}
	p, err := d.principal(r, token, account, r.PostForm.Get("password"))
	if err != nil {
		status, prob := server.Status(err)
		if status != http.StatusUnauthorized && status != http.StatusTooManyRequests && status != http.StatusBadRequest {
			return err
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		form.Failed = sentence(prob.Message)
		return d.showSignIn(w, r, status, form)
	}
	c := server.CallerOf(r)
	c.Principal = p
	session, expires, err := d.svc.MintSession(r.Context(), c)
	if err != nil {
		return err
	}
	server.SetSession(w, r, session, expires)
	return redirect(w, r, form.Next)
}

// challenge stands in an answer of 401, which must have one. Browsers know no
// such scheme and so show the page, with its form, and no dialogue.
const challenge = `Cookie realm="chartkeep"`

// principal checks a credential under the limits that hold for wrong ones.
func (d *Door) principal(r *http.Request, token, account, password string) (p access.Principal, err error) {
	const most = 4096
	switch {
	case len(token) > most || len(account) > most || len(password) > most:
		return p, problem.New(problem.Invalid, "sign-in", "this is too long for a token or a password")
	case token != "":
		err = server.Guard(r, "", token, func() (err error) {
			p, err = d.svc.Authenticate(r.Context(), token)
			return err
		})
	case account != "" && password != "":
		err = server.Guard(r, account, password, func() (err error) {
			p, err = d.svc.Login(r.Context(), account, password)
			return err
		})
	default:
		err = problem.New(problem.Invalid, "sign-in", "a token is needed, or an account with its password")
	}
	return p, err
}

func (d *Door) signOut(w http.ResponseWriter, r *http.Request) error {
	server.EndSession(w, r)
	return redirect(w, r, "/sign-in")
}

func badForm(err error) error {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return err
	}
	return problem.New(problem.Invalid, "form", "the form could not be read").Because(err)
}

// themeCookie keeps which colours somebody wants to see.
const themeCookie = "chartkeep_theme"

func theme(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

func (d *Door) setTheme(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	c := &http.Cookie{
		Name: themeCookie, Value: r.PostForm.Get("theme"), Path: server.ContextPath(r) + prefix,
		MaxAge: 365 * 24 * 3600, HttpOnly: true, Secure: server.Secure(r), SameSite: http.SameSiteLaxMode,
	}
	if c.Value != "light" && c.Value != "dark" { // the system's choice
		c.Value, c.MaxAge = "", -1
	}
	http.SetCookie(w, c)
	return redirect(w, r, next(r.PostForm.Get("next")))
}
