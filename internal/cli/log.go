package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func (a *app) logCommands() *cobra.Command {
	return group("log", "Read the transparency log and check that it only grows",
		a.logCheckpointCommand(), a.logProveCommand(), a.logConsistencyCommand(), a.logShowCommand(), a.logWitnessesCommand(), a.logKeyCommand(), a.logRotateCommand(), a.logRecoverCommand())
}

// checkpoint is where a log stands, signed.
type checkpoint struct {
	Origin    string         `json:"origin"`
	Size      int64          `json:"size"`
	Root      string         `json:"root"`
	Signature client.Outcome `json:"signature"`
	Note      string         `json:"note"` // the signed text
}

func (checkpoint) schema() string   { return "checkpoint/v1" }
func (r checkpoint) keys() []string { return []string{r.Note} }

func (r checkpoint) view() view {
	return view{{facts: []fact{
		{"log", r.Origin}, {"size", thousands(r.Size)}, {"root", r.Root}, {"signature", string(r.Signature)},
	}}}
}

func (a *app) logCheckpointCommand() *cobra.Command {
	var opt logKeyOption
	return a.leaf(command{
		use: "checkpoint [--log-key FILE]", short: "Fetch the newest signed checkpoint",
		long: `
Fetch the newest signed checkpoint of the log. With -q it is printed as it was
signed: keep it, and log consistency shows later that nothing before it has
changed. Without --log-key its signature is left unchecked.`,
		example: `
chartkeep log checkpoint --log-key log.vkey
chartkeep log checkpoint -q > checkpoint`,
		flags: opt.register,
		run: func(ctx context.Context, _ []string) (result, error) {
			key, err := opt.key()
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			text, err := c.Checkpoint(ctx)
			if err != nil {
				return nil, err
			}
			cp, signature, err := openCheckpoint(text, key)
			err = asAnswer(err)
			return resultOf(checkpoint{cp.Origin, cp.Size, cp.Root.String(), signature, string(cp.Note)}, err)
		},
	})
}

// openCheckpoint reads a checkpoint, and with a key checks its signature.
func openCheckpoint(text []byte, key string) (tlog.Checkpoint, client.Outcome, error) {
	if key == "" {
		cp, err := tlog.ParseCheckpoint(text)
		return cp, client.Unchecked, err
	}
	v, err := tlog.NewVerifier(key)
	if err != nil {
		return tlog.Checkpoint{}, client.Unchecked, asUsage(err)
	}
	cp, err := tlog.OpenCheckpoint(text, v.Name(), note.VerifierList(v))
	return cp, client.Pass, err
}

// asAnswer turns what is not well formed in a server's answer into a problem of
// that server: nothing was refused.
func asAnswer(err error) error {
	if p, ok := problem.As(err); ok && p.Kind == problem.Invalid {
		return problem.New(problem.Unavailable, "answer", "the server's answer is not understood: %s", p.Message)
	}
	return err
}

// proofResult is the proof of a release.
type proofResult struct {
	Project string   `json:"project"`
	Chart   string   `json:"chart"`
	Version string   `json:"version"`
	Index   int64    `json:"log_index"`
	LogSize int64    `json:"log_size"`
	Origin  string   `json:"log_origin"`
	Hashes  []string `json:"hashes"`
	Leaf    string   `json:"leaf"`
	Proof   string   `json:"proof"` // the proof file
}

func (proofResult) schema() string   { return "proof/v1" }
func (r proofResult) keys() []string { return []string{r.Proof} }

func (r proofResult) view() view {
	facts := []fact{{"release", r.Project + "/" + r.Chart + "@" + r.Version}, {"log", r.Origin}, {"log index", thousands(r.Index)}, {"log size", thousands(r.LogSize)}}
	for i, h := range r.Hashes {
		facts = append(facts, fact{"hash " + strconv.Itoa(i+1), h})
	}
	return view{{facts: facts}, {text: r.Leaf}}
}

func (a *app) logProveCommand() *cobra.Command {
	return a.leaf(command{
		use: "prove PROJECT/CHART@VERSION", short: "Fetch the proof that a release is in the log",
		long: `
Fetch the proof that a release is in the log, with the newest checkpoint. With
-q it is printed as the file that verify reads.`,
		example: `
chartkeep log prove demo/web@1.4.2
chartkeep log prove demo/web@1.4.2 -q > web-1.4.2.tgz.tlog-proof`,
		args: arguments{1, 1, "a reference PROJECT/CHART@VERSION"}, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			text, err := c.Proof(ctx, ref.Project, ref.Chart, ref.Version)
			if err != nil {
				return nil, err
			}
			return resultOf(proofOf(ref, text))
		},
	})
}

// proofOf reads a proof and checks that its path leads to its checkpoint.
func proofOf(ref client.Ref, text []byte) (proofResult, error) {
	p, err := tlog.ParseProof(text)
	if err != nil {
		return proofResult{}, asAnswer(err)
	}
	cp, err := tlog.ParseCheckpoint(p.Checkpoint)
	if err != nil {
		return proofResult{}, asAnswer(err)
	}
	if err := tlog.VerifyInclusion(cp.Root, cp.Size, p.Index, tlog.LeafHash(p.Leaf), p.Hashes); err != nil {
		return proofResult{}, err
	}
	r := proofResult{
		Project: ref.Project, Chart: ref.Chart, Version: ref.Version,
		Index: p.Index, LogSize: cp.Size, Origin: cp.Origin, Hashes: []string{}, Leaf: string(p.Leaf), Proof: string(text),
	}
	for _, h := range p.Hashes {
		r.Hashes = append(r.Hashes, h.String())
	}
	return r, nil
}

// consistency is whether one checkpoint continues another.
type consistency struct {
	Origin  string         `json:"origin"`
	OldSize int64          `json:"old_size"`
	OldRoot string         `json:"old_root"`
	NewSize int64          `json:"new_size"`
	NewRoot string         `json:"new_root"`
	Hashes  []string       `json:"hashes"`
	Checks  []client.Check `json:"checks"`
	Verdict client.Verdict `json:"verdict"`
}

func (consistency) schema() string   { return "consistency/v1" }
func (r consistency) keys() []string { return []string{string(r.Verdict)} }

func (r consistency) view() view {
	return view{
		{facts: []fact{{"log", r.Origin}, {"earlier", thousands(r.OldSize) + ", root " + r.OldRoot}, {"later", thousands(r.NewSize) + ", root " + r.NewRoot}}},
		checksBlock(r.Checks),
		{facts: []fact{{"verdict", string(r.Verdict)}}},
	}
}

func (a *app) logConsistencyCommand() *cobra.Command {
	var opt logKeyOption
	return a.leaf(command{
		use: "consistency OLD [NEW] [--log-key FILE]", short: "Check that the log only grew since a checkpoint",
		long: `
Check that the log of a checkpoint NEW contains, unchanged and in its place,
everything that the log of an earlier checkpoint OLD contained. Both are files;
without NEW it is the newest checkpoint of the server. The proof is fetched from
the server and checked here, so the server cannot pretend.

Exit codes are those of verify. Without --log-key the signatures are unchecked.`,
		example: `
chartkeep log checkpoint -q > checkpoint
chartkeep log consistency checkpoint --log-key log.vkey`,
		args: arguments{1, 2, "the FILE of a checkpoint, and at most one more"}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			key, err := opt.key()
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			texts := make([][]byte, 2)
			for i, file := range args {
				if texts[i], err = readFile(file, tlog.MaxCheckpoint); err != nil {
					return nil, asUsage(err)
				}
			}
			malformed := asUsage
			if len(args) == 1 {
				if texts[1], err = c.Checkpoint(ctx); err != nil {
					return nil, err
				}
				malformed = asAnswer
			}
			older, oldErr := tlog.ParseCheckpoint(texts[0])
			newer, newErr := tlog.ParseCheckpoint(texts[1])
			if err := cmp.Or(asUsage(oldErr), malformed(newErr)); err != nil {
				return nil, err
			}
			return a.consistency(ctx, c, older, newer, key)
		},
	})
}

func (a *app) consistency(ctx context.Context, c *client.Client, older, newer tlog.Checkpoint, key string) (result, error) {
	if older.Size > newer.Size {
		return nil, usage("the earlier checkpoint has %s entries, and the later one only %s", thousands(older.Size), thousands(newer.Size)).
			try("give the earlier checkpoint first; if it is, the log went back")
	}
	r := consistency{Origin: newer.Origin, OldSize: older.Size, OldRoot: older.Root.String(), NewSize: newer.Size, NewRoot: newer.Root.String(), Hashes: []string{}, Verdict: client.Passed}
	add := func(name string, err error, good string) {
		check := client.Check{Name: name, Result: client.Pass, Detail: good}
		if p, ok := problem.As(err); ok {
			check.Result, check.Detail = client.Unchecked, p.Message
			if p.Kind == problem.Disproven {
				check.Result = client.Fail
			}
		}
		r.Checks = append(r.Checks, check)
		switch {
		case check.Result == client.Fail:
			r.Verdict = client.Failed
		case check.Result == client.Unchecked && r.Verdict == client.Passed:
			r.Verdict = client.Incomplete
		}
	}
	for _, side := range []struct {
		name string
		text []byte
	}{{"earlier-signature", older.Note}, {"later-signature", newer.Note}} {
		cp, signature, err := openCheckpoint(side.text, key)
		if err == nil && signature == client.Unchecked {
			err = problem.New(problem.Unavailable, "", "no log key was given")
		}
		add(side.name, err, "signed by the key of "+cp.Origin)
	}
	var same error
	if older.Origin != newer.Origin {
		same = problem.New(problem.Disproven, "", "the earlier one is of the log %s, the later one of %s", older.Origin, newer.Origin)
	}
	add("origin", same, "both are of the log "+newer.Origin)

	var hashes []tlog.Hash
	if older.Size > 0 && older.Size < newer.Size {
		var err error
		if hashes, err = c.Consistency(ctx, older.Size, newer.Size); err != nil {
			return nil, err
		}
	}
	for _, h := range hashes {
		r.Hashes = append(r.Hashes, h.String())
	}
	add("consistency", tlog.VerifyConsistency(older.Size, older.Root, newer.Size, newer.Root, hashes),
		fmt.Sprintf("the log of size %s begins with that of size %s", thousands(newer.Size), thousands(older.Size)))
	return r, r.err(key == "")
}

// err is the error of a verdict that is not pass.
func (r consistency) err(noKey bool) error {
	switch r.Verdict {
	case client.Passed:
		return nil
	case client.Failed:
		return disproven("the log was rewritten, or one of the checkpoints is not its own", client.Verification{Checks: r.Checks}).
			Suggest("keep both checkpoints: together they are the evidence")
	}
	e := problem.New(problem.Unavailable, "verify", "the checkpoints could not be checked completely")
	if noKey {
		e.Suggest("give --log-key FILE")
	}
	return e
}

// leafResult is an entry of the log.
type leafResult struct {
	Index int64             `json:"index"`
	Type  string            `json:"type"`
	Hash  string            `json:"hash"`
	Leaf  string            `json:"leaf"` // the text that is logged
	Lines map[string]string `json:"fields"`
	order []fact
}

func (leafResult) schema() string   { return "log-leaf/v1" }
func (r leafResult) keys() []string { return []string{r.Leaf} }

func (r leafResult) view() view {
	return view{{facts: append([]fact{{"index", thousands(r.Index)}, {"hash", r.Hash}, {"type", r.Type}}, r.order...)}}
}

func (a *app) logShowCommand() *cobra.Command {
	return a.leaf(command{
		use: "show INDEX", short: "Show an entry of the log",
		example: `
chartkeep log show 8121
# the text that is logged, byte for byte
chartkeep log show 8121 -q`,
		args: arguments{1, 1, "the INDEX of an entry"},
		run: func(ctx context.Context, args []string) (result, error) {
			index, err := strconv.ParseInt(strings.ReplaceAll(args[0], ",", ""), 10, 64)
			if err != nil || index < 0 {
				return nil, usage("%q is no index of an entry", args[0]).try("chartkeep log show 0")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			leaf, err := c.Leaf(ctx, index)
			if err != nil {
				return nil, err
			}
			return resultOf(leafOf(index, leaf))
		},
	})
}

// leafOf splits an entry into its lines, also one of a type that this version
// does not know. Its hash is computed here.
func leafOf(index int64, l client.LogLeaf) (leafResult, error) {
	if _, err := tlog.ParseLeaf([]byte(l.Leaf)); err != nil && problem.KindOf(err) != problem.Unsupported {
		return leafResult{}, asAnswer(err)
	}
	typ, rest, _ := strings.Cut(l.Leaf, "\n")
	r := leafResult{Index: index, Type: typ, Hash: tlog.LeafHash([]byte(l.Leaf)).String(), Leaf: l.Leaf, Lines: map[string]string{}}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		r.Lines[key] = value
		r.order = append(r.order, fact{key, value})
	}
	return r, nil
}
