// Package tiles is the read path of the transparency log: the checkpoint, the
// tiles of hashes and the bundles of entries, as static resources that any
// tlog-tiles client reads and any cache may keep.
//
// What always holds:
//
//   - A resource has exactly one path, and what is served under the path of a
//     tile or bundle never changes. A source that answers with another number
//     of hashes or entries is an error, and nothing of it is served.
//   - The checkpoint and the hashes are public. Entry bundles are given only
//     to those who may read the log, because leaves name private charts; no
//     shared cache keeps them.
//   - That something does not exist yet is never cached.
//
// It follows C2SP tlog-tiles v0.1.0, "APIs": "Checkpoints", "Merkle Tree",
// "Partial Tiles" and "Log entries". Partial tiles of any width up to the
// present one are served, which includes those of every checkpoint. The log is
// not pruned.
package tiles

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Mount is the path under which the log stands.
const Mount = "/log/"

// Source is the log as it is committed. Its methods are called from many
// goroutines; what they return is read and never changed.
type Source interface {
	// Checkpoint returns the newest signed checkpoint that is published, with
	// the cosignatures of witnesses that it has. Everything that it
	// covers is available from the other methods at once.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Tile returns the first width hashes of a tile, 32 bytes each. The level
	// is 0 to 63, n at least 0, the width 1 to 256. NotFound when the log has
	// no such tile or fewer hashes in it.
	Tile(ctx context.Context, level int, n int64, width int) ([]byte, error)
	// Entries returns the first width entries of bundle n, as Tile.
	Entries(ctx context.Context, n int64, width int) ([][]byte, error)
}

// Handler serves a log.
type Handler struct {
	src            Source
	mayReadEntries func(*http.Request) error
}

// New makes the handler of a log. mayReadEntries decides who reads entry
// bundles: it returns nil, or the refusal that is then the answer.
func New(src Source, mayReadEntries func(*http.Request) error) *Handler {
	return &Handler{src: src, mayReadEntries: mayReadEntries}
}

// The lifetime of answers. A checkpoint is asked for again each time, so that
// whoever pushed sees the push; hashes and entries never change.
const (
	cacheNever   = "no-store"
	cacheAsk     = "no-cache"
	cacheForever = "public, max-age=31536000, immutable"
	cachePrivate = "private, max-age=31536000, immutable"
)

// Serve answers GET and HEAD for paths under Mount. It returns an error
// instead of writing it, and then has written nothing.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return problem.New(problem.Unsupported, "method", "the log is only read here, and %s is not reading", r.Method).
			With("offered", "GET, HEAD")
	}
	if err := h.serve(w, r); err != nil {
		w.Header().Set("Cache-Control", cacheNever) // what is missing now may exist in a second
		return err
	}
	return nil
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	// The path as it was sent, since a decoded one would have other spellings.
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), Mount)
	if ok && path == "checkpoint" {
		text, err := h.src.Checkpoint(r.Context())
		if err != nil {
			return fmt.Errorf("read checkpoint: %w", err)
		}
		return answer(w, r, "text/plain; charset=utf-8", cacheAsk, text)
	}
	level, n, width, entries, err := tlog.ParseTilePath(path)
	if !ok || err != nil {
		return problem.New(problem.NotFound, "log-path", "the log serves nothing at %s", r.URL.Path).
			Suggest("ask for %scheckpoint, %stile/<level>/<index> or %stile/entries/<index>", Mount, Mount, Mount)
	}
	if entries {
		return h.serveEntries(w, r, n, width)
	}
	hashes, err := h.src.Tile(r.Context(), level, n, width)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if len(hashes) != width*len(tlog.Hash{}) {
		return fmt.Errorf("read %s: the log has %d bytes for %d hashes", path, len(hashes), width)
	}
	return answer(w, r, "application/octet-stream", cacheForever, hashes)
}

// serveEntries costs one range of at most 256 rows, and packing them when the
// client takes gzip: a full bundle of release leaves shrinks from 150 to 39 kB.
func (h *Handler) serveEntries(w http.ResponseWriter, r *http.Request, n int64, width int) error {
	if err := h.mayReadEntries(r); err != nil {
		return err
	}
	entries, err := h.src.Entries(r.Context(), n, width)
	if err != nil {
		return fmt.Errorf("read entry bundle %d: %w", n, err)
	}
	if len(entries) != width {
		return fmt.Errorf("read entry bundle %d: the log has %d entries instead of %d", n, len(entries), width)
	}
	data, err := tlog.EntryBundle(entries)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept-Encoding, Authorization")
	if acceptsGzip(r.Header) {
		if data, err = pack(data); err != nil {
			return err
		}
		w.Header().Set("Content-Encoding", "gzip")
	}
	return answer(w, r, "application/octet-stream", cachePrivate, data)
}

// pack compresses for speed: half of a bundle is hashes, on which more effort
// is lost.
func pack(data []byte) ([]byte, error) {
	var b bytes.Buffer
	zw, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, err = zw.Write(data)
	}
	if err == nil {
		err = zw.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack entry bundle: %w", err)
	}
	return b.Bytes(), nil
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3).
func acceptsGzip(h http.Header) bool {
	accepted := false
	for _, part := range strings.Split(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding != "gzip" && coding != "*" {
			continue
		}
		q, weighted := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
		accepted = !weighted || strings.Trim(q, "0.") != ""
		if coding == "gzip" {
			return accepted // named, it counts before the wildcard
		}
	}
	return accepted
}

func answer(w http.ResponseWriter, r *http.Request, mediaType, cache string, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Cache-Control", cache)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(data)
	return err
}
