package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func mustClaims(t testing.TB, text string) Claims {
	t.Helper()
	c, err := ParseClaims([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseClaims(t *testing.T) {
	c := mustClaims(t, `{"iss":"https://i.example","sub":"s","aud":["a"],"jti":"j","exp":1700000600,"nbf":1700000000,"iat":1700000000,
		"ref_protected":"true","bool":true,"project_id":22,"n":null,"float":1.5,"groups":["a","b"],"mixed":["a",{"b":1}],"empty":[],
		"kubernetes.io":{"namespace":"ns","serviceaccount":{"name":"sa","uid":"u-1"},"warnafter":1700000300}}`)
	if c.Issuer != "https://i.example" || c.Subject != "s" || !slices.Equal(c.Audience, []string{"a"}) || c.ID != "j" ||
		c.Expires.Unix() != 1700000600 || c.NotBefore.Unix() != 1700000000 || c.Issued.Unix() != 1700000000 {
		t.Fatalf("got %+v", c)
	}
	for name, want := range map[string]string{
		"ref_protected": "true", "bool": "true", "project_id": "22", "kubernetes.io/namespace": "ns", "kubernetes.io/serviceaccount/uid": "u-1",
	} {
		if got, ok := c.Text(name); !ok || got != want {
			t.Errorf("%s: %q, %t", name, got, ok)
		}
	}
	for _, name := range []string{"n", "float", "groups", "mixed", "empty", "kubernetes.io", "ISS", "none"} {
		if got, ok := c.Text(name); ok {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := c.List("groups"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("groups %v", got)
	}
	if got := c.List("mixed"); got != nil {
		t.Errorf("mixed %v", got)
	}
	if got := c.List("sub"); !slices.Equal(got, []string{"s"}) {
		t.Errorf("a list of one %v", got)
	}
}

func TestParseClaimsRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for name, text := range map[string]string{
		"empty":                 ``,
		"no object":             `["iss"]`,
		"two objects":           `{"iss":"a"}{"iss":"b"}`,
		"cut off":               `{"iss":"a"`,
		"a name twice":          `{"iss":"a","iss":"b"}`,
		"a name twice, escaped": `{"iss":"a","\u0069ss":"b"}`,
		"a path twice":          `{"kubernetes.io":{"namespace":"a"},"kubernetes.io/namespace":"b"}`,
		"issuer is a number":    `{"iss":true}` + " x",
		"issuer is a list":      `{"iss":["a"]}`,
		"time in words":         `{"exp":"tomorrow"}`,
		"time with a fraction":  `{"exp":1.5}`,
		"time before 1970":      `{"iat":-5}`,
		"time beyond all":       `{"exp":99999999999999}`,
		"time is an object":     `{"nbf":{}}`,
		"too deep":              deep,
		"too deep in a list":    `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		"too many":              `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", maxClaimItems+1), ",") + `]}`,
		"too long":              `{"a":"` + strings.Repeat("x", maxClaimText+1) + `"}`,
		"too large":             `{"a":"` + strings.Repeat("x", MaxClaims) + `"}`,
		"not UTF-8":             "{\"a\":\"\xff\"}",
	} {
		_, err := ParseClaims([]byte(text))
		if p, ok := problem.As(err); !ok || p.Kind != problem.Unauthenticated || p.Rule != "oidc-claims" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUseNamesAToken(t *testing.T) {
	use := func(text string) [32]byte { c := mustClaims(t, text); return c.Use() }
	a := use(`{"iss":"a","jti":"1","exp":5}`)
	if a != use(`{"iss":"a","jti":"1","exp":6}`) {
		t.Error("one id of one issuer is two tokens")
	}
	for _, other := range []string{`{"iss":"b","jti":"1"}`, `{"iss":"a","jti":"2"}`, `{"iss":"a"}`, `{"iss":"a","exp":5}`} {
		if use(other) == a {
			t.Errorf("%s is the same token", other)
		}
	}
	if use(`{"iss":"a","exp":5}`) == use(`{"iss":"a","exp":6}`) {
		t.Error("two tokens without an id are one")
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"a","aud":["b"],"exp":1700000000,"x":{"y":[1,{"z":null}]}}`))
	f.Add([]byte(`{"iss":"a","iss":"b"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseClaims(text)
		if err != nil {
			return
		}
		c.Use()
		for _, p := range []Provider{ProviderGitHub, ProviderGitLab, ProviderKubernetes, ProviderGeneric} {
			pl, ok := p.PipelineOf(&c)
			if ok && (pl.Subject == "" || len(pl.Subject) > maxSubject) {
				t.Errorf("subject %q", pl.Subject)
			}
			if pl.Source != (Source{}) && (!commit(pl.Source.Commit) || !repositoryURL(pl.Source.URL)) {
				t.Errorf("source %+v", pl.Source)
			}
		}
		if len(c.values)+len(c.lists) > maxClaimItems {
			t.Errorf("%d claims", len(c.values))
		}
	})
}
