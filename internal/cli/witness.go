package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/remote"
	remotewitness "github.com/chartkeep/chartkeep/internal/remote/witness"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

func (a *app) witnessCommands() *cobra.Command {
	return group("witness", "Run a witness: cosign logs as long as they only grow", a.witnessInitCommand(), a.witnessServeCommand())
}

// witnessFolder are the options of both commands.
type witnessFolder struct {
	dir, logs string
	audit     bool
}

func (o *witnessFolder) register(f *pflag.FlagSet) {
	f.StringVar(&o.dir, "dir", "chartkeep-witness", "`FOLDER` of the keys and of what was cosigned")
	f.StringVar(&o.logs, "log", "", "`FILE` with the logs: a line `log KEY [URL]`, or a verifier key alone, for each")
	f.BoolVar(&o.audit, "audit", false, "with a second key, state also that no entry breaks a rule")
}

func (o *witnessFolder) read() ([]tlog.PolicyLog, error) {
	if o.logs == "" {
		return nil, usage("which logs are to be cosigned is not said").try("write their verifier keys into a file, one a line: --log FILE")
	}
	b, err := readFile(o.logs, tlog.MaxPolicyBytes)
	if err != nil {
		return nil, asUsage(err)
	}
	logs, err := tlog.ParseLogList(b)
	if err != nil {
		return nil, asUsage(err)
	}
	if len(logs) == 0 {
		return nil, usage("the file %s names no log", o.logs)
	}
	return logs, nil
}

// madeWitness is what witness init made.
type madeWitness struct {
	Folder   string   `json:"folder"`
	Key      string   `json:"verifier_key"`
	AuditKey string   `json:"audit_verifier_key,omitempty"`
	Added    []string `json:"added_logs"`
	Known    []string `json:"known_logs"`
}

func (madeWitness) schema() string { return "witness/v1" }

func (r madeWitness) keys() []string {
	if r.AuditKey == "" {
		return []string{r.Key}
	}
	return []string{r.Key, r.AuditKey}
}

func (r madeWitness) view() view {
	facts := []fact{{"folder", r.Folder}, {"key", r.Key}}
	if r.AuditKey != "" {
		facts = append(facts, fact{"audit key", r.AuditKey})
	}
	for _, origin := range r.Added {
		facts = append(facts, fact{"new log", origin})
	}
	for _, origin := range r.Known {
		facts = append(facts, fact{"known log", origin})
	}
	return view{{facts: append(facts, fact{"run it with", fmt.Sprintf("chartkeep witness serve --dir %s --log FILE", r.Folder)})}}
}

func (a *app) witnessInitCommand() *cobra.Command {
	var opt witnessFolder
	var name string
	return a.leaf(command{
		use: "init --name NAME --log FILE [flags]", short: "Make the folder of a witness, or add logs to one",
		long: `
Make the folder of a witness with its key, and an empty memory for every log of
the file. The name stands in every cosignature: a host and path without scheme,
which need not be reachable. Give the printed key to whoever runs the log, and
to whoever verifies: it goes into their witness policy.

In a folder that is there, logs that are new to it are added, and with --audit
the second key. What is there is never replaced.

A memory is made by this command alone. That a log is new to a key is your word:
whoever makes a second memory for a log that the key has cosigned before, lets
that log show two histories. When the folder was lost, begin with another name.`,
		example: `
chartkeep witness init --name witness.example.com/w1 --log logs.txt
chartkeep witness init --name witness.example.com/w1 --log logs.txt --audit -q`,
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.StringVar(&name, "name", "", "`NAME` of the witness; not needed when the folder is there")
		},
		run: func(context.Context, []string) (result, error) {
			logs, err := opt.read()
			if err != nil {
				return nil, err
			}
			made, err := witness.Init(opt.dir, name, logs, opt.audit)
			if err != nil {
				return nil, err
			}
			r := madeWitness{Folder: made.Folder, Key: made.Key, AuditKey: made.AuditKey, Added: []string{}, Known: []string{}}
			r.Added, r.Known = append(r.Added, made.Added...), append(r.Known, made.Known...)
			return r, nil
		},
	})
}

// witnessServe are the options of witness serve alone.
type witnessServe struct {
	witnessFolder
	at          witness.Address
	credentials string
	networks    []string
}

func (o *witnessServe) register(f *pflag.FlagSet) {
	o.witnessFolder.register(f)
	f.StringVar(&o.at.Listen, "listen", "127.0.0.1:8090", "`ADDRESS` to listen on; the default is this machine alone")
	f.StringVar(&o.at.TLSCert, "tls-cert", "", "PEM `FILE` of the certificate chain; read again when it changes")
	f.StringVar(&o.at.TLSKey, "tls-key", "", "PEM `FILE` of the certificate's key")
	f.StringVar(&o.credentials, "credentials", "", "YAML `FILE` of the credentials with which entries are read")
	f.StringSliceVar(&o.networks, "allow-networks", nil, "`LIST` of networks beside public addresses where entries may be read")
}

// entries makes the reader of entries.
func (o *witnessServe) entries(log *slog.Logger) (*remotewitness.Client, error) {
	cfg := remote.Config{Log: log, UserAgent: "chartkeep-witness"}
	if o.credentials != "" {
		var err error
		if cfg.Credentials, err = remote.LoadCredentials(o.credentials); err != nil {
			return nil, asUsage(err)
		}
	}
	for _, text := range o.networks {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usage("%q is no network", text).try("--allow-networks 10.0.0.0/8")
		}
		cfg.AllowNetworks = append(cfg.AllowNetworks, n.Masked())
	}
	return remotewitness.New(remote.New(cfg), cfg.Credentials), nil
}

func (a *app) witnessServeCommand() *cobra.Command {
	var opt witnessServe
	return a.leaf(command{
		use: "serve --log FILE [flags]", short: "Run a witness",
		long: `
Run a witness (c2sp.org/tlog-witness). Logs send their checkpoints to
/add-checkpoint; each is cosigned if it continues the one before it, and after
it is on the disk. /<SHA-256 of the log's name>/checkpoint has the newest one,
for monitors.

With --audit it also reads every entry of each log that has a URL in the file,
and with its second key, at /audit/add-checkpoint, cosigns what breaks no rule:
no version has a second release, time does not run backwards, and so on. When an
entry does break one, that key signs nothing of that log any more and answers
403 with the reason; the first key goes on. In a witness policy the two are two
witnesses.

Entries of a log may name private charts, so that reading them takes a token
with the right log.read: --credentials names a file as the server has one.

It listens on this machine alone. Put it behind a proxy, or give --listen and
--tls-cert. It needs no rights but on its folder.`,
		example: `
chartkeep witness serve --log logs.txt
chartkeep witness serve --log logs.txt --audit --credentials credentials.yaml \
  --listen :8443 --tls-cert tls.crt --tls-key tls.key`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			logs, err := opt.read()
			if err != nil {
				return nil, err
			}
			log := slog.New(slog.NewTextHandler(a.stderr, nil))
			cfg := witness.Config{Folder: opt.dir, Logs: logs, Audit: opt.audit, Log: log}
			if opt.audit {
				c, err := opt.entries(log)
				if err != nil {
					return nil, err
				}
				cfg.Entries = c.Entries
			}
			return nil, witness.Serve(ctx, cfg, opt.at, a.stdout)
		},
	})
}
