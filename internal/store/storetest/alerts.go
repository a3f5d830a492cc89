package storetest

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// alarm is an alarm with an index, at so many minutes after the start.
func alarm(key string, index int64, minutes int) watch.Alarm {
	at := start.Add(time.Duration(minutes) * time.Minute)
	return watch.Alarm{Key: key, Actor: "ci", Index: index, Name: audit.RefusedOverwrite, Event: watch.Event{
		Time: at, Kind: watch.EventKind(audit.RefusedOverwrite), Severity: watch.High, Project: "demo", Chart: "web", Version: "1.0.0", Message: key,
	}}
}

// told lists what events tell, oldest first.
func (w *watcher) told() (out []string) {
	w.Helper()
	events, err := w.Events(w.Context(), watch.EventFilter{Limit: 1000})
	w.ok(err)
	for i := len(events) - 1; i >= 0; i-- {
		out = append(out, events[i].Key+" "+events[i].Message)
	}
	return out
}

func (w *watcher) alerts(open bool) (out []string) {
	w.Helper()
	list, err := w.ListAlerts(w.Context(), open, 100)
	w.ok(err)
	for _, a := range list {
		state := "open"
		if !a.Ended.IsZero() {
			state = "ended"
		}
		out = append(out, fmt.Sprintf("%s %s %d-%d %d %s", a.Key, state, a.FirstIndex, a.LastIndex, a.Count, a.Last.Format("15:04")))
	}
	return out
}

// alerts are counted, told at powers of ten and at their end, and each alarm
// counts once, however often it is handed on.
func alerts(w *watcher) {
	ctx, now := w.Context(), start
	raise := func(list ...watch.Alarm) {
		w.Helper()
		w.ok(w.RaiseAlarms(ctx, list, now))
		w.ok(w.RaiseAlarms(ctx, list, now)) // as after a crash
	}
	same := func(what string, want, got []string) {
		w.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	begins := start.Format("2006-01-02 15:04:05Z")
	before := len(w.told())
	raise(alarm("a", 10, 0), alarm("b", 11, 0))
	for i := range 10 {
		raise(alarm("a", int64(12+i), 1))
	}
	same("alerts", []string{"b open 11-11 1 " + start.Format("15:04"), "a open 10-21 11 " + start.Add(time.Minute).Format("15:04")}, w.alerts(true))
	want := []string{"alert/10/1 a", "alert/11/1 b", "alert/10/10 a: 10 times since " + begins}
	same("told", want, w.told()[before:])

	// b ends without a word, since it was told; a is told with its last count.
	quiet := start.Add(30 * time.Second)
	n, err := w.EndAlerts(ctx, quiet, time.Time{}, start.Add(time.Hour))
	w.ok(err)
	if n != 1 {
		w.Errorf("%d alerts ended, want 1", n)
	}
	same("told after the end of b", want, w.told()[before:])
	n, err = w.EndAlerts(ctx, start.Add(2*time.Minute), time.Time{}, start.Add(time.Hour))
	w.ok(err)
	want = append(want, "alert/10/11 a: 11 times since "+begins)
	same("told after the end of a", want, w.told()[before:])
	if n != 1 || len(w.alerts(true)) != 0 {
		w.Errorf("%d ended; open: %v", n, w.alerts(true))
	}

	// What was counted does not begin anew; what happens again does.
	raise(alarm("a", 21, 1))
	if open := w.alerts(true); len(open) != 0 {
		w.Errorf("open again: %v", open)
	}
	raise(alarm("a", 30, 90))
	same("again", []string{"a open 30-30 1 " + start.Add(90*time.Minute).Format("15:04")}, w.alerts(true))
	same("told again", append(want, "alert/30/1 a"), w.told()[before:])

	list, err := w.ListAlerts(ctx, false, 1)
	w.ok(err)
	r := w.route("alarmed", watch.Immediately)
	for n := 1; n > 0; {
		n, err = w.RelayEvents(ctx, 100, toAll(start, false, r))
		w.ok(err)
	}
	sent, err := w.AlertDeliveries(ctx, list[0].ID)
	w.ok(err)
	if len(sent) > 1 || len(sent) == 1 && sent[0].Route != "alarmed" {
		w.Errorf("deliveries %+v", sent)
	}

	// Forgotten when they are old; the open one stays.
	_, err = w.EndAlerts(ctx, start, start.Add(2*time.Hour), start.Add(3*time.Hour))
	w.ok(err)
	same("kept", []string{"a open 30-30 1 " + start.Add(90*time.Minute).Format("15:04")}, w.alerts(false))
}
