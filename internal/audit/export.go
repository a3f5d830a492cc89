package audit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
)

// Exported is an event on its way out of the trail, with all that its line
// says.
type Exported struct {
	Index  int64  // in the audit log
	Origin string // of the audit log
	Leaf   []byte // the canonical encoding: what is hashed into the log
	Event  Event  // decoded, with the actor's name and the source
	Salt   []byte // with Source it gives SourceDigest; empty when they were forgotten
}

// Format writes exported events, one a line. Whatever a line looks like, it
// carries the index and the hash of the leaf, so that a copy elsewhere can be
// proven against the log.
type Format interface {
	// Name is how it is asked for.
	Name() string
	// ContentType is the media type of the lines.
	ContentType() string
	// Append appends the line of an event, with its line feed.
	Append(dst []byte, e *Exported) []byte
}

// Formats lists the formats.
func Formats() []Format { return []Format{jsonLines{}, cloudEvents{}} }

// leafHash is the RFC 6962 hash under which a leaf stands in the log.
func leafHash(leaf []byte) string {
	h := sha256.Sum256(append([]byte{0}, leaf...))
	return base64.StdEncoding.EncodeToString(h[:])
}

// jsonLines is the native form: the leaf as it stands in the log, and beside
// it what the log leaves out.
type jsonLines struct{}

func (jsonLines) Name() string        { return "jsonl" }
func (jsonLines) ContentType() string { return "application/jsonl" }

func (jsonLines) Append(dst []byte, e *Exported) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendInt(dst, e.Index, 10)
	dst = appendMember(dst, "log", e.Origin)
	dst = appendMember(dst, "leaf_hash", leafHash(e.Leaf))
	dst = appendMember(dst, "actor_name", e.Event.Actor.Name)
	dst = appendMember(dst, "ip", e.Event.Source.IP)
	dst = appendMember(dst, "user_agent", e.Event.Source.UserAgent)
	dst = appendMember(dst, "salt", hex.EncodeToString(e.Salt))
	dst = append(dst, `,"leaf":`...)
	dst = append(dst, e.Leaf...) // is JSON in one line
	return append(dst, '}', '\n')
}

// cloudEvents is CloudEvents 1.0, the structured mode of its JSON format, one
// event a line. The extension attributes auditindex and leafhash are texts:
// integers of CloudEvents have 32 bits.
type cloudEvents struct{}

func (cloudEvents) Name() string        { return "cloudevents" }
func (cloudEvents) ContentType() string { return "application/cloudevents+json" }

func (cloudEvents) Append(dst []byte, e *Exported) []byte {
	dst = append(dst, `{"specversion":"1.0"`...)
	dst = appendMember(dst, "id", e.Event.ID)
	dst = appendMember(dst, "source", e.Origin)
	dst = appendMember(dst, "type", "chartkeep."+string(e.Event.Name))
	dst = appendMember(dst, "time", e.Event.Time.UTC().Format(timeForm))
	dst = appendMember(dst, "subject", subjectOf(e.Event.Resource))
	dst = appendMember(dst, "auditindex", strconv.FormatInt(e.Index, 10))
	dst = appendMember(dst, "leafhash", leafHash(e.Leaf))
	dst = append(dst, `,"datacontenttype":"application/json","data":{"leaf":`...)
	dst = append(dst, e.Leaf...)
	dst = appendMember(dst, "actor_name", e.Event.Actor.Name)
	dst = appendMember(dst, "ip", e.Event.Source.IP)
	dst = appendMember(dst, "user_agent", e.Event.Source.UserAgent)
	dst = appendMember(dst, "salt", hex.EncodeToString(e.Salt))
	return append(dst, '}', '}', '\n')
}

func subjectOf(r Resource) string {
	s := r.Project
	if r.Chart != "" {
		s += "/" + r.Chart
	}
	if r.Version != "" {
		s += "@" + r.Version
	}
	return s
}

// maxMember bounds a member of a line, in bytes of its encoding.
const maxMember = 4 << 10

// appendMember appends a member that is not the first; an empty one is left
// out.
func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, ',')
	dst = append(appendText(dst, name, maxKey), ':')
	return appendText(dst, value, maxMember)
}
