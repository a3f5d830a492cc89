package advisory

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Pack is one state of a feed: a line that says what it is, and a line for each
// record, sorted by id. The records are compact JSON as their publisher wrote
// them, but for CVE records, of which only what CISA says is kept, and
// advisories in GitHub's own form, which are turned into OSV's; EPSS has
// FIRST's rows. Its digest is the SHA-256 of these lines, whatever files, order
// and packing the records came in. A Pack is immutable.
type Pack struct {
	snapshot Snapshot
	lines    []string
}

// head is the first line of a pack.
type head struct {
	Format  string    `json:"format"`
	Kind    Kind      `json:"kind"`
	Records int       `json:"records"`
	Dated   time.Time `json:"dated,omitzero"`
	Model   string    `json:"model,omitempty"`
}

const (
	packFormat = "chartkeep/advisory-pack/v1"
	maxHead    = 4 << 10
)

// Snapshot is what is known of the pack. ID, Feed and Taken are what With set.
func (p Pack) Snapshot() Snapshot { return p.snapshot }

// With returns the pack as the snapshot of a feed: with the id, the name and
// the time of s.
func (p Pack) With(s Snapshot) Pack {
	p.snapshot.ID, p.snapshot.Feed, p.snapshot.Taken = s.ID, s.Feed, s.Taken
	return p
}

// write writes the lines.
func (p Pack) write(w io.Writer) error {
	s := p.snapshot
	line, err := json.Marshal(head{packFormat, s.Kind, s.Records, s.Dated, s.Model})
	if err != nil {
		return fmt.Errorf("write pack: %w", err) // a year that no record can have
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	buf := make([]byte, 0, 64<<10)
	for _, line := range p.lines {
		if buf = append(append(buf, line...), '\n'); len(buf) >= 32<<10 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	_, err = w.Write(buf)
	return err
}

func (p Pack) digest() string {
	h := sha256.New()
	_ = p.write(h) // no error: a hash never fails
	return digest.Of("sha256", h)
}

// WriteTo writes the pack, compressed with gzip. One pack gives the same bytes
// each time, by one version of the program; only the digest of what is in them
// is the pack's name.
func (p Pack) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	z := gzip.NewWriter(c)
	if err := p.write(z); err != nil {
		return c.n, err
	}
	return c.n, z.Close()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// OpenPack reads what WriteTo wrote. It must have the digest and the kind of s;
// anything else is a problem of kind Disproven with rule "advisory-pack", and
// one of kind TooLarge over the limits. Feed, id, time and faults are those of
// s. An error of r is returned wrapped.
func OpenPack(r io.Reader, s Snapshot, lim Limits) (Pack, error) {
	b := NewBuilder(s.Kind, Limits{Import: lim.Kept + lim.File + maxHead, File: lim.Kept + maxHead})
	stored := &meter{b: b, r: r, name: "the pack of " + s.Feed}
	inner := &meter{b: b, name: stored.name, form: "its gzip data", below: stored}
	z, err := gzip.NewReader(stored)
	if err == nil {
		inner.r = z
	} else {
		inner.err = inner.cause(err)
	}
	var text string
	if inner.err == nil {
		text, inner.err = b.text(inner, inner)
	}
	if inner.err != nil {
		if problem.KindOf(inner.err) == problem.Invalid {
			return Pack{}, notThePack(s).Because(inner.err)
		}
		return Pack{}, inner.err
	}
	first, rest, _ := strings.Cut(text, "\n")
	var h head
	if digest.SHA256([]byte(text)) != s.Digest || json.Unmarshal([]byte(first), &h) != nil || h.Format != packFormat || h.Kind != s.Kind {
		return Pack{}, notThePack(s)
	}
	s.Records, s.Dated, s.Model = h.Records, h.Dated, h.Model
	p := Pack{snapshot: s, lines: make([]string, 0, strings.Count(rest, "\n"))}
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		p.lines = append(p.lines, line)
	}
	if len(p.lines) != h.Records {
		return Pack{}, notThePack(s)
	}
	return p, nil
}

func notThePack(s Snapshot) *problem.Error {
	return problem.New(problem.Disproven, "advisory-pack", "what is stored of the feed %s is not what was imported", s.Feed).
		With("expected", "%s of kind %s", s.Digest, s.Kind).
		Suggest("import the feed again")
}

// Since counts the records that a pack has and an earlier one had not in this
// form, and those of the earlier one that it has no more in theirs: a record
// that changed is in both counts. Cost: linear in the two.
func (p Pack) Since(was Pack) (fresh, gone int) {
	left := make(map[string]int, len(was.lines))
	for _, l := range was.lines {
		left[l]++
	}
	for _, l := range p.lines {
		if left[l] > 0 {
			left[l]--
		} else {
			fresh++
		}
	}
	for _, n := range left {
		gone += n
	}
	return fresh, gone
}
