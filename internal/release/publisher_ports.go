package release

import (
	"context"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
)

// IdentityTokens checks the identity tokens of pipelines; *oidc.Verifier does.
// Its refusals are problem.Unauthenticated; what cannot be checked now is
// problem.Unavailable.
type IdentityTokens interface {
	Verify(ctx context.Context, token string) (access.Claims, error)
	// Provider says which kind of platform an issuer is; ok is false for one
	// whose tokens are not accepted.
	Provider(issuer string) (p access.Provider, ok bool)
	// Issuers lists the issuers of a provider.
	Issuers(p access.Provider) []string
	// Audience is whom tokens must be for, "" where none are accepted.
	Audience() string
}

// IdentityProvider signs people in by OpenID Connect; *oidc.Login does.
type IdentityProvider interface {
	// Begin returns where the browser has to go.
	Begin(ctx context.Context, state, nonce, verifier, redirect string) (string, error)
	// Finish takes what the browser brought back, and returns what the
	// provider says of the person.
	Finish(ctx context.Context, code, iss, nonce, verifier, redirect string) (access.Claims, error)
}

// Publisher is a binding as it is kept: see access.Publisher for what it asks of
// a pipeline and what it grants.
type Publisher struct {
	access.Publisher
	Name          string    `json:"name"` // for people, such as "github octo/web"
	MakerID       string    `json:"-"`
	Maker         string    `json:"made_by"`                  // joined at read time
	MakerDisabled bool      `json:"maker_disabled,omitempty"` // who made it has left; it still stands
	Created       time.Time `json:"created"`
	LastUsed      time.Time `json:"last_used,omitzero"`
	Removed       time.Time `json:"removed,omitzero"`
}

// PipelineIdentity is whom the short token of a pipeline stands for.
type PipelineIdentity struct {
	Publisher string // id of the binding
	Name      string // of the binding, joined at read time
	Issuer    string
	Subject   string // stable name at the issuer, made of ids
	Source    access.Source
}

// Exchange asks the store to take an identity token for a short one.
type Exchange struct {
	Project string
	Use     [32]byte  // what the identity token is remembered by
	Ends    time.Time // when the identity token ends by itself
	Now     time.Time
	// Decide is asked inside the transaction with the project and its bindings
	// that stand. An error refuses and is returned as it is. It may be called
	// more than once.
	Decide func(p Project, bindings []Publisher) (Exchanged, error)
}

// Exchanged is the short token with whom it stands for.
type Exchanged struct {
	Token    Token // AccountID is an account of the server, for the table's sake: who made the binding, or any
	Hash     [32]byte
	Identity PipelineIdentity
	Event    audit.Event
}

// Publishers keeps which pipelines may publish.
type Publishers interface {
	// AddPublisher keeps a binding. Conflict when the project does not stand.
	AddPublisher(ctx context.Context, p Publisher, ev audit.Event, now time.Time) error
	// RemovePublisher ends a binding, and every short token of its project.
	RemovePublisher(ctx context.Context, id string, ev audit.Event, now time.Time) error
	// Publisher returns a binding, also one that was removed. One look-up by key.
	Publisher(ctx context.Context, id string) (Publisher, error)
	// PublisherList lists the bindings that stand, of one project or, with "",
	// of all. Cost: those bindings.
	PublisherList(ctx context.Context, project string) ([]Publisher, error)
	// Exchange burns the identity token and keeps the short one, or neither. A
	// token that was burnt before is problem.Unauthenticated, whichever process
	// burnt it. It also forgets some of what has ended.
	Exchange(ctx context.Context, x *Exchange) (Exchanged, error)
}

// SignIn asks the store who a person of an identity provider is.
type SignIn struct {
	Issuer, Subject string
	Groups          []string
	GroupsUntil     time.Time // when the groups are no longer believed
	// Account is made when nobody is linked, under the first of Names that is
	// free. Without Names nobody is made.
	Account Account
	Names   []string
	Event   audit.Event // who asks, through which door
	Now     time.Time
}

// AccountLink ties an account to a person of an identity provider.
type AccountLink struct {
	Account string    `json:"account"` // name
	Issuer  string    `json:"issuer"`
	Subject string    `json:"subject"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used,omitzero"`
}

// SignIns keeps who people of identity providers are here.
type SignIns interface {
	// SignIn returns the account that is linked to the person, with its groups
	// written anew, or makes it. A person without an account is
	// problem.Denied, and so is one whose account is disabled.
	SignIn(ctx context.Context, in *SignIn) (Account, error)
	// LinkAccount ties an account to a person; Conflict when the person has one.
	LinkAccount(ctx context.Context, accountID, issuer, subject string, ev audit.Event, now time.Time) error
	// UnlinkAccount takes all links of an account away, and its groups.
	UnlinkAccount(ctx context.Context, accountID string, ev audit.Event, now time.Time) error
	// AccountLinks lists all links. Cost: all of them.
	AccountLinks(ctx context.Context) ([]AccountLink, error)
}
