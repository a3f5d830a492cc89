package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// setting is a setting of the server as a flag.
type setting struct {
	values []string
	list   bool
	given  bool
}

// Set implements pflag.Value.
func (s *setting) Set(v string) error {
	if !s.list || !s.given {
		s.values = nil
	}
	s.values, s.given = append(s.values, v), true
	return nil
}

// String implements pflag.Value.
func (s *setting) String() string { return strings.Join(s.values, ",") }

// Type implements pflag.Value: it is how help names the value.
func (s *setting) Type() string {
	if s.list {
		return "LIST"
	}
	return "VALUE"
}

// serveOptions are the settings of a server that may be given as flags.
type serveOptions struct {
	config   string
	settings map[string]*setting
}

func (o *serveOptions) register(f *pflag.FlagSet) { o.registerOnly(f) }

// registerOnly registers those of the settings that a command has to do with;
// the others are in the configuration all the same. Without names it is all.
func (o *serveOptions) registerOnly(f *pflag.FlagSet, names ...string) {
	f.StringVar(&o.config, "config", "", "configuration `FILE`; none is needed")
	o.settings = map[string]*setting{}
	for _, s := range daemon.Flags() {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		v := &setting{list: s.List}
		if s.Default != "" {
			v.values = []string{s.Default}
		}
		o.settings[s.Name] = v
		f.Var(v, s.Name, s.Help)
	}
}

// load puts the configuration together.
func (o *serveOptions) load(environ []string) (daemon.Config, error) {
	given := map[string][]string{}
	for name, s := range o.settings {
		if s.given {
			given[name] = s.values
		}
	}
	cfg, err := daemon.Load(o.config, environ, given)
	return cfg, asUsage(err)
}

func (a *app) serverCommands() []*cobra.Command {
	return []*cobra.Command{a.serveCommand(), a.initCommand(), a.doctorCommand(), a.fsckCommand(), a.backupCommand(), a.restoreCommand(), a.signerCommands()}
}

func (a *app) serveCommand() *cobra.Command {
	var opt serveOptions
	return a.leaf(command{
		use: "serve [flags]", short: "Run a server",
		long: `
Run a server. It needs no configuration: everything stays in one folder, and the
first start makes the log's key and a first administrator's token.

Every flag can be set in a file and as a variable, --external-url for example as
external-url and CHARTKEEP_EXTERNAL_URL. The connection string of PostgreSQL
holds a password and is no flag: it is database in the file, or
CHARTKEEP_DATABASE.`,
		example: `
chartkeep serve
chartkeep serve --data /var/lib/chartkeep --listen :8443 \
  --tls-cert tls.crt --tls-key tls.key --external-url https://charts.example.com`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			cfg, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			return nil, daemon.Serve(ctx, cfg, a.stdout, a.stderr)
		},
	})
}

type initOptions struct{ config string }

func (o *initOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.config, "config", "chartkeep.yaml", "`FILE` to write; it must not be there yet")
}

// written is a file that was made.
type written struct {
	File string `json:"file"`
}

func (written) schema() string   { return "init/v1" }
func (r written) keys() []string { return []string{r.File} }

func (r written) view() view {
	return view{{facts: []fact{{"configuration", r.File}, {"run it with", "chartkeep serve --config " + r.File}}}}
}

func (a *app) initCommand() *cobra.Command {
	var opt initOptions
	return a.leaf(command{
		use: "init [--config FILE]", short: "Write a commented configuration file",
		long: `
Write a configuration file in which every setting of the server stands with its
meaning. A server runs without one.`,
		example: `chartkeep init --config chartkeep.yaml`,
		flags:   opt.register,
		run: func(context.Context, []string) (result, error) {
			if err := daemon.Init(opt.config); err != nil {
				return nil, err
			}
			return written{opt.config}, nil
		},
	})
}

// diagnosis is what doctor found.
type diagnosis struct {
	Healthy  bool             `json:"healthy"`
	Findings []daemon.Finding `json:"findings"`
}

func (diagnosis) schema() string { return "doctor/v1" }

func (r diagnosis) keys() []string {
	if r.Healthy {
		return []string{"yes"}
	}
	return []string{"no"}
}

func (r diagnosis) view() view {
	b := block{head: []string{"PART", "RESULT", "DETAIL"}, empty: "nothing was looked at"}
	var try []fact
	for _, f := range r.Findings {
		b.rows = append(b.rows, []string{f.Name, f.Result, f.Detail})
		if f.Try != "" {
			try = append(try, fact{f.Name, f.Try})
		}
	}
	v := view{b}
	if try != nil {
		v = append(v, block{facts: try})
	}
	return v
}

func (a *app) doctorCommand() *cobra.Command {
	var opt serveOptions
	return a.leaf(command{
		use: "doctor [flags]", short: "Check whether a server can run here",
		long: `
Check whether a server of this configuration can run here, part by part, or how
the one that runs does. It changes nothing. Exit code 1 if a part is not well.`,
		example: `
chartkeep doctor
chartkeep doctor --config chartkeep.yaml -o json`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			cfg, err := opt.load(a.environ)
			if err != nil {
				return nil, err
			}
			r := diagnosis{Healthy: true, Findings: daemon.Doctor(ctx, cfg)}
			for _, f := range r.Findings {
				r.Healthy = r.Healthy && f.Result != "fail"
			}
			if !r.Healthy {
				return r, answer{problem.Unavailable}
			}
			return r, nil
		},
	})
}

// serverVariables are the variables that a server reads.
func serverVariables() []variable {
	list := []variable{
		{"CHARTKEEP_CONFIG", "configuration file, as --config"},
		{"CHARTKEEP_DATABASE", "PostgreSQL connection string; none: SQLite in the data folder"},
	}
	for _, s := range daemon.Flags() {
		list = append(list, variable{"CHARTKEEP_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")), s.Help})
	}
	return list
}
