//go:build unix && !solaris && !aix

package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held := func(exclusive bool) error {
		f, err := Lock(path, exclusive)
		if err == nil {
			err = f.Close()
		}
		return err
	}
	alone, err := Lock(path, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, exclusive := range []bool{true, false} {
		if err := held(exclusive); !errors.Is(err, ErrLocked) {
			t.Errorf("beside one that is alone, exclusive %v: %v", exclusive, err)
		}
	}
	alone.Close()
	shared, err := Lock(path, false)
	if err != nil {
		t.Fatal("after it was let go:", err)
	}
	defer shared.Close()
	if err := held(false); err != nil {
		t.Error("two that share:", err)
	}
	if err := held(true); !errors.Is(err, ErrLocked) {
		t.Error("alone beside one that shares:", err)
	}
	if _, err := Lock(filepath.Join(t.TempDir(), "none", "lock"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Error("no folder:", err)
	}
}
