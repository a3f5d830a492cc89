package tlog_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// exampleRequest is that of the specification.
const exampleRequest = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
`

func TestWitnessRequest(t *testing.T) {
	r, err := tlog.ParseWitnessRequest([]byte(exampleRequest))
	if err != nil || r.Old != 20852014 || len(r.Proof) != 4 || !strings.HasPrefix(string(r.Checkpoint), "example.com/behind-the-sofa\n") {
		t.Fatalf("%+v, %v", r, err)
	}
	if string(r.Marshal()) != exampleRequest {
		t.Errorf("written again:\n%s", r.Marshal())
	}
	hash := "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
	if r, err := tlog.ParseWitnessRequest([]byte("old 0\n" + strings.Repeat(hash, 63) + "\nx")); err != nil || len(r.Proof) != 63 {
		t.Errorf("63 hashes: %v", err)
	}
	for name, body := range map[string]string{
		"empty": "", "no checkpoint": "old 0\n", "no old": "\n\nx", "leading zero": "old 01\n\nx", "minus": "old -1\n\nx", "plus": "old +1\n\nx",
		"two spaces": "old  1\n\nx", "space behind": "old 1 \n\nx", "over 63 bits": "old 9223372036854775808\n\nx", "hexadecimal": "old 0x1\n\nx",
		"capital": "Old 1\n\nx", "carriage return": "old 1\r\n\r\nx", "short hash": "old 1\nAAAA\n\nx", "no base64": "old 1\n" + strings.Repeat("?", 44) + "\n\nx",
		"loose base64": "old 1\n" + strings.Replace(hash, "kaw=", "kax=", 1) + "\nx", "64 hashes": "old 0\n" + strings.Repeat(hash, 64) + "\nx",
		"text between": "old 1\n" + hash + "hello\n\nx", "return in a hash": "old 1\nPl\r" + hash[2:] + "\nx",
	} {
		if r, err := tlog.ParseWitnessRequest([]byte(body)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := tlog.ParseWitnessRequest(make([]byte, tlog.MaxWitnessRequest+1)); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("too large: %v", err)
	}
}

func TestWitnessSize(t *testing.T) {
	for _, size := range []int64{0, 1, 20852163, tlog.MaxSize} {
		if got, err := tlog.ParseWitnessSize(tlog.MarshalWitnessSize(size)); err != nil || got != size {
			t.Errorf("%d: %d, %v", size, got, err)
		}
	}
	for _, text := range []string{"", "1", "\n", "-1\n", "01\n", "1\n\n", " 1\n", "1\r\n", "9007199254740992\n", "one\n"} {
		if got, err := tlog.ParseWitnessSize([]byte(text)); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// TestForeignCheckpoint has extension lines, which other logs may write and we
// do not.
func TestForeignCheckpoint(t *testing.T) {
	log := newKeys(t, origin, 1)
	body := origin + "\n5\n" + tlog.LeafHash([]byte("root")).String() + "\n"
	for name, test := range map[string]struct {
		body string
		ok   bool
	}{
		"none": {body, true}, "one": {body + "extension\n", true}, "two": {body + "extension 1\nextension 2\n", true},
		"an empty one": {body + "\nextension\n", false}, "one in between": {body + "one\n\ntwo\n", false},
	} {
		text, err := note.Sign(&note.Note{Text: test.body}, log.signer)
		if err != nil {
			t.Fatal(err)
		}
		cp, err := tlog.OpenForeignCheckpoint(text, origin, note.VerifierList(log.verifier))
		if (err == nil) != test.ok || test.ok && (cp.Size != 5 || !bytes.Equal(cp.Note, text)) || !test.ok && cp.Note != nil {
			t.Errorf("%s: %+v, %v", name, cp, err)
		}
		if _, err := tlog.OpenCheckpoint(text, origin, note.VerifierList(log.verifier)); (err == nil) != (name == "none") {
			t.Errorf("%s, as one of ours: %v", name, err)
		}
	}
	other := newKeys(t, origin, 2)
	text := sign(t, 5, tlog.LeafHash([]byte("root")), log.signer)
	if cp, err := tlog.OpenForeignCheckpoint(text, origin, note.VerifierList(other.verifier)); problem.KindOf(err) != problem.Disproven || cp.Note != nil {
		t.Errorf("an unknown key: %+v, %v", cp, err)
	}
	if cp, err := tlog.OpenCheckpoint(text, origin, note.VerifierList(other.verifier)); err == nil || cp.Note != nil {
		t.Errorf("an error comes with a checkpoint: %+v, %v", cp, err)
	}
}

func FuzzParseWitnessRequest(f *testing.F) {
	f.Add([]byte(exampleRequest))
	f.Add([]byte("old 0\n\nx"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := tlog.ParseWitnessRequest(body)
		if err == nil && !bytes.Equal(r.Marshal(), body) {
			t.Errorf("%q became %q", body, r.Marshal())
		}
	})
}
