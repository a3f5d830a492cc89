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

// outdatedResult says how far deployments are behind.
type outdatedResult struct {
	Findings    []deployment.Finding `json:"findings"`
	Deployments []client.OutdatedRow `json:"deployments"`
	Problems    []string             `json:"problems"`
}

func (outdatedResult) schema() string { return "outdated/v1" }

func (r outdatedResult) keys() []string {
	var keys []string
	for _, d := range r.Deployments {
		if d.State != string(deployment.Current) {
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
	return view{b, {text: fmt.Sprintf("%d deployments: %s", len(r.Deployments), strings.Join(words, ", "))}}
}

type outdatedOptions struct {
	whereOptions
	index       []string
	networks    []string
	credentials string
	failOn      string
}

func (o *outdatedOptions) register(f *pflag.FlagSet) {
	o.whereOptions.register(f)
	f.StringArrayVar(&o.index, "index", nil, "`URL` of a repository to look in too, since what Helm stores in a cluster does not name one: https://… or oci://HOST/PATH/CHART")
	f.StringSliceVar(&o.networks, "allow-networks", nil, "`NETWORKS` that may be called beside public addresses, such as 10.0.0.0/8; an address that a URL names by itself is always")
	f.StringVar(&o.credentials, "credentials", "", "YAML `FILE` that names the credentials of repositories, see docs/upstream.md")
	f.StringVar(&o.failOn, "fail-on", "", "exit with 6 when there is a finding of `SEVERITY` or above: info, low, medium, high, critical")
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
unchecked, with the reason; then the exit code is 1.`,
		example: `
chartkeep outdated --from kube \
    --index https://airflow-helm.github.io/charts
chartkeep outdated --from ./gitops -o json
chartkeep outdated --from kube:production --from ./gitops --fail-on medium`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			if _, err := findingsAt(nil, cmp.Or(opt.failOn, "info")); err != nil {
				return nil, err
			}
			r, err := a.outdatedOf(ctx, &opt)
			if err != nil {
				return nil, err
			}
			a.tellProblems(r.Problems)
			if failed, err := findingsAt(r.Findings, opt.failOn); err != nil || failed {
				if err == nil {
					err = findings{}
				}
				return r, err
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

func (a *app) outdatedOf(ctx context.Context, opt *outdatedOptions) (outdatedResult, error) {
	r := outdatedResult{Findings: []deployment.Finding{}, Deployments: []client.OutdatedRow{}, Problems: []string{}}
	if len(opt.from) == 0 {
		c, err := a.client()
		if err != nil {
			return r, err
		}
		list := func(ctx context.Context, p client.Page) (client.List[client.OutdatedRow], error) {
			return c.Outdated(ctx, "", p)
		}
		if r.Deployments, err = collect(ctx, list); err != nil {
			return r, err
		}
		for _, d := range r.Deployments {
			row := deployment.Row{Key: d.Key, Chart: d.Chart, Version: d.Version, Constraint: d.Constraint, Step: d.Step, State: deployment.State(d.State), Why: d.Why, Match: deployment.Match{Differs: d.Match.Differs}}
			r.Findings = append(r.Findings, row.Findings()...)
		}
		return r, nil
	}
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
		r.Deployments = append(r.Deployments, client.OutdatedRow{
			Key: row.Key, From: row.From, Cluster: row.Cluster, Namespace: row.Namespace, Name: row.Name, Environment: row.Environment, Owner: row.Owner, Chart: row.Chart,
			Version: row.Version, Constraint: row.Constraint, Published: row.Published, Newest: row.Newest, Allowed: row.Allowed, Step: row.Step, Releases: row.Releases,
			Since: row.Since, Days: row.Days, State: string(row.State), Why: row.Why,
			Match: client.Match{Confidence: string(row.Match.Confidence), How: row.Match.How, Chart: row.Match.Chart, Version: row.Match.Version, Archive: row.Match.Archive, Differs: row.Match.Differs},
		})
	}
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
func (o *outdatedOptions) client(urls []string) (*remote.Client, *remote.Credentials, error) {
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
