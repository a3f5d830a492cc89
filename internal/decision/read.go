package decision

import (
	"bytes"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a policy document, beside those of its tables: a row for each
// combination.
const (
	maxPolicy = 64 << 10 // bytes
	maxText   = 300      // bytes of a reason, approver or model
)

var (
	policyName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	policyVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$`)
)

// ReadPolicy reads an organisation's policy: YAML, at most 64 KiB, without
// anchors and aliases. What it leaves out is as in Default; a key that there is
// not is refused. A table may be tightened row by row, and replaced as a whole,
// which takes a reason and an approver. Errors are problems with the line.
func ReadPolicy(text []byte) (*Policy, error) {
	if len(text) > maxPolicy {
		return nil, problem.New(problem.TooLarge, "policy-size", "the policy is larger than %d KiB", maxPolicy>>10).With("size", "%d bytes", len(text))
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, problem.New(problem.Invalid, "policy-syntax", "the policy is not YAML: %.200s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, problem.New(problem.Invalid, "policy-syntax", "the policy is more than one YAML document")
	}
	if len(doc.Content) == 0 {
		return nil, problem.New(problem.Invalid, "policy-syntax", "the policy is empty").Suggest("write its name and version, and what differs from the default")
	}
	r := &policyReader{policy: base()}
	r.read(doc.Content[0])
	if r.err != nil {
		return nil, r.err
	}
	r.policy.seal()
	return r.policy, nil
}

// policyReader fills a policy, and keeps the first fault.
type policyReader struct {
	policy *Policy
	err    *problem.Error
}

// field reads the value of a key; path is the key with those it is under.
type field func(n *yaml.Node, path string)

func (r *policyReader) fail(n *yaml.Node, rule, format string, args ...any) {
	if r.err == nil {
		r.err = problem.New(problem.Invalid, rule, format, args...).With("line", "%d", n.Line)
	}
}

// mapping reads a mapping, whose keys are texts that stand there once.
func (r *policyReader) mapping(n *yaml.Node, path string, get func(key string) field, keys []string) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "policy-value", "%s has to be a mapping of %s", orPolicy(path), strings.Join(keys, ", "))
		return
	}
	var seen []string
	for i := 0; i+1 < len(n.Content) && r.err == nil; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		f := field(nil)
		if k.Kind == yaml.ScalarNode {
			f = get(k.Value)
		}
		switch {
		case f == nil:
			r.fail(k, "policy-key", "%s has a key %.40q that there is not", orPolicy(path), k.Value)
			r.err.Suggest("use one of %s", strings.Join(keys, ", "))
		case slices.Contains(seen, k.Value):
			r.fail(k, "policy-key", "the key %s stands there twice", join(path, k.Value))
		default:
			seen = append(seen, k.Value)
			f(v, join(path, k.Value))
		}
	}
}

// fields is mapping with keys that are known one by one.
func (r *policyReader) fields(n *yaml.Node, path string, keys []string, read ...field) {
	r.mapping(n, path, func(key string) field {
		if i := slices.Index(keys, key); i >= 0 {
			return read[i]
		}
		return nil
	}, keys)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orPolicy(path string) string {
	if path == "" {
		return "the policy"
	}
	return path
}

// text reads a scalar on one line that people can read.
func (r *policyReader) text(to *string) field {
	return func(n *yaml.Node, path string) {
		odd := func(c rune) bool { return !unicode.IsPrint(c) }
		if n.Kind != yaml.ScalarNode || len(n.Value) > maxText || strings.ContainsFunc(n.Value, odd) {
			r.fail(n, "policy-value", "%s has to be text on one line, of at most %d bytes", path, maxText)
			return
		}
		*to = strings.TrimSpace(n.Value)
	}
}

// days reads a number of days.
func (r *policyReader) days(to *int) field {
	return func(n *yaml.Node, path string) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < 1 || v > maxDays {
			r.fail(n, "policy-value", "%s has to be a number of days from 1 to %d", path, maxDays)
			return
		}
		*to = v
	}
}

// number reads a number within bounds, with so many decimals.
func (r *policyReader) number(to *float64, low, high float64, decimals int) field {
	return func(n *yaml.Node, path string) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || !(v >= low && v <= high) {
			r.fail(n, "policy-value", "%s has to be a number from %v to %v", path, low, high)
			return
		}
		scale := math.Pow10(decimals)
		*to = math.Round(v*scale) / scale
	}
}

// choice reads one of a list, as its place.
func (r *policyReader) choice(to *int, names []string) field {
	return func(n *yaml.Node, path string) {
		i := slices.Index(names, n.Value)
		if n.Kind != yaml.ScalarNode || i < 0 {
			r.fail(n, "policy-value", "%s has to be one of %s", path, strings.Join(names, ", "))
			return
		}
		*to = i
	}
}

func (r *policyReader) read(n *yaml.Node) {
	p := r.policy
	p.name, p.version = "", ""
	var tables, missions *yaml.Node
	r.fields(n, "", []string{"name", "version", "sla", "floor", "overlay", "epss", "stale-after", "mission", "tables"},
		r.text(&p.name), r.text(&p.version), r.sla, r.floor, r.overlay, r.epss, r.stale,
		func(n *yaml.Node, _ string) { missions = n },
		func(n *yaml.Node, _ string) { tables = n })
	if !policyName.MatchString(p.name) {
		r.fail(n, "policy-name", "the policy has to have a name of lower-case letters, digits and hyphens, at most 63")
	}
	if !policyVersion.MatchString(p.version) {
		r.fail(n, "policy-version", "the policy has to have a version of letters, digits and . _ + -, at most 64")
	}
	if tables != nil && r.err == nil {
		r.tables(tables, "tables")
	}
	if missions != nil && r.err == nil {
		r.missions(missions, "mission")
	}
	if r.err == nil {
		r.rising(n, missions)
	}
}

func (r *policyReader) sla(n *yaml.Node, path string) {
	sla := r.policy.sla
	r.fields(n, path, tiers[1:], r.days(&sla[1]), r.days(&sla[2]), r.days(&sla[3]))
	if sla[3] > sla[2] || sla[2] > sla[1] {
		r.fail(n, "policy-order", "sla gives more days to what is more urgent: immediate %d, out-of-cycle %d, scheduled %d", sla[3], sla[2], sla[1])
	}
}

func (r *policyReader) floor(n *yaml.Node, path string) {
	p := r.policy
	if n.Kind == yaml.ScalarNode && n.Value == "none" {
		p.floorDays = none
		return
	}
	r.fields(n, path, []string{"score", "days"}, r.number(&p.floorScore, 0, 10, 1), r.days(&p.floorDays))
}

func (r *policyReader) overlay(n *yaml.Node, path string) {
	p := r.policy
	profiles := []string{overlayNone, overlayFedRAMP, overlayPCI, overlayOwn}
	chosen, given := none, profile(overlayNone)
	r.fields(n, path, []string{"profile", "days"}, r.choice(&chosen, profiles), func(n *yaml.Node, path string) {
		r.fields(n, path, ratings, r.days(&given[0]), r.days(&given[1]), r.days(&given[2]), r.days(&given[3]))
	})
	if r.err != nil {
		return
	}
	if chosen == none {
		r.fail(n, "policy-value", "%s has to have a profile: one of %s", path, strings.Join(profiles, ", "))
		return
	}
	p.overlay, p.overlayDays = profiles[chosen], profile(profiles[chosen])
	empty := !slices.ContainsFunc(given, func(d int) bool { return d != none })
	if own := p.overlay == overlayOwn; own == empty {
		r.fail(n, "policy-value", "%s has days by rating with the profile own, and with that one alone", path)
		return
	}
	if p.overlay != overlayOwn {
		return
	}
	p.overlayDays = given
	for i := range given[1:] {
		if worse, less := given[i+1], given[i]; less != none && (worse == none || worse > less) {
			r.fail(n, "policy-order", "%s gives more days to the rating %s than to %s", path, ratings[i+1], ratings[i])
		}
	}
}

func (r *policyReader) epss(n *yaml.Node, path string) {
	p := r.policy
	p.model = "" // whoever gives a threshold says for which model
	r.fields(n, path, []string{"threshold", "model"}, r.number(&p.threshold, 0, 1, 6), r.text(&p.model))
}

func (r *policyReader) stale(n *yaml.Node, path string) {
	var names []string
	var read []field
	for i, k := range kinds {
		names, read = append(names, k.name), append(read, r.days(&r.policy.stale[i]))
	}
	r.fields(n, path, names, read...)
}

func (r *policyReader) missions(n *yaml.Node, path string) {
	p := r.policy
	if n.Kind != yaml.SequenceNode || len(n.Content) != len(p.missions) {
		r.fail(n, "policy-value", "%s has to be a list of %d, for the tiers 0 to %d", path, len(p.missions), len(p.missions)-1)
		return
	}
	for i, m := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		p.missions[i] = [2]int{none, none}
		r.fields(m, at, []string{"safety", "mission"},
			r.choice(&p.missions[i][0], p.human.columns[0].values), r.choice(&p.missions[i][1], p.human.columns[1].values))
		if p.missions[i][0] == none || p.missions[i][1] == none {
			r.fail(m, "policy-value", "%s has to have safety and mission", at)
		}
	}
}

// rising refuses mission tiers of which a higher one has less human impact, by
// the table that holds.
func (r *policyReader) rising(n, missions *yaml.Node) {
	if missions != nil {
		n = missions
	}
	p := r.policy
	for i := 1; i < len(p.missions); i++ {
		less, _ := p.human.find(p.missions[i-1][0], p.missions[i-1][1])
		more, _ := p.human.find(p.missions[i][0], p.missions[i][1])
		if more.outcome.rank < less.outcome.rank {
			r.fail(n, "policy-order", "mission tier %d has the human impact %s, less than %s of tier %d", i, more.outcome.text, less.outcome.text, i-1)
		}
	}
}

func (r *policyReader) tables(n *yaml.Node, path string) {
	var ids []string
	var read []field
	for _, f := range forms {
		ids = append(ids, f.id)
		read = append(read, func(n *yaml.Node, path string) { r.ownTable(n, path, f) })
	}
	r.fields(n, path, ids, read...)
}

func (r *policyReader) ownTable(n *yaml.Node, path string, f form) {
	o, replace, rows := &own{}, 0, (*yaml.Node)(nil)
	r.fields(n, path, []string{"replace", "reason", "approver", "rows"},
		r.choice(&replace, []string{"false", "true"}), r.text(&o.reason), r.text(&o.approver),
		func(n *yaml.Node, path string) {
			if rows = n; n.Kind != yaml.ScalarNode {
				r.fail(n, "policy-value", "%s has to be text, whose first line is %s", path, f.header())
			}
		})
	o.replace = replace == 1
	switch {
	case r.err != nil:
		return
	case rows == nil:
		r.fail(n, "policy-table", "%s has no rows", path)
		return
	case o.replace && (o.reason == "" || o.approver == ""):
		r.fail(n, "policy-table", "%s replaces a table, which takes a reason and an approver", path)
		return
	}
	var err error
	if o.rows, err = f.read(rows.Value); err == nil && len(o.rows) == 0 {
		err = errors.New("there are no rows")
	}
	if err != nil {
		r.fail(rows, "policy-table", "%s: %v", path, err)
		return
	}
	t := r.policy.table(f.id)
	changed, err := (*t).with(o)
	if err != nil {
		r.fail(rows, "policy-table", "%s: %v", path, err)
		return
	}
	*t = changed
}
