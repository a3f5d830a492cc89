package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// changeIdentity runs one change of accounts, grants or tokens with its audit
// event. change returns a refusal when there is nothing to change.
func (s *Store) changeIdentity(ctx context.Context, ev audit.Event, now time.Time, change func(*batch) (refusal, err error)) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		var err error
		if refusal, err = change(b); err != nil || refusal != nil {
			return err
		}
		ev.Outcome, ev.Time = allowed, now
		return b.record(ev)
	})
	if err != nil {
		return err
	}
	return refusal
}

// CreateAccount implements release.Identities.
func (s *Store) CreateAccount(ctx context.Context, a release.Account, passwordHash string, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		hand, err := b.hand(ev.Actor)
		if err != nil {
			return nil, err
		}
		n, err := b.w.exec(b.ctx, "INSERT INTO account (id, name, kind, password, disabled, created, made_by, password_by, password_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			a.ID, a.Name, a.Kind, passwordHash, flag(a.Disabled), millis(now), hand, hand, millis(now))
		if err == nil && n == 0 {
			return problem.New(problem.Conflict, "account-exists", "there is an account %s already", a.Name).Suggest("chartkeep user list"), nil
		}
		return nil, err
	})
}

// SetPassword implements release.Identities.
func (s *Store) SetPassword(ctx context.Context, accountID, passwordHash string, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		hand, err := b.hand(ev.Actor)
		if err != nil {
			return nil, err
		}
		n, err := b.w.exec(b.ctx, "UPDATE account SET password = ?, password_by = ?, password_at = ? WHERE id = ?", passwordHash, hand, millis(now), accountID)
		return noneChanged(n, "account", accountID), err
	})
}

// SetAccountDisabled implements release.Identities.
func (s *Store) SetAccountDisabled(ctx context.Context, accountID string, disabled bool, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		n, err := b.w.exec(b.ctx, "UPDATE account SET disabled = ? WHERE id = ?", flag(disabled), accountID)
		return noneChanged(n, "account", accountID), err
	})
}

func noneChanged(n int64, what, id string) error {
	if n > 0 {
		return nil
	}
	return problem.New(problem.NotFound, what, "there is no %s %s", what, id)
}

const selectAccount = "SELECT id, name, kind, disabled, created, password FROM account"

func scanAccount(row scanner) (a release.Account, password string, err error) {
	var disabled, created int64
	err = row.Scan(&a.ID, &a.Name, &a.Kind, &disabled, &created, &password)
	a.Disabled, a.Created = disabled != 0, fromMillis(created)
	return a, password, err
}

// AccountByName implements release.Identities. One look-up by key.
func (s *Store) AccountByName(ctx context.Context, name string) (release.Account, string, error) {
	a, password, err := scanAccount(s.queryRow(ctx, selectAccount+" WHERE name = ?", name))
	if notFound(err) {
		return a, "", noneChanged(0, "account", name)
	}
	return a, password, fault("read account", err)
}

// AccountByID implements release.Identities. One look-up by key.
func (s *Store) AccountByID(ctx context.Context, id string) (release.Account, error) {
	a, _, err := scanAccount(s.queryRow(ctx, selectAccount+" WHERE id = ?", id))
	if notFound(err) {
		return a, noneChanged(0, "account", id)
	}
	return a, fault("read account", err)
}

// Accounts implements release.Identities. Cost: all accounts.
func (s *Store) Accounts(ctx context.Context) ([]release.Account, error) {
	var out []release.Account
	err := s.query(ctx, selectAccount+" ORDER BY name", func(r scanner) error {
		a, _, err := scanAccount(r)
		out = append(out, a)
		return err
	})
	return out, err
}

func (b *batch) insertGrant(subject string, g *access.Grant, now time.Time) {
	b.insert("INSERT INTO access_grant (id, subject, role, project, chart, versions, expires, created) VALUES",
		g.ID, subject, string(g.Role), g.Project, g.Chart, string(g.Versions), millis(g.Expires), millis(now))
}

// AddGrant implements release.Identities.
func (s *Store) AddGrant(ctx context.Context, accountID string, g access.Grant, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		b.insertGrant(accountID, &g, now)
		return nil, nil
	})
}

// RevokeGrant implements release.Identities.
func (s *Store) RevokeGrant(ctx context.Context, id string, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		n, err := b.w.exec(b.ctx, "DELETE FROM access_grant WHERE id = ?", id)
		return noneChanged(n, "grant", id), err
	})
}

const grantColumns = "g.id, g.role, g.project, g.chart, g.versions, g.expires"

func scanGrant(row scanner, before ...any) (access.Grant, error) {
	var g access.Grant
	var role, versions string
	var expires int64
	err := row.Scan(append(before, &g.ID, &role, &g.Project, &g.Chart, &versions, &expires)...)
	g.Role, g.Versions, g.Expires = access.Role(role), access.VersionKind(versions), fromMillis(expires)
	return g, err
}

// GrantsOf implements release.Identities. Cost: the account's grants and groups,
// or all grants.
func (s *Store) GrantsOf(ctx context.Context, accountID string) ([]release.AccountGrant, error) {
	query := "SELECT COALESCE(a.name, g.subject), " + grantColumns + " FROM access_grant g LEFT JOIN account a ON a.id = g.subject WHERE "
	var args []any
	if accountID == "" {
		query += "(a.id IS NOT NULL OR g.subject LIKE '" + release.GroupPrefix + "%')" // the others are of tokens
	} else {
		query += "g.subject = ? OR g.subject IN (SELECT '" + release.GroupPrefix + "' || name FROM account_group WHERE account = ? AND ends > ?)"
		args = append(args, accountID, accountID, millis(s.now()))
	}
	var out []release.AccountGrant
	err := s.query(ctx, query+" ORDER BY 1, g.created, g.id", func(r scanner) error {
		var ag release.AccountGrant
		var err error
		ag.Grant, err = scanGrant(r, &ag.Account)
		out = append(out, ag)
		return err
	}, args...)
	return out, err
}

func (s *Store) grantsOfSubject(ctx context.Context, subject string) ([]access.Grant, error) {
	var out []access.Grant
	err := s.query(s.quick(ctx), "SELECT "+grantColumns+" FROM access_grant g WHERE g.subject = ? ORDER BY g.created, g.id", func(r scanner) error {
		g, err := scanGrant(r)
		out = append(out, g)
		return err
	}, subject)
	return out, err
}

// CreateToken implements release.Identities.
func (s *Store) CreateToken(ctx context.Context, t release.Token, hash [32]byte, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		hand, err := b.hand(ev.Actor)
		if err == nil {
			err = b.insertToken(&t, hash, now)
		}
		if err == nil {
			_, err = b.w.exec(b.ctx, "UPDATE token SET made_by = ? WHERE id = ?", hand, t.ID)
		}
		return nil, err
	})
}

func (b *batch) insertToken(t *release.Token, hash [32]byte, now time.Time) error {
	if _, err := b.w.exec(b.ctx, "INSERT INTO token (id, hash, account, personal, name, created, expires, revoked, last_used) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)",
		t.ID, hash[:], t.AccountID, flag(t.Personal), t.Name, millis(now), millis(t.Expires)); err != nil {
		return err
	}
	for i := range t.Grants {
		b.insertGrant(t.ID, &t.Grants[i], now)
	}
	return nil
}

// RevokeToken implements release.Identities.
func (s *Store) RevokeToken(ctx context.Context, id string, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		n, err := b.w.exec(b.ctx, "UPDATE token SET revoked = ? WHERE id = ? AND revoked = 0", millis(now), id)
		return noneChanged(n, "valid token", id), err
	})
}

const selectToken = "SELECT t.id, t.name, t.personal, t.created, t.expires, t.revoked, t.last_used, t.hash, a.id, a.name, a.kind, a.disabled, " +
	"COALESCE(i.publisher, ''), COALESCE(p.name, ''), COALESCE(i.issuer, ''), COALESCE(i.subject, ''), COALESCE(i.source, ''), COALESCE(i.revision, '') " +
	"FROM token t JOIN account a ON a.id = t.account LEFT JOIN pipeline_token i ON i.token = t.id LEFT JOIN publisher p ON p.id = i.publisher"

// tokenRow is a row of selectToken.
type tokenRow struct {
	release.Token
	hash     [32]byte
	account  release.Account
	pipeline *release.PipelineIdentity
}

func scanToken(row scanner) (t tokenRow, err error) {
	var personal, created, expires, revoked, used, disabled int64
	var h []byte
	var pl [6]string
	a := &t.account
	err = row.Scan(&t.ID, &t.Name, &personal, &created, &expires, &revoked, &used, &h, &a.ID, &a.Name, &a.Kind, &disabled,
		&pl[0], &pl[1], &pl[2], &pl[3], &pl[4], &pl[5])
	copy(t.hash[:], h)
	a.Disabled = disabled != 0
	t.Account, t.AccountID, t.Personal = a.Name, a.ID, personal != 0
	t.Created, t.Expires, t.Revoked, t.LastUsed = fromMillis(created), fromMillis(expires), fromMillis(revoked), fromMillis(used)
	t.pipeline = pipelineOf(pl[0], pl[1], pl[2], pl[3], pl[4], pl[5])
	return t, err
}

// TokenByID implements release.Identities. Four look-ups by key.
func (s *Store) TokenByID(ctx context.Context, id string) (release.Credential, error) {
	t, err := scanToken(s.queryRow(ctx, selectToken+" WHERE t.id = ?", id))
	if notFound(err) {
		return release.Credential{}, noneChanged(0, "token", id)
	}
	if err != nil {
		return release.Credential{}, fault("read token", err)
	}
	c := release.Credential{TokenID: t.ID, Name: t.Name, Personal: t.Personal, Hash: t.hash, Expires: t.Expires, Revoked: t.Revoked, Account: t.account, Pipeline: t.pipeline}
	c.Grants, err = s.grantsOfSubject(ctx, id)
	return c, err
}

// Tokens implements release.Identities. Cost: the tokens, and their grants.
func (s *Store) Tokens(ctx context.Context, accountID string) ([]release.Token, error) {
	query := selectToken + " WHERE t.id NOT LIKE 'pub-%'"
	var args []any
	if accountID != "" {
		query += " AND t.account = ?"
		args = append(args, accountID)
	}
	var out []release.Token
	err := s.query(ctx, query+" ORDER BY a.name, t.created, t.id", func(r scanner) error {
		t, err := scanToken(r)
		out = append(out, t.Token)
		return err
	}, args...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Grants, err = s.grantsOfSubject(ctx, out[i].ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TouchTokens implements release.Identities. For each token one row by key, and
// one for each address.
func (s *Store) TouchTokens(ctx context.Context, used map[string]release.TokenUse, now time.Time) error {
	return s.write(ctx, true, func(b *batch) error {
		for _, id := range slices.Sorted(maps.Keys(used)) {
			u := used[id]
			if _, err := b.w.exec(b.ctx, "UPDATE token SET last_used = ? WHERE id = ? AND last_used < ?", millis(u.Last), id, millis(u.Last)); err != nil {
				return err
			}
			for _, from := range u.From {
				if err := b.usedFrom(id, from.Masked().String(), u.Last, now); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// maxTokenSources bounds the addresses that are kept of a token. The one that
// was not used for longest goes, so it is told again when it comes back.
const maxTokenSources = 64

// usedFrom notes an address of a token, and records it when it is a new one of
// a token that was used before.
func (b *batch) usedFrom(id, network string, at, now time.Time) error {
	n, err := b.w.exec(b.ctx, "UPDATE token_source SET last = ? WHERE token = ? AND network = ?", millis(at), id, network)
	if err != nil || n > 0 {
		return err
	}
	var account string
	var personal bool
	err = b.w.row(b.ctx, "SELECT account, personal = 1 FROM token WHERE id = ? AND ended = 0", id).Scan(&account, &personal)
	if notFound(err) {
		return nil // removed since, or a pipeline's
	}
	if err != nil {
		return err
	}
	var known int
	if err := b.w.row(b.ctx, "SELECT COUNT(*) FROM token_source WHERE token = ?", id).Scan(&known); err != nil {
		return err
	}
	if known >= maxTokenSources {
		if _, err := b.w.exec(b.ctx, "DELETE FROM token_source WHERE token = ? AND network = (SELECT network FROM token_source WHERE token = ? ORDER BY last, network LIMIT 1)", id, id); err != nil {
			return err
		}
	}
	if _, err := b.w.exec(b.ctx, "INSERT INTO token_source (token, network, first, last) VALUES (?, ?, ?, ?)", id, network, millis(at), millis(at)); err != nil {
		return err
	}
	if known == 0 {
		return nil
	}
	ev := tokenEvent(audit.TokenNewSource, id, account, personal, now)
	ev.Source.IP = network
	return b.record(ev)
}

// tokenEvent is an event of what a token did or became by itself.
func tokenEvent(name audit.Name, id, account string, personal bool, now time.Time) audit.Event {
	actor := audit.Actor{Kind: access.KindToken, ID: id, TokenID: id}
	if personal {
		actor.ID = account
	}
	return audit.Event{Time: now, Name: name, Actor: actor, Door: audit.DoorServer, Outcome: allowed, Detail: map[string]string{"token": id, "account": account}}
}

// endedTokens are told at once, so that a million that end together keep nobody
// waiting.
const endedTokens = 500

// EndTokens implements release.Identities. It looks before it writes, by an
// index of the tokens that have not ended: one probe when none has.
func (s *Store) EndTokens(ctx context.Context, now time.Time) error {
	var id string
	err := s.queryRow(ctx, "SELECT id FROM token WHERE ended = 0 AND expires <= ? LIMIT 1", millis(now)).Scan(&id)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fault("read ended tokens", err)
	}
	type ended struct {
		id, account       string
		personal, revoked bool
		expires           int64
	}
	return s.write(ctx, true, func(b *batch) error {
		var all []ended
		err := b.each(fmt.Sprintf("SELECT id, account, personal = 1, revoked <> 0, expires FROM token WHERE ended = 0 AND expires <= ? ORDER BY expires, id LIMIT %d", endedTokens), func(r scanner) error {
			var e ended
			err := r.Scan(&e.id, &e.account, &e.personal, &e.revoked, &e.expires)
			all = append(all, e)
			return err
		}, millis(now))
		if err != nil {
			return err
		}
		for _, e := range all {
			if _, err := b.w.exec(b.ctx, "UPDATE token SET ended = expires WHERE id = ?", e.id); err != nil {
				return err
			}
			if _, err := b.w.exec(b.ctx, "DELETE FROM token_source WHERE token = ?", e.id); err != nil {
				return err
			}
			if e.revoked {
				continue // its end was told then
			}
			ev := tokenEvent(audit.TokenExpired, e.id, e.account, e.personal, now)
			ev.Detail["expired"] = fromMillis(e.expires).UTC().Format(time.RFC3339)
			if err := b.record(ev); err != nil {
				return err
			}
		}
		return nil
	})
}
