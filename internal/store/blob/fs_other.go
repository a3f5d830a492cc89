//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package blob

import "github.com/chartkeep/chartkeep/internal/problem"

// newOSFS refuses: without flock(2), link(2) and the sync of a folder the
// promises of this package cannot be kept.
func newOSFS(string) (FS, error) {
	return nil, problem.New(problem.Unsupported, "blob-store-system", "a blob store in a folder needs a Unix-like system")
}
