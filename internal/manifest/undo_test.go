package manifest

import (
	"strings"
	"testing"
)

func volumeSet(image, size string) string {
	return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  template:\n    spec:\n      containers:\n" +
		"      - {name: db, image: '" + image + "', volumeMounts: [{name: data, mountPath: /data}]}\n      - {name: side, image: 'a.test/side:" + image[len(image)-1:] + ".0.0'}\n" +
		"  volumeClaimTemplates: [{metadata: {name: data}, spec: {resources: {requests: {storage: " + size + "}}}}]\n"
}

// stored is a definition whose versions are served, the given one stored.
func stored(in string, versions ...string) string {
	text := definition(versions...)
	for _, v := range versions {
		on := "false"
		if v == in {
			on = "true"
		}
		before, after, _ := strings.Cut(text, "{name: "+v+", served: true, storage: ")
		_, after, _ = strings.Cut(after, ",")
		text = before + "{name: " + v + ", served: true, storage: " + on + "," + after
	}
	return text
}

// Every obstacle: what is one, and something like it that is none.
func TestUndo(t *testing.T) {
	keep := func(text string) string {
		return strings.Replace(text, "{name: c}", "{name: c, annotations: {helm.sh/resource-policy: keep}}", 1)
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
	cron := "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: a}\n"
	for _, c := range []struct {
		rule     string
		verdict  UndoVerdict
		old, new string
		silent   [2]string
	}{
		{"undo-immutable", UndoByHand, deployment("", ""), strings.ReplaceAll(deployment("", ""), "{app: web}", "{app: other}"), [2]string{deployment("", ""), deployment("", "image: example.test/app:2.0.0")}},
		{"undo-immutable", UndoByHand, claim("1Gi"), claim("2Gi"), [2]string{claim("2Gi"), claim("1Gi")}}, // it is the upgrade that is refused
		{"undo-immutable", UndoByHand, configMap("{a: b}"), configMap("{a: c}") + "immutable: true\n", [2]string{configMap("{a: b}"), configMap("{a: c}")}},
		{"undo-immutable", UndoByHand, volumeSet("a.test/db:1", "1Gi"), volumeSet("a.test/db:1", "2Gi"), [2]string{volumeSet("a.test/db:1", "1Gi"), volumeSet("a.test/db:1", "1Gi")}},
		{"undo-immutable", UndoByHand, service("{}"), service("{clusterIP: None}"), [2]string{service("{}"), service("{type: NodePort}")}},
		{"undo-deletes-kind", UndoUntil, service("{}"), definition("v1"), [2]string{definition("v1"), definition("v1")}},
		{"undo-lost-kind", UndoByHand, definition("v1"), service("{}"), [2]string{definition("v1"), definition("v1")}},
		{"undo-stored-version", UndoByHand, definition("v1"), definition("v1", "v2"), [2]string{definition("v1"), stored("v1", "v1", "v2")}},
		{"undo-stored-version", UndoUntil, stored("v1", "v1", "v2"), stored("v2", "v1", "v2"), [2]string{definition("v1"), definition("v1")}},
		{"undo-served-version", UndoUntil, definition("v1"), stored("v1", "v1", "v2"), [2]string{definition("v1", "v2"), definition("v2")}},
		{"undo-deletes-data", UndoUntil, service("{}"), claim("1Gi"), [2]string{service("{}"), keep(claim("1Gi"))}},
		{"undo-deletes-data", UndoUntil, service("{}"), namespace, [2]string{namespace, namespace}},
		{"undo-lost-data", UndoByHand, claim("1Gi"), service("{}"), [2]string{keep(claim("1Gi")), service("{}")}},
		{"undo-lost-data", UndoByHand, namespace, service("{}"), [2]string{configMap("{}"), service("{}")}},
		{"undo-migration", UndoUntil, migrate("1.0"), migrate("1.1"), [2]string{configMap("{}"), job("{}")}},
		{"undo-migration", UndoUntil, migrate("1.0"), migrate("1.0"), [2]string{configMap("{}"), strings.Replace(migrate("1.0"), "pre-upgrade", "test", 1)}},
		{"undo-hook", UndoUntil, service("{}"), hook(job("{}")), [2]string{service("{}"), strings.Replace(hook(job("{}")), "pre-upgrade", "pre-install", 1)}},
		{"undo-hook", UndoUntil, configMap("{}"), strings.Replace(configMap("{}"), "{name: web}", "{name: web, annotations: {helm.sh/hook: pre-install}}", 1), [2]string{configMap("{}"), configMap("{}")}},
		{"undo-data", UndoUntil, volumeSet("a.test/db:11.4", "1Gi"), volumeSet("a.test/db:12.4", "1Gi"), [2]string{volumeSet("a.test/db:11.4.1", "1Gi"), volumeSet("a.test/db:11.4.9", "1Gi")}},
		{"undo-data", UndoUntil, volumeSet("a.test/db:latest", "1Gi"), volumeSet("a.test/db:edge", "1Gi"), [2]string{deployment("", ""), deployment("", "image: example.test/app:9.0.0")}},
		{"undo-api-removed", UndoByHand, cron, strings.Replace(cron, "v1beta1", "v1", 1), [2]string{strings.Replace(cron, "v1beta1", "v1", 1), cron}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			render := func(text string) Rendered { return Rendered{Objects: objects(t, text)} }
			got := UndoOf(render(c.old), render(c.new), "")
			found := false
			for _, o := range got.Reasons {
				found = found || o.Rule == c.rule && o.Verdict == c.verdict && o.Message != "" && (o.Until != "") == (o.Verdict == UndoUntil)
				if o.Verdict.rank() > got.Verdict.rank() {
					t.Errorf("%s is better than its reason %+v", got.Verdict, o)
				}
			}
			if !found {
				t.Errorf("no %s %s: %+v", c.verdict, c.rule, got)
			}
			for _, o := range UndoOf(render(c.silent[0]), render(c.silent[1]), "").Reasons {
				if o.Rule == c.rule {
					t.Errorf("must not be found: %+v", o)
				}
			}
			if same := UndoOf(render(c.old), render(c.old), "1.20"); same.Verdict.rank() > UndoUntil.rank() {
				t.Errorf("what does not change cannot be taken back: %+v", same)
			}
		})
	}
}

func TestUndoOfDefinitionsInFolders(t *testing.T) {
	one, two := objects(t, definition("v1")), objects(t, definition("v1", "v2"))
	verdict := func(old, new Rendered) UndoVerdict { return UndoOf(old, new, "").Verdict }
	if v := verdict(Rendered{CRDs: one}, Rendered{CRDs: one}); v != UndoPossible {
		t.Errorf("the same: %s", v)
	}
	if v := verdict(Rendered{CRDs: one}, Rendered{CRDs: two}); v != UndoUntil {
		t.Errorf("changed in the folder: %s", v)
	}
	// A rollback deletes what the older version has in its folder alone.
	if v := verdict(Rendered{CRDs: one}, Rendered{Objects: one}); v != UndoByHand {
		t.Errorf("moved to the templates: %s", v)
	}
	if v := verdict(Rendered{}, Rendered{Faults: []Fault{{Source: "a", Reason: "is not valid YAML"}}}); v != UndoUnknown {
		t.Errorf("not read: %s", v)
	}
}

// An API that the cluster serves is no obstacle.
func TestUndoKubernetes(t *testing.T) {
	r := Rendered{Objects: objects(t, "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: a}\n")}
	for kube, want := range map[string]UndoVerdict{"1.24": UndoPossible, "1.25": UndoByHand, "": UndoByHand} {
		if got := UndoOf(r, r, kube).Verdict; got != want {
			t.Errorf("Kubernetes %q: %s, want %s", kube, got, want)
		}
	}
}
