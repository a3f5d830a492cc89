package tlog_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const origin = "charts.example.com/log"

type keys struct {
	signer   note.Signer
	verifier note.Verifier
}

// newKeys makes a key pair that is the same in every run for a name and seed.
func newKeys(t testing.TB, name string, seed byte) keys {
	t.Helper()
	skey, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tlog.NewSigner(skey + "\n")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := tlog.NewVerifier(vkey + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return keys{signer, verifier}
}

func sign(t testing.TB, size int64, root tlog.Hash, signers ...note.Signer) []byte {
	t.Helper()
	text, err := tlog.SignCheckpoint(origin, size, root, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCheckpoint(t *testing.T) {
	log, witness := newKeys(t, origin, 1), newKeys(t, "witness.example.com", 2)
	root := tlog.LeafHash([]byte("root"))
	text := sign(t, 20852163, root, log.signer, witness.signer)
	if body := origin + "\n20852163\n" + root.String() + "\n\n— " + origin + " "; !strings.HasPrefix(string(text), body) {
		t.Errorf("signed text:\n%s", text)
	}
	for _, size := range []int64{0, 1, tlog.MaxSize} {
		text := sign(t, size, root, log.signer)
		for _, want := range []string{origin, ""} {
			cp, err := tlog.OpenCheckpoint(text, want, note.VerifierList(log.verifier, witness.verifier))
			if err != nil || cp.Origin != origin || cp.Size != size || cp.Root != root || !bytes.Equal(cp.Note, text) {
				t.Errorf("size %d: %+v, %v", size, cp, err)
			}
		}
	}
}

func TestOpenCheckpointDisproves(t *testing.T) {
	log, witness := newKeys(t, origin, 1), newKeys(t, "witness.example.com", 2)
	impostor := newKeys(t, origin, 3) // same name, another key
	root := tlog.LeafHash([]byte("root"))
	text := sign(t, 1000, root, log.signer)
	known := note.VerifierList(log.verifier, witness.verifier)

	// A witness that forgets the log's signature, as one that would cosign
	// anything: its own is not enough.
	onlyWitness, err := note.Sign(&note.Note{Text: origin + "\n1000\n" + root.String() + "\n"}, witness.signer)
	if err != nil {
		t.Fatal(err)
	}
	// The known key of one log signs in the name of another.
	otherOrigin, err := note.Sign(&note.Note{Text: "elsewhere.example.com/log\n1000\n" + root.String() + "\n"}, log.signer)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, origin, rule string
		text               []byte
		known              note.Verifiers
	}{
		{"another log expected", "other.example.com/log", "checkpoint-origin", text, known},
		{"unknown key", origin, "checkpoint-unsigned", text, note.VerifierList(impostor.verifier)},
		{"no key", "", "checkpoint-unsigned", text, note.VerifierList()},
		{"nil keys", "", "checkpoint-unsigned", text, nil},
		{"only a witness", "", "checkpoint-unsigned", onlyWitness, known},
		{"key of another log", "", "checkpoint-unsigned", otherOrigin, known},
		{"changed size", origin, "checkpoint-signature", bytes.Replace(text, []byte("\n1000\n"), []byte("\n1001\n"), 1), known},
	} {
		_, err := tlog.OpenCheckpoint(test.text, test.origin, test.known)
		if p, ok := problem.As(err); !ok || p.Kind != problem.Disproven || p.Rule != test.rule {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	log := newKeys(t, origin, 1)
	root := tlog.LeafHash([]byte("root")).String()
	signed := func(body string) string {
		text, err := note.Sign(&note.Note{Text: body}, log.signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	good := signed(origin + "\n1\n" + root + "\n")
	if _, err := tlog.ParseCheckpoint([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":              "",
		"not a note":         "hello\n",
		"unsigned":           origin + "\n1\n" + root + "\n",
		"no signature lines": origin + "\n1\n" + root + "\n\n",
		"two lines":          signed(origin + "\n1\n"),
		"no origin":          signed("\n1\n" + root + "\n"),
		"leading zero":       signed(origin + "\n01\n" + root + "\n"),
		"plus":               signed(origin + "\n+1\n" + root + "\n"),
		"negative":           signed(origin + "\n-1\n" + root + "\n"),
		"over the limit":     signed(origin + fmt.Sprintf("\n%d\n", int64(tlog.MaxSize)+1) + root + "\n"),
		"over 64 bits":       signed(origin + "\n18446744073709551616\n" + root + "\n"),
		"short root":         signed(origin + "\n1\nAAAA\n"),
		"unusual base64":     signed(origin + "\n1\n" + root[:42] + string(root[42]+1) + "=\n"),
		"extension":          signed(origin + "\n1\n" + root + "\nextension\n"),
		"carriage return":    strings.ReplaceAll(good, "\n", "\r\n"),
		"too long":           good + strings.Repeat(good[strings.Index(good, "—"):], 1+tlog.MaxCheckpoint/len(good)),
	} {
		if _, err := tlog.ParseCheckpoint([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tlog.OpenCheckpoint([]byte(text), "", note.VerifierList(log.verifier)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("open, %s: %v", name, err)
		}
	}
}

func TestSignCheckpointRefuses(t *testing.T) {
	log, other := newKeys(t, origin, 1), newKeys(t, "other.example.com/log", 2)
	for name, err := range map[string]error{
		"no signer":      second(tlog.SignCheckpoint(origin, 1, tlog.Hash{})),
		"foreign signer": second(tlog.SignCheckpoint(origin, 1, tlog.Hash{}, other.signer)),
		"negative size":  second(tlog.SignCheckpoint(origin, -1, tlog.Hash{}, log.signer)),
		"endless size":   second(tlog.SignCheckpoint(origin, tlog.MaxSize+1, tlog.Hash{}, log.signer)),
		"bad origin":     second(tlog.SignCheckpoint("a\nb", 1, tlog.Hash{}, log.signer)),
	} {
		if err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestKeys(t *testing.T) {
	for _, name := range []string{"", "a b", "a+b", "a\nb", "caf\u00e9", "a\x00b", strings.Repeat("a", 256)} {
		if _, _, err := tlog.GenerateKey(bytes.NewReader(make([]byte, 64)), name); problem.KindOf(err) != problem.Invalid {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if _, _, err := tlog.GenerateKey(bytes.NewReader(make([]byte, 31)), origin); err == nil {
		t.Error("a key was made from too little randomness")
	}
	skey, vkey, err := tlog.GenerateKey(bytes.NewReader(make([]byte, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "x", vkey, skey[:len(skey)-4], strings.Replace(skey, "charts", "chants", 1)} {
		_, err := tlog.NewSigner(key)
		if problem.KindOf(err) != problem.Invalid {
			t.Errorf("signing key %q: %v", key, err)
		}
		if key != "" && key != "x" && strings.Contains(err.Error(), key) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	for _, key := range []string{"", "x", skey, vkey[:len(vkey)-4], strings.Replace(vkey, "charts", "chants", 1)} {
		if _, err := tlog.NewVerifier(key); problem.KindOf(err) != problem.Invalid {
			t.Errorf("key %q: %v", key, err)
		}
	}
	// The example of signed-note, "Verifier keys".
	if v, err := tlog.NewVerifier("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"); err != nil || v.Name() != "example.com/foo" || v.KeyHash() != 0x530d903a {
		t.Errorf("the key of the specification: %v", err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	log := newKeys(f, origin, 1)
	f.Add(sign(f, 1000, tlog.LeafHash(nil), log.signer))
	f.Add([]byte(origin + "\n1\n" + tlog.EmptyRoot().String() + "\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cp, err := tlog.ParseCheckpoint(text)
		if err != nil {
			return
		}
		if body := fmt.Sprintf("%s\n%d\n%s\n\n", cp.Origin, cp.Size, cp.Root); !bytes.HasPrefix(text, []byte(body)) {
			t.Errorf("%q was read as %q", text, body)
		}
	})
}
