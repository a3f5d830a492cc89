package signature

import (
	"fmt"
	"slices"
	"strings"
)

// WeakerThan names, one sentence each, what a policy lets through that the one
// before it refused; none when it is as strict or stricter. Whatever is not
// surely stricter counts as weaker, such as a key whose text changed. Both may
// be nil.
//
// Times are not played against each other: a policy that a signer leaves at
// another time than before is weaker when it leaves later.
func (p *Policy) WeakerThan(before *Policy) []string {
	if !before.demands() {
		return nil // nothing was refused
	}
	switch {
	case p == nil || p.Require != Any && p.Require != All:
		return []string{"signatures are no longer required"}
	case p.DryRun:
		return []string{"missing and bad signatures are only reported"}
	}
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !within(before.Charts, p.Charts) {
		say("signatures are required for fewer charts: %s, before %s", listOr(p.Charts, "all"), listOr(before.Charts, "all"))
	}
	for _, k := range before.Kinds {
		if !p.counts(k) {
			say("signatures of kind %s are no longer checked", k)
		}
	}
	if !p.implies(before) {
		say("a release needs %s, before it needed %s", p.words(), before.words())
	}
	if before.Distinct && !p.Distinct {
		say("whoever publishes a release may sign it too")
	}
	for i := range p.Signers {
		s := &p.Signers[i]
		if before.counts(s.Kind()) {
			if why := s.more(before); why != "" {
				say("%s", why)
			}
		}
	}
	if before.counts(Keyless) && p.TrustedRoot != before.TrustedRoot {
		say("certificates are judged by another trusted root")
	}
	return out
}

// demands says whether the policy refuses anything of any chart.
func (p *Policy) demands() bool {
	return p != nil && (p.Require == Any || p.Require == All) && !p.DryRun
}

// implies says whether whatever satisfies the requirement satisfies the other
// one, whichever kinds of signature there are.
func (p *Policy) implies(other *Policy) bool {
	all := Kinds()
	for set := range 1 << len(all) {
		var have []Kind
		for i, k := range all {
			if set&(1<<i) != 0 {
				have = append(have, k)
			}
		}
		if p.satisfied(have) && !other.satisfied(have) {
			return false
		}
	}
	return true
}

func (p *Policy) satisfied(have []Kind) bool {
	has := func(k Kind) bool { return slices.Contains(have, k) }
	if p.Require == Any {
		return slices.ContainsFunc(p.Kinds, has)
	}
	return !slices.ContainsFunc(p.Kinds, func(k Kind) bool { return !has(k) })
}

func (p *Policy) words() string {
	var kinds []string
	for _, k := range p.Kinds {
		kinds = append(kinds, string(k))
	}
	if len(kinds) == 1 {
		return "a signature of kind " + kinds[0]
	}
	if p.Require == Any {
		return "a signature of one of " + strings.Join(kinds, ", ")
	}
	return "a signature of each of " + strings.Join(kinds, ", ")
}

// more says what a signer may that no single one of the policy before might;
// "" when one of them might all of it.
func (s *Signer) more(before *Policy) string {
	var why string
	for i := range before.Signers {
		b := &before.Signers[i]
		if !s.same(b) {
			continue
		}
		w := s.moreThan(b, before.Distinct)
		if w == "" {
			return ""
		}
		if why == "" || b.Name == s.Name {
			why = w
		}
	}
	if why != "" {
		return why
	}
	for i := range before.Signers {
		if before.Signers[i].Name == s.Name {
			return fmt.Sprintf("signer %s has another key or identity", s.Name)
		}
	}
	return fmt.Sprintf("signer %s is new", s.Name)
}

// same says whether both are surely satisfied by the same signatures alone.
func (s *Signer) same(b *Signer) bool {
	return s.PGP == b.PGP && s.Key == b.Key && s.Issuer == b.Issuer && subset(b.Subject, s.Subject)
}

func (s *Signer) moreThan(b *Signer, distinct bool) string {
	switch end, ended := s.ends(), b.ends(); {
	case s.From.Before(b.From):
		return fmt.Sprintf("signer %s counts from an earlier time on", s.Name)
	case !b.Revoked.IsZero() && (s.Revoked.IsZero() || s.Revoked.After(b.Revoked)) && (end.IsZero() || end.After(ended)):
		return fmt.Sprintf("signer %s is revoked no more, or later", s.Name)
	case !ended.IsZero() && (end.IsZero() || end.After(ended)):
		return fmt.Sprintf("signer %s counts until a later time", s.Name)
	case !within(s.Charts, b.Charts):
		return fmt.Sprintf("signer %s signs more charts: %s, before %s", s.Name, listOr(s.Charts, "all"), listOr(b.Charts, "all"))
	case len(b.Publishers) > 0 && (len(s.Publishers) == 0 || slices.ContainsFunc(s.Publishers, func(id string) bool { return !slices.Contains(b.Publishers, id) })):
		return fmt.Sprintf("signer %s signs for more publishers", s.Name)
	case distinct && s.Owner != b.Owner:
		return fmt.Sprintf("signer %s has another owner, and the one before may publish what it signs", s.Name)
	}
	return ""
}

// within says whether every chart that the globs mean is surely meant by the
// others too. An empty list means all.
func within(globs, others []string) bool {
	if len(others) == 0 || slices.ContainsFunc(others, func(o string) bool { return strings.Trim(o, "*") == "" }) {
		return true
	}
	if len(globs) == 0 {
		return false
	}
	for _, g := range globs {
		if !slices.ContainsFunc(others, func(o string) bool { return subset(o, g) }) {
			return false
		}
	}
	return true
}

// subset says whether whatever a pattern matches is surely matched by the outer
// one. A star of the inner pattern is held against the outer as a character of
// its own, which only a star takes: what it stands for has no slash either.
func subset(outer, inner string) bool { return match(outer, inner) }

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}
