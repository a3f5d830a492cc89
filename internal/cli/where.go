package cli

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/client"
)

// whereResult is who runs certain bytes.
type whereResult struct{ client.Whereabouts }

func (whereResult) schema() string { return "where/v1" }

func (r whereResult) keys() []string {
	return keysOf(r.Running, func(p client.Place) string { return p.Key })
}

func (r whereResult) view() view {
	facts := []fact{{"digest", r.Digest}}
	for _, x := range r.Releases {
		facts = append(facts, fact{"release", refOf(x) + ", " + x.State})
	}
	if len(r.Releases) == 0 {
		facts = append(facts, fact{"release", "none here that you may read"})
	}
	running := block{head: []string{"DEPLOYMENT", "CHART", "ENVIRONMENT", "OWNER", "CONFIDENCE", "HOW", "SEEN"}, empty: "no deployment that is known runs it"}
	for _, p := range r.Running {
		running.rows = append(running.rows, placeRow(p))
	}
	unknown := block{head: running.head, empty: "of every other deployment it can be told that it does not"}
	for _, p := range r.Unknown {
		unknown.rows = append(unknown.rows, placeRow(p))
	}
	return view{{facts: facts}, {text: "Runs it:"}, running, {text: "Cannot be told:"}, unknown}
}

func placeRow(p client.Place) []string {
	return []string{p.Key, strings.TrimSpace(p.Chart + " " + p.Version), cmp.Or(p.Environment, "-"), cmp.Or(p.Owner, "nobody is named"), p.Confidence, p.How, stamp(p.LastSeen)}
}

func (a *app) whereCommand() *cobra.Command {
	return a.leaf(command{
		use: "where DIGEST|PROJECT/CHART@VERSION", short: "List the deployments that run a release",
		long: `
List the deployments that run a release, also of one whose bytes are gone, and
those that have it as a dependency. DIGEST is that of an archive or of an OCI
manifest.

A deployment is found by the fingerprint of what Helm stored in its cluster, by
the digest that is pinned, and last by repository, name and version; the
confidence says which. Those of which it cannot be told stand apart. Only what
was imported is known: chartkeep deployment import.`,
		example: `
chartkeep where demo/web@1.4.2
chartkeep where sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c1…`,
		args: arguments{1, 1, "a DIGEST or a reference PROJECT/CHART@VERSION"}, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(args[0], "sha256:") || strings.HasPrefix(args[0], "sha512:") {
				w, err := c.Where(ctx, args[0])
				return resultOf(whereResult{w}, err)
			}
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			w, err := c.WhereRelease(ctx, ref.Project, ref.Chart, ref.Version)
			return resultOf(whereResult{w}, err)
		},
	})
}
