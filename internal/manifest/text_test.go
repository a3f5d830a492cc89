package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plainLines are the lines of an object with nothing masked or left out.
func plainLines(o Object) string {
	w := yamlLines{}
	w.table("", "", o.Fields)
	return strings.Join(w.lines, "\n") + "\n"
}

// What is written is YAML, and says what was read.
func TestTextIsYAML(t *testing.T) {
	text := deployment("nodeSelector: {}\ntolerations: []", "args: ['-c', 'a: b', 'yes', '1', '', ' x', \"a\\tb\", '#', '- a', '{', 'on', '0x1', 'a #b', 'a:', \"é\\u0085\"]\nenv: [{name: A, value: \"x\\n  y\\n\"}, {name: B, value: \"\\n\\nz\"}, {name: C, value: \"a\\n\\n\"}, {name: D, value: \"a\\n b\"}]") +
		"---\napiVersion: v1\nkind: List\nmetadata: {}\n---\napiVersion: a.test/v1\nkind: Thing\nmetadata: {name: a}\nspec:\n  deep: [[1, [2.5, []], {}], null, true, {a: [b]}]\n  'on': {'null': null}\n  big: 12345678901234567890\n  'a b': |\n    one\n\n     two\n"
	for _, o := range objects(t, text) {
		again := objects(t, plainLines(o))
		if len(again) != 1 {
			t.Fatalf("%d objects in\n%s", len(again), plainLines(o))
		}
		if d := cmp.Diff(o.Fields, again[0].Fields); d != "" {
			t.Errorf("%s in\n%s", d, plainLines(o))
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: \"x\\n  y\\n\", password: hunter2}\n")
	f.Add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: \"\\u0085 x: y\", b: |\n  password: abc\n}\n")
	f.Add("apiVersion: a/v1\nkind: A\nspec: [[[a, {b: [c]}]], {x: {}}]")
	f.Fuzz(func(t *testing.T, text string) {
		old, _ := Parse(text, "default", Limits{Nodes: 10_000})
		for _, o := range old {
			again, faults := Parse(plainLines(o), "default", Limits{})
			if len(again) != 1 || len(faults) > 0 {
				t.Fatalf("%d objects, %v in\n%q", len(again), faults, plainLines(o))
			}
			if d := cmp.Diff(o.Fields, again[0].Fields); d != "" {
				t.Fatalf("%s in\n%q", d, plainLines(o))
			}
		}
		diffs, _ := textDiffs(match(old, nil))
		for _, d := range diffs {
			if n := strings.Count(d.Text, "\n"); n > maxObjectLines {
				t.Fatalf("%d lines", n)
			}
		}
	})
}

// No form of a secret is in the text, and one that changes is seen to.
func TestTextMasksSecrets(t *testing.T) {
	text := func(secret string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {anything: " + secret + "64}\nstringData: {other: \"a\\n" + secret + "\"}\n---\n" +
			configMap("{url: 'postgres://app:"+secret+"@db/app', password: "+secret+", app.ini: \"user = a\\nadmin_password = "+secret+"\\nport = 1\\n\"}") + "---\n" +
			deployment("", "env: [{name: DB_PASSWORD, value: "+secret+"}, {name: LEVEL, value: info}]\nargs: ['--token="+secret+"', '--level=info']") + "---\n" +
			"apiVersion: a.test/v1\nkind: Thing\nmetadata: {name: a}\nspec: {auth: {apiKey: " + secret + ", secretName: named}}\n"
	}
	diffs, _ := textDiffs(match(objects(t, text("hunter2")), objects(t, text("hunter3"))))
	if len(diffs) != 4 {
		t.Fatalf("%d objects differ, want 4", len(diffs))
	}
	all := ""
	for _, d := range diffs {
		all += d.Text
		if !strings.Contains(d.Text, "-") || !strings.Contains(d.Text, "(another secret)") {
			t.Errorf("%s does not show that a secret changed:\n%s", d.Object, d.Text)
		}
	}
	if strings.Contains(all, "hunter") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	for _, want := range []string{"postgres://app:(another secret)@db/app", "admin_password = (another secret)", "value: info", "--level=info", "secretName: named"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	if n := strings.Count(all, "(another secret)"); n != 8 {
		t.Errorf("%d secrets changed, want 8:\n%s", n, all)
	}
}

// What changes with every version of a chart, and does nothing, is left out;
// where Kubernetes refuses any change it is shown.
func TestTextLeavesNoiseOut(t *testing.T) {
	text := func(version string) string {
		labels := "metadata: {name: a, labels: {helm.sh/chart: web-" + version + ", app: web}, annotations: {checksum/config: x" + version + "}}\n"
		return "apiVersion: v1\nkind: Service\n" + labels + "---\n" +
			strings.Replace(job("{chart: web-"+version+"}"), "metadata: {name: j}\n", labels, 1)
	}
	diffs, same := textDiffs(match(objects(t, text("1")), objects(t, text("2"))))
	if same != 1 || len(diffs) != 1 || diffs[0].Object != "Job/default/a" {
		t.Fatalf("%d the same, %+v", same, diffs)
	}
	want := "@@ -9,7 +9,7 @@\n   template:\n     metadata:\n       labels:\n-        chart: web-1\n+        chart: web-2\n     spec:\n       containers:\n       - image: b:1.0\n"
	if d := cmp.Diff(want, diffs[0].Text); d != "" {
		t.Error(d)
	}
}
