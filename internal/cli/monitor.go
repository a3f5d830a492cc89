package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// monitored is one look at all logs.
type monitored struct {
	Verdict string           `json:"verdict"` // as that of verify: pass, fail or incomplete
	Logs    []monitor.Report `json:"logs"`
}

func (monitored) schema() string { return "monitor/v1" }

func (r monitored) keys() []string {
	var ids []string
	for _, l := range r.Logs {
		for _, f := range l.Findings {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

func (r monitored) view() view {
	var v view
	for _, l := range r.Logs {
		facts := []fact{{"log", l.Log}, {"server", l.Server}, {"size", thousands(l.Size) + " leaves, " + thousands(l.Leaves) + " of them new"},
			{"newest leaf", stampSeconds(l.LogTime)}, {"releases", thousands(l.Releases)},
			{"compared", fmt.Sprintf("%s archives, %s index entries, %s tags", thousands(l.Archives), thousands(l.Entries), thousands(l.Tags))}}
		if len(l.Cosigned) > 0 {
			facts = append(facts, fact{"cosigned by", strings.Join(l.Cosigned, ", ")})
		}
		if l.Waiting > 0 {
			facts = append(facts, fact{"not told yet", thousands(int64(l.Waiting)) + " findings"})
		}
		for _, u := range l.Unchecked {
			facts = append(facts, fact{"not checked", u})
		}
		b := block{head: []string{"SEVERITY", "RULE", "ABOUT", "WHAT"}, empty: "nothing was found"}
		if len(l.Unchecked) > 0 {
			b.empty = "nothing was found in what could be checked"
		}
		for _, f := range l.Findings {
			b.rows = append(b.rows, []string{string(f.Severity), f.Rule, f.Ref(), f.Message})
		}
		v = append(v, block{facts: facts}, b)
		for _, f := range l.Findings {
			v = append(v, block{facts: monitorFacts(f)})
		}
	}
	return append(v, block{facts: []fact{{"verdict", r.Verdict}}})
}

// monitorFacts is what there is to know of a finding.
func monitorFacts(f monitor.Finding) []fact {
	facts := []fact{{"finding", f.ID}, {"rule", f.Rule}, {"about", f.Ref()}}
	if f.Index >= 0 {
		facts = append(facts, fact{"leaf", thousands(f.Index)})
	}
	for _, x := range f.Facts {
		if x.Label != "evidence" {
			facts = append(facts, fact{x.Label, x.Value})
		}
	}
	facts = append(facts, fact{"found", stampSeconds(f.First)})
	switch {
	case f.Proven:
		facts = append(facts, fact{"proven", "yes: a digest, a signature or a proof does not hold"})
	default:
		facts = append(facts, fact{"proven", "no"})
	}
	if f.Evidence != "" {
		facts = append(facts, fact{"evidence", f.Evidence})
	}
	if f.Accepted {
		return append(facts, fact{"accepted", "yes: it fails nothing and is told to nobody"})
	}
	return append(facts, fact{"question", f.Question})
}

// findingLine says a finding with its facts in one line.
func findingLine(f monitor.Finding) string {
	s := f.Message
	if f.Index >= 0 {
		s += fmt.Sprintf("; leaf %d", f.Index)
	}
	for _, x := range f.Facts {
		s += "; " + x.Label + " " + x.Value
	}
	switch {
	case f.Accepted:
		s += " (accepted)"
	case f.Proven:
		s += " (proven)"
	}
	return s
}

type monitorOptions struct {
	logKey, follow, state, policy string
	once                          bool
	interval, blindAfter          time.Duration
	archives                      string
	rate                          int64
	announced                     monitor.Announced
	since                         string
	failOn                        string
	accept                        []string
	metrics                       string
	alertOptions
}

func (o *monitorOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.logKey, "log-key", "", "`FILE` with the log's key, or keys, one a line, which did not come from the server")
	f.StringVar(&o.follow, "follow", "", "`FILE` with several logs, one a line: URL KEYFILE [TOKENFILE]")
	f.StringVar(&o.state, "state", "", "`DIR` that remembers what was seen (needed)")
	f.BoolVar(&o.once, "once", false, "look once, print what was found, and end")
	f.DurationVar(&o.interval, "interval", time.Minute, "`TIME` between two looks")
	f.DurationVar(&o.blindAfter, "blind-after", monitor.DefaultBlind, "`TIME` after which a log that cannot be checked is a finding")
	f.StringVar(&o.archives, "archives", string(monitor.ArchivesNew), "`WHOSE` archives are fetched and compared: "+depths())
	f.Int64Var(&o.rate, "archive-rate", 10, "`MIB` of archives in a second at most; 0 is no limit")
	f.StringVar(&o.policy, "policy", "", "`FILE` with the witnesses and how many must agree (C2SP tlog-policy)")
	f.StringVar(&o.announced.Place, "announced", "", "file, folder or URL with what was announced: `PLACE`")
	f.StringSliceVar(&o.announced.Scope, "announced-for", nil, "`PATTERN` of PROJECT/CHART whose releases must be announced (default: every project that is named)")
	f.DurationVar(&o.announced.Within, "announce-within", 10*time.Minute, "`TIME` after its release that an announcement has")
	f.StringVar(&o.since, "announced-since", "", "`DATE` from which on releases must be announced (default: from the first look on)")
	f.StringVar(&o.failOn, "fail-on", "", "with --once: exit with 6 when there is a finding of `SEVERITY` or above: "+strings.Join(severities, ", "))
	f.StringSliceVar(&o.accept, "accept", nil, "`ID` of a finding that you know of: it fails nothing and is told to nobody")
	f.StringVar(&o.metrics, "metrics", "", "`ADDRESS` on which to serve /metrics and /healthz")
	o.alertOptions.register(f)
}

func depths() string {
	var words []string
	for _, d := range monitor.Depths() {
		words = append(words, string(d))
	}
	return strings.Join(words, ", ")
}

// check refuses what contradicts itself.
func (o *monitorOptions) check() error {
	switch {
	case o.state == "":
		return usage("chartkeep monitor needs --state: what it saw has to be remembered").try("chartkeep monitor --state /var/lib/chartkeep-monitor --log-key log.vkey")
	case (o.logKey == "") == (o.follow == ""):
		return usage("chartkeep monitor needs either --log-key or --follow").try("chartkeep monitor --state DIR --log-key log.vkey")
	case o.interval < time.Second:
		return usage("--interval %s is shorter than a second", o.interval)
	case o.rate < 0 || o.rate > 1<<20:
		return usage("--archive-rate %d is no rate", o.rate)
	case !slices.Contains(monitor.Depths(), monitor.Depth(o.archives)):
		return usage("--archives %s is none of %s", o.archives, depths())
	case o.failOn != "" && !slices.Contains(severities, o.failOn):
		return usage("--fail-on %s is no severity", o.failOn).try("--fail-on %s", strings.Join(severities, "|"))
	case o.announced.Place == "" && (len(o.announced.Scope) > 0 || o.since != ""):
		return usage("--announced-for and --announced-since say nothing without --announced")
	case o.once && o.metrics != "":
		return usage("--metrics serves while the monitor runs, and --once ends it")
	}
	if o.since != "" {
		var err error
		for _, form := range []string{time.RFC3339, time.DateOnly} {
			if o.announced.Since, err = time.Parse(form, o.since); err == nil {
				break
			}
		}
		if err != nil {
			return usage("--announced-since %s is no date", o.since).try("--announced-since 2026-11-01")
		}
	}
	return asUsage(o.announced.Check())
}

const monitorLong = `
Follow a log from outside and say where it, or the server that has it, does not
hold. Nothing that the server says is believed but what the log's key signed.

Each look fetches the newest checkpoint, checks its signature and the witnesses,
proves that the log only grew, replays every new leaf, and holds archives,
indexes, tags and provenance files against the leaves. It finds what a proof
cannot show: a second leaf for a version, a yank or tombstone against the rules,
an archive that is not that of its leaf, a version without a leaf, and, with
--announced, a release that your pipeline did not announce.

It has to read the log and the projects: give it a token of the role auditor.
What it saw is in --state; what is proven false is kept there as evidence.

With --once it looks once. Exit code 5: something is proven false. 6: there is a
finding at or above --fail-on. 1: something could not be checked. 0: all was
checked, and nothing of that was found. Without --once it runs until it is
stopped, and tells findings on stdout and to whom the flags name, each at least
once and always under the same id.`

func (a *app) monitorCommand() *cobra.Command {
	var opt monitorOptions
	return a.leaf(command{
		use: "monitor --state DIR --log-key FILE [flags]", short: "Follow a log from outside, and find what does not hold",
		long: monitorLong,
		example: `
chartkeep monitor --once --state .monitor --log-key log.vkey --fail-on high
chartkeep monitor --state /var/lib/chartkeep-monitor --log-key log.vkey \
  --announced releases.txt --webhook hook=https://hooks.example.com/x \
  --credentials credentials.yaml --metrics 127.0.0.1:9464`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			if err := opt.check(); err != nil {
				return nil, err
			}
			sinks, err := a.sinks(&opt.alertOptions, opt.once)
			if err != nil {
				return nil, err
			}
			monitors, err := a.monitors(&opt, sinks)
			if err != nil {
				return nil, err
			}
			defer func() {
				for _, m := range monitors {
					_ = m.Close() // it holds nothing that is not written
				}
			}()
			if opt.once {
				return a.monitorOnce(ctx, &opt, monitors, sinks)
			}
			return nil, a.monitorService(ctx, &opt, monitors, sinks)
		},
	})
}

// followed is a log that is to be followed.
type followed struct {
	client *client.Client
	keys   []string
}

// monitors opens the logs that are to be followed.
func (a *app) monitors(opt *monitorOptions, sinks []monitor.Sink) ([]*monitor.Monitor, error) {
	logs, err := a.followed(opt)
	if err != nil {
		return nil, err
	}
	var policy *tlog.WitnessPolicy
	if opt.policy != "" {
		b, err := readFile(opt.policy, tlog.MaxPolicyBytes)
		if err != nil {
			return nil, asUsage(err)
		}
		p, err := tlog.ParseWitnessPolicy(b)
		if err != nil {
			return nil, asUsage(err)
		}
		policy = &p
	}
	var announced *monitor.Announced
	if opt.announced.Place != "" {
		announced = &opt.announced
	}
	var names []string
	for _, s := range sinks {
		names = append(names, s.Name())
	}
	var out []*monitor.Monitor
	for _, l := range logs {
		cfg := monitor.Config{
			Client: l.client, Keys: l.keys, Policy: policy, State: opt.state, Depth: monitor.Depth(opt.archives), Rate: opt.rate << 20,
			Announced: announced, BlindAfter: opt.blindAfter, Accepted: opt.accept, Sinks: names,
			Now: a.now, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		}
		if !opt.once {
			cfg.Budget = max(opt.interval, time.Minute)
		}
		m, err := monitor.Open(cfg)
		if err != nil {
			for _, m := range out {
				_ = m.Close()
			}
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// followed reads which logs are meant.
func (a *app) followed(opt *monitorOptions) ([]followed, error) {
	if opt.follow == "" {
		keys, err := readKeys(opt.logKey)
		if err != nil {
			return nil, err
		}
		c, err := a.client()
		return []followed{{c, keys}}, err
	}
	text, err := readFile(opt.follow, 1<<20)
	if err != nil {
		return nil, asUsage(err)
	}
	var out []followed
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for n := 1; lines.Scan(); n++ {
		words, _, _ := strings.Cut(lines.Text(), "#")
		field := strings.Fields(words)
		if len(field) == 0 {
			continue
		}
		if len(field) > 3 || len(field) < 2 {
			return nil, usage("line %d of %s is not URL KEYFILE [TOKENFILE]", n, opt.follow)
		}
		beside := func(name string) string {
			if filepath.IsAbs(name) {
				return name
			}
			return filepath.Join(filepath.Dir(opt.follow), name)
		}
		keys, err := readKeys(beside(field[1]))
		if err != nil {
			return nil, err
		}
		token := ""
		if len(field) == 3 {
			b, err := readFile(beside(field[2]), 4<<10)
			if err != nil {
				return nil, asUsage(err)
			}
			token = strings.TrimSpace(string(b))
		}
		c, err := client.New(field[0], token, client.Options{HTTP: &http.Client{Transport: patient()}, UserAgent: userAgent()})
		if err != nil {
			return nil, asUsage(err)
		}
		out = append(out, followed{c, keys})
	}
	if len(out) == 0 {
		return nil, usage("%s names no log", opt.follow)
	}
	return out, nil
}

// patient is a transport that gives up on a server which says nothing.
func patient() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 2 * time.Minute
	return t
}

// readKeys reads a log's keys, one a line.
func readKeys(file string) ([]string, error) {
	b, err := readFile(file, 64<<10)
	if err != nil {
		return nil, asUsage(err)
	}
	keys := strings.Fields(string(b))
	for _, k := range keys {
		if _, err := tlog.NewVerifier(k); err != nil {
			return nil, asUsage(err)
		}
	}
	return keys, nil
}

// monitorOnce looks once, and twice at what could have changed in between.
func (a *app) monitorOnce(ctx context.Context, opt *monitorOptions, monitors []*monitor.Monitor, sinks []monitor.Sink) (result, error) {
	out := monitored{Verdict: string(client.Passed)}
	var disproven, unchecked, found bool
	for _, m := range monitors {
		r, err := m.Round(ctx)
		if err == nil && m.Again() {
			r, err = again(ctx, m, r)
		}
		if err != nil {
			return nil, err
		}
		undelivered, err := m.Deliver(ctx, sinks)
		if err != nil {
			return nil, err
		}
		for name, err := range undelivered {
			a.warn("could not tell %s: %v", name, err)
		}
		r.Waiting = m.Waiting()
		disproven = disproven || r.Disproven
		unchecked = unchecked || len(r.Unchecked) > 0
		for _, f := range r.Findings {
			found = found || !f.Accepted && opt.failOn != "" && f.Severity.Rank() >= monitor.Severity(opt.failOn).Rank()
		}
		out.Logs = append(out.Logs, r)
	}
	switch {
	case disproven:
		out.Verdict = string(client.Failed)
		e := problem.New(problem.Disproven, "monitor", "something that the server says is proven false")
		for _, l := range out.Logs {
			for _, f := range l.Findings {
				if f.Evidence != "" && !f.Accepted {
					e.With("evidence", "%s", f.Evidence)
				}
			}
		}
		return out, e
	case unchecked:
		out.Verdict = string(client.Incomplete)
	}
	switch {
	case found:
		return out, findings{}
	case unchecked:
		return out, problem.New(problem.Unavailable, "monitor", "not everything could be checked").Suggest("see “not checked” above")
	}
	return out, nil
}

// again looks a second time and adds up what both looks did.
func again(ctx context.Context, m *monitor.Monitor, first monitor.Report) (monitor.Report, error) {
	r, err := m.Round(ctx)
	r.Leaves += first.Leaves
	r.Archives += first.Archives
	r.Bytes += first.Bytes
	return r, err
}

// monitorService looks until ctx ends.
func (a *app) monitorService(ctx context.Context, opt *monitorOptions, monitors []*monitor.Monitor, sinks []monitor.Sink) error {
	s := &monitor.Service{
		Monitors: monitors, Sinks: sinks, Interval: opt.interval,
		Log: slog.New(slog.NewTextHandler(a.stderr, nil)),
	}
	if opt.metrics == "" {
		return s.Run(ctx)
	}
	l, err := net.Listen("tcp", opt.metrics)
	if err != nil {
		return problem.New(problem.Unavailable, "listen", "nothing can be served on %s", opt.metrics).With("reason", "%v", err)
	}
	server := &http.Server{Handler: s.Handler(a.now), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	a.say("metrics on http://%s/metrics", l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	err = s.Run(ctx)
	_ = server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		return cmp.Or(err, served)
	}
	return err
}
