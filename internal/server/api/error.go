package api

import (
	"net/http"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// errorAnswer is the form of every error.
type errorAnswer struct {
	Schema    string         `json:"schema"`
	Kind      problem.Kind   `json:"kind"`
	Rule      string         `json:"rule,omitempty"`
	Message   string         `json:"message"`
	Facts     []problem.Fact `json:"facts,omitempty"`
	Try       string         `json:"try,omitempty"`
	RequestID string         `json:"request_id"`
}

// WriteError is the door's server.ErrorWriter.
func WriteError(w http.ResponseWriter, r *http.Request, status int, p *problem.Error) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", server.BasicChallenge)
	}
	// An error to write has nobody to go to: the client is gone.
	_ = server.WriteJSON(w, status, errorAnswer{
		Schema:    "error/v1",
		Kind:      p.Kind,
		Rule:      p.Rule,
		Message:   p.Message,
		Facts:     p.Facts,
		Try:       p.Try,
		RequestID: server.RequestID(r),
	})
}
