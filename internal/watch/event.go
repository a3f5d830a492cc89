package watch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/chartkeep/chartkeep/internal/upstream"
)

// What somebody has to find out when something happened.
const (
	askNew        = "does anything that runs need it, and what does it change?"
	askChanged    = "why was a published version replaced, and who runs the old one or the new one?"
	askVanished   = "was it withdrawn for a reason, and who runs it?"
	askTwice      = "which of them was released?"
	askMismatch   = "which of both was released, and who put the other one there?"
	askUnread     = "is the upstream at work on it, or is something in between?"
	askQuiet      = "is the chart still maintained, and if not, what will replace it?"
	askFeed       = "which of both is right: was the version withdrawn, or not published by those who write the notes?"
	askMoved      = "is the new address run by the same people?"
	askDead       = "who repairs it from now on?"
	askProvenance = "which of both was released, and was the file signed for something else?"
	askTarget     = "which project is the mirror to release in?"
	askCredential = "which credential is meant, and is it in this server's credentials file?"
	askUnmirrored = "which of both is to be trusted, and do those who use the mirror need the other one?"
)

// eventKey names what happened. It is made of what stays the same when a poll
// is repeated after a crash, and differs when the same happens again: a version
// changes its last change with every change that is recorded.
func eventKey(kind EventKind, sourceID int64, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Quote(p)))
	}
	return fmt.Sprintf("%s/%d/%s", kind, sourceID, hex.EncodeToString(h.Sum(nil)[:16]))
}

// stamp is a time as part of a key. Stores keep milliseconds.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// event begins an event of a round.
func (r *round) event(kind EventKind, sev Severity, chartName, version, message string, args ...any) Event {
	return Event{
		Time: r.now, Kind: kind, Severity: sev, Upstream: r.lease.Upstream.Name, SourceID: r.source.ID,
		Chart: chartName, Version: version, Message: fmt.Sprintf(message, args...),
	}
}

// with adds a line of evidence; an empty value is left out.
func (e *Event) with(label, value string) {
	if value != "" {
		e.Evidence = append(e.Evidence, Fact{label, value})
	}
}

// counted is a number of things: 1 file, 2 files.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// are is the verb for a number of things.
func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// digestText is a bare digest for people; "" is said.
func digestText(bare string) string {
	if bare == "" {
		return "none is listed"
	}
	return "sha256:" + bare
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// tell words what happened to a version. What its archives say comes later,
// from judge.
func (r *round) tell(v *version, e upstream.Event) Event {
	c, n := e.Chart, e.Version
	var out Event
	switch e.Kind {
	case upstream.Added:
		out = r.event(NewVersion, Info, c, n, "%s %s is published", c, n)
		out.Question = askNew
		out.with("digest", digestText(e.NewDigest))
		out.with("app version", v.AppVersion)
		out.with("created, as the upstream says", timeText(v.Created))
	case upstream.Changed:
		out = r.event(Changed, High, c, n, "%s %s is listed with another digest than before", c, n)
		if e.NewDigest == "" {
			out.Severity, out.Message = Medium, fmt.Sprintf("%s %s is listed without the digest that it had", c, n)
		}
		out.Question = askChanged
		out.with("old digest", digestText(e.OldDigest))
		out.with("new digest", digestText(e.NewDigest))
		out.with("first seen", timeText(v.FirstSeen))
	case upstream.Vanished:
		out = r.event(Vanished, Medium, c, n, "%s %s is listed no more", c, n)
		out.Question = askVanished
		out.with("digest", digestText(e.OldDigest))
		out.with("first seen", timeText(v.FirstSeen))
		out.with("archive kept", v.Archive)
	case upstream.Returned:
		out = r.event(Returned, Info, c, n, "%s %s is listed again, with the same digest", c, n)
		if e.OldDigest == "" || e.NewDigest == "" {
			out.Severity, out.Message = Low, fmt.Sprintf("%s %s is listed again; without two digests it cannot be told whether it is the same", c, n)
			out.Question = askChanged
		} else if e.OldDigest != e.NewDigest {
			out = r.event(ReturnedChanged, High, c, n, "%s %s is listed again, with another digest", c, n)
			out.Question = askChanged
		}
		out.with("old digest", digestText(e.OldDigest))
		out.with("new digest", digestText(e.NewDigest))
		out.with("missed since", timeText(v.last))
	case upstream.Duplicate:
		out = r.event(Duplicate, Medium, c, n, "%s %s is listed more than once, with different digests", c, n)
		out.Question = askTwice
		out.with("digest listed first", digestText(e.OldDigest))
		out.with("digest listed too", digestText(e.NewDigest))
	case upstream.CreatedRewritten:
		out = r.event(CreatedRewritten, Info, c, n, "the upstream says another time of creation of %s %s than before", c, n)
		out.with("says now", timeText(e.NewCreated))
		out.with("said before", timeText(e.OldCreated))
		out.with("first seen", timeText(v.FirstSeen))
	case upstream.Invalid:
		out = r.event(EntryInvalid, Low, c, n, "%s %s cannot be used as it is listed", c, n)
		out.with("fault", e.Detail)
	}
	out.Key = eventKey(out.Kind, r.source.ID, c, n, e.OldDigest, e.NewDigest, e.Detail, stamp(e.NewCreated), stamp(v.last))
	return out
}

// maxTold is how many versions an event of several names.
const maxTold = 50

// gather makes one event of those of a chart that say little each: an upstream
// that rewrites its times does so for every version. events are of one piece of
// a poll and in the order of charts, so what is gathered is recorded together
// with the versions that it speaks of.
func (r *round) gather(events []Event) []Event {
	type group struct {
		kind  EventKind
		chart string
	}
	groups := map[group][]int{}
	for i := range events {
		if k := events[i].Kind; k == CreatedRewritten || k == EntryInvalid {
			g := group{k, events[i].Chart}
			groups[g] = append(groups[g], i)
		}
	}
	out := make([]Event, 0, len(events))
	for i := range events {
		e := &events[i]
		in := groups[group{e.Kind, e.Chart}]
		if len(in) < 2 {
			out = append(out, *e)
			continue
		}
		if in[0] != i {
			continue
		}
		one := r.event(e.Kind, e.Severity, e.Chart, "", "the upstream says other times of creation of %d versions of %s than before", len(in), e.Chart)
		if e.Kind == EntryInvalid {
			one.Message = fmt.Sprintf("%d entries of %s cannot be used as they are listed", len(in), e.Chart)
		}
		keys := make([]string, 0, len(in))
		for n, j := range in {
			keys = append(keys, events[j].Key)
			if n < maxTold {
				one.with(events[j].Version, events[j].Evidence[0].Value)
			}
		}
		if len(in) > maxTold {
			one.with("and more", strconv.Itoa(len(in)-maxTold))
		}
		one.Key = eventKey(e.Kind, r.source.ID, keys...)
		out = append(out, one)
	}
	return out
}
