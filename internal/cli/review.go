package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

func (a *app) reviewCommands() *cobra.Command {
	return group("review", "Review what a new version of a chart changes",
		a.reviewMakeCommand(), a.reviewListCommand(), a.reviewShowCommand(), a.reviewSignCommand(), a.reviewNotesCommand())
}

// reviewResult is one review.
type reviewResult struct {
	client.Review
	now time.Time
}

func (reviewResult) schema() string   { return "review/v1" }
func (r reviewResult) keys() []string { return []string{r.Digest} }

func (r reviewResult) view() view {
	v := view{{facts: r.facts()}, {text: r.Verdict.Text}}
	if lines := append(append([]string{}, r.Verdict.Reasons...), prefixed("doubt: ", r.Doubts)...); len(lines) > 0 {
		v[1].text += "\n- " + strings.Join(lines, "\n- ")
	}
	for _, t := range []struct {
		title string
		list  []client.Finding
	}{{"CLOSED", r.Closed}, {"INTRODUCED", r.Introduced}, {"REMAINING", r.Remaining}} {
		if len(t.list) > 0 {
			v = append(v, findingTable(t.title, t.list, r.now))
		}
	}
	if len(r.Unknown) > 0 {
		v = append(v, unknownTable(r.Unknown))
	}
	v = append(v, block{text: fmt.Sprintf("closes %d, introduces %d, leaves %d\n%s", len(r.Closed), len(r.Introduced), len(r.Remaining), unknownImages(len(r.Unknown)))})
	v = append(v, r.changes()...)
	return append(v, r.signing()...)
}

func (r reviewResult) facts() []fact {
	facts := []fact{
		{"review", r.Digest}, {"deployment", r.Deployment}, {"chart", r.Chart}, {"from", sideWords(r.From)}, {"to", sideWords(r.To)}, {"made", stampSeconds(r.Made)},
		{"verdict", r.Verdict.Advice}, {"due", dueWords(r.Deadline, r.now)},
	}
	if r.SetBy != "" {
		facts = append(facts, fact{"due for", r.SetBy})
	}
	effort := cmp.Or(r.Compared.Effort.Class, "not known")
	if r.Compared.Effort.Blocked {
		effort += ", and something has to be settled first"
	}
	facts = append(facts, fact{"effort", effort}, fact{"rollback", cmp.Or(r.Compared.Undo.Verdict, "not known")},
		fact{"state", r.State}, fact{"signed by", cmp.Or(signedWords(r.Signoffs), "nobody")}, fact{"policy", r.Inputs.Policy.Name + " " + r.Inputs.Policy.Version})
	for _, o := range r.Inputs.Old {
		facts = append(facts, fact{"old data", o})
	}
	return facts
}

// sideWords is a version and where it was published.
func sideWords(s client.ReviewSide) string {
	words := s.Version
	switch {
	case s.Upstream != "":
		words += ", upstream " + s.Upstream
	case s.Project != "":
		words += ", project " + s.Project
	}
	if s.Archive == "" {
		words += ", whose bytes are not had"
	}
	return words
}

func signedWords(list []client.Signoff) string {
	var words []string
	for _, s := range list {
		said := "accepted"
		if !s.Accepted {
			said = "declined"
		}
		words = append(words, fmt.Sprintf("%s as %s: %s %s", cmp.Or(s.Name, s.By), s.Role, said, stamp(s.Time)))
	}
	return strings.Join(words, "; ")
}

func prefixed(prefix string, list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = prefix + s
	}
	return out
}

// findingTable lists findings, the most urgent first.
func findingTable(title string, list []client.Finding, now time.Time) block {
	b := block{head: []string{title, "SEVERITY", "DUE", "WHAT IT IS"}}
	for _, f := range list {
		b.rows = append(b.rows, []string{f.Key, ratedWords(f), dueWords(f.Decision.Deadline, now), f.Title})
	}
	return b
}

func unknownTable(list []client.UnknownImage) block {
	b := block{head: []string{"UNKNOWN IMAGE", "WHY"}}
	for _, u := range list {
		b.rows = append(b.rows, []string{u.Image, u.Why})
	}
	return b
}

// changes is what the new version does beside advisories.
func (r reviewResult) changes() view {
	var v view
	b := block{head: []string{"CHANGE", "SEVERITY", "OBJECT", "WHAT IT DOES"}}
	for _, f := range r.Compared.Findings {
		if f.Severity != "info" {
			b.rows = append(b.rows, []string{f.Rule, f.Severity, f.Object, f.Message})
		}
	}
	if len(b.rows) > 0 {
		v = append(v, b)
	}
	fit := block{head: []string{"YOUR VALUE", "IN THE NEW VERSION"}}
	for _, t := range []struct {
		paths []string
		what  string
	}{{r.Compared.Fit.Vanished, "is gone: Helm ignores it without a word"}, {r.Compared.Fit.Retyped, "has another type"},
		{r.Compared.Fit.Default, "has another default"}, {r.Compared.Fit.Required, "is required, and nobody gives it"}} {
		for _, p := range t.paths {
			fit.rows = append(fit.rows, []string{p, t.what})
		}
	}
	if len(fit.rows) > 0 {
		v = append(v, fit)
	}
	notes := block{head: []string{"NOTES OF", "LINE", "HINT", "TEXT"}}
	for _, n := range r.Notes {
		for _, h := range n.Hints {
			notes.rows = append(notes.rows, []string{n.Version, number(int64(h.Line)), h.Rule, h.Text})
		}
	}
	if len(notes.rows) > 0 {
		v = append(v, notes)
	}
	return v
}

// signing is what people have to answer, and what they did.
func (r reviewResult) signing() view {
	if len(r.Checklist) == 0 {
		return nil
	}
	b := block{head: []string{"ITEM", "FOR", "ANSWER", "QUESTION"}}
	for _, item := range r.Checklist {
		said := "open"
		if !item.Required {
			said = "open, not required"
		}
		for _, s := range r.Signoffs {
			if text := s.Answers[item.ID]; text != "" {
				said = text
			}
		}
		b.rows = append(b.rows, []string{item.ID, item.Role, said, item.Text})
	}
	v := view{b}
	for _, s := range r.Signoffs {
		if s.Text != "" {
			v = append(v, block{text: cmp.Or(s.Name, s.By) + " as " + s.Role + ": " + s.Text})
		}
	}
	return v
}

type reviewList struct {
	Items []client.ReviewRow `json:"items"`
	More  bool               `json:"more"` // there are older ones
}

func (reviewList) schema() string { return "review-list/v1" }

func (r reviewList) keys() []string {
	return keysOf(r.Items, func(x client.ReviewRow) string { return x.Digest })
}

func (r reviewList) view() view {
	b := block{head: []string{"REVIEW", "DEPLOYMENT", "MOVE", "VERDICT", "STATE"}, empty: "nothing was reviewed yet"}
	for _, x := range r.Items {
		b.rows = append(b.rows, []string{
			short(x.Digest), x.Deployment, x.From + " to " + x.To,
			fmt.Sprintf("%s: closes %d, opens %d, unknown: %s", x.Verdict.Advice, x.Closed, x.Introduced, plural(x.Unknown, "image")),
			fmt.Sprintf("%s, %d of %d signed", x.State, accepted(x.Signoffs), len(x.Roles)),
		})
	}
	return view{b}
}

func accepted(list []client.Signoff) (n int) {
	for _, s := range list {
		if s.Accepted {
			n++
		}
	}
	return n
}

func (a *app) reviewMakeCommand() *cobra.Command {
	return a.leaf(command{
		use: "make DEPLOYMENT [VERSION]", short: "Review what moving a deployment to a version means",
		long: `
Compare what a deployment runs with another version of its chart: advisories
that it closes, opens and leaves, under the deployment's own values and images;
what the rendered manifests do; values that no longer fit; what the notes hint
at. Both versions are rendered, and nothing is applied.

Without VERSION it is the one that the plan chose. The same states give the same
review, which is not made twice.`,
		example: `
chartkeep review make production/data/airflow
chartkeep review make production/data/airflow 8.9.0`,
		args: arguments{1, 2, "the key of a DEPLOYMENT, and perhaps a VERSION"}, complete: a.completeDeploymentArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.MakeReview(ctx, args[0], strings.Join(args[1:], ""))
			return a.reviewResultOf(r, err)
		},
	})
}

func (a *app) reviewResultOf(r client.Review, err error) (result, error) {
	if err != nil {
		return nil, err
	}
	return reviewResult{r, a.now()}, nil
}

func (a *app) reviewListCommand() *cobra.Command {
	var filter client.ReviewFilter
	limit := 0
	return a.leaf(command{
		use: "list [flags]", short: "List reviews, the newest first",
		example: `
chartkeep review list --state open
chartkeep review list --deployment production/data/airflow`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&filter.Deployment, "deployment", "", "only reviews of the deployment with `KEY`")
			f.StringVar(&filter.Chart, "chart", "", "only reviews of chart `NAME`")
			f.StringVar(&filter.Version, "version", "", "only reviews of `VERSION`")
			f.StringVar(&filter.State, "state", "", "only reviews in `STATE`: open, signed, declined, replaced")
			f.IntVar(&limit, "limit", 50, "the newest `NUMBER` of reviews; 0 is all")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r := reviewList{}
			r.Items, r.More, err = newest(limit, func(p client.Page) (client.List[client.ReviewRow], error) { return c.Reviews(ctx, filter, p) })
			if err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

func (a *app) reviewShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show DIGEST", short: "Show a review with its evidence",
		long: `
Show a review: its verdict with reasons and doubts, what it closes, opens and
leaves, what is unknown, what changes, and the checklist with what people
answered. -o json has the text of every object that differs, too. The first 8
digits of the digest are enough.`,
		example: `chartkeep review show sha256:1f3870be274f`,
		args:    arguments{1, 1, "the DIGEST of a review"}, complete: a.completeReviewArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.Review(ctx, args[0])
			return a.reviewResultOf(r, err)
		},
	})
}

func (a *app) completeReviewArg(ctx context.Context, args []string, _ string) []string {
	if len(args) > 0 {
		return nil
	}
	return offers(ctx, a, func(c *client.Client, ctx context.Context, p client.Page) (client.List[client.ReviewRow], error) {
		return c.Reviews(ctx, client.ReviewFilter{State: "open"}, p)
	}, func(r client.ReviewRow) string { return short(r.Digest) + "\t" + r.Deployment + " to " + r.To })
}
