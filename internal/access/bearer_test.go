package access

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

var bearerKey = bytes.Repeat([]byte{7}, 32)

func someBearer() Bearer {
	return Bearer{
		PrincipalID: "usr-1", TokenID: "tok-1", Audience: "keep.example",
		Scope:   []Scope{{"repository", "team-a/web", []string{"pull", "push"}}, {"registry", "catalog", []string{"*"}}},
		Expires: now.Add(BearerLife),
	}
}

func TestBearer(t *testing.T) {
	b := someBearer()
	s, err := Mint(bearerKey, b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenBearer(bearerKey, s, "keep.example", now)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(b, got); d != "" {
		t.Error(d)
	}
	if !got.Allows("team-a/web", "push") || got.Allows("team-a/web", "delete") || got.Allows("team-a", "pull") || got.Allows("catalog", "pull") {
		t.Error("Allows is wrong")
	}
	anonymous := Bearer{Audience: "keep.example", Expires: now.Add(time.Minute)}
	if s, err = Mint(bearerKey, anonymous); err != nil {
		t.Fatal(err)
	}
	if got, err = OpenBearer(bearerKey, s, "keep.example", now); err != nil || !cmp.Equal(got, anonymous) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestOpenBearerRefuses(t *testing.T) {
	s, err := Mint(bearerKey, someBearer())
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte{8}, 32)
	foreign, err := Mint(other, someBearer())
	if err != nil {
		t.Fatal(err)
	}
	payload, mac, _ := strings.Cut(s, ".")
	sign := func(json string) string {
		p := BearerPrefix + base64.RawURLEncoding.EncodeToString([]byte(json))
		return p + "." + base64.RawURLEncoding.EncodeToString(bearerMAC(bearerKey, p))
	}
	tests := []struct {
		name     string
		key      []byte
		s        string
		audience string
		at       time.Time
		rule     string
	}{
		{"expired", bearerKey, s, "keep.example", now.Add(BearerLife), "bearer-expired"},
		{"audience", bearerKey, s, "other.example", now, "bearer-audience"},
		{"other key", bearerKey, foreign, "keep.example", now, "bearer-malformed"},
		{"short key", bearerKey[:31], s, "keep.example", now, "bearer-malformed"},
		{"empty", bearerKey, "", "keep.example", now, "bearer-malformed"},
		{"prefix alone", bearerKey, BearerPrefix, "keep.example", now, "bearer-malformed"},
		{"no mac", bearerKey, payload, "keep.example", now, "bearer-malformed"},
		{"empty mac", bearerKey, payload + ".", "keep.example", now, "bearer-malformed"},
		{"short mac", bearerKey, payload + "." + mac[:20], "keep.example", now, "bearer-malformed"},
		{"another payload", bearerKey, BearerPrefix + "e30." + mac, "keep.example", now, "bearer-malformed"},
		{"appended", bearerKey, s + ".x", "keep.example", now, "bearer-malformed"},
		{"not a bearer", bearerKey, "ckt_" + s[4:], "keep.example", now, "bearer-malformed"},
		{"long", bearerKey, s + strings.Repeat("A", maxBearerLen), "keep.example", now, "bearer-malformed"},
		{"version", bearerKey, sign(`{"v":2,"aud":"keep.example","exp":9999999999}`), "keep.example", now, "bearer-malformed"},
		{"unknown field", bearerKey, sign(`{"v":1,"aud":"keep.example","exp":9999999999,"admin":true}`), "keep.example", now, "bearer-malformed"},
		{"bad scope", bearerKey, sign(`{"v":1,"aud":"keep.example","exp":9999999999,"scope":"x"}`), "keep.example", now, "bearer-malformed"},
		{"not json", bearerKey, sign(`]`), "keep.example", now, "bearer-malformed"},
	}
	for _, tt := range tests {
		b, err := OpenBearer(tt.key, tt.s, tt.audience, tt.at)
		p, ok := problem.As(err)
		if !ok || p.Rule != tt.rule || p.Kind != problem.Unauthenticated || !cmp.Equal(b, Bearer{}) {
			t.Errorf("%s: got %+v, %v, want rule %s", tt.name, b, err, tt.rule)
		}
	}
	for i := range len(s) { // no single character may be another
		c := byte('A')
		if s[i] == c {
			c = 'B'
		}
		if _, err := OpenBearer(bearerKey, s[:i]+string(c)+s[i+1:], "keep.example", now); err == nil {
			t.Errorf("character %d can be changed", i)
		}
	}
	if _, err := OpenBearer(bearerKey, s, "keep.example", now.Add(BearerLife-time.Second)); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
}

func TestMintRefuses(t *testing.T) {
	change := func(f func(*Bearer)) Bearer { b := someBearer(); f(&b); return b }
	var many []Scope
	for range maxScopes + 1 {
		many = append(many, Scope{"repository", "a", []string{"pull"}})
	}
	tests := []struct {
		name string
		key  []byte
		b    Bearer
	}{
		{"short key", bearerKey[:31], someBearer()},
		{"no audience", bearerKey, change(func(b *Bearer) { b.Audience = "" })},
		{"no expiry", bearerKey, change(func(b *Bearer) { b.Expires = time.Time{} })},
		{"a scope within a name", bearerKey, change(func(b *Bearer) { b.Scope[0].Name = "a:pull repository:b" })},
		{"an action twice", bearerKey, change(func(b *Bearer) { b.Scope[0].Actions = []string{"pull", "pull"} })},
		{"no type", bearerKey, change(func(b *Bearer) { b.Scope[0].Type = "" })},
		{"many scopes", bearerKey, change(func(b *Bearer) { b.Scope = many })},
		{"long", bearerKey, change(func(b *Bearer) { b.Audience = strings.Repeat("a", maxBearerLen) })},
	}
	for _, tt := range tests {
		if s, err := Mint(tt.key, tt.b); err == nil || s != "" {
			t.Errorf("%s: minted %q", tt.name, s)
		}
	}
}

func FuzzOpenBearer(f *testing.F) {
	s, err := Mint(bearerKey, someBearer())
	if err != nil {
		f.Fatal(err)
	}
	payload, _, _ := strings.Cut(strings.TrimPrefix(s, BearerPrefix), ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s, raw)
	f.Add("ckb_.", []byte("{}"))
	f.Add("", []byte(`{"v":1,"aud":"keep.example","exp":-1}`))
	f.Fuzz(func(t *testing.T, s string, signed []byte) {
		// What this key did not sign is refused; f.Add has the only thing it signed.
		if b, err := OpenBearer(bearerKey, s, "keep.example", now); err == nil && !cmp.Equal(b, someBearer()) {
			t.Errorf("%q opens as %+v", s, b)
		}
		// What it did sign may be refused, and never panics.
		p := BearerPrefix + base64.RawURLEncoding.EncodeToString(signed)
		b, err := OpenBearer(bearerKey, p+"."+base64.RawURLEncoding.EncodeToString(bearerMAC(bearerKey, p)), "keep.example", now)
		if err == nil && (b.Audience != "keep.example" || !now.Before(b.Expires)) {
			t.Errorf("%q opens as %+v", signed, b)
		}
	})
}

func BenchmarkOpenBearer(b *testing.B) {
	s, err := Mint(bearerKey, someBearer())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := OpenBearer(bearerKey, s, "keep.example", now); err != nil {
			b.Fatal(err)
		}
	}
}
