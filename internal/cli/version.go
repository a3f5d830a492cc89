package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/chartkeep/chartkeep/internal/daemon"
)

// buildInfo is what this program was built from.
type buildInfo struct{ daemon.Build }

func (buildInfo) schema() string   { return "version/v1" }
func (r buildInfo) keys() []string { return []string{r.Version} }

func (r buildInfo) view() view {
	commit := cmp.Or(r.Commit, "unknown")
	if r.Modified {
		commit += ", with changes"
	}
	return view{{facts: []fact{{"chartkeep", r.Version}, {"commit", commit}, {"go", r.Go}, {"platform", r.Platform}}}}
}

// userAgent names this program to servers.
func userAgent() string { return "chartkeep/" + daemon.ReadBuild().Version }

func (a *app) versionCommand() *cobra.Command {
	return a.leaf(command{
		use: "version", short: "Show what this program was built from",
		example: `chartkeep version -o json`,
		run:     func(context.Context, []string) (result, error) { return buildInfo{daemon.ReadBuild()}, nil },
	})
}
