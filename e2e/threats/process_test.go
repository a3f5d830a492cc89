package threats

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// beside starts another process of the program, such as a witness, that the
// test's end kills. It returns what its first line that the pattern matches has
// in the pattern's group.
func (w *world) beside(pattern string, args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), w.program, args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), w.off}
	// One pipe for both streams, which no test's end waits for: the kill closes it.
	from, to, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = to, to
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	to.Close()
	found, ended := make(chan string, 1), make(chan struct{})
	var said bytes.Buffer
	go func() {
		defer close(ended)
		match := regexp.MustCompile(pattern)
		for lines := bufio.NewScanner(from); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if m := match.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case found <- m[1]:
				default: // the first one counts
				}
			}
		}
		from.Close()
	}()
	w.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
		if w.Failed() {
			w.Logf("chartkeep %s said:\n%s", args[0], &said)
		}
	})
	select {
	case address := <-found:
		return address
	case <-ended:
		w.Fatalf("chartkeep %s ended:\n%s", args[0], &said)
	case <-time.After(daemontest.Patience):
		w.Fatalf("chartkeep %s says nothing like %s", args[0], pattern)
	}
	return ""
}

// cosign asks a witness to cosign what the server shows as its newest
// checkpoint, and returns what the witness said and the checkpoint's size.
func (w *world) cosign(witness string, old int64) (said string, size int64) {
	w.Helper()
	text, err := w.server.Client(w.server.Admin).Checkpoint(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		w.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, witness+"/add-checkpoint", bytes.NewReader(tlog.WitnessRequest{Old: old, Checkpoint: text}.Marshal()))
	if err != nil {
		w.Fatal(err)
	}
	how, answer := w.do(req)
	return how + "\n" + string(answer), cp.Size
}

// do makes a request and returns its status and its answer.
func (w *world) do(req *http.Request) (how string, answer []byte) {
	w.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err = io.ReadAll(res.Body); err != nil {
		w.Fatal(err)
	}
	return "status " + strconv.Itoa(res.StatusCode), answer
}
