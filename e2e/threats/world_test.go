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
	off     string // checks that are taken out of it
	flags   []string
	server  *daemontest.Server
	dir     string // the users' folder
}

// answer is what a command said and how it ended.
type answer struct {
	code     int
	out, err string
}

func (a answer) text() string { return a.out + a.err }

// newWorld makes a world of a program without some checks. start starts its
// server.
func newWorld(t *testing.T, program string, off []string) *world {
	return &world{T: t, program: program, off: envOff + "=" + strings.Join(off, ","), dir: t.TempDir()}
}

// start starts the server on its data folder.
func (w *world) start(flags ...string) {
	w.Helper()
	w.flags = flags
	w.startOn(filepath.Join(w.dir, "data"))
}

func (w *world) options(data string) daemontest.Options {
	return daemontest.Options{Data: data, Flags: w.flags, Env: []string{w.off}, Prepare: func(cmd *exec.Cmd) { cmd.Path, cmd.Args[0] = w.program, w.program }}
}

// startOn starts the server on a data folder.
func (w *world) startOn(data string) {
	w.Helper()
	w.server = daemontest.Start(w.T, w.options(data))
}

// startAnyway starts a server that may not become ready, such as one that is
// read-only. It returns what a server said that did not even come up.
func (w *world) startAnyway(data string) error {
	w.Helper()
	opt := w.options(data)
	opt.NotReady = true
	s, err := daemontest.Try(w.T, opt)
	if err == nil {
		w.server = s
	}
	return err
}

// as runs a command of the program as whoever has a token.
func (w *world) as(token string, args ...string) answer {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "CHARTKEEP_TOKEN=" + token, w.off}
	if w.server != nil {
		cmd.Env = append(cmd.Env, "CHARTKEEP_SERVER="+w.server.URL)
	}
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

// key copies a public key out of the data folder, as it was handed over on
// another way: log.vkey or audit.vkey.
func (w *world) key(name string) string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.server.Data, name))
	if err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), b, 0o600); err != nil {
		w.Fatal(err)
	}
	return name
}

func (w *world) stop() {
	w.Helper()
	if err := w.server.Stop(); err != nil {
		w.Fatal(err)
	}
}

// copyOfStopped stops the server, copies its data folder with all keys, and
// starts it again.
func (w *world) copyOfStopped() string {
	w.Helper()
	w.stop()
	to := filepath.Join(w.dir, "copy")
	if err := os.CopyFS(to, os.DirFS(w.server.Data)); err != nil {
		w.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "log.key"), 0o600); err != nil {
		w.Fatal(err)
	}
	w.startOn(w.server.Data)
	return to
}

// blob is the file of a blob.
func (w *world) blob(digest string) string {
	w.Helper()
	var found string
	hex := strings.TrimPrefix(digest, "sha256:")
	err := filepath.WalkDir(filepath.Join(w.server.Data, "blobs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, hex) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		w.Fatalf("no file of %s: %v", digest, err)
	}
	return found
}

// overwrite puts a file of the users in the place of another one, behind the
// server's back.
func (w *world) overwrite(path, file string) {
	w.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(w.read(file)), 0o600); err != nil {
		w.Fatal(err)
	}
}

// flip changes one bit of a file behind the server's back.
func flip(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// witness makes a witness and returns its key. It never runs: whoever has the
// log's key alone has no cosignature.
func (w *world) witness(logKey string) string {
	w.Helper()
	return w.ok(w.as("", "witness", "init", "--name", "witness.example.com/w1", "--log", logKey, "-q"))
}
