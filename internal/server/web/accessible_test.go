package web

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// checkAccessible holds a page to what WCAG 2.2 asks and the text of a page can
// show: names, roles, headings, tables, lists and references. checkPage calls it
// for every page that a test renders.
func checkAccessible(t testing.TB, doc *element) {
	t.Helper()
	if doc.one(t, "html").attrs["lang"] != "en" {
		t.Error("the page does not say its language")
	}
	ids := map[string]*element{}
	labelled := map[string]bool{}
	doc.walk(func(e *element) {
		ids[e.attrs["id"]] = e
		if e.name == "label" && e.words() != "" {
			labelled[e.attrs["for"]] = true
		}
	})
	level := 0
	landmarks := map[string]bool{}
	doc.walk(func(e *element) {
		for _, name := range []string{"aria-labelledby", "aria-describedby", "aria-controls", "for", "list"} {
			for id := range strings.FieldsSeq(e.attrs[name]) {
				if ids[id] == nil {
					t.Errorf("<%s>: %s names %q, which is not there", e.name, name, id)
				}
			}
		}
		if n, err := strconv.Atoi(e.attrs["tabindex"]); n > 0 || e.attrs["tabindex"] != "" && err != nil {
			t.Errorf("<%s> has the tabindex %s", e.name, e.attrs["tabindex"])
		} else if err == nil && n == 0 && nameOfElement(e, ids) == "" {
			t.Errorf("<%s class=%q> is reached by the keyboard and has no name", e.name, e.attrs["class"])
		}
		if len(e.name) == 2 && e.name[0] == 'h' && e.name[1] >= '1' && e.name[1] <= '6' {
			n := int(e.name[1] - '0')
			if level > 0 && n > level+1 {
				t.Errorf("the heading %q of level %d follows one of level %d", e.words(), n, level)
			}
			if level = n; e.words() == "" {
				t.Errorf("a heading of level %d is empty: %v", n, e.attrs)
			}
		}
		checkRole(t, e, ids, landmarks)
		checkParts(t, e, ids, labelled)
	})
}

// nameOfElement is the name that assistive technology reads out, as far as the
// pages use its sources.
func nameOfElement(e *element, ids map[string]*element) string {
	if label := e.attrs["aria-label"]; label != "" {
		return label
	}
	var words []string
	for id := range strings.FieldsSeq(e.attrs["aria-labelledby"]) {
		if ids[id] != nil {
			words = append(words, ids[id].words())
		}
	}
	return strings.Join(words, " ")
}

// rolesOf are the roles that the pages give to elements.
var rolesOf = map[string][]string{
	"table": {"table"}, "thead": {"rowgroup"}, "tbody": {"rowgroup"}, "tr": {"row"}, "th": {"columnheader", "rowheader"}, "td": {"cell"},
	"svg": {"img"}, "form": {"search"}, "div": {"alert", "region", "status"}, "p": {"status"}, "pre": {"region"},
}

// checkRole looks at roles, and at the names of landmarks, which tell them apart.
func checkRole(t testing.TB, e *element, ids map[string]*element, landmarks map[string]bool) {
	t.Helper()
	role := e.attrs["role"]
	if role != "" && !slices.Contains(rolesOf[e.name], role) {
		t.Errorf("<%s> has the role %s", e.name, role)
	}
	if want := map[string]string{"col": "columnheader", "row": "rowheader"}[e.attrs["scope"]]; e.name == "th" && role != "" && role != want {
		t.Errorf("<th scope=%q> has the role %s", e.attrs["scope"], role)
	}
	kind := e.name
	if role == "search" || role == "region" {
		kind = role
	}
	name := nameOfElement(e, ids)
	switch {
	case kind == "nav" || kind == "search" || kind == "region":
		if name == "" {
			t.Errorf("a %s without a name", kind)
		}
	case (kind == "section" || kind == "form") && name != "":
	default:
		return
	}
	if landmarks[kind+name] {
		t.Errorf("two parts of kind %s are called %q", kind, name)
	}
	landmarks[kind+name] = true
}

// checkParts looks at one element and what stands in it.
func checkParts(t testing.TB, e *element, ids map[string]*element, labelled map[string]bool) {
	t.Helper()
	hidden := e.attrs["aria-hidden"] == "true"
	switch e.name {
	case "input", "select", "textarea":
		if e.attrs["type"] != "hidden" && !labelled[e.attrs["id"]] && !within(e, "label") {
			t.Errorf("<%s name=%q> has no label", e.name, e.attrs["name"])
		}
	case "svg":
		if !hidden && (e.attrs["role"] != "img" || nameOfElement(e, ids) == "") {
			t.Errorf("a picture is neither hidden nor named: %v", e.attrs)
		}
	case "th":
		if s := e.attrs["scope"]; s != "col" && s != "row" {
			t.Errorf("<th> %q has the scope %q", e.words(), s)
		}
		if e.words() == "" && within(e, "thead") { // a row is headed by what somebody called it, which may be nothing
			t.Error("<th> without words")
		}
	case "caption":
		if e.words() == "" || e.attrs["class"] == "sr" { // a caption that is taken out of its table makes the page wider
			t.Errorf("a caption is empty, or has no element of its own for readers alone")
		}
	case "ul", "ol":
		checkChildren(t, e, "li")
	case "dl":
		checkChildren(t, e, "div", "dt", "dd")
	case "details":
		if len(e.children) == 0 || e.children[0].name != "summary" || e.children[0].words() == "" {
			t.Errorf("<details> does not begin with a summary")
		}
	case "a", "button", "summary":
		for _, inner := range []string{"a", "button", "input", "select", "summary"} {
			if len(e.all(inner)) > 0 {
				t.Errorf("<%s> %q holds <%s>", e.name, e.words(), inner)
			}
		}
	case "form":
		if within(e, "form") {
			t.Error("a form stands in a form")
		}
	case "time":
		if e.attrs["datetime"] == "" {
			t.Errorf("<time> %q without its datetime", e.words())
		}
	}
}

func checkChildren(t testing.TB, e *element, names ...string) {
	t.Helper()
	for _, c := range e.children {
		if !slices.Contains(names, c.name) {
			t.Errorf("<%s class=%q> holds <%s>", e.name, e.attrs["class"], c.name)
		}
	}
}

func within(e *element, name string) bool {
	for p := e.parent; p != nil; p = p.parent {
		if p.name == name {
			return true
		}
	}
	return false
}

// TestAccessibleChecks: each of the checks sees what it is for.
func TestAccessibleChecks(t *testing.T) {
	page := func(body string) string {
		return `<html lang="en"><body><nav aria-label="Main"></nav><h1>A</h1>` + body + `</body></html>`
	}
	for _, tt := range []struct{ body, says string }{
		{`<h2>B</h2><h3>C</h3><h2>D</h2><p id="p">e</p><div role="region" tabindex="0" aria-labelledby="p"></div>`, ""},
		{`<h3>C</h3>`, "follows one of level 1"},
		{`<h2> </h2>`, "is empty"},
		{`<h2 aria-describedby="none">B</h2>`, "is not there"},
		{`<label for="x">X</label>`, "is not there"},
		{`<input name="q"/>`, "no label"},
		{`<textarea name="q" id="q"></textarea><label for="q"> </label>`, "no label"},
		{`<svg></svg>`, "neither hidden nor named"},
		{`<svg role="img" aria-label="x"></svg><svg aria-hidden="true"></svg>`, ""},
		{`<table><caption>x</caption><tr><th>x</th></tr></table>`, "has the scope"},
		{`<table><caption>x</caption><tr><th scope="col" role="rowheader">x</th></tr></table>`, "has the role"},
		{`<table><caption>x</caption><thead><tr><th scope="col"> </th></tr></thead></table>`, "without words"},
		{`<table><caption class="sr">x</caption></table>`, "a caption"},
		{`<nav aria-label="Main"></nav>`, "two parts"},
		{`<nav></nav>`, "without a name"},
		{`<ul><p>x</p></ul>`, "holds <p>"},
		{`<dl><dt>x</dt></dl>`, ""},
		{`<details><p>x</p></details>`, "begin with a summary"},
		{`<a href="/"><button>x</button></a>`, "holds <button>"},
		{`<form method="get"><form method="get"></form></form>`, "a form stands in a form"},
		{`<figure role="group" aria-label="x"></figure>`, "has the role"},
		{`<div tabindex="0"></div>`, "has no name"},
		{`<p tabindex="3">x</p>`, "tabindex"},
		{`<time>x</time>`, "datetime"},
	} {
		got := &noted{TB: t}
		checkAccessible(got, parseHTML(t, page(tt.body)))
		if said := strings.Join(got.errors, "; "); tt.says == "" && said != "" || !strings.Contains(said, tt.says) {
			t.Errorf("%s: %q, want %q", tt.body, said, tt.says)
		}
	}
}

// noted is a test that keeps what would have failed it.
type noted struct {
	testing.TB
	errors []string
}

func (n *noted) Helper()                      {}
func (n *noted) Error(args ...any)            { n.errors = append(n.errors, fmt.Sprint(args...)) }
func (n *noted) Errorf(f string, args ...any) { n.errors = append(n.errors, fmt.Sprintf(f, args...)) }

type colour [3]float64

// tokens reads the pairs light-dark(day, night) of the style sheet.
func tokens(t *testing.T) (day, night map[string]colour) {
	t.Helper()
	sheet, err := os.ReadFile("static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	day, night = map[string]colour{}, map[string]colour{}
	for _, m := range regexp.MustCompile(`--([a-z0-9-]+):\s+light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)`).FindAllStringSubmatch(string(sheet), -1) {
		for i, to := range []map[string]colour{day, night} {
			n, err := strconv.ParseUint(m[2+i], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			to[m[1]] = colour{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
		}
	}
	return day, night
}

// luminance and contrast are those of WCAG 2.2.
func (c colour) luminance() float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := c[i] / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// mix is color-mix(in srgb, a part, b).
func mix(a colour, part float64, b colour) (out colour) {
	for i := range out {
		out[i] = a[i]*part + b[i]*(1-part)
	}
	return out
}

// TestContrast: every pair of text and ground that the sheet makes has the
// contrast that WCAG 2.2 AA asks, by day and at night.
func TestContrast(t *testing.T) {
	if got := contrast(colour{}, colour{255, 255, 255}); math.Abs(got-21) > 1e-9 {
		t.Fatalf("black on white is %f", got)
	}
	grounds := []string{"paper", "sheet", "sunk"}
	day, night := tokens(t)
	for name, c := range map[string]map[string]colour{"day": day, "night": night} {
		if len(c) < 24 {
			t.Fatalf("%s has %d colours", name, len(c))
		}
		for _, state := range []string{"bad", "warn"} { // an alarm lies on a mixture
			c["alarm-"+state] = mix(c[state+"-bg"], .55, c["paper"])
		}
		c["main-hover"] = mix(c["accent"], .86, c["ink"])
		pairs := map[string][]string{
			"ink": append(slices.Clone(grounds), "depth-1", "depth-2", "depth-3", "depth-4", "alarm-bad", "alarm-warn", "unk-bg", "ok-bg", "bad-bg"), "ink-2": append(slices.Clone(grounds), "alarm-bad", "alarm-warn", "unk-bg"),
			"ink-3": grounds, "on-accent": {"accent", "main-hover"},
			"accent": append(slices.Clone(grounds), "accent-bg", "alarm-bad", "alarm-warn", "unk-bg"),
			"bad":    append(slices.Clone(grounds), "bad-bg", "alarm-bad"), "warn": append(slices.Clone(grounds), "warn-bg", "alarm-warn", "alarm-bad"),
			"ok": append(slices.Clone(grounds), "ok-bg"), "unk": append(slices.Clone(grounds), "unk-bg", "alarm-bad"),
		}
		for _, text := range slices.Sorted(maps.Keys(pairs)) {
			for _, ground := range pairs[text] {
				if got := contrast(c[text], c[ground]); got < 4.5 {
					t.Errorf("%s: %s on %s has a contrast of %.2f, and 4.5 is the least", name, text, ground, got)
				}
			}
		}
		for _, ground := range grounds { // edges of controls, and the ring around what has the focus
			for _, edge := range []string{"edge", "accent", "bad"} {
				if got := contrast(c[edge], c[ground]); got < 3 {
					t.Errorf("%s: the edge %s on %s has a contrast of %.2f, and 3 is the least", name, edge, ground, got)
				}
			}
		}
	}
}
