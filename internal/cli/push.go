package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// pushed is a release that a push made, or found as it is.
type pushed struct {
	Project       string `json:"project"`
	Chart         string `json:"chart"`
	Version       string `json:"version"`
	Digest        string `json:"digest"`
	ContentDigest string `json:"content_digest"`
	LogIndex      int64  `json:"log_index"`
	Unchanged     bool   `json:"unchanged"`
	State         string `json:"state"`
	Size          int64  `json:"size"`
	Manifest      string `json:"manifest"`
	Provenance    string `json:"provenance,omitempty"`
	File          string `json:"file"` // as it was given
	Proof         string `json:"proof,omitempty"`
	client.Signed
}

func (pushed) schema() string   { return "push/v1" }
func (r pushed) keys() []string { return []string{r.Digest} }
func (r pushed) ref() string    { return r.Project + "/" + r.Chart + "@" + r.Version }

func (r pushed) outcome() string {
	if r.Unchanged {
		return "unchanged: these bytes are released already"
	}
	if r.State == "staged" {
		return "staged: invisible until all has come that it waits for"
	}
	return "released"
}

func (r pushed) view() view {
	facts := []fact{
		{"release", r.ref()}, {"outcome", r.outcome()}, {"digest", r.Digest},
		{"content", r.ContentDigest}, {"log index", thousands(r.LogIndex)},
	}
	if r.Provenance != "" {
		facts = append(facts, fact{"provenance", r.Provenance})
	}
	return view{{facts: append(facts, signedFacts(r.Signed)...)}, signatureBlock(r.Signatures)}
}

// pushedList is the result for several files.
type pushedList struct {
	Items []pushed `json:"items"`
}

func (pushedList) schema() string { return "push-list/v1" }

func (r pushedList) keys() []string {
	return keysOf(r.Items, func(p pushed) string { return p.Digest })
}

func (r pushedList) view() view {
	b := block{head: []string{"RELEASE", "OUTCOME", "LOG INDEX", "DIGEST"}, empty: "nothing was released"}
	for _, p := range r.Items {
		outcome := "released"
		switch {
		case p.Unchanged:
			outcome = "unchanged"
		case p.State == "staged":
			outcome = "staged"
		}
		b.rows = append(b.rows, []string{p.ref(), outcome, thousands(p.LogIndex), short(p.Digest)})
	}
	return view{b}
}

type pushOptions struct {
	project string
	noProv  bool
}

func (o *pushOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.project, "project", "", "`NAME` of the project to release into")
	f.BoolVar(&o.noProv, "no-prov", false, "leave out the provenance file and the bundle beside an archive")
}

func (a *app) pushCommand() *cobra.Command {
	var opt pushOptions
	return a.leaf(command{
		use: "push FILE... --project NAME", short: "Release chart archives",
		long: `
Release chart archives. FILE.prov beside an archive goes with it, and
FILE.sigstore.json is attached to the release. When the command ends, the
release is durable, visible, and in the log, and its proof was held against the
file.

The same archive again is no error: it is unchanged. Other bytes for a released
version are refused, always, with exit code 3. Of several files, those behind
the first that is refused are not tried.`,
		example: `
chartkeep push web-1.4.2.tgz --project demo
# the digest alone, for a script
chartkeep push web-1.4.2.tgz --project demo -q
chartkeep push dist/*.tgz --project demo -o json`,
		args: arguments{1, -1, "the FILE of at least one chart archive"}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			if opt.project == "" {
				return nil, usage("--project is missing").try("chartkeep push %s --project NAME", args[0])
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			list := pushedList{Items: []pushed{}}
			for _, file := range args {
				p, err := a.push(ctx, c, opt, file)
				if err != nil && len(args) > 1 {
					if p, ok := problem.As(err); ok {
						p.Facts = append([]problem.Fact{{Label: "file", Value: file}}, p.Facts...)
					}
					return list, err
				}
				if err != nil {
					return nil, err
				}
				if len(args) == 1 {
					return p, nil
				}
				list.Items = append(list.Items, p)
			}
			return list, nil
		},
	})
}

func (a *app) push(ctx context.Context, c *client.Client, opt pushOptions, file string) (pushed, error) {
	f, err := os.Open(file)
	if err != nil {
		return pushed{}, fileProblem(file, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return pushed{}, fileProblem(file, err)
	}
	if !info.Mode().IsRegular() {
		return pushed{}, problem.New(problem.Invalid, "file", "%s is not a file", file).Suggest("helm package %s", file)
	}
	var prov []byte
	if !opt.noProv {
		if prov, err = beside(file, ".prov", client.MaxProvenance); err != nil {
			return pushed{}, err
		}
	}
	// The descriptor is shared with the request, which may outlive the call;
	// closing it ends that.
	rec, err := c.Push(ctx, opt.project, client.Upload{
		FileName: filepath.Base(file), Archive: io.NewSectionReader(f, 0, info.Size()), Size: info.Size(), Provenance: prov,
	})
	if err != nil {
		return pushed{}, err
	}
	if err := a.checkReceipt(rec, opt.project, f); err != nil {
		return pushed{}, err
	}
	if !opt.noProv {
		if err := attachBeside(ctx, c, file, &rec); err != nil {
			return pushed{}, err
		}
	}
	return pushed{
		Project: rec.Project, Chart: rec.Chart, Version: rec.Version,
		Digest: rec.Digest, ContentDigest: rec.ContentDigest, LogIndex: rec.LogIndex, Unchanged: rec.Unchanged,
		State: rec.State, Size: rec.Size, Manifest: rec.Manifest, Provenance: rec.Provenance, File: file, Proof: rec.Proof, Signed: rec.Signed,
	}, nil
}

// checkReceipt holds the server's answer against the file: what it says was
// released is what was sent, and its proof is of that.
func (a *app) checkReceipt(rec client.Receipt, project string, f io.ReadSeeker) error {
	s := client.Subject{Archive: f, Asked: client.Ref{Project: project, Chart: rec.Chart, Version: rec.Version}, Now: a.now()}
	if rec.Proof != "" {
		s.Proof = []byte(rec.Proof)
	}
	v, err := client.Verify(s)
	if err != nil {
		return err
	}
	if v.Digest != rec.Digest {
		return problem.New(problem.Disproven, "receipt", "the server says that it released other bytes than were sent").
			With("sent", "%s", v.Digest).With("server", "%s", rec.Digest).
			Suggest("chartkeep verify %s/%s@%s", rec.Project, rec.Chart, rec.Version)
	}
	if v.Verdict == client.Failed {
		return disproven("the proof that came with the release does not hold", v)
	}
	return nil
}

// disproven is the problem of a verification that failed.
func disproven(message string, v client.Verification) *problem.Error {
	e := problem.New(problem.Disproven, "verify", "%s", message)
	for _, c := range v.Checks {
		if c.Result == client.Fail {
			e.With(c.Name, "%s", c.Detail)
		}
	}
	return e
}

// beside reads the file whose name is that of another with a suffix; nil when
// there is none.
func beside(file, suffix string, limit int64) ([]byte, error) {
	b, err := readFile(file+suffix, limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if b == nil && err == nil {
		b = []byte{}
	}
	return b, err
}
