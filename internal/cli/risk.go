package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// risk is what is open on a deployment, and by when it has to be closed.
type risk struct {
	Exposure string                `json:"exposure"` // small, controlled, open, unknown
	Open     map[string]int        `json:"open"`     // findings by severity, those that nobody rated as unknown
	Unknown  []client.UnknownImage `json:"unknown"`
	// NotJudged says why nothing is known of the deployment; "" mostly.
	NotJudged string    `json:"not_judged,omitempty"`
	Due       time.Time `json:"due,omitzero"` // the earliest deadline; at the server, else the date by cadence
	SetBy     string    `json:"set_by,omitempty"`
}

// cells are the columns of a table.
func (r *risk) cells(now time.Time) []string {
	open, unknown := severityWords(r.Open), "none"
	if n := len(r.Unknown); n > 0 {
		unknown = plural(n, "image")
	}
	if r.NotJudged != "" {
		open, unknown = "not judged", r.NotJudged
	}
	return []string{cmp.Or(r.Exposure, "unknown"), open, unknown, dueOf(r.Due, now, r.NotJudged != "", len(r.Unknown))}
}

// clean says that nothing is known to be open, and nothing is unknown.
func (r *risk) clean() bool {
	return len(r.Open) == 0 && len(r.Unknown) == 0 && r.NotJudged == ""
}

// risks are those of several deployments.
type risks struct {
	byKey    map[string]*risk
	findings []deployment.Finding
	used     advisoriesUsed
}

func (r *risks) find(key, rule, severity, format string, args ...any) {
	r.findings = append(r.findings, deployment.Finding{Rule: rule, Severity: severity, Object: key, Message: fmt.Sprintf(format, args...)})
}

// of notes one deployment's unknown images, or that it was not judged.
func (r *risks) of(key string, k *risk) {
	r.byKey[key] = k
	if k.NotJudged != "" {
		r.find(key, "deployment-not-judged", "unknown", "what is open is not known: %s", k.NotJudged)
	}
	for _, u := range k.Unknown {
		r.find(key, "image-unknown", "unknown", "%s: %s", u.Image, u.Why)
	}
}

// opened is the finding of something that is open.
func (r *risks) opened(key, kind, severity, id, component, title string) {
	rule := map[string]string{"advisory": "advisory-open", "chart-advisory": "chart-advisory-open"}[kind]
	r.find(key, cmp.Or(rule, kind+"-open"), severity, "%s: %s", strings.TrimSuffix(id+" in "+component, " in "), cmp.Or(title, "the record has no summary"))
}

// total is what stands below a table.
func (r *risks) total() string {
	counts, unknown, unjudged := map[string]int{}, map[string]bool{}, 0
	for _, k := range r.byKey {
		for s, n := range k.Open {
			counts[s] += n
		}
		for _, u := range k.Unknown {
			unknown[u.Image] = true
		}
		if k.NotJudged != "" {
			unjudged++
		}
	}
	return "open: " + severityWords(counts) + "\n" + unknownOf(len(unknown), unjudged)
}

// end is how --fail-on ends a command. What was not judged is as unknown as an
// image.
func (r *risks) end(on failOn) error {
	counts, unknown := map[string]int{}, 0
	for _, k := range r.byKey {
		for s, n := range k.Open {
			counts[s] += n
		}
		if unknown += len(k.Unknown); k.NotJudged != "" {
			unknown++
		}
	}
	return on.end(counts, unknown)
}

// risksHere judges deployments by feeds that are read here.
func (a *app) risksHere(ctx context.Context, opt *advisoryOptions, list []deployment.Deployment) (*risks, error) {
	p, err := policyOf(opt.policy)
	if err != nil {
		return nil, err
	}
	now := a.now()
	feeds, err := opt.read(ctx, p, now)
	if err != nil {
		return nil, err
	}
	r := &risks{byKey: map[string]*risk{}, used: feeds.used}
	judge := upgrade.NewOffline(feeds.db, p)
	for i := range list {
		got := judge.Assess(list[i], now)
		k := &risk{Exposure: cmp.Or(string(list[i].Exposure), "unknown"), Open: map[string]int{}, Unknown: []client.UnknownImage{}, NotJudged: got.NotJudged, Due: got.Deadline, SetBy: got.SetBy}
		for _, u := range got.Unknown {
			k.Unknown = append(k.Unknown, client.UnknownImage(u))
		}
		for _, f := range got.Findings {
			k.Open[string(f.Severity)]++
			r.opened(list[i].Key, string(f.Kind), string(f.Severity), cmp.Or(f.Advisory, f.Key), strings.TrimSpace(f.Component+" "+f.Version), f.Title)
		}
		r.of(list[i].Key, k)
	}
	return r, nil
}

// risksAtServer are what the server judged; nil where it does not judge.
func (a *app) risksAtServer(ctx context.Context, c *client.Client) (*risks, error) {
	status, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.StatusRow], error) {
		l, err := c.Status(ctx, "", p)
		return l.List, err
	})
	if p, ok := problem.As(err); ok && p.Rule == "judging" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &risks{byKey: map[string]*risk{}}
	known := map[string]*risk{}
	for _, s := range status {
		k := &risk{Exposure: "unknown", Open: map[string]int{}, Unknown: []client.UnknownImage{}, Due: s.Due}
		if s.State == "not-judged" {
			k.NotJudged = cmp.Or(s.WaitsFor, "it was not judged yet")
		}
		known[s.Deployment] = k
	}
	var page client.AdvisoryPage
	rows, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Advisory], error) {
		var err error
		page, err = c.Advisories(ctx, "", p)
		return page.List, err
	})
	if err != nil {
		return nil, err
	}
	for _, x := range rows {
		f := x.Finding
		for _, key := range x.Deployments {
			if k := known[key]; k != nil {
				k.Open[cmp.Or(f.Severity, "unknown")]++
				r.opened(key, f.Kind, cmp.Or(f.Severity, "unknown"), cmp.Or(f.Advisory, f.Key), f.Component, f.Title)
			}
		}
	}
	for _, u := range page.Unknown {
		for _, key := range u.Deployments {
			if k := known[key]; k != nil {
				k.Unknown = append(k.Unknown, u.UnknownImage)
			}
		}
	}
	return r, a.exposures(ctx, c, r, known, page)
}

// exposures adds who can reach each deployment, and takes in those that were
// not judged.
func (a *app) exposures(ctx context.Context, c *client.Client, r *risks, known map[string]*risk, page client.AdvisoryPage) error {
	all, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Deployment], error) {
		l, err := c.Deployments(ctx, "", p)
		return l.List, err
	})
	if err != nil {
		return err
	}
	for _, d := range all {
		k := known[d.Key]
		if k == nil {
			k = &risk{Open: map[string]int{}, Unknown: []client.UnknownImage{}, NotJudged: "it was not judged yet"}
		}
		k.Exposure = d.Exposure
		if k.NotJudged == "" && slices.Contains(page.NotJudged, d.Key) {
			k.NotJudged = "it could not be judged"
		}
		r.of(d.Key, k)
	}
	r.used = usedBy(page.Inputs)
	a.tellInputs(page.Inputs)
	return nil
}
