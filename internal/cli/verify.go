package cli

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// verification is the list of checks.
type verification struct {
	Subject string `json:"subject"` // as it was given
	client.Verification
}

func (verification) schema() string   { return "verification/v1" }
func (r verification) keys() []string { return []string{string(r.Verdict)} }

func (r verification) view() view {
	facts := []fact{{"subject", r.Subject}, {"digest", r.Digest}}
	if l := r.Logged; l != nil {
		facts = append(facts, fact{"log entry", l.Project + "/" + l.Chart + "@" + l.Version + ", " + stampSeconds(l.Time) + ", by " + l.Publisher})
		if l.Legacy() {
			seen := historyWords + "; seen at " + l.SeenAt
			if l.SeenDigest != "" {
				seen += ", there " + l.SeenDigest
			}
			facts = append(facts, fact{"history", seen})
		}
	}
	return view{{facts: facts}, checksBlock(r.Checks), {facts: []fact{{"verdict", string(r.Verdict)}}}}
}

func checksBlock(checks []client.Check) block {
	b := block{head: []string{"CHECK", "RESULT", "DETAIL"}}
	for _, c := range checks {
		b.rows = append(b.rows, []string{c.Name, string(c.Result), c.Detail})
	}
	return b
}

// logKeyOption names a log's key.
type logKeyOption struct{ logKey string }

func (o *logKeyOption) register(f *pflag.FlagSet) {
	f.StringVar(&o.logKey, "log-key", "", "`FILE` with the log's key, which did not come from the server that is checked")
}

// key reads the key, "" when none was named.
func (o *logKeyOption) key() (string, error) {
	if o.logKey == "" {
		return "", nil
	}
	b, err := readFile(o.logKey, 4<<10)
	if err != nil {
		return "", asUsage(err)
	}
	key := strings.TrimSpace(string(b))
	if _, err := tlog.NewVerifier(key); err != nil {
		return "", asUsage(err)
	}
	return key, nil
}

type verifyOptions struct {
	logKeyOption
	proof   string
	project string
}

func (o *verifyOptions) register(f *pflag.FlagSet) {
	o.logKeyOption.register(f)
	f.StringVar(&o.proof, "proof", "", "`PROOF` of FILE (default: FILE.tlog-proof)")
	f.StringVar(&o.project, "project", "", "`NAME` of the project that FILE should be from")
}

func (a *app) verifyCommand() *cobra.Command {
	var opt verifyOptions
	return a.leaf(command{
		use: "verify FILE|PROJECT/CHART[@VERSION] [flags]", short: "Check a chart against the log, without trusting the server",
		long: `
Check that a chart is what the log says it is, and list each check with pass,
fail or unchecked.

FILE needs no network: its proof lies beside it as FILE.tlog-proof, as
chartkeep pull --proof writes it. A reference is fetched from the server. The
log's key has to come from elsewhere, by --log-key: a key fetched from the
server that it is to check would prove nothing.

Exit code 0: verdict pass, all that the statement rests on was checked and
holds. 5: verdict fail, something is proven false. 1: verdict incomplete,
something could not be checked.`,
		example: `
chartkeep pull demo/web@1.4.2 --proof
chartkeep verify web-1.4.2.tgz --log-key log.vkey --project demo
chartkeep verify demo/web@1.4.2 --log-key log.vkey -o json`,
		args: arguments{1, 1, "a FILE or a reference PROJECT/CHART[@VERSION]"}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			key, err := opt.key()
			if err != nil {
				return nil, err
			}
			var v client.Verification
			if isFile(args[0]) {
				v, err = a.verifyFile(opt, args[0], key)
			} else {
				v, err = a.verifyRef(ctx, opt, args[0], key)
			}
			if err != nil {
				return nil, err
			}
			return verification{args[0], v}, verdict(args[0], v, key == "")
		},
	})
}

// isFile tells a file from a reference: a reference has no suffix of an
// archive, and is not there as a file.
func isFile(arg string) bool {
	if strings.HasSuffix(arg, ".tgz") || strings.HasSuffix(arg, ".tar.gz") || !strings.Contains(arg, "/") {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular()
}

func (a *app) verifyFile(opt verifyOptions, file, key string) (client.Verification, error) {
	s := client.Subject{LogKey: key, Asked: client.Ref{Project: opt.project}, Now: a.now()}
	f, err := os.Open(file)
	if err != nil {
		return client.Verification{}, fileProblem(file, err)
	}
	defer f.Close()
	s.Archive = f
	if opt.proof == "" {
		s.Proof, err = beside(file, ".tlog-proof", tlog.MaxProof)
	} else if s.Proof, err = readFile(opt.proof, tlog.MaxProof); err != nil {
		err = asUsage(err)
	}
	if err != nil {
		return client.Verification{}, err
	}
	if s.Provenance, err = beside(file, ".prov", client.MaxProvenance); err != nil {
		return client.Verification{}, err
	}
	return client.Verify(s)
}

func (a *app) verifyRef(ctx context.Context, opt verifyOptions, arg, key string) (client.Verification, error) {
	ref, err := client.ParseRef(arg)
	if err != nil {
		return client.Verification{}, asUsage(err)
	}
	if opt.proof != "" || opt.project != "" {
		return client.Verification{}, usage("--proof and --project belong to a file, and %s is a reference", arg)
	}
	c, err := a.client()
	if err != nil {
		return client.Verification{}, err
	}
	return c.Verify(ctx, ref, key, a.now())
}

// verdict is the error of a verdict that is not pass.
func verdict(subject string, v client.Verification, noKey bool) error {
	switch v.Verdict {
	case client.Passed:
		return nil
	case client.Failed:
		return disproven(subject+" is proven not to be what the log says", v).Suggest("do not use it; compare with a copy from elsewhere")
	}
	e := problem.New(problem.Unavailable, "verify", "%s could not be checked completely", subject)
	e.With("unchecked", "%s", strings.Join(v.Missing(), ", "))
	switch {
	case noKey:
		e.Suggest("chartkeep verify %s --log-key FILE", subject)
	case v.Logged == nil:
		e.Suggest("chartkeep pull PROJECT/CHART@VERSION --proof")
	}
	return e
}
