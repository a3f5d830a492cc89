package release

import (
	"bytes"
	"context"
	"io"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// OpenKept opens an archive by its digest, whether it is released or was kept
// by KeepArchive. Reading fails before the end when the bytes are not those of
// the digest. It asks for no right: it serves other rooms of this server.
func (s *Service) OpenKept(ctx context.Context, d string) (io.ReadCloser, error) {
	f, err := s.blobs.Open(ctx, d)
	if problem.KindOf(err) == problem.NotFound {
		if erased, eerr := s.store.ErasedBlob(ctx, d); eerr == nil && erased {
			return nil, problem.New(problem.Gone, RuleTombstone, "the bytes of %s are gone for good: a release that had them has a tombstone", d)
		}
	}
	if err != nil {
		return nil, missing(err, d)
	}
	return struct {
		io.Reader
		io.Closer
	}{digest.Verified(f, d), f}, nil
}

// KeepArchive stores an archive that is no release, durably and visible to no
// repository, and returns its digest. It asks for no right: see OpenKept.
func (s *Service) KeepArchive(ctx context.Context, archive []byte) (string, error) {
	d := digest.SHA256(archive)
	_, err := s.blobs.Stat(ctx, d)
	if err == nil || problem.KindOf(err) != problem.NotFound {
		return d, err
	}
	if err := s.notErasing(ctx, d); err != nil {
		return d, err
	}
	_, _, err = s.KeepBlob(ctx, bytes.NewReader(archive))
	return d, err
}

// KeepBlob stores bytes that are no release, durably and visible to no
// repository, and returns their digest and size. It asks for no right: see
// OpenKept. An error of content is returned wrapped; then nothing is kept.
func (s *Service) KeepBlob(ctx context.Context, content io.Reader) (name string, size int64, err error) {
	u, err := s.blobs.Begin(ctx)
	if err != nil {
		return "", 0, err
	}
	defer u.Cancel()
	if _, err := u.ReadFrom(content); err != nil {
		return "", 0, err
	}
	return u.Commit(ctx, "")
}
