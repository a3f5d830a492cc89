package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

func (a *app) requestCommands() *cobra.Command {
	return group("request", "What one person asks for and another decides",
		a.requestListCommand(), a.requestShowCommand(), a.requestApproveCommand(), a.requestDeclineCommand(), a.requestWithdrawCommand())
}

func (a *app) tombstoneCommands() *cobra.Command {
	return group("tombstone", "Remove the bytes of a release for good; its name stays taken", a.tombstoneRequestCommand())
}

// requestResult is a request as it stands.
type requestResult struct{ client.Request }

func (requestResult) schema() string   { return "request/v1" }
func (r requestResult) keys() []string { return []string{number(r.ID)} }

func (r requestResult) view() view {
	facts := []fact{{"request", number(r.ID)}, {"for", requestWords(r.Request)}, {"state", requestState(r.Request)}}
	for _, f := range []fact{
		{"digest", r.Digest}, {"reason", reasonWords(r.Reason, r.Text)}, {"asked for", stampSeconds(r.Made) + by(cmp.Or(r.RequesterName, r.Requester))},
		{"policy before", r.Before}, {"policy after", r.After},
	} {
		if f.value != "" {
			facts = append(facts, f)
		}
	}
	for _, w := range r.Weaker {
		facts = append(facts, fact{"weaker", w})
	}
	if r.Decider != "" {
		facts = append(facts, fact{"decided", stampSeconds(r.Decided) + by(cmp.Or(r.DeciderName, r.Decider))})
	}
	if r.Answer != "" {
		facts = append(facts, fact{"answer", r.Answer})
	}
	if r.State == "waiting" {
		facts = append(facts, fact{"next", "another person: chartkeep request approve " + number(r.ID)})
	}
	return view{{facts: facts}}
}

func requestWords(r client.Request) string {
	if r.Kind == "tombstone" {
		return "tombstone of " + r.Project + "/" + r.Chart + "@" + r.Version
	}
	return "another policy of " + r.Project
}

func requestState(r client.Request) string {
	switch r.State {
	case "waiting":
		return "waits for a second person until " + stampSeconds(r.Expires)
	case "approved":
		return "approved; takes effect not before " + stampSeconds(r.Effective)
	case "done":
		return "done " + stampSeconds(r.Effective)
	}
	return r.State
}

type requestList struct {
	Items []client.Request `json:"items"`
}

func (requestList) schema() string { return "request-list/v1" }

func (r requestList) keys() []string {
	return keysOf(r.Items, func(x client.Request) string { return number(x.ID) })
}

func (r requestList) view() view {
	b := block{head: []string{"ID", "FOR", "BY", "MADE", "STATE"}, empty: "nobody waits for a second person"}
	for _, x := range r.Items {
		b.rows = append(b.rows, []string{number(x.ID), requestWords(x), cmp.Or(x.RequesterName, x.Requester), stamp(x.Made), requestState(x)})
	}
	return view{b}
}

func (a *app) requestListCommand() *cobra.Command {
	var opt projectOption
	var all bool
	return a.leaf(command{
		use: "list [--project NAME] [--all]", short: "List requests that wait",
		example: `chartkeep request list`,
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.BoolVar(&all, "all", false, "those that are over, too")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			items, err := collect(ctx, func(ctx context.Context, p client.Page) (client.List[client.Request], error) {
				return c.Requests(ctx, opt.project, all, p)
			})
			return resultOf(requestList{items}, err)
		},
	})
}

func (a *app) requestShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show ID", short: "Show a request", example: `chartkeep request show 3`,
		args: arguments{1, 1, "the ID of a request"},
		run: func(ctx context.Context, args []string) (result, error) {
			id, err := idOf("a request", args[0], "chartkeep request list --all")
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.Request(ctx, id)
			return resultOf(requestResult{r}, err)
		},
	})
}

func (a *app) requestApproveCommand() *cobra.Command {
	return a.requestMove("approve ID [--text TEXT]", "Agree with a request of another person", `
Agree with a request of another person. A tombstone is done at once and cannot be
taken back. A weaker policy takes effect when the project's delay has passed.`, "chartkeep request approve 3", (*client.Client).ApproveRequest)
}

func (a *app) requestDeclineCommand() *cobra.Command {
	return a.requestMove("decline ID [--text TEXT]", "Say no to a request", "", `chartkeep request decline 3 --text "it is a false alarm"`, (*client.Client).DeclineRequest)
}

func (a *app) requestWithdrawCommand() *cobra.Command {
	return a.requestMove("withdraw ID [--text TEXT]", "Take a request back", `
Take a request back: everybody can who could have made it, also when it was
approved and has not taken effect.`, "chartkeep request withdraw 3", (*client.Client).WithdrawRequest)
}

func (a *app) requestMove(use, short, long, example string, move func(*client.Client, context.Context, int64, string) (client.Request, error)) *cobra.Command {
	var opt wordOption
	return a.leaf(command{
		use: use, short: short, long: long, example: example,
		args: arguments{1, 1, "the ID of a request"}, flags: opt.register,
		run: func(ctx context.Context, args []string) (result, error) {
			id, err := idOf("a request", args[0], "chartkeep request list")
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := move(c, ctx, id, opt.text)
			return resultOf(requestResult{r}, err)
		},
	})
}

func (a *app) tombstoneRequestCommand() *cobra.Command {
	var opt blockOptions
	return completeBlockReasons(a.leaf(command{
		use: "request PROJECT/CHART@VERSION --reason CODE [--text TEXT]", short: "Ask that the bytes of a release go for good",
		long: `
Ask that the bytes of a release go for good: archive, provenance, manifest, config
and index entry. Its name stays taken for ever, its leaf and the reason stay in
the log, and every door answers 410. Another person has to approve it, and then
it cannot be taken back.

To block the release at once, put it into quarantine first.`,
		example: `
chartkeep quarantine set demo/web@1.4.2 --reason secret
chartkeep tombstone request demo/web@1.4.2 --reason secret \
  --text "holds a deploy key"`,
		args: arguments{1, 1, "a reference PROJECT/CHART@VERSION"}, flags: opt.register, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			if opt.reason == "" {
				return nil, usage("--reason is missing").try("chartkeep tombstone request %s --reason secret", ref)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			r, err := c.RequestTombstone(ctx, ref.Project, ref.Chart, ref.Version, opt.reason, opt.text)
			if err != nil {
				return nil, err
			}
			a.say("Nothing was removed yet. Another person has until %s to decide: chartkeep request approve %d", stampSeconds(r.Expires), r.ID)
			return requestResult{r}, nil
		},
	}))
}

// sayRequest says what became of a policy that needs a second person, or why
// none was needed.
func (a *app) sayRequest(p client.Project) {
	switch {
	case p.Request != nil:
		a.say("The policy of %s is as it was. What was asked for is weaker and needs a second person:", p.Name)
		for _, w := range p.Weaker {
			a.say("  %s", w)
		}
		a.say("Another person has until %s to decide: chartkeep request approve %d", stampSeconds(p.Request.Expires), p.Request.ID)
	case len(p.Weaker) > 0:
		a.say("The policy of %s is weaker now. That took one person alone, since the project has released nothing that it could have protected.", p.Name)
	}
}

// maxPolicyFile bounds a policy file, in bytes.
const maxPolicyFile = 256 << 10

func (a *app) projectPolicyCommand() *cobra.Command {
	var opt wordOption
	return a.leaf(command{
		use: "set PROJECT FILE [--text TEXT]", short: "Give a project another policy",
		long: `
Give a project another policy: the whole of it, as YAML or JSON; - reads it from
the standard input. A policy that is not weaker counts at once. One that is
weaker, or takes a signer away, needs a second person, and then waits for the
project's delay (weaken_delay, a day if it says nothing). A policy never touches
what is released already.`,
		example: `
chartkeep policy show demo > policy.yaml
chartkeep policy set demo policy.yaml`,
		args: arguments{2, 2, "a PROJECT and a FILE"}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			document, err := a.readPolicy(args[1])
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			p, err := c.SetPolicy(ctx, args[0], document, opt.text)
			if err != nil {
				return nil, err
			}
			a.sayRequest(p)
			return projectResult{p}, nil
		},
	})
}

// readPolicy reads a file as JSON, whichever of both forms it has.
func (a *app) readPolicy(path string) (json.RawMessage, error) {
	in := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, problem.New(problem.NotFound, "policy-file", "%s cannot be read", path).Because(err)
		}
		defer f.Close() //nolint:errcheck // opened for reading
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxPolicyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxPolicyFile {
		return nil, problem.New(problem.TooLarge, "policy-file", "%s has more than %d bytes", path, maxPolicyFile)
	}
	document, err := yaml.YAMLToJSONStrict(text)
	if err != nil || len(document) == 0 || !bytes.HasPrefix(document, []byte("{")) {
		return nil, problem.New(problem.Invalid, "policy-file", "%s is no policy: it is neither a YAML nor a JSON object", path).Because(err)
	}
	return inlineFiles(document, filepath.Dir(path))
}
