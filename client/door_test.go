package client

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// What is no chart in an OCI registry leads nowhere.
func TestFetchOCIRefuses(t *testing.T) {
	p, _ := start(t)
	layer := func(typ, d string) string { return fmt.Sprintf(`{"mediaType":%q,"digest":%q}`, typ, d) }
	good := layer(typeChart, digest.SHA256(p.archives["web-1.4.2.tgz"]))
	for name, manifest := range map[string]string{
		"no JSON": "x", "no layers": `{}`, "other layers": `{"layers":[` + layer("text/plain", someDigit) + `]}`,
		"two charts": `{"layers":[` + good + `,` + good + `]}`, "no digest": `{"layers":[` + layer(typeChart, "latest") + `]}`,
		"a way out": `{"layers":[` + layer(typeChart, "../../x") + `]}`, "too much": strings.Repeat(" ", maxManifest+1),
	} {
		p.intercept = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/v2/demo/web/manifests/") {
				_, _ = w.Write([]byte(manifest))
				return true
			}
			return false
		}
		if got := p.look(Memory{}, "oci://HOST/demo/web:1.4.2"); got.Verdict != Incomplete || !strings.Contains(told(got), "fetch unchecked") {
			t.Errorf("%s: %s\n%s", name, got.Verdict, told(got))
		}
	}
}

func TestParseReference(t *testing.T) {
	const base = "http://keep.example:8080/ctx"
	for in, want := range map[string]Reference{
		"team-a/web@1.4.2": {Ref: Ref{"team-a", "web", "1.4.2"}, Server: base, Door: base},
		"oci://charts.example.com/team-a/x/web:1.4.2_b1": {Ref: Ref{"team-a/x", "web", "1.4.2+b1"}, Server: "https://charts.example.com", Door: "oci://charts.example.com"},
		"oci://127.0.0.1:5000/a/web:1.0.0":               {Ref: Ref{"a", "web", "1.0.0"}, Server: "http://127.0.0.1:5000", Door: "oci://127.0.0.1:5000"},
		"oci://[::1]:5000/a/web:1.0.0":                   {Ref: Ref{"a", "web", "1.0.0"}, Server: "http://[::1]:5000", Door: "oci://[::1]:5000"},
		"oci://keep.example:8080/a/web:1.0.0":            {Ref: Ref{"a", "web", "1.0.0"}, Server: base, Door: "oci://keep.example:8080"},
		base + "/a/b/charts/web-1.0.0%2Bx.tgz":           {Ref: Ref{Project: "a/b"}, Server: base, Door: base, File: "web-1.0.0+x.tgz"},
		"https://charts.example.com/a/charts/web-1.tgz":  {Ref: Ref{Project: "a"}, Server: "https://charts.example.com", Door: "https://charts.example.com", File: "web-1.tgz"},
	} {
		want.Written = in
		got, err := ParseReference(in, base)
		if err != nil || got != want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"web@1.0.0", "a/web", "a/web@latest", "oci://", "oci://h", "oci://h/web:1", "oci://h/a/web", "oci://u@h/a/web:1.0.0", "oci://h/A/web:1.0.0", "oci:///a/web:1.0.0",
		"https://u:p@h/a/charts/x-1.tgz", "https://h/a/charts/x-1.tgz?y", "https://h/a/x-1.tgz", "https://h/charts/x-1.tgz", "ftp://h/a/charts/x-1.tgz", "https://h/a/charts/x-1.zip", "https://h/a/charts/..",
	} {
		if got, err := ParseReference(in, base); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	if _, err := ParseReference("a/web@1.0.0", ""); problem.KindOf(err) != problem.Invalid {
		t.Errorf("without a server: %v", err)
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("oci://charts.example.com/a/web:1.0.0", "")
	f.Add("https://h/a/charts/x-1.0.0.tgz", "https://h")
	f.Add("a/web@1.0.0", "https://h/ctx")
	f.Fuzz(func(t *testing.T, s, server string) {
		r, err := ParseReference(s, server)
		if err != nil {
			return
		}
		if u, err := url.Parse(r.Server); strings.Contains(s, "://") && (err != nil || r.Server != server && hostOf(r.Door) != u.Host) {
			t.Fatalf("%q leads to %q", s, r.Server)
		}
	})
}
