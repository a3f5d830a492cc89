package deployment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRead(t *testing.T) {
	for _, name := range []string{"umbrella", "plain", "argocd", "appsets", "flux", "helmfile"} {
		t.Run(name, func(t *testing.T) {
			v, err := Read(os.DirFS(filepath.Join("testdata", "trees", name)), name, Options{Variables: map[string]string{"REGION": "eu-1"}})
			if err != nil {
				t.Fatal(err)
			}
			noSecrets(t, v)
			golden(t, name+".json", v)
		})
	}
}

// noSecrets looks for the one secret that all files here hold.
func noSecrets(t *testing.T, v Inventory) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if i := strings.Index(string(b), "hunter2"); i >= 0 {
		t.Errorf("a secret got out: …%s", b[max(0, i-80):i+10])
	}
}

func tree(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for p, text := range files {
		m[p] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}
