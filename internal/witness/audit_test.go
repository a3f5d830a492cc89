package witness_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

func sum(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func (l *tree) leaf(leaf tlog.Leaf) *tree {
	l.t.Helper()
	text, err := leaf.Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	l.add(text)
	return l
}

// project adds the leaf of a project demo.
func (l *tree) project() *tree {
	return l.leaf(tlog.Project{Name: "demo", Action: tlog.ProjectCreated, Kind: "charts", Visibility: "public", State: "active", Policy: sum(1),
		Actor: tlog.Identity{Issuer: "local", Subject: "acc_1"}, Time: noon})
}

// release adds the release of a version whose archive is n.
func (l *tree) release(version string, n int) *tree {
	return l.leaf(tlog.Release{Project: "demo", Chart: "web", Version: version, Archive: sum(n), Size: 10, Content: sum(n + 1), Manifest: sum(n + 2),
		Config: sum(n + 3), Publisher: tlog.Identity{Issuer: "local", Subject: "acc_1"}, Policy: sum(1), Time: noon})
}

func (l *tree) releases(size int) *tree {
	for n := len(l.entries); n < size; n++ {
		l.release(fmt.Sprintf("1.0.%d", n), 10*n)
	}
	return l
}

const url = "https://charts.example.com/log"

func auditing(t testing.TB, l *tree) (witness.Config, string) {
	dir := initialise(t, true, l.known(url)...)
	return witness.Config{Folder: dir, Logs: l.known(url), Audit: true, Entries: l.serves}, dir
}

// audited asks for an audit statement that is given.
func audited(t testing.TB, w *witness.Witness, l *tree, old int64) {
	t.Helper()
	r := l.request(old)
	cosignedBy(t, post(w, "/audit/add-checkpoint", r.Marshal()), r, w.Keys()[1])
}

// unaudited asks for one that is not.
func unaudited(t testing.TB, w *witness.Witness, l *tree, old int64, status int, text string) {
	t.Helper()
	rec := post(w, "/audit/add-checkpoint", l.request(old).Marshal())
	if rec.Code != status || !strings.Contains(rec.Body.String(), text) || strings.Contains(rec.Body.String(), "—") {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
	if status == http.StatusServiceUnavailable && rec.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestAudit(t *testing.T) {
	l := newTree(t, origin, 1).project().releases(300)
	cfg, _ := auditing(t, l)
	w := open(t, cfg)
	if keys := w.Keys(); len(keys) != 2 || !strings.HasPrefix(keys[1], "witness.example.com/w1/audit+") || keys[0][len(keys[0])-44:] == keys[1][len(keys[1])-44:] {
		t.Fatalf("keys %v", keys)
	}
	audited(t, w, l, 0)
	// Both keys have a memory of their own.
	cosigned(t, w, l, 0)
	audited(t, w, l.releases(301), 300)
	audited(t, w, l, 301)
	audited(t, w, l.releases(600), 301)
	w.Close()
	// What was read is taken up again: the first entries are not asked for.
	cfg.Entries = func(ctx context.Context, url string, n int64, width int) ([][]byte, error) {
		if n < 2 {
			return nil, errors.New("asked for an old bundle")
		}
		return l.serves(ctx, url, n, width)
	}
	w = open(t, cfg)
	audited(t, w, l.releases(700), 600)
	if rec := post(w, "/audit/add-checkpoint", l.request(0).Marshal()); rec.Code != http.StatusConflict || rec.Body.String() != "700\n" {
		t.Errorf("the size: status %d: %s", rec.Code, rec.Body)
	}
}

// TestAuditStops: a second leaf of a version is an honest append, which the
// plain key cosigns and the audit key never does again.
func TestAuditStops(t *testing.T) {
	l := newTree(t, origin, 1).project().releases(300)
	cfg, dir := auditing(t, l)
	first := false // whether the first entries were read
	cfg.Entries = func(ctx context.Context, url string, n int64, width int) ([][]byte, error) {
		first = first || n == 0
		return l.serves(ctx, url, n, width)
	}
	w := open(t, cfg)
	audited(t, w, l, 0)
	cosigned(t, w, l, 0)
	w.Close()
	w = open(t, cfg)
	l.release("1.0.7", 7777)
	unaudited(t, w, l, 300, http.StatusForbidden, "release-second")
	cosigned(t, w, l, 300)
	l.releases(310)
	unaudited(t, w, l, 300, http.StatusForbidden, "release-second")
	cosigned(t, w, l, 301)
	w.Close()
	unread := cfg
	unread.Entries = func(context.Context, string, int64, int) ([][]byte, error) { return nil, errors.New("away") }
	w = open(t, unread)
	unaudited(t, w, l, 300, http.StatusForbidden, "leaf 300")
	w.Close()
	first = false
	// An operator takes the stop away: all is read again, and stops again.
	if err := os.Remove(filepath.Join(dir, "audit.state", hashOf(origin)+".stopped")); err != nil {
		t.Fatal(err)
	}
	w = open(t, cfg)
	unaudited(t, w, l, 300, http.StatusForbidden, "release-second")
	if !first {
		t.Error("the first entries were not read again")
	}
	cosigned(t, w, l.releases(311), 310)
}

// TestAuditReadsWhatIsSigned: entries that are not those of the checkpoint
// prove nothing, neither for the log nor against it.
func TestAuditReadsWhatIsSigned(t *testing.T) {
	l := newTree(t, origin, 1).project().releases(30)
	lie := newTree(t, origin, 1).project().releases(29).release("1.0.7", 7777)
	cfg, dir := auditing(t, l)
	from := lie.serves
	cfg.Entries = func(ctx context.Context, url string, n int64, width int) ([][]byte, error) {
		return from(ctx, url, n, width)
	}
	w := open(t, cfg)
	unaudited(t, w, l, 0, http.StatusServiceUnavailable, "do not have the root")
	if _, err := os.Stat(filepath.Join(dir, "audit.state", hashOf(origin)+".stopped")); err == nil {
		t.Error("stopped by entries that nobody signed")
	}
	for _, test := range []func(context.Context, string, int64, int) ([][]byte, error){
		func(context.Context, string, int64, int) ([][]byte, error) { return nil, errors.New("no way") },
		func(_ context.Context, _ string, _ int64, width int) ([][]byte, error) {
			return l.entries[:width-1], nil
		},
		func(context.Context, string, int64, int) ([][]byte, error) { return nil, nil },
	} {
		from = test
		unaudited(t, w, l, 0, http.StatusServiceUnavailable, "")
	}
	from = l.serves
	audited(t, w, l, 0)
}

// TestAuditUnknown: what cannot be judged is not vouched for, and no reason to
// stop for ever.
func TestAuditUnknown(t *testing.T) {
	l := newTree(t, origin, 1).project().releases(10)
	l.add([]byte("chartkeep/release/v2\nproject demo\n"))
	cfg, _ := auditing(t, l)
	w := open(t, cfg)
	unaudited(t, w, l, 0, http.StatusForbidden, "does not know")
	w.Close()
	w = open(t, cfg)
	unaudited(t, w, l, 0, http.StatusForbidden, "does not know")
	cosigned(t, w, l, 0)
}

// TestAuditRefuses: before anything is read, it refuses what the plain key
// refuses.
func TestAuditRefuses(t *testing.T) {
	l, other := newTree(t, origin, 1).project().releases(10), newTree(t, "b.example.com/log", 2).grow(5)
	cfg, dir := auditing(t, l)
	asked := 0
	cfg.Entries = func(ctx context.Context, url string, n int64, width int) ([][]byte, error) {
		asked++
		return l.serves(ctx, url, n, width)
	}
	w := open(t, cfg)
	for status, body := range map[int][]byte{
		400: []byte("x"), 404: other.request(0).Marshal(), 403: newTree(t, origin, 9).grow(3).request(0).Marshal(), 409: l.request(3).Marshal(),
		422: tlog.WitnessRequest{Proof: []tlog.Hash{{}}, Checkpoint: l.checkpoint()}.Marshal(),
	} {
		if rec := post(w, "/audit/add-checkpoint", body); rec.Code != status {
			t.Errorf("status %d, want %d: %s", rec.Code, status, rec.Body)
		}
	}
	if asked != 0 {
		t.Errorf("read entries %d times", asked)
	}
	w.Close()
	// A folder without audit key, and logs without URL, do not audit.
	if _, err := witness.Open(witness.Config{Folder: dir, Logs: l.known(""), Audit: true, Entries: l.serves}); rule(err) != "witness-audit" {
		t.Errorf("no URL: %v", err)
	}
	plain := initialise(t, false, l.known(url)...)
	if _, err := witness.Open(witness.Config{Folder: plain, Logs: l.known(url), Audit: true, Entries: l.serves}); rule(err) != "witness-key-lost" {
		t.Errorf("no audit key: %v", err)
	}
	if made, err := witness.Init(plain, "", l.known(url), true); err != nil || made.AuditKey == "" || len(made.Added) != 1 {
		t.Errorf("an audit key later: %+v, %v", made, err)
	}
	w = open(t, witness.Config{Folder: plain, Logs: l.known(url), Audit: true, Entries: l.serves})
	audited(t, w, l, 0)
	// A written replay that was damaged is read again from the log.
	w.Close()
	if err := os.WriteFile(filepath.Join(plain, "audit.state", hashOf(origin)+".replay"), []byte("chartkeep/witness-replay/v1\nsize 11\nlevel x\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w = open(t, witness.Config{Folder: plain, Logs: l.known(url), Audit: true, Entries: l.serves})
	audited(t, w, l.releases(13), 10)
}

// TestAuditFollowsRotation: a log gets another key while the operator's list
// has the old one alone. Its own leaves name the new one, which has to sign.
func TestAuditFollowsRotation(t *testing.T) {
	l, next := newTree(t, origin, 1).project().releases(10), newTree(t, origin, 2)
	cfg, _ := auditing(t, l)
	w := open(t, cfg)
	audited(t, w, l, 0)
	l.leaf(tlog.Rotation{Old: l.vkey, New: next.vkey, Until: noon.Add(time.Hour), Actor: tlog.Identity{Issuer: "local", Subject: "server"}, Time: noon})
	r := l.request(10)
	r.Checkpoint = l.checkpoint(next.signer)
	cosignedBy(t, post(w, "/audit/add-checkpoint", r.Marshal()), r, w.Keys()[1])
	unaudited(t, w, l.releases(20), 11, http.StatusForbidden, "the present key did not sign the checkpoint of 20 leaves")
}
