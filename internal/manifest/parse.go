package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Object is one Kubernetes object as it is written in a manifest.
type Object struct {
	Group     string // "" for the core group
	Version   string
	Kind      string
	Namespace string // "" for what belongs to the cluster, and where it cannot be told
	Name      string
	Source    string   // the template, as Helm's "# Source:" names it
	Line      int      // where the object begins in what the template rendered, or in the text
	Hooks     []string // Helm's, in lower case; nil for an object that is no hook
	// Fields are the whole object: maps, lists, texts, numbers (float64) and
	// truth values, as Kubernetes reads them.
	Fields map[string]any
}

// APIVersion is group and version as manifests write them.
func (o Object) APIVersion() string {
	if o.Group == "" {
		return o.Version
	}
	return o.Group + "/" + o.Version
}

// ID names an object for people: Kind/namespace/name, or Kind/name.
func (o Object) ID() string {
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// IsTest reports whether Helm makes the object only for helm test.
func (o Object) IsTest() bool {
	return len(o.Hooks) > 0 && !slices.ContainsFunc(o.Hooks, func(h string) bool { return h != "test" && h != "test-success" && h != "test-failure" })
}

// Fault is a piece of a manifest that cannot be read.
type Fault struct {
	Source string `json:"source"`
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
}

// String is the fault in one line.
func (f Fault) String() string {
	if f.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", f.Source, f.Line, f.Reason)
	}
	return f.Source + ": " + f.Reason
}

// Parse reads a text of YAML documents as Helm and Kubernetes do: YAML 1.1,
// where yes is true. Lists are unfolded, documents without content left out.
// Objects that name no namespace and belong to one get the given one. What
// cannot be read, or is over a limit, is a fault; the rest is read all the
// same. Cost: linear in the text.
func Parse(text, namespace string, lim Limits) ([]Object, []Fault) {
	p := parser{limits: lim.orDefault(), namespace: namespace}
	return p.file("manifest", text), p.faults
}

// parser reads several files under one set of limits.
type parser struct {
	limits    Limits
	namespace string
	faults    []Fault
	bytes     int
	documents int
	nodes     int
	full      bool // a limit was met, and said
}

func (p *parser) fault(source string, line int, format string, args ...any) {
	const enough = 100
	switch {
	case len(p.faults) < enough:
		p.faults = append(p.faults, Fault{source, line, oneLine(fmt.Sprintf(format, args...))})
	case len(p.faults) == enough:
		p.faults = append(p.faults, Fault{Source: source, Reason: "there are more faults, which are not listed"})
	}
}

// over says once that a limit is met.
func (p *parser) over(source string, line int, format string, args ...any) {
	if !p.full {
		p.full = true
		p.fault(source, line, format+"; the rest is not read", args...)
	}
}

// file reads the documents of one file.
func (p *parser) file(source, text string) []Object {
	var out []Object
	if p.bytes += len(text); p.bytes > p.limits.Output {
		p.over(source, 0, "the manifests are larger than %d MiB", p.limits.Output>>20)
	}
	for line := 1; len(text) > 0 && !p.full; {
		doc, rest := cutDocument(text)
		out = append(out, p.document(source, line, doc)...)
		line += strings.Count(text[:len(text)-len(rest)], "\n")
		text = rest
	}
	return out
}

// cutDocument cuts a text before the next line that begins with ---, as Helm
// does. What stands behind the dashes belongs to the next document.
func cutDocument(text string) (doc, rest string) {
	text = strings.TrimPrefix(text, "---")
	if i := strings.Index(text, "\n---"); i >= 0 {
		return text[:i+1], text[i+1:]
	}
	return text, ""
}

// sourceComment is what Helm writes above each document. A template may write
// something like it, which may name nothing.
var sourceComment = regexp.MustCompile(`\A# Source: (\S[^\n]*?)[ \t\r]*(?:\n|\z)`)

func (p *parser) document(source string, line int, doc string) []Object {
	body := strings.TrimLeft(doc, " \t\r\n")
	if body == "" {
		return nil
	}
	line += strings.Count(doc[:len(doc)-len(body)], "\n")
	if m := sourceComment.FindStringSubmatch(body); m != nil {
		source = m[1]
	}
	if p.documents++; p.documents > p.limits.Documents {
		p.over(source, line, "there are more than %d objects", p.limits.Documents)
		return nil
	}
	var v any
	if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
		p.fault(source, line, "is not valid YAML: %v", err)
		return nil
	}
	if !p.count(source, line, v, 0) || v == nil {
		return nil
	}
	fields, ok := v.(map[string]any)
	if !ok {
		p.fault(source, line, "is not an object of Kubernetes")
		return nil
	}
	return p.object(source, line, fields, 0)
}

// count holds a value to the limits.
func (p *parser) count(source string, line int, v any, depth int) bool {
	if p.nodes++; p.nodes > p.limits.Nodes {
		p.over(source, line, "the objects hold more than %d values", p.limits.Nodes)
		return false
	}
	if depth > maxNesting {
		p.fault(source, line, "is nested deeper than %d", maxNesting)
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			if !p.count(source, line, e, depth+1) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !p.count(source, line, e, depth+1) {
				return false
			}
		}
	}
	return true
}

// object reads one object, or those of a list.
func (p *parser) object(source string, line int, fields map[string]any, depth int) []Object {
	kind, api := str(fields, "kind"), str(fields, "apiVersion")
	if items, ok := fields["items"].([]any); ok && strings.HasSuffix(kind, "List") && depth < 4 {
		var out []Object
		for _, item := range items {
			m, ok := item.(map[string]any)
			if !ok {
				p.fault(source, line, "has a list with something that is no object")
				continue
			}
			if str(m, "kind") == "" && kind != "List" {
				m["kind"], m["apiVersion"] = strings.TrimSuffix(kind, "List"), api
			}
			if p.documents++; p.documents > p.limits.Documents {
				p.over(source, line, "there are more than %d objects", p.limits.Documents)
				break
			}
			out = append(out, p.object(source, line, m, depth+1)...)
		}
		return out
	}
	if kind == "" || api == "" {
		if len(fields) > 0 {
			p.fault(source, line, "has no apiVersion or no kind")
		}
		return nil
	}
	o := Object{Version: api, Kind: kind, Source: source, Line: line, Fields: fields}
	if group, version, ok := strings.Cut(api, "/"); ok {
		o.Group, o.Version = group, version
	}
	o.Name = str(fields, "metadata", "name")
	if generated := str(fields, "metadata", "generateName"); o.Name == "" && generated != "" {
		o.Name = generated + "*"
	}
	if o.Namespace = str(fields, "metadata", "namespace"); o.Namespace == "" && namespaced(o.Group, o.Kind) {
		o.Namespace = p.namespace
	}
	if clusterScoped[o.Kind] {
		o.Namespace = ""
	}
	if hooks, ok := dig(fields, "metadata", "annotations", "helm.sh/hook").(string); ok {
		o.Hooks = []string{}
		for h := range strings.SplitSeq(hooks, ",") {
			o.Hooks = append(o.Hooks, strings.ToLower(strings.TrimSpace(h)))
		}
		slices.Sort(o.Hooks)
	}
	return []Object{o}
}

// clusterScoped are the kinds of Kubernetes itself that belong to no namespace.
var clusterScoped = nameSet(`Namespace Node PersistentVolume ClusterRole ClusterRoleBinding CustomResourceDefinition
	APIService MutatingWebhookConfiguration ValidatingWebhookConfiguration ValidatingAdmissionPolicy
	ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding PodSecurityPolicy
	PriorityClass StorageClass CSIDriver CSINode VolumeAttachment VolumeAttributesClass VolumeSnapshotClass IngressClass
	RuntimeClass FlowSchema PriorityLevelConfiguration CertificateSigningRequest ClusterTrustBundle GatewayClass
	SecurityContextConstraints DeviceClass ResourceSlice ServiceCIDR IPAddress`)

// namespaced reports whether a kind of Kubernetes itself, or of the Gateway
// API, belongs to a namespace. Of others it cannot be told.
func namespaced(group, kind string) bool {
	if clusterScoped[kind] {
		return false
	}
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// dig follows names through maps; nil where one is missing.
func dig(m map[string]any, path ...string) any {
	var v any = m
	for _, name := range path {
		next, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = next[name]
	}
	return v
}

// str is the text at a path, or "".
func str(m map[string]any, path ...string) string {
	s, _ := dig(m, path...).(string)
	return s
}

// table is the map at a path, or nil.
func table(m map[string]any, path ...string) map[string]any {
	t, _ := dig(m, path...).(map[string]any)
	return t
}

// list is the list at a path, or nil.
func list(m map[string]any, path ...string) []any {
	l, _ := dig(m, path...).([]any)
	return l
}

// tables are the maps in the list at a path.
func tables(m map[string]any, path ...string) []map[string]any {
	var out []map[string]any
	for _, e := range list(m, path...) {
		if t, ok := e.(map[string]any); ok {
			out = append(out, t)
		}
	}
	return out
}

// stringsAt are the texts in the list at a path.
func stringsAt(m map[string]any, path ...string) []string {
	var out []string
	for _, e := range list(m, path...) {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// truth is the truth value at a path, and whether there is one.
func truth(m map[string]any, path ...string) (value, set bool) {
	value, set = dig(m, path...).(bool)
	return value, set
}

// scalar is a value as manifests write it.
func scalar(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return fmt.Sprint(v)
}
