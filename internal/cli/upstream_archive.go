package cli

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// upstreamArchive is an archive of an upstream that lies in a file now.
type upstreamArchive struct {
	Upstream string `json:"upstream"`
	Chart    string `json:"chart"`
	Version  string `json:"version"`
	Digest   string `json:"digest"`
	Content  string `json:"content_digest"`
	File     string `json:"file"`
	Size     int64  `json:"size"`
}

func (upstreamArchive) schema() string   { return "upstream-archive/v1" }
func (r upstreamArchive) keys() []string { return []string{r.File} }

func (r upstreamArchive) view() view {
	return view{{facts: []fact{
		{"version", r.Chart + " " + r.Version + " of " + r.Upstream}, {"file", r.File}, {"digest", r.Digest},
		{"content", cmp.Or(r.Content, "not known: the archive cannot be opened as a chart")}, {"bytes", thousands(r.Size)},
	}}}
}

// archiveOptions say which archive, and where to.
type archiveOptions struct {
	before       bool
	digest, file string
}

func (o *archiveOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.before, "before", false, "the archive that it was before it was replaced last")
	f.StringVar(&o.digest, "digest", "", "the archive with `DIGEST`, of those that it was")
	f.StringVar(&o.file, "file", "", "`FILE` to write to; another one that is there is never replaced (default: CHART-VERSION.tgz, with what says which before .tgz)")
}

func (a *app) upstreamArchiveCommand() *cobra.Command {
	var opt archiveOptions
	return a.leaf(command{
		use: "archive NAME CHART VERSION [flags]", short: "Fetch an archive that is kept, also one that was replaced",
		long: `
Fetch the archive of a version as this server keeps it: what the upstream serves
now, or with --before what it served until it replaced it. The digest is compared
with the bytes. An archive that was replaced behind people's backs is to be opened
with care.

Which archives are kept is said by upstream add --keep; upstream show NAME
--chart CHART says which are.`,
		example: `
chartkeep upstream archive airflow-helm airflow 8.9.0
chartkeep upstream archive airflow-helm airflow 8.9.0 --before
chartkeep diff airflow-8.9.0.before.tgz airflow-8.9.0.tgz`,
		args: arguments{3, 3, "the NAME of an upstream, a CHART and a VERSION"}, flags: opt.register, complete: a.completeUpstreamArg,
		run: func(ctx context.Context, args []string) (result, error) {
			which, file := "now", args[1]+"-"+args[2]
			switch {
			case opt.before && opt.digest != "":
				return nil, usage("--before and --digest each say which archive; give one of them")
			case opt.before:
				which, file = "before", file+".before"
			case opt.digest != "":
				which, file = opt.digest, file+"."+shortHex(strings.TrimPrefix(opt.digest, "sha256:"))
			}
			file += ".tgz"
			if opt.file == "" && filepath.Base(file) != file {
				return nil, usage("the chart or the version has a slash; say which file with --file")
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			b, digest, err := c.UpstreamArchive(ctx, args[0], args[1], args[2], which, chart.DefaultLimits().Archive)
			if err != nil {
				return nil, err
			}
			r := upstreamArchive{Upstream: args[0], Chart: args[1], Version: args[2], Digest: digest, File: cmp.Or(opt.file, file), Size: int64(len(b))}
			if err := r.place(b); err != nil {
				return nil, err
			}
			return r, nil
		},
	})
}

// place writes the archive to its file, unless it is there.
func (r *upstreamArchive) place(b []byte) error {
	if opened, err := chart.Open(bytes.NewReader(b), chart.DefaultLimits()); err == nil {
		r.Content = opened.Content
	}
	if there, err := isThere(r.File, r.Digest, "give another name with --file"); there || err != nil {
		return err
	}
	return placeFile(r.File, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}
