package upgrade_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// airflowWorld has the real history of airflow-helm, and the advisories of the
// corpus. It returns the versions in their order.
func airflowWorld(t *testing.T) (*world, []string) {
	if testing.Short() {
		t.Skip("renders dozens of large charts")
	}
	charts := charttest.Corpus(t, "charts/airflow-helm")
	records := charttest.Corpus(t, "advisories/bitnami-vulndb")
	w := newWorld(t)
	w.now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var all bytes.Buffer
	list, err := filepath.Glob(filepath.Join(records, "*", "*.json"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no advisories in %s: %v", records, err)
	}
	for _, f := range list {
		b, err := os.ReadFile(f)
		w.ok(err)
		var line bytes.Buffer
		w.ok(json.Compact(&line, b))
		all.Write(append(line.Bytes(), '\n'))
	}
	w.feed("bitnami", advisory.OSV, all.String())
	archives, err := filepath.Glob(filepath.Join(charts, "airflow-*.tgz"))
	if err != nil || len(archives) != 36 {
		t.Fatalf("%d archives in %s: %v", len(archives), charts, err)
	}
	var versions []string
	for _, f := range archives {
		b, err := os.ReadFile(f)
		w.ok(err)
		a, err := chart.Open(bytes.NewReader(b), chart.DefaultLimits())
		w.ok(err)
		name := digest.SHA256(b)
		w.watch.archives[name], w.vault.blobs[name] = b, b
		w.watch.versions = append(w.watch.versions, deployment.Published{
			Upstream: "airflow-helm", Repository: "https://airflow-helm.github.io/charts", Chart: "airflow", Version: a.Metadata.Version, Archive: name, FirstSeen: w.now.AddDate(0, 0, -12),
		})
		versions = append(versions, a.Metadata.Version)
	}
	slices.SortFunc(versions, func(a, b string) int {
		_, x := chart.LenientVersion(a)
		_, y := chart.LenientVersion(b)
		return strings.Compare(x, y)
	})
	return w, versions
}

// airflow is a deployment of one version with values.
func (w *world) airflow(version, values string) {
	w.Helper()
	w.runs("prod/data/airflow", version, nil, func(d *watch.Deployment) {
		d.Tool, d.Name = deployment.ArgoCD, "airflow"
		d.Chart = deployment.Chart{Name: "airflow", Version: version, Repository: "https://airflow-helm.github.io/charts"}
		d.Match.Upstream, d.Match.Chart, d.Match.Version = "airflow-helm", "airflow", version
		for _, v := range w.watch.versions {
			if v.Version == version {
				d.Match.Archive = v.Archive
			}
		}
		if values != "" {
			d.Values = []byte(values)
		}
	})
}

// expected reads a table that was made without the matcher, see its README.
func expected(t *testing.T, name string) [][]string {
	b, err := os.ReadFile(filepath.Join("..", "advisory", "testdata", "airflow", name))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		out = append(out, strings.Split(line, "\t"))
	}
	return out
}

func ids(list []upgrade.Finding, component string) string {
	var out []string
	for _, f := range list {
		if f.Component == component {
			out = append(out, f.Advisory)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestAirflow: for every step of the real history in which something changes,
// and the steps around them, the review closes and introduces exactly what a
// table made without our matcher says.
func TestAirflow(t *testing.T) {
	w, versions := airflowWorld(t)
	all := w.watch.versions
	type change struct{ closed, introduced string }
	want := map[string]change{}
	for _, row := range expected(t, "changes.tsv") {
		if row[1] == "airflow" {
			want[row[0]] = change{row[2], row[3]}
		}
	}
	if len(want) < 8 {
		t.Fatalf("the table has %d steps", len(want))
	}
	for i := 1; i < len(versions); i++ {
		from, to := versions[i-1], versions[i]
		c, changes := want[to]
		if !changes && i%6 != 0 {
			continue // nothing changes; a sixth of these steps stands for all
		}
		w.watch.versions = slices.DeleteFunc(slices.Clone(all), func(p deployment.Published) bool { return p.Version != from && p.Version != to })
		w.airflow(from, "")
		r, err := w.MakeReview(w.ctx, ann, "prod/data/airflow", to)
		if err != nil {
			t.Errorf("%s to %s: %v", from, to, err)
			continue
		}
		if got := (change{ids(r.Closed, "Bitnami/airflow"), ids(r.Introduced, "Bitnami/airflow")}); got != c {
			t.Errorf("%s to %s:\n got %+v\nwant %+v", from, to, got, c)
		}
		if r.Compared.Basis != "rendered" {
			t.Errorf("%s to %s: %s (%s)", from, to, r.Compared.Basis, r.Compared.New.Reason)
		}
	}
}

// TestAirflowToday: what is open on 8.9.0, that no newer chart fixes it, and
// what to do instead.
func TestAirflowToday(t *testing.T) {
	w, _ := airflowWorld(t)
	w.airflow("8.9.0", "")
	w.judge()
	a := w.assessment("prod/data/airflow")
	open := map[string]string{}
	for _, row := range expected(t, "open.tsv") {
		open[row[0]] = row[3]
	}
	if got, want := ids(a.Findings, "Bitnami/airflow"), open["apache/airflow:2.8.4-python3.9"]; got != want || want == "" {
		t.Errorf("airflow:\n got %s\nwant %s", got, want)
	}
	p := w.plan("prod/data/airflow")
	if p.Action != upgrade.ActRemedy || p.Chosen != nil || !strings.HasPrefix(p.Text, "No fixed chart exists") {
		t.Fatalf("%s: %s", p.Action, p.Text)
	}
	i := slices.IndexFunc(p.Remedies, func(r upgrade.Remedy) bool {
		return r.Kind == "override-image" && strings.HasPrefix(r.Image, "apache/airflow:")
	})
	if i < 0 || !strings.HasPrefix(p.Remedies[i].Target, "apache/airflow:") || !strings.Contains(p.Remedies[i].Verified, "a rendering shows") ||
		p.Remedies[i].Values != "airflow:\n  image:\n    tag: \""+strings.TrimPrefix(p.Remedies[i].Target, "apache/airflow:")+"\"\n" {
		t.Fatalf("%+v", p.Remedies)
	}
	// The same chain says what the override leaves.
	m, _, err := w.MatchImages(w.ctx, ann, []string{p.Remedies[i].Target, p.Remedies[i].Image})
	w.ok(err)
	if len(m[0].Open) >= len(m[1].Open) {
		t.Errorf("the override leaves %d of %d", len(m[0].Open), len(m[1].Open))
	}
}

// TestAirflowOverrides: what the user sets changes what is open.
func TestAirflowOverrides(t *testing.T) {
	w, _ := airflowWorld(t)
	open := func(values string) (string, []upgrade.UnknownImage) {
		t.Helper()
		w.airflow("8.9.0", values)
		w.watch.changes++
		w.judge()
		a := w.assessment("prod/data/airflow")
		return fmt.Sprintf("%d airflow, %d redis, %d postgresql", len(strings.Fields(ids(a.Findings, "Bitnami/airflow"))),
			len(strings.Fields(ids(a.Findings, "Bitnami/redis"))), len(strings.Fields(ids(a.Findings, "Bitnami/postgresql")))), a.Unknown
	}
	base, unknown := open("")
	newer, _ := open(`{"airflow":{"image":{"tag":"2.10.5-python3.9"}}}`)
	noRedis, _ := open(`{"redis":{"enabled":false},"airflow":{"executor":"KubernetesExecutor"}}`)
	other, more := open(`{"airflow":{"image":{"repository":"registry.example/own/flow","tag":"1"}}}`)
	if base == newer || base == noRedis || !strings.Contains(noRedis, " 0 redis") || !strings.HasPrefix(other, "0 airflow") || len(more) <= len(unknown) {
		t.Errorf("default %s (%d unknown); newer %s; without redis %s; another image %s (%d unknown)", base, len(unknown), newer, noRedis, other, len(more))
	}
}

// TestOverridesChangeTheSets: each way in which users say which image runs.
func TestOverridesChangeTheSets(t *testing.T) {
	pod := func(field, image string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: busybox:1}\n  %s:\n  - {name: b, image: %q}\n", field, image)
	}
	sub := map[string]string{
		"charts/inner/Chart.yaml":         "apiVersion: v2\nname: inner\nversion: 1.0.0\n",
		"charts/inner/values.yaml":        "image: {registry: docker.io, repository: bitnami/redis, tag: 6.2.6}\n",
		"charts/inner/templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: i}\nspec:\n  containers:\n  - name: i\n    image: {{ .Values.global.registry | default .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}\n",
		"values.yaml":                     "global: {registry: ''}\n",
		"templates/deployment.yaml":       "",
	}
	none := map[string]string{"templates/deployment.yaml": ""}
	with := func(name, text string) map[string]string {
		return map[string]string{"templates/deployment.yaml": "", name: text}
	}
	const both = "CVE-2026-0001 in Bitnami/redis, CVE-2026-0002 in Bitnami/redis"
	for name, c := range map[string]struct {
		files   map[string]string
		values  string
		want    string
		unknown int
	}{
		"nothing runs":                {none, "", "", 0},
		"sub-chart by default":        {sub, "", both, 0},
		"sub-chart value":             {sub, `{"inner":{"image":{"tag":"6.2.8"}}}`, "CVE-2026-0002 in Bitnami/redis", 0},
		"sub-chart value, fixed":      {sub, `{"inner":{"image":{"tag":"6.2.9"}}}`, "", 0},
		"global registry of a mirror": {sub, `{"global":{"registry":"mirror.example/proxy"}}`, both, 0},
		"sub-chart tag that floats":   {sub, `{"inner":{"image":{"tag":"latest"}}}`, "", 1},
		"sub-chart by digest":         {sub, `{"inner":{"image":{"tag":"6.2.8@sha256:` + strings.Repeat("1", 64) + `"}}}`, "CVE-2026-0002 in Bitnami/redis", 0},
		"init container":              {with("templates/p.yaml", pod("initContainers", "docker.io/bitnami/redis:6.2.8")), "", "CVE-2026-0002 in Bitnami/redis", 1},
		"digest alone":                {with("templates/p.yaml", pod("initContainers", "docker.io/bitnami/redis@sha256:"+strings.Repeat("1", 64))), "", "", 2},
		"custom resource": {with("templates/c.yaml", "apiVersion: example.com/v1\nkind: Cache\nmetadata: {name: c}\nspec: {image: 'docker.io/bitnami/redis:6.2.8'}\n"), "",
			"CVE-2026-0002 in Bitnami/redis", 0},
	} {
		w := redisWorld(t)
		w.watch.versions = nil
		files := map[string]string{"values.yaml": "{}\n"}
		for k, v := range c.files {
			files[k] = v
		}
		w.publishes("1.0.0", "unused", morning, files)
		w.runs("prod/data/cache", "1.0.0", nil, func(d *watch.Deployment) {
			d.Tool = deployment.Flux
			if c.values != "" {
				d.Values = []byte(c.values)
			}
		})
		w.judge()
		a := w.assessment("prod/data/cache")
		if got := keys(a.Findings, upgrade.OfAdvisory); got != c.want || len(a.Unknown) != c.unknown {
			t.Errorf("%s: open %s, %d unknown %v; want %s, %d; doubts %v", name, got, len(a.Unknown), a.Unknown, c.want, c.unknown, a.Doubts)
		}
	}
}
