package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

var (
	someTime  = time.Date(2026, 3, 2, 10, 14, 0, 0, time.UTC)
	someDigit = "sha256:" + strings.Repeat("5a", 32)
)

// testLog is a log of one batch.
type testLog struct {
	skey, vkey string
	proofs     []tlog.Proof
}

// newLog logs the leaves under a key that depends on seed alone.
func newLog(t testing.TB, origin string, seed byte, leaves ...tlog.Leaf) testLog {
	t.Helper()
	var l testLog
	var err error
	if l.skey, l.vkey, err = tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), origin); err != nil {
		t.Fatal(err)
	}
	edge, err := tlog.NewEdge(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range leaves {
		text, err := leaf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.proofs = append(l.proofs, tlog.Proof{Index: edge.Size(), Leaf: text})
		edge.Append(tlog.LeafHash(text))
	}
	signer, err := tlog.NewSigner(l.skey)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := tlog.SignCheckpoint(origin, edge.Size(), edge.Root(), signer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.proofs {
		l.proofs[i].Checkpoint = checkpoint
		if l.proofs[i].Hashes, err = edge.Prove(int64(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func leafOf(t testing.TB, project string, archive, prov []byte) tlog.Release {
	t.Helper()
	a, err := chart.Open(bytes.NewReader(archive), chart.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	l := tlog.Release{
		Project: project, Chart: a.Metadata.Name, Version: a.Metadata.Version,
		Archive: a.Digest, Size: a.Size, Content: a.Content,
		Manifest: someDigit, Config: someDigit, Policy: someDigit,
		Publisher: tlog.Identity{Issuer: "local", Subject: "usr-1"}, Time: someTime,
	}
	if prov != nil {
		l.Provenance = digest.SHA256(prov)
	}
	return l
}

// provenanceFor is a provenance file in form only: its signature is none.
func provenanceFor(name, version, archiveDigest string) []byte {
	return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nname: %s\nversion: %s\n\n...\nfiles:\n  %s-%s.tgz: %s\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n=AAAA\n-----END PGP SIGNATURE-----\n",
		name, version, name, version, archiveDigest)
}

// fixture is a log that holds a release with and without provenance, a legacy
// release and a yank.
type fixture struct {
	log                 testLog
	web, other, old     []byte
	prov, lateProv      []byte
	webProof, otherMade []byte // files
	legacyProof, yanked []byte
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	var f fixture
	f.web = charttest.Build(t, "web", "1.4.2", nil)
	f.other = charttest.Build(t, "web", "1.4.3", nil)
	f.old = charttest.Build(t, "web", "v0.9.0", nil)
	f.prov = provenanceFor("web", "1.4.2", digest.SHA256(f.web))
	f.lateProv = provenanceFor("web", "1.4.3", digest.SHA256(f.other))
	web, other := leafOf(t, "demo", f.web, f.prov), leafOf(t, "demo", f.other, nil)
	legacy := tlog.Legacy{Release: leafOf(t, "demo", f.old, nil), Origin: "https://old.example.test/charts", SeenDigest: digest.SHA256(f.old)}
	yank := tlog.Yank{Index: 0, Project: "demo", Chart: "web", Version: "1.4.2", Reason: "broken", Publisher: web.Publisher, Time: someTime}
	f.log = newLog(t, "log.example.test", 7, web, other, legacy, yank)
	f.webProof, f.otherMade = f.log.proofs[0].Marshal(), f.log.proofs[1].Marshal()
	f.legacyProof, f.yanked = f.log.proofs[2].Marshal(), f.log.proofs[3].Marshal()
	return f
}

// changed is a copy with one byte changed at i, from the end if i is negative.
func changed(b []byte, i int) []byte {
	c := bytes.Clone(b)
	if i < 0 {
		i += len(c)
	}
	c[i] ^= 1
	return c
}

// reproof rewrites the web proof.
func (f fixture) reproof(change func(*tlog.Proof)) []byte {
	p := f.log.proofs[0]
	p.Hashes = append([]tlog.Hash(nil), p.Hashes...)
	change(&p)
	return p.Marshal()
}

func TestVerify(t *testing.T) {
	f := newFixture(t)
	foreign := newLog(t, "other.example.test", 8, leafOf(t, "demo", f.web, nil))
	sameName := newLog(t, "log.example.test", 9, leafOf(t, "demo", f.web, nil))
	lying := leafOf(t, "demo", f.web, nil)
	lying.Content = someDigit
	liar := newLog(t, "log.example.test", 7, lying)
	misnamed := leafOf(t, "demo", f.web, nil)
	misnamed.Version = "9.9.9"
	misnamer := newLog(t, "log.example.test", 7, misnamed)

	all := map[string]Outcome{CheckDigest: Pass, CheckContent: Pass, CheckName: Pass, CheckInclusion: Pass, CheckSignature: Pass, CheckTime: Pass}
	with := func(changes map[string]Outcome) map[string]Outcome {
		m := map[string]Outcome{}
		for k, v := range all {
			m[k] = v
		}
		for k, v := range changes {
			m[k] = v
		}
		return m
	}
	blind := map[string]Outcome{CheckDigest: Unchecked, CheckContent: Unchecked, CheckName: Unchecked, CheckInclusion: Unchecked, CheckSignature: Unchecked}

	tests := []struct {
		name    string
		subject func(*Subject)
		want    map[string]Outcome // of the checks named; others may be there
		verdict Verdict
		detail  string // in some check
	}{
		{"whole", nil, with(map[string]Outcome{CheckProject: Unchecked}), Passed, "none was asked for"},
		{"project asked", func(s *Subject) { s.Asked.Project = "demo" }, with(map[string]Outcome{CheckProject: Pass}), Passed, "as was asked"},
		{"other project asked", func(s *Subject) { s.Asked.Project = "prod" }, with(map[string]Outcome{CheckProject: Fail}), Failed, "asked for prod"},
		{"reference asked", func(s *Subject) { s.Asked = Ref{"demo", "web", "1.4.2"} }, with(map[string]Outcome{CheckProject: Pass}), Passed, ""},
		{"other version asked", func(s *Subject) { s.Asked = Ref{"demo", "web", "1.4.3"} }, with(map[string]Outcome{CheckName: Fail}), Failed, "asked for web 1.4.3"},
		{"other chart asked", func(s *Subject) { s.Asked = Ref{"demo", "db", "1.4.2"} }, with(map[string]Outcome{CheckName: Fail}), Failed, "asked for db 1.4.2"},
		{"provenance not at hand", nil, with(map[string]Outcome{CheckProvenance: Unchecked}), Passed, "no file of it"},
		{"with provenance", func(s *Subject) { s.Provenance = f.prov }, with(map[string]Outcome{CheckProvenance: Pass}), Passed, ""},
		{"tampered provenance", func(s *Subject) { s.Provenance = changed(f.prov, -40) }, with(map[string]Outcome{CheckProvenance: Fail}), Failed, ""},
		{"late provenance", func(s *Subject) { s.Archive, s.Proof, s.Provenance = bytes.NewReader(f.other), f.otherMade, f.lateProv },
			with(map[string]Outcome{CheckProvenance: Unchecked}), Passed, "came later"},
		{"late provenance of another", func(s *Subject) { s.Archive, s.Proof, s.Provenance = bytes.NewReader(f.other), f.otherMade, f.prov },
			with(map[string]Outcome{CheckProvenance: Fail}), Failed, ""},
		{"late provenance that is none", func(s *Subject) {
			s.Archive, s.Proof, s.Provenance = bytes.NewReader(f.other), f.otherMade, []byte("hello")
		}, with(map[string]Outcome{CheckProvenance: Unchecked}), Incomplete, ""},
		{"legacy", func(s *Subject) { s.Archive, s.Proof = bytes.NewReader(f.old), f.legacyProof }, all, Passed, "v0.9.0"},

		{"tampered file", func(s *Subject) { s.Archive = bytes.NewReader(changed(f.web, 40)) },
			map[string]Outcome{CheckDigest: Fail, CheckContent: Unchecked, CheckName: Unchecked, CheckInclusion: Pass, CheckSignature: Pass}, Failed, "is not opened"},
		{"truncated file", func(s *Subject) { s.Archive = bytes.NewReader(f.web[:100]) }, map[string]Outcome{CheckDigest: Fail}, Failed, ""},
		{"empty file", func(s *Subject) { s.Archive = bytes.NewReader(nil) }, map[string]Outcome{CheckDigest: Fail}, Failed, ""},
		{"other release's proof", func(s *Subject) { s.Proof = f.otherMade }, map[string]Outcome{CheckDigest: Fail, CheckInclusion: Pass, CheckSignature: Pass}, Failed, ""},
		{"proof of a yank", func(s *Subject) { s.Proof = f.yanked }, map[string]Outcome{CheckDigest: Unchecked, CheckInclusion: Pass, CheckSignature: Pass}, Incomplete, "which is no release"},
		{"log that lies about the files", func(s *Subject) { s.Proof = liar.proofs[0].Marshal() }, with(map[string]Outcome{CheckContent: Fail}), Failed, ""},
		{"log that names another version", func(s *Subject) { s.Proof = misnamer.proofs[0].Marshal() }, with(map[string]Outcome{CheckName: Fail}), Failed, "Chart.yaml says web 1.4.2"},

		{"tampered leaf", func(s *Subject) {
			s.Proof = f.reproof(func(p *tlog.Proof) { p.Leaf = bytes.Replace(p.Leaf, []byte("demo"), []byte("prod"), 1) })
		}, with(map[string]Outcome{CheckInclusion: Fail}), Failed, ""},
		{"leaf that is none", func(s *Subject) { s.Proof = f.reproof(func(p *tlog.Proof) { p.Leaf = []byte("hello\n") }) },
			map[string]Outcome{CheckDigest: Unchecked, CheckInclusion: Fail}, Failed, "cannot be read"},
		{"tampered hash", func(s *Subject) { s.Proof = f.reproof(func(p *tlog.Proof) { p.Hashes[1][3] ^= 1 }) }, with(map[string]Outcome{CheckInclusion: Fail}), Failed, ""},
		{"missing hash", func(s *Subject) { s.Proof = f.reproof(func(p *tlog.Proof) { p.Hashes = p.Hashes[:1] }) }, with(map[string]Outcome{CheckInclusion: Fail}), Failed, ""},
		{"tampered index", func(s *Subject) { s.Proof = f.reproof(func(p *tlog.Proof) { p.Index = 1 }) }, with(map[string]Outcome{CheckInclusion: Fail}), Failed, ""},
		{"tampered checkpoint", func(s *Subject) {
			s.Proof = f.reproof(func(p *tlog.Proof) { p.Checkpoint = bytes.Replace(p.Checkpoint, []byte("\n4\n"), []byte("\n5\n"), 1) })
		}, with(map[string]Outcome{CheckInclusion: Fail, CheckSignature: Fail}), Failed, ""},
		{"checkpoint that is none", func(s *Subject) {
			s.Proof = f.reproof(func(p *tlog.Proof) { p.Checkpoint = []byte("log.example.test\n4\nx\n\n— a b\n") })
		}, with(map[string]Outcome{CheckInclusion: Unchecked, CheckSignature: Unchecked}), Incomplete, ""},
		{"truncated proof", func(s *Subject) { s.Proof = f.webProof[:60] }, blind, Incomplete, "the proof cannot be read"},
		{"empty proof", func(s *Subject) { s.Proof = []byte{} }, blind, Incomplete, ""},
		{"no proof", func(s *Subject) { s.Proof = nil }, blind, Incomplete, "there is no proof"},
		{"no proof, all asked", func(s *Subject) { s.Proof, s.Provenance, s.Asked.Project = nil, f.prov, "demo" },
			map[string]Outcome{CheckProject: Unchecked, CheckProvenance: Unchecked}, Incomplete, ""},

		{"no key", func(s *Subject) { s.LogKey = "" }, with(map[string]Outcome{CheckSignature: Unchecked}), Incomplete, "would prove nothing"},
		{"key of another log", func(s *Subject) { s.LogKey = foreign.vkey }, with(map[string]Outcome{CheckSignature: Fail}), Failed, "another log"},
		{"other key of the same name", func(s *Subject) { s.LogKey = sameName.vkey }, with(map[string]Outcome{CheckSignature: Fail}), Failed, "not signed by"},
		{"other log's proof of the same release", func(s *Subject) { s.Proof = sameName.proofs[0].Marshal() }, with(map[string]Outcome{CheckSignature: Fail}), Failed, ""},

		{"clock behind within bounds", func(s *Subject) { s.Now = someTime.Add(-clockSkew) }, all, Passed, ""},
		{"clock far behind", func(s *Subject) { s.Now = someTime.Add(-clockSkew - time.Second) }, with(map[string]Outcome{CheckTime: Unchecked}), Incomplete, "clocks"},
		{"yanked", func(s *Subject) {
			s.Server = &Release{Yank: &Yank{Reason: "broken", Text: "loses data", By: "usr-1", Time: someTime}}
		}, with(map[string]Outcome{CheckYank: Unchecked}), Passed, "yanked 2026-03-02T10:14:00Z by usr-1: broken, loses data"},
		{"not yanked", func(s *Subject) { s.Server = &Release{} }, with(map[string]Outcome{CheckYank: Unchecked}), Passed, "not yanked"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Subject{Archive: bytes.NewReader(f.web), Proof: f.webProof, LogKey: f.log.vkey + "\n", Now: someTime.Add(time.Hour)}
			if tt.subject != nil {
				tt.subject(&s)
			}
			got, err := Verify(s)
			if err != nil {
				t.Fatal(err)
			}
			found, seen := map[string]Check{}, ""
			for _, c := range got.Checks {
				if _, twice := found[c.Name]; twice {
					t.Errorf("check %s is listed twice", c.Name)
				}
				if c.Detail == "" {
					t.Errorf("check %s has no detail", c.Name)
				}
				found[c.Name] = c
				seen += c.Detail + "\n"
			}
			for name, want := range tt.want {
				if c, ok := found[name]; !ok || c.Result != want {
					t.Errorf("check %s is %q (%s), want %q", name, c.Result, c.Detail, want)
				}
			}
			if got.Verdict != tt.verdict {
				t.Errorf("verdict %q, want %q", got.Verdict, tt.verdict)
			}
			if !strings.Contains(seen, tt.detail) {
				t.Errorf("no check says %q:\n%s", tt.detail, seen)
			}
		})
	}
}

// Every single bit of a proof counts: none can be changed so that all is well.
func TestVerifyProofBits(t *testing.T) {
	f := newFixture(t)
	for i := range f.webProof {
		s := Subject{Archive: bytes.NewReader(f.web), Proof: changed(f.webProof, i), LogKey: f.log.vkey, Now: someTime}
		got, err := Verify(s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict == Passed {
			t.Fatalf("with byte %d of the proof changed the verdict is pass:\n%s", i, s.Proof)
		}
	}
}

func TestVerifyLogged(t *testing.T) {
	f := newFixture(t)
	got, err := Verify(Subject{Archive: bytes.NewReader(f.old), Proof: f.legacyProof, LogKey: f.log.vkey, Now: someTime})
	if err != nil {
		t.Fatal(err)
	}
	l := got.Logged
	if l == nil || !l.Legacy() || l.SeenAt != "https://old.example.test/charts" || l.SeenDigest != got.Digest || l.Index != 2 || l.LogSize != 4 || l.Origin != "log.example.test" {
		t.Errorf("logged %+v", l)
	}
	if l.Publisher != "usr-1" || !l.Time.Equal(someTime) || l.Project != "demo" || l.Version != "v0.9.0" {
		t.Errorf("logged %+v", l)
	}
}

func TestVerifyKeyThatIsNone(t *testing.T) {
	_, err := Verify(Subject{Archive: bytes.NewReader(nil), LogKey: "hello"})
	if p, ok := problem.As(err); !ok || p.Rule != "log-key" {
		t.Errorf("error %v, want rule log-key", err)
	}
}

func TestClientVerify(t *testing.T) {
	f := newFixture(t)
	served := f.web
	rel := Release{Project: "demo", Chart: "web", Version: "1.4.2", File: "web-1.4.2.tgz", Digest: digest.SHA256(f.web), Provenance: digest.SHA256(f.prov)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/projects/demo/-/charts/web/releases/1.4.2", "/api/v1/projects/demo/-/charts/web/releases/latest":
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(struct {
				Schema string `json:"schema"`
				Release
				Proof string `json:"proof"`
			}{"release-detail/v1", rel, string(f.webProof)})
		case "/demo/charts/web-1.4.2.tgz":
			_, _ = w.Write(served)
		case "/demo/charts/web-1.4.2.tgz.prov":
			_, _ = w.Write(f.prov)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	c, err := New(srv.URL, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(ref Ref, key string) (Verification, error) {
		return c.Verify(context.Background(), ref, key, someTime)
	}
	for _, version := range []string{"1.4.2", "latest", ""} {
		if got, err := verify(Ref{"demo", "web", version}, f.log.vkey); err != nil || got.Verdict != Passed {
			t.Errorf("version %q: %+v, %v", version, got, err)
		}
	}
	if got, err := verify(Ref{"demo", "web", "1.4.2"}, ""); err != nil || got.Verdict != Incomplete {
		t.Errorf("without a key: %+v, %v", got, err)
	}
	served = changed(f.web, 50)
	if got, err := verify(Ref{"demo", "web", "1.4.2"}, f.log.vkey); err != nil || got.Verdict != Failed {
		t.Errorf("with other bytes: %+v, %v", got, err)
	}
	if _, err := verify(Ref{"demo", "web", "1.4.9"}, f.log.vkey); problem.KindOf(err) != problem.NotFound {
		t.Errorf("of a release that there is not: %v", err)
	}
}

func TestParseRef(t *testing.T) {
	for in, want := range map[string]Ref{
		"demo/web":                 {"demo", "web", ""},
		"demo/web@1.4.2":           {"demo", "web", "1.4.2"},
		"team-a/web/api@1.0.0+b.1": {"team-a/web", "api", "1.0.0+b.1"},
		"demo/web@latest":          {"demo", "web", "latest"},
	} {
		got, err := ParseRef(in)
		if err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v", in, got, err)
		}
		if got.String() != in {
			t.Errorf("ParseRef(%q).String() = %q", in, got.String())
		}
	}
	for _, in := range []string{"", "web", "web@1.0.0", "/web", "demo/", "demo//web", "demo/web@", "demo/web@1@2", "demo/web@1/2", "oci://host/demo/web", "https://host/demo/web@1"} {
		if got, err := ParseRef(in); problem.KindOf(err) != problem.Invalid {
			t.Errorf("ParseRef(%q) = %+v, %v, want Invalid", in, got, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	x := newFixture(f)
	f.Add(x.web, x.webProof, x.prov)
	f.Add(x.old, x.legacyProof, []byte(nil))
	f.Add(x.other, x.yanked, x.lateProv)
	f.Add([]byte("x"), x.webProof[:80], []byte("y"))
	f.Fuzz(func(t *testing.T, archive, proof, prov []byte) {
		got, err := Verify(Subject{Archive: bytes.NewReader(archive), Proof: proof, Provenance: prov, LogKey: x.log.vkey, Now: someTime})
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict == Passed && !bytes.Equal(archive, x.web) && !bytes.Equal(archive, x.other) && !bytes.Equal(archive, x.old) {
			t.Fatal("an archive that was never logged passes")
		}
	})
}

func FuzzParseRef(f *testing.F) {
	f.Add("demo/web@1.4.2")
	f.Add("a//b@")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err == nil && r.String() != s {
			t.Fatalf("ParseRef(%q) is %q", s, r.String())
		}
	})
}
