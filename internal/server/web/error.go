package web

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// errorPage says what could not be done, what is known, and what to do next.
type errorPage struct {
	frame
	Status     int
	Code       string // the status in words
	Head       string
	Facts      []problem.Fact
	Try        string
	Command    bool // Try can be pasted into a shell
	Changed    bool // the request was to change something
	Nothing    bool // it surely changed nothing
	RequestID  string
	SignIn     bool // the form is on the page of a 401
	SignInForm formOf
}

var statusWords = map[int]string{
	http.StatusBadRequest:            "not understood",
	http.StatusUnauthorized:          "not signed in",
	http.StatusForbidden:             "not allowed",
	http.StatusNotFound:              "not found",
	http.StatusMethodNotAllowed:      "not offered",
	http.StatusConflict:              "refused",
	http.StatusGone:                  "removed",
	http.StatusRequestEntityTooLarge: "too large",
	http.StatusUnprocessableEntity:   "refused by policy",
	http.StatusTooManyRequests:       "too many attempts",
	http.StatusInternalServerError:   "our fault",
	http.StatusServiceUnavailable:    "not available",
}

// WriteError is the server.ErrorWriter of the door.
func (d *Door) WriteError(w http.ResponseWriter, r *http.Request, status int, p *problem.Error) {
	setSecurity(w.Header())
	words, ok := statusWords[status]
	if !ok {
		words = strings.ToLower(http.StatusText(status))
	}
	page := &errorPage{
		frame: d.bareFrame(r, capital(words)), Status: status, Code: strconv.Itoa(status) + ", " + words,
		Head: sentence(p.Message), Try: p.Try, RequestID: server.RequestID(r),
		Changed: r.Method != http.MethodGet && r.Method != http.MethodHead,
	}
	if reason := server.ReadOnlyReason(r); reason != nil && p.Rule == reason.Rule && p.Message == reason.Message {
		page.Head, page.Code, page.Title, page.Try, page.Nothing = "This was not done: the registry is read-only", "503, read-only", "Read-only", "", true
		p = problem.New(p.Kind, p.Rule, "%s", p.Message) // what is known of it stands on top of the page
	}
	for _, f := range p.Facts {
		if f.Label != "request" || f.Value != page.RequestID { // the page has a line for it
			page.Facts = append(page.Facts, f)
		}
	}
	first, _, _ := strings.Cut(p.Try, " ")
	page.Command = first == "chartkeep" || first == "helm" || first == "curl"
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
		// Advice for command lines; here the form stands below.
		page.Nav, page.Try, page.SignIn = navSignIn, "", true
		page.SignInForm = formOf{page.Base, signInForm{Next: page.Here, Provider: d.provider()}, page.Closed()}
	}
	if err := d.render(w, r, status, "error", page); err != nil {
		server.WriteText(w, r, status, p)
	}
}
