package tlog_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Made with another implementation, transparency-dev/formats v0.1.1, from the
// test seeds of 1s (log) and 7s (witness), at 1795342727.
const (
	foreignLog     = "charts.example.com/log+a290006a+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
	foreignWitness = "witness.example.com/w1+8122a5ab+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
	foreignNote    = `charts.example.com/log
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— charts.example.com/log opAAaoJG/1rkF+y7oNwHAL7NSj5eRZLoJvyGwF3ysHh/Yhi51/K7sXKB75mv5m8hAg0AhD0/LYvLUGUeJVd8GFn/xg4=
— witness.example.com/w1 gSKlqwAAAABrAsGHNYuRvSqA03kX5V23Q+EepRHETaniCXjTrLUeaUicj4OPsaQYv55yU2qrAinUGphmz3Z5sMoFeh1IQahvfR+fCw==
`
)

func newCosigner(t testing.TB, name string, seed byte) *tlog.Cosigner {
	t.Helper()
	skey, vkey, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(skey + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.VerifierKey() != vkey || c.Name() != name {
		t.Fatalf("%s of %s, not %s", c.VerifierKey(), c.Name(), vkey)
	}
	return c
}

func checkpoint(t testing.TB, text []byte) tlog.Checkpoint {
	t.Helper()
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// TestCosignAgreesWithOthers holds our cosignature against that of another
// implementation over the same note with the same key at the same time.
func TestCosignAgreesWithOthers(t *testing.T) {
	c := newCosigner(t, "witness.example.com/w1", 7)
	if c.VerifierKey() != foreignWitness {
		t.Errorf("key %s", c.VerifierKey())
	}
	line, err := c.Cosign(checkpoint(t, []byte(foreignNote)), time.Unix(1795342727, 0))
	if err != nil || !strings.HasSuffix(foreignNote, "\n"+string(line)) {
		t.Errorf("our line %s, %v", line, err)
	}
	key, err := tlog.NewCosignatureVerifier(" " + foreignWitness + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open([]byte(foreignNote), note.VerifierList(key)); err != nil {
		t.Error(err)
	}
}

func TestReadCosignature(t *testing.T) {
	log, c, other := newKeys(t, origin, 1), newCosigner(t, "witness.example.com/w1", 2), newCosigner(t, "witness.example.com/w2", 3)
	cp := checkpoint(t, sign(t, 5, tlog.LeafHash([]byte("root")), log.signer))
	longer := checkpoint(t, sign(t, 6, tlog.LeafHash([]byte("root")), log.signer))
	line := func(c *tlog.Cosigner, cp tlog.Checkpoint, at time.Time) string {
		b, err := c.Cosign(cp, at)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	mine := line(c, cp, noon)
	for _, lines := range []string{mine, line(other, cp, noon) + mine, mine + mine} {
		got, err := tlog.ReadCosignature(cp, []byte(lines), c.Verifier())
		if err != nil || string(got.Line) != mine || !got.Time.Equal(noon) {
			t.Errorf("%q: %q at %s, %v", lines, got.Line, got.Time, err)
		}
		whole := cp.WithCosignatures(got)
		if again, err := tlog.OpenCheckpoint(whole.Note, origin, note.VerifierList(log.verifier, c.Verifier())); err != nil || again.Size != 5 {
			t.Errorf("the note with the cosignature: %v", err)
		}
	}
	ed25519Only, err := note.Sign(&note.Note{Text: "x\n"}, newKeys(t, "witness.example.com/w1", 2).signer)
	if err != nil {
		t.Fatal(err)
	}
	forged := func(change func([]byte)) string {
		name, b64, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(mine, "— ")), " ")
		raw, err := base64.StdEncoding.DecodeString(b64)
		if err != nil {
			t.Fatal(err)
		}
		change(raw)
		return "— " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	}
	for name, test := range map[string]struct {
		lines string
		kind  problem.Kind
		rule  string
	}{
		"of another size":         {line(c, longer, noon), problem.Disproven, "cosignature-false"},
		"of another witness":      {line(other, cp, noon), problem.Disproven, "cosignature-missing"},
		"a plain signature":       {string(ed25519Only[bytes.Index(ed25519Only, []byte("—")):]), problem.Disproven, "cosignature-missing"},
		"another time":            {forged(func(b []byte) { b[11]++ }), problem.Disproven, "cosignature-false"},
		"no time":                 {forged(func(b []byte) { clear(b[4:12]) }), problem.Disproven, "cosignature-false"},
		"a time after all years":  {forged(func(b []byte) { b[4] = 1 }), problem.Disproven, "cosignature-false"},
		"empty":                   {"", problem.Invalid, "cosignature-malformed"},
		"text":                    {"hello\n", problem.Invalid, "cosignature-malformed"},
		"no newline":              {strings.TrimSpace(mine), problem.Invalid, "cosignature-malformed"},
		"another note in between": {"\n" + mine, problem.Invalid, "cosignature-malformed"},
		"two blocks":              {mine + "\n" + mine, problem.Invalid, "cosignature-malformed"},
		"too many":                {strings.Repeat(line(other, cp, noon), 100) + mine, problem.Invalid, "cosignature-malformed"},
		"too long":                {mine + strings.Repeat("x", tlog.MaxCosignatures), problem.Invalid, "cosignature-malformed"},
	} {
		_, err := tlog.ReadCosignature(cp, []byte(test.lines), c.Verifier())
		if p, ok := problem.As(err); !ok || p.Kind != test.kind || p.Rule != test.rule {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCosignRefuses(t *testing.T) {
	c := newCosigner(t, "witness.example.com/w1", 2)
	cp := checkpoint(t, []byte(foreignNote))
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if line, err := c.Cosign(cp, at); err == nil {
			t.Errorf("at %s: %s", at, line)
		}
	}
	if _, err := c.Cosign(tlog.Checkpoint{Origin: origin}, noon); err == nil {
		t.Error("signed a checkpoint without its note")
	}
}

func TestWitnessKeysRefused(t *testing.T) {
	skey, vkey, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{2}, 64)), "witness.example.com/w1")
	if err != nil {
		t.Fatal(err)
	}
	logSkey, logVkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{2}, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	material := func(kind byte, n int) string {
		return base64.StdEncoding.EncodeToString(append([]byte{kind}, bytes.Repeat([]byte{9}, n)...))
	}
	for name, test := range map[string]struct {
		vkey string
		kind problem.Kind
	}{
		"empty":         {"", problem.Invalid},
		"a log's":       {logVkey, problem.Invalid},
		"secret":        {skey, problem.Invalid},
		"another name":  {"x" + vkey, problem.Invalid},
		"space in name": {"a b+00000000+" + material(4, 32), problem.Invalid},
		"short id":      {strings.Replace(vkey, "+", "+0", 1), problem.Invalid},
		"wrong id":      {"w+00000000+" + material(4, 32), problem.Invalid},
		"short key":     {"w+00000000+" + material(4, 31), problem.Invalid},
		"no key":        {"w+00000000+", problem.Invalid},
		"not base64":    {"w+00000000+!!!!", problem.Invalid},
		"huge":          {"w+00000000+" + material(4, 8<<10), problem.Invalid},
		"ML-DSA-44":     {"w+00000000+" + material(6, 1312), problem.Unsupported},
		"RFC 6962":      {"w+00000000+" + material(5, 91), problem.Unsupported},
	} {
		if _, err := tlog.NewCosignatureVerifier(test.vkey); problem.KindOf(err) != test.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, key := range map[string]string{
		"empty": "", "a log's": logSkey, "public": vkey, "cut": skey[:len(skey)-4], "another name": strings.Replace(skey, "w1", "w2", 1),
	} {
		_, err := tlog.NewCosigner(key)
		if problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		} else if len(key) > 20 && strings.Contains(err.Error(), key[len(key)-20:]) {
			t.Errorf("%s: the key is in the error: %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "é", strings.Repeat("a", 256)} {
		if _, _, err := tlog.GenerateWitnessKey(bytes.NewReader(make([]byte, 64)), name); problem.KindOf(err) != problem.Invalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func FuzzReadCosignature(f *testing.F) {
	c := newCosigner(f, "witness.example.com/w1", 7)
	cp := checkpoint(f, []byte(foreignNote))
	f.Add([]byte(foreignNote[strings.LastIndex(foreignNote, "—"):]))
	f.Add([]byte(foreignNote[strings.Index(foreignNote, "—"):]))
	f.Add(fmt.Appendf(nil, "— witness.example.com/w1 %s\n", base64.StdEncoding.EncodeToString([]byte{0x81, 0x22, 0xa5, 0xab, 0})))
	f.Fuzz(func(t *testing.T, lines []byte) {
		got, err := tlog.ReadCosignature(cp, lines, c.Verifier())
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Errorf("not a problem: %v", err)
			}
			return
		}
		if want, err := c.Cosign(cp, got.Time); err != nil || !bytes.Equal(want, got.Line) {
			t.Errorf("accepted %q, made %q, %v", got.Line, want, err)
		}
	})
}
