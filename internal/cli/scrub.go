package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) scrubCommands() *cobra.Command {
	return group("scrub", "Compare everything that the server stores with the log", a.scrubStatusCommand(), a.scrubRunCommand())
}

// scrubState is where the comparison stands, and what is wrong.
type scrubState struct{ client.Scrub }

func (scrubState) schema() string { return "scrub/v1" }

func (r scrubState) keys() []string {
	return keysOf(r.Open, func(d client.Doubt) string { return d.Key })
}

func (r scrubState) view() view {
	var facts []fact
	switch {
	case r.Running:
		facts = append(facts, fact{"running", fmt.Sprintf("since %s, %s of %s leaves", stampSeconds(r.Started), thousands(r.Next), thousands(r.Size))})
	default:
		facts = append(facts, fact{"next", stampSeconds(r.Due)})
	}
	if l := r.Last; l != nil {
		facts = append(facts,
			fact{"last complete", stampSeconds(l.Ended)},
			fact{"compared", fmt.Sprintf("%s leaves, %s, %s", thousands(l.Counts.Leaves), plural(int(l.Counts.Releases), "release"), plural(int(l.Counts.Events), "event"))},
			fact{"hashed", fmt.Sprintf("%s, %s bytes in %s", plural(int(l.Counts.Blobs), "blob"), thousands(l.Counts.Bytes), l.Duration.Round(time.Millisecond))},
			fact{"log", fmt.Sprintf("%s leaves, root %s", thousands(l.LogSize), l.LogRoot)})
	} else {
		facts = append(facts, fact{"last complete", "never"})
	}
	return view{{facts: facts}, doubtsBlock(r.Open)}
}

func doubtsBlock(open []client.Doubt) block {
	b := block{head: []string{"KIND", "SINCE", "WHAT IS WRONG", "TRY"}, empty: "nothing is wrong"}
	for _, d := range open {
		b.rows = append(b.rows, []string{d.Kind, stamp(d.First), d.Message, d.Try})
	}
	return b
}

// wrong is the error of a result that says that something is wrong.
func wrong(is bool) error {
	if is {
		return answer{problem.Disproven}
	}
	return nil
}

func (a *app) scrubStatusCommand() *cobra.Command {
	return a.leaf(command{
		use: "status", short: "Say when everything was compared last, and what is wrong",
		long: `
Say when everything that the server stores was compared with the log last, and
what is wrong now. The exit code is 5 when something is.`,
		example: `
chartkeep scrub status
chartkeep scrub status -o json`,
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			s, err := c.Scrub(ctx)
			if err != nil {
				return nil, err
			}
			return scrubState{s}, wrong(len(s.Open) > 0)
		},
	})
}

func (a *app) scrubRunCommand() *cobra.Command {
	var wait bool
	return a.leaf(command{
		use: "run [--wait]", short: "Compare everything now",
		long: `
Compare everything that the server stores with the log now: both logs with what
their keys signed, every release with its leaf, every archive, provenance,
config and manifest with its digest. It reads at the rate that the server was
set to. A comparison that runs already goes on, and is followed by another.

With --wait it returns when that is complete; the exit code is 5 when something
is wrong.`,
		example: `
chartkeep scrub run
chartkeep scrub run --wait`,
		flags: func(f *pflag.FlagSet) { f.BoolVar(&wait, "wait", false, "return when it is complete") },
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			s, err := c.StartScrub(ctx)
			if err != nil || !wait {
				return resultOf(scrubState{s}, err)
			}
			asked := s.Due
			for s.Last == nil || s.Last.Started.Before(asked) {
				timer := time.NewTimer(scrubLook)
				select {
				case <-ctx.Done():
					timer.Stop()
					return nil, ctx.Err()
				case <-timer.C:
				}
				if s, err = c.Scrub(ctx); err != nil {
					return nil, err
				}
			}
			return scrubState{s}, wrong(len(s.Open) > 0)
		},
	})
}

// scrubLook is how often a comparison is looked after that is waited for.
const scrubLook = 250 * time.Millisecond
