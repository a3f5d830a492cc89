package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"path"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// What became of a release of the old repository.
const (
	importTaken     = "taken"
	importUnchanged = "unchanged"
	importRefused   = "refused"
)

// imported is one release of the old repository.
type imported struct {
	Chart      string `json:"chart"`
	Version    string `json:"version"`
	Source     string `json:"source"`
	Result     string `json:"result"` // taken, unchanged or refused
	Digest     string `json:"digest,omitempty"`
	LogIndex   *int64 `json:"log_index,omitempty"`
	Provenance bool   `json:"provenance"`
	Rule       string `json:"rule,omitempty"` // that refused
	Reason     string `json:"reason,omitempty"`
}

// importResult is what became of a whole repository.
type importResult struct {
	Project   string     `json:"project"`
	From      string     `json:"from"`
	Taken     int        `json:"taken"`
	Unchanged int        `json:"unchanged"`
	Refused   int        `json:"refused"`
	NotTried  int        `json:"not_tried"`
	Items     []imported `json:"items"`
}

func (importResult) schema() string { return "import/v1" }

func (r importResult) keys() []string {
	var keys []string
	for _, x := range r.Items {
		if x.Result == importTaken {
			keys = append(keys, r.Project+"/"+x.Chart+"@"+x.Version)
		}
	}
	return keys
}

func (r importResult) view() view {
	b := block{head: []string{"CHART", "VERSION", "RESULT", "DIGEST OR REASON"}, empty: "the old repository has no releases"}
	for _, x := range r.Items {
		b.rows = append(b.rows, []string{cmp.Or(x.Chart, path.Base(x.Source)), x.Version, x.Result, cmp.Or(x.Reason, short(x.Digest))})
	}
	facts := []fact{{"taken", thousands(int64(r.Taken))}, {"unchanged", thousands(int64(r.Unchanged))}, {"refused", thousands(int64(r.Refused))}}
	if r.NotTried > 0 {
		facts = append(facts, fact{"not tried", thousands(int64(r.NotTried))})
	}
	return view{b, {facts: facts}}
}

type importOptions struct{ from string }

func (o *importOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.from, "from", "", "`URL` of the old repository, as helm repo add takes it; or a folder of .tgz files")
}

func (a *app) projectImportCommand() *cobra.Command {
	var opt importOptions
	return a.leaf(command{
		use: "import NAME --from URL|FOLDER", short: "Take over what an old repository published",
		long: `
Take over what an old classic repository published, into a project that was made
with --importing: every archive that its index.yaml names, with its provenance,
the time and the digest that the index says. In a folder without an index, every
.tgz file.

History becomes frozen releases that stay marked as history. Versions such as
v1.0.0 are taken as they are. An archive that is not the one its index names is
refused: a person has to look. Repeat the command as often as needed; what was
taken is unchanged. Exit code 1 if any release was refused.`,
		example: `
chartkeep project create platform --importing
chartkeep project import platform --from https://charts.example.com
chartkeep project cut-over platform`,
		args: arguments{1, 1, "the NAME of a project"}, flags: opt.register, complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			if opt.from == "" {
				return nil, usage("--from is missing").try("chartkeep project import %s --from https://charts.example.com", args[0])
			}
			old, err := openOld(opt.from)
			if err != nil {
				return nil, err
			}
			defer old.close()
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			return a.importAll(ctx, c, args[0], opt.from, old)
		},
	})
}

func (a *app) importAll(ctx context.Context, c *client.Client, project, from string, old *oldRepository) (result, error) {
	p, err := c.Project(ctx, project)
	if err != nil {
		return nil, err
	}
	if p.State != "importing" {
		return nil, problem.New(problem.Conflict, "project-not-importing", "project %s is %s, and history can be taken over only before the cut-over", p.Name, p.State).
			Suggest("chartkeep project create NAME --importing")
	}
	releases, err := old.releases(ctx)
	if err != nil {
		return nil, err
	}
	items, err := a.importReleases(ctx, c, project, old, releases)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r := importResult{Project: project, From: publicURL(from), Items: []imported{}}
	for _, x := range items {
		switch x.Result {
		case importTaken:
			r.Taken++
		case importUnchanged:
			r.Unchanged++
		case importRefused:
			r.Refused++
		default:
			r.NotTried++
			continue
		}
		r.Items = append(r.Items, x)
	}
	if err != nil {
		return r, err
	}
	if r.Refused > 0 {
		return r, problem.New(problem.Unavailable, "import-refused", "%s of %s could not be taken over; the reasons are in the list",
			count(r.Refused, "release", "releases"), thousands(int64(len(items)))).
			Suggest("mend what can be mended and repeat the command: what was taken is unchanged")
	}
	a.say("All is taken over. To take new releases: chartkeep project cut-over %s", project)
	return r, nil
}

// importJobs is how many charts are taken over at once; their archives are held
// in memory.
const importJobs = 4

// importReleases takes releases over. Charts go side by side; those of one
// chart one after the other, the oldest first, since of two versions that are
// the same to Helm the first one counts. It stops at the first error that is
// not about one release alone.
func (a *app) importReleases(ctx context.Context, c *client.Client, project string, old *oldRepository, releases []oldRelease) ([]imported, error) {
	items := make([]imported, len(releases))
	groups := [][]int{}
	byName := map[string]int{}
	for i := range releases {
		name := releases[i].group()
		at, ok := byName[name]
		if !ok {
			at = len(groups)
			byName[name] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	progress := a.progress(len(releases))
	defer progress.end()
	work := make(chan []int)
	var wg sync.WaitGroup
	for range importJobs {
		wg.Go(func() {
			for group := range work {
				for _, i := range group {
					item, err := importOne(ctx, c, project, old, &releases[i])
					if err != nil {
						stop(err)
						return
					}
					items[i] = item
					progress.step()
				}
			}
		})
	}
	for _, group := range groups {
		select {
		case work <- group:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	wg.Wait()
	return items, context.Cause(ctx)
}

// importOne takes one release over. An error is one that the next release would
// meet too.
func importOne(ctx context.Context, c *client.Client, project string, old *oldRepository, r *oldRelease) (imported, error) {
	item := imported{Chart: r.chart, Version: r.version, Source: r.origin.URL, Result: importRefused}
	archive, prov, err := old.fetch(ctx, r)
	if err != nil {
		if ctx.Err() != nil {
			return item, ctx.Err()
		}
		item.Rule, item.Reason = "fetch", "it cannot be fetched: "+err.Error()
		return item, nil
	}
	// No file name goes along: in an old repository it need not follow from
	// name and version.
	rec, err := c.ImportRelease(ctx, project, client.Upload{
		FileName: "chart.tgz", Archive: bytes.NewReader(archive), Size: int64(len(archive)), Provenance: prov,
	}, r.origin)
	if err != nil {
		p, ok := problem.As(err)
		if !ok || errors.Is(err, context.Canceled) || !aboutOne(p) {
			return item, err
		}
		item.Rule, item.Reason = p.Rule, p.Message
		return item, nil
	}
	item.Chart, item.Version, item.Digest, item.Provenance = rec.Chart, rec.Version, rec.Digest, rec.Provenance != ""
	item.LogIndex = &rec.LogIndex
	item.Result = importTaken
	if rec.Unchanged {
		item.Result = importUnchanged
	}
	return item, nil
}

// aboutOne reports whether a problem is about one release, so that the next may
// fare better.
func aboutOne(p *problem.Error) bool {
	switch p.Kind {
	case problem.Invalid, problem.Immutable, problem.Policy, problem.TooLarge, problem.Disproven, problem.Denied:
		return true
	case problem.Conflict:
		return p.Rule != "project-not-importing" && p.Rule != "project-state"
	}
	return false
}
