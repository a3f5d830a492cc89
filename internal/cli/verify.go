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
	sumOptions
	signerOptions
	proof    string
	project  string
	evidence string
}

func (o *verifyOptions) register(f *pflag.FlagSet) {
	o.logKeyOption.register(f)
	o.sumOptions.register(f)
	o.signerOptions.register(f)
	f.StringVar(&o.proof, "proof", "", "`PROOF` of FILE (default: FILE.tlog-proof)")
	f.StringVar(&o.project, "project", "", "`NAME` of the project that FILE should be from")
	f.StringVar(&o.evidence, "evidence", "", "judge the evidence in `FILE`, and no chart")
}

// check checks the flags for what is verified.
func (o *verifyOptions) check(args []string) error {
	switch {
	case o.evidence != "" && (o.sum != "" || len(args) > 0 || o.project != ""):
		return usage("--evidence is judged by itself, with --log-key and at most --proof")
	case o.evidence != "" && o.logKey == "":
		return usage("evidence is judged with the key of the log that it is about").try("chartkeep verify --evidence %s --log-key FILE", o.evidence)
	case (o.sum != "" || o.evidence != "") && (o.keyring != "" || len(o.signers) > 0):
		return usage("--keyring and --signer belong to a FILE or a reference").try("chartkeep verify demo/web@1.4.2 --keyring keys.gpg")
	case o.sum == "" && (o.locked || o.policy != "" || o.maxAge != ""):
		return usage("--locked, --policy and --max-age belong to --sum").try("chartkeep verify --sum PROJECT/CHART@VERSION --locked")
	case o.sum == "" && o.evidence == "" && len(args) == 0:
		return usage("chartkeep verify needs a FILE or a reference PROJECT/CHART[@VERSION]").try("chartkeep verify web-1.4.2.tgz --log-key log.vkey --project demo")
	case o.sum == "" && len(args) > 1:
		return usage("chartkeep verify takes a FILE or a reference PROJECT/CHART[@VERSION], and %q is one too many", args[1]).try("chartkeep verify --sum %s", strings.Join(args, " "))
	}
	return nil
}

func (a *app) verifyCommand() *cobra.Command {
	var opt verifyOptions
	return a.leaf(command{
		use: "verify FILE|REF... [--sum] [flags]", short: "Check charts against the log, without trusting the server",
		long: `
Check that a chart is what the log says it is, and list each check with pass,
fail or unchecked.

FILE needs no network: its proof lies beside it as FILE.tlog-proof, as
chartkeep pull --proof writes it. A reference is fetched from the server. The
log's key has to come from elsewhere, by --log-key: a key fetched from the
server that it is to check would prove nothing.

With --sum it remembers: chartkeep.sum has a line for each chart, and where its
log stood. What was verified once must stay the same, and the log must only have
grown since. A chart that has no line yet gets one and is believed the first
time; with --locked nothing is added and nothing written. Without REF every
chart in the file is verified. A REF is then any of PROJECT/CHART@VERSION,
oci://HOST/PROJECT/CHART:VERSION, https://HOST/PROJECT/charts/FILE.tgz, a FILE, or
the folder of a chart, which stands for its dependencies. The first time, the
log's key has to be given. What contradicts itself is written to an evidence
file, which others can judge with --evidence.

With --keyring or --signer, the provenance file and the sigstore bundles are
held against these keys and identities too, at the time of the log entry. A
bundle of FILE is FILE.sigstore.json.

Exit code 0: verdict pass, all that the statement rests on was checked and
holds. 5: verdict fail, something is proven false. 1: verdict incomplete,
something could not be checked. With --evidence, 5: the log is convicted; 1: it
is not.`,
		example: `
chartkeep pull demo/web@1.4.2 --proof
chartkeep verify web-1.4.2.tgz --log-key log.vkey --project demo
chartkeep verify demo/web@1.4.2 --log-key log.vkey -o json
chartkeep verify demo/web@1.4.2 --log-key log.vkey --keyring signers.gpg
chartkeep verify --sum oci://charts.example.com/demo/web:1.4.2 \
  --log-key log.vkey
# in a pipeline: all that is in chartkeep.sum, and nothing new
chartkeep verify --sum --locked
chartkeep verify --evidence chartkeep-evidence-1f2e3d4c5b6a.json \
  --log-key log.vkey`,
		args: arguments{0, -1, ""}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			if err := opt.check(args); err != nil {
				return nil, err
			}
			key, err := opt.key()
			switch {
			case err != nil:
				return nil, err
			case opt.evidence != "":
				return a.judgeEvidence(opt, key)
			case opt.sum != "":
				return a.verifySum(ctx, opt, args, key)
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
	s, f, err := openSubject(opt, file)
	if err != nil {
		return client.Verification{}, err
	}
	defer f.Close()
	if s.Signers, err = opt.read(a); err != nil {
		return client.Verification{}, err
	}
	if s.Signers != nil {
		bundle, err := beside(file, bundleSuffix, client.MaxBundle)
		if err != nil {
			return client.Verification{}, err
		}
		if bundle != nil {
			s.Signers.Bundles = [][]byte{bundle}
		}
	}
	s.LogKey, s.Now = key, a.now()
	return client.Verify(s)
}

// openSubject opens a file with what lies beside it. The caller closes.
func openSubject(opt verifyOptions, file string) (s client.Subject, f *os.File, err error) {
	if f, err = os.Open(file); err != nil {
		return s, nil, fileProblem(file, err)
	}
	s.Archive, s.Asked.Project = f, opt.project
	if opt.proof == "" {
		s.Proof, err = beside(file, ".tlog-proof", tlog.MaxProof)
	} else if s.Proof, err = readFile(opt.proof, tlog.MaxProof); err != nil {
		err = asUsage(err)
	}
	if err == nil {
		s.Provenance, err = beside(file, ".prov", client.MaxProvenance)
	}
	if err != nil {
		_ = f.Close()
	}
	return s, f, err
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
	signers, err := opt.read(a)
	if err != nil {
		return client.Verification{}, err
	}
	return c.VerifySigned(ctx, ref, key, a.now(), signers)
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
