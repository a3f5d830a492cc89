package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// UndoVerdict says whether helm rollback would take an upgrade back.
type UndoVerdict string

// The verdicts, from the best.
const (
	UndoPossible UndoVerdict = "possible"
	UndoUntil    UndoVerdict = "possible-until"    // something has happened that a rollback does not take back
	UndoUnknown  UndoVerdict = "unknown"           // not all that changes is known
	UndoByHand   UndoVerdict = "not-by-helm-alone" // Kubernetes refuses it, or data is gone
)

// Words complete the sentence "rollback is …".
func (v UndoVerdict) Words() string {
	switch v {
	case UndoPossible:
		return "possible, as far as manifests tell"
	case UndoUntil:
		return "possible until something has happened"
	case UndoByHand:
		return "not possible by Helm alone"
	}
	return "not known to be possible"
}

func (v UndoVerdict) rank() int {
	return slices.Index([]UndoVerdict{UndoPossible, UndoUntil, UndoUnknown, UndoByHand}, v)
}

// Undo is the forecast of a rollback: its verdict is the worst of its reasons.
// It says what can be told from the two renderings. What a program does to its
// data by itself cannot be.
type Undo struct {
	Verdict UndoVerdict `json:"verdict"`
	Reasons []Obstacle  `json:"reasons"` // the gravest first
}

// Obstacle is one thing that stands in the way of a rollback.
type Obstacle struct {
	Verdict UndoVerdict `json:"verdict"`
	Rule    string      `json:"rule"`   // stable id, such as undo-immutable
	Object  string      `json:"object"` // Kind/namespace/name
	Message string      `json:"message"`
	Until   string      `json:"until,omitempty"` // what must not have happened, with possible-until
}

// UndoOf says whether an upgrade from the old rendering to the new one can be
// rolled back by Helm on a Kubernetes of the given version ("" for any). A
// rollback applies the old manifests over what is there, deletes what they do
// not have, and runs no pre-upgrade hook backwards. Cost: that of Compare.
func UndoOf(old, new Rendered, kubeVersion string) Undo {
	return undoOf(old, new, match(old.Objects, new.Objects), match(old.CRDs, new.CRDs), kubeVersion)
}

// undoOf is UndoOf for objects and definitions that are paired already.
func undoOf(old, new Rendered, objects, definitions []pair, kubeVersion string) Undo {
	u := undoing{old: old, new: new, kube: kubeVersion}
	for _, p := range objects {
		switch {
		case p.old == nil:
			u.added(*p.new)
		case p.new == nil:
			u.removed(*p.old)
		default:
			u.changed(*p.old, *p.new, p.changes)
		}
	}
	u.definitions(definitions)
	for _, o := range old.Objects {
		u.served(o)
	}
	for i, r := range []Rendered{old, new} {
		if n := len(r.Faults); n > 0 {
			u.add(UndoUnknown, "undo-not-read", "chart", fmt.Sprintf("of what the %s version renders, %d could not be read: %s", []string{"old", "new"}[i], n, r.Faults[0]), "")
		}
	}
	return u.undo()
}

// with is the forecast with one more reason.
func (u Undo) with(o Obstacle) Undo {
	return (&undoing{reasons: append(u.Reasons, o)}).undo()
}

// undoUnknown is the forecast where what changes is not known.
func undoUnknown(object, why string) Undo {
	u := undoing{}
	u.add(UndoUnknown, "undo-not-compared", object, why, "")
	return u.undo()
}

type undoing struct {
	old, new Rendered
	kube     string
	reasons  []Obstacle
}

func (u *undoing) add(v UndoVerdict, rule, object, message, until string) {
	u.reasons = append(u.reasons, Obstacle{v, rule, oneLine(object), oneLine(message), until})
}

func (u *undoing) undo() Undo {
	slices.SortStableFunc(u.reasons, func(a, b Obstacle) int {
		return cmp.Or(cmp.Compare(b.Verdict.rank(), a.Verdict.rank()), strings.Compare(a.Object, b.Object), strings.Compare(a.Rule, b.Rule), strings.Compare(a.Message, b.Message))
	})
	out := Undo{Verdict: UndoPossible, Reasons: slices.Compact(u.reasons)}
	if out.Reasons == nil {
		out.Reasons = []Obstacle{}
	}
	if len(out.Reasons) > 0 {
		out.Verdict = out.Reasons[0].Verdict
	}
	return out
}

const (
	untilRun   = "the upgrade has run it"
	untilWrite = "data is written to it"
	untilMade  = "an object of its kind is made"
)

// kept reports whether Helm leaves an object in the cluster.
func kept(o Object) bool {
	return str(o.Fields, "metadata", "annotations", "helm.sh/resource-policy") == "keep"
}

// added looks at an object that a rollback deletes.
func (u *undoing) added(o Object) {
	u.runs(Object{}, o)
	switch {
	case len(o.Hooks) > 0 || kept(o):
	case o.Kind == "CustomResourceDefinition" && holds(u.old.CRDs, o.ID()):
		u.add(UndoByHand, "undo-deletes-kind", o.ID(), "has moved from the crds folder to the templates: a rollback deletes it, and with it every object of its kind in the cluster", "")
	case o.Kind == "CustomResourceDefinition":
		u.add(UndoUntil, "undo-deletes-kind", o.ID(), "is new in the templates: a rollback deletes it, and with it every object of its kind in the cluster", untilMade)
	case o.Kind == "Namespace":
		u.add(UndoUntil, "undo-deletes-data", o.ID(), "is new: a rollback deletes it with everything in it", "something is made in it")
	case o.Kind == "PersistentVolumeClaim", o.Kind == "PersistentVolume":
		u.add(UndoUntil, "undo-deletes-data", o.ID(), "is new: a rollback deletes it, and its data may go with it", untilWrite)
	}
}

// removed looks at an object that the upgrade deletes.
func (u *undoing) removed(o Object) {
	switch {
	case len(o.Hooks) > 0 || kept(o):
	case o.Kind == "CustomResourceDefinition":
		u.add(UndoByHand, "undo-lost-kind", o.ID(), "is deleted by the upgrade, and with it every object of its kind; a rollback brings back the definition alone", "")
	case o.Kind == "Namespace":
		u.add(UndoByHand, "undo-lost-data", o.ID(), "is deleted by the upgrade with everything in it; a rollback makes an empty one", "")
	case o.Kind == "PersistentVolumeClaim", o.Kind == "PersistentVolume":
		u.add(UndoByHand, "undo-lost-data", o.ID(), "is deleted by the upgrade, and its data may go with it; a rollback makes an empty one", "")
	}
}

// changed looks at what a rollback has to change back.
func (u *undoing) changed(old, new Object, changes []change) {
	u.runs(old, new)
	u.volumes(old, new)
	back := comparer{}
	reversed := make([]change, len(changes))
	for i, c := range changes {
		reversed[i] = change{c.path, c.new, c.old}
	}
	back.fields(new, old, reversed)
	for _, f := range back.found {
		if f.Rule == "immutable-field" {
			u.add(UndoByHand, "undo-immutable", new.ID(), strings.Replace(f.Message, "refuses the upgrade", "refuses the rollback", 1), "")
		}
	}
	if new.Kind == "CustomResourceDefinition" {
		u.definition(old, new)
	}
	if len(old.Hooks) == 0 && len(new.Hooks) > 0 {
		u.add(UndoUntil, "undo-hook", new.ID(), "has become a hook, which Helm does not keep as a part of the release: a rollback meets what the hook left", untilRun)
	}
}

// runs looks at what the upgrade runs once, and a rollback does not run
// backwards.
func (u *undoing) runs(old, new Object) {
	hook := slices.ContainsFunc(new.Hooks, func(h string) bool { return h == "pre-upgrade" || h == "post-upgrade" })
	c := comparer{}
	c.migration(old, new)
	switch {
	case len(c.found) > 0:
		u.add(UndoUntil, "undo-migration", new.ID(), c.found[0].Message, untilRun)
	case hook && len(podsOf(new)) > 0 && len(migrations(new)) > 0:
		u.add(UndoUntil, "undo-migration", new.ID(), "brings data into the form of the version at each upgrade, which a rollback does not undo", untilRun)
	case hook && len(podsOf(new)) > 0:
		u.add(UndoUntil, "undo-hook", new.ID(), "runs at the upgrade as a hook ("+strings.Join(new.Hooks, ", ")+"); a rollback does not take back what it does", untilRun)
	}
}

// volumes looks at programs that keep data: another version may write what the
// one before cannot read.
func (u *undoing) volumes(old, new Object) {
	pods, before := podsOf(new), podsOf(old)
	if len(pods) != 1 || len(before) != 1 || !keepsData(pods[0]) && !keepsData(before[0]) {
		return
	}
	was := map[string]string{}
	for _, c := range before[0].containers() {
		was[c.name] = str(c.fields, "image")
	}
	for _, c := range pods[0].containers() {
		ref, there := was[c.name]
		if c.stage != "" || !there || !mounts(c, pods[0], new) {
			continue
		}
		if is := str(c.fields, "image"); is != ref && !samePatch(ref, is) {
			u.add(UndoUntil, "undo-data", new.ID(), fmt.Sprintf("%s keeps data, and its image moves from %s to %s: the old version may not read what the new one wrote", c.label(), ref, is), "the new version has written its data")
		}
	}
}

// keepsData reports whether a pod has volumes that outlive it.
func keepsData(p pod) bool {
	if p.object.Kind == "StatefulSet" && len(list(p.object.Fields, "spec", "volumeClaimTemplates")) > 0 {
		return true
	}
	return slices.ContainsFunc(tables(p.spec, "volumes"), func(v map[string]any) bool { return v["persistentVolumeClaim"] != nil })
}

// mounts reports whether a container writes to a volume that outlives the pod.
func mounts(c container, p pod, o Object) bool {
	lasting := map[string]bool{}
	for _, t := range tables(o.Fields, "spec", "volumeClaimTemplates") {
		lasting[str(t, "metadata", "name")] = true
	}
	for _, v := range tables(p.spec, "volumes") {
		if v["persistentVolumeClaim"] != nil {
			lasting[str(v, "name")] = true
		}
	}
	for _, m := range tables(c.fields, "volumeMounts") {
		if readOnly, _ := truth(m, "readOnly"); lasting[str(m, "name")] && !readOnly {
			return true
		}
	}
	return false
}

// samePatch reports whether the tags of two images surely have the same major
// and minor version.
func samePatch(a, b string) bool {
	_, x, _ := ImageName(a)
	_, y, _ := ImageName(b)
	m, n := tagNumbers.FindStringSubmatch(x), tagNumbers.FindStringSubmatch(y)
	return m != nil && n != nil && m[2] != "" && m[1] == n[1] && m[2] == n[2]
}

// definition looks at a definition of custom resources that the upgrade
// changes.
func (u *undoing) definition(old, new Object) {
	was, is := crdVersions(old), crdVersions(new)
	for _, name := range slices.Sorted(maps.Keys(is)) {
		v, had := is[name], was[name]
		switch _, listed := was[name]; {
		case v.stored && !had.stored && !listed:
			u.add(UndoByHand, "undo-stored-version", new.ID(), "stores objects as "+name+", which the old definition does not have: Kubernetes refuses the rollback while that version is among those stored", "")
		case v.stored && !had.stored:
			u.add(UndoUntil, "undo-stored-version", new.ID(), "stores objects as "+name+" from now on; the old operator may not read those", "an object is written")
		case v.served && !had.served:
			u.add(UndoUntil, "undo-served-version", new.ID(), "serves "+name+"; after a rollback nobody can read or write objects in it", "something uses it")
		}
	}
}

// definitions looks at those of the crds folders, which neither helm upgrade
// nor helm rollback touches.
func (u *undoing) definitions(pairs []pair) {
	for _, p := range pairs {
		if p.old != nil && p.new != nil && len(p.changes) > 0 {
			u.add(UndoUntil, "undo-crds-folder", p.new.ID(), "differs in the crds folder: who applies it by hand has to take it back by hand", "it is applied by hand")
		}
	}
}

// served looks at whether Kubernetes still takes what a rollback applies.
func (u *undoing) served(o Object) {
	if in, _, gone := RemovedIn(o.Group, o.Version, o.Kind); gone && (u.kube == "" || !before(u.kube, in)) {
		u.add(UndoByHand, "undo-api-removed", o.ID(), fmt.Sprintf("is written in %s by the old version, which Kubernetes %s removed: Helm cannot apply it again", o.APIVersion(), in), "")
	}
}
