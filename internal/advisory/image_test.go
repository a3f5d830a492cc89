package advisory

import (
	"strings"
	"testing"
)

const sha = "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"

func TestParseImage(t *testing.T) {
	for _, tt := range []struct{ ref, host, path, tag, digest string }{
		{"redis", "docker.io", "library/redis", "", ""},
		{"redis:7.2.4", "docker.io", "library/redis", "7.2.4", ""},
		{" redis:7.2.4\n", "docker.io", "library/redis", "7.2.4", ""},
		{"library/redis:7.2.4", "docker.io", "library/redis", "7.2.4", ""},
		{"apache/airflow:2.8.4-python3.9", "docker.io", "apache/airflow", "2.8.4-python3.9", ""},
		{"docker.io/redis:7", "docker.io", "library/redis", "7", ""},
		{"index.docker.io/library/redis:7", "docker.io", "library/redis", "7", ""},
		{"registry-1.docker.io/bitnami/redis:7", "docker.io", "bitnami/redis", "7", ""},
		{"quay.io/argoproj/argocd:v2.8.4", "quay.io", "argoproj/argocd", "v2.8.4", ""},
		{"quay.io/prometheus/prometheus:v2.45.0@" + sha, "quay.io", "prometheus/prometheus", "v2.45.0", sha},
		{"redis@" + sha, "docker.io", "library/redis", "", sha},
		{"localhost/x:1", "localhost", "x", "1", ""},
		{"localhost:5000/x", "localhost:5000", "x", "", ""},
		{"registry.example:5000/a/b/c:1", "registry.example:5000", "a/b/c", "1", ""},
		{"Registry.Example/a:1", "registry.example", "a", "1", ""},
		{"10.0.0.1:443/a:1", "10.0.0.1:443", "a", "1", ""},
		{"[2001:db8::1]:5000/a:1", "[2001:db8::1]:5000", "a", "1", ""},
		{"team/a_b__c-d--e.f:A.1_x-y", "docker.io", "team/a_b__c-d--e.f", "A.1_x-y", ""},
		{"a:" + strings.Repeat("1", 128), "docker.io", "library/a", strings.Repeat("1", 128), ""},
	} {
		got, err := ParseImage(tt.ref)
		if err != nil {
			t.Errorf("%q: %v", tt.ref, err)
			continue
		}
		want := Image{tt.host, tt.path, tt.tag, tt.digest, strings.TrimSpace(tt.ref)}
		if got != want {
			t.Errorf("%q: %+v, want %+v", tt.ref, got, want)
		}
		if got.String() != strings.TrimSpace(tt.ref) {
			t.Errorf("%q is shown as %q", tt.ref, got)
		}
	}
}

func TestParseImageRefuses(t *testing.T) {
	for _, tt := range []struct{ ref, say string }{
		{"", "empty"},
		{"  ", "empty"},
		{"{{ .Values.image.repository }}:1", "template"},
		{"redis:{{ .Chart.AppVersion }}", "template"},
		{"${REGISTRY}/redis:1", "template"},
		{"redis:", "tag is empty"},
		{"quay.io/a/b:@" + sha, "tag is empty"},
		{"redis:-1", "begins with"},
		{"redis:.1", "begins with"},
		{"redis:1 2", "character"},
		{"redis:" + strings.Repeat("1", 129), "longer than 128"},
		{sha, "digest without a name"},
		{"@" + sha, "no name"},
		{"redis@", "digest is empty"},
		{"redis@sha256:1234", "too short"},
		{"redis@sha256:" + strings.Repeat("a", 63), "63 digits"},
		{"redis@sha256:" + strings.Repeat("G", 64), "hexadecimal"},
		{"redis@" + strings.Repeat("a", 64), "no algorithm"},
		{"redis@" + sha + "@" + sha, "hexadecimal"},
		{strings.Repeat("a", 64), "id of an image"},
		{"Redis:7", "character"},
		{"Team/app:7", "character"},
		{"quay.io/Argo/cd:1", "character"},
		{"quay.io//cd:1", "part of its name is empty"},
		{"/cd:1", "part of its name is empty"},
		{"quay.io/:1", "no name"},
		{"a/b/:1", "part of its name is empty"},
		{"a_/b:1", "separator"},
		{"a/-b:1", "separator"},
		{"a/b..c:1", "separator"},
		{"a/b___c:1", "separator"},
		{"-x.io/b:1", "no host"},
		{"x.io:port/b:1", "no host"},
		{"x.io:1:2/b:1", "no host"},
		{"[::1/b:1", "no host"},
		{"https://quay.io/a/b:1", "no host"},
		{"quay.io/" + strings.Repeat("a", 250) + ":1", "longer than 255"},
		{strings.Repeat("a", 2000), "longer than 1024"},
		{"redis:7\x00", "character"},
	} {
		got, err := ParseImage(tt.ref)
		if err == nil {
			t.Errorf("%q is read as %+v", tt.ref, got)
		} else if !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%q: %v, want something of %q", tt.ref, err, tt.say)
		}
	}
}

func FuzzImage(f *testing.F) {
	for _, s := range []string{"redis", "docker.io/bitnami/redis:6.2.14-debian-12-r17", "[::1]:5000/a/b:1@" + sha, "{{ x }}", "a//b", "localhost:5000/x"} {
		f.Add(s)
	}
	db := database()
	f.Fuzz(func(t *testing.T, ref string) {
		m := db.MatchImage(ref)
		if !m.Unknown || m.Why == "" || m.Open == nil || m.Confidence != Unknown {
			t.Errorf("%q without any feed: %+v", ref, m)
		}
		i, err := ParseImage(ref)
		if err != nil {
			return
		}
		whole := i.Repository()
		if i.Tag != "" {
			whole += ":" + i.Tag
		}
		if i.Digest != "" {
			whole += "@" + i.Digest
		}
		again, err := ParseImage(whole)
		if err != nil || again.Repository() != i.Repository() || again.Tag != i.Tag || again.Digest != i.Digest {
			t.Errorf("%q is %q, which is read as %+v, %v", ref, whole, again, err)
		}
	})
}
