package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/advisory"
	rules "github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// advisoryOptions say where advisories are read without a server.
type advisoryOptions struct {
	from       []string
	components string
	policy     string
}

func (o *advisoryOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.from, "advisories", nil, "`PATH` of a folder, an archive or a file of feeds, of any kind; may be given several times")
	f.StringVar(&o.components, "components", "", "own map from images to components, a YAML `FILE`; it goes before the map that is built in")
}

// readFeeds is a set of feeds in memory, and what it was made from.
type readFeeds struct {
	db   *advisory.Database
	used advisoriesUsed
}

// advisoriesUsed says what an answer was made from.
type advisoriesUsed struct {
	Snapshots []snapshotUsed `json:"snapshots"`
	// Faults are records that could not be read as a whole; LeftOut files that are
	// no feed of any kind.
	Faults  []string `json:"faults"`
	LeftOut []string `json:"left_out"`
	// Old is what should be fresher.
	Old []string `json:"old"`
	now time.Time
}

// snapshotUsed is one state of a feed. Without a server, its feed is its kind.
type snapshotUsed struct {
	Feed    string    `json:"feed"`
	Kind    string    `json:"kind"`
	Digest  string    `json:"digest"`
	Records int       `json:"records"`
	Faults  int       `json:"faults"`
	Dated   time.Time `json:"dated,omitzero"`
	Model   string    `json:"model,omitempty"`
	Files   []string  `json:"files,omitempty"`
}

// view lists them, since an answer is worth what it was made from.
func (u advisoriesUsed) view() view {
	b := block{head: []string{"FEED", "RECORDS", "DATED", "READ FROM", "SNAPSHOT"}, empty: "no advisories were read: everything is unknown"}
	for _, s := range u.Snapshots {
		from := "the server"
		switch n := len(s.Files); {
		case n == 1:
			from = s.Files[0]
		case n > 1:
			from = plural(n, "file") + " in " + folderOf(s.Files)
		}
		dated := "not said"
		if !s.Dated.IsZero() {
			dated = day(s.Dated)
		}
		b.rows = append(b.rows, []string{s.Feed, thousands(int64(s.Records)), dated, from, short(s.Digest)})
	}
	v := view{b}
	if len(u.Old) > 0 {
		v = append(v, block{text: "old data: " + strings.Join(u.Old, "; ")})
	}
	return v
}

// folderOf is the folder that has all files.
func folderOf(files []string) string {
	dir := path.Dir(files[0])
	for _, f := range files[1:] {
		for dir != "." && dir != "/" && !strings.HasPrefix(f, dir+"/") {
			dir = path.Dir(dir)
		}
	}
	return dir
}

// tellFeeds warns of what of the feeds was not understood.
func (a *app) tellFeeds(u advisoriesUsed) {
	a.tellProblems(u.Faults)
	if n := len(u.LeftOut); n > 0 {
		a.warn("%s: no feed of any kind, left out; %s first; -o json lists them", plural(n, "file"), u.LeftOut[0])
	}
}

// read reads all that is asked for. Files whose name begins with a dot, and
// folders such as .git, are passed over.
func (o *advisoryOptions) read(ctx context.Context, p *rules.Policy, now time.Time) (*readFeeds, error) {
	s := advisory.NewSorter(advisory.DefaultLimits())
	for _, where := range o.from {
		if err := eachFeedFile(ctx, where, s.Add); err != nil {
			return nil, err
		}
	}
	sorted, err := s.Packs()
	if err != nil {
		return nil, err
	}
	images := advisory.Curated()
	if o.components != "" {
		own, err := o.ownMap()
		if err != nil {
			return nil, err
		}
		images = own.Over(images)
	}
	r := &readFeeds{used: advisoriesUsed{Snapshots: []snapshotUsed{}, Faults: []string{}, LeftOut: append([]string{}, sorted.Left...), Old: []string{}, now: now}}
	packs := make([]advisory.Pack, len(sorted.Packs))
	for i, pack := range sorted.Packs {
		kind := pack.Snapshot().Kind
		packs[i] = pack.With(advisory.Snapshot{Feed: string(kind), Taken: now})
		s := packs[i].Snapshot()
		r.used.Snapshots = append(r.used.Snapshots, snapshotUsed{
			Feed: s.Feed, Kind: string(kind), Digest: s.Digest, Records: s.Records, Faults: s.Faults, Dated: s.Dated, Model: s.Model, Files: sorted.Files[kind],
		})
		switch limit := p.StaleAfter(string(kind)); {
		case kind == advisory.Components:
		case s.Dated.IsZero():
			r.used.Old = append(r.used.Old, string(kind)+": of unknown age")
		case limit > 0 && now.Sub(s.Dated) > limit:
			r.used.Old = append(r.used.Old, fmt.Sprintf("%s: dated %s", kind, ago(now, s.Dated)))
		}
	}
	var faults []advisory.Fault
	r.db, faults = advisory.NewDatabase(images, packs...)
	for _, f := range slices.Concat(sorted.Faults, faults) {
		r.used.Faults = append(r.used.Faults, f.String())
	}
	return r, nil
}

func (o *advisoryOptions) ownMap() (*advisory.Map, error) {
	text, err := readFile(o.components, int64(advisory.DefaultMapLimits().Bytes))
	if err != nil {
		return nil, asUsage(err)
	}
	m, err := advisory.ReadMap(text, advisory.MapLimits{})
	if p, ok := problem.As(err); ok {
		return nil, asUsage(p.With("file", "%s", o.components))
	}
	return m, err
}

// policyOf reads a decision policy; "" is the one that is built in.
func policyOf(file string) (*rules.Policy, error) {
	if file == "" {
		return rules.Default(), nil
	}
	text, err := readFile(file, maxPolicy)
	if err != nil {
		return nil, asUsage(err)
	}
	p, err := rules.ReadPolicy(text)
	if pr, ok := problem.As(err); ok {
		return nil, asUsage(pr.With("file", "%s", file))
	}
	return p, err
}

// eachFeedFile hands out a file, or all files below a folder in the order of
// their names. Links to files are followed, links to folders are not.
func eachFeedFile(ctx context.Context, where string, add func(name string, r io.Reader) error) error {
	info, err := os.Stat(where)
	if err != nil {
		return fileProblem(where, err)
	}
	if !info.IsDir() {
		return addFeedFile(where, add)
	}
	found := false
	err = filepath.WalkDir(where, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fileProblem(path, err)
		case ctx.Err() != nil:
			return ctx.Err()
		case strings.HasPrefix(d.Name(), ".") && path != where:
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		info, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fileProblem(path, err)
		}
		if err != nil || !info.Mode().IsRegular() {
			return nil // a link to nothing or to a folder, a pipe
		}
		found = true
		return addFeedFile(path, add)
	})
	if err == nil && !found {
		return problem.New(problem.NotFound, "feed-folder", "the folder %s has no files", where)
	}
	return err
}

func addFeedFile(path string, add func(string, io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fileProblem(path, err)
	}
	defer f.Close()
	return add(filepath.ToSlash(path), f)
}
