package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documentCommand writes the reference of all commands. It is for packagers,
// and hidden.
func documentCommand() *cobra.Command {
	write := func(use, short string, name func(*cobra.Command) string, page func(io.Writer, *cobra.Command)) *cobra.Command {
		return &cobra.Command{
			Use: use + " DIR", Short: short, Args: arguments{1, 1, "a folder DIR"}.check,
			RunE: func(cmd *cobra.Command, args []string) error {
				if err := os.MkdirAll(args[0], 0o755); err != nil {
					return fileProblem(args[0], err)
				}
				return eachCommand(cmd.Context(), cmd.Root(), func(c *cobra.Command) error {
					return writeFile(filepath.Join(args[0], name(c)), func(w io.Writer) error {
						var b strings.Builder
						page(stringWriter{&b}, c)
						_, err := io.WriteString(w, b.String())
						return err
					})
				})
			},
		}
	}
	docs := group("docs", "Write man pages or a Markdown reference",
		write("man", "Write man pages", func(c *cobra.Command) string { return pageName(c) + ".1" }, manPage),
		write("markdown", "Write a Markdown reference", func(c *cobra.Command) string { return pageName(c) + ".md" }, markdownPage))
	docs.Hidden = true
	return docs
}

// stringWriter is a writer that does not fail.
type stringWriter struct{ *strings.Builder }

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// eachCommand visits a command and all below it that people see.
func eachCommand(ctx context.Context, c *cobra.Command, visit func(*cobra.Command) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	if err := visit(c); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" {
			continue
		}
		if err := eachCommand(ctx, sub, visit); err != nil {
			return err
		}
	}
	return nil
}

// roff escapes a text for a man page: a line may not begin with a control
// character, and hyphens stay hyphens that can be copied.
func roff(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func manPage(w io.Writer, c *cobra.Command) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p(`.TH "%s" 1 "" "chartkeep" "Chartkeep"`, strings.ToUpper(roff(pageName(c))))
	p(".nh")
	p(".SH NAME\n%s \\- %s", roff(pageName(c)), roff(c.Short))
	if c.Runnable() {
		p(".SH SYNOPSIS\n.B %s", roff(c.UseLine()))
	}
	if c.Long != "" {
		p(".SH DESCRIPTION\n.nf\n%s\n.fi", roff(c.Long))
	}
	if c.Example != "" {
		p(".SH EXAMPLES\n.nf\n%s\n.fi", roff(c.Example))
	}
	manFlags := func(title string, flags *pflag.FlagSet) {
		if !flags.HasAvailableFlags() {
			return
		}
		p(".SH %s", title)
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				p(".TP\n.B %s\n%s", roff(flagName(f)), roff(f.Usage))
			}
		})
	}
	manFlags("OPTIONS", c.NonInheritedFlags())
	manFlags("OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if also := seeAlso(c); len(also) > 0 {
		for i, name := range also {
			also[i] = ".BR " + roff(name) + " (1)"
		}
		p(".SH SEE ALSO\n%s", strings.Join(also, ",\n"))
	}
}

// flagName is a flag as it is typed.
func flagName(f *pflag.Flag) string {
	s := "--" + f.Name
	if f.Shorthand != "" {
		s = "-" + f.Shorthand + ", " + s
	}
	if kind, _ := pflag.UnquoteUsage(f); kind != "" {
		s += " " + kind
	}
	return s
}

// seeAlso names the pages above and below a command.
func seeAlso(c *cobra.Command) []string {
	var names []string
	if c.HasParent() {
		names = append(names, pageName(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			names = append(names, pageName(sub))
		}
	}
	return names
}

func markdownPage(w io.Writer, c *cobra.Command) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("# %s\n\n%s.", c.CommandPath(), c.Short)
	code := func(title, text string) { p("\n%s```\n%s\n```", title, strings.Trim(text, "\n")) }
	if c.Runnable() {
		code("", c.UseLine())
	}
	if c.Long != "" {
		code("", c.Long)
	}
	if c.Example != "" {
		code("## Examples\n\n", strings.ReplaceAll("\n"+c.Example, "\n  ", "\n"))
	}
	if flags := c.NonInheritedFlags(); flags.HasAvailableFlags() {
		code("## Flags\n\n", flags.FlagUsages())
	}
	if flags := c.InheritedFlags(); flags.HasAvailableFlags() {
		code("## Flags of every command\n\n", flags.FlagUsages())
	}
	if also := seeAlso(c); len(also) > 0 {
		p("\n## See also\n")
		for _, name := range also {
			p("- [%s](%s.md)", strings.ReplaceAll(name, "-", " "), name)
		}
	}
}
