package release

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// PolicyDocument returns a policy by its digest, as leaves name it: to whoever
// may read a project that has or had it.
func (s *Service) PolicyDocument(ctx context.Context, c Caller, d string) ([]byte, error) {
	none := problem.New(problem.NotFound, "policy-digest", "no project that you may read has or had the policy %.100s", d)
	if digest.Check(d) != nil {
		return nil, none
	}
	text, projects, err := s.store.PolicyDocument(ctx, d)
	if problem.KindOf(err) == problem.NotFound {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	all, err := s.store.AllProjects(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range projects {
		for i := range all {
			req := access.Request{Action: access.ChartPull, Project: all[i].Name, ProjectPublic: all[i].Public}
			if all[i].ID == id && access.Allowed(c.Principal, req, s.now()) {
				return text, nil
			}
		}
	}
	return nil, none
}

// TrialRelease is what a policy would have said of a release.
type TrialRelease struct {
	Release    string                `json:"release"` // project/chart@version
	Time       string                `json:"time"`
	Refused    []string              `json:"refused"` // why, one sentence each; none: it would have been let through
	Signatures []signature.Signature `json:"signatures"`
}

// Trial is the answer to TryPolicy.
type Trial struct {
	Weaker   []string       `json:"weaker"`   // what it lets through that the project's policy refuses
	Examined int            `json:"examined"` // how many releases were looked at
	Items    []TrialRelease `json:"items"`    // those that would have been refused
	Next     string         `json:"next,omitempty"`
}

// trialSize is after how many releases a trial stops at the end of a chart.
const trialSize = 500

// TryPolicy says which of a project's releases a policy would have refused or
// kept back, each at the time of its log entry. It changes nothing. Charts come
// by name, those after a name; name and version narrow it to one chart or
// release. Cost: it reads the signatures of each release, some milliseconds
// where there are any.
func (s *Service) TryPolicy(ctx context.Context, c Caller, project string, policy Policy, name, version, after string) (Trial, error) {
	p, rest, err := s.project(ctx, c, project, access.PolicyRead, false)
	if err == nil && rest != "" {
		err = s.noSuchProject(c, project)
	}
	if err != nil {
		return Trial{}, err
	}
	trial := p
	policy.Mirror = p.Policy.Mirror
	trial.Policy = policy
	if err := checkPolicy(&trial); err != nil {
		return Trial{}, err
	}
	out := Trial{Weaker: trial.Policy.WeakerThan(p.Policy), Items: []TrialRelease{}}
	charts := []ChartSummary{{Name: name}}
	if name == "" {
		if charts, err = s.store.Charts(ctx, p.ID, after, trialSize); err != nil {
			return out, err
		}
	}
	for i := range charts {
		list, err := s.store.Releases(ctx, p.ID, charts[i].Name)
		if err != nil {
			return out, err
		}
		for j := range list {
			r := &list[j]
			if version != "" && r.Version != version || r.State == Tombstoned || !s.visible(c, &p, r) {
				continue
			}
			out.Examined++
			item, err := s.tryRelease(ctx, &trial, r)
			if err != nil {
				return out, err
			}
			if len(item.Refused) > 0 {
				out.Items = append(out.Items, item)
			}
		}
		if out.Examined >= trialSize && i < len(charts)-1 || i == trialSize-1 {
			out.Next = charts[i].Name
			break
		}
	}
	return out, nil
}

func (s *Service) tryRelease(ctx context.Context, p *Project, r *Release) (TrialRelease, error) {
	item := TrialRelease{Release: r.Ref(), Time: when(r.Time)}
	publisher, err := s.publisherOf(ctx, r)
	if err != nil {
		return item, err
	}
	var files offered
	if r.Provenance != "" {
		if files.prov, err = s.readSmall(ctx, r.Provenance, MaxProvenance); err != nil {
			return item, err
		}
	}
	if files.bundles, err = s.bundlesOf(ctx, r.Repository(), r.Manifest); err != nil {
		return item, err
	}
	j := s.judge(r, publisher, r.Time, files)(p)
	item.Signatures, item.Refused = j.Signatures, j.Would
	if e, ok := problem.As(j.Refusal); ok {
		item.Refused = append(item.Refused, e.Rule+": "+e.Message)
	}
	waits, would := p.Policy.Settle(r, j.Have())
	for _, w := range waits {
		would = append(would, "it lacks "+w)
	}
	item.Refused = append(item.Refused, would...)
	return item, nil
}
