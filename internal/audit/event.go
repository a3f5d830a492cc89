package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
)

// Event is one event of the audit trail. Fields that do not apply are empty.
type Event struct {
	ID       string    // from NewID; unique, and sorts by time
	Time     time.Time // milliseconds count
	Name     Name
	Actor    Actor
	Action   access.Action // the right that it took or would have taken; empty where none is needed
	Resource Resource
	Outcome  Outcome

	// Before and After are digests of what was there and of what was offered or
	// stored, such as "sha256:…". A refused overwrite has both.
	Before, After string

	RequestID string
	Door      Door
	Reason    string // free text of the person, such as why a release was yanked

	// Detail has further facts that a reader of this event needs. At most
	// maxDetail pairs are kept, the first by key.
	Detail map[string]string

	// Source is where the request came from. It is not encoded: a store keeps
	// it in a side table, with its salt, beside the event.
	Source Source

	// SourceDigest is Source.Commit, or empty.
	SourceDigest string
}

// Actor is who did it, as far as a leaf may say.
type Actor struct {
	Kind    access.Kind
	ID      string // account or project token; empty for anonymous
	Name    string // not encoded: joined when events are read
	Issuer  string
	Subject string // at the issuer; not encoded for people
	TokenID string
}

// ActorOf is the actor for a principal.
func ActorOf(p access.Principal) Actor {
	kind := p.Kind
	if kind == "" {
		kind = access.KindAnonymous
	}
	return Actor{Kind: kind, ID: p.ID, Name: p.Name, Issuer: p.Issuer, Subject: p.Subject, TokenID: p.TokenID}
}

// Resource is the thing that the event is about.
type Resource struct {
	Project string
	Chart   string
	Version string
	Digest  string
}

// Result is what came of it.
type Result string

// The results.
const (
	Allowed Result = "allowed" // it was done
	Denied  Result = "denied"  // it was refused
	Failed  Result = "error"   // it could not be decided or done
)

// Outcome is the result, with the reason for machines.
type Outcome struct {
	Result Result
	Rule   string // of the problem that refused
	Status int    // of HTTP; 0 where there was none
}

// Door is where the request came in.
type Door string

// The doors.
const (
	DoorOCI         Door = "oci"
	DoorChartMuseum Door = "chartmuseum"
	DoorClassic     Door = "classic"
	DoorAPI         Door = "api"
	DoorWeb         Door = "web"
	DoorCLI         Door = "cli" // a command on the server's own data
	DoorMirror      Door = "mirror"
	DoorImport      Door = "import"
	DoorServer      Door = "server" // the server itself: start, schedules
)

// Keys of Detail that several rooms use.
const (
	DetailForce = "force" // "ignored" when the client asked to overwrite
	DetailCount = "count" // how many requests an aggregated event stands for
	DetailSince = "since" // when the first of them came
	DetailGrant = "grant" // the grant that was given, taken away or used
	DetailRole  = "role"
	DetailLeaf  = "log_index" // of the leaf in the release log that says the same
)

// Source is where a request came from: personal data, which a leaf only
// commits to.
type Source struct {
	IP        string
	UserAgent string
}

// maxUserAgent bounds the user agent that is kept, in bytes.
const maxUserAgent = 256

// Bound returns the source as it is kept and committed to: cut to its bounds,
// with control characters and invalid text replaced.
func (s Source) Bound() Source {
	return Source{IP: clean(s.IP, 64), UserAgent: clean(s.UserAgent, maxUserAgent)}
}

func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// Commit returns "sha256:…" over the salt and the bounded source. The salt is 16
// random bytes, fresh for each event and kept beside the source: addresses are
// few enough to be guessed, so without the salt the digest says nothing, and
// with it anybody can check that the side table was not changed.
func (s Source) Commit(salt [16]byte) string {
	s = s.Bound()
	h := sha256.Sum256(fmt.Appendf(nil, "chartkeep/audit/source/v1\n%x\n%s\n%s\n", salt, s.IP, s.UserAgent))
	return "sha256:" + hex.EncodeToString(h[:])
}

// AlertKey names what an alert is about, so that a pipeline that tries the same
// thing in a loop raises one alert with a count. It is "" when the event raises
// none.
func (e Event) AlertKey() string {
	if d, ok := e.Name.Definition(); !ok || !d.Alerts {
		return ""
	}
	if e.Name == AlertTested {
		return string(e.Name) + " " + e.ID // each test for itself
	}
	// The separator is in none of the parts once they are quoted.
	return fmt.Sprintf("%s %q %q %q %q", e.Name, e.Resource.Project, e.Resource.Chart, e.Resource.Version, e.Actor.ID)
}

// crockford is the alphabet of a ULID, in ascending order.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewID returns a ULID (github.com/ulid/spec): 26 characters for 48 bits of time
// in milliseconds and 80 bits read from random. Ids of one millisecond sort in
// no order; the log's index is the order of events. It fails when random does,
// and for times before 1970 or after the year 10889.
func NewID(t time.Time, random io.Reader) (string, error) {
	ms := t.UnixMilli()
	if ms < 0 || ms >= 1<<48 {
		return "", fmt.Errorf("make event id: time %s is out of range", t.UTC().Format(time.RFC3339))
	}
	var b [16]byte
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	if _, err := io.ReadFull(random, b[6:]); err != nil {
		return "", fmt.Errorf("make event id: %w", err)
	}
	var out [26]byte
	acc, bits, n := uint32(0), 2, 0 // 130 bits for 128: two zero bits lead
	for _, c := range b {
		acc, bits = acc<<8|uint32(c), bits+8
		for bits >= 5 {
			bits -= 5
			out[n] = crockford[acc>>bits&31]
			n++
		}
	}
	return string(out[:]), nil
}

// validID reports whether NewID can have made it.
func validID(s string) bool {
	if len(s) != 26 || s[0] > '7' {
		return false
	}
	for i := range len(s) {
		if strings.IndexByte(crockford, s[i]) < 0 {
			return false
		}
	}
	return true
}
