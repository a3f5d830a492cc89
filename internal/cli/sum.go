package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// sumOptions are those of verify that need a memory.
type sumOptions struct {
	sum    string
	locked bool
	policy string
	maxAge string
}

func (o *sumOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.sum, "sum", "", "hold against what `FILE` remembers, and remember (alone: "+client.SumName+")")
	f.Lookup("sum").NoOptDefVal = client.SumName
	f.BoolVar(&o.locked, "locked", false, "with --sum: refuse charts that have no line, and write nothing")
	f.StringVar(&o.policy, "policy", "", "with --sum: `FILE` with the logs, the witnesses and how many must agree (C2SP tlog-policy)")
	f.StringVar(&o.maxAge, "max-age", "", "with --sum and --policy: the most `TIME` since the witnesses saw the log, such as 24h or 7d")
}

// remembered is what came of a verification that remembers.
type remembered struct {
	File    string `json:"file"`
	Written bool   `json:"written"` // the file was changed
	client.Recollection
	Skipped  []skipped `json:"skipped,omitempty"`
	Evidence []string  `json:"evidence,omitempty"` // files
}

// skipped is a dependency of a chart that is not from a server with a log.
type skipped struct {
	Dependency string `json:"dependency"`
	Reason     string `json:"reason"`
}

func (remembered) schema() string   { return "sum-verification/v1" }
func (r remembered) keys() []string { return []string{string(r.Verdict)} }

func (r remembered) view() view {
	charts := block{head: []string{"CHART", "ENTRY", "BEFORE", "VERDICT"}, empty: "No charts."}
	logs := block{head: []string{"LOG", "REMEMBERED", "NOW", "VERDICT"}, empty: "No log was reached."}
	var open view
	left := func(what, of string, checks []client.Check, verdict client.Verdict) {
		var rows []client.Check
		for _, c := range checks {
			if c.Result == client.Fail || c.Result == client.Unchecked && verdict != client.Passed {
				rows = append(rows, c)
			}
		}
		if rows != nil {
			open = append(open, block{facts: []fact{{what, of}}}, checksBlock(rows))
		}
	}
	for _, c := range r.Charts {
		entry, before := "", ""
		if c.Logged != nil {
			entry = thousands(c.Logged.Index)
		}
		switch {
		case c.Verdict != client.Passed:
		case c.First:
			before = "not seen"
		default:
			before = "the same"
		}
		charts.rows = append(charts.rows, []string{c.Subject, entry, before, string(c.Verdict)})
		left("chart", c.Subject, c.Checks, c.Verdict)
	}
	for _, l := range r.Logs {
		logs.rows = append(logs.rows, []string{l.Origin, thousands(l.Pinned), thousands(l.Size), string(l.Verdict)})
		left("log", l.Origin, l.Checks, l.Verdict)
	}
	v := append(view{charts, logs}, open...)
	if len(r.Skipped) > 0 {
		b := block{head: []string{"NOT VERIFIED", "REASON"}}
		for _, s := range r.Skipped {
			b.rows = append(b.rows, []string{s.Dependency, s.Reason})
		}
		v = append(v, b)
	}
	state := ", unchanged"
	if r.Written {
		state = ", written"
	}
	facts := []fact{{"file", r.File + state}}
	for _, e := range r.Evidence {
		facts = append(facts, fact{"evidence", e})
	}
	return append(v, block{facts: append(facts, fact{"verdict", string(r.Verdict)})})
}

// patience is how long witnesses are waited for.
const patience = 6 * time.Second

// verifySum verifies against a sum file, and writes it when all holds.
func (a *app) verifySum(ctx context.Context, opt verifyOptions, args []string, key string) (result, error) {
	if len(args) > 0 && opt.sum == client.SumName && strings.HasSuffix(args[0], ".sum") {
		opt.sum, args = args[0], args[1:] // --sum FILE, which flags with a default read as --sum alone
	}
	sum, err := client.ReadSum(opt.sum)
	if err != nil {
		return nil, asUsage(err)
	}
	if opt.proof != "" && (len(args) != 1 || !isFile(args[0])) {
		return nil, usage("--proof belongs to one file")
	}
	m := client.Memory{Sum: sum, Locked: opt.locked, Now: a.now(), Patience: patience, Server: strings.TrimRight(a.server(), "/"), Connect: a.connectFor}
	for line := range strings.Lines(key) {
		m.Keys = append(m.Keys, strings.TrimSpace(line))
	}
	if err := opt.trust(&m); err != nil {
		return nil, err
	}
	r := remembered{File: opt.sum}
	var refs []client.Reference
	defer func() {
		for _, ref := range refs {
			if ref.Local != nil {
				_ = ref.Local.Archive.(*os.File).Close()
			}
		}
	}()
	for _, arg := range args {
		more, left, err := a.references(opt, sum, m.Server, arg)
		refs, r.Skipped = append(refs, more...), append(r.Skipped, left...)
		if err != nil {
			return nil, err
		}
	}
	for _, s := range r.Skipped {
		a.warn("%s is not verified: %s", s.Dependency, s.Reason)
	}
	switch {
	case len(args) > 0 && len(refs) == 0:
		return nil, usage("nothing that was named comes from a server whose log is known").try("set CHARTKEEP_SERVER to the URL of the server, and give --log-key FILE")
	case len(args) == 0 && len(sum.Charts) == 0:
		return nil, usage("%s remembers no charts", opt.sum).try("chartkeep verify --sum PROJECT/CHART@VERSION --log-key FILE")
	}
	if r.Recollection, err = m.Verify(ctx, refs); err != nil {
		return nil, err
	}
	if err := a.keep(ctx, opt, sum, &r); err != nil {
		return r, err
	}
	a.annotate(opt.sum, r)
	return r, r.err(opt)
}

// trust reads the policy.
func (o *sumOptions) trust(m *client.Memory) error {
	if o.maxAge != "" {
		age, err := watch.ParseDuration(o.maxAge)
		if err != nil {
			return asUsage(err)
		}
		if age == 0 || o.policy == "" {
			return usage("--max-age needs a time above 0, and --policy: only witnesses say when they saw a log")
		}
		m.MaxAge = time.Duration(age)
	}
	if o.policy == "" {
		return nil
	}
	text, err := readFile(o.policy, tlog.MaxPolicyBytes)
	if err != nil {
		return asUsage(err)
	}
	policy, err := tlog.ParseWitnessPolicy(text)
	if err != nil {
		return asUsage(err)
	}
	m.Policy = &policy
	return nil
}

// connectFor makes the client of a server. The token goes to the server that
// was configured with it, and to no other that a reference names.
func (a *app) connectFor(server string) (*client.Client, error) {
	token := ""
	if server == strings.TrimRight(cmp.Or(a.server(), defaultServer), "/") {
		var err error
		if token, err = a.token(); err != nil {
			return nil, err
		}
	}
	return a.connect(server, token)
}

// references reads one argument: a file, the folder of a chart, or what names a
// release. Without a server, a name alone is looked up in the sum file.
func (a *app) references(opt verifyOptions, sum client.Sum, server, arg string) ([]client.Reference, []skipped, error) {
	if isChart(arg) {
		return dependencies(arg, sum, server)
	}
	if !strings.Contains(arg, "://") && isFile(arg) {
		s, _, err := openSubject(opt, arg)
		if err != nil {
			return nil, nil, err
		}
		return []client.Reference{client.FileReference(arg, s)}, nil, nil
	}
	if server == "" {
		if ref, ok := sum.Reference(arg); ok {
			return []client.Reference{ref}, nil, nil
		}
		server = defaultServer
	}
	ref, err := client.ParseReference(arg, server)
	if err != nil {
		return nil, nil, asUsage(err)
	}
	return []client.Reference{ref}, nil, nil
}

// maxLock bounds a Chart.lock, in bytes.
const maxLock = 1 << 20

// dependencies are those of the chart in a folder, by its Chart.lock, or by
// what its Chart.yaml says exactly.
func dependencies(folder string, sum client.Sum, server string) (refs []client.Reference, left []skipped, err error) {
	var list []chart.Dependency
	text, err := readFile(filepath.Join(folder, "Chart.lock"), maxLock)
	if err == nil {
		if list, err = parseLock(text); err != nil {
			return nil, nil, usage("the Chart.lock of %s cannot be read", folder).try("helm dependency update %s", folder)
		}
	} else {
		if !errors.Is(err, os.ErrNotExist) {
			return nil, nil, asUsage(err)
		}
		if text, err = readFile(filepath.Join(folder, "Chart.yaml"), chart.MaxChartYAML); err != nil {
			return nil, nil, asUsage(err)
		}
		m, err := chart.ParseMetadata(text)
		if err != nil {
			return nil, nil, asUsage(err)
		}
		list = m.Dependencies
	}
	for _, d := range list {
		ref, why := dependency(d, sum, server)
		if why != "" {
			left = append(left, skipped{strings.TrimSpace(d.Name + " " + d.Version), why})
			continue
		}
		refs = append(refs, ref)
	}
	return refs, left, nil
}

// parseLock reads what helm dependency update writes.
func parseLock(text []byte) ([]chart.Dependency, error) {
	var lock struct {
		Dependencies []chart.Dependency `yaml:"dependencies"`
	}
	err := yaml.Unmarshal(text, &lock)
	return lock.Dependencies, err
}

// dependency is where a chart comes from that another needs, or why that is
// nothing that can be verified.
func dependency(d chart.Dependency, sum client.Sum, server string) (client.Reference, string) {
	u, err := url.Parse(d.Repository)
	if err != nil || u.Host == "" {
		return client.Reference{}, "its repository is not the address of a server"
	}
	if _, err := chart.ParseVersion(d.Version); err != nil {
		return client.Reference{}, "its version is not exact; helm dependency update writes a Chart.lock"
	}
	known := false
	for _, door := range append(sum.Doors(), server) {
		at, err := url.Parse(door)
		known = known || err == nil && at.Host == u.Host
	}
	if !known {
		return client.Reference{}, "nothing is known of a log of " + u.Host
	}
	at := strings.TrimRight(d.Repository, "/")
	if u.Scheme == "oci" {
		at += "/" + d.Name + ":" + chart.TagFor(d.Version)
	} else {
		at += "/charts/" + url.PathEscape(chart.FileName(d.Name, d.Version))
	}
	ref, err := client.ParseReference(at, server)
	if err != nil {
		return client.Reference{}, err.Error()
	}
	return ref, ""
}

// keep writes what is to be remembered, or the evidence why not.
func (a *app) keep(ctx context.Context, opt verifyOptions, before client.Sum, r *remembered) error {
	for _, e := range r.Recollection.Evidence {
		text, err := e.Marshal()
		if err != nil {
			return err
		}
		file := filepath.Join(filepath.Dir(opt.sum), e.FileName())
		if err := writeNew(file, text); err != nil {
			return err
		}
		r.Evidence = append(r.Evidence, file)
	}
	if r.Verdict != client.Passed || opt.locked {
		return nil
	}
	was, err := before.Marshal()
	if err != nil {
		return err
	}
	is, err := r.Sum.Marshal()
	if err != nil {
		return err
	}
	if _, err := os.Stat(opt.sum); err == nil && bytes.Equal(was, is) {
		return nil
	}
	if err := client.WriteSum(ctx, opt.sum, before, r.Sum); err != nil {
		return err
	}
	r.Written = true
	return nil
}

// writeNew writes a file whose name says what is in it: one that is there stays.
func writeNew(file string, text []byte) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	return placeFile(file, func(f *os.File) error { _, err := f.Write(text); return err })
}

// err is the error of a verdict that is not pass.
func (r remembered) err(opt verifyOptions) error {
	var bad, open []fact
	gather := func(of string, checks []client.Check, verdict client.Verdict) {
		for _, c := range checks {
			switch {
			case c.Result == client.Fail:
				bad = append(bad, fact{of, c.Name + ": " + c.Detail})
			case c.Result == client.Unchecked && verdict == client.Incomplete:
				open = append(open, fact{of, c.Name + ": " + c.Detail})
			}
		}
	}
	for _, l := range r.Logs {
		gather(l.Origin, l.Checks, l.Verdict)
	}
	for _, c := range r.Charts {
		gather(c.Subject, c.Checks, c.Verdict)
	}
	var e *problem.Error
	switch r.Verdict {
	case client.Passed:
		return nil
	case client.Failed:
		e = problem.New(problem.Disproven, "sum", "what is served is proven not to be what was logged or verified before; nothing was remembered")
		e.Suggest("do not use these charts, and tell others")
		if len(r.Evidence) > 0 {
			e.Suggest("do not use these charts; show others: chartkeep verify --evidence %s --log-key %s", r.Evidence[0], cmp.Or(opt.logKey, "FILE"))
		}
		open = nil
	default:
		e = problem.New(problem.Unavailable, "sum", "not all could be checked; nothing was remembered")
	}
	for _, f := range append(bad, open...) {
		e.With(f.label, "%s", f.value)
	}
	return e
}

// Escapes of workflow commands: of what stands behind the last colons, and of
// what stands before.
var (
	workflowData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	workflowProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// annotate tells a pipeline of GitHub Actions, in the commands that its runner
// reads from the output.
func (a *app) annotate(file string, r remembered) {
	if a.env("GITHUB_ACTIONS") != "true" {
		return
	}
	tell := func(of string, checks []client.Check, verdict client.Verdict) {
		for _, c := range checks {
			level := "warning"
			switch {
			case c.Result == client.Fail:
				level = "error"
			case c.Result != client.Unchecked || verdict == client.Passed:
				continue
			}
			fmt.Fprintf(a.stderr, "::%s file=%s,title=chartkeep %s::%s\n", level, workflowProperty.Replace(file), c.Name, workflowData.Replace(printable(of+": "+c.Detail)))
		}
	}
	for _, l := range r.Logs {
		tell(l.Origin, l.Checks, l.Verdict)
	}
	for _, c := range r.Charts {
		tell(c.Subject, c.Checks, c.Verdict)
	}
}
