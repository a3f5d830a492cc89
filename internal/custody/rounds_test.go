package custody_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// longLog is a database that has a release log of some leaves and nothing else.
type longLog struct {
	custody.Database
	signer   note.Signer
	size     int64
	aside    bool // every leaf leaves something out
	replayed int  // leaves, with what they leave out
}

func (l *longLog) leaf(i int64) []byte { return fmt.Appendf(nil, "chartkeep/unknown/v9\nleaf %d\n", i) }

func (l *longLog) LogEdge(_ context.Context, _ custody.Log, size int64) (*tlog.Edge, error) {
	edge, err := tlog.NewEdge(0, nil)
	for i := range size {
		edge.Append(tlog.LeafHash(l.leaf(i)))
	}
	return edge, err
}

func (l *longLog) LogHead(ctx context.Context, log custody.Log) (tlog.Checkpoint, error) {
	if log == custody.Audits {
		return tlog.Checkpoint{Root: tlog.EmptyRoot()}, nil
	}
	edge, err := l.LogEdge(ctx, log, l.size)
	if err != nil {
		return tlog.Checkpoint{}, err
	}
	text, err := tlog.SignCheckpoint(storetest.Origin, l.size, edge.Root(), l.signer)
	if err != nil {
		return tlog.Checkpoint{}, err
	}
	return tlog.ParseCheckpoint(text)
}

func (l *longLog) LogSize(_ context.Context, log custody.Log) (int64, error) {
	if log == custody.Audits {
		return 0, nil
	}
	return l.size, nil
}

func (l *longLog) LogLeaves(_ context.Context, _ custody.Log, from, to int64) (out [][]byte, err error) {
	for i := from; i < to; i++ {
		out = append(out, l.leaf(i))
	}
	return out, nil
}

func (l *longLog) Beside(_ context.Context, _ custody.Log, from int64, leaves [][]byte) (out []custody.Aside, err error) {
	for i := range leaves {
		if l.aside {
			out = append(out, custody.Aside{Index: from + int64(i), Door: fmt.Sprint("door ", from+int64(i))})
		}
	}
	return out, nil
}

func (*longLog) Untold(_ context.Context, names []string) ([]string, error) { return names, nil }

func (l *longLog) Recover(_ context.Context, parts []custody.Part) error {
	for _, p := range parts {
		for step, err := range p.Steps {
			if err != nil {
				return err
			}
			if string(step.Entry) != string(l.leaf(step.Index)) || step.Aside.Door != fmt.Sprint("door ", step.Index) {
				return fmt.Errorf("leaf %d came back as %q, with %+v", step.Index, step.Entry, step.Aside)
			}
			l.replayed++
		}
	}
	return nil
}

func (*longLog) SetKept(context.Context) error { return nil }

// TestKeepRounds keeps a long log that was never kept: in rounds that end, with
// no checkpoint before the last, and as well when a process dies in between.
func TestKeepRounds(t *testing.T) {
	const size = 256*200 + 57
	db := &longLog{signer: storetest.Keys(t).Signer, size: size}
	blobs, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	open := func() *custody.Custodian {
		return custody.New(custody.Config{Database: db, Records: blobs, Blobs: blobs, Verifiers: verifiers(t)})
	}
	c, rounds := open(), 0
	for ; c.Kept(custody.Releases) < size; rounds++ {
		if _, ok, err := c.Newest(t.Context(), custody.Releases); ok || err != nil {
			t.Fatalf("a checkpoint is kept before its entries: %v, %v", ok, err)
		}
		if err := c.Keep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rounds == 1 {
			c = open() // and begins anew, over what is there
		}
	}
	if rounds < 4 || rounds > 8 {
		t.Errorf("%d rounds", rounds)
	}
	cp, ok, err := c.Newest(t.Context(), custody.Releases)
	if err != nil || !ok || cp.Size != size {
		t.Errorf("kept %d, %v, %v", cp.Size, ok, err)
	}
	names, err := blobs.RecordNames(t.Context(), "entries/release/000/000/000/000/000", "", 1000)
	if err != nil || len(names) != 201 {
		t.Errorf("%d bundles, %v", len(names), err)
	}
	if _, err := blobs.Record(t.Context(), "entries/release/000/000/000/000/000/200/057", 1<<20); problem.KindOf(err) == problem.NotFound {
		t.Error("the right edge is not kept")
	}
}
