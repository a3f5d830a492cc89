// Command score measures the reader of release notes (package notes) against
// labels that people gave to real notes, and prints precision and recall of
// "this release concerns security" for each project.
//
//	go run ./internal/notes/score [--misses] LABELS.csv ENTRIES.jsonl.gz
//
// LABELS.csv has a row for each release with the columns project, version,
// has_security (1 or 0), category, confidence (sure or borderline), evidence,
// cve_ids and other_ids. ENTRIES.jsonl.gz has its text: one object a line with
// project, version and text. Rows and texts are joined by project and version.
// A row without its text is an error, never left out.
package main

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/chartkeep/chartkeep/internal/notes"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "score:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	f := flag.NewFlagSet("score", flag.ContinueOnError)
	misses := f.Bool("misses", false, "print what was missed and what was a false alarm")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: score [--misses] LABELS.csv ENTRIES.jsonl.gz")
		f.PrintDefaults()
	}
	// A flag may stand behind the files too.
	var files []string
	for rest := args; ; rest = f.Args()[1:] {
		if err := f.Parse(rest); err != nil {
			return err
		}
		if f.NArg() == 0 {
			break
		}
		files = append(files, f.Arg(0))
	}
	if len(files) != 2 {
		f.Usage()
		return fmt.Errorf("needs two files, and has %d", len(files))
	}
	labels, err := os.Open(files[0])
	if err != nil {
		return fmt.Errorf("open labels: %w", err)
	}
	defer labels.Close()
	entries, err := os.Open(files[1])
	if err != nil {
		return fmt.Errorf("open entries: %w", err)
	}
	defer entries.Close()
	s, err := measure(labels, entries)
	if err != nil {
		return err
	}
	return s.print(out, *misses)
}

// row is one label with what was read.
type row struct {
	project, version, category, evidence string
	positive, sure, found                bool
	ids, missedIDs                       int
	hints                                []notes.Hint // those of security
}

// score is all rows, in the order of the labels.
type score []row

// tally counts rows.
type tally struct{ right, alarm, missed, silent int }

func (t *tally) add(r *row) {
	switch {
	case r.positive && r.found:
		t.right++
	case r.positive:
		t.missed++
	case r.found:
		t.alarm++
	default:
		t.silent++
	}
}

// share is a/(a+b), and 1 of nothing.
func share(a, b int) float64 {
	if a+b == 0 {
		return 1
	}
	return float64(a) / float64(a+b)
}

func (t tally) precision() float64 { return share(t.right, t.alarm) }
func (t tally) recall() float64    { return share(t.right, t.missed) }

// measure reads the notes of all labels.
func measure(labels, entries io.Reader) (score, error) {
	texts, err := readEntries(entries)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	all, err := csv.NewReader(labels).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	if len(all) < 2 {
		return nil, errors.New("read labels: there are none")
	}
	column := func(rec []string, name string) string {
		if i := slices.Index(all[0], name); i >= 0 {
			return rec[i]
		}
		return ""
	}
	var out score
	for _, rec := range all[1:] {
		r := row{project: column(rec, "project"), version: column(rec, "version"), category: column(rec, "category"), evidence: column(rec, "evidence"),
			positive: column(rec, "has_security") == "1", sure: column(rec, "confidence") != "borderline"}
		text, ok := texts[[2]string{r.project, r.version}]
		if !ok {
			return nil, fmt.Errorf("%s %s has a label and no text", r.project, r.version)
		}
		releases, err := notes.Read(text, notes.Limits{})
		if err != nil {
			return nil, fmt.Errorf("read %s %s: %w", r.project, r.version, err)
		}
		cited := map[string]bool{}
		for _, release := range releases {
			r.found = r.found || release.Security
			for _, id := range release.IDs {
				cited[id] = true
			}
			for _, h := range release.Hints {
				if h.Security {
					r.hints = append(r.hints, h)
				}
			}
		}
		for _, id := range strings.Fields(column(rec, "cve_ids") + " " + column(rec, "other_ids")) {
			if r.ids++; !cited[id] {
				r.missedIDs++
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func readEntries(r io.Reader) (map[[2]string]string, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	texts := map[[2]string]string{}
	dec := json.NewDecoder(bufio.NewReader(z))
	for {
		var e struct{ Project, Version, Text string }
		if err := dec.Decode(&e); err == io.EOF {
			return texts, nil
		} else if err != nil {
			return nil, err
		}
		texts[[2]string{e.Project, e.Version}] = e.Text
	}
}

// total counts the rows that are asked for.
func (s score) total(keep func(*row) bool) tally {
	var t tally
	for i := range s {
		if keep(&s[i]) {
			t.add(&s[i])
		}
	}
	return t
}

// values lists what the rows have, in order and once each.
func (s score) values(of func(*row) string) []string {
	var out []string
	for i := range s {
		if v := of(&s[i]); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// print writes the tables.
func (s score) print(out io.Writer, misses bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "project\trows\tpositive\tprecision\trecall\tprecision, sure rows\trecall, sure rows")
	line := func(name string, in func(*row) bool) {
		t := s.total(in)
		sure := s.total(func(r *row) bool { return r.sure && in(r) })
		fmt.Fprintf(w, "%s\t%d\t%d\t%.3f\t%.3f\t%.3f\t%.3f\n", name, t.right+t.alarm+t.missed+t.silent, t.right+t.missed,
			t.precision(), t.recall(), sure.precision(), sure.recall())
	}
	for _, p := range s.values(func(r *row) string { return r.project }) {
		line(p, func(r *row) bool { return r.project == p })
	}
	line("all", func(*row) bool { return true })
	fmt.Fprintln(w, "\ncategory\tpositive\tfound\tmissed\tmissed, sure rows")
	for _, c := range s.values(func(r *row) string { return r.category }) {
		t := s.total(func(r *row) bool { return r.positive && r.category == c })
		sure := s.total(func(r *row) bool { return r.positive && r.sure && r.category == c })
		if t.right+t.missed > 0 {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", c, t.right+t.missed, t.right, t.missed, sure.missed)
		}
	}
	ids, missed := 0, 0
	for _, r := range s {
		ids += r.ids
		missed += r.missedIDs
	}
	fmt.Fprintf(w, "\nidentifiers in the labels: %d, of which %d were not read\n", ids, missed)
	if misses {
		s.printMisses(w)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write score: %w", err)
	}
	return nil
}

func (s score) printMisses(w io.Writer) {
	for _, r := range s {
		if r.positive == r.found && r.missedIDs == 0 {
			continue
		}
		mark := "sure"
		if !r.sure {
			mark = "borderline"
		}
		switch {
		case r.positive && !r.found:
			fmt.Fprintf(w, "missed %s %s (%s, %s): %s\n", r.project, r.version, r.category, mark, r.evidence)
		case !r.positive && r.found:
			fmt.Fprintf(w, "false alarm %s %s (%s): %s\n", r.project, r.version, mark, r.evidence)
			for _, h := range r.hints {
				fmt.Fprintf(w, "    line %d %s: %s\n", h.Line, h.Rule, h.Text)
			}
		default:
			fmt.Fprintf(w, "%s %s: %d of %d identifiers not read\n", r.project, r.version, r.missedIDs, r.ids)
		}
	}
}
