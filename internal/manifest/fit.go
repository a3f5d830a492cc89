package manifest

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
)

// Fit says how the values that somebody sets fit another version of a chart.
// Each path that is set is in one of the lists from Kept to Unlisted, and Set
// is how many there are. Lists are sorted; none is nil.
type Fit struct {
	Set      int      `json:"set"`      // values that are set: what is no table, and empty tables
	Kept     []string `json:"kept"`     // both charts have it, or let anything be set there, and its default is the same
	Vanished []string `json:"vanished"` // the old chart had it; Helm ignores it without a word
	Retyped  []string `json:"retyped"`  // its default is of another type now
	Default  []string `json:"default"`  // its default is another now, and may mean another
	Unlisted []string `json:"unlisted"` // neither chart lists it
	// Required are values that the new schema requires, that the old one did not,
	// and that neither the chart nor anybody gives.
	Required []string `json:"required"`
	// Defaults counts the defaults that changed among the values that are not set.
	Defaults int `json:"defaults"`
	// Unknown is true when the charts have too many values to compare them all.
	Unknown bool `json:"unknown,omitempty"`
}

// fitOf fits values into the defaults of two charts. found are the findings of
// compareValues for the same.
func fitOf(was, is, user map[string]any, found []Finding) Fit {
	f := Fit{Kept: []string{}, Vanished: []string{}, Retyped: []string{}, Default: []string{}, Unlisted: []string{}, Required: []string{}}
	f.table("", was, is, user, 0)
	for _, x := range found {
		switch {
		case x.Rule == "value-required" && x.Severity == High:
			f.Required = append(f.Required, x.Object)
		case (x.Rule == "value-default" || x.Rule == "value-type") && !x.Set:
			f.Defaults++
		case x.Rule == "values-unknown":
			f.Unknown = true
		}
	}
	for _, l := range []*[]string{&f.Kept, &f.Vanished, &f.Retyped, &f.Default, &f.Unlisted, &f.Required} {
		slices.Sort(*l)
	}
	return f
}

// table places what is set in one table. What both charts do not have as a
// table of their own is nil in was and is.
func (f *Fit) table(path string, was, is, user map[string]any, depth int) {
	for _, k := range slices.Sorted(maps.Keys(user)) {
		at := join(path, k)
		mine, isTable := user[k].(map[string]any)
		o, had := was[k]
		n, has := is[k]
		a, oldTable := o.(map[string]any)
		b, newTable := n.(map[string]any)
		switch {
		case path == "" && k == "global" && !had && !has:
			f.leaves(&f.Kept, at, user[k], depth)
		case isTable && len(mine) > 0 && newTable && len(b) > 0 && depth < maxNesting:
			f.table(at, a, b, mine, depth+1)
		case !has && had:
			f.leaves(&f.Vanished, at, user[k], depth)
		case !has:
			f.leaves(&f.Unlisted, at, user[k], depth)
		case had && o != nil && n != nil && typeOf(o) != typeOf(n):
			f.leaves(&f.Retyped, at, user[k], depth)
		case had && oldTable && newTable && len(b) == 0 && len(a) > 0:
			// What was listed may still be set: the table takes anything now.
			f.leaves(&f.Default, at, user[k], depth)
		case had && !reflect.DeepEqual(o, n):
			f.leaves(&f.Default, at, user[k], depth)
		default:
			f.leaves(&f.Kept, at, user[k], depth)
		}
	}
}

// leaves adds every value below a path to a list.
func (f *Fit) leaves(list *[]string, at string, v any, depth int) {
	if m, ok := v.(map[string]any); ok && len(m) > 0 && depth < maxNesting {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			f.leaves(list, join(at, k), m[k], depth+1)
		}
		return
	}
	f.Set++
	*list = append(*list, oneLine(at))
}

// Values that harden what a chart makes, by their last names.
var (
	hardeningTable = regexp.MustCompile(`(?i)(securityContext|seccompProfile|appArmorProfile|seLinuxOptions)$`)
	hardeningOn    = regexp.MustCompile(`(?i)^(readOnlyRootFilesystem|runAsNonRoot|networkPolic(y|ies)|(m?tls|ssl|enableM?TLS)|podSecurity|restricted\w*)$`)
	hardeningOff   = regexp.MustCompile(`(?i)^(allowPrivilegeEscalation|privileged|hostNetwork|hostPID|hostIPC|hostUsers|automountServiceAccountToken)$`)
)

// hardening finds what the new chart offers to harden what it makes, where the
// old one had nothing of that name, and what is not used: neither by default
// nor by the user.
func (v *valueDiff) hardening(path string, old, new, user map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(new)) {
		if v.left--; v.left < 0 {
			return
		}
		at := join(path, k)
		n, mine := new[k], user[k]
		o, had := old[k]
		if had {
			a, oldTable := o.(map[string]any)
			b, newTable := n.(map[string]any)
			if oldTable && newTable {
				below, _ := mine.(map[string]any)
				v.hardening(at, a, b, below)
			}
			continue
		}
		if mine != nil {
			n = mine
			if a, b := asTable(new[k]), asTable(mine); a != nil && b != nil {
				n = over(a, b)
			}
		}
		unused := false
		switch {
		case hardeningTable.MatchString(k):
			unused = unusedTable(n)
		case hardeningOn.MatchString(k):
			unused = n == false || asTable(n) != nil && asTable(n)["enabled"] == false
		case hardeningOff.MatchString(k):
			unused = n == true
		}
		if unused {
			v.add("hardening-offered", Low, at, "is offered by the new version to harden what it runs, and is not used", "", shown(at, n))
		}
	}
}

func asTable(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// unusedTable reports whether a table sets nothing, or is switched off.
func unusedTable(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case map[string]any:
		return len(v) == 0 || v["enabled"] == false
	}
	return false
}
