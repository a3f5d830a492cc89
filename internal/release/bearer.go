package release

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
)

// noScope marks a bearer token that grants nothing.
var noScope = []access.Scope{{Type: "repository", Name: "-", Actions: []string{"pull"}}}

// MintBearer makes the short-lived token of the OCI token flow. It carries the
// part of the scopes that the caller has; asking for more is no error. The
// audience is what the client asked for, and is answered by this registry
// whatever it is.
func (s *Service) MintBearer(ctx context.Context, c Caller, scopes []access.Scope, audience string) (string, []access.Scope, time.Time, error) {
	granted := make([]access.Scope, 0, len(scopes))
	for _, sc := range scopes {
		if g := s.grantScope(ctx, c, sc); len(g.Actions) > 0 {
			granted = append(granted, g)
		}
	}
	id, _ := actor(c)
	b := access.Bearer{PrincipalID: id, TokenID: c.Principal.TokenID, Audience: s.name, Scope: granted, Expires: s.now().Add(access.BearerLife)}
	if len(granted) == 0 {
		b.Scope = noScope
	}
	token, err := access.Mint(s.secret, b)
	return token, granted, b.Expires, err
}

func (s *Service) grantScope(ctx context.Context, c Caller, sc access.Scope) access.Scope {
	out := access.Scope{Type: sc.Type, Name: sc.Name}
	if sc.Type == "registry" && sc.Name == "catalog" {
		out.Actions = sc.Actions // the listing shows what the caller may read
		return out
	}
	p, rest, err := s.find(ctx, c, sc.Name)
	if sc.Type != "repository" || err != nil {
		return out
	}
	for _, word := range []string{"pull", "push", "delete"} {
		action, _ := access.ScopeAction(word)
		if sc.Has(word) && s.could(c, access.Request{Action: action, Project: p.Name, ProjectPublic: p.Public, Chart: rest}) {
			out.Actions = append(out.Actions, word)
		}
	}
	return out
}
