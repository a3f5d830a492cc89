package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Limits of what is read.
const (
	maxJSON      = 256 << 10 // bytes of a JSON body
	maxQuery     = 8 << 10   // bytes of a query
	defaultLimit = 100       // items of a page
	maxLimit     = 1000
)

// decode reads a JSON body into v, strictly.
func (c *call) decode(v any) error {
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind != "application/json" {
		return wrongMediaType(kind, "application/json")
	}
	return decodeJSON(http.MaxBytesReader(c.w, c.r.Body, maxJSON), v)
}

// decodeJSON reads exactly one JSON object whose fields v knows.
func decodeJSON(r io.Reader, v any) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	switch err = dec.Decode(v); {
	case err == nil && bytes.TrimLeft(b, " \t\r\n")[0] != '{':
		err = errors.New("it is no object")
	case err == nil:
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("there is something after its end")
	case errors.Is(err, io.EOF):
		err = errors.New("it is empty")
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = fmt.Errorf("%q cannot be a %s", wrong.Field, wrong.Value)
	}
	// The other texts of encoding/json name a field or a place, and nothing of ours.
	return problem.New(problem.Invalid, "json", "the request body is not the JSON that is expected here").
		With("reason", "%s", strings.TrimPrefix(err.Error(), "json: ")).
		Suggest("see /api/v1/openapi.yaml for the fields")
}

func wrongMediaType(got, want string) error {
	if got == "" {
		got = "none"
	}
	return problem.New(problem.Unsupported, server.RuleMediaType, "the request body has a type that is not taken here").
		With("type", "%s", got).
		With("taken", "%s", want)
}

// query returns the query when it has no other parameters than those named,
// none of them twice.
func (c *call) query(names ...string) (url.Values, error) {
	bad := func(format string, args ...any) error {
		p := problem.New(problem.Invalid, "query", format, args...)
		if len(names) > 0 {
			p = p.With("parameters", "%s", strings.Join(names, ", "))
		}
		return p
	}
	if len(c.r.URL.RawQuery) > maxQuery {
		return nil, bad("the query is too long")
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query is not well formed")
	}
	for name, values := range q {
		switch {
		case !slices.Contains(names, name):
			return nil, bad("there is no parameter %q here", name)
		case len(values) > 1:
			return nil, bad("parameter %q is given more than once", name)
		}
	}
	return q, nil
}

// noQuery refuses any query parameter.
func (c *call) noQuery() error {
	_, err := c.query()
	return err
}

// number reads a decimal number that is not negative.
func number(name, s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' {
		return 0, problem.New(problem.Invalid, "number", "%s has to be a whole number that is not negative, not %q", name, s)
	}
	return n, nil
}

func boolean(name, s string) (bool, error) {
	switch s {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, problem.New(problem.Invalid, "boolean", "%s has to be true or false, not %q", name, s)
}

// limitOf reads the parameter "limit".
func limitOf(q url.Values) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return defaultLimit, nil
	}
	n, err := number("limit", s)
	if err != nil {
		return 0, err
	}
	if n < 1 || n > maxLimit {
		return 0, problem.New(problem.Invalid, "limit", "limit has to be between 1 and %d, not %d", maxLimit, n)
	}
	return int(n), nil
}

// list is a page of items.
type list[T any] struct {
	Schema string `json:"schema"`
	Items  []T    `json:"items"`
	Next   string `json:"next,omitempty"`
}

// page cuts a page out of all items, whose order is that of the answer and
// whose keys are unique. It costs one comparison per item before the page.
func page[T any](schema string, items []T, key func(T) string, q url.Values) (reply, error) {
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	if after := q.Get("after"); after != "" {
		i := slices.IndexFunc(items, func(it T) bool { return key(it) == after })
		if i < 0 {
			return reply{}, problem.New(problem.Invalid, "after", "there is no item %q to go on after", after).
				Suggest("start again without after")
		}
		items = items[i+1:]
	}
	l := list[T]{Schema: schema, Items: notNil(items)}
	if len(items) > limit {
		l.Items = items[:limit]
		l.Next = key(items[limit-1])
	}
	return reply{body: l}, nil
}
