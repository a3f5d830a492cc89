// Package chartkeep_test keeps the house in order: which room may know which,
// what the bottom rooms may not do, which dependencies there are and why, and
// how large things may grow. It reads source files and builds nothing.
package chartkeep_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const module = "github.com/chartkeep/chartkeep"

// rooms says what each room may import of this module: the drawing in
// ARCHITECTURE.md. A name covers the folders below it; the longest name that
// fits a package is its room. Tests are free, but for the bottom rooms.
var rooms = map[string][]string{
	"cmd/chartkeep":        {"internal/cli"},
	"internal/cli":         {"internal/signer", "internal/monitor", "internal/custody", "internal/witness", "internal/calendar", "internal/upgrade", "internal/decision", "internal/advisory", "internal/notes", "internal/manifest", "internal/daemon", "client", "internal/release", "internal/watch", "internal/remote", "internal/deployment", "internal/upstream", "internal/signature", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/daemon":      {"internal/durable", "internal/signer", "internal/custody", "internal/history", "internal/calendar", "internal/upgrade", "internal/decision", "internal/advisory", "internal/notes", "internal/manifest", "internal/server", "internal/store", "internal/remote", "internal/release", "internal/watch", "internal/deployment", "internal/upstream", "internal/signature", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/index", "internal/problem"},
	"client":               {"internal/signature", "internal/chart", "internal/tlog", "internal/access", "internal/digest", "internal/problem"},
	"internal/server":      {"internal/calendar", "internal/upgrade", "internal/decision", "internal/advisory", "internal/notes", "internal/manifest", "internal/server", "internal/release", "internal/watch", "internal/deployment", "internal/upstream", "internal/index", "internal/signature", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/store":       {"internal/custody", "internal/calendar", "internal/upgrade", "internal/decision", "internal/advisory", "internal/notes", "internal/manifest", "internal/store", "internal/release", "internal/watch", "internal/deployment", "internal/upstream", "internal/index", "internal/signature", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/release":     {"internal/index", "internal/signature", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/custody":     {"internal/release", "internal/index", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/remote":      {"internal/tlog", "internal/calendar", "internal/upgrade", "internal/decision", "internal/advisory", "internal/notes", "internal/manifest", "internal/remote", "internal/watch", "internal/deployment", "internal/upstream", "internal/chart", "internal/access", "internal/digest", "internal/problem"},
	"internal/witness":     {"internal/durable", "internal/server", "internal/history", "internal/tlog", "internal/problem"},
	"internal/signer":      {"internal/durable", "internal/server", "internal/tlog", "internal/problem"},
	"internal/watch":       {"internal/manifest", "internal/deployment", "internal/upstream", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/deployment":  {"internal/manifest", "internal/chart", "internal/digest", "internal/problem"},
	"internal/manifest":    {"internal/chart", "internal/digest", "internal/problem"},
	"internal/decision":    {"internal/problem"},
	"internal/advisory":    {"internal/chart", "internal/digest", "internal/problem"},
	"internal/notes/score": {"internal/notes"},
	"internal/notes":       {"internal/upstream", "internal/problem"},
	"internal/calendar":    {"internal/problem"},
	"internal/upgrade":     {"internal/watch", "internal/calendar", "internal/decision", "internal/advisory", "internal/notes", "internal/manifest", "internal/deployment", "internal/upstream", "internal/chart", "internal/tlog", "internal/access", "internal/audit", "internal/digest", "internal/problem"},
	"internal/index":       {"internal/chart", "internal/problem"},
	"internal/upstream":    {"internal/problem"},
	"internal/audit":       {"internal/access", "internal/problem"},
	"internal/access":      {"internal/problem"},
	"internal/chart":       {"internal/digest", "internal/problem"},
	"internal/monitor":     {"internal/durable", "client", "internal/history", "internal/chart", "internal/tlog", "internal/digest", "internal/problem"},
	"internal/history":     {"internal/chart", "internal/tlog", "internal/problem"},
	"internal/signature":   {"internal/chart", "internal/digest", "internal/problem"},
	"internal/tlog":        {"internal/digest", "internal/problem"},
	"internal/durable":     {"internal/problem"},
	"internal/digest":      {"internal/problem"},
	"internal/problem":     {},
}

// bottom rooms do no I/O, read no clock and start no goroutine.
var bottom = []string{"internal/chart", "internal/tlog", "internal/history", "internal/signature", "internal/access", "internal/audit", "internal/index", "internal/upstream", "internal/deployment", "internal/manifest", "internal/decision", "internal/advisory", "internal/notes", "internal/calendar", "internal/digest", "internal/problem"}

// kept from the bottom rooms: packages that reach outside the values given.
// context is allowed as an argument that is passed on; embed, since it reads when
// the program is built.
var outside = []string{
	"os", "net", "net/http", "database/sql", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand",
	"os/exec", "os/signal", "syscall", "io/ioutil", "path/filepath", "runtime", "testing", "plugin", "unsafe",
}

// modules are the direct dependencies and why each is there.
var modules = map[string]string{
	"github.com/Masterminds/semver/v3":                  "SemVer ranges as Helm reads them, for constraint matching and imported history",
	"github.com/ProtonMail/go-crypto":                   "OpenPGP: the signatures of provenance files",
	"github.com/coreos/go-oidc/v3":                      "OpenID Connect: discovery, key sets, ID tokens of pipelines and people",
	"github.com/go-jose/go-jose/v4":                     "reading a token's claims before its key is fetched, and the issuer of tests",
	"github.com/sigstore/protobuf-specs":                "the types of a sigstore bundle",
	"github.com/secure-systems-lab/go-securesystemslib": "DSSE envelopes, by which tests make what the verifier reads",
	"github.com/sigstore/sigstore":                      "signers of tests: another program's hand",
	"google.golang.org/protobuf":                        "sigstore bundles in JSON, in tests",
	"github.com/sigstore/sigstore-go":                   "keyless sigstore bundles: certificate, log entry and time stamps against a given trusted root",
	"golang.org/x/oauth2":                               "the authorization code flow with PKCE, for people who sign in",
	"github.com/google/go-cmp":                          "differences in tests that a person can read",
	"github.com/jackc/pgx/v5":                           "PostgreSQL",
	"github.com/klauspost/compress":                     "inflate and deflate at twice the standard speed, for archives and the index",
	"github.com/mmcdole/gofeed":                         "Atom, RSS and JSON feeds of upstreams",
	"github.com/pandatix/go-cvss":                       "CVSS v2 to v4: vectors, scores and ratings",
	"github.com/prometheus/client_golang":               "metrics",
	"github.com/robfig/cron/v3":                         "five-field schedules of change windows, as Argo CD writes them",
	"github.com/rogpeppe/go-internal":                   "text scripts as tests of the command line",
	"github.com/spf13/cobra":                            "command line with completions",
	"github.com/spf13/pflag":                            "flags of cobra's commands, registered from option structs",
	"github.com/teambition/rrule-go":                    "recurring change windows (RFC 5545)",
	"github.com/transparency-dev/formats":               "the C2SP proof file",
	"github.com/yuin/goldmark":                          "Markdown of release notes as a tree",
	"go.yaml.in/yaml/v3":                                "YAML with positions: Chart.yaml and the configuration",
	"golang.org/x/crypto":                               "argon2id for passwords",
	"golang.org/x/mod":                                  "sumdb/note and sumdb/tlog: signed notes and Merkle proofs",
	"golang.org/x/term":                                 "passwords without echo, width of the terminal",
	"helm.sh/helm/v4":                                   "Helm's own engine: rendering as Helm does, and its storage",
	"oras.land/oras-go/v2":                              "outbound OCI: token flow, tags, manifests, blobs of upstream registries",
	"k8s.io/apimachinery":                               "errors and types of the API of clusters",
	"k8s.io/client-go":                                  "kubeconfig and the API of clusters whose deployments are read",
	"modernc.org/sqlite":                                "SQLite without cgo",
	"sigs.k8s.io/yaml":                                  "Helm's own YAML reader: values as Helm reads them, and the oracle of tests",
}

// source is one parsed Go file of the product.
type source struct {
	path string // with slashes, from the root
	dir  string
	test bool
	file *ast.File
	fset *token.FileSet
}

func sources(t *testing.T, mode parser.Mode) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if d.IsDir() {
			if path == "e2e" || path == "tools" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != "." {
				return fs.SkipDir // modules of their own, and what is no source
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, mode)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		test := strings.HasSuffix(path, "_test.go") || strings.HasSuffix(dir, "test") || strings.Contains(dir, "test/")
		out = append(out, source{path: path, dir: dir, test: test, file: f, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 100 {
		t.Fatalf("found %d Go files: the walk is broken", len(out))
	}
	return out
}

// room is the longest name in rooms that covers a folder.
func room(dir string) string {
	best := ""
	for r := range rooms {
		if (dir == r || strings.HasPrefix(dir, r+"/")) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

func imports(s *source) []string {
	var out []string
	for _, i := range s.file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		out = append(out, path)
	}
	return out
}

func TestArrowsRunDownwards(t *testing.T) {
	for _, s := range sources(t, parser.ImportsOnly) {
		from := room(s.dir)
		if s.dir == "." {
			continue
		}
		if from == "" {
			t.Errorf("%s is in no room: add its folder to the drawing in ARCHITECTURE.md and to the table here", s.path)
			continue
		}
		for _, path := range imports(&s) {
			inner, ok := strings.CutPrefix(path, module+"/")
			if !ok || s.test || strings.HasSuffix(inner, "test") {
				continue
			}
			to := room(inner)
			if to != from && !slices.Contains(rooms[from], to) {
				t.Errorf("%s: room %s may not know %s", s.path, from, inner)
			}
			// Doors and stores know what they share, not each other.
			if to == from && strings.Count(from, "/") == 1 && (from == "internal/server" || from == "internal/store") &&
				inner != from && s.dir != inner && !strings.HasPrefix(s.dir, inner) {
				t.Errorf("%s: %s and %s are neighbours and may not know each other", s.path, s.dir, inner)
			}
		}
	}
}

func TestBottomRoomsTouchNothing(t *testing.T) {
	for _, s := range sources(t, parser.SkipObjectResolution) {
		if s.test || !slices.Contains(bottom, room(s.dir)) {
			continue
		}
		for _, path := range imports(&s) {
			if slices.Contains(outside, path) {
				t.Errorf("%s imports %s", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", s.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep", "NewTimer", "Tick"}, n.Sel.Name) {
					t.Errorf("%s reads the clock", s.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func TestDependenciesHaveReasons(t *testing.T) {
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	f, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, r := range f.Require {
		if r.Indirect {
			continue
		}
		direct[r.Mod.Path] = true
		if modules[r.Mod.Path] == "" {
			t.Errorf("%s is a direct dependency without a reason in the table of this test", r.Mod.Path)
		}
	}
	for m := range modules {
		if !direct[m] {
			t.Errorf("%s has a reason and is no direct dependency", m)
		}
	}
	if len(f.Replace) > 0 {
		t.Error("go.mod replaces modules; go install would not work")
	}
}

// Limits of size. What grows beyond them wants to be two things.
const (
	maxFile     = 600
	maxFunction = 80
)

func TestShape(t *testing.T) {
	documented, packages := map[string]bool{}, map[string]string{}
	for _, s := range sources(t, parser.ParseComments|parser.SkipObjectResolution) {
		for _, part := range strings.Split(s.dir, "/") {
			if slices.Contains([]string{"util", "utils", "common", "helpers", "misc", "base", "shared", "models", "types", "pkg"}, part) {
				t.Errorf("%s: a folder named %s says nothing of what is in it", s.path, part)
			}
		}
		if !strings.HasSuffix(s.path, "_test.go") {
			packages[s.dir] = s.path
			documented[s.dir] = documented[s.dir] || s.file.Doc != nil
		}
		if s.test {
			continue
		}
		if n := s.fset.Position(s.file.End()).Line; n > maxFile {
			t.Errorf("%s has %d lines, %d are allowed", s.path, n, maxFile)
		}
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s: no init functions", s.fset.Position(fn.Pos()))
			}
			if n := s.fset.Position(fn.End()).Line - s.fset.Position(fn.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%s: %s has %d lines, %d are allowed", s.fset.Position(fn.Pos()), fn.Name.Name, n, maxFunction)
			}
		}
	}
	for dir, path := range packages {
		if !documented[dir] {
			t.Errorf("package %s has no package comment (%s)", dir, path)
		}
	}
}

// Migrations are append-only: a text that some database ran may not change.
var migrationSums = map[string]string{
	"0001_registry.sql":  "9e57521da455435c1e3e6a92b33bc5316891417ed5423a8fba8dfa581feb856d",
	"0002_watch.sql":     "94456034591c627878c6bdc37aa609dbb588f510615ed77280efa9cbb588ff8d",
	"0003_judge.sql":     "7c7ed172c14824ccebb77dc62f133fb3d0034d647fbfb46860e2c49e1618bc3f",
	"0004_witness.sql":   "2cde8bdcb55982247d9e0096eb62141e3739df6e5aa75bbe6c2e2e48d6a43cf6",
	"0005_custody.sql":   "450a1b7d7a0387caec2b66f1b48e19fd7db6431c0a78742c675affe27730f6be",
	"0006_scrub.sql":     "487e1b32397b03315578b4a195ffd146b31f3931e9bfc5391bb22084eae54af4",
	"0007_signing.sql":   "92e8ec6b5e93bbd6ebf5693f2a51d6e3d829254a96f53a2b0b7644075501583e",
	"0008_publisher.sql": "e3f6af5ee561087c658c7d03c9f1d0d0c6793403350be58701a27f6cc906589e",
	"0009_protect.sql":   "9dbc6e4e586ceecbacaa4498fd7fdc4d30ffbe00ec64f818598bd1d6aff6da6f",
	"0010_alert.sql":     "7fc3649b307fe1f813ae6ad18f8e5c9d3431b85d9122d8adb3f9c9a29f28fd29",
	"0011_rotation.sql":  "a6017ee65689fb66c32150ada66db1348706b70edb4df7691acd5402b47e5742",
	"0012_tokens.sql":    "283f540d434641fdb3473fcf4c91e0b38720021488fec2fde4ab3f7a3b24f0ab",

	"0013_import_interval.sql": "ed011c93b947b271dd762e1c558e0b13f16f1f066c9ccf521ab2682c2a135a94",
	"0014_holders.sql":         "2310d05f06cf9bf5ea691bf288abd863025451bc7a3554af093acfad0842ec8e",
}

func TestMigrationsAreAppendOnly(t *testing.T) {
	const dir = "internal/store/sqlstore/migrations"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.Sum256(b)
		sum := hex.EncodeToString(h[:])
		if migrationSums[e.Name()] != sum {
			t.Errorf("migration %s has the sum %s and is recorded with %q: a released migration never changes, a new one is added to the table", e.Name(), sum, migrationSums[e.Name()])
		}
		seen++
	}
	if seen != len(migrationSums) {
		t.Errorf("%d migrations are recorded, %d are there", len(migrationSums), seen)
	}
	for i, e := range entries {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(e.Name(), want) {
			t.Errorf("migration %s does not follow its predecessor in number", e.Name())
		}
	}
}

// TestCommandLineBuildsOnWindows: whoever pulls and verifies may sit there. What
// other systems lack stands in files of its own; a build for each takes minutes,
// and this finds what breaks it.
func TestCommandLineBuildsOnWindows(t *testing.T) {
	windows := build.Default
	windows.GOOS, windows.CgoEnabled = "windows", false
	lacking := regexp.MustCompile(`syscall\.(Flock|Kill|Setpgid|Umask|Mkfifo|Sync|Stat_t|Statfs|Rusage|Credential)\b|Setpgid:|\bunix\.[A-Z]`)
	for _, root := range []string{"cmd", "client", "internal"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir() && (e.Name() == "storetest" || e.Name() == "testdata"): // not in the product
				return fs.SkipDir
			case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			if built, err := windows.MatchFile(filepath.Dir(path), e.Name()); err != nil || !built {
				return err
			}
			source, err := os.ReadFile(path)
			if found := lacking.Find(source); found != nil {
				t.Errorf("%s has %s, which Windows has not", path, found)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
