package release

import (
	"context"
	"io"
)

// KeepBlob stores bytes that are no release, durably and visible to no
// repository, and returns their digest and size. It asks for no right: see
// OpenKept. An error of content is returned wrapped; then nothing is kept.
func (s *Service) KeepBlob(ctx context.Context, content io.Reader) (digest string, size int64, err error) {
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
