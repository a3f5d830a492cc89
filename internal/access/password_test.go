package access

import (
	"bytes"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

var salt = bytes.Repeat([]byte("s"), 16)

func TestPassword(t *testing.T) {
	const password = "correct horse battery"
	h, err := HashPassword(password, salt)
	if err != nil {
		t.Fatal(err)
	}
	// Computed by the reference implementation in C, as is the other one below.
	const want = "$argon2id$v=19$m=19456,t=2,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$GZmXlZxS7tc0ygKTxsnpcsxhPdIgJazbOeuCRbGl5IE"
	if h != want {
		t.Errorf("hash %s", h)
	}
	for _, tt := range []struct {
		hash, password string
		ok             bool
	}{
		{h, password, true},
		{h, password + " ", false},
		{h, "", false},
		{h, strings.Repeat("x", maxPassword+1), false},
		{"", password, false},
		{"", "", false},
		// Another cost, as from an older or a newer release: still verified.
		{"$argon2id$v=19$m=64,t=1,p=2$c3Nzc3Nzc3Nzc3Nzc3Nzcw$wSXuy9fJIrQCdDctxECiTemwrSz+87MOSIw8yOez1p0", password, true},
	} {
		ok, err := VerifyPassword(tt.hash, tt.password)
		if err != nil || ok != tt.ok {
			t.Errorf("VerifyPassword(%q, %.30q) = %v, %v", tt.hash, tt.password, ok, err)
		}
	}
	other, err := HashPassword(password, bytes.Repeat([]byte("t"), 16))
	if err != nil || other == h || strings.HasSuffix(other, h[len(h)-43:]) {
		t.Errorf("the salt does not count: %s, %v", other, err)
	}
}

func TestHashPasswordRefuses(t *testing.T) {
	for _, p := range []string{"", strings.Repeat("x", minPassword-1), strings.Repeat("x", maxPassword+1)} {
		if _, err := HashPassword(p, salt); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%d bytes: %v", len(p), err)
		}
	}
	for _, s := range [][]byte{nil, salt[:15], bytes.Repeat(salt, 5)} {
		if _, err := HashPassword("correct horse battery", s); err == nil {
			t.Errorf("a salt of %d bytes is accepted", len(s))
		}
	}
}

var badHashes = []string{
	"x",
	"$argon2i$v=19$m=64,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=16$m=64,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=4294967295,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=262145,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=64,t=11,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=64,t=0,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=64,t=1,p=5$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=64,t=1,p=0$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=7,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=-1,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$t=1,m=64,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=64,t=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43,
	"$argon2id$v=19$m=64,t=1,p=1$c3M$" + key43,
	"$argon2id$v=19$m=64,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$AAAA",
	"$argon2id$v=19$m=64,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43 + "$x",
	strings.Repeat("$", 100000),
}

var key43 = strings.Repeat("A", 43)

func TestVerifyPasswordRefusesHashes(t *testing.T) {
	for _, h := range badHashes {
		if ok, err := VerifyPassword(h, "correct horse battery"); err == nil || ok {
			t.Errorf("%.100q: %v, %v", h, ok, err)
		}
	}
	if _, err := VerifyPassword("$argon2id$v=19$m=64,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$"+key43, ""); err != nil {
		t.Errorf("the base of the bad hashes is bad itself: %v", err)
	}
}

// FuzzPasswordHash reads only: computing would make the fuzzer slow.
func FuzzPasswordHash(f *testing.F) {
	for _, h := range badHashes[:14] {
		f.Add(h)
	}
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c3Nzc3Nzc3Nzc3Nzc3Nzcw$" + key43)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePasswordHash(s)
		if err != nil {
			return
		}
		if h.memory > maxArgonMemory || h.passes > maxArgonPasses || h.lanes > maxArgonLanes || h.memory*h.passes*h.lanes == 0 ||
			len(h.salt) > maxArgonSalt || len(h.key) != argonKeyLen {
			t.Errorf("%q asks for %+v", s, h)
		}
	})
}

func BenchmarkVerifyPassword(b *testing.B) {
	h, err := HashPassword("correct horse battery", salt)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := VerifyPassword(h, "correct horse battery"); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
