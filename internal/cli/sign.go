package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
)

// signOptions are a person's word on a review.
type signOptions struct {
	role    string
	decline bool
	answers []string
	text    string
	yes     bool
}

func (o *signOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.role, "as", "", "`ROLE` in which you sign: reviewer or security (default: the one that is missing)")
	f.BoolVar(&o.decline, "decline", false, "decline, which ends the review; --text says why")
	f.StringArrayVar(&o.answers, "answer", nil, "answer an item of the checklist, as `ITEM=TEXT`; may be given several times")
	f.StringVar(&o.text, "text", "", "`TEXT` of your word")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
}

// given are the answers of the command line.
func (o *signOptions) given() (map[string]string, error) {
	out := map[string]string{}
	for _, s := range o.answers {
		id, text, ok := strings.Cut(s, "=")
		if !ok || id == "" || strings.TrimSpace(text) == "" {
			return nil, usage("--answer %s is no answer", s).try("--answer ITEM=TEXT")
		}
		if _, twice := out[id]; twice {
			return nil, usage("--answer answers %s twice", id)
		}
		out[id] = text
	}
	return out, nil
}

// roleOf is the role to sign in: the one given, or the only one that is missing.
func roleOf(given string, r *client.Review) (string, error) {
	missing := slices.DeleteFunc(slices.Clone(r.Roles), func(role string) bool {
		return slices.ContainsFunc(r.Signoffs, func(s client.Signoff) bool { return s.Role == role })
	})
	switch {
	case given != "":
		return given, nil // the server says whether it is one
	case len(missing) == 1:
		return missing[0], nil
	case len(missing) == 0:
		return "reviewer", nil // which the server refuses with the reason
	}
	return "", usage("the review waits for more than one role: %s", strings.Join(missing, ", ")).try("chartkeep review sign %s --as %s", short(r.Digest), missing[0])
}

// complete asks for every required item of the role that has no answer yet.
func complete(items []client.ChecklistItem, role string, answers map[string]string, ask func(question string) (string, error)) (map[string]string, error) {
	out := maps.Clone(answers)
	for _, item := range items {
		if !item.Required || item.Role != role || out[item.ID] != "" {
			continue
		}
		text, err := ask(item.ID + ": " + item.Text)
		if err != nil {
			return nil, err
		}
		if text = strings.TrimSpace(text); text != "" {
			out[item.ID] = text
		}
	}
	return out, nil
}

// ask asks on the terminal.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	for _, line := range wrap(printable(question), columns(a.stderr)) {
		fmt.Fprintln(a.stderr, line)
	}
	fmt.Fprint(a.stderr, "> ")
	return readLine(ctx, a.stdin)
}

func (a *app) reviewSignCommand() *cobra.Command {
	var opt signOptions
	return a.leaf(command{
		use: "sign DIGEST [flags]", short: "Sign a review off, or decline it",
		long: `
Put your word under a review. It is bound to the review's digest, and stands in
the transparency log with your name and the time.

On a terminal, each required item of your role's checklist is asked for that
--answer does not answer. A review is signed when every role that has to has
accepted it, each by another person. It is refused while a required item is
unanswered, and to machines.`,
		example: `
chartkeep review sign sha256:1f3870be274f --as reviewer
chartkeep review sign sha256:1f3870be274f --as security --yes \
    --answer rights-widened='needed by the new operator' --text fine
chartkeep review sign sha256:1f3870be274f --decline --text 'wait for 8.9.1'`,
		args: arguments{1, 1, "the DIGEST of a review"}, complete: a.completeReviewArg, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			answers, err := opt.given()
			if err != nil {
				return nil, err
			}
			if opt.decline && opt.text == "" {
				return nil, usage("who declines says why").try("chartkeep review sign %s --decline --text TEXT", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.Review(ctx, args[0])
			if err != nil {
				return nil, err
			}
			role, err := roleOf(opt.role, &r)
			if err != nil {
				return nil, err
			}
			if err := a.agree(ctx, &opt, &r, role, &answers); err != nil {
				return nil, err
			}
			r, err = c.SignReview(ctx, r.Digest, client.Sign{Role: role, Accept: !opt.decline, Text: opt.text, Answers: answers})
			return a.reviewResultOf(r, err)
		},
	})
}

// agree asks for what is missing, and for the word itself.
func (a *app) agree(ctx context.Context, opt *signOptions, r *client.Review, role string, answers *map[string]string) error {
	if _, ok := terminal(a.stdin); ok && !opt.yes && !opt.decline {
		got, err := complete(r.Checklist, role, *answers, func(q string) (string, error) { return a.ask(ctx, q) })
		if err != nil {
			return err
		}
		*answers = got
	}
	verb := "Accept"
	if opt.decline {
		verb = "Decline"
	}
	return a.confirm(ctx, printable(fmt.Sprintf("%s as %s: %s, %s %s to %s, verdict %s; %s?",
		verb, role, r.Deployment, r.Chart, r.From.Version, r.To.Version, r.Verdict.Advice, unknownImages(len(r.Unknown)))), opt.yes)
}
