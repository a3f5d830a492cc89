package web

import (
	"slices"

	"github.com/chartkeep/chartkeep/internal/watch"
)

// importRow is an import that brought deployments.
type importRow struct {
	Name, From   string
	Made         moment
	Deployments  int
	Old          bool
	Every        string // "" where it never said how often it is made
	Overdue      moment // since when; the zero time unless it is
	Problems     []string
	Count        int // of problems
	MoreProblems int // that are not shown
}

const (
	importsShown  = 100
	problemsShown = 50
)

// showImports fills in what the imports said: those first that somebody has to
// look at.
func (p *deploymentsPage) showImports(list []watch.Import) {
	trouble := func(im *watch.Import) bool { return im.Old || !im.Overdue.IsZero() || len(im.Problems) > 0 }
	slices.SortStableFunc(list, func(a, b watch.Import) int {
		switch ta, tb := trouble(&a), trouble(&b); {
		case ta == tb:
			return 0
		case ta:
			return -1
		}
		return 1
	})
	for i := range list {
		im := &list[i]
		if trouble(im) {
			p.Troubled++
		}
		if i >= importsShown {
			p.MoreImports++
			continue
		}
		row := importRow{Name: im.Name, From: shown(im.From, maxName), Made: moment{im.Time, p.Now.at}, Deployments: im.Deployments, Old: im.Old, Count: len(im.Problems) + im.MoreProblems}
		if row.Overdue = (moment{im.Overdue, p.Now.at}); im.Every != nil {
			row.Every = im.Every.String()
		}
		for _, problem := range im.Problems[:min(len(im.Problems), problemsShown)] {
			row.Problems = append(row.Problems, shown(problem, maxSentence))
		}
		row.MoreProblems = row.Count - len(row.Problems)
		p.Imports = append(p.Imports, row)
	}
}
