package remote

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Why an exchange was given up by us.
var (
	errTotal = errors.New("the whole took too long")
	errSlow  = errors.New("too few bytes in too long a time")
	errQueue = errors.New("waited for other requests to the same host")
)

// body is the body of an answer. It gives up on one that comes too slowly. Only
// the time counts in which somebody waits for it, so that a reader that is slow
// itself is not taken for a slow server.
type body struct {
	inner  io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	end    func()
	times  Times
	url    string

	waited time.Duration // in this window
	got    int
	once   sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	timer := time.AfterFunc(b.times.Window-b.waited, func() { b.cancel(errSlow) })
	n, err := b.inner.Read(p)
	timer.Stop()
	b.waited += time.Since(start)
	if b.got += n; b.got >= b.times.Least {
		b.waited, b.got = 0, 0
	} else if b.waited >= b.times.Window {
		b.cancel(errSlow)
	}
	if err == io.EOF {
		b.once.Do(b.end)
		return n, err
	}
	if err != nil {
		err = explain(b.ctx, err, b.url, nil)
	}
	return n, err
}

func (b *body) Close() error {
	b.once.Do(b.end)
	return b.inner.Close()
}

// read reads a body to its end, unpacking it where it came packed, and refuses
// more than limit bytes. It returns also how many bytes were transferred.
func read(r io.Reader, packed bool, length, limit int64, url string) ([]byte, int64, error) {
	counted := &counter{inner: r}
	r = counted
	if packed {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, counted.n, unpackable(err, url)
		}
		defer z.Close()
		r, length = z, -1
	}
	// A length that is a lie costs address space, until the answer ends. Of one
	// that is not known, pieces are collected, and put together at the end.
	var pieces [][]byte
	piece, total := make([]byte, 0, min(max(length, 64<<10), limit)+1), int64(0)
	for {
		if len(piece) == cap(piece) {
			pieces = append(pieces, piece)
			piece = make([]byte, 0, min(2*len(piece), maxPiece))
		}
		n, err := r.Read(piece[len(piece):cap(piece)])
		piece = piece[:len(piece)+n]
		if total += int64(n); total > limit {
			return nil, counted.n, overLimit(url, limit)
		}
		if err == io.EOF && pieces == nil {
			return piece, counted.n, nil
		}
		if err == io.EOF {
			return slices.Concat(append(pieces, piece)...), counted.n, nil
		}
		if err != nil {
			if packed {
				err = unpackable(err, url)
			}
			return nil, counted.n, err
		}
	}
}

// maxPiece is the most that is made room for at a time.
const maxPiece = 8 << 20

func overLimit(url string, limit int64) *problem.Error {
	return problem.New(problem.TooLarge, "remote-limit", "the answer of %s has more than %d bytes", url, limit)
}

// unpackable keeps the problems of the transfer, and makes one of what gzip
// says.
func unpackable(err error, url string) error {
	if _, ok := problem.As(err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return problem.New(problem.Invalid, "remote-answer", "the answer of %s says that it is gzip, and cannot be unpacked", url).Because(err)
}

// counter counts what was transferred.
type counter struct {
	inner io.Reader
	n     int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.inner.Read(p)
	c.n += int64(n)
	return n, err
}
