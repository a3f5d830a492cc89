package blob_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/powerloss"
)

var _ storetest.BlobStore = (*blob.Dir)(nil)

func openDir(t testing.TB, path string) *blob.Dir {
	t.Helper()
	d, err := blob.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDir(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) func() storetest.BlobStore {
		path := filepath.Join(t.TempDir(), "store")
		return func() storetest.BlobStore { return openDir(t, path) }
	})
}

// TestForgettingDir shows that the file system of the other tests behaves like
// that of the operating system.
func TestForgettingDir(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) func() storetest.BlobStore {
		disk := powerloss.NewDisk(time.Now())
		return func() storetest.BlobStore {
			d, err := blob.OpenFS(disk.Boot())
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	})
}

// files returns the paths of all files below a folder, relative to it.
func files(t testing.TB, root string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			found = append(found, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestResumeAgainstCommit lets another process try to take an upload up while
// it is being committed. It may win before or lose after, but never get hold
// of the file once that is a blob.
func TestResumeAgainstCommit(t *testing.T) {
	path := t.TempDir()
	s, rival := openDir(t, path), openDir(t, path)
	for i := range 60 {
		content := fmt.Appendf(nil, "content %d", i)
		up, err := s.Begin(t.Context())
		if err == nil {
			_, err = up.Write(content)
		}
		if err == nil {
			err = up.Suspend()
		}
		if err != nil {
			t.Fatal(err)
		}
		if up, err = s.Resume(t.Context(), up.ID()); err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		group.Go(func() {
			for {
				taken, err := rival.Resume(t.Context(), up.ID())
				if problem.KindOf(err) == problem.Conflict {
					continue
				}
				if problem.KindOf(err) != problem.NotFound {
					t.Errorf("resumed what is being committed: %v", err)
				}
				if err == nil {
					_, _ = taken.Write([]byte("more"))
					_ = taken.Suspend()
				}
				return
			}
		})
		named, _, err := up.Commit(t.Context(), "")
		group.Wait()
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Open(t.Context(), named)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(digest.Verified(b, sha256Of(content))); err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, filepath.Join(path, "uploads")); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}
}
