// Package client is the Go client of a Chartkeep server's management API
// (/api/v1, described by the server's openapi.yaml).
//
// What always holds:
//
//   - A refusal comes back as the *problem.Error that the server made: kind,
//     rule, message, facts and what to try survive the wire, so that errors.As
//     works as it does inside the server. So do the client's own errors.
//   - The token goes to the configured server and nowhere else: redirects are
//     not followed.
//   - Everything that is read has a limit, and nothing that was read is taken
//     for proven: checking archives, proofs and log keys is the caller's part.
//   - Only GET requests are repeated, at most twice, and only when the server
//     could not be reached or said that it is unavailable.
//
// A Client is safe for concurrent use.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of what is read from a server, in bytes.
const (
	maxAnswer = 32 << 20 // a page of 1000 charts with long texts stays below a tenth of it
	maxError  = 64 << 10
)

// attempts is how often a GET is tried in all; pauses lie between.
const attempts = 3

var pauses = [attempts - 1]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond}

// Options are what a client can be told beside server and token. The zero
// value is usable.
type Options struct {
	// HTTP sends the requests, for certificates and proxies of one's own. Nil
	// is a client with the defaults of net/http. Its CheckRedirect is not used.
	HTTP *http.Client
	// UserAgent names the program to the server; "" is "chartkeep-client".
	UserAgent string
}

// Client calls one server.
type Client struct {
	base  string
	token string
	agent string
	http  *http.Client
}

// New makes a client for a server such as https://charts.example.com, with an
// optional context path. An empty token calls as anonymous.
func New(server, token string, opt Options) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, problem.New(problem.Invalid, "server-url", "%q is not the URL of a server", server).
			Suggest("give a URL such as https://charts.example.com, without user name and query")
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] >= 0x7f {
			return nil, problem.New(problem.Invalid, "token", "the token has a character that no token has").
				Suggest("look for a line break or a space in it")
		}
	}
	c := &Client{base: strings.TrimRight(u.String(), "/"), token: token, agent: opt.UserAgent}
	if c.agent == "" {
		c.agent = "chartkeep-client"
	}
	h := http.Client{}
	if opt.HTTP != nil {
		h = *opt.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &h
	return c, nil
}

// Server returns the URL of the server without a trailing slash.
func (c *Client) Server() string { return c.base }

// call is one request.
type call struct {
	method      string
	path        string // below the server's URL, escaped
	query       url.Values
	body        io.Reader // nil for none
	size        int64     // of body; -1 when it is not known
	contentType string
	accept      string
	etag        string // of an answer that is at hand: 304 is then no error
}

// api is the beginning of every path of the management API.
const api = "/api/v1"

// get calls a path of the API and decodes the answer into out.
func (c *Client) get(ctx context.Context, path string, query url.Values, schema string, out any) error {
	return c.json(ctx, call{method: http.MethodGet, path: api + path, query: query}, schema, out)
}

// send calls a path of the API with a JSON body (nil for none). With schema ""
// no answer is expected.
func (c *Client) send(ctx context.Context, method, path string, in any, schema string, out any) error {
	k := call{method: method, path: api + path}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		k.body, k.size, k.contentType = bytes.NewReader(b), int64(len(b)), "application/json"
	}
	return c.json(ctx, k, schema, out)
}

// json makes a call whose answer is JSON with a schema.
func (c *Client) json(ctx context.Context, k call, schema string, out any) error {
	k.accept = "application/json"
	res, err := c.do(ctx, k)
	if err != nil {
		return err
	}
	defer drain(res.Body)
	if schema == "" {
		return nil
	}
	body, err := c.read(res, maxAnswer)
	if err != nil {
		return err
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if !isJSON(res.Header) || json.Unmarshal(body, &head) != nil || head.Schema != schema {
		return c.foreign(res, schema)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return c.foreign(res, schema).Because(err)
	}
	return nil
}

// foreign is the problem of an answer that no Chartkeep server of this version
// gives.
func (c *Client) foreign(res *http.Response, want string) *problem.Error {
	return problem.New(problem.Unavailable, "answer", "the server's answer is not understood").
		With("server", "%s", c.base).
		With("status", "%d", res.StatusCode).
		With("expected", "%s", want).
		Suggest("check that the URL is that of a Chartkeep server, and that server and client have about the same version")
}

// do makes a call and returns an answer of class 2xx, or an error.
func (c *Client) do(ctx context.Context, k call) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		res, err := c.once(ctx, k)
		if err == nil && (res.StatusCode/100 == 2 || res.StatusCode == http.StatusNotModified && k.etag != "") {
			return res, nil
		}
		wait, again := c.again(k, attempt, res, err)
		if err == nil {
			err = c.refusal(res)
			drain(res.Body)
		}
		if !again {
			return nil, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// again decides whether a call is repeated, and after how long.
func (c *Client) again(k call, attempt int, res *http.Response, err error) (time.Duration, bool) {
	if k.method != http.MethodGet || attempt >= len(pauses) {
		return 0, false
	}
	if err != nil {
		return pauses[attempt], problem.KindOf(err) == problem.Unavailable
	}
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return pauses[attempt], true
	}
	return 0, false
}

func (c *Client) once(ctx context.Context, k call) (*http.Response, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, k.body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if k.body != nil {
		req.ContentLength = k.size
		req.Header.Set("Content-Type", k.contentType)
	}
	if k.accept != "" {
		req.Header.Set("Accept", k.accept)
	}
	if k.etag != "" {
		req.Header.Set("If-None-Match", k.etag)
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if k.size < 0 || k.size > 1<<20 {
		// A refusal then comes before the archive is sent, and arrives whole.
		req.Header.Set("Expect", "100-continue")
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, problem.New(problem.Unavailable, "server-unreachable", "the server cannot be reached").
			With("server", "%s", c.base).
			With("reason", "%s", reason(err)).
			Suggest("check the URL of the server, and that it runs").
			Because(err)
	}
	return res, nil
}

// reason is why a request failed, without the URL that net/http puts before it.
func reason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return err.Error()
}

// read reads a body of at most limit bytes.
func (c *Client) read(res *http.Response, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, problem.New(problem.Unavailable, "answer-cut", "the server's answer ended early").
			With("server", "%s", c.base).Because(err)
	}
	if int64(len(b)) > limit {
		return nil, problem.New(problem.TooLarge, "answer-too-large", "the server's answer is too large").
			With("server", "%s", c.base).
			With("limit", "%d bytes", limit)
	}
	return b, nil
}

// drain lets the connection be used again when little is left to read.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

func isJSON(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// Page says which part of a list is wanted: up to Limit items (0 leaves the
// number to the server) behind the item After ("" begins at the first).
type Page struct {
	After string
	Limit int
}

func (p Page) values() url.Values {
	q := url.Values{}
	if p.After != "" {
		q.Set("after", p.After)
	}
	if p.Limit != 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

// List is a page of a list. Next is the After of the next page, "" on the last.
type List[T any] struct {
	Schema string `json:"schema"`
	Items  []T    `json:"items"`
	Next   string `json:"next,omitempty"`
}

// All walks over the items of all pages, for example All(ctx, c.Projects). It
// stops at the first error, which it yields with a zero item.
func All[T any](ctx context.Context, list func(context.Context, Page) (List[T], error)) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for p := (Page{Limit: 1000}); ; {
			l, err := list(ctx, p)
			if err == nil && l.Next != "" && (l.Next == p.After || len(l.Items) == 0) {
				err = problem.New(problem.Unavailable, "answer", "the server's list does not end")
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range l.Items {
				if !yield(item, nil) {
					return
				}
			}
			if l.Next == "" {
				return
			}
			p.After = l.Next
		}
	}
}

// segments escapes the names of a path, each one segment; a name that cannot
// be a segment of its own would name another resource.
func segments(names ...string) (string, error) {
	var b strings.Builder
	for _, name := range names {
		if name == "" || name == "." || name == ".." || name == "-" || strings.ContainsAny(name, "/\\") {
			return "", problem.New(problem.Invalid, "name", "%q cannot be a name", name)
		}
		b.WriteByte('/')
		b.WriteString(url.PathEscape(name))
	}
	return b.String(), nil
}

// projectPath is the path of a project, whose name may have several segments.
func projectPath(project string) (string, error) {
	p, err := segments(strings.Split(project, "/")...)
	if err != nil {
		return "", problem.New(problem.Invalid, "project-name", "%q cannot be the name of a project", project)
	}
	return "/projects" + p, nil
}

// releasePath is the path of a release.
func releasePath(project, chart, version string) (string, error) {
	p, err := projectPath(project)
	if err != nil {
		return "", err
	}
	name, err := segments(chart)
	if err != nil {
		return "", err
	}
	v, err := segments(version)
	if err != nil {
		return "", err
	}
	return p + "/-/charts" + name + "/releases" + v, nil
}
