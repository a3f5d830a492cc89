package watch_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

func by(w *world) audit.Event {
	return audit.Event{Time: w.now, Actor: audit.Actor{Kind: "user", ID: "usr-1"}, Door: audit.DoorServer}
}

// shop is a chart whose images and exposure are said by its values.
func shop(t testing.TB) []byte {
	return charttest.Build(t, "shop", "1.0.0", map[string]string{
		"values.yaml": "image: shop:1\nopen: false\n",
		"templates/all.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers:\n      - name: c\n        image: {{ .Values.image }}\n" +
			"{{- if .Values.open }}\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop}\n{{- end }}\n",
	})
}

func fromFiles(key, values string) deployment.Deployment {
	d := deployment.Deployment{Key: key, Tool: deployment.ArgoCD, From: key, Name: "shop", Namespace: "web", Chart: deployment.Chart{Name: "shop", Version: "1.0.0"}}
	if values != "" {
		d.Values = json.RawMessage(values)
	}
	return d
}

// has makes our own registry have an archive, by name and bytes.
func (w *world) has(archive []byte) string {
	w.Helper()
	d := digest.SHA256(archive)
	w.registry.blobs[d] = archive
	return d
}

func (w *world) imports(found ...deployment.Deployment) watch.ImportResult {
	w.Helper()
	res, err := w.ImportDeployments(w.ctx, boss, "gitops", deployment.Inventory{From: "./clusters", Deployments: found}, nil)
	w.ok(err)
	return res
}

func (w *world) deployment(key string) watch.Deployment {
	w.Helper()
	d, err := w.Deployment(w.ctx, boss, key)
	w.ok(err)
	return d
}

// What files describe, and we hold the archive of, is rendered when it is
// imported.
func TestImportDerives(t *testing.T) {
	w := newWorld(t)
	archive := shop(t)
	pinned := func(d deployment.Deployment) deployment.Deployment {
		d.Chart.Digest = w.has(archive)
		return d
	}
	w.publishes(archive)
	opened := 0
	w.registry.fail = func(what string) error {
		if what == "open" {
			opened++
		}
		return nil
	}
	declared := pinned(fromFiles("c", `{"open":true}`))
	declared.Exposure, declared.ExposureWhy = deployment.ExposureSmall, "declared"
	stored := pinned(fromFiles("d", `{"open":true}`))
	stored.Tool, stored.Images, stored.Rendering = deployment.Helm, []string{"what-helm:stored"}, &deployment.Rendering{Of: "x"}
	forged := pinned(fromFiles("e", ""))
	forged.Rendering = &deployment.Rendering{Of: forged.RenderingOf(forged.Chart.Digest), Exposure: deployment.ExposureSmall}
	all := []deployment.Deployment{
		pinned(fromFiles("a", `{"image":"shop:2","password":"***"}`)), pinned(fromFiles("b", `{"open":true,"image":"***"}`)), declared, stored, forged,
	}
	w.imports(all...)
	if opened != 1 {
		t.Errorf("the archive was read %d times", opened)
	}
	if d := w.deployment("a"); fmt.Sprint(d.Images) != "[shop:2]" || d.Exposure != deployment.ExposureControlled || len(d.Unresolved) != 0 ||
		!strings.Contains(d.ExposureWhy, "derived from a rendering with the values of the files") || !strings.Contains(d.ExposureWhy, "placeholders") {
		t.Errorf("%+v", d)
	}
	if d := w.deployment("b"); len(d.Images) != 0 || d.Exposure != deployment.ExposureOpen || !strings.Contains(fmt.Sprint(d.Unresolved), "masked values are part of the name") {
		t.Errorf("%+v", d)
	}
	if d := w.deployment("c"); d.Exposure != deployment.ExposureSmall || d.ExposureWhy != "declared" || d.Rendering.Exposure != deployment.ExposureOpen || fmt.Sprint(d.Images) != "[shop:1]" {
		t.Errorf("%+v", d)
	}
	if d := w.deployment("d"); d.Rendering != nil || fmt.Sprint(d.Images) != "[what-helm:stored]" || d.Exposure != deployment.ExposureUnknown {
		t.Errorf("%+v", d)
	}
	if d := w.deployment("e"); d.Exposure != deployment.ExposureControlled || d.Rendering.Archive != digest.SHA256(archive) {
		t.Errorf("what was sent is taken for what was derived: %+v", d)
	}
	before := w.deployment("a")
	opened = 0
	w.imports(all...)
	if opened != 0 {
		t.Errorf("%d archives were read though nothing changed", opened)
	}
	all[1].Values = json.RawMessage(`{"open":true,"image":"shop:3"}`)
	w.imports(all...)
	if after := w.deployment("a"); opened != 1 || fmt.Sprint(after.Rendering, after.Images, after.Unresolved) != fmt.Sprint(before.Rendering, before.Images, before.Unresolved) {
		t.Errorf("%d archives were read for one that changed: %+v", opened, after)
	}
	if d := w.deployment("b"); fmt.Sprint(d.Images) != "[shop:3]" || len(d.Unresolved) != 0 {
		t.Errorf("%+v", d)
	}
}

// publishes makes an upstream list an archive, and keep it.
func (w *world) publishes(archive []byte) {
	w.Helper()
	w.watches(keep(watch.KeepAll))
	w.sources.archives[home+"/shop-1.0.0.tgz"] = archive
	w.shows(upstream.Index{Charts: []upstream.Chart{{Name: "shop", Versions: []upstream.Version{{
		Version: "1.0.0", URLs: []string{home + "/shop-1.0.0.tgz"}, Digest: strings.TrimPrefix(digest.SHA256(archive), "sha256:"),
	}}}}})
	w.poll(0)
}

// What cannot be rendered says why, and is never taken for nothing.
func TestImportCannotDerive(t *testing.T) {
	w := newWorld(t)
	broken := charttest.Build(t, "shop", "1.0.0", map[string]string{"templates/x.yaml": "{{ .Values.no.such.thing.at }}\n"})
	w.publishes(broken)
	d := fromFiles("a", "")
	d.Chart.Digest = digest.SHA256(broken)
	unknown := fromFiles("b", "")
	unknown.Chart.Repository = "https://nobody.example.test"
	off := fromFiles("c", "")
	off.Chart.Digest, off.Status = digest.SHA256(broken), "disabled"
	res := w.imports(d, unknown, off)
	if a := w.deployment("a"); a.Exposure != deployment.ExposureUnknown || len(a.Images) != 0 || !strings.HasPrefix(fmt.Sprint(a.Unresolved), "[images and exposure are not known: the chart does not render") {
		t.Errorf("%+v", a)
	}
	if b := w.deployment("b"); b.Rendering != nil || len(b.Unresolved) != 0 || b.Match.Confidence != deployment.Unknown {
		t.Errorf("%+v", b)
	}
	if c := w.deployment("c"); c.Rendering != nil || len(c.Unresolved) != 0 {
		t.Errorf("what is off was rendered: %+v", c)
	}
	if res.Unresolved != 2 {
		t.Errorf("%d are unresolved", res.Unresolved)
	}
	delete(w.registry.blobs, digest.SHA256(broken))
	d.Name = "other"
	w.imports(d)
	if a := w.deployment("a"); !strings.Contains(fmt.Sprint(a.Unresolved), "the archive of its chart is not kept here") {
		t.Errorf("%+v", a)
	}
}

func TestImports(t *testing.T) {
	w := newWorld(t)
	var problems []string
	for i := range 205 {
		problems = append(problems, fmt.Sprintf("file-%d.yaml: %s\x1b", i, strings.Repeat("x", 600)))
	}
	_, err := w.ImportDeployments(w.ctx, boss, "gitops", deployment.Inventory{From: "./clusters", Deployments: []deployment.Deployment{fromFiles("a", "")}, Problems: problems}, nil)
	w.ok(err)
	_, err = w.ImportDeployments(w.ctx, boss, "empty", deployment.Inventory{}, nil)
	w.ok(err)
	list := must(w.Imports(w.ctx, boss))
	if len(list) != 2 || list[0].Name != "empty" || list[0].Problems == nil || list[1].From != "./clusters" || list[1].Deployments != 1 || list[1].Old ||
		len(list[1].Problems) != 200 || list[1].MoreProblems != 5 || len([]rune(list[1].Problems[0])) > 501 || strings.Contains(list[1].Problems[0], "\x1b") {
		t.Fatalf("%+v", list)
	}
	w.now = w.now.Add(7 * 24 * time.Hour)
	if list = must(w.Imports(w.ctx, boss)); !list[1].Old || list[0].Old {
		t.Fatalf("%+v", list)
	}
	w.imports(fromFiles("a", ""))
	if list = must(w.Imports(w.ctx, boss)); list[1].Old || len(list[1].Problems) != 0 || list[1].MoreProblems != 0 {
		t.Fatalf("%+v", list)
	}
	w.registry.denied = map[access.Action]bool{access.WatchRead: true}
	if _, err := w.Imports(w.ctx, boss); problem.KindOf(err) != problem.Denied {
		t.Fatal(err)
	}
}

// Two environments are compared with their values, whether they are all that is
// there or little of it.
func TestCompareEnvironments(t *testing.T) {
	w := newWorld(t)
	place := func(key, environment, values string) deployment.Deployment {
		d := fromFiles(key, values)
		d.Environment = environment
		return d
	}
	all := []deployment.Deployment{place("a", "staging", `{"replicas":1}`), place("b", "production", `{"replicas":2}`)}
	for range 2 {
		w.imports(all...)
		diff := must(w.CompareEnvironments(w.ctx, boss, "staging", "production"))
		if len(diff.Pairs) != 1 || fmt.Sprint(diff.Pairs[0].Items) != "[{values.replicas 1 2}]" {
			t.Fatalf("%+v", diff)
		}
		for i := range 20 {
			all = append(all, place(fmt.Sprint("other-", i), "other", `{}`))
		}
	}
	_, err := w.CompareEnvironments(w.ctx, boss, "staging", "nowhere")
	w.refused(err, problem.NotFound, "environment")
}
