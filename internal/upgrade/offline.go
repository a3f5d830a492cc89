package upgrade

import (
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Offline judges deployments without a store, by the same chain: what they run,
// what that opens, by when. Nothing is known then of waivers, of newer versions
// and of when a fix was first seen, so every clock runs from the advisory's
// publication. Make it with NewOffline; its methods may be called concurrently.
type Offline struct{ is *state }

// NewOffline judges by a database and a policy.
func NewOffline(db *advisory.Database, p *decision.Policy) *Offline {
	return &Offline{&state{db: db, policy: p, ref: refOf(p)}}
}

// Assess is what is open on a deployment, as far as its images are known. Cost:
// the images and the advisories on their components.
func (o *Offline) Assess(d deployment.Deployment, now time.Time) Assessment {
	kept := watch.Deployment{Deployment: d}
	j := &judged{subject: newSubject(&kept, nil, now)}
	images := distinct(d.Images)
	j.assessment = Assessment{
		Deployment: d.Key, Chart: d.Chart.Name, Version: d.Chart.Version, Environment: d.Environment, Owner: d.Owner,
		Exposure: j.subject.exposure, Mission: j.subject.mission, At: now.UTC().Truncate(time.Second),
		Inputs:   Inputs{Policy: o.is.ref, Snapshots: o.is.db.Snapshots()},
		Findings: []Finding{}, Lifted: []Finding{}, Unknown: []UnknownImage{}, Images: len(images), Doubts: []string{},
	}
	if len(images) == 0 {
		j.assessment.NotJudged = strings.Join(append([]string{"its images are not known"}, d.Unresolved...), "; ")
	}
	j.decide(o.is, o.is.look(images, repositories(&kept), d.Chart.Name, d.Chart.Version))
	return j.assessment
}
