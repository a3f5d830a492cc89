package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/source"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// outdatedResult says how far deployments are behind, and what that leaves open
// where advisories are known.
type outdatedResult struct {
	Findings    []deployment.Finding `json:"findings"`
	Deployments []outdatedRow        `json:"deployments"`
	Problems    []string             `json:"problems"`
	Advisories  *advisoriesUsed      `json:"advisories,omitempty"`
	risks       *risks               // nil where no advisories were asked for
	now         time.Time
}

// outdatedRow is one deployment; Risk is absent where no advisories were asked
// for.
type outdatedRow struct {
	client.OutdatedRow
	Risk *risk `json:"risk,omitempty"`
}

func (outdatedResult) schema() string { return "outdated/v1" }

func (r outdatedResult) keys() []string {
	var keys []string
	for _, d := range r.Deployments {
		if d.State != string(deployment.Current) || r.risks != nil && !d.Risk.clean() {
			keys = append(keys, d.Key)
		}
	}
	return keys
}

func (r outdatedResult) view() view {
	b := block{head: []string{"DEPLOYMENT", "CHART", "RUNS", "NEWEST", "STATE", "WHY"}, empty: "no deployments were found"}
	counts := map[string]int{}
	for _, d := range r.Deployments {
		counts[d.State]++
		b.rows = append(b.rows, []string{d.Key, d.Chart, cmp.Or(d.Version, d.Constraint, "?"), cmp.Or(d.Newest, "?"), d.State, d.Why})
	}
	if len(r.Deployments) == 0 {
		return view{b}
	}
	var words []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %s", counts[state], state))
	}
	total := plural(len(r.Deployments), "deployment") + ": " + strings.Join(words, ", ")
	if r.risks == nil {
		return view{b, {text: total}}
	}
	open := block{head: []string{"DEPLOYMENT", "EXPOSURE", "OPEN", "UNKNOWN", "DUE"}}
	for _, d := range r.Deployments {
		open.rows = append(open.rows, append([]string{d.Key}, d.Risk.cells(r.now)...))
	}
	return append(view{b, open, {text: total + "\n" + r.risks.total()}}, r.risks.used.view()...)
}

type outdatedOptions struct {
	whereOptions
	advisories advisoryOptions
	index      []string
	failOn     []string
	outgoingOptions
}

// outgoingOptions say how a command goes out to others than its server.
type outgoingOptions struct {
	networks    []string
	credentials string
}

func (o *outdatedOptions) register(f *pflag.FlagSet) {
	o.whereOptions.register(f)
	f.StringArrayVar(&o.index, "index", nil, "`URL` of a repository to look in too, since what Helm stores in a cluster does not name one: https://… or oci://HOST/PATH/CHART")
	f.StringSliceVar(&o.networks, "allow-networks", nil, "`NETWORKS` that may be called beside public addresses, such as 10.0.0.0/8; an address that a URL names by itself is always")
	f.StringVar(&o.credentials, "credentials", "", "YAML `FILE` that names the credentials of repositories, see docs/upstream.md")
	o.advisories.register(f)
	f.StringVar(&o.advisories.policy, "policy", "", "decision policy, a YAML `FILE` (default: the one that is built in)")
	f.StringSliceVar(&o.failOn, "fail-on", nil, "exit with 6 when there is a finding of `SEVERITY` or above, or unrated: info, low, medium, high, critical; unknown: when an image is unknown")
}

func (a *app) outdatedCommand() *cobra.Command {
	var opt outdatedOptions
	return a.leaf(command{
		use: "outdated [flags]", short: "Say what is behind what is published, and how far",
		long: `
Say which deployments are behind what their charts' publishers have, and how
far. With --from no server is needed: clusters are read through a kubeconfig,
folders and files as they are, and the repositories that they name are asked.
Without --from, the server is asked for what it has on record.

What runs is matched by its bytes where they are known, then by repository,
name and version, and last by a name and version that one repository alone
has. A repository is never guessed. What could not be checked is listed as
unchecked, with the reason; then the exit code is 1.

With --advisories, feeds are read too (see chartkeep advisory match --help), and
the table says what is open on each deployment and by when it has to be closed,
by the images that Helm's storage or a rendering names. Without a server nobody
knows when a fix was first seen, so every clock runs from the publication.
Images that are unknown, and deployments whose images are not known, are not
clean: with --fail-on the exit code is 1 for them, or 6 with --fail-on unknown.`,
		example: `
chartkeep outdated --from kube \
    --index https://airflow-helm.github.io/charts
chartkeep outdated --from ./gitops -o json
chartkeep outdated --from kube:production --from ./gitops --fail-on medium
chartkeep outdated --from kube --advisories ./feeds --fail-on high`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			on, err := readFailOn(opt.failOn)
			if err != nil {
				return nil, err
			}
			if err := opt.check(on); err != nil {
				return nil, err
			}
			r, err := a.outdatedOf(ctx, &opt)
			if err != nil {
				return nil, err
			}
			a.tellProblems(r.Problems)
			if failed, err := findingsAt(r.Findings, on.severity); err != nil || failed {
				return r, cmp.Or(err, error(findings{}))
			}
			if r.risks != nil {
				if err := r.risks.end(on); err != nil {
					return r, err
				}
			}
			unchecked := len(r.Problems)
			for _, d := range r.Deployments {
				if d.State == string(deployment.Unchecked) {
					unchecked++
				}
			}
			if unchecked > 0 {
				return r, answer{problem.Unavailable}
			}
			return r, nil
		},
	})
}

// check refuses options that go with --from alone.
func (o *outdatedOptions) check(on failOn) error {
	if on.unknown && len(o.from) > 0 && len(o.advisories.from) == 0 {
		return usage("--fail-on unknown is for judging by advisories, and --advisories is missing").try("chartkeep outdated --from %s --advisories PATH --fail-on unknown", o.from[0])
	}
	given := map[string]bool{"--advisories": len(o.advisories.from) > 0, "--components": o.advisories.components != "", "--policy": o.advisories.policy != ""}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch {
		case !given[name]:
		case len(o.from) == 0:
			return usage("%s is for reading without a server, and --from is missing", name).try("chartkeep outdated --from kube --advisories PATH")
		case !given["--advisories"]:
			return usage("%s is for judging by advisories, and --advisories is missing", name).try("chartkeep outdated --from %s --advisories PATH", o.from[0])
		}
	}
	return nil
}

// outdatedAtServer is what the server has on record.
func (a *app) outdatedAtServer(ctx context.Context) (outdatedResult, error) {
	r := outdatedResult{Findings: []deployment.Finding{}, Deployments: []outdatedRow{}, Problems: []string{}, now: a.now()}
	c, err := a.client()
	if err != nil {
		return r, err
	}
	rows, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.OutdatedRow], error) {
		return c.Outdated(ctx, "", p)
	})
	if err != nil {
		return r, err
	}
	for _, d := range rows {
		row := deployment.Row{Key: d.Key, Chart: d.Chart, Version: d.Version, Constraint: d.Constraint, Step: d.Step, State: deployment.State(d.State), Why: d.Why, Match: deployment.Match{Differs: d.Match.Differs}}
		r.Findings = append(r.Findings, row.Findings()...)
		r.Deployments = append(r.Deployments, outdatedRow{OutdatedRow: d})
	}
	got, err := a.risksAtServer(ctx, c)
	r.take(got)
	return r, err
}

// take adds what is open; nil where nobody asked.
func (r *outdatedResult) take(got *risks) {
	if r.risks = got; got == nil {
		return
	}
	for i := range r.Deployments {
		d := &r.Deployments[i]
		if got.byKey[d.Key] == nil {
			got.of(d.Key, &risk{Exposure: "unknown", Open: map[string]int{}, Unknown: []client.UnknownImage{}, NotJudged: "it was not judged yet"})
		}
		d.Risk = got.byKey[d.Key]
	}
	r.Findings = append(r.Findings, got.findings...)
	r.Advisories = &got.used
}

func (a *app) outdatedOf(ctx context.Context, opt *outdatedOptions) (outdatedResult, error) {
	if len(opt.from) == 0 {
		return a.outdatedAtServer(ctx)
	}
	r := outdatedResult{Findings: []deployment.Finding{}, Deployments: []outdatedRow{}, Problems: []string{}, now: a.now()}
	found, err := opt.read(ctx)
	if err != nil {
		return r, err
	}
	shelf, failures, err := opt.published(ctx, found.Deployments)
	if err != nil {
		return r, err
	}
	r.Problems = append(r.Problems, found.Problems...)
	for _, u := range opt.index {
		if why := failures[u]; why != "" {
			r.Problems = append(r.Problems, u+": "+why)
		}
	}
	now := time.Now()
	for i := range found.Deployments {
		d := &found.Deployments[i]
		row := shelf.Outdated(d, now)
		if why := failures[repositoryOf(&d.Chart)]; why != "" && row.State == deployment.Unchecked {
			row.Why = why
		}
		r.Findings = append(r.Findings, row.Findings()...)
		r.Deployments = append(r.Deployments, outdatedRow{OutdatedRow: client.OutdatedRow{
			Key: row.Key, From: row.From, Cluster: row.Cluster, Namespace: row.Namespace, Name: row.Name, Environment: row.Environment, Owner: row.Owner, Chart: row.Chart,
			Version: row.Version, Constraint: row.Constraint, Published: row.Published, Newest: row.Newest, Allowed: row.Allowed, Step: row.Step, Releases: row.Releases,
			Since: row.Since, Days: row.Days, State: string(row.State), Why: row.Why,
			Match: client.Match{Confidence: string(row.Match.Confidence), How: row.Match.How, Chart: row.Match.Chart, Version: row.Match.Version, Archive: row.Match.Archive, Differs: row.Match.Differs},
		}})
	}
	if len(opt.advisories.from) == 0 {
		return r, nil
	}
	got, err := a.risksHere(ctx, &opt.advisories, found.Deployments)
	if err != nil {
		return r, err
	}
	a.tellFeeds(got.used)
	r.take(got)
	return r, nil
}

// repositoryOf is what has to be read for a chart: the URL of an index, or of
// a chart in an OCI registry; "" when there is nothing to read.
func repositoryOf(c *deployment.Chart) string {
	scheme, _, ok := strings.Cut(c.Repository, "://")
	switch {
	case !ok:
		return ""
	case strings.EqualFold(scheme, "oci"):
		u := strings.TrimRight(c.Repository, "/")
		if !strings.HasSuffix(u, "/"+c.Name) {
			u += "/" + c.Name
		}
		return u
	case strings.EqualFold(scheme, "http"), strings.EqualFold(scheme, "https"):
		return c.Repository
	}
	return ""
}

// concurrentReads is how many repositories are read at once.
const concurrentReads = 8

// published reads the repositories that deployments name, and those given
// beside them. Of each it keeps the charts that are deployed. What could not be
// read is in failures, by URL.
func (o *outdatedOptions) published(ctx context.Context, list []deployment.Deployment) (*deployment.Catalogue, map[string]string, error) {
	wanted, names := map[string]bool{}, map[string]bool{}
	for i := range list {
		names[list[i].Chart.Name] = true
		if u := repositoryOf(&list[i].Chart); u != "" {
			wanted[u] = true
		}
	}
	for _, u := range o.index {
		wanted[u] = true
	}
	urls := slices.Sorted(maps.Keys(wanted))
	out, known, err := o.client(urls)
	if err != nil {
		return nil, nil, err
	}
	defer out.Close()
	sources := source.New(out, source.Config{Requests: 1}) // versions alone are asked for, not what they hold
	var mu sync.Mutex
	var all []deployment.Published
	failures := map[string]string{}
	slots := make(chan struct{}, concurrentReads)
	var running sync.WaitGroup
	for _, u := range urls {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			kind := watch.SourceIndex
			if strings.HasPrefix(strings.ToLower(u), "oci://") {
				kind = watch.SourceOCI
			}
			found, err := sources.Poll(ctx, watch.Source{Kind: kind, URL: u, Credential: known.For(u)}, watch.Validators{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures[u] = "it could not be read"
				if p, ok := problem.As(err); ok {
					failures[u] = p.Message
				}
				return
			}
			if found.Index == nil {
				return
			}
			for _, c := range found.Index.Charts {
				if !names[c.Name] {
					continue
				}
				for _, v := range c.Versions {
					p := deployment.Published{Repository: u, Chart: c.Name, Version: v.Version, AppVersion: v.AppVersion, Created: v.Created, Deprecated: v.Deprecated}
					if len(v.Digest) == 64 {
						p.Archive = "sha256:" + v.Digest
					}
					all = append(all, p)
				}
			}
		})
	}
	running.Wait()
	return deployment.NewCatalogue(all), failures, ctx.Err()
}

// client is what goes out. Addresses that the person's own files name as such
// may be called; names that lead to private networks need --allow-networks.
func (o *outgoingOptions) client(urls []string) (*remote.Client, *remote.Credentials, error) {
	cfg := remote.Config{Proxy: http.ProxyFromEnvironment, UserAgent: userAgent()}
	for _, n := range o.networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return nil, nil, usage("--allow-networks %s is no network", n).try("--allow-networks 10.0.0.0/8")
		}
		cfg.AllowNetworks = append(cfg.AllowNetworks, p.Masked())
	}
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			continue // reading it says so
		}
		if u.Hostname() == "localhost" {
			cfg.AllowNetworks = append(cfg.AllowNetworks, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.Zone() == "" && !ip.IsLinkLocalUnicast() {
			cfg.AllowNetworks = append(cfg.AllowNetworks, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	if o.credentials != "" {
		var err error
		if cfg.Credentials, err = remote.LoadCredentials(o.credentials); err != nil {
			return nil, nil, asUsage(err)
		}
	}
	return remote.New(cfg), cfg.Credentials, nil
}
