package decision

import (
	"cmp"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

//go:embed tables/*.csv
var published embed.FS

// The tables, and the files that they are published in.
const (
	tableBOD   = "bod-26-04"
	tableSSVC  = "ssvc-deployer"
	tableHuman = "human-impact"
	tableChart = "chart-findings"
)

// column is one input of a table with its values, from the least urgent.
type column struct {
	name   string
	values []string
}

// form is what an organisation's rows for a table have to keep to as well.
type form struct {
	id      string
	columns []column
	outcome func(string) (outcome, bool)
}

var (
	noYes        = []string{"no", "yes"}
	exposures    = []string{"small", "controlled", "open"}
	impacts      = []string{"partial", "total"}
	exploits     = []string{"none", "poc", "active"}
	humanImpacts = []string{"low", "medium", "high", "very high"}
	severities   = []string{"info", "low", "medium", "high", "critical"}

	forms = []form{
		{tableBOD, []column{{"exploited", noYes}, {"exposed", noYes}, {"automatable", noYes}, {"impact", impacts}}, daysOutcome},
		{tableSSVC, []column{{"exploitation", exploits}, {"exposure", exposures}, {"automatable", noYes}, {"human-impact", humanImpacts}}, oneOf(tiers)},
		{tableHuman, []column{
			{"safety", []string{"negligible", "marginal", "critical", "catastrophic"}},
			{"mission", []string{"degraded", "mef support crippled", "mef failure", "mission failure"}},
		}, oneOf(humanImpacts)},
		{tableChart, []column{{"kind", []string{"hardening", "posture", "chart-advisory"}}, {"severity", severities}, {"exposure", exposures}}, daysOutcome},
	}
)

// outcome is what a row says.
type outcome struct {
	text     string
	rank     int // orders the outcomes of one table, from the least urgent
	days     int // none: no deadline, or one that the outcome's name does not tell
	forensic bool
}

// maxDays bounds every number of days, so that no date overflows.
const maxDays = 3650

// none stands for no deadline where days are counted.
const none = -1

// daysOutcome reads "14 days", "3 days & forensic investigation", and the two
// outcomes that have no deadline.
func daysOutcome(text string) (outcome, bool) {
	if text == "none" || text == "fix on system upgrade" {
		return outcome{text: text, rank: -2 * (maxDays + 1), days: none}, true
	}
	number, forensic := strings.CutSuffix(text, " & forensic investigation")
	number, ok := strings.CutSuffix(number, " days")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > maxDays || strconv.Itoa(n) != number {
		return outcome{}, false
	}
	o := outcome{text: text, rank: -2 * n, days: n, forensic: forensic}
	if forensic {
		o.rank++
	}
	return o, true
}

// oneOf reads a name out of a list that goes from the least urgent.
func oneOf(names []string) func(string) (outcome, bool) {
	return func(text string) (outcome, bool) {
		i := slices.Index(names, text)
		return outcome{text: text, rank: i, days: none}, i >= 0
	}
}

// table has one outcome for every combination of the values of its columns.
type table struct {
	form
	title, version, source string
	rows                   []row
	at                     []int // by code: place of the row
	own                    *own  // nil: the rows are as published
}

// row is one combination. Its number is its place, from 1.
type row struct {
	values    []int // places in the columns' values
	outcome   outcome
	published outcome // differs where an organisation's row stands in its place
}

// own are rows of an organisation, in place of those of a table.
type own struct {
	replace  bool // also where they are less urgent
	reason   string
	approver string
	rows     []row
}

// code numbers the combinations of values.
func (f form) code(values []int) int {
	n := 0
	for i, c := range f.columns {
		n = n*len(c.values) + values[i]
	}
	return n
}

// combinations is how many rows a complete table has.
func (f form) combinations() int {
	n := 1
	for _, c := range f.columns {
		n *= len(c.values)
	}
	return n
}

// describe names a combination for people.
func (f form) describe(values []int) string {
	var parts []string
	for i, c := range f.columns {
		parts = append(parts, c.name+" "+c.values[values[i]])
	}
	return strings.Join(parts, ", ")
}

// find returns the row of a combination, and its number from 1.
func (t *table) find(values ...int) (row, int) {
	i := t.at[t.code(values)]
	return t.rows[i], i + 1
}

// name is the table as a rule shows it.
func (t *table) name() string { return t.id + " " + t.version }

// header is the first line of a table's text.
func (f form) header() string {
	var names []string
	for _, c := range f.columns {
		names = append(names, c.name)
	}
	return strings.Join(append(names, "outcome"), ",")
}

// read reads rows in the form of a table: CSV with its header, in which lines
// that begin with # are comments. A combination may stand there once.
func (f form) read(text string) ([]row, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comment = '#'
	r.FieldsPerRecord = len(f.columns) + 1
	r.TrimLeadingSpace = true
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil || strings.Join(head, ",") != f.header() {
		return nil, fmt.Errorf("the first line has to be %s", f.header())
	}
	var rows []row
	seen := make([]bool, f.combinations())
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("row %d is not %d values with commas between them", len(rows)+1, len(f.columns)+1)
		}
		values := make([]int, len(f.columns))
		for i, c := range f.columns {
			if values[i] = slices.Index(c.values, fields[i]); values[i] < 0 {
				return nil, fmt.Errorf("row %d: %.40q is no value of %s, which are %s", len(rows)+1, fields[i], c.name, strings.Join(c.values, ", "))
			}
		}
		o, ok := f.outcome(fields[len(f.columns)])
		if !ok {
			return nil, fmt.Errorf("row %d: %.40q is no outcome of this table", len(rows)+1, fields[len(f.columns)])
		}
		if seen[f.code(values)] {
			return nil, fmt.Errorf("row %d: %s stands there twice", len(rows)+1, f.describe(values))
		}
		seen[f.code(values)] = true
		rows = append(rows, row{values: values, outcome: o, published: o})
	}
}

// publishedTable reads one of the tables that are part of the program, which
// its tests have shown to be sound: it panics where one is not.
func publishedTable(f form) *table {
	b, err := published.ReadFile("tables/" + f.id + ".csv")
	if err != nil {
		panic(err)
	}
	t := &table{form: f}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		for label, field := range map[string]*string{"# title: ": &t.title, "# version: ": &t.version, "# source: ": &t.source} {
			if v, ok := strings.CutPrefix(line, label); ok {
				*field = v
			}
		}
	}
	if t.rows, err = f.read(string(b)); err == nil {
		err = t.index()
	}
	if err != nil {
		panic(fmt.Errorf("read table %s: %w", f.id, err))
	}
	return t
}

// index makes rows findable, and refuses a table that is not complete or in
// which a worse value has a less urgent outcome.
func (t *table) index() error {
	t.at = make([]int, t.combinations())
	for i := range t.at {
		t.at[i] = none
	}
	for i, r := range t.rows {
		t.at[t.code(r.values)] = i
	}
	if missing := t.combinations() - len(t.rows); missing > 0 {
		return fmt.Errorf("%d of %d combinations have no row", missing, t.combinations())
	}
	for _, r := range t.rows {
		for i, c := range t.columns {
			if r.values[i]+1 == len(c.values) {
				continue
			}
			worse := slices.Clone(r.values)
			worse[i]++
			if w, _ := t.find(worse...); w.outcome.rank < r.outcome.rank {
				return fmt.Errorf("%s is %q, and the worse %s is %q", t.describe(r.values), r.outcome.text, t.describe(worse), w.outcome.text)
			}
		}
	}
	return nil
}

// with is the table with an organisation's rows in place of those of the same
// combinations. Rows that replace have to be complete; others may not be less
// urgent than those in whose place they stand.
func (t *table) with(o *own) (*table, error) {
	out := *t
	out.rows = slices.Clone(t.rows)
	out.own = o
	if o.replace && len(o.rows) != t.combinations() {
		return nil, fmt.Errorf("a table that replaces has a row for each of the %d combinations, and this one has %d", t.combinations(), len(o.rows))
	}
	for _, r := range o.rows {
		i := t.at[t.code(r.values)]
		if was := out.rows[i].published; r.outcome.rank < was.rank && !o.replace {
			return nil, fmt.Errorf("%s is %q, less urgent than %q of the published row %d, which takes replace: true with reason and approver",
				t.describe(r.values), r.outcome.text, was.text, i+1)
		}
		out.rows[i].outcome = r.outcome
	}
	return &out, out.index()
}

// text is the own rows as a policy has them, in the order of the table.
func (t *table) text() string {
	rows := slices.Clone(t.own.rows)
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(t.at[t.code(a.values)], t.at[t.code(b.values)]) })
	var b strings.Builder
	b.WriteString(t.header() + "\n")
	for _, r := range rows {
		for i, c := range t.columns {
			b.WriteString(c.values[r.values[i]] + ",")
		}
		b.WriteString(r.outcome.text + "\n")
	}
	return b.String()
}
