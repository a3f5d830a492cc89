package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// rights compares what may be done, by whom.
func (c *comparer) rights() {
	old, new := Rights(c.old), Rights(c.new)
	was := map[string]Right{}
	for _, r := range old {
		was[r.Role] = r
	}
	is := map[string]bool{}
	for _, r := range new {
		is[r.Role] = true
	}
	// What roles allowed that are gone: who renames a role widens nothing.
	gone := map[bool][]Rule{}
	for _, r := range old {
		if !is[r.Role] {
			gone[r.Cluster] = append(gone[r.Cluster], r.Rules...)
		}
	}
	for _, n := range new {
		o, there := was[n.Role]
		c.widened(o, n, there, append(slices.Clone(o.Rules), gone[n.Cluster]...))
		c.bound(o, n, there)
		if there {
			c.narrowed(o, n)
		}
	}
	for _, o := range old {
		if !is[o.Role] && len(o.Rules) > 0 {
			if lost, ok := beyond(allRules(new), o.Rules); ok && len(lost) > 0 {
				c.found.add("rights-narrowed", Info, o.Role, "allows no more to "+describe(lost), "", "")
			}
		}
	}
}

func allRules(rights []Right) []Rule {
	var out []Rule
	for _, r := range rights {
		out = append(out, r.Rules...)
	}
	return out
}

// widened finds what a role allows that it did not allow before.
func (c *comparer) widened(o, n Right, there bool, old []Rule) {
	if there && n.Cluster && !o.Cluster && len(n.Rules) > 0 {
		if rights, ok := apart(n.Rules); ok && len(rights) > 0 {
			c.found.add("rights-widened", worst(rights, true), n.Role, "allows in the whole cluster what it allowed in one namespace: "+describe(rights)+who(n), "", "")
			return
		}
	}
	more, ok := beyond(old, n.Rules)
	switch {
	case !ok && reflect.DeepEqual(o.Rules, n.Rules):
	case !ok:
		c.found.add("rights-unknown", High, n.Role, "has too many rights to compare them", "", "")
	case len(more) > 0:
		verb := "now also allows to "
		if !there {
			verb = "allows to "
		}
		where := " in its namespace"
		if n.Cluster {
			where = " in the whole cluster"
		}
		severity := worst(more, n.Cluster)
		if !n.Bound && len(n.Aggregated) == 0 {
			severity = severity.lower()
		}
		c.found.add("rights-widened", severity, n.Role, verb+describe(more)+where+who(n), "", describe(more))
	}
	if added := missing(n.Aggregated, o.Aggregated); len(added) > 0 {
		c.found.add("rights-aggregated", Medium, n.Role, "is added to the cluster's own roles "+strings.Join(added, ", ")+", for everybody who has one of them", "", "")
	}
}

// who says who has the rights of a role.
func who(r Right) string {
	switch {
	case len(r.Subjects) > 0:
		return "; bound to " + enumerate(r.Subjects, 3)
	case len(r.Aggregated) == 0 && !r.Bound:
		return "; no binding of the chart gives it to anybody"
	}
	return ""
}

func (c *comparer) narrowed(o, n Right) {
	if lost, ok := beyond(n.Rules, o.Rules); ok && len(lost) > 0 {
		c.found.add("rights-narrowed", Info, n.Role, "allows no more to "+describe(lost), describe(lost), "")
	}
	if o.Cluster && !n.Cluster {
		c.found.add("rights-narrowed", Info, n.Role, "allows in one namespace what it allowed in the whole cluster", "", "")
	}
}

// powerful are roles that clusters have themselves.
var powerful = map[string]Severity{"cluster-admin": Critical, "admin": High, "edit": High, "system:masters": Critical, "view": Medium}

// everyone are groups and users that are everybody, or nobody in particular.
var everyone = nameSet("Group/system:unauthenticated Group/system:authenticated User/system:anonymous Group/system:serviceaccounts")

// bound finds new subjects of a role.
func (c *comparer) bound(o, n Right, there bool) {
	for _, s := range missing(n.Subjects, o.Subjects) {
		_, name, _ := strings.Cut(n.Role, "/")
		severity, known := powerful[name]
		switch {
		case everyone[s]:
			c.found.add("rights-everybody", Critical, n.Role, "is bound to "+s+": to everybody", "", s)
			continue
		case strings.HasPrefix(s, "Group/system:serviceaccounts:"):
			c.found.add("rights-everybody", High, n.Role, "is bound to every service account of a namespace: "+s, "", s)
			continue
		case n.Rules == nil && known:
			if !n.Cluster {
				severity = severity.lower()
			}
			c.found.add("rights-widened", severity, n.Role, "is bound to "+s, "", s)
			continue
		case n.Rules == nil:
			c.found.add("role-bound", Medium, n.Role, "is bound to "+s+"; what it allows is not in the chart", "", s)
			continue
		}
		// The rights of a new role were told with it.
		if rights, ok := apart(n.Rules); there && len(o.Rules) > 0 && ok && len(rights) > 0 {
			c.found.add("role-bound", worst(rights, n.Cluster).lower(), n.Role, "is now also bound to "+s, "", s)
		}
	}
}

// missing are those of a list that another does not have.
func missing(list, from []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(from, s) })
}

// exposure compares who can reach what runs.
func (c *comparer) exposure() {
	old, oldWhy := ExposureOf(c.old)
	new, newWhy := ExposureOf(c.new)
	severity := Medium
	switch {
	case new.rank() > old.rank() && !(len(c.old) == 0):
		if new == ExposureOpen {
			severity = High
		}
		c.found.add("exposure-grown", severity, "chart", "can be reached from further away: "+newWhy, string(old), string(new))
	case new.rank() < old.rank() && len(c.new) > 0:
		c.found.add("exposure-shrunk", Info, "chart", "can be reached from less far: "+newWhy+" (it was: "+oldWhy+")", string(old), string(new))
	}
	for _, p := range c.pairs {
		if p.new == nil || p.new.IsTest() {
			continue
		}
		level, why := exposureOf(*p.new)
		before, was := ExposureSmall, ""
		if p.old != nil {
			before, was = exposureOf(*p.old)
		}
		if level.rank() > before.rank() {
			c.found.add("exposure-added", severity, p.new.ID(), why, was, why)
		}
	}
}

// severityOf says how bad it is to break a rule of the Pod Security Standards.
func severityOf(v Violation) Severity {
	if v.Level == Restricted {
		return Low
	}
	switch v.Rule {
	case "privileged", "host-process":
		return Critical
	case "capabilities":
		if slices.Contains([]string{"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "DAC_READ_SEARCH", "BPF", "SYS_RAWIO"}, v.Value) {
			return Critical
		}
	case "host-probe":
		if slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, v.Value) {
			return Low
		}
		return Medium
	case "host-path":
		if slices.Contains([]string{"/", "/etc", "/root", "/proc", "/var/lib/kubelet", "/var/lib/docker"}, strings.TrimSuffix(v.Value, "/")) ||
			v.Value == "/" || strings.HasSuffix(v.Value, ".sock") || strings.HasSuffix(v.Value, "/run") {
			return Critical
		}
	}
	return High
}

// describe says which rule is broken, and by what.
func (v Violation) describe() string {
	where := "the pod"
	if v.Container != "" {
		where = "container " + v.Container
	}
	if v.Value == "" {
		return where + " breaks " + v.Rule
	}
	return where + " breaks " + v.Rule + ": " + v.Value
}

// byRule lists violations by their rules: host-path: /dev; seccomp: container a,
// container b.
func byRule(violations []Violation) string {
	by := map[string][]string{}
	var order []string
	for _, v := range violations {
		what := orElse(v.Value, "pod")
		if v.Container != "" {
			what = v.Container
			if v.Value != "" {
				what += " " + v.Value
			}
		}
		if by[v.Rule] == nil {
			order = append(order, v.Rule)
		}
		by[v.Rule] = append(by[v.Rule], what)
	}
	var out []string
	for _, rule := range order {
		out = append(out, rule+" ("+enumerate(by[rule], 4)+")")
	}
	return enumerateWith(out, 8, ", ")
}

// podSecurity compares which rules of the Pod Security Standards are broken.
func (c *comparer) podSecurity() {
	var before, after []Violation // of all objects
	ran, lost := false, false
	for _, p := range c.pairs {
		var old []Violation
		if p.old != nil {
			_, old = PodSecurity([]Object{*p.old})
			before, ran = append(before, old...), ran || len(podsOf(*p.old)) > 0
		}
		if p.new == nil {
			continue
		}
		level, new := PodSecurity([]Object{*p.new})
		after = append(after, new...)
		id := p.new.ID()
		has := func(list []Violation, v Violation) bool {
			return slices.ContainsFunc(list, func(w Violation) bool {
				return w.Level == v.Level && w.Rule == v.Rule && w.Container == v.Container && w.Value == v.Value
			})
		}
		var restricted []Violation
		for _, v := range new {
			switch {
			case has(old, v):
			case v.Level == Baseline:
				c.found.add("pod-security", severityOf(v), id, v.describe()+" (baseline)", "", v.Value)
			default:
				restricted = append(restricted, v)
			}
		}
		was := levelOf(old)
		if len(restricted) > 0 {
			severity := Low
			if p.old != nil && was == Restricted {
				severity = Medium
			}
			c.found.add("pod-security-restricted", severity, id, "breaks "+byRule(restricted)+" (restricted)", "", "")
		}
		if p.old == nil {
			continue
		}
		if level.rank() < was.rank() {
			lost = true
			c.found.add("pod-security-lost", Medium, id, fmt.Sprintf("keeps to level %s alone, and kept to %s", level, was), string(was), string(level))
		}
		var mended []Violation
		for _, v := range old {
			if !has(new, v) && sameContainers(v, *p.new) {
				mended = append(mended, v)
			}
		}
		if len(mended) > 0 {
			c.found.add("pod-security-gained", Info, id, "no longer breaks "+byRule(mended), string(was), string(level))
		}
	}
	if was, level := levelOf(before), levelOf(after); ran && !lost && level.rank() < was.rank() {
		c.found.add("pod-security-lost", Medium, "chart", fmt.Sprintf("keeps to level %s alone, for what is new in it, and kept to %s", level, was), string(was), string(level))
	}
}

// sameContainers reports whether a violation is about something that is still
// there.
func sameContainers(v Violation, o Object) bool {
	for _, p := range podsOf(o) {
		if v.Container == "" || slices.ContainsFunc(p.containers(), func(c container) bool { return c.name == v.Container }) {
			return true
		}
	}
	return false
}

// secrets finds secrets that have come into the open.
func (c *comparer) secrets() {
	for _, p := range c.pairs {
		if p.new == nil {
			continue
		}
		new := c.exposed.of(p.new)
		var old []Exposed
		if p.old != nil && len(new) > 0 {
			old = c.exposed.of(p.old)
		}
		for _, e := range new {
			if !slices.ContainsFunc(old, func(o Exposed) bool { return o.Path == e.Path && o.Known == e.Known }) {
				c.found.addExposed(e)
			}
		}
	}
}

func (f *findings) addExposed(e Exposed) {
	switch {
	case e.Known:
		f.add("default-credential", High, e.Object, e.Path+" holds a credential that everybody knows", "", "")
	case e.Weak:
		f.add("secret-in-clear", Low, e.Object, e.Path+" looks like a secret that stands where it is not kept as one", "", "")
	default:
		f.add("secret-in-clear", Medium, e.Object, e.Path+" holds a secret that stands where it is not kept as one", "", "")
	}
}

// Inspect says what is wrong with a set of objects by itself: rules of the Pod
// Security Standards, rights that lead to all others, exposure, secrets in
// clear and known credentials, movable images, APIs that the given version of
// Kubernetes does not serve ("" stands for any) or that a later one removed.
func Inspect(objects []Object, kubeVersion string) []Finding {
	return inspect(objects, kubeVersion, nil)
}

func inspect(objects []Object, kubeVersion string, exposed exposures) []Finding {
	c := comparer{new: objects, kube: kubeVersion, exposed: exposed}
	for i := range objects {
		c.pairs = append(c.pairs, pair{new: &objects[i]})
	}
	c.rights()
	c.podSecurity()
	c.secrets()
	for _, p := range c.pairs {
		o := *p.new
		c.apiOf(o)
		for _, i := range imagesOf(o) {
			if why := Movable(i.Ref); why != "" && i.Confidence != Possible {
				c.found.add("image-movable", Low, o.ID(), "runs an image that "+why+": "+orElse(i.Container, i.Path), "", i.Ref)
			}
		}
	}
	if level, why := ExposureOf(objects); len(objects) > 0 {
		c.found.add("exposure", Info, "chart", string(level)+": "+why, "", string(level))
	}
	return c.found.sorted()
}
