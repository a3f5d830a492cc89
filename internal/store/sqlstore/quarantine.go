package sqlstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// server is who does what has come due.
var server = audit.Actor{Kind: access.KindSystem, ID: "server", Name: "server"}

// Quarantine implements release.Protection.
func (s *Store) Quarantine(ctx context.Context, ch *release.QuarantineChange) (release.Release, error) {
	var out release.Release
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = release.Release{}, nil
		r, err := b.releaseWhere("r.id = ?", ch.ReleaseID)
		if err != nil {
			return err
		}
		if _, refusal, err = b.standing(r.ProjectID); err != nil || refusal != nil {
			return err
		}
		person, second, err := b.second(ch.Event.Actor)
		if err != nil {
			return err
		}
		last, err := b.pastQuarantine(r.ID)
		if err != nil {
			return err
		}
		ev := ch.Event
		ev.Resource, ev.Reason, ev.Action = resource(&r), ch.Text, ch.Event.Action
		if refusal = release.CheckQuarantine(&r, &last, ch, person, &second); refusal != nil {
			if problem.KindOf(refusal) != problem.Denied {
				return nil // nothing was written
			}
			ev.Name, ev.Outcome = audit.AccessDenied, denied(refusal)
			return b.record(ev)
		}
		switch ch.Action {
		case tlog.QuarantineSet:
			err = b.setQuarantine(&r, ch, person, ev)
		case tlog.QuarantineConfirmed:
			err = b.confirmQuarantine(&r, ch, &second, ev)
		default:
			ev.Name = audit.QuarantineLifted
			err = b.endQuarantine(&r, tlog.QuarantineLifted, ch.Text, ch.Now, ev)
		}
		if err != nil {
			return err
		}
		out, err = b.releaseWhere("r.id = ?", ch.ReleaseID)
		return err
	})
	if err != nil {
		return release.Release{}, err
	}
	return out, refusal
}

// second is what is known of who acts: the account behind it, and what a
// second person is judged by.
func (b *batch) second(a audit.Actor) (person string, p release.SecondPerson, err error) {
	if err := b.flush(); err != nil { // accounts and tokens of this batch
		return "", p, err
	}
	person = a.ID
	if a.TokenID != "" {
		var account, by string
		err := b.w.row(b.ctx, "SELECT account, made_by FROM token WHERE id = ?", a.TokenID).Scan(&account, &by)
		if err != nil && !notFound(err) {
			return "", p, err
		}
		p.TokenBy = strings.Fields(by)
		if a.ID == a.TokenID && account != "" {
			person = account // a project's token stands for nobody; somebody made it
		}
	}
	p.Account = person
	var created, passwordAt int64
	var by, passwordBy string
	err = b.w.row(b.ctx, "SELECT created, made_by, password_by, password_at FROM account WHERE id = ?", person).Scan(&created, &by, &passwordBy, &passwordAt)
	if notFound(err) {
		err = nil
	}
	p.MadeBy, p.PasswordBy = strings.Fields(by), strings.Fields(passwordBy)
	p.Created, p.PasswordAt = fromMillis(created), fromMillis(passwordAt)
	return person, p, err
}

// hand is whose doing it is: the actor's, and that of whoever made the token with
// which it came. So nobody passes for two people by making a token for another
// account, and with that token a second one. Account ids, one space between.
func (b *batch) hand(a audit.Actor) (string, error) {
	if a.TokenID == "" {
		return a.ID, nil
	}
	var by string
	err := b.w.row(b.ctx, "SELECT made_by FROM token WHERE id = ?", a.TokenID).Scan(&by)
	if err != nil && !notFound(err) {
		return "", err
	}
	hands := []string{a.ID}
	for _, id := range strings.Fields(by) {
		if !slices.Contains(hands, id) {
			hands = append(hands, id)
		}
	}
	return strings.Join(hands, " "), nil
}

// pastQuarantine is the last quarantine of a release, if it is over.
func (b *batch) pastQuarantine(id int64) (release.PastQuarantine, error) {
	var last release.PastQuarantine
	err := b.w.row(b.ctx, "SELECT ending, person FROM quarantine WHERE release = ? ORDER BY id DESC LIMIT 1", id).Scan(&last.Ending, &last.Person)
	if notFound(err) {
		err = nil
	}
	return last, err
}

func (b *batch) quarantineLeaf(r *release.Release, action, reason, text string, actor audit.Actor, at time.Time) (int64, error) {
	return b.appendLeaf(tlog.Quarantine{
		Index: r.LogIndex, Project: r.Project, Chart: r.Chart, Version: r.Version,
		Action: action, Reason: reason, Text: text, Actor: identity(actor), Time: at,
	})
}

func (b *batch) setQuarantine(r *release.Release, ch *release.QuarantineChange, person string, ev audit.Event) error {
	at := b.time(ch.Now)
	index, err := b.quarantineLeaf(r, tlog.QuarantineSet, ch.Reason, ch.Text, ev.Actor, at)
	if err != nil {
		return err
	}
	lapses := at.Add(release.QuarantineLife)
	if _, err := b.w.exec(b.ctx, "INSERT INTO quarantine (release, before, open, ending, reason, text, set_by, person, time, idx, lapses, due, confirmed_by, confirmed, ended_by, ended, ended_text) "+
		"VALUES (?, ?, 1, '', ?, ?, ?, ?, ?, ?, ?, ?, '', 0, '', 0, '')",
		// The time is not that of the leaf, whose seconds are whole: who was
		// here before it counts by the millisecond.
		r.ID, string(r.State), ch.Reason, ch.Text, ev.Actor.ID, person, millis(b.clockOr(ch.Now)), index, millis(lapses), millis(at.Add(release.QuarantineLife/2))); err != nil {
		return err
	}
	if err := b.withhold(r, release.Quarantined); err != nil {
		return err
	}
	ev.Name, ev.Outcome = audit.QuarantineSet, allowed
	ev.Detail = map[string]string{"reason": ch.Reason, "lapses": lapses.Format(time.RFC3339)}
	return b.record(ev)
}

func (b *batch) confirmQuarantine(r *release.Release, ch *release.QuarantineChange, second *release.SecondPerson, ev audit.Event) error {
	at := b.time(ch.Now)
	if _, err := b.quarantineLeaf(r, tlog.QuarantineConfirmed, r.Quarantine.Reason, ch.Text, ev.Actor, at); err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE quarantine SET confirmed = ?, confirmed_by = ?, due = 0 WHERE release = ? AND open = 1", millis(at), ev.Actor.ID, r.ID); err != nil {
		return err
	}
	b.restated = true
	ev.Name, ev.Outcome = audit.QuarantineConfirmed, allowed
	ev.Detail = secondDetail(r.Quarantine.Person, second)
	return b.record(ev)
}

// secondDetail says in the audit trail what makes a second person weak: an
// account that the first one made.
func secondDetail(first string, second *release.SecondPerson) map[string]string {
	detail := map[string]string{"first": first}
	if slices.Contains(second.MadeBy, first) {
		detail["account-made-by-first"] = second.Created.Format(time.RFC3339)
	}
	return detail
}

// endQuarantine serves a release again.
func (b *batch) endQuarantine(r *release.Release, ending, text string, now time.Time, ev audit.Event) error {
	at := b.time(now)
	if _, err := b.quarantineLeaf(r, ending, r.Quarantine.Reason, text, ev.Actor, at); err != nil {
		return err
	}
	if err := b.closeQuarantine(r, ending, text, ev.Actor.ID, at); err != nil {
		return err
	}
	if err := b.serve(r, r.Quarantine.Before); err != nil {
		return err
	}
	ev.Outcome, ev.Resource = allowed, resource(r)
	ev.Detail = map[string]string{"first": r.Quarantine.Person}
	return b.record(ev)
}

func (b *batch) closeQuarantine(r *release.Release, ending, text, by string, at time.Time) error {
	_, err := b.w.exec(b.ctx, "UPDATE quarantine SET open = 0, due = 0, ending = ?, ended = ?, ended_by = ?, ended_text = ? WHERE release = ? AND open = 1",
		ending, millis(at), by, text, r.ID)
	return err
}

// tagWithheld is tag.hidden of a release that nobody gets.
const tagWithheld = 3

// withhold takes a release out of every list and look-up: see table withheld.
// The blobs of a release are in no other release of its repository: the archive
// and the config hold the version, and a provenance names the archive.
func (b *batch) withhold(r *release.Release, state release.State) error {
	repo, err := b.restate(r, state)
	if err != nil {
		return err
	}
	for _, digest := range []string{r.Manifest, r.Archive, r.Config, r.Provenance} {
		if digest == "" {
			continue
		}
		if _, err := b.w.exec(b.ctx, "INSERT INTO withheld (repository, digest, release) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", repo, digest, r.ID); err != nil {
			return err
		}
	}
	_, err = b.w.exec(b.ctx, "UPDATE tag SET hidden = ? WHERE repository = ? AND name = ? AND release = ?", tagWithheld, repo, r.Tag, r.ID)
	return err
}

// serve undoes withhold.
func (b *batch) serve(r *release.Release, state release.State) error {
	repo, err := b.restate(r, state)
	if err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "DELETE FROM withheld WHERE repository = ? AND release = ?", repo, r.ID); err != nil {
		return err
	}
	return b.setHidden(repo, r, map[release.State]int{release.Yanked: 1, release.Staged: 2}[state])
}

// restate gives a release another state, and its project a new generation.
func (b *batch) restate(r *release.Release, state release.State) (repo int64, err error) {
	p, err := b.project(r.ProjectID)
	if err != nil {
		return 0, err
	}
	b.change(p)
	b.restated = true
	if repo, err = b.repository(r.ProjectID, r.Repository()); err != nil {
		return 0, err
	}
	_, err = b.w.exec(b.ctx, "UPDATE release SET state = ?, generation = ? WHERE id = ?", string(state), p.Generation, r.ID)
	return repo, err
}

// Withheld implements release.Protection.
func (s *Store) Withheld(ctx context.Context) ([]release.Release, error) {
	var out []release.Release
	err := s.query(ctx, selectRelease+"(r.state = 'quarantined' OR r.state = 'tombstoned') ORDER BY r.id", func(row scanner) error {
		r, err := scanRelease(row)
		out = append(out, r)
		return err
	})
	return out, err
}

// ReleasesWith implements release.Protection.
func (s *Store) ReleasesWith(ctx context.Context, digest string, limit int) ([]release.Release, error) {
	var out []release.Release
	err := s.query(ctx, selectRelease+"(r.archive = ? OR r.manifest = ?) ORDER BY r.id LIMIT ?", func(row scanner) error {
		r, err := scanRelease(row)
		out = append(out, r)
		return err
	}, digest, digest, limit)
	return out, err
}

// CheckWithheld implements release.Protection.
func (s *Store) CheckWithheld(ctx context.Context, repository, ref string) error {
	query := "SELECT t.release FROM repository o JOIN tag t ON t.repository = o.id WHERE o.name = ? AND t.name = ? AND t.hidden = 3"
	if strings.Contains(ref, ":") {
		query = "SELECT w.release FROM repository o JOIN withheld w ON w.repository = o.id WHERE o.name = ? AND w.digest = ? LIMIT 1"
	}
	var id int64
	err := s.queryRow(ctx, query, repository, ref).Scan(&id)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fault("read what is withheld", err)
	}
	r, err := s.releaseWhere(ctx, ref, "r.id = ?", id)
	if err != nil {
		return err
	}
	if !r.State.Withheld() {
		return nil // it was lifted between the two looks
	}
	return release.RefuseWithheld(&r)
}
