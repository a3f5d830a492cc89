package web

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Health is what a server knows of itself; the daemon satisfies it. It asks for
// no right, and what could not be found out is an error in its place.
type Health interface {
	Health(ctx context.Context) HealthReport
}

// HealthReport is the state of one process and its database.
type HealthReport struct {
	Commit   string
	Started  time.Time
	Database string // the kind: SQLite or PostgreSQL
	Checks   []HealthCheck
	ReadOnly *problem.Error // why every write is refused, nil when none is

	Kept           []KeptLog
	RecordsMissing bool // records of the log were removed from the blob store

	Untold    int // events that were not told yet, UntoldMost at most
	UntoldErr error
	Alerts    int // open ones, AlertsMost at most
	AlertsErr error
	Routes    []RouteState
	RoutesErr error

	Jobs       []JobState // in the order of their names
	ScrubRate  int64      // bytes a second at most; 0 is no bound
	ScrubEvery time.Duration
}

// Bounds of what a HealthReport counts.
const (
	UntoldMost = 10_000
	AlertsMost = 100
)

// HealthCheck is one of those that /readyz runs.
type HealthCheck struct {
	Name string
	Err  error
}

// KeptLog is how much of a log is kept beside the database.
type KeptLog struct {
	Name       string
	Size, Kept int64 // -1 when it could not be read
}

// RouteState is how messages to one route fare.
type RouteState struct {
	Name            string
	Waiting, Failed int
	Error           string // of the last failure, "" when it works
	LastSuccess     time.Time
}

// JobState is how a job fares that runs again and again.
type JobState struct {
	Name string
	Last time.Time // when it ended last
	Err  error     // what it ended with
}

// healthPage answers whether the server is well, and what to do where it is not.
type healthPage struct {
	frame
	Worst    stateWord
	Frozen   *problem.Error // why every write is refused
	Todo     []healthRow    // what is not well, the worst first
	Sections []healthSection
	Ready    string // URL of /readyz
}

type healthSection struct {
	Title string
	Rows  []healthRow
	Note  string
}

// healthRow is one thing that is well or not.
type healthRow struct {
	Name    string
	State   stateWord
	Detail  string
	At      moment
	Next    string // what to do
	URL     string // of the page where it is done
	Command string
	Runbook string
}

// The states of the page, from the worst.
var (
	healthBad  = stateWord{Class: "bad", Icon: "bad"}
	healthWarn = stateWord{Class: "warn", Icon: "warn"}
	healthUnk  = stateWord{Class: "unk", Icon: "unk"}
	healthOK   = stateWord{Class: "ok", Icon: "ok"}
	healthNone = stateWord{Class: "mute", Icon: "skip"} // there is nothing to check
)

func (s stateWord) saying(word string) stateWord {
	s.Word = word
	return s
}

// findingsListed is how many findings of the scrub are named.
const findingsListed = 50

// health shows the state of the server to whoever runs it. Cost: the checks of
// /readyz, a handful of look-ups, and at most UntoldMost rows that are only
// counted.
func (d *Door) health(w http.ResponseWriter, r *http.Request) error {
	if d.cfg.Health == nil {
		return noPage(r.URL.Path)
	}
	ctx, c := r.Context(), server.CallerOf(r)
	if err := d.svc.AllowInstance(ctx, c, access.InstanceAdmin); err != nil {
		return err
	}
	p := &healthPage{frame: d.frameOf(r, "Health", "health"), Ready: server.BaseURL(r) + "/readyz"}
	rep := d.cfg.Health.Health(ctx)
	p.Frozen = rep.ReadOnly
	p.Sections = []healthSection{
		{Title: "Ready", Rows: d.readiness(&rep), Note: "What /readyz answers, asked for this page."},
		{Title: "Database and what is kept of it", Rows: p.custodyRows(d, &rep)},
		{Title: "Stored against the log", Rows: p.scrubRows(ctx, d, c, &rep)},
		{Title: "Log and witnesses", Rows: p.logRows(ctx, d)},
		{Title: "Alerts and messages", Rows: p.messageRows(d, &rep)},
		{Title: "Jobs", Rows: p.jobRows(&rep), Note: "Of this process, since its start."},
		{Title: "Backups", Rows: p.backupRows(ctx, d, c)},
		{Title: "Program", Rows: p.programRows(d, &rep)},
	}
	p.judge()
	return d.render(w, r, http.StatusOK, "health", p)
}

// judge collects what is not well and says the worst of it.
func (p *healthPage) judge() {
	rank := func(r healthRow) int { return slices.Index([]string{"bad", "warn", "unk"}, r.State.Class) }
	for _, s := range p.Sections {
		for _, row := range s.Rows {
			if rank(row) >= 0 {
				p.Todo = append(p.Todo, row)
			}
		}
	}
	slices.SortStableFunc(p.Todo, func(a, b healthRow) int { return cmp.Compare(rank(a), rank(b)) })
	p.Worst = healthOK.saying("Works")
	if len(p.Todo) > 0 {
		p.Worst = p.Todo[0].State.saying(map[string]string{"bad": "Does not work", "warn": "Needs somebody", "unk": "Not all is known"}[p.Todo[0].State.Class])
	}
}

// runbook is the address of a section of the runbooks.
func (d *Door) runbook(page, section string) string {
	if d.cfg.Runbooks == "" {
		return ""
	}
	return d.cfg.Runbooks + page + ".md#" + strings.ReplaceAll(section, ".", "-")
}

// unwell is what the page says of an error: a problem's sentence, as /readyz.
func unwell(err error) string {
	if p, ok := problem.As(err); ok && p.Kind != problem.Internal {
		return shown(p.Message, maxSentence)
	}
	return "does not work; the server's log has the cause"
}

// unread is the row of what could not be found out.
func unread(name string, err error) healthRow {
	return healthRow{Name: name, State: healthUnk.saying("not known"), Detail: unwell(err), Next: "See the server's log for the cause."}
}

func (d *Door) readiness(rep *HealthReport) []healthRow {
	var out []healthRow
	for _, c := range rep.Checks {
		row := healthRow{Name: c.Name, State: healthOK.saying("works")}
		if c.Err != nil {
			row.State, row.Detail = healthBad.saying("fails"), unwell(c.Err)
			row.Next, row.Runbook = "See the server's log for the cause.", d.runbook("server", "chartkeep-down")
			switch c.Name {
			case "store":
				row.Runbook = d.runbook("server", "chartkeep-log-unreadable")
			case "history":
				row.Next, row.Runbook = "Compare the database with what is kept of it; this changes nothing.", d.runbook("server", "chartkeep-read-only")
				row.Command = "chartkeep log recover --data DIR"
			}
		}
		out = append(out, row)
	}
	return out
}

func (p *healthPage) custodyRows(d *Door, rep *HealthReport) []healthRow {
	out := []healthRow{{Name: "Writes", State: healthNone.saying("taken"), Detail: "the database is not behind what was signed, as far as this server has compared"}}
	if rep.ReadOnly != nil {
		out[0] = healthRow{Name: "Writes", State: healthBad.saying("all refused"), Detail: unwell(rep.ReadOnly), Next: "Compare the database with what is kept of it; this changes nothing.",
			Command: "chartkeep log recover --data DIR", Runbook: d.runbook("server", "chartkeep-read-only")}
	}
	if rep.RecordsMissing {
		out = append(out, healthRow{Name: "Records", State: healthBad.saying("were removed"), Detail: "What was kept of the log beside the blobs is gone; it is kept anew.",
			Next: "Find out whether the blob folder is mounted, and who removed blobs/records.", Runbook: d.runbook("server", "chartkeep-records-missing")})
	}
	keeps := slices.IndexFunc(rep.Jobs, func(j JobState) bool { return j.Name == "keep the log" && j.Err != nil })
	for _, l := range rep.Kept {
		row := healthRow{Name: "Records of the log of " + l.Name, State: healthOK.saying("complete"), Detail: number(l.Kept) + " of " + number(l.Size) + " entries are kept beside the database"}
		switch {
		case l.Size < 0 || l.Kept < 0:
			row = unread(row.Name, nil)
			row.Detail = "nothing was kept by this process yet, or the log could not be read"
		case l.Kept < l.Size && (keeps >= 0 || rep.ReadOnly != nil):
			row.State, row.Next, row.Runbook = healthBad.saying("behind"), "See the job “keep the log” below: mostly a full disk.", d.runbook("server", "chartkeep-log-not-kept")
		case l.Kept < l.Size: // the keeper runs each second
			row.State = healthNone.saying("following")
		}
		out = append(out, row)
	}
	return out
}

func (p *healthPage) scrubRows(ctx context.Context, d *Door, c release.Caller, rep *HealthReport) []healthRow {
	v, err := d.svc.ScrubStatus(ctx, c)
	if err != nil {
		return []healthRow{unread("Last comparison", err)}
	}
	bound := "as fast as it can be read"
	if rep.ScrubRate > 0 {
		bound = "at most " + perSecond(rep.ScrubRate)
	}
	last := healthRow{Name: "Last comparison", State: healthUnk.saying("none yet"), Detail: "nothing that is stored was compared with the log so far", Next: "Ask for one; it runs " + bound + ".", Command: "chartkeep scrub run"}
	if l := v.Last; l != nil {
		last = healthRow{Name: "Last comparison", State: healthOK.saying("found nothing"), At: moment{l.Ended, p.Now.at}, Detail: scrubbed(l)}
		if l.Counts.Findings > 0 {
			last.State = healthNone.saying("found " + plural(int(l.Counts.Findings), "fault"))
		}
	}
	next := healthRow{Name: "Next comparison", State: healthNone.saying("waits"), At: moment{v.Due, p.Now.at}, Detail: "every " + span(rep.ScrubEvery) + ", " + bound}
	switch {
	case v.Running:
		next.State, next.At, next.Detail = healthNone.saying("runs"), moment{v.Started, p.Now.at}, fmt.Sprintf("%s of %s entries of the log, %s read, %s", number(v.Next), number(v.Size), size(v.Done.Bytes), bound)
	case p.Now.at.Sub(v.Due) > time.Hour:
		next.State, next.Next, next.Command = healthWarn.saying("overdue"), "See the server's log: the comparison should have begun.", "chartkeep scrub status"
	}
	out := []healthRow{last, next}
	for i := range v.Open[:min(len(v.Open), findingsListed)] {
		f := &v.Open[i]
		row := healthRow{Name: capital(string(f.Kind)), State: healthBad.saying("since " + moment{f.First, p.Now.at}.Text()), Detail: shown(f.Message, maxSentence), At: moment{f.Last, p.Now.at},
			Next: capital(shown(cmp.Or(f.Try, "find out who changed it"), maxSentence)) + ".", Runbook: d.runbook("registry", string(f.Kind.Event()))}
		out = append(out, row)
	}
	if n := len(v.Open) - findingsListed; n > 0 {
		out = append(out, healthRow{Name: "More faults", State: healthBad.saying(number(n) + " are not listed here"), Command: "chartkeep scrub status -o json", Next: "List all of them."})
	}
	return out
}

// scrubbed is what a pass looked at, and how fast it read.
func scrubbed(l *release.ScrubReport) string {
	s := fmt.Sprintf("%s entries, %s, %s with %s, in %s", number(l.Counts.Leaves), plural(int(l.Counts.Releases), "release"), plural(int(l.Counts.Blobs), "blob"), size(l.Counts.Bytes), span(l.Duration))
	if seconds := l.Duration.Seconds(); seconds >= 1 {
		s += ", " + perSecond(int64(float64(l.Counts.Bytes)/seconds))
	}
	return s
}

// perSecond is a rate in the unit of the setting scrub-rate.
func perSecond(n int64) string {
	if n >= 10<<20 {
		return number(n>>20) + " MiB each second"
	}
	return number(n>>10) + " KiB each second"
}

func (p *healthPage) backupRows(ctx context.Context, d *Door, c release.Caller) []healthRow {
	list, err := d.svc.Audit(ctx, c, release.AuditFilter{Action: string(audit.BackupMade), Limit: 1})
	if err != nil {
		return []healthRow{unread("Newest backup", err)}
	}
	if len(list) == 0 {
		return []healthRow{{Name: "Newest backup", State: healthUnk.saying("none"), Detail: "none was made with chartkeep that this server knows of; copies that other programs make are not known here",
			Next: "Make one while the server runs.", Command: "chartkeep backup --data DIR --to FOLDER"}}
	}
	row := healthRow{Name: "Newest backup", State: healthNone.saying("made"), At: moment{list[0].Event.Time, p.Now.at}, Detail: detailWords(&list[0].Event)}
	if p.Now.at.Sub(list[0].Event.Time) > 7*24*time.Hour {
		row.State, row.Next, row.Command = healthWarn.saying("old"), "Make one while the server runs.", "chartkeep backup --data DIR --to FOLDER"
	}
	return []healthRow{row}
}

func (p *healthPage) programRows(d *Door, rep *HealthReport) []healthRow {
	build := "commit not known"
	if rep.Commit != "" {
		build = "commit " + rep.Commit
	}
	return []healthRow{
		{Name: "Version", State: healthNone.saying("Chartkeep " + d.cfg.Version), Detail: build},
		{Name: "Database", State: healthNone.saying(rep.Database)},
		{Name: "Started", State: healthNone.saying("runs for " + span(p.Now.at.Sub(rep.Started))), At: moment{rep.Started, p.Now.at}},
	}
}

// detailWords are the details of an event in one line.
func detailWords(e *audit.Event) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
		if key != custodyRecord {
			words = append(words, key+" "+e.Detail[key])
		}
	}
	return shown(strings.Join(words, ", "), maxSentence)
}

// custodyRecord is the detail that names the notice of an event.
const custodyRecord = "record"

func (p *healthPage) logRows(ctx context.Context, d *Door) []healthRow {
	var out []healthRow
	if info, err := d.svc.LogInfo(ctx); err != nil {
		row := unread("Checkpoint", err)
		row.Runbook = d.runbook("server", "chartkeep-log-unreadable")
		out = append(out, row)
	} else {
		out = append(out, healthRow{Name: "Checkpoint", State: healthOK.saying("signed"), At: moment{info.Time, p.Now.at}, Detail: number(info.Size) + " entries, key " + keyName(info.VerifierKey)})
	}
	if rotations, err := d.svc.Rotations(ctx); err != nil {
		out = append(out, unread("Log key", err))
	} else {
		for _, v := range rotationsOf(rotations, p.Now.at) {
			if v.Open {
				out = append(out, healthRow{Name: "Old log key", State: healthNone.saying("signs until " + v.Until.Text()), Detail: keyName(v.Old)})
			}
		}
	}
	w, err := d.svc.Witnessing(ctx)
	if err != nil {
		return append(out, unread("Witnesses", err))
	}
	v := witnessesOf(&w, p.Now.at, true)
	quorum := healthRow{Name: "Quorum", State: v.State, Detail: v.Words}
	switch {
	case v.Mode == "none":
		quorum.Next = "Have programs of others cosign it: name them in a file, and that in the setting witness-policy."
	case v.State.Class == "bad" || v.State.Class == "warn":
		quorum.Next, quorum.Command, quorum.Runbook = "See which witness does not cosign, and why.", "chartkeep log witnesses", d.runbook("registry", string(audit.WitnessRefused))
	}
	out = append(out, quorum)
	for _, x := range v.Rows {
		row := healthRow{Name: x.Name, State: x.State, Detail: x.Why, At: x.Cosigned}
		switch x.State.Class {
		case "bad":
			row.Next, row.Runbook = "Compare what the witness has cosigned with this log before anything else.", d.runbook("registry", string(audit.WitnessRefused))
		case "warn", "unk":
			row.Next = "Ask whoever runs it, or take it out of the witness policy."
		}
		out = append(out, row)
	}
	return out
}

func (p *healthPage) messageRows(d *Door, rep *HealthReport) []healthRow {
	alerts := healthRow{Name: "Alerts", State: healthNone.saying("none is open")}
	switch {
	case rep.AlertsErr != nil:
		alerts = unread("Alerts", rep.AlertsErr)
	case rep.Alerts > 0:
		words := plural(rep.Alerts, "alert") + " may go on"
		if rep.Alerts >= AlertsMost {
			words = number(AlertsMost) + " alerts or more may go on"
		}
		alerts.State, alerts.Next, alerts.Command, alerts.Runbook = healthWarn.saying(words), "See what each is about.", "chartkeep alert list --open", d.runbook("server", "chartkeep-alert-open")
		if p.SeesAlerts {
			alerts.URL = p.Base + "/alerts"
		}
	}
	outbox := healthRow{Name: "Events to be told", State: healthNone.saying("none waits")}
	switch {
	case rep.UntoldErr != nil:
		outbox = unread("Events to be told", rep.UntoldErr)
	case rep.Untold >= UntoldMost:
		outbox.State, outbox.Next = healthBad.saying(number(UntoldMost)+" or more wait"), "See the job “tell events” below: alerts and metrics know nothing of them."
	case rep.Untold > 0:
		outbox.State = healthNone.saying(plural(rep.Untold, "event") + " on the way")
	}
	out := []healthRow{alerts, outbox}
	if rep.RoutesErr != nil {
		return append(out, unread("Routes", rep.RoutesErr))
	}
	if len(rep.Routes) == 0 {
		return append(out, healthRow{Name: "Routes", State: healthUnk.saying("none"), Detail: "nobody is told of alerts", Next: "Say who is told of what.", Command: "chartkeep route add --help"})
	}
	for _, r := range rep.Routes[:min(len(rep.Routes), linesShown)] {
		row := healthRow{Name: "Route " + shown(r.Name, maxName), State: healthOK.saying("delivers"), At: moment{r.LastSuccess, p.Now.at}}
		switch {
		case r.Failed > 0:
			row.State, row.Next, row.Command = healthBad.saying(plural(r.Failed, "message")+" given up"), "When the target works again, have them sent.", "chartkeep route resend "+quoted(r.Name)
			row.Runbook = d.runbook("server", "chartkeep-deliveries-failed")
		case r.Waiting > 0 && r.Error != "":
			row.State, row.Next, row.Command = healthWarn.saying(plural(r.Waiting, "message")+" wait"), "The target does not take them; other routes are not held up.", "chartkeep route show "+quoted(r.Name)
			row.Runbook = d.runbook("server", "chartkeep-deliveries-waiting")
		case r.Waiting > 0:
			row.State = healthNone.saying(plural(r.Waiting, "message") + " on the way")
		case r.LastSuccess.IsZero():
			row.State = healthUnk.saying("never tried")
			row.Next, row.Command = "Try whether messages arrive.", "chartkeep alert test"
		}
		row.Detail = shown(r.Error, maxSentence)
		out = append(out, row)
	}
	if n := len(rep.Routes) - linesShown; n > 0 {
		out = append(out, healthRow{Name: "More routes", State: healthUnk.saying(number(n) + " are not listed here"), Next: "List all of them.", Command: "chartkeep route list"})
	}
	return out
}

func (p *healthPage) jobRows(rep *HealthReport) []healthRow {
	var out []healthRow
	for _, j := range rep.Jobs {
		row := healthRow{Name: capital(j.Name), State: healthOK.saying("works"), At: moment{j.Last, p.Now.at}}
		if j.Err != nil {
			row.State, row.Detail, row.Next = healthBad.saying("failed"), unwell(j.Err), "It is tried again by itself; see the server's log for the cause."
		}
		out = append(out, row)
	}
	if len(out) == 0 {
		out = []healthRow{{Name: "Jobs", State: healthNone.saying("none has run yet")}}
	}
	return out
}
