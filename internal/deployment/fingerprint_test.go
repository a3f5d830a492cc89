package deployment

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	chartvalues "helm.sh/helm/v4/pkg/chart/common/util"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	helmrelease "helm.sh/helm/v4/pkg/release/v1"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// cluster is Helm's storage as Helm 4's code fills it: its loader, what it does
// to a chart before it renders, its release type. Its storage driver and its
// actions need a hundred modules more; what they write is in testdata/recorded.
type cluster struct {
	list     []map[string]any
	releases map[string]*helmrelease.Release
}

// install stores what `helm install` does.
func (c *cluster) install(t testing.TB, name string, archive []byte, values map[string]any) {
	t.Helper()
	c.store(t, name, load(t, archive), values, 1)
}

// upgrade stores what `helm upgrade --reuse-values` does.
func (c *cluster) upgradeReusing(t testing.TB, name string, archive []byte, values map[string]any) {
	t.Helper()
	current, ch := c.releases[name], load(t, archive)
	old, err := chartvalues.CoalesceValues(current.Chart, current.Config)
	if err != nil {
		t.Fatal(err)
	}
	ch.Values = old
	c.store(t, name, ch, chartvalues.CoalesceTables(values, current.Config), current.Version+1)
}

func load(t testing.TB, archive []byte) *helmchart.Chart {
	t.Helper()
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ch, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func (c *cluster) store(t testing.TB, name string, ch *helmchart.Chart, values map[string]any, revision int) {
	t.Helper()
	if err := chartutil.ProcessDependencies(ch, values); err != nil {
		t.Fatal(err)
	}
	r := helmrelease.Mock(&helmrelease.MockReleaseOptions{Name: name, Chart: ch, Namespace: "shop", Version: revision})
	r.Config = values
	if c.releases == nil {
		c.releases = map[string]*helmrelease.Release{}
	}
	c.releases[name] = r
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	c.list = append(c.list, secret(name, "deployed", revision, pack(t, b)))
}

// pack does what every storage driver of Helm does with a release.
func pack(t testing.TB, release []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(release); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(b.Bytes()))
}

// secret is the Secret of a revision.
func secret(name, status string, revision int, stored []byte) map[string]any {
	return map[string]any{
		"metadata": map[string]any{
			"name": fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, revision), "namespace": "shop",
			"labels": map[string]any{"owner": "helm", "name": name, "status": status, "version": fmt.Sprint(revision)},
		},
		"type": "helm.sh/release.v1",
		"data": map[string]any{"release": stored}, // base64 once more
	}
}

// inventory is what the Secrets say.
func (c *cluster) inventory(t testing.TB) Inventory {
	t.Helper()
	b, err := json.Marshal(map[string]any{"kind": "SecretList", "items": c.list})
	if err != nil {
		t.Fatal(err)
	}
	v, err := ReadHelm(b, "prod", "test")
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Problems) > 0 {
		t.Error(v.Problems)
	}
	return v
}

func printOf(t testing.TB, archive []byte) Print {
	t.Helper()
	p, _, err := PrintArchive(bytes.NewReader(archive), chart.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// odd is a chart with everything that the fingerprint has to know about.
var odd = map[string]string{
	"Chart.yaml": "apiVersion: v2\nname: odd\nversion: v1.0.0+build.7\nappVersion: 1.10\ndescription: \"tab\\there\\u0007\"\nkeywords: [a, b]\n" +
		"annotations: {x: \"line\\nbreak\", n: \"5\"}\nmaintainers: [{name: \"A\\u200b\", email: a@example.org}]\n" +
		"dependencies:\n- {name: db, version: ^2.0.0, repository: \"https://charts.example.org\", alias: store, condition: store.enabled, import-values: [data]}\n" +
		"- {name: cache, version: 1.0.0, repository: \"\", tags: [extra]}\n",
	"Chart.lock":                  "dependencies:\n- name: db\n  repository: https://charts.example.org\n  version: 2.1.0\n- name: cache\n  repository: \"\"\n  version: 1.0.0\ndigest: sha256:00\ngenerated: \"2026-01-02T03:04:05.678+01:00\"\n",
	"values.yaml":                 "a: 1\nb: 0x10\nbig: 9007199254740993\nf: 1e3\nyes: on\nnothing: null\nt: &x {k: [1, null, ~], n: ~}\nu: *x\nglobal: {g: {h: 1}}\nstore: {enabled: true, size: 5}\npassword: hunter2\nd: 2026-01-02\n",
	"values.schema.json":          `{"$schema": "http://json-schema.org/draft-07/schema#"}`,
	"README.md":                   "\xef\xbb\xbf# Odd\n",
	".helmignore":                 "*.bak\n",
	"LICENSE":                     "none\r\n",
	"crds/crd.yaml":               "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: odds.example.org}\n",
	"files/data.bin":              "\x00\xff\xfe",
	"templates/_helpers.tpl":      "{{- define \"x\" }}{{ end }}",
	"templates/cm.yaml":           "\xef\xbb\xbfapiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {big: {{ .Values.big | quote }}}\n",
	"templates/NOTES.txt":         "thanks\n",
	"charts/db/Chart.yaml":        "apiVersion: v2\nname: db\nversion: 2.1.0\n",
	"charts/db/values.yaml":       "exports: {data: {imported: {deep: 1}}}\nsize: 1\nglobal: {g: {i: 2}}\nimage: db:1\n",
	"charts/db/templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\n",
	"charts/cache/Chart.yaml":     "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
	"charts/cache/values.yaml":    "image: cache:1\n",
	"charts/.gitkeep":             "",
	"charts/db.prov":              "not a chart\n",
	"requirements.yaml":           "dependencies: []\n",
}

func oddChart(t testing.TB, change map[string]string) []byte {
	files := map[string]string{}
	all := maps.Clone(odd)
	delete(all, "requirements.yaml") // a file of old charts; see TestOldChart
	maps.Copy(all, change)
	for path, content := range all {
		files["odd/"+path] = content
	}
	return charttest.BuildFiles(t, files)
}

func TestFingerprintOfOddChart(t *testing.T) {
	archive := oddChart(t, nil)
	want := printOf(t, archive)
	for name, values := range map[string]map[string]any{
		"plain":    nil,
		"disabled": {"store": map[string]any{"enabled": false}, "tags": map[string]any{"extra": false}},
		"changed":  {"a": 5, "t": nil, "store": map[string]any{"size": nil}, "password": "other"},
	} {
		var c cluster
		c.install(t, name, archive, values)
		d := c.inventory(t).Deployments[0]
		if d.Fingerprint != want.Fingerprint {
			t.Errorf("%s: parts differ (-archive +stored):\n%s", name, cmp.Diff(want.Parts, d.Print.Parts))
		}
		got := Compare(*d.Print, want)
		// import-values may reach every key, so that nothing there is certain,
		// but nothing differs either.
		if !got.Same || got.Parts != nil || got.Defaults != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if strings.Contains(string(d.Values), "other") {
			t.Errorf("%s: the values hold a secret: %s", name, d.Values)
		}
	}
}

func TestFingerprintTellsChanges(t *testing.T) {
	base := printOf(t, oddChart(t, nil))
	for path, part := range map[string]string{
		"templates/cm.yaml": "templates", "templates/new.yaml": "templates", "templates/NOTES.txt": "templates",
		"README.md": "files", "crds/crd.yaml": "files", "files/data.bin": "files", "charts/db.prov": "files",
		"values.schema.json": "schema",
	} {
		p := printOf(t, oddChart(t, map[string]string{path: odd[path] + "\n"}))
		c := Compare(base, p)
		if c.Same || !slices.Equal(c.Parts, []string{part}) {
			t.Errorf("%s changed: %+v", path, c)
		}
	}
	for path, text := range map[string]string{
		"Chart.yaml": strings.Replace(odd["Chart.yaml"], "keywords: [a, b]", "keywords: [a]", 1),
		"Chart.lock": strings.Replace(odd["Chart.lock"], "2.1.0", "2.1.1", 1),
	} {
		if c := Compare(base, printOf(t, oddChart(t, map[string]string{path: text}))); c.Same || len(c.Parts) != 1 {
			t.Errorf("%s changed: %+v", path, c)
		}
	}
	for path, text := range map[string]string{
		"Chart.lock": strings.Replace(odd["Chart.lock"], "2026-01-02", "2027-01-02", 1),
		"Chart.yaml": strings.Replace(odd["Chart.yaml"], "+build.7", "+abcdef123456", 1), // as Flux does
	} {
		if c := Compare(base, printOf(t, oddChart(t, map[string]string{path: text}))); !c.Same {
			t.Errorf("%s changed where Helm may: %+v", path, c)
		}
	}
}

// What Helm changes when it installs must not be taken for another chart, and
// another image in values.yaml must not be taken for the same.
func TestDefaultValues(t *testing.T) {
	values := "image: app:1\nreplicas: 1\nport: 80\n"
	archive := charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": values})
	moved := printOf(t, charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": strings.Replace(values, "app:1", "app:2", 1)}))
	several := printOf(t, charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": values + "---\nimage: app:1\n"}))

	var c cluster
	c.install(t, "web", archive, map[string]any{"replicas": 2})
	stored := *c.inventory(t).Deployments[0].Print
	for _, test := range []struct {
		name string
		with Print
		want Comparison
	}{
		{"the same", printOf(t, archive), Comparison{Same: true}},
		{"another image", moved, Comparison{Same: true, Defaults: []string{"image"}}},
		{"several documents", several, Comparison{Same: true}},
	} {
		if d := cmp.Diff(test.want, Compare(stored, test.with)); d != "" {
			t.Errorf("%s:\n%s", test.name, d)
		}
	}
	c.upgradeReusing(t, "web", archive, map[string]any{"port": 81})
	d := c.inventory(t).Deployments[0]
	if d.Revision != 2 {
		t.Fatalf("revision %d", d.Revision)
	}
	got := Compare(*d.Print, printOf(t, archive))
	if !got.Same || !slices.Equal(got.Defaults, []string{"replicas"}) {
		t.Errorf("after --reuse-values: %+v", got)
	}
}

// TestRecorded reads Secrets that Helm 3 and Helm 4 wrote through a real API
// server.
func TestRecorded(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded/secrets.json")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile("testdata/recorded/demo-1.2.3.tgz")
	if err != nil {
		t.Fatal(err)
	}
	want := printOf(t, archive)
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, item := range list.Items {
		one := fmt.Sprintf(`{"kind":"SecretList","items":[%s]}`, item)
		v, err := ReadHelm([]byte(one), "prod", "recorded")
		if err != nil || len(v.Deployments) != 1 || len(v.Problems) != 0 {
			t.Fatalf("%v %+v", err, v)
		}
		d := v.Deployments[0]
		if c := Compare(*d.Print, want); !c.Same || c.Defaults != nil {
			t.Errorf("%s revision %d: %+v\n%s", d.Name, d.Revision, c, cmp.Diff(want, *d.Print))
		}
		seen++
	}
	if seen != 4 {
		t.Errorf("%d revisions", seen)
	}
	v, err := ReadHelm(text, "prod", "recorded")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "recorded.json", v)
}

var every = flag.Bool("every", false, "store every real chart, not every fourth")

// TestFingerprintOfCorpus stores real charts as Helm 4 does and compares what it
// stored with the archives.
func TestFingerprintOfCorpus(t *testing.T) {
	var archives []string
	err := filepath.WalkDir(charttest.Corpus(t, "charts"), func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".tgz") {
			archives = append(archives, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !*every {
		some := archives[:0]
		for i := 0; i < len(archives); i += 4 {
			some = append(some, archives[i])
		}
		archives = some
	}
	known := map[string]string{}
	for _, path := range archives {
		archive, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, a, err := PrintArchive(bytes.NewReader(archive), chart.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		id := a.Metadata.Name + " " + a.Metadata.Version
		if other := known[want.Fingerprint]; other != "" && other != id {
			t.Errorf("%s has the fingerprint of %s", id, other)
		}
		known[want.Fingerprint] = id
		var c cluster
		c.install(t, "x", archive, nil)
		v := c.inventory(t)
		if len(v.Deployments) != 1 {
			t.Fatalf("%s: %+v", path, v)
		}
		got := Compare(*v.Deployments[0].Print, want)
		if !got.Same || got.Defaults != nil {
			t.Errorf("%s: %+v", path, got)
		}
	}
	t.Logf("%d charts", len(archives))
}

func FuzzPrintArchive(f *testing.F) {
	f.Add([]byte(odd["Chart.yaml"]), []byte(odd["Chart.lock"]), []byte(odd["values.yaml"]))
	f.Add([]byte("apiVersion: v1\nname: a\nversion: 1.0.0\n"), []byte("null"), []byte("a: &x [*x]\n---\nb"))
	f.Fuzz(func(t *testing.T, chartYAML, lock, values []byte) {
		b := charttest.BuildFiles(t, map[string]string{"a/Chart.yaml": string(chartYAML), "a/Chart.lock": string(lock), "a/values.yaml": string(values)})
		p, _, err := PrintArchive(bytes.NewReader(b), chart.DefaultLimits())
		if err == nil && !Compare(p, p).Same {
			t.Fatal("it differs from itself")
		}
	})
}
