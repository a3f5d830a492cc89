package cli

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

// releaseResult is a release as it stands.
type releaseResult struct{ client.Release }

func (releaseResult) schema() string   { return "release/v1" }
func (r releaseResult) keys() []string { return []string{refOf(r.Release)} }
func (r releaseResult) view() view     { return view{{facts: releaseFacts(r.Release)}} }

func refOf(r client.Release) string { return r.Project + "/" + r.Chart + "@" + r.Version }

func releaseFacts(r client.Release) []fact {
	facts := []fact{
		{"release", refOf(r)}, {"state", r.State}, {"released", stampSeconds(r.Time) + " by " + cmp.Or(r.PublisherName, r.Publisher)},
		{"digest", r.Digest}, {"content", r.ContentDigest}, {"manifest", r.Manifest},
		{"size", thousands(r.Size) + " bytes"}, {"log index", thousands(r.LogIndex)},
		{"provenance", cmp.Or(r.Provenance, "none")},
	}
	if r.Legacy {
		facts = append(facts, fact{"history", historyWords})
	}
	if r.Yank != nil {
		facts = append(facts, fact{"yanked", stampSeconds(r.Yank.Time) + " by " + cmp.Or(r.Yank.ByName, r.Yank.By) + ": " + yankWords(r.Yank)})
	}
	return append(facts, withheldFacts(r)...)
}

// releaseDetail is all that is known of a release.
type releaseDetail struct{ client.Detail }

func (releaseDetail) schema() string   { return "release-detail/v1" }
func (r releaseDetail) keys() []string { return []string{r.Digest} }

func (r releaseDetail) view() view {
	m := r.Metadata
	about := []fact{{"description", m.Description}, {"app version", m.AppVersion}, {"type", cmp.Or(m.Type, "application")},
		{"kubernetes", m.KubeVersion}, {"home", m.Home}}
	if m.Deprecated {
		about = append(about, fact{"deprecated", "its maintainers say so"})
	}
	for _, d := range m.Dependencies {
		about = append(about, fact{"depends on", strings.TrimSpace(d.Name + " " + d.Version + " " + d.Repository)})
	}
	kept := about[:0]
	for _, f := range about {
		if f.value != "" {
			kept = append(kept, f)
		}
	}
	return view{{facts: append(releaseFacts(r.Release), signedFacts(r.Signed)...)}, {facts: kept}, signatureBlock(r.Signatures)}
}

type chartList struct {
	Items []client.ChartSummary `json:"items"`
}

func (chartList) schema() string { return "chart-list/v1" }

func (r chartList) keys() []string {
	return keysOf(r.Items, func(c client.ChartSummary) string { return c.Name })
}

func (r chartList) view() view {
	b := block{head: []string{"CHART", "LATEST", "RELEASES", "UPDATED", "DESCRIPTION"}, empty: "the project has no charts"}
	for _, c := range r.Items {
		b.rows = append(b.rows, []string{c.Name, cmp.Or(c.Latest.Version, "none"), thousands(int64(c.Releases)), stamp(c.Updated), c.Description})
	}
	return view{b}
}

type releaseList struct {
	Items []client.Release `json:"items"`
}

func (releaseList) schema() string { return "release-list/v1" }

func (r releaseList) keys() []string {
	return keysOf(r.Items, func(x client.Release) string { return x.Version })
}

func (r releaseList) view() view {
	b := block{head: []string{"VERSION", "STATE", "RELEASED", "LOG INDEX", "DIGEST"}, empty: "the chart has no releases"}
	for _, x := range r.Items {
		b.rows = append(b.rows, []string{x.Version, stateWord(x), stamp(x.Time), thousands(x.LogIndex), short(x.Digest)})
	}
	return view{b}
}

// stateWord keeps imported history apart from what was released here.
func stateWord(r client.Release) string {
	if r.Legacy && r.State == "active" {
		return "history"
	}
	return r.State
}

func (a *app) releaseCommands() *cobra.Command {
	return group("release", "List and show releases", a.releaseListCommand(), a.releaseShowCommand())
}

type projectOption struct{ project string }

func (o *projectOption) register(f *pflag.FlagSet) {
	f.StringVar(&o.project, "project", "", "`NAME` of the project to look in")
}

type releaseListOptions struct {
	projectOption
	staged bool
}

func (o *releaseListOptions) register(f *pflag.FlagSet) {
	o.projectOption.register(f)
	f.BoolVar(&o.staged, "staged", false, "list the releases that nobody sees yet, with what each waits for")
}

func (a *app) releaseListCommand() *cobra.Command {
	var opt releaseListOptions
	return a.leaf(command{
		use: "list [CHART] --project NAME", short: "List the charts of a project, or the releases of a chart",
		example: `
chartkeep release list --project demo
chartkeep release list web --project demo
chartkeep release list --project demo --staged`,
		args: arguments{0, 1, "at most one CHART"}, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			switch {
			case opt.project == "":
				return nil, usage("--project is missing").try("chartkeep project list")
			case opt.staged && len(args) > 0:
				return nil, usage("--staged lists those of the whole project").try("chartkeep release list --project %s --staged", opt.project)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if opt.staged {
				items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.StagedRelease], error) {
					return c.Staged(ctx, opt.project, p)
				})
				return resultOf(stagedList{items}, err)
			}
			if len(args) == 0 {
				items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.ChartSummary], error) {
					return c.Charts(ctx, opt.project, p)
				})
				return resultOf(chartList{items}, err)
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Release], error) {
				return c.Releases(ctx, opt.project, args[0], p)
			})
			return resultOf(releaseList{items}, err)
		},
	})
}

func (a *app) releaseShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show PROJECT/CHART[@VERSION]", short: "Show a release",
		long:    `Show a release; without a version, the newest.`,
		example: `chartkeep release show demo/web@1.4.2`,
		args:    arguments{1, 1, "a reference PROJECT/CHART[@VERSION]"}, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := client.ParseRef(args[0])
			if err != nil {
				return nil, asUsage(err)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			d, err := c.Release(ctx, ref.Project, ref.Chart, cmp.Or(ref.Version, "latest"))
			return resultOf(releaseDetail{d}, err)
		},
	})
}

type yankOptions struct {
	reason string
	text   string
}

func (o *yankOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.reason, "reason", "", "why, as a `CODE`: broken, security, superseded, mistake, other")
	f.StringVar(&o.text, "text", "", "`TEXT` that says why; everyone who may read the release sees it")
}

// exactRef is a reference with an exact version.
func exactRef(arg string) (client.Ref, error) {
	ref, err := client.ParseRef(arg)
	if err != nil {
		return ref, asUsage(err)
	}
	if ref.Version == "" || ref.Version == "latest" {
		return ref, usage("%s names no exact version", arg).try("chartkeep release list %s --project %s", ref.Chart, ref.Project)
	}
	return ref, nil
}

func (a *app) yankCommand() *cobra.Command {
	var opt yankOptions
	return a.leaf(command{
		use: "yank PROJECT/CHART@VERSION --reason CODE [--text TEXT]", short: "Withdraw a release from resolution",
		long: `
Withdraw a release from resolution: it leaves the index and the tag list, so
that nobody gets it without naming it. Its bytes stay, and its name stays taken.

OCI clients still get it by its exact version. Helm's classic repositories know
no such thing: for them it is in the index at /PROJECT/all only. A yank can be
taken back with unyank; both stand in the log.`,
		example: `chartkeep yank demo/web@1.4.2 --reason broken --text "loses its data"`,
		args:    arguments{1, 1, "a reference PROJECT/CHART@VERSION"}, flags: opt.register, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			if opt.reason == "" {
				return nil, usage("--reason is missing").try("chartkeep yank %s --reason broken", ref)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			a.say("A yank takes %s out of the index and the tag list. Exact references through OCI still get it; classic clients only through %s/%s/all.", ref, c.Server(), ref.Project)
			r, err := c.Yank(ctx, ref.Project, ref.Chart, ref.Version, opt.reason, opt.text)
			return resultOf(releaseResult{r}, err)
		},
	})
}

type unyankOptions struct{ text string }

func (o *unyankOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.text, "text", "", "`TEXT` that says why")
}

func (a *app) unyankCommand() *cobra.Command {
	var opt unyankOptions
	return a.leaf(command{
		use: "unyank PROJECT/CHART@VERSION [--text TEXT]", short: "Take a yank back",
		example: `chartkeep unyank demo/web@1.4.2 --text "it was the network"`,
		args:    arguments{1, 1, "a reference PROJECT/CHART@VERSION"}, flags: opt.register, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.Unyank(ctx, ref.Project, ref.Chart, ref.Version, opt.text)
			return resultOf(releaseResult{r}, err)
		},
	})
}
