package cli

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildInfo is what this program was built from.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"commit_time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (buildInfo) schema() string   { return "version/v1" }
func (r buildInfo) keys() []string { return []string{r.Version} }

func (r buildInfo) view() view {
	commit := cmp.Or(r.Commit, "unknown")
	if r.Modified {
		commit += ", with changes"
	}
	return view{{facts: []fact{{"chartkeep", r.Version}, {"commit", commit}, {"go", r.Go}, {"platform", r.Platform}}}}
}

// build reads what the linker recorded.
func build() buildInfo {
	r := buildInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		r.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Commit = s.Value
		case "vcs.time":
			r.Time = s.Value
		case "vcs.modified":
			r.Modified = s.Value == "true"
		}
	}
	return r
}

func (a *app) versionCommand() *cobra.Command {
	return a.leaf(command{
		use: "version", short: "Show what this program was built from",
		example: `chartkeep version -o json`,
		run:     func(context.Context, []string) (result, error) { return build(), nil },
	})
}
