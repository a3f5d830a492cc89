package client

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// wireError is a problem as the API writes it.
type wireError struct {
	Schema    string         `json:"schema"`
	Kind      problem.Kind   `json:"kind"`
	Rule      string         `json:"rule"`
	Message   string         `json:"message"`
	Facts     []problem.Fact `json:"facts"`
	Try       string         `json:"try"`
	RequestID string         `json:"request_id"`
}

// knownKinds are the kinds that are taken from the wire as they are.
var knownKinds = map[problem.Kind]bool{
	problem.Internal: true, problem.Invalid: true, problem.Unauthenticated: true, problem.Denied: true,
	problem.NotFound: true, problem.Immutable: true, problem.Conflict: true, problem.Policy: true,
	problem.TooLarge: true, problem.Unsupported: true, problem.Gone: true, problem.Disproven: true,
	problem.Unavailable: true,
}

// kindOfStatus is for answers that carry no problem, such as those of a proxy.
// Immutable and Disproven are not among them: only the server itself can know.
var kindOfStatus = map[int]problem.Kind{
	http.StatusBadRequest:            problem.Invalid,
	http.StatusUnauthorized:          problem.Unauthenticated,
	http.StatusForbidden:             problem.Denied,
	http.StatusNotFound:              problem.NotFound,
	http.StatusMethodNotAllowed:      problem.Unsupported,
	http.StatusConflict:              problem.Conflict,
	http.StatusGone:                  problem.Gone,
	http.StatusRequestEntityTooLarge: problem.TooLarge,
	http.StatusUnsupportedMediaType:  problem.Unsupported,
}

// refusal turns an answer that is not 2xx into the problem that it tells of.
func (c *Client) refusal(res *http.Response) error {
	body, err := c.read(res, maxError)
	var w wireError
	if err == nil && isJSON(res.Header) && json.Unmarshal(body, &w) == nil && w.Schema == "error/v1" && knownKinds[w.Kind] && w.Message != "" {
		return &problem.Error{Kind: w.Kind, Rule: w.Rule, Message: w.Message, Facts: w.Facts, Try: w.Try}
	}
	kind := kindOfStatus[res.StatusCode]
	if kind == "" {
		kind = problem.Unavailable
	}
	p := problem.New(kind, "", "the server answered %s", statusText(res.StatusCode)).With("server", "%s", c.base)
	switch {
	case res.StatusCode/100 == 3:
		p = p.With("location", "%s", res.Header.Get("Location")).
			Suggest("use the address that the server names, if you trust it")
	case kind == problem.Unauthenticated:
		p = p.Suggest("set CHARTKEEP_TOKEN to a valid token")
	case kind == problem.NotFound:
		p = p.Suggest("check that the URL is that of a Chartkeep server, with its context path")
	}
	return p
}

func statusText(status int) string {
	if t := http.StatusText(status); t != "" {
		return strconv.Itoa(status) + " " + t
	}
	return strconv.Itoa(status)
}
