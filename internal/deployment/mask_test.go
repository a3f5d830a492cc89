package deployment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func TestMask(t *testing.T) {
	const text = `{
	"replicas": 3, "enabled": true, "nothing": null, "image": {"repository": "registry.example.org/team/app", "tag": "1.2.3-debian-12-r17", "digest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
	"password": "s", "PASSWORD": 5551234, "adminPassword": "s", "db_pass": "s", "dbPass": "s", "apiKey": "s", "api-key": "s", "secretKey": "s", "AWS_SECRET_ACCESS_KEY": "s",
	"fernetKey": "s", "tls.key": "s", "ca.crt": "s", "key": "s", "dsn": "s", "connectionString": "s", "clientSecret": "s", "token": ["s", "t"], "cookie": "s",
	"credentials": {"user": "s", "nested": [{"x": 5}], "enabled": true}, "emptyPassword": "",
	"auth": {"enabled": true, "database": "shop", "username": "shop", "password": "s", "existingSecret": "shop-db", "secretKeys": {"adminPasswordKey": "s"}},
	"credentialsFile": "one\ntwo s3cr3t", "existingSecret": "name-of-it", "secretName": "name-of-it", "passwordSecretRef": "x", "tokenExpirationSeconds": 3600, "automountServiceAccountToken": true, "passwordFile": "/run/x", "topologyKey": "kubernetes.io/hostname",
	"imagePullSecrets": ["regcred"], "serviceAccount": {"create": true, "name": "app"}, "monkey": "banana", "bypass": "no", "tokenizer": "bert",
	"env": [{"name": "DB_PASSWORD", "value": "s"}, {"name": "LOG_LEVEL", "value": "info"}, {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
	"url": "postgres://user:pw@db:5432/shop", "plainUrl": "https://example.org/a?b=c", "config": "[db]\nhost = x\npassword = hunter\n", "json": "{\"token\":\"x\"}", "comment": "set the password in the vault",
	"pem": "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "aws": "AKIAABCDEFGHIJKLMNOP", "gh": "ghp_abcdefghijklmnopqrstuvwxyz0123", "slack": "https://hooks.slack.com/services/T0/B0/x",
	"header": "Bearer abcdef123456", "bcrypt": "$2a$10$abcdefghijklmnopqrstuv", "opaque": "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA", "hex": "9f86d081884c7d659a2feaa0c55ad015", "word": "this-is-a-long-but-ordinary-name", "path": "/var/lib/app/data/2024"
	}`
	var in map[string]any
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(Mask(in), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "mask.json", json.RawMessage(got))
	for _, secret := range []string{`"s"`, "5551234", "hunter", "pw@", "RSA", "eyJ", "AKIA", "ghp_", "hooks.slack", "abcdef123456", "$2a", "s3cr3t", "Zm9v", "9f86", `"t"`} {
		if strings.Contains(string(got), secret) {
			t.Errorf("%s is not masked", secret)
		}
	}
	if !strings.Contains(text, "hunter") || in["password"] != "s" {
		t.Error("the values that were given changed")
	}
}

// TestMaskOfCorpus shows that default values of real charts stay readable.
func TestMaskOfCorpus(t *testing.T) {
	matches, err := filepath.Glob(filepath.Join(charttest.Corpus(t, "charts"), "airflow-helm", "*.tgz"))
	if err != nil || len(matches) == 0 {
		t.Skip("SKIPPED: the charts of airflow-helm are missing")
	}
	archive, err := os.ReadFile(matches[len(matches)-1])
	if err != nil {
		t.Fatal(err)
	}
	values := load(t, archive).Values
	all, hidden := leaves(values), 0
	for path, v := range leaves(Mask(values)) {
		if v == masked {
			hidden++
			if strings.Contains(path, "replicas") || strings.Contains(path, "image.") {
				t.Errorf("%s is masked", path)
			}
		}
	}
	if hidden == 0 || hidden*8 > len(all) {
		t.Errorf("%d of %d values are masked", hidden, len(all))
	}
}

func leaves(v any) map[string]any {
	out := map[string]any{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			out[path] = v
		}
		for k, item := range m {
			walk(path+"."+k, item)
		}
	}
	walk("", v)
	return out
}

func TestRepositoryURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://charts.example.org/a":            "https://charts.example.org/a",
		"https://user:pw@charts.example.org/a":    "https://charts.example.org/a",
		"https://token@charts.example.org":        "https://charts.example.org",
		"oci://u:p@ghcr.io/x":                     "oci://ghcr.io/x",
		"https://us%er:p%zz@charts.example.org/a": "https://charts.example.org/a",
		"@alias": "@alias", "": "", "git@github.com:org/x.git": "git@github.com:org/x.git",
	} {
		if d := cmp.Diff(want, repositoryURL(in)); d != "" {
			t.Error(d)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte(`{"password": "x", "a": {"b": ["postgres://u:p@h"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v map[string]any
		if json.Unmarshal(b, &v) != nil || v == nil {
			return
		}
		v["password"] = "hunter2"
		once := Mask(v)
		if once["password"] != masked {
			t.Fatal("not masked")
		}
		if d := cmp.Diff(once, Mask(once)); d != "" {
			t.Fatal(d)
		}
	})
}
