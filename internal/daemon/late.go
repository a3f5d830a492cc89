package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
)

// fileLate has the events that the audit log has yet to be told: they happened
// while the database could not be written to. It is this server's alone.
const fileLate = "audit-late.json"

// Bounds of what is kept for later. Wrong credentials are summed up before, so
// that it takes somebody with a valid one to fill it.
const (
	maxLate     = 1000 // events
	maxLateFile = 4 << 20
)

// detailLate is the detail of an event that was told later than it happened.
const detailLate = "told-late"

// lateStore is the store of a server, whose events are not lost while it is
// read-only: sign-ins, refusals, wrong credentials.
type lateStore struct {
	*sqlstore.Store
	path string
	mu   sync.Mutex // held while the file is changed
}

// lateFile is its content.
type lateFile struct {
	Schema string        `json:"schema"`
	Events []audit.Event `json:"events"`
}

const lateSchema = "chartkeep/audit-late/v1"

// Record implements release.Trail. While the store is read-only, events are
// durable in a file when it returns nil; when that is full, the error is the
// reason for which the store takes no writes, and what the events are of does
// not happen.
func (l *lateStore) Record(ctx context.Context, now time.Time, events ...audit.Event) error {
	err := l.Store.Record(ctx, now, events...)
	reason := l.ReadOnly()
	if p, ok := problem.As(err); !ok || reason == nil || p.Rule != reason.Rule {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kept, rerr := readLate(l.path)
	if rerr != nil || len(kept)+len(events) > maxLate {
		return errors.Join(err, rerr)
	}
	for _, ev := range events {
		if ev.Time.IsZero() {
			ev.Time = now
		}
		kept = append(kept, ev)
	}
	text, merr := json.Marshal(lateFile{lateSchema, kept})
	if merr != nil || len(text) > maxLateFile {
		return errors.Join(err, merr)
	}
	return durable.Replace(l.path, append(text, '\n'), 0o600)
}

// readLate reads what is kept, nil for nothing.
func readLate(path string) ([]audit.Event, error) {
	text, err := durable.Read(path, maxLateFile+1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read events that are to be told: %w", err)
	}
	var f lateFile
	if err := json.Unmarshal(text, &f); err != nil || f.Schema != lateSchema || len(f.Events) > maxLate {
		return nil, problem.New(problem.Unavailable, "audit-late", "%s is not a file of events that are to be told", path).Because(err)
	}
	return f.Events, nil
}

// tellLate tells the audit log what was kept. A server that is killed between
// that and the end of the file tells it twice.
func (l *lateStore) tellLate(ctx context.Context) error {
	if l.ReadOnly() != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	events, err := readLate(l.path)
	if err != nil || len(events) == 0 {
		return err
	}
	for i := range events {
		if events[i].Detail == nil {
			events[i].Detail = map[string]string{}
		}
		events[i].Detail[detailLate] = "the database was read-only"
	}
	if err := l.Store.Record(ctx, time.Now(), events...); err != nil { // all of them or none
		return fmt.Errorf("tell events that were kept: %w", err)
	}
	if err := os.Remove(l.path); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(l.path))
}
