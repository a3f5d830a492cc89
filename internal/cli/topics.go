package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/internal/access"
)

// variable is one of the environment.
type variable struct{ name, meaning string }

// variables are those that client commands read.
var variables = []variable{
	{"CHARTKEEP_SERVER", "URL of the server, with its context path; --server wins"},
	{"CHARTKEEP_TOKEN", "token to call with; --token-file wins; without one, anonymous"},
	{envIDToken, "identity token of a pipeline, for chartkeep token exchange"},
	{"NO_COLOR", "not empty: no colour; --color wins"},
	{"CLICOLOR_FORCE", "not empty and not 0: colour even without a terminal"},
	{"HTTPS_PROXY, NO_PROXY", "proxy for calls to servers, as in other programs"},
	{"SSL_CERT_FILE", "PEM file of certificate authorities to trust, in place of the system's"},
}

// topics are the help topics: commands that only have a text.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What exit codes mean", Long: exitCodesText()},
		{Use: "environment", Short: "Variables of the environment", Long: environmentText()},
		{Use: "access", Short: "Roles and actions", Long: accessText()},
		{Use: "publishers", Short: "What a pipeline can be asked to prove", Long: publishersText()},
	}
}

func exitCodesText() string {
	return "Exit codes, which scripts can rely on:\n\n" + exitTable() + `
"Could not be checked" is never 0 and never 5. An error names its kind in the
server's API; the kinds that lead to a code stand below it.`
}

func environmentText() string {
	var b strings.Builder
	b.WriteString("Flags win over the environment, and that over what is built in.\n\nClient commands read:\n\n")
	writeVariables(&b, variables)
	if server := serverVariables(); len(server) > 0 {
		b.WriteString("\nThe server reads, beside its configuration file:\n\n")
		writeVariables(&b, server)
	}
	b.WriteString("\nSecrets are never flags: a command line is seen by others.")
	return b.String()
}

func writeVariables(b *strings.Builder, list []variable) {
	for _, v := range list {
		fmt.Fprintf(b, "  %s\n", v.name)
		for _, line := range wrap(v.meaning, 74) {
			fmt.Fprintf(b, "      %s\n", line)
		}
	}
}

func accessText() string {
	var b strings.Builder
	b.WriteString(`A grant gives an account or a token one role in one project (demo), in all
projects below a prefix (team-a/*), or in all (*). It may be limited to charts
(web*), to pre-releases, and in time. Nothing overwrites or deletes a release:
no role can.

Roles:
`)
	for _, r := range access.Roles() {
		fmt.Fprintf(&b, "\n  %s\n", r.Role)
		for _, line := range wrap(r.Description, 74) {
			b.WriteString("      " + line + "\n")
		}
		names := make([]string, len(r.Actions))
		for i, x := range r.Actions {
			names[i] = string(x)
		}
		for _, line := range wrap(strings.Join(names, ", "), 74) {
			b.WriteString("      " + line + "\n")
		}
	}
	b.WriteString("\nActions, for token can-i:\n\n")
	for _, x := range access.Actions() {
		fmt.Fprintf(&b, "  %-18s %s\n", x.Action, x.Words)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
