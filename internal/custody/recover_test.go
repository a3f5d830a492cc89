package custody_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// before is what the world does before its database is copied.
func (w *world) before() {
	w.Helper()
	w.people()
	w.project("demo", release.ProjectOptions{Public: true})
	w.project("old", release.ProjectOptions{Importing: true})
	w.project("strict", release.ProjectOptions{Policy: release.Policy{RequireProvenance: true}})
	w.project("things", release.ProjectOptions{Kind: release.KindArtifacts})
	w.push("demo", "web", "1.0.0", false)
	w.push("demo", "web", "1.1.0", true)
	w.push("demo", "web", "1.2.0", false)
	w.push("demo", "web", "1.3.0", false)
	w.push("strict", "db", "1.0.0", false) // staged
	w.yank("demo", "web", "1.0.0", true)
	w.put("things/a", "moving", nil, "application/x-config", []byte("{}"), "application/x-layer", []byte("first"))
	w.put("things/a", "gone", nil, "application/x-config", []byte("{}"), "application/x-layer", []byte("going"))
}

// after is what it does then: one of everything that a leaf or an event tells.
func (w *world) after() {
	w.Helper()
	w.now = w.now.Add(time.Hour)
	w.project("new", release.ProjectOptions{Public: true})
	w.project("waiting", release.ProjectOptions{Policy: release.Policy{RequireProvenance: true}})
	w.push("demo", "web", "2.0.0", true)
	w.push("demo", "web", "2.1.0-rc.1+build.5", false)
	w.push("new", "gate", "0.1.0", false)
	w.push("waiting", "q", "1.0.0", false)
	w.push("waiting", "q", "1.1.0", false)
	w.attach("waiting", "q", "1.1.0")
	w.attach("strict", "db", "1.0.0")
	w.attach("demo", "web", "1.2.0")
	w.yank("demo", "web", "1.0.0", false)
	w.yank("demo", "web", "1.1.0", true)
	w.yank("new", "gate", "0.1.0", true)
	w.legacy("1.0.0+a")
	w.legacy("1.0.0+b")
	w.legacy("v2")
	_, err := w.svc.CutOver(w.ctx, w.admin, "old")
	w.ok(err)
	chart := w.putChart("new", "oci", "3.0.0+x")
	w.put("new/oci", "", &part{manifestType, chart, 1}, "application/x-empty", []byte("{}"), "application/x-signature", []byte("signed"))
	w.put("things/a", "moving", nil, "application/x-config", []byte("{}"), "application/x-layer", bytes.Repeat([]byte("second "), 10_000))
	w.ok(w.svc.DeleteManifest(w.ctx, w.admin, "things/a", "gone"))
	public := false
	_, err = w.svc.SetProject(w.ctx, w.admin, "demo", release.ProjectChange{Public: &public})
	w.ok(err)
	_, err = w.svc.SetQuarantine(w.ctx, w.admin, "demo", "web", "1.3.0", "malware", "bad")
	w.ok(err)
	_, err = w.svc.SetQuarantine(w.ctx, w.admin, "demo", "web", "2.0.0", "malware", "also bad")
	w.ok(err)
	second := w.second()
	_, err = w.svc.ConfirmQuarantine(w.ctx, second, "demo", "web", "2.0.0", "yes")
	w.ok(err)
	_, err = w.svc.LiftQuarantine(w.ctx, second, "demo", "web", "1.3.0", "no")
	w.ok(err)
	req, err := w.svc.RequestTombstone(w.ctx, w.admin, "new", "gate", "0.1.0", "malware", "really")
	w.ok(err)
	_, err = w.svc.ApproveRequest(w.ctx, second, req.ID, "really")
	w.ok(err)
	w.ok(w.store.Anchor(w.ctx))
}

// legacy takes over a release of an older repository.
func (w *world) legacy(version string) {
	w.Helper()
	_, err := w.svc.ImportRelease(w.ctx, w.admin, "old", bytes.NewReader(charttest.Build(w, "relic", version, nil)), nil,
		release.ImportOrigin{URL: "https://charts.example.test", Created: time.Date(2019, 1, 2, 3, 4, 5, 6000, time.UTC)})
	w.ok(err)
}

// TestRecover loses a database, and has all of it that was kept back, byte for
// byte.
func TestRecover(t *testing.T) {
	both(t, func(w *world) {
		w.before()
		w.ok(w.keeper.Keep(w.ctx))
		old := w.copy()
		w.after()
		w.ok(w.keeper.Keep(w.ctx))
		w.states(custody.StateOK)
		found := w.findings()
		w.close()
		want := w.dump(w.dsn)
		w.dsn = w.duplicate(old)
		w.open()

		w.states(custody.StateBehind)
		w.mute = true // a recovery signs nothing
		w.reopen()
		rep, err := w.keeper.Recover(w.ctx, false)
		w.ok(err)
		if rep.Applied || len(rep.Ranges) != 2 || rep.Releases != 9 || len(rep.Losses) != 0 {
			w.Errorf("dry run: %+v", rep)
		}
		w.states(custody.StateBehind) // a dry run changes nothing
		rep, err = w.keeper.Recover(w.ctx, true)
		w.ok(err)
		if !rep.Applied {
			w.Errorf("applied: %+v", rep)
		}
		w.mute = false
		w.close()
		got := w.dump(w.dsn)
		for _, table := range tables {
			if d := cmp.Diff(want[table.name], got[table.name]); d != "" {
				w.Errorf("table %s came back otherwise (-lost +recovered):\n%s", table.name, d)
			}
		}
		w.open()
		w.states(custody.StateOK)
		if d := cmp.Diff(found, w.findings()); d != "" {
			w.Errorf("an examination finds other things than before (-lost +recovered):\n%s", d)
		}
		rep, err = w.keeper.Recover(w.ctx, true)
		w.ok(err)
		if len(rep.Ranges) != 0 || rep.Applied {
			w.Errorf("there is nothing left to do, and: %+v", rep)
		}
		w.served()
		// The first thing that the next server does is to tell of it.
		w.ok(w.keeper.Settle(w.ctx))
		w.events(audit.LogRecovered, 1)
		w.ok(w.keeper.Settle(w.ctx))
		w.events(audit.LogRecovered, 1)
		w.push("demo", "web", "9.0.0", false)
		w.ok(w.keeper.Keep(w.ctx))
		w.states(custody.StateOK)
	})
}

// served pulls through the use cases what came back.
func (w *world) served() {
	w.Helper()
	w.admin = w.as(w.secret)
	for _, ref := range [][3]string{{"demo", "web", "2.1.0-rc.1+build.5"}, {"strict", "db", "1.0.0"}, {"old", "relic", "1.0.0+b"}} {
		receipt, err := w.svc.PushArchive(w.ctx, w.admin, ref[0], bytes.NewReader(charttest.Build(w, ref[1], ref[2], nil)), nil, release.PushOptions{})
		if ref[0] == "old" {
			continue // its versions are not strict
		}
		w.ok(err)
		if !receipt.Unchanged {
			w.Errorf("%s was released a second time", strings.Join(ref[:], "/"))
		}
	}
	tags, _, err := w.svc.Tags(w.ctx, w.admin, "demo/web", "", 100)
	w.ok(err)
	if d := cmp.Diff([]string{"1.0.0", "1.2.0", "1.3.0", "2.1.0-rc.1_build.5"}, tags); d != "" {
		w.Error(d)
	}
	view, err := w.svc.Index(w.ctx, w.admin, "demo", false)
	w.ok(err)
	ix, err := view.Snapshot()
	w.ok(err)
	var text bytes.Buffer
	w.ok(ix.WriteRaw(&text, index.Head{Generated: w.now}))
	for version, listed := range map[string]bool{"1.2.0": true, "1.0.0": true, "2.1.0-rc.1+build.5": true, "1.1.0": false, "2.0.0": false} {
		if strings.Contains(text.String(), `"`+version+`"`) != listed {
			w.Errorf("version %s in the index: want %v in %s", version, listed, text.String())
		}
	}
}

// events counts the audit events of a name.
func (w *world) events(name audit.Name, want int) []release.AuditRecord {
	w.Helper()
	got, err := w.store.AuditRecords(w.ctx, release.AuditFilter{Action: string(name), Limit: 100})
	w.ok(err)
	if len(got) != want {
		w.Errorf("%d events %s, want %d", len(got), name, want)
	}
	return got
}

// TestRecoverEverything has an empty database filled from the records alone.
func TestRecoverEverything(t *testing.T) {
	w := newWorld(t, false)
	empty := w.dsn + "-empty"
	w.before()
	w.after()
	for i := range 600 { // so that there are full bundles and tiles
		w.ok(w.store.Record(w.ctx, w.now, audit.Event{Name: audit.LoginOK, Actor: audit.Actor{Kind: access.KindSystem, ID: "server"}, Door: audit.DoorServer, Outcome: audit.Outcome{Result: audit.Allowed}, RequestID: fmt.Sprint(i)}))
		if i%97 == 0 {
			w.ok(w.keeper.Keep(w.ctx))
		}
	}
	w.ok(w.keeper.Keep(w.ctx))
	w.close()
	want := w.dump(w.dsn)
	w.dsn = empty
	w.open()
	w.states(custody.StateBehind)
	_, err := w.keeper.Recover(w.ctx, true)
	w.ok(err)
	w.close()
	got := w.dump(w.dsn)
	for _, table := range tables {
		if d := cmp.Diff(want[table.name], got[table.name]); d != "" {
			w.Errorf("table %s came back otherwise (-lost +recovered):\n%s", table.name, d)
		}
	}
	w.open()
	w.states(custody.StateOK)
}

// TestRecoverRights: nobody gets back what was taken from him.
func TestRecoverRights(t *testing.T) {
	w := newWorld(t, false)
	robot := func(name string) (release.AccountGrant, string, release.Token) {
		_, err := w.svc.CreateAccount(w.ctx, w.admin, name, release.KindUser, "a long enough password "+name)
		w.ok(err)
		g := access.Grant{Role: access.RoleReader, Project: "*"}
		grant, err := w.svc.AddGrant(w.ctx, w.admin, name, g)
		w.ok(err)
		secret, token, err := w.svc.CreateToken(w.ctx, w.admin, release.TokenRequest{Name: name, Account: name, Grants: []access.Grant{g}, Expires: w.now.Add(100 * time.Hour)})
		w.ok(err)
		return release.AccountGrant{Account: name, Grant: grant}, secret, token
	}
	_, revokedSecret, revoked := robot("ann")
	taken, _, _ := robot("bob")
	_, disabledSecret, _ := robot("cid")
	_, keptSecret, _ := robot("dan")
	robot("eve")
	w.ok(w.keeper.Keep(w.ctx))
	old := w.copy()
	w.ok(w.svc.RevokeToken(w.ctx, w.admin, revoked.ID))
	w.ok(w.svc.RevokeGrant(w.ctx, w.admin, taken.Grant.ID))
	w.ok(w.svc.DisableAccount(w.ctx, w.admin, "cid"))
	w.ok(w.svc.SetPassword(w.ctx, w.admin, "eve", "quite another password"))
	_, err := w.svc.CreateAccount(w.ctx, w.admin, "fay", release.KindRobot, "")
	w.ok(err)
	w.ok(w.keeper.Keep(w.ctx))
	w.putBack(old)

	if _, err := w.svc.Authenticate(w.ctx, revokedSecret); err != nil {
		w.Fatalf("the old database does not know the token: %v", err)
	}
	rep, err := w.keeper.Recover(w.ctx, true)
	w.ok(err)
	if len(rep.Withdraw) != 4 || len(rep.Lost) != 1 || rep.Lost[0].Name != string(audit.AccountCreated) {
		w.Errorf("withdrawn %+v, lost %+v", rep.Withdraw, rep.Lost)
	}
	w.reopen()
	for _, secret := range []string{revokedSecret, disabledSecret} {
		if _, err := w.svc.Authenticate(w.ctx, secret); err == nil {
			w.Error("a credential that was taken away is valid again")
		}
	}
	if _, err := w.svc.Authenticate(w.ctx, keptSecret); err != nil {
		w.Errorf("a credential that was not taken away: %v", err)
	}
	grants, err := w.store.GrantsOf(w.ctx, "")
	w.ok(err)
	for _, g := range grants {
		if g.Grant.ID == taken.Grant.ID {
			w.Error("a grant that was taken away is back")
		}
	}
	for _, password := range []string{"a long enough password eve", ""} {
		if _, err := w.svc.Authenticate(w.ctx, "eve:"+password); err == nil {
			w.Errorf("the password %q of eve is valid", password)
		}
	}
	_, hash, err := w.store.AccountByName(w.ctx, "eve")
	w.ok(err)
	if hash != "" {
		w.Error("the password that was replaced is valid again")
	}
}

// TestFork: a database that went on from an old copy is left alone.
func TestFork(t *testing.T) {
	w := newWorld(t, false)
	w.before()
	w.ok(w.keeper.Keep(w.ctx))
	old := w.copy()
	w.push("demo", "web", "4.0.0", false)
	w.push("demo", "web", "4.1.0", false)
	w.ok(w.keeper.Keep(w.ctx))
	w.putBack(old)
	w.admin = w.as(w.secret)
	w.push("demo", "web", "5.0.0", false) // nobody looked
	for _, more := range []string{"5.1.0", "5.2.0", "5.3.0"} {
		r, a := w.standing()
		if r.State != custody.StateForked && more != "5.1.0" || a.State == custody.StateOK {
			w.Fatalf("before %s the logs are %s and %s", more, r.State, a.State)
		}
		before := w.tablesNow()
		_, err := w.keeper.Recover(w.ctx, true)
		p := w.refused(err, problem.Disproven, "recover-fork")
		facts := fmt.Sprint(p.Facts)
		if !strings.Contains(facts, "version 4.0.0") || !strings.Contains(facts, "version 5.0.0") {
			w.Errorf("the refusal does not show both leaves: %s", facts)
		}
		if d := cmp.Diff(before, w.tablesNow()); d != "" {
			w.Errorf("a refused recovery changed something: %s", d)
		}
		w.admin = w.as(w.secret)
		w.push("demo", "web", more, false)
	}
	// And it is not kept either.
	err := w.keeper.Keep(w.ctx)
	if st, ok := custody.RolledBack(err); ok && st.State != custody.StateForked || err == nil {
		w.Errorf("kept a fork: %v", err)
	}
}

func (w *world) tablesNow() map[string][]string {
	w.Helper()
	w.close()
	defer w.open()
	return w.dump(w.dsn)
}

// TestSameSizeOtherRoot is the fork that has no more leaves than the history.
func TestSameSizeOtherRoot(t *testing.T) {
	w := newWorld(t, false)
	w.before()
	old := w.copy()
	w.push("demo", "web", "4.0.0", false)
	w.ok(w.keeper.Keep(w.ctx))
	w.putBack(old)
	w.admin = w.as(w.secret)
	w.push("demo", "web", "5.0.0", false)
	w.states(custody.StateForked)
	st, ok := custody.RolledBack(w.keeper.Keep(w.ctx))
	if !ok || st.State != custody.StateForked {
		w.Errorf("kept: %+v", st)
	}
	if r, _ := w.standing(); r.Refusal() == nil || r.Refusal().Rule != "read-only" {
		w.Error("a fork may be written to")
	}
}

// TestWitnessKnowsMore: what others know counts as much as the records.
func TestWitnessKnowsMore(t *testing.T) {
	w := newWorld(t, false)
	w.before()
	w.ok(w.keeper.Keep(w.ctx))
	old := w.copy()
	w.push("demo", "web", "4.0.0", false) // never kept
	head, err := w.store.LogHead(w.ctx, custody.Releases)
	w.ok(err)
	w.putBack(old)
	ask := func(note []byte) custody.Standing {
		c := custody.New(custody.Config{Database: w.store, Records: w.records, Blobs: w.blobs, Verifiers: verifiers(w), Elsewhere: func(context.Context) []custody.Known {
			return []custody.Known{{By: "witness.example", Log: custody.Releases, Note: note}}
		}})
		list, err := c.Compare(w.ctx)
		w.ok(err)
		return list[0]
	}
	if st := ask(head.Note); st.State != custody.StateBehind || st.By != "witness.example" || st.Kept.Size != head.Size {
		w.Errorf("got %+v", st)
	}
	forged := bytes.Replace(head.Note, fmt.Appendf(nil, "\n%d\n", head.Size), fmt.Appendf(nil, "\n%d\n", head.Size+10), 1)
	if st := ask(forged); st.State != custody.StateOK || len(st.Bad) != 1 {
		w.Errorf("a forged checkpoint counts: %+v", st)
	}
}

// dying fails the operation number at and all after it, as a process that was
// killed before it.
type dying struct {
	custody.Records
	at, seen int
}

var errDead = errors.New("killed")

func (d *dying) step() error {
	d.seen++
	if d.seen > d.at {
		return errDead
	}
	return nil
}

func (d *dying) PutRecord(ctx context.Context, name string, data []byte) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Records.PutRecord(ctx, name, data)
}

func (d *dying) RemoveRecord(ctx context.Context, name string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Records.RemoveRecord(ctx, name)
}

// TestKeeperDies kills the keeper before each of its steps: every checkpoint
// that is kept is backed by entries that lead to it and by what they leave out,
// and the next process goes on.
func TestKeeperDies(t *testing.T) {
	signer := storetest.Keys(t).Signer
	at := 0
	for died := true; died; at++ {
		blobs, err := blob.OpenDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		open := func(records custody.Records, size int64) *custody.Custodian {
			return custody.New(custody.Config{Database: &longLog{signer: signer, size: size, aside: true}, Records: records, Blobs: blobs, Verifiers: verifiers(t)})
		}
		died = false
		db := &longLog{signer: signer, aside: true}
		c := custody.New(custody.Config{Database: db, Records: &dying{Records: blobs, at: at}, Blobs: blobs, Verifiers: verifiers(t)})
		for _, db.size = range []int64{1, 30, 255, 300, 600} { // a bundle fills, and then two at once
			if err := c.Keep(t.Context()); errors.Is(err, errDead) {
				died = true
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		for again := range 2 {
			if err := leadsTo(t, blobs, signer); err != nil {
				t.Fatalf("killed before step %d, kept %d times since: %v", at, again, err)
			}
			if err := open(blobs, 600+int64(again)).Keep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		cp, ok, err := open(blobs, 601).Newest(t.Context(), custody.Releases)
		if err != nil || !ok || cp.Size != 601 {
			t.Fatalf("killed before step %d, the next process has kept %d, %v", at, cp.Size, err)
		}
	}
	if at < 15 {
		t.Errorf("only %d steps were seen", at)
	}
}

// leadsTo recovers an empty database from what is kept, as far as it goes, and
// looks at what leaves leave out.
func leadsTo(t *testing.T, blobs *blob.Dir, signer note.Signer) error {
	empty := &longLog{signer: signer}
	c := custody.New(custody.Config{Database: empty, Records: blobs, Blobs: blobs, Verifiers: verifiers(t)})
	cp, ok, err := c.Newest(t.Context(), custody.Releases)
	if err != nil || !ok {
		return err
	}
	if _, err := c.Recover(t.Context(), true); err != nil {
		return err
	}
	if int64(empty.replayed) != cp.Size {
		return fmt.Errorf("%d leaves were replayed of %d", empty.replayed, cp.Size)
	}
	return nil
}

// backed recovers an empty database from what is kept, as far as it goes.
func (w *world) backed(at int) {
	w.Helper()
	probe := *w
	probe.dsn = filepath.Join(w.TempDir(), "probe.db")
	probe.open()
	defer probe.close()
	r, a := probe.standing()
	if r.Kept.Size == 0 && a.Kept.Size == 0 {
		return
	}
	rep, err := probe.keeper.Recover(w.ctx, true)
	if err != nil {
		w.Fatalf("killed before step %d: %v", at, err)
	}
	for _, rng := range rep.Ranges {
		if rng.Log == custody.Releases && len(rep.Losses) > 0 {
			w.Errorf("killed before step %d: %+v", at, rep.Losses)
		}
	}
	if r.Kept.Size > 0 && a.Kept.Size > 0 {
		probe.states(custody.StateOK)
	}
}

// TestRecoverDies: a recovery that fails anywhere has changed nothing, and can
// be repeated.
func TestRecoverDies(t *testing.T) {
	w := newWorld(t, false)
	w.before()
	w.ok(w.keeper.Keep(w.ctx))
	old := w.copy()
	w.after()
	w.ok(w.keeper.Keep(w.ctx))
	w.putBack(old)
	before := w.tablesNow()
	for _, fail := range []int{0, 1, 7, 12} {
		blobs := &failing{Blobs: w.blobs, after: fail}
		c := custody.New(custody.Config{Database: w.store, Records: w.records, Blobs: blobs, Limits: chart.DefaultLimits(), Verifiers: verifiers(w), Now: w.clock})
		if _, err := c.Recover(w.ctx, true); err == nil {
			w.Fatalf("archive number %d could not be read, and the recovery is well", fail)
		}
		got := w.tablesNow()
		if d := cmp.Diff(before, got); d != "" {
			w.Fatalf("a recovery that failed at archive %d changed something: %s", fail, d)
		}
	}
	_, err := w.keeper.Recover(w.ctx, true)
	w.ok(err)
	w.states(custody.StateOK)
	w.ok(w.keeper.Settle(w.ctx))
	w.events(audit.LogRecovered, 1) // for all the attempts
}

// failing cannot read archives after some.
type failing struct {
	custody.Blobs
	after int
}

func (f *failing) Open(ctx context.Context, d string) (release.BlobFile, error) {
	if f.after--; f.after < 0 {
		return nil, problem.New(problem.Unavailable, "disk", "the disk fails")
	}
	return f.Blobs.Open(ctx, d)
}

func (f *failing) Stat(ctx context.Context, d string) (int64, error) { return f.Blobs.Stat(ctx, d) }

// TestRecoverLosses: what is gone is named, and the rest comes back.
func TestRecoverLosses(t *testing.T) {
	w := newWorld(t, false)
	w.before()
	w.ok(w.keeper.Keep(w.ctx))
	old := w.copy()
	r := w.push("demo", "web", "6.0.0", false)
	kept := w.push("demo", "web", "6.1.0", false)
	w.ok(w.keeper.Keep(w.ctx))
	w.putBack(old)
	hex := strings.TrimPrefix(r.Archive, "sha256:")
	w.ok(os.Remove(filepath.Join(w.folder, "blobs", "sha256", hex[:2], hex)))
	rep, err := w.keeper.Recover(w.ctx, true)
	w.ok(err)
	if len(rep.Losses) != 1 || rep.Losses[0].Ref != "demo/web@6.0.0" || !strings.Contains(rep.Losses[0].What, "its archive") {
		w.Errorf("losses %+v", rep.Losses)
	}
	w.reopen()
	w.admin = w.as(w.secret)
	// The name stays taken, whatever became of the bytes.
	_, err = w.svc.PushArchive(w.ctx, w.admin, "demo", bytes.NewReader(charttest.Build(w, "web", "6.0.0", map[string]string{"other": "bytes"})), nil, release.PushOptions{})
	if problem.KindOf(err) != problem.Immutable {
		w.Errorf("pushed other bytes under a name that was recovered: %v", err)
	}
	f, err := w.blobs.Open(w.ctx, kept.Archive)
	w.ok(err)
	data, err := io.ReadAll(f)
	w.ok(err)
	if digest.SHA256(data) != kept.Archive {
		w.Error("other bytes")
	}
}

// TestRecordsDamaged: records that were changed are found, and never made a row
// of.
func TestRecordsDamaged(t *testing.T) {
	damage := func(w *world, folder, from, to string) int {
		n := 0
		err := filepath.WalkDir(filepath.Join(w.folder, "records", folder), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			w.ok(err)
			if changed := bytes.ReplaceAll(data, []byte(from), []byte(to)); !bytes.Equal(changed, data) {
				n++
				w.ok(os.Chmod(path, 0o600))
				return os.WriteFile(path, changed, 0o600)
			}
			return nil
		})
		w.ok(err)
		return n
	}
	for _, c := range []struct {
		name, folder, from, to string
		want                   func(w *world, rep custody.Report, err error)
	}{
		{"an entry", "entries", "version 6.0.0", "version 6.6.6", func(w *world, _ custody.Report, err error) {
			w.refused(err, problem.Disproven, "recover-root")
		}},
		{"what leaves leave out", "aside", `"bytes":"ey`, `"bytes":"eY`, func(w *world, rep custody.Report, err error) {
			w.ok(err)
			if len(rep.Losses) == 0 {
				w.Error("changed bytes were taken")
			}
		}},
		{"no JSON", "aside", `"schema"`, `schema`, func(w *world, rep custody.Report, err error) {
			w.ok(err)
			if len(rep.Losses) == 0 {
				w.Error("what cannot be read is not missed")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, false)
			w.before()
			w.ok(w.keeper.Keep(w.ctx))
			old := w.copy()
			w.push("demo", "web", "6.0.0", false)
			w.ok(w.keeper.Keep(w.ctx))
			w.putBack(old)
			if damage(w, c.folder, c.from, c.to) == 0 {
				t.Fatal("nothing was damaged")
			}
			rep, err := w.keeper.Recover(w.ctx, false)
			c.want(w, rep, err)
		})
	}
	// A checkpoint that nobody signed, of any size, stops nothing.
	w := newWorld(t, false)
	w.before()
	w.ok(w.keeper.Keep(w.ctx))
	head, err := w.store.LogHead(w.ctx, custody.Releases)
	w.ok(err)
	other, _, err := tlog.GenerateKey(strings.NewReader(strings.Repeat("k", 64)), storetest.Origin)
	w.ok(err)
	signer, err := tlog.NewSigner(other)
	w.ok(err)
	forged, err := tlog.SignCheckpoint(storetest.Origin, 999_999, head.Root, signer)
	w.ok(err)
	w.ok(w.blobs.PutRecord(w.ctx, "checkpoint/release/000/000/000/000/999/999", forged))
	r, _ := w.standing()
	if r.State != custody.StateOK || len(r.Bad) != 1 {
		w.Errorf("a forged checkpoint makes the log %s, %v", r.State, r.Bad)
	}
	w.push("demo", "web", "7.0.0", false)
	w.ok(w.keeper.Keep(w.ctx))
}

// TestRemovedRecords: that they are gone is said, and they are kept anew.
func TestRemovedRecords(t *testing.T) {
	w := newWorld(t, false)
	w.before()
	if r, _ := w.standing(); r.State != custody.StateUnkept || r.Removed {
		t.Errorf("before anything was kept: %+v", r)
	}
	w.ok(w.keeper.Keep(w.ctx))
	w.ok(os.RemoveAll(filepath.Join(w.folder, "records")))
	w.reopen()
	if r, _ := w.standing(); r.State != custody.StateUnkept || !r.Removed || !w.keeper.Missing() {
		t.Errorf("after the records were removed: %+v", r)
	}
	w.ok(w.keeper.Keep(w.ctx))
	w.ok(os.RemoveAll(filepath.Join(w.folder, "records")))
	w.admin = w.as(w.secret)
	w.push("demo", "web", "7.0.0", false)
	w.custodian()
	w.ok(w.keeper.Keep(w.ctx))
	w.states(custody.StateOK)
	w.backed(-1)
}

// TestTombstoneForgets: the bytes of a release that has a tombstone are kept
// nowhere, and everything else is.
func TestTombstoneForgets(t *testing.T) {
	w := newWorld(t, false)
	w.people()
	w.now = w.now.Add(time.Hour)
	w.project("demo", release.ProjectOptions{})
	w.push("demo", "web", "1.0.0", false)
	w.push("demo", "web", "2.0.0", false)
	w.ok(w.keeper.Keep(w.ctx))
	w.attach("demo", "web", "1.0.0")
	w.attach("demo", "web", "2.0.0")
	w.ok(w.keeper.Keep(w.ctx))
	kept := func(text string) bool {
		found := false
		w.ok(filepath.WalkDir(filepath.Join(w.folder, "records", "aside"), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			found = found || bytes.Contains(data, []byte(text))
			return err
		}))
		return found
	}
	digestOf := func(version string) string {
		return digest.SHA256(provenance("web", version, charttest.Build(w, "web", version, nil)))
	}
	if !kept(digestOf("1.0.0")) || !kept(digestOf("2.0.0")) {
		t.Fatal("a provenance is not kept")
	}
	old := w.copy()
	w.admin = w.as(w.secret)
	req, err := w.svc.RequestTombstone(w.ctx, w.admin, "demo", "web", "1.0.0", "malware", "really")
	w.ok(err)
	_, err = w.svc.ApproveRequest(w.ctx, w.second(), req.ID, "really")
	w.ok(err)
	r, err := w.store.ReleasesAfter(w.ctx, 0, 10)
	w.ok(err)
	w.ok(w.keeper.Keep(w.ctx))
	for i := range r {
		gone := r[i].Version == "1.0.0"
		for _, d := range []string{r[i].Manifest, digestOf(r[i].Version)} {
			if kept(`"digest":"`+d+`"`) == gone {
				t.Errorf("%s of %s is kept: %v", d, r[i].Version, gone)
			}
		}
	}
	w.close()
	want := w.dump(w.dsn)
	w.dsn = w.duplicate(old)
	w.open()
	if _, err := w.keeper.Recover(w.ctx, true); err != nil {
		t.Fatal(err)
	}
	w.close()
	if d := cmp.Diff(want["release"], w.dump(w.dsn)["release"]); d != "" {
		t.Error(d)
	}
	w.open()
}
