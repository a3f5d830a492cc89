package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Handler serves a request and returns its error instead of writing it. It
// returns an error before it writes anything, or, once bytes are out, to have
// the connection cut.
type Handler func(w http.ResponseWriter, r *http.Request) error

// ErrorWriter writes a problem in a door's own form. With status 401 it also
// sets the door's WWW-Authenticate challenge. It must not write to w when
// r.Method is HEAD beyond the header; net/http drops such bytes anyway.
type ErrorWriter func(w http.ResponseWriter, r *http.Request, status int, p *problem.Error)

// Rules that this package itself refuses by, or gives a status of their own.
const (
	RuleUploadRange     = "upload-range"        // 416: the piece does not begin where the upload stands
	RuleTooManyAttempts = "too-many-attempts"   // 429: too many wrong credentials from one source
	RuleBusy            = "password-checks"     // 503: too many password checks at once
	RuleCredential      = "credential"          // 401: the credential is not valid
	RuleRange           = "range"               // 416: the range lies outside of the bytes
	RuleMethod          = "method"              // 405: the path does not take this method
	RulePath            = "path"                // 400: the path is not well formed
	RuleBodyIncomplete  = "body-incomplete"     // 400: the client stopped before the end of the body
	RuleBodySlow        = "body-slow"           // 408: the body came too slowly
	RuleBodyTooLarge    = "body-too-large"      // 413: the body is over the route's limit
	RuleMediaType       = "media-type"          // 415: a body of another type than the route takes
	RulePrecondition    = "precondition-failed" // 412
	RuleQuarantine      = "quarantine"          // 403: of package release; blocked for now, which no cache may keep
)

// statusOfKind and statusOfRule are the one table from problems to HTTP. A
// rule's own status wins over that of its kind.
var (
	statusOfKind = map[problem.Kind]int{
		problem.Internal:        http.StatusInternalServerError,
		problem.Invalid:         http.StatusBadRequest,
		problem.Unauthenticated: http.StatusUnauthorized,
		problem.Denied:          http.StatusForbidden,
		problem.NotFound:        http.StatusNotFound,
		problem.Immutable:       http.StatusConflict,
		problem.Conflict:        http.StatusConflict,
		problem.Policy:          http.StatusUnprocessableEntity,
		problem.TooLarge:        http.StatusRequestEntityTooLarge,
		problem.Unsupported:     http.StatusMethodNotAllowed,
		problem.Gone:            http.StatusGone,
		problem.Disproven:       http.StatusInternalServerError, // our bytes do not match their digest; input that does not is Invalid
		problem.Unavailable:     http.StatusServiceUnavailable,
	}
	statusOfRule = map[string]int{
		RuleUploadRange:     http.StatusRequestedRangeNotSatisfiable,
		RuleRange:           http.StatusRequestedRangeNotSatisfiable,
		RuleTooManyAttempts: http.StatusTooManyRequests,
		RuleBodySlow:        http.StatusRequestTimeout,
		RuleMediaType:       http.StatusUnsupportedMediaType,
		RulePrecondition:    http.StatusPreconditionFailed,
		RuleQuarantine:      http.StatusForbidden,
	}
)

// Status maps an error to its HTTP status and to the problem to show. An error
// that carries no problem, and a problem of kind internal, keep their text for
// the log: the client sees a fixed sentence.
func Status(err error) (int, *problem.Error) {
	if p, ok := problem.As(err); ok && p.Kind != problem.Internal && statusOfKind[p.Kind] != 0 {
		if status, ok := statusOfRule[p.Rule]; ok {
			return status, p
		}
		return statusOfKind[p.Kind], p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, problem.New(problem.TooLarge, RuleBodyTooLarge, "the request body is too large").
			With("limit", "%d bytes", tooLarge.Limit)
	}
	return http.StatusInternalServerError, problem.New(problem.Internal, "", "the server could not do this").
		Suggest("try again; if it stays, give the request id to the operator, whose log has the cause")
}

// WriteJSON writes v as JSON with a final newline. It encodes before it writes,
// so that a failure is still an error answer.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // error messages stay readable; nosniff keeps browsers from guessing
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// WriteText is the error form of plain paths: message, facts and what to try,
// one a line, as the command line prints them.
func WriteText(w http.ResponseWriter, r *http.Request, status int, p *problem.Error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Error: %s\n", p.Message)
	for _, f := range p.Facts {
		fmt.Fprintf(&b, "  %s  %s\n", f.Label, f.Value)
	}
	if p.Try != "" {
		fmt.Fprintf(&b, "Try: %s\n", p.Try)
	}
	h := w.Header()
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", BasicChallenge)
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// BasicChallenge is the challenge of the doors that take Basic credentials.
const BasicChallenge = `Basic realm="chartkeep", charset="UTF-8"`

// MethodNotAllowed is the problem for a known path with a method that it does
// not take; it sets the Allow header.
func MethodNotAllowed(w http.ResponseWriter, r *http.Request, allow string) error {
	w.Header().Set("Allow", allow)
	return problem.New(problem.Unsupported, RuleMethod, "%s is not offered here", r.Method).With("offered", "%s", allow)
}

// Wrap makes a door's handler an http.Handler: it recovers from panics, writes
// the error that the handler returns through ew, and logs internal errors
// once. Requests that did not pass through New (in tests) are served as well.
func Wrap(door audit.Door, h Handler, ew ErrorWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tw, ok := w.(*answer)
		if !ok {
			tw = &answer{ResponseWriter: w}
		}
		st := stateOf(r)
		if err := protect(h, tw, r); err != nil {
			fail(st, door, tw, r, err, ew)
		}
	})
}

// panicked is a panic of a handler as an error.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("handler panicked: %v", p.value) }

// protect calls the handler and turns a panic into an error. The panic that
// net/http itself defines for cutting a connection passes.
func protect(h Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // the value is defined to be compared
				panic(v)
			}
			err = &panicked{v, debug.Stack()}
		}
	}()
	return h(w, r)
}

// fail answers a request whose handler returned err.
func fail(st *state, door audit.Door, w *answer, r *http.Request, err error, ew ErrorWriter) {
	err = st.blame(r, err)
	status, found := Status(err)
	p := *found // a copy: the problem may be used elsewhere, and its cause is not for the client
	p.Err = nil
	if p.Kind == problem.Internal && r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		// The client is gone; nobody reads the answer and nothing is wrong here.
		w.status = statusClientGone
		return
	}
	if status >= http.StatusInternalServerError {
		st.logFailure(r, door, err)
	}
	if p.Kind == problem.Internal {
		p.Facts = append(p.Facts[:len(p.Facts):len(p.Facts)], problem.Fact{Label: "request", Value: st.id})
	}
	if w.wrote {
		// The header is out: only a cut tells the client that this is not all.
		panic(http.ErrAbortHandler)
	}
	st.problem = &p
	clearEntityHeaders(w.Header())
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "5")
		}
	}
	ew(w, r, status, &p)
}

// statusClientGone stands in the log alone, for a client that left first.
const statusClientGone = 499

// clearEntityHeaders takes back what a handler had said of a body that now
// will not come.
func clearEntityHeaders(h http.Header) {
	for _, k := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Type", "Content-Disposition", "Etag", "Last-Modified", "Cache-Control", "Docker-Content-Digest"} {
		h.Del(k)
	}
	h.Set("Cache-Control", "no-store")
}

func (st *state) logFailure(r *http.Request, door audit.Door, err error) {
	attrs := []slog.Attr{
		slog.String("error", err.Error()),
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.String("door", string(door)),
		slog.String("request_id", st.id),
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	st.log.LogAttrs(r.Context(), slog.LevelError, "request failed", attrs...)
}
