package advisory

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVEX(t *testing.T) {
	p, faults := mustImport(t, VEX, fixtures(t, VEX)...)
	if got, want := flaw(faults), `web.json https://example.org/vex/2026-1 statements say not_affected of "CVE-2026-10003" and not why; statements name no product for "CVE-2026-10004"`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if s := p.Snapshot(); s.Records != 1 || !s.Dated.Equal(day(2026, 2, 10, 0)) {
		t.Errorf("%+v", s)
	}
	db, _ := NewDatabase(nil, p.With(Snapshot{Feed: "own"}))
	image, err := ParseImage("ghcr.io/example/web:1.4.1")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"CVE-2026-10001", "ghsa-xxxx-yyyy-zzzz"}
	got := db.Statements(names, Products(image, Component{}, ""))
	want := []Stated{{Statement{
		Document: "https://example.org/vex/2026-1", Author: "Example security", Vulnerabilities: []string{"CVE-2026-10001", "GHSA-xxxx-yyyy-zzzz"},
		Products: []string{"ghcr.io/example/web:1.4.1"}, Status: "not_affected", Justification: "vulnerable_code_not_in_execute_path", Time: day(2026, 2, 5, 0),
	}, p.With(Snapshot{Feed: "own"}).Snapshot()}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// The other product is covered by its part alone.
	image.Tag = "1.4.0"
	if got := db.Statements(names, Products(image, Component{"Bitnami", "web"}, "1.4.0")); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	if got := db.Statements(names, Products(image, Component{"Go", "example.org/web"}, "1.4.0")); len(got) != 1 || got[0].Subcomponents == nil {
		t.Errorf("%+v", got)
	}
	if got := db.Statements([]string{"CVE-2026-10002"}, []string{"pkg:bitnami/web@1.4.1"}); len(got) != 1 || got[0].Status != "affected" || !got[0].Time.Equal(day(2026, 2, 10, 0)) {
		t.Errorf("%+v", got)
	}
	if got := db.Statements([]string{"CVE-2026-10003"}, []string{"pkg:bitnami/web@1.4.1"}); len(got) > 0 {
		t.Errorf("a statement without its reason counts: %+v", got)
	}
}

func TestVEXForms(t *testing.T) {
	document := func(members string) string {
		return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"d","timestamp":"2026-01-01T00:00:00Z",` + members + `}`
	}
	statement := func(members string) string {
		return document(`"statements":[{"vulnerability":{"name":"CVE-2026-0001"},"products":[{"@id":"p"}],` + members + `}]`)
	}
	for _, c := range []struct {
		name, text string
		n          int
		fault      string
	}{
		{"fixed", statement(`"status":"fixed"`), 1, ""},
		{"under investigation", statement(`"status":"under_investigation"`), 1, ""},
		{"not affected, in words", statement(`"status":"not_affected","impact_statement":"not reached"`), 1, ""},
		{"no status", statement(`"x":1`), 0, "the status"},
		{"status of another type", statement(`"status":["fixed"]`), 0, "status is a list where a text belongs"},
		{"status that is not known", statement(`"status":"fine"`), 0, `the status "fine"`},
		{"justification that is not known", statement(`"status":"not_affected","justification":"trust_us","impact_statement":"x"`), 0, `the justification "trust_us"`},
		{"no vulnerability", document(`"statements":[{"products":["p"],"status":"fixed"}]`), 0, "names no vulnerability"},
		{"product without a name", document(`"statements":[{"vulnerability":"CVE-2026-0001","products":[{}],"status":"fixed"}]`), 0, "neither @id nor purl"},
		{"as of 0.0.1", `{"@context":"https://openvex.dev/ns","@id":"d","statements":[{"vulnerability":"CVE-2026-0001","products":["p"],"status":"fixed"}]}`, 1, ""},
		{"by URL and purl", document(`"statements":[{"vulnerability":{"@id":"https://nvd.nist.gov/vuln/detail/CVE-2026-0001"},"products":[{"identifiers":{"purl":"p","cpe23":"x"}}],"status":"fixed"}]`), 1, ""},
		{"two products", document(`"statements":[{"vulnerability":"CVE-2026-0001","products":["p",{"@id":"p"}],"status":"fixed"}]`), 2, ""},
		{"no id", strings.Replace(statement(`"status":"fixed"`), `"@id":"d"`, `"x":1`, 1), -1, "without an @id"},
		{"another document", `{"document":{"category":"csaf_vex"}}`, -1, "is no OpenVEX document"},
	} {
		d, faults := readDocument(c.text)
		if got := strings.Join(faults, "; "); !strings.Contains(got, c.fault) || c.fault == "" && got != "" {
			t.Errorf("%s: %s, want %s", c.name, got, c.fault)
		}
		if (d.id == "") != (c.n < 0) || c.n >= 0 && len(d.statements) != c.n {
			t.Errorf("%s: %+v", c.name, d)
		}
		if c.n > 0 && !slices.Equal(append(d.statements[0].Vulnerabilities, d.statements[0].Products...), []string{"CVE-2026-0001", "p"}) {
			t.Errorf("%s: %+v", c.name, d.statements[0])
		}
	}
}

// The newest statement comes first, whatever document it is in.
func TestVEXOrder(t *testing.T) {
	file := func(id, when, status string) input {
		return input{id, fmt.Sprintf(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":%q,"timestamp":%q,"statements":[{"vulnerability":"CVE-2026-0001","products":["pkg:bitnami/web"],"status":%q}]}`, id, when, status)}
	}
	p, _ := mustImport(t, VEX, file("a", "2026-01-02T00:00:00Z", "fixed"), file("b", "2026-01-03T00:00:00Z", "under_investigation"), file("c", "2026-01-01T00:00:00Z", "fixed"))
	db, _ := NewDatabase(nil, p)
	var got []string
	for _, s := range db.Statements([]string{"CVE-2026-0001", "CVE-2026-0001"}, []string{"pkg:bitnami/web@1", "pkg:bitnami/web@2"}) {
		got = append(got, s.Document)
	}
	if d := cmp.Diff([]string{"b", "a", "c"}, got); d != "" {
		t.Error(d)
	}
}

func TestProductsCovered(t *testing.T) {
	const sum = "sha256:0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c"
	const other = "sha256:ffff0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c0b1c"
	escaped := strings.Replace(sum, ":", "%3A", 1)
	for _, c := range []struct {
		stated, image, component, version string
		want                              bool
	}{
		{"docker.io/bitnami/redis", "bitnami/redis:7.0", "", "", true},
		{"bitnami/redis:7.0", "docker.io/bitnami/redis:7.0@" + sum, "", "", true},
		{"bitnami/redis:7.0", "docker.io/bitnami/redis:7.1", "", "", false},
		{"bitnami/redis@" + sum, "docker.io/bitnami/redis:7.1@" + sum, "", "", true},
		{"bitnami/redis@" + sum, "docker.io/bitnami/redis:7.1@" + other, "", "", false},
		{"bitnami/redis@" + sum, "docker.io/bitnami/redis:7.1", "", "", false},
		{"redis", "docker.io/library/redis:7", "", "", true},
		{"redis", "bitnami/redis:7", "", "", false},
		{"pkg:oci/redis", "bitnami/redis:7.0", "", "", false},
		{"pkg:oci/redis@" + escaped, "bitnami/redis@" + sum, "", "", true},
		{"pkg:oci/redis@" + sum, "bitnami/redis@" + sum, "", "", true},
		{"pkg:oci/redis@" + escaped, "bitnami/redis@" + other, "", "", false},
		{"pkg:oci/redis?repository_url=index.docker.io/bitnami/redis", "bitnami/redis:7.0", "", "", true},
		{"pkg:OCI/redis?repository_url=docker.io%2Fbitnami%2Fredis&tag=7.0", "bitnami/redis:7.0", "", "", true},
		{"pkg:oci/redis?repository_url=docker.io/bitnami/redis&tag=7.1", "bitnami/redis:7.0", "", "", false},
		{"pkg:oci/redis?repository_url=ghcr.io/x/redis", "bitnami/redis:7.0", "", "", false},
		{"pkg:oci/redis?repository_url=docker.io/bitnami/redis&arch=arm64", "bitnami/redis:7.0", "", "", false},
		{"pkg:docker/bitnami/redis@7.0", "bitnami/redis:7.0", "", "", true},
		{"pkg:docker/redis@7.0", "redis:7.0", "", "", true},
		{"pkg:docker/bitnami/redis@7.0", "ghcr.io/bitnami/redis:7.0", "", "", false},
		{"pkg:bitnami/redis", "x/y:1", "Bitnami/redis", "7.0", true},
		{"pkg:bitnami/redis@7.0", "x/y:1", "Bitnami/redis", "7.0", true},
		{"pkg:bitnami/redis@7.0", "x/y:1", "Bitnami/redis", "7.0.1", false},
		{"pkg:bitnami/redis@7.0", "x/y:1", "Bitnami/redis", "", false},
		{"pkg:golang/helm.sh/helm/v3", "x/y:1", "Go/helm.sh/helm/v3", "3.1.0", true},
		{"pkg:npm/%40a/b@1", "x/y:1", "npm/@a/b", "1", true},
		{"pkg:maven/org.x/y", "x/y:1", "Maven/org.x:y", "1", true},
		{"pkg:maven/org.x/y", "x/y:1", "Debian/y", "1", false},
		{"pkg:bitnami/redis%zz", "x/y:1", "Bitnami/redis", "7.0", false},
		{"https://example.org/product", "x/y:1", "", "", false},
		{"", "x/y:1", "", "", false},
	} {
		image, err := ParseImage(c.image)
		if err != nil {
			t.Fatal(err)
		}
		ecosystem, name, _ := strings.Cut(c.component, "/")
		s := Statement{Products: []string{c.stated}}
		var asked []named
		for _, p := range Products(image, Component{ecosystem, name}, c.version) {
			asked = append(asked, readNamed(p))
		}
		if got := s.about(asked); got != c.want {
			t.Errorf("%s covers %s %s %s: %v", c.stated, c.image, c.component, c.version, got)
		}
	}
	if s := (&Statement{Products: []string{"Our Product 1"}}); !s.about([]named{readNamed("Our Product 1")}) || s.about([]named{readNamed("Our Product 2")}) {
		t.Error("names that are neither are compared as they are")
	}
}

func FuzzVEX(f *testing.F) {
	for _, in := range fixtures(f, VEX) {
		f.Add([]byte(in.text))
	}
	f.Add([]byte(`{"@context":"https://openvex.dev/ns","@id":"d","statements":[{"vulnerability":"CVE-2026-0001","products":["pkg:oci/a@%zz?x"],"status":"fixed"}]}`))
	lim := Limits{Record: 64 << 10, File: 256 << 10, Import: 1 << 20, Kept: 256 << 10, Records: 1000, Files: 100}
	f.Fuzz(func(t *testing.T, in []byte) {
		roundTrip(t, VEX, lim, in)
		d, _ := readDocument(string(in))
		for _, s := range d.statements {
			s.about([]named{readNamed("ghcr.io/a/b:1"), readNamed("pkg:oci/b?tag=1")})
		}
	})
}
