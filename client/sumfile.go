package client

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// lockSuffix makes the name of the file that is written before it takes the
// place of the sum file. While somebody holds it, nobody else writes.
const lockSuffix = ".lock"

// errLocked says that somebody else holds the lock, or did a moment ago.
var errLocked = errors.New("locked")

// Waiting for another process that writes, which takes milliseconds.
const (
	lockPause = 25 * time.Millisecond
	lockWait  = 5 * time.Second
)

// ReadSum reads a sum file. One that is not there is an empty Sum.
func ReadSum(path string) (Sum, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Sum{}, nil
	}
	if err != nil {
		return Sum{}, sumFault(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSum+1))
	if err != nil {
		return Sum{}, sumFault(path, err)
	}
	s, err := ParseSum(text)
	if p, ok := problem.As(err); ok {
		return Sum{}, p.With("file", "%s", path)
	}
	return s, err
}

// WriteSum writes after, which verifying before led to, into a sum file: whole
// or not at all, and joined with what others wrote since before was read. The
// new text is written to FILE.lock, which only one process can hold, and then
// takes the file's place. Where the system has flock(2), a process that is killed
// holds it no longer, and the next one writes over what it left.
//
// Unavailable, rule "sum-locked", when another process holds the lock for
// longer than writing takes.
func WriteSum(ctx context.Context, path string, before, after Sum) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	lock, err := lockSum(ctx, path+lockSuffix)
	if err != nil {
		return err
	}
	placed := false
	defer func() {
		if !placed { // otherwise the name may be the lock of somebody else by now
			dropLock(lock)
		}
	}()
	now, err := ReadSum(path)
	if err != nil {
		return err
	}
	text, err := before.Merge(after, now).Marshal()
	if err != nil {
		return err
	}
	if _, err := lock.Write(text); err != nil {
		return sumFault(path, err)
	}
	if err := lock.Sync(); err != nil {
		return sumFault(path, err)
	}
	if err := placeLock(lock, path); err != nil {
		return sumFault(path, err)
	}
	placed = true
	syncFolder(filepath.Dir(path))
	return nil
}

// lockSum takes the lock, and waits while somebody else has it.
func lockSum(ctx context.Context, path string) (*os.File, error) {
	for deadline := time.Now().Add(lockWait); ; {
		f, err := takeLock(path)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, sumFault(path, err)
		}
		if time.Now().After(deadline) {
			return nil, problem.New(problem.Unavailable, "sum-locked", "another process writes the sum file").
				With("lock", "%s", path).
				Suggest("%s", lockAdvice(path))
		}
		timer := time.NewTimer(lockPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// syncFolder makes a new name durable. Some systems cannot; then the older
// file may be there after a power cut, which is whole too.
func syncFolder(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = d.Sync()
	_ = d.Close()
}

func sumFault(path string, err error) error {
	reason := err.Error()
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		reason = e.Err.Error()
	}
	return problem.New(problem.Unavailable, "sum-file", "the sum file %s cannot be used", path).With("reason", "%s", reason).Because(err)
}
