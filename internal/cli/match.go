package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// matchResult says what is open on images.
type matchResult struct {
	Images  []matchedImage `json:"images"`
	Unknown int            `json:"unknown"` // of the images
	Open    int            `json:"open"`    // advisories, each counted once
	advisoriesUsed
}

// matchedImage is one image. Severities counts what is open, and Lifted what a
// VEX statement says it is not affected by; both are absent where the server was
// asked, which does not say them.
type matchedImage struct {
	client.ImageMatch
	Severities map[string]int `json:"severities,omitempty"`
	Lifted     int            `json:"lifted,omitempty"`
}

func (matchResult) schema() string { return "advisory-match/v1" }

// keys are the images with what is open on them. An image that is unknown is
// never left out.
func (r matchResult) keys() []string {
	var keys []string
	for _, m := range r.Images {
		if m.Unknown {
			keys = append(keys, m.Image+" unknown")
		}
		for _, id := range m.Open {
			keys = append(keys, m.Image+" "+id)
		}
	}
	return keys
}

func (r matchResult) view() view {
	b := block{head: []string{"IMAGE", "IS", "OPEN"}}
	for _, m := range r.Images {
		open := "none known"
		switch {
		case m.Unknown:
			open = "unknown"
		case m.Severities != nil && len(m.Open) > 0:
			if open = severityWords(m.Severities); m.Lifted > 0 {
				open += fmt.Sprintf("; %d lifted by VEX", m.Lifted)
			}
		case len(m.Open) > 0:
			open = thousands(int64(len(m.Open)))
		}
		is := fmt.Sprintf("%s %s (%s)", m.Component, m.Version, m.Confidence)
		if m.Unknown {
			is = "not known: " + m.Why
		}
		b.rows = append(b.rows, []string{m.Image, is, open})
	}
	v := view{b}
	ids := block{head: []string{"IMAGE", "OPEN ADVISORIES"}}
	for _, m := range r.Images {
		if len(m.Open) > 0 {
			ids.rows = append(ids.rows, []string{m.Image, strings.Join(m.Open, " ")})
		}
	}
	if len(ids.rows) > 0 {
		v = append(v, ids)
	}
	total := fmt.Sprintf("%s: %s known to be open", plural(len(r.Images), "image"), advisoryCount(r.Open))
	return append(append(v, block{text: total + "\n" + unknownImages(r.Unknown)}), r.advisoriesUsed.view()...)
}

func advisoryCount(n int) string {
	if n == 1 {
		return "1 advisory is"
	}
	return thousands(int64(n)) + " advisories are"
}

// unknownImages is how totals end. What is not known is not known to be clean.
func unknownImages(n int) string {
	if n == 0 {
		return "no image is unknown"
	}
	return "unknown: " + plural(n, "image") + ", not known to be clean"
}

// unknownOf is unknownImages where deployments could not be judged at all.
func unknownOf(images, unjudged int) string {
	switch {
	case unjudged == 0:
		return unknownImages(images)
	case images == 0:
		return "unknown: all images of " + plural(unjudged, "deployment") + " not judged, not known to be clean"
	}
	return fmt.Sprintf("unknown: %s, and all of %s not judged; not known to be clean", plural(images, "image"), plural(unjudged, "deployment"))
}

// worstFirst are the severities of findings as totals list them. What nobody
// rated is last and is never left out.
var worstFirst = []string{"critical", "high", "medium", "low", "info", "unknown"}

// severityWords counts findings by severity: "1 critical, 2 unrated".
func severityWords(counts map[string]int) string {
	var words []string
	for _, s := range worstFirst {
		if n := counts[s]; n > 0 {
			if s == "unknown" {
				s = "unrated"
			}
			words = append(words, thousands(int64(n))+" "+s)
		}
	}
	return cmp.Or(strings.Join(words, ", "), "none known")
}

// failOn decides what --fail-on makes of findings. Findings at least as severe
// as asked, and those that nobody rated, end a command with 6; images that are
// unknown do so where "unknown" is asked for, else they could not be checked,
// which is 1.
type failOn struct {
	severity string // "" none
	unknown  bool
}

func readFailOn(words []string) (f failOn, err error) {
	for _, w := range words {
		switch {
		case w == "unknown":
			f.unknown = true
		case !slices.Contains(severities, w):
			return f, usage("--fail-on %s is no severity", w).try("--fail-on %s|unknown", strings.Join(severities, "|"))
		case f.severity != "":
			return f, usage("--fail-on names two severities, %s and %s", f.severity, w).try("--fail-on %s", f.severity)
		default:
			f.severity = w
		}
	}
	return f, nil
}

const failOnHelp = "exit with 6 when something of `SEVERITY` or above, or unrated, is open: info, low, medium, high, critical; unknown: when an image is unknown"

// end is how a command ends with so many findings by severity, and unknown
// images.
func (f failOn) end(counts map[string]int, unknown int) error {
	if f.severity == "" && !f.unknown {
		return nil
	}
	least := slices.Index(severities, f.severity)
	for s, n := range counts {
		if n > 0 && least >= 0 && (s == "unknown" || slices.Index(severities, s) >= least) {
			return findings{}
		}
	}
	switch {
	case unknown > 0 && f.unknown:
		return findings{}
	case unknown > 0:
		return answer{problem.Unavailable}
	}
	return nil
}

const matchLong = `
Say which advisories are open on images, as manifests name them. With
--advisories no server is needed: feeds of any kind are read from folders,
archives and files, and what a file is, is told by its content. Without it the
server is asked, by what it has imported.

An image is looked up in a map from images to components, its tag is read as a
version, and that is compared with every record on the component. What the map
does not have, a tag that names no version, and a component that no feed covers
are unknown, which is not clean.

With --fail-on, the exit code is 6 when something at least as severe is open. An
advisory that nobody rated counts as severe enough. Images that are unknown
could not be checked, so it is 1, or 6 with --fail-on unknown; never 0.`

func (a *app) advisoryMatchCommand() *cobra.Command {
	var opt advisoryOptions
	var fail []string
	return a.leaf(command{
		use: "match IMAGE... [flags]", short: "Say which advisories are open on images", long: matchLong,
		example: `
chartkeep advisory match redis:6.2.14 --advisories ./feeds
chartkeep advisory match docker.io/apache/airflow:2.8.4-python3.9 \
    --advisories vulndb.tar.gz --fail-on high --fail-on unknown -o json`,
		args: arguments{1, -1, "at least one IMAGE"},
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.StringSliceVar(&fail, "fail-on", nil, failOnHelp)
		},
		run: func(ctx context.Context, args []string) (result, error) {
			on, err := readFailOn(fail)
			if err != nil {
				return nil, err
			}
			if len(opt.from) == 0 {
				return a.matchAtServer(ctx, args, opt, on)
			}
			r, err := a.matchHere(ctx, args, &opt)
			if err != nil {
				return nil, err
			}
			a.tellFeeds(r.advisoriesUsed)
			counts := map[string]int{}
			for _, m := range r.Images {
				for s, n := range m.Severities {
					counts[s] += n
				}
			}
			return r, on.end(counts, r.Unknown)
		},
	})
}

func (a *app) matchHere(ctx context.Context, images []string, opt *advisoryOptions) (matchResult, error) {
	p, err := policyOf("")
	if err != nil {
		return matchResult{}, err
	}
	feeds, err := opt.read(ctx, p, a.now())
	if err != nil {
		return matchResult{}, err
	}
	r := matchResult{advisoriesUsed: feeds.used, Images: []matchedImage{}}
	open := map[string]bool{}
	judge := upgrade.NewOffline(feeds.db, p)
	for _, m := range feeds.db.MatchImages(images) {
		one := matchedImage{ImageMatch: wireMatch(m), Severities: map[string]int{}}
		judged := judge.Assess(deployment.Deployment{Images: []string{m.Image}}, a.now())
		one.Lifted = len(judged.Lifted)
		for _, f := range judged.Findings {
			one.Severities[string(f.Severity)]++
		}
		r.add(one, open)
	}
	r.Open = len(open)
	return r, nil
}

func (r *matchResult) add(m matchedImage, open map[string]bool) {
	for _, id := range m.Open {
		open[id] = true
	}
	if m.Unknown {
		r.Unknown++
	}
	r.Images = append(r.Images, m)
}

func wireMatch(m advisory.ImageMatch) client.ImageMatch {
	return client.ImageMatch{Image: m.Image, Component: m.Component, Version: m.Version, Confidence: string(m.Confidence), How: m.How, Open: m.Open, Unknown: m.Unknown, Why: m.Why}
}

// imagesAtOnce is how many images the server is asked about in one request.
const imagesAtOnce = 1000

func (a *app) matchAtServer(ctx context.Context, images []string, opt advisoryOptions, on failOn) (result, error) {
	if opt.components != "" {
		return nil, usage("--components is for matching without a server, and --advisories is missing").
			try("chartkeep advisory match %s --advisories PATH --components %s", images[0], opt.components)
	}
	if on.severity != "" {
		return nil, usage("the server does not say how severe the advisories on an image are").try("chartkeep advisory match IMAGE --advisories PATH --fail-on high")
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	r := matchResult{Images: []matchedImage{}}
	open := map[string]bool{}
	for some := range slices.Chunk(images, imagesAtOnce) {
		got, err := c.MatchImages(ctx, some)
		if err != nil {
			return nil, err
		}
		r.advisoriesUsed = usedBy(got.Inputs)
		for _, m := range got.Images {
			r.add(matchedImage{ImageMatch: m}, open)
		}
	}
	r.Open = len(open)
	return r, on.end(nil, r.Unknown)
}

// usedBy is what the server answered from.
func usedBy(in client.Inputs) advisoriesUsed {
	u := advisoriesUsed{Snapshots: []snapshotUsed{}, Faults: []string{}, LeftOut: []string{}, Old: append([]string{}, in.Old...)}
	for _, s := range in.Snapshots {
		u.Snapshots = append(u.Snapshots, snapshotUsed{Feed: s.Feed, Kind: s.Kind, Digest: s.Digest, Records: s.Records, Faults: s.Faults, Dated: s.Dated, Model: s.Model})
	}
	return u
}
