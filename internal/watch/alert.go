package watch

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
)

// Alert is an episode: the same alarming event of the registry, once or again
// and again, until it did not happen for AlertQuiet. A pipeline that tries the
// same thing in a loop is one alert with a count.
type Alert struct {
	ID         int64      `json:"id"`
	Key        string     `json:"key"`
	Event      audit.Name `json:"event"`
	Severity   Severity   `json:"severity"`
	Project    string     `json:"project,omitempty"`
	Chart      string     `json:"chart,omitempty"`
	Version    string     `json:"version,omitempty"`
	Actor      string     `json:"actor,omitempty"` // the name that it had when it happened first
	Message    string     `json:"message"`
	Count      int64      `json:"count"`
	First      time.Time  `json:"first"`
	Last       time.Time  `json:"last"`
	FirstIndex int64      `json:"first_audit_index"`
	LastIndex  int64      `json:"last_audit_index"`
	Ended      time.Time  `json:"ended,omitzero"` // zero while it may go on
}

// AlertQuiet is for how long something must not happen for its alert to end.
const AlertQuiet = 15 * time.Minute

// AuditEvent is an event of the audit trail with its place there and what is
// joined when it is read.
type AuditEvent struct {
	Index int64
	Event audit.Event // with its Source
	Actor string      // name of the actor
}

// Alarm is an audit event that raises an alert.
type Alarm struct {
	Key   string // events with one key are one alert
	Actor string
	Index int64 // in the audit log
	Name  audit.Name
	Event Event // as it is told: its key is the store's
}

// Alerts keeps alerts.
type Alerts interface {
	// RaiseAlarms counts alarms, in the order of their indexes. One that
	// belongs to no alert which is still open opens one, and its event is
	// recorded; one that makes the count a power of ten is told again, with
	// the count. An index that was counted already is passed over, so that
	// alarms may be raised again after a crash. Cost: some look-ups by key for
	// each alarm.
	RaiseAlarms(ctx context.Context, alarms []Alarm, now time.Time) error
	// EndAlerts ends those whose last alarm is not later than quiet, and tells
	// of those that happened more than once how often. It forgets those that
	// ended before old. It returns how many it ended. Cost: the open alerts.
	EndAlerts(ctx context.Context, quiet, old, now time.Time) (int, error)
	// ListAlerts lists alerts, newest first; open leaves out those that ended.
	// Cost: limit rows, or the open ones.
	ListAlerts(ctx context.Context, open bool, limit int) ([]Alert, error)
	// AlertDeliveries lists what was sent of an alert, or waits to be, by
	// route, without its events. Cost: one look-up for each delivery.
	AlertDeliveries(ctx context.Context, id int64) ([]Delivery, error)
}

// KeyPrefix begins the keys of the events that tell of an alert.
func (a *Alert) KeyPrefix() string { return fmt.Sprintf("alert/%d/", a.FirstIndex) }

// Again is the event that tells how often the event of an alert happened.
func (a *Alert) Again(first Event, now time.Time) Event {
	e := first
	e.ID, e.LogIndex, e.Time = 0, 0, now
	e.Key = a.KeyPrefix() + strconv.FormatInt(a.Count, 10)
	e.Message = fmt.Sprintf("%s: %d times since %s", first.Message, a.Count, timeText(a.First))
	e.Evidence = append([]Fact{{"times", strconv.FormatInt(a.Count, 10)}, {"last", timeText(a.Last)}}, first.Evidence...)
	return e
}

// TellAgain reports whether a count is one at which an alert is told again.
func TellAgain(count int64) bool {
	for n := int64(10); n > 0 && n <= count; n *= 10 {
		if n == count {
			return true
		}
	}
	return false
}

// AlertEvents are the kinds of event that alerts have: the names of those audit
// events that raise one.
func AlertEvents() []EventKind {
	var out []EventKind
	for _, d := range audit.Names() {
		if d.Alerts {
			out = append(out, EventKind(d.Name))
		}
	}
	return out
}

// Raise tells routes of what alarmed the registry. Events that raise no alert
// are left out. It may be called again with the same events.
func (s *Service) Raise(ctx context.Context, events []AuditEvent) error {
	var alarms []Alarm
	for i := range events {
		key := events[i].Event.AlertKey()
		if key == "" {
			continue
		}
		alarms = append(alarms, Alarm{
			Key: key, Actor: events[i].Actor, Index: events[i].Index, Name: events[i].Event.Name, Event: alarmEvent(&events[i]),
		})
	}
	if len(alarms) == 0 {
		return nil
	}
	return s.store.RaiseAlarms(ctx, alarms, s.now())
}

// EndAlerts ends alerts of what did not happen for a while.
func (s *Service) EndAlerts(ctx context.Context) error {
	now := s.now()
	_, err := s.store.EndAlerts(ctx, now.Add(-AlertQuiet), now.Add(-keepAlerts), now)
	return err
}

// keepAlerts is how long an alert is kept after it ended: a year, and some days
// for whoever compares. What happened stays in the audit trail.
const keepAlerts = 400 * 24 * time.Hour

// Alerts lists alerts, newest first; limit is at most 1000, and 0 means 100.
func (s *Service) Alerts(ctx context.Context, c audit.Caller, open bool, limit int) ([]Alert, error) {
	if err := s.may(ctx, c, access.AuditRead); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = 100
	}
	return s.store.ListAlerts(ctx, open, min(limit, 1000))
}

// AlertDeliveries says what became of an alert on its way to routes.
func (s *Service) AlertDeliveries(ctx context.Context, c audit.Caller, id int64) ([]Delivery, error) {
	if err := s.may(ctx, c, access.AuditRead); err != nil {
		return nil, err
	}
	return s.store.AlertDeliveries(ctx, id)
}

// TestAlert records an event that raises an alert and means nothing. It goes
// the whole way that a true one goes: audit trail, outbox, alert, routes. It
// returns the key of the alert that comes of it.
func (s *Service) TestAlert(ctx context.Context, c audit.Caller) (key string, err error) {
	if err := s.may(ctx, c, access.RouteWrite); err != nil {
		return "", err
	}
	ev := s.event(c, audit.AlertTested, access.RouteWrite)
	if ev.ID, err = audit.NewID(ev.Time, rand.Reader); err != nil {
		return "", err
	}
	return ev.AlertKey(), s.store.Record(ctx, s.now(), ev)
}

// severities are those alerts that are not of severity high.
var severities = map[audit.Name]Severity{
	audit.IntegrityMismatch: Critical, audit.IntegrityMissing: Critical, audit.LogRollback: Critical, audit.LogForked: Critical, audit.LogKeyChanged: Critical,
	audit.WitnessRefused: Critical, audit.LogKeyRotated: Medium, audit.ProjectRemoved: Medium, audit.DecisionSet: Medium, audit.WaiverApproved: Medium,
	audit.BackupRestored: Medium, audit.LoginLocked: Medium,
}

// questions are what somebody has to find out.
var questions = map[audit.Name]string{
	audit.RefusedOverwrite:  "did a pipeline forget to raise the version, or did somebody try to replace a release?",
	audit.DeleteRefused:     "who believes that a release can be deleted, and why?",
	audit.ProjectRemoved:    "was it agreed?",
	audit.PolicyWeakened:    "was it agreed, and by whom?",
	audit.IntegrityMismatch: "who changed what is stored?",
	audit.IntegrityMissing:  "who removed what was stored, and where is a copy?",
	audit.LogRollback:       "was a backup put back, and what was lost?",
	audit.LogForked:         "which of the two histories is true, and who signed the other?",
	audit.LoginLocked:       "is it a job with an old credential, or somebody who guesses?",
	audit.LogKeyChanged:     "who changed the key?",
	audit.LogKeyRotated:     "was it planned?",
	audit.WitnessRefused:    "does the witness know another history, or is it misconfigured?",
	audit.QuarantineSet:     "who runs it, and who confirms the quarantine in time?",
	audit.QuarantineLapsed:  "was it left to lapse on purpose?",
	audit.AlertTested:       "did this reach those whom it should?",
}

// alarmEvent puts an audit event into the form in which routes tell it.
func alarmEvent(a *AuditEvent) Event {
	ev := &a.Event
	def, _ := ev.Name.Definition()
	e := Event{
		Time: ev.Time, Kind: EventKind(ev.Name), Severity: High, Project: ev.Resource.Project, Chart: ev.Resource.Chart, Version: ev.Resource.Version,
		Message: def.Description, Question: questions[ev.Name],
	}
	if sev, ok := severities[ev.Name]; ok {
		e.Severity = sev
	}
	if ref := refOf(ev.Resource); ref != "" {
		e.Message += ": " + ref
	}
	e.with("released", ev.Before)
	if ev.After != "" && ev.Outcome.Result == audit.Denied {
		e.with("offered", ev.After)
	} else {
		e.with("digest", ev.After)
	}
	e.with("by", byText(a))
	e.with("through", string(ev.Door))
	e.with("from", ev.Source.IP)
	e.with("reason", ev.Reason)
	for _, k := range slices.Sorted(maps.Keys(ev.Detail)) {
		v := ev.Detail[k]
		if strings.HasPrefix(k, "file-") {
			kind, path, _ := strings.Cut(v, " ")
			e.Files = append(e.Files, chart.Change{Path: path, Kind: kind})
			continue
		}
		e.with(k, v)
	}
	e.with("audit index", strconv.FormatInt(a.Index, 10))
	return e
}

func refOf(r audit.Resource) string {
	ref := r.Project
	if r.Chart != "" {
		ref += "/" + r.Chart
	}
	if r.Version != "" {
		ref += "@" + r.Version
	}
	return ref
}

func byText(a *AuditEvent) string {
	switch {
	case a.Actor != "":
		return a.Actor
	case a.Event.Actor.ID != "":
		return a.Event.Actor.ID
	}
	return string(a.Event.Actor.Kind)
}
