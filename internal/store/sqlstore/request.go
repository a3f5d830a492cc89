package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// requestRow is what a request's row has beside the request.
type requestRow struct {
	requester, decider tlog.Identity
	due                int64
}

var selectRequest = "SELECT q.id, q.kind, q.project, p.name, q.release, COALESCE(r.chart, ''), COALESCE(r.version, ''), COALESCE(r.archive, ''), q.before, q.after, q.document, q.reason, q.text, " +
	"q.requester, " + holder("a", "at") + ", q.requester_leaf, q.made, q.expires, q.state, q.due, q.decider, " + holder("d", "dt") + ", q.decider_leaf, q.decided, q.effective, q.answer " +
	"FROM request q JOIN project p ON p.id = q.project LEFT JOIN release r ON r.id = q.release LEFT JOIN account a ON a.id = q.requester LEFT JOIN token at ON at.id = q.requester " +
	"LEFT JOIN account d ON d.id = q.decider LEFT JOIN token dt ON dt.id = q.decider WHERE "

// policyRequest is the document of a request for a policy.
type policyRequest struct {
	Policy json.RawMessage `json:"policy"`
	Weaker []string        `json:"weaker"`
}

func scanRequest(row scanner) (r release.Request, x requestRow, err error) {
	var kind, state, document, requester, decider string
	var made, expires, decided, effective int64
	if err = row.Scan(&r.ID, &kind, &r.ProjectID, &r.Project, &r.ReleaseID, &r.Chart, &r.Version, &r.Digest, &r.Before, &r.After, &document, &r.Reason, &r.Text,
		&r.Requester, &r.RequesterName, &requester, &made, &expires, &state, &x.due, &r.Decider, &r.DeciderName, &decider, &decided, &effective, &r.Answer); err != nil {
		return r, x, err
	}
	r.Kind, r.State = release.RequestKind(kind), release.RequestState(state)
	r.Made, r.Expires, r.Decided, r.Effective = fromMillis(made), fromMillis(expires), fromMillis(decided), fromMillis(effective)
	if document != "" {
		var d policyRequest
		if err = json.Unmarshal([]byte(document), &d); err != nil {
			return r, x, err
		}
		r.Document, r.Weaker = d.Policy, d.Weaker
	}
	for text, to := range map[string]*tlog.Identity{requester: &x.requester, decider: &x.decider} {
		if text == "" {
			continue
		}
		if err = json.Unmarshal([]byte(text), to); err != nil {
			return r, x, err
		}
	}
	return r, x, nil
}

// request reads a request inside a batch.
func (b *batch) request(id int64) (release.Request, requestRow, error) {
	if err := b.flush(); err != nil {
		return release.Request{}, requestRow{}, err
	}
	return scanRequest(b.w.row(b.ctx, selectRequest+"q.id = ?", id))
}

// CreateRequest implements release.Protection. Cost: a few rows.
func (s *Store) CreateRequest(ctx context.Context, r release.Request, ev audit.Event) (release.Request, error) {
	var out release.Request
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = r, nil
		var err error
		if _, refusal, err = b.standing(r.ProjectID); err != nil || refusal != nil {
			return err
		}
		if r.ReleaseID != 0 {
			held, err := b.releaseWhere("r.id = ?", r.ReleaseID)
			if err != nil {
				return err
			}
			if held.State == release.Tombstoned {
				refusal = release.RefuseWithheld(&held)
				return nil
			}
		}
		out, refusal, err = b.createRequest(r, ev)
		return err
	})
	if err != nil {
		return release.Request{}, err
	}
	return out, refusal
}

func (b *batch) createRequest(r release.Request, ev audit.Event) (made release.Request, refusal, err error) {
	document := ""
	if r.Document != nil {
		if document, err = jsonText(policyRequest{r.Document, r.Weaker}); err != nil {
			return r, nil, err
		}
	}
	who, err := jsonText(identity(ev.Actor))
	if err != nil {
		return r, nil, err
	}
	// The unique index over what is open decides.
	err = b.w.row(b.ctx, "INSERT INTO request (kind, project, release, before, after, document, reason, text, requester, requester_leaf, made, expires, state, due, decider, decider_leaf, decided, effective, answer) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', 0, 0, '') ON CONFLICT DO NOTHING RETURNING id",
		string(r.Kind), r.ProjectID, r.ReleaseID, r.Before, r.After, document, r.Reason, r.Text, r.Requester, who, millis(r.Made), millis(r.Expires), string(r.State), millis(r.Expires)).Scan(&r.ID)
	if notFound(err) {
		open, _, err := scanRequest(b.w.row(b.ctx, selectRequest+"q.kind = ? AND q.project = ? AND q.release = ? AND q.due > 0", string(r.Kind), r.ProjectID, r.ReleaseID))
		if err != nil {
			return r, nil, err
		}
		return r, release.RefuseSecondRequest(&open), nil
	}
	if err != nil {
		return r, nil, err
	}
	ev.Name, ev.Outcome = audit.RequestMade, allowed
	ev.Resource, ev.Reason, ev.Before, ev.After = requestResource(&r), r.Text, r.Before, r.After
	ev.Detail = requestDetail(&r)
	if err := b.record(ev); err != nil {
		return r, nil, err
	}
	made, _, err = b.request(r.ID)
	return made, nil, err
}

func requestResource(r *release.Request) audit.Resource {
	return audit.Resource{Project: r.Project, Chart: r.Chart, Version: r.Version, Digest: r.Digest}
}

// maxWeaker is how many changes for the worse an audit event names.
const maxWeaker = 8

func requestDetail(r *release.Request) map[string]string {
	detail := map[string]string{"request": strconv.FormatInt(r.ID, 10), "kind": string(r.Kind)}
	if r.Reason != "" {
		detail["reason"] = r.Reason
	}
	for i, why := range r.Weaker {
		if i == maxWeaker {
			detail["weaker-more"] = strconv.Itoa(len(r.Weaker) - i)
			break
		}
		detail[fmt.Sprintf("weaker-%02d", i+1)] = why
	}
	return detail
}

// Decide implements release.Protection. Cost: a few rows.
func (s *Store) Decide(ctx context.Context, v *release.Verdict) (release.Request, error) {
	var out release.Request
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, refusal = release.Request{}, nil
		r, x, err := b.request(v.ID)
		if notFound(err) {
			refusal = problem.New(problem.NotFound, "request", "there is no request %d", v.ID)
			return nil
		}
		if err != nil {
			return err
		}
		if _, refusal, err = b.standing(r.ProjectID); err != nil || refusal != nil {
			return err
		}
		person, second, err := b.second(v.Event.Actor)
		if err != nil {
			return err
		}
		ev := v.Event
		ev.Resource, ev.Reason, ev.Before, ev.After = requestResource(&r), v.Answer, r.Before, r.After
		if refusal = release.CheckVerdict(&r, v, &second); refusal != nil {
			if problem.KindOf(refusal) != problem.Denied {
				return nil // nothing was written
			}
			ev.Name, ev.Outcome, ev.Detail = audit.AccessDenied, denied(refusal), requestDetail(&r)
			return b.record(ev)
		}
		ev.Detail = requestDetail(&r)
		r.Decider, r.Decided, r.Answer = person, b.clockOr(v.Now), v.Answer
		switch v.State {
		case release.RequestApproved:
			for k, val := range secondDetail(r.Requester, &second) {
				ev.Detail[k] = val
			}
			refusal, err = b.approve(&r, x, ev, v.Now)
		case release.RequestDeclined:
			ev.Name = audit.RequestDeclined
			err = b.settleRequest(&r, v.State, v.Answer, v.Now, ev)
		default:
			ev.Name = audit.RequestWithdrawn
			err = b.settleRequest(&r, v.State, v.Answer, v.Now, ev)
		}
		if err != nil || refusal != nil {
			return err
		}
		out, _, err = b.request(v.ID)
		return err
	})
	if err != nil {
		return release.Request{}, err
	}
	return out, refusal
}

func (b *batch) clockOr(now time.Time) time.Time {
	if now.IsZero() {
		return b.clock
	}
	return now
}

// approve notes the approval; a tombstone takes effect with it, a policy when
// the delay of the policy in force has passed.
func (b *batch) approve(r *release.Request, x requestRow, ev audit.Event, now time.Time) (refusal, err error) {
	p, err := b.project(r.ProjectID)
	if err != nil {
		return nil, err
	}
	effective := now
	if r.Kind == release.RequestPolicy {
		effective = now.Add(p.Policy.Delay())
	}
	if x.decider = identity(ev.Actor); x.decider == x.requester {
		return nil, fmt.Errorf("approve request %d: the leaf would name one person twice", r.ID)
	}
	who, err := jsonText(x.decider)
	if err != nil {
		return nil, err
	}
	r.State, r.Effective = release.RequestApproved, effective
	if _, err := b.w.exec(b.ctx, "UPDATE request SET state = ?, due = ?, decider = ?, decider_leaf = ?, decided = ?, effective = ?, answer = ? WHERE id = ?",
		string(r.State), millis(effective), r.Decider, who, millis(now), millis(effective), r.Answer, r.ID); err != nil {
		return nil, err
	}
	ev.Name, ev.Outcome = audit.RequestApproved, allowed
	ev.Detail["effective"] = effective.UTC().Format(time.RFC3339)
	if err := b.record(ev); err != nil {
		return nil, err
	}
	switch {
	case r.Kind == release.RequestTombstone:
		return nil, b.entomb(r, x, ev, now)
	case !effective.After(now):
		return nil, b.weaken(r, x, now)
	}
	return nil, nil
}

// settleRequest ends a request that takes no effect.
func (b *batch) settleRequest(r *release.Request, state release.RequestState, answer string, now time.Time, ev audit.Event) error {
	ev.Outcome, ev.Resource = allowed, requestResource(r)
	if ev.Detail == nil {
		ev.Detail = requestDetail(r)
	}
	if _, err := b.w.exec(b.ctx, "UPDATE request SET state = ?, due = 0, decider = ?, decided = ?, answer = ? WHERE id = ?",
		string(state), ev.Actor.ID, millis(now), answer, r.ID); err != nil {
		return err
	}
	return b.record(ev)
}

// weaken gives a project the policy that was approved. When the project has
// another policy by now than the one that was to be replaced, nothing happens:
// what was approved was the difference between the two.
func (b *batch) weaken(r *release.Request, x requestRow, now time.Time) error {
	p, err := b.project(r.ProjectID)
	if err != nil {
		return err
	}
	if p.State == release.ProjectRemoved || p.PolicyDigest != r.Before {
		return b.settleRequest(r, release.RequestLapsed, "the project has another policy by now", now, byServer(audit.RequestLapsed, now))
	}
	var after release.Policy
	if err := json.Unmarshal(r.Document, &after); err != nil {
		return err
	}
	change := tlog.PolicyWeaker
	if len(after.WeakerThan(p.Policy)) == 0 {
		change = tlog.PolicyStricter // such as taking a signer out
	}
	leaf, err := b.setPolicy(p, after, change, x.requester, x.decider, now)
	if err != nil {
		return err
	}
	if _, err := b.w.exec(b.ctx, "UPDATE request SET state = ?, due = 0, effective = ? WHERE id = ?", string(release.RequestDone), millis(now), r.ID); err != nil {
		return err
	}
	ev := byServer(audit.PolicyWeakened, now)
	if change == tlog.PolicyStricter {
		ev.Name = audit.PolicyChanged
	}
	ev.Resource, ev.Before, ev.After, ev.Detail = requestResource(r), r.Before, r.After, requestDetail(r)
	ev.Detail["requester"], ev.Detail["approver"], ev.Detail[audit.DetailLeaf] = r.Requester, r.Decider, leaf
	return b.record(ev)
}

// setPolicy gives a project another policy, with its leaf, and returns the
// leaf's index for the event.
func (b *batch) setPolicy(p *batchProject, after release.Policy, change string, requester, approver tlog.Identity, now time.Time) (string, error) {
	before := p.PolicyDigest
	p.Policy, p.PolicyDigest = after, release.PolicyDigest(after)
	b.change(p)
	leaf, err := b.appendLeaf(tlog.Policy{
		Project: p.Name, Before: before, After: p.PolicyDigest, Change: change, Requester: requester, Approver: approver, Time: b.time(now),
	})
	return strconv.FormatInt(leaf, 10), err
}

// SetProject implements release.Protection. Cost: one row by key, and one look
// for a release.
func (s *Store) SetProject(ctx context.Context, name string, ev audit.Event, now time.Time, change func(p release.Project, released bool) (release.ProjectUpdate, error)) (release.Project, *release.Request, error) {
	var out release.Project
	var asked *release.Request
	var refusal error
	err := s.write(ctx, true, func(b *batch) error {
		out, asked, refusal = release.Project{}, nil, nil
		if err := b.flush(); err != nil { // releases of this batch
			return err
		}
		p, err := b.readProject("name", name)
		if notFound(err) {
			refusal = noProject(name)
			return nil
		}
		if err != nil {
			return err
		}
		var one int64
		err = b.w.row(b.ctx, "SELECT 1 FROM release WHERE project = ? LIMIT 1", p.ID).Scan(&one)
		if err != nil && !notFound(err) {
			return err
		}
		u, err := change(p.Project, err == nil)
		if err != nil {
			refusal = err
			return nil
		}
		if u.Request != nil {
			r, no, err := b.createRequest(*u.Request, ev)
			if err != nil || no != nil {
				refusal = no
				return err
			}
			asked = &r
		}
		err = b.updateProject(p, &u, ev, now)
		out = p.Project
		return err
	})
	if err != nil {
		return release.Project{}, nil, err
	}
	return out, asked, refusal
}

func (b *batch) updateProject(p *batchProject, u *release.ProjectUpdate, ev audit.Event, now time.Time) error {
	ev.Outcome, ev.Resource = allowed, audit.Resource{Project: p.Name}
	if u.PolicyChange != "" {
		before := p.PolicyDigest
		leaf, err := b.setPolicy(p, u.Project.Policy, u.PolicyChange, identity(ev.Actor), tlog.Identity{}, now)
		if err != nil {
			return err
		}
		changed := ev
		changed.Name, changed.Before, changed.After = audit.PolicyChanged, before, p.PolicyDigest
		changed.Detail = map[string]string{audit.DetailLeaf: leaf}
		if err := b.record(changed); err != nil {
			return err
		}
		if err := b.overtake(p, now); err != nil {
			return err
		}
	}
	if !u.Shown {
		return nil
	}
	p.Public, p.ArtifactHubID = u.Project.Public, u.Project.ArtifactHubID
	b.change(p)
	if err := b.projectLeaf(&p.Project, "set", ev.Actor, now); err != nil {
		return err
	}
	return b.record(ev)
}

// overtake ends what was asked for about a policy that is no longer there.
func (b *batch) overtake(p *batchProject, now time.Time) error {
	r, _, err := scanRequest(b.w.row(b.ctx, selectRequest+"q.kind = ? AND q.project = ? AND q.release = 0 AND q.due > 0", string(release.RequestPolicy), p.ID))
	if notFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.settleRequest(&r, release.RequestLapsed, "the project has another policy by now", now, byServer(audit.RequestLapsed, now))
}

// Request implements release.Protection. One look-up by key.
func (s *Store) Request(ctx context.Context, id int64) (release.Request, error) {
	r, _, err := scanRequest(s.queryRow(ctx, selectRequest+"q.id = ?", id))
	if notFound(err) {
		return r, problem.New(problem.NotFound, "request", "there is no request %d", id)
	}
	return r, fault("read request", err)
}

// Requests implements release.Protection.
func (s *Store) Requests(ctx context.Context, f release.RequestFilter) ([]release.Request, error) {
	where, args := "1 = 1", []any{}
	if !f.All {
		where = "q.due > 0"
	}
	if f.Project != "" {
		where, args = where+" AND p.name = ?", append(args, f.Project)
	}
	var out []release.Request
	err := s.query(ctx, selectRequest+where+" ORDER BY q.id DESC", func(row scanner) error {
		r, _, err := scanRequest(row)
		out = append(out, r)
		return err
	}, args...)
	return out, err
}
