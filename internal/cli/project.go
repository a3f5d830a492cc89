package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

// projectResult is a project as it stands.
type projectResult struct{ client.Project }

func (projectResult) schema() string   { return "project/v1" }
func (r projectResult) keys() []string { return []string{r.Name} }

func (r projectResult) view() view {
	visibility := "private: its members read"
	if r.Public {
		visibility = "public: everyone reads"
	}
	provenance := "not required"
	if r.Policy.RequireProvenance {
		provenance = "required: a release stays invisible until its provenance has come"
	}
	facts := []fact{
		{"project", r.Name}, {"kind", r.Kind}, {"state", r.State}, {"visibility", visibility},
		{"provenance", provenance}, {"policy", r.PolicyDigest}, {"artifact hub", cmp.Or(r.ArtifactHubID, noArtifactHub)}, {"created", stampSeconds(r.Created)},
	}
	if r.Policy.Mirror != "" {
		facts = append(facts, fact{"mirror of", "upstream " + r.Policy.Mirror})
	}
	return view{{facts: facts}}
}

type projectList struct {
	Items []client.Project `json:"items"`
}

func (projectList) schema() string { return "project-list/v1" }

func (r projectList) keys() []string {
	return keysOf(r.Items, func(p client.Project) string { return p.Name })
}

func (r projectList) view() view {
	b := block{head: []string{"PROJECT", "KIND", "STATE", "READ BY", "CREATED"}, empty: "there is no project that you may read"}
	for _, p := range r.Items {
		read := "members"
		if p.Public {
			read = "everyone"
		}
		b.rows = append(b.rows, []string{p.Name, p.Kind, p.State, read, stamp(p.Created)})
	}
	return view{b}
}

// keysOf lists the keys of items.
func keysOf[T any](items []T, key func(T) string) []string {
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = key(item)
	}
	return keys
}

// collect gathers all pages of a list. Items is never nil, so that JSON has an
// empty list and not null.
func collect[T any](ctx context.Context, list func(context.Context, client.Page) (client.List[T], error)) ([]T, error) {
	items := []T{}
	for item, err := range client.All(ctx, list) {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// done is the result of a change that leaves nothing to show but itself.
type done struct {
	form   string // schema
	Name   string `json:"name"`
	Change string `json:"change"`
	Reason string `json:"reason,omitempty"`
}

func (r done) schema() string { return r.form }
func (r done) keys() []string { return []string{r.Name} }

func (r done) view() view {
	return view{{text: r.Name + " " + r.Change}}
}

func (a *app) projectCommands() *cobra.Command {
	return group("project", "Make and change projects, import history",
		a.projectCreateCommand(), a.projectListCommand(), a.projectShowCommand(), a.projectSetCommand(),
		a.projectRemoveCommand(), a.projectImportCommand(), a.projectCutOverCommand())
}

type projectCreateOptions struct {
	kind               string
	public             bool
	importing          bool
	require_provenance bool
	mirror             string
	weaken_delay       time.Duration
	given              *pflag.FlagSet
}

func (o *projectCreateOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.kind, "kind", "charts", "`KIND`: charts (releases that never change) or artifacts (plain OCI, where tags move and deletes are allowed)")
	f.BoolVar(&o.public, "public", false, "everyone may read, without a credential")
	f.BoolVar(&o.importing, "importing", false, "begin by taking over the history of an old repository, see project import")
	f.BoolVar(&o.require_provenance, "require-provenance", false, "releases stay invisible until their provenance file has come")
	f.DurationVar(&o.weaken_delay, "weaken-delay", 24*time.Hour, "`TIME` that a weaker policy waits after a second person approved it; 0s can be chosen only here")
	o.given = f
	f.StringVar(&o.mirror, "mirror", "", "the project has versions of `UPSTREAM` and no others, see upstream set --mirror-project")
}

func (a *app) projectCreateCommand() *cobra.Command {
	var opt projectCreateOptions
	return a.leaf(command{
		use: "create NAME [flags]", short: "Make a project",
		long: `
Make a project: a namespace with its own members, policy and index. Its name
and its kind never change, and a removed project's name stays taken.`,
		example: `
# a project that everyone reads
chartkeep project create demo --public
# one that begins with the history of an old repository
chartkeep project create platform --importing`,
		args: arguments{1, 1, "the NAME of the project"}, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			policy := client.Policy{RequireProvenance: opt.require_provenance, Mirror: opt.mirror}
			if opt.given.Changed("weaken-delay") {
				policy.WeakenDelay = opt.weaken_delay.String()
			}
			p, err := c.CreateProject(ctx, client.NewProject{
				Name: args[0], Kind: opt.kind, Public: opt.public, Importing: opt.importing, Policy: policy,
			})
			return projectResultOf(p, err)
		},
	})
}

func projectResultOf(p client.Project, err error) (result, error) {
	if err != nil {
		return nil, err
	}
	return projectResult{p}, nil
}

func (a *app) projectListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List the projects that you may read",
		example: `chartkeep project list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Projects)
			if err != nil {
				return nil, err
			}
			return projectList{items}, nil
		},
	})
}

func (a *app) projectShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show NAME", short: "Show a project",
		example:  `chartkeep project show demo`,
		args:     arguments{1, 1, "the NAME of a project"},
		complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Project(ctx, args[0])
			return projectResultOf(p, err)
		},
	})
}

type projectSetOptions struct {
	public             bool
	require_provenance bool
	artifacthub_id     string
	text               string
	given              *pflag.FlagSet
}

// noArtifactHub stands for a project without an id on Artifact Hub.
const noArtifactHub = "none"

func (o *projectSetOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.public, "public", false, "everyone may read; --public=false: members alone")
	f.BoolVar(&o.require_provenance, "require-provenance", false, "releases stay invisible until their provenance file has come; =false: not so")
	f.StringVar(&o.artifacthub_id, "artifacthub-id", "", "`UUID` of the repository on Artifact Hub, which finds it in artifacthub-repo.yml and so knows the owner; none: take it away")
	f.StringVar(&o.text, "text", "", "`TEXT` that says why, for the second person that a weaker policy needs")
	o.given = f
}

func (a *app) projectSetCommand() *cobra.Command {
	var opt projectSetOptions
	return a.leaf(command{
		use: "set NAME [flags]", short: "Change the settings of a project",
		long: `
Change who reads a project, its policy, or its id on Artifact Hub. Settings that
are not named stay as they are. A policy never touches what is released already.

A weaker policy needs a second person and waits for the project's delay, unless
the project has released nothing yet.`,
		example: `
chartkeep project set demo --public=false
chartkeep project set demo --require-provenance
chartkeep project set demo \
  --artifacthub-id 6d0d3b1e-4f6b-4f5c-9f3a-2f1d8c7b6a50`,
		args: arguments{1, 1, "the NAME of a project"}, flags: opt.register, complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			var change client.ProjectChange
			if opt.given.Changed("public") {
				change.Public = &opt.public
			}
			if opt.given.Changed("require-provenance") {
				change.RequireProvenance = &opt.require_provenance
			}
			if opt.given.Changed("artifacthub-id") {
				id := opt.artifacthub_id
				switch id {
				case "":
					return nil, usage("--artifacthub-id takes a UUID, or %s", noArtifactHub)
				case noArtifactHub:
					id = ""
				}
				change.ArtifactHubID = &id
			}
			if change == (client.ProjectChange{}) {
				return nil, usage("nothing is named that should change").try("chartkeep project set %s --public", args[0])
			}
			change.Text = opt.text
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.SetProject(ctx, args[0], change)
			if err == nil {
				a.sayRequest(p)
			}
			return projectResultOf(p, err)
		},
	})
}

type projectRemoveOptions struct {
	reason string
	yes    bool
}

func (o *projectRemoveOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.reason, "reason", "", "`TEXT` that says why; the audit trail keeps it")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
}

func (a *app) projectRemoveCommand() *cobra.Command {
	var opt projectRemoveOptions
	return a.leaf(command{
		use: "remove NAME --reason TEXT", short: "Remove a project for good",
		long: `
Remove a project for good: nothing of it is served any more. Its name and those
of its releases stay taken, and its entries stay in the log.`,
		example: `chartkeep project remove demo --reason "replaced by platform" --yes`,
		args:    arguments{1, 1, "the NAME of a project"}, flags: opt.register, complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			if opt.reason == "" {
				return nil, usage("a project is removed for a reason, and none was given").try("chartkeep project remove %s --reason TEXT", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.Project(ctx, args[0])
			if err != nil {
				return nil, err
			}
			a.say("Nothing in project %s will be served any more, and its name will stay taken. This cannot be taken back.", p.Name)
			if err := a.confirm(ctx, "Remove it?", opt.yes); err != nil {
				return nil, err
			}
			if err := c.RemoveProject(ctx, p.Name, opt.reason); err != nil {
				return nil, err
			}
			return done{"project-removed/v1", p.Name, "removed", opt.reason}, nil
		},
	})
}

type yesOption struct{ yes bool }

func (o *yesOption) register(f *pflag.FlagSet) {
	f.BoolVar(&o.yes, "yes", false, "do not ask")
}

func (a *app) projectCutOverCommand() *cobra.Command {
	var opt yesOption
	return a.leaf(command{
		use: "cut-over NAME", short: "End the import of a project's history, once",
		long: `
End the import of a project's history, once: from then on the strict rules hold,
and new releases are taken. What was imported stays frozen, and stays marked as
imported. The cut-over stands in the log.`,
		example: `chartkeep project cut-over platform --yes`,
		args:    arguments{1, 1, "the NAME of a project"}, flags: opt.register, complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			a.say("After the cut-over project %s will take new releases, and no more history. This cannot be taken back.", args[0])
			if err := a.confirm(ctx, "Cut over?", opt.yes); err != nil {
				return nil, err
			}
			p, err := c.CutOver(ctx, args[0])
			return projectResultOf(p, err)
		},
	})
}

// count words a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", thousands(int64(n)), many)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
