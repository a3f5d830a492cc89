package witness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

const (
	// auditSlice is how long one request reads entries. What is left is read by
	// the next one, which goes on where this one stopped.
	auditSlice = 4 * time.Second
	// maxViolations is how many violations are told; one is enough to stop.
	maxViolations = 20
	// maxReplay bounds the file of a replay that is read again, in bytes: some
	// ten million releases.
	maxReplay = 1 << 30
)

// auditor decides what the audit key signs.
type auditor struct {
	c       *cosigner
	entries func(ctx context.Context, url string, n int64, width int) ([][]byte, error)
	logs    map[string]*reading // by origin; guarded by the lock of its subject
}

// reading is how far the entries of a log were read. What was read is not known
// to be the log's before the root over it was compared with a checkpoint.
type reading struct {
	stopped string // why nothing is signed any more; "" while all is well
	replay  *history.Replay
	edge    *tlog.Edge
	found   []history.Violation
	saved   int64 // size of the replay in the folder; 0 for none
}

func newAuditor(c *cosigner, entries func(ctx context.Context, url string, n int64, width int) ([][]byte, error)) (*auditor, error) {
	a := &auditor{c: c, entries: entries, logs: map[string]*reading{}}
	for origin := range c.logs {
		r := &reading{}
		b, err := durable.Read(a.file(origin, suffixStopped), 1<<20)
		switch {
		case err == nil:
			r.stopped = printable(string(b))
			if r.stopped == "" {
				r.stopped = "an operator stopped it"
			}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		default:
			if err := a.load(origin, r); err != nil {
				// It can be made again from the log.
				c.log.Warn("the entries of a log are read again from the first", "log", origin, "reason", err.Error())
			}
		}
		a.logs[origin] = r
	}
	return a, nil
}

func (a *auditor) file(origin, suffix string) string {
	return a.c.folder.file(a.c.kind+dirStates, originHash(origin)+suffix)
}

// approve reads what is new in the log and says no unless all entries up to the
// checkpoint are those of its root and break no rule.
func (a *auditor) approve(ctx context.Context, s *subject, cp tlog.Checkpoint) error {
	r := a.logs[s.origin]
	if r.stopped != "" {
		return refuse(http.StatusForbidden, "no audit statement is made of this log any more: %s", r.stopped)
	}
	if r.edge == nil {
		r.restart()
	}
	if err := a.read(ctx, s, r, cp.Size); err != nil {
		return err
	}
	if r.edge.Size() > cp.Size {
		return &refusal{status: http.StatusServiceUnavailable, again: time.Second,
			text: fmt.Sprintf("%d entries were read already, and the checkpoint has %d", r.edge.Size(), cp.Size)}
	}
	if r.edge.Root() != cp.Root {
		// Whoever serves the entries did this, which need not be who signed.
		a.c.log.WarnContext(ctx, "the entries that are served are not those of the checkpoint", "log", s.origin, "url", s.url, "size", cp.Size)
		r.restart()
		a.forget(s.origin, r)
		return &refusal{status: http.StatusServiceUnavailable, again: time.Minute,
			text: fmt.Sprintf("the %d entries that %s serves do not have the root of the checkpoint", cp.Size, s.url)}
	}
	r.found = append(r.found, r.replay.Signed(holding(s.origin, r.replay.Keys(), cp)...)...)
	if len(r.found) > 0 {
		return a.stop(ctx, s, r)
	}
	if n := r.replay.Unknown(); n > 0 {
		a.forget(s.origin, r) // a later version begins anew and knows them
		return refuse(http.StatusForbidden, "%d entries are of types that this witness does not know: it has to be updated", n)
	}
	if r.edge.Size()-r.saved > 1000+r.saved/4 {
		return a.write(s.origin, r)
	}
	return nil
}

// restart begins at the first entry.
func (r *reading) restart() {
	r.replay, r.found = history.New(), nil
	r.edge, _ = tlog.NewEdge(0, nil) // the empty tree is one
}

// read reads entries up to a size, as far as the time of a request goes.
func (a *auditor) read(ctx context.Context, s *subject, r *reading, size int64) error {
	ctx, stop := context.WithTimeout(ctx, auditSlice)
	defer stop()
	for r.edge.Size() < size {
		at := r.edge.Size()
		n := at / tlog.TileHashes
		width := int(min(tlog.TileHashes, size-n*tlog.TileHashes))
		entries, err := a.entries(ctx, s.url, n, width)
		if err == nil && len(entries) != width {
			err = fmt.Errorf("bundle %d has %d entries instead of %d", n, len(entries), width)
		}
		if ctx.Err() != nil {
			return &refusal{status: http.StatusServiceUnavailable, again: time.Second, text: fmt.Sprintf("%d of %d entries were read; ask again", at, size)}
		}
		if err != nil {
			return &refusal{status: http.StatusServiceUnavailable, again: 10 * time.Second, text: fmt.Sprintf("the entries of the log cannot be read: %s", messageOf(err))}
		}
		for i, e := range entries[at-n*tlog.TileHashes:] {
			if v := r.replay.Add(at+int64(i), e); len(r.found) < maxViolations {
				r.found = append(r.found, v...)
			}
			r.edge.Append(tlog.LeafHash(e))
		}
	}
	return nil
}

// holding are those of a log's keys whose signatures on a checkpoint hold. The
// keys are the ones that its own leaves name, which were read up to this
// checkpoint: the operator's list may not have the newest yet.
func holding(origin string, keys []history.Key, cp tlog.Checkpoint) []string {
	var out []string
	for _, k := range keys {
		v, err := tlog.NewVerifier(k.Verifier)
		if err != nil || v.Name() != origin {
			continue
		}
		if _, err := note.Open(cp.Note, note.VerifierList(v)); err == nil {
			out = append(out, k.Verifier)
		}
	}
	return out
}

// stop ends the audit of a log for good. It holds before it is answered.
func (a *auditor) stop(ctx context.Context, s *subject, r *reading) error {
	for _, v := range r.found {
		a.c.log.ErrorContext(ctx, "the log breaks a rule", "log", s.origin, "rule", v.Rule, "index", v.Index, "first", v.First, "violation", v.String())
	}
	reason := printable(r.found[0].String())
	var text strings.Builder
	for _, v := range r.found {
		text.WriteString(printable(v.String()) + "\n")
	}
	if err := durable.Replace(a.file(s.origin, suffixStopped), []byte(text.String()), 0o600); err != nil {
		return err // it is found again with the next request
	}
	a.forget(s.origin, r) // so that whoever takes the stop away has all of it read again
	r.stopped, r.replay, r.edge, r.found = reason, nil, nil, nil
	return refuse(http.StatusForbidden, "no audit statement is made of this log any more: %s", reason)
}

// forget removes the written replay.
func (a *auditor) forget(origin string, r *reading) {
	if err := os.Remove(a.file(origin, suffixReplay)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.c.log.Error("remove a replay", "log", origin, "error", err)
	}
	r.saved = 0
}

// save writes down how far all logs were read and found well.
func (a *auditor) save() error {
	var errs []error
	for origin, s := range a.c.logs {
		s.mu.Lock()
		r, last := a.logs[origin], s.last.Load()
		// What was read and not yet signed for is not known to be the log's.
		if last != nil && r.edge != nil && r.stopped == "" && r.edge.Size() == last.Size && r.saved != last.Size {
			errs = append(errs, a.write(origin, r))
		}
		s.mu.Unlock()
	}
	return errors.Join(errs...)
}

// replayForm is the first line of a written replay. Behind it stand the size,
// the levels of the edge, an empty line, and the state of package history.
const replayForm = "chartkeep/witness-replay/v1"

func (a *auditor) write(origin string, r *reading) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nsize %d\n", replayForm, r.edge.Size())
	for _, hashes := range r.edge.Levels() {
		fmt.Fprintf(&b, "level %s\n", base64.StdEncoding.EncodeToString(tlog.TileBytes(hashes)))
	}
	b.WriteByte('\n')
	if _, err := r.replay.WriteTo(&b); err != nil {
		return fmt.Errorf("write replay of %s: %w", origin, err)
	}
	if err := durable.Replace(a.file(origin, suffixReplay), b.Bytes(), 0o600); err != nil {
		return err
	}
	r.saved = r.edge.Size()
	return nil
}

// load takes a written replay up again.
func (a *auditor) load(origin string, r *reading) error {
	b, err := durable.Read(a.file(origin, suffixReplay), maxReplay)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	edge, replay, err := parseReplay(b)
	if err != nil {
		return err
	}
	r.edge, r.replay, r.saved = edge, replay, edge.Size()
	return nil
}

func parseReplay(b []byte) (*tlog.Edge, *history.Replay, error) {
	head, state, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return nil, nil, errors.New("read replay: it has no end")
	}
	lines := strings.Split(string(head), "\n")
	if len(lines) < 2 || lines[0] != replayForm || !strings.HasPrefix(lines[1], "size ") {
		return nil, nil, errors.New("read replay: it has another form")
	}
	size, err := strconv.ParseInt(lines[1][len("size "):], 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("read replay: %w", err)
	}
	levels := [][]tlog.Hash{}
	for _, line := range lines[2:] {
		text, ok := strings.CutPrefix(line, "level ")
		raw, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(raw)%len(tlog.Hash{}) != 0 {
			return nil, nil, errors.New("read replay: it has another form")
		}
		var hashes []tlog.Hash
		for i := 0; i < len(raw); i += len(tlog.Hash{}) {
			hashes = append(hashes, tlog.Hash(raw[i:i+len(tlog.Hash{})]))
		}
		levels = append(levels, hashes)
	}
	edge, err := tlog.NewEdge(size, levels)
	if err != nil {
		return nil, nil, err
	}
	replay, err := history.Read(bufio.NewReader(bytes.NewReader(state)))
	if err != nil {
		return nil, nil, err
	}
	if replay.Size() != size {
		return nil, nil, fmt.Errorf("read replay: %d entries instead of %d", replay.Size(), size)
	}
	return edge, replay, nil
}
