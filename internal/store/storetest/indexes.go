package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// indexed says whether a release stands in its project's index.
func (l *ledger) indexed(r release.Release, all bool) bool {
	l.Helper()
	found := false
	err := l.IndexSource(r.ProjectID, all).Range(l.Context(), index.Key{}, index.Key{}, func(k index.Key, fragment []byte) error {
		found = found || k == index.Key{Chart: r.Chart, Sort: r.SortKey} && strings.Contains(string(fragment), r.Archive)
		return nil
	})
	l.ok(err)
	return found
}

// indexRow is a release as the naive model of an index knows it.
type indexRow struct {
	key        index.Key
	fragment   string
	state      release.State
	generation int64
}

// indexModel makes random releases, yanks some and unyanks some, and compares
// ranges and changes with a list that is searched from end to end.
func indexModel(l *ledger) {
	rng := rand.New(rand.NewPCG(7, 7))
	charts := []string{"a", "a-b", "a.b", "a1", "b", "zz"} // by bytes
	rows := map[int64]*indexRow{}
	var made []release.Release
	note := func(r release.Release) {
		row := rows[r.ID]
		row.state, row.generation = r.State, l.current(l.project).Generation
	}
	for i := range 120 {
		if len(made) > 5 && rng.IntN(3) == 0 {
			n := rng.IntN(len(made))
			made[n] = l.setState(made[n], made[n].State != release.Yanked)
			note(made[n])
			continue
		}
		version := fmt.Sprintf("%d.%d.%d", rng.IntN(3), rng.IntN(20), i)
		if rng.IntN(3) == 0 {
			version += fmt.Sprintf("-rc.%d", rng.IntN(12))
		}
		c := offer(l.project, charts[rng.IntN(len(charts))], version, version)
		r := l.claim(c)
		made = append(made, r)
		rows[r.ID] = &indexRow{key: index.Key{Chart: r.Chart, Sort: r.SortKey}, fragment: string(c.Fragment(r.Time))}
		note(r)
	}
	sorted := make([]*indexRow, 0, len(rows))
	for _, row := range rows {
		sorted = append(sorted, row)
	}
	slices.SortFunc(sorted, func(a, b *indexRow) int { return a.key.Compare(b.key) })
	keys := []index.Key{{}}
	for range 12 {
		k := sorted[rng.IntN(len(sorted))].key
		keys = append(keys, k, index.Key{Chart: k.Chart, Sort: k.Sort + "x"}, index.Key{Chart: k.Chart + "-", Sort: k.Sort})
	}
	for _, all := range []bool{false, true} {
		src := l.IndexSource(l.project.ID, all)
		shown := func(row *indexRow) bool { return all || row.state == release.Active }
		for _, from := range keys {
			for _, to := range keys {
				l.sameRange(src, from, to, sorted, shown)
			}
		}
		newest := l.current(l.project).Generation
		for gen := newest - 30; gen <= newest; gen++ {
			for _, upto := range []int64{gen, gen + 1, gen + 7, newest} {
				l.sameSince(src, gen, upto, sorted)
			}
		}
	}
	// An error of the caller comes back, and nothing is handed out after it.
	enough, n := errors.New("enough"), 0
	err := l.IndexSource(l.project.ID, false).Range(l.Context(), index.Key{}, index.Key{}, func(index.Key, []byte) error {
		n++
		return enough
	})
	if !errors.Is(err, enough) || n != 1 {
		l.Fatalf("%d fragments, error %v", n, err)
	}
	if err := l.IndexSource(l.project.ID+1, true).Range(l.Context(), index.Key{}, index.Key{}, func(k index.Key, _ []byte) error {
		return fmt.Errorf("another project has %v", k)
	}); err != nil {
		l.Fatal(err)
	}
}

func (l *ledger) sameRange(src index.Source, from, to index.Key, sorted []*indexRow, shown func(*indexRow) bool) {
	l.Helper()
	var want, got []string
	for _, row := range sorted {
		if shown(row) && row.key.Compare(from) >= 0 && (to == index.Key{} || row.key.Compare(to) < 0) {
			want = append(want, row.key.Chart+" "+row.key.Sort+" "+row.fragment)
		}
	}
	l.ok(src.Range(l.Context(), from, to, func(k index.Key, fragment []byte) error {
		got = append(got, k.Chart+" "+k.Sort+" "+string(fragment))
		return nil
	}))
	if !slices.Equal(got, want) {
		l.Fatalf("range %v to %v:\ngot\n%s\nwant\n%s", from, to, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// sameSince allows keys that did not change, as the contract does, but none
// that is missing; a release shows its last change alone.
func (l *ledger) sameSince(src index.Source, gen, upto int64, sorted []*indexRow) {
	l.Helper()
	got := map[index.Key]bool{}
	l.ok(src.Since(l.Context(), gen, upto, func(k index.Key) error {
		got[k] = true
		return nil
	}))
	for _, row := range sorted {
		if row.generation > gen && row.generation <= upto && !got[row.key] {
			l.Fatalf("changes from %d to %d lack %v of %d", gen, upto, row.key, row.generation)
		}
	}
	if len(got) > int(upto-gen) {
		l.Fatalf("%d changes from %d to %d, made one by one", len(got), gen, upto)
	}
}

// indexGenerations checks that what readers see moves the generation, and that
// an index which is brought up to date is the one made anew.
func indexGenerations(l *ledger) {
	strict := l.create("strict", staging)
	built := map[bool]*index.Index{}
	check := func(what string, moves bool, do func()) {
		l.Helper()
		before := l.current(strict)
		do()
		after := l.current(strict)
		if moved := after.Generation != before.Generation; moved != moves || after.Generation < before.Generation || after.Changed.Before(before.Changed) {
			l.Fatalf("%s: generation %d after %d, changed %s after %s", what, after.Generation, before.Generation, after.Changed, before.Changed)
		}
		for _, all := range []bool{false, true} {
			src := l.IndexSource(strict.ID, all)
			fresh, err := index.Build(l.Context(), src, after.Generation)
			l.ok(err)
			if built[all] == nil {
				built[all] = fresh
				continue
			}
			built[all], err = built[all].Update(l.Context(), src, after.Generation)
			l.ok(err)
			if got, want := l.document(built[all]), l.document(fresh); got != want {
				l.Fatalf("%s: the updated index is\n%s\nand made anew\n%s", what, got, want)
			}
		}
	}
	c := offer(strict, "web", "1.0.0", "first")
	var r release.Release
	claim := func(c *release.Claim) func() {
		return func() {
			if _, err := l.Claim(l.Context(), c); err != nil {
				l.refused(err, problem.Immutable, "overwrite")
			}
		}
	}
	check("nothing", false, func() {})
	check("staged claim", true, func() { r = l.claim(c) })
	check("unchanged", false, claim(c))
	check("refused", false, claim(offer(strict, "web", "1.0.0", "other")))
	check("attach", true, func() { _, err := l.Attach(l.Context(), attachment(r, "signature")); l.ok(err) })
	check("attach again", false, func() { _, err := l.Attach(l.Context(), attachment(r, "signature")); l.ok(err) })
	check("yank", true, func() { l.setState(r, true) })
	check("unyank", true, func() { l.setState(r, false) })
	check("another project", false, func() { l.claim(offer(l.project, "web", "1.0.0", "first")) })
	check("a manifest that is no release", false, func() { l.ok(l.PutManifest(l.Context(), put(strict, "web", "sig", "sha256-x.sig"))) })
	for i := range 20 {
		signed := offer(strict, fmt.Sprintf("chart-%d", i%3), fmt.Sprintf("1.0.%d", i), "x")
		signed.Prov, signed.Release.Provenance = []byte("p"), sha256Of([]byte("p"))
		check("signed claim", true, claim(signed))
	}
}

func (l *ledger) document(ix *index.Index) string {
	l.Helper()
	var b strings.Builder
	l.ok(ix.WriteRaw(&b, index.Head{Generated: start}))
	return b.String()
}
