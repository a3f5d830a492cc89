package release

import (
	"context"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Holder is a grant with who holds it: an account, a group of the identity
// provider (its name begins with GroupPrefix), or a token.
type Holder struct {
	Name     string // of the account, of the group with its prefix, or of the token
	Disabled bool   // the account may do nothing any more
	Grant    access.Grant
	Given    time.Time
	Token    *Token // without its grants; nil for an account and a group
}

// HolderFilter selects a page of holders, by name and the grant's id. What has
// ended, such as a token that was revoked, is left out; a grant that expired is
// not.
type HolderFilter struct {
	Project   string // whose grants reach it; "" for those of all
	Tokens    bool   // those of tokens, else those of accounts and groups
	AfterName string // exclusive, with AfterID
	AfterID   string
	Limit     int
}

// Holdings lists who holds what.
type Holdings interface {
	// Holders lists a page of holders. Cost: the grants that reach the project,
	// by index, and a sort of them: of a million grants, 2 ms for a project with 20
	// and 0.1 s for one with ten thousand. Those of all projects are a scan: 3 s
	// a page at a million.
	Holders(ctx context.Context, f HolderFilter, now time.Time) ([]Holder, error)
}

// MaxHolders bounds a page of holders.
const MaxHolders = 500

// Holders lists who may do something in a project, for whoever may read its
// audit trail, where each grant stands with who gave it; those of the whole
// server ("") for administrators.
func (s *Service) Holders(ctx context.Context, c Caller, f HolderFilter) ([]Holder, error) {
	if f.Project == "" {
		if err := s.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
			return nil, err
		}
	} else if _, rest, err := s.project(ctx, c, f.Project, access.AuditRead, false); err != nil {
		return nil, err
	} else if rest != "" {
		return nil, s.noSuchProject(c, f.Project)
	}
	if f.Limit < 1 || f.Limit > MaxHolders {
		return nil, problem.New(problem.Invalid, "limit", "a page has between 1 and %d holders, not %d", MaxHolders, f.Limit)
	}
	return s.store.Holders(ctx, f, s.now())
}

// ProjectPatterns are the patterns of grants that reach a project.
func ProjectPatterns(project string) []string {
	out := []string{"*", project}
	for i := range len(project) {
		if project[i] == '/' {
			out = append(out, project[:i]+"/*")
		}
	}
	return out
}

// Group is the name of the group that holds the grant, "" for none.
func (h *Holder) Group() string {
	name, ok := strings.CutPrefix(h.Name, GroupPrefix)
	if !ok || h.Token != nil {
		return ""
	}
	return name
}
