package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// signedBy says by which of the keys the newest checkpoint of a server is signed.
func signedBy(t *testing.T, d *Daemon, keys ...string) (out []bool) {
	t.Helper()
	status, text := request(t, d, "GET", "/log/checkpoint", nil)
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	for _, key := range keys {
		v, err := tlog.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tlog.OpenCheckpoint([]byte(text), "", note.VerifierList(v))
		out = append(out, err == nil)
	}
	return out
}

// TestRotateKey gives a log another key and goes on: both sign, the old one
// proves the new one, tokens stay valid, and the old one ends.
func TestRotateKey(t *testing.T) {
	cfg := Default()
	cfg.Data = t.TempDir()
	d, stop := run(t, cfg)
	token, err := os.ReadFile(filepath.Join(cfg.Data, fileToken))
	if err != nil {
		t.Fatal(err)
	}
	auth := []string{"Authorization", "Bearer " + strings.TrimSpace(string(token)), "Content-Type", "application/json"}
	make := func(d *Daemon, name string) {
		t.Helper()
		if status, text := request(t, d, "POST", "/api/v1/projects", []byte(`{"name":"`+name+`","kind":"charts"}`), auth...); status != 201 {
			t.Fatalf("%d %s", status, text)
		}
	}
	make(d, "one")
	first := d.keys.verifier
	auditKey := d.keys.auditVerifier
	if _, err := RotateKey(cfg, time.Hour, time.Now()); err == nil {
		t.Error("the key of a running server was changed")
	}
	stop()

	r, err := RotateKey(cfg, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RotateKey(cfg, time.Hour, time.Now()); problem.KindOf(err) != problem.Conflict {
		t.Errorf("rotated twice: %v", err)
	}
	d, stop = run(t, cfg)
	make(d, "two") // the token is valid
	if got := signedBy(t, d, r.Old, r.New); r.Old != first || !got[0] || !got[1] {
		t.Errorf("signed by old and new: %v", got)
	}
	if d.keys.auditVerifier != auditKey {
		t.Error("the audit log has another key")
	}
	c, err := client.New(d.URL(), "", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Rotations(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	steps, err := client.FollowKey(first, list)
	if err != nil || len(steps) != 1 || steps[0].New != r.New {
		t.Fatalf("%+v, %v", steps, err)
	}
	forged := list[0]
	forged.New = first
	if _, err := client.FollowKey(first, []client.Rotation{forged}); problem.KindOf(err) != problem.Disproven {
		t.Errorf("a rotation that the old key did not sign: %v", err)
	}
	stop()

	// A start later the old key has ended: the proof is there for ever.
	if err := durable.Replace(d.folder.file(fileRotation), []byte(strings.Replace(mustRead(t, cfg.Data, fileRotation), r.Until.Format("2006-01-02"), "2001-01-01", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	d, stop = run(t, cfg)
	make(d, "three")
	if got := signedBy(t, d, r.Old, r.New); got[0] || !got[1] {
		t.Errorf("after its end, signed by old and new: %v", got)
	}
	if c, err = client.New(d.URL(), "", client.Options{}); err != nil {
		t.Fatal(err)
	}
	if list, err = c.Rotations(t.Context()); err != nil {
		t.Fatal(err)
	}
	if steps, err := client.FollowKey(first, list); err != nil || len(steps) != 1 {
		t.Errorf("%+v, %v", steps, err)
	}
	stop()
	for _, name := range []string{fileOldKey, fileRotation} {
		if _, err := os.Stat(filepath.Join(cfg.Data, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := RotateKey(cfg, 0, time.Now()); err != nil {
		t.Errorf("a second rotation: %v", err)
	}
}

func mustRead(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRotationIsFinished ends a rotation at every step, and wants the next
// start to find both keys in their places.
func TestRotationIsFinished(t *testing.T) {
	for step := range 3 {
		cfg := Default()
		cfg.Data = t.TempDir()
		_, stop := run(t, cfg)
		stop()
		old := mustRead(t, cfg.Data, fileLogKey)
		r, err := RotateKey(cfg, time.Hour, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		fresh := mustRead(t, cfg.Data, fileLogKey)
		at := func(name string) string { return filepath.Join(cfg.Data, name) }
		// Undo what the last steps did.
		if step < 2 {
			if err := os.WriteFile(at(fileVerifier), []byte(r.Old+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if step < 1 {
			if err := os.Rename(at(fileLogKey), at(fileNewKey)); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(at(fileOldKey), at(fileLogKey)); err != nil {
				t.Fatal(err)
			}
		}
		d, stop := run(t, cfg)
		if d.keys.verifier != r.New || mustRead(t, cfg.Data, fileLogKey) != fresh || mustRead(t, cfg.Data, fileOldKey) != old {
			t.Errorf("step %d: the keys are not in their places", step)
		}
		stop()
	}
}
