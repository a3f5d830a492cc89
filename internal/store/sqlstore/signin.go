package sqlstore

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// SignIn implements release.SignIns. Cost: a few rows by key, and one for each
// group.
func (s *Store) SignIn(ctx context.Context, in *release.SignIn) (release.Account, error) {
	var got release.Account
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		var err error
		got, refusal, err = b.signIn(in)
		return err
	})
	if err != nil {
		return release.Account{}, err
	}
	return got, refusal
}

func (b *batch) signIn(in *release.SignIn) (a release.Account, refusal, err error) {
	a, _, err = scanAccount(b.w.row(b.ctx, selectAccount+" WHERE id = (SELECT account FROM account_link WHERE issuer = ? AND subject = ?)", in.Issuer, in.Subject))
	switch {
	case notFound(err) && len(in.Names) == 0:
		return a, release.RefuseUnlinked(in), nil
	case notFound(err):
		if a, refusal, err = b.makeLinked(in); refusal != nil || err != nil {
			return a, refusal, err
		}
	case err != nil:
		return a, nil, err
	case a.Disabled:
		return a, release.RefuseDisabled(a.Name), nil
	default:
		if _, err := b.w.exec(b.ctx, "UPDATE account_link SET used = ? WHERE issuer = ? AND subject = ?", millis(in.Now), in.Issuer, in.Subject); err != nil {
			return a, nil, err
		}
	}
	return a, nil, b.setGroups(a.ID, in.Groups, in.GroupsUntil)
}

// makeLinked makes the account of a person who comes for the first time, under
// the first name that nobody has.
func (b *batch) makeLinked(in *release.SignIn) (a release.Account, refusal, err error) {
	a = in.Account
	a.Created = in.Now
	var n int64
	for _, a.Name = range in.Names {
		n, err = b.w.exec(b.ctx, "INSERT INTO account (id, name, kind, password, disabled, created) VALUES (?, ?, ?, '', 0, ?) ON CONFLICT DO NOTHING",
			a.ID, a.Name, a.Kind, millis(in.Now))
		if err != nil || n == 1 {
			break
		}
	}
	if err != nil {
		return a, nil, err
	}
	if n == 0 {
		return a, problem.New(problem.Conflict, "account-exists", "there are accounts of all names that fit: %s and others", in.Names[0]).
			Suggest("an administrator makes an account, then: chartkeep user link NAME --subject %s", in.Subject), nil
	}
	return a, nil, b.link(a.ID, in.Issuer, in.Subject, in.Event, in.Now)
}

// link ties an account to a person who has none, and records it.
func (b *batch) link(account, issuer, subject string, ev audit.Event, now time.Time) error {
	if _, err := b.w.exec(b.ctx, "INSERT INTO account_link (issuer, subject, account, created, used) VALUES (?, ?, ?, ?, 0)", issuer, subject, account, millis(now)); err != nil {
		return err
	}
	ev.Name, ev.Outcome, ev.Time = audit.AccountLinked, allowed, now
	ev.Detail = map[string]string{"account": account, "issuer": issuer} // the person's name there is no fact for a log
	return b.record(ev)
}

func (b *batch) setGroups(account string, groups []string, until time.Time) error {
	if _, err := b.w.exec(b.ctx, "DELETE FROM account_group WHERE account = ?", account); err != nil {
		return err
	}
	for _, g := range groups {
		if _, err := b.w.exec(b.ctx, "INSERT INTO account_group (account, name, ends) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", account, g, millis(until)); err != nil {
			return err
		}
	}
	return nil
}

// LinkAccount implements release.SignIns.
func (s *Store) LinkAccount(ctx context.Context, accountID, issuer, subject string, ev audit.Event, now time.Time) error {
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		var name string
		err := b.w.row(b.ctx, "SELECT a.name FROM account_link l JOIN account a ON a.id = l.account WHERE l.issuer = ? AND l.subject = ?", issuer, subject).Scan(&name)
		if err == nil {
			refusal = problem.New(problem.Conflict, "account-linked", "this person of the identity provider is %s here", name).
				Suggest("chartkeep user unlink %s", name)
			return nil
		}
		if refusal = nil; !notFound(err) {
			return err
		}
		return b.link(accountID, issuer, subject, ev, now)
	})
	if err != nil {
		return err
	}
	return refusal
}

// UnlinkAccount implements release.SignIns.
func (s *Store) UnlinkAccount(ctx context.Context, accountID string, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		n, err := b.w.exec(b.ctx, "DELETE FROM account_link WHERE account = ?", accountID)
		if err != nil || n == 0 {
			return noneChanged(n, "linked account", accountID), err
		}
		return nil, b.setGroups(accountID, nil, now)
	})
}

// AccountLinks implements release.SignIns. Cost: all links.
func (s *Store) AccountLinks(ctx context.Context) ([]release.AccountLink, error) {
	var out []release.AccountLink
	err := s.query(ctx, "SELECT a.name, l.issuer, l.subject, l.created, l.used FROM account_link l JOIN account a ON a.id = l.account ORDER BY a.name, l.issuer, l.subject", func(r scanner) error {
		var l release.AccountLink
		var created, used int64
		err := r.Scan(&l.Account, &l.Issuer, &l.Subject, &created, &used)
		l.Created, l.Used = fromMillis(created), fromMillis(used)
		out = append(out, l)
		return err
	})
	return out, err
}
