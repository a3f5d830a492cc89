package manifest

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Compare says what the difference between two sets of objects does, the worst
// first. The same set twice has no findings. Objects are matched by kind,
// namespace and name; a name that carries a hash or a version by what is left
// without it.
// Cost: linear in the objects, and in the rights of their roles.
func Compare(old, new []Object) []Finding {
	c := comparer{old: old, new: new, pairs: match(old, new)}
	return c.compare()
}

func (c *comparer) compare() []Finding {
	for _, p := range c.pairs {
		switch {
		case p.old == nil:
			c.added(*p.new)
		case p.new == nil:
			c.removed(*p.old)
		default:
			c.changed(*p.old, *p.new, p.changes)
		}
	}
	c.rights()
	c.exposure()
	c.podSecurity()
	c.secrets()
	return c.found.sorted()
}

type comparer struct {
	old, new []Object
	kube     string // the version of Kubernetes; "" for any
	exposed  exposures
	pairs    []pair
	found    findings
}

// pair is an object of both sides; one side is nil where it is not there.
type pair struct {
	old, new *Object
	changes  []change // fields in which the two differ
}

// match pairs the objects of both sides and compares them, in the order of the
// new ones, then those that are gone.
func match(old, new []Object) []pair {
	var pairs []pair
	rest := index(old, key)
	var unmatched []*Object
	partner, used := map[*Object]*Object{}, map[*Object]bool{}
	for i := range new {
		n := &new[i]
		if o := take(rest, key(*n)); o != nil {
			partner[n], used[o] = o, true
		} else {
			unmatched = append(unmatched, n)
		}
	}
	// By the stem of their names, where it is the only one on both sides.
	var left []*Object
	for _, list := range rest {
		left = append(left, list...)
	}
	for _, keyOf := range []func(Object) string{stemKey, unplacedKey} {
		byOld, byNew := pointers(left, keyOf), pointers(unmatched, keyOf)
		for _, n := range unmatched {
			k := keyOf(*n)
			if partner[n] == nil && len(byOld[k]) == 1 && len(byNew[k]) == 1 && !used[byOld[k][0]] {
				partner[n], used[byOld[k][0]] = byOld[k][0], true
			}
		}
	}
	for i := range new {
		p := pair{old: partner[&new[i]], new: &new[i]}
		if p.old != nil {
			p.changes = differences(*p.old, *p.new)
		}
		pairs = append(pairs, p)
	}
	for i := range old {
		if !used[&old[i]] {
			pairs = append(pairs, pair{old: &old[i]})
		}
	}
	return pairs
}

func index(objects []Object, keyOf func(Object) string) map[string][]*Object {
	m := map[string][]*Object{}
	for i := range objects {
		k := keyOf(objects[i])
		m[k] = append(m[k], &objects[i])
	}
	return m
}

func pointers(objects []*Object, keyOf func(Object) string) map[string][]*Object {
	m := map[string][]*Object{}
	for _, o := range objects {
		m[keyOf(*o)] = append(m[keyOf(*o)], o)
	}
	return m
}

func take(m map[string][]*Object, k string) *Object {
	if len(m[k]) == 0 {
		return nil
	}
	o := m[k][0]
	if m[k] = m[k][1:]; len(m[k]) == 0 {
		delete(m, k)
	}
	return o
}

// key names an object whatever API version it is written in.
func key(o Object) string {
	group := o.Group
	if group == "extensions" {
		switch o.Kind {
		case "Ingress", "NetworkPolicy":
			group = "networking.k8s.io"
		case "PodSecurityPolicy":
			group = "policy"
		default:
			group = "apps"
		}
	}
	return strings.Join([]string{group, o.Kind, o.Namespace, o.Name}, "\x00")
}

func stemKey(o Object) string {
	o.Name = stem(o.Name)
	return key(o)
}

// unplacedKey is for objects that begin or cease to name their namespace.
func unplacedKey(o Object) string {
	o.Namespace = ""
	return stemKey(o)
}

var (
	hashEnd    = regexp.MustCompile(`-(\*|[0-9a-f]{6,64}|[bcdfghjklmnpqrstvwxz2456789]{8,10})$`)
	versionEnd = regexp.MustCompile(`-v?[0-9]+([.-][0-9]+)+(-[a-z0-9.]+)?$`)
	hasDigit   = regexp.MustCompile(`[0-9*]`)
)

// stem is a name without the hash of a content, or a version, at its end.
func stem(name string) string {
	if m := hashEnd.FindString(name); m != "" && hasDigit.MatchString(m) {
		return strings.TrimSuffix(name, m)
	}
	if m := versionEnd.FindString(name); m != "" {
		return strings.TrimSuffix(name, m)
	}
	return name
}

// added says what a new object does.
func (c *comparer) added(o Object) {
	severity, message := Info, "is new"
	switch {
	case len(o.Hooks) > 0 && !o.IsTest():
		if severity = Low; len(podsOf(o)) > 0 {
			severity = Medium
		}
		c.found.add("hook-added", severity, o.ID(), "runs as a hook: "+strings.Join(o.Hooks, ", "), "", strings.Join(o.Hooks, ","))
		c.migration(Object{}, o)
		return
	case o.Kind == "MutatingWebhookConfiguration", o.Kind == "ValidatingWebhookConfiguration":
		c.found.add("admission-webhook", Medium, o.ID(), "is asked about objects of the whole cluster before they are accepted", "", "")
		return
	case o.Kind == "CustomResourceDefinition":
		c.found.add("crd-added", Info, o.ID(), "defines a new kind of object", "", str(o.Fields, "spec", "names", "kind"))
		return
	}
	var images []string
	for _, i := range imagesOf(o) {
		if !slices.Contains(images, i.Ref) {
			images = append(images, i.Ref)
		}
	}
	if len(images) > 0 {
		severity, message = Low, "is new and runs "+enumerate(images, 4)
	}
	c.found.add("object-added", severity, o.ID(), message, "", "")
	c.images(Object{}, o)
	c.apiOf(o)
	c.migration(Object{}, o)
}

// removed says what goes with an object.
func (c *comparer) removed(o Object) {
	add := func(rule string, s Severity, message string) { c.found.add(rule, s, o.ID(), message, "", "") }
	keep := str(o.Fields, "metadata", "annotations", "helm.sh/resource-policy") == "keep"
	switch {
	case len(o.Hooks) > 0:
		add("hook-removed", Info, "runs no more: "+strings.Join(o.Hooks, ", "))
	case keep:
		add("object-removed", Low, "belongs to the chart no more; Helm leaves it in the cluster")
	case o.Kind == "CustomResourceDefinition":
		add("crd-removed", Critical, "is deleted, and with it every object of its kind in the cluster")
	case o.Kind == "Namespace":
		add("object-removed", Critical, "is deleted with everything in it")
	case o.Kind == "PersistentVolumeClaim", o.Kind == "PersistentVolume":
		add("object-removed", High, "is deleted, and its data may go with it")
	case o.Kind == "NetworkPolicy":
		add("network-policy-removed", High, "holds traffic back no more")
	case o.Kind == "ValidatingAdmissionPolicy", o.Kind == "ValidatingWebhookConfiguration":
		add("object-removed", Medium, "checks objects no more")
	case o.Kind == "PodDisruptionBudget", o.Kind == "StatefulSet", o.Kind == "Secret":
		add("object-removed", Low, "is deleted")
	default:
		add("object-removed", Info, "is deleted")
	}
}

// changed says what differs in an object.
func (c *comparer) changed(old, new Object, changes []change) {
	if !slices.Equal(old.Hooks, new.Hooks) {
		severity, message := Low, "runs as other hooks"
		switch {
		case len(old.Hooks) == 0:
			severity, message = Medium, "has become a hook: "+strings.Join(new.Hooks, ", ")+"; Helm no longer keeps it as a part of the release"
		case len(new.Hooks) == 0:
			message = "is no hook any more"
		}
		c.found.add("hook-changed", severity, new.ID(), message, strings.Join(old.Hooks, ","), strings.Join(new.Hooks, ","))
	}
	if old.APIVersion() != new.APIVersion() {
		c.found.add("api-version-changed", Info, new.ID(), "is written in another version of its API", old.APIVersion(), new.APIVersion())
		c.apiOf(new)
	}
	c.images(old, new)
	c.migration(old, new)
	c.tokens(old, new)
	c.fields(old, new, changes)
	if new.Kind == "CustomResourceDefinition" {
		c.definition(old, new, changes)
	}
}

// apiOf finds an API that Kubernetes has removed, or will have.
func (c *comparer) apiOf(o Object) {
	in, replacement, gone := RemovedIn(o.Group, o.Version, o.Kind)
	switch {
	case !gone:
	case c.kube != "" && before(c.kube, in):
		c.found.add("api-deprecated", Low, o.ID(), fmt.Sprintf("is written in %s, which Kubernetes %s removes; its replacement is %s", o.APIVersion(), in, replacement), "", o.APIVersion())
	default:
		c.found.add("api-removed", High, o.ID(), fmt.Sprintf("is written in %s, which Kubernetes %s removed; its replacement is %s", o.APIVersion(), in, replacement), "", o.APIVersion())
	}
}

// images compares what two states of an object run.
func (c *comparer) images(old, new Object) {
	keyOf := func(i Image) string {
		if i.Container != "" && strings.HasSuffix(i.Path, ".image") {
			return strings.TrimRight(i.Path[:strings.LastIndex(i.Path, "[")], "]") + "[" + i.Container + "]"
		}
		return i.Path
	}
	was := map[string]Image{}
	for _, i := range imagesOf(old) {
		was[keyOf(i)] = i
	}
	// Containers that move together are told of together.
	type move struct{ rule, message, old, new string }
	moved, severities := map[move][]string{}, map[move]Severity{}
	var order []move
	tell := func(i Image, old, rule string, s Severity, message string) {
		m := move{rule, message, old, i.Ref}
		if severities[m] == "" {
			order, severities[m] = append(order, m), s
		}
		moved[m] = append(moved[m], orElse(i.Container, i.Path))
	}
	for _, i := range imagesOf(new) {
		o, there := was[keyOf(i)]
		if there && o.Ref != i.Ref {
			if rule, severity, message := imageMove(o.Ref, i.Ref); rule != "" {
				tell(i, o.Ref, rule, severity, message)
			}
		}
		if why := Movable(i.Ref); why != "" && i.Confidence != Possible && (!there || Movable(o.Ref) == "") {
			tell(i, o.Ref, "image-movable", Low, "runs an image that "+why)
		}
	}
	for _, m := range order {
		c.found.add(m.rule, severities[m], new.ID(), m.message+": "+enumerate(moved[m], 8), m.old, m.new)
	}
}

// imageMove says what it means that one image becomes another; there is no rule
// for one that is only written otherwise.
func imageMove(old, new string) (rule string, s Severity, message string) {
	oldRepository, oldTag, oldDigest := ImageName(old)
	newRepository, newTag, newDigest := ImageName(new)
	switch {
	case samePlace(oldRepository) == samePlace(newRepository) && oldTag == newTag && oldDigest == newDigest:
		return "", Info, ""
	case samePlace(oldRepository) != samePlace(newRepository):
		return "image-repository", Medium, "runs an image from another repository"
	case oldDigest != "" && newDigest == "":
		return "image-unpinned", Medium, "runs an image that is no longer pinned by its digest"
	case oldTag == newTag && oldDigest == "":
		return "image-changed", Info, "runs an image that is now pinned by its digest"
	case oldTag == newTag:
		return "image-changed", Low, "runs other content under the same tag"
	case older(newTag, oldTag):
		return "image-downgraded", Medium, "runs an older image"
	}
	return "image-changed", Info, "runs another image"
}

var tagNumbers = regexp.MustCompile(`^v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?`)

// older reports whether the numbers of a tag are surely lower than those of
// another. What follows them is not judged.
func older(tag, than string) bool {
	a, b := tagNumbers.FindStringSubmatch(tag), tagNumbers.FindStringSubmatch(than)
	if a == nil || b == nil || strings.Count(a[0], ".") != strings.Count(b[0], ".") {
		return false
	}
	for i := 1; i <= 3; i++ {
		if d := cmp.Or(cmp.Compare(len(a[i]), len(b[i])), strings.Compare(a[i], b[i])); d != 0 {
			return d < 0
		}
	}
	return false
}

// tokens compares the service accounts of an object's pods.
func (c *comparer) tokens(old, new Object) {
	oldPods, newPods := podsOf(old), podsOf(new)
	if len(oldPods) == 0 || len(oldPods) != len(newPods) {
		return
	}
	for i := range newPods {
		was, had := account(oldPods[i], c.old)
		is, has := account(newPods[i], c.new)
		if was != is {
			c.found.add("service-account-changed", Low, new.ID(), "runs as another service account", was, is)
		}
		switch {
		case has && !had:
			c.found.add("token-mounted", Medium, new.ID(), "gets a token for the API of Kubernetes, as service account "+is, "", "")
		case had && !has:
			c.found.add("token-dropped", Info, new.ID(), "gets no token for the API of Kubernetes any more", "", "")
		}
	}
}

// account is the service account of a pod, and whether its token is mounted.
func account(p pod, objects []Object) (name string, mounted bool) {
	name = orElse(str(p.spec, "serviceAccountName"), orElse(str(p.spec, "serviceAccount"), "default"))
	if on, set := truth(p.spec, "automountServiceAccountToken"); set {
		return name, on
	}
	for _, o := range objects {
		if o.Kind == "ServiceAccount" && o.Name == name && o.Namespace == p.object.Namespace {
			if on, set := truth(o.Fields, "automountServiceAccountToken"); set {
				return name, on
			}
		}
	}
	return name, true
}
