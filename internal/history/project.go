package history

import (
	"iter"
	"strings"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

// The words of project leaves that rules depend on.
const (
	kindCharts     = "charts"
	stateActive    = "active"
	stateImporting = "importing"
	stateRemoved   = "removed"
)

// project is what the leaves said of a project.
type project struct {
	name    string
	kind    string
	public  bool
	state   string
	policy  string // digest
	at      int64  // index of the leaf that created it; -1 when none did
	changed int64  // index of the leaf that set its state
	ruled   int64  // index of the leaf that set its policy
	mirror  bool   // its first release came from a mirror
	began   bool   // it was importing once

	releases int64 // that its leaves made
	hidden   int64 // of those: yanked, quarantined or buried
	unsigned int64 // of those that are not hidden: without provenance
}

// Project is what the leaves say of a project.
type Project struct {
	Name    string
	Kind    string // "charts" or "artifacts"
	Public  bool
	State   string // "active", "importing" or "removed"
	Policy  string // digest of the policy in force, sha256
	Created int64  // index of the leaf that created it

	Releases int64 // made in it, in all
	Hidden   int64 // of those: yanked, in quarantine, or under a tombstone
	Unsigned int64 // of the others: without provenance. They may wait for it, unseen
}

// Project returns what the leaves say of a project; false when none created it.
func (r *Replay) Project(name string) (Project, bool) {
	n, ok := r.byName[name]
	if !ok || r.projects[n].at == none {
		return Project{}, false
	}
	return r.projects[n].export(), true
}

// Projects lists all projects in the order of their creation, removed ones
// included.
func (r *Replay) Projects() iter.Seq[Project] {
	return func(yield func(Project) bool) {
		for _, p := range r.projects {
			if p.at != none && !yield(p.export()) {
				return
			}
		}
	}
}

func (p *project) export() Project {
	return Project{
		Name: p.name, Kind: p.kind, Public: p.public, State: p.state, Policy: p.policy, Created: p.at,
		Releases: p.releases, Hidden: p.hidden, Unsigned: p.unsigned,
	}
}

// in returns the number of the project with a name, making one that no leaf
// created when there is none: what is said of it can then be held together.
func (r *Replay) in(name string) (uint32, *project) {
	n, ok := r.byName[name]
	if !ok {
		n = uint32(len(r.projects))
		r.projects = append(r.projects, &project{name: name, at: none, changed: none, ruled: none})
		r.byName[name] = n
	}
	return n, r.projects[n]
}

// project replays what became of a project.
func (r *Replay) project(f *found, l *tlog.Project) {
	if l.Action == tlog.ProjectCreated {
		r.create(f, l)
		return
	}
	n, p := r.in(l.Name)
	switch {
	case p.at == none:
		f.add(RuleState, none, nil, "project %s was never created", l.Name)
		p.at, p.kind, p.changed = f.index, l.Kind, f.index // it exists, however it came
		r.cover(n)
	case p.state == stateRemoved:
		f.add(RuleState, p.changed, nil, "project %s was removed before", l.Name)
		return
	case l.Kind != p.kind:
		f.add(RuleState, p.at, facts("kind", l.Kind, "kind before it", p.kind), "project %s changed its kind", l.Name)
	}
	want := p.state
	switch l.Action {
	case tlog.ProjectRemoved:
		want = stateRemoved
	case tlog.ProjectCutOver:
		want = stateActive
		if p.state != stateImporting {
			f.add(RuleState, p.changed, facts("state", p.state), "project %s was cut over while it did not import", l.Name)
		}
	}
	if l.State != want && p.state != "" {
		f.add(RuleState, p.changed, facts("state", l.State, "expected", want), "project %s has a state that does not follow from %s", l.Name, l.Action)
	}
	if p.policy != "" && l.Policy != p.policy {
		f.add(RulePolicyChain, p.ruled, facts("policy", l.Policy, "policy before it", p.policy), "project %s changed its policy without a policy leaf", l.Name)
	}
	p.set(f, l)
}

// set takes over what a project leaf says.
func (p *project) set(f *found, l *tlog.Project) {
	if p.state != l.State {
		p.changed = f.index
	}
	if p.policy != l.Policy {
		p.ruled = f.index
	}
	p.state, p.policy, p.public = l.State, l.Policy, l.Visibility == "public"
	p.began = p.began || l.State == stateImporting
}

func (r *Replay) create(f *found, l *tlog.Project) {
	n, p := r.in(l.Name)
	if p.at != none {
		f.add(RuleName, p.at, nil, "project %s was created before", l.Name)
		return
	}
	for name := range above(l.Name) {
		if o, ok := r.byName[name]; ok && r.projects[o].at != none {
			f.add(RuleName, r.projects[o].at, facts("project", name), "the name of project %s begins with that of another", l.Name)
		}
	}
	if o, ok := r.above[l.Name]; ok {
		f.add(RuleName, r.projects[o].at, facts("project", r.projects[o].name), "the name of project %s is the beginning of another's", l.Name)
	}
	if l.State != stateActive && !(l.State == stateImporting && l.Kind == kindCharts) {
		f.add(RuleState, none, facts("state", l.State, "kind", l.Kind), "project %s was created in a state that none begins with", l.Name)
	}
	p.at, p.kind = f.index, l.Kind
	r.cover(n)
	p.set(f, l)
}

// cover notes the names that no project can have any more, since they are the
// beginning of this one's.
func (r *Replay) cover(n uint32) {
	for name := range above(r.projects[n].name) {
		if _, ok := r.above[name]; !ok {
			r.above[name] = n
		}
	}
}

// above lists the proper beginnings of a name in whole segments.
func above(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range len(name) {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// policy replays the change of a project's policy.
func (r *Replay) policy(f *found, l *tlog.Policy) {
	_, p := r.in(l.Project)
	switch {
	case p.at == none:
		f.add(RuleState, none, nil, "project %s was never created", l.Project)
	case p.state == stateRemoved:
		f.add(RuleState, p.changed, nil, "project %s was removed before", l.Project)
	}
	if p.policy != "" && l.Before != p.policy {
		f.add(RulePolicyChain, p.ruled, facts("policy", l.Before, "policy in force", p.policy),
			"the policy that is changed is not the one that project %s has", l.Project)
	}
	if l.Change == tlog.PolicyWeaker && p.releases > 0 { // before, it protects nothing
		switch l.Approver {
		case tlog.Identity{}:
			f.add(RuleWeaker, none, facts("requester", identity(l.Requester)), "the policy of project %s was weakened without a second person", l.Project)
		case l.Requester:
			f.add(RuleWeaker, none, facts("requester", identity(l.Requester)), "the policy of project %s was weakened by one person alone", l.Project)
		}
	}
	p.policy, p.ruled = l.After, f.index
}

func identity(id tlog.Identity) string { return strings.TrimSpace(id.Issuer + " " + id.Subject) }
