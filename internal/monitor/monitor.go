package monitor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Depth says whose archives are fetched and held against their leaves.
type Depth string

// The depths.
const (
	ArchivesNone   Depth = "none"
	ArchivesNew    Depth = "new"    // each release since the monitor began, once
	ArchivesSample Depth = "sample" // those, and some others in every round
	ArchivesAll    Depth = "all"    // every release, once, from the first
)

// Depths lists them.
func Depths() []Depth { return []Depth{ArchivesNone, ArchivesNew, ArchivesSample, ArchivesAll} }

// Config is what a Monitor is made of.
type Config struct {
	Client *client.Client
	Keys   []string            // verifier keys of the log, which did not come from its server; all of one name
	Policy *tlog.WitnessPolicy // nil asks for no witnesses
	State  string              // folder; each log has one of its own in it
	Depth  Depth               // "" is ArchivesNew
	// Rate is how many bytes of archives are fetched in a second; 0 is no limit.
	Rate int64
	// Budget is how long a round looks at doors and archives before what is
	// left waits for the next one; 0 is without end.
	Budget time.Duration
	// Announced is the list of announcements; nil asks for none.
	Announced *Announced
	// BlindAfter is how long the log may be out of reach before that is a
	// finding; 0 is DefaultBlind.
	BlindAfter time.Duration
	Accepted   []string // ids of findings that somebody knows of
	Sinks      []string // names of what findings are told to
	Now        func() time.Time
	Rand       *rand.Rand // chooses samples
}

// DefaultBlind is how long a log may be out of reach before that is a finding.
const DefaultBlind = 15 * time.Minute

// Monitor follows one log. It belongs to one goroutine.
type Monitor struct {
	Config
	c         *client.Client
	origin    string
	dir       *folder
	st        *state
	log       *replica
	bundles   bundleCache
	etags     map[string]string   // of indexes, by project
	charts    map[string][]string // that an index listed, by project
	touched   map[string]bool     // projects that have new leaves in this round
	savedAt   int64               // size of the replica in the folder
	unsettled bool                // doubts were left by the last round
}

// Open takes the folder of a log. The error is a problem of the keys, or of the
// folder.
func Open(cfg Config) (*Monitor, error) {
	m := &Monitor{Config: cfg, c: cfg.Client, etags: map[string]string{}, charts: map[string][]string{}}
	m.Depth = cmp.Or(m.Depth, ArchivesNew)
	m.BlindAfter = cmp.Or(m.BlindAfter, DefaultBlind)
	for _, k := range cfg.Keys {
		v, err := tlog.NewVerifier(k)
		if err != nil {
			return nil, err
		}
		if m.origin != "" && m.origin != v.Name() {
			return nil, problem.New(problem.Invalid, "log-key", "these are keys of two logs").With("one", "%s", m.origin).With("other", "%s", v.Name())
		}
		m.origin = v.Name()
	}
	if m.origin == "" {
		return nil, problem.New(problem.Invalid, "log-key", "a log is followed with its key, which did not come from its server")
	}
	var err error
	if m.dir, err = openFolder(cfg.State, m.origin); err != nil {
		return nil, err
	}
	if m.st, err = m.dir.load(m.c.Server(), m.origin, m.Now()); err != nil {
		m.dir.close()
		return nil, err
	}
	m.log = m.dir.loadReplica(m.st)
	m.savedAt = m.log.edge.Size()
	return m, nil
}

// Close gives the folder free. What is in it is whole at any time.
func (m *Monitor) Close() error { return m.dir.close() }

// Origin names the log.
func (m *Monitor) Origin() string { return m.origin }

// Report is what a round came to.
type Report struct {
	Log       string    `json:"log"`
	Server    string    `json:"server"`
	Time      time.Time `json:"time"`
	Size      int64     `json:"size"` // of the log, as far as it was believed and replayed
	Root      string    `json:"root"`
	LogTime   time.Time `json:"log_time"` // of the newest leaf
	Cosigned  []string  `json:"cosigned"` // witnesses of the policy
	Releases  int64     `json:"releases"`
	Good      time.Time `json:"good"`      // when the log was last read to its end
	Leaves    int64     `json:"leaves"`    // replayed in this round
	Archives  int64     `json:"archives"`  // fetched and compared in this round
	Bytes     int64     `json:"bytes"`     // of them
	Entries   int64     `json:"entries"`   // of indexes, compared in this round
	Tags      int64     `json:"tags"`      // likewise
	Unknown   int64     `json:"unknown"`   // leaves that were passed over, in all
	Backlog   int64     `json:"backlog"`   // leaves whose archives wait to be looked at
	Waiting   int       `json:"waiting"`   // findings that wait to be told
	Unchecked []string  `json:"unchecked"` // what could not be checked in this round
	// Findings are all that are not over, the gravest first.
	Findings []Finding `json:"findings"`
	// Disproven is set when a finding that nobody accepted is proven.
	Disproven bool `json:"disproven"`
}

// round is a round on its way.
type round struct {
	ctx     context.Context
	now     time.Time
	until   time.Time // end of the budget; zero for none
	cp      tlog.Checkpoint
	report  Report
	checked map[string]bool  // areas that were looked at completely
	seen    map[string]bool  // ids that were raised
	count   map[string]int   // findings by rule
	fresh   map[string]int64 // findings of a rule that were not told one by one
	read    map[string]bool  // projects whose index was asked for: whether it was given
	doors   bool             // it looks at the doors now
	noted   []string         // ids of doubts about them that are new
	early   int64            // the most leaves that a doubt waits for
}

// Round looks once. The error is one of the folder or of ctx: what went wrong
// with the server is in the report. When it returns nil, all that it says is
// written down.
func (m *Monitor) Round(ctx context.Context) (Report, error) {
	m.st.Round++
	r := &round{ctx: ctx, now: m.Now().UTC(), checked: map[string]bool{}, seen: map[string]bool{}, count: map[string]int{}, fresh: map[string]int64{}, read: map[string]bool{}}
	if m.Budget > 0 {
		r.until = r.now.Add(m.Budget)
	}
	m.touched = map[string]bool{}
	if err := m.look(r); err != nil {
		return Report{}, err
	}
	if ctx.Err() != nil {
		return Report{}, ctx.Err()
	}
	m.blind(r)
	m.settle(r)
	if err := m.save(); err != nil {
		return Report{}, err
	}
	return m.finish(r), nil
}

// look makes the round. Its error is one of the folder.
func (m *Monitor) look(r *round) error {
	if len(m.st.Outbox) > maxOutbox {
		r.uncheck("the log is not followed while %d findings wait to be told", len(m.st.Outbox))
		return nil
	}
	if !m.checkpoint(r) {
		return nil
	}
	grown, err := m.grow(r)
	if err != nil || !grown {
		return err
	}
	m.st.Good = r.now
	m.judgeAnnounced(r)
	r.doors = true
	if m.Depth != ArchivesNone {
		m.checkArchives(r)
	}
	m.checkDoors(r)
	m.measure(r)
	return nil
}

// Again reports whether the last round left doubts that a second one would
// settle at once.
func (m *Monitor) Again() bool { return m.unsettled }

// over reports whether the budget of a round is spent.
func (r *round) over(m *Monitor) bool {
	return r.ctx.Err() != nil || !r.until.IsZero() && m.Now().After(r.until)
}

// uncheck says what could not be checked.
func (r *round) uncheck(format string, args ...any) {
	const most = 100
	if len(r.report.Unchecked) < most {
		r.report.Unchecked = append(r.report.Unchecked, fmt.Sprintf(format, args...))
	}
}

// failed says that something could not be checked because of an error.
func (r *round) failed(what string, err error) {
	reason := err.Error()
	if p, ok := problem.As(err); ok {
		reason = p.Message
		for _, f := range p.Facts {
			if f.Label == "reason" {
				reason += ": " + f.Value
			}
		}
	}
	r.uncheck("%s: %s", what, reason)
}

// finding begins a finding. what tells it from others of its rule.
func (m *Monitor) finding(rule, area, what, format string, args ...any) *Finding {
	k := kindOf(rule)
	return &Finding{
		ID: idOf(m.origin, rule, what), Rule: rule, Severity: k.severity, Proven: k.proven, Question: k.question,
		Log: m.origin, Server: m.c.Server(), Index: -1, Message: fmt.Sprintf(format, args...), Area: area,
	}
}

// raise records a finding and, when it is new, sends it on its way.
func (m *Monitor) raise(r *round, f *Finding) {
	if r.seen[f.ID] {
		return
	}
	r.seen[f.ID] = true
	if o := m.st.Open[f.ID]; o != nil {
		o.Last = m.st.Round
		return
	}
	if r.count[f.Rule]++; r.count[f.Rule] > maxPerRule || len(m.st.Open) >= maxOpen {
		if f.Rule != RuleMore {
			r.fresh[f.Rule]++
		}
		return
	}
	f.First = r.now
	f.Accepted = slices.Contains(m.Accepted, f.ID)
	m.st.Open[f.ID] = &opened{Finding: *f, Area: f.Area, Last: m.st.Round}
	if len(m.Sinks) > 0 && !f.Accepted {
		m.st.Outbox = append(m.st.Outbox, outgoing{Finding: *f, To: slices.Clone(m.Sinks)})
	}
}

// doubt is raise for what two requests can show that are not made at once. The
// first time it is only noted; it is raised when a later round, which has a
// newer checkpoint, finds the same.
//
// A server that publishes no checkpoint before its witnesses have seen it shows
// doors that are ahead of the log which it publishes, for as long as a witness
// is away. What they show can only be judged when that log has caught up. A
// server that never lets it is not believed for longer than BlindAfter.
func (m *Monitor) doubt(r *round, f *Finding) {
	d, had := m.st.Doubts[f.ID]
	if had && d.Leaf != f.leaf {
		had = false // the log says something else by now: this is another first look
		delete(m.st.Doubts, f.ID)
	}
	switch {
	case m.st.Open[f.ID] != nil:
		m.raise(r, f)
	case had && d.Round < m.st.Round && d.Needs > m.st.Size && r.now.Sub(d.Since) < m.BlindAfter:
		r.early = max(r.early, d.Needs)
	case had && d.Round < m.st.Round:
		m.raise(r, f)
	case !had && len(m.st.Doubts) < maxDoubts:
		m.st.Doubts[f.ID] = doubt{Round: m.st.Round, Area: f.Area, Since: r.now, Leaf: f.leaf}
		if r.doors {
			r.noted = append(r.noted, f.ID)
		}
	}
	r.seen[f.ID] = true
}

// measure asks how large the log is by now, for the new doubts about doors. It
// is the server's word: it can put a finding off, see doubt, and not away.
func (m *Monitor) measure(r *round) {
	if r.early > 0 {
		r.uncheck("what the doors show cannot be compared yet: the server publishes %d leaves of its log, and says that it had %d", m.st.Size, r.early)
	}
	if len(r.noted) == 0 {
		return
	}
	ctx, done := r.within()
	defer done()
	log, err := m.c.Witnesses(ctx)
	if err != nil {
		return // a server that does not say it is judged by the second look
	}
	for _, id := range r.noted {
		d := m.st.Doubts[id]
		d.Needs = log.Size
		m.st.Doubts[id] = d
	}
}

// blind tells when the log has been out of reach for too long.
func (m *Monitor) blind(r *round) {
	const area = "sight"
	if m.st.Good.Equal(r.now) {
		r.checked[area] = true
		return
	}
	since := m.st.Good
	if since.IsZero() {
		since = m.st.Since
	}
	if r.now.Sub(since) < m.BlindAfter {
		return
	}
	f := m.finding(RuleBlind, area, since.Format(time.RFC3339), "the log could not be checked since %s", since.Format(time.RFC3339))
	for i, u := range r.report.Unchecked {
		if i < 3 {
			f.with("reason", "%s", u)
		}
	}
	m.raise(r, f)
}

// settle ends what is over, and forgets doubts that did not come again.
func (m *Monitor) settle(r *round) {
	for _, rule := range slices.Sorted(maps.Keys(r.fresh)) {
		f := m.finding(RuleMore, "", fmt.Sprint(rule, m.st.Round), "there are %d more findings of rule %s", r.fresh[rule], rule)
		f.Standing, f.Proven, f.Severity = true, kindOf(rule).proven, kindOf(rule).severity
		m.raise(r, f)
	}
	for id, o := range m.st.Open {
		o.Accepted = slices.Contains(m.Accepted, id)
		if !o.Standing && o.Last < m.st.Round && r.checked[o.Area] {
			delete(m.st.Open, id)
		}
	}
	m.unsettled = false
	for id, d := range m.st.Doubts {
		switch {
		case d.Round == m.st.Round:
			m.unsettled = true
		case !r.seen[id] && r.checked[d.Area]:
			delete(m.st.Doubts, id)
		}
	}
}

// save writes the state, and the replica when enough has come since.
func (m *Monitor) save() error {
	if err := m.dir.save(m.st); err != nil {
		return err
	}
	if grown := m.log.edge.Size() - m.savedAt; grown > m.log.replay.Releases()/100 {
		if err := m.dir.saveReplica(m.log); err != nil {
			return err
		}
		m.savedAt = m.log.edge.Size()
	}
	return nil
}

// finish completes the report.
func (m *Monitor) finish(r *round) Report {
	rep := &r.report
	rep.Log, rep.Server, rep.Time = m.origin, m.c.Server(), r.now
	rep.Size, rep.Root, rep.Good = m.st.Size, m.st.Root, m.st.Good
	rep.LogTime, rep.Releases, rep.Unknown = m.log.replay.Time(), m.log.replay.Releases(), m.log.replay.Unknown()
	rep.Waiting = len(m.st.Outbox)
	rep.Findings, rep.Unchecked, rep.Cosigned = []Finding{}, append([]string{}, rep.Unchecked...), append([]string{}, rep.Cosigned...)
	if m.Depth != ArchivesNone && m.st.Began >= 0 {
		rep.Backlog = max(m.st.Size-m.st.Cursor, 0) + int64(len(m.st.Retries))
	}
	for _, o := range m.st.Open {
		rep.Findings = append(rep.Findings, o.Finding)
		rep.Disproven = rep.Disproven || o.Proven && !o.Accepted
	}
	slices.SortFunc(rep.Findings, func(a, b Finding) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), a.First.Compare(b.First), strings.Compare(a.Rule, b.Rule), cmp.Compare(a.Index, b.Index), strings.Compare(a.ID, b.ID))
	})
	return *rep
}

// Rank orders severities; -1 for what is none.
func (s Severity) Rank() int {
	return slices.Index([]Severity{Info, Low, Medium, High, Critical}, s)
}

// keep writes evidence and names it in a finding. A folder that is full does
// not keep the finding from being told.
func (m *Monitor) keep(r *round, f *Finding, e *client.Evidence) {
	e.Time, e.Server, e.Keys, e.Origin = r.now, m.c.Server(), m.Config.Keys, m.origin
	if o := m.st.Open[f.ID]; o != nil && o.Evidence != "" {
		return // the first stays
	}
	text, err := e.Marshal()
	if err == nil {
		f.Evidence, err = m.dir.keep(e.FileName(), text)
	}
	if err != nil {
		r.failed("keep the evidence", err)
		return
	}
	f.with("evidence", "%s", filepath.Base(f.Evidence))
}

// verifiers are the keys that are believed: those that were given, and those
// that the log's rotations brought.
func (m *Monitor) verifiers() note.Verifiers {
	var list []note.Verifier
	seen := map[string]bool{}
	add := func(key string) {
		if v, err := tlog.NewVerifier(key); err == nil && v.Name() == m.origin && !seen[key] {
			seen[key] = true
			list = append(list, v)
		}
	}
	for _, k := range m.Config.Keys {
		add(strings.TrimSpace(k))
	}
	for _, k := range m.log.replay.Keys() {
		add(k.Verifier)
	}
	return note.VerifierList(list...)
}
