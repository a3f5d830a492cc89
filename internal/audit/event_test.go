package audit

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
)

// TestNames: every constant of type Name is defined once, and every definition
// is that of a constant.
func TestNames(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "name.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[Name]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Name" {
			s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			constants[Name(s)] = true
		}
		return true
	})
	if len(constants) < 40 || len(constants) != len(Names()) || len(index) != len(constants) {
		t.Errorf("%d constants, %d definitions, %d of them different", len(constants), len(Names()), len(index))
	}
	for _, d := range Names() {
		if !constants[d.Name] {
			t.Errorf("%s is defined and not a constant", d.Name)
		}
		if !d.Name.wellFormed() || d.Description == "" {
			t.Errorf("%s is badly formed or not described", d.Name)
		}
		if d.Severity != Info && d.Severity != Notice && d.Severity != Alert {
			t.Errorf("%s has severity %q", d.Name, d.Severity)
		}
		if d.Alerts != (d.Severity == Alert) {
			t.Errorf("%s: severity %s, raises an alert: %v", d.Name, d.Severity, d.Alerts)
		}
		if got, ok := d.Name.Definition(); !ok || got != d {
			t.Errorf("%s: %+v", d.Name, got)
		}
		if strings.Contains(string(d.Name), "refused") && d.Severity == "" {
			t.Errorf("%s", d.Name)
		}
	}
	for _, n := range []Name{RefusedOverwrite, DeleteRefused, IntegrityMismatch, LogRollback} {
		if d, _ := n.Definition(); !d.Alerts {
			t.Errorf("%s raises no alert", n)
		}
	}
	if _, ok := Name("release.overwritten").Definition(); ok {
		t.Error("a release can be overwritten")
	}
}

// TestDocument keeps the table in docs/audit.md equal to the definitions.
func TestDocument(t *testing.T) {
	file := filepath.FromSlash("../../docs/audit.md")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| event | what happened | severity | raises an alert |\n| --- | --- | --- | --- |\n")
	for _, d := range Names() {
		alerts := ""
		if d.Alerts {
			alerts = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Description, d.Severity, alerts)
	}
	head, rest, ok := strings.Cut(string(doc), "<!-- events -->\n")
	got, tail, ok2 := strings.Cut(rest, "<!-- /events -->")
	if !ok || !ok2 {
		t.Fatal("docs/audit.md has no block of events")
	}
	if got != b.String() {
		if !*update {
			t.Fatalf("the events of docs/audit.md are out of date (run with -update); want\n%s", b.String())
		}
		if err := os.WriteFile(file, []byte(head+"<!-- events -->\n"+b.String()+"<!-- /events -->"+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewID(t *testing.T) {
	tests := []struct {
		ms     int64
		random []byte
		want   string
	}{
		{0, make([]byte, 10), "00000000000000000000000000"},
		{1469918176385, make([]byte, 10), "01ARYZ6S410000000000000000"}, // the time in the specification's example
		{1<<48 - 1, bytes.Repeat([]byte{0xff}, 10), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"},
		{1, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 33}, "00000000010000000000000011"},
	}
	for _, tt := range tests {
		got, err := NewID(time.UnixMilli(tt.ms), bytes.NewReader(tt.random))
		if err != nil || got != tt.want || !validID(got) {
			t.Errorf("NewID(%d) = %s, %v; want %s", tt.ms, got, err, tt.want)
		}
	}
	for _, ms := range []int64{-1, 1 << 48} {
		if id, err := NewID(time.UnixMilli(ms), bytes.NewReader(make([]byte, 10))); err == nil {
			t.Errorf("%d ms gives %s", ms, id)
		}
	}
	if _, err := NewID(time.UnixMilli(1), bytes.NewReader(make([]byte, 9))); err == nil {
		t.Error("short randomness gives an id")
	}
	last := ""
	for ms := int64(1); ms < 1<<47; ms *= 3 {
		id, err := NewID(time.UnixMilli(ms), bytes.NewReader(make([]byte, 10)))
		if err != nil || id <= last {
			t.Errorf("%s does not sort after %s (%v)", id, last, err)
		}
		last = id
	}
}

func TestSource(t *testing.T) {
	s := Source{IP: "192.0.2.7", UserAgent: "helm/4.3.1\r\nX: y"}
	salt := [16]byte{1, 2, 3}
	// printf 'chartkeep/audit/source/v1\n01020300000000000000000000000000\n192.0.2.7\nhelm/4.3.1..X: y\n' | sha256sum
	const want = "sha256:790949de8938ae3be092c6af1ed6852062a64988aa3c10a997c0232c6bf7510b"
	if got := s.Commit(salt); got != want {
		t.Errorf("commitment %s, want %s", got, want)
	}
	if s.Commit(salt) == s.Commit([16]byte{1}) || s.Commit(salt) == (Source{IP: "192.0.2.8", UserAgent: s.UserAgent}).Commit(salt) {
		t.Error("the commitment does not bind")
	}
	if s.Bound() != s.Bound().Bound() || s.Bound().Commit(salt) != want {
		t.Error("what is kept does not match what was committed to")
	}
	long := Source{IP: strings.Repeat("1", 1000), UserAgent: strings.Repeat("é", 1000) + "\xff"}.Bound()
	if len(long.IP) != 64 || len(long.UserAgent) != maxUserAgent {
		t.Errorf("bounds: %d, %d", len(long.IP), len(long.UserAgent))
	}
	if (Source{UserAgent: "a\xffb"}).Bound().UserAgent != "a\ufffdb" {
		t.Error("invalid text is kept")
	}
}

func TestActorOf(t *testing.T) {
	got := ActorOf(access.Principal{ID: "usr-1", Name: "ann", Kind: access.KindUser, Issuer: "https://issuer.example", TokenID: "tok-1"})
	want := Actor{Kind: access.KindUser, ID: "usr-1", Name: "ann", Issuer: "https://issuer.example", TokenID: "tok-1"}
	if got != want {
		t.Errorf("got %+v", got)
	}
	if a := ActorOf(access.Principal{}); a.Kind != access.KindAnonymous {
		t.Errorf("the zero principal is %+v", a)
	}
}

func TestAlertKey(t *testing.T) {
	e := full()
	key := e.AlertKey()
	same := e
	same.ID, same.Time, same.After, same.RequestID = "x", e.Time.Add(time.Hour), "y", "z"
	if key == "" || same.AlertKey() != key {
		t.Errorf("the same again: %q, %q", key, same.AlertKey())
	}
	for name, f := range map[string]func(*Event){
		"name":    func(e *Event) { e.Name = DeleteRefused },
		"project": func(e *Event) { e.Resource.Project = "x" },
		"chart":   func(e *Event) { e.Resource.Chart = "x" },
		"version": func(e *Event) { e.Resource.Version = "x" },
		"actor":   func(e *Event) { e.Actor.ID = "x" },
		"shifted": func(e *Event) { e.Resource.Chart, e.Resource.Version = `web" "1.4.2`, "" },
	} {
		other := e
		f(&other)
		if other.AlertKey() == key {
			t.Errorf("another %s has the same key", name)
		}
	}
	e.Name = ReleaseAccepted
	if e.AlertKey() != "" {
		t.Error("an accepted release raises an alert")
	}
}
