package daemon

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/witness"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Witnesses are the settings of who cosigns the log.
type Witnesses struct {
	WitnessPolicy string // file, C2SP tlog-policy; "" has nobody cosign
	WitnessQuorum string // best-effort or required
}

// The values of witness-quorum.
const (
	quorumBestEffort = "best-effort"
	quorumRequired   = "required"
)

func witnessSettings() []setting {
	return []setting{
		{name: "witness-policy", help: "file with the witnesses that cosign the log, and their URLs (C2SP tlog-policy)", example: "witness-policy", field: func(c *Config) *string { return &c.WitnessPolicy }},
		{name: "witness-quorum", help: "best-effort publishes the newest checkpoint with the cosignatures it has; required none that lacks the quorum", field: func(c *Config) *string { return &c.WitnessQuorum }},
	}
}

func (c *Config) checkWitnesses() error {
	if !slices.Contains([]string{quorumBestEffort, quorumRequired}, c.WitnessQuorum) {
		return problem.New(problem.Invalid, "config-value", "witness-quorum is best-effort or required, not %q", c.WitnessQuorum)
	}
	if c.WitnessPolicy == "" && c.WitnessQuorum == quorumRequired {
		return problem.New(problem.Invalid, "config-value", "witness-quorum is required, and there is no witness-policy that says whose")
	}
	return nil
}

// readPolicy reads the witness policy and refuses one that cannot work here. The
// first key is the log's; another signs with it for a time, and will do as well.
func (c *Config) readPolicy(vkeys ...string) (tlog.WitnessPolicy, error) {
	b, err := os.ReadFile(c.WitnessPolicy)
	if err != nil {
		return tlog.WitnessPolicy{}, problem.New(problem.Invalid, "config-file", "the witness policy %s cannot be read", c.WitnessPolicy).Because(err)
	}
	policy, err := tlog.ParseWitnessPolicy(b)
	if p, ok := problem.As(err); ok {
		return tlog.WitnessPolicy{}, p.With("file", "%s", c.WitnessPolicy)
	}
	if err != nil {
		return tlog.WitnessPolicy{}, err
	}
	if len(policy.Logs) > 0 && !slices.ContainsFunc(policy.Logs, func(l tlog.PolicyLog) bool { return slices.Contains(vkeys, l.VerifierKey) }) {
		return tlog.WitnessPolicy{}, problem.New(problem.Invalid, "witness-policy", "the witness policy %s is of other logs", c.WitnessPolicy).
			With("this log", "%s", vkeys[0]).Suggest("add the line: log %s", vkeys[0])
	}
	var asked []string
	for _, w := range policy.Witnesses {
		if w.URL == "" {
			continue
		}
		if !strings.HasPrefix(w.URL, "https://") && !strings.HasPrefix(w.URL, "http://") {
			return tlog.WitnessPolicy{}, problem.New(problem.Invalid, "witness-policy", "the witness %s has a URL that cannot be asked: %s", w.Name, w.URL)
		}
		asked = append(asked, w.Name)
	}
	switch {
	case len(asked) == 0:
		return tlog.WitnessPolicy{}, problem.New(problem.Invalid, "witness-policy", "no witness of %s has a URL where it could be asked", c.WitnessPolicy).
			Suggest("write it behind the key: witness NAME KEY https://witness.example.com")
	case c.WitnessQuorum == quorumRequired && policy.Enough():
		return tlog.WitnessPolicy{}, problem.New(problem.Invalid, "witness-policy", "witness-quorum is required, and %s requires nobody: quorum %s", c.WitnessPolicy, policy.Quorum)
	case c.WitnessQuorum == quorumRequired && !policy.Enough(asked...):
		return tlog.WitnessPolicy{}, problem.New(problem.Invalid, "witness-policy", "the witnesses of %s that have a URL are not enough for its quorum", c.WitnessPolicy).
			With("with a URL", "%s", strings.Join(asked, ", ")).With("quorum", "%s", policy.Quorum)
	}
	return policy, nil
}

// openWitnesses makes what asks the witnesses.
func (d *Daemon) openWitnesses(credentials *remote.Credentials) error {
	if d.cfg.WitnessPolicy == "" {
		return nil
	}
	vkeys := []string{d.keys.verifier}
	if d.keys.rotation != nil {
		vkeys = append(vkeys, d.keys.rotation.Old)
	}
	policy, err := d.cfg.readPolicy(vkeys...)
	if err != nil {
		return err
	}
	verifiers, err := d.keys.verifiers()
	if err != nil {
		return err
	}
	_, keys := verifiers(custody.Releases)
	d.asking = witness.New(d.out, credentials)
	d.witnesses = release.WitnessConfig{Policy: policy, Required: d.cfg.WitnessQuorum == quorumRequired, Ask: d.asking, LogKeys: keys, Doubted: d.noteStandings}
	return nil
}

// elsewhereTimeout is how long a start or a restore waits for witnesses.
const elsewhereTimeout = 5 * time.Second

// byWitness begins custody.Known.By of a witness.
const byWitness = "the witness "

// elsewhere asks the witnesses for what they cosigned: a database that is behind
// it went back.
func (d *Daemon) elsewhere(ctx context.Context) []custody.Known {
	known, silent := askWitnesses(ctx, d.asking, d.witnesses.Policy, d.keys.origin)
	for name, err := range silent {
		d.log.WarnContext(ctx, "a witness could not be asked what it knows of the log", "witness", name, "error", err)
	}
	return known
}

// askWitnesses asks each witness of a policy for the newest checkpoint of a log
// that it cosigned. silent are those that did not answer; one that never
// cosigned the log did.
func askWitnesses(ctx context.Context, asking *witness.Client, policy tlog.WitnessPolicy, origin string) (known []custody.Known, silent map[string]error) {
	ctx, stop := context.WithTimeout(ctx, elsewhereTimeout)
	defer stop()
	var mu sync.Mutex
	silent = map[string]error{}
	var all sync.WaitGroup
	for _, w := range policy.Witnesses {
		if w.URL == "" {
			continue
		}
		all.Go(func() {
			text, err := asking.Newest(ctx, w.URL, origin)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				known = append(known, custody.Known{By: byWitness + w.Name, Log: custody.Releases, Note: text})
			case problem.KindOf(err) != problem.NotFound:
				silent[w.Name] = err
			}
		})
	}
	all.Wait()
	return known, silent
}

// witnessGauges is how it stands with the witnesses.
type witnessGauges struct{ d *Daemon }

var (
	cosignedGauge  = prometheus.NewDesc("chartkeep_witness_seconds_since_cosigned", "Time since a witness cosigned the log; it is asked at least once an hour.", []string{"witness"}, nil)
	refusingGauge  = prometheus.NewDesc("chartkeep_witness_refusing", "1 while a witness answers and will not cosign the log.", []string{"witness"}, nil)
	publishedGauge = prometheus.NewDesc("chartkeep_log_published_size", "Leaves in the checkpoint that is published; -1 when there is none.", nil, nil)
	quorumGauge    = prometheus.NewDesc("chartkeep_log_quorum_size", "Leaves in the newest checkpoint that met the witnesses' quorum; -1 when none did.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g witnessGauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- cosignedGauge
	ch <- refusingGauge
	ch <- publishedGauge
	ch <- quorumGauge
}

// Collect implements prometheus.Collector. What cannot be read is left out.
func (g witnessGauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	w, err := g.d.service.Witnessing(ctx)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			g.d.log.WarnContext(ctx, "read metrics", "error", err)
		}
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(publishedGauge, float64(w.Published))
	if w.Mode == "none" {
		return
	}
	gauge(quorumGauge, float64(w.MetSize))
	for _, x := range w.Witnesses {
		if x.State == release.WitnessNoURL {
			continue
		}
		since := math.Inf(1)
		if !x.Cosigned.IsZero() {
			since = time.Since(x.Cosigned).Seconds()
		}
		refusing := 0.0
		if x.Refusal != "" {
			refusing = 1
		}
		gauge(cosignedGauge, since, x.Name)
		gauge(refusingGauge, refusing, x.Name)
	}
}
