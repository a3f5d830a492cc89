package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature/keyless"
)

func (a *app) policyCommands() *cobra.Command {
	return group("policy", "Show, check and change what projects ask of releases",
		a.policyShowProjectCommand(), a.projectPolicyCommand(), a.policyCheckCommand(), a.policyRenderCommand())
}

// policyDocument is the policy of a project. Its text is the policy itself, so
// that what is shown can be changed and set again.
type policyDocument struct {
	Digest string          `json:"digest"`
	Policy json.RawMessage `json:"policy"`
	text   string          // YAML
}

func (policyDocument) schema() string   { return "policy/v1" }
func (r policyDocument) keys() []string { return []string{r.Digest} }
func (r policyDocument) view() view     { return view{{text: r.text}} }

func policyDocumentOf(document []byte) (policyDocument, error) {
	p, err := release.ParsePolicy(document)
	if err != nil {
		return policyDocument{}, err
	}
	if p, err = release.CheckPolicy(p); err != nil {
		return policyDocument{}, err
	}
	text := release.PolicyText(p)
	asYAML, err := yamlOf(text)
	if err != nil {
		return policyDocument{}, err
	}
	return policyDocument{Digest: release.PolicyDigest(p), Policy: text, text: strings.TrimRight(string(asYAML), "\n")}, nil
}

func (a *app) policyShowProjectCommand() *cobra.Command {
	return a.leaf(command{
		use: "show PROJECT|DIGEST", short: "Show the policy of a project, or the one of a digest in the log",
		long: `
Show the policy of a project as YAML, which chartkeep policy set takes again. By
a digest, as entries of the log name it, it shows the policy that was in force
when a release was made.`,
		example: `
chartkeep policy show demo > policy.yaml
chartkeep policy show sha256:1f3870be274f6c49b3e31a0c6728957f4a1d6f7ab0f3a…`,
		args: arguments{1, 1, "a PROJECT or the DIGEST of a policy"}, complete: a.completeProjectArg,
		run: func(ctx context.Context, args []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			d := args[0]
			if !strings.HasPrefix(d, "sha256:") {
				p, err := c.Project(ctx, d)
				if err != nil {
					return nil, err
				}
				d = p.PolicyDigest
			}
			document, err := c.PolicyDocument(ctx, d)
			if err != nil {
				return nil, err
			}
			return resultOf(policyDocumentOf(document))
		},
	})
}

func (a *app) policyRenderCommand() *cobra.Command {
	return a.leaf(command{
		use: "render FILE", short: "Show a policy in the form that is hashed, with its digest",
		long: `
Read a policy, YAML or JSON, and show it in the one form in which it is stored
and hashed: files that it names (pgp_file, key_file, trusted_root_file) are read
into it, lists are sorted, times are in UTC. -q prints the digest alone, which
stands in the log when the policy is in force. No server is asked.`,
		example: `chartkeep policy render policy.yaml -q`,
		args:    arguments{1, 1, "a FILE with a policy"}, files: true,
		run: func(_ context.Context, args []string) (result, error) {
			document, err := a.readPolicy(args[0])
			if err != nil {
				return nil, err
			}
			return resultOf(policyDocumentOf(document))
		},
	})
}

// policyCheck is what came of checking a policy.
type policyCheck struct {
	File     string                `json:"file"`
	Digest   string                `json:"digest"`
	Against  string                `json:"against,omitempty"`
	Weaker   []string              `json:"weaker,omitempty"`
	Examined int                   `json:"examined"`
	Refused  []client.TrialRelease `json:"refused"`
}

func (policyCheck) schema() string   { return "policy-check/v1" }
func (r policyCheck) keys() []string { return []string{r.Digest} }

func (r policyCheck) view() view {
	facts := []fact{{"policy", r.File}, {"digest", r.Digest}}
	if r.Against == "" {
		return view{{facts: append(facts, fact{"verdict", "it can be used"})}}
	}
	facts = append(facts, fact{"against", r.Against}, fact{"releases", fmt.Sprintf("%s, of which it would have refused %s", count(r.Examined, "release", "releases"), thousands(int64(len(r.Refused))))})
	for _, w := range r.Weaker {
		facts = append(facts, fact{"weaker", w})
	}
	b := block{head: []string{"RELEASE", "RELEASED", "REASON"}, empty: "none of them would have been refused"}
	for _, t := range r.Refused {
		b.rows = append(b.rows, []string{t.Release, t.Time, strings.Join(t.Refused, "; ")})
	}
	return view{{facts: facts}, b}
}

type policyCheckOptions struct{ against string }

func (o *policyCheckOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.against, "against", "", "ask the server which releases of `PROJECT` or PROJECT/CHART@VERSION it would have refused; changes nothing")
}

func (a *app) policyCheckCommand() *cobra.Command {
	var opt policyCheckOptions
	return a.leaf(command{
		use: "check FILE [--against PROJECT|REF]", short: "Check a policy, and try it on what is released",
		long: `
Check that a policy, YAML or JSON, can be used: its fields, its limits, and that
each key is one that may sign.

With --against the server says which of a project's releases the policy would
have refused or kept back, each at the time of its log entry, and what it lets
through that the present one refuses. Nothing is changed or recorded.`,
		example: `
chartkeep policy check policy.yaml
chartkeep policy check policy.yaml --against demo
chartkeep policy check policy.yaml --against demo/web@1.4.2`,
		args: arguments{1, 1, "a FILE with a policy"}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			document, err := a.readPolicy(args[0])
			if err != nil {
				return nil, err
			}
			p, err := policyDocumentOf(document)
			if err != nil {
				return nil, err
			}
			var parsed client.Policy
			if err := json.Unmarshal(p.Policy, &parsed); err != nil {
				return nil, err
			}
			if s := parsed.Signatures; s != nil && s.TrustedRoot != "" {
				if err := (keyless.Certifier{}).CheckRoot([]byte(s.TrustedRoot)); err != nil {
					return nil, err
				}
			}
			out := policyCheck{File: args[0], Digest: p.Digest, Against: opt.against, Refused: []client.TrialRelease{}}
			if opt.against == "" {
				return out, nil
			}
			err = a.tryPolicy(ctx, p.Policy, &out)
			return resultOf(out, err)
		},
	})
}

// tryPolicy asks the server, page by page.
func (a *app) tryPolicy(ctx context.Context, document json.RawMessage, out *policyCheck) error {
	ref := client.Ref{Project: out.Against}
	if strings.Contains(out.Against, "@") {
		var err error
		if ref, err = client.ParseRef(out.Against); err != nil {
			return asUsage(err)
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	for after := ""; ; {
		t, err := c.TryPolicy(ctx, ref.Project, document, ref.Chart, ref.Version, after)
		if err != nil {
			return err
		}
		out.Weaker, out.Examined, out.Refused = t.Weaker, out.Examined+t.Examined, append(out.Refused, t.Items...)
		if after = t.Next; after == "" {
			return nil
		}
	}
}

// stagedList are releases that nobody sees yet.
type stagedList struct {
	Items []client.StagedRelease `json:"items"`
}

func (stagedList) schema() string { return "staged-list/v1" }

func (r stagedList) keys() []string {
	return keysOf(r.Items, func(s client.StagedRelease) string { return refOf(s.Release) })
}

func (r stagedList) view() view {
	b := block{head: []string{"RELEASE", "SINCE", "BY", "WAITS FOR"}, empty: "no release waits for anything"}
	for _, s := range r.Items {
		b.rows = append(b.rows, []string{refOf(s.Release), stampSeconds(s.Time), cmp.Or(s.PublisherName, s.Publisher), strings.Join(s.Waits, " and ")})
	}
	return view{b}
}
