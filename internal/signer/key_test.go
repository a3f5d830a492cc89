package signer_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signer"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// script writes a program.
func script(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sign")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// pair is a key of openssl, as PEM files.
func pair(t testing.TB) (private, public string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		daemontest.Missing(t, "openssl is not installed, so no key command was tried")
	}
	dir := t.TempDir()
	private, public = filepath.Join(dir, "log.key.pem"), filepath.Join(dir, "log.pub.pem")
	for _, argv := range [][]string{{"openssl", "genpkey", "-algorithm", "ed25519", "-out", private}, {"openssl", "pkey", "-in", private, "-pubout", "-out", public}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	return private, public
}

// opensslSign is the command of docs/signer.md. openssl wants to know the length
// of what it signs, so it reads a file.
func opensslSign(private string) string {
	return `f=$(mktemp) && trap 'rm -f "$f"' EXIT && cat >"$f" && openssl pkeyutl -sign -rawin -inkey '` + private + `' -in "$f"`
}

// TestKeyCommand has heads signed by openssl, raw and in Base 64.
func TestKeyCommand(t *testing.T) {
	private, public := pair(t)
	b, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := signer.ParsePublicKey(b)
	if err != nil {
		t.Fatal(err)
	}
	l := newTree(t, "own", 9)
	for name, text := range map[string]string{"raw": opensslSign(private), "Base 64": opensslSign(private) + " | base64"} {
		t.Run(name, func(t *testing.T) {
			dir, made := initialise(t, signer.Source{Command: []string{script(t, text)}, Public: pub})
			s := open(t, dir)
			text, err := s.Sign(t.Context(), l.request(0, 5).Marshal())
			if err != nil {
				t.Fatal(err)
			}
			opened(t, text, made.Key, l, 5)
			if b, err := os.ReadFile(filepath.Join(dir, "keys.json")); err != nil || strings.Contains(string(b), "PRIVATE") {
				t.Errorf("the folder has a private key: %s, %v", b, err)
			}
		})
	}
}

// TestKeyCommandFaults: whatever a command does, nothing is signed that the key
// did not, and the reason is short.
func TestKeyCommandFaults(t *testing.T) {
	private, public := pair(t)
	otherPrivate, _ := pair(t)
	b, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := signer.ParsePublicKey(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"fails":                  {"cat >/dev/null; echo 'token is locked' >&2; exit 3", "token is locked"},
		"says nothing":           {"cat >/dev/null", "wrote no signature"},
		"says something":         {"cat >/dev/null; echo hello", "wrote no signature"},
		"says without an end":    {"cat >/dev/null; head -c 100000 /dev/zero", "wrote more than"},
		"another key":            {opensslSign(otherPrivate), "is not of the key"},
		"another text":           {"cat >/dev/null; echo other | (" + opensslSign(private) + ")", "is not of the key"},
		"talks without an end":   {"cat >/dev/null; head -c 100000 /dev/urandom >&2; exit 1", "failed"},
		"does not read its text": {"exit 1", "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			_, err := signer.Init(dir, origin, signer.Source{Command: []string{script(t, c.text)}, Public: pub})
			p, ok := problem.As(err)
			if !ok || p.Rule != "key-command" {
				t.Fatalf("init: %v", err)
			}
			if said := fmt.Sprint(p.Message, p.Facts); !strings.Contains(said, c.want) || len(said) > 700 {
				t.Errorf("it says %q", said)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a folder was made all the same")
			}
		})
	}
	if _, err := signer.Init(filepath.Join(t.TempDir(), "s"), origin, signer.Source{Command: []string{"/no/such/program"}, Public: pub}); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestParsePublicKey(t *testing.T) {
	pub := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"raw": pub, "PKCS#11": append([]byte{4, 32}, pub...), "DER": der, "Base 64": []byte(base64.StdEncoding.EncodeToString(der) + "\n"),
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	} {
		if got, err := signer.ParsePublicKey(b); err != nil || !got.Equal(pub) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "hello", strings.Repeat("x", 33)} {
		if _, err := signer.ParsePublicKey([]byte(bad)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
