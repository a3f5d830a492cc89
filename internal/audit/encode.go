package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/access"
)

// MaxLeaf bounds an encoded event, in bytes. The bounds of the fields below
// keep every event within it.
const MaxLeaf = 16 << 10

// schema is the first field of every encoding.
const schema = "chartkeep/audit/v1"

// The bounds of fields, in bytes of their encoding, so that text which has to be
// escaped cannot take more room than other text.
const (
	maxIdent  = 256  // ids, names of projects and charts, versions, digests, rules
	maxReason = 2048 // free text of a person
	maxDetail = 16   // pairs
	maxKey    = 64
	maxValue  = 512
)

// cut ends a text that was longer than its bound.
const cut = "...[cut]"

// timeForm is RFC 3339 in UTC with exactly three digits of fraction.
const timeForm = "2006-01-02T15:04:05.000Z"

// Encode returns the canonical encoding of the event. It fails only for what
// this program gets wrong: an id that is not from NewID, no time, a name, kind,
// result or door that is not in their lists.
func (e Event) Encode() ([]byte, error) {
	if _, known := e.Name.Definition(); !known {
		return nil, fmt.Errorf("encode audit event: there is no event %q", e.Name)
	}
	b, err := e.encode()
	if err != nil {
		return nil, fmt.Errorf("encode audit event: %w", err)
	}
	return b, nil
}

func (e *Event) encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	w := encoder{b: make([]byte, 0, 1024)}
	w.open("")
	w.text("schema", schema, maxIdent)
	w.text("id", e.ID, maxIdent)
	w.text("time", e.Time.UTC().Format(timeForm), maxIdent)
	w.text("event", string(e.Name), maxIdent)
	w.open("actor")
	w.text("kind", string(e.Actor.Kind), maxIdent)
	w.text("id", e.Actor.ID, maxIdent)
	w.text("issuer", e.Actor.Issuer, maxIdent)
	if e.Actor.Kind != access.KindUser {
		w.text("subject", e.Actor.Subject, maxIdent)
	}
	w.text("token", e.Actor.TokenID, maxIdent)
	w.close()
	w.text("source", e.SourceDigest, maxIdent)
	w.text("action", string(e.Action), maxIdent)
	if e.Resource != (Resource{}) {
		w.open("resource")
		w.text("project", e.Resource.Project, maxIdent)
		w.text("chart", e.Resource.Chart, maxIdent)
		w.text("version", e.Resource.Version, maxIdent)
		w.text("digest", e.Resource.Digest, maxIdent)
		w.close()
	}
	w.open("outcome")
	w.text("result", string(e.Outcome.Result), maxIdent)
	w.text("rule", e.Outcome.Rule, maxIdent)
	w.number("status", e.Outcome.Status)
	w.close()
	w.text("before", e.Before, maxIdent)
	w.text("after", e.After, maxIdent)
	w.text("request", e.RequestID, maxIdent)
	w.text("door", string(e.Door), maxIdent)
	w.text("reason", e.Reason, maxReason)
	w.details(e.Detail)
	w.close()
	if len(w.b) > MaxLeaf {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(w.b), MaxLeaf)
	}
	return w.b, nil
}

func (e *Event) check() error {
	switch {
	case !validID(e.ID):
		return fmt.Errorf("id %q is not one of NewID", e.ID)
	case e.Time.UnixMilli() < 0 || e.Time.UnixMilli() >= 1<<47:
		return fmt.Errorf("time is missing or out of range")
	case !e.Name.wellFormed():
		return fmt.Errorf("%.80q is not the name of an event", e.Name)
	case e.Outcome.Status < 0 || e.Outcome.Status > 599:
		return fmt.Errorf("there is no status %d", e.Outcome.Status)
	}
	switch e.Actor.Kind {
	case access.KindAnonymous, access.KindUser, access.KindToken, access.KindSystem:
	default:
		return fmt.Errorf("there is no kind of actor %q", e.Actor.Kind)
	}
	switch e.Outcome.Result {
	case Allowed, Denied, Failed:
	default:
		return fmt.Errorf("there is no result %q", e.Outcome.Result)
	}
	switch e.Door {
	case DoorOCI, DoorChartMuseum, DoorClassic, DoorAPI, DoorWeb, DoorCLI, DoorMirror, DoorImport, DoorServer:
	default:
		return fmt.Errorf("there is no door %q", e.Door)
	}
	return nil
}

// encoder writes JSON objects of texts and numbers, and nothing else.
type encoder struct{ b []byte }

func (w *encoder) key(name string) {
	if last := len(w.b) - 1; last >= 0 && w.b[last] != '{' {
		w.b = append(w.b, ',')
	}
	if name != "" {
		w.b = append(appendText(w.b, name, maxIdent), ':')
	}
}

func (w *encoder) open(name string) {
	w.key(name)
	w.b = append(w.b, '{')
}

func (w *encoder) close() { w.b = append(w.b, '}') }

func (w *encoder) text(name, value string, most int) {
	if value == "" {
		return
	}
	w.key(name)
	w.b = appendText(w.b, value, most)
}

func (w *encoder) number(name string, value int) {
	if value == 0 {
		return
	}
	w.key(name)
	w.b = strconv.AppendInt(w.b, int64(value), 10)
}

// details writes the pairs in the order of their encoded keys. Keys that are
// equal once they are cut would be ambiguous: the first by plain key stays.
func (w *encoder) details(m map[string]string) {
	type pair struct{ plain, key, value string }
	pairs := make([]pair, 0, len(m))
	for k, v := range m {
		if k != "" && v != "" {
			pairs = append(pairs, pair{k, string(appendText(nil, k, maxKey)), v})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return bytes.Compare([]byte(a.key+"\x00"+a.plain), []byte(b.key+"\x00"+b.plain))
	})
	pairs = slices.CompactFunc(pairs, func(a, b pair) bool { return a.key == b.key })
	if len(pairs) == 0 {
		return
	}
	w.open("detail")
	for _, p := range pairs[:min(len(pairs), maxDetail)] {
		w.key("")
		w.b = append(append(w.b, p.key...), ':')
		w.b = appendText(w.b, p.value, maxValue)
	}
	w.close()
}

// appendText appends a JSON string in ASCII of at most most bytes between its
// quotes. Everything outside printable ASCII is escaped as \uXXXX, also the
// characters that turn, hide or break lines on a terminal; invalid UTF-8 becomes
// U+FFFD. A longer text is cut between characters and marked.
func appendText(b []byte, s string, most int) []byte {
	b = append(b, '"')
	start, safe := len(b), len(b) // safe is where the text is cut if it has to be
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		b = appendRune(b, r)
		i += size
		if len(b)-start > most {
			return append(append(b[:safe], cut...), '"')
		}
		if len(b)-start <= most-len(cut) {
			safe = len(b)
		}
	}
	return append(b, '"')
}

func appendRune(b []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case r >= ' ' && r < 0x7f:
		return append(b, byte(r))
	case r > 0xffff: // a surrogate pair, RFC 8259 section 7
		r -= 0x10000
		return appendEscape(appendEscape(b, 0xd800+(r>>10)), 0xdc00+(r&0x3ff))
	}
	return appendEscape(b, r)
}

func appendEscape(b []byte, unit rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[unit>>12], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
}

// leaf is the shape that Decode reads.
type leaf struct {
	Schema string `json:"schema"`
	ID     string `json:"id"`
	Time   string `json:"time"`
	Event  Name   `json:"event"`
	Actor  struct {
		Kind    access.Kind `json:"kind"`
		ID      string      `json:"id"`
		Issuer  string      `json:"issuer"`
		Subject string      `json:"subject"`
		Token   string      `json:"token"`
	} `json:"actor"`
	Source   string        `json:"source"`
	Action   access.Action `json:"action"`
	Resource struct {
		Project string `json:"project"`
		Chart   string `json:"chart"`
		Version string `json:"version"`
		Digest  string `json:"digest"`
	} `json:"resource"`
	Outcome struct {
		Result Result `json:"result"`
		Rule   string `json:"rule"`
		Status int    `json:"status"`
	} `json:"outcome"`
	Before  string            `json:"before"`
	After   string            `json:"after"`
	Request string            `json:"request"`
	Door    Door              `json:"door"`
	Reason  string            `json:"reason"`
	Detail  map[string]string `json:"detail"`
}

// Decode reads what Encode wrote, and nothing else: other bytes that mean the
// same, such as fields in another order, twice or in capitals, are an error. What
// Encode leaves out is empty: Actor.Name, a person's subject, Source. Names that
// this program does not know are accepted, so that an older one can still check
// a log that a newer one has written to.
func Decode(b []byte) (Event, error) {
	if len(b) > MaxLeaf {
		return Event{}, fmt.Errorf("decode audit event: %d bytes, at most %d are allowed", len(b), MaxLeaf)
	}
	var l leaf
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return Event{}, fmt.Errorf("decode audit event: %w", err)
	}
	if l.Schema != schema {
		return Event{}, fmt.Errorf("decode audit event: schema %q is unknown", l.Schema)
	}
	t, err := time.Parse(timeForm, l.Time)
	if err != nil {
		return Event{}, fmt.Errorf("decode audit event: %w", err)
	}
	e := Event{
		ID: l.ID, Time: t, Name: l.Event,
		Actor:        Actor{Kind: l.Actor.Kind, ID: l.Actor.ID, Issuer: l.Actor.Issuer, Subject: l.Actor.Subject, TokenID: l.Actor.Token},
		SourceDigest: l.Source,
		Action:       l.Action,
		Resource:     Resource(l.Resource),
		Outcome:      Outcome(l.Outcome),
		Before:       l.Before, After: l.After,
		RequestID: l.Request, Door: l.Door, Reason: l.Reason, Detail: l.Detail,
	}
	again, err := e.encode()
	if err != nil {
		return Event{}, fmt.Errorf("decode audit event: %w", err)
	}
	if !bytes.Equal(again, b) {
		return Event{}, fmt.Errorf("decode audit event: the encoding is not canonical")
	}
	return e, nil
}
