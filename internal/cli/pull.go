package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// pulled is a release that lies in a folder now.
type pulled struct {
	Project       string       `json:"project"`
	Chart         string       `json:"chart"`
	Version       string       `json:"version"`
	Digest        string       `json:"digest"`
	ContentDigest string       `json:"content_digest"`
	LogIndex      int64        `json:"log_index"`
	Legacy        bool         `json:"legacy"`
	Yank          *client.Yank `json:"yank,omitempty"`
	File          string       `json:"file"`
	Provenance    string       `json:"provenance_file,omitempty"`
	Proof         string       `json:"proof_file,omitempty"`
}

func (pulled) schema() string   { return "pull/v1" }
func (r pulled) keys() []string { return []string{r.File} }

func (r pulled) view() view {
	facts := []fact{{"release", r.Project + "/" + r.Chart + "@" + r.Version}, {"file", r.File}, {"digest", r.Digest}}
	if r.Provenance != "" {
		facts = append(facts, fact{"provenance", r.Provenance})
	}
	if r.Proof != "" {
		facts = append(facts, fact{"proof", r.Proof})
	}
	if r.Legacy {
		facts = append(facts, fact{"history", historyWords})
	}
	return view{{facts: facts}}
}

// historyWords say what an imported release is.
const historyWords = "taken over from an older repository; frozen since then"

type pullOptions struct {
	prov, proof bool
	dir         string
}

func (o *pullOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.prov, "prov", false, "fetch the provenance file too; without one it is an error")
	f.BoolVar(&o.proof, "proof", false, "fetch the proof file too, and hold it against the archive")
	f.StringVarP(&o.dir, "dir", "d", ".", "`FOLDER` to write to")
}

func (a *app) pullCommand() *cobra.Command {
	var opt pullOptions
	return a.leaf(command{
		use: "pull PROJECT/CHART[@VERSION] [flags]", short: "Fetch a release",
		long: `
Fetch a release; without a version, the newest. The digest is compared while the
bytes arrive, and no file appears before it has matched. A file that is there
already is left alone if it is the same, and never replaced by another.`,
		example: `
chartkeep pull demo/web@1.4.2
# with what verify needs without a network
chartkeep pull demo/web@1.4.2 --prov --proof -d charts`,
		args: arguments{1, 1, "a reference PROJECT/CHART[@VERSION]"}, flags: opt.register, complete: a.completeRef,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := client.ParseRef(args[0])
			if err != nil {
				return nil, asUsage(err)
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			return resultOf(a.pull(ctx, c, opt, ref))
		},
	})
}

// resultOf leaves out the result where there is an error.
func resultOf[R result](r R, err error) (result, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (a *app) pull(ctx context.Context, c *client.Client, opt pullOptions, ref client.Ref) (pulled, error) {
	rel, err := c.Release(ctx, ref.Project, ref.Chart, cmp.Or(ref.Version, "latest"))
	if err != nil {
		return pulled{}, err
	}
	if !fileName(rel.File) {
		return pulled{}, problem.New(problem.Unavailable, "answer", "the server's name for the file of %s is not one: %q", ref, rel.File)
	}
	if ref.Chart != rel.Chart || ref.Version != "" && ref.Version != "latest" && ref.Version != rel.Version {
		return pulled{}, problem.New(problem.Disproven, "answer", "the server answered with another release than %s", ref).
			With("answer", "%s/%s@%s", rel.Project, rel.Chart, rel.Version)
	}
	if err := refuseWithheld(rel.Release); err != nil {
		return pulled{}, err
	}
	r := pulled{
		Project: rel.Project, Chart: rel.Chart, Version: rel.Version, Digest: rel.Digest, ContentDigest: rel.ContentDigest,
		LogIndex: rel.LogIndex, Legacy: rel.Legacy, Yank: rel.Yank, File: filepath.Join(opt.dir, rel.File),
	}
	if rel.Yank != nil {
		a.warn("%s/%s@%s was yanked %s by %s: %s", rel.Project, rel.Chart, rel.Version, stamp(rel.Yank.Time), cmp.Or(rel.Yank.ByName, rel.Yank.By), yankWords(rel.Yank))
	}
	var prov []byte
	if opt.prov {
		if prov, err = c.Provenance(ctx, rel.Project, rel.File); err != nil {
			return pulled{}, err
		}
		r.Provenance = r.File + ".prov"
	}
	var proof []byte
	if opt.proof {
		if rel.Proof == "" {
			return pulled{}, problem.New(problem.Unavailable, "proof", "the server has no proof of %s/%s@%s yet", rel.Project, rel.Chart, rel.Version)
		}
		proof, r.Proof = []byte(rel.Proof), r.File+".tlog-proof"
	}
	if err := a.fetch(ctx, c, rel.Release, r.File, proof, prov); err != nil {
		return pulled{}, err
	}
	for file, content := range map[string][]byte{r.Provenance: prov, r.Proof: proof} {
		if file == "" {
			continue
		}
		if err := writeFile(file, func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
			return pulled{}, err
		}
	}
	return r, nil
}

func yankWords(y *client.Yank) string {
	if y.Text == "" {
		return y.Reason
	}
	return y.Reason + ", " + y.Text
}

// fileName reports whether a name that a server gave is that of a file in the
// folder where it is written.
func fileName(s string) bool {
	return strings.HasSuffix(s, ".tgz") && len(s) > len(".tgz") && s[0] != '.' && s[0] != '-' && s == filepath.Base(s) && filepath.IsLocal(s) &&
		s == printable(s) && !strings.ContainsAny(s, `/\:`)
}

// fetch writes the archive of a release, if the file is not there already. A
// proof, when there is one, is held against it first.
func (a *app) fetch(ctx context.Context, c *client.Client, rel client.Release, file string, proof, prov []byte) error {
	if there, err := isThere(file, rel.Digest, fmt.Sprintf("chartkeep pull %s/%s@%s -d OTHER-FOLDER", rel.Project, rel.Chart, rel.Version)); err != nil {
		return err
	} else if there {
		return a.holdProof(rel, file, proof, prov)
	}
	body, err := c.Archive(ctx, rel.Project, rel.File, chart.DefaultLimits().Archive)
	if err != nil {
		return err
	}
	defer body.Close()
	return placeFile(file, func(tmp *os.File) error {
		h := sha256.New()
		if _, err := io.Copy(io.MultiWriter(tmp, h), body); err != nil {
			return client.CutShort(rel.File, err)
		}
		if got := digest.Of("sha256", h); got != rel.Digest {
			return problem.New(problem.Disproven, "digest", "the server sent other bytes than those of %s/%s@%s", rel.Project, rel.Chart, rel.Version).
				With("released", "%s", rel.Digest).With("sent", "%s", got).
				Suggest("do not use this server's copy; tell its operator")
		}
		return a.holdProof(rel, tmp.Name(), proof, prov)
	})
}

// holdProof holds a proof against an archive on disk. The log's signature is
// left to verify, since there is no key here.
func (a *app) holdProof(rel client.Release, file string, proof, prov []byte) error {
	if proof == nil {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fileProblem(file, err)
	}
	defer f.Close()
	v, err := client.Verify(client.Subject{
		Archive: f, Proof: proof, Provenance: prov, Now: a.now(),
		Asked: client.Ref{Project: rel.Project, Chart: rel.Chart, Version: rel.Version},
	})
	if err != nil {
		return err
	}
	if v.Verdict == client.Failed {
		return disproven("the server's proof of "+rel.Project+"/"+rel.Chart+"@"+rel.Version+" does not hold", v)
	}
	return nil
}

// isThere reports whether a file has the bytes that are to be written to it. One
// with others is a conflict, with try for advice.
func isThere(file, want, try string) (bool, error) {
	there, err := sumFile(file)
	switch {
	case os.IsNotExist(err):
		return false, nil
	case err != nil:
		return false, fileProblem(file, err)
	case there != want:
		return false, problem.New(problem.Conflict, "file-differs", "there is another file %s already, and it was left as it is", file).
			With("file", "%s", there).With("wanted", "%s", want).Suggest("%s", try)
	}
	return true, nil
}

// sumFile is the digest of a file.
func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return digest.Of("sha256", h), nil
}

// writeFile writes a file whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	return placeFile(path, func(f *os.File) error { return write(f) })
}

// placeFile lets write fill a temporary file beside path, and gives it the
// name only when all went well.
func placeFile(path string, write func(*os.File) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".chartkeep-*")
	if os.IsNotExist(err) {
		return problem.New(problem.NotFound, "folder", "there is no folder %s", dir).Because(err).Suggest("mkdir -p %s", dir)
	}
	if err != nil {
		return fileProblem(path, err)
	}
	defer os.Remove(tmp.Name()) // fails once it has its name
	defer tmp.Close()
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return fileProblem(path, err)
	}
	if err := tmp.Sync(); err != nil {
		return fileProblem(path, err)
	}
	if err := tmp.Close(); err != nil {
		return fileProblem(path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
