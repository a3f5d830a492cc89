package manifest

import (
	"maps"
	"slices"
	"strings"
)

// PodLevel is a level of the Pod Security Standards.
type PodLevel string

// The levels, from the strictest: what the objects keep to.
const (
	Restricted PodLevel = "restricted"
	Baseline   PodLevel = "baseline"
	Privileged PodLevel = "privileged"
)

func (l PodLevel) rank() int { return slices.Index([]PodLevel{Privileged, Baseline, Restricted}, l) }

// Violation is a rule of the Pod Security Standards that a pod breaks.
type Violation struct {
	Level     PodLevel `json:"level"`               // the level that the pod loses: Baseline or Restricted
	Rule      string   `json:"rule"`                // such as host-path or run-as-non-root
	Object    string   `json:"object"`              // the object's ID
	Container string   `json:"container,omitempty"` // "" where the rule is about the pod
	Value     string   `json:"value,omitempty"`     // what breaks it, such as NET_ADMIN; "" where something is missing
}

// PodSecurity returns the strictest level that all pods of the objects keep to,
// and every rule that is broken, in the order of the objects. Pods of kinds
// that are not Kubernetes' own count when they have the form of a pod.
func PodSecurity(objects []Object) (PodLevel, []Violation) {
	var out []Violation
	for _, o := range objects {
		for _, p := range podsOf(o) {
			out = append(out, p.violations()...)
		}
	}
	return levelOf(out), out
}

func levelOf(violations []Violation) PodLevel {
	level := Restricted
	for _, v := range violations {
		if v.Level == Baseline {
			return Privileged
		}
		level = Baseline
	}
	return level
}

// check is one rule. It calls broken with the container, "" for the pod, and
// the value that breaks it.
type check struct {
	level PodLevel
	rule  string
	run   func(p pod, broken func(container, value string))
}

// checks are the Pod Security Standards, newest version.
var checks = []check{
	{Baseline, "host-process", eachContext(func(c map[string]any) string { return truthAt(c, "windowsOptions", "hostProcess") })},
	{Baseline, "host-namespaces", func(p pod, broken func(c, v string)) {
		for _, f := range []string{"hostNetwork", "hostPID", "hostIPC"} {
			if on, _ := truth(p.spec, f); on {
				broken("", f)
			}
		}
	}},
	{Baseline, "privileged", eachContainer(func(c map[string]any) []string { return some(truthAt(c, "securityContext", "privileged")) })},
	{Baseline, "capabilities", eachContainer(func(c map[string]any) []string {
		return without(stringsAt(c, "securityContext", "capabilities", "add"), defaultCapabilities)
	})},
	{Baseline, "host-path", func(p pod, broken func(c, v string)) {
		for _, v := range tables(p.spec, "volumes") {
			if v["hostPath"] != nil {
				broken("", orElse(str(v, "hostPath", "path"), "hostPath"))
			}
		}
	}},
	{Baseline, "host-port", eachContainer(func(c map[string]any) (out []string) {
		for _, port := range tables(c, "ports") {
			if n, ok := port["hostPort"].(float64); ok && n != 0 {
				out = append(out, scalar(n))
			}
		}
		return out
	})},
	{Baseline, "host-probe", eachContainer(probeHosts)},
	{Baseline, "apparmor", appArmor},
	{Baseline, "selinux", eachContext(func(c map[string]any) string {
		o := table(c, "seLinuxOptions")
		switch {
		case !slices.Contains([]string{"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}, str(o, "type")):
			return str(o, "type")
		case str(o, "user") != "":
			return "user " + str(o, "user")
		case str(o, "role") != "":
			return "role " + str(o, "role")
		}
		return ""
	})},
	{Baseline, "proc-mount", func(p pod, broken func(c, v string)) {
		if !p.userNamespace() {
			eachContainer(procMount)(p, broken)
		}
	}},
	{Baseline, "seccomp", eachContext(func(c map[string]any) string {
		if t := table(c, "seccompProfile"); t != nil && !safeProfile(str(t, "type")) {
			return orElse(str(t, "type"), "without a type")
		}
		return ""
	})},
	{Baseline, "sysctls", func(p pod, broken func(c, v string)) {
		for _, s := range tables(p.spec, "securityContext", "sysctls") {
			if !safeSysctls[str(s, "name")] {
				broken("", str(s, "name"))
			}
		}
	}},

	{Restricted, "volume-types", func(p pod, broken func(c, v string)) {
		for _, v := range tables(p.spec, "volumes") {
			for _, kind := range slices.Sorted(maps.Keys(v)) {
				if kind != "name" && v[kind] != nil && !safeVolumes[kind] {
					broken("", kind)
				}
			}
		}
	}},
	{Restricted, "proc-mount", eachContainer(procMount)},
	{Restricted, "privilege-escalation", func(p pod, broken func(c, v string)) {
		for _, c := range p.linuxContainers() {
			if on, set := truth(c.fields, "securityContext", "allowPrivilegeEscalation"); on || !set {
				broken(c.name, "")
			}
		}
	}},
	{Restricted, "run-as-non-root", func(p pod, broken func(c, v string)) {
		always, set := truth(p.spec, "securityContext", "runAsNonRoot")
		if p.userNamespace() {
			return
		}
		if set && !always {
			broken("", "false")
		}
		for _, c := range p.containers() {
			if on, own := truth(c.fields, "securityContext", "runAsNonRoot"); own && !on || !own && !always {
				broken(c.name, "")
			}
		}
	}},
	{Restricted, "run-as-user", func(p pod, broken func(c, v string)) {
		if !p.userNamespace() {
			eachContext(func(c map[string]any) string {
				if n, ok := c["runAsUser"].(float64); ok && n == 0 {
					return "0"
				}
				return ""
			})(p, broken)
		}
	}},
	{Restricted, "seccomp", func(p pod, broken func(c, v string)) {
		ofPod := str(p.spec, "securityContext", "seccompProfile", "type")
		for _, c := range p.linuxContainers() {
			if own := table(c.fields, "securityContext", "seccompProfile"); own == nil && !safeProfile(ofPod) || own != nil && !safeProfile(str(own, "type")) {
				broken(c.name, "")
			}
		}
	}},
	{Restricted, "capabilities", func(p pod, broken func(c, v string)) {
		for _, c := range p.linuxContainers() {
			if !slices.Contains(stringsAt(c.fields, "securityContext", "capabilities", "drop"), "ALL") {
				broken(c.name, "drop")
			}
			for _, add := range stringsAt(c.fields, "securityContext", "capabilities", "add") {
				if add != "NET_BIND_SERVICE" {
					broken(c.name, add)
				}
			}
		}
	}},
}

var (
	defaultCapabilities = nameSet(`AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT`)
	safeSysctls         = nameSet(`kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.tcp_syncookies net.ipv4.ping_group_range
	net.ipv4.ip_unprivileged_port_start net.ipv4.ip_local_reserved_ports net.ipv4.tcp_keepalive_time net.ipv4.tcp_fin_timeout
	net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes net.ipv4.tcp_rmem net.ipv4.tcp_wmem
	net.ipv4.tcp_slow_start_after_idle net.ipv4.tcp_notsent_lowat`)
	safeVolumes = nameSet("configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret")
)

func safeProfile(t string) bool { return t == "RuntimeDefault" || t == "Localhost" }

// violations runs all checks over a pod.
func (p pod) violations() []Violation {
	var out []Violation
	for _, c := range checks {
		c.run(p, func(container, value string) {
			out = append(out, Violation{Level: c.level, Rule: c.rule, Object: p.object.ID(), Container: container, Value: value})
		})
	}
	return out
}

// userNamespace reports whether root in the pod is not root of the node.
func (p pod) userNamespace() bool {
	host, set := truth(p.spec, "hostUsers")
	return set && !host
}

// linuxContainers are the containers that rules of Linux alone are about.
func (p pod) linuxContainers() []container {
	if str(p.spec, "os", "name") == "windows" {
		return nil
	}
	return p.containers()
}

// eachContainer makes a check of what says which values of a container break
// the rule.
func eachContainer(f func(map[string]any) []string) func(pod, func(c, v string)) {
	return func(p pod, broken func(c, v string)) {
		for _, c := range p.containers() {
			for _, v := range f(c.fields) {
				broken(c.name, v)
			}
		}
	}
}

// eachContext makes a check of what judges a security context: that of the pod,
// and those of its containers.
func eachContext(f func(map[string]any) string) func(pod, func(c, v string)) {
	return func(p pod, broken func(c, v string)) {
		if v := f(table(p.spec, "securityContext")); v != "" {
			broken("", v)
		}
		for _, c := range p.containers() {
			if v := f(table(c.fields, "securityContext")); v != "" {
				broken(c.name, v)
			}
		}
	}
}

func probeHosts(c map[string]any) (out []string) {
	handlers := []map[string]any{table(c, "lifecycle", "postStart"), table(c, "lifecycle", "preStop")}
	for _, p := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		handlers = append(handlers, table(c, p))
	}
	for _, h := range handlers {
		out = append(out, some(str(h, "httpGet", "host"))...)
		out = append(out, some(str(h, "tcpSocket", "host"))...)
	}
	return out
}

func procMount(c map[string]any) []string {
	if m := str(c, "securityContext", "procMount"); m != "Default" {
		return some(m)
	}
	return nil
}

func appArmor(p pod, broken func(c, v string)) {
	const key = "container.apparmor.security.beta.kubernetes.io/"
	annotations := table(p.metadata, "annotations")
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		v, _ := annotations[k].(string)
		if name, ok := strings.CutPrefix(k, key); ok && v != "" && v != "runtime/default" && !strings.HasPrefix(v, "localhost/") {
			broken(name, v)
		}
	}
	eachContext(func(c map[string]any) string {
		if t := table(c, "appArmorProfile"); t != nil && !safeProfile(str(t, "type")) {
			return orElse(str(t, "type"), "without a type")
		}
		return ""
	})(p, broken)
}

// truthAt is "true" where the truth value at a path is true.
func truthAt(m map[string]any, path ...string) string {
	if on, _ := truth(m, path...); on {
		return "true"
	}
	return ""
}

// some is the text as a list, or nil for none.
func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// without are the values that are not in a set.
func without(values []string, set map[string]bool) (out []string) {
	for _, v := range values {
		if !set[v] {
			out = append(out, v)
		}
	}
	return out
}
