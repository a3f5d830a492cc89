package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/deployment"
)

func (a *app) deploymentCommands() *cobra.Command {
	return group("deployment", "Record what runs where, and see it",
		a.deploymentImportCommand(), a.deploymentListCommand(), a.deploymentShowCommand(), a.deploymentSetCommand(), a.deploymentCompareCommand())
}

type inventoryResult struct{ client.ImportResult }

func (inventoryResult) schema() string   { return "deployment-import/v1" }
func (r inventoryResult) keys() []string { return []string{r.Import} }

func (r inventoryResult) view() view {
	v := view{{facts: []fact{
		{"import", r.Import}, {"deployments", number(int64(r.Deployments))}, {"unresolved", number(int64(r.Unresolved))},
		{"new", number(int64(r.New))}, {"moved", number(int64(r.Changed))}, {"gone", number(int64(r.Gone))},
	}}}
	if len(r.Events) > 0 {
		v = append(v, eventList{Items: r.Events}.view()...)
	}
	return v
}

// inventoryOptions say what is imported, and how often.
type inventoryOptions struct {
	whereOptions
	every string
	given *pflag.FlagSet
}

func (o *inventoryOptions) register(f *pflag.FlagSet) {
	o.whereOptions.register(f)
	f.StringVar(&o.every, "every", "", "go on, and import again every `SPAN`, such as 15m; 0s: once, and no interval is declared any more")
	o.given = f
}

const deploymentImportLong = `
Read deployments and record them with the server under a name: what the same
import brought before and is not there now is gone. Read are Helm's storage in
a cluster, Argo CD Applications and ApplicationSets, Flux HelmReleases,
helmfiles, umbrella charts and plain lists; nothing is written there. Secrets
in values are masked before they are sent.

What cannot be resolved is recorded with the reason, and never left out.

With --every the command goes on until it is stopped, and imports again and
again; a round that fails is told and tried again. The server is told the
interval, and raises an event when the import stays away for three of them, and
10 minutes at least. An import by hand leaves the interval as it is. In a
cluster, kube reads that cluster with the pod's service account; a manifest is
in deploy/kubernetes.`

func (a *app) deploymentImportCommand() *cobra.Command {
	var opt inventoryOptions
	return a.leaf(command{
		use: "import NAME --from WHERE", short: "Record what runs in a cluster, or what files say should run",
		long: deploymentImportLong,
		example: `
chartkeep deployment import production --from kube:production \
    --environment production
chartkeep deployment import production --from kube:production --every 15m
chartkeep deployment import gitops --from ./clusters`,
		args: arguments{1, 1, "a NAME for the import"}, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			if err := opt.needFrom("chartkeep deployment import " + args[0] + " --from kube"); err != nil {
				return nil, err
			}
			every, err := opt.repetition()
			if err != nil {
				return nil, err
			}
			if every != nil && *every > 0 {
				a.importing(args[0], &opt.whereOptions, *every).run(ctx)
				a.say("%s import %s ends", stampSeconds(a.now()), args[0])
				return nil, nil
			}
			found, err := opt.read(ctx)
			if err != nil {
				return nil, err
			}
			a.tellProblems(found.Problems)
			var declared *string
			if every != nil {
				declared = new(every.String())
			}
			r, err := a.sendInventory(ctx, args[0], found, declared)
			if err != nil {
				return nil, err
			}
			return inventoryResult{r}, nil
		},
	})
}

// sendInventory records what was found. every is as that of client.Inventory.
func (a *app) sendInventory(ctx context.Context, name string, found deployment.Inventory, every *string) (client.ImportResult, error) {
	c, err := a.client() // the token's file may be another one by now
	if err != nil {
		return client.ImportResult{}, err
	}
	send := client.Inventory{From: found.From, Deployments: []json.RawMessage{}, Problems: found.Problems, Every: every}
	for i := range found.Deployments {
		text, err := json.Marshal(&found.Deployments[i])
		if err != nil {
			return client.ImportResult{}, fmt.Errorf("encode deployment: %w", err)
		}
		send.Deployments = append(send.Deployments, text)
	}
	return c.ImportDeployments(ctx, name, send)
}

type deploymentList struct {
	Items   []client.Deployment `json:"items"`
	Imports []client.Import     `json:"imports"`
	now     time.Time
}

func (deploymentList) schema() string { return "deployment-list/v1" }

func (r deploymentList) keys() []string {
	return keysOf(r.Items, func(d client.Deployment) string { return d.Key })
}

func (r deploymentList) view() view {
	b := block{head: []string{"DEPLOYMENT", "ENVIRONMENT", "CHART", "VERSION", "OWNER", "IS", "UNRESOLVED"}, empty: "nothing is recorded; record what runs with: chartkeep deployment import NAME --from kube"}
	for _, d := range r.Items {
		unresolved := strings.Join(d.Unresolved, "; ")
		if d.Match.Confidence == "unknown" && unresolved == "" {
			unresolved = d.Match.How
		}
		b.rows = append(b.rows, []string{d.Key, d.Environment, d.Chart.Name, cmp.Or(d.Chart.Version, d.Chart.Constraint, "?"), cmp.Or(d.Owner, "nobody"), matchWords(d.Match), unresolved})
	}
	if len(r.Imports) == 0 {
		return view{b}
	}
	imports := block{head: []string{"IMPORT", "READ FROM", "LAST MADE", "DEPLOYMENTS", "STATE"}}
	var problems []string
	for _, im := range r.Imports {
		imports.rows = append(imports.rows, []string{im.Name, im.From, stamp(im.Time) + " " + paren(ago(r.now, im.Time)), number(int64(im.Deployments)), importWords(im)})
		for i, p := range im.Problems {
			if i == problemsShown {
				problems = append(problems, fmt.Sprintf("import %s: %d more; -o json lists them", im.Name, len(im.Problems)+im.MoreProblems-i))
				break
			}
			problems = append(problems, "import "+im.Name+": "+p)
		}
	}
	v := view{b, imports}
	if len(problems) > 0 {
		v = append(v, block{text: "what could not be read:\n" + strings.Join(problems, "\n")})
	}
	return v
}

// problemsShown is how many problems of one import a table has.
const problemsShown = 10

// importWords says how far an import can be relied on.
func importWords(im client.Import) string {
	words := "ok"
	if n := len(im.Problems) + im.MoreProblems; n > 0 {
		words = plural(n, "problem")
	}
	switch {
	case !im.OverdueSince.IsZero():
		words = "overdue since " + stamp(im.OverdueSince) + ", made every " + im.Every + "; " + words
	case im.Every != "":
		words += ", made every " + im.Every
	}
	if im.Old {
		words += "; old: it says little of what runs today"
	}
	return words
}

// ago is how long ago something was, in the largest unit that says it.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case now.IsZero() || t.IsZero() || d < time.Minute:
		return ""
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute") + " ago"
	case d < 48*time.Hour:
		return plural(int(d/time.Hour), "hour") + " ago"
	default:
		return plural(int(d/(24*time.Hour)), "day") + " ago"
	}
}

// matchWords says which published chart a deployment is.
func matchWords(m client.Match) string {
	switch {
	case m.Differs:
		return "other bytes than the release"
	case m.Confidence == "unknown":
		return "unknown"
	case m.Project != "":
		return "project " + m.Project + " (" + m.Confidence + ")"
	}
	return "upstream " + m.Upstream + " (" + m.Confidence + ")"
}

func (a *app) deploymentListCommand() *cobra.Command {
	var importName string
	return a.leaf(command{
		use: "list [flags]", short: "List what runs where, and the imports that say so",
		long: `
List what runs where, and below it the imports that say so: when each was made
last, and what it could not read. One that was not repeated for 7 days is old.
One that is made with --every and stays away is overdue.`,
		example: `chartkeep deployment list`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&importName, "import", "", "only what import `NAME` brought")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r := deploymentList{now: time.Now()}
			r.Items, err = collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Deployment], error) {
				l, err := c.Deployments(ctx, importName, p)
				r.Imports = append(r.Imports, l.Imports...) // of the first page
				return l.List, err
			})
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

type deploymentResult struct{ client.Deployment }

func (deploymentResult) schema() string   { return "deployment/v1" }
func (r deploymentResult) keys() []string { return []string{r.Key} }

func (r deploymentResult) view() view {
	mission := "nobody said"
	if r.Mission != nil {
		mission = number(int64(*r.Mission))
	}
	facts := []fact{
		{"deployment", r.Key}, {"read from", r.From}, {"import", r.Import}, {"environment", cmp.Or(r.Environment, "nobody said")},
		{"owner", cmp.Or(r.Owner, "nobody")}, {"route", cmp.Or(r.Route, "none: its owner is not told of events")}, {"mission tier", mission},
		{"exposure", strings.TrimSpace(r.Exposure + " " + paren(r.ExposureWhy))}, {"chart", r.Chart.Name}, {"version", cmp.Or(r.Chart.Version, r.Chart.Constraint, "unknown")},
		{"app version", r.Chart.AppVersion}, {"repository", cmp.Or(r.Chart.Repository, "not known")}, {"is", matchWords(r.Match)}, {"since", r.Match.How},
		{"status", r.Status}, {"fingerprint", r.Fingerprint}, {"first seen", stampSeconds(r.FirstSeen)}, {"last seen", stampSeconds(r.LastSeen)},
	}
	for _, d := range r.Dependencies {
		facts = append(facts, fact{"sub-chart", strings.TrimSpace(d.Name + " " + cmp.Or(d.Version, d.Constraint))})
	}
	for _, i := range r.Images {
		facts = append(facts, fact{"image", i})
	}
	for _, u := range r.Unresolved {
		facts = append(facts, fact{"unresolved", u})
	}
	v := view{{facts: facts}}
	if len(r.Values) > 0 {
		if text, err := yamlOf(r.Values); err == nil {
			v = append(v, block{text: "\nvalues in use, secrets masked:\n" + string(text)})
		}
	}
	return v
}

func paren(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func (a *app) deploymentShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show KEY", short: "Show a deployment",
		example: `chartkeep deployment show production/data/airflow`,
		args:    arguments{1, 1, "the KEY of a deployment"}, complete: a.completeDeploymentArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			d, err := c.Deployment(ctx, args[0])
			if err != nil {
				return nil, err
			}
			return deploymentResult{d}, nil
		},
	})
}

func (a *app) deploymentSetCommand() *cobra.Command {
	var environment, owner, route, exposure string
	var mission int
	var given *pflag.FlagSet
	return a.leaf(command{
		use: "set KEY [flags]", short: "Say whose a deployment is, and what it matters",
		long: `
Say what no file says of a deployment. It stays over imports and wins over
what they bring; an empty text takes it back.`,
		example: `
chartkeep deployment set production/data/airflow --owner data --mission 2
chartkeep deployment set production/data/airflow --exposure controlled`,
		args: arguments{1, 1, "the KEY of a deployment"}, complete: a.completeDeploymentArg,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&environment, "environment", "", "`NAME` of its environment")
			f.StringVar(&owner, "owner", "", "`NAME` of its owner")
			f.StringVar(&route, "route", "", "`NAME` of the route by which its owner is told")
			f.IntVar(&mission, "mission", -1, "mission `TIER`: 0 (lowest) to 3; -1: none")
			f.StringVar(&exposure, "exposure", "", "who can reach it: small, controlled, open")
			given = f
		},
		run: func(ctx context.Context, args []string) (result, error) {
			var ch client.DeploymentChange
			for _, t := range []struct {
				name  string
				value *string
				to    **string
			}{{"environment", &environment, &ch.Environment}, {"owner", &owner, &ch.Owner}, {"route", &route, &ch.Route}, {"exposure", &exposure, &ch.Exposure}} {
				if given.Changed(t.name) {
					*t.to = t.value
				}
			}
			if given.Changed("mission") {
				ch.Mission = &mission
			}
			if ch == (client.DeploymentChange{}) {
				return nil, usage("nothing to change was given").try("chartkeep deployment set %s --owner NAME", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			d, err := c.SetDeployment(ctx, args[0], ch)
			if err != nil {
				return nil, err
			}
			return deploymentResult{d}, nil
		},
	})
}

// differencesResult says in what two environments differ.
type differencesResult struct{ client.Differences }

func (differencesResult) schema() string { return "environment-comparison/v1" }

func (r differencesResult) keys() []string {
	return keysOf(r.Pairs, func(d client.Difference) string { return d.A })
}

func (r differencesResult) view() view {
	b := block{head: []string{"NAME", "WHAT", strings.ToUpper(r.A), strings.ToUpper(r.B)}}
	for _, p := range r.Pairs {
		for _, i := range p.Items {
			b.rows = append(b.rows, []string{p.Name, i.What, i.A, i.B})
		}
	}
	for _, k := range r.OnlyA {
		b.rows = append(b.rows, []string{k, "deployment", "is there", "is not there"})
	}
	for _, k := range r.OnlyB {
		b.rows = append(b.rows, []string{k, "deployment", "is not there", "is there"})
	}
	same := plural(r.Same, "deployment") + " are the same"
	if r.Same == 1 {
		same = "1 deployment is the same"
	}
	if len(b.rows) == 0 {
		return view{{text: fmt.Sprintf("%s mirrors %s: %s", r.A, r.B, same)}}
	}
	return view{b, {text: same}}
}

func (a *app) deploymentCompareCommand() *cobra.Command {
	var exitDiff bool
	return a.leaf(command{
		use: "compare ENVIRONMENT OTHER", short: "Say where one environment does not mirror another",
		long: `
Hold the deployments of two environments against each other: version, images,
values and exposure. What was tested in one says little of the other where they
differ.`,
		example: `chartkeep deployment compare staging production`,
		args:    arguments{2, 2, "two environments"},
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&exitDiff, "exit-diff", false, "exit with 7 when they differ")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			d, err := c.CompareEnvironments(ctx, args[0], args[1])
			if err != nil {
				return nil, err
			}
			if exitDiff && len(d.Pairs)+len(d.OnlyA)+len(d.OnlyB) > 0 {
				return differencesResult{d}, differs{}
			}
			return differencesResult{d}, nil
		},
	})
}

func (a *app) completeDeploymentArg(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return nil
	}
	l, err := c.Deployments(ctx, "", client.Page{Limit: 200})
	if err != nil {
		return nil
	}
	return keysOf(l.Items, func(d client.Deployment) string { return d.Key })
}
