package watch

import (
	"bytes"
	"context"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Fingerprint keeps the fingerprints of our own releases that were made since
// it last did, so that deployments of them are known. Where the archives cannot
// be read now it ends, and goes on there when it is called again; one that is
// no chart to Helm, or whose bytes are lost, gets none.
// Cost: the archives of the new releases, one at a time.
func (s *Service) Fingerprint(ctx context.Context) error {
	const page = 100
	to, err := s.store.FingerprintedTo(ctx)
	if err != nil {
		return err
	}
	for {
		list, err := s.registry.ReleasesAfter(ctx, to, page)
		if err != nil {
			return err
		}
		for _, r := range list {
			what, err := s.fingerprintOf(ctx, r.Archive)
			if err != nil {
				return fmt.Errorf("take the fingerprint of %s/%s@%s: %w", r.Project, r.Chart, r.Version, err)
			}
			if err := s.store.KeepFingerprint(ctx, what, r); err != nil {
				return err
			}
			to = r.LogIndex
		}
		if len(list) < page {
			return nil
		}
	}
}

// fingerprintOf is the fingerprint of an archive that is kept, "" for one that
// has none.
func (s *Service) fingerprintOf(ctx context.Context, archive string) (string, error) {
	body, err := read(s.registry.OpenArchive(ctx, archive))(s.limits.Archive)
	if p, ok := problem.As(err); ok && (p.Kind == problem.Disproven || p.Rule == "blob-lost") {
		s.log.ErrorContext(ctx, "an archive has no fingerprint, since its bytes are damaged or lost", "digest", archive)
		return "", nil // and those after it are not kept waiting
	}
	if problem.KindOf(err) == problem.Gone {
		return "", nil // a tombstone took its bytes away before
	}
	if err != nil {
		return "", err
	}
	p, _, err := deployment.PrintArchive(bytes.NewReader(body), s.limits)
	if _, ok := problem.As(err); ok {
		return "", nil // it was taken over from an older repository
	}
	return p.Fingerprint, err
}
