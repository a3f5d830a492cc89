package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	text := `# nothing
---
# Source: web/templates/a.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: own}
---
# only a comment
--- # behind the dashes
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: b}}
- {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: c, namespace: wrong}}
---
apiVersion: v1
kind: ConfigMapList
items: [{metadata: {name: d}}]
---
apiVersion: example.test/v1
kind: Thing
metadata: {generateName: e-, annotations: {"helm.sh/hook": " Pre-Install, post-upgrade"}}
privileged: yes
---
apiVersion: v1
kind: Pod
metadata: {name: f, annotations: {helm.sh/hook: test}}
data: |
  --- not a document
  x
`
	got, faults := Parse(text, "default", Limits{})
	var lines []string
	for _, o := range got {
		lines = append(lines, fmt.Sprintf("%s %s %s:%d %v %v", o.APIVersion(), o.ID(), o.Source, o.Line, o.Hooks, o.IsTest()))
	}
	want := []string{
		"apps/v1 Deployment/own/a web/templates/a.yaml:3 [] false",
		"v1 Service/default/b manifest:9 [] false",
		"rbac.authorization.k8s.io/v1 ClusterRole/c manifest:9 [] false",
		"v1 ConfigMap/default/d manifest:16 [] false",
		"example.test/v1 Thing/e-* manifest:20 [post-upgrade pre-install] false",
		"v1 Pod/default/f manifest:25 [test] true",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
	if len(faults) > 0 {
		t.Errorf("faults: %v", faults)
	}
	// YAML 1.1, as Kubernetes reads it.
	if on, set := truth(got[4].Fields, "privileged"); !on || !set {
		t.Error("yes is not true")
	}
}

func TestParseFaults(t *testing.T) {
	deep := "a: " + strings.Repeat("[", 300) + strings.Repeat("]", 300)
	for name, c := range map[string]struct {
		text   string
		limits Limits
		says   string
	}{
		"no YAML":     {"a: [b", Limits{}, "not valid YAML"},
		"no object":   {"- a", Limits{}, "not an object"},
		"no kind":     {"apiVersion: v1\nname: x", Limits{}, "no apiVersion or no kind"},
		"odd list":    {"apiVersion: v1\nkind: List\nitems: [1]", Limits{}, "no object"},
		"deep":        {deep, Limits{}, "nested deeper"},
		"documents":   {strings.Repeat("---\napiVersion: v1\nkind: A\n", 9), Limits{Documents: 4}, "more than 4 objects"},
		"list":        {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A}, {apiVersion: v1, kind: A}, {apiVersion: v1, kind: A}]", Limits{Documents: 3}, "more than 3 objects"},
		"nodes":       {"apiVersion: v1\nkind: A\nx: [1,2,3,4,5,6,7,8,9]", Limits{Nodes: 5}, "more than 5 values"},
		"bytes":       {strings.Repeat("# x\n", 1<<18), Limits{Output: 1000}, "larger than"},
		"bomb":        {bomb(), Limits{}, "excessive aliasing"},
		"unprintable": {"a: \x01", Limits{}, "not valid YAML"},
		"many faults": {strings.Repeat("---\na: [b\n", 500), Limits{}, "more faults"},
	} {
		objects, faults := Parse(c.text, "default", c.limits)
		if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.String(), c.says) }) {
			t.Errorf("%s: %d objects, faults %v, want one that says %q", name, len(objects), faults, c.says)
		}
		if len(faults) > 102 {
			t.Errorf("%s: %d faults", name, len(faults))
		}
	}
	// What comes after a fault is read.
	if objects, faults := Parse("a: [b\n---\napiVersion: v1\nkind: A\n", "", Limits{}); len(objects) != 1 || len(faults) != 1 {
		t.Errorf("%v %v", objects, faults)
	}
}

func bomb() string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	return text
}

func TestImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	text := `apiVersion: batch/v1
kind: CronJob
metadata: {name: a}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          initContainers: [{name: init, image: init:1}]
          containers:
          - name: main
            image: main:1
            args: ["--reloader-image=quay.io/a/reloader:v1", "--other=a/b", "quay.io/x/y:z"]
            env: [{name: RELATED_IMAGE_X, value: quay.io/a/x:v2}, {name: URL, value: "host.test/a:80"}, {name: PIN, value: quay.io/a/p@DIGEST}]
          ephemeralContainers: [{name: debug, image: debug:1}]
          volumes: [{name: i, image: {reference: vol:1}}]
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {name: p}
spec: {image: quay.io/prom:v2}
---
apiVersion: unknown.test/v1
kind: Thing
metadata: {name: t}
spec:
  image: example.test/thing:1
  sidecarImage: side:2
  imagePullPolicy: Always
  image2: {registry: r.test, repository: a/b, tag: 1.5}
  pod: {containers: [{name: c, image: "like:1"}]}
  list: [{name: x, image: "in/list:3"}]
  image3: {repository: "https://git.test/x", tag: v1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {image: "not:an-image"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {image: "not:looked-at"}
`
	var got []string
	for _, i := range Images(objects(t, strings.ReplaceAll(text, "DIGEST", digest))) {
		got = append(got, fmt.Sprintf("%s %s %s %s", i.Object, i.Container, strings.ReplaceAll(i.Ref, digest, "DIGEST"), i.Confidence))
	}
	slices.Sort(got)
	want := []string{
		"CronJob/default/a  vol:1 exact",
		"CronJob/default/a debug debug:1 exact",
		"CronJob/default/a init init:1 exact",
		"CronJob/default/a main main:1 exact",
		"CronJob/default/a main quay.io/a/p@DIGEST possible",
		"CronJob/default/a main quay.io/a/reloader:v1 possible",
		"CronJob/default/a main quay.io/a/x:v2 possible",
		"CronJob/default/a main quay.io/x/y:z possible",
		"Prometheus/p  quay.io/prom:v2 exact",
		"Thing/t  example.test/thing:1 likely",
		"Thing/t  in/list:3 likely",
		"Thing/t  r.test/a/b:1.5 likely",
		"Thing/t  side:2 likely",
		"Thing/t c like:1 likely",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestImageName(t *testing.T) {
	for ref, want := range map[string][3]string{
		"nginx":                     {"nginx", "", ""},
		"nginx:1.0":                 {"nginx", "1.0", ""},
		"host:5000/a/b":             {"host:5000/a/b", "", ""},
		"host:5000/a/b:v1@sha256:x": {"host:5000/a/b", "v1", "sha256:x"},
		"a@sha256:x":                {"a", "", "sha256:x"},
		"":                          {"", "", ""},
	} {
		r, tag, digest := ImageName(ref)
		if got := [3]string{r, tag, digest}; got != want {
			t.Errorf("%q: %v, want %v", ref, got, want)
		}
	}
	for ref, want := range map[string]bool{"a": true, "a:latest": true, "a:1": true, "a:v2": true, "a:1.2.3": false, "a:latest@sha256:x": false, "a:1.2-alpine": false, "a:nightly": true, "a:2.0-SNAPSHOT": true} {
		if got := Movable(ref) != ""; got != want {
			t.Errorf("%s: movable %v, want %v", ref, got, want)
		}
	}
}

func TestExposureOf(t *testing.T) {
	policy := func(spec string) string {
		return "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: " + spec + "\n"
	}
	web := deployment("", "")
	balancer := func(more string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: web, annotations: {" + more + "}}\nspec: {type: LoadBalancer}\n"
	}
	for name, c := range map[string]struct {
		text string
		want Exposure
	}{
		"nothing":           {"", ExposureSmall},
		"a pod":             {web, ExposureControlled},
		"cluster address":   {web + "---\n" + service("{type: ClusterIP}"), ExposureControlled},
		"node port":         {service("{type: NodePort}"), ExposureOpen},
		"balancer":          {balancer(""), ExposureOpen},
		"inside":            {balancer("service.beta.kubernetes.io/aws-load-balancer-internal: 'true'"), ExposureControlled},
		"not inside":        {balancer("service.beta.kubernetes.io/aws-load-balancer-internal: 'false'"), ExposureOpen},
		"inside by type":    {balancer("networking.gke.io/load-balancer-type: Internal"), ExposureControlled},
		"private":           {service("{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8]}"), ExposureControlled},
		"not all private":   {service("{type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8, 0.0.0.0/0]}"), ExposureOpen},
		"external address":  {service("{externalIPs: [1.2.3.4]}"), ExposureOpen},
		"ingress":           {"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\n", ExposureOpen},
		"test ingress":      {"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a, annotations: {helm.sh/hook: test}}\n", ExposureSmall},
		"route":             {"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n", ExposureOpen},
		"another route":     {"apiVersion: other.test/v1\nkind: HTTPRoute\nmetadata: {name: a}\n", ExposureSmall},
		"mesh":              {"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {gateways: [mesh]}\n", ExposureSmall},
		"mesh gateway":      {"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {gateways: [mesh, out]}\n", ExposureOpen},
		"host network":      {deployment("hostNetwork: true", ""), ExposureOpen},
		"host port":         {deployment("", "ports: [{containerPort: 80, hostPort: 80}]"), ExposureOpen},
		"held":              {web + policy("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"), ExposureSmall},
		"held from all":     {web + policy("{podSelector: {}, ingress: [{}]}"), ExposureControlled},
		"held from 0.0.0.0": {web + policy("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}"), ExposureControlled},
		"held for others":   {web + policy("{podSelector: {matchLabels: {app: other}}}"), ExposureControlled},
		"held outwards":     {web + policy("{podSelector: {}, policyTypes: [Egress]}"), ExposureControlled},
		"held elsewhere":    {web + strings.Replace(policy("{podSelector: {}}"), "{name: p}", "{name: p, namespace: other}", 1), ExposureControlled},
		"held by labels":    {web + policy("{podSelector: {matchLabels: {app: web}}}"), ExposureSmall},
		"held by terms":     {web + policy("{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}"), ExposureControlled},
	} {
		if got, why := ExposureOf(objects(t, c.text)); got != c.want || why == "" {
			t.Errorf("%s: %s because %q, want %s", name, got, why, c.want)
		}
	}
}

func TestRights(t *testing.T) {
	text := role("ClusterRole", readPods) + "---\n" + role("Role", readPods) + `---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: local, namespace: other}
roleRef: {kind: ClusterRole, name: edit}
subjects: [{kind: User, name: b}, {kind: ServiceAccount, name: a}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: free, labels: {rbac.authorization.k8s.io/aggregate-to-admin: "true"}}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
`
	var got []string
	for _, r := range Rights(objects(t, text)) {
		got = append(got, fmt.Sprintf("%s cluster=%v bound=%v %v rules=%d %v", r.Role, r.Cluster, r.Bound, r.Subjects, len(r.Rules), r.Aggregated))
	}
	want := []string{
		"ClusterRole/edit cluster=false bound=true [ServiceAccount/other/a User/b] rules=0 []",
		"ClusterRole/free cluster=true bound=false [] rules=1 [admin]",
		"ClusterRole/web cluster=true bound=true [ServiceAccount/default/web] rules=1 []",
		"Role/default/web cluster=false bound=true [ServiceAccount/default/web] rules=1 []",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A rule allows what Kubernetes says that it allows.
func TestRuleAllows(t *testing.T) {
	r := func(verb, group, resource, name string) right {
		return right{verb: verb, group: group, resource: resource, name: name}
	}
	all := Rule{Verbs: []string{"*"}, Groups: []string{"*"}, Resources: []string{"*"}}
	pods := Rule{Verbs: []string{"get"}, Groups: []string{""}, Resources: []string{"pods"}}
	scale := Rule{Verbs: []string{"get"}, Groups: []string{"apps"}, Resources: []string{"*/scale"}}
	one := Rule{Verbs: []string{"get"}, Groups: []string{""}, Resources: []string{"secrets"}, Names: []string{"a"}}
	urls := Rule{Verbs: []string{"get"}, URLs: []string{"/healthz/*", "/metrics"}}
	for i, c := range []struct {
		rule  Rule
		right right
		want  bool
	}{
		{all, r("get", "apps", "deployments/scale", ""), true}, {all, r("*", "*", "*", ""), true},
		{pods, r("get", "", "pods", ""), true}, {pods, r("get", "", "pods/log", ""), false}, {pods, r("list", "", "pods", ""), false},
		{pods, r("get", "apps", "pods", ""), false}, {pods, r("get", "", "*", ""), false}, {pods, r("*", "", "pods", ""), false}, {pods, r("get", "", "pods", "x"), true},
		{scale, r("get", "apps", "deployments/scale", ""), true}, {scale, r("get", "apps", "deployments", ""), false}, {scale, r("get", "apps", "*/scale", ""), true},
		{one, r("get", "", "secrets", "a"), true}, {one, r("get", "", "secrets", "b"), false}, {one, r("get", "", "secrets", ""), false},
		{urls, right{verb: "get", url: "/healthz/a"}, true}, {urls, right{verb: "get", url: "/metrics"}, true}, {urls, right{verb: "get", url: "/metrics/a"}, false},
		{urls, right{verb: "get", url: "*"}, false}, {pods, right{verb: "get", url: "/metrics"}, false},
	} {
		if got := c.rule.allows(c.right); got != c.want {
			t.Errorf("%d: %+v allows %+v: %v", i, c.rule, c.right, got)
		}
	}
}

func TestDanger(t *testing.T) {
	for _, c := range []struct {
		verb, group, resource, name, url string
		cluster, namespace               Severity
	}{
		{"get", "", "pods", "", "", Medium, Low},
		{"get", "", "pods", "a", "", Low, Low},
		{"create", "", "pods", "", "", High, Medium},
		{"update", "", "configmaps", "a", "", Medium, Low},
		{"*", "apps", "deployments", "", "", High, Medium},
		{"*", "*", "*", "", "", Critical, High},
		{"get", "*", "*", "", "", Critical, High},
		{"get", "*", "deployments", "", "", Medium, Low},
		{"delete", "*", "*/finalizers", "", "", Critical, High},
		{"get", "", "secrets", "", "", Critical, High},
		{"get", "", "secrets", "a", "", Low, Low},
		{"list", "", "*", "", "", Critical, High},
		{"list", "example.test", "*", "", "", Medium, Low},
		{"create", "", "pods/exec", "", "", Critical, High},
		{"get", "", "nodes/proxy", "", "", Critical, High},
		{"create", "", "serviceaccounts/token", "", "", Critical, High},
		{"get", "", "serviceaccounts/token", "", "", Medium, Low},
		{"update", "rbac.authorization.k8s.io", "clusterroles", "", "", Critical, High},
		{"get", "rbac.authorization.k8s.io", "clusterroles", "", "", Medium, Low},
		{"escalate", "rbac.authorization.k8s.io", "roles", "", "", Critical, High},
		{"impersonate", "", "users", "", "", Critical, High},
		{"update", "example.test", "roles", "", "", High, Medium},
		{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", Critical, High},
		{"get", "", "", "", "/metrics", Low, Low},
		{"get", "", "", "", "*", High, High},
		{"post", "", "", "", "/reload", High, High},
	} {
		x := right{verb: c.verb, group: c.group, resource: c.resource, name: c.name, url: c.url}
		if got := [2]Severity{x.danger(true), x.danger(false)}; got != [2]Severity{c.cluster, c.namespace} {
			t.Errorf("%+v: %v, want %s and %s", x, got, c.cluster, c.namespace)
		}
	}
}

func TestSeverityOfViolations(t *testing.T) {
	for _, c := range []struct {
		level       PodLevel
		rule, value string
		want        Severity
	}{
		{Restricted, "run-as-user", "0", Low}, {Baseline, "privileged", "true", Critical}, {Baseline, "host-process", "true", Critical},
		{Baseline, "capabilities", "SYS_ADMIN", Critical}, {Baseline, "capabilities", "NET_RAW", High},
		{Baseline, "host-path", "/", Critical}, {Baseline, "host-path", "/etc/", Critical}, {Baseline, "host-path", "/run/containerd/containerd.sock", Critical}, {Baseline, "host-path", "/var/log", High},
		{Baseline, "host-probe", "127.0.0.1", Low}, {Baseline, "host-probe", "10.0.0.1", Medium}, {Baseline, "host-namespaces", "hostPID", High},
	} {
		if got := severityOf(Violation{Level: c.level, Rule: c.rule, Value: c.value}); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if Worst(nil) != Info || Worst([]Finding{{Severity: Low}, {Severity: Critical}, {Severity: High}}) != Critical || Info.lower() != Info || Critical.lower() != High || Low.lower() != Low {
		t.Error("severities are not in order")
	}
}

func TestExposedSecrets(t *testing.T) {
	container := func(fields string) string { return deployment("", fields) }
	secret := func(data string) string { return "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n" + data }
	for text, want := range map[string]string{
		container("env: [{name: A_PASSWORD, value: hunter2}]"):                           "container app env A_PASSWORD",
		container("env: [{name: A_PASSWORD, value: changeme}]"):                          "container app env A_PASSWORD known",
		container("env: [{name: A, value: 'redis://:redis@host/0'}]"):                    "container app env A known",
		container("args: ['--api-token=abcdef', x]"):                                     "container app args[0]",
		container("command: [sh, -c, 'curl https://u:p4ss@host/x']"):                     "container app command[2]",
		container("env: [{name: MINIO_ROOT_PASSWORD, value: minio123}]"):                 "container app env MINIO_ROOT_PASSWORD known",
		container("env: [{name: A_PASSWORD, value: ''}, {name: TOKEN_TTL, value: 30m}]"): "",
		container("env: [{name: A_PASSWORD, value: $(OTHER)}, {name: USE_TOKEN, value: always}, {name: PASSWORD_FILE, value: /x}, {name: SECRET_NAME, value: web}]"): "",
		secret("data: {admin-password: cG9zdGdyZXM=}"):                             "data.admin-password known",
		secret("data: {admin-password: aHVudGVyMg==, odd: '!!'}"):                  "",
		secret("stringData: {url: 'postgresql://airflow:airflow@db/x'}"):           "stringData.url: a URL with a password known",
		secret("stringData: {script: \"users = [\\n  'password': 'admin',\\n]\"}"): "stringData.script: the line of password known",
		configMap("{db-password: hunter2}"):                                        "data.db-password",
		configMap("{conf: \"token = hunter2\\npassword = admin\\n\"}"):             "data.conf: the line of password known weak",
		configMap("{conf: \"pass_length = 12\\nsecret_name = web-x\\n\"}"):         "",
	} {
		var got []string
		for _, e := range ExposedSecrets(objects(t, text)) {
			line := e.Path
			if e.Known {
				line += " known"
			}
			if e.Weak {
				line += " weak"
			}
			got = append(got, line)
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s\n got %q\nwant %q", text, strings.Join(got, "; "), want)
		}
	}
}

// What looks like Helm's comment and names nothing names nothing.
func TestParseSource(t *testing.T) {
	for text, want := range map[string]string{
		"# Source: web/a.yaml \r\n":             "web/a.yaml",
		"# Source: web/a.yaml":                  "web/a.yaml",
		"# Source: ":                            "manifest",
		"# Source: \n# Source: web/b.yaml\n":    "manifest",
		"# first\n# Source: web/b.yaml\n":       "manifest",
		"# Source: web/a b.yaml\n# Source: c\n": "web/a b.yaml",
	} {
		_, faults := Parse(text+"\n- no object", "default", Limits{})
		if len(faults) != 1 || faults[0].Source != want {
			t.Errorf("%q: %+v, want one in %s", text, faults, want)
		}
		if _, faults := Parse(text, "default", Limits{}); len(faults) != 0 {
			t.Errorf("%q: %+v", text, faults)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("---\n# Source: ")
	f.Add("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A}\n---\n# Source: a\na: [b")
	f.Add("--- \n---\n---x\n# Source: \n")
	f.Add(bomb())
	f.Add(deployment("hostNetwork: true\nvolumes: [{hostPath: {}}]", "env: [{name: PASSWORD, value: x1234}]"))
	f.Fuzz(func(t *testing.T, text string) {
		lim := Limits{Documents: 50, Nodes: 5000, Output: 1 << 16}
		got, faults := Parse(text, "default", lim)
		again, _ := Parse(text, "default", lim)
		if d := cmp.Diff(got, again); d != "" || len(got) > 50 || len(faults) > 102 {
			t.Fatalf("%d objects, %d faults, %s", len(got), len(faults), d)
		}
		Images(got)
		Inspect(got, "1.33")
		ExposureOf(got)
		PodSecurity(got)
	})
}

func FuzzCompare(f *testing.F) {
	for _, c := range rulesTable {
		f.Add(c.old, c.new)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		lim := Limits{Documents: 50, Nodes: 5000, Output: 1 << 16}
		old, _ := Parse(a, "default", lim)
		new, _ := Parse(b, "default", lim)
		found := Compare(old, new)
		if d := cmp.Diff(found, Compare(old, new)); d != "" {
			t.Fatalf("not the same the second time: %s", d)
		}
		for _, x := range found {
			if x.Severity.Rank() < 0 || x.Rule == "" || x.Message == "" || len(x.Message) > 700 {
				t.Fatalf("%+v", x)
			}
		}
		if same := Compare(new, new); len(same) > 0 {
			t.Fatalf("the same objects differ: %s", listing(same))
		}
	})
}
