package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) feedCommands() *cobra.Command {
	return group("feed", "Manage where the server has advisories from",
		a.feedAddCommand(), a.feedListCommand(), a.feedShowCommand(), a.feedSetCommand(), a.feedRemoveCommand())
}

// feedPresets are feeds that their publishers offer to everybody.
var feedPresets = map[string]client.NewFeed{
	"bitnami":      {Kind: "osv", URL: "https://github.com/bitnami/vulndb/archive/refs/heads/main.tar.gz"},
	"kev":          {Kind: "kev", URL: "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"},
	"epss":         {Kind: "epss", URL: "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"},
	"vulnrichment": {Kind: "vulnrichment", URL: "https://github.com/cisagov/vulnrichment/archive/refs/heads/develop.tar.gz"},
	"go":           {Kind: "osv", URL: "https://vuln.go.dev/vulndb.zip"},
}

const presetNames = "bitnami, kev, epss, vulnrichment, go, github:OWNER/REPOSITORY"

// feedPreset is the feed that a preset names, with its name.
func feedPreset(name string) (client.NewFeed, error) {
	if repository, ok := strings.CutPrefix(name, "github:"); ok {
		owner, repo, ok := strings.Cut(repository, "/")
		if !ok || owner == "" || repo == "" || strings.ContainsAny(repo, "/?#% ") || strings.ContainsAny(owner, "?#% ") {
			return client.NewFeed{}, usage("--preset %s does not name a repository", name).try("--preset github:OWNER/REPOSITORY")
		}
		return client.NewFeed{
			Name: feedName("github-" + owner + "-" + repo), Kind: "osv",
			URL: "https://api.github.com/repos/" + owner + "/" + repo + "/security-advisories?per_page=100",
		}, nil
	}
	f, ok := feedPresets[name]
	if !ok {
		return f, usage("there is no preset %s", name).try("--preset %s", strings.ReplaceAll(presetNames, ", ", "|"))
	}
	f.Name = name
	return f, nil
}

// feedName makes a name of a feed from another name.
func feedName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(s[:min(len(s), 63)], "-")
}

// feedResult is a feed with its newest snapshots.
type feedResult struct {
	client.Feed
	Snapshots []client.Snapshot `json:"snapshots,omitempty"`
}

func (feedResult) schema() string   { return "advisory-feed/v1" }
func (r feedResult) keys() []string { return []string{r.Name} }

func (r feedResult) view() view {
	facts := []fact{{"feed", r.Name}, {"kind", strings.TrimSuffix(r.Kind+": "+feedKinds[r.Kind], ": ")}}
	if r.URL == "" {
		facts = append(facts, fact{"read from", "imports by hand"})
	} else {
		facts = append(facts, fact{"read from", r.URL}, fact{"every", r.Interval})
	}
	if r.Credential != "" {
		facts = append(facts, fact{"credential", r.Credential})
	}
	facts = append(facts, fact{"called old", cmp.Or(afterWords(r.StaleAfter), "as the decision policy says")}, fact{"state", feedHealth(r.Feed)},
		fact{"last success", cmp.Or(stamp(r.Health.LastSuccess), "never")})
	if !r.Health.NextTry.IsZero() {
		facts = append(facts, fact{"next", stamp(r.Health.NextTry)})
	}
	if r.Current != nil {
		facts = append(facts, snapshotFacts(*r.Current)...)
	}
	for _, f := range r.Health.Faults {
		facts = append(facts, fact{"fault", f})
	}
	v := view{{facts: facts}}
	if len(r.Snapshots) > 0 {
		b := block{head: []string{"IMPORTED", "DATED", "RECORDS", "FAULTS", "SNAPSHOT"}}
		for _, s := range r.Snapshots {
			b.rows = append(b.rows, []string{stamp(s.Taken), stamp(s.Dated), thousands(int64(s.Records)), thousands(int64(s.Faults)), s.Digest})
		}
		v = append(v, b)
	}
	return v
}

var feedKinds = map[string]string{
	"osv": "advisories in the OSV form", "kev": "vulnerabilities that CISA knows to be exploited", "epss": "FIRST's probabilities of exploitation",
	"vulnrichment": "what CISA says of CVEs", "vex": "OpenVEX statements", "components": "a map from images to components",
}

func afterWords(span string) string {
	if span == "" || span == "0s" {
		return ""
	}
	return "after " + span
}

// feedHealth says how far a feed can be relied on.
func feedHealth(f client.Feed) string {
	switch {
	case f.Health.Failures > 0:
		return fmt.Sprintf("failed %s: %s", plural(f.Health.Failures, "time"), f.Health.Error)
	case f.Current == nil && f.URL == "":
		return "waits for an import"
	case f.Current == nil:
		return "not read yet"
	case f.Current.Faults > 0:
		return plural(f.Current.Faults, "record") + " cannot be used"
	}
	if f.Old != "" {
		return "old: " + f.Old
	}
	return "ok"
}

type feedList struct {
	Items []client.Feed `json:"items"`
	now   time.Time
}

func (feedList) schema() string { return "advisory-feed-list/v1" }

func (r feedList) keys() []string {
	return keysOf(r.Items, func(f client.Feed) string { return f.Name })
}

func (r feedList) view() view {
	b := block{head: []string{"FEED", "KIND", "RECORDS", "DATED", "LAST READ", "STATE"}, empty: "there are no feeds, so every image is unknown; add one with: chartkeep advisory feed add --preset bitnami"}
	for _, f := range r.Items {
		records, dated := "none", ""
		if f.Current != nil {
			records, dated = thousands(int64(f.Current.Records)), day(f.Current.Dated)
		}
		b.rows = append(b.rows, []string{f.Name, f.Kind, records, dated, cmp.Or(ago(r.now, f.Health.LastSuccess), stamp(f.Health.LastSuccess), "never"), feedHealth(f)})
	}
	return view{b}
}

// feedOptions describe a feed.
type feedOptions struct {
	kind, url, credential, interval, staleAfter string
	given                                       *pflag.FlagSet
}

func (o *feedOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.url, "url", "", "`URL` of a file or an archive of files, to be read by schedule; none: it is imported by hand")
	f.StringVar(&o.credential, "credential", "", "`NAME` in the server's credentials file")
	f.StringVar(&o.interval, "interval", "", "`SPAN` between two reads (default: 1d)")
	f.StringVar(&o.staleAfter, "stale-after", "", "`SPAN` after which the data are called old (default: as the decision policy says)")
	o.given = f
}

func (a *app) feedAddCommand() *cobra.Command {
	var opt feedOptions
	var preset string
	return a.leaf(command{
		use: "add [NAME] [flags]", short: "Have advisories from somewhere from now on",
		long: `
Add a feed. One with a URL is read at once, and by schedule from then on; one
without waits for chartkeep advisory import. Presets are what publishers offer
to everybody:

  bitnami       Bitnami's vulnerability database: what is in common images
  kev           CISA's catalogue of vulnerabilities that are exploited
  epss          FIRST's daily probabilities of exploitation
  vulnrichment  what CISA says of CVEs: exploitation, automation, impact
  go            the Go vulnerability database
  github:OWNER/REPOSITORY
                the security advisories that a repository publishes on GitHub,
                such as that of a chart

Other flags win over what a preset says.`,
		example: `
chartkeep advisory feed add --preset bitnami
chartkeep advisory feed add airflow-chart \
    --preset github:airflow-helm/charts
chartkeep advisory feed add own --kind osv`,
		args: arguments{0, 1, "a NAME for the feed"},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&preset, "preset", "", "a known `FEED`: "+presetNames)
			f.StringVar(&opt.kind, "kind", "", "`KIND`: osv, kev, epss, vulnrichment, vex, components")
			opt.register(f)
		},
		run: func(ctx context.Context, args []string) (result, error) {
			var n client.NewFeed
			if preset != "" {
				var err error
				if n, err = feedPreset(preset); err != nil {
					return nil, err
				}
			}
			if len(args) > 0 {
				n.Name = args[0]
			}
			n.Kind, n.URL = cmp.Or(opt.kind, n.Kind), cmp.Or(opt.url, n.URL)
			n.Credential, n.Interval, n.StaleAfter = opt.credential, opt.interval, opt.staleAfter
			if n.Name == "" {
				return nil, usage("a feed needs a name, or a preset").try("chartkeep advisory feed add --preset bitnami")
			}
			if n.Kind == "" {
				return nil, usage("feed %s needs a kind, or a preset", n.Name).try("chartkeep advisory feed add %s --kind osv", n.Name)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			f, err := c.AddFeed(ctx, n)
			if err != nil {
				return nil, err
			}
			return feedResult{Feed: f}, nil
		},
	})
}

func (a *app) feedSetCommand() *cobra.Command {
	var opt feedOptions
	return a.leaf(command{
		use: "set NAME [flags]", short: "Change where and how often a feed is read",
		long: `
Change where and how often a feed is read. With --url '' it is imported by hand
from now on. What it is, its kind, never changes.`,
		example: `chartkeep advisory feed set bitnami --interval 12h`,
		args:    arguments{1, 1, "the NAME of a feed"}, complete: a.completeFeedArg, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			var ch client.FeedChange
			for _, t := range []struct {
				name  string
				value *string
				to    **string
			}{{"url", &opt.url, &ch.URL}, {"credential", &opt.credential, &ch.Credential}, {"interval", &opt.interval, &ch.Interval}, {"stale-after", &opt.staleAfter, &ch.StaleAfter}} {
				if opt.given.Changed(t.name) {
					*t.to = t.value
				}
			}
			if ch == (client.FeedChange{}) {
				return nil, usage("nothing to change was given").try("chartkeep advisory feed set %s --interval 12h", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			f, err := c.SetFeed(ctx, args[0], ch)
			if err != nil {
				return nil, err
			}
			return feedResult{Feed: f}, nil
		},
	})
}

func (a *app) feedListCommand() *cobra.Command {
	return a.leaf(command{
		use: "list", short: "List where advisories come from, and how old they are",
		example: `chartkeep advisory feed list`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, c.Feeds)
			if err != nil {
				return nil, err
			}
			return feedList{items, a.now()}, nil
		},
	})
}

func (a *app) feedShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show NAME", short: "Show a feed with its newest snapshots",
		example: `chartkeep advisory feed show bitnami`,
		args:    arguments{1, 1, "the NAME of a feed"}, complete: a.completeFeedArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			for f, err := range client.All(ctx, c.Feeds) {
				if err != nil {
					return nil, err
				}
				if f.Name != args[0] {
					continue
				}
				snapshots, err := c.Snapshots(ctx, f.Name, 10)
				if err != nil {
					return nil, err
				}
				return feedResult{f, snapshots}, nil
			}
			return nil, problem.New(problem.NotFound, "feed", "there is no feed %s", args[0]).Suggest("chartkeep advisory feed list")
		},
	})
}

func (a *app) feedRemoveCommand() *cobra.Command {
	return a.leaf(command{
		use: "remove NAME", short: "Have advisories from there no more",
		long: `
Take a feed out of every judgement from now on. Its snapshots stay, since
reviews and plans name them.`,
		example: `chartkeep advisory feed remove own`,
		args:    arguments{1, 1, "the NAME of a feed"}, complete: a.completeFeedArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.RemoveFeed(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "advisory-feed-removed/v1", Name: args[0], Change: "is removed; it counts in no judgement any more"}, nil
		},
	})
}

func (a *app) completeFeedArg(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return nil
	}
	return offers(ctx, a, (*client.Client).Feeds, func(f client.Feed) string { return f.Name + "\t" + f.Kind })
}
