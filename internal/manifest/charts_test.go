package manifest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Real upgrades, and everything that is said of them.
func TestRealUpgrades(t *testing.T) {
	for name, c := range map[string]struct{ old, new, values string }{
		"argo-rollouts-0.3.7": {"mutations/cases/02-argo-argo-rollouts-0.3.7-changed/before.argo-rollouts-0.3.7.tgz", "mutations/cases/02-argo-argo-rollouts-0.3.7-changed/after.argo-rollouts-0.3.7.tgz", ""},
		"airflow-8.4.1-8.5.0": {"charts/airflow-helm/airflow-8.4.1.tgz", "charts/airflow-helm/airflow-8.5.0.tgz",
			"flower: {oauthDomains: example.test, replicas: 2}\nairflow: {image: {tag: 2.1.1-python3.8}, fernetKey: mine, config: {A: b}}\nnobody: {knows: this}\n"},
		"airflow-8.8.0-8.9.0":        {"charts/airflow-helm/airflow-8.8.0.tgz", "charts/airflow-helm/airflow-8.9.0.tgz", ""},
		"keda-2.20.1-2.20.2":         {"charts/kedacore__charts/keda-2.20.1.tgz", "charts/kedacore__charts/keda-2.20.2.tgz", "prometheus: {metricServer: {enabled: true}}\n"},
		"jenkins-5.9.7-5.9.53":       {"charts/jenkinsci__helm-charts__packed/jenkins-5.9.7.tgz", "charts/jenkinsci__helm-charts__packed/jenkins-5.9.53.tgz", "controller: {image: {tag: 2.500-jdk21}, installPlugins: []}\n"},
		"csi-driver-nfs-2.0.0-3.0.0": {"charts/kubernetes-csi__csi-driver-nfs/csi-driver-nfs-v2.0.0.tgz", "charts/kubernetes-csi__csi-driver-nfs/csi-driver-nfs-v3.0.0.tgz", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := charttest.Corpus(t, "")
			var values map[string]any
			if err := yaml.Unmarshal([]byte(c.values), &values); err != nil {
				t.Fatal(err)
			}
			got, err := CompareCharts(readFile(t, filepath.Join(root, c.old)), readFile(t, filepath.Join(root, c.new)), Options{Values: values, Upgrade: true})
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "upgrade-"+name+".json", brief(got))
		})
	}
}

// brief is a comparison without what a reader of a golden file would only skim:
// the texts of all but the first changed object, and facts as counts.
func brief(c Comparison) any {
	side := func(s Side) any {
		var images []string
		for _, i := range s.Images {
			if !slices.Contains(images, i.Ref) {
				images = append(images, i.Ref)
			}
		}
		return map[string]any{
			"name": s.Name, "version": s.Version, "app_version": s.AppVersion, "known": s.Known, "reason": s.Reason, "images": images,
			"exposure": s.Exposure, "exposure_why": s.ExposureWhy, "pod_security": s.PodSecurity, "violations": len(s.Violations), "posture": len(s.Posture),
			"unstable": s.Unstable, "faults": s.Faults,
		}
	}
	var objects []string
	text := ""
	for _, o := range c.Objects {
		objects = append(objects, fmt.Sprintf("%s %s +%d -%d", o.Change, o.Object, o.Added, o.Removed))
		if o.Change == "changed" && text == "" {
			text = o.Text
		}
	}
	return struct {
		Old, New any
		Basis    Basis
		Findings []Finding
		Fit      Fit
		Effort   Effort
		Undo     Undo
		Objects  []string
		Same     int
		Text     []string
	}{side(c.Old), side(c.New), c.Basis, c.Findings, c.Fit, c.Effort, c.Undo, objects, c.Same, strings.Split(text, "\n")}
}

func TestCompareCharts(t *testing.T) {
	build := func(version string, files map[string]string) []byte { return charttest.Build(t, "web", version, files) }
	plain := map[string]string{"templates/d.yaml": deployment("", "")}
	c, err := CompareCharts(build("1.0.0", plain), build("2.0.0", map[string]string{
		"templates/d.yaml": deployment("hostPID: true", "image: example.test/app:2.0.0"), "templates/s.yaml": service("{type: NodePort}"),
		"templates/r.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: r}\ndata: {p: '{{ randAlpha 8 }}'}\n",
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Basis != BasisRendered || !c.Old.Known || !c.New.Known || c.Old.Version != "1.0.0" || c.New.Name != "web" {
		t.Errorf("%+v", c)
	}
	if c.Old.PodSecurity != Restricted || c.New.PodSecurity != Privileged || c.Old.Exposure != ExposureControlled || c.New.Exposure != ExposureOpen || len(c.New.Violations) == 0 {
		t.Errorf("the old side %s %s, the new %s %s %v", c.Old.PodSecurity, c.Old.Exposure, c.New.PodSecurity, c.New.Exposure, c.New.Violations)
	}
	if len(c.Old.Images) != 1 || c.New.Images[0].Ref != "example.test/app:2.0.0" || len(c.Old.Unstable) != 0 || !slices.Equal(c.New.Unstable, []string{"Secret/default/r: data.p"}) {
		t.Errorf("images %v, %v; unstable %v, %v", c.Old.Images, c.New.Images, c.Old.Unstable, c.New.Unstable)
	}
	if !c.Effort.Blocked || !slices.Equal(c.Effort.Approvers, []string{ApproverSecurity}) || c.Effort.Points != 2 || c.Undo.Verdict != UndoPossible || c.Same != 1 || len(c.Objects) != 3 {
		t.Errorf("effort %+v, undo %+v, %d the same, %+v", c.Effort, c.Undo, c.Same, c.Objects)
	}
	// What is found is what CompareArchives finds, and the same each time.
	r, err := CompareArchives(build("1.0.0", plain), build("1.0.0", plain), Options{})
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("the same: %+v, %v", r, err)
	}
	_, err = CompareCharts([]byte("x"), build("1.0.0", nil), Options{})
	if p, ok := problem.As(err); !ok || !slices.Contains(p.Facts, problem.Fact{Label: "archive", Value: "old"}) {
		t.Errorf("an archive that is none: %v", err)
	}
}

// What is not known is never nothing, and never easy.
func TestCompareChartsThatDoNotRender(t *testing.T) {
	good := charttest.Build(t, "web", "1.0.0", map[string]string{"templates/d.yaml": deployment("", "")})
	for _, c := range []struct {
		name  string
		text  string
		basis Basis
		least EffortClass
	}{
		{"refuses", deployment("", "") + `{{ fail "set a password" }}`, BasisLenient, EffortMedium},
		{"never renders", deployment("", "") + `{{ .Values.a.b.c }}`, BasisTemplate, EffortLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := charttest.Build(t, "web", "1.1.0", map[string]string{"templates/d.yaml": c.text})
			for _, pair := range [][2][]byte{{good, bad}, {bad, good}} {
				got, err := CompareCharts(pair[0], pair[1], Options{})
				if err != nil {
					t.Fatal(err)
				}
				if got.Basis != c.basis || got.Effort.Class != c.least || got.Undo.Verdict != UndoUnknown || len(got.Undo.Reasons) == 0 {
					t.Errorf("%s, %s, %+v", got.Basis, got.Effort.Class, got.Undo)
				}
				for _, s := range []Side{got.Old, got.New} {
					if s.Known != (c.basis == BasisLenient) || !s.Known && (s.Reason == "" || s.Exposure != "" || s.PodSecurity != "") {
						t.Errorf("a side that is not known: %+v", s)
					}
				}
			}
		})
	}
	// A dependency that is not in the archive renders nothing, which is told.
	listed := map[string]string{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.1.0\ndependencies:\n- {name: db, version: 1.0.0, repository: 'https://a.test'}\n- {name: side, version: 1.0.0, repository: 'https://a.test', condition: side.enabled}\n", "values.yaml": "side: {enabled: false}\n"}
	got, err := CompareCharts(good, charttest.Build(t, "web", "1.1.0", listed), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.New.Faults) != 1 || !strings.Contains(got.New.Faults[0].Reason, "depends on db 1.0.0, which is not in the archive") || got.Undo.Verdict != UndoUnknown || got.Effort.Points < 4 {
		t.Errorf("faults %v, undo %s, effort %+v", got.New.Faults, got.Undo.Verdict, got.Effort)
	}
}

// APIs block for the Kubernetes that is named, changed or not.
func TestCompareChartsForKubernetes(t *testing.T) {
	cron := map[string]string{"templates/c.yaml": "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: a}\n"}
	old, new := charttest.Build(t, "web", "1.0.0", cron), charttest.Build(t, "web", "1.0.1", cron)
	for kube, blocked := range map[string]bool{"1.24": false, "1.25": true, "": true} {
		c, err := CompareCharts(old, new, Options{KubeVersion: kube})
		if err != nil {
			t.Fatal(err)
		}
		if c.Effort.Blocked != blocked || len(c.Findings) > 0 || (c.Undo.Verdict == UndoByHand) != blocked {
			t.Errorf("Kubernetes %q: blocked %v, %s, %v", kube, c.Effort.Blocked, c.Undo.Verdict, c.Findings)
		}
	}
	none := charttest.Build(t, "web", "1.0.0", nil)
	for kube, rule := range map[string]string{"1.24": "low api-deprecated CronJob/default/a", "1.25": "high api-removed CronJob/default/a"} {
		c, err := CompareCharts(none, new, Options{KubeVersion: kube})
		if err != nil || !slices.Contains(rules(c.Findings), rule) {
			t.Errorf("Kubernetes %q: %v, %v", kube, c.Findings, err)
		}
	}
}

func TestFit(t *testing.T) {
	old := "kept: 1\ngone: 1\nkind: a\nmoved: 1\nempty: null\nfree: {}\nclosed: {a: 1, b: {c: 2}}\nopened: {a: 1}\nlist: [1]\nunset: 1\n"
	new := "kept: 1\nkind: {a: b}\nmoved: 2\nempty: x\nfree: {}\nclosed: {a: 1, b: {}}\nopened: {}\nlist: [1, 2]\nunset: 2\nadded: {a: 1}\n"
	schema := `{"required": ["must", "kept"]}`
	user := "kept: 5\ngone: {x: {z: 1}}\nkind: b\nmoved: 3\nempty: z\nfree: {a: {b: 1}}\nclosed: {a: 2, b: {c: 3}, d: 4}\nopened: {a: 2}\nlist: []\nadded: {a: 2}\nglobal: {x: 1}\ntypo: {}\n"
	fit := func(values string) Fit {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(values), &v); err != nil {
			t.Fatal(err)
		}
		c, err := CompareCharts(charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": old}),
			charttest.Build(t, "web", "1.1.0", map[string]string{"values.yaml": new, "values.schema.json": schema}), Options{Values: v})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.Fit.Kept) + len(c.Fit.Vanished) + len(c.Fit.Retyped) + len(c.Fit.Default) + len(c.Fit.Unlisted); n != c.Fit.Set {
			t.Errorf("%d values are set, %d are listed", c.Fit.Set, n)
		}
		return c.Fit
	}
	want := Fit{
		Set: 14, Kept: []string{"added.a", "closed.a", "free.a.b", "global.x", "kept"}, Vanished: []string{"gone.x.z"}, Retyped: []string{"kind"},
		Default: []string{"closed.b.c", "empty", "list", "moved", "opened.a"}, Unlisted: []string{"closed.d", "typo"}, Required: []string{"must"}, Defaults: 1,
	}
	if d := cmp.Diff(want, fit(user)); d != "" {
		t.Error(d)
	}
	b, err := json.Marshal(fit(""))
	if err != nil || string(b) != `{"set":0,"kept":[],"vanished":[],"retyped":[],"default":[],"unlisted":[],"required":["must"],"defaults":7}` {
		t.Errorf("nothing set: %s", b)
	}
}

func TestHardeningOffered(t *testing.T) {
	old := "web: {image: a}\n"
	new := "web: {image: a, containerSecurityContext: {}, hidden: {securityContext: {}}}\nnetworkPolicy: {enabled: false}\nreadOnlyRootFilesystem: false\ntls: {enabled: true}\nautomountServiceAccountToken: true\nseccompProfile: ''\nnew: {securityContext: {}}\n"
	for user, want := range map[string]string{
		"": "automountServiceAccountToken networkPolicy readOnlyRootFilesystem seccompProfile web.containerSecurityContext",
		"web: {containerSecurityContext: {runAsNonRoot: true}}\nnetworkPolicy: {enabled: true}\nautomountServiceAccountToken: false\ntls: {enabled: false}\n": "readOnlyRootFilesystem seccompProfile tls",
	} {
		var values map[string]any
		if err := yaml.Unmarshal([]byte(user), &values); err != nil {
			t.Fatal(err)
		}
		found, err := CompareValues(charttest.Build(t, "web", "1.0.0", map[string]string{"values.yaml": old}), charttest.Build(t, "web", "1.1.0", map[string]string{"values.yaml": new}), values, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range found {
			if f.Rule == "hardening-offered" {
				got = append(got, f.Object)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("with %q: %v, want %s", user, got, want)
		}
	}
}
