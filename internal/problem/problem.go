// Package problem is the one error type that reaches a person or a client.
//
// A problem says what is wrong in the reader's own names, gives the facts, and
// names what to do next. Its Kind is set where the fact is known and decides
// the answer at every door: package server maps kinds to HTTP and OCI codes,
// package cli maps them to exit codes, and nothing else maps them.
//
// Errors that are not problems are our fault: they are shown as "internal" to
// the client and logged in full for the operator.
package problem

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is the closed list of what can be wrong.
type Kind string

// The kinds. Internal is the zero meaning of an error that carries no kind.
const (
	Internal        Kind = "internal"        // our fault
	Invalid         Kind = "invalid"         // the input breaks a rule that it can be mended to keep
	Unauthenticated Kind = "unauthenticated" // no credential, or one that is not (or no longer) valid
	Denied          Kind = "denied"          // known, but without the right
	NotFound        Kind = "not-found"       // does not exist, or may not be known to exist
	Immutable       Kind = "immutable"       // would change what is released
	Conflict        Kind = "conflict"        // the present state forbids it; it may be tried again after the state changed
	Policy          Kind = "policy"          // a policy of the project refuses it
	TooLarge        Kind = "too-large"       // over a limit in size or count
	Unsupported     Kind = "unsupported"     // this server does not offer it, by design or by configuration
	Gone            Kind = "gone"            // existed; its bytes were withdrawn for good
	Disproven       Kind = "disproven"       // a digest, signature or proof was checked and does not hold
	Unavailable     Kind = "unavailable"     // cannot be decided or done now: a store is down, full or read-only
)

// Fact is one line of what is known: a short label and its value.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Error is a problem. It is a value for people: Message is one sentence
// without a trailing newline, Try a command or an action.
type Error struct {
	Kind    Kind   `json:"kind"`
	Rule    string `json:"rule,omitempty"` // stable id of the rule that refused, such as "chart-name-case"; used by audit and metrics
	Message string `json:"message"`
	Facts   []Fact `json:"facts,omitempty"`
	Try     string `json:"try,omitempty"`
	Err     error  `json:"-"` // the cause, for the operator's log only
}

// New makes a problem of a kind; rule may be empty.
func New(kind Kind, rule, format string, args ...any) *Error {
	return &Error{Kind: kind, Rule: rule, Message: fmt.Sprintf(format, args...)}
}

// With adds a fact and returns the same problem.
func (e *Error) With(label, format string, args ...any) *Error {
	e.Facts = append(e.Facts, Fact{label, fmt.Sprintf(format, args...)})
	return e
}

// Suggest sets what to do next and returns the same problem.
func (e *Error) Suggest(format string, args ...any) *Error {
	e.Try = fmt.Sprintf(format, args...)
	return e
}

// Because records the cause, which is logged and never shown to a client.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

// Error is the message with its facts in one line, for logs and wrapping.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Facts {
		if i == 0 {
			b.WriteString(" (")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(f.Label + " " + f.Value)
	}
	if len(e.Facts) > 0 {
		b.WriteString(")")
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first problem in err's chain, or Internal.
func KindOf(err error) Kind {
	if p, ok := As(err); ok {
		return p.Kind
	}
	return Internal
}

// As returns the first problem in err's chain.
func As(err error) (*Error, bool) { return errors.AsType[*Error](err) }
