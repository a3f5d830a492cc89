package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Rule is one rule of a Role or ClusterRole, as it is written. A star stands
// for everything.
type Rule struct {
	Verbs     []string
	Groups    []string // of the API; "" is the core group
	Resources []string
	Names     []string // of objects; none means all
	URLs      []string // that are no resources
}

// Right is what a role of the objects allows, to whom and where.
type Right struct {
	Role     string   // the ID of the role; of one that is not among the objects, Kind/name
	Cluster  bool     // in the whole cluster, else in the namespace of the role or its bindings
	Bound    bool     // a binding of the objects names it
	Subjects []string // "ServiceAccount/namespace/name", "Group/name", sorted; none when no object binds it
	Rules    []Rule   // nil for a role that is not among the objects
	// Aggregated are the roles of the cluster that the rules are added to, such
	// as view.
	Aggregated []string
}

// maxRights bounds the combinations of one role that are compared one by one.
const maxRights = 20_000

// Rights are what the roles among the objects allow and what their bindings
// bind, in the order of their names.
func Rights(objects []Object) []Right {
	byRole := map[string]*Right{}
	var order []string
	role := func(id string) *Right {
		if byRole[id] == nil {
			byRole[id] = &Right{Role: id}
			order = append(order, id)
		}
		return byRole[id]
	}
	for _, o := range objects {
		if !isRBAC(o) || o.Kind != "Role" && o.Kind != "ClusterRole" {
			continue
		}
		r := role(o.ID())
		r.Rules = append([]Rule{}, rulesOf(o)...)
		for label, on := range table(o.Fields, "metadata", "labels") {
			if to, ok := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-"); ok && scalar(on) == "true" {
				r.Aggregated = append(r.Aggregated, to)
			}
		}
		slices.Sort(r.Aggregated)
		// A ClusterRole that nobody here binds may be bound anywhere.
		r.Cluster = o.Kind == "ClusterRole"
	}
	everywhere := map[string]bool{}
	for _, o := range objects {
		if !isRBAC(o) || o.Kind != "RoleBinding" && o.Kind != "ClusterRoleBinding" {
			continue
		}
		kind, name := str(o.Fields, "roleRef", "kind"), str(o.Fields, "roleRef", "name")
		id := kind + "/" + name
		if kind == "Role" {
			id = kind + "/" + o.Namespace + "/" + name
		}
		r := role(id)
		r.Bound = true
		everywhere[id] = everywhere[id] || o.Kind == "ClusterRoleBinding"
		for _, s := range subjectsOf(o) {
			if !slices.Contains(r.Subjects, s) {
				r.Subjects = append(r.Subjects, s)
			}
		}
		slices.Sort(r.Subjects)
	}
	var out []Right
	for _, id := range order {
		r := byRole[id]
		if r.Bound {
			r.Cluster = everywhere[id] || len(r.Aggregated) > 0
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Right) int { return strings.Compare(a.Role, b.Role) })
	return out
}

func isRBAC(o Object) bool { return o.Group == "rbac.authorization.k8s.io" }

func rulesOf(o Object) []Rule {
	var out []Rule
	for _, r := range tables(o.Fields, "rules") {
		out = append(out, Rule{
			Verbs: stringsAt(r, "verbs"), Groups: stringsAt(r, "apiGroups"), Resources: stringsAt(r, "resources"),
			Names: stringsAt(r, "resourceNames"), URLs: stringsAt(r, "nonResourceURLs"),
		})
	}
	return out
}

func subjectsOf(o Object) []string {
	var out []string
	for _, s := range tables(o.Fields, "subjects") {
		id := str(s, "kind") + "/" + str(s, "name")
		if str(s, "kind") == "ServiceAccount" {
			id = "ServiceAccount/" + orElse(str(s, "namespace"), o.Namespace) + "/" + str(s, "name")
		}
		out = append(out, id)
	}
	return out
}

// right is one thing that may be done: one verb on one resource, or URL.
type right struct{ verb, group, resource, name, url string }

// apart takes rules apart into single rights. It is false when there are too
// many.
func apart(rules []Rule) ([]right, bool) {
	var out []right
	for _, r := range rules {
		names := r.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, f := range [][]string{r.Groups, r.Resources, names, r.Verbs, r.URLs} {
			if len(f) > maxRights {
				return nil, false
			}
		}
		if len(r.Verbs)*(len(r.Groups)*len(r.Resources)*len(names)+len(r.URLs)) > maxRights-len(out) ||
			len(r.Groups)*len(r.Resources) > maxRights {
			return nil, false
		}
		for _, v := range r.Verbs {
			for _, u := range r.URLs {
				out = append(out, right{verb: v, url: u})
			}
			for _, g := range r.Groups {
				for _, res := range r.Resources {
					for _, n := range names {
						out = append(out, right{verb: v, group: g, resource: res, name: n})
					}
				}
			}
		}
	}
	return out, true
}

// allows reports whether a rule allows a right, as Kubernetes decides it.
func (r Rule) allows(x right) bool {
	if !hasOrStar(r.Verbs, x.verb) {
		return false
	}
	if x.url != "" {
		return slices.ContainsFunc(r.URLs, func(u string) bool {
			prefix, star := strings.CutSuffix(u, "*")
			return u == x.url || star && strings.HasPrefix(x.url, prefix)
		})
	}
	if !hasOrStar(r.Groups, x.group) {
		return false
	}
	if len(r.Names) > 0 && !slices.Contains(r.Names, x.name) {
		return false
	}
	_, sub, _ := strings.Cut(x.resource, "/")
	return hasOrStar(r.Resources, x.resource) || sub != "" && slices.Contains(r.Resources, "*/"+sub)
}

func hasOrStar(list []string, s string) bool {
	return slices.Contains(list, s) || slices.Contains(list, "*")
}

// beyond are the rights of the new rules that none of the old ones allow. It is
// false when there are too many to tell.
func beyond(old, new []Rule) ([]right, bool) {
	rights, ok := apart(new)
	if !ok || len(rights)*max(len(old), 1) > 200*maxRights {
		return nil, false
	}
	var out []right
	for _, x := range rights {
		if !slices.ContainsFunc(old, func(r Rule) bool { return r.allows(x) }) && !slices.Contains(out, x) {
			out = append(out, x)
		}
		if len(out) > 500 {
			return nil, false
		}
	}
	return out, true
}

// danger says how bad it is when somebody gets a right: in a namespace it is one
// step less than in the whole cluster.
func (x right) danger(cluster bool) Severity {
	write := !slices.Contains([]string{"get", "list", "watch"}, x.verb)
	s := Medium
	switch {
	case x.url != "":
		if s = Low; write || strings.HasPrefix(x.url, "*") || x.url == "/*" {
			s = High
		}
		return s
	case x.leadsOn(write):
		s = Critical
	case write && x.name == "":
		s = High
	case !write && x.name != "":
		s = Low
	}
	if !cluster {
		s = s.lower()
	}
	return s
}

// leadsOn reports whether a right leads to all others: to credentials, into
// running pods, or to rights themselves.
func (x right) leadsOn(write bool) bool {
	switch {
	case x.name != "":
		return false
	case slices.Contains([]string{"escalate", "bind", "impersonate"}, x.verb):
		return true
	case x.group == "*":
		return write || x.resource == "*"
	case x.group != "" && !kubernetesOwn(x.group) && !strings.HasSuffix(x.group, ".k8s.io"):
		return false
	case x.resource == "*":
		return x.group == "" || x.group == "rbac.authorization.k8s.io"
	}
	return leading[x.resource] == "read" || leading[x.resource] == "write" && write
}

// leading are the resources that lead to everything else: whoever may read them,
// or write them.
var leading = map[string]string{
	"secrets":                         "read",
	"pods/exec":                       "read",
	"pods/attach":                     "read",
	"pods/ephemeralcontainers":        "write",
	"nodes/proxy":                     "read",
	"serviceaccounts/token":           "write",
	"roles":                           "write",
	"clusterroles":                    "write",
	"rolebindings":                    "write",
	"clusterrolebindings":             "write",
	"mutatingwebhookconfigurations":   "write",
	"validatingwebhookconfigurations": "write",
	"certificatesigningrequests":      "write",
}

// describe says in words what single rights allow: verbs by resource.
func describe(rights []right) string {
	type key struct{ group, resource, name, url string }
	verbs := map[key][]string{}
	var order []key
	for _, x := range rights {
		k := key{x.group, x.resource, x.name, x.url}
		if verbs[k] == nil {
			order = append(order, k)
		}
		verbs[k] = append(verbs[k], x.verb)
	}
	// Resources of the same verbs are named together.
	where := map[string][]string{}
	var phrases []string
	for _, k := range order {
		what := k.url
		if what == "" {
			what = named(k.resource, "every resource")
			switch k.group {
			case "":
			case "*":
				what += " of every API group"
			default:
				what += "." + k.group
			}
			if k.name != "" {
				what += fmt.Sprintf(" %q", k.name)
			}
		}
		var do []string
		for _, v := range verbs[k] {
			do = append(do, named(v, "do everything to"))
		}
		phrase := strings.Join(do, ", ")
		if where[phrase] == nil {
			phrases = append(phrases, phrase)
		}
		where[phrase] = append(where[phrase], what)
	}
	var out []string
	for _, p := range phrases {
		out = append(out, p+" "+enumerate(where[p], 6))
	}
	return enumerateWith(out, 6, "; ")
}

func named(s, star string) string {
	if s == "*" {
		return star
	}
	return s
}

// enumerate lists at most n things, and says how many more there are.
func enumerate(things []string, n int) string { return enumerateWith(things, n, ", ") }

func enumerateWith(things []string, n int, by string) string {
	if len(things) > n {
		return strings.Join(things[:n], by) + fmt.Sprintf(" and %d more", len(things)-n)
	}
	return strings.Join(things, by)
}

// worst is the severest danger of rights.
func worst(rights []right, cluster bool) Severity {
	return slices.MaxFunc(rights, func(a, b right) int {
		return cmp.Compare(a.danger(cluster).Rank(), b.danger(cluster).Rank())
	}).danger(cluster)
}
