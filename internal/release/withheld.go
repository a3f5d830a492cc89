package release

import (
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// QuarantineNote is why, when and by whom a release was blocked.
type QuarantineNote struct {
	Reason   string    `json:"reason"` // one of BlockReasons
	Text     string    `json:"text,omitempty"`
	By       string    `json:"by"`      // account id, or that of a project token
	ByName   string    `json:"by_name"` // joined at read time; "" for whoever is not signed in
	Time     time.Time `json:"time"`
	LogIndex int64     `json:"log_index"` // of the leaf that says so
	// Lapses is when the release is served again, unless a second person has
	// confirmed the quarantine; zero when somebody has.
	Lapses          time.Time `json:"lapses,omitzero"`
	Confirmed       time.Time `json:"confirmed,omitzero"`
	ConfirmedBy     string    `json:"confirmed_by,omitempty"`
	ConfirmedByName string    `json:"confirmed_by_name,omitempty"`

	// Person is the account behind By: the maker of a project token. Before
	// is the state to which the release returns.
	Person string `json:"-"`
	Before State  `json:"-"`
}

// TombstoneNote is why and when the bytes of a release went, and which two
// people wanted it.
type TombstoneNote struct {
	Reason        string    `json:"reason"` // one of BlockReasons
	Text          string    `json:"text,omitempty"`
	Requester     string    `json:"requester"`      // account id
	RequesterName string    `json:"requester_name"` // as QuarantineNote.ByName
	Approver      string    `json:"approver"`
	ApproverName  string    `json:"approver_name"`
	Time          time.Time `json:"time"`
	LogIndex      int64     `json:"log_index"` // of the leaf that says so
	Request       int64     `json:"request"`   // id of the request that was approved
}

// BlockReason is a code that says why a release is blocked, or its bytes go.
type BlockReason struct {
	Code    string `json:"code"`
	Meaning string `json:"meaning"`
}

// BlockReasons lists the codes.
func BlockReasons() []BlockReason {
	return []BlockReason{
		{"malware", "it does what nobody who installs it wants"},
		{"secret", "it holds a password, a key or other people's data"},
		{"legal", "it may not be distributed"},
		{"other", "see the text"},
	}
}

func checkBlockReason(code string) error {
	var codes []string
	for _, r := range BlockReasons() {
		if r.Code == code {
			return nil
		}
		codes = append(codes, r.Code)
	}
	return problem.New(problem.Invalid, "block-reason", "%.40q is not a reason to block a release", code).
		With("reasons", "%s", strings.Join(codes, ", "))
}

// The rules by which readers do not get a release. The first is answered 403,
// which no cache keeps by itself and which ends when the quarantine does; the
// second 410.
const (
	RuleQuarantine = "quarantine"
	RuleTombstone  = "tombstone"
)

// RefuseWithheld is the answer to everybody who wants bytes of a release in
// quarantine or under a tombstone. It names nobody: who may know finds the
// names with the release.
func RefuseWithheld(r *Release) *problem.Error {
	if t := r.Tombstone; t != nil {
		return problem.New(problem.Gone, RuleTombstone, "the bytes of release %s are gone for good, and its name stays taken", r.Ref()).
			With("since", "%s", when(t.Time)).With("reason", "%s", reasonText(t.Reason, t.Text)).
			With("digest", "%s", r.Archive).With("log index", "%d", t.LogIndex).
			Suggest("use another version: chartkeep release list %s --project %s", r.Chart, r.Project)
	}
	e := problem.New(problem.Policy, RuleQuarantine, "release %s is in quarantine and is not served", r.Ref())
	if q := r.Quarantine; q != nil {
		e.With("since", "%s", when(q.Time)).With("reason", "%s", reasonText(q.Reason, q.Text))
		if q.Confirmed.IsZero() {
			e.With("confirmed", "not yet; without a second person it is served again at %s", when(q.Lapses))
		} else {
			e.With("confirmed", "%s by a second person", when(q.Confirmed))
		}
		e.With("log index", "%d", q.LogIndex)
	}
	return e.With("digest", "%s", r.Archive).
		Suggest("use another version: chartkeep release list %s --project %s", r.Chart, r.Project)
}

func reasonText(reason, text string) string {
	if text == "" {
		return reason
	}
	return reason + ": " + text
}

// RefusePush is the answer to a push of a release that is withheld.
func RefusePush(held *Release, c *Claim) error {
	e := RefuseWithheld(held).With("offered", "%s", c.Release.Archive)
	e.Message += "; nothing was changed"
	return e.Suggest("%s", nextVersion(held.Version))
}

// withheld refuses a release whose bytes nobody gets.
func withheld(r *Release) error {
	if r.State.Withheld() {
		return RefuseWithheld(r)
	}
	return nil
}

// anonymize takes the names out that only people who signed in may see.
func (r *Release) anonymize(c Caller) {
	if c.Principal.Kind != access.KindAnonymous && c.Principal.Kind != "" {
		return
	}
	if q := r.Quarantine; q != nil {
		n := *q // what the store remembers is shared
		n.ByName, n.ConfirmedByName = "", ""
		r.Quarantine = &n
	}
	if t := r.Tombstone; t != nil {
		n := *t
		n.RequesterName, n.ApproverName = "", ""
		r.Tombstone = &n
	}
}
