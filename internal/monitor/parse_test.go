package monitor

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func parsed(text string) (*announcements, error) {
	a := &announcements{digests: map[string][]string{}, projects: map[string]bool{}}
	return a, a.parse([]byte(text))
}

func TestParseAnnouncements(t *testing.T) {
	a, err := parsed("\n# remark\nteam/a/web@1.0.0+x " + someDigest + "  # build\nteam/a/web@1.0.0+x " + someDigest + "\r\n" +
		"chartkeep.sum/v1\nlog x\ncheckpoint a b\nchart log team/b/db 2.0.0 " + someDigest + " 7 -")
	if err != nil || len(a.digests["team/a/web@1.0.0+x"]) != 2 || len(a.digests["team/b/db@2.0.0"]) != 1 || !a.projects["team/a"] || !a.projects["team/b"] || len(a.projects) != 2 {
		t.Errorf("%v %+v", err, a)
	}
	for _, bad := range []string{
		"team/web@1.0.0", "team/web " + someDigest, "web@1.0.0 " + someDigest, "team/web@1.0.0 " + someDigest + " more",
		"team/web@1.0.0 sha256:abc", "team/web@1.0.0 sha512:" + strings.Repeat("a", 128), "chart log team/web 1.0.0", "https://x/web@1.0.0 " + someDigest,
	} {
		if _, err := parsed("ok/ok@1.0.0 " + someDigest + "\n" + bad + "\n"); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzAnnouncements(f *testing.F) {
	f.Add("team/a/web@1.0.0 " + someDigest + " # x\n")
	f.Add("chart log team/b/db 2.0.0 " + someDigest + " 7 -\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parsed(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for ref, list := range a.digests {
			for _, d := range list {
				fmt.Fprintln(&b, ref, d)
			}
		}
		again, err := parsed(b.String())
		if err != nil || len(again.digests) != len(a.digests) || len(again.projects) != len(a.projects) {
			t.Fatalf("%q is read, and what it says is not: %v", text, err)
		}
	})
}

// FuzzFolder reads foreign files as those of a monitor.
func FuzzFolder(f *testing.F) {
	d, err := openFolder(f.TempDir(), "log")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.close() })
	st, err := d.load("https://x", "log", time.Unix(1, 0))
	if err != nil {
		f.Fatal(err)
	}
	if err := d.save(st); err != nil {
		f.Fatal(err)
	}
	if err := d.saveReplica(newReplica()); err != nil {
		f.Fatal(err)
	}
	state, _ := os.ReadFile(d.file(fileState))
	replica, _ := os.ReadFile(d.file(fileHistory))
	f.Add(state, replica)
	f.Add([]byte(`{"schema":"monitor-state/v1","log":"log","size":1}`), bytes.Replace(replica, []byte(`"size":0`), []byte(`"size":256`), 1))
	f.Add([]byte(`{"schema":"monitor-state/v1","log":"log","open":{"x":null}}`), []byte("{}\n"))
	f.Fuzz(func(t *testing.T, state, replica []byte) {
		if err := os.WriteFile(d.file(fileState), state, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.file(fileHistory), replica, 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := d.load("https://x", "log", time.Unix(1, 0))
		if err != nil {
			return
		}
		r := d.loadReplica(st)
		if r.edge.Size() > st.Size || r.replay.Size() != r.edge.Size() {
			t.Fatalf("a replica of %d leaves for a state of %d", r.edge.Size(), st.Size)
		}
		if err := d.save(st); err != nil {
			t.Fatal(err)
		}
	})
}
