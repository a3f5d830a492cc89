package signer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	remotesigner "github.com/chartkeep/chartkeep/internal/remote/signer"
	"github.com/chartkeep/chartkeep/internal/signer"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// TestMain runs a signer instead of tests when it is told to.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SIGNER_TEST_FOLDER"); dir != "" {
		if err := signer.Serve(context.Background(), signer.Config{Folder: dir}, signer.Address{}, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestKill kills a signer at moments that nobody chose, while two histories are
// offered in turn. Whatever it gave away before, the one that starts after it
// knows; and of no size it ever gives two roots away.
func TestKill(t *testing.T) {
	dir, made := initialise(t, signer.Source{})
	secret := secretOf(t, made)
	a := newTree(t, "a", 250)
	b := a.fork(1, "b")
	roots := map[int64]tlog.Hash{} // of what was given away
	size := int64(0)
	// Takes a second or two. A signer that forgets could go on without an end.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for round := range 6 {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), "SIGNER_TEST_FOLDER="+dir), os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatalf("round %d: the signer did not start: %v", round, err)
		}
		c, err := remotesigner.New(nil, "unix://"+filepath.Join(dir, "signer.sock"), secret)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(15+13*round)*time.Millisecond, func() { cmd.Process.Kill() })
		for alive := true; alive; {
			if ctx.Err() != nil {
				t.Fatalf("round %d: the signer came to no end; %d heads were signed", round, len(roots))
			}
			for _, l := range []*tree{a, b} {
				text, err := c.SignHead(ctx, l.request(size, min(size+1, 250)))
				if conflict, ok := asSize(err); ok {
					if conflict < size || conflict > size+1 {
						t.Fatalf("round %d: it gave %d leaves away and knows of %d", round, size, conflict)
					}
					size = conflict // the answer was lost when it was killed
					continue
				}
				if err != nil {
					alive = alive && problem.KindOf(err) == problem.Disproven
					continue
				}
				cp, err := tlog.ParseCheckpoint(text)
				if err != nil {
					t.Fatal(err)
				}
				if root, ok := roots[cp.Size]; ok && root != cp.Root {
					t.Fatalf("round %d: two histories of %d leaves were signed", round, cp.Size)
				}
				roots[cp.Size], size = cp.Root, cp.Size
			}
			if size == 250 {
				break
			}
		}
		c.Close()
		cmd.Process.Kill()
		cmd.Wait()
	}
	if len(roots) < 10 {
		t.Errorf("only %d heads were signed in all", len(roots))
	}
	if s := open(t, dir); s.Size() < size {
		t.Errorf("at the end %d leaves are signed, and %d were given away", s.Size(), size)
	}
}

func asSize(err error) (int64, bool) {
	e, ok := errors.AsType[*tlog.SignedSize](err)
	if !ok {
		return 0, false
	}
	return e.Size, true
}
