package release_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"golang.org/x/mod/sumdb/note"
)

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	skey, vkey, err := tlog.GenerateKey(nil, "log.example/smoke")
	if err != nil {
		t.Fatal(err)
	}
	akey, _, err := tlog.GenerateKey(nil, "log.example/smoke/audit")
	if err != nil {
		t.Fatal(err)
	}
	sign, _ := tlog.NewSigner(skey)
	asign, _ := tlog.NewSigner(akey)
	dir := t.TempDir()
	st, err := sqlstore.Open(ctx, sqlstore.Config{SQLite: filepath.Join(dir, "db.sqlite"), Origin: "log.example/smoke", Signer: sign, AuditSigner: asign, VerifierKey: vkey})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	blobs, err := blob.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	s := release.New(release.Config{Store: st, Blobs: blobs, Limits: chart.DefaultLimits(), Secret: bytes.Repeat([]byte("k"), 32), Service: "log.example/smoke"})
	secret, err := s.EnsureAdmin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Authenticate(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	c := release.Caller{Principal: p, Door: audit.DoorAPI}
	if _, err := s.CreateProject(ctx, c, "demo", release.ProjectOptions{}); err != nil {
		t.Fatal(err)
	}
	a := charttest.Build(t, "web", "1.0.0", nil)
	r, err := s.PushArchive(ctx, c, "demo", bytes.NewReader(a), nil, release.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := tlog.NewVerifier(vkey)
	if _, _, err := r.Proof.Verify("log.example/smoke", note.VerifierList(v)); err != nil {
		t.Fatal(err)
	}
	r, err = s.PushArchive(ctx, c, "demo", bytes.NewReader(a), nil, release.PushOptions{})
	if err != nil || !r.Unchanged {
		t.Fatal(err, r)
	}
	b := charttest.Build(t, "web", "1.0.0", map[string]string{"templates/x.yaml": "a: b"})
	_, err = s.PushArchive(ctx, c, "demo", bytes.NewReader(b), nil, release.PushOptions{Force: true})
	t.Log(err)
	view, err := s.Index(ctx, c, "demo", false)
	if err != nil {
		t.Fatal(err)
	}
	ix, err := view.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(ix.Generation())
	recs, err := s.Audit(ctx, c, release.AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		t.Log(r.Index, r.Event.Name, r.Event.Outcome, r.Event.Detail, r.Actor)
	}
	_ = access.Anonymous
	m, err := s.GetManifest(ctx, c, "demo/web", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(string(m.Bytes))
}
