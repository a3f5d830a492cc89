package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/release"
)

// checked is what a check of a stopped server found.
type checked struct{ daemon.FsckReport }

func (checked) schema() string { return "fsck/v1" }

func (r checked) keys() []string {
	return keysOf(r.Findings, func(f release.Finding) string { return f.Key })
}

func (r checked) view() view {
	v := view{{facts: []fact{
		{"data", r.Data}, {"log", r.Origin}, {"size", thousands(r.LogSize) + " leaves"}, {"root", r.LogRoot},
		{"compared", fmt.Sprintf("%s leaves, %s, %s", thousands(r.Counts.Leaves), plural(int(r.Counts.Releases), "release"), plural(int(r.Counts.Events), "event"))},
		{"hashed", fmt.Sprintf("%s, %s bytes in %s", plural(int(r.Counts.Blobs), "blob"), thousands(r.Counts.Bytes), r.Duration.Round(time.Millisecond))},
		{"in no repository", fmt.Sprintf("%s, %s bytes: kept of upstreams and feeds, or never released", plural(int(r.Unnamed), "blob"), thousands(r.UnnamedBytes))},
	}}}
	if len(r.Restored) > 0 {
		b := block{head: []string{"BROUGHT BACK"}}
		for _, f := range r.Restored {
			b.rows = append(b.rows, []string{f.Message})
		}
		v = append(v, b)
	}
	for _, s := range r.Repaired {
		v = append(v, block{text: s})
	}
	doubts := make([]client.Doubt, len(r.Findings))
	for i, f := range r.Findings {
		doubts[i] = client.Doubt{Kind: string(f.Kind), Message: f.Message, Try: f.Try}
	}
	b := block{head: []string{"KIND", "WHAT IS WRONG", "TRY"}, empty: "nothing is wrong"}
	for _, d := range doubts {
		b.rows = append(b.rows, []string{d.Kind, d.Message, d.Try})
	}
	v = append(v, b)
	for _, n := range r.Notes {
		v = append(v, block{text: "Note: " + n})
	}
	return v
}

func (a *app) fsckCommand() *cobra.Command {
	var opt serveOptions
	var key logKeyOption
	var do daemon.FsckOptions
	return a.leaf(command{
		use: "fsck [--data DIR] [--log-key FILE]", short: "Check everything that a stopped server has stored",
		long: `
Check everything that a stopped server has stored: what its scrub checks while
it runs, and beside that the file of the database, the history that the leaves
tell, what is kept of the log in the blob store, and cached indexes. It works on
a backup too: the private key is not needed.

It changes nothing, but for two things. --restore-from brings missing and damaged
archives back from any folder that has them; only bytes of exactly the right
digest are taken. --repair removes cached indexes that are false, which the server
makes anew. What is false in the database is named, and left: restore a backup.

Exit code 0: nothing is wrong. 5: something is proven false. 1: it could not be
checked.`,
		example: `
chartkeep fsck --data /var/lib/chartkeep --log-key log.vkey
chartkeep fsck --data /var/lib/chartkeep --restore-from /backup/blobs`,
		flags: func(f *pflag.FlagSet) {
			opt.registerOnly(f, "data")
			key.register(f)
			f.StringVar(&do.RestoreFrom, "restore-from", "", "`FOLDER` with files among which missing bytes are looked for")
			f.BoolVar(&do.Repair, "repair", false, "remove cached indexes that are false")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			cfg, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			if do.LogKey, err = key.key(); err != nil {
				return nil, err
			}
			r, err := daemon.Fsck(ctx, cfg, do)
			if err != nil {
				return nil, err
			}
			return checked{r}, wrong(len(r.Findings) > 0)
		},
	})
}
