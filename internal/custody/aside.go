package custody

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Aside is what one leaf does not hold and a recovery needs: what lies in the
// database alone. Fields that do not apply are empty.
type Aside struct {
	Index int64 `json:"index"`

	// Of a release.
	Door      string `json:"door,omitempty"`
	Publisher string `json:"publisher,omitempty"` // account id
	Created   string `json:"created,omitempty"`   // as its index entry says it
	Staged    *bool  `json:"staged,omitempty"`    // the release of the leaf waited for signatures when this was kept

	// Of a project.
	Policy      json.RawMessage `json:"policy,omitempty"` // of the digest in the leaf
	ArtifactHub string          `json:"artifacthub,omitempty"`

	// Forget are the leaves whose bytes must not be kept any more: those of a
	// release under the tombstone of this leaf.
	Forget []int64 `json:"forget,omitempty"`

	Manifests []Manifest `json:"manifests,omitempty"`
	Links     []Link     `json:"links,omitempty"`
	Blobs     []Blob     `json:"blobs,omitempty"`
}

// Manifest is a row of an OCI manifest.
type Manifest struct {
	Repository   string          `json:"repository"`
	Digest       string          `json:"digest"`
	MediaType    string          `json:"media_type"`
	ArtifactType string          `json:"artifact_type,omitempty"`
	Subject      string          `json:"subject,omitempty"`
	Annotations  json.RawMessage `json:"annotations,omitempty"`
	Bytes        []byte          `json:"bytes"`
}

// Link says that a blob is visible in the repository of the leaf.
type Link struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Small  bool   `json:"small,omitempty"`
}

// Blob is a small blob that lies in the database.
type Blob struct {
	Digest string `json:"digest"`
	Bytes  []byte `json:"bytes"`
}

// Empty says whether there is nothing to keep.
func (a *Aside) Empty() bool {
	return a.Door == "" && a.Publisher == "" && a.Created == "" && a.Staged == nil && a.Policy == nil && a.ArtifactHub == "" &&
		len(a.Manifests)+len(a.Links)+len(a.Blobs)+len(a.Forget) == 0
}

// blob returns the bytes of a digest, or nil: bytes that do not have it are as
// good as none.
func (a *Aside) blob(d string) []byte {
	for i := range a.Blobs {
		if a.Blobs[i].Digest == d && digest.Matches(a.Blobs[i].Bytes, d) {
			return a.Blobs[i].Bytes
		}
	}
	return nil
}

// manifest is blob for manifests.
func (a *Aside) manifest(d string) *Manifest {
	for i := range a.Manifests {
		if m := &a.Manifests[i]; m.Digest == d && digest.Matches(m.Bytes, d) {
			return m
		}
	}
	return nil
}

// asideSchema is the first word of a record of asides.
const asideSchema = "chartkeep/aside/v1"

// The limits of a record of asides. The keeper begins a new one when asideGoal
// is passed, so that a record is at most that and one leaf: a manifest, its
// config and its provenance, in Base 64.
const (
	asideGoal = 8 << 20
	maxAside  = 64 << 20
)

type asides struct {
	Schema string  `json:"schema"`
	Log    Log     `json:"log"`
	From   int64   `json:"from"` // the leaves that it is about: [From, To)
	To     int64   `json:"to"`
	Leaves []Aside `json:"leaves"`
}

// parseAsides reads a record of asides. Invalid when it is not one, or speaks
// of leaves outside of what it says.
func parseAsides(data []byte) (asides, error) {
	var a asides
	bad := func(format string, args ...any) error {
		return problem.New(problem.Invalid, "record-aside", "this is no record of what leaves leave out: "+format, args...)
	}
	if len(data) > maxAside {
		return a, bad("it has %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, bad("%v", err)
	}
	if a.Schema != asideSchema {
		return a, bad("its schema is %.60q", a.Schema)
	}
	if a.From < 0 || a.To <= a.From || a.To > tlog.MaxSize || len(a.Leaves) > tlog.TileHashes {
		return a, bad("it is about leaves %d to %d", a.From, a.To)
	}
	last := a.From - 1
	for i := range a.Leaves {
		at := a.Leaves[i].Index
		if at <= last || at >= a.To {
			return a, bad("leaf %d is out of place", at)
		}
		last = at
	}
	return a, nil
}

// asidesOf reads what is kept of the leaves of one bundle, by index. What is
// damaged is left out and returned as such. Cost: the records of one folder.
func (s *shelf) asidesOf(ctx context.Context, log Log, n int64) (map[int64]Aside, []error, error) {
	folder := asidesFolder(log, n)
	names, err := s.records.RecordNames(ctx, folder, "", 2*tlog.TileHashes)
	if err != nil {
		return nil, nil, err
	}
	found := map[int64]Aside{}
	var bad []error
	for _, name := range names {
		data, err := s.records.Record(ctx, folder+"/"+name, maxAside)
		if err == nil {
			var a asides
			if a, err = parseAsides(data); err == nil && (a.Log != log || !strings.HasPrefix(folder+"/"+name+"-", asideName(log, n, int(a.From-n*tlog.TileHashes), int(a.To-n*tlog.TileHashes))+"-")) {
				err = problem.New(problem.Disproven, "record-aside", "it is about leaves %d to %d of the %s log", a.From, a.To, a.Log)
			}
			if err == nil {
				for _, leaf := range a.Leaves {
					found[leaf.Index] = leaf
				}
				continue
			}
		}
		if !damaged(err) {
			return nil, nil, err
		}
		bad = append(bad, fmt.Errorf("record %s: %w", folder+"/"+name, err))
	}
	return found, bad, nil
}

// forget takes the bytes of a leaf out of what is kept aside: a record of the
// whole bundle without them takes the place of those that there are. why is the
// leaf because of which.
func (c *Custodian) forget(ctx context.Context, log Log, index, why int64) error {
	n := index / tlog.TileHashes
	folder := asidesFolder(log, n)
	names, err := c.cfg.Records.RecordNames(ctx, folder, "", 2*tlog.TileHashes)
	if err != nil {
		return err
	}
	found, _, err := c.shelf.asidesOf(ctx, log, n)
	if err != nil {
		return err
	}
	leaf := found[index]
	leaf.Manifests, leaf.Links, leaf.Blobs = nil, nil, nil
	if found[index] = leaf; leaf.Empty() {
		delete(found, index)
	}
	var list []Aside
	for _, at := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[at])
	}
	first := n * tlog.TileHashes
	kept := map[string]bool{}
	err = encodeAsides(log, first, first+tlog.TileHashes, list, func(from, to int64, data []byte) error {
		name := fmt.Sprintf("%s-%018d-%018d", asideName(log, n, int(from-first), int(to-first)), why, index)
		kept[name] = true
		return c.putAside(ctx, name, data)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if kept[folder+"/"+name] {
			continue
		}
		if err := c.cfg.Records.RemoveRecord(ctx, folder+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// encodeAsides writes records of what leaves leave out, each of which is at
// most a little over asideGoal. fn is called with the range that each is about.
func encodeAsides(log Log, from, to int64, list []Aside, fn func(from, to int64, data []byte) error) error {
	for len(list) > 0 {
		size, n := 0, 0
		for n < len(list) && size < asideGoal {
			one, err := json.Marshal(&list[n])
			if err != nil {
				return fmt.Errorf("write aside of leaf %d: %w", list[n].Index, err)
			}
			size += len(one)
			n++
		}
		end := to
		if n < len(list) {
			end = list[n].Index
		}
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(asides{asideSchema, log, from, end, list[:n]}); err != nil {
			return fmt.Errorf("write asides: %w", err)
		}
		if err := fn(from, end, []byte(b.String())); err != nil {
			return err
		}
		from, list = end, list[n:]
	}
	return nil
}

// Release is the manifest as the registry knows it.
func (m *Manifest) Release() release.Manifest {
	return release.Manifest{
		Repository: m.Repository, Digest: m.Digest, MediaType: m.MediaType, ArtifactType: m.ArtifactType,
		Subject: m.Subject, Annotations: m.Annotations, Bytes: m.Bytes,
	}
}

// ReleaseLinks are the links as the registry knows them.
func (a *Aside) ReleaseLinks() []release.Link {
	out := make([]release.Link, len(a.Links))
	for i, l := range a.Links {
		out[i] = release.Link(l)
	}
	return out
}
