package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// globalOptions are those of every command.
type globalOptions struct {
	server    string
	tokenFile string
	form      string
	quiet     bool
	color     string
}

func (o *globalOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.server, "server", "", "`URL` of the server (default: CHARTKEEP_SERVER, then "+defaultServer+")")
	f.StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token (default: the token in CHARTKEEP_TOKEN)")
	f.StringVarP(&o.form, "output", "o", formTable, "`FORM` of the result: "+strings.Join(forms, ", "))
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the key alone, such as a digest or a name")
	f.StringVar(&o.color, "color", "auto", "colour `WHEN`: auto, always, never")
}

// check checks them for a command, which reports findings or does not.
func (o *globalOptions) check(reports bool) error {
	allowed := forms
	if reports {
		allowed = slices.Concat(forms, reportForms)
	}
	if !slices.Contains(allowed, o.form) {
		return usage("-o %s is not a form of output", o.form).try("-o %s", strings.Join(allowed, "|"))
	}
	if !slices.Contains([]string{"auto", "always", "never"}, o.color) {
		return usage("--color %s is none of auto, always and never", o.color)
	}
	return nil
}

// command describes a command that returns a result.
type command struct {
	use     string
	short   string
	long    string
	example string
	args    arguments
	flags   func(*pflag.FlagSet)
	// run does the work. It may return a result and an error.
	run func(ctx context.Context, args []string) (result, error)
	// complete offers values for the next argument; nil offers none.
	complete func(ctx context.Context, args []string, begun string) []string
	// files lets the shell offer file names, where complete is nil.
	files bool
	// reports says that the result is a reporter: -o sarif and -o junit are
	// forms of it.
	reports bool
}

// arguments says how many a command takes, at least and at most; most -1 is no
// bound. What names them in errors.
type arguments struct {
	least, most int
	what        string
}

func (n arguments) check(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) < n.least:
		return usage("%s needs %s", cmd.CommandPath(), n.what).try("%s", strings.TrimSpace(firstExample(cmd)))
	case n.most >= 0 && len(args) > n.most && n.most == 0:
		return usage("%s takes no arguments, and %q was given", cmd.CommandPath(), args[0]).try("%s --help", cmd.CommandPath())
	case n.most >= 0 && len(args) > n.most:
		return usage("%s takes %s, and %q is one too many", cmd.CommandPath(), n.what, args[n.most]).try("%s --help", cmd.CommandPath())
	}
	return nil
}

// firstExample is the first of a command's examples that is of the command.
func firstExample(cmd *cobra.Command) string {
	for line := range strings.SplitSeq(cmd.Example, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, cmd.CommandPath()+" ") {
			return strings.TrimSuffix(line, " \\")
		}
	}
	return cmd.CommandPath() + " --help"
}

// leaf makes the cobra command of a command.
func (a *app) leaf(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: strings.TrimSpace(c.long), Example: indented(c.example),
		Args: c.args.check,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.global.check(c.reports); err != nil {
				return err
			}
			r, err := c.run(cmd.Context(), args)
			if r != nil {
				if perr := a.print(r); perr != nil && err == nil {
					err = perr
				}
			}
			return err
		},
		DisableFlagsInUseLine: true,
	}
	if c.flags != nil {
		c.flags(cmd.Flags())
	}
	if c.reports {
		cmd.Long += "\n\nBeside the usual forms of output there are -o sarif and -o junit, for code\nscanning and for reports of tests."
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if c.complete != nil && (c.args.most < 0 || len(args) < c.args.most) {
			offered := c.complete(cmd.Context(), args, begun)
			if slices.ContainsFunc(offered, func(s string) bool { return strings.HasSuffix(s, "/") || strings.HasSuffix(s, "@") }) {
				return offered, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
			}
			return offered, cobra.ShellCompDirectiveNoFileComp
		}
		if c.files {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// indented sets examples off from the margin.
func indented(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n")
}

// group makes a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(below...)
	return cmd
}

// knownCommand refuses a word behind a group, which would be a command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := usage("%s has no command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return err.try("%s %s", cmd.CommandPath(), near[0])
	}
	return err.try("%s --help", cmd.CommandPath())
}

const rootLong = `
Chartkeep is a Helm chart registry in which a released chart can never change,
and everyone can check that.

A release is written project/chart@version, such as team-a/web@1.4.2.`

const rootExample = `
chartkeep project create demo --public
chartkeep push web-1.4.2.tgz --project demo
chartkeep verify web-1.4.2.tgz --log-key log.vkey`

// root makes the whole tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "chartkeep",
		Short: "A Helm chart registry in which a released chart can never change",
		Long:  strings.TrimSpace(rootLong), Example: indented(rootExample),
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		message := err.Error()
		if v, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
			kind, _ := pflag.UnquoteUsage(v.GetFlag())
			message = fmt.Sprintf("%q is nothing that --%s takes (%s)", v.GetValue(), v.GetFlag().Name, cmp.Or(kind, "true or false"))
		}
		return usage("%s: %s", cmd.CommandPath(), message).try("%s --help", cmd.CommandPath())
	})
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	a.global.register(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))

	for _, part := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"server", "Run a server:", a.serverCommands()},
		{"charts", "Release and use charts:", []*cobra.Command{
			a.checkCommand(), a.diffCommand(), a.signCommand(), a.pushCommand(), a.attachCommand(), a.pullCommand(), a.verifyCommand(), a.yankCommand(), a.unyankCommand(), a.releaseCommands()}},
		{"protect", "Block what must not be used, with a second person:", []*cobra.Command{
			a.quarantineCommands(), a.whereCommand(), a.tombstoneCommands(), a.requestCommands()}},
		{"manage", "Manage a registry:", []*cobra.Command{
			a.projectCommands(), a.policyCommands(), a.userCommands(), a.tokenCommands(), a.grantCommands(), a.publisherCommands()}},
		{"watch", "Stay up to date:", []*cobra.Command{
			a.outdatedCommand(), a.upstreamCommands(), a.deploymentCommands(), a.eventCommands(), a.routeCommands(), a.alertCommands()}},
		{"judge", "Judge what it means, and plan:", []*cobra.Command{
			a.statusCommand(), a.advisoryCommands(), a.explainCommand(), a.reviewCommands(), a.planCommands(), a.upgradeCommands(), a.waiverCommands(),
			a.windowCommands(), a.decisionCommands(), a.trackerCommands(), a.ticketCommands(), a.practiceCommand()}},
		{"records", "Read its records:", []*cobra.Command{a.logCommands(), a.witnessCommands(), a.monitorCommand(), a.auditCommands(), a.scrubCommands()}},
	} {
		if len(part.commands) == 0 {
			continue
		}
		root.AddGroup(&cobra.Group{ID: part.id, Title: part.title})
		for _, cmd := range part.commands {
			cmd.GroupID = part.id
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommand(helpCommand())
	root.AddCommand(a.versionCommand(), documentCommand())
	root.AddCommand(topics()...)
	a.completeFlags(root)
	return root
}

// helpCommand is cobra's, but for a command that there is not it fails.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Show help for a command, or a help topic",
		Example: indented("chartkeep help push\nchartkeep help exit-codes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return knownCommand(found, rest)
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range found.Commands() {
				if !sub.Hidden && strings.HasPrefix(sub.Name(), begun) {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// completeFlags offers values for the flags that have the same name and
// meaning at every command.
func (a *app) completeFlags(cmd *cobra.Command) {
	for name, complete := range map[string]func(context.Context) []string{
		"project": a.completeProjects, "role": completeRoles, "reason": a.completeReasons,
	} {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				return complete(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
			})
		}
	}
	for _, sub := range cmd.Commands() {
		a.completeFlags(sub)
	}
}

// helpTemplate is cobra's, without an empty line behind a help topic.
const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}
{{end}}{{if or .Runnable .HasSubCommands}}
{{.UsageString}}{{end}}`

// usageTemplate is cobra's, with flags wrapped to 80 columns and those of every
// command described once, at the root.
const usageTemplate = `Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{else}}
  {{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}

Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{else}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}

Other commands:{{range $cmds}}{{if (and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Every command takes -o, -q, --server, --token-file and --color, see
chartkeep --help.{{end}}{{if .HasHelpSubCommands}}

Help topics:{{range .Commands}}{{if .IsAdditionalHelpTopicCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}
`
