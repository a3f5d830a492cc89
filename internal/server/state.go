package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// state is what is known of a request while it is served. One goroutine, that
// of the request, owns it.
type state struct {
	id      string
	log     *slog.Logger
	start   time.Time
	client  client
	caller  release.Caller
	route   *Route
	guard   *guard
	body    *body
	problem *problem.Error // what the answer said, for metrics and the log

	readOnly *problem.Error // why nothing is written, or nil
}

type stateKey struct{}

// noState serves requests that did not pass through New, such as those of a
// door's own tests.
func noState(r *http.Request) *state {
	c, _ := clientOf(r, nil, nil)
	return &state{
		id:     "-",
		log:    slog.New(slog.DiscardHandler),
		client: c,
		caller: release.Caller{Principal: access.Anonymous()},
	}
}

func stateOf(r *http.Request) *state {
	if st, ok := r.Context().Value(stateKey{}).(*state); ok {
		return st
	}
	return noState(r)
}

// CallerOf returns who asks: principal, door, source and request id, as the
// authentication of this package set them.
func CallerOf(r *http.Request) release.Caller { return stateOf(r).caller }

// RequestID returns the id under which the log knows the request.
func RequestID(r *http.Request) string { return stateOf(r).id }

// BaseURL returns the URL under which the client reaches this server, with the
// context path and without a trailing slash: from the external URL when one is
// configured, else from a trusted proxy's headers, else from the Host header.
func BaseURL(r *http.Request) string { return stateOf(r).client.base }

// ContextPath returns the path part of BaseURL: "" or for example "/charts".
// Paths that a door sees do not have it any more; links that begin with a
// slash need it.
func ContextPath(r *http.Request) string { return stateOf(r).client.contextPath }

// Secure reports whether the client reaches the server over HTTPS.
func Secure(r *http.Request) bool { return stateOf(r).client.secure }

// SourceOf returns the address of the client, seen through trusted proxies. It
// is the zero Addr when it is not known.
func SourceOf(r *http.Request) netip.Addr { return stateOf(r).client.addr }

// WithCaller returns the request with a caller of one's choice, for the tests
// of doors.
func WithCaller(r *http.Request, c release.Caller) *http.Request {
	st := *stateOf(r)
	st.caller = c
	if c.RequestID != "" {
		st.id = c.RequestID
	}
	return r.WithContext(context.WithValue(r.Context(), stateKey{}, &st))
}

// body is a request body that must keep moving, and that remembers why it
// ended, so that a client's fault is not shown as ours.
type body struct {
	src     io.ReadCloser
	control *http.ResponseController
	start   time.Time
	set     time.Time // when the deadline was last moved
	read    int64
	err     error // other than io.EOF
}

// The pace that a client has to keep; see the package comment.
const (
	pause   = 60 * time.Second
	minRate = 4 << 10 // bytes per second, after the first pause
	piece   = 256 << 10
)

func (b *body) Read(p []byte) (int, error) {
	if now := time.Now(); now.Sub(b.set) > time.Second {
		b.set = now
		deadline := now.Add(pause)
		if earned := b.start.Add(pause + time.Duration(b.read/minRate)*time.Second); earned.Before(deadline) {
			deadline = earned
		}
		_ = b.control.SetReadDeadline(deadline) // not supported in tests without a connection
	}
	n, err := b.src.Read(p)
	b.read += int64(n)
	switch {
	case err == io.EOF:
		// An expired deadline would end the whole request: net/http goes on
		// reading to learn whether the client left.
		_ = b.control.SetReadDeadline(time.Time{})
	case err != nil:
		b.err = err
	}
	return n, err
}

func (b *body) Close() error { return b.src.Close() }

// blame returns the client's fault when that is why the handler failed without
// saying what is wrong.
func (st *state) blame(r *http.Request, err error) error {
	if st.body == nil || st.body.err == nil || problem.KindOf(err) != problem.Internal {
		return err
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](st.body.err); ok {
		return tooLarge
	}
	if errors.Is(st.body.err, os.ErrDeadlineExceeded) {
		return problem.New(problem.Invalid, RuleBodySlow, "the request body came too slowly").
			With("received", "%d bytes", st.body.read).Because(err)
	}
	return problem.New(problem.Invalid, RuleBodyIncomplete, "the request body ended before its end").
		With("received", "%d bytes", st.body.read).Because(err)
}

// answer is a ResponseWriter that counts what it sends, and whose every piece
// of at most 256 KiB has to be taken in time.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController // nil outside of New
	set     time.Time
	status  int
	bytes   int64
	wrote   bool
}

func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.status = status
		a.wrote = status >= 200 // informational answers are not the answer
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) begin() {
	if !a.wrote {
		a.wrote, a.status = true, http.StatusOK
	}
	if a.control == nil {
		return
	}
	if now := time.Now(); now.Sub(a.set) > time.Second {
		a.set = now
		_ = a.control.SetWriteDeadline(now.Add(pause)) // not supported in tests without a connection
	}
}

func (a *answer) Write(p []byte) (int, error) {
	var done int
	for {
		a.begin()
		n, err := a.ResponseWriter.Write(p[done:min(len(p), done+piece)])
		done += n
		a.bytes += int64(n)
		if err != nil || done >= len(p) {
			return done, err
		}
	}
}

// ReadFrom keeps the way open for sendfile: it hands the source to net/http
// piece by piece, as a limited reader over the file itself.
func (a *answer) ReadFrom(src io.Reader) (total int64, err error) {
	outer, limited := src.(*io.LimitedReader)
	if limited {
		src = outer.R
	}
	for {
		a.begin()
		size := int64(piece)
		if limited {
			size = min(size, outer.N)
		}
		n, err := io.Copy(a.ResponseWriter, &io.LimitedReader{R: src, N: size})
		total += n
		a.bytes += n
		if limited {
			outer.N -= n
		}
		if err != nil || n < size || limited && outer.N <= 0 {
			return total, err
		}
	}
}

// Flush passes on what has been written.
func (a *answer) Flush() {
	a.begin()
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
