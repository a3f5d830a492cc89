package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/digest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"chartkeep": func() {
			os.Exit(Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
		},
	})
}

// TestScripts runs the scripts, each beside a server of its own:
//
//	$CHARTKEEP_SERVER, $CHARTKEEP_TOKEN  the server, and its first administrator
//	$OCI                                 its OCI door, oci://HOST
//	$LOGKEY, $AUDITKEY                   the files with the keys of its logs
//	$LIAR                                the same server behind one that changes archives
//	$OLD                                 an old repository, which is the folder old
//
// The server has a credential "hooks" for $OLD, which takes every request.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsWith, "pack": pack, "flip": flip, "cut": cut, "capture": capture, "sum": sum, "prov": prov, "keys": keys, "until": untilMatch, "twin": twin, "fill": fill,
		},
	})
}

func setup(env *testscript.Env) error {
	data := filepath.Join(env.WorkDir, ".data")
	cfg := daemon.Default()
	cfg.Data, cfg.Listen, cfg.AllowNetworks = data, "127.0.0.1:0", []string{"127.0.0.0/8"}
	old := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(env.WorkDir, "old"))))
	cfg.Credentials = filepath.Join(env.WorkDir, ".credentials.yaml")
	err := errors.Join(
		os.WriteFile(filepath.Join(env.WorkDir, ".hook-secret"), []byte("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"), 0o600),
		os.WriteFile(cfg.Credentials, []byte("credentials:\n  hooks: {host: \""+strings.TrimPrefix(old.URL, "http://")+"\", secret_file: .hook-secret}\n"), 0o600))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	d, err := daemon.Open(ctx, cfg, io.Discard)
	if err != nil {
		stop()
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	token, err := os.ReadFile(filepath.Join(data, "admin-token"))
	if err != nil {
		stop()
		return err
	}
	target, err := url.Parse(d.URL())
	if err != nil {
		stop()
		return err
	}
	liar := httptest.NewServer(lying(target))
	env.Defer(func() {
		liar.Close()
		old.Close()
		stop()
		if err := errors.Join(<-ended, d.Close()); err != nil {
			panic(err)
		}
	})
	env.Setenv("CHARTKEEP_SERVER", d.URL())
	env.Setenv("OCI", "oci"+strings.TrimPrefix(d.URL(), "http"))
	env.Setenv("CHARTKEEP_TOKEN", strings.TrimSpace(string(token)))
	env.Setenv("LOGKEY", filepath.Join(data, "log.vkey"))
	env.Setenv("AUDITKEY", filepath.Join(data, "audit.vkey"))
	env.Setenv("LIAR", liar.URL)
	env.Setenv("OLD", old.URL)
	return nil
}

// lying is a server that passes everything on, and changes one bit of archives.
func lying(target *url.URL) http.Handler {
	p := httputil.NewSingleHostReverseProxy(target)
	p.ModifyResponse = func(r *http.Response) error {
		if !strings.HasSuffix(r.Request.URL.Path, ".tgz") || r.StatusCode != http.StatusOK {
			return nil
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		return nil
	}
	return p
}

// exits CODE PROGRAM ARG... runs a program and checks its exit code.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	path := args[1]
	if !strings.Contains(path, string(filepath.Separator)) {
		for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(filepath.ListSeparator)) {
			if _, err := os.Stat(filepath.Join(dir, path)); err == nil {
				path = filepath.Join(dir, path)
				break
			}
		}
	}
	cmd := exec.CommandContext(ctx, path, args[2:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), ts.Stdout(), ts.Stderr()
	for _, name := range []string{"PATH", "HOME", "CHARTKEEP_SERVER", "CHARTKEEP_TOKEN", "CHARTKEEP_DATABASE", "NO_COLOR", "CLICOLOR_FORCE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if err != nil && code < 0 {
		ts.Fatalf("run: %v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// until REGEXP PROGRAM ARG... runs a program until its output matches. What a
// server does by itself takes its time; a minute is more than it may.
func untilMatch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	for begin := time.Now(); ; {
		_ = ts.Exec(args[1], args[2:]...) // it may fail at first
		out := ts.ReadFile("stdout")
		if want.MatchString(out) {
			return
		}
		if time.Since(begin) > time.Minute {
			ts.Fatalf("no match for %s in a minute; last:\n%s%s", args[0], out, ts.ReadFile("stderr"))
		}
	}
}

// pack FILE NAME VERSION [TEXT] [IMAGE] packs a chart; other TEXT, other bytes.
// With IMAGE it runs one.
func pack(ts *testscript.TestScript, _ bool, args []string) {
	extra := map[string]string{}
	if len(args) >= 4 {
		extra["README.md"] = args[3]
	}
	if len(args) == 5 {
		extra["templates/web.yaml"] = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: '" + args[4] + "'}]}\n"
	}
	file := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	ts.Check(os.WriteFile(file, charttest.Build(&scriptTB{ts: ts}, args[1], args[2], extra), 0o644))
}

// prov FILE NAME VERSION writes FILE.prov, whose signature is none.
func prov(ts *testscript.TestScript, _ bool, args []string) {
	text := fmt.Sprintf("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nname: %s\nversion: %s\n\n...\nfiles:\n  %s-%s.tgz: %s\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n=AAAA\n-----END PGP SIGNATURE-----\n",
		args[1], args[2], args[1], args[2], digest.SHA256([]byte(ts.ReadFile(args[0]))))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".prov"), []byte(text), 0o644))
}

// flip FILE OFFSET changes one bit.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	b := []byte(ts.ReadFile(args[0]))
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// cut FILE SIZE cuts a file short.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// capture NAME sets a variable to the last output.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// sum FILE checks that the last output has the file's digest.
func sum(ts *testscript.TestScript, neg bool, args []string) {
	if d := digest.SHA256([]byte(ts.ReadFile(args[0]))); strings.Contains(ts.ReadFile("stdout"), d) == neg {
		ts.Fatalf("digest %s; in the output: %v", d, !neg)
	}
}

// scriptTB lets a script use helpers for tests.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s *scriptTB) Helper()                        {}
func (s *scriptTB) Fatalf(format string, a ...any) { s.ts.Fatalf(format, a...) }
