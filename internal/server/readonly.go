package server

import (
	"net/http"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// HeaderReadOnly is in every answer of a server that takes no writes: the rule
// that stopped it. Registry clients show the Warning beside it (OCI
// distribution, "Warnings").
const HeaderReadOnly = "Chartkeep-Read-Only"

// readingPosts are requests with a writing method that write nothing.
var readingPosts = map[string]bool{
	"/v2/token":                true,
	"/api/v1/advisories/match": true,
	"/ui/sign-in":              true, // a cookie comes; the event is kept for the trail, or nobody signs in
	"/ui/sign-out":             true, // a cookie goes
	"/ui/theme":                true, // a cookie comes
}

// readOnly marks the answers of a server that takes no writes, and returns the
// refusal of a request that would be one.
func (s *Server) readOnly(w http.ResponseWriter, r *http.Request, st *state) error {
	if s.cfg.ReadOnly == nil {
		return nil
	}
	reason := s.cfg.ReadOnly()
	if reason == nil {
		return nil
	}
	st.readOnly = reason
	w.Header().Set(HeaderReadOnly, reason.Rule)
	w.Header().Set("Warning", `299 - "`+reason.Message+`"`)
	if !isWrite(r.Method) || readingPosts[r.URL.Path] {
		return nil
	}
	return reason
}

// ReadOnlyReason is why this server takes no writes, or nil, for the pages that
// tell people.
func ReadOnlyReason(r *http.Request) *problem.Error { return stateOf(r).readOnly }
