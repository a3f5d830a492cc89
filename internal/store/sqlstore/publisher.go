package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// AddPublisher implements release.Publishers. A binding also stands among the
// tokens, as one that no secret leads to: whoever joins the name of an actor
// looks there, and at accounts.
func (s *Store) AddPublisher(ctx context.Context, p release.Publisher, ev audit.Event, now time.Time) error {
	doc, err := json.Marshal(p.Publisher)
	if err != nil {
		return fmt.Errorf("encode publisher: %w", err)
	}
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		project, err := b.readProject("name", p.Project)
		switch {
		case notFound(err):
			return problem.New(problem.NotFound, "project", "there is no project %s", p.Project), nil
		case err != nil:
			return nil, err
		case project.State == release.ProjectRemoved:
			return release.RefuseRemoved(p.Project), nil
		}
		_, err = b.w.exec(b.ctx, "INSERT INTO publisher (id, project, name, claims_json, maker, created, expires, last_used, removed) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)",
			p.ID, p.Project, p.Name, string(doc), p.MakerID, millis(now), millis(p.Expires))
		if err != nil {
			return nil, err
		}
		_, err = b.w.exec(b.ctx, "INSERT INTO token (id, hash, account, personal, name, created, expires, revoked, last_used) VALUES (?, ?, ?, 0, ?, ?, ?, ?, 0)",
			p.ID, []byte{}, p.MakerID, p.Name, millis(now), millis(now), millis(now))
		return nil, err
	})
}

// RemovePublisher implements release.Publishers. The tokens of the whole project
// end, since one may rest on several bindings; they last minutes anyway.
func (s *Store) RemovePublisher(ctx context.Context, id string, ev audit.Event, now time.Time) error {
	return s.changeIdentity(ctx, ev, now, func(b *batch) (error, error) {
		n, err := b.w.exec(b.ctx, "UPDATE publisher SET removed = ? WHERE id = ? AND removed = 0", millis(now), id)
		if err != nil || n == 0 {
			return noneChanged(n, "publisher", id), err
		}
		_, err = b.w.exec(b.ctx, "UPDATE token SET revoked = ? WHERE revoked = 0 AND id IN (SELECT t.token FROM pipeline_token t JOIN publisher p ON p.id = t.publisher "+
			"WHERE p.project = (SELECT project FROM publisher WHERE id = ?))", millis(now), id)
		return nil, err
	})
}

const selectPublisher = "SELECT p.id, p.project, p.name, p.claims_json, p.maker, a.name, a.disabled, p.created, p.last_used, p.removed " +
	"FROM publisher p JOIN account a ON a.id = p.maker"

func scanPublisher(row scanner) (p release.Publisher, err error) {
	var id, project, doc string
	var disabled, created, used, removed int64
	if err := row.Scan(&id, &project, &p.Name, &doc, &p.MakerID, &p.Maker, &disabled, &created, &used, &removed); err != nil {
		return p, err
	}
	if err := json.Unmarshal([]byte(doc), &p.Publisher); err != nil {
		return p, fmt.Errorf("read publisher %s: %w", id, err)
	}
	p.ID, p.Project, p.MakerDisabled = id, project, disabled != 0
	p.Created, p.LastUsed, p.Removed = fromMillis(created), fromMillis(used), fromMillis(removed)
	return p, nil
}

// Publisher implements release.Publishers. One look-up by key.
func (s *Store) Publisher(ctx context.Context, id string) (release.Publisher, error) {
	p, err := scanPublisher(s.queryRow(ctx, selectPublisher+" WHERE p.id = ?", id))
	if notFound(err) {
		return p, noneChanged(0, "publisher", id)
	}
	return p, fault("read publisher", err)
}

// PublisherList implements release.Publishers. Cost: the project's bindings, by
// index, or all.
func (s *Store) PublisherList(ctx context.Context, project string) ([]release.Publisher, error) {
	query, args := selectPublisher+" WHERE p.removed = 0", []any{}
	if project != "" {
		query += " AND p.project = ?"
		args = append(args, project)
	}
	var out []release.Publisher
	err := s.query(ctx, query+" ORDER BY p.project, p.created, p.id", func(r scanner) error {
		p, err := scanPublisher(r)
		out = append(out, p)
		return err
	}, args...)
	return out, err
}

// bindings are PublisherList as the transaction sees it.
func (b *batch) bindings(project string) (out []release.Publisher, err error) {
	err = b.each(selectPublisher+" WHERE p.removed = 0 AND p.project = ? ORDER BY p.id", func(r scanner) error {
		p, err := scanPublisher(r)
		out = append(out, p)
		return err
	}, project)
	return out, err
}

// Exchange implements release.Publishers. Cost: the project's bindings by index,
// a few rows by key, and up to endedAtOnce tokens that ended.
func (s *Store) Exchange(ctx context.Context, x *release.Exchange) (release.Exchanged, error) {
	var got release.Exchanged
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		var err error
		got, refusal, err = b.exchange(x)
		return err
	})
	if err != nil {
		return release.Exchanged{}, err
	}
	return got, refusal
}

func (b *batch) exchange(x *release.Exchange) (got release.Exchanged, refusal, err error) {
	project, err := b.readProject("name", x.Project)
	switch {
	case notFound(err):
		project = &batchProject{} // decided like one without bindings
	case err != nil:
		return got, nil, err
	}
	bindings, err := b.bindings(x.Project)
	if err != nil {
		return got, nil, err
	}
	if got, refusal = x.Decide(project.Project, bindings); refusal != nil {
		return got, refusal, nil
	}
	n, err := b.w.exec(b.ctx, "INSERT INTO identity_use (id, ends) VALUES (?, ?) ON CONFLICT DO NOTHING", x.Use[:], millis(x.Ends))
	if err != nil {
		return got, nil, err
	}
	if n == 0 {
		return got, release.RefuseReplay(), nil
	}
	if err := b.forgetEnded(x.Now); err != nil {
		return got, nil, err
	}
	if err := b.insertToken(&got.Token, got.Hash, x.Now); err != nil {
		return got, nil, err
	}
	id := &got.Identity
	if _, err := b.w.exec(b.ctx, "INSERT INTO pipeline_token (token, publisher, issuer, subject, source, revision, ends) VALUES (?, ?, ?, ?, ?, ?, ?)",
		got.Token.ID, id.Publisher, id.Issuer, id.Subject, id.Source.URL, id.Source.Commit, millis(got.Token.Expires)); err != nil {
		return got, nil, err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE token SET ended = expires WHERE id = ?", got.Token.ID); err != nil {
		return got, nil, err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE publisher SET last_used = ? WHERE id = ? AND last_used < ?", millis(x.Now), id.Publisher, millis(x.Now)); err != nil {
		return got, nil, err
	}
	ev := got.Event
	ev.Name, ev.Outcome, ev.Time = audit.OIDCExchanged, allowed, x.Now
	return got, nil, b.record(ev)
}

// What is kept of what has ended.
const (
	endedFor    = time.Hour // short tokens, so that "it has expired" can still be said
	endedAtOnce = 64        // tokens that one exchange forgets: more than it makes
)

// forgetEnded removes identity tokens that nobody takes any more, and the oldest
// short tokens that ended. Cost: what it removes, by index.
func (b *batch) forgetEnded(now time.Time) error {
	if _, err := b.w.exec(b.ctx, "DELETE FROM identity_use WHERE ends < ?", millis(now.Add(-time.Minute))); err != nil {
		return err
	}
	var ids []string
	err := b.each(fmt.Sprintf("SELECT token FROM pipeline_token WHERE ends < ? ORDER BY ends LIMIT %d", endedAtOnce), func(r scanner) error {
		var id string
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	}, millis(now.Add(-endedFor)))
	for _, id := range ids {
		for _, statement := range []string{"DELETE FROM pipeline_token WHERE token = ?", "DELETE FROM access_grant WHERE subject = ?", "DELETE FROM token WHERE id = ?"} {
			if err == nil {
				_, err = b.w.exec(b.ctx, statement, id)
			}
		}
	}
	return err
}

// pipelineOf makes the identity of a token's row; nil for a token that is no
// pipeline's.
func pipelineOf(publisher, name, issuer, subject, source, revision string) *release.PipelineIdentity {
	if publisher == "" {
		return nil
	}
	return &release.PipelineIdentity{Publisher: publisher, Name: name, Issuer: issuer, Subject: subject, Source: access.Source{URL: source, Commit: revision}}
}
