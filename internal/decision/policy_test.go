package decision

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
)

func read(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := ReadPolicy([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// loose are sixteen rows, of which those of three days have thirty instead.
func loose() string {
	var b strings.Builder
	for _, r := range Default().bod.rows {
		b.WriteString("      ")
		for i, c := range Default().bod.columns {
			b.WriteString(c.values[r.values[i]] + ",")
		}
		text := r.outcome.text
		if r.outcome.days == 3 {
			text = "10 days"
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

func TestDefaultIsItsDocument(t *testing.T) {
	p := Default()
	golden(t, "default.yaml", p.Document())
	again := read(t, p.Document())
	if again.Digest() != p.Digest() || again.Document() != p.Document() || p.Name() != "chartkeep" || p.Version() != "1" {
		t.Errorf("read again: %s\n%s", again.Digest(), again.Document())
	}
	if len(p.Digest()) != 71 || !strings.HasPrefix(p.Digest(), "sha256:") {
		t.Errorf("digest %s", p.Digest())
	}
	in := given("no", "open", "no", "partial", "none", "0", "5.0")
	if diff := cmp.Diff(p.Decide(in), again.Decide(in)); diff != "" {
		t.Error(diff)
	}
}

func TestExamplePolicy(t *testing.T) {
	b, err := os.ReadFile("../../docs/examples/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := read(t, string(b))
	golden(t, "example.yaml", p.Document())
	again := read(t, p.Document())
	if again.Digest() != p.Digest() {
		t.Errorf("the canonical form has the digest %s, the example %s", again.Digest(), p.Digest())
	}
	d := p.Decide(given("no", "open", "yes", "total", "none", "0", "9.8"))
	if r := rule(t, d, "bod-26-04"); r.Days != 2 || !strings.Contains(r.Table, "acme") || !strings.Contains(r.Result, "the published table: 3 days") {
		t.Errorf("the example's own row: %+v", r)
	}
}

func TestDigestIsOfAllThatDecides(t *testing.T) {
	seen := map[string]string{Default().Digest(): "default"}
	for _, s := range []string{
		"", "sla: {immediate: 2}", "sla: {out-of-cycle: 13}", "sla: {scheduled: 59}", "floor: none", "floor: {score: 8.9}", "floor: {days: 13}",
		"overlay: {profile: pci}", "overlay: {profile: fedramp}", "overlay: {profile: own, days: {critical: 30, high: 30}}",
		"epss: {threshold: 0.2}", "epss: {model: v5}", "stale-after: {kev: 4}",
		"mission: [{safety: negligible, mission: degraded}, {safety: negligible, mission: degraded}, {safety: negligible, mission: degraded}, {safety: negligible, mission: degraded}]",
		"tables: {bod-26-04: {rows: \"exploited,exposed,automatable,impact,outcome\\nyes,yes,yes,total,1 days & forensic investigation\"}}",
		"tables: {bod-26-04: {reason: faster, rows: \"exploited,exposed,automatable,impact,outcome\\nyes,yes,yes,total,1 days & forensic investigation\"}}",
	} {
		p := read(t, "name: a\nversion: '1'\n"+s)
		if other, ok := seen[p.Digest()]; ok {
			t.Errorf("%q has the digest of %q", s, other)
		}
		seen[p.Digest()] = s
		if again := read(t, p.Document()); again.Digest() != p.Digest() {
			t.Errorf("%q is another policy when it is read again", s)
		}
	}
}

// A published table that changes with the program changes the digest.
func TestDigestIsOfThePublishedRowsToo(t *testing.T) {
	for _, f := range forms {
		p := base()
		table := *p.table(f.id)
		table.rows[0].outcome = table.rows[len(table.rows)-1].outcome
		p.seal()
		if p.Digest() == Default().Digest() {
			t.Errorf("another row 1 of %s gives the same digest", f.id)
		}
	}
}

func TestStaleAfter(t *testing.T) {
	p := read(t, "name: a\nversion: '1'\nstale-after: {kev: 9}\n")
	for kind, days := range map[string]int{"osv": 7, "kev": 9, "epss": 3, "vulnrichment": 7, "vex": 30, "components": 365, "other": 0} {
		if got := p.StaleAfter(kind); got != time.Duration(days)*24*time.Hour {
			t.Errorf("%s is old after %v", kind, got)
		}
	}
}

func TestOwnTables(t *testing.T) {
	const head = "name: acme\nversion: '3'\ntables:\n"
	bod := func(extra, rows string) string {
		return head + "  bod-26-04:\n" + extra + "    rows: |\n      exploited,exposed,automatable,impact,outcome\n" + rows
	}
	const approved = "    replace: true\n    reason: three days cannot be met\n    approver: jo\n"

	tight := read(t, bod("", "      # our exposed systems\n      no,yes,yes,total,2 days\n      yes, yes, yes, total, 2 days & forensic investigation\n"))
	d := tight.Decide(given("no", "open", "yes", "total", "none", "0", "5.0"))
	r := rule(t, d, "bod-26-04")
	if r.Days != 2 || r.Row != 15 || r.Table != "bod-26-04 1.0.0, with rows of acme 3" || r.Result != "2 d (the published table: 3 days)" || len(d.Doubts) > 0 {
		t.Errorf("tightened: %+v, doubts %q", r, d.Doubts)
	}
	r = rule(t, tight.Decide(given("no", "open", "no", "partial", "none", "0", "5.0")), "bod-26-04")
	if r.Days != 60 || r.Result != "60 d" {
		t.Errorf("a row that stays: %+v", r)
	}

	replaced := read(t, bod(approved, loose()))
	d = replaced.Decide(given("yes", "open", "yes", "total", "active", "0", "5.0"))
	r = rule(t, d, "bod-26-04")
	if r.Days != 10 || r.Table != "bod-26-04 of acme 3, in place of bod-26-04 1.0.0" ||
		r.Result != "10 d (the published table: 3 days & forensic investigation; replaced by jo: three days cannot be met)" {
		t.Errorf("replaced: %+v", r)
	}
	if len(d.Doubts) != 1 || !strings.Contains(d.Doubts[0], "less urgently than published (10 days, not 3 days & forensic investigation): three days cannot be met, approved by jo") {
		t.Errorf("replaced: doubts %q", d.Doubts)
	}

	human := read(t, head+"  human-impact:\n    rows: |\n      safety,mission,outcome\n"+
		"      negligible,mef failure,high\n      marginal,mef failure,high\n")
	if r := rule(t, human.Decide(given("no", "open", "no", "partial", "none", "1", "5.0")), "ssvc-deployer"); r.Inputs[3].Value != "high" || !strings.Contains(r.Inputs[3].Source, "with rows of acme 3") {
		t.Errorf("own human impact: %+v", r.Inputs[3])
	}
	tree := read(t, head+"  ssvc-deployer:\n    rows: |\n      exploitation,exposure,automatable,human-impact,outcome\n      active,open,yes,medium,immediate\n")
	if r := rule(t, tree.Decide(given("yes", "open", "yes", "partial", "active", "1", "5.0")), "ssvc-deployer"); r.Days != 3 || r.Result != "immediate: 3 d (the published table: out-of-cycle)" {
		t.Errorf("own tree: %+v", r)
	}

	for name, c := range map[string][2]string{
		"looser without replace": {bod("", "      no,yes,yes,total,4 days\n"), `less urgent than "3 days" of the published row 15, which takes replace: true`},
		"without the forensic investigation": {bod("", "      yes,yes,yes,total,3 days\n"),
			"less urgent than"},
		"replace without a reason":     {bod("    replace: true\n    approver: jo\n", loose()), "takes a reason and an approver"},
		"replace without an approver":  {bod("    replace: true\n    reason: r\n    approver: ' '\n", loose()), "takes a reason and an approver"},
		"replace with rows missing":    {bod(approved, "      no,yes,yes,total,4 days\n"), "a row for each of the 16 combinations, and this one has 1"},
		"a row twice":                  {bod("", "      no,yes,yes,total,2 days\n      no,yes,yes,total,1 days\n"), "row 2: exploited no, exposed yes, automatable yes, impact total stands there twice"},
		"not monotone":                 {bod("", "      no,no,no,partial,3 days\n"), "and the worse"},
		"a value that there is not":    {bod("", "      no,perhaps,yes,total,2 days\n"), `row 1: "perhaps" is no value of exposed, which are no, yes`},
		"an outcome that there is not": {bod("", "      no,yes,yes,total,soon\n"), `row 1: "soon" is no outcome`},
		"a tier where days are":        {bod("", "      no,yes,yes,total,immediate\n"), "is no outcome of this table"},
		"a column missing":             {bod("", "      no,yes,yes,2 days\n"), "row 1 is not 5 values"},
		"no rows":                      {bod("", ""), "there are no rows"},
		"no header":                    {head + "  bod-26-04:\n    rows: no,yes,yes,total,2 days\n", "the first line has to be exploited,exposed,automatable,impact,outcome"},
		"no text":                      {head + "  bod-26-04: {}\n", "has no rows"},
		"a list":                       {head + "  bod-26-04: {rows: [a]}\n", "tables.bod-26-04.rows has to be text"},
		"another table":                {head + "  bod-22-01: {rows: a}\n", `tables has a key "bod-22-01" that there is not`},
		"an unclosed quote":            {bod("", "      \"no,yes\n"), "row 1 is not 5 values"},
	} {
		_, err := ReadPolicy([]byte(c[0]))
		if err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadPoliciesAreRefused(t *testing.T) {
	const ok = "name: a\nversion: '1'\n"
	for name, c := range map[string][3]string{ // text, rule, message
		"empty":                 {"", "policy-syntax", "empty"},
		"a comment":             {"# nothing\n", "policy-syntax", "empty"},
		"not YAML":              {"name: [", "policy-syntax", "is not YAML"},
		"two documents":         {ok + "---\n" + ok, "policy-syntax", "more than one"},
		"a list":                {"- a\n", "policy-value", "the policy has to be a mapping"},
		"null":                  {"null\n", "policy-value", "the policy has to be a mapping"},
		"no name":               {"version: '1'\n", "policy-name", "name"},
		"a bad name":            {"name: A b\nversion: '1'\n", "policy-name", "name"},
		"no version":            {"name: a\n", "policy-version", "version"},
		"a bad version":         {"name: a\nversion: a b\n", "policy-version", "version"},
		"an unknown key":        {ok + "slas: {}\n", "policy-key", `the policy has a key "slas"`},
		"an unknown inner key":  {ok + "epss: {treshold: 1}\n", "policy-key", `epss has a key "treshold"`},
		"a key twice":           {ok + "floor: none\nfloor: none\n", "policy-key", "floor stands there twice"},
		"an alias":              {ok + "sla: &x {immediate: 2}\nstale-after: *x\n", "policy-value", "stale-after has to be a mapping"},
		"a key that is a list":  {ok + "? [a]\n: b\n", "policy-key", "has a key"},
		"days as text":          {ok + "sla: {immediate: soon}\n", "policy-value", "sla.immediate has to be a number of days"},
		"no days":               {ok + "sla: {immediate: 0}\n", "policy-value", "sla.immediate"},
		"too many days":         {ok + "sla: {scheduled: 3651}\n", "policy-value", "sla.scheduled"},
		"days for defer":        {ok + "sla: {defer: 100}\n", "policy-key", "defer"},
		"sla out of order":      {ok + "sla: {immediate: 15}\n", "policy-order", "more days to what is more urgent"},
		"a floor that is text":  {ok + "floor: some\n", "policy-value", "floor has to be a mapping"},
		"a floor above ten":     {ok + "floor: {score: 11}\n", "policy-value", "floor.score has to be a number from 0 to 10"},
		"a floor that is NaN":   {ok + "floor: {score: .nan}\n", "policy-value", "floor.score"},
		"a threshold above one": {ok + "epss: {threshold: 2}\n", "policy-value", "epss.threshold"},
		"a model with a break":  {ok + "epss: {model: \"a\\nb\"}\n", "policy-value", "text on one line"},
		"no profile":            {ok + "overlay: {}\n", "policy-value", "has to have a profile"},
		"a profile unknown":     {ok + "overlay: {profile: iso}\n", "policy-value", "one of none, fedramp, pci, own"},
		"own without days":      {ok + "overlay: {profile: own}\n", "policy-value", "days by rating with the profile own"},
		"days without own":      {ok + "overlay: {profile: pci, days: {high: 1}}\n", "policy-value", "days by rating with the profile own"},
		"overlay out of order":  {ok + "overlay: {profile: own, days: {high: 10, critical: 11}}\n", "policy-order", "more days to the rating critical than to high"},
		"overlay with a hole":   {ok + "overlay: {profile: own, days: {high: 10}}\n", "policy-order", "more days to the rating critical than to high"},
		"a kind unknown":        {ok + "stale-after: {nvd: 3}\n", "policy-key", `"nvd"`},
		"three tiers":           {ok + "mission: [{safety: negligible, mission: degraded}]\n", "policy-value", "a list of 4"},
		"half a tier":           {ok + "mission: [{safety: negligible}, {}, {}, {}]\n", "policy-value", "mission[0] has to have safety and mission"},
		"falling tiers": {ok + "mission: [{safety: negligible, mission: mission failure}, {safety: negligible, mission: degraded}, {safety: negligible, mission: degraded}, {safety: negligible, mission: degraded}]\n",
			"policy-order", "mission tier 1 has the human impact low, less than very high of tier 0"},
		"too large": {ok + "# " + strings.Repeat("x", maxPolicy), "policy-size", "larger than 64 KiB"},
	} {
		p, err := ReadPolicy([]byte(c[0]))
		e, isProblem := problem.As(err)
		if p != nil || !isProblem || e.Rule != c[1] || !strings.Contains(e.Message, c[2]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := ReadPolicy([]byte(ok + "\nfloor:\n  score: x\n"))
	if e, _ := problem.As(err); e == nil || len(e.Facts) != 1 || e.Facts[0].Value != "5" {
		t.Errorf("the line is not said: %v", err)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(Default().Document()))
	f.Add([]byte("name: a\nversion: '1'\nfloor: none\noverlay: {profile: own, days: {critical: 1}}\nepss: {model: v5}\n"))
	f.Add([]byte("name: a\nversion: '1'\ntables:\n  bod-26-04:\n    replace: true\n    reason: \"\\u00e9 \\\"x\\\"\"\n    approver: jo\n    rows: |\n      exploited,exposed,automatable,impact,outcome\n" + loose()))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("name: a\nversion: '1'\nmission:\n- {safety: negligible, mission: degraded}\n"))
	in := given("no", "open", "yes", "total", "none", "0", "9.8")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ReadPolicy(b)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Fatalf("not a problem: %v", err)
			}
			return
		}
		again, err := ReadPolicy([]byte(p.Document()))
		if err != nil || again.Digest() != p.Digest() {
			t.Fatalf("the canonical form is not the same policy: %v\n%s", err, p.Document())
		}
		if d := p.Decide(in); d.Deadline.IsZero() && p.bod.own == nil {
			t.Fatalf("no deadline: %+v", d)
		}
	})
}
