package manifest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// pod is a pod that an object is, or that it makes.
type pod struct {
	object   Object
	path     string // of the spec in the object
	metadata map[string]any
	spec     map[string]any
	likely   bool // of a kind that is not Kubernetes' own: it has the form of a pod
}

// container is a container of a pod.
type container struct {
	fields map[string]any
	name   string
	path   string
	stage  string // "", init, or ephemeral
}

// templates say where Kubernetes' own kinds have their pods.
var templates = map[string][]string{
	"Pod": {}, "Deployment": {"spec", "template"}, "DaemonSet": {"spec", "template"}, "StatefulSet": {"spec", "template"},
	"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Job": {"spec", "template"},
	"CronJob": {"spec", "jobTemplate", "spec", "template"}, "PodTemplate": {"template"},
}

// kubernetesOwn reports whether a group belongs to Kubernetes itself.
func kubernetesOwn(group string) bool { return !strings.Contains(group, ".") }

// podsOf are the pods of an object. Of kinds that are not Kubernetes' own they
// are what has a list of containers.
func podsOf(o Object) []pod {
	if path, ok := templates[o.Kind]; ok && kubernetesOwn(o.Group) {
		t := table(o.Fields, path...)
		if spec := table(t, "spec"); spec != nil {
			return []pod{{object: o, path: strings.Join(append(slices.Clone(path), "spec"), "."), metadata: table(t, "metadata"), spec: spec}}
		}
		return nil
	}
	if kubernetesOwn(o.Group) || strings.HasSuffix(o.Group, ".k8s.io") && o.Kind != "ClusterTrainingRuntime" {
		return nil
	}
	var out []pod
	var find func(path string, v any, parent map[string]any, depth int)
	find = func(path string, v any, parent map[string]any, depth int) {
		if m, ok := v.(map[string]any); ok && depth < 12 {
			if looksLikeContainers(m["containers"]) {
				out = append(out, pod{object: o, path: path, metadata: table(parent, "metadata"), spec: m, likely: true})
				return
			}
			for _, k := range slices.Sorted(maps.Keys(m)) {
				find(join(path, k), m[k], m, depth+1)
			}
		}
	}
	find("spec", o.Fields["spec"], o.Fields, 0)
	return out
}

// looksLikeContainers tells a list of containers from any other list of that
// name.
func looksLikeContainers(v any) bool {
	list, _ := v.([]any)
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok || str(m, "name") == "" && str(m, "image") == "" {
			return false
		}
	}
	return len(list) > 0
}

// containers are all containers of a pod, in the order in which they start.
func (p pod) containers() []container {
	var out []container
	for _, s := range []struct{ field, stage string }{{"initContainers", "init"}, {"containers", ""}, {"ephemeralContainers", "ephemeral"}} {
		for i, e := range list(p.spec, s.field) {
			if m, ok := e.(map[string]any); ok {
				out = append(out, container{m, str(m, "name"), join(p.path, s.field) + "[" + strconv.Itoa(i) + "]", s.stage})
			}
		}
	}
	return out
}

// label names a container for people.
func (c container) label() string {
	if c.stage != "" {
		return c.stage + " container " + c.name
	}
	return "container " + c.name
}
