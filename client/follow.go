package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// What somebody reads who follows a log and holds the doors against it.

// maxBundle is the largest entry bundle that a log of ours can serve.
const maxBundle = tlog.TileHashes * (tlog.MaxLeaf + 2)

// Entries returns the first width entries of bundle n of the log (C2SP
// tlog-tiles, "Log entries"). They are not checked against any tree.
func (c *Client) Entries(ctx context.Context, n int64, width int) ([][]byte, error) {
	data, err := c.blob(ctx, "/log/"+tlog.EntriesPath(n, width), "application/octet-stream", maxBundle)
	if err != nil {
		return nil, err
	}
	entries, err := tlog.ParseEntryBundle(data)
	if err != nil {
		return nil, problem.New(problem.Unavailable, "answer", "the server's entry bundle %d cannot be read", n).With("server", "%s", c.base).Because(err)
	}
	if len(entries) != width {
		return nil, problem.New(problem.Unavailable, "answer", "the server's entry bundle %d has %d entries, not %d", n, len(entries), width).With("server", "%s", c.base)
	}
	return entries, nil
}

// Prefix returns the root that the log under a checkpoint had at a smaller
// size above 0. It is made from the hashes that the server sends and is certain
// for everybody who believes the checkpoint. Cost: some ten requests.
func (c *Client) Prefix(ctx context.Context, cp tlog.Checkpoint, size int64) (tlog.Hash, error) {
	root, _, err := tree{ctx, c, cp}.prefix(size)
	return root, err
}

// Fork holds an older checkpoint against the log under a newer one. It returns
// the evidence when the log under the newer one does not begin with that of the
// older one, and nil when it does. An error means that it could not be found out.
func (c *Client) Fork(ctx context.Context, older, newer tlog.Checkpoint) (*Evidence, error) {
	root, hashes := newer.Root, []tlog.Hash(nil)
	if older.Size == 0 {
		root = tlog.EmptyRoot()
	} else if older.Size < newer.Size {
		var err error
		if root, hashes, err = (tree{ctx, c, newer}).prefix(older.Size); err != nil {
			return nil, err
		}
	}
	if root == older.Root {
		return nil, nil
	}
	e := forkOf(older, newer, root, hashes)
	return &e, nil
}

// EntryProof returns a proof of an entry in the log under a checkpoint, made
// from what the server sends and checked.
func (c *Client) EntryProof(ctx context.Context, cp tlog.Checkpoint, index int64) (tlog.Proof, error) {
	n := index / tlog.TileHashes
	width := tlog.TileWidth(cp.Size, 0, n)
	if index < 0 || index >= cp.Size {
		return tlog.Proof{}, problem.New(problem.NotFound, "log-no-leaf", "the log of %d leaves has no leaf %d", cp.Size, index)
	}
	entries, err := c.Entries(ctx, n, width)
	if err != nil {
		return tlog.Proof{}, err
	}
	hashes, err := sumdb.ProveRecord(cp.Size, index, tree{ctx, c, cp}.reader())
	if err != nil {
		return tlog.Proof{}, err
	}
	p := tlog.Proof{Index: index, Leaf: entries[index%tlog.TileHashes], Hashes: hashes, Checkpoint: cp.Note}
	return p, tlog.VerifyInclusion(cp.Root, cp.Size, index, tlog.LeafHash(p.Leaf), hashes)
}

// Listed is one version in an index.yaml.
type Listed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"` // as it stands there, without an algorithm
}

// Limits of an index that is read, in bytes after decompression. The second is
// that of one entry, which is what is held at a time.
const (
	maxIndex      = 512 << 20
	maxIndexEntry = 8 << 20
)

// Index reads the index of a project, entry by entry; all includes what the
// default index leaves out. With the etag of an earlier answer it reports
// whether anything changed, and calls each for nothing when it did not. It
// returns the etag of this one. An index with other than JSON is not read.
func (c *Client) Index(ctx context.Context, project string, all bool, etag string, each func(Listed) error) (now string, changed bool, err error) {
	path, err := projectPath(project)
	if err != nil {
		return "", false, err
	}
	path = path[len("/projects"):]
	if all {
		path += "/all"
	}
	res, err := c.do(ctx, call{method: http.MethodGet, path: path + "/index.yaml", accept: "application/json", etag: etag})
	if err != nil {
		return "", false, err
	}
	defer drain(res.Body)
	if res.StatusCode == http.StatusNotModified {
		return etag, false, nil
	}
	body := &limited{body: res.Body, left: maxIndex, limit: maxIndex}
	if err := readIndex(body, each); err != nil {
		if _, ok := problem.As(err); ok || ctx.Err() != nil {
			return "", false, err
		}
		return "", false, problem.New(problem.Unavailable, "answer", "the index of project %s cannot be read", project).
			With("server", "%s", c.base).With("reason", "%v", err).Because(err)
	}
	return res.Header.Get("Etag"), true, nil
}

// readIndex walks over an index without holding it.
func readIndex(r io.Reader, each func(Listed) error) error {
	pieces := &pieceReader{r: r, left: maxIndexEntry}
	d := json.NewDecoder(pieces)
	if err := delim(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key != "entries" {
			if err := d.Decode(&skipped{}); err != nil {
				return err
			}
			continue
		}
		if err := readEntries(d, pieces, each); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

func readEntries(d *json.Decoder, pieces *pieceReader, each func(Listed) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err == nil {
			err = delim(d, '[')
		}
		if err != nil {
			return err
		}
		for d.More() {
			var l Listed
			pieces.left = maxIndexEntry
			if err := d.Decode(&l); err != nil {
				return err
			}
			if l.Name != name {
				l.Name = name.(string) // clients look it up under this one
			}
			if err := each(l); err != nil {
				return err
			}
		}
		if err := delim(d, ']'); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

// pieceReader fails when one piece of what is read grows beyond a limit. left
// is set anew with every piece.
type pieceReader struct {
	r    io.Reader
	left int
}

func (p *pieceReader) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, problem.New(problem.TooLarge, "answer-too-large", "an entry of the index is too large").With("limit", "%d bytes", maxIndexEntry)
	}
	n, err := p.r.Read(b)
	p.left -= n
	return n, err
}

// skipped takes any JSON value and keeps nothing of it.
type skipped struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*skipped) UnmarshalJSON([]byte) error { return nil }

func delim(d *json.Decoder, want rune) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim(want) {
		return problem.New(problem.Unavailable, "answer", "the index has %v where %q belongs", t, want)
	}
	return nil
}

// maxTags bounds a page of tags, in bytes.
const maxTags = 4 << 20

// Tags lists tags of a chart's OCI repository behind a tag, "" for the first
// page; an empty list is the end.
func (c *Client) Tags(ctx context.Context, project, chartName, after string) ([]string, error) {
	repository := project + "/" + chartName
	if !chart.IsRepository(repository) {
		return nil, problem.New(problem.Invalid, "name", "%q cannot be an OCI repository", repository)
	}
	q := url.Values{"n": {"1000"}}
	if after != "" {
		q.Set("last", after)
	}
	res, err := c.do(ctx, call{method: http.MethodGet, path: "/v2/" + repository + "/tags/list", query: q, accept: "application/json"})
	if err != nil {
		return nil, err
	}
	defer drain(res.Body)
	body, err := c.read(res, maxTags)
	if err != nil {
		return nil, err
	}
	var out struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, c.foreign(res, "a list of tags").Because(err)
	}
	if len(out.Tags) > 0 && out.Tags[len(out.Tags)-1] <= after {
		return nil, problem.New(problem.Unavailable, "answer", "the server's list of tags does not end").With("server", "%s", c.base)
	}
	return out.Tags, nil
}

// Manifest returns the bytes of the OCI manifest under a tag. They are not
// checked.
func (c *Client) Manifest(ctx context.Context, project, chartName, tag string) ([]byte, error) {
	repository := project + "/" + chartName
	if !chart.IsRepository(repository) || !chart.IsTag(tag) {
		return nil, problem.New(problem.Invalid, "name", "%q cannot be a tag of an OCI repository", repository+":"+tag)
	}
	return c.blob(ctx, "/v2/"+repository+"/manifests/"+tag, strings.Join([]string{typeManifest, "*/*"}, ", "), maxManifest)
}
