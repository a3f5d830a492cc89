package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// part is something that a leaf names by its digest, and what is stored of it.
type part struct {
	index int64
	leaf  *tlog.Release
	what  string // manifest, config, provenance, archive
	want  string // the digest in the log
	found string // of what is stored, "" when nothing is
}

// settle tells what is wrong with a part. Bytes that are gone may have been
// taken by a tombstone since their release was compared: its leaf was there
// first. Cost: nothing for a part that is whole, else a look-up.
func (e *Examination) settle(ctx context.Context, p *part) error {
	if p.found != p.want {
		ended, err := e.endedSince(ctx, p)
		if err != nil {
			return err
		}
		if !ended {
			e.find(damage(p))
		}
	}
	return e.told()
}

// endedSince reads the log on where it has grown, and reports whether it has a
// tombstone of the release of a part whose bytes are gone.
func (e *Examination) endedSince(ctx context.Context, p *part) (bool, error) {
	if p.found != "" || e.walk.lost {
		return false, nil
	}
	head, err := e.Stored.StoredHead(ctx, ReleaseLog)
	if err == nil && head.Size > e.walk.edge.Size() {
		err = e.grow(ctx, e.walk)
	}
	if err != nil && problem.KindOf(err) != problem.NotFound { // a head that is gone is told by the walk
		return false, err
	}
	f := e.state.fates[p.index]
	return f != nil && f.end >= 0, nil
}

// damage is the finding of bytes that are not those of the log, or are gone.
func damage(p *part) Finding {
	f := subject(BytesMissing, p.index, p.leaf)
	f.Logged, f.Found = p.want, p.found
	f.Message = fmt.Sprintf("the %s of %s is missing: %s", p.what, refOf(p.leaf), p.want)
	if p.found != "" {
		f.Kind = BytesChanged
		f.Message = fmt.Sprintf("the stored %s of %s is not the one in the log", p.what, refOf(p.leaf))
	}
	f.Key = "bytes " + p.want // missing or damaged, it is the same thing until it is whole
	f.Try = "bring the bytes back from any folder that has them: chartkeep fsck --data DIR --restore-from FOLDER"
	if p.what == "manifest" {
		f.Try = "restore the database from a backup"
	}
	return f
}

// inDatabase fills in what the database has of a part. Where it has nothing,
// and the blob store may, it reports true. b is what it is known to have.
func (e *Examination) inDatabase(ctx context.Context, p *part, b []byte) (blob bool, err error) {
	switch {
	case b != nil:
	case p.what == "archive":
		return true, nil
	case p.what == "manifest":
		b, err = e.Stored.StoredManifest(ctx, p.leaf.Project+"/"+p.leaf.Chart, p.want)
	default:
		b, err = e.Stored.SmallBlob(ctx, p.want)
	}
	switch {
	case err != nil && problem.KindOf(err) != problem.NotFound:
		return false, err
	case b == nil:
		return p.what != "manifest", nil
	case digest.Matches(b, p.want):
		p.found = p.want
	default:
		p.found = digest.SHA256(b)
	}
	return false, nil
}

// A blob is read by one hasher, and several are at it: more than a few gain
// nothing on one disk, and take the cores from whoever is served.
const (
	maxHashers = 4
	hashBuffer = 256 << 10 // is read of a blob at a time
)

// hasher is what one goroutine needs to hash blobs, made when it is needed.
type hasher struct {
	buffer []byte
	sum    hash.Hash
}

// hashAll begins to hash the parts of a page, and returns at once. The function
// that it returns waits for the end, and tells what was found in the order of
// the log; it must be called before hashAll is again.
func (e *Examination) hashAll(ctx context.Context, parts []part) func() error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(e.hashers))
	for i := range min(len(e.hashers), len(parts)) {
		wg.Go(func() {
			for errs[i] == nil {
				at := int(next.Add(1)) - 1
				if at >= len(parts) {
					return
				}
				parts[at].found, errs[i] = e.hash(ctx, &e.hashers[i], parts[at].want)
			}
			next.Store(int64(len(parts))) // the others need not go on
		})
	}
	return func() error {
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		for i := range parts {
			if err := e.settle(ctx, &parts[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// hash reads a blob and returns its digest, "" when there is none.
func (e *Examination) hash(ctx context.Context, h *hasher, want string) (string, error) {
	f, err := e.Blobs.Open(ctx, want)
	switch problem.KindOf(err) {
	case problem.NotFound:
		return "", nil
	case problem.Disproven:
		return "unreadable", nil
	}
	if err != nil {
		return "", fmt.Errorf("check blob %s: %w", want, err)
	}
	defer f.Close()
	alg, _, err := digest.Split(want)
	if err != nil {
		return "", err
	}
	if h.sum == nil {
		h.buffer, h.sum = make([]byte, hashBuffer), sha256.New()
	}
	sum := h.sum
	if alg != "sha256" {
		if sum, err = digest.NewHash(alg); err != nil {
			return "", err
		}
	}
	sum.Reset()
	var size int64
	for {
		n, err := f.Read(h.buffer)
		sum.Write(h.buffer[:n]) // a hash never fails
		size += int64(n)
		if werr := e.pace.wait(ctx, n); werr != nil {
			return "", werr
		}
		if err == io.EOF {
			break
		}
		if problem.KindOf(err) == problem.Disproven {
			return "unreadable", nil
		}
		if err != nil {
			return "", fmt.Errorf("check blob %s: %w", want, err)
		}
	}
	err = e.did(func(c *ScrubCounts) { c.Blobs++; c.Bytes += size })
	return alg + ":" + hex.EncodeToString(sum.Sum(nil)), err
}

// did counts what was done, and tells how far it is.
func (e *Examination) did(count func(*ScrubCounts)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	count(e.count)
	if e.Progress == nil {
		return nil
	}
	return e.Progress()
}

// pacer keeps all reading to a rate together.
type pacer struct {
	rate int64      // bytes a second; 0 is no bound
	mu   sync.Mutex // held while one waits: the others would have to as well
	read int64
	from time.Time
}

// wait takes note of bytes that were read, and waits when they were too many.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from.IsZero() {
		p.from = time.Now()
	}
	p.read += int64(n)
	ahead := time.Duration(float64(p.read)/float64(p.rate)*float64(time.Second)) - time.Since(p.from)
	const grain = 20 * time.Millisecond // shorter pauses cost more than they save
	if ahead < grain {
		if ahead < -time.Second { // what was not used is not saved up
			p.read, p.from = 0, time.Now()
		}
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
