package custody

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Pushed says whether an event tells of a manifest that is no release's.
func Pushed(name audit.Name) bool {
	return name == audit.ArtifactPushed || name == audit.AttestationAttached
}

// A Notice is an event that the audit log has yet to be told: it happened while
// no server ran, or while the database could not be written to.
type Notice struct {
	Schema string            `json:"schema"`
	Event  audit.Name        `json:"event"` // one of NoticeEvents
	Time   time.Time         `json:"time"`
	Detail map[string]string `json:"detail"`
}

const (
	noticeSchema = "chartkeep/notice/v1"
	maxNotice    = 16 << 10
	maxNotices   = 10_000 // that are looked at
	maxTold      = 100    // at a time
)

// NoticeEvents are the events that a notice can be of: whoever may write to the
// blob store can pretend these, and no others.
var NoticeEvents = []audit.Name{audit.LogRollback, audit.LogForked, audit.LogRecovered, audit.BackupMade, audit.BackupRestored}

// ParseNotice reads a notice. Invalid when it is none.
func ParseNotice(data []byte) (Notice, error) {
	var n Notice
	if len(data) > maxNotice {
		return n, problem.New(problem.Invalid, "record-notice", "the notice has %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, problem.New(problem.Invalid, "record-notice", "this is no notice: %v", err)
	}
	if n.Schema != noticeSchema || !slices.Contains(NoticeEvents, n.Event) || n.Time.Year() < 2000 || n.Time.Year() > 9999 || len(n.Detail) > 12 {
		return n, problem.New(problem.Invalid, "record-notice", "this is no notice that this version understands").With("event", "%.60q", string(n.Event))
	}
	for k, v := range n.Detail {
		if len(k) > 60 || len(v) > 1000 {
			return n, problem.New(problem.Invalid, "record-notice", "the notice has a detail that is too long: %.60q", k)
		}
	}
	return n, nil
}

// DetailRecord is the detail of an event that names the notice it tells.
const DetailRecord = "record"

// Note keeps a notice for the next server that can tell it. While it is untold,
// the same event with the same details is noted once.
func (c *Custodian) Note(ctx context.Context, event audit.Name, detail map[string]string) error {
	suffix := noticeSuffix(event, detail)
	names, err := c.cfg.Records.RecordNames(ctx, noticeFolder, "", maxNotices)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix) })
	if names, err = c.cfg.Database.Untold(ctx, names); err != nil || len(names) > 0 {
		return err
	}
	return PutNotice(ctx, c.cfg.Records, c.now(), event, detail)
}

// noticeSuffix ends the name of a notice in a digest of what it says.
func noticeSuffix(event audit.Name, detail map[string]string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", event)
	for _, k := range slices.Sorted(maps.Keys(detail)) {
		fmt.Fprintf(h, "%q %q\n", k, detail[k])
	}
	return "-" + strings.ReplaceAll(string(event), ".", "-") + "-" + hex.EncodeToString(h.Sum(nil)[:10])
}

// PutNotice keeps a notice for whoever has no database at hand.
func PutNotice(ctx context.Context, records Records, now time.Time, event audit.Name, detail map[string]string) error {
	now = now.UTC().Truncate(time.Millisecond)
	data, err := json.Marshal(Notice{noticeSchema, event, now, detail})
	if err != nil {
		return fmt.Errorf("write notice: %w", err)
	}
	return records.PutRecord(ctx, fmt.Sprintf("%s/%015d%s", noticeFolder, now.UnixMilli(), noticeSuffix(event, detail)), append(data, '\n'))
}

// NoteRollback notes how a log stands that went back, or has another history.
func (c *Custodian) NoteRollback(ctx context.Context, st *Standing) error {
	event := audit.LogRollback
	if st.State == StateForked {
		event = audit.LogForked
	}
	return c.Note(ctx, event, map[string]string{
		"log": string(st.Log), "state": st.State, "known-by": st.By,
		"database": sizeAndRoot(&st.Database), "signed": sizeAndRoot(&st.Kept),
	})
}

// sizeAndRoot is a tree in one line; without a root, of which only the size is
// known.
func sizeAndRoot(cp *tlog.Checkpoint) string {
	if cp.Root == (tlog.Hash{}) {
		return strconv.FormatInt(cp.Size, 10)
	}
	return fmt.Sprintf("%d %s", cp.Size, cp.Root)
}

// noteRecovery notes what a recovery is about to do.
func (c *Custodian) noteRecovery(ctx context.Context, rep *Report) error {
	return c.Note(ctx, audit.LogRecovered, standings(rep))
}

// Settle tells the audit log what was noted, each once. Cost: the names of the
// notices; nothing else unless there are new ones.
func (c *Custodian) Settle(ctx context.Context) error {
	names, err := c.cfg.Records.RecordNames(ctx, noticeFolder, "", maxNotices)
	if err != nil {
		return fmt.Errorf("read notices: %w", err)
	}
	c.mu.Lock()
	same := len(names) == c.told
	c.mu.Unlock()
	if same {
		return nil
	}
	untold, err := c.cfg.Database.Untold(ctx, names)
	if err != nil {
		return fmt.Errorf("read notices: %w", err)
	}
	for i, name := range untold {
		if i == maxTold {
			return nil // the others the next time
		}
		data, err := c.cfg.Records.Record(ctx, noticeFolder+"/"+name, maxNotice)
		var n Notice
		if err == nil {
			n, err = ParseNotice(data)
		}
		if err != nil {
			c.log.WarnContext(ctx, "a notice cannot be read", "record", noticeFolder+"/"+name, "error", err)
			if damaged(err) {
				continue
			}
			return err
		}
		ev := audit.Event{
			Time: n.Time, Name: n.Event, Actor: audit.Actor{Kind: access.KindSystem, ID: "server", Name: "server"}, Door: audit.DoorServer,
			Outcome: audit.Outcome{Result: audit.Allowed}, Detail: maps.Clone(n.Detail),
		}
		if ev.Detail == nil {
			ev.Detail = map[string]string{}
		}
		ev.Detail[DetailRecord] = name
		if err := c.cfg.Database.Tell(ctx, name, ev); err != nil {
			return fmt.Errorf("tell notice: %w", err)
		}
	}
	c.mu.Lock()
	c.told = len(names)
	c.mu.Unlock()
	return nil
}
