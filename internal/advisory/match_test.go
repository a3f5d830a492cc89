package advisory

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The JSON of a match is fixed.
func TestImageMatchJSON(t *testing.T) {
	db := database(advisoryOf(t, "BIT-redis-2 CVE-2|Bitnami/redis introduced:0 fixed:6.2.14"), advisoryOf(t, "BIT-redis-1 CVE-1|Bitnami/redis introduced:6.0.0"))
	for _, tt := range []struct{ ref, want string }{
		{"docker.io/bitnami/redis:6.2.13-debian-12-r17", `{"image":"docker.io/bitnami/redis:6.2.13-debian-12-r17","component":"Bitnami/redis","version":"6.2.13","confidence":"certain",` +
			`"how":"docker.io/bitnami/redis is Bitnami/redis on the component map: its publisher names its advisories by the name of the image; \"debian-12-r17\" was cut off the tag",` +
			`"open":["BIT-redis-1","BIT-redis-2"],"unknown":false}`},
		{"redis:5.0.0@" + sha, `{"image":"redis:5.0.0@` + sha + `","component":"Bitnami/redis","version":"5.0.0","confidence":"likely",` +
			`"how":"docker.io/library/redis is Bitnami/redis on the component map: it is the official image, with the version in its tag","open":["BIT-redis-2"],"unknown":false}`},
		{"example.org/x:1", `{"image":"example.org/x:1","component":"","version":"","confidence":"unknown","how":"","open":[],"unknown":true,"why":"the component map has no entry for example.org/x"}`},
	} {
		b, err := json.Marshal(db.MatchImage(tt.ref))
		if err != nil || string(b) != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.ref, err, b, tt.want)
		}
	}
}

func TestMatchImage(t *testing.T) {
	db := database(
		advisoryOf(t, "BIT-redis-1 CVE-1|Bitnami/redis introduced:0 fixed:6.2.14 introduced:7.0.0 fixed:7.2.4"),
		advisoryOf(t, "BIT-redis-2 CVE-2|Bitnami/redis introduced:7.4.0"),
		advisoryOf(t, "BIT-argo-cd-1 CVE-3|Bitnami/argo-cd introduced:0 fixed:2.9.0"),
		advisoryOf(t, "GO-1 CVE-3 GHSA-3|Go/github.com/argoproj/argo-cd introduced:0|Go/github.com/argoproj/argo-cd/v2 introduced:0 fixed:2.9.0"),
		advisoryOf(t, "GO-2 CVE-4|Go/github.com/argoproj/argo-cd introduced:0|Go/github.com/argoproj/argo-cd/v2 introduced:2.8.0 fixed:2.8.5"),
		advisoryOf(t, "GO-3 CVE-5|Go/github.com/traefik/traefik introduced:0|Go/github.com/traefik/traefik/v2 introduced:0 fixed:2.11.0"),
		advisoryOf(t, "BIT-minio-1 CVE-6|Bitnami/minio introduced:2020.04.10 fixed:2023.02.17"),
	)
	for _, tt := range []struct{ ref, component, version, confidence, open, why string }{
		{"redis:6.2.13", "Bitnami/redis", "6.2.13", "likely", "BIT-redis-1", ""},
		{"redis:6.2.14", "Bitnami/redis", "6.2.14", "likely", "", ""},
		{"redis:6.2.14-rc1", "Bitnami/redis", "6.2.14-rc1", "likely", "BIT-redis-1", ""},
		{"redis:6.2.14-acme.1", "Bitnami/redis", "6.2.14", "weak", "BIT-redis-1", ""},
		{"redis:7.4.0-alpine", "Bitnami/redis", "7.4.0", "likely", "BIT-redis-2", ""},
		{"mirror.example/x/bitnami/redis:6.2.13", "Bitnami/redis", "6.2.13", "likely", "BIT-redis-1", ""},
		{"mirror.example/x/redis:6.2.13", "Bitnami/redis", "6.2.13", "weak", "BIT-redis-1", ""},
		{"quay.io/argoproj/argocd:v2.8.4", "Bitnami/argo-cd", "2.8.4", "likely", "BIT-argo-cd-1 GO-2", ""},
		{"quay.io/argoproj/argocd:v1.8.0", "Bitnami/argo-cd", "1.8.0", "likely", "BIT-argo-cd-1 GO-2", ""},
		{"quay.io/argoproj/argocd:v2.9.0", "Bitnami/argo-cd", "2.9.0", "likely", "", ""},
		{"quay.io/argoproj/argocd:v4.0.0", "Bitnami/argo-cd", "4.0.0", "likely", "", ""},
		{"traefik:v1.7.34", "Go/github.com/traefik/traefik", "1.7.34", "likely", "GO-3", ""},
		{"traefik:v2.10.4", "Go/github.com/traefik/traefik/v2", "2.10.4", "likely", "GO-3", ""},
		{"traefik:v2.11.0", "Go/github.com/traefik/traefik/v2", "2.11.0", "likely", "", ""},
		{"minio/minio:RELEASE.2023-01-25T00-19-54Z", "Bitnami/minio", "2023.1.25", "likely", "BIT-minio-1", ""},
		{"minio/minio:RELEASE.2023-02-17T17-52-43Z", "Bitnami/minio", "2023.2.17", "likely", "", ""},

		// Unknown, and never clean.
		{"traefik:v3.0.1", "Go/github.com/traefik/traefik/v3", "3.0.1", "unknown", "", "no feed that was imported has advisories on Go/github.com/traefik/traefik/v3"},
		{"redis:6.2", "Bitnami/redis", "", "unknown", "", "moves along it"},
		{"redis:6", "Bitnami/redis", "", "unknown", "", "moves along it"},
		{"redis:latest", "Bitnami/redis", "", "unknown", "", `"latest" names no version`},
		{"redis", "Bitnami/redis", "", "unknown", "", "no tag"},
		{"redis@" + sha, "Bitnami/redis", "", "unknown", "", "a digest and no tag"},
		{"postgres:16.1", "Bitnami/postgresql", "16.1.0", "unknown", "", "no feed that was imported"},
		{"bitnami/never-heard-of:1.0.0", "Bitnami/never-heard-of", "1.0.0", "unknown", "", "no feed that was imported"},
		{"busybox:1.36.1", "", "", "unknown", "", "no feed that is known has records of it"},
		{"registry.k8s.io/git-sync/git-sync:v3.6.9", "", "", "unknown", "", "no feed that is known has records of it"},
		{"example.org/own:1.0.0", "", "", "unknown", "", "no entry"},
		{"{{ .Values.image }}", "", "", "unknown", "", "a template"},
		{"", "", "", "unknown", "", "empty"},
	} {
		m := db.MatchImage(tt.ref)
		if m.Image != tt.ref || m.Component != tt.component || m.Version != tt.version || string(m.Confidence) != tt.confidence || strings.Join(m.Open, " ") != tt.open {
			t.Errorf("%q: %+v", tt.ref, m)
		}
		if m.Unknown != (tt.why != "") || !strings.Contains(m.Why, tt.why) || m.Unknown != (m.Why != "") || m.Open == nil || len(m.Found) != len(m.Open) {
			t.Errorf("%q: unknown %t, because %q; want %q", tt.ref, m.Unknown, m.Why, tt.why)
		}
	}
	if m := db.MatchImage("redis:6.2.14-acme.1"); m.Found[0].Doubt == "" || m.Found[0].Fixed[0] != "6.2.14" {
		t.Errorf("a tag in doubt: %+v", m.Found)
	}
}

// Of what is open on the image of a program that two feeds know, no
// vulnerability is there twice, and none is lost.
func TestMatchCorpus(t *testing.T) {
	db := corpus(t)
	for _, ref := range []string{"quay.io/argoproj/argocd:v2.8.4", "hashicorp/vault:1.15.2", "quay.io/oauth2-proxy/oauth2-proxy:v7.4.0", "alpine/helm:3.10.0", "traefik:v2.10.4",
		"jenkins/jenkins:2.426.3-lts-jdk17", "rabbitmq:3.8.6-management", "valkey/valkey:8.0.0", "ghcr.io/external-secrets/external-secrets:v0.9.0", "registry:2.8.1", "python:3.9.1-slim"} {
		m := db.MatchImage(ref)
		if m.Unknown || len(m.Open) == 0 {
			t.Errorf("%s: %+v", ref, m)
		}
		if !slices.IsSorted(m.Open) {
			t.Errorf("%s: %v is not in order", ref, m.Open)
		}
		seen := map[string]string{}
		for _, o := range m.Found {
			if !strings.HasPrefix(o.Advisory.ID, "BIT-") && len(o.Advisory.Aliases) > 0 && o.Advisory.CVE() == "" {
				continue
			}
			if cve := o.Advisory.CVE(); cve != "" && seen[cve] != "" {
				t.Errorf("%s: %s is open as %s and %s", ref, cve, seen[cve], o.Advisory.ID)
			} else {
				seen[cve] = o.Advisory.ID
			}
		}
		i, _ := ParseImage(ref)
		f, _ := db.images.find(i)
		for _, c := range f.resolve(mustVersion(t, m.Version)) {
			for _, o := range db.MatchComponent(c, m.Version) {
				if !slices.ContainsFunc(m.Found, func(x Open) bool { return same(x.Advisory, o.Advisory) }) {
					t.Errorf("%s: %s is open on %s and lost", ref, o.Advisory.ID, c)
				}
			}
		}
	}
	for _, ref := range []string{"bitnami/pgbouncer:1.22.1", "redis:7", "busybox:1.36.1", "mysql:8.0.35", "traefik:v4.0.0"} {
		if m := db.MatchImage(ref); !m.Unknown || m.Why == "" {
			t.Errorf("%s: %+v", ref, m)
		}
	}
}

func same(a, b *Advisory) bool {
	for x := range a.names() {
		for y := range b.names() {
			if x == y {
				return true
			}
		}
	}
	return false
}

// On the way up through the versions that records name, what is open changes
// only where a record says so; above all of them nothing is open but what no
// version fixes.
func TestRaisingTheVersion(t *testing.T) {
	for _, db := range []*Database{airflow(t), corpus(t)} {
		for _, c := range slices.SortedFunc(maps.Keys(db.components), func(a, b Component) int { return strings.Compare(a.String(), b.String()) }) {
			named := map[string][]*Advisory{}
			for _, a := range db.components[c] {
				for _, x := range a.Affected {
					for _, r := range x.Ranges {
						for _, e := range r.Events {
							if x.Component == c {
								v := e.Introduced + e.Fixed + e.LastAffected
								named[v] = append(named[v], a)
							}
						}
					}
				}
			}
			delete(named, "0")
			steps := slices.SortedFunc(maps.Keys(named), func(a, b string) int { return compare(mustVersion(t, a), mustVersion(t, b)) })
			before := map[*Advisory]bool{}
			var speaks []*Advisory // at this step, or of the last version that is affected at the one before
			for _, v := range steps {
				speaks = append(speaks, named[v]...)
				now := map[*Advisory]bool{}
				for _, o := range db.MatchComponent(c, v) {
					now[o.Advisory] = true
				}
				for _, a := range db.components[c] {
					if now[a] != before[a] && len(before) > 0 && !slices.ContainsFunc(speaks, func(s *Advisory) bool { return same(s, a) }) {
						t.Errorf("%s %s: %s turns without a word of it", c, v, a.ID)
					}
				}
				before, speaks = now, slices.Clone(named[v])
			}
			for _, o := range db.MatchComponent(c, strings.Repeat("9", 50)) {
				if len(o.Fixed) > 0 || ended(o.Advisory, c) {
					t.Errorf("%s above all versions: %s is open", c, o.Advisory.ID)
				}
			}
		}
	}
	db := airflow(t)
	if m := db.MatchImage("apache/airflow:999.0.0-python3.12"); m.Unknown || len(m.Open) > 0 {
		t.Errorf("airflow above all versions: %+v", m)
	}
}

// ended reports whether every part of a record on c ends with a fix or a last
// affected version above all others.
func ended(a *Advisory, c Component) bool {
	for _, x := range a.Affected {
		for _, r := range x.Ranges {
			last := slices.MaxFunc(r.Events, func(p, q RangeEvent) int {
				a, _ := parseVersion(p.Introduced + p.Fixed + p.LastAffected)
				b, _ := parseVersion(q.Introduced + q.Fixed + q.LastAffected)
				return compare(a, b)
			})
			if x.Component == c && last.Introduced != "" {
				return false
			}
		}
	}
	return true
}

func TestMatchImages(t *testing.T) {
	db := airflow(t)
	refs := []string{"apache/airflow:2.8.4-python3.9", "redis:6.2.14", "apache/airflow:2.8.4-python3.9", "", "redis:latest", "redis:6.2.14"}
	for i, m := range db.MatchImages(refs) {
		a, _ := json.Marshal(m)
		b, _ := json.Marshal(db.MatchImage(refs[i]))
		if string(a) != string(b) {
			t.Errorf("%s: %s, and alone %s", refs[i], a, b)
		}
	}
	if got := db.MatchImages(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// fleet are the images of deployments, six each, as airflow's chart has them.
// With distinct tags, no two deployments run the same images.
func fleet(deployments int, distinct bool) []string {
	refs := make([]string, 0, 6*deployments)
	for i := range deployments {
		n := i % 40
		if distinct {
			n = i
		}
		refs = append(refs,
			fmt.Sprintf("apache/airflow:2.%d.%d-python3.9", n%11, n/11),
			fmt.Sprintf("docker.io/bitnami/postgresql:%d.%d.0-debian-11-r%d", 11+n%7, n/7%30, n/7),
			fmt.Sprintf("docker.io/bitnami/redis:%d.2.%d-debian-12-r1", 6+n%3, n/3),
			fmt.Sprintf("quay.io/argoproj/argocd:v2.%d.%d", n%15, n/15),
			fmt.Sprintf("registry.example/platform/vault:1.%d.%d", n%21, n/21),
			fmt.Sprintf("registry.k8s.io/git-sync/git-sync:v3.6.%d", n),
		)
	}
	return refs
}

func benchmarkMatch(b *testing.B, distinct bool) {
	db := corpus(b)
	refs := fleet(10_000, distinct)
	b.ReportAllocs()
	for b.Loop() {
		open := 0
		for _, m := range db.MatchImages(refs) {
			open += len(m.Open)
		}
		if open == 0 {
			b.Fatal("nothing is open")
		}
	}
	b.ReportMetric(float64(len(db.advisories)), "advisories")
	b.ReportMetric(float64(len(refs)), "images")
}

// BenchmarkMatch10000 is 10,000 deployments of six images each against all
// advisories of the corpus, with 40 versions of each image among them.
func BenchmarkMatch10000(b *testing.B) { benchmarkMatch(b, false) }

// BenchmarkMatch10000Distinct is the same where no image is there twice.
func BenchmarkMatch10000Distinct(b *testing.B) { benchmarkMatch(b, true) }
