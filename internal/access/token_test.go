package access

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// pattern is a reader of predictable bytes.
func pattern(seed byte, n int) io.Reader {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i)*7
	}
	return bytes.NewReader(b)
}

func TestToken(t *testing.T) {
	// The form is a promise to secret scanners: these must not change.
	golden := map[string]io.Reader{
		"ckt_00000000000000000000000000000000000000000001A4qzy": bytes.NewReader(make([]byte, 32)),
		"ckt_0IGr56X10m1NJksMUe0qdP48Ju696mYiA0Ryv2CTru42M8lcJ": pattern(3, 32),
		"ckt_YHJSKWDa6oz1al1yMhwzwM8llg7hJNUca2J5RoW8xP14ccodn": bytes.NewReader(bytes.Repeat([]byte{0xff}, 32)),
	}
	ids := map[string]bool{}
	for want, random := range golden {
		secret, id, hash, err := NewToken(random)
		if err != nil {
			t.Fatal(err)
		}
		if secret != want {
			t.Errorf("got token %s, want %s", secret, want)
		}
		id2, hash2, err := ParseToken(secret)
		if err != nil || id2 != id || hash2 != hash {
			t.Errorf("ParseToken(%s) = %s, %x, %v", secret, id2, hash2, err)
		}
		if ids[id] || !strings.HasPrefix(id, "tok-") || len(id) != 24 || strings.Contains(secret, id[4:]) {
			t.Errorf("id %s", id)
		}
		ids[id] = true
	}
	if _, _, _, err := NewToken(pattern(0, 31)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short randomness: %v", err)
	}
	if _, _, _, err := NewToken(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failing randomness: %v", err)
	}
}

func TestParseTokenRefuses(t *testing.T) {
	good, _, _, err := NewToken(pattern(1, 32))
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{
		"", "ckt_", "hunter2", good[4:], good + "0", good[:len(good)-1], " " + good[1:], strings.ToUpper(good),
		"ckb_" + good[4:], good[:10] + "\x00" + good[11:], good[:10] + "é" + good[12:], good + "\n",
		strings.Repeat(good, 1000),
	}
	for i := len(TokenPrefix); i < len(good); i++ { // each single wrong digit, and each swap of neighbours
		c := byte('0')
		if good[i] == c {
			c = '1'
		}
		bad = append(bad, good[:i]+string(c)+good[i+1:])
		if i+1 < len(good) && good[i] != good[i+1] {
			bad = append(bad, good[:i]+string(good[i+1])+string(good[i])+good[i+2:])
		}
	}
	for _, s := range bad {
		_, hash, err := ParseToken(s)
		p, ok := problem.As(err)
		if !ok || p.Kind != problem.Unauthenticated || hash != [32]byte{} {
			t.Errorf("ParseToken(%.60q) = %x, %v", s, hash, err)
			continue
		}
		if len(s) > 8 && strings.Contains(p.Error()+p.Try, s[4:]) {
			t.Errorf("the refusal repeats the credential: %v", p)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	good, _, _, err := NewToken(pattern(1, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("ckt_")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, _, err := ParseToken(s)
		if (err == nil) != (id != "") {
			t.Errorf("ParseToken(%q) = %q, %v", s, id, err)
		}
		if err == nil && (len(s) != tokenLen || tokenSum(s[:tokenLen-tokenSumLen]) != s[tokenLen-tokenSumLen:]) {
			t.Errorf("%q was accepted", s)
		}
	})
}

func TestNewID(t *testing.T) {
	id, err := NewID("usr", pattern(0, 10))
	if err != nil || id != "usr-00070e151c232a31383f" {
		t.Errorf("got %q, %v", id, err)
	}
	if _, err := NewID("usr", pattern(0, 9)); err == nil {
		t.Error("short randomness makes an id")
	}
}

func BenchmarkParseToken(b *testing.B) {
	good, _, _, err := NewToken(pattern(1, 32))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseToken(good); err != nil {
			b.Fatal(err)
		}
	}
}
