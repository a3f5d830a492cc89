package release_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// onDisk says whether the blob folder has a file of a digest.
func (r *registry) onDisk(digest string) bool {
	r.Helper()
	_, hex, _ := strings.Cut(digest, ":")
	found := false
	r.ok(filepath.WalkDir(r.blobs, func(path string, _ os.DirEntry, err error) error {
		found = found || filepath.Base(path) == hex
		return err
	}))
	return found
}

// TestTombstone follows the bytes of a release to their end.
func TestTombstone(t *testing.T) {
	r := newRegistry(t)
	_, err := r.SetProject(r.ctx, r.admin, "demo", release.ProjectChange{Public: new(true)})
	r.ok(err)
	ann, bob, _ := r.team()
	rel := r.attached("demo", "web", "1.0.0")
	other := r.attached("demo", "web", "1.0.1")
	r.open(anybody, &rel)

	req, err := r.RequestTombstone(r.ctx, ann, "demo", "web", "1.0.0", "secret", "holds a key")
	r.ok(err)
	if req.State != release.RequestWaiting || req.RequesterName != "ann" || req.Digest != rel.Archive || !req.Expires.Equal(r.now.Add(release.RequestLife)) {
		t.Fatalf("request %+v", req)
	}
	if ev := r.named(audit.RequestMade); ev.AlertKey() == "" || ev.Detail["kind"] != "tombstone" {
		t.Errorf("event %+v", ev)
	}
	r.open(anybody, &rel) // nothing happened yet
	_, err = r.ApproveRequest(r.ctx, ann, req.ID, "")
	r.refused(err, problem.Denied, "second-person")
	r.open(anybody, &rel)

	done, err := r.ApproveRequest(r.ctx, bob, req.ID, "seen")
	r.ok(err)
	if done.State != release.RequestDone || done.DeciderName != "bob" || done.Answer != "seen" {
		t.Fatalf("request %+v", done)
	}
	leaf, ok := r.newest().(tlog.Tombstone)
	if !ok || leaf.Index != rel.LogIndex || leaf.Archive != rel.Archive || leaf.Reason != "secret" || leaf.Text != "holds a key" ||
		leaf.Requester.Subject != ann.Principal.ID || leaf.Approver.Subject != bob.Principal.ID {
		t.Fatalf("leaf %+v", leaf)
	}
	r.closed(anybody, &rel, problem.Gone, release.RuleTombstone)
	r.closed(ann, &rel, problem.Gone, release.RuleTombstone)
	r.open(anybody, &other)
	shown, err := r.Release(r.ctx, ann, "demo", "web", "1.0.0")
	r.ok(err)
	if n := shown.Release.Tombstone; shown.Release.State != release.Tombstoned || n == nil || n.RequesterName != "ann" || n.ApproverName != "bob" || n.Request != req.ID {
		t.Fatalf("shown %+v", shown.Release)
	}
	if ev := r.named(audit.TombstoneDone); ev.AlertKey() == "" || ev.Before != rel.Archive || ev.Detail["requester"] != ann.Principal.ID || ev.Detail["approver"] != bob.Principal.ID {
		t.Errorf("event %+v", ev)
	}
	for _, d := range []string{rel.Config, rel.Provenance} {
		if _, err := r.store.SmallBlob(r.ctx, d); problem.KindOf(err) != problem.NotFound {
			t.Errorf("the small blob %s is there: %v", d, err)
		}
	}

	// The archive goes when nobody can be about to name it any more.
	r.now = r.now.Add(release.EraseAfter - time.Second)
	r.ok(r.Protect(r.ctx))
	if !r.onDisk(rel.Archive) {
		t.Fatal("the archive went too early")
	}
	r.refused(func() error { _, err := r.push("demo", mustRead(t, r, rel.Archive), nil); return err }(), problem.Gone, release.RuleTombstone)
	r.now = r.now.Add(time.Second)
	r.ok(r.Protect(r.ctx))
	if r.onDisk(rel.Archive) || !r.onDisk(other.Archive) {
		t.Fatalf("on disk: the archive %v, another one %v", r.onDisk(rel.Archive), r.onDisk(other.Archive))
	}
	_, err = r.OpenKept(r.ctx, rel.Archive)
	r.refused(err, problem.Gone, release.RuleTombstone)
	r.closed(anybody, &rel, problem.Gone, release.RuleTombstone)
	r.ok(r.Protect(r.ctx))

	_, err = r.RequestTombstone(r.ctx, ann, "demo", "web", "1.0.0", "legal", "")
	r.refused(err, problem.Gone, release.RuleTombstone)
	_, err = r.SetQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "malware", "")
	r.refused(err, problem.Gone, release.RuleTombstone)
	_, err = r.ApproveRequest(r.ctx, bob, req.ID, "")
	r.refused(err, problem.Conflict, "request-over")
}

func mustRead(t *testing.T, r *registry, digest string) []byte {
	t.Helper()
	f, err := r.OpenKept(r.ctx, digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A removed project takes no tombstone, and says when it would have.
func TestTombstoneOfRemovedProject(t *testing.T) {
	r := newRegistry(t)
	ann, _, _ := r.team()
	r.attached("demo", "web", "1.0.0")
	r.ok(r.RemoveProject(r.ctx, r.admin, "demo", "no longer needed"))
	_, err := r.RequestTombstone(r.ctx, ann, "demo", "web", "1.0.0", "secret", "holds a key")
	r.refused(err, problem.Gone, "project-removed")
	if !strings.Contains(err.Error(), "has to be asked for before") {
		t.Errorf("it says %v", err)
	}
}

// TestTombstoneKeepsWhatOthersNeed has the same archive in two projects.
func TestTombstoneKeepsWhatOthersNeed(t *testing.T) {
	r := newRegistry(t)
	ann, bob, _ := r.team()
	r.project("twin", release.ProjectOptions{})
	archive, rel := r.released("demo", "web", "1.0.0")
	r.bury(ann, bob, "demo", "web", "1.0.0")
	// While the bytes are about to go, nobody stores them anew.
	_, err := r.push("twin", archive, nil)
	r.refused(err, problem.Unavailable, "blob-erasing")
	r.refused(r.PutBlob(r.ctx, through(r.admin, audit.DoorOCI), "twin/web", bytes.NewReader(archive), rel.Archive), problem.Unavailable, "blob-erasing")
	r.now = r.now.Add(release.EraseAfter)
	r.ok(r.Protect(r.ctx))
	if r.onDisk(rel.Archive) {
		t.Fatal("the archive is still there")
	}
	_, twin := r.released("twin", "web", "1.0.0") // another project's decision
	if _, err := r.served(ann, "twin", twin.File); err != nil {
		t.Fatal(err)
	}
	r.project("third", release.ProjectOptions{})
	_, third := r.released("third", "web", "1.0.0")
	r.bury(ann, bob, "twin", "web", "1.0.0")
	r.now = r.now.Add(release.EraseAfter)
	r.ok(r.Protect(r.ctx))
	if !r.onDisk(rel.Archive) {
		t.Fatal("the archive of a release went with that of another")
	}
	r.open(ann, &third)
	if erased, err := r.store.ErasedBlob(r.ctx, rel.Archive); err != nil || erased {
		t.Fatalf("it counts as erased: %v, %v", erased, err)
	}
	r.bury(ann, bob, "third", "web", "1.0.0")
	r.now = r.now.Add(release.EraseAfter)
	r.ok(r.Protect(r.ctx))
	if r.onDisk(rel.Archive) {
		t.Fatal("nobody needs the archive, and it is there")
	}
}

// TestEraseSurvivesCrashes has the process die between the removal of the file
// and the note that it is done.
func TestEraseSurvivesCrashes(t *testing.T) {
	r := newRegistry(t)
	ann, bob, _ := r.team()
	_, rel := r.released("demo", "web", "1.0.0")
	r.bury(ann, bob, "demo", "web", "1.0.0")
	r.now = r.now.Add(release.EraseAfter)
	due, err := r.store.Erasures(r.ctx, r.now, 10)
	r.ok(err)
	if len(due) != 1 || due[0] != rel.Archive {
		t.Fatalf("due %v", due)
	}
	// It died before the removal: the work is found again. It died after it:
	// removing what is gone is no error.
	for range 2 {
		r.ok(r.Protect(r.ctx))
		if r.onDisk(rel.Archive) {
			t.Fatal("the archive is there")
		}
	}
	if due, err = r.store.Erasures(r.ctx, r.now, 10); err != nil || len(due) != 0 {
		t.Fatalf("due %v, %v", due, err)
	}
}

// TestRequestLife is about ends of requests that nobody approves.
func TestRequestLife(t *testing.T) {
	r := newRegistry(t)
	ann, bob, eve := r.team()
	r.released("demo", "web", "1.0.0")
	ask := func() release.Request {
		t.Helper()
		req, err := r.RequestTombstone(r.ctx, ann, "demo", "web", "1.0.0", "legal", "")
		r.ok(err)
		return req
	}
	first := ask()
	_, err := r.RequestTombstone(r.ctx, eve, "demo", "web", "1.0.0", "legal", "")
	r.refused(err, problem.Conflict, "request-open")
	declined, err := r.DeclineRequest(r.ctx, bob, first.ID, "no reason to")
	r.ok(err)
	if declined.State != release.RequestDeclined || declined.Answer != "no reason to" {
		t.Fatalf("%+v", declined)
	}
	_, err = r.WithdrawRequest(r.ctx, ann, first.ID, "")
	r.refused(err, problem.Conflict, "request-over")

	second := ask()
	_, err = r.WithdrawRequest(r.ctx, bob, second.ID, "")
	if problem.KindOf(err) != problem.Denied {
		t.Fatalf("withdrawn by somebody who could not have asked: %v", err)
	}
	_, err = r.WithdrawRequest(r.ctx, eve, second.ID, "")
	r.ok(err)

	third := ask()
	r.now = r.now.Add(release.RequestLife - time.Second)
	ann, bob = r.again(ann), r.again(bob)
	r.ok(r.Protect(r.ctx))
	if open, err := r.Requests(r.ctx, ann, release.RequestFilter{Project: "demo"}); err != nil || len(open) != 1 {
		t.Fatalf("open %+v, %v", open, err)
	}
	r.now = r.now.Add(time.Second)
	_, err = r.ApproveRequest(r.ctx, bob, third.ID, "")
	r.refused(err, problem.Conflict, "request-lapsed")
	r.ok(r.Protect(r.ctx))
	if got, err := r.Request(r.ctx, bob, third.ID); err != nil || got.State != release.RequestLapsed {
		t.Fatalf("%+v, %v", got, err)
	}
	r.named(audit.RequestLapsed)
	if all, err := r.Requests(r.ctx, ann, release.RequestFilter{All: true}); err != nil || len(all) != 3 || all[0].ID != third.ID {
		t.Fatalf("all %+v, %v", all, err)
	}
	stranger := r.robot("stranger", access.Grant{Role: access.RoleReader, Project: "elsewhere"})
	_, err = r.Request(r.ctx, stranger, third.ID)
	r.refused(err, problem.NotFound, "request")
	if list, err := r.Requests(r.ctx, stranger, release.RequestFilter{All: true}); err != nil || len(list) != 0 {
		t.Fatalf("a stranger sees %+v, %v", list, err)
	}
}

// TestDecideRaces lets several people decide at once: one of them does.
func TestDecideRaces(t *testing.T) {
	r := newRegistry(t)
	ann, bob, eve := r.team()
	for round := range 6 {
		version := "1.0." + string(rune('0'+round))
		_, rel := r.released("demo", "web", version)
		req, err := r.RequestTombstone(r.ctx, ann, "demo", "web", version, "legal", "")
		r.ok(err)
		moves := map[string]func() error{
			"bob approves": func() error { _, err := r.ApproveRequest(r.ctx, bob, req.ID, ""); return err },
			"eve approves": func() error { _, err := r.ApproveRequest(r.ctx, eve, req.ID, ""); return err },
		}
		if round%2 == 1 {
			delete(moves, "eve approves")
			moves["ann withdraws"] = func() error { _, err := r.WithdrawRequest(r.ctx, ann, req.ID, ""); return err }
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []string
		for name, move := range moves {
			wg.Go(func() {
				err := move()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, name)
				} else if p, ok := problem.As(err); !ok || p.Rule != "request-over" {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %v", round, won)
		}
		got, err := r.Request(r.ctx, ann, req.ID)
		r.ok(err)
		shown, err := r.Release(r.ctx, ann, "demo", "web", version)
		r.ok(err)
		if gone := shown.Release.State == release.Tombstoned; gone != (got.State == release.RequestDone) || gone == (won[0] == "ann withdraws") {
			t.Fatalf("round %d: %v won, the request is %s, the release %s", round, won, got.State, shown.Release.State)
		}
		_ = rel
	}
}

// TestLapseOrConfirm lets a quarantine lapse and be confirmed at once.
func TestLapseOrConfirm(t *testing.T) {
	r := newRegistry(t)
	ann, bob, _ := r.team()
	for round := range 4 {
		version := "1.0." + string(rune('0'+round))
		r.released("demo", "web", version)
		_, err := r.SetQuarantine(r.ctx, ann, "demo", "web", version, "malware", "")
		r.ok(err)
		r.now = r.now.Add(release.QuarantineLife - time.Duration(round%2)*time.Second)
		var wg sync.WaitGroup
		var confirmed error
		wg.Go(func() { _, confirmed = r.ConfirmQuarantine(r.ctx, r.again(bob), "demo", "web", version, "") })
		for range 2 { // two replicas
			wg.Go(func() {
				if err := r.Protect(r.ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		shown, err := r.Release(r.ctx, r.again(ann), "demo", "web", version)
		r.ok(err)
		if in := shown.Release.State == release.Quarantined; in != (confirmed == nil) || in != (round%2 == 1) {
			t.Fatalf("round %d: state %s, confirmed %v", round, shown.Release.State, confirmed)
		}
	}
}

// TestQuarantineDuringPull blocks a release while somebody reads it: what is on
// its way may end, what comes after is refused.
func TestQuarantineDuringPull(t *testing.T) {
	r := newRegistry(t)
	ann, _, _ := r.team()
	archive, rel := r.released("demo", "web", "1.0.0")
	_, running, err := r.OpenArchive(r.ctx, ann, "demo", rel.File)
	r.ok(err)
	defer running.Close()
	_, err = r.SetQuarantine(r.ctx, ann, "demo", "web", "1.0.0", "malware", "")
	r.ok(err)
	if _, err := r.served(ann, "demo", rel.File); problem.KindOf(err) != problem.Policy {
		t.Fatalf("a new pull: %v", err)
	}
	var buf bytes.Buffer
	if _, err := running.WriteTo(&buf); err != nil || !bytes.Equal(buf.Bytes(), archive) {
		t.Fatalf("a running pull: %d bytes, %v", buf.Len(), err)
	}
}
