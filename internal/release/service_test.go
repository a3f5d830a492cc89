package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// registry is a service on a database and a folder of its own, with the
// project demo and an administrator who may also publish.
type registry struct {
	*testing.T
	*release.Service
	store *sqlstore.Store
	blobs string // the folder
	ctx   context.Context
	admin release.Caller
	now   time.Time // moved by the test

	gone bool // the test closed the store
}

// newRegistry makes one; with changes what the service is made of.
func newRegistry(t *testing.T, with ...func(*release.Config)) *registry {
	t.Helper()
	r := &registry{T: t, ctx: t.Context(), blobs: filepath.Join(t.TempDir(), "blobs"), now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	clock := func() time.Time { return r.now }
	keys := storetest.Keys(t)
	var err error
	r.store, err = sqlstore.Open(r.ctx, sqlstore.Config{
		SQLite: filepath.Join(t.TempDir(), "chartkeep.db"), Origin: storetest.Origin,
		Signer: keys.Signer, AuditSigner: keys.AuditSigner, VerifierKey: keys.VerifierKey, Now: clock,
	})
	r.ok(err)
	t.Cleanup(func() { r.store.Close() })
	t.Cleanup(func() { // whatever the test did, the log keeps the rules
		if !r.gone {
			replays(t, r.store)
		}
	})
	dir, err := blob.OpenDir(r.blobs)
	r.ok(err)
	cfg := release.Config{
		Store: r.store, Blobs: dir, Limits: chart.DefaultLimits(), Secret: bytes.Repeat([]byte("s"), 32), Service: storetest.Origin, Now: clock,
	}
	for _, change := range with {
		change(&cfg)
	}
	r.Service = release.New(cfg)
	secret, err := r.EnsureAdmin(r.ctx)
	r.ok(err)
	r.admin = r.as(secret)
	r.project("demo", release.ProjectOptions{})
	return r
}

// in is the same registry for a test within the test.
func (r *registry) in(t *testing.T) *registry {
	c := *r
	c.T = t
	return &c
}

func (r *registry) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *registry) refused(err error, kind problem.Kind, rule string) *problem.Error {
	r.Helper()
	p, ok := problem.As(err)
	if !ok || p.Kind != kind || p.Rule != rule {
		r.Fatalf("got error %v, want a problem of kind %s, rule %q", err, kind, rule)
	}
	return p
}

// as signs in with a secret.
func (r *registry) as(secret string) release.Caller {
	r.Helper()
	p, err := r.Authenticate(r.ctx, secret)
	r.ok(err)
	return release.Caller{Principal: p, Door: audit.DoorAPI, Source: audit.Source{IP: "192.0.2.1"}}
}

func (r *registry) project(name string, opt release.ProjectOptions) {
	r.Helper()
	_, err := r.CreateProject(r.ctx, r.admin, name, opt)
	r.ok(err)
}

// robot makes an account with one grant and signs in with a token of it.
func (r *registry) robot(name string, g access.Grant) release.Caller {
	r.Helper()
	_, err := r.CreateAccount(r.ctx, r.admin, name, release.KindRobot, "")
	r.ok(err)
	_, err = r.AddGrant(r.ctx, r.admin, name, g)
	r.ok(err)
	secret, _, err := r.CreateToken(r.ctx, r.admin, release.TokenRequest{Name: name, Account: name, Grants: []access.Grant{g}, Expires: r.now.Add(time.Hour)})
	r.ok(err)
	return r.as(secret)
}

var anybody = release.Caller{Principal: access.Anonymous(), Door: audit.DoorClassic}

func through(c release.Caller, door audit.Door) release.Caller {
	c.Door = door
	return c
}

func (r *registry) push(project string, archive, prov []byte) (release.Receipt, error) {
	return r.PushArchive(r.ctx, r.admin, project, bytes.NewReader(archive), prov, release.PushOptions{})
}

// released pushes a new chart and checks the receipt's proof.
func (r *registry) released(project, name, version string) ([]byte, release.Release) {
	r.Helper()
	archive := charttest.Build(r, name, version, nil)
	receipt, err := r.push(project, archive, nil)
	r.ok(err)
	r.proven(&receipt)
	return archive, receipt.Release
}

func (r *registry) proven(receipt *release.Receipt) {
	r.Helper()
	v, err := tlog.NewVerifier(storetest.Keys(r).VerifierKey)
	r.ok(err)
	_, leaf, err := receipt.Proof.Verify(storetest.Origin, note.VerifierList(v))
	r.ok(err)
	if archiveOf(leaf) != receipt.Release.Archive {
		r.Fatalf("the proof is of %+v, the release is %+v", leaf, receipt.Release)
	}
}

// provenance is a file that fits an archive; whether its signature holds is not
// the registry's to say.
func provenance(name, version string, archive []byte, n int) []byte {
	return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: %s\nversion: %q\n\n...\nfiles:\n  %s: %s\n"+
		"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBAAA%d\n-----END PGP SIGNATURE-----\n", name, version, chart.FileName(name, version), sum(archive), n)
}

// nothing checks that a refused push left nothing that a reader can see.
func (r *registry) nothing(project string) {
	r.Helper()
	charts, _, err := r.Charts(r.ctx, r.admin, project, "", 10)
	r.ok(err)
	if len(charts) != 0 {
		r.Fatalf("project %s has %+v", project, charts)
	}
	if doc := r.index(r.admin, project, true); len(doc) != 0 {
		r.Fatalf("the index of %s has %v", project, doc)
	}
}

// index reads a project's index: chart, version and digest of each entry.
func (r *registry) index(c release.Caller, project string, all bool) []string {
	r.Helper()
	view, err := r.Index(r.ctx, c, project, all)
	r.ok(err)
	ix, err := view.Snapshot()
	r.ok(err)
	var buf bytes.Buffer
	r.ok(ix.WriteRaw(&buf, index.Head{Generated: r.now}))
	var doc struct {
		Entries map[string][]struct{ Name, Version, Digest string }
	}
	r.ok(json.Unmarshal(buf.Bytes(), &doc))
	var out []string
	for name, list := range doc.Entries {
		for _, e := range list {
			out = append(out, name+" "+e.Version+" sha256:"+e.Digest)
		}
	}
	return out
}

// lastEvent is the newest audit event.
func (r *registry) lastEvent() audit.Event {
	r.Helper()
	list, err := r.Audit(r.ctx, r.admin, release.AuditFilter{Limit: 1})
	r.ok(err)
	return list[0].Event
}

func (r *registry) events() int64 {
	r.Helper()
	list, err := r.Audit(r.ctx, r.admin, release.AuditFilter{Limit: 1})
	r.ok(err)
	return list[0].Index + 1
}

// served reads the archive of a release as a client does.
func (r *registry) served(c release.Caller, project, file string) ([]byte, error) {
	r.Helper()
	_, b, err := r.OpenArchive(r.ctx, c, project, file)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	var buf bytes.Buffer
	_, err = b.WriteTo(&buf)
	return buf.Bytes(), err
}

// brokenReader fails after some bytes, as a connection does.
type brokenReader struct {
	io.Reader
}

var errConnection = errors.New("the connection was reset")

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errConnection
	}
	return n, err
}

func factOf(p *problem.Error, label string) string {
	for _, f := range p.Facts {
		if f.Label == label {
			return f.Value
		}
	}
	return ""
}

func TestReady(t *testing.T) {
	r := newRegistry(t)
	r.ok(r.Ready(r.ctx))
	r.store.Close()
	r.gone = true
	if err := r.Ready(r.ctx); err == nil {
		// The head of the log is in memory; what has to be read is not.
		_, err = r.Release(r.ctx, r.admin, "demo", "web", "1.0.0")
		if err == nil || problem.KindOf(err) == problem.NotFound {
			t.Fatalf("a closed database answers: %v", err)
		}
	}
}

// TestStrangers looks at what is told to strangers: the same whether a private
// project exists or not.
func TestStrangers(t *testing.T) {
	r := newRegistry(t)
	r.released("demo", "web", "1.0.0")
	stranger := r.robot("stranger", access.Grant{Role: access.RoleReader, Project: "elsewhere"})
	for _, c := range []release.Caller{anybody, stranger} {
		for name, ask := range map[string]func(project string) error{
			"push": func(p string) error {
				_, err := r.PushArchive(r.ctx, c, p, strings.NewReader("x"), nil, release.PushOptions{})
				return err
			},
			"read":     func(p string) error { _, err := r.Release(r.ctx, c, p, "web", "1.0.0"); return err },
			"archive":  func(p string) error { _, _, err := r.OpenArchive(r.ctx, c, p, "web-1.0.0.tgz"); return err },
			"index":    func(p string) error { _, err := r.Index(r.ctx, c, p, false); return err },
			"manifest": func(p string) error { _, err := r.GetManifest(r.ctx, c, p+"/web", "1.0.0"); return err },
			"tags":     func(p string) error { _, _, err := r.Tags(r.ctx, c, p+"/web", "", 5); return err },
			"upload":   func(p string) error { _, err := r.StartUpload(r.ctx, c, p+"/web"); return err },
			"delete":   func(p string) error { return r.DeleteManifest(r.ctx, c, p+"/web", "1.0.0") },
			"project":  func(p string) error { _, err := r.Project(r.ctx, c, p); return err },
			"yank":     func(p string) error { _, err := r.Yank(r.ctx, c, p, "web", "1.0.0", "broken", ""); return err },
		} {
			there, nowhere := ask("demo"), ask("gone")
			if there == nil || nowhere == nil {
				t.Fatalf("%s by %s: %v, %v", name, c.Principal.Name, there, nowhere)
			}
			if a, b := problem.KindOf(there), problem.KindOf(nowhere); a != b || a != problem.Unauthenticated && a != problem.NotFound {
				t.Errorf("%s by %s: a private project is answered %v, none %v", name, c.Principal.Name, there, nowhere)
			}
			if a, b := there.Error(), strings.ReplaceAll(nowhere.Error(), "gone", "demo"); a != b {
				t.Errorf("%s by %s: a private project is answered\n%s\nand none\n%s", name, c.Principal.Name, a, b)
			}
		}
	}
}

// sweepable counts uploads that lie about.
func (r *registry) sweepable() (int, error) {
	dir, err := blob.OpenDir(r.blobs)
	if err != nil {
		return 0, err
	}
	return dir.SweepUploads(r.ctx, time.Now().Add(time.Hour))
}
