package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Names that Kubernetes takes: a subdomain of DNS (RFC 1123), and the label
// that a Service needs (RFC 1035).
var (
	subdomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	dnsLabel  = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
)

// Lint finds objects that Kubernetes surely refuses, or that cannot do what
// they are for: names that are none, two objects of one name, selectors that
// do not select the pods of their own template.
func Lint(objects []Object) []Finding {
	var found findings
	seen := map[string]Object{}
	for _, o := range objects {
		found.name(o)
		k := key(o)
		if first, twice := seen[k]; twice && o.Name != "" && !strings.HasSuffix(o.Name, "*") && slices.Equal(first.Hooks, o.Hooks) {
			found.add("object-twice", High, o.ID(), "is there twice: in "+first.Source+" and "+o.Source, "", "")
		}
		seen[k] = o
		found.selector(o)
	}
	return found.sorted()
}

func (f *findings) name(o Object) {
	name := strings.TrimSuffix(o.Name, "*") // of what gets a name from the cluster
	switch {
	case isRBAC(o): // takes any segment of a path
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/%") {
			f.add("object-name", High, o.ID(), "has no name that Kubernetes takes", "", "")
		}
	case name == "":
		f.add("object-name", High, o.ID(), "has no name", "", "")
	case strings.Contains(name, Masked), !kubernetesOwn(o.Group):
	case o.Kind == "Service":
		if !dnsLabel.MatchString(name) || len(name) > 63 {
			f.add("object-name", High, o.ID(), "has a name that Kubernetes refuses for a Service", "", "")
		}
	case !subdomain.MatchString(strings.TrimSuffix(name, "-")) || len(name) > 253:
		f.add("object-name", High, o.ID(), "has a name that Kubernetes refuses", "", "")
	}
}

// selector finds a selector that does not select the object's own pods.
func (f *findings) selector(o Object) {
	switch o.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet":
	default:
		return
	}
	wanted := table(o.Fields, "spec", "selector", "matchLabels")
	if o.Group != "apps" || o.Version != "v1" {
		return // older versions fill the selector in
	}
	if wanted == nil && len(list(o.Fields, "spec", "selector", "matchExpressions")) == 0 {
		f.add("selector-missing", High, o.ID(), "has no selector, and Kubernetes refuses it", "", "")
		return
	}
	labels := table(o.Fields, "spec", "template", "metadata", "labels")
	for _, k := range slices.Sorted(maps.Keys(wanted)) {
		if labels[k] != wanted[k] {
			f.add("selector-mismatch", High, o.ID(), fmt.Sprintf("selects %s=%s, which its own pods do not have, and Kubernetes refuses it", k, scalar(wanted[k])), "", "")
			return
		}
	}
}
