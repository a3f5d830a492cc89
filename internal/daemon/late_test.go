package daemon

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// TestLate signs in while the database is read-only, and guesses: both are in
// the audit log when it can be written to again, once. When there is no room to
// keep that, nobody gets in.
func TestLate(t *testing.T) {
	cfg := Default()
	cfg.Data = filepath.Join(t.TempDir(), "data")
	d, stop := run(t, cfg)
	token := d.first
	created(t, d, "demo")
	// What stops it is the same for every cause; the next start finds none.
	d.store.Freeze(problem.New(problem.Unavailable, "read-only", "this registry is read-only: a test"))
	signIn := func(token string) int {
		code, _ := request(t, d, "POST", "/ui/sign-in", []byte("token="+token), "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
		return code
	}
	if code := signIn(token); code != http.StatusOK { // where it leads to
		t.Fatalf("signed in: %d", code)
	}
	if code, _ := request(t, d, "POST", "/api/v1/projects", []byte(`{"name":"no"}`), "Content-Type", "application/json"); code != 503 {
		t.Errorf("a write: %d", code)
	}
	full := make([]audit.Event, maxLate)
	kept, err := readLate(d.late.path)
	if err != nil || len(kept) != 1 || kept[0].Name != audit.LoginOK {
		t.Fatalf("kept is %+v, %v", kept, err)
	}
	if err := d.late.Record(t.Context(), time.Now(), full...); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("more than there is room for: %v", err)
	}
	stop()

	d, stop = run(t, cfg)
	_, body := request(t, d, "GET", "/api/v1/audit?event=login.ok", nil)
	if strings.Count(body, `"event":"login.ok"`) != 1 || !strings.Contains(body, "the database was read-only") {
		t.Errorf("the audit log says %s", body)
	}
	if _, err := os.Stat(d.late.path); !os.IsNotExist(err) {
		t.Errorf("it is kept still: %v", err)
	}
	stop()
	d, _ = run(t, cfg)
	if _, body := request(t, d, "GET", "/api/v1/audit?event=login.ok", nil); strings.Count(body, `"event":"login.ok"`) != 1 {
		t.Errorf("told again: %s", body)
	}

	d.store.Freeze(problem.New(problem.Unavailable, "read-only", "this registry is read-only: a test"))
	if err := d.late.Record(t.Context(), time.Now(), named(maxLate)...); err != nil {
		t.Fatal(err)
	}
	if code := signIn(token); code != http.StatusServiceUnavailable {
		t.Errorf("signed in, and nobody will know: %d", code)
	}
}

// named are events of different names.
func named(n int) []audit.Event {
	out := make([]audit.Event, n)
	for i := range out {
		out[i] = audit.Event{Name: audit.AccessDenied, Time: time.Now(), Outcome: audit.Outcome{Result: audit.Denied}, Detail: map[string]string{"n": fmt.Sprint(i)}}
	}
	return out
}

// A file that is none is not taken for one that is empty, nor overwritten.
func TestLateDamaged(t *testing.T) {
	for _, text := range []string{"", "{", `{"schema":"other/v1"}`, `{"schema":"chartkeep/audit-late/v1","events":[` + strings.Repeat("{},", maxLate) + `{}]}`} {
		path := filepath.Join(t.TempDir(), fileLate)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readLate(path); err == nil {
			t.Errorf("%.40q is read", text)
		}
	}
}
