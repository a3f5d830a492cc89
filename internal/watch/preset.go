package watch

import (
	"maps"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// presets are upstreams whose sources are known, by name.
var presets = map[string][]Source{
	"airflow-helm": {
		{Kind: SourceIndex, URL: "https://airflow-helm.github.io/charts"},
		{Kind: SourceGitHub, URL: "https://github.com/airflow-helm/charts", Chart: "airflow"},
		{Kind: SourceChangelog, URL: "https://raw.githubusercontent.com/airflow-helm/charts/main/charts/airflow/CHANGELOG.md", Chart: "airflow"},
	},
}

// Presets lists the names of the presets.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

func presetSources(name string) ([]Source, error) {
	sources, ok := presets[name]
	if !ok {
		return nil, problem.New(problem.NotFound, "preset", "there is no preset %.60q", name).
			With("presets", "%s", strings.Join(Presets(), ", "))
	}
	return slices.Clone(sources), nil
}
