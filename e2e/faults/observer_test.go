package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

// observer looks at a server from outside, as clients and verifiers do, and
// remembers every checkpoint that it was ever shown.
type observer struct {
	*publisher
	key note.Verifier

	mu   sync.Mutex
	seen map[int64]tlog.Checkpoint // by size
}

func newObserver(p *publisher, vkey string) (*observer, error) {
	key, err := tlog.NewVerifier(vkey)
	return &observer{publisher: p, key: key, seen: map[int64]tlog.Checkpoint{}}, err
}

// on is the same memory over another address, for a server that was started
// again.
func (ob *observer) on(p *publisher) { ob.publisher = p }

// remember keeps a checkpoint. Two of one size must have one root.
func (ob *observer) remember(cp tlog.Checkpoint) error {
	ob.mu.Lock()
	defer ob.mu.Unlock()
	if old, ok := ob.seen[cp.Size]; ok && old.Root != cp.Root {
		return fmt.Errorf("the log forked: two roots for size %d, %v and %v", cp.Size, old.Root, cp.Root)
	}
	ob.seen[cp.Size] = cp
	return nil
}

// errGone is an answer that did not come, or not to its end.
var errGone = errors.New("no answer")

// checkpoint fetches, checks and remembers the newest checkpoint.
func (ob *observer) checkpoint(ctx context.Context) (tlog.Checkpoint, error) {
	a := ob.get(ctx, "/log/checkpoint")
	if a.err != nil {
		return tlog.Checkpoint{}, fmt.Errorf("%w: %w", errGone, a.err)
	}
	if !a.accepted() {
		return tlog.Checkpoint{}, fmt.Errorf("checkpoint: %s", &a)
	}
	cp, err := tlog.OpenCheckpoint([]byte(a.text), ob.key.Name(), note.VerifierList(ob.key))
	if err != nil {
		return cp, err
	}
	return cp, ob.remember(cp)
}

// tiles reads hashes of a tree of a size over HTTP, for golang.org/x/mod.
type tiles struct {
	ctx context.Context
	ob  *observer
}

func (tiles) Height() int { return 8 }

func (tiles) SaveTiles([]sumdb.Tile, [][]byte) {}

func (r tiles) ReadTiles(ts []sumdb.Tile) ([][]byte, error) {
	out := make([][]byte, len(ts))
	for i, t := range ts {
		path := "/log/" + strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		a := r.ob.get(r.ctx, path)
		if !a.accepted() {
			return nil, fmt.Errorf("%s: %s", path, &a)
		}
		out[i] = []byte(a.text)
	}
	return out, nil
}

// consistent checks that the log as it stands continues every checkpoint that
// was ever seen. The tiles are checked against the newest one.
func (ob *observer) consistent(ctx context.Context) (tlog.Checkpoint, error) {
	now, err := ob.checkpoint(ctx)
	if err != nil {
		return now, err
	}
	ob.mu.Lock()
	defer ob.mu.Unlock()
	tree := sumdb.Tree{N: now.Size, Hash: now.Root}
	hashes := sumdb.TileHashReader(tree, tiles{ctx, ob})
	for _, old := range ob.seen {
		if old.Size > now.Size {
			return now, fmt.Errorf("the log shrank: it has %d leaves, and had %d", now.Size, old.Size)
		}
		if old.Size == 0 || old.Size == now.Size {
			continue
		}
		proof, err := sumdb.ProveTree(now.Size, old.Size, hashes)
		if err != nil {
			return now, fmt.Errorf("prove that %d leaves continue %d: %w", now.Size, old.Size, err)
		}
		if err := sumdb.CheckTree(proof, now.Size, now.Root, old.Size, old.Root); err != nil {
			return now, fmt.Errorf("the log of %d leaves does not continue the one of %d: %w", now.Size, old.Size, err)
		}
	}
	return now, nil
}

// leaves reads all entries, and checks that they hash to the root.
func (ob *observer) leaves(ctx context.Context, cp tlog.Checkpoint) ([]tlog.Leaf, error) {
	var out []tlog.Leaf
	var edge tlog.Edge
	for n := int64(0); int64(len(out)) < cp.Size; n++ {
		path := "/log/" + tlog.EntriesPath(n, tlog.TileWidth(cp.Size, 0, n))
		a := ob.get(ctx, path)
		if !a.accepted() {
			return nil, fmt.Errorf("%s: %s", path, &a)
		}
		entries, err := tlog.ParseEntryBundle([]byte(a.text))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			leaf, err := tlog.ParseLeaf(e)
			if err != nil {
				return nil, fmt.Errorf("leaf %d: %w", len(out), err)
			}
			out = append(out, leaf)
			edge.Append(tlog.LeafHash(e))
		}
	}
	if edge.Root() != cp.Root {
		return nil, errors.New("the entries do not hash to the root of the checkpoint")
	}
	return out, nil
}

// releases are the release leaves by project/chart@version; a second leaf of
// one is an error.
func (ob *observer) releases(ctx context.Context) (map[string]tlog.Release, error) {
	cp, err := ob.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	leaves, err := ob.leaves(ctx, cp)
	if err != nil {
		return nil, err
	}
	out := map[string]tlog.Release{}
	for i, l := range leaves {
		r, ok := l.(tlog.Release)
		if !ok {
			continue
		}
		ref := r.Project + "/" + r.Chart + "@" + r.Version
		if _, twice := out[ref]; twice {
			return nil, fmt.Errorf("leaf %d is the second one of %s", i, ref)
		}
		out[ref] = r
	}
	return out, nil
}

// index is a project's index: digests by chart and version. Two entries of one
// version are an error.
func (ob *observer) index(ctx context.Context, project string) (map[string]string, error) {
	a := ob.get(ctx, "/"+project+"/index.yaml")
	if !a.accepted() {
		return nil, fmt.Errorf("index of %s: %s", project, &a)
	}
	var doc struct {
		Entries map[string][]struct{ Name, Version, Digest string }
	}
	if err := json.Unmarshal([]byte(a.text), &doc); err != nil {
		return nil, fmt.Errorf("index of %s: %w", project, err)
	}
	out := map[string]string{}
	for name, entries := range doc.Entries {
		for _, e := range entries {
			key := name + "@" + e.Version
			if _, twice := out[key]; twice {
				return nil, fmt.Errorf("the index has two entries of %s", key)
			}
			out[key] = "sha256:" + e.Digest
		}
	}
	return out, nil
}

// seenAt is the digest of what a door serves as a version, "" for nothing.
func (ob *observer) seenAt(ctx context.Context, o *offer) (classic, oci string, err error) {
	a := ob.get(ctx, "/"+o.project+"/charts/"+o.file())
	switch {
	case a.accepted():
		classic = sum([]byte(a.text))
	case a.err != nil || a.status != http.StatusNotFound:
		return "", "", fmt.Errorf("archive of %s: %s", o, &a)
	}
	a = ob.get(ctx, "/v2/"+o.repo()+"/manifests/"+o.version)
	switch {
	case a.accepted():
		var m struct {
			Layers []struct{ MediaType, Digest string }
		}
		if err := json.Unmarshal([]byte(a.text), &m); err != nil || len(m.Layers) == 0 {
			return "", "", fmt.Errorf("manifest of %s: %v: %s", o, err, a.text)
		}
		oci = m.Layers[0].Digest
	case a.err != nil || a.status != http.StatusNotFound:
		return "", "", fmt.Errorf("manifest of %s: %s", o, &a)
	}
	return classic, oci, nil
}

// whole checks that a release is served through every door as these bytes,
// with a proof that holds.
func (ob *observer) whole(ctx context.Context, o *offer) error {
	classic, oci, err := ob.seenAt(ctx, o)
	if err != nil {
		return err
	}
	if classic != o.digest() || oci != o.digest() {
		return fmt.Errorf("%s: released as %s, served as %q by the classic door and as %q by the OCI door", o, o.digest(), classic, oci)
	}
	if a := ob.get(ctx, "/v2/"+o.repo()+"/blobs/"+o.digest()); !a.accepted() || sum([]byte(a.text)) != o.digest() {
		return fmt.Errorf("%s: its OCI layer: %s", o, &a)
	}
	var detail struct{ Digest, Config, Manifest string }
	a := ob.get(ctx, "/api/v1/projects/"+o.project+"/-/charts/"+o.chart+"/releases/"+o.version)
	if !a.accepted() || json.Unmarshal([]byte(a.text), &detail) != nil || detail.Digest != o.digest() {
		return fmt.Errorf("%s: the management API: %s", o, &a)
	}
	if a := ob.get(ctx, "/v2/"+o.repo()+"/blobs/"+detail.Config); !a.accepted() || sum([]byte(a.text)) != detail.Config {
		return fmt.Errorf("%s: its OCI config: %s", o, &a)
	}
	if a := ob.get(ctx, "/v2/"+o.repo()+"/manifests/"+detail.Manifest); !a.accepted() || sum([]byte(a.text)) != detail.Manifest {
		return fmt.Errorf("%s: its OCI manifest: %s", o, &a)
	}
	return ob.proven(ctx, o, detail.Manifest, detail.Config)
}

// proven checks the proof file beside an archive.
func (ob *observer) proven(ctx context.Context, o *offer, manifest, config string) error {
	a := ob.get(ctx, "/"+o.project+"/charts/"+o.file()+".tlog-proof")
	if !a.accepted() {
		return fmt.Errorf("%s: proof: %s", o, &a)
	}
	p, err := tlog.ParseProof([]byte(a.text))
	if err != nil {
		return fmt.Errorf("%s: proof: %w", o, err)
	}
	cp, leaf, err := p.Verify(ob.key.Name(), note.VerifierList(ob.key))
	if err != nil {
		return fmt.Errorf("%s: proof: %w", o, err)
	}
	if err := ob.remember(cp); err != nil {
		return err
	}
	r, ok := leaf.(tlog.Release)
	if !ok || r.Project != o.project || r.Chart != o.chart || r.Version != o.version || r.Archive != o.digest() || r.Manifest != manifest || r.Config != config {
		return fmt.Errorf("%s: the proof is of another release: %+v", o, leaf)
	}
	return nil
}

// absent checks that nothing of a release is to be seen through any door.
func (ob *observer) absent(ctx context.Context, o *offer) error {
	classic, oci, err := ob.seenAt(ctx, o)
	if err != nil {
		return err
	}
	if classic != "" || oci != "" {
		return fmt.Errorf("%s: half there: served as %q by the classic door and as %q by the OCI door", o, classic, oci)
	}
	for _, path := range []string{
		"/" + o.project + "/charts/" + o.file() + ".tlog-proof",
		"/api/v1/projects/" + o.project + "/-/charts/" + o.chart + "/releases/" + o.version,
		"/v2/" + o.repo() + "/manifests/" + sum(o.manifest()),
	} {
		if a := ob.get(ctx, path); a.err != nil || a.status != http.StatusNotFound {
			return fmt.Errorf("%s: half there: %s answers %s", o, path, &a)
		}
	}
	return nil
}
