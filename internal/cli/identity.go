package cli

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

type accountResult struct{ client.Account }

func (accountResult) schema() string   { return "account/v1" }
func (r accountResult) keys() []string { return []string{r.Name} }

func (r accountResult) view() view {
	return view{{facts: []fact{{"account", r.Name}, {"kind", r.Kind}, {"id", r.ID}, {"created", stampSeconds(r.Created)}}}}
}

type accountList struct {
	Items []client.Account `json:"items"`
}

func (accountList) schema() string { return "account-list/v1" }

func (r accountList) keys() []string {
	return keysOf(r.Items, func(x client.Account) string { return x.Name })
}

func (r accountList) view() view {
	b := block{head: []string{"ACCOUNT", "KIND", "STATE", "ID", "CREATED"}, empty: "there are no accounts"}
	for _, x := range r.Items {
		state := "active"
		if x.Disabled {
			state = "disabled"
		}
		b.rows = append(b.rows, []string{x.Name, x.Kind, state, x.ID, stamp(x.Created)})
	}
	return view{b}
}

func (a *app) userCommands() *cobra.Command {
	return group("user", "Manage accounts of people and machines",
		a.userCreateCommand(), a.userListCommand(), a.userDisableCommand(), a.userPasswdCommand(),
		a.userLinksCommand(), a.userLinkCommand(), a.userUnlinkCommand())
}

type userCreateOptions struct {
	kind          string
	passwordStdin bool
	noPassword    bool
}

func (o *userCreateOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.kind, "kind", "user", "`KIND`: user (a person) or robot (a machine, which has no password)")
	f.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from the first line of standard input")
	f.BoolVar(&o.noPassword, "no-password", false, "make it without a password, to be used through tokens alone")
}

func (a *app) userCreateCommand() *cobra.Command {
	var opt userCreateOptions
	return a.leaf(command{
		use: "create NAME [flags]", short: "Make an account",
		long: `
Make an account. A person's password is asked for where there is a terminal, or
read from standard input; without one the account is used through tokens alone.
An account has no rights until it is given some: see grant add.`,
		example: `
chartkeep user create ann
chartkeep user create ann --password-stdin < password-file
chartkeep user create ci-web --kind robot`,
		args: arguments{1, 1, "the NAME of the account"}, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			if opt.passwordStdin && (opt.noPassword || opt.kind == "robot") {
				return nil, usage("--password-stdin gives a password to an account that is to have none")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			password := ""
			_, asks := terminal(a.stdin)
			if opt.passwordStdin || asks && !opt.noPassword && opt.kind == "user" {
				if password, err = a.password(ctx, args[0]); err != nil {
					return nil, err
				}
			}
			x, err := c.CreateAccount(ctx, args[0], opt.kind, password)
			if err != nil {
				return nil, err
			}
			if password == "" && x.Kind == "user" {
				a.say("%s has no password and is used through tokens alone. To give it one: chartkeep user passwd %s", x.Name, x.Name)
			}
			return accountResult{x}, nil
		},
	})
}

func (a *app) userListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List the accounts",
		example: `chartkeep user list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Accounts)
			if err != nil {
				return nil, err
			}
			return accountList{items}, nil
		},
	})
}

func (a *app) userDisableCommand() *cobra.Command {
	var opt yesOption
	return a.leaf(command{
		use: "disable NAME", short: "Take all rights from an account and its tokens",
		long: `
Take all rights from an account and from its tokens, at once. Its name stays
taken, since the records name it.`,
		example: `chartkeep user disable ann --yes`,
		args:    arguments{1, 1, "the NAME of an account"}, flags: opt.register, complete: a.completeAccountArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			a.say("%s and its tokens will have no rights any more. This cannot be taken back.", args[0])
			if err := a.confirm(ctx, "Disable it?", opt.yes); err != nil {
				return nil, err
			}
			if err := c.DisableAccount(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "account-disabled/v1", Name: args[0], Change: "disabled"}, nil
		},
	})
}

func (a *app) userPasswdCommand() *cobra.Command {
	return a.leaf(command{
		use: "passwd NAME", short: "Set the password of an account",
		long: `
Set the password of an account: typed twice at a terminal, or the first line of
standard input. It has 12 to 256 bytes.`,
		example: `
chartkeep user passwd ann
chartkeep user passwd ann < password-file`,
		args: arguments{1, 1, "the NAME of an account"}, complete: a.completeAccountArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			password, err := a.password(ctx, args[0])
			if err != nil {
				return nil, err
			}
			if err := c.SetPassword(ctx, args[0], password); err != nil {
				return nil, err
			}
			return done{form: "account-password/v1", Name: args[0], Change: "has a new password"}, nil
		},
	})
}

// grantOptions are the parts of a grant.
type grantOptions struct {
	project        string
	role           string
	chart          string
	prereleaseOnly bool
	expires        string
}

func (o *grantOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.project, "project", "", "project `NAME`, or all below a prefix (team-a/*), or all (*)")
	f.StringVar(&o.role, "role", "", "`ROLE`, see chartkeep help access")
	f.StringVar(&o.chart, "chart", "", "limit writing to charts like this `PATTERN`, such as web or web*")
	f.BoolVar(&o.prereleaseOnly, "prerelease-only", false, "limit writing to pre-releases such as 1.3.0-rc.1")
}

func (o *grantOptions) grant() (client.Grant, error) {
	switch {
	case o.project == "":
		return client.Grant{}, usage("--project is missing").try("give --project NAME, or --project '*' for all")
	case o.role == "":
		return client.Grant{}, usage("--role is missing").try("chartkeep help access")
	}
	g := client.Grant{Role: o.role, Project: o.project, Chart: o.chart}
	if o.prereleaseOnly {
		g.Versions = "prerelease"
	}
	return g, nil
}

// grantWords words the limits of a grant.
func grantWords(g client.Grant) string {
	s := g.Role + " in " + g.Project
	if g.Chart != "" {
		s += ", charts " + g.Chart
	}
	if g.Versions == "prerelease" {
		s += ", pre-releases"
	}
	return s
}

func grantsWords(grants []client.Grant) string {
	return strings.Join(keysOf(grants, grantWords), "; ")
}

// until reads an end: a time from now such as 90d, 12h or 4w, or a date.
func until(s string, now time.Time) (time.Time, error) {
	if n := len(s); n > 1 {
		if days, ok := map[byte]int{'d': 1, 'w': 7}[s[n-1]]; ok {
			if k, err := strconv.Atoi(s[:n-1]); err == nil && k > 0 && k <= 100_000 {
				return now.AddDate(0, 0, k*days).UTC().Truncate(time.Second), nil
			}
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			if !t.After(now) {
				return time.Time{}, usage("--expires %s is in the past", s)
			}
			return t.UTC(), nil
		}
	}
	return time.Time{}, usage("--expires %s is no time from now and no date", s).try("--expires 90d, --expires 12h, or --expires YYYY-MM-DD")
}

type grantResult struct{ client.AccountGrant }

func (grantResult) schema() string   { return "grant/v1" }
func (r grantResult) keys() []string { return []string{r.Grant.ID} }

func (r grantResult) view() view {
	return view{{facts: []fact{
		{"grant", r.Grant.ID}, {"account", r.Account}, {"role", r.Grant.Role}, {"project", r.Grant.Project},
		{"charts", cmp.Or(r.Grant.Chart, "all")}, {"versions", versionsWord(r.Grant)}, {"expires", cmp.Or(stampSeconds(r.Grant.Expires), "never")},
	}}}
}

func versionsWord(g client.Grant) string {
	if g.Versions == "prerelease" {
		return "pre-releases"
	}
	return "all"
}

type grantList struct {
	Items []client.AccountGrant `json:"items"`
}

func (grantList) schema() string { return "grant-list/v1" }

func (r grantList) keys() []string {
	return keysOf(r.Items, func(g client.AccountGrant) string { return g.Grant.ID })
}

func (r grantList) view() view {
	b := block{head: []string{"ID", "ACCOUNT", "EXPIRES", "GRANT"}, empty: "there are no grants"}
	for _, x := range r.Items {
		b.rows = append(b.rows, []string{x.Grant.ID, x.Account, cmp.Or(day(x.Grant.Expires), "never"), grantWords(x.Grant)})
	}
	return view{b}
}

func (a *app) grantCommands() *cobra.Command {
	return group("grant", "Give rights to accounts", a.grantAddCommand(), a.grantListCommand(), a.grantHoldersCommand(), a.grantRevokeCommand())
}

func (a *app) grantAddCommand() *cobra.Command {
	var opt grantOptions
	return a.leaf(command{
		use: "add ACCOUNT --role ROLE --project NAME [flags]", short: "Give an account a role in a project",
		example: `
chartkeep grant add ann --role maintainer --project demo
# a publisher of some charts in all projects below team-a, for 90 days
chartkeep grant add ci-web --role publisher --project 'team-a/*' \
  --chart 'web*' --expires 90d`,
		args: arguments{1, 1, "the name of an ACCOUNT"}, complete: a.completeAccountArg,
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.StringVar(&opt.expires, "expires", "", "ends `WHEN`: 90d, 12h, or a date; left out, never")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			g, err := opt.grant()
			if err != nil {
				return nil, err
			}
			if opt.expires != "" {
				if g.Expires, err = until(opt.expires, a.now()); err != nil {
					return nil, err
				}
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			added, err := c.AddGrant(ctx, args[0], g)
			if err != nil {
				return nil, err
			}
			return grantResult{added}, nil
		},
	})
}

type accountOption struct{ account string }

func (o *accountOption) register(f *pflag.FlagSet) {
	f.StringVar(&o.account, "user", "", "only those of this `ACCOUNT`")
}

func (a *app) grantListCommand() *cobra.Command {
	var opt accountOption
	return a.leaf(command{
		use: "list [--user ACCOUNT]", short: "List the grants", flags: opt.register,
		example: `chartkeep grant list --user ann`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.AccountGrant], error) {
				return c.Grants(ctx, opt.account, p)
			})
			if err != nil {
				return nil, err
			}
			return grantList{items}, nil
		},
	})
}

func (a *app) grantRevokeCommand() *cobra.Command {
	return a.leaf(command{
		use: "revoke ID", short: "Take a grant away",
		example: `chartkeep grant revoke grn-1a2b3c4d5e6f70819203`,
		args:    arguments{1, 1, "the ID of a grant, see chartkeep grant list"}, complete: a.completeGrantArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RevokeGrant(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "grant-revoked/v1", Name: args[0], Change: "revoked"}, nil
		},
	})
}
