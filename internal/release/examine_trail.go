package release

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// examineTrail walks the audit log, compares it with every anchor that the
// release log has of it, and the rows beside its leaves with them.
func (e *Examination) examineTrail(ctx context.Context, anchors []anchor) error {
	slices.SortStableFunc(anchors, func(a, b anchor) int { return int(a.size - b.size) })
	say := func(a anchor, format string, args ...any) {
		e.find(Finding{Key: fmt.Sprintf("%s %d", AuditAnchorFalse, a.index), Kind: AuditAnchorFalse, LogIndex: a.index, Try: restoreDatabase,
			Message: fmt.Sprintf("the audit log had %d events when leaf %d of the release log was written, and ", a.size, a.index) + fmt.Sprintf(format, args...)})
	}
	type entry struct {
		index int64
		bytes []byte
	}
	var page []entry
	var events int64
	var broken error
	compare := func() {
		if broken == nil && len(page) > 0 {
			rows, err := e.Stored.StoredEvents(ctx, page[0].index, page[len(page)-1].index+1)
			if broken = err; err == nil { // what could not be read is not missing
				for _, p := range page {
					e.event(p.index, p.bytes, rows)
				}
			}
		}
		page = page[:0]
	}
	trail := &logWalk{stored: e.Stored, log: AuditLog, origin: e.Origin + "/audit", verifiers: e.AuditKeys, find: e.find,
		each: func(index int64, b []byte) {
			events++
			if page = append(page, entry{index, b}); len(page) == tlog.TileHashes {
				compare()
			}
		},
		grown: func(size int64, root func() tlog.Hash) {
			for len(anchors) > 0 && anchors[0].size <= size {
				if a := anchors[0]; a.size == size && a.root != root() {
					say(a, "they are others now")
				}
				anchors = anchors[1:]
			}
		}}
	for len(anchors) > 0 && anchors[0].size == 0 {
		anchors = anchors[1:]
	}
	if err := e.grow(ctx, trail); err != nil {
		return err
	}
	compare()
	e.mu.Lock()
	e.count.Events = events
	e.mu.Unlock()
	if broken != nil {
		return broken
	}
	if !trail.lost {
		for _, a := range anchors {
			say(a, "has %d now: events are gone", trail.edge.Size())
		}
	}
	return e.told()
}

// event compares an audit event with the row beside it.
func (e *Examination) event(index int64, entry []byte, rows []StoredEvent) {
	ev, err := audit.Decode(entry)
	if err != nil {
		e.find(Finding{Key: fmt.Sprintf("%s malformed %d", AuditRowChanged, index), Kind: AuditRowChanged, LogIndex: -1,
			Message: fmt.Sprintf("leaf %d of the audit log is no event: %v", index, err)})
		return
	}
	f := Finding{Key: fmt.Sprintf("audit-row %d", index), Kind: AuditRowMissing, Project: ev.Resource.Project, Chart: ev.Resource.Chart, Version: ev.Resource.Version, LogIndex: -1,
		Message: fmt.Sprintf("the row of event %d of the audit trail, %s, is missing, so that nobody finds it", index, ev.Name), Try: "restore the database from a backup"}
	at, ok := slices.BinarySearchFunc(rows, index, func(r StoredEvent, index int64) int { return int(r.Index - index) })
	if ok {
		d := compareEvent(&rows[at], &ev)
		if len(d) == 0 {
			return
		}
		f.Kind, f.Message = AuditRowChanged, fmt.Sprintf("the row of event %d of the audit trail, %s, differs from its leaf: %s", index, ev.Name, strings.Join(d, ", "))
	}
	e.find(f)
}
