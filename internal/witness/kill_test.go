package witness_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

// TestMain runs a witness instead of tests when it is told to.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WITNESS_TEST_FOLDER"); dir != "" {
		if err := serveFolder(dir, os.Getenv("WITNESS_TEST_LOG")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveFolder(dir, vkey string) error {
	logs, err := tlog.ParseLogList([]byte(vkey))
	if err != nil {
		return err
	}
	w, err := witness.Open(witness.Config{Folder: dir, Logs: logs})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return http.Serve(ln, w)
}

// TestKill kills a witness at moments that nobody chose. Whatever it gave away
// before, the one that starts after it knows.
func TestKill(t *testing.T) {
	l := newTree(t, origin, 1)
	dir := initialise(t, false, l.known("")...)
	given := int64(0) // the size of the largest checkpoint that was cosigned
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "WITNESS_TEST_FOLDER="+dir, "WITNESS_TEST_LOG="+l.vkey)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("round %d: the witness did not start: %v", round, err)
		}
		url := "http://" + strings.TrimSpace(addr) + "/add-checkpoint"
		status, body := send(url, tlog.WitnessRequest{Checkpoint: l.grow(1).checkpoint()})
		size := int64(0)
		if status == http.StatusConflict {
			if size, err = tlog.ParseWitnessSize(body); err != nil {
				t.Fatal(err)
			}
		} else if status != http.StatusOK || given > 0 {
			t.Fatalf("round %d: status %d: %s", round, status, body)
		} else {
			size, given = 1, 1
		}
		if size < given {
			t.Fatalf("round %d: it gave a cosignature of %d leaves and knows of %d", round, given, size)
		}
		time.AfterFunc(time.Duration(20+17*round)*time.Millisecond, func() { cmd.Process.Kill() })
		for {
			r := l.grow(len(l.entries) + 1).request(size)
			status, _ := send(url, r)
			if status != http.StatusOK {
				break // it is dead
			}
			size = int64(len(l.entries))
			given = size
		}
		cmd.Wait()
	}
	if given < 10 {
		t.Errorf("only %d checkpoints were cosigned in all", given)
	}
	w := open(t, witness.Config{Folder: dir, Logs: l.known("")})
	if rec := get(w, "/"+hashOf(origin)+"/checkpoint"); rec.Code != http.StatusOK {
		t.Errorf("at the end: status %d: %s", rec.Code, rec.Body)
	}
}

func send(url string, r tlog.WitnessRequest) (int, []byte) {
	res, err := http.Post(url, "text/plain", bytes.NewReader(r.Marshal()))
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, body
}
