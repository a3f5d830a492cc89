package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func objects(t testing.TB, text string) []Object {
	t.Helper()
	out, faults := Parse(text, "default", Limits{})
	if len(faults) > 0 {
		t.Fatalf("parse: %v in\n%s", faults, text)
	}
	return out
}

// deployment is a hardened Deployment. Its pod spec and container take more
// fields, one per line, which replace those of the same name.
func deployment(podSpec, container string) string {
	return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n" +
		"  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n" +
		fields("      ", "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}\nautomountServiceAccountToken: false", podSpec) +
		"      containers:\n      - name: app\n" +
		fields("        ", "image: example.test/app:1.0.0\nsecurityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}\n"+
			"livenessProbe: {httpGet: {path: /, port: 80}}\nresources: {limits: {memory: 1Gi}}", container)
}

func fields(indent, defaults, more string) string {
	own := map[string]bool{}
	for l := range strings.Lines(more) {
		name, _, _ := strings.Cut(l, ":")
		own[name] = true
	}
	var out strings.Builder
	for l := range strings.Lines(defaults + "\n" + more) {
		name, _, _ := strings.Cut(l, ":")
		if l = strings.TrimSuffix(l, "\n"); l == "" || own[name] && !strings.Contains(more, l) || strings.HasSuffix(l, ": gone") {
			continue
		}
		out.WriteString(indent + l + "\n")
	}
	return out.String()
}

func role(kind, rules string) string {
	return "apiVersion: rbac.authorization.k8s.io/v1\nkind: " + kind + "\nmetadata: {name: web}\nrules:\n" + rules +
		"\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: " + kind + "Binding\nmetadata: {name: web}\n" +
		"roleRef: {kind: " + kind + ", name: web, apiGroup: rbac.authorization.k8s.io}\nsubjects: [{kind: ServiceAccount, name: web, namespace: default}]\n"
}

func service(spec string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: " + spec + "\n"
}

func configMap(data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: " + data + "\n"
}

func statefulSet(spec string) string {
	return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: " + spec + "\n"
}

const readPods = "- {apiGroups: [''], resources: [pods], verbs: [get, list]}"

// rulesTable has a case for every rule of Compare: what makes it speak, and
// something like it that must not.
var rulesTable = []struct {
	rule     string
	severity Severity
	old, new string
	says     string // is in the message
	silent   [2]string
}{
	{"rights-widened", Critical, role("ClusterRole", readPods), role("ClusterRole", readPods+"\n- {apiGroups: ['*'], resources: ['*/finalizers'], verbs: ['*']}"), "bound to ServiceAccount/default/web",
		[2]string{role("ClusterRole", "- {apiGroups: ['*'], resources: ['*'], verbs: ['*']}"), role("ClusterRole", readPods)}},
	{"rights-widened", High, role("ClusterRole", readPods), role("ClusterRole", "- {apiGroups: [''], resources: [pods], verbs: [get, list, delete]}"), "delete pods",
		[2]string{role("ClusterRole", "- {apiGroups: [''], resources: [pods, nodes], verbs: [get]}"), role("ClusterRole", "- {apiGroups: [''], resources: [nodes], verbs: [get]}\n- {apiGroups: [''], resources: [pods], verbs: [get]}")}},
	{"rights-widened", Critical, role("ClusterRole", readPods), role("ClusterRole", readPods+"\n- {apiGroups: [''], resources: [secrets], verbs: [list]}"), "list secrets in the whole cluster",
		[2]string{role("ClusterRole", "- {apiGroups: [''], resources: ['*'], verbs: [list]}"), role("ClusterRole", "- {apiGroups: [''], resources: [secrets], verbs: [list]}")}},
	{"rights-widened", High, role("Role", readPods), role("ClusterRole", "- {apiGroups: [''], resources: [pods], verbs: [create]}"), "whole cluster",
		[2]string{role("Role", readPods), role("Role", "- {apiGroups: [''], resources: [pods], verbs: [get], resourceNames: [one]}")}},
	{"rights-widened", Low, role("Role", readPods), role("Role", readPods+"\n- {apiGroups: [apps], resources: [deployments], verbs: [get]}"), "get deployments.apps in its namespace",
		[2]string{role("Role", readPods), renamed(role("Role", readPods))}},
	{"rights-widened", Critical, role("ClusterRole", readPods), strings.Replace(role("ClusterRole", readPods), "roleRef: {kind: ClusterRole, name: web", "roleRef: {kind: ClusterRole, name: cluster-admin", 1), "is bound to ServiceAccount/default/web",
		[2]string{role("ClusterRole", readPods), role("ClusterRole", readPods)}},
	{"rights-everybody", Critical, role("ClusterRole", readPods), strings.Replace(role("ClusterRole", readPods), "{kind: ServiceAccount, name: web, namespace: default}", "{kind: Group, name: 'system:unauthenticated'}", 1), "to everybody",
		[2]string{role("ClusterRole", readPods), strings.Replace(role("ClusterRole", readPods), "{kind: ServiceAccount, name: web, namespace: default}", "{kind: Group, name: 'team'}", 1)}},
	{"rights-narrowed", Info, role("ClusterRole", readPods), role("ClusterRole", "- {apiGroups: [''], resources: [pods], verbs: [get]}"), "list pods",
		[2]string{role("ClusterRole", readPods), role("ClusterRole", "- {apiGroups: [''], resources: [pods], verbs: [get]}\n- {apiGroups: [''], resources: [pods], verbs: [list]}")}},
	{"rights-aggregated", Medium, role("ClusterRole", readPods), strings.Replace(role("ClusterRole", readPods), "metadata: {name: web}", "metadata: {name: web, labels: {rbac.authorization.k8s.io/aggregate-to-view: 'true'}}", 1), "view",
		[2]string{role("ClusterRole", readPods), strings.Replace(role("ClusterRole", readPods), "metadata: {name: web}", "metadata: {name: web, labels: {rbac.authorization.k8s.io/aggregate-to-view: 'false'}}", 1)}},
	{"role-bound", Medium, role("ClusterRole", "- {apiGroups: [''], resources: [pods], verbs: [delete]}"), strings.Replace(role("ClusterRole", "- {apiGroups: [''], resources: [pods], verbs: [delete]}"), "name: web, namespace: default}]", "name: web, namespace: default}, {kind: User, name: eve}]", 1), "User/eve",
		[2]string{role("ClusterRole", readPods), role("ClusterRole", readPods)}},
	{"rights-unknown", High, role("ClusterRole", readPods), role("ClusterRole", "- {apiGroups: ["+many(200)+"], resources: ["+many(200)+"], verbs: [get]}"), "too many",
		[2]string{role("ClusterRole", readPods), role("ClusterRole", "- {apiGroups: ["+many(10)+"], resources: ["+many(10)+"], verbs: [get]}")}},

	{"image-changed", Info, deployment("", ""), deployment("", "image: example.test/app:1.1.0"), "app",
		[2]string{deployment("", "image: nginx:1.0.0"), deployment("", "image: docker.io/library/nginx:1.0.0")}},
	{"image-repository", Medium, deployment("", ""), deployment("", "image: evil.test/app:1.0.0"), "another repository",
		[2]string{deployment("", "image: nginx:1.0"), deployment("", "image: docker.io/nginx:1.1")}},
	{"image-unpinned", Medium, deployment("", "image: example.test/app:1.0.0@sha256:"+strings.Repeat("a", 64)), deployment("", ""), "no longer pinned",
		[2]string{deployment("", "image: example.test/app@sha256:"+strings.Repeat("a", 64)), deployment("", "image: example.test/app@sha256:"+strings.Repeat("b", 64))}},
	{"image-downgraded", Medium, deployment("", "image: example.test/app:1.10.0"), deployment("", "image: example.test/app:1.9.0"), "older",
		[2]string{deployment("", "image: example.test/app:1.9.0"), deployment("", "image: example.test/app:1.10.0")}},
	{"image-movable", Low, deployment("", ""), deployment("", "image: example.test/app"), "no tag",
		[2]string{deployment("", ""), deployment("", "image: example.test/app:latest@sha256:"+strings.Repeat("a", 64))}},

	{"pod-security", Critical, deployment("", ""), deployment("", "securityContext: {privileged: true}"), "privileged",
		[2]string{deployment("", "securityContext: {privileged: true}"), deployment("", "securityContext: {privileged: false}")}},
	{"pod-security", Critical, deployment("", ""), deployment("volumes: [{name: d, hostPath: {path: /var/run/docker.sock}}]", ""), "docker.sock",
		[2]string{deployment("", ""), deployment("volumes: [{name: d, emptyDir: {}}]", "")}},
	{"pod-security", High, deployment("", ""), deployment("hostPID: true", ""), "hostPID",
		[2]string{deployment("", ""), deployment("hostPID: false", "")}},
	{"pod-security", High, deployment("", ""), deployment("", "securityContext: {capabilities: {add: [NET_ADMIN], drop: [ALL]}, allowPrivilegeEscalation: false}"), "NET_ADMIN",
		[2]string{deployment("", ""), deployment("", "securityContext: {capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}, allowPrivilegeEscalation: false}")}},
	{"pod-security-restricted", Medium, deployment("", ""), deployment("", "securityContext: {capabilities: {drop: [ALL]}}"), "privilege-escalation (app)",
		[2]string{deployment("", "securityContext: {capabilities: {drop: [ALL]}}"), deployment("", "securityContext: {capabilities: {drop: [ALL]}}")}},
	{"pod-security-lost", Medium, deployment("", ""), deployment("", "securityContext: {}"), "baseline",
		[2]string{deployment("", "securityContext: {}"), deployment("", "securityContext: {capabilities: {}}")}},
	{"pod-security-lost", Medium, deployment("", ""), deployment("", "") + "---\n" + strings.ReplaceAll(deployment("hostPID: true", ""), "name: web", "name: agent"), "for what is new in it", [2]string{service("{}"), deployment("hostPID: true", "")}},
	{"pod-security-gained", Info, deployment("hostIPC: true", ""), deployment("", ""), "host-namespaces",
		[2]string{deployment("", ""), deployment("", "")}},
	{"hardening-lost", Low, deployment("", ""), deployment("", "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: false, capabilities: {drop: [ALL]}}"), "root file system",
		[2]string{deployment("", "securityContext: {readOnlyRootFilesystem: false}"), deployment("", "securityContext: {readOnlyRootFilesystem: true}")}},

	{"exposure-grown", High, service("{type: ClusterIP}"), service("{type: LoadBalancer}"), "LoadBalancer",
		[2]string{service("{type: LoadBalancer}"), service("{type: NodePort}")}},
	{"exposure-added", Medium, service("{type: NodePort}"), service("{type: NodePort}") + "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n", "outside the cluster",
		[2]string{service("{type: NodePort}"), service("{type: ClusterIP}")}},
	{"exposure-shrunk", Info, service("{type: NodePort}"), service("{type: ClusterIP}"), "nothing runs",
		[2]string{service("{type: ClusterIP}"), service("{type: ClusterIP, ports: []}")}},

	{"secret-in-clear", Medium, deployment("", ""), deployment("", "env: [{name: DB_PASSWORD, value: hunter2}]"), "DB_PASSWORD",
		[2]string{deployment("", ""), deployment("", "env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: a, key: b}}}, {name: DB_PASSWORD_FILE, value: /run/x}, {name: MINIMUM, value: hunter2}]")}},
	{"secret-in-clear", Medium, configMap("{}"), configMap("{url: 'postgres://app:hunter2@db/app'}"), "URL with a password",
		[2]string{configMap("{}"), configMap("{url: 'postgres://app:$(PASSWORD)@db/app', other: 'https://example.test/a@b'}")}},
	{"secret-in-clear", Low, configMap("{}"), configMap(`{app.ini: "user = a\nadmin_password = hunter2\n"}`), "admin_password",
		[2]string{configMap("{}"), configMap(`{app.ini: "password_file = /run/p\ntoken = ${TOKEN}\nself._password = password\n"}`)}},
	{"default-credential", High, configMap("{}"), "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {admin-password: admin}\n---\n" + configMap("{}"), "everybody knows",
		[2]string{configMap("{}"), "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {admin-password: kT4-9xQ, admin-user: admin}\n---\n" + configMap("{}")}},

	{"service-account-changed", Low, deployment("", ""), deployment("serviceAccountName: power", ""), "another service account",
		[2]string{deployment("", ""), deployment("serviceAccountName: default", "")}},
	{"token-mounted", Medium, deployment("", ""), deployment("automountServiceAccountToken: true", ""), "token",
		[2]string{deployment("automountServiceAccountToken: gone", ""), deployment("automountServiceAccountToken: true", "")}},
	{"token-dropped", Info, deployment("automountServiceAccountToken: gone", ""), "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default}\nautomountServiceAccountToken: false\n---\n" + deployment("automountServiceAccountToken: gone", ""), "no token",
		[2]string{deployment("", ""), deployment("", "")}},

	{"probe-dropped", Low, deployment("", ""), deployment("", "livenessProbe: gone"), "livenessProbe",
		[2]string{deployment("", ""), deployment("", "livenessProbe: {tcpSocket: {port: 80}}")}},
	{"limits-dropped", Low, deployment("", ""), deployment("", "resources: {}"), "limit",
		[2]string{deployment("", ""), deployment("", "resources: {limits: {memory: 2Gi}}")}},
	{"replicas-changed", Low, deployment("", ""), strings.Replace(deployment("", ""), "replicas: 2", "replicas: 1", 1), "fewer",
		[2]string{deployment("", ""), deployment("", "")}},
	{"container-added", Low, deployment("", ""), deployment("initContainers: [{name: setup, image: 'example.test/setup:1.0.0'}]", ""), "setup",
		[2]string{deployment("", ""), deployment("volumes: [{name: a, emptyDir: {}}]", "")}},
	{"container-removed", Info, deployment("", "") + "      - {name: side, image: 'example.test/side:1.0.0'}\n", deployment("", ""), "side",
		[2]string{deployment("", ""), deployment("", "")}},

	{"immutable-field", High, deployment("", ""), strings.ReplaceAll(deployment("", ""), "{app: web}", "{app: other}"), "selector",
		[2]string{deployment("", ""), strings.Replace(deployment("", ""), "labels: {app: web}", "labels: {app: web, more: x}", 1)}},
	{"immutable-field", High, statefulSet("{serviceName: a, volumeClaimTemplates: [{metadata: {name: data}, spec: {resources: {requests: {storage: 1Gi}}}}]}"), statefulSet("{serviceName: a, volumeClaimTemplates: [{metadata: {name: data}, spec: {resources: {requests: {storage: 2Gi}}}}]}"), "StatefulSet",
		[2]string{statefulSet("{serviceName: a, replicas: 1}"), statefulSet("{serviceName: a, replicas: 3}")}},
	{"immutable-field", High, statefulSet("{volumeClaimTemplates: [{metadata: {name: data, labels: {chart: a-1}}}]}"), statefulSet("{volumeClaimTemplates: [{metadata: {name: data, labels: {chart: a-2}}}]}"), "labels.chart",
		[2]string{"apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {chart: a-1}}\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {chart: a-2}}\n"}},
	{"immutable-field", High, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: [{name: a, image: 'b:1.0'}]}}}\n", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: [{name: a, image: 'b:1.1'}]}}}\n", "Job",
		[2]string{"apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, annotations: {helm.sh/hook: pre-upgrade}}\nspec: {template: {spec: {containers: [{name: a, image: 'b:1.0'}]}}}\n", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, annotations: {helm.sh/hook: pre-upgrade}}\nspec: {template: {spec: {containers: [{name: a, image: 'b:1.1'}]}}}\n"}},
	{"immutable-field", High, job("{app: a, chart: x-1}"), job("{app: a, chart: x-2}"), "labels.chart", [2]string{hook(job("{chart: x-1}")), hook(job("{chart: x-2}"))}},
	{"immutable-field", High, statefulSet("{podManagementPolicy: Parallel}"), statefulSet("{podManagementPolicy: OrderedReady}"), "podManagementPolicy", [2]string{statefulSet("{}"), statefulSet("{podManagementPolicy: OrderedReady}")}},
	{"immutable-field", High, service("{clusterIP: 10.0.0.1}"), service("{clusterIP: 10.0.0.2}"), "address", [2]string{service("{clusterIP: 10.0.0.1}"), service("{}")}},
	{"immutable-field", High, "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\nspec: {nfs: {server: a}}\n", "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\nspec: {nfs: {server: b}}\n", "volume", [2]string{"apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\nspec: {capacity: {storage: 1Gi}}\n", "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\nspec: {capacity: {storage: 2Gi}}\n"}},
	{"immutable-field", High, configMap("{a: b}") + "immutable: true\n", configMap("{a: b}"), "stays so", [2]string{configMap("{a: b}"), configMap("{a: b}") + "immutable: true\n"}},
	{"immutable-field", High, claim("8Gi"), claim("4Gi"), "shrink", [2]string{claim("8Gi"), claim("8192Mi")}},
	{"immutable-field", High, service("{clusterIP: None}"), service("{}"), "headless", [2]string{service("{type: ClusterIP}"), service("{}")}},
	{"immutable-field", High, configMap("{a: b}") + "immutable: true\n", configMap("{a: c}") + "immutable: true\n", "immutable ConfigMap", [2]string{configMap("{a: b}"), configMap("{a: c}")}},
	{"volume-size", Info, claim("4Gi"), claim("8Gi"), "another size", [2]string{claim("4Gi"), claim("4Gi")}},

	{"object-added", Info, configMap("{}"), configMap("{}") + "---\n" + service("{}"), "is new", [2]string{configMap("{}"), configMap("{a: b}")}},
	{"object-removed", High, claim("1Gi"), service("{}"), "data may go", [2]string{claim("1Gi"), claim("1Gi")}},
	{"object-removed", Critical, "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", service("{}"), "everything in it", [2]string{service("{}"), service("{}")}},
	{"network-policy-removed", High, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n", service("{}"), "traffic", [2]string{service("{}"), configMap("{}")}},
	{"network-policy-changed", Medium, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {podSelector: {}}\n", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {podSelector: {matchLabels: {a: b}}}\n", "traffic", [2]string{service("{}"), configMap("{}")}},
	{"keep-lost", High, "apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {helm.sh/resource-policy: keep}}\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", "no longer kept",
		[2]string{"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {helm.sh/resource-policy: keep}}\n"}},
	{"tls-dropped", Medium, "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {tls: [{hosts: [a]}]}\n", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {}\n", "TLS", [2]string{service("{}"), service("{}")}},
	{"cloud-identity", High, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, annotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/x'}}\n", "cloud", [2]string{service("{}"), service("{}")}},
	{"namespace-relaxed", High, "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {pod-security.kubernetes.io/enforce: restricted}}\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {pod-security.kubernetes.io/enforce: privileged}}\n", "lower level",
		[2]string{"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {pod-security.kubernetes.io/enforce: baseline}}\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {pod-security.kubernetes.io/enforce: restricted}}\n"}},
	{"disruption-budget", Low, "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {minAvailable: 1}\n", "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {minAvailable: 0}\n", "drained", [2]string{service("{}"), service("{}")}},
	{"admission-webhook", Medium, service("{}"), service("{}") + "---\napiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: a}\n", "accepted", [2]string{service("{}"), service("{}")}},

	{"hook-added", Medium, service("{}"), service("{}") + "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: j, annotations: {helm.sh/hook: 'pre-upgrade,post-install'}}\nspec: {template: {spec: {containers: [{name: a}]}}}\n", "post-install, pre-upgrade",
		[2]string{service("{}"), service("{}") + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: j, annotations: {helm.sh/hook: test}}\nspec: {}\n"}},
	{"hook-removed", Info, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, annotations: {helm.sh/hook: pre-upgrade}}\n", service("{}"), "pre-upgrade", [2]string{service("{}"), service("{}")}},
	{"hook-changed", Medium, "apiVersion: v1\nkind: Secret\nmetadata: {name: j}\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: j, annotations: {helm.sh/hook: pre-upgrade}}\n", "become a hook",
		[2]string{"apiVersion: v1\nkind: Secret\nmetadata: {name: j, annotations: {helm.sh/hook: 'a,b'}}\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: j, annotations: {helm.sh/hook: 'b, A'}}\n"}},
	{"api-version-changed", Info, "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata: {name: a}\n", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\n", "another version", [2]string{service("{}"), service("{}")}},
	{"api-removed", High, service("{}"), service("{}") + "---\napiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: a}\n", "1.25", [2]string{service("{}"), service("{}") + "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n"}},

	{"migration", Medium, migrate("1.0"), migrate("1.1"), "container run", [2]string{migrate("1.0"), strings.Replace(migrate("1.0"), "restartPolicy: Never", "restartPolicy: OnFailure", 1)}},
	{"migration", Medium, deployment("", ""), deployment("initContainers: [{name: prepare, image: 'a.test/b:1.0', args: [alembic, upgrade, head]}]", ""), "init container prepare",
		[2]string{deployment("", ""), deployment("initContainers: [{name: wait-for-migrations, image: 'a.test/b:1.0', args: [check-migrations]}]", "")}},
	{"crd-added", Info, service("{}"), service("{}") + "---\n" + definition("v1"), "new kind", [2]string{definition("v1"), definition("v1")}},
	{"crd-removed", Critical, definition("v1"), service("{}"), "every object", [2]string{definition("v1"), definition("v1")}},
	{"crd-version-removed", High, definition("v1alpha1", "v1"), definition("v1"), "v1alpha1", [2]string{definition("v1"), definition("v1", "v2")}},
	{"crd-storage-version", Medium, definition("v1", "v2"), strings.Replace(strings.Replace(definition("v1", "v2"), "storage: true", "storage: no", 1), "storage: false", "storage: true", 1), "stored", [2]string{definition("v1"), definition("v1")}},
	{"crd-version-added", Info, definition("v1"), definition("v1", "v2"), "new version", [2]string{definition("v1"), definition("v1")}},
	{"crd-changed", Info, definition("v1"), definition("v1", "v2"), "accepts", [2]string{definition("v1"), definition("v1")}},

	{"data-changed", Info, configMap("{a: b}"), configMap("{a: c}"), "holds other data: a", [2]string{configMap("{a: b}"), configMap("{a: b}")}},
	{"object-changed", Info, service("{sessionAffinity: None}"), service("{sessionAffinity: ClientIP}"), "spec.sessionAffinity",
		[2]string{"apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {helm.sh/chart: a-1}, annotations: {checksum/config: x}}\n", "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {helm.sh/chart: a-2}, annotations: {checksum/config: y}}\n"}},
}

// renamed gives role and binding another name; the account stays.
func renamed(text string) string {
	return strings.NewReplacer("{name: web}", "{name: other}", "kind: Role, name: web", "kind: Role, name: other").Replace(text)
}

func many(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("x%d", i))
	}
	return strings.Join(out, ", ")
}

// job is a Job whose pods have the given labels.
func job(labels string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {metadata: {labels: " + labels + "}, spec: {containers: [{name: a, image: 'b:1.0'}]}}}\n"
}

// hook makes an object a hook.
func hook(text string) string {
	return strings.Replace(text, "{name: j}", "{name: j, annotations: {helm.sh/hook: pre-upgrade}}", 1)
}

// migrate is a Job that migrates data.
func migrate(tag string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: web-db-upgrade, annotations: {helm.sh/hook: pre-upgrade}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: run, image: 'a.test/b:" + tag + "'}]}}}\n"
}

func claim(size string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\nspec: {resources: {requests: {storage: " + size + "}}}\n"
}

func definition(versions ...string) string {
	text := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.test}\nspec:\n  scope: Namespaced\n  versions:\n"
	for i, v := range versions {
		text += fmt.Sprintf("  - {name: %s, served: true, storage: %v, schema: {openAPIV3Schema: {type: object}}}\n", v, i == len(versions)-1)
	}
	return text
}

func TestCompareRules(t *testing.T) {
	for _, c := range rulesTable {
		t.Run(c.rule+"/"+string(c.severity), func(t *testing.T) {
			found := Compare(objects(t, c.old), objects(t, c.new))
			if !slices.ContainsFunc(found, func(f Finding) bool {
				return f.Rule == c.rule && f.Severity == c.severity && strings.Contains(f.Message, c.says)
			}) {
				t.Errorf("no %s %s that says %q; got\n%s\nold:\n%s\nnew:\n%s", c.severity, c.rule, c.says, listing(found), c.old, c.new)
			}
			for _, f := range Compare(objects(t, c.silent[0]), objects(t, c.silent[1])) {
				if f.Rule == c.rule {
					t.Errorf("must not be found: %+v\nold:\n%s\nnew:\n%s", f, c.silent[0], c.silent[1])
				}
			}
			if same := Compare(objects(t, c.new), objects(t, c.new)); len(same) > 0 {
				t.Errorf("the same objects differ:\n%s", listing(same))
			}
			if d := cmp.Diff(found, Compare(objects(t, c.old), objects(t, c.new))); d != "" {
				t.Errorf("not the same the second time: %s", d)
			}
			if strings.Contains(listing(found), "hunter2") {
				t.Errorf("a secret is shown:\n%s", listing(found))
			}
		})
	}
}

func listing(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s %s: %s [%s -> %s]\n", f.Severity, f.Rule, f.Object, f.Message, f.Old, f.New)
	}
	return b.String()
}

func TestMatchByStem(t *testing.T) {
	job := func(name string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + "}\n"
	}
	for _, c := range []struct {
		old, new string
		same     bool
	}{
		{"migrate-1a2b3c4d5e", "migrate-9f8e7d6c5b", true},
		{"migrate-1.2.3", "migrate-1.2.4", true},
		{"migrate-x7k2m9qv", "migrate-b4n8c2dz", true},
		{"migrate-one", "migrate-two", false},
		{"server", "worker", false},
		{"web-frontend", "web-settings", false},
	} {
		found := Compare(objects(t, job(c.old)), objects(t, job(c.new)))
		if got := !strings.Contains(listing(found), "object-added"); got != c.same {
			t.Errorf("%s and %s: matched %v, want %v", c.old, c.new, got, c.same)
		}
	}
	// Two that share a stem cannot be told apart.
	found := Compare(objects(t, job("a-11111111aa")+"---\n"+job("a-22222222bb")), objects(t, job("a-33333333cc")+"---\n"+job("a-44444444dd")))
	if n := strings.Count(listing(found), "object-added"); n != 2 {
		t.Errorf("%d added, want 2:\n%s", n, listing(found))
	}
}

// An object is the same in whatever version of its API it is written.
func TestMatchAcrossAPIs(t *testing.T) {
	for old, new := range map[string]string{
		"extensions/v1beta1 Ingress": "networking.k8s.io/v1 Ingress", "extensions/v1beta1 Deployment": "apps/v1 Deployment",
		"extensions/v1beta1 PodSecurityPolicy": "policy/v1beta1 PodSecurityPolicy", "extensions/v1beta1 NetworkPolicy": "networking.k8s.io/v1 NetworkPolicy",
		"example.test/v1 Thing": "example.test/v2 Thing",
	} {
		object := func(s string) []Object {
			api, kind, _ := strings.Cut(s, " ")
			return objects(t, "apiVersion: "+api+"\nkind: "+kind+"\nmetadata: {name: a}\n")
		}
		found := Compare(object(old), object(new))
		if len(found) == 0 || strings.Contains(listing(found), "object-added") || !strings.Contains(listing(found), "api-version-changed") {
			t.Errorf("%s to %s:\n%s", old, new, listing(found))
		}
	}
	// One that begins to name its namespace is the same.
	found := Compare(objects(t, "apiVersion: example.test/v1\nkind: Thing\nmetadata: {name: a}\n"), objects(t, "apiVersion: example.test/v1\nkind: Thing\nmetadata: {name: a, namespace: default}\n"))
	if len(found) > 0 {
		t.Errorf("a namespace that is named: %s", listing(found))
	}
	// The same name in another group is another object.
	found = Compare(objects(t, "apiVersion: a.test/v1\nkind: Thing\nmetadata: {name: a}\n"), objects(t, "apiVersion: b.test/v1\nkind: Thing\nmetadata: {name: a}\n"))
	if !strings.Contains(listing(found), "object-removed") {
		t.Errorf("another group: %s", listing(found))
	}
}

func TestInspect(t *testing.T) {
	text := deployment("hostNetwork: true", "image: app") + "---\n" + role("ClusterRole", "- {apiGroups: ['*'], resources: ['*'], verbs: ['*']}") +
		"---\napiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: old}\n"
	got := map[string]Severity{}
	for _, f := range Inspect(objects(t, text), "1.33") {
		got[f.Rule] = f.Severity
	}
	want := map[string]Severity{"rights-widened": Critical, "pod-security": High, "image-movable": Low, "api-removed": High, "exposure": Info}
	for rule, s := range want {
		if got[rule] != s {
			t.Errorf("%s: %q, want %q", rule, got[rule], s)
		}
	}
	for _, f := range Inspect(objects(t, deployment("", "")), "1.33") {
		if f.Rule != "exposure" {
			t.Errorf("a hardened Deployment: %+v", f)
		}
	}
	if found := Inspect(objects(t, "apiVersion: batch/v1beta1\nkind: CronJob\nmetadata: {name: old}\n"), "1.24"); listing(found) !=
		"low api-deprecated CronJob/default/old: is written in batch/v1beta1, which Kubernetes 1.25 removes; its replacement is batch/v1 [ -> batch/v1beta1]\ninfo exposure chart: small: nothing runs [ -> small]\n" {
		t.Errorf("Kubernetes 1.24 serves it still: %s", listing(found))
	}
}
