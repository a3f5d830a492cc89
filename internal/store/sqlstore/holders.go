package sqlstore

import (
	"context"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/release"
)

// Holders implements release.Holdings. Cost: the grants that reach the project,
// by index, or all; two look-ups by key for each, and a sort of these.
func (s *Store) Holders(ctx context.Context, f release.HolderFilter, now time.Time) ([]release.Holder, error) {
	name, join, where := "COALESCE(a.name, g.subject)", "LEFT JOIN account a ON a.id = g.subject", "(a.id IS NOT NULL OR g.subject LIKE '"+release.GroupPrefix+"%')"
	columns := "COALESCE(a.disabled, 0), '', '', '', 0, 0, 0, 0"
	var args []any
	if f.Tokens {
		// The short tokens of pipelines rest on a binding, which stands elsewhere.
		name, join = "t.name", "JOIN token t ON t.id = g.subject JOIN account a ON a.id = t.account LEFT JOIN pipeline_token i ON i.token = t.id"
		columns = "a.disabled, t.id, a.id, a.name, t.personal, t.created, t.expires, t.last_used"
		where, args = "i.token IS NULL AND t.revoked = 0 AND t.expires > ?", []any{millis(now)}
	}
	if f.Project != "" {
		patterns := release.ProjectPatterns(f.Project)
		where += " AND g.project IN (?" + strings.Repeat(", ?", len(patterns)-1) + ")"
		for _, p := range patterns {
			args = append(args, p)
		}
	}
	if f.AfterID != "" {
		where += " AND (" + name + " > ? OR " + name + " = ? AND g.id > ?)"
		args = append(args, f.AfterName, f.AfterName, f.AfterID)
	}
	var out []release.Holder
	err := s.query(ctx, "SELECT "+name+", g.created, "+columns+", "+grantColumns+" FROM access_grant g "+join+" WHERE "+where+" ORDER BY 1, g.id LIMIT ?", func(r scanner) error {
		var h release.Holder
		var t release.Token
		var given, disabled, personal, created, expires, used int64
		var err error
		h.Grant, err = scanGrant(r, &h.Name, &given, &disabled, &t.ID, &t.AccountID, &t.Account, &personal, &created, &expires, &used)
		h.Given, h.Disabled = fromMillis(given), disabled != 0
		if t.ID != "" {
			t.Name, t.Personal, t.Created, t.Expires, t.LastUsed = h.Name, personal != 0, fromMillis(created), fromMillis(expires), fromMillis(used)
			h.Token = &t
		}
		out = append(out, h)
		return err
	}, append(args, f.Limit)...)
	return out, err
}
