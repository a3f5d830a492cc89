package podsecurity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/manifest"
)

// ruleOf is our rule for each check of Pod Security admission.
var ruleOf = map[policy.CheckID]string{
	"allowPrivilegeEscalation": "restricted privilege-escalation", "appArmorProfile": "baseline apparmor", "capabilities_baseline": "baseline capabilities",
	"capabilities_restricted": "restricted capabilities", "hostNamespaces": "baseline host-namespaces", "hostPathVolumes": "baseline host-path",
	"hostPorts": "baseline host-port", "hostProbesAndHostLifecycle": "baseline host-probe", "privileged": "baseline privileged", "procMount": "baseline proc-mount",
	"procMount_restricted": "restricted proc-mount", "restrictedVolumes": "restricted volume-types", "runAsNonRoot": "restricted run-as-non-root",
	"runAsUser": "restricted run-as-user", "seLinuxOptions": "baseline selinux", "seccompProfile_baseline": "baseline seccomp",
	"seccompProfile_restricted": "restricted seccomp", "sysctls": "baseline sysctls", "windowsHostProcess": "baseline host-process",
}

// theirs are the rules that a pod breaks by the newest version of every check.
func theirs(t *testing.T, meta *metav1.ObjectMeta, spec *corev1.PodSpec) []string {
	t.Helper()
	broken := map[string]bool{}
	for _, c := range policy.DefaultChecks() {
		rule := ruleOf[c.ID]
		if rule == "" {
			t.Fatalf("check %s is not known to this test", c.ID)
		}
		if !c.Versions[len(c.Versions)-1].CheckPod(meta, spec).Allowed {
			broken[rule] = true
		}
	}
	return slices.Sorted(maps.Keys(broken))
}

// ours are the rules that objects break.
func ours(objects []manifest.Object) []string {
	broken := map[string]bool{}
	_, violations := manifest.PodSecurity(objects)
	for _, v := range violations {
		broken[string(v.Level)+" "+v.Rule] = true
	}
	return slices.Sorted(maps.Keys(broken))
}

// keeps reports whether broken rules leave a level.
func keeps(broken []string, level api.Level) bool {
	return !slices.ContainsFunc(broken, func(rule string) bool {
		return strings.HasPrefix(rule, "baseline ") || level == api.LevelRestricted
	})
}

func fixtures(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "test", "testdata")
}

// Every fixture of every version: our reader finds the rules that Kubernetes'
// own checks of the newest version find. Where a fixture of an older version is
// judged otherwise today, Kubernetes' own evaluator for that version has to
// differ from the newest too.
func TestFixtures(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	root := fixtures(t)
	files, err := filepath.Glob(filepath.Join(root, "*", "v*", "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	counts, pinned := map[string]int{}, map[string]int{}
	for _, f := range files {
		parts := strings.Split(filepath.ToSlash(strings.TrimPrefix(f, root+string(filepath.Separator))), "/")
		level, pass := api.Level(parts[0]), parts[2] == "pass"
		version, err := api.ParseVersion(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		objects, faults := manifest.Parse(string(b), "default", manifest.Limits{})
		if len(objects) != 1 || len(faults) > 0 {
			t.Fatalf("%s: %d objects, %v", f, len(objects), faults)
		}
		meta, spec := podOf(t, objects[0])
		name := strings.Join(parts, "/")
		got, want := ours(objects), theirs(t, meta, spec)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-Kubernetes +ours): %s", name, d)
		}
		then := policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: version}, meta, spec))
		if then.Allowed != pass {
			t.Errorf("%s: Kubernetes %s itself says %v", name, parts[1], then.Allowed)
		}
		counts[parts[2]]++
		if keeps(got, level) == pass {
			continue
		}
		now := policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, meta, spec))
		if now.Allowed == then.Allowed {
			t.Errorf("%s: keeps to %s by %v, and should %s", name, level, got, parts[2])
		}
		pinned[fmt.Sprintf("%s %s", parts[0], strings.TrimRight(strings.TrimSuffix(parts[3], ".yaml"), "0123456789"))]++
	}
	if counts["pass"] < 500 || counts["fail"] < 1500 {
		t.Errorf("%v fixtures are too few to prove anything", counts)
	}
	t.Logf("%d fixtures: %d pass, %d fail; judged otherwise today than in their version, by Kubernetes too: %v", len(files), counts["pass"], counts["fail"], pinned)
}

// podOf is the pod of an object as Kubernetes' own types have it; nil where it
// has none.
func podOf(t *testing.T, o manifest.Object) (*metav1.ObjectMeta, *corev1.PodSpec) {
	t.Helper()
	b, err := json.Marshal(o.Fields)
	if err != nil {
		t.Fatal(err)
	}
	read := func(into any) bool {
		if err := json.Unmarshal(b, into); err != nil {
			t.Logf("%s %s: Kubernetes does not take it: %v", o.Source, o.ID(), err)
			return false
		}
		return true
	}
	var template corev1.PodTemplateSpec
	switch o.Kind {
	case "Pod":
		var x corev1.Pod
		if !read(&x) {
			return nil, nil
		}
		return &x.ObjectMeta, defaulted(&x.Spec)
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController":
		var x struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if !read(&x) {
			return nil, nil
		}
		template = x.Spec.Template
		// The types' own fields, so that a wrong guess of ours is seen.
		if o.Kind == "Deployment" {
			var d appsv1.Deployment
			if read(&d) && !cmp.Equal(d.Spec.Template, template) {
				t.Errorf("%s: the template is not where it was looked for", o.ID())
			}
		}
	case "CronJob":
		var x batchv1.CronJob
		if !read(&x) {
			return nil, nil
		}
		template = x.Spec.JobTemplate.Spec.Template
	default:
		return nil, nil
	}
	return &template.ObjectMeta, defaulted(&template.Spec)
}

// defaulted fills in what the API server does before anything is checked, as
// far as a check looks at it: a volume without a source is an empty folder.
func defaulted(spec *corev1.PodSpec) *corev1.PodSpec {
	for i := range spec.Volumes {
		if v := &spec.Volumes[i]; v.VolumeSource == (corev1.VolumeSource{}) {
			v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
	return spec
}

// chartFiles are the archives of the corpus.
func chartFiles(t *testing.T) []string {
	t.Helper()
	t.Chdir(filepath.Join("..", "..")) // beside which the corpus is
	files, err := filepath.Glob(filepath.Join(charttest.Corpus(t, "charts"), "*", "*.tgz"))
	if err != nil || len(files) < 250 {
		t.Fatalf("%d charts, %v", len(files), err)
	}
	return files
}

// Every pod that the charts of the corpus render is judged as Kubernetes' own
// checks judge it.
func TestRenderedPods(t *testing.T) {
	files := chartFiles(t)
	pods, rendered, breaks := 0, 0, map[string]int{}
	for i, f := range files {
		if testing.Short() && i%10 != 0 {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := manifest.Render(b, manifest.Options{Lenient: true})
		if err != nil {
			t.Logf("%s: %v", filepath.Base(f), err)
			continue
		}
		rendered++
		for _, o := range r.Objects {
			if strings.Contains(o.Group, ".") {
				continue // a kind that is not Kubernetes' own
			}
			meta, spec := podOf(t, o)
			if spec == nil {
				continue
			}
			pods++
			want := theirs(t, meta, spec)
			if d := cmp.Diff(want, ours([]manifest.Object{o})); d != "" {
				t.Errorf("%s: %s (-Kubernetes +ours): %s", filepath.Base(f), o.ID(), d)
			}
			for _, rule := range want {
				breaks[rule]++
			}
		}
	}
	t.Logf("%d charts render %d pods, which break %v", rendered, pods, breaks)
	if !testing.Short() && (rendered < 250 || pods < 500) {
		t.Error("too few to prove anything")
	}
}

// Every pair of versions that follow one another is compared without a crash,
// the same each time; the newest with itself has nothing to tell.
func TestEveryPair(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: the daily tests of internal/manifest compare a sample")
	}
	type release struct{ path, key string }
	charts := map[string][]release{}
	for _, f := range chartFiles(t) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := chart.Open(bytes.NewReader(b), chart.DefaultLimits())
		if err != nil {
			t.Logf("%s: %v", f, err)
			continue
		}
		_, key := chart.LenientVersion(a.Metadata.Version)
		name := filepath.Base(filepath.Dir(f)) + "/" + a.Metadata.Name
		charts[name] = append(charts[name], release{f, key})
	}
	pairs, bases, classes, verdicts := 0, map[manifest.Basis]int{}, map[manifest.EffortClass]int{}, map[manifest.UndoVerdict]int{}
	for _, name := range slices.Sorted(maps.Keys(charts)) {
		list := charts[name]
		slices.SortFunc(list, func(a, b release) int { return strings.Compare(a.key, b.key) })
		for i := 1; i < len(list); i++ {
			c := comparePair(t, list[i-1].path, list[i].path)
			pairs++
			bases[c.Basis]++
			classes[c.Effort.Class]++
			verdicts[c.Undo.Verdict]++
		}
		compareWithItself(t, list[len(list)-1].path)
	}
	t.Logf("%d pairs: %v, effort %v, undo %v", pairs, bases, classes, verdicts)
	if pairs < 200 || bases[manifest.BasisRendered] < 200 {
		t.Error("too few to prove anything")
	}
}

func comparePair(t *testing.T, oldPath, newPath string) manifest.Comparison {
	t.Helper()
	old, err := os.ReadFile(oldPath)
	if err != nil {
		t.Fatal(err)
	}
	new, err := os.ReadFile(newPath)
	if err != nil {
		t.Fatal(err)
	}
	c, err := manifest.CompareCharts(old, new, manifest.Options{Upgrade: true})
	if err != nil {
		t.Fatalf("%s to %s: %v", oldPath, newPath, err)
	}
	again, err := manifest.CompareCharts(old, new, manifest.Options{Upgrade: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s to %s: not the same the second time:\n%s", oldPath, newPath, cmp.Diff(c, again))
	}
	return c
}

func compareWithItself(t *testing.T, path string) {
	t.Helper()
	new, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	same, err := manifest.CompareCharts(new, new, manifest.Options{Upgrade: true})
	if err != nil {
		t.Fatal(err)
	}
	if same.Basis == manifest.BasisRendered && len(same.Objects) > 0 {
		t.Errorf("%s with itself: %d objects differ", path, len(same.Objects))
	}
	for _, f := range same.Findings {
		if !slices.Contains([]string{"not-rendered", "compared-partly", "compared-as-text", "not-read"}, f.Rule) {
			t.Errorf("%s with itself: %+v", path, f)
		}
	}
}
