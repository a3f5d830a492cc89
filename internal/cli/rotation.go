package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/daemon"
)

// logKey is the key of a log, followed from one that is trusted.
type logKey struct {
	Given string            `json:"given"`
	Key   string            `json:"key"` // to trust now
	Steps []client.Rotation `json:"steps"`
}

func (logKey) schema() string   { return "log-key/v1" }
func (r logKey) keys() []string { return []string{r.Key} }

func (r logKey) view() view {
	if len(r.Steps) == 0 {
		return view{{facts: []fact{{"key", r.Key}, {"state", "the log has had no other key since"}}}}
	}
	b := block{head: []string{"LOG INDEX", "NEW KEY", "OLD KEY ENDS"}}
	for _, s := range r.Steps {
		b.rows = append(b.rows, []string{thousands(s.LogIndex), s.New, stampSeconds(s.Until)})
	}
	return view{{facts: []fact{{"given", r.Given}, {"key", r.Key}}}, b}
}

func (a *app) logKeyCommand() *cobra.Command {
	var opt logKeyOption
	return a.leaf(command{
		use: "key --log-key FILE", short: "Go from a log key that you trust to the one that signs now",
		long: `
Go from a log key that you trust to the one that signs the log now. When a log
gets a new key, the old one signs that; each step is proven by the key before,
so the server cannot pretend. With -q the key to trust now is printed alone.`,
		example: `
chartkeep log key --log-key log.vkey
chartkeep log key --log-key log.vkey -q > log.vkey.new`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			key, err := opt.key()
			if err != nil {
				return nil, err
			}
			if key == "" {
				return nil, usage("the key that you trust is missing").try("chartkeep log key --log-key FILE")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			list, err := c.Rotations(ctx)
			if err != nil {
				return nil, err
			}
			r := logKey{Given: key, Key: key, Steps: []client.Rotation{}}
			steps, err := client.FollowKey(key, list)
			if err != nil {
				return nil, err
			}
			for _, s := range steps {
				r.Key, r.Steps = s.New, append(r.Steps, s)
			}
			return r, nil
		},
	})
}

// rotatedKey says that the log has another key.
type rotatedKey struct{ daemon.Rotation }

func (rotatedKey) schema() string   { return "rotation/v1" }
func (r rotatedKey) keys() []string { return []string{r.New} }

func (r rotatedKey) view() view {
	return view{{facts: []fact{{"new key", r.New}, {"old key", r.Old}, {"old key ends", stampSeconds(r.Until)}}},
		{text: "Start the server: it signs with both keys until then, and puts the rotation into the log.\nPublish the new key where the old one is published, and before the old one ends add a line to each\nwitness policy, your own and your users': log " + r.New}}
}

func (a *app) logRotateCommand() *cobra.Command {
	var opt serveOptions
	overlap := 30 * 24 * time.Hour
	return a.leaf(command{
		use: "rotate-key [--overlap DURATION]", short: "Give the log of a server that is stopped a new key",
		long: `
Give the log of a server that is stopped a new key. Until the overlap ends both
keys sign, and the old one signs the word that the new one follows it: whoever
trusts the old key moves on with chartkeep log key, or by chartkeep verify --sum
alone. Give it the time that your slowest verifier needs. Credentials stay valid,
and the audit log keeps its key.

Replicas share their keys: copy log.key, log.key.old, log.rotation, log.vkey,
audit.key and credentials.key to the folder of each before you start it.`,
		example: `
chartkeep log rotate-key --data /var/lib/chartkeep
chartkeep log rotate-key --data /var/lib/chartkeep --overlap 2160h`,
		flags: func(f *pflag.FlagSet) {
			opt.registerOnly(f, "data")
			f.DurationVar(&overlap, "overlap", overlap, "for how long both keys sign; 0 for a key that is in other hands")
		},
		run: func(_ context.Context, _ []string) (result, error) {
			c, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			r, err := daemon.RotateKey(c, overlap, a.now())
			return resultOf(rotatedKey{r}, err)
		},
	})
}
