package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Main runs the command that args name (without the name of the program) and
// returns the exit code. Env has the form of os.Environ. Terminals are
// recognised when the streams are files. Main returns soon after ctx ends.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, environ: env, now: time.Now}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "interrupted")
		return exitInterrupted
	}
	a.tellError(err)
	return exitOf(err)
}

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	now            func() time.Time
	global         globalOptions
}

// defaultServer is where serve listens by default.
const defaultServer = "http://127.0.0.1:8080"

// env returns a variable of the environment, "" when it is not set.
func (a *app) env(name string) string {
	for _, kv := range a.environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// server is the URL of the server that was given, "" for none.
func (a *app) server() string { return cmp.Or(a.global.server, a.env("CHARTKEEP_SERVER")) }

// client makes the client for the server and the token that were given.
func (a *app) client() (*client.Client, error) {
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	return a.connect(cmp.Or(a.server(), defaultServer), token)
}

// connect makes the client of any server.
func (a *app) connect(server, token string) (*client.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 2 * time.Minute
	c, err := client.New(server, token, client.Options{
		HTTP:      &http.Client{Transport: transport},
		UserAgent: userAgent(),
	})
	return c, asUsage(err)
}

func (a *app) token() (string, error) {
	if a.global.tokenFile == "" {
		return a.env("CHARTKEEP_TOKEN"), nil
	}
	b, err := readFile(a.global.tokenFile, 4<<10)
	if err != nil {
		return "", asUsage(err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// terminal returns the file descriptor of a stream that is a terminal.
func terminal(stream any) (int, bool) {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// columns is the width of a stream that is a terminal, otherwise 0.
func columns(stream any) int {
	fd, ok := terminal(stream)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil {
		return 0
	}
	return width
}

// colorFor decides whether a stream gets colour: --color, then NO_COLOR, then
// CLICOLOR_FORCE, then whether it is a terminal that can do it.
func (a *app) colorFor(stream any) bool {
	switch a.global.color {
	case "always":
		return true
	case "never":
		return false
	}
	if a.env("NO_COLOR") != "" {
		return false
	}
	if force := a.env("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	_, ok := terminal(stream)
	return ok && a.env("TERM") != "dumb"
}

// print writes a result to stdout.
func (a *app) print(r result) error {
	p := printer{out: a.stdout, form: a.global.form, quiet: a.global.quiet, width: columns(a.stdout)}
	p.color = p.form == formTable && a.colorFor(a.stdout)
	return p.print(r)
}

// say tells a person something beside the result.
func (a *app) say(format string, args ...any) {
	for _, line := range wrap(printable(fmt.Sprintf(format, args...)), columns(a.stderr)) {
		fmt.Fprintln(a.stderr, line)
	}
}

// warn is say with a label.
func (a *app) warn(format string, args ...any) {
	label := paint("Warning:", toneWarn, a.colorFor(a.stderr))
	lines := wrap(printable(fmt.Sprintf(format, args...)), columnsAfter(columns(a.stderr), len("Warning: ")))
	fmt.Fprintln(a.stderr, label+" "+strings.Join(lines, "\n         "))
}

// tellError writes an error to stderr: what is wrong, the facts, what to do.
func (a *app) tellError(err error) {
	_, answered := errors.AsType[answer](err)
	_, compared := errors.AsType[differs](err)
	_, reported := errors.AsType[findings](err)
	if err == nil || answered || compared || reported {
		return
	}
	color, width := a.colorFor(a.stderr), columns(a.stderr)
	p, ok := problem.As(err)
	if !ok {
		p = problem.New(problem.Internal, "", "%v", err)
	}
	var b bytes.Buffer
	lines := wrap(printable(p.Message), columnsAfter(width, len("Error: ")))
	b.WriteString(paint("Error:", toneBad, color) + " " + strings.Join(lines, "\n       ") + "\n")
	facts := make([]fact, len(p.Facts))
	for i, f := range p.Facts {
		facts[i] = fact{f.Label, f.Value}
	}
	writeFacts(&b, facts, "  ", width, false)
	if p.Try != "" {
		b.WriteString(paint("Try:", toneBold, color) + "  " + printable(p.Try) + "\n")
	}
	_, _ = a.stderr.Write(b.Bytes()) // there is no other place to say it
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileProblem(path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileProblem(path, err)
	}
	if int64(len(b)) > limit {
		return nil, problem.New(problem.TooLarge, "file-size", "the file %s is too large for what it should be", path).
			With("limit", "%s bytes", thousands(limit))
	}
	return b, nil
}

// fileProblem words an error of the file system.
func fileProblem(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return problem.New(problem.NotFound, "file", "there is no file %s", path).Because(err)
	}
	reason := err.Error()
	if e, ok := errors.AsType[*os.PathError](err); ok {
		reason = e.Err.Error()
	}
	return problem.New(problem.Unavailable, "file", "the file %s cannot be used", path).With("reason", "%s", reason).Because(err)
}

// thousands writes a number with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// stamp writes a time for a table, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}

// day writes the day of a time, "" for none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// stampSeconds writes a time for a fact, "" for none.
func stampSeconds(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// short shortens a digest for a table: enough to tell two apart by eye, not to
// prove anything.
func short(digest string) string {
	alg, hex, ok := strings.Cut(digest, ":")
	if !ok || len(hex) < 16 {
		return digest
	}
	return alg + ":" + hex[:12]
}
