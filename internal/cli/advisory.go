package cli

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) advisoryCommands() *cobra.Command {
	return group("advisory", "See what is known of vulnerabilities, and where they are open",
		a.advisoryMatchCommand(), a.advisoryListCommand(), a.advisoryShowCommand(), a.advisoryImportCommand(), a.advisoryReadCommand(), a.feedCommands())
}

// advisoryList is what is open on all deployments.
type advisoryList struct {
	At           time.Time                      `json:"at"`
	Items        []client.Advisory              `json:"items"`
	Total        int                            `json:"total"` // that match; Items may have fewer
	Unknown      []client.UnknownImageRow       `json:"unknown"`
	NotJudged    []string                       `json:"not_judged"`
	Environments []client.EnvironmentAdvisories `json:"environments"`
	Inputs       client.Inputs                  `json:"inputs"`
}

func (advisoryList) schema() string { return "advisory-list/v1" }

func (r advisoryList) keys() []string {
	keys := keysOf(r.Items, func(x client.Advisory) string { return cmp.Or(x.Finding.Advisory, x.Finding.Key) })
	for _, u := range r.Unknown {
		keys = append(keys, "unknown "+u.Image)
	}
	return keys
}

func (r advisoryList) view() view {
	b := block{head: []string{"SEVERITY", "FINDING", "FIXED BY", "DUE", "WHERE"}, empty: "nothing that matches is known to be open"}
	for _, x := range r.Items {
		f := x.Finding
		b.rows = append(b.rows, []string{
			ratedWords(f), findingWords(f),
			fixWords(x), dueWords(x.Due, r.At), few(x.Deployments),
		})
	}
	v := view{b}
	if len(r.Unknown) > 0 {
		u := block{head: []string{"UNKNOWN IMAGE", "WHY", "WHERE"}}
		for _, x := range r.Unknown {
			u.rows = append(u.rows, []string{x.Image, x.Why, few(x.Deployments)})
		}
		v = append(v, u)
	}
	words := []string{fmt.Sprintf("%s of %s shown", thousands(int64(len(r.Items))), thousands(int64(r.Total))), unknownOf(len(r.Unknown), len(r.NotJudged))}
	if len(r.NotJudged) > 0 {
		words = append(words, "not judged: "+few(r.NotJudged))
	}
	return append(v, block{text: strings.Join(words, "\n")})
}

// fixWords says what closes an advisory: versions of charts, or else of the
// component alone.
func fixWords(x client.Advisory) string {
	switch {
	case len(x.FixedBy) > 0:
		return few(x.FixedBy)
	case len(x.Finding.Fixed) > 0:
		return "no chart known; component " + few(x.Finding.Fixed)
	}
	return "no fix known"
}

// findingWords names a finding and what it is in.
func findingWords(f client.Finding) string {
	if f.Advisory == "" {
		return f.Key
	}
	return strings.TrimSuffix(f.Advisory+" in "+strings.TrimSpace(f.Component+" "+f.Version), " in ")
}

// ratedWords is a severity with what makes it worse.
func ratedWords(f client.Finding) string {
	s := cmp.Or(f.Severity, "unknown")
	if s == "unknown" {
		s = "unrated"
	}
	if f.Exploited {
		s += ", exploited"
	}
	return s
}

// dueWords is a deadline with how far it is.
func dueWords(t, now time.Time) string {
	switch d := t.Sub(now); {
	case t.IsZero():
		return "no deadline"
	case d < 0:
		return stamp(t) + ", late by " + spanWords(-d)
	default:
		return stamp(t) + ", in " + spanWords(d)
	}
}

// dueOf is dueWords for what may not have been judged, or has unknown images:
// that no deadline is known is not that there is none.
func dueOf(t, now time.Time, unjudged bool, unknown int) string {
	switch {
	case !t.IsZero():
	case unjudged:
		return "unknown"
	case unknown > 0:
		return "none known"
	}
	return dueWords(t, now)
}

// spanWords is a time span in its two largest units.
func spanWords(d time.Duration) string {
	days, hours := int(d/(24*time.Hour)), int(d/time.Hour)%24
	switch {
	case days > 9 || days > 0 && hours == 0:
		return fmt.Sprintf("%s d", thousands(int64(days)))
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h", hours)
	}
	return fmt.Sprintf("%d min", int(d/time.Minute))
}

// few lists the first of many.
func few(list []string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %s more", strings.Join(list[:most], ", "), thousands(int64(len(list)-most)))
}

// tellInputs warns where an answer rests on little.
func (a *app) tellInputs(in client.Inputs) {
	if len(in.Snapshots) == 0 {
		a.warn("no advisories were imported, so every image is unknown; begin with: chartkeep advisory feed add --preset bitnami")
	}
	for _, o := range in.Old {
		a.warn("old data: %s", o)
	}
}

func (a *app) advisoryListCommand() *cobra.Command {
	limit := 0
	return a.leaf(command{
		use: "list [QUERY...] [flags]", short: "List what is open on deployments, the most urgent first",
		long: `
List what is open on deployments, the most urgent first, and below it the
images of which nobody can say what is open.

QUERY is words to look for, and terms: severity:critical, severity:>=high,
epss:>0.1, kev:yes, has:fix, has:workaround, has:doubt, state:late, state:due,
env:NAME, owner:NAME, deployment:GLOB, component:NAME, kind:KIND.`,
		example: `
chartkeep advisory list
chartkeep advisory list 'severity:>=high' state:late
chartkeep advisory list redis env:production -o json`,
		args: arguments{0, -1, "words of a query"},
		flags: func(f *pflag.FlagSet) {
			f.IntVar(&limit, "limit", 100, "the most urgent `NUMBER`; 0 is all")
		},
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			var last client.AdvisoryPage
			items, _, err := newest(limit, func(p client.Page) (client.List[client.Advisory], error) {
				var err error
				last, err = c.Advisories(ctx, strings.Join(args, " "), p)
				return last.List, err
			})
			if err != nil {
				return nil, err
			}
			a.tellInputs(last.Inputs)
			return advisoryList{last.At, items, last.Total, last.Unknown, last.NotJudged, last.Environments, last.Inputs}, nil
		},
	})
}

// advisoryResult is one advisory, wherever it is open.
type advisoryResult struct {
	client.Advisory
	now time.Time
}

func (advisoryResult) schema() string   { return "advisory/v1" }
func (r advisoryResult) keys() []string { return r.Deployments }

func (r advisoryResult) view() view {
	v := view{{facts: append(findingFacts(r.Finding, r.now), fact{"closed by", cmp.Or(strings.Join(r.FixedBy, ", "), "no version of a chart that was compared")})}}
	b := block{head: []string{"OPEN ON"}}
	for _, d := range r.Deployments {
		b.rows = append(b.rows, []string{d})
	}
	return append(v, b)
}

// findingFacts say what a finding is and by when it is due.
func findingFacts(f client.Finding, now time.Time) []fact {
	facts := []fact{{"finding", f.Key}, {"what it is", f.Title}}
	add := func(label, value string) {
		if value != "" {
			facts = append(facts, fact{label, value})
		}
	}
	add("advisory", f.Advisory)
	add("also called", strings.Join(f.Aliases, ", "))
	severity := ratedWords(f)
	if f.Score > 0 {
		severity += fmt.Sprintf(", CVSS %.1f", f.Score)
	}
	if f.EPSS != nil {
		severity += fmt.Sprintf(", EPSS %.3f", *f.EPSS)
	}
	add("severity", severity)
	add("component", strings.TrimSpace(f.Component+" "+f.Version))
	add("how sure", f.Confidence)
	add("images", few(f.Images))
	add("object", f.Object)
	if f.Kind == "advisory" || f.Kind == "chart-advisory" {
		add("fixed in", cmp.Or(strings.Join(f.Fixed, ", "), "no version that the record names"))
	}
	add("workaround", f.Workaround)
	add("doubt", strings.Join(append(slices.DeleteFunc([]string{f.Doubt}, func(s string) bool { return s == "" }), f.Decision.Doubts...), "; "))
	add("known since", stamp(f.Since))
	d := f.Decision
	if d.Lifted != nil {
		add("lifted", fmt.Sprintf("%s by %s: %s", d.Lifted.Status, d.Lifted.By, d.Lifted.Reason))
		return facts
	}
	add("due", dueWords(d.Deadline, now))
	add("urgency", strings.TrimSpace(d.Tier+" "+paren(ruleWords(d))))
	return facts
}

// ruleWords says which rule set a deadline.
func ruleWords(d client.Ruling) string {
	if d.SetBy == "" {
		return ""
	}
	words := "by rule " + d.SetBy
	if d.Derived {
		words += ", from derived inputs"
	}
	return words
}

func (a *app) advisoryShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show ID", short: "Show one advisory, and where it is open",
		long: `
Show what an advisory, or a finding of a chart, is and where it is open. ID is
an advisory's id, an alias, or the rule of a finding. As it is shown it is on
the deployment where it is most urgent; chartkeep explain has the others.`,
		example: `chartkeep advisory show CVE-2024-39877`,
		args:    arguments{1, 1, "the ID of an advisory"},
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			x, err := c.Advisory(ctx, args[0])
			if err != nil {
				return nil, err
			}
			return advisoryResult{x, a.now()}, nil
		},
	})
}

func (a *app) advisoryReadCommand() *cobra.Command {
	return a.leaf(command{
		use: "read FEED", short: "Read a feed at its address now",
		long: `
Ask the server to read a feed at its address now, and not when it is due. What
came of it is in chartkeep advisory feed show FEED.`,
		example: `chartkeep advisory read bitnami`,
		args:    arguments{1, 1, "the name of a FEED"}, complete: a.completeFeedArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			if err := c.ReadFeed(ctx, args[0]); err != nil {
				return nil, err
			}
			return done{form: "advisory-feed-read/v1", Name: args[0], Change: "is read now"}, nil
		},
	})
}

// feedImported is what an import brought.
type feedImported struct{ client.FeedImport }

func (feedImported) schema() string   { return "advisory-import/v1" }
func (r feedImported) keys() []string { return []string{r.Snapshot.Digest} }

func (r feedImported) view() view {
	change := fmt.Sprintf("%s new or changed, %s gone or changed", thousands(int64(r.Added)), thousands(int64(r.Removed)))
	if r.Unchanged {
		change = "none: the records are those that it had"
	}
	v := view{{facts: append([]fact{{"feed", r.Feed}, {"changes", change}}, snapshotFacts(r.Snapshot)...)}}
	if len(r.Faults) == 0 {
		return v
	}
	b := block{head: []string{"FILE", "RECORD", "FAULT"}}
	for _, f := range r.Faults {
		file := f.File
		if f.Line > 1 {
			file += ":" + number(int64(f.Line))
		}
		b.rows = append(b.rows, []string{file, f.Record, f.Reason})
	}
	return append(v, b)
}

// snapshotFacts describe a state of a feed.
func snapshotFacts(s client.Snapshot) []fact {
	facts := []fact{{"records", thousands(int64(s.Records))}, {"that cannot be used", thousands(int64(s.Faults))}, {"dated", cmp.Or(stamp(s.Dated), "the data do not say")}}
	if s.Model != "" {
		facts = append(facts, fact{"model", s.Model})
	}
	return append(facts, fact{"imported", stampSeconds(s.Taken)}, fact{"snapshot", s.Digest})
}

func (a *app) advisoryImportCommand() *cobra.Command {
	return a.leaf(command{
		use: "import FEED PATH...", short: "Make what files hold the state of a feed",
		long: `
Send files, archives and folders of advisories to a feed. What they hold
together is the feed's state from now on: what they do not hold, it has no
more. Several paths, and folders, are packed into one stream on the way; files
and folders whose name begins with a dot are passed over.

Nothing changes where the import is refused, such as for an archive that breaks
off, or one of which nothing can be used.`,
		example: `
chartkeep advisory import bitnami vulndb-main.tar.gz
chartkeep advisory import own ./advisories ../chart-advisories.json`,
		args: arguments{2, -1, "the name of a FEED and at least one PATH"}, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			got, err := importInto(ctx, c, args[0], args[1:])
			if err != nil {
				return nil, err
			}
			return feedImported{got}, nil
		},
	})
}

// importInto sends one file as it is, and anything else as a tar that is made
// while it is sent.
func importInto(ctx context.Context, c *client.Client, feed string, paths []string) (client.FeedImport, error) {
	for _, p := range paths { // before anything is sent
		if _, err := os.Stat(p); err != nil {
			return client.FeedImport{}, fileProblem(p, err)
		}
	}
	if len(paths) == 1 {
		if info, err := os.Stat(paths[0]); err == nil && info.Mode().IsRegular() {
			f, err := os.Open(paths[0])
			if err != nil {
				return client.FeedImport{}, fileProblem(paths[0], err)
			}
			defer f.Close()
			return c.ImportFeed(ctx, feed, filepath.Base(paths[0]), f, info.Size())
		}
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := packFeed(ctx, w, paths)
		w.CloseWithError(err)
		packed <- err
	}()
	got, err := c.ImportFeed(ctx, feed, filepath.Base(paths[0])+".tar", r, -1)
	r.Close() // so that packing ends where the server took no more
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		return got, perr // the cause of what the server saw
	}
	return got, err
}

// packFeed writes a tar of the files below paths.
func packFeed(ctx context.Context, out io.Writer, paths []string) error {
	w := tar.NewWriter(out)
	for _, p := range paths {
		err := eachFeedFile(ctx, p, func(name string, r io.Reader) error {
			f, ok := r.(*os.File)
			if !ok {
				return fmt.Errorf("pack %s: it is no file", name)
			}
			info, err := f.Stat()
			if err != nil {
				return fileProblem(name, err)
			}
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
				return err
			}
			_, err = io.Copy(w, f)
			return err
		})
		if err != nil {
			return err
		}
	}
	return w.Close()
}
