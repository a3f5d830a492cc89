package custody_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// world is a registry with its database, its blob store and its custodian. The
// database can be closed, copied and put back, as an operator does.
type world struct {
	testing.TB
	ctx      context.Context
	postgres bool
	dsn      string // path of the SQLite file, or of the PostgreSQL database
	folder   string // of the blob store
	now      time.Time

	store   *sqlstore.Store
	blobs   *blob.Dir
	records custody.Records // blobs, unless a test puts something between
	keeper  *custody.Custodian
	svc     *release.Service
	admin   release.Caller
	secret  string // of admin
	mute    bool   // the logs' keys sign nothing but an empty log
}

// secondPassword is that of the account "second", a person who may approve.
const secondPassword = "a second person's password"

// both runs a test on both databases.
func both(t *testing.T, test func(w *world)) {
	for _, postgres := range []bool{false, true} {
		t.Run(map[bool]string{false: "SQLite", true: "PostgreSQL"}[postgres], func(t *testing.T) {
			t.Parallel()
			test(newWorld(t, postgres))
		})
	}
}

func newWorld(t testing.TB, postgres bool) *world {
	t.Helper()
	w := &world{TB: t, ctx: t.Context(), postgres: postgres, folder: filepath.Join(t.TempDir(), "blobs"), now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	w.dsn = filepath.Join(t.TempDir(), "chartkeep.db")
	if postgres {
		w.dsn = pgtest.New(t)
	}
	w.open()
	t.Cleanup(w.close)
	secret, err := w.svc.EnsureAdmin(w.ctx)
	w.ok(err)
	w.secret = secret
	w.admin = w.as(secret)
	return w
}

// people makes a second person, which takes a while: passwords do.
func (w *world) people() {
	w.Helper()
	_, err := w.svc.CreateAccount(w.ctx, w.admin, "second", release.KindUser, secondPassword)
	w.ok(err)
	for _, role := range []access.Role{access.RoleInstanceAdmin, access.RoleApprover, access.RoleMaintainer} {
		_, err = w.svc.AddGrant(w.ctx, w.admin, "second", access.Grant{Role: role, Project: "*"})
		w.ok(err)
	}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) refused(err error, kind problem.Kind, rule string) *problem.Error {
	w.Helper()
	p, ok := problem.As(err)
	if !ok || p.Kind != kind || p.Rule != rule {
		w.Fatalf("got %v, want a problem of kind %s, rule %s", err, kind, rule)
	}
	return p
}

func (w *world) clock() time.Time { return w.now }

// open opens everything, as a process that starts.
func (w *world) open() {
	w.Helper()
	keys := storetest.Keys(w)
	cfg := sqlstore.Config{SQLite: w.dsn, Origin: storetest.Origin, Signer: keys.Signer, AuditSigner: keys.AuditSigner, VerifierKey: keys.VerifierKey, Now: w.clock}
	if w.postgres {
		cfg.SQLite, cfg.Postgres = "", w.dsn
	}
	if w.mute {
		cfg.Signer, cfg.AuditSigner = mute{cfg.Signer}, mute{cfg.AuditSigner}
	}
	var err error
	w.store, err = sqlstore.Open(w.ctx, cfg)
	w.ok(err)
	w.blobs, err = blob.OpenDir(w.folder)
	w.ok(err)
	w.records = w.blobs
	w.svc = release.New(release.Config{
		Store: w.store, Blobs: w.blobs, Limits: chart.DefaultLimits(), Secret: bytes.Repeat([]byte("s"), 32), Service: storetest.Origin, Now: w.clock,
	})
	w.custodian()
}

// mute signs the checkpoint of an empty log, as every start does, and no other.
type mute struct{ note.Signer }

func (m mute) Sign(text []byte) ([]byte, error) {
	if lines := strings.Split(string(text), "\n"); len(lines) < 2 || lines[1] != "0" {
		return nil, errors.New("something new was to be signed")
	}
	return m.Signer.Sign(text)
}

// custodian makes one anew, over w.records.
func (w *world) custodian() {
	w.keeper = custody.New(custody.Config{
		Database: w.store, Records: w.records, Blobs: w.blobs, Limits: chart.DefaultLimits(), Verifiers: verifiers(w), Now: w.clock,
	})
}

func verifiers(t testing.TB) func(custody.Log) (string, note.Verifiers) {
	keys := storetest.Keys(t)
	v, err := tlog.NewVerifier(keys.VerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	a, err := tlog.NewVerifier(keys.AuditVerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	return func(log custody.Log) (string, note.Verifiers) {
		if log == custody.Audits {
			return a.Name(), note.VerifierList(a)
		}
		return v.Name(), note.VerifierList(v)
	}
}

func (w *world) close() { w.store.Close() }

// reopen is a restart.
func (w *world) reopen() {
	w.close()
	w.open()
}

// as signs in with a secret.
func (w *world) as(secret string) release.Caller {
	w.Helper()
	p, err := w.svc.Authenticate(w.ctx, secret)
	w.ok(err)
	return release.Caller{Principal: p, Door: audit.DoorAPI, Source: audit.Source{IP: "192.0.2.1", UserAgent: "test/1"}}
}

// second signs the second person in.
func (w *world) second() release.Caller {
	w.Helper()
	p, err := w.svc.Login(w.ctx, "second", secondPassword)
	w.ok(err)
	return release.Caller{Principal: p, Door: audit.DoorAPI}
}

// copy makes a copy of the database, as a backup does, and returns where it is.
// The store is closed and opened again.
func (w *world) copy() string {
	w.Helper()
	w.close()
	defer w.open()
	return w.duplicate(w.dsn)
}

func (w *world) duplicate(dsn string) string {
	w.Helper()
	if w.postgres {
		return pgtest.Copy(w, dsn)
	}
	to := filepath.Join(w.TempDir(), "copy.db")
	for _, part := range []string{"", "-wal"} {
		data, err := os.ReadFile(dsn + part)
		if part != "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		w.ok(err)
		w.ok(os.WriteFile(to+part, data, 0o600))
	}
	return to
}

// putBack restarts the server on an older copy of the database.
func (w *world) putBack(copy string) {
	w.Helper()
	w.close()
	w.dsn = w.duplicate(copy)
	w.open()
}

// standing compares and returns the states of both logs.
func (w *world) standing() (releases, audits custody.Standing) {
	w.Helper()
	list, err := w.keeper.Compare(w.ctx)
	w.ok(err)
	if len(list) != 2 {
		w.Fatalf("compared %d logs", len(list))
	}
	return list[0], list[1]
}

func (w *world) states(want string) {
	w.Helper()
	r, a := w.standing()
	if r.State != want || a.State != want {
		w.Fatalf("the logs are %s and %s, want %s", r.State, a.State, want)
	}
}

func (w *world) project(name string, opt release.ProjectOptions) {
	w.Helper()
	if opt.Kind == "" {
		opt.Kind = release.KindCharts
	}
	_, err := w.svc.CreateProject(w.ctx, w.admin, name, opt)
	w.ok(err)
}

func (w *world) push(project, name, version string, prov bool) release.Release {
	w.Helper()
	archive := charttest.Build(w, name, version, nil)
	var text []byte
	if prov {
		text = provenance(name, version, archive)
	}
	receipt, err := w.svc.PushArchive(w.ctx, w.admin, project, bytes.NewReader(archive), text, release.PushOptions{})
	w.ok(err)
	return receipt.Release
}

// provenance is a file that fits an archive; nobody has signed it.
func provenance(name, version string, archive []byte) []byte {
	return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: %s\nversion: %q\n\n...\nfiles:\n  %s: %s\n"+
		"-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBAAA1\n-----END PGP SIGNATURE-----\n", name, version, chart.FileName(name, version), digest.SHA256(archive))
}

func (w *world) attach(project, name, version string) {
	w.Helper()
	_, err := w.svc.AttachProvenance(w.ctx, w.admin, project, provenance(name, version, charttest.Build(w, name, version, nil)))
	w.ok(err)
}

func (w *world) yank(project, name, version string, yank bool) {
	w.Helper()
	var err error
	if yank {
		_, err = w.svc.Yank(w.ctx, w.admin, project, name, version, release.YankReasons()[0].Code, "told so")
	} else {
		_, err = w.svc.Unyank(w.ctx, w.admin, project, name, version, "again")
	}
	w.ok(err)
}

type part struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func of(mediaType string, b []byte) *part { return &part{mediaType, digest.SHA256(b), len(b)} }

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.cncf.helm.config.v1+json"
	chartType    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// put puts a manifest with its blobs through the OCI door.
func (w *world) put(repo, tag string, subject *part, configKind string, config []byte, layerKind string, layer []byte) string {
	w.Helper()
	oci := w.admin
	oci.Door = audit.DoorOCI
	for _, b := range [][]byte{config, layer} {
		w.ok(w.svc.PutBlob(w.ctx, oci, repo, bytes.NewReader(b), digest.SHA256(b)))
	}
	body, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        *part             `json:"config"`
		Layers        []*part           `json:"layers"`
		Subject       *part             `json:"subject,omitempty"`
		Annotations   map[string]string `json:"annotations"`
	}{2, manifestType, of(configKind, config), []*part{of(layerKind, layer)}, subject, map[string]string{"from": "the test"}})
	w.ok(err)
	ref := release.ManifestRef{Digest: digest.SHA256(body)}
	if tag != "" {
		ref.Tags = []string{tag}
	}
	res, err := w.svc.PutManifest(w.ctx, oci, repo, ref, manifestType, body)
	w.ok(err)
	return res.Digest
}

// putChart pushes a chart as Helm does.
func (w *world) putChart(project, name, version string) string {
	w.Helper()
	config := fmt.Appendf(nil, `{"name":%q,"version":%q,"apiVersion":"v2"}`, name, version)
	return w.put(project+"/"+name, chart.TagFor(version), nil, configType, config, chartType, charttest.Build(w, name, version, nil))
}

// findings examines the whole database against its log.
func (w *world) findings() (out []string) {
	w.Helper()
	keys := verifiers(w)
	_, releases := keys(custody.Releases)
	_, audits := keys(custody.Audits)
	e := &release.Examination{
		Stored: w.store, Blobs: w.blobs, Projects: w.store.AllProjects, Origin: storetest.Origin, LogKeys: releases, AuditKeys: audits,
		Find: func(f release.Finding) error {
			out = append(out, f.Key+": "+f.Message)
			return nil
		},
	}
	w.ok(e.Run(w.ctx, &release.ScrubState{}))
	return out
}

// tables are what must come back, byte for byte, as queries that name things by
// their names. Left out are numbers that the database gave, generations, and
// where requests came from.
var tables = []struct{ name, query string }{
	{"project", "SELECT name, kind, public, state, policy, policy_digest, artifacthub, created, created_by FROM project ORDER BY name"},
	{"release", "SELECT r.id, p.name, r.chart, r.version, r.version_key, r.sort_key, r.tag, r.file, r.archive, r.size, r.content, r.manifest, r.config, r.publisher, r.door, r.time, r.legacy, r.fragment, r.state, r.provenance, r.yank_reason, r.yank_text, r.yank_by, r.yank_time, r.yank_index FROM release r JOIN project p ON p.id = r.project ORDER BY r.id"},
	{"manifest", "SELECT o.name, m.digest, m.media_type, m.artifact_type, m.subject, m.annotations, m.bytes, m.visible FROM manifest m JOIN repository o ON o.id = m.repository ORDER BY o.name, m.digest"},
	{"tag", "SELECT o.name, t.name, t.digest, t.release, t.hidden FROM tag t JOIN repository o ON o.id = t.repository ORDER BY o.name, t.name"},
	{"link", "SELECT o.name, l.digest, l.size, l.small FROM link l JOIN repository o ON o.id = l.repository ORDER BY o.name, l.digest"},
	{"blob", "SELECT digest, bytes FROM blob ORDER BY digest"},
	{"leaf", "SELECT log, idx, hash, entry FROM leaf ORDER BY log, idx"},
	{"tile", "SELECT log, level, n, hashes, root FROM tile ORDER BY log, level, n"},
	{"head", "SELECT log, size, root, checkpoint FROM head ORDER BY log"},
	{"audit", "SELECT idx, time, action, outcome, project, chart, version, actor FROM audit ORDER BY idx"},
	{"quarantine", "SELECT release, before, open, ending, reason, text, time, idx, lapses, confirmed, ended FROM quarantine ORDER BY id"},
	{"tombstone", "SELECT release, reason, text, time, idx FROM tombstone ORDER BY release"},
	{"withheld", "SELECT o.name, w.digest, w.release FROM withheld w JOIN repository o ON o.id = w.repository ORDER BY o.name, w.digest"},
	{"late_provenance", "SELECT release, idx FROM late_provenance ORDER BY release"},
	{"policy_document", "SELECT d.digest, p.name, d.document FROM policy_document d JOIN project p ON p.id = d.project ORDER BY p.name, d.digest"},
	{"notice", "SELECT name, idx FROM notice ORDER BY name"},
}

// dump reads the tables of a database that is closed.
func (w *world) dump(dsn string) map[string][]string {
	w.Helper()
	driver, name := "sqlite", "file:"+dsn
	if w.postgres {
		driver, name = "pgx", dsn
	}
	db, err := sql.Open(driver, name)
	w.ok(err)
	defer db.Close()
	out := map[string][]string{}
	for _, table := range tables {
		rows, err := db.Query(table.query)
		w.ok(err)
		columns, err := rows.Columns()
		w.ok(err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			w.ok(rows.Scan(values...))
			var line strings.Builder
			for i, v := range values {
				value := *v.(*any)
				if b, ok := value.([]byte); ok {
					value = string(b)
				}
				fmt.Fprintf(&line, "%s=%q ", columns[i], fmt.Sprint(value))
			}
			out[table.name] = append(out[table.name], line.String())
		}
		w.ok(errors.Join(rows.Err(), rows.Close()))
	}
	return out
}
