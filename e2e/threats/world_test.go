package threats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// world is a server with its users, all of one program.
type world struct {
	*testing.T
	program string
	server  *daemontest.Server
	dir     string // the users' folder
}

// answer is what a command said and how it ended.
type answer struct {
	code     int
	out, err string
}

func (a answer) text() string { return a.out + a.err }

// newWorld starts a server of a program.
func newWorld(t *testing.T, program string, flags ...string) *world {
	w := &world{T: t, program: program, dir: t.TempDir()}
	w.start(filepath.Join(w.dir, "data"), flags...)
	return w
}

func (w *world) start(data string, flags ...string) {
	w.Helper()
	w.server = w.serve(data, flags...)
}

func (w *world) serve(data string, flags ...string) *daemontest.Server {
	w.Helper()
	return daemontest.Start(w.T, daemontest.Options{Data: data, Flags: flags, Prepare: func(cmd *exec.Cmd) { cmd.Path, cmd.Args[0] = w.program, w.program }})
}

// as runs a command of the program as whoever has a token.
func (w *world) as(token string, args ...string) answer {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "CHARTKEEP_SERVER=" + w.server.URL, "CHARTKEEP_TOKEN=" + token}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatalf("chartkeep %s: %v", strings.Join(args, " "), err)
	}
	return answer{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// admin runs a command as the administrator.
func (w *world) admin(args ...string) answer { w.Helper(); return w.as(w.server.Admin, args...) }

// ok wants a command to succeed and returns what it printed.
func (w *world) ok(a answer) string {
	w.Helper()
	if a.code != 0 {
		w.Fatalf("exit code %d\n%s", a.code, a.text())
	}
	return strings.TrimSpace(a.out)
}

// pack writes a chart archive and returns its file name.
func (w *world) pack(folder, name, version, extra string) string {
	w.Helper()
	files := map[string]string{"values.yaml": "image: web\n"}
	if extra != "" {
		files["templates/extra.yaml"] = "# " + extra + "\n"
	}
	b := charttest.Build(w.T, name, version, files)
	path := filepath.Join(folder, fmt.Sprintf("%s-%s.tgz", name, version))
	full := filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(full, b, 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// token makes a token with a role in the project demo.
func (w *world) token(role string) string {
	w.Helper()
	return w.ok(w.admin("token", "create", "--project", "demo", "--role", role, "--name", role, "-q"))
}

// logKey writes the log's key, as it was handed over on another way, to a file.
func (w *world) logKey() string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.server.Data, "log.vkey"))
	if err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "log.vkey"), b, 0o600); err != nil {
		w.Fatal(err)
	}
	return "log.vkey"
}
