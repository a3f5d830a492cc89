package advisory

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const ownMap = "images:\n- images: [registry.example.com/team/web]\n  components: [Helm/web]\n  why: ours\n"

// stored is a pack of each kind, as a store has it.
func stored(t testing.TB) (packs []Pack, bodies [][]byte) {
	t.Helper()
	for i, kind := range Kinds {
		files := []input{{"map.yaml", ownMap}}
		if kind != Components {
			files = fixtures(t, kind)
		}
		p, _ := mustImport(t, kind, files...)
		p = p.With(Snapshot{ID: int64(i + 1), Feed: "feed-" + string(kind), Taken: day(2026, 3, 1, i)})
		var b bytes.Buffer
		n, err := p.WriteTo(&b)
		if err != nil || n != int64(b.Len()) {
			t.Fatal(n, err)
		}
		packs, bodies = append(packs, p), append(bodies, b.Bytes())
	}
	return packs, bodies
}

func TestPack(t *testing.T) {
	packs, bodies := stored(t)
	for i, p := range packs {
		var again bytes.Buffer
		if _, err := p.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), bodies[i]) {
			t.Errorf("%s: one pack has two forms: %v", p.Snapshot().Kind, err)
		}
		q, err := OpenPack(iotest.OneByteReader(bytes.NewReader(bodies[i])), p.Snapshot(), DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, q, cmp.AllowUnexported(Pack{})); d != "" {
			t.Error(d)
		}
		text := unpacked(t, bodies[i])
		if got := digest.SHA256(text); got != p.Snapshot().Digest {
			t.Errorf("%s: the digest is not that of the text: %s", p.Snapshot().Kind, got)
		}
		if lines := bytes.Count(text, []byte("\n")); lines != p.Snapshot().Records+1 {
			t.Errorf("%s: %d lines for %d records", p.Snapshot().Kind, lines, p.Snapshot().Records)
		}
	}
}

// What a store hands out is what was imported, or is refused.
func TestPackThatIsNot(t *testing.T) {
	packs, bodies := stored(t)
	s := packs[0].Snapshot()
	flipped := bytes.Clone(bodies[0])
	flipped[len(flipped)/2] ^= 1
	other, kind, none := s, s, s
	other.Digest = packs[1].Snapshot().Digest
	kind.Kind = VEX
	none.Digest = ""
	for _, c := range []struct {
		name string
		body []byte
		s    Snapshot
	}{
		{"another pack", bodies[1], s},
		{"flipped", flipped, s},
		{"cut", bodies[0][:len(bodies[0])-9], s},
		{"empty", nil, s},
		{"text", []byte("hello"), s},
		{"another digest", bodies[0], other},
		{"another kind", bodies[0], kind},
		{"no digest", bodies[0], none},
		{"text that is named rightly", []byte(gz("hello\n")), Snapshot{Kind: OSV, Digest: digest.SHA256([]byte("hello\n"))}},
		{"lines are missing", []byte(gz(`{"format":"chartkeep/advisory-pack/v1","kind":"osv","records":1}` + "\n")), Snapshot{Kind: OSV, Digest: digest.SHA256([]byte(`{"format":"chartkeep/advisory-pack/v1","kind":"osv","records":1}` + "\n"))}},
	} {
		_, err := OpenPack(bytes.NewReader(c.body), c.s, DefaultLimits())
		if p, ok := problem.As(err); !ok || p.Kind != problem.Disproven || p.Rule != "advisory-pack" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	lim := DefaultLimits()
	lim.Kept = 100
	if _, err := OpenPack(strings.NewReader(gz(strings.Repeat("x", 1<<20))), s, lim); problem.KindOf(err) != problem.TooLarge {
		t.Error(err)
	}
	broken := errors.New("disk")
	if _, err := OpenPack(io.MultiReader(bytes.NewReader(bodies[0][:50]), iotest.ErrReader(broken)), s, DefaultLimits()); !errors.Is(err, broken) || problem.KindOf(err) != problem.Internal {
		t.Error(err)
	}
	if _, err := packs[0].WriteTo(failing{}); err == nil {
		t.Error("a write that failed is none")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestComponentsPack(t *testing.T) {
	p, faults := mustImport(t, Components, input{"README.md", "# Our map\n- [x]: {"}, input{"a.yaml", ownMap}, input{"b.yaml", ownMap})
	if p.Snapshot().Records != 1 || len(faults) != 1 || !strings.HasPrefix(flaw(faults), "README.md is no component map: ") {
		t.Errorf("%+v %s", p.Snapshot(), flaw(faults))
	}
	_, _, err := imports(Components, DefaultLimits(), input{"a.yaml", ownMap}, input{"b.yaml", strings.ReplaceAll(ownMap, "team", "other")})
	if p, ok := problem.As(err); !ok || p.Rule != "advisory-maps" {
		t.Error(err)
	}
}

// The digest of a pack is part of what users compare; it changes with the form only.
func TestDigestIsStable(t *testing.T) {
	p, _ := mustImport(t, OSV, input{"x", `{"id":"A","modified":"2026-01-01T00:00:00Z"}`})
	text := `{"format":"chartkeep/advisory-pack/v1","kind":"osv","records":1,"dated":"2026-01-01T00:00:00Z"}` + "\n" + `{"id":"A","modified":"2026-01-01T00:00:00Z"}` + "\n"
	if want := digest.SHA256([]byte(text)); p.Snapshot().Digest != want {
		t.Errorf("%s, want %s", p.Snapshot().Digest, want)
	}
	if p.Snapshot().Taken != (time.Time{}) {
		t.Error("a builder knows no time")
	}
}

func unpacked(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
