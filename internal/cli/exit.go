package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitDenied      = 4
	exitDisproven   = 5
	exitFindings    = 6
	exitDiffers     = 7
	exitInterrupted = 130
)

// exit is one exit code: what it says, and the kinds of problem that lead to it.
type exit struct {
	code    int
	meaning string
	kinds   []problem.Kind
}

// exits is the one table from problems to exit codes. Help and documents are
// made from it.
var exits = []exit{
	{exitDone, "done, or true", nil},
	{exitFailed, "could not be done, or could not be checked",
		[]problem.Kind{problem.Internal, problem.NotFound, problem.Gone, problem.Unsupported, problem.Unavailable}},
	{exitUsage, "the command line, the environment or a configuration file is wrong", nil},
	{exitRefused, "refused by a rule or a policy; the same again will be refused again",
		[]problem.Kind{problem.Immutable, problem.Policy, problem.Conflict, problem.Invalid, problem.TooLarge}},
	{exitDenied, "not signed in, or not allowed",
		[]problem.Kind{problem.Unauthenticated, problem.Denied}},
	{exitDisproven, "proven false: a digest, a signature or a proof does not hold",
		[]problem.Kind{problem.Disproven}},
	{exitFindings, "findings at or above --fail-on, where a command has that flag", nil},
	{exitDiffers, "differences, where a command has --exit-diff and it is given", nil},
	{exitInterrupted, "interrupted", nil},
}

// exitOf is the exit code of a command that ended with err.
func exitOf(err error) int {
	if err == nil {
		return exitDone
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[differs](err); ok {
		return exitDiffers
	}
	if _, ok := errors.AsType[findings](err); ok {
		return exitFindings
	}
	kind := problem.KindOf(err)
	if a, ok := errors.AsType[answer](err); ok {
		kind = a.kind
	}
	for _, e := range exits {
		if slices.Contains(e.kinds, kind) {
			return e.code
		}
	}
	return exitFailed
}

// usageError is a problem of the command line, the environment or a
// configuration file.
type usageError struct{ problem *problem.Error }

func (e usageError) Error() string { return e.problem.Error() }

func (e usageError) Unwrap() error { return e.problem }

// usage is a wrong command line.
func usage(format string, args ...any) usageError {
	return usageError{problem.New(problem.Invalid, "usage", format, args...)}
}

// asUsage turns a problem that the caller's own input has into one of usage.
func asUsage(err error) error {
	if p, ok := problem.As(err); ok {
		return usageError{p}
	}
	return err
}

// try sets what to do next.
func (e usageError) try(format string, args ...any) usageError {
	e.problem.Suggest(format, args...)
	return e
}

// answer ends a command with the exit code of a kind and without an error
// text, because its result says all: the answer to a question was no.
type answer struct{ kind problem.Kind }

func (a answer) Error() string { return "the answer is " + string(a.kind) }

// differs ends a command under --exit-diff, whose result says what differs.
type differs struct{}

func (differs) Error() string { return "there are differences" }

// findings ends a command under --fail-on, whose result says what they are.
type findings struct{}

func (findings) Error() string { return "there are findings" }

// exitTable is the table for the help topic.
func exitTable() string {
	var b strings.Builder
	for _, e := range exits {
		fmt.Fprintf(&b, "%4d  %s\n", e.code, e.meaning)
		if len(e.kinds) > 0 {
			kinds := make([]string, len(e.kinds))
			for i, k := range e.kinds {
				kinds[i] = string(k)
			}
			fmt.Fprintf(&b, "      kinds: %s\n", strings.Join(kinds, ", "))
		}
	}
	return b.String()
}
