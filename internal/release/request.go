package release

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// RequestLife is how long a request waits for a second person.
const RequestLife = 14 * 24 * time.Hour

// RequestKind says what is asked for.
type RequestKind string

// The kinds of request.
const (
	RequestTombstone RequestKind = "tombstone" // that the bytes of a release go
	RequestPolicy    RequestKind = "policy"    // another policy for a project
)

// RequestState is where a request stands.
type RequestState string

// The states. A request is over when it is in none of the first two.
const (
	RequestWaiting   RequestState = "waiting"  // for a second person
	RequestApproved  RequestState = "approved" // waits for its time to take effect
	RequestDeclined  RequestState = "declined"
	RequestWithdrawn RequestState = "withdrawn"
	RequestLapsed    RequestState = "lapsed" // nobody decided in time, or what it asks for was overtaken
	RequestDone      RequestState = "done"   // it has taken effect
)

// Request is something that one person asks for and another decides.
type Request struct {
	ID      int64       `json:"id"`
	Kind    RequestKind `json:"kind"`
	Project string      `json:"project"`
	Chart   string      `json:"chart,omitempty"`
	Version string      `json:"version,omitempty"`
	Digest  string      `json:"digest,omitempty"` // of the archive
	// Before and After are digests of policies, Document the policy that is
	// asked for, and Weaker what it changes for the worse, as it was seen when
	// it was asked for.
	Before        string          `json:"before,omitempty"`
	After         string          `json:"after,omitempty"`
	Document      json.RawMessage `json:"document,omitempty"`
	Weaker        []string        `json:"weaker,omitempty"`
	Reason        string          `json:"reason,omitempty"` // one of BlockReasons, of a tombstone
	Text          string          `json:"text,omitempty"`
	Requester     string          `json:"requester"` // account id
	RequesterName string          `json:"requester_name"`
	Made          time.Time       `json:"made"`
	Expires       time.Time       `json:"expires"` // it lapses then, unless somebody decides
	State         RequestState    `json:"state"`
	Decider       string          `json:"decider,omitempty"` // account id of who decided or withdrew it
	DeciderName   string          `json:"decider_name,omitempty"`
	Decided       time.Time       `json:"decided,omitzero"`
	Effective     time.Time       `json:"effective,omitzero"` // when it takes, or took, effect
	Answer        string          `json:"answer,omitempty"`   // what the decider said

	ReleaseID int64 `json:"-"`
	ProjectID int64 `json:"-"`
}

// about names what a request is about.
func (r *Request) about() string {
	if r.Chart == "" {
		return "the policy of " + r.Project
	}
	return r.Project + "/" + r.Chart + "@" + r.Version
}

// Open says whether something can still become of it.
func (r *Request) Open() bool { return r.State == RequestWaiting || r.State == RequestApproved }

// RequestFilter selects requests; empty fields select all.
type RequestFilter struct {
	Project string
	All     bool // also those that are over
}

// Verdict is what somebody does about a request.
type Verdict struct {
	ID     int64
	State  RequestState // RequestApproved, RequestDeclined or RequestWithdrawn
	Answer string
	Now    time.Time
	Event  audit.Event
}

// CheckVerdict says whether a verdict can be given now.
func CheckVerdict(r *Request, v *Verdict, second *SecondPerson) error {
	over := func() error {
		return problem.New(problem.Conflict, "request-over", "request %d is %s already", r.ID, r.State).
			Suggest("chartkeep request show %d", r.ID)
	}
	switch {
	case !r.Open():
		return over()
	case v.State == RequestWithdrawn:
		return nil // also while it waits for its time
	case r.State != RequestWaiting:
		return over()
	case !v.Now.Before(r.Expires):
		return problem.New(problem.Conflict, "request-lapsed", "request %d lapsed at %s", r.ID, when(r.Expires)).
			Suggest("ask for it anew")
	case v.State == RequestApproved:
		return CheckSecond(r.Requester, r.Made, second)
	}
	return nil
}

// Decides is the action by which a kind of request is approved or declined, Asks
// the one by which it is made or withdrawn.
func (k RequestKind) Decides() access.Action {
	if k == RequestTombstone {
		return access.TombstoneApprove
	}
	return access.PolicyApprove
}

// Asks: see Decides.
func (k RequestKind) Asks() access.Action {
	if k == RequestTombstone {
		return access.TombstoneRequest
	}
	return access.PolicyWrite
}

// person is the account of a caller who is a person; a pipeline cannot ask for
// what two people decide, since whoever holds its token may be one of them.
func person(c Caller) (string, *problem.Error) {
	id, _ := actor(c)
	if c.Principal.Kind == access.KindUser && (c.Principal.Of == nil || c.Principal.Of.Kind == access.KindUser) {
		return id, nil
	}
	return "", problem.New(problem.Denied, "request-person", "two people decide this, and %s is none", c.Principal.Name).
		Suggest("sign in with an account of your own")
}

// RequestTombstone asks that the bytes of a release go for good. Another
// person has to approve it.
func (s *Service) RequestTombstone(ctx context.Context, c Caller, project, name, version, reason, text string) (Request, error) {
	if err := checkBlockReason(reason); err != nil {
		return Request{}, err
	}
	if err := checkReason(text); err != nil {
		return Request{}, err
	}
	r, p, err := s.release(ctx, c, project, name, version)
	if e, ok := problem.As(err); ok && e.Rule == ruleRemoved {
		return Request{}, problem.New(problem.Gone, ruleRemoved, "the project %s was removed, and a tombstone has to be asked for before that", project).
			With("its releases", "served to nobody; their bytes stay in the blob store, and fsck looks for them")
	}
	if err != nil {
		return Request{}, err
	}
	v, verr := chart.ParseVersion(r.Version)
	if err := s.allow(ctx, c, &p, r.Chart, access.TombstoneRequest, verr == nil && v.Prerelease()); err != nil {
		return Request{}, err
	}
	who, nobody := person(c)
	if nobody != nil {
		return Request{}, s.refused(ctx, c, audit.AccessDenied, audit.Resource{Project: p.Name, Chart: r.Chart, Version: r.Version}, nobody, map[string]string{"action": string(access.TombstoneRequest)})
	}
	if r.State == Tombstoned {
		return Request{}, RefuseWithheld(&r)
	}
	now, ev := s.now(), s.event(c)
	ev.Action = access.TombstoneRequest
	req := Request{
		Kind: RequestTombstone, Project: p.Name, ProjectID: p.ID, Chart: r.Chart, Version: r.Version, Digest: r.Archive, ReleaseID: r.ID,
		Reason: reason, Text: text, Requester: who, Made: now, Expires: now.Add(RequestLife), State: RequestWaiting,
	}
	return s.store.CreateRequest(ctx, req, ev)
}

// Requests lists requests of the projects whose settings the caller may read,
// newest first. Cost: the open requests, or all of them.
func (s *Service) Requests(ctx context.Context, c Caller, f RequestFilter) ([]Request, error) {
	if f.Project != "" {
		if _, _, err := s.project(ctx, c, f.Project, access.PolicyRead, false); err != nil {
			return nil, err
		}
	}
	list, err := s.store.Requests(ctx, f)
	if err != nil {
		return nil, err
	}
	out := []Request{}
	for _, r := range list {
		if s.permits(c, access.Request{Action: access.PolicyRead, Project: r.Project}) {
			out = append(out, r)
		}
	}
	return out, nil
}

// Request returns one request.
func (s *Service) Request(ctx context.Context, c Caller, id int64) (Request, error) {
	r, err := s.store.Request(ctx, id)
	if err == nil && !s.permits(c, access.Request{Action: access.PolicyRead, Project: r.Project}) || problem.KindOf(err) == problem.NotFound {
		return Request{}, noRequest(id)
	}
	return r, err
}

func noRequest(id int64) error {
	return problem.New(problem.NotFound, "request", "there is no request %d that you may see", id).Suggest("chartkeep request list")
}

// ApproveRequest agrees with a request of another person. A tombstone is done
// at once, a weaker policy when the project's delay has passed.
func (s *Service) ApproveRequest(ctx context.Context, c Caller, id int64, answer string) (Request, error) {
	return s.decide(ctx, c, id, RequestApproved, answer)
}

// DeclineRequest says no.
func (s *Service) DeclineRequest(ctx context.Context, c Caller, id int64, answer string) (Request, error) {
	return s.decide(ctx, c, id, RequestDeclined, answer)
}

// WithdrawRequest takes a request back, also one that was approved and has not
// taken effect: everybody may who could have made it.
func (s *Service) WithdrawRequest(ctx context.Context, c Caller, id int64, answer string) (Request, error) {
	return s.decide(ctx, c, id, RequestWithdrawn, answer)
}

func (s *Service) decide(ctx context.Context, c Caller, id int64, state RequestState, answer string) (Request, error) {
	if err := checkReason(answer); err != nil {
		return Request{}, err
	}
	r, err := s.Request(ctx, c, id)
	if err != nil {
		return r, err
	}
	p, _, err := s.find(ctx, c, r.Project)
	if err != nil {
		return r, err
	}
	action := r.Kind.Decides()
	if state == RequestWithdrawn {
		action = r.Kind.Asks()
	}
	v, verr := chart.ParseVersion(r.Version)
	if err := s.allow(ctx, c, &p, r.Chart, action, verr == nil && v.Prerelease()); err != nil {
		return r, err
	}
	ev := s.event(c)
	ev.Action = action
	done, err := s.store.Decide(ctx, &Verdict{ID: id, State: state, Answer: answer, Now: s.now(), Event: ev})
	if err == nil && done.Kind == RequestTombstone && done.State == RequestDone {
		s.recent.drop(done.Digest)
	}
	return done, err
}

// RefuseSecondRequest is the answer to a request where there is an open one.
func RefuseSecondRequest(open *Request) error {
	return problem.New(problem.Conflict, "request-open", "there is a request about %s already", open.about()).
		With("request", "%d, %s since %s", open.ID, open.State, when(open.Made)).
		Suggest("chartkeep request show %d", open.ID)
}

// NeedsSecond says why a new policy needs a second person, one sentence each;
// none when it does not.
func NeedsSecond(before, after Policy) []string {
	return append(after.WeakerThan(before), removedSigners(before.Signatures, after.Signatures)...)
}

// removedSigners names the keys and identities that a policy no longer knows.
// That is stricter, and takes two people all the same: who takes a key away
// keeps everybody who signs with it from releasing. A key that was stolen ends
// at once by one person's word, which stays in the policy: its "revoked".
func removedSigners(before, after *signature.Policy) []string {
	if before == nil {
		return nil
	}
	var out []string
	for i := range before.Signers {
		s := &before.Signers[i]
		stays := after != nil && slices.ContainsFunc(after.Signers, func(o signature.Signer) bool {
			return o.PGP == s.PGP && o.Key == s.Key && o.Issuer == s.Issuer && o.Subject == s.Subject
		})
		if !stays {
			out = append(out, "the signer "+s.Name+" is taken away")
		}
	}
	return out
}

// DefaultWeakenDelay and MaxWeakenDelay bound Policy.WeakenDelay.
const (
	DefaultWeakenDelay = 24 * time.Hour
	MaxWeakenDelay     = 30 * 24 * time.Hour
)

// Delay is what WeakenDelay says; one that cannot be read is the longest.
func (p Policy) Delay() time.Duration {
	if p.WeakenDelay == "" {
		return DefaultWeakenDelay
	}
	d, err := time.ParseDuration(p.WeakenDelay)
	if err != nil || d < 0 || d > MaxWeakenDelay {
		return MaxWeakenDelay
	}
	return d
}

// checkDelay refuses a delay that is no duration or out of bounds. None at all
// is for a project that begins without: whoever has one keeps at least a second
// person's look at the clock.
func checkDelay(p *Policy, begins bool) error {
	if p.WeakenDelay == "" {
		return nil
	}
	d, err := time.ParseDuration(p.WeakenDelay)
	if err != nil || d < 0 || d > MaxWeakenDelay {
		return problem.New(problem.Invalid, "weaken-delay", "%.40q is no time that a weaker policy can wait", p.WeakenDelay).
			With("form", "a duration such as 72h, at most %s", MaxWeakenDelay)
	}
	if d == 0 && !begins {
		return problem.New(problem.Policy, "weaken-delay", "that a weaker policy waits for no time at all is chosen when a project is made").
			Suggest("use at least 1s, or make a new project")
	}
	return nil
}

// PolicyText is the canonical JSON of a policy, which is what is hashed.
func PolicyText(p Policy) []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of plain values
	}
	return b
}

// Protect does what has come due by itself: it warns of quarantines that are
// about to lapse, ends those that nobody confirmed, lets requests lapse or take
// effect, and removes bytes. It is called about once a second, by every
// replica; each of them may do any part.
func (s *Service) Protect(ctx context.Context) error {
	_, err := s.store.Due(ctx, s.now(), 100)
	return errors.Join(err, s.erase(ctx))
}

// erase removes the bytes of large blobs whose time has come and that nothing
// else needs. A crash between the look and the end finds the same work again.
func (s *Service) erase(ctx context.Context) error {
	due, err := s.store.Erasures(ctx, s.now(), 100)
	if err != nil {
		return err
	}
	for _, d := range due {
		kept, err := s.store.NeededBy(ctx, d)
		if err != nil {
			return err
		}
		if len(kept) == 0 {
			if err := s.blobs.Delete(ctx, d); err != nil {
				return err
			}
			s.recent.drop(d)
			s.log.InfoContext(ctx, "bytes of a tombstoned release removed", "digest", d)
		}
		if err := s.store.SettleErasure(ctx, d, strings.Join(kept, " "), s.now()); err != nil {
			return err
		}
	}
	return nil
}
