package manifest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func imageValues(t *testing.T, archive []byte, o Options) string {
	t.Helper()
	found, err := NewBase(archive, o).ImageValues()
	if err != nil {
		return err.Error()
	}
	var out []string
	for ref, list := range found {
		for _, v := range list {
			line := ref + " <- " + strings.Join(v.Path, ".")
			if v.Name != "" {
				line += " whole " + v.Name
			}
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestImageValues(t *testing.T) {
	pod := func(name string, images ...string) string {
		text := "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n  containers:\n"
		for i, image := range images {
			text += fmt.Sprintf("  - {name: c%d, image: %q}\n", i, image)
		}
		return strings.ReplaceAll(text, `\"`, `"`)
	}
	for name, c := range map[string]struct {
		values    string
		templates string
		own       map[string]any
		want      string
	}{
		"a tag beside a repository": {
			"image: {repository: a/web, tag: 1.2.3}\n", pod("p", "{{ .Values.image.repository }}:{{ .Values.image.tag }}"), nil,
			"a/web:1.2.3 <- image.tag",
		},
		"an empty tag stands for the app version": {
			"image: {repository: a/web, tag: ''}\n", pod("p", "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"), nil,
			"a/web:9.9.9 <- image.tag",
		},
		"a whole reference, and one with a number for its tag": {
			"image: reg.example:5000/a/web:1.2.3\nside: {imageTag: 1.5}\n", pod("p", "{{ .Values.image }}", "b/side:{{ .Values.side.imageTag }}"), nil,
			"b/side:1.5 <- side.imageTag\nreg.example:5000/a/web:1.2.3 <- image whole reg.example:5000/a/web",
		},
		"a name called image, with the tag beside it": {
			"image: a/web\nimageTag: 1.2.3\n", pod("p", "{{ .Values.image }}:{{ .Values.imageTag }}"), nil,
			"a/web:1.2.3 <- imageTag",
		},
		"a reference to which the chart adds a registry": {
			"registry: reg.example\nimage: a/web:1.2.3\n", pod("p", "{{ .Values.registry }}/{{ .Values.image }}"), nil,
			"reg.example/a/web:1.2.3 <- image whole a/web",
		},
		"references below something called image": {
			"image: {web: 'a/web:1.2.3', pullPolicy: Always}\n", pod("p", "{{ .Values.image.web }}"), nil,
			"a/web:1.2.3 <- image.web whole a/web",
		},
		"the values that somebody set count": {
			"image: {repository: a/web, tag: 1.2.3}\n", pod("p", "{{ .Values.image.repository }}:{{ .Values.image.tag }}"),
			map[string]any{"image": map[string]any{"repository": "mirror/web", "tag": "1.2.4"}},
			"mirror/web:1.2.4 <- image.tag",
		},
		"two images of one tag are told apart": {
			"a: {tag: '1.0'}\nb: {tag: '1.0'}\n", pod("p", "x/a:{{ .Values.a.tag }}", "x/b:{{ .Values.b.tag }}"), nil,
			"x/a:1.0 <- a.tag\nx/b:1.0 <- b.tag",
		},
		"one image by two values": {
			"a: {tag: '1.0'}\nb: {tag: '1.0'}\n", pod("p", "x/a:{{ .Values.a.tag }}", "x/a:{{ .Values.b.tag }}"), nil,
			"x/a:1.0 <- a.tag\nx/a:1.0 <- b.tag",
		},
		"an image that is written into the template too is not chosen": {
			"a: {tag: '1.0'}\n", pod("p", "x/a:{{ .Values.a.tag }}", "x/a:1.0"), nil, "",
		},
		"an image of an object that is called after its tag is not followed": {
			"a: {tag: '1.0'}\n", pod("p-{{ .Values.a.tag }}", "x/a:{{ .Values.a.tag }}"), nil, "",
		},
		"a digest wins over the tag": {
			"a: {tag: '1.0', digest: 'sha256:" + strings.Repeat("a", 64) + "'}\n", pod("p", "x/a{{ with .Values.a.digest }}@{{ . }}{{ else }}:{{ $.Values.a.tag }}{{ end }}"), nil, "",
		},
		"the first two numbers stay, by which charts choose": {
			"a: {tag: 2.8.4-python3.9}\n", pod("p", "x/a:{{ .Values.a.tag }}{{ if semverCompare `<2.0.0` (.Values.a.tag | splitList `-` | first) }}-old{{ end }}"), nil,
			"x/a:2.8.4-python3.9 <- a.tag",
		},
		"a chart that does not take the tags says so": {
			"a: {tag: '1.0'}\n", pod("p", "x/a:{{ if ne .Values.a.tag `1.0` }}{{ fail `only 1.0` }}{{ end }}{{ .Values.a.tag }}"), nil,
			"only 1.0",
		},
		"no values, no images": {"{}\n", pod("p", "x/a:1"), nil, ""},
	} {
		archive := charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": c.values, "templates/p.yaml": c.templates,
			"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: 9.9.9\n"})
		before := fmt.Sprint(c.own)
		if got := imageValues(t, archive, Options{Values: c.own}); got != c.want && (c.want == "" || !strings.Contains(got, c.want) || !strings.Contains(c.want, "only")) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
		if after := fmt.Sprint(c.own); after != before {
			t.Errorf("%s: the values that were given became %s", name, after)
		}
	}
}

// TestImageValuesOfAirflow: a real chart with dependencies and a helper for
// images.
func TestImageValuesOfAirflow(t *testing.T) {
	archive := readFile(t, filepath.Join(charttest.Corpus(t, "charts"), "airflow-helm/airflow-8.9.0.tgz"))
	want := `apache/airflow:2.8.4-python3.9 <- airflow.image.tag
docker.io/bitnami/redis:6.2.14-debian-12-r17 <- redis.image.tag
ghcr.io/airflow-helm/pgbouncer:1.22.1-patch.0 <- pgbouncer.image.tag
ghcr.io/airflow-helm/postgresql-bitnami:11.22-patch.0 <- postgresql.image.tag`
	if got := imageValues(t, archive, Options{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
