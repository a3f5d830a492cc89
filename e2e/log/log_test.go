// Package log lets an implementation that is not ours read the transparency
// log: Tessera's tlog-tiles client builds proofs from our checkpoint, tiles and
// entries, and its fsck computes the whole log again from its entries.
//
// By itself it reads a log in memory through the product's HTTP handler. With
// CHARTKEEP_LOG_URL (up to and with /log/) and CHARTKEEP_LOG_VKEY it reads that
// server's log instead, and entries with CHARTKEEP_TOKEN. It is a module of its
// own so that Tessera's requirements never reach the product.
package log

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	keep "github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server/tiles"
	"github.com/chartkeep/chartkeep/internal/server/tiles/tilestest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const token = "reader"

func TestMain(m *testing.M) { os.Exit(daemontest.Run(m)) }

// reader is Tessera's view of a log.
type reader struct {
	*client.HTTPFetcher
	key note.Verifier
}

// open returns a reader of the log at a URL.
func open(t *testing.T, rawURL, vkey, token string) reader {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		t.Fatalf("log key %q: %v", vkey, err)
	}
	f, err := client.NewHTTPFetcher(u, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		f.SetAuthorizationHeader("Bearer " + token)
	}
	return reader{f, key}
}

// serve returns the URL of a log that is served by the product's handler.
func serve(t *testing.T, src tiles.Source) string {
	t.Helper()
	h := tiles.New(src, func(r *http.Request) error {
		if r.Header.Get("Authorization") != "Bearer "+token {
			return problem.New(problem.Unauthenticated, "log-read", "the entries need a token")
		}
		return nil
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := h.Serve(w, r); {
		case err == nil:
		case problem.KindOf(err) == problem.NotFound:
			http.Error(w, err.Error(), http.StatusNotFound)
		case problem.KindOf(err) == problem.Unauthenticated:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL + tiles.Mount
}

// newLog returns a signed log in memory of release leaves.
func newLog(t *testing.T, size int) *tilestest.Log {
	t.Helper()
	l := tilestest.New(t, "charts.example.com/log")
	grow(t, l, size)
	return l
}

// grow appends release leaves until the log has the size, and signs it.
func grow(t *testing.T, l *tilestest.Log, size int) {
	t.Helper()
	for i := l.Size(); i < int64(size); i++ {
		digest := fmt.Sprintf("sha256:%064x", i)
		leaf, err := tlog.Release{
			Project: "demo", Chart: "web", Version: fmt.Sprintf("1.0.%d", i),
			Archive: digest, Size: i, Content: digest, Manifest: digest, Config: digest, Policy: digest,
			Publisher: tlog.Identity{Issuer: "local", Subject: "ci"}, Time: time.Unix(1_800_000_000+i, 0),
		}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.Append(leaf)
	}
	l.Sign(t)
}

// target is the log under test: the one of the environment, or one in memory
// that is large enough for three levels of tiles.
func target(t *testing.T) reader {
	if u := os.Getenv("CHARTKEEP_LOG_URL"); u != "" {
		return open(t, u, os.Getenv("CHARTKEEP_LOG_VKEY"), os.Getenv("CHARTKEEP_TOKEN"))
	}
	l := newLog(t, 256*256+777)
	return open(t, serve(t, l), l.VerifierKey, token)
}

// hashBundle is what fsck needs: the leaf hashes of a bundle.
func hashBundle(data []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(bundle.Entries))
	for i, entry := range bundle.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return hashes, nil
}

func (r reader) fsck(ctx context.Context) error {
	return fsck.New(r.key.Name(), r.key, r, hashBundle, fsck.Opts{N: 2}).Check(ctx)
}

// TestForeignReader reads a whole log and proves parts of it.
func TestForeignReader(t *testing.T) { target(t).check(t) }

// TestForeignReaderOfServer reads the log of the real program, after enough
// pushes, refusals and yanks that it has a full tile.
func TestForeignReaderOfServer(t *testing.T) {
	srv := daemontest.Start(t, daemontest.Options{})
	c := srv.Client(srv.Admin)
	if _, err := c.CreateProject(t.Context(), keep.NewProject{Name: "demo"}); err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	group.SetLimit(16)
	for i := range 300 {
		archive := charttest.Build(t, fmt.Sprintf("chart%d", i%7), fmt.Sprintf("1.0.%d", i), nil)
		group.Go(func() error {
			up := keep.Upload{Archive: bytes.NewReader(archive), Size: int64(len(archive))}
			if _, err := c.Push(t.Context(), "demo", up); err != nil {
				return err
			}
			if i%10 == 0 {
				_, err := c.Yank(t.Context(), "demo", fmt.Sprintf("chart%d", i%7), fmt.Sprintf("1.0.%d", i), "broken", "for the test")
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, srv.URL+tiles.Mount, srv.LogKey(), srv.Admin).check(t)
}

func (r reader) check(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	cp, text, _, err := client.FetchCheckpoint(ctx, r.ReadCheckpoint, r.key, r.key.Name())
	if err != nil {
		t.Fatal(err)
	}
	own, err := tlog.OpenCheckpoint(text, r.key.Name(), note.VerifierList(r.key))
	if err != nil || uint64(own.Size) != cp.Size || !bytes.Equal(own.Root[:], cp.Hash) {
		t.Fatalf("we read the checkpoint as %+v, %v, they as %+v", own, err, cp)
	}
	t.Logf("log %s of %d leaves", cp.Origin, cp.Size)

	t.Run("fsck", func(t *testing.T) {
		if err := r.fsck(ctx); err != nil {
			t.Error(err)
		}
	})
	if cp.Size == 0 {
		return
	}
	proofs, err := client.NewProofBuilder(ctx, cp.Size, r.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	indexes := []uint64{0, cp.Size - 1, cp.Size / 2}
	for range 100 {
		indexes = append(indexes, rng.Uint64N(cp.Size))
	}
	t.Run("inclusion", func(t *testing.T) {
		for _, index := range indexes {
			bundle, err := client.GetEntryBundle(ctx, r.ReadEntryBundle, index/layout.EntryBundleWidth, cp.Size)
			if err != nil {
				t.Fatal(err)
			}
			entry := bundle.Entries[index%layout.EntryBundleWidth]
			if _, err := tlog.ParseLeaf(entry); err != nil {
				t.Errorf("entry %d is no leaf: %v", index, err)
			}
			hashes, err := proofs.InclusionProof(ctx, index)
			if err != nil {
				t.Fatal(err)
			}
			leaf := rfc6962.DefaultHasher.HashLeaf(entry)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, cp.Size, leaf, hashes, cp.Hash); err != nil {
				t.Errorf("entry %d: %v", index, err)
			}
			if err := tlog.VerifyInclusion(own.Root, own.Size, int64(index), tlog.LeafHash(entry), ours(hashes)); err != nil {
				t.Errorf("entry %d, by us: %v", index, err)
			}
		}
	})
	t.Run("consistency", func(t *testing.T) {
		for _, index := range indexes {
			older := index + 1
			oldRoot := r.root(t, older, cp.Size)
			hashes, err := proofs.ConsistencyProof(ctx, older, cp.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, older, cp.Size, hashes, oldRoot, cp.Hash); err != nil {
				t.Errorf("from %d: %v", older, err)
			}
			if err := tlog.VerifyConsistency(int64(older), tlog.Hash(oldRoot), own.Size, own.Root, ours(hashes)); err != nil {
				t.Errorf("from %d, by us: %v", older, err)
			}
		}
	})
}

// root computes the root of an older tree from the tiles of the present one.
func (r reader) root(t *testing.T, size, present uint64) []byte {
	t.Helper()
	tile := func(ctx context.Context, level, index uint64, _ uint8) ([]byte, error) {
		return r.ReadTile(ctx, level, index, layout.PartialTileSize(level, index, present))
	}
	// The nodes of a compact range, largest first, hash to the root from the right.
	nodes, err := client.FetchRangeNodes(t.Context(), size, tile)
	if err != nil {
		t.Fatal(err)
	}
	root := nodes[len(nodes)-1]
	for i := len(nodes) - 2; i >= 0; i-- {
		root = rfc6962.DefaultHasher.HashChildren(nodes[i], root)
	}
	return root
}

func ours(hashes [][]byte) []tlog.Hash {
	out := make([]tlog.Hash, len(hashes))
	for i, h := range hashes {
		out[i] = tlog.Hash(h)
	}
	return out
}

// TestForeignReaderFollows grows a log under a reader that insists on
// consistency at each step, over partial and full tiles.
func TestForeignReaderFollows(t *testing.T) {
	if os.Getenv("CHARTKEEP_LOG_URL") != "" {
		t.Skip("CHARTKEEP_LOG_URL is set: growing a log is tested in memory only")
	}
	ctx, l := t.Context(), newLog(t, 1)
	r := open(t, serve(t, l), l.VerifierKey, token)
	follow, err := client.NewLogStateTracker(ctx, r.ReadTile, nil, r.key, l.Origin, client.UnilateralConsensus(r.ReadCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{2, 3, 255, 256, 257, 300, 512, 2000, 5003} {
		grow(t, l, size)
		if _, _, _, err := follow.Update(ctx); err != nil {
			t.Fatalf("at %d leaves: %v", size, err)
		}
		if got := follow.Latest().Size; got != uint64(size) {
			t.Fatalf("at %d leaves the reader is at %d", size, got)
		}
		if err := r.fsck(ctx); err != nil {
			t.Fatalf("at %d leaves: %v", size, err)
		}
	}
}

// tampered changes one bit of one entry, or of one hash of a tile.
type tampered struct {
	*tilestest.Log
	entries bool
	level   int
}

func (l tampered) Entries(ctx context.Context, n int64, width int) ([][]byte, error) {
	entries, err := l.Log.Entries(ctx, n, width)
	if err == nil && l.entries && n == 3 {
		entries = append([][]byte(nil), entries...)
		entries[100] = bytes.Replace(entries[100], []byte("demo"), []byte("deno"), 1)
	}
	return entries, err
}

func (l tampered) Tile(ctx context.Context, level int, n int64, width int) ([]byte, error) {
	hashes, err := l.Log.Tile(ctx, level, n, width)
	if err == nil && !l.entries && level == l.level && n == 0 {
		hashes = bytes.Clone(hashes)
		hashes[5*32] ^= 1
	}
	return hashes, err
}

// TestForeignReaderNotices makes sure that the reader would see a fault.
func TestForeignReaderNotices(t *testing.T) {
	if os.Getenv("CHARTKEEP_LOG_URL") != "" {
		t.Skip("CHARTKEEP_LOG_URL is set: faults are tested in memory only")
	}
	l := newLog(t, 2000)
	for name, src := range map[string]tiles.Source{
		"a changed entry":           tampered{Log: l, entries: true},
		"a changed hash":            tampered{Log: l, level: 0},
		"a changed hash of level 1": tampered{Log: l, level: 1},
	} {
		if err := open(t, serve(t, src), l.VerifierKey, token).fsck(t.Context()); err == nil {
			t.Errorf("%s went unnoticed", name)
		}
	}
	if err := open(t, serve(t, l), l.VerifierKey, "").fsck(t.Context()); err == nil {
		t.Error("entries were given without a token")
	}
	if err := open(t, serve(t, l), l.VerifierKey, token).fsck(t.Context()); err != nil {
		t.Errorf("the untouched log: %v", err)
	}
}
