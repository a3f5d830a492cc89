package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
)

type publisherResult struct{ client.Publisher }

func (publisherResult) schema() string   { return "publisher/v1" }
func (r publisherResult) keys() []string { return []string{r.ID} }

func (r publisherResult) view() view {
	g := client.Grant{Role: "publisher", Project: r.Project, Chart: r.Chart, Versions: r.Versions}
	b := block{facts: []fact{{"publisher", r.ID}, {"pipeline", r.Name}, {"may be", grantWords(g)}, {"issuer", r.Issuer}}}
	for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
		b.facts = append(b.facts, fact{name, strings.Join(r.Claims[name], " or ")})
	}
	b.facts = append(b.facts, fact{"made by", r.maker()}, fact{"created", stampSeconds(r.Created)},
		fact{"expires", cmp.Or(stampSeconds(r.Expires), "never")}, fact{"last used", cmp.Or(stampSeconds(r.LastUsed), "never")})
	if !r.Removed.IsZero() {
		b.facts = append(b.facts, fact{"removed", stampSeconds(r.Removed)})
	}
	return view{b}
}

func (r publisherResult) maker() string {
	if r.MakerDisabled {
		return r.Maker + ", whose account is disabled"
	}
	return r.Maker
}

type publisherList struct {
	Items []client.Publisher `json:"items"`
}

func (publisherList) schema() string { return "publisher-list/v1" }

func (r publisherList) keys() []string {
	return keysOf(r.Items, func(p client.Publisher) string { return p.ID })
}

func (r publisherList) view() view {
	b := block{head: []string{"ID", "PROJECT", "PIPELINE", "USED", "EXPIRES", "MADE BY"}, empty: "there are no publishers: pipelines publish with tokens"}
	for _, p := range r.Items {
		project := p.Project
		if p.Chart != "" {
			project += "/" + p.Chart
		}
		b.rows = append(b.rows, []string{p.ID, project, p.Name, cmp.Or(day(p.LastUsed), "never"), cmp.Or(day(p.Expires), "never"), publisherResult{p}.maker()})
	}
	return view{b}
}

func (a *app) publisherCommands() *cobra.Command {
	return group("publisher", "Decide which pipelines publish without a token of their own",
		a.publisherAddCommand(), a.publisherListCommand(), a.publisherShowCommand(), a.publisherTestCommand(), a.publisherRemoveCommand())
}

type publisherAddOptions struct {
	provider       string
	issuer         string
	name           string
	repositoryID   string
	ownerID        string
	workflow       []string
	environment    []string
	ref            []string
	claims         []string
	chart          string
	prereleaseOnly bool
	expires        string
}

func (o *publisherAddOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.provider, "provider", "github", "`PLATFORM`: github, gitlab, kubernetes or generic")
	f.StringVar(&o.issuer, "issuer", "", "`URL` of the issuer; needed where the server knows several of the platform")
	f.StringVar(&o.name, "name", "", "`NAME` of repository or project, for people; of a service account NAMESPACE/NAME")
	f.StringVar(&o.repositoryID, "id", "", "`NUMBER` of the repository or project; of a service account its uid")
	f.StringVar(&o.ownerID, "owner-id", "", "`NUMBER` of the repository's owner or the project's namespace")
	f.StringArrayVar(&o.workflow, "workflow", nil, "`FILE` of the workflow or pipeline, such as .github/workflows/release.yml")
	f.StringArrayVar(&o.environment, "environment", nil, "deployment environment `NAME` that the job must run in")
	f.StringArrayVar(&o.ref, "ref", nil, "branches or tags like this `PATTERN`, such as refs/tags/v* (on GitLab v*)")
	f.StringArrayVar(&o.claims, "claim", nil, "`NAME=VALUE` that the token must say; a name that is given twice may have either value")
	f.StringVar(&o.chart, "chart", "", "only charts like this `PATTERN`, such as web or web*; it need not exist yet")
	f.BoolVar(&o.prereleaseOnly, "prerelease-only", false, "only pre-releases such as 1.3.0-rc.1")
	f.StringVar(&o.expires, "expires", "", "ends `WHEN`: 90d, 12h, or a date; left out, never")
}

// names of the claims that the flags fill, by platform.
var publisherClaims = map[string]struct{ name, id, owner, workflow string }{
	"github":     {"repository", "repository_id", "repository_owner_id", "workflow"},
	"gitlab":     {"project_path", "project_id", "namespace_id", "ci_config"},
	"kubernetes": {"", "uid", "", ""},
	"generic":    {},
}

// wanted collects what the flags ask for.
func (o *publisherAddOptions) wanted() (map[string][]string, error) {
	out := map[string][]string{}
	for _, kv := range o.claims {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" || value == "" {
			return nil, usage("--claim %s is not of the form NAME=VALUE", kv).try("--claim event_name=release")
		}
		out[name] = append(out[name], value)
	}
	names, ok := publisherClaims[o.provider]
	if !ok {
		return nil, usage("--provider %s is none", o.provider).try("--provider github, gitlab, kubernetes or generic")
	}
	set := func(flag, claim string, values ...string) error {
		values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
		if len(values) == 0 {
			return nil
		}
		if claim == "" {
			return usage("--%s has no meaning for --provider %s", flag, o.provider).try("--claim NAME=VALUE")
		}
		out[claim] = append(out[claim], values...)
		return nil
	}
	environment, ref := "environment", "ref"
	if o.provider == "kubernetes" || o.provider == "generic" {
		environment, ref = "", ""
	}
	if o.provider == "kubernetes" && o.name != "" {
		namespace, account, ok := strings.Cut(o.name, "/")
		if !ok {
			return nil, usage("--name %s is no service account", o.name).try("--name NAMESPACE/NAME")
		}
		out["namespace"], out["service_account"], o.name = []string{namespace}, []string{account}, ""
	}
	for _, err := range []error{
		set("name", names.name, o.name), set("id", names.id, o.repositoryID), set("owner-id", names.owner, o.ownerID),
		set("workflow", names.workflow, o.workflow...), set("environment", environment, o.environment...), set("ref", ref, o.ref...),
	} {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *app) publisherAddCommand() *cobra.Command {
	var opt publisherAddOptions
	return a.leaf(command{
		use: "add PROJECT [flags]", short: "Let a pipeline publish to a project",
		long: `
Let a pipeline publish to a project without a token of its own: it shows the
identity token that its platform gives it, and gets a token for 15 minutes.

A pipeline is known by numbers that its platform never gives again; names alone
bind nothing, since they can be given up and taken by somebody else. The
project must exist; the chart need not. See chartkeep help publishers.`,
		example: `
chartkeep publisher add demo --name octo/web --id 41881900 --owner-id 65 \
  --workflow .github/workflows/release.yml --environment release \
  --ref 'refs/tags/v*'
chartkeep publisher add demo --provider gitlab --name octo/web --id 22 \
  --owner-id 72 --ref 'v*'
chartkeep publisher add demo --provider kubernetes --name build/publisher \
  --id 4f1d6f7a-1c2b-4a3d-9e8f-0a1b2c3d4e5f`,
		args: arguments{1, 1, "a PROJECT"}, complete: a.completeProjectArg, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			claims, err := opt.wanted()
			if err != nil {
				return nil, err
			}
			want := client.NewPublisher{Project: args[0], Provider: opt.provider, Issuer: opt.issuer, Claims: claims, Chart: opt.chart}
			if opt.prereleaseOnly {
				want.Versions = "prerelease"
			}
			if opt.expires != "" {
				if want.Expires, err = until(opt.expires, a.now()); err != nil {
					return nil, err
				}
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.AddPublisher(ctx, want)
			if err != nil {
				return nil, err
			}
			return publisherResult{p}, nil
		},
	})
}

type publisherListOptions struct{ project, madeBy string }

func (o *publisherListOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.project, "project", "", "only those of this project `NAME`")
	f.StringVar(&o.madeBy, "made-by", "", "only those that this `ACCOUNT` made, such as of somebody who leaves")
}

func (a *app) publisherListCommand() *cobra.Command {
	var opt publisherListOptions
	return a.leaf(command{
		use: "list [flags]", short: "List the pipelines that may publish",
		long: `
List the pipelines that may publish, with who decided so. A publisher stands
when the person who made it has left.`,
		example: `
chartkeep publisher list --project demo
# what somebody made who leaves
chartkeep publisher list --made-by ann`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Publisher], error) {
				return c.Publishers(ctx, opt.project, opt.madeBy, p)
			})
			if err != nil {
				return nil, err
			}
			return publisherList{items}, nil
		},
	})
}

func (a *app) completePublisherArg(ctx context.Context, _ []string, _ string) []string {
	return offers(ctx, a, func(c *client.Client, ctx context.Context, p client.Page) (client.List[client.Publisher], error) {
		return c.Publishers(ctx, "", "", p)
	}, func(p client.Publisher) string { return p.ID + "\t" + printable(p.Project+" "+p.Name) })
}

func (a *app) publisherShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show ID", short: "Show what a pipeline must prove, and what it may",
		example: `chartkeep publisher show pub-1a2b3c4d5e6f70819203`,
		args:    arguments{1, 1, "the ID of a publisher"}, complete: a.completePublisherArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Publisher(ctx, args[0])
			if err != nil {
				return nil, err
			}
			return publisherResult{p}, nil
		},
	})
}

func (a *app) publisherRemoveCommand() *cobra.Command {
	var opt yesOption
	return a.leaf(command{
		use: "remove ID", short: "Let a pipeline publish no more",
		long: `
Let a pipeline publish no more. The short tokens that pipelines have of its
project end at once; what it released stays.`,
		example: `chartkeep publisher remove pub-1a2b3c4d5e6f70819203 --yes`,
		args:    arguments{1, 1, "the ID of a publisher"}, complete: a.completePublisherArg, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Publisher(ctx, args[0])
			if err != nil {
				return nil, err
			}
			a.say("%s will publish to %s no more.", p.Name, p.Project)
			if err := a.confirm(ctx, "Remove it?", opt.yes); err != nil {
				return nil, err
			}
			if err := c.RemovePublisher(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "publisher-removed/v1", Name: args[0], Change: "removed"}, nil
		},
	})
}

// publisherTest is the answer to publisher test.
type publisherTest struct{ client.PublisherTest }

func (publisherTest) schema() string { return "publisher-test/v1" }

func (r publisherTest) keys() []string { return []string{yesNo(r.Accepted)} }

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (r publisherTest) view() view {
	b := block{facts: []fact{{"accepted", yesNo(r.Accepted)}}}
	switch {
	case r.Refusal != nil:
		b.facts = append(b.facts, fact{"token", r.Refusal.Message})
		for _, f := range r.Refusal.Facts {
			b.facts = append(b.facts, fact{f.Label, f.Value})
		}
		return view{b}
	case r.Checked:
		b.facts = append(b.facts, fact{"token", "signature, times and audience hold"})
	default:
		b.facts = append(b.facts, fact{"token", "not checked: only its claims were given"})
	}
	b.facts = append(b.facts, fact{"the log would say", cmp.Or(r.Subject, "nothing: the token lacks the ids of its platform")})
	v := view{b}
	if len(r.Bindings) == 0 {
		return append(v, block{text: "The project has no publishers.\n"})
	}
	table := block{head: []string{"PUBLISHER", "CLAIM", "WANTED", "TOKEN", "MATCHED", "WHY"}}
	for _, p := range r.Bindings {
		for _, s := range p.Steps {
			table.rows = append(table.rows, []string{p.ID, s.Claim, s.Want, cmp.Or(s.Got, "-"), yesNo(s.Matched), s.Why})
		}
	}
	return append(v, table)
}

type publisherTestOptions struct{ token, claims string }

func (o *publisherTestOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.token, "id-token-file", "", "`FILE` of an identity token; it is checked as a whole, and not used up")
	f.StringVar(&o.claims, "claims-file", "", "`FILE` of the claims of one, as JSON; its signature is then not checked")
}

func (a *app) publisherTestCommand() *cobra.Command {
	var opt publisherTestOptions
	return a.leaf(command{
		use: "test PROJECT [flags]", short: "Explain what would come of a pipeline's token",
		long: `
Explain, step by step, what would come of the identity token of a pipeline: by
the functions that decide on real ones, without giving anything. The exit code
is 0 when it would be accepted and 4 when not.`,
		example: `
chartkeep publisher test demo --claims-file claims.json
chartkeep publisher test demo --id-token-file token.jwt`,
		args: arguments{1, 1, "a PROJECT"}, complete: a.completeProjectArg, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			if (opt.token == "") == (opt.claims == "") {
				return nil, usage("either --id-token-file or --claims-file is needed")
			}
			text, err := readFile(cmp.Or(opt.token, opt.claims), 64<<10)
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			token, claims := "", json.RawMessage(nil)
			if opt.token != "" {
				token = strings.TrimSpace(string(text))
			} else if claims = text; !json.Valid(claims) {
				return nil, usage("%s is no JSON", opt.claims)
			}
			t, err := c.TestPublisher(ctx, args[0], token, claims)
			if err != nil {
				return nil, err
			}
			if !t.Accepted {
				return publisherTest{t}, answer{problem.Denied}
			}
			return publisherTest{t}, nil
		},
	})
}

// publishersText is the help topic: what a binding can ask for.
func publishersText() string {
	var b strings.Builder
	b.WriteString(`A publisher is a pipeline that may publish to a project without a token of its
own. Its job shows the identity token that the platform gives it (chartkeep
token exchange), and gets a token for 15 minutes. Ids bind; names are recorded
for people and decide nothing.

What can be asked of a token, for --claim NAME=VALUE; most have a flag of their
own, see chartkeep publisher add --help. Required ones are marked with *. A name
that is given twice may have either value.
`)
	for _, p := range []access.Provider{access.ProviderGitHub, access.ProviderGitLab, access.ProviderKubernetes} {
		fmt.Fprintf(&b, "\n%s\n", p)
		for _, w := range p.Wishes() {
			mark := ""
			if w.Required {
				mark = " *"
			}
			words := w.Words
			if len(w.Default) > 0 {
				words += "; left out: " + strings.Join(w.Default, ", ")
			}
			fmt.Fprintf(&b, "  %s%s\n", w.Name, mark)
			for _, line := range wrap(words, 74) {
				b.WriteString("      " + line + "\n")
			}
		}
	}
	b.WriteString(`
On GitHub, workflow or job_workflow is needed as well. Of a generic issuer any
claim can be asked for, by its own name.`)
	return b.String()
}
