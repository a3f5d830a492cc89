package durable

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// A file is the old or the new one, with its mode, and nothing else is left.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	holds := func(want string, mode fs.FileMode) {
		t.Helper()
		b, err := Read(path, 100)
		info, serr := os.Stat(path)
		if err != nil || serr != nil || string(b) != want || info.Mode().Perm() != mode {
			t.Fatalf("%q, %v, %v", b, info, errors.Join(err, serr))
		}
		if got := names(t, dir); len(got) != 1 {
			t.Fatalf("left in the folder: %v", got)
		}
	}
	for _, c := range []struct {
		text string
		mode fs.FileMode
	}{{"first", 0o600}, {"second, and longer", 0o644}, {"", 0o600}} {
		if err := Replace(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		holds(c.text, c.mode)
	}
	if err := Replace(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := ReplaceBy(path, 0o644, func(w io.Writer) error {
		_, _ = w.Write([]byte("half of it"))
		return broken
	}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	holds("kept", 0o600)
	if err := Replace(filepath.Join(dir, "none", "state"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its folder: %v", err)
	}
	// What cannot be replaced leaves nothing behind.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left in the folder: %v", got)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Read(path, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	for _, n := range []int{0, 1, 10, 11, 5000} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), n), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Read(path, 10)
		if n <= 10 && (err != nil || len(b) != n) || n > 10 && problem.KindOf(err) != problem.TooLarge {
			t.Errorf("of %d bytes: %d, %v", n, len(b), err)
		}
	}
}
