package manifest

import (
	"slices"
	"strings"
	"testing"
)

// Every rule of the Pod Security Standards: a pod that breaks it, and one that
// nearly does. e2e/podsecurity holds the reader against Kubernetes' own
// evaluator and fixtures.
func TestPodSecurity(t *testing.T) {
	const context = "securityContext: "
	hardened := "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}"
	tested := map[string]bool{}
	for _, c := range []struct {
		rule                   string // level and rule
		pod, container         string
		nearPod, nearContainer string
	}{
		{"baseline host-process", "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, windowsOptions: {hostProcess: true}}", "", "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, windowsOptions: {hostProcess: false}}", ""},
		{"baseline host-namespaces", "hostIPC: true", "", "hostIPC: false", ""},
		{"baseline privileged", "", context + hardened + ", privileged: true}", "", context + hardened + ", privileged: false}"},
		{"baseline capabilities", "", context + "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_RAW]}}", "", context + "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}"},
		{"baseline host-path", "volumes: [{name: a, hostPath: {path: /}}]", "", "volumes: [{name: a, emptyDir: {}}]", ""},
		{"baseline host-port", "", "ports: [{containerPort: 80, hostPort: 80}]", "", "ports: [{containerPort: 80, hostPort: 0}]"},
		{"baseline host-probe", "", "livenessProbe: {httpGet: {host: 10.0.0.1, port: 80}}", "", "livenessProbe: {httpGet: {port: 80}}"},
		{"baseline apparmor", "", context + hardened + ", appArmorProfile: {type: Unconfined}}", "", context + hardened + ", appArmorProfile: {type: Localhost, localhostProfile: a}}"},
		{"baseline selinux", "", context + hardened + ", seLinuxOptions: {type: spc_t}}", "", context + hardened + ", seLinuxOptions: {type: container_t, level: 's0'}}"},
		{"baseline proc-mount", "", context + hardened + ", procMount: Unmasked}", "", context + hardened + ", procMount: Default}"},
		{"baseline seccomp", "", context + hardened + ", seccompProfile: {type: Unconfined}}", "", context + hardened + ", seccompProfile: {type: Localhost}}"},
		{"baseline sysctls", "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, sysctls: [{name: kernel.msgmax, value: '1'}]}", "", "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}", ""},
		{"restricted volume-types", "volumes: [{name: a, nfs: {server: a, path: /}}]", "", "volumes: [{name: a}, {name: b, secret: {secretName: c}}]", ""},
		{"restricted proc-mount", "hostUsers: false", context + hardened + ", procMount: Unmasked}", "hostUsers: false", context + hardened + "}"},
		{"restricted privilege-escalation", "", context + "{capabilities: {drop: [ALL]}}", "os: {name: windows}", context + "{capabilities: {drop: [ALL]}}"},
		{"restricted run-as-non-root", "securityContext: {seccompProfile: {type: RuntimeDefault}}", "", "securityContext: {seccompProfile: {type: RuntimeDefault}}\nhostUsers: false", ""},
		{"restricted run-as-user", "", context + hardened + ", runAsUser: 0}", "", context + hardened + ", runAsUser: 1}"},
		{"restricted seccomp", "securityContext: {runAsNonRoot: true}", "", "securityContext: {runAsNonRoot: true}", context + hardened + ", seccompProfile: {type: RuntimeDefault}}"},
		{"restricted capabilities", "", context + "{allowPrivilegeEscalation: false, capabilities: {drop: [NET_RAW]}}", "", context + "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL, CHOWN]}}"},
	} {
		tested[c.rule] = true
		level, broken := PodSecurity(objects(t, deployment(c.pod, c.container)))
		if !slices.ContainsFunc(broken, func(v Violation) bool { return string(v.Level)+" "+v.Rule == c.rule }) || level == Restricted {
			t.Errorf("%s is not found among %+v, %s", c.rule, broken, level)
		}
		if level, broken := PodSecurity(objects(t, deployment(c.nearPod, c.nearContainer))); level != Restricted {
			t.Errorf("near %s: keeps to %s by %+v", c.rule, level, broken)
		}
	}
	for _, c := range checks {
		if rule := string(c.level) + " " + c.rule; !tested[rule] {
			t.Errorf("no test of %s", rule)
		}
	}
	annotated := strings.Replace(deployment("", ""), "metadata: {labels: {app: web}}", "metadata: {labels: {app: web}, annotations: {container.apparmor.security.beta.kubernetes.io/app: unconfined}}", 1)
	if level, _ := PodSecurity(objects(t, annotated)); level != Privileged {
		t.Errorf("an annotation that switches AppArmor off keeps to %s", level)
	}
}
