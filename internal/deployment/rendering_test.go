package deployment

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/manifest"
)

const podTemplate = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n  template:\n    spec:\n      containers:\n      - name: c\n        image: %s\n"

func TestRenderDeployment(t *testing.T) {
	build := func(files map[string]string) []byte {
		all := map[string]string{"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
		for path, text := range files {
			all["web/"+path] = text
		}
		return charttest.BuildFiles(t, all)
	}
	pod := func(image string) map[string]string {
		return map[string]string{"templates/a.yaml": fmt.Sprintf(podTemplate, image)}
	}
	for _, c := range []struct {
		name     string
		archive  []byte
		values   string
		images   string
		exposure Exposure
		why      string // part of it
		unsolved string // part of it; "" for none
	}{
		{"plain", build(pod("web:1")), "", "[web:1]", ExposureControlled, "no NetworkPolicy holds the traffic to Deployment/prod/r, and nothing lets it in from outside the cluster; derived from a rendering with the values of the files", ""},
		{"values", build(pod("{{ .Values.image.name }}:{{ .Values.image.tag }}")), `{"image":{"name":"web","tag":1.5}}`, "[web:1.5]", ExposureControlled, "values of the files", ""},
		{"a masked value", build(map[string]string{
			"templates/a.yaml": fmt.Sprintf(podTemplate, "web:1"), "templates/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: {{ .Values.password }}\n",
		}), `{"password":"***"}`, "[web:1]", ExposureControlled, "in which masked ones are placeholders", ""},
		{"an image with a masked value", build(pod("{{ .Values.registry }}/web:1")), `{"registry":"https://***@r.example"}`, "[]", ExposureControlled, "placeholders", "of the images, 1 cannot be known"},
		{"a required value", build(pod(`{{ required "say which" .Values.image | default "web:2" }}`)), "", "[web:2]", ExposureControlled, "past what the chart requires and refuses", ""},
		{"a chart that fails", build(pod(`{{ .Values.a.b.c }}`)), "", "[]", ExposureUnknown, "", "images and exposure are not known: the chart does not render"},
		{"values of another form", build(pod(`{{ .Values.image }}`)), `[1]`, "[]", ExposureUnknown, "", "images and exposure are not known"},
		{"nothing", build(nil), "", "[]", ExposureUnknown, "", "the chart renders nothing"},
		{"a piece that is no object", build(map[string]string{"templates/a.yaml": fmt.Sprintf(podTemplate, "web:1"), "templates/b.yaml": "a: b: c\n"}), "", "[web:1]", ExposureControlled, "", "1 piece cannot be read"},
		{"a test hook alone is no exposure", build(map[string]string{
			"templates/a.yaml": fmt.Sprintf(podTemplate, "web:1"),
			"templates/t.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\nspec: {type: NodePort}\n",
		}), "", "[web:1]", ExposureControlled, "", ""},
		{"no archive", []byte("no chart"), "", "[]", ExposureUnknown, "", "images and exposure are not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Deployment{Key: "k", Tool: Flux, Name: "r", Namespace: "prod", Values: json.RawMessage(c.values), Unresolved: []string{"before"}}
			d.Render("sha256:a", c.archive, manifest.Limits{})
			if fmt.Sprint(d.Images) != c.images || d.Exposure != c.exposure || !strings.Contains(d.ExposureWhy, c.why) || c.exposure == ExposureUnknown && d.ExposureWhy != "" {
				t.Errorf("images %v, exposure %s (%s)", d.Images, d.Exposure, d.ExposureWhy)
			}
			text := strings.Join(d.Unresolved, "; ")
			if d.Unresolved[0] != "before" || c.unsolved == "" && text != "before" || !strings.Contains(text, c.unsolved) {
				t.Errorf("unresolved: %s", text)
			}
			if r := d.Rendering; r == nil || r.Of != d.RenderingOf("sha256:a") || r.Archive != "sha256:a" || r.Exposure != d.Exposure {
				t.Errorf("rendering %+v", r)
			}
			again := Deployment{Key: "k", Tool: Flux, Name: "r", Namespace: "prod", Values: json.RawMessage(c.values)}
			again.Derive(*d.Rendering, d.Images)
			if fmt.Sprint(again.Images, again.Exposure, again.ExposureWhy) != fmt.Sprint(d.Images, d.Exposure, d.ExposureWhy) || "before; "+strings.Join(again.Unresolved, "; ") != text && text != "before" {
				t.Errorf("taken over: %+v", again)
			}
		})
	}
}

// What is named the same is the same, and nothing else.
func TestRenderingOf(t *testing.T) {
	base := Deployment{Name: "r", Namespace: "n", Values: json.RawMessage(`{}`)}
	seen := map[string]bool{base.RenderingOf("a"): true}
	for what, change := range map[string]func(d *Deployment){
		"name": func(d *Deployment) { d.Name = "s" }, "namespace": func(d *Deployment) { d.Namespace = "m" },
		"values": func(d *Deployment) { d.Values = json.RawMessage(`{"a":1}`) }, "border": func(d *Deployment) { d.Name, d.Namespace = "rn", "" },
	} {
		d := base
		change(&d)
		if of := d.RenderingOf("a"); seen[of] {
			t.Errorf("another %s has a name that was there", what)
		} else {
			seen[of] = true
		}
	}
	if seen[base.RenderingOf("b")] {
		t.Error("another archive has a name that was there")
	}
	other := base
	other.Key, other.Owner, other.Unresolved = "k", "o", []string{"u"}
	if !seen[other.RenderingOf("a")] {
		t.Error("what is not rendered is part of the name")
	}
}

// TestRenderCorpus renders the newest airflow-helm with the values of its
// documentation's smallest case: none.
func TestRenderCorpus(t *testing.T) {
	dir := filepath.Join(charttest.Corpus(t, "charts"), "airflow-helm")
	archive, err := os.ReadFile(filepath.Join(dir, "airflow-8.9.0.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	d := Deployment{Key: "k", Tool: ArgoCD, Name: "airflow", Namespace: "data", Values: json.RawMessage(`{"airflow":{"fernetKey":"***","webserverSecretKey":"***"}}`)}
	d.Render("sha256:a", archive, manifest.Limits{})
	if len(d.Unresolved) > 0 || !strings.Contains(fmt.Sprint(d.Images), "apache/airflow:2.8.4-python3.9") || d.Exposure == ExposureUnknown || !strings.Contains(d.ExposureWhy, "placeholders") {
		t.Errorf("images %v, exposure %s (%s), unresolved %v", d.Images, d.Exposure, d.ExposureWhy, d.Unresolved)
	}
}
