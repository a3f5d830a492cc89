// Package cli is the command line: commands parse, call, and return a result;
// one renderer prints it.
//
// What always holds:
//
//   - A command prints nothing. It returns a result, an error, or both (a
//     verification that failed has its list of checks). Results go to stdout in
//     the form that -o names; errors, questions, warnings and progress go to
//     stderr.
//   - The exit code follows from the kind of the error, in the one table of
//     exit.go.
//   - JSON has a schema such as "push/v1" as its first field. Within a version
//     of a schema, fields are only added. docs/cli-output.md describes them.
//   - No secret is a flag: tokens come from the environment or a file, passwords
//     from stdin or from a terminal that does not show them.
//   - Text that others wrote reaches a terminal with its control characters
//     escaped, whatever the form.
//
// Each command has one options struct, whose flags are registered in one place.
package cli
