package access

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func TestParseScope(t *testing.T) {
	repo := func(name string, actions ...string) Scope { return Scope{"repository", name, actions} }
	tests := []struct {
		in   string
		want []Scope
	}{
		{"", nil},
		{"   ", nil},
		{"repository:team-a/web:pull,push", []Scope{repo("team-a/web", "pull", "push")}},
		{"repository:samalba/my-app:pull,push repository:b:pull", []Scope{repo("samalba/my-app", "pull", "push"), repo("b", "pull")}},
		{" repository:a:pull  repository:b:pull ", []Scope{repo("a", "pull"), repo("b", "pull")}},
		{"registry:catalog:*", []Scope{{"registry", "catalog", []string{"*"}}}},
		{"repository(plugin):a:pull", []Scope{repo("a", "pull")}},
		{"repository:localhost:5000/a/b:pull", []Scope{repo("localhost:5000/a/b", "pull")}},
		{"repository:a:pull,pull,push,pull", []Scope{repo("a", "pull", "push")}},
		{"repository:a:", []Scope{repo("a")}},
		{"other:Thing_1:read2", []Scope{{"other", "Thing_1", []string{"read2"}}}},
	}
	for _, tt := range tests {
		got, err := ParseScope(tt.in)
		if err != nil {
			t.Errorf("ParseScope(%q): %v", tt.in, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("ParseScope(%q): %s", tt.in, d)
		}
	}
}

func TestParseScopeRefuses(t *testing.T) {
	tests := []struct {
		in   string
		kind problem.Kind
	}{
		{"repository", problem.Invalid},
		{"repository:a", problem.Invalid},
		{":a:pull", problem.Invalid},
		{"repository::pull", problem.Invalid},
		{"Repository:a:pull", problem.Invalid},
		{"repository(:a:pull", problem.Invalid},
		{"repository():a:pull", problem.Invalid},
		{"repository:a:pull,", problem.Invalid},
		{"repository:a:pull push", problem.Invalid},
		{"repository:a:PULL", problem.Invalid},
		{"repository:a:**", problem.Invalid},
		{"repository:a\x00:pull", problem.Invalid},
		{"repository:é:pull", problem.Invalid},
		{"repository:a:pull\nrepository:b:pull", problem.Invalid},
		{"repository:a:" + strings.Repeat("x", maxScopeWord+1), problem.Invalid},
		{"repository:" + strings.Repeat("x", maxPattern+1) + ":pull", problem.Invalid},
		{"repository:a:a,b,c,d,e,f,g,h,i", problem.Invalid},
		{strings.Repeat("repository:a:pull ", maxScopes+1), problem.TooLarge},
		{strings.Repeat("x", maxScopeText+1), problem.TooLarge},
	}
	for _, tt := range tests {
		if got, err := ParseScope(tt.in); problem.KindOf(err) != tt.kind || err == nil {
			t.Errorf("ParseScope(%.80q) = %v, %v; want %s", tt.in, got, err, tt.kind)
		}
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("repository:team-a/web:pull,push registry:catalog:*")
	f.Add("repository(plugin):localhost:5000/a:pull")
	f.Add("repository:a:")
	f.Add(" : : ")
	f.Fuzz(func(t *testing.T, s string) {
		scopes, err := ParseScope(s)
		if err != nil {
			if scopes != nil {
				t.Errorf("%q: an error and scopes", s)
			}
			return
		}
		if len(scopes) > maxScopes {
			t.Errorf("%q: %d scopes", s, len(scopes))
		}
		parts := make([]string, len(scopes))
		for i, sc := range scopes {
			parts[i] = sc.String()
		}
		again, err := ParseScope(strings.Join(parts, " "))
		if err != nil {
			t.Fatalf("%q reads, but what it means does not: %v", s, err)
		}
		if d := cmp.Diff(scopes, again); d != "" {
			t.Errorf("%q: %s", s, d)
		}
	})
}

func TestScope(t *testing.T) {
	s := Scope{"repository", "a", []string{"pull"}}
	if !s.Has("pull") || s.Has("push") || !(Scope{Actions: []string{"*"}}).Has("push") || (Scope{}).Has("pull") {
		t.Error("Has is wrong")
	}
	for in, want := range map[string]Action{"pull": ChartPull, "push": ChartPush, "delete": ArtifactDelete} {
		if got, ok := ScopeAction(in); !ok || got != want {
			t.Errorf("ScopeAction(%s) = %s", in, got)
		}
	}
	if _, ok := ScopeAction("*"); ok {
		t.Error(`"*" is one action`)
	}
}
