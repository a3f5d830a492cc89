package custody

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Loss is something that a recovery cannot bring back.
type Loss struct {
	Index int64  `json:"index,omitempty"` // of the leaf
	Ref   string `json:"ref,omitempty"`   // project/chart@version, or a repository
	What  string `json:"what"`
}

// Range is what a recovery replays of one log.
type Range struct {
	Log  Log    `json:"log"`
	From int64  `json:"from"` // leaves that the database has
	To   int64  `json:"to"`   // leaves that it will have
	Root string `json:"root"` // of the tree of To leaves
}

// Counted is a kind of thing and how many there are.
type Counted struct {
	Name  string `json:"name"`
	What  string `json:"what"`
	Count int    `json:"count"`
}

// maxListed bounds how many releases and losses a report names.
const maxListed = 1000

// Report says what a recovery brings back and what not.
type Report struct {
	Ranges   []Range   `json:"ranges"` // none: the database holds all that is kept
	Releases int       `json:"releases"`
	Refs     []string  `json:"refs,omitempty"`      // the first thousand of them
	Leaves   []Counted `json:"leaves,omitempty"`    // of the release log, by type
	Events   []Counted `json:"events,omitempty"`    // of the audit log whose effect is made again
	Withdraw []Counted `json:"withdrawn,omitempty"` // rights that are taken away once more
	Lost     []Counted `json:"lost,omitempty"`      // events whose effect was in the database alone
	Losses   []Loss    `json:"losses,omitempty"`    // single things, the first thousand
	Applied  bool      `json:"applied"`

	losses int
}

// made are events whose effect follows from the leaves of the release log, from
// the records or from nothing: what they tell of is there after a recovery.
var made = map[audit.Name]bool{
	audit.ReleaseAccepted: true, audit.ReleaseImported: true, audit.ProvAttached: true, audit.ReleaseYanked: true, audit.ReleaseUnyanked: true,
	audit.ProjectCreated: true, audit.ProjectSet: true, audit.ProjectCutOver: true, audit.ProjectRemoved: true,
	audit.ArtifactPushed: true, audit.ArtifactDeleted: true, audit.AttestationAttached: true,
	audit.QuarantineSet: true, audit.QuarantineConfirmed: true, audit.QuarantineLifted: true, audit.QuarantineLapsed: true,
	audit.TombstoneDone: true, audit.PolicyChanged: true, audit.PolicyWeakened: true,
}

// withdrawn are events that took a right away, which recovery does again.
var withdrawn = map[audit.Name]string{
	audit.TokenRevoked:    "tokens are revoked again",
	audit.AccountRemoved:  "accounts are disabled again",
	audit.RoleRevoked:     "grants are taken away again",
	audit.PasswordChanged: "passwords were changed: the old ones are void, the new ones are lost",
}

// told are events that tell of something and leave nothing behind.
func told(name audit.Name) bool {
	switch name {
	case audit.ReleaseUnchanged, audit.WouldRefuse, audit.ProvRefused, audit.DeleteRefused, audit.LoginOK, audit.LoginFailed,
		audit.LoginLocked, audit.TokenExpired, audit.TokenNewSource, audit.ConfigChanged, audit.LogForked, audit.AuthFailures, audit.AccessDenied, audit.OIDCExchanged, audit.OIDCRefused, audit.AlertTested, audit.RouteResent,
		audit.IntegrityChecked, audit.IntegrityMismatch, audit.IntegrityMissing, audit.LogRollback, audit.LogKeyChanged, audit.LogRecovered,
		audit.WitnessRefused, audit.BackupMade, audit.BackupRestored, audit.AuditExported:
		return true
	}
	return false
}

// Recover works out what the database lacks and can have back. With apply it
// replays that, in one transaction, until the database stands at the newest
// kept checkpoints; else nothing is changed. It is for a database that no
// server uses.
//
// problem.Disproven when the database holds another history than the records
// (with both leaves at the first place where they differ), or when the kept
// entries do not lead to the kept checkpoint; nothing is changed then.
func (c *Custodian) Recover(ctx context.Context, apply bool) (Report, error) {
	var rep Report
	var parts []Part
	for _, log := range Logs {
		part, err := c.part(ctx, log)
		if err != nil {
			return rep, err
		}
		if part == nil {
			continue
		}
		rep.Ranges = append(rep.Ranges, Range{log, part.From, part.To.Size, part.To.Root.String()})
		if err := c.count(ctx, &rep, part); err != nil {
			return rep, err
		}
		parts = append(parts, *part)
	}
	rep.sort()
	if !apply || len(parts) == 0 {
		return rep, nil
	}
	// Before, so that a recovery which dies right after its commit is told of
	// all the same; it is told by a server that starts, which it cannot before.
	if err := c.noteRecovery(ctx, &rep); err != nil {
		return rep, err
	}
	if err := c.cfg.Database.Recover(ctx, parts); err != nil {
		return rep, err
	}
	rep.Applied = true
	return rep, nil
}

// part is what one log lacks, nil for nothing, when the kept entries lead from
// the database to the kept checkpoint.
func (c *Custodian) part(ctx context.Context, log Log) (*Part, error) {
	kept, ok, _, err := c.shelf.newest(ctx, log, tlog.MaxSize)
	if err != nil || !ok {
		return nil, err
	}
	db, err := c.held(ctx, log)
	if err != nil {
		return nil, err
	}
	if kept.Size <= db.Size {
		state, err := c.stands(ctx, log, db, kept)
		if err == nil && state == StateForked {
			err = c.fork(ctx, log, db, kept)
		}
		return nil, err
	}
	edge, err := c.cfg.Database.LogEdge(ctx, log, db.Size)
	if err != nil {
		return nil, err
	}
	for entries, err := range c.leaves(ctx, log, db.Size, kept.Size) {
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			edge.Append(tlog.LeafHash(entry))
		}
	}
	if edge.Root() != kept.Root {
		return nil, c.fork(ctx, log, db, kept)
	}
	return &Part{Log: log, From: db.Size, To: kept, Steps: c.steps(ctx, log, db.Size, kept.Size, nil)}, nil
}

// fork finds the first place where database and records differ. Cost: it reads
// both from their beginnings.
func (c *Custodian) fork(ctx context.Context, log Log, db, kept tlog.Checkpoint) error {
	at := int64(0)
	for entries, err := range c.leaves(ctx, log, 0, min(db.Size, kept.Size)) {
		if err != nil {
			return err
		}
		stored, err := c.cfg.Database.LogLeaves(ctx, log, at, at+int64(len(entries)))
		if err != nil {
			return err
		}
		for i := range entries {
			if !bytes.Equal(entries[i], stored[i]) {
				at += int64(i)
				return problem.New(problem.Disproven, "recover-fork", "the database and the records hold two histories of the %s log, which part at leaf %d", log, at).
					With("database", "%d leaves, root %s; leaf %d: %.2000q", db.Size, db.Root, at, stored[i]).
					With("records", "%d leaves, root %s; leaf %d: %.2000q", kept.Size, kept.Root, at, entries[i]).
					Suggest("keep both, and decide which one is true: docs/recovery.md, \"Two histories\"")
			}
		}
		at += int64(len(entries))
	}
	return problem.New(problem.Disproven, "recover-root", "the kept entries of the %s log do not lead to the checkpoint of %d leaves that was signed", log, kept.Size).
		With("database", "%d leaves, root %s", db.Size, db.Root).
		Suggest("bring the folder of records back from a backup of the blob store")
}

// count goes through the steps of a part without doing any of it.
func (c *Custodian) count(ctx context.Context, rep *Report, p *Part) error {
	leaves, events, withdraw, lost := map[string]int{}, map[audit.Name]int{}, map[audit.Name]int{}, map[audit.Name]int{}
	var losses []Loss
	note := func(l Loss) { losses = append(losses, l) }
	gone := map[int64]bool{} // releases whose bytes a later leaf took away
	for step, err := range c.steps(ctx, p.Log, p.From, p.To.Size, note) {
		if err != nil {
			return fmt.Errorf("read what is kept of leaf %d of the %s log: %w", step.Index, p.Log, err)
		}
		if p.Log == Audits {
			name := step.Event.Name
			switch _, took := withdrawn[name]; {
			case step.Event.Outcome.Result != audit.Allowed || told(name):
			case took:
				withdraw[name]++
			case made[name]:
				events[name]++
			default:
				lost[name]++
			}
			continue
		}
		if step.Leaf != nil {
			leaves[step.Leaf.Type()]++
		}
		if l, ok := step.Leaf.(tlog.Tombstone); ok {
			gone[l.Index] = true
		}
		if step.Release != nil {
			if rep.Releases++; len(rep.Refs) < maxListed {
				rep.Refs = append(rep.Refs, step.Release.Row.Ref())
			}
		}
	}
	losses = slices.DeleteFunc(losses, func(l Loss) bool { return gone[l.Index] })
	rep.losses += len(losses)
	rep.Losses = append(rep.Losses, losses[:min(len(losses), maxListed-len(rep.Losses))]...)
	for typ, n := range leaves {
		rep.Leaves = append(rep.Leaves, Counted{typ, "leaves of the release log", n})
	}
	describe := func(into *[]Counted, from map[audit.Name]int) {
		for name, n := range from {
			what := withdrawn[name]
			if def, ok := name.Definition(); what == "" && ok {
				what = def.Description
			}
			*into = append(*into, Counted{string(name), what, n})
		}
	}
	describe(&rep.Events, events)
	describe(&rep.Withdraw, withdraw)
	describe(&rep.Lost, lost)
	return nil
}

func (rep *Report) sort() {
	for _, list := range []*[]Counted{&rep.Leaves, &rep.Events, &rep.Withdraw, &rep.Lost} {
		slices.SortFunc(*list, func(a, b Counted) int {
			return slices.Compare([]string{a.Name}, []string{b.Name})
		})
	}
}

// names of the standings, for facts.
func standings(rep *Report) map[string]string {
	out := map[string]string{"releases": fmt.Sprint(rep.Releases), "losses": fmt.Sprint(rep.losses)}
	for _, r := range rep.Ranges {
		out[string(r.Log)] = fmt.Sprintf("%d to %d", r.From, r.To)
	}
	return maps.Clone(out)
}
