package signature_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/signature/signaturetest"
)

const anyRoot = `{"trusts":["forge"]}`

func TestPolicyCheck(t *testing.T) {
	pgp, key := signaturetest.NewPGP(t, day(-100)).Public(t), signaturetest.NewKey(t).Public(t)
	signer := signature.Signer{Name: "ada", PGP: pgp}
	base := func() signature.Policy {
		return signature.Policy{Require: signature.All, Kinds: []signature.Kind{signature.PGP}, Signers: []signature.Signer{signer}}
	}
	for name, test := range map[string]struct {
		change func(*signature.Policy)
		ok     bool
	}{
		"as it is":               {func(*signature.Policy) {}, true},
		"nothing":                {func(p *signature.Policy) { *p = signature.Policy{} }, true},
		"another requirement":    {func(p *signature.Policy) { p.Require = "some" }, false},
		"no kinds":               {func(p *signature.Policy) { p.Kinds = nil }, false},
		"another kind":           {func(p *signature.Policy) { p.Kinds = append(p.Kinds, "wax") }, false},
		"a kind without signers": {func(p *signature.Policy) { p.Kinds = append(p.Kinds, signature.Key) }, false},
		"two of one name":        {func(p *signature.Policy) { p.Signers = append(p.Signers, signer) }, false},
		"no name":                {func(p *signature.Policy) { p.Signers[0].Name = "" }, false},
		"a bad name":             {func(p *signature.Policy) { p.Signers[0].Name = "Ada L" }, false},
		"two keys":               {func(p *signature.Policy) { p.Signers[0].Key = key }, false},
		"no key":                 {func(p *signature.Policy) { p.Signers[0].PGP = "" }, false},
		"an issuer alone":        {func(p *signature.Policy) { p.Signers[0] = signature.Signer{Name: "ci", Issuer: "x"} }, false},
		"no owner":               {func(p *signature.Policy) { p.Distinct = true }, false},
		"an owner":               {func(p *signature.Policy) { p.Distinct = true; p.Signers[0].Owner = "usr-1" }, true},
		"ends at its beginning":  {func(p *signature.Policy) { p.Signers[0].From, p.Signers[0].Until = noon, noon }, false},
		"year one":               {func(p *signature.Policy) { p.Signers[0].From = time.Unix(-1e11, 0) }, false},
		"charts":                 {func(p *signature.Policy) { p.Charts = []string{"web-*", "db"} }, true},
		"a bad chart":            {func(p *signature.Policy) { p.Charts = []string{"Web"} }, false},
		"an empty chart":         {func(p *signature.Policy) { p.Signers[0].Charts = []string{""} }, false},
		"an empty publisher":     {func(p *signature.Policy) { p.Signers[0].Publishers = []string{""} }, false},
		"too many charts":        {func(p *signature.Policy) { p.Charts = slices.Repeat([]string{"a"}, 65) }, false},
		"too many signers": {func(p *signature.Policy) {
			for i := range 33 {
				p.Signers = append(p.Signers, signature.Signer{Name: fmt.Sprint("s", i), PGP: pgp})
			}
		}, false},
		"a root for nobody": {func(p *signature.Policy) { p.TrustedRoot = anyRoot }, false},
		"an identity": {func(p *signature.Policy) {
			p.Signers = append(p.Signers, signature.Signer{Name: "ci", Issuer: "https://i", Subject: "a@b"})
			p.TrustedRoot = anyRoot
		}, true},
		"an identity without a root": {func(p *signature.Policy) {
			p.Signers = append(p.Signers, signature.Signer{Name: "ci", Issuer: "https://i", Subject: "a@b"})
		}, false},
		"a root that is no JSON": {func(p *signature.Policy) {
			p.Signers = append(p.Signers, signature.Signer{Name: "ci", Issuer: "https://i", Subject: "a@b"})
			p.TrustedRoot = "{"
		}, false},
		"anybody": {func(p *signature.Policy) {
			p.Signers = append(p.Signers, signature.Signer{Name: "ci", Issuer: "https://i", Subject: "**"})
			p.TrustedRoot = anyRoot
		}, false},
		"any issuer": {func(p *signature.Policy) {
			p.Signers = append(p.Signers, signature.Signer{Name: "ci", Issuer: "https://*", Subject: "a@b"})
			p.TrustedRoot = anyRoot
		}, false},
	} {
		p := base()
		test.change(&p)
		err := p.Check()
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if _, isProblem := problem.As(err); err != nil && !isProblem {
			t.Errorf("%s: %v is no problem", name, err)
		}
	}
}

// TestNormal: one policy has one form, whichever way it was written.
func TestNormal(t *testing.T) {
	east := time.FixedZone("", 3600)
	a := signature.Policy{Require: signature.Any, Kinds: []signature.Kind{"pgp", "key", "pgp"}, Charts: []string{"b", "a"}, Signers: []signature.Signer{
		{Name: "z", Key: "k", Until: noon.In(east).Add(time.Millisecond)}, {Name: "a", PGP: "p", Publishers: []string{"2", "1", "1"}},
	}}
	b := signature.Policy{Require: signature.Any, Kinds: []signature.Kind{"key", "pgp"}, Charts: []string{"a", "b"}, Signers: []signature.Signer{
		{Name: "a", PGP: "p", Publishers: []string{"1", "2"}}, {Name: "z", Key: "k", Until: noon},
	}}
	ja, _ := json.Marshal(a.Normal())
	jb, _ := json.Marshal(b.Normal())
	if string(ja) != string(jb) {
		t.Errorf("%s\n%s", ja, jb)
	}
	var back signature.Policy
	if err := json.Unmarshal(ja, &back); err != nil || !reflect.DeepEqual(back.Normal(), a.Normal()) {
		t.Errorf("%+v came back as %+v, %v", a.Normal(), back, err)
	}
	if a.Signers[0].Name != "z" || a.Charts[0] != "b" {
		t.Error("the original was changed")
	}
}

func TestWeakerThan(t *testing.T) {
	base := func() *signature.Policy {
		return &signature.Policy{
			Require: signature.All, Kinds: []signature.Kind{signature.Key, signature.PGP}, Distinct: true, TrustedRoot: anyRoot,
			Signers: []signature.Signer{
				{Name: "ada", PGP: "A", Owner: "usr-ada", From: day(0), Until: day(10), Charts: []string{"web-*"}, Publishers: []string{"usr-ci"}},
				{Name: "bob", Key: "B", Owner: "usr-bob", Revoked: day(5)},
				{Name: "ci", Issuer: "I", Subject: "acme/*", Owner: "usr-ci"},
			},
		}
	}
	for name, test := range map[string]struct {
		change func(*signature.Policy)
		says   string // "" is not weaker
	}{
		"the same":              {func(*signature.Policy) {}, ""},
		"nothing required":      {func(p *signature.Policy) { p.Require = signature.None }, "no longer required"},
		"dry run":               {func(p *signature.Policy) { p.DryRun = true }, "only reported"},
		"any for all":           {func(p *signature.Policy) { p.Require = signature.Any }, "one of key, pgp, before it needed a signature of each"},
		"a kind less":           {func(p *signature.Policy) { p.Kinds = p.Kinds[:1] }, "kind pgp are no longer checked"},
		"a kind more":           {func(p *signature.Policy) { p.Kinds = append(p.Kinds, signature.Keyless) }, ""},
		"for fewer charts":      {func(p *signature.Policy) { p.Charts = []string{"web"} }, "fewer charts"},
		"publisher may sign":    {func(p *signature.Policy) { p.Distinct = false }, "may sign it too"},
		"a new signer":          {func(p *signature.Policy) { p.Signers = append(p.Signers, signature.Signer{Name: "eve", PGP: "E"}) }, "eve is new"},
		"another key":           {func(p *signature.Policy) { p.Signers[0].PGP = "A2" }, "ada has another key"},
		"another name":          {func(p *signature.Policy) { p.Signers[0].Name = "ada2" }, ""},
		"earlier":               {func(p *signature.Policy) { p.Signers[0].From = time.Time{} }, "earlier"},
		"later":                 {func(p *signature.Policy) { p.Signers[0].Until = day(11) }, "later"},
		"without end":           {func(p *signature.Policy) { p.Signers[0].Until = time.Time{} }, "later"},
		"shorter":               {func(p *signature.Policy) { p.Signers[0].From, p.Signers[0].Until = day(1), day(9) }, ""},
		"revoked":               {func(p *signature.Policy) { p.Signers[0].Revoked = day(1) }, ""},
		"not revoked":           {func(p *signature.Policy) { p.Signers[1].Revoked = time.Time{} }, "bob is revoked no more"},
		"revoked later":         {func(p *signature.Policy) { p.Signers[1].Revoked = day(6) }, "bob is revoked no more, or later"},
		"revoked earlier":       {func(p *signature.Policy) { p.Signers[1].Revoked = day(4) }, ""},
		"ended for revoked":     {func(p *signature.Policy) { p.Signers[1].Revoked, p.Signers[1].Until = time.Time{}, day(5) }, ""},
		"wider globs":           {func(p *signature.Policy) { p.Signers[0].Charts = []string{"web*"} }, "more charts"},
		"all charts":            {func(p *signature.Policy) { p.Signers[0].Charts = nil }, "more charts"},
		"narrower globs":        {func(p *signature.Policy) { p.Signers[0].Charts = []string{"web-api", "web-*-x"} }, ""},
		"another publisher":     {func(p *signature.Policy) { p.Signers[0].Publishers = []string{"usr-ci", "usr-x"} }, "more publishers"},
		"all publishers":        {func(p *signature.Policy) { p.Signers[0].Publishers = nil }, "more publishers"},
		"another owner":         {func(p *signature.Policy) { p.Signers[0].Owner = "usr-x" }, "another owner"},
		"no ada":                {func(p *signature.Policy) { p.Signers = p.Signers[1:] }, ""},
		"a signer who does not": {func(p *signature.Policy) { p.Signers[2].Subject = "*/*" }, ""}, // keyless is not asked for
	} {
		after := base()
		test.change(after)
		got := after.WeakerThan(base())
		if test.says == "" && len(got) > 0 || test.says != "" && !strings.Contains(strings.Join(got, "; "), test.says) {
			t.Errorf("%s: %q, want %q", name, got, test.says)
		}
		if back := base().WeakerThan(after); test.says == "" && name != "the same" && name != "another name" && name != "ended for revoked" && name != "a signer who does not" && len(back) == 0 {
			t.Errorf("%s: taking it back is not weaker", name)
		}
	}
	keyless := func(subject, root string) *signature.Policy {
		return &signature.Policy{Require: signature.Any, Kinds: []signature.Kind{signature.Keyless}, TrustedRoot: root, Signers: []signature.Signer{{Name: "ci", Issuer: "I", Subject: subject}}}
	}
	if got := keyless("acme/*/x", "R").WeakerThan(keyless("acme/*/*", "R")); len(got) != 0 {
		t.Errorf("a narrower identity: %q", got)
	}
	if got := keyless("acme/*", "R").WeakerThan(keyless("acme/charts", "R")); len(got) != 1 {
		t.Errorf("a wider identity: %q", got)
	}
	if got := keyless("acme/*", "R2").WeakerThan(keyless("acme/*", "R")); len(got) != 1 {
		t.Errorf("another root: %q", got)
	}
	if got := (*signature.Policy)(nil).WeakerThan(base()); len(got) != 1 {
		t.Errorf("nothing at all: %q", got)
	}
	if got := base().WeakerThan(nil); len(got) != 0 {
		t.Errorf("something after nothing: %q", got)
	}
}

// pretend certifies what the certificate says, for identities of the forges that
// the root trusts. Certificates are tested in package keyless.
type pretend struct{}

type pretended struct{ Forge, Issuer, Subject, Digest string }

func (pretend) CheckRoot([]byte) error { return nil }

func (pretend) Certify(root, bundle []byte, digests ...string) (signature.Certified, error) {
	var b struct {
		VerificationMaterial struct{ Certificate struct{ RawBytes []byte } }
	}
	var c pretended
	var r struct{ Trusts []string }
	if json.Unmarshal(bundle, &b) != nil || json.Unmarshal(b.VerificationMaterial.Certificate.RawBytes, &c) != nil || json.Unmarshal(root, &r) != nil {
		return signature.Certified{}, fmt.Errorf("not of this test")
	}
	if !slices.Contains(r.Trusts, c.Forge) || !slices.Contains(digests, c.Digest) {
		return signature.Certified{}, problem.New(problem.Policy, "signature-certificate", "no")
	}
	return signature.Certified{Issuer: c.Issuer, Subject: c.Subject, Digest: c.Digest}, nil
}

func (c pretended) bundle(t testing.TB) []byte {
	payload := encode(t, map[string]any{"_type": "https://in-toto.io/Statement/v1", "predicateType": signature.SignPredicate,
		"subject": []any{map[string]any{"digest": map[string]string{"sha256": strings.TrimPrefix(c.Digest, "sha256:")}}}})
	return encode(t, map[string]any{
		"mediaType":            signature.MediaType,
		"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": encode(t, c)}},
		"dsseEnvelope":         map[string]any{"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": []byte("x")}}},
	})
}

// world is what random policies and releases are made of.
type world struct {
	*rand.Rand
	signers  []signature.Signer
	subjects []signature.Subject
	provs    [][][]byte // of each subject, by each PGP key and one by nobody
	bundles  [][][]byte
}

func newWorld(t *testing.T) *world {
	w := &world{Rand: rand.New(rand.NewPCG(1, 2))}
	var pgps []signaturetest.PGP
	var keys []signaturetest.Key
	for i := range 2 {
		p, k := signaturetest.NewPGP(t, day(-100)), signaturetest.NewKey(t)
		pgps, keys = append(pgps, p), append(keys, k)
		w.signers = append(w.signers, signature.Signer{Name: fmt.Sprint("pgp", i), PGP: p.Public(t)}, signature.Signer{Name: fmt.Sprint("key", i), Key: k.Public(t)})
	}
	for i, subject := range []string{"acme/web", "acme/*", "*/web"} {
		w.signers = append(w.signers, signature.Signer{Name: fmt.Sprint("id", i), Issuer: "I", Subject: subject})
	}
	pgps, keys = append(pgps, signaturetest.NewPGP(t, day(-100))), append(keys, signaturetest.NewKey(t)) // nobody's
	for _, name := range []string{"web", "web-api", "db"} {
		archive := charttest.Build(t, name, "1.0.0", nil)
		sub := subject(t, archive)
		w.subjects = append(w.subjects, sub)
		var provs, bundles [][]byte
		for i := range pgps {
			provs, bundles = append(provs, pgps[i].Sign(t, archive, day(-50))), append(bundles, keys[i].Sign(t, archive, ""))
		}
		for _, id := range []string{"acme/web", "acme/db", "evil/web"} {
			for _, forge := range []string{"forge", "other"} {
				bundles = append(bundles, pretended{forge, "I", id, sub.Archive}.bundle(t))
			}
		}
		w.provs, w.bundles = append(w.provs, provs), append(w.bundles, bundles)
	}
	return w
}

func pick[T any](w *world, list ...T) T { return list[w.IntN(len(list))] }

func (w *world) time() time.Time {
	return pick(w, time.Time{}, time.Time{}, day(-2), day(-1), day(0), day(1), day(2))
}

func (w *world) globs() []string {
	return pick(w, nil, nil, []string{"web"}, []string{"web*"}, []string{"web-*", "db"}, []string{"db"}, []string{"*"}, []string{"*-api", "web"})
}

// limits gives a signer a limit or two, so that what it signs is often taken.
func (w *world) limits(s *signature.Signer) {
	for range w.IntN(3) {
		switch w.IntN(5) {
		case 0:
			s.From = w.time()
		case 1:
			s.Until = w.time()
		case 2:
			s.Revoked = w.time()
		case 3:
			s.Charts = w.globs()
		case 4:
			s.Publishers = pick(w, []string{"usr-a"}, []string{"usr-a", "usr-b"})
		}
	}
	if !s.Until.IsZero() && !s.From.Before(s.Until) {
		s.Until = time.Time{}
	}
	s.Owner = pick(w, "usr-a", "usr-b", "usr-c")
}

func (w *world) policy() signature.Policy {
	p := signature.Policy{Require: pick(w, signature.Any, signature.All), DryRun: w.IntN(16) == 0, Distinct: w.IntN(3) == 0}
	if w.IntN(3) == 0 {
		p.Charts = w.globs()
	}
	for _, s := range w.signers {
		if w.IntN(2) == 0 {
			w.limits(&s)
			p.Signers = append(p.Signers, s)
		}
	}
	return w.mend(p)
}

// mend makes a random policy one that may stand.
func (w *world) mend(p signature.Policy) signature.Policy {
	has := func(k signature.Kind) bool {
		return slices.ContainsFunc(p.Signers, func(s signature.Signer) bool { return s.Kind() == k })
	}
	var kinds []signature.Kind
	for _, k := range p.Kinds {
		if has(k) {
			kinds = append(kinds, k)
		}
	}
	for _, k := range signature.Kinds() {
		if len(p.Kinds) == 0 && has(k) && w.IntN(2) == 0 {
			kinds = append(kinds, k)
		}
	}
	p.Kinds = kinds
	if len(kinds) == 0 {
		p.Require = signature.None
	}
	p.TrustedRoot = strings.TrimSpace(p.TrustedRoot)
	if !has(signature.Keyless) {
		p.TrustedRoot = ""
	} else if p.TrustedRoot == "" {
		p.TrustedRoot = pick(w, anyRoot, anyRoot, `{"trusts":["forge","other"]}`)
	}
	return p.Normal()
}

// relax takes a limit of a signer away that it has, or widens it.
func (w *world) relax(p signature.Policy) signature.Policy {
	p = p.Normal() // a copy
	var limited []func()
	for i := range p.Signers {
		s := &p.Signers[i]
		if !slices.Contains(p.Kinds, s.Kind()) {
			continue
		}
		for _, t := range []*time.Time{&s.From, &s.Until, &s.Revoked} {
			if !t.IsZero() {
				limited = append(limited, func() { *t = time.Time{} })
			}
		}
		if len(s.Charts) > 0 {
			limited = append(limited, func() { s.Charts = w.globs() })
		}
		if len(s.Publishers) > 0 {
			limited = append(limited, func() { s.Publishers = pick(w, nil, []string{"usr-b", "usr-c"}) })
		}
		if s.Subject != "" {
			limited = append(limited, func() { s.Subject = pick(w, "acme/*", "*/web", "*/w*") })
		}
	}
	if len(limited) > 0 {
		pick(w, limited...)()
	}
	return w.mend(p)
}

// near changes a policy a little.
func (w *world) near(p signature.Policy) signature.Policy {
	if w.IntN(3) == 0 {
		return w.relax(p)
	}
	p = p.Normal() // a copy
	for range 1 + w.IntN(4)/3 {
		s := &signature.Signer{}
		if len(p.Signers) > 0 {
			s = &p.Signers[w.IntN(len(p.Signers))]
		}
		switch w.IntN(13) {
		case 0:
			p.Require = pick(w, signature.None, signature.Any, signature.All)
		case 1:
			p.DryRun = !p.DryRun
		case 2:
			p.Distinct = !p.Distinct
		case 3:
			p.Charts = w.globs()
		case 4:
			p.Kinds = nil // others
		case 5:
			p.TrustedRoot = ""
		case 6:
			s.From = w.time()
		case 7:
			s.Until = w.time()
		case 8:
			s.Revoked = w.time()
		case 9:
			s.Charts = w.globs()
		case 10:
			s.Publishers, s.Owner = pick(w, nil, []string{"usr-a"}, []string{"usr-b"}), pick(w, "usr-a", "usr-b")
		case 11:
			if len(p.Signers) > 0 {
				i := w.IntN(len(p.Signers))
				p.Signers = slices.Delete(slices.Clone(p.Signers), i, i+1)
			}
		case 12:
			extra := w.signers[w.IntN(len(w.signers))]
			w.limits(&extra)
			extra.Name += "x"
			if !slices.ContainsFunc(p.Signers, func(s signature.Signer) bool { return s.Name == extra.Name }) {
				p.Signers = append(p.Signers, extra)
			}
		}
		if !s.Until.IsZero() && !s.From.Before(s.Until) {
			s.Until = time.Time{}
		}
	}
	return w.mend(p)
}

// scene is a release that is about to be signed.
type scene struct {
	sub     signature.Subject
	provs   [][]byte
	bundles [][]byte
}

func (w *world) scene() scene {
	i := w.IntN(len(w.subjects))
	sc := scene{w.subjects[i], w.provs[i], w.bundles[i]}
	sc.sub.Moment, sc.sub.Publisher = pick(w, day(-2), day(-1), day(0), day(1), day(2)), pick(w, "usr-a", "usr-b", "usr-c")
	return sc
}

// reader is what a policy says of each signature of a scene, found out once.
type reader struct {
	p     *signature.Policy
	v     *signature.Verifier
	sc    *scene
	known map[int]signature.Signature
}

// at is the verdict on a provenance (from 0) or a bundle (from the end on).
func (r *reader) at(i int) *signature.Signature {
	sig, ok := r.known[i]
	if !ok {
		if i < len(r.sc.provs) {
			sig = r.v.Provenance(r.sc.sub, r.sc.provs[i])
		} else {
			sig = r.v.Bundle(r.sc.sub, r.sc.bundles[i-len(r.sc.provs)])
		}
		r.known[i] = sig
	}
	return &sig
}

// accepts says whether the policy lets a release through that has these
// signatures.
func (r *reader) accepts(signatures []int) bool {
	name := r.sc.sub.Chart
	if !r.p.Enforces(name) {
		return true
	}
	var have []signature.Kind
	for _, i := range signatures {
		sig := r.at(i)
		if r.p.Refuses(name, sig) {
			return false
		}
		if sig.Verdict == signature.Verified {
			have = append(have, sig.Kind)
		}
	}
	return r.p.Missing(name, have) == ""
}

// sets are the combinations of signatures that are tried: none, each alone, and
// some with a provenance, one of a key and one of an identity.
func (w *world) sets(sc *scene) [][]int {
	provs, all := len(sc.provs), len(sc.provs)+len(sc.bundles)
	out := [][]int{nil}
	for i := range all {
		out = append(out, []int{i})
	}
	for range 20 {
		out = append(out, []int{w.IntN(provs), provs + w.IntN(provs), 2*provs + w.IntN(all-2*provs)})
		out = append(out, []int{w.IntN(provs), provs + w.IntN(all-provs)})
	}
	return out
}

// TestWeakerThanNeverMisses: where a policy accepts a release that the one
// before it refused, it says that it is weaker.
func TestWeakerThanNeverMisses(t *testing.T) {
	w := newWorld(t)
	rounds, missed, weaker, notWeaker := 300, 0, 0, 0
	if testing.Short() {
		rounds = 100
	}
	for range rounds {
		a := w.policy()
		b := w.near(a)
		if w.IntN(8) == 0 {
			b = w.policy()
		}
		va, vb := verifier(t, a, pretend{}), verifier(t, b, pretend{})
		says, scenes := b.WeakerThan(&a), 8
		if len(says) > 0 {
			weaker++
			scenes = 1 // it says so; here only that there is something to say
		} else {
			notWeaker++
		}
		for range scenes {
			sc := w.scene()
			ra, rb := &reader{&a, va, &sc, map[int]signature.Signature{}}, &reader{&b, vb, &sc, map[int]signature.Signature{}}
			for _, set := range w.sets(&sc) {
				if !rb.accepts(set) || ra.accepts(set) {
					continue
				}
				missed++
				if len(says) == 0 {
					ja, _ := json.MarshalIndent(a, "", " ")
					jb, _ := json.MarshalIndent(b, "", " ")
					t.Fatalf("%s by %s at %s with %v, refused by\n%s\nis accepted by\n%s\nwhich says that it is not weaker", sc.sub.Chart, sc.sub.Publisher, sc.sub.Moment, set, ja, jb)
				}
			}
		}
	}
	t.Logf("%d pairs: %d weaker, %d not; %d releases were let through by the weaker one", rounds, weaker, notWeaker, missed)
	if missed < rounds/2 || notWeaker < rounds/10 || weaker < rounds/10 {
		t.Errorf("the policies are too alike or too different to prove anything: %d, %d, %d", weaker, notWeaker, missed)
	}
}
