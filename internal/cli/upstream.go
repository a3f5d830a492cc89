package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) upstreamCommands() *cobra.Command {
	return group("upstream", "See what other chart repositories publish, and what they change",
		a.upstreamAddCommand(), a.upstreamListCommand(), a.upstreamShowCommand(), a.upstreamSetCommand(),
		a.upstreamRemoveCommand(), a.upstreamPollCommand(), a.upstreamArchiveCommand(), a.upstreamCompareCommand())
}

// upstreamResult is an upstream as it stands.
type upstreamResult struct{ client.Upstream }

func (upstreamResult) schema() string   { return "upstream/v1" }
func (r upstreamResult) keys() []string { return []string{r.Name} }

func (r upstreamResult) view() view {
	facts := []fact{
		{"upstream", r.Name}, {"charts", cmp.Or(strings.Join(r.Charts, ", "), "all")},
		{"archives kept", keepWords[r.Keep]}, {"quiet after", r.QuietAfter}, {"since", stampSeconds(r.Created)},
	}
	if m := r.Mirror; m != nil {
		what := cmp.Or(strings.Join(m.Charts, ", "), "all charts") + ", versions " + cmp.Or(m.Versions, "that are stable")
		if m.MinAge != "" && m.MinAge != "0s" {
			what += ", at least " + m.MinAge + " after we first saw them"
		}
		if m.Reviewed {
			what += ", once somebody has reviewed them"
		}
		if m.OnDemand {
			what += ", when somebody first asks for one"
		}
		facts = append(facts, fact{"mirrored into", m.Project}, fact{"of it", what})
	}
	b := block{head: []string{"ID", "KIND", "URL", "EVERY", "VERSIONS", "LAST POLL", "NEXT", "STATE"}, empty: "it has no sources"}
	for _, s := range r.Sources {
		b.rows = append(b.rows, []string{number(s.ID), s.Kind, s.URL, s.Interval, number(int64(s.Health.Versions)), stamp(s.Health.LastPoll), stamp(s.Health.NextPoll), healthWords(s.Health)})
	}
	v := view{{facts: facts}, b}
	for _, s := range r.Sources {
		if s.Health.Try != "" {
			v = append(v, block{facts: []fact{{"about source " + number(s.ID), s.Health.Try}}})
		}
	}
	return v
}

var keepWords = map[string]string{
	"new": "new: of versions that appear from now on, and the newest of each chart",
	"all": "all: of every version, little by little", "none": "none: digests alone",
}

// healthWords says how the polls of a source go.
func healthWords(h client.Health) string {
	switch {
	case !h.HeldUntil.IsZero():
		return "waits until " + stamp(h.HeldUntil) + ": an earlier poll did not end (or another process of the server is at it)"
	case strings.HasPrefix(h.Rule, "credential"):
		return "not polled: " + h.Error
	case h.Suspect != "":
		return "held back: " + h.Suspect
	case h.Failures > 0:
		return "failed " + plural(h.Failures, "time") + ": " + h.Error
	case h.Error != "": // it answered with what cannot be used
		return "cannot be read: " + h.Error
	case h.LastPoll.IsZero():
		return "not polled yet"
	}
	return "ok"
}

type upstreamList struct {
	Items []client.Upstream `json:"items"`
}

func (upstreamList) schema() string { return "upstream-list/v1" }

func (r upstreamList) keys() []string {
	return keysOf(r.Items, func(u client.Upstream) string { return u.Name })
}

func (r upstreamList) view() view {
	b := block{head: []string{"UPSTREAM", "SOURCES", "VERSIONS", "LAST CHANGE", "STATE"}, empty: "nothing is watched; watch an upstream with: chartkeep upstream add NAME --index URL"}
	for _, u := range r.Items {
		kinds, versions, states, changed := []string{}, 0, []string{}, time.Time{}
		for _, s := range u.Sources {
			kinds = append(kinds, s.Kind)
			versions += s.Health.Versions
			if w := healthWords(s.Health); w != "ok" {
				states = append(states, s.Kind+" "+w)
			}
			if s.Health.LastChange.After(changed) {
				changed = s.Health.LastChange
			}
		}
		b.rows = append(b.rows, []string{u.Name, strings.Join(kinds, ", "), number(int64(versions)), stamp(changed), cmp.Or(strings.Join(states, "; "), "ok")})
	}
	return view{b}
}

// upstreamOptions describe an upstream. Lists may be given several times.
type upstreamOptions struct {
	preset                                           string
	index, oci, github, feed, artifacthub, changelog []string
	credential                                       string
	interval                                         string
	charts                                           []string
	keep, quiet_after                                string
	mirror_project, mirror_versions, mirror_min_age  string
	mirror_charts                                    []string
	mirror_on_demand, mirror_reviewed                bool
	given                                            *pflag.FlagSet
}

func (o *upstreamOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.index, "index", nil, "`URL` of a chart repository, or of its index.yaml")
	f.StringArrayVar(&o.oci, "oci", nil, "`URL` of a chart in an OCI registry, oci://HOST/PATH/CHART")
	f.StringArrayVar(&o.github, "github", nil, "`URL` of a repository on GitHub: its releases, and whether it is moved or archived")
	f.StringArrayVar(&o.feed, "feed", nil, "`URL` of an Atom, RSS or JSON feed of releases")
	f.StringArrayVar(&o.artifacthub, "artifacthub", nil, "`URL` of a package on Artifact Hub")
	f.StringArrayVar(&o.changelog, "changelog", nil, "`URL` of a CHANGELOG text; CHART=URL says which chart it is of")
	f.StringVar(&o.credential, "credential", "", "`NAME` in the server's credentials file, for the sources given here")
	f.StringVar(&o.interval, "interval", "", "`SPAN` between two polls of the sources given here (default: 1h for lists of versions, 6h for others)")
	f.StringSliceVar(&o.charts, "charts", nil, "`GLOBS` of charts to watch (default: all)")
	f.StringVar(&o.keep, "keep", "new", "archives to `KEEP`: new (of what appears, and the newest of each chart), all, none")
	f.StringVar(&o.quiet_after, "quiet-after", "180d", "`SPAN` without a new version after which the upstream counts as quiet; 0s: never")
	f.StringVar(&o.mirror_project, "mirror-project", "", "release versions in `PROJECT` of this server")
	f.StringSliceVar(&o.mirror_charts, "mirror-charts", nil, "`GLOBS` of charts to mirror (default: all that are watched)")
	f.StringVar(&o.mirror_versions, "mirror-versions", "", "SemVer `RANGE` of versions to mirror (default: stable ones)")
	f.StringVar(&o.mirror_min_age, "mirror-min-age", "", "mirror a version a `SPAN` after this server first saw it")
	f.BoolVar(&o.mirror_reviewed, "mirror-reviewed", false, "mirror a version once its archive was reviewed and signed off")
	f.BoolVar(&o.mirror_on_demand, "mirror-on-demand", false, "mirror a version when somebody first asks for it")
	o.given = f
}

func (o *upstreamOptions) sources() []client.NewSource {
	var out []client.NewSource
	for _, k := range []struct {
		kind string
		urls []string
	}{{"index", o.index}, {"oci", o.oci}, {"github", o.github}, {"feed", o.feed}, {"artifacthub", o.artifacthub}, {"changelog", o.changelog}} {
		for _, u := range k.urls {
			s := client.NewSource{Kind: k.kind, URL: u, Credential: o.credential, Interval: o.interval}
			if chart, rest, ok := strings.Cut(u, "="); ok && !strings.Contains(chart, "/") {
				s.Chart, s.URL = chart, rest
			}
			out = append(out, s)
		}
	}
	return out
}

// sourceless refuses flags that say something of sources where none is given.
func (o *upstreamOptions) sourceless(try string) error {
	for _, flag := range []string{"credential", "interval"} {
		if o.given.Changed(flag) {
			return usage("--%s is for sources that are given with it, and none is", flag).try("%s", try)
		}
	}
	return nil
}

// mirrorFlags are those that say how to mirror.
var mirrorFlags = []string{"mirror-charts", "mirror-versions", "mirror-min-age", "mirror-reviewed", "mirror-on-demand"}

// mirrors reports whether a flag is given that speaks of a mirror.
func (o *upstreamOptions) mirrors() bool {
	return o.mirror_project != "" || slices.ContainsFunc(mirrorFlags, o.given.Changed)
}

// mirror is the mirror that the flags describe, over the one that there is; nil
// for none.
func (o *upstreamOptions) mirror(was *client.Mirror) (*client.Mirror, error) {
	if !o.mirrors() {
		return nil, nil
	}
	var m client.Mirror
	switch {
	case was != nil:
		m = *was
	case o.mirror_project == "":
		i := slices.IndexFunc(mirrorFlags, o.given.Changed)
		return nil, usage("--%s says how to mirror, and --mirror-project is missing", mirrorFlags[i])
	}
	m.Project = cmp.Or(o.mirror_project, m.Project)
	for name, set := range map[string]func(){
		"mirror-charts": func() { m.Charts = o.mirror_charts }, "mirror-versions": func() { m.Versions = o.mirror_versions },
		"mirror-min-age": func() { m.MinAge = o.mirror_min_age }, "mirror-reviewed": func() { m.Reviewed = o.mirror_reviewed },
		"mirror-on-demand": func() { m.OnDemand = o.mirror_on_demand },
	} {
		if o.given.Changed(name) {
			set()
		}
	}
	return &m, nil
}

func (a *app) upstreamAddCommand() *cobra.Command {
	var opt upstreamOptions
	return a.leaf(command{
		use: "add NAME [flags]", short: "Watch an upstream from now on",
		long: `
Watch somebody else's charts: what is published, and what is changed behind
people's backs. From its first poll on, each version's time and digest stand
in the transparency log.

An upstream has one or more sources. An index or an OCI registry lists
versions; releases, feeds and changelogs say something about them. A preset
brings its sources with it.`,
		example: `
chartkeep upstream add airflow-helm --preset airflow-helm
chartkeep upstream add podinfo --index https://stefanprodan.github.io/podinfo
chartkeep upstream add podinfo-oci --mirror-project mirror \
    --oci oci://ghcr.io/stefanprodan/charts/podinfo`,
		args: arguments{1, 1, "a NAME for the upstream"},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&opt.preset, "preset", "", "the sources of a known `UPSTREAM`: airflow-helm")
			opt.register(f)
		},
		run: func(ctx context.Context, args []string) (result, error) {
			m, err := opt.mirror(nil)
			if err != nil {
				return nil, err
			}
			sources := opt.sources()
			if len(sources) == 0 {
				try := "chartkeep upstream add " + args[0] + " --index URL"
				if opt.preset == "" {
					return nil, usage("an upstream needs at least one source").try("%s", try)
				}
				if err := opt.sourceless(try); err != nil {
					return nil, err
				}
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			u, err := c.AddUpstream(ctx, client.NewUpstream{
				Name: args[0], Preset: opt.preset, Charts: opt.charts, Keep: opt.keep, QuietAfter: opt.quiet_after, Mirror: m, Sources: sources,
			})
			return upstreamResultOf(u, err)
		},
	})
}

func upstreamResultOf(u client.Upstream, err error) (result, error) {
	if err != nil {
		return nil, err
	}
	return upstreamResult{u}, nil
}

func (a *app) upstreamSetCommand() *cobra.Command {
	var opt upstreamOptions
	var noMirror bool
	return a.leaf(command{
		use: "set NAME [flags]", short: "Change what is watched of an upstream",
		long: `
Change what is watched of an upstream. Sources given here replace all sources
that it has; those that stay keep what is known of them. Of a mirror, what is
not given stays as it is.`,
		example: `
chartkeep upstream set podinfo --quiet-after 90d
chartkeep upstream set podinfo --mirror-project mirror --mirror-min-age 7d`,
		args: arguments{1, 1, "the NAME of an upstream"}, complete: a.completeUpstreamArg,
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.BoolVar(&noMirror, "no-mirror", false, "mirror no more; what was released stays")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			ch := client.UpstreamChange{NoMirror: noMirror}
			if opt.given.Changed("charts") {
				ch.Charts = &opt.charts
			}
			if opt.given.Changed("keep") {
				ch.Keep = &opt.keep
			}
			if opt.given.Changed("quiet-after") {
				ch.QuietAfter = &opt.quiet_after
			}
			if sources := opt.sources(); len(sources) > 0 {
				ch.Sources = &sources
			} else if err := opt.sourceless("chartkeep upstream show " + args[0] + ", and give its sources again: --index URL"); err != nil {
				return nil, err
			}
			if ch == (client.UpstreamChange{}) && !opt.mirrors() {
				return nil, usage("nothing to change was given").try("chartkeep upstream set %s --quiet-after 90d", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if opt.mirrors() {
				was, err := c.Upstream(ctx, args[0])
				if err != nil {
					return nil, err
				}
				if ch.Mirror, err = opt.mirror(was.Mirror); err != nil {
					return nil, err
				}
			}
			u, err := c.SetUpstream(ctx, args[0], ch)
			return upstreamResultOf(u, err)
		},
	})
}

func (a *app) upstreamListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List what is watched, and how the polls go",
		example: `chartkeep upstream list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Upstreams)
			if err != nil {
				return nil, err
			}
			return upstreamList{items}, nil
		},
	})
}

// upstreamShown is an upstream with its newest events, or what is known of one
// of its versions.
type upstreamShown struct {
	client.Upstream
	Events   []client.Event           `json:"events,omitempty"`
	Versions []client.UpstreamVersion `json:"versions,omitempty"`
	Notes    []client.Note            `json:"notes,omitempty"`
}

func (upstreamShown) schema() string   { return "upstream-shown/v1" }
func (r upstreamShown) keys() []string { return []string{r.Name} }

func (r upstreamShown) view() view {
	v := upstreamResult{r.Upstream}.view()
	if len(r.Versions) > 0 {
		b := block{head: []string{"CHART", "VERSION", "FIRST SEEN", "CREATED, IT SAYS", "DIGEST", "STATE"}}
		for _, x := range r.Versions {
			digest := ""
			if len(x.Digests) > 0 {
				digest = shortHex(x.Digests[0])
			}
			b.rows = append(b.rows, []string{x.Chart, x.Version, stamp(x.FirstSeen), day(x.Created), digest, versionWords(x)})
		}
		v = append(v, b)
	}
	for _, n := range r.Notes {
		v = append(v, block{text: "\n" + cmp.Or(n.Title, n.Version) + "\n" + n.Text})
	}
	return append(v, eventList{Items: r.Events}.view()...)
}

func versionWords(x client.UpstreamVersion) string {
	var words []string
	if x.Gone {
		words = append(words, "listed no more")
	}
	if len(x.Digests) > 1 {
		words = append(words, fmt.Sprintf("listed with %d digests", len(x.Digests)))
	}
	if x.Fault != "" {
		words = append(words, x.Fault)
	}
	if x.Deprecated {
		words = append(words, "deprecated")
	}
	if x.ArchiveError != "" {
		words = append(words, "archive not kept: "+x.ArchiveError)
	} else if x.Archive != "" {
		words = append(words, "archive kept"+servedWords(x.Served))
	}
	if n := len(x.Earlier); n > 0 {
		words = append(words, "replaced "+plural(n, "time"))
	}
	return strings.Join(words, "; ")
}

// servedWords says when the archive was last compared with what is served.
func servedWords(s client.Served) string {
	if s.Asked.IsZero() {
		return ""
	}
	return ", compared " + stamp(s.Asked)
}

func (a *app) upstreamShowCommand() *cobra.Command {
	var chart, version string
	return a.leaf(command{
		use: "show NAME [flags]", short: "Show an upstream, what it publishes and what happened there",
		example: `
chartkeep upstream show airflow-helm
chartkeep upstream show airflow-helm --chart airflow --version 8.9.0`,
		args: arguments{1, 1, "the NAME of an upstream"}, complete: a.completeUpstreamArg,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&chart, "chart", "", "versions of `CHART`")
			f.StringVar(&version, "version", "", "one `VERSION`, with what was published about it")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			if version != "" && chart == "" {
				return nil, usage("--version needs --chart")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r := upstreamShown{}
			if r.Upstream, err = c.Upstream(ctx, args[0]); err != nil {
				return nil, err
			}
			if chart != "" {
				list := func(ctx context.Context, p client.Page) (client.List[client.UpstreamVersion], error) {
					return c.UpstreamVersions(ctx, args[0], chart, p)
				}
				if r.Versions, err = collect(ctx, list); err != nil {
					return nil, err
				}
				if version != "" {
					r.Versions = slices.DeleteFunc(r.Versions, func(x client.UpstreamVersion) bool { return x.Version != version })
					if r.Notes, err = c.UpstreamNotes(ctx, args[0], chart, version, 20); err != nil {
						return nil, err
					}
				}
			}
			l, err := c.Events(ctx, client.EventFilter{Upstream: args[0], Chart: chart, Version: version}, client.Page{Limit: 20})
			if err != nil {
				return nil, err
			}
			r.Events = l.Items
			return r, nil
		},
	})
}

func (a *app) upstreamRemoveCommand() *cobra.Command {
	return a.leaf(command{
		use: "remove NAME", short: "Watch an upstream no more",
		long: `
Watch an upstream no more. What is known of its versions is forgotten; what
happened, and what stands in the log, stays.`,
		example: `chartkeep upstream remove podinfo`,
		args:    arguments{1, 1, "the NAME of an upstream"}, complete: a.completeUpstreamArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RemoveUpstream(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "upstream-removed/v1", Name: args[0], Change: "is watched no more"}, nil
		},
	})
}

func (a *app) upstreamPollCommand() *cobra.Command {
	return a.leaf(command{
		use: "poll NAME", short: "Ask an upstream now",
		long: `
Ask the server to poll all sources of an upstream now, and not when they are
due. What the poll finds is in chartkeep event list.`,
		example: `chartkeep upstream poll airflow-helm`,
		args:    arguments{1, 1, "the NAME of an upstream"}, complete: a.completeUpstreamArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.PollUpstream(ctx, args[0]); err != nil {
				return nil, err
			}
			change := "is polled now"
			if u, err := c.Upstream(ctx, args[0]); err == nil { // without it nothing is known of sources that wait
				for _, s := range u.Sources {
					if !s.Health.HeldUntil.IsZero() {
						change += "; " + s.Kind + " " + healthWords(s.Health)
					}
				}
			}
			return done{form: "upstream-polled/v1", Name: args[0], Change: change}, nil
		},
	})
}

func (a *app) completeUpstreamArg(ctx context.Context, args []string, begun string) []string {
	if len(args) > 0 {
		return nil
	}
	c, err := a.client()
	if err != nil {
		return nil
	}
	l, err := c.Upstreams(ctx, client.Page{Limit: 200})
	if err != nil {
		return nil
	}
	return keysOf(l.Items, func(u client.Upstream) string { return u.Name })
}

// plural is a number of things: 1 version, 2 versions.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return thousands(int64(n)) + " " + thing
}
