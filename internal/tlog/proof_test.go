package tlog_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// newProof makes a log of 1,000 entries with a release at an index, and the
// proof of it.
func newProof(t testing.TB) (tlog.Proof, note.Verifier) {
	t.Helper()
	const index = 600
	log := newKeys(t, origin, 1)
	leaf, err := release().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e, src := newEdge(t), newTiles()
	grow(e, index, src)
	src.add(e.Append(tlog.LeafHash(leaf)))
	grow(e, 1000, src)
	hashes, err := tlog.InclusionProof(1000, index, e, src)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Proof{Index: index, Leaf: leaf, Hashes: hashes, Checkpoint: sign(t, 1000, e.Root(), log.signer)}, log.verifier
}

func TestProof(t *testing.T) {
	p, key := newProof(t)
	text := p.Marshal()
	if !strings.HasPrefix(string(text), "c2sp.org/tlog-proof@v1\nextra ") || !strings.Contains(string(text), "\nindex 600\n") {
		t.Errorf("text:\n%s", text)
	}
	got, err := tlog.ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, got); diff != "" {
		t.Errorf("the proof came back otherwise (-want +got):\n%s", diff)
	}
	for _, want := range []string{origin, ""} {
		cp, leaf, err := got.Verify(want, note.VerifierList(key))
		if err != nil || cp.Size != 1000 || !cmp.Equal(leaf, tlog.Leaf(release())) {
			t.Errorf("verified as %+v, %+v, %v", cp, leaf, err)
		}
	}
}

// TestProofOfOneLeaf has a path of no hashes.
func TestProofOfOneLeaf(t *testing.T) {
	log := newKeys(t, origin, 1)
	leaf, err := release().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t)
	e.Append(tlog.LeafHash(leaf))
	p, err := tlog.ParseProof(tlog.Proof{Leaf: leaf, Checkpoint: sign(t, 1, e.Root(), log.signer)}.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Verify(origin, note.VerifierList(log.verifier)); err != nil {
		t.Error(err)
	}
}

// TestProofTampered changes every byte of a proof file in turn: none of the
// results may be accepted.
func TestProofTampered(t *testing.T) {
	p, key := newProof(t)
	text := p.Marshal()
	known := note.VerifierList(key)
	for i := range text {
		for _, flip := range []byte{0x01, 0x20} {
			changed := bytes.Clone(text)
			changed[i] ^= flip
			q, err := tlog.ParseProof(changed)
			if err == nil {
				_, _, err = q.Verify(origin, known)
			}
			if kind := problem.KindOf(err); kind != problem.Invalid && kind != problem.Disproven {
				t.Fatalf("byte %d (%q) changed by %#x: %v", i, text[i], flip, err)
			}
		}
	}
}

func TestProofVerifyRefuses(t *testing.T) {
	p, key := newProof(t)
	other := newKeys(t, origin, 9)
	otherLeaf := release()
	otherLeaf.Version = "9.0.0"
	forged, err := otherLeaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*tlog.Proof)
		key    note.Verifier
		origin string
		kind   problem.Kind
	}{
		"another leaf":      {func(p *tlog.Proof) { p.Leaf = forged }, key, origin, problem.Disproven},
		"another index":     {func(p *tlog.Proof) { p.Index++ }, key, origin, problem.Disproven},
		"index over size":   {func(p *tlog.Proof) { p.Index = 1000 }, key, origin, problem.Disproven},
		"no path":           {func(p *tlog.Proof) { p.Hashes = nil }, key, origin, problem.Disproven},
		"another key":       {func(*tlog.Proof) {}, other.verifier, origin, problem.Disproven},
		"another log":       {func(*tlog.Proof) {}, key, "other.example.com/log", problem.Disproven},
		"signed by another": {func(p *tlog.Proof) { p.Checkpoint = sign(t, 1000, tlog.Hash{}, other.signer) }, key, origin, problem.Disproven},
		"another root":      {func(p *tlog.Proof) { p.Checkpoint = sign(t, 1000, tlog.Hash{}, newKeys(t, origin, 1).signer) }, key, origin, problem.Disproven},
		"no checkpoint":     {func(p *tlog.Proof) { p.Checkpoint = nil }, key, origin, problem.Invalid},
	} {
		q := p
		test.change(&q)
		if _, _, err := q.Verify(test.origin, note.VerifierList(test.key)); problem.KindOf(err) != test.kind {
			t.Errorf("%s: %v", name, err)
		}
	}

	// A logged entry that is no leaf of a known type.
	log := newKeys(t, origin, 1)
	e := newEdge(t)
	e.Append(tlog.LeafHash([]byte("hello\n")))
	strange := tlog.Proof{Leaf: []byte("hello\n"), Checkpoint: sign(t, 1, e.Root(), log.signer)}
	if _, _, err := strange.Verify(origin, note.VerifierList(key)); problem.KindOf(err) != problem.Unsupported {
		t.Errorf("strange leaf: %v", err)
	}
}

func TestParseProofRefuses(t *testing.T) {
	p, _ := newProof(t)
	good := string(p.Marshal())
	cut := func(from, to string) string {
		i, j := strings.Index(good, from), strings.Index(good, to)
		return good[:i] + good[j:]
	}
	for name, text := range map[string]string{
		"empty":             "",
		"header alone":      "c2sp.org/tlog-proof@v1\n",
		"another version":   strings.Replace(good, "@v1", "@v2", 1),
		"no leaf":           cut("extra ", "index "),
		"empty leaf":        strings.Replace(cut("extra ", "index "), "index ", "extra \nindex ", 1),
		"no index":          strings.Replace(good, "index 600\n", "", 1),
		"negative index":    strings.Replace(good, "index 600\n", "index -1\n", 1),
		"leading zero":      strings.Replace(good, "index 600\n", "index 0600\n", 1),
		"index over 64 bit": strings.Replace(good, "index 600\n", "index 18446744073709551616\n", 1),
		"index over limit":  strings.Replace(good, "index 600\n", "index 9007199254740991\n", 1),
		"carriage returns":  strings.ReplaceAll(good, "\n", "\r\n"),
		"no final newline":  strings.TrimSuffix(good, "\n"),
		"no empty line":     "c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 0\n",
		"short hash":        strings.Replace(good, "index 600\n", "index 600\nAAAA\n", 1),
		"too many hashes":   strings.Replace(good, "index 600\n", "index 600\n"+strings.Repeat(tlog.EmptyRoot().String()+"\n", 53), 1),
		"large leaf":        string(tlog.Proof{Leaf: make([]byte, tlog.MaxLeaf+1), Checkpoint: p.Checkpoint}.Marshal()),
		"endless leaf":      string(tlog.Proof{Leaf: make([]byte, tlog.MaxProof), Checkpoint: p.Checkpoint}.Marshal()),
	} {
		if _, err := tlog.ParseProof([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The largest leaf fits through the line that carries it.
	if _, err := tlog.ParseProof(tlog.Proof{Leaf: make([]byte, tlog.MaxLeaf), Checkpoint: p.Checkpoint}.Marshal()); err != nil {
		t.Errorf("largest leaf: %v", err)
	}
}

func FuzzParseProof(f *testing.F) {
	p, key := newProof(f)
	f.Add(p.Marshal())
	f.Add(tlog.Proof{Leaf: []byte("hello\n"), Index: 1, Hashes: p.Hashes[:1], Checkpoint: []byte("a\n1\nA\n\n— a A\n")}.Marshal())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra aGVsbG8=\nindex 0\n\n"))
	known := note.VerifierList(key)
	f.Fuzz(func(t *testing.T, text []byte) {
		q, err := tlog.ParseProof(text)
		if err != nil {
			return
		}
		if again := q.Marshal(); !bytes.Equal(again, text) {
			t.Errorf("%q came back as %q", text, again)
		}
		if _, _, err := q.Verify("", known); err == nil && (q.Index != p.Index || !bytes.Equal(q.Leaf, p.Leaf)) {
			t.Errorf("%q was verified", text)
		}
	})
}
