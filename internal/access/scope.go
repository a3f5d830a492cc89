package access

import (
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Bounds on what a client may ask a token for. A client names the repositories
// of one operation: two for a mount, a few for a copy.
const (
	maxScopeText    = 4096 // bytes of a scope parameter
	maxScopes       = 32
	maxScopeActions = 8
	maxScopeWord    = 32 // bytes of a type or an action
)

// Scope is one resource with the actions asked for or granted on it, as in the
// "Token Scope Documentation" of the Distribution project.
type Scope struct {
	Type    string // "repository", "registry"; others are kept, and granted by nobody
	Name    string // "team-a/web", or "catalog" of type registry
	Actions []string
}

// Has reports whether the scope has the action, by name or through "*".
func (s Scope) Has(action string) bool {
	return slices.Contains(s.Actions, action) || slices.Contains(s.Actions, "*")
}

// String is the form that ParseScope reads.
func (s Scope) String() string {
	return s.Type + ":" + s.Name + ":" + strings.Join(s.Actions, ",")
}

func (s Scope) equal(other Scope) bool {
	return s.Type == other.Type && s.Name == other.Name && slices.Equal(s.Actions, other.Actions)
}

// ScopeAction translates an action of a repository scope: pull, push, delete.
// Push is ChartPush; what a manifest that is no release needs beyond it is
// decided when the manifest is known.
func ScopeAction(action string) (a Action, ok bool) {
	switch action {
	case "pull":
		return ChartPull, true
	case "push":
		return ChartPush, true
	case "delete":
		return ArtifactDelete, true
	}
	return "", false
}

// ParseScope reads the scope parameter of a token request: resource scopes
// separated by single spaces, such as "repository:team-a/web:pull,push". The
// empty text is no scope. Actions that are named twice count once. A class after
// the type, as in "repository(plugin)", is accepted and dropped; the
// specification has deprecated it. Problems are of kind invalid, or too-large.
func ParseScope(s string) ([]Scope, error) {
	if len(s) > maxScopeText {
		return nil, problem.New(problem.TooLarge, "scope-length", "the scope is longer than %d bytes", maxScopeText).
			With("length", "%d", len(s))
	}
	s = strings.Trim(s, " ")
	if s == "" {
		return nil, nil
	}
	var out []Scope
	for part := range strings.SplitSeq(s, " ") {
		if part == "" {
			continue // a second space is a slip, not a resource
		}
		if len(out) == maxScopes {
			return nil, problem.New(problem.TooLarge, "scope-count", "the scope names more than %d resources", maxScopes)
		}
		scope, ok := parseResourceScope(part)
		if !ok {
			return nil, problem.New(problem.Invalid, "scope-form", "%q is not a scope", clip(part)).
				With("form", "repository:team-a/web:pull,push")
		}
		out = append(out, scope)
	}
	return out, nil
}

// parseResourceScope takes the type up to the first colon and the actions after
// the last one: a name may have a colon itself, before a port.
func parseResourceScope(s string) (Scope, bool) {
	first, last := strings.IndexByte(s, ':'), strings.LastIndexByte(s, ':')
	if first < 0 || first == last {
		return Scope{}, false
	}
	typ, name, actions := s[:first], s[first+1:last], s[last+1:]
	if before, class, ok := strings.Cut(typ, "("); ok {
		class, closed := strings.CutSuffix(class, ")")
		if !closed || !scopeWord(class) {
			return Scope{}, false
		}
		typ = before
	}
	if !scopeWord(typ) || !scopeName(name) {
		return Scope{}, false
	}
	scope := Scope{Type: typ, Name: name}
	if actions == "" {
		return scope, true // the grammar allows it: nothing is asked for
	}
	for a := range strings.SplitSeq(actions, ",") {
		if a != "*" && !scopeWord(a) {
			return Scope{}, false
		}
		if !slices.Contains(scope.Actions, a) {
			scope.Actions = append(scope.Actions, a)
		}
		if len(scope.Actions) > maxScopeActions {
			return Scope{}, false
		}
	}
	return scope, true
}

func scopeWord(s string) bool {
	if s == "" || len(s) > maxScopeWord {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}

// scopeName checks letters and length only: whether the repository exists, and
// whether its name is well formed, is for the door that serves it.
func scopeName(s string) bool {
	if s == "" || len(s) > maxPattern {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && !strings.ContainsRune("._-/:", rune(c)) {
			return false
		}
	}
	return true
}
