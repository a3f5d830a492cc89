package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) quarantineCommands() *cobra.Command {
	return group("quarantine", "Block a release at once; a second person confirms it within a day",
		a.quarantineSetCommand(), a.quarantineConfirmCommand(), a.quarantineLiftCommand(), a.quarantineListCommand())
}

// withheldFacts say why nobody gets a release.
func withheldFacts(r client.Release) []fact {
	var facts []fact
	if q := r.Quarantine; q != nil {
		facts = append(facts, fact{"quarantine", stampSeconds(q.Time) + by(cmp.Or(q.ByName, q.By)) + ": " + reasonWords(q.Reason, q.Text)})
		if q.Confirmed.IsZero() {
			facts = append(facts, fact{"confirmed", "not yet; it is served again at " + stampSeconds(q.Lapses) + " unless another person confirms it"})
		} else {
			facts = append(facts, fact{"confirmed", stampSeconds(q.Confirmed) + by(cmp.Or(q.ConfirmedByName, q.ConfirmedBy))})
		}
	}
	if t := r.Tombstone; t != nil {
		facts = append(facts,
			fact{"tombstone", stampSeconds(t.Time) + ": " + reasonWords(t.Reason, t.Text) + "; log index " + thousands(t.LogIndex)},
			fact{"asked for", cmp.Or(t.RequesterName, t.Requester)}, fact{"approved", cmp.Or(t.ApproverName, t.Approver)})
	}
	return facts
}

// refuseWithheld refuses a release that nobody gets, also where its archive lies
// here already.
func refuseWithheld(r client.Release) error {
	var e *problem.Error
	switch {
	case r.Tombstone != nil:
		e = problem.New(problem.Gone, "tombstone", "the bytes of release %s are gone for good, and its name stays taken", refOf(r)).
			With("since", "%s", stampSeconds(r.Tombstone.Time)).With("reason", "%s", reasonWords(r.Tombstone.Reason, r.Tombstone.Text))
	case r.Quarantine != nil:
		e = problem.New(problem.Policy, "quarantine", "release %s is in quarantine and is not served", refOf(r)).
			With("since", "%s", stampSeconds(r.Quarantine.Time)).With("reason", "%s", reasonWords(r.Quarantine.Reason, r.Quarantine.Text))
	default:
		return nil
	}
	return e.With("digest", "%s", r.Digest).Suggest("use another version: chartkeep release list %s --project %s", r.Chart, r.Project)
}

func by(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
}

func reasonWords(reason, text string) string {
	if reason == "" || text == "" {
		return reason + text
	}
	return reason + ", " + text
}

type blockOptions struct{ reason, text string }

func (o *blockOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.reason, "reason", "", "why, as a `CODE`: malware, secret, legal, other")
	f.StringVar(&o.text, "text", "", "`TEXT` that says why; it stays in the log for ever, so no secret and no name of a person belongs in it")
}

// wordOption is what somebody says who decides.
type wordOption struct{ text string }

func (o *wordOption) register(f *pflag.FlagSet) {
	f.StringVar(&o.text, "text", "", "`TEXT` that says why; it stays for ever")
}

func (a *app) quarantineSetCommand() *cobra.Command {
	var opt blockOptions
	return completeBlockReasons(a.leaf(command{
		use: "set PROJECT/CHART@VERSION --reason CODE [--text TEXT]", short: "Block a release at every door, at once",
		long: `
Block a release at every door, at once: nobody gets its archive, its manifest,
its provenance or its entry in an index, and a push of it is refused. What
somebody has already is not touched: chartkeep where says who runs it.

Another person has to confirm it within 24 hours, or the release is served again.
Who let one lapse cannot set the next on the same release.`,
		example: `chartkeep quarantine set demo/web@1.4.2 --reason malware \
  --text "opens a shell at start"`,
		args: arguments{1, 1, "a reference PROJECT/CHART@VERSION"}, flags: opt.register, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			if opt.reason == "" {
				return nil, usage("--reason is missing").try("chartkeep quarantine set %s --reason malware", ref)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.SetQuarantine(ctx, ref.Project, ref.Chart, ref.Version, opt.reason, opt.text)
			if err != nil {
				return nil, err
			}
			a.say("%s is blocked. Another person has until %s to confirm it: chartkeep quarantine confirm %s", ref, stampSeconds(r.Quarantine.Lapses), ref)
			return releaseResult{r}, nil
		},
	}))
}

// completeBlockReasons offers the codes of --reason, which are not those of a
// yank.
func completeBlockReasons(cmd *cobra.Command) *cobra.Command {
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions([]string{"malware", "secret", "legal", "other"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) quarantineConfirmCommand() *cobra.Command {
	return a.quarantineMove("confirm PROJECT/CHART@VERSION [--text TEXT]", "Make a quarantine stay that another person set", `
Make a quarantine stay until somebody lifts it. Who set it cannot confirm it, nor
can an account that is younger than it.`, `chartkeep quarantine confirm demo/web@1.4.2`, (*client.Client).ConfirmQuarantine)
}

func (a *app) quarantineLiftCommand() *cobra.Command {
	return a.quarantineMove("lift PROJECT/CHART@VERSION [--text TEXT]", "Serve a release again", `
Serve a release again. Who set the quarantine may lift it as long as nobody has
confirmed it; afterwards it takes another person.`, `chartkeep quarantine lift demo/web@1.4.2 --text "false alarm"`, (*client.Client).LiftQuarantine)
}

func (a *app) quarantineMove(use, short, long, example string, move func(*client.Client, context.Context, string, string, string, string) (client.Release, error)) *cobra.Command {
	var opt wordOption
	return a.leaf(command{
		use: use, short: short, long: long, example: example,
		args: arguments{1, 1, "a reference PROJECT/CHART@VERSION"}, flags: opt.register, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := move(c, ctx, ref.Project, ref.Chart, ref.Version, opt.text)
			return resultOf(releaseResult{r}, err)
		},
	})
}

type quarantineList struct {
	Items []client.Release `json:"items"`
}

func (quarantineList) schema() string { return "quarantine-list/v1" }

func (r quarantineList) keys() []string { return keysOf(r.Items, refOf) }

func (r quarantineList) view() view {
	b := block{head: []string{"RELEASE", "SINCE", "BY", "CONFIRMED", "REASON"}, empty: "nothing is in quarantine"}
	for _, x := range r.Items {
		q := x.Quarantine
		if q == nil {
			continue
		}
		confirmed := "no; lapses " + stamp(q.Lapses)
		if !q.Confirmed.IsZero() {
			confirmed = stamp(q.Confirmed) + by(cmp.Or(q.ConfirmedByName, q.ConfirmedBy))
		}
		b.rows = append(b.rows, []string{refOf(x), stamp(q.Time), cmp.Or(q.ByName, q.By), confirmed, reasonWords(q.Reason, q.Text)})
	}
	return view{b}
}

func (a *app) quarantineListCommand() *cobra.Command {
	var opt projectOption
	return a.leaf(command{
		use: "list [--project NAME]", short: "List what is in quarantine",
		example: `chartkeep quarantine list`,
		flags:   opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Release], error) {
				return c.Quarantines(ctx, opt.project, p)
			})
			return resultOf(quarantineList{items}, err)
		},
	})
}
