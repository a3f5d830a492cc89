package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// fieldRule says what it means that a field of an object changes.
type fieldRule struct {
	kinds string // "" for all
	path  *regexp.Regexp
	// judge returns no rule for a change that means nothing.
	judge func(c change) (rule string, s Severity, message string)
}

// silent are changes of which other rules speak.
func silent(change) (string, Severity, string) { return "", "", "" }

func immutable(what string) func(change) (string, Severity, string) {
	return func(c change) (string, Severity, string) {
		return "immutable-field", High, what + " cannot be changed, and Kubernetes refuses the upgrade: " + c.path
	}
}

// unlessDefault is for fields that Kubernetes fills in: to write the default is
// no change.
func unlessDefault(value string, judge func(change) (string, Severity, string)) func(change) (string, Severity, string) {
	return func(c change) (string, Severity, string) {
		if orElse(scalar(c.old), value) == orElse(scalar(c.new), value) {
			return "object-changed", Info, c.path
		}
		return judge(c)
	}
}

func plain(rule string, s Severity, message string) func(change) (string, Severity, string) {
	return func(change) (string, Severity, string) { return rule, s, message }
}

// fieldRules are tried in order; the first that fits speaks.
var fieldRules = []fieldRule{
	{"", regexp.MustCompile(`^(apiVersion|kind|metadata\.(name|namespace|annotations\[helm\.sh/hook\]))$`), silent},
	{"", regexp.MustCompile(`^metadata\.annotations\[helm\.sh/resource-policy\]$`), func(c change) (string, Severity, string) {
		if c.old == "keep" {
			return "keep-lost", High, "is no longer kept when it leaves the chart or the chart is removed"
		}
		return "object-changed", Info, "metadata.annotations[helm.sh/resource-policy]"
	}},

	{"StatefulSet", regexp.MustCompile(`^spec\.podManagementPolicy$`), unlessDefault("OrderedReady", immutable("a field of a StatefulSet"))},
	{"StatefulSet", regexp.MustCompile(`^spec\.(selector|serviceName|volumeClaimTemplates)`), immutable("a field of a StatefulSet")},
	{"Deployment DaemonSet ReplicaSet", regexp.MustCompile(`^spec\.selector`), immutable("the selector")},
	{"Job", regexp.MustCompile(`^spec\.completionMode$`), unlessDefault("NonIndexed", immutable("a field of a Job"))},
	{"Job", regexp.MustCompile(`^spec\.completions$`), unlessDefault("1", immutable("a field of a Job"))},
	{"Job", regexp.MustCompile(`^spec\.(selector|template|podFailurePolicy|successPolicy|backoffLimitPerIndex|managedBy)`), immutable("the template of a Job")},
	{"PersistentVolumeClaim", regexp.MustCompile(`^spec\.resources\.requests`), func(c change) (string, Severity, string) {
		if smaller(scalar(c.new), scalar(c.old)) {
			return "immutable-field", High, "a volume cannot shrink, and Kubernetes refuses the upgrade: " + c.path
		}
		return "volume-size", Info, "asks for another size"
	}},
	{"PersistentVolumeClaim", regexp.MustCompile(`^spec\.(accessModes|selector|storageClassName|volumeMode|volumeName|dataSource)`), immutable("a field of a volume claim")},
	{"PersistentVolume", regexp.MustCompile(`^spec\.(csi|nfs|hostPath|local|iscsi|fc|cephfs|rbd|glusterfs|volumeMode)`), immutable("what a volume is")},
	{"Service", regexp.MustCompile(`^spec\.clusterIP$`), func(c change) (string, Severity, string) {
		switch {
		case c.old == "None" || c.new == "None":
			return "immutable-field", High, "a Service cannot become headless, or cease to be, and Kubernetes refuses the upgrade: " + c.path
		case c.new != nil:
			return "immutable-field", High, "the address of a Service cannot be changed, and Kubernetes refuses the upgrade: " + c.path
		}
		return "object-changed", Info, c.path // the address that it has stays
	}},
	{"RoleBinding ClusterRoleBinding", regexp.MustCompile(`^roleRef`), immutable("the role of a binding")},
	{"StorageClass", regexp.MustCompile(`^(provisioner|parameters|reclaimPolicy|volumeBindingMode)`), immutable("a field of a StorageClass")},
	{"PriorityClass", regexp.MustCompile(`^value$`), immutable("the value")},
	{"PriorityClass", regexp.MustCompile(`^preemptionPolicy$`), unlessDefault("PreemptLowerPriority", immutable("the policy of a PriorityClass"))},
	{"RuntimeClass", regexp.MustCompile(`^handler$`), immutable("the handler")},
	{"CSIDriver", regexp.MustCompile(`^spec\.(attachRequired|volumeLifecycleModes)`), immutable("a field of a CSIDriver")},
	{"Secret ConfigMap", regexp.MustCompile(`^immutable$`), func(c change) (string, Severity, string) {
		if c.old == true {
			return "immutable-field", High, "what is immutable stays so, and Kubernetes refuses the upgrade: " + c.path
		}
		return "object-changed", Info, c.path
	}},
	{"IngressClass", regexp.MustCompile(`^spec\.controller$`), immutable("the controller")},
	{"Secret", regexp.MustCompile(`^type$`), immutable("the type of a Secret")},
	{"Role ClusterRole RoleBinding ClusterRoleBinding", regexp.MustCompile(`^(rules|subjects|metadata\.labels)`), silent},
	{"CustomResourceDefinition", regexp.MustCompile(`^spec\.`), silent},

	{"", regexp.MustCompile(`\.(containers|initContainers)\[[^\]]*\]$`), containerChange},
	{"", regexp.MustCompile(`(ontainers\[[^\]]*\]\.image$|serviceAccountName$|serviceAccount$|automountServiceAccountToken$)`), silent},
	{"", regexp.MustCompile(`ontainers\[[^\]]*\]\.(liveness|readiness|startup)Probe$`), func(c change) (string, Severity, string) {
		if c.new == nil {
			return "probe-dropped", Low, "has no probe any more: " + c.path
		}
		return "object-changed", Info, c.path
	}},
	{"", regexp.MustCompile(`ontainers\[[^\]]*\]\.resources(\.limits(\..*)?)?$`), func(c change) (string, Severity, string) {
		if c.new == nil {
			return "limits-dropped", Low, "has no limit any more: " + c.path
		}
		return "object-changed", Info, c.path
	}},
	{"", regexp.MustCompile(`ecurityContext\.readOnlyRootFilesystem$`), func(c change) (string, Severity, string) {
		if c.old == true {
			return "hardening-lost", Low, "may write to its own root file system now"
		}
		return "object-changed", Info, c.path
	}},
	{"Deployment StatefulSet ReplicaSet", regexp.MustCompile(`^spec\.replicas$`), replicas},
	{"PodDisruptionBudget", regexp.MustCompile(`^spec\.`), plain("disruption-budget", Low, "protects its pods otherwise when nodes are drained")},
	{"NetworkPolicy", regexp.MustCompile(`^spec`), plain("network-policy-changed", Medium, "holds back other traffic")},
	{"Ingress", regexp.MustCompile(`^spec\.tls$`), func(c change) (string, Severity, string) {
		if c.new == nil {
			return "tls-dropped", Medium, "has no TLS any more"
		}
		return "object-changed", Info, c.path
	}},
	{"MutatingWebhookConfiguration ValidatingWebhookConfiguration", regexp.MustCompile(`^webhooks`), plain("admission-webhook", Low, "is asked about other objects, or answered for otherwise")},
	{"ServiceAccount", regexp.MustCompile(`^metadata\.annotations\[(eks\.amazonaws\.com/role-arn|iam\.gke\.io/gcp-service-account|azure\.workload\.identity/client-id)\]$`), plain("cloud-identity", High, "acts as another identity of the cloud")},
	{"Namespace", regexp.MustCompile(`^metadata\.labels\[pod-security\.kubernetes\.io/enforce\]$`), func(c change) (string, Severity, string) {
		if PodLevel(scalar(c.new)).rank() < PodLevel(scalar(c.old)).rank() || c.new == nil {
			return "namespace-relaxed", High, "lets in pods of a lower level of the Pod Security Standards"
		}
		return "object-changed", Info, c.path
	}},
}

func containerChange(c change) (string, Severity, string) {
	m, _ := c.new.(map[string]any)
	if m == nil {
		m, _ = c.old.(map[string]any)
		return "container-removed", Info, "runs no more: container " + str(m, "name") + " with " + str(m, "image")
	}
	return "container-added", Low, "runs another container: " + str(m, "name") + " with " + str(m, "image")
}

func replicas(c change) (string, Severity, string) {
	o, n := scalar(c.old), scalar(c.new)
	switch {
	case n == "0":
		return "replicas-changed", Medium, "runs no pod any more"
	case smaller(orElse(n, "1"), orElse(o, "1")):
		return "replicas-changed", Low, "runs fewer pods"
	}
	return "replicas-changed", Info, "runs another number of pods"
}

var quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([EPTGMk]?i?)$`)

// smaller compares quantities such as 8Gi. It is false where it cannot tell.
func smaller(a, b string) bool {
	x, okX := amount(a)
	y, okY := amount(b)
	return okX && okY && x < y
}

func amount(s string) (float64, bool) {
	m := quantity.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	step := 1000.0
	if strings.HasSuffix(m[2], "i") {
		step = 1024
	}
	if m[2] != "" {
		for range strings.Index("kMGTPE", m[2][:1]) + 1 {
			n *= step
		}
	}
	return n, err == nil
}

// fields says what changed in an object, field by field. What no rule knows is
// told in one finding, so that no change goes untold.
func (c *comparer) fields(old, new Object, changes []change) {
	id := new.ID()
	var rest, keys []string
	frozen, _ := truth(old.Fields, "immutable")
	for _, d := range changes {
		if data := dataKey(old, d.path); data != "" {
			keys = append(keys, data)
			continue
		}
		rule, severity, message := judge(old, new, d)
		switch rule {
		case "":
		case "object-changed":
			rest = append(rest, d.path)
		default:
			c.found.add(rule, severity, id, message, shown(d.path, d.old), shown(d.path, d.new))
		}
	}
	if len(keys) > 0 && frozen {
		c.found.add("immutable-field", High, id, "the data of an immutable "+new.Kind+" cannot be changed, and Kubernetes refuses the upgrade", "", "")
	}
	if len(keys) > 0 {
		c.found.add("data-changed", Info, id, "holds other data: "+enumerate(keys, 8), "", "")
	}
	if len(rest) > 0 {
		c.found.add("object-changed", Info, id, "differs in "+enumerate(rest, 8), "", "")
	}
}

func judge(old, new Object, d change) (string, Severity, string) {
	for _, r := range fieldRules {
		if (r.kinds == "" || slices.Contains(strings.Fields(r.kinds), new.Kind)) && r.path.MatchString(d.path) {
			rule, severity, message := r.judge(d)
			// Helm deletes the object of a hook before it makes the next.
			if rule == "immutable-field" && len(old.Hooks) > 0 {
				continue
			}
			return rule, severity, message
		}
	}
	return "object-changed", Info, d.path
}

// dataKey is the key of a Secret or ConfigMap that a path names, or "".
func dataKey(o Object, path string) string {
	if o.Group == "" && (o.Kind == "Secret" || o.Kind == "ConfigMap") {
		for _, field := range []string{"data", "stringData", "binaryData"} {
			if rest, ok := strings.CutPrefix(path, field); ok {
				return orElse(strings.Trim(rest, ".[]"), field)
			}
		}
	}
	return ""
}

// shown is a value for a finding: short, and never one of a secret.
func shown(path string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		return fmt.Sprintf("{%s}", enumerate(slices.Sorted(maps.Keys(v)), 6))
	case []any:
		return fmt.Sprintf("[%d]", len(v))
	}
	for name := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		if isSecretName(name) {
			return ""
		}
	}
	if text := scalar(v); !urlCredential.MatchString(text) {
		return text
	}
	return ""
}

// definition compares two states of a custom resource's definition.
func (c *comparer) definition(old, new Object, changes []change) {
	was, is := crdVersions(old), crdVersions(new)
	id := new.ID()
	for _, name := range slices.Sorted(maps.Keys(was)) {
		o, n := was[name], is[name]
		switch {
		case o.served && !n.served:
			c.found.add("crd-version-removed", High, id, "objects of version "+name+" can no longer be read or written", name, "")
		case o.stored && !n.stored:
			c.found.add("crd-storage-version", Medium, id, "objects are stored in another version; those stored before stay as they are until somebody migrates them", name, "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if !was[name].served && is[name].served {
			c.found.add("crd-version-added", Info, id, "has a new version", "", name)
		}
	}
	if o, n := str(old.Fields, "spec", "scope"), str(new.Fields, "spec", "scope"); o != n {
		c.found.add("immutable-field", High, id, "the scope of a kind cannot be changed", o, n)
	}
	if len(changes) > 0 {
		narrower := 0
		for _, d := range changes {
			if d.new == nil && strings.Contains(d.path, "properties") || strings.HasSuffix(d.path, "required") {
				narrower++
			}
		}
		severity, message := Info, "accepts other objects"
		if narrower > 0 {
			severity, message = Medium, fmt.Sprintf("accepts objects otherwise: %d fields are gone, or what is required changed", narrower)
		}
		c.found.add("crd-changed", severity, id, message, "", "")
	}
}

type crdVersion struct{ served, stored bool }

func crdVersions(o Object) map[string]crdVersion {
	out := map[string]crdVersion{}
	for _, v := range tables(o.Fields, "spec", "versions") {
		served, _ := truth(v, "served")
		stored, _ := truth(v, "storage")
		out[str(v, "name")] = crdVersion{served, stored}
	}
	// As apiextensions.k8s.io/v1beta1 wrote it.
	if v := str(o.Fields, "spec", "version"); v != "" && len(out) == 0 {
		out[v] = crdVersion{true, true}
	}
	return out
}
