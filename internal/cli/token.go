package cli

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

type tokenSecret struct{ client.TokenSecret }

func (tokenSecret) schema() string   { return "token-secret/v1" }
func (r tokenSecret) keys() []string { return []string{r.Secret} }

func (r tokenSecret) view() view {
	return view{
		{facts: []fact{
			{"token", r.Secret}, {"id", r.ID}, {"name", r.Name}, {"account", r.Account},
			{"grants", grantsWords(r.Grants)}, {"expires", stampSeconds(r.Expires)},
		}},
		{text: "The token is shown this once. It works as CHARTKEEP_TOKEN, and as the\npassword of helm registry login with any user name."},
	}
}

type tokenList struct {
	Items []client.Token `json:"items"`
	now   time.Time
}

func (tokenList) schema() string { return "token-list/v1" }

func (r tokenList) keys() []string {
	return keysOf(r.Items, func(t client.Token) string { return t.ID })
}

func (r tokenList) view() view {
	b := block{head: []string{"ID", "ACCOUNT", "EXPIRES", "USED", "NAME AND GRANTS"}, empty: "there are no tokens"}
	for _, t := range r.Items {
		ends := day(t.Expires)
		switch {
		case !t.Revoked.IsZero():
			ends = "revoked"
		case !t.Expires.After(r.now):
			ends = "expired"
		}
		what := grantsWords(t.Grants)
		if t.Name != "" {
			what = t.Name + ": " + what
		}
		b.rows = append(b.rows, []string{t.ID, t.Account, ends, cmp.Or(day(t.LastUsed), "never"), what})
	}
	return view{b}
}

func (a *app) tokenCommands() *cobra.Command {
	return group("token", "Make and end tokens, ask what they may do",
		a.tokenCreateCommand(), a.tokenExchangeCommand(), a.tokenListCommand(), a.tokenRevokeCommand(), a.tokenCanICommand())
}

type tokenCreateOptions struct {
	grantOptions
	name    string
	account string
}

func (o *tokenCreateOptions) register(f *pflag.FlagSet) {
	o.grantOptions.register(f)
	f.StringVar(&o.expires, "expires", "90d", "ends `WHEN`: 90d, 12h, or a date; at most 366 days from now")
	f.StringVar(&o.name, "name", "", "`TEXT` that says what it is for (default: role and project)")
	f.StringVar(&o.account, "user", "", "`ACCOUNT` that it belongs to (default: your own)")
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var opt tokenCreateOptions
	return a.leaf(command{
		use: "create --project NAME --role ROLE [flags]", short: "Make a token",
		long: `
Make a token and print it, this once: the server keeps only its hash. With -q
the token alone is printed.`,
		example: `
chartkeep token create --project demo --role publisher -q
# for a pipeline that may publish pre-releases of some charts
chartkeep token create --project demo --role publisher --chart 'web*' \
  --prerelease-only --expires 30d --name web-pipeline`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			g, err := opt.grant()
			if err != nil {
				return nil, err
			}
			expires, err := until(opt.expires, a.now())
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			t, err := c.CreateToken(ctx, client.NewToken{
				Name: cmp.Or(opt.name, g.Role+"-"+g.Project), Account: opt.account, Grants: []client.Grant{g}, Expires: expires,
			})
			if err != nil {
				return nil, err
			}
			return tokenSecret{t}, nil
		},
	})
}

func (a *app) tokenListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List tokens, without their secrets",
		example: `chartkeep token list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Tokens)
			if err != nil {
				return nil, err
			}
			return tokenList{items, a.now()}, nil
		},
	})
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return a.leaf(command{
		use: "revoke ID", short: "End a token",
		long: `
End a token, at once and for good. Bearer tokens that an OCI client was given
for it live up to five minutes longer.`,
		example: `chartkeep token revoke tok-1a2b3c4d5e6f70819203`,
		args:    arguments{1, 1, "the ID of a token, see chartkeep token list"}, complete: a.completeTokenArg,
		run: func(ctx context.Context, args []string) (result, error) {
			if strings.HasPrefix(args[0], "ckt_") {
				return nil, usage("a token is revoked by its id, and this is a token").try("chartkeep token list")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RevokeToken(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "token-revoked/v1", Name: args[0], Change: "revoked"}, nil
		},
	})
}

// decision is the answer to can-i.
type decision struct {
	Action     string `json:"action"`
	Project    string `json:"project,omitempty"`
	Chart      string `json:"chart,omitempty"`
	Prerelease bool   `json:"prerelease,omitempty"`
	Account    string `json:"account,omitempty"`
	client.Decision
	explain bool
}

func (decision) schema() string { return "decision/v1" }

func (r decision) yes() string {
	if r.Allowed {
		return "yes"
	}
	return "no"
}

func (r decision) keys() []string { return []string{r.yes()} }

func (r decision) view() view {
	v := view{{facts: []fact{{"allowed", r.yes()}}}}
	if !r.explain {
		return v
	}
	b := block{head: []string{"HOLDER", "GRANT", "MATCHED", "WHY"}, empty: "nothing was looked at"}
	for _, s := range r.Steps {
		grant := "-"
		if s.Grant != nil {
			grant = grantWords(*s.Grant)
		}
		matched := "no"
		if s.Matched {
			matched = "yes"
		}
		b.rows = append(b.rows, []string{s.Holder, grant, matched, s.Why})
	}
	return append(v, b)
}

type canIOptions struct {
	account    string
	prerelease bool
	explain    bool
}

func (o *canIOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.account, "user", "", "ask for this `ACCOUNT` (default: for yourself)")
	f.BoolVar(&o.prerelease, "prerelease", false, "ask for a pre-release")
	f.BoolVar(&o.explain, "explain", false, "list every grant, with why it does or does not allow it")
}

func (a *app) tokenCanICommand() *cobra.Command {
	var opt canIOptions
	return a.leaf(command{
		use: "can-i ACTION [PROJECT[/CHART]] [flags]", short: "Ask whether you may do something",
		long: `
Ask whether you, or an account, may do something. The server answers with the
function that decides on real requests. The exit code is 0 when it is allowed
and 4 when it is not. Actions are listed by chartkeep help access.`,
		example: `
chartkeep token can-i chart.push demo/web --explain
chartkeep token can-i project.create`,
		args: arguments{1, 2, "an ACTION, and at most one PROJECT"}, flags: opt.register, complete: a.completeAction,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			q := client.Question{Account: opt.account, Action: args[0], Prerelease: opt.prerelease}
			if len(args) > 1 {
				if q.Project, q.Chart, err = splitProject(ctx, c, args[1]); err != nil {
					return nil, err
				}
			}
			d, err := c.CanI(ctx, q)
			if err != nil {
				return nil, err
			}
			r := decision{Action: q.Action, Project: q.Project, Chart: q.Chart, Prerelease: q.Prerelease, Account: q.Account, Decision: d, explain: opt.explain}
			if !d.Allowed {
				return r, answer{problem.Denied}
			}
			return r, nil
		},
	})
}

// splitProject finds out which part of a path is the project: no project is
// the beginning of another's path, so at most one of the two readings exists.
// Where none does, or may be known, the last segment is taken for a chart.
func splitProject(ctx context.Context, c *client.Client, path string) (project, chart string, err error) {
	cut := strings.LastIndexByte(path, '/')
	if cut < 0 {
		return path, "", nil
	}
	switch _, err := c.Project(ctx, path); problem.KindOf(err) {
	case problem.NotFound, problem.Denied, problem.Unauthenticated:
		return path[:cut], path[cut+1:], nil
	default:
		return path, "", err
	}
}
