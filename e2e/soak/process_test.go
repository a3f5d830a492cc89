package soak

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// front is an address that stays while the processes behind it come and go, as
// that of a service in a cluster. A connection lives as long as its process.
type front struct {
	ln net.Listener

	mu     sync.Mutex
	behind []string // addresses
	turn   int
}

func newFront(t *testing.T) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{ln: ln}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go f.join(c)
		}
	}()
	return f
}

func (f *front) URL() string { return "http://" + f.ln.Addr().String() }

// add and remove say who is behind the address.
func (f *front) add(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = append(f.behind, addr)
}

func (f *front) remove(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = slices.DeleteFunc(f.behind, func(a string) bool { return a == addr })
}

// pick is who takes the next connection, "" for nobody.
func (f *front) pick() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.behind) == 0 {
		return ""
	}
	f.turn++
	return f.behind[f.turn%len(f.behind)]
}

// join carries bytes both ways until one side ends.
func (f *front) join(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", f.pick())
	if err != nil {
		return
	}
	defer to.Close()
	ended := make(chan struct{}, 2)
	carry := func(w, r net.Conn) {
		_, _ = io.Copy(w, r)
		ended <- struct{}{}
	}
	go carry(to, c)
	go carry(c, to)
	<-ended
}

// child is a process of the program.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended

	mu        sync.Mutex
	out, errs bytes.Buffer
}

// launch starts the program. Every line that it prints on stdout goes to said
// as well, when that is not nil.
func launch(program, dir string, env []string, said func(line string), args ...string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	c.cmd.Dir = dir
	c.cmd.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, env...)
	dieWithParent(c.cmd)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() { // from a thread that lives as long as the process
		runtime.LockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			<-c.ended
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() { c.read(out, &c.out, said) })
	readers.Go(func() { c.read(errs, &c.errs, nil) })
	go func() {
		readers.Wait()
		_ = c.cmd.Wait() // how it ended is in its state
		close(c.ended)
	}()
	return c, nil
}

// read takes lines to the end. A line without an end is of a process that was
// killed while it wrote, and is nobody's word.
func (c *child) read(r io.Reader, to *bytes.Buffer, said func(string)) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		c.mu.Lock()
		if to.Len() < 1<<20 {
			to.WriteString(line)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
		if said != nil {
			said(strings.TrimSuffix(line, "\n"))
		}
	}
}

// kill ends the process at once and returns when it is gone. It says whether
// it was still there.
func (c *child) kill() bool {
	select {
	case <-c.ended:
		return false
	default:
	}
	_ = c.cmd.Process.Kill()
	<-c.ended
	return true
}

func (c *child) text() (out, errs string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String(), c.errs.String()
}

// outcome is what a command came to.
type outcome struct {
	killed    bool
	code      int
	out, errs string
}

func (o outcome) String() string {
	if o.killed {
		return "it was killed"
	}
	return fmt.Sprintf("exit code %d\n%s%s", o.code, o.out, o.errs)
}

// outcome waits for the end.
func (c *child) outcome() outcome {
	<-c.ended
	out, errs := c.text()
	return outcome{c.cmd.ProcessState.ExitCode() < 0, c.cmd.ProcessState.ExitCode(), out, errs}
}
