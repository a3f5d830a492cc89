package monitor

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	sumdb "golang.org/x/mod/sumdb/tlog"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/history"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The files of a log in the folder of a monitor.
const (
	fileLock    = "lock"
	fileState   = "state.json"
	fileHistory = "history" // can be made again from the log
	dirEvidence = "evidence"
)

const stateSchema = "monitor-state/v1"

// Limits of what a state holds. Beyond them the monitor stops going on rather
// than forgetting.
const (
	maxState   = 256 << 20 // bytes of state.json
	maxOutbox  = 10_000    // findings that wait to be told
	maxRetries = 10_000    // archives that could not be checked
	maxDoubts  = 100_000
	maxOpen    = 20_000 // findings that are not over
	maxPerRule = 100    // findings of a rule in a round that are told one by one
)

// state is what a monitor remembers of a log. It is written as a whole.
type state struct {
	Schema string `json:"schema"`
	Server string `json:"server"`
	Origin string `json:"log"`
	// Checkpoint is the largest one that was believed. Its first Size leaves
	// were replayed, and had this root.
	Checkpoint string `json:"checkpoint,omitempty"`
	Size       int64  `json:"size"`
	Root       string `json:"root"`
	// Began is the size at which the monitor began, -1 before: what came later
	// is new.
	Began int64     `json:"began"`
	Since time.Time `json:"since"`
	Good  time.Time `json:"good"` // when the log was last read to its end
	Round int64     `json:"round"`

	Cursor   int64              `json:"archives"`          // archives of releases before this leaf were checked, or wait
	Retries  []int64            `json:"retries,omitempty"` // leaves before the cursor that have to be looked at again
	Awaiting []awaiting         `json:"awaiting,omitempty"`
	Doubts   map[string]doubt   `json:"doubts,omitempty"`
	Open     map[string]*opened `json:"open,omitempty"`
	Outbox   []outgoing         `json:"outbox,omitempty"`
}

// awaiting is a release that somebody should have announced.
type awaiting struct {
	Index   int64     `json:"index"`
	Project string    `json:"project"`
	Chart   string    `json:"chart"`
	Version string    `json:"version"`
	Digest  string    `json:"digest"`
	Due     time.Time `json:"due"`
}

// doubt is what one look found and a second one has to find too.
type doubt struct {
	Round int64     `json:"round"` // of the first look
	Area  string    `json:"area"`
	Since time.Time `json:"since,omitzero"` // when that was
	// Needs is how large the log was when a door had been looked at, as the
	// server said: a second look counts when the log that is published has so
	// many leaves. 0 asks for nothing.
	Needs int64 `json:"needs,omitempty"`
	Leaf  int64 `json:"leaf,omitempty"` // as in Finding
}

// opened is a finding that is not over.
type opened struct {
	Finding
	Area string `json:"area,omitempty"`
	Last int64  `json:"last"` // the round in which it was last seen
}

// outgoing is a finding on its way.
type outgoing struct {
	Finding
	To []string `json:"to"` // sinks that have not taken it
}

// folder is the folder of one log, used by this process alone.
type folder struct {
	path string
	lock *os.File
}

// folderName is where a log's state is below the folder of a monitor: readable,
// and different for different logs.
func folderName(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.', r == '-':
			return r
		}
		return '_'
	}, strings.ToLower(origin))
	return strings.TrimLeft(name[:min(len(name), 80)], ".") + "-" + hex.EncodeToString(sum[:4])
}

func openFolder(dir, origin string) (*folder, error) {
	path, err := filepath.Abs(filepath.Join(dir, folderName(origin)))
	if err == nil {
		err = os.MkdirAll(filepath.Join(path, dirEvidence), 0o700)
	}
	if err != nil {
		return nil, unusable(dir, err)
	}
	f, err := durable.Lock(filepath.Join(path, fileLock), true)
	if err != nil && !errors.Is(err, durable.ErrLocked) {
		return nil, unusable(path, err)
	}
	if err != nil {
		return nil, problem.New(problem.Unavailable, "monitor-locked", "another monitor is using the folder %s", path).
			Suggest("stop it, or give this one a folder of its own with --state")
	}
	return &folder{path, f}, nil
}

func unusable(path string, err error) error {
	return problem.New(problem.Unavailable, "monitor-folder", "the folder %s cannot be used", path).With("reason", "%v", err).Because(err)
}

func (d *folder) close() error { return d.lock.Close() }

func (d *folder) file(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// write puts a file in its place, as durable.Replace does.
func (d *folder) write(name string, write func(io.Writer) error) error {
	if err := durable.ReplaceBy(d.file(name), 0o600, write); err != nil {
		return unusable(d.path, err)
	}
	return nil
}

// load reads the state; one that is not there is a new one.
func (d *folder) load(server, origin string, now time.Time) (*state, error) {
	st := &state{Schema: stateSchema, Server: server, Origin: origin, Root: tlog.EmptyRoot().String(), Began: -1, Since: now,
		Doubts: map[string]doubt{}, Open: map[string]*opened{}}
	f, err := os.Open(d.file(fileState))
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return nil, unusable(d.path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, unusable(d.path, err)
	}
	got := *st
	got.Schema, got.Origin = "", ""
	if err := json.Unmarshal(text, &got); err != nil || len(text) > maxState || got.Schema != stateSchema || got.Origin != origin || got.check() != nil {
		return nil, problem.New(problem.Unavailable, "monitor-state", "the state in %s is damaged, of another version or of another log", d.path).
			Suggest("move it away and begin anew: what the monitor remembers, such as the last checkpoint, is then lost")
	}
	got.Server = server // the address may change, the log does not
	return &got, nil
}

// check says whether what was read can be.
func (st *state) check() error {
	if st.Doubts == nil {
		st.Doubts = map[string]doubt{}
	}
	if st.Open == nil {
		st.Open = map[string]*opened{}
	}
	for _, o := range st.Open {
		if o == nil {
			return errors.New("a finding is missing")
		}
	}
	cp, err := st.checkpoint()
	root, rootErr := sumdb.ParseHash(st.Root)
	switch {
	case err != nil:
		return err
	case rootErr != nil:
		return rootErr
	case st.Size < 0 || st.Size > cp.Size || st.Size == cp.Size && st.Size > 0 && root != cp.Root || st.Cursor < 0 || st.Began < -1:
		return errors.New("its numbers do not fit")
	}
	return nil
}

// checkpoint is the largest one that was believed; its Size is 0 before.
func (st *state) checkpoint() (tlog.Checkpoint, error) {
	if st.Checkpoint == "" {
		return tlog.Checkpoint{Origin: st.Origin, Root: tlog.EmptyRoot()}, nil
	}
	return tlog.ParseCheckpoint([]byte(st.Checkpoint))
}

func (d *folder) save(st *state) error {
	return d.write(fileState, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		if err := json.NewEncoder(b).Encode(st); err != nil {
			return err
		}
		return b.Flush()
	})
}

// replica is the log as far as it was replayed: what the leaves say, and the
// hashes that authenticate each entry when it is fetched again.
type replica struct {
	replay  *history.Replay
	edge    *tlog.Edge
	bundles []tlog.Hash // the roots of the full entry bundles
}

func newReplica() *replica {
	edge, _ := tlog.NewEdge(0, nil) // the empty tree has one
	return &replica{replay: history.New(), edge: edge}
}

// replicaHead is the first line of the written replica; the bundles' roots and
// the history follow.
type replicaHead struct {
	Schema string        `json:"schema"`
	Size   int64         `json:"size"`
	Levels [][]tlog.Hash `json:"levels"`
}

const (
	replicaSchema  = "monitor-history/v1"
	maxReplicaHead = 1 << 20
)

func (d *folder) saveReplica(r *replica) error {
	return d.write(fileHistory, func(w io.Writer) error {
		head, err := json.Marshal(replicaHead{replicaSchema, r.edge.Size(), r.edge.Levels()})
		if err != nil {
			return err
		}
		b := bufio.NewWriter(w)
		_, _ = b.Write(append(head, '\n'))
		for _, h := range r.bundles {
			_, _ = b.Write(h[:])
		}
		if err := b.Flush(); err != nil {
			return err
		}
		_, err = r.replay.WriteTo(w)
		return err
	})
}

// loadReplica reads the replica. One that is missing, damaged or ahead of the
// state is left out: it is then made again from the log.
func (d *folder) loadReplica(st *state) *replica {
	f, err := os.Open(d.file(fileHistory))
	if err != nil {
		return newReplica()
	}
	defer f.Close()
	b := bufio.NewReaderSize(f, 64<<10)
	line, err := readLine(b, maxReplicaHead)
	var head replicaHead
	if err != nil || json.Unmarshal(line, &head) != nil || head.Schema != replicaSchema || head.Size > st.Size {
		return newReplica()
	}
	r := &replica{}
	if r.edge, err = tlog.NewEdge(head.Size, head.Levels); err != nil {
		return newReplica()
	}
	for range head.Size / tlog.TileHashes {
		var h tlog.Hash
		if _, err := io.ReadFull(b, h[:]); err != nil {
			return newReplica()
		}
		r.bundles = append(r.bundles, h)
	}
	if r.replay, err = history.Read(b); err != nil || r.replay.Size() != head.Size {
		return newReplica()
	}
	if st.Size == head.Size && r.edge.Root().String() != st.Root {
		return newReplica()
	}
	return r
}

func readLine(b *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for len(line) <= most {
		part, err := b.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("read line: it is longer than %d bytes", most)
}

// keep writes an evidence file and returns its path. The same evidence has the
// same name.
func (d *folder) keep(name string, text []byte) (string, error) {
	path := d.file(dirEvidence, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return path, nil
	}
	if err := durable.Replace(path, text, 0o600); err != nil {
		return "", unusable(d.path, err)
	}
	return path, nil
}
