package advisory

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func mustMap(t testing.TB, text string) *Map {
	t.Helper()
	m, err := ReadMap([]byte(text), MapLimits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// what says in one line what a map has an image for.
func what(t testing.TB, m *Map, ref string, major string) string {
	t.Helper()
	i, err := ParseImage(ref)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := m.find(i)
	switch {
	case !ok:
		return "nothing"
	case f.entry.None != "":
		return "none"
	}
	var names []string
	for _, c := range f.resolve(version{core: major}) {
		names = append(names, c.String())
	}
	return fmt.Sprintf("%s %s %s", strings.Join(names, "+"), f.entry.Tag, f.confidence)
}

func TestCuratedMap(t *testing.T) {
	m := Curated()
	for _, tt := range []struct{ ref, major, want string }{
		{"apache/airflow:2.8.4-python3.9", "2", "Bitnami/airflow semver likely"},
		{"ghcr.io/airflow-helm/pgbouncer:1.22.1-patch.0", "1", "Bitnami/pgbouncer semver likely"},
		{"ghcr.io/airflow-helm/postgresql-bitnami:11.22-patch.0", "11", "Bitnami/postgresql postgresql likely"},
		{"bitnami/redis:6.2.14", "6", "Bitnami/redis semver certain"},
		{"docker.io/bitnamilegacy/redis:6.2.14", "6", "Bitnami/redis semver certain"},
		{"public.ecr.aws/bitnami/redis:6.2.14", "6", "Bitnami/redis semver certain"},
		{"any-mirror.example/proxy/bitnami/redis:6.2.14", "6", "Bitnami/redis semver likely"},
		{"any-mirror.example:5000/bitnami/new-thing:1", "1", "Bitnami/new-thing semver likely"},
		{"bitnami/postgresql:11.7.0-debian-10-r9", "11", "Bitnami/postgresql postgresql certain"},
		{"bitnami/redis-sentinel:5.0.7", "5", "Bitnami/redis semver certain"},
		{"public.ecr.aws/docker/library/redis:7.2.4", "7", "Bitnami/redis semver likely"},
		{"mirror.gcr.io/library/redis:7.2.4", "7", "Bitnami/redis semver likely"},
		{"mirror.example/library/redis:7.2.4", "7", "Bitnami/redis semver weak"},
		{"mirror.example/team/redis:7.2.4", "7", "Bitnami/redis semver weak"},
		{"mirror.example/team/redis-ui:7.2.4", "7", "nothing"},
		{"postgres:16.1", "16", "Bitnami/postgresql postgresql likely"},
		{"jenkins/jenkins:2.440", "2", "Bitnami/jenkins jenkins likely"},
		{"minio/minio:RELEASE.2023-01-25T00-19-54Z", "2023", "Bitnami/minio release-date likely"},
		{"quay.io/argoproj/argocd:v1.8.0", "1", "Bitnami/argo-cd+Go/github.com/argoproj/argo-cd semver likely"},
		{"quay.io/argoproj/argocd:v2.8.4", "2", "Bitnami/argo-cd+Go/github.com/argoproj/argo-cd/v2 semver likely"},
		{"quay.io/oauth2-proxy/oauth2-proxy:v6.0.0", "6", "Bitnami/oauth2-proxy+Go/github.com/oauth2-proxy/oauth2-proxy semver likely"},
		{"quay.io/oauth2-proxy/oauth2-proxy:v7.0.0", "7", "Bitnami/oauth2-proxy+Go/github.com/oauth2-proxy/oauth2-proxy/v7 semver likely"},
		{"registry:2.8.1", "2", "Go/github.com/distribution/distribution+Go/github.com/docker/distribution semver likely"},
		{"traefik:v3.0.1", "3", "Go/github.com/traefik/traefik/v3+Go/github.com/containous/traefik/v3 semver likely"},
		{"hashicorp/vault:1.15.2", "1", "Bitnami/vault+Go/github.com/hashicorp/vault semver likely"},

		{"registry.k8s.io/git-sync/git-sync:v3.6.9", "", "none"},
		{"k8s.gcr.io/git-sync/git-sync:v3.2.2", "", "none"},
		{"quay.io/prometheus/statsd-exporter:v0.24.0", "", "none"},
		{"busybox:1.36", "", "none"},
		{"bitnami/minideb:buster", "", "none"},
		{"mirror.example/bitnami/redis-exporter:1.4.0", "", "none"},
		{"bitnami/clickhouse:23.8.1", "", "none"},
		{"confluentinc/cp-kafka:7.5.0", "", "none"},
		{"redis/redis-stack:6.2.6-v10", "", "none"},
		{"registry.k8s.io/ingress-nginx/controller:v1.8.1", "", "none"},
		{"example.org/own/thing:1.0.0", "", "nothing"},
		{"python-app:1.0.0", "", "nothing"},
		{"mirror.example/team/python:3.9.1", "", "nothing"}, // what is built on it is not it
	} {
		if got := what(t, m, tt.ref, tt.major); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.ref, got, tt.want)
		}
	}
	seen := map[string]bool{}
	for _, e := range m.layers[0].exact {
		if e.None == "" && e.Why == "" {
			t.Errorf("%v has no reason", e.Images)
		}
		for _, c := range e.components {
			seen[c.Ecosystem] = true
		}
	}
	if len(m.layers[0].exact) < 150 || !seen["Bitnami"] || !seen["Go"] || len(seen) != 2 {
		t.Errorf("%d images, of %v", len(m.layers[0].exact), seen)
	}
}

// An organisation's map goes before ours where it says something in the same
// way, and a more exact name goes before both.
func TestMapOver(t *testing.T) {
	own := mustMap(t, `
mirrors:
  - {of: docker.io, are: [registry.corp.example/hub]}
  - {of: registry.corp.example/hub, are: [edge.corp.example/cache]}
images:
  - {images: [registry.corp.example/data/scheduler], components: [Bitnami/airflow], confidence: certain}
  - {images: ["registry.corp.example/go/*"], components: ["Go/go.corp.example/*", Corp/all], confidence: certain}
  - {images: [docker.io/apache/airflow], none: we build it with our own patches}
  - {names: [redis], components: [Bitnami/valkey]}
`)
	m := own.Over(Curated())
	for ref, want := range map[string]string{
		"registry.corp.example/data/scheduler:2.8.4":         "Bitnami/airflow semver certain",
		"registry.corp.example/go/tool:v2.0.0":               "Go/go.corp.example/tool/v2+Corp/all semver certain",
		"mirror.example/data/scheduler:2.8.4":                "Bitnami/airflow semver likely",
		"apache/airflow:2.8.4":                               "none",
		"registry.corp.example/hub/apache/airflow:2.8.4":     "none",
		"registry.corp.example/hub/library/redis:7.2.4":      "Bitnami/redis semver likely",
		"edge.corp.example/cache/bitnami/redis:7.2.4":        "Bitnami/redis semver certain",
		"registry.corp.example/other/team/redis:7.2.4":       "Bitnami/valkey semver weak",
		"registry.corp.example/hubby/library/rabbitmq:4.0.0": "Bitnami/rabbitmq semver weak",
		"quay.io/argoproj/argocd:v2.8.4":                     "Bitnami/argo-cd+Go/github.com/argoproj/argo-cd/v2 semver likely",
	} {
		if got := what(t, m, ref, "2"); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
	if got := what(t, (&Map{}).Over(own), "registry.corp.example/data/scheduler:2.8.4", "2"); got != "Bitnami/airflow semver certain" {
		t.Errorf("over an empty map: %s", got)
	}
	if got := what(t, Curated(), "apache/airflow:2.8.4", "2"); got != "Bitnami/airflow semver likely" {
		t.Errorf("the lower map has changed: %s", got)
	}
	loop := mustMap(t, "mirrors:\n  - {of: b.example/b, are: [a.example/a]}\n  - {of: a.example/a, are: [b.example/b]}\n")
	if got := what(t, loop, "a.example/a/x:1", "1"); got != "nothing" {
		t.Errorf("mirrors of each other: %s", got)
	}
}

func TestReadMapRefuses(t *testing.T) {
	for _, tt := range []struct{ text, say string }{
		{"images: [{images: [docker.io/a/b], components: [Bitnami/b], version: x}]", "version"},
		{"image: []", "image"},
		{"- a", "form"},
		{"images: [", "form"},
		{"images: [null]", "entry 1 of images is empty"},
		{"images: [{components: [Bitnami/b]}]", "neither images nor names"},
		{"images: [{images: [docker.io/a/b]}]", "neither components nor none"},
		{"images: [{images: [a/b], components: [Bitnami/b]}]", "host of a registry"},
		{"images: [{images: [docker.io], components: [Bitnami/b]}]", "no name after the host"},
		{"images: [{images: ['docker.io/a/b:1'], components: [Bitnami/b]}]", "character"},
		{"images: [{images: ['docker.io/*/b'], components: [Bitnami/b]}]", "character"},
		{"images: [{images: ['docker.io/a/**'], components: [Bitnami/b]}]", "character"},
		{"images: [{images: [Docker.io/a/b], components: [Bitnami/b]}]", "lower case"},
		{"images: [{names: [a/b], components: [Bitnami/b]}]", "last part"},
		{"images: [{names: [a], components: [b]}]", "ecosystem/name"},
		{"images: [{names: [a], components: ['Bitnami/ b ']}]", "ecosystem/name"},
		{"images: [{names: [a], components: ['Bitnami/*']}]", "end in /*"},
		{"images: [{images: ['docker.io/a/*'], components: ['Bitnami/x*']}]", "end in /*"},
		{"images: [{names: [a], components: [Go/example.com/a/v2]}]", "leave /v2 out"},
		{"images: [{names: [a], components: [Bitnami/a], tag: calver}]", "calver"},
		{"images: [{names: [a], components: [Bitnami/a], confidence: sure}]", "sure"},
		{"images: [{names: [a], components: [Bitnami/a], confidence: unknown}]", "unknown"},
		{"images: [{names: [a], components: [Bitnami/a], incompatible: -1}]", "major"},
		{"images: [{names: [a], components: [Bitnami/a], none: no}]", "says none, and"},
		{"images: [{names: [a], none: no, tag: semver}]", "says none, and"},
		{"images: [{names: [a], none: x}, {names: [a], none: y}]", "two entries"},
		{"images: [{images: [docker.io/a/b], none: x}, {images: [docker.io/a/b], none: y}]", "two entries"},
		{"mirrors: [{of: docker, are: [x.example]}]", "docker"},
		{"mirrors: [{of: docker.io, are: [hub]}]", "hub"},
		{"mirrors: [{of: docker.io, are: [x.example/A]}]", "no repository"},
		{"mirrors: [{of: docker.io, are: [x.example]}, {of: quay.io, are: [x.example]}]", "a mirror of"},
		{"images: []\n---\nimages: []\n", "more than one"},
	} {
		_, err := ReadMap([]byte(tt.text), MapLimits{})
		var p *problem.Error
		if !errors.As(err, &p) || p.Kind != problem.Invalid || p.Rule != "component-map" || !strings.Contains(p.Error(), tt.say) {
			t.Errorf("%q: %v, want something of %q", tt.text, err, tt.say)
		}
	}
	for _, tt := range []struct {
		text string
		lim  MapLimits
	}{
		{"images: []", MapLimits{Bytes: 5}},
		{"images: [{names: [a, b], components: [Bitnami/a]}]", MapLimits{Entries: 2}},
		{"mirrors: [{of: docker.io, are: [a.example, b.example]}]", MapLimits{Entries: 1}},
	} {
		_, err := ReadMap([]byte(tt.text), tt.lim)
		var p *problem.Error
		if !errors.As(err, &p) || p.Kind != problem.TooLarge || p.Rule != "component-map-size" {
			t.Errorf("%q within %+v: %v", tt.text, tt.lim, err)
		}
	}
	for _, text := range []string{"", "# nothing\n", "images:\n", "mirrors: []\nimages: []\n"} {
		if m := mustMap(t, text); what(t, m, "redis:7", "7") != "nothing" {
			t.Errorf("%q says something", text)
		}
	}
}

func FuzzMap(f *testing.F) {
	f.Add("images: [{images: ['docker.io/a/*'], components: ['Bitnami/*', Go/x.example/y], tag: jenkins}]", "docker.io/a/b:1.2.3")
	f.Add("mirrors: [{of: docker.io, are: [x.example/a]}]", "x.example/a/library/redis:1.2.3")
	f.Add("a: &a [*a]", "redis")
	db, below := database(), Curated()
	f.Fuzz(func(t *testing.T, text, ref string) {
		m, err := ReadMap([]byte(text), MapLimits{Bytes: 4 << 10})
		if err != nil {
			var p *problem.Error
			if !errors.As(err, &p) {
				t.Fatalf("%v is no problem", err)
			}
			return
		}
		one := *db
		one.images = m.Over(below)
		if match := one.MatchImage(ref); !match.Unknown || match.Why == "" {
			t.Errorf("%q without any feed: %+v", ref, match)
		}
	})
}
