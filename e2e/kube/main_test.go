package kube

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// kubernetes is the version that bed/go.mod pins. Without it the server calls
// itself v0.0.0, and charts that ask for a version refuse it.
const kubernetes = "v1.37.0"

// programs are built from modules of their own, or taken from the folder
// CHARTKEEP_CLIENTS: their packages and the folders of their modules.
var programs = map[string]struct{ module, pkg string }{
	"helm3": {"../clients/tools", "helm.sh/helm/v3/cmd/helm"},
	"helm4": {"../clients/tools", "helm.sh/helm/v4/cmd/helm"},
	"bed":   {"bed", "."},
}

var helms = []string{"helm3", "helm4"}

var built struct {
	mu  sync.Mutex
	dir string
	err map[string]error
}

var running struct {
	once       sync.Once
	dir        string
	kubeconfig string
	err        error
	stop       func()
}

func TestMain(m *testing.M) {
	code := daemontest.Run(m)
	if running.stop != nil {
		running.stop()
	}
	os.RemoveAll(running.dir)
	os.RemoveAll(built.dir)
	os.Exit(code)
}

// program is the path of a program, built once for a test binary.
func program(name string) (string, error) {
	if dir := os.Getenv("CHARTKEEP_CLIENTS"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "chartkeep-kube-")
		if err != nil {
			return "", err
		}
		built.dir, built.err = dir, map[string]error{}
	}
	path := filepath.Join(built.dir, name)
	err, done := built.err[name]
	if !done {
		args := []string{"build", "-o", path}
		if name == "bed" { // unoptimised, it builds in half the time and runs no slower
			major := "k8s.io/component-base/version."
			args = append(args, "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w -X "+major+"gitVersion="+kubernetes+" -X "+major+"gitMajor=1 -X "+major+"gitMinor=37")
		}
		cmd := exec.Command("go", append(args, programs[name].pkg)...)
		cmd.Dir = programs[name].module
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, buildErr := cmd.CombinedOutput(); buildErr != nil {
			err = fmt.Errorf("%w\n%s", buildErr, out)
		}
		built.err[name] = err
	}
	return path, err
}

// cluster is the kubeconfig of the one API server of this test binary. Tests
// keep apart by namespace.
func cluster(t *testing.T) string {
	t.Helper()
	running.once.Do(func() { running.err = start() })
	if running.err != nil {
		daemontest.Missing(t, "the Kubernetes API server: %v", running.err)
	}
	return running.kubeconfig
}

func start() error {
	bed, err := program("bed")
	if err != nil {
		return err
	}
	if running.dir, err = os.MkdirTemp("", "chartkeep-bed-"); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(running.dir, "log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(bed, running.dir)
	cmd.Stderr = log
	in, err := cmd.StdinPipe() // it ends when this does
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	running.stop = func() {
		in.Close()
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			<-done
		}
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("it did not become ready: %v\n%s", err, text[max(0, len(text)-4000):])
	}
	running.kubeconfig = filepath.Join(running.dir, "kubeconfig")
	return nil
}

// shell runs programs against the cluster in a home of their own.
type shell struct {
	t   *testing.T
	dir string
	env []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	home := t.TempDir()
	sh := &shell{t: t, dir: filepath.Join(home, "work")}
	if err := os.Mkdir(sh.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "HELM_") && !strings.HasPrefix(name, "CHARTKEEP_") && !strings.HasPrefix(name, "XDG_") {
			sh.env = append(sh.env, kv)
		}
	}
	sh.env = append(sh.env, "HOME="+home, "KUBECONFIG="+cluster(t), "LC_ALL=C", "TERM=dumb")
	return sh
}

// try runs a program ("chartkeep", or one of programs) and returns what it
// wrote to its two outputs.
func (sh *shell) try(name string, args ...string) (stdout, stderr string, err error) {
	sh.t.Helper()
	path := daemontest.Program(sh.t)
	if name != "chartkeep" {
		if path, err = program(name); err != nil {
			daemontest.Missing(sh.t, "%s cannot be built from its module: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(sh.t.Context(), 2*time.Minute) // building it has its own time
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = sh.dir, sh.env, &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// do runs a program that must succeed, and returns its standard output.
func (sh *shell) do(name string, args ...string) string {
	sh.t.Helper()
	out, errs, err := sh.try(name, args...)
	if err != nil {
		sh.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs)
	}
	return out
}

// file is the path of a file in testdata.
func (sh *shell) file(name string) string {
	sh.t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		sh.t.Fatal(err)
	}
	return path
}
