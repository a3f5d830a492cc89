//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package client

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// TestMain holds a lock instead of running tests when it is told to: it has
// written the half of a file when it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("CLIENT_TEST_LOCK"); path != "" {
		f, err := takeLock(path)
		if err == nil {
			_, err = f.WriteString("chartkeep.sum/v1\nlog half")
		}
		if err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until its parent ends
		return
	}
	os.Exit(m.Run())
}

// TestWriteSumAfterKill kills a process while it writes. Until then nobody else
// does; afterwards the next one writes at once, and nothing of it is left.
func TestWriteSumAfterKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), SumName)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLIENT_TEST_LOCK="+path+lockSuffix)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	if f, err := takeLock(path + lockSuffix); !errors.Is(err, errLocked) {
		t.Fatalf("the lock is taken twice: %v, %v", f, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if b, err := os.ReadFile(path + lockSuffix); err != nil || len(b) == 0 {
		t.Fatalf("it left %q, %v", b, err)
	}
	want := sampleSum(t)
	if err := WriteSum(t.Context(), path, Sum{}, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadSum(path); err != nil || text(t, got) != text(t, want) {
		t.Errorf("the file has %+v, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// TestLockMoved: who opened the lock before its holder moved it to its place has
// opened the sum file, and does not write over it.
func TestLockMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), SumName)
	held, err := takeLock(path + lockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.WriteString("whole"); err != nil {
		t.Fatal(err)
	}
	late, err := os.OpenFile(path+lockSuffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := placeLock(held, path); err != nil {
		t.Fatal(err)
	}
	if err := lockOpen(late, path+lockSuffix); !errors.Is(err, errLocked) {
		t.Errorf("it is taken for the lock: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "whole" {
		t.Errorf("the sum file has %q, %v", b, err)
	}
}

// TestWriteSumStrangeLock: what stands in the lock's place and is none is left
// as it is.
func TestWriteSumStrangeLock(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, SumName), filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, path+lockSuffix); err != nil {
		t.Fatal(err)
	}
	if err := WriteSum(t.Context(), path, Sum{}, sampleSum(t)); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("a link: %v", err)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "precious" {
		t.Errorf("what it leads to is now %q, %v", b, err)
	}
}
