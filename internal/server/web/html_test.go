package web

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
)

// element is a page, or a part of one, as a strict XML parser reads it: a
// forgotten end tag or quote is an error.
type element struct {
	name     string
	attrs    map[string]string
	children []*element
	text     string // of the element and all below it, in order
	said     strings.Builder
	parent   *element
}

func parseHTML(t testing.TB, page string) *element {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	root := &element{name: "#document", attrs: map[string]string{}}
	at := root
	for {
		token, err := d.Token()
		if err == io.EOF {
			if at != root {
				t.Fatalf("<%s> is not closed", at.name)
			}
			root.text = root.said.String()
			return root
		}
		if err != nil {
			t.Fatalf("the page is not well formed: %v\n%s", err, page)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attrs: map[string]string{}, parent: at}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			at.children = append(at.children, e)
			at = e
		case xml.EndElement:
			switch at.name {
			case "span", "a", "code", "strong", "wbr", "b", "time", "use", "svg", "i":
			default: // words of two blocks are two words
				at.say(" ")
			}
			at.text = at.said.String()
			at = at.parent
		case xml.CharData:
			at.say(string(token))
		}
	}
}

func (e *element) say(text string) {
	for ; e != nil; e = e.parent {
		e.said.WriteString(text)
	}
}

// all finds the elements that a selector describes: compounds of a name,
// .class, #id, [attr] and [attr=value], separated by spaces for "somewhere
// below".
func (e *element) all(selector string) []*element {
	found := []*element{e}
	for compound := range strings.FieldsSeq(selector) {
		var below []*element
		for _, from := range found {
			from.walk(func(x *element) {
				if x.fits(compound) && !slices.Contains(below, x) {
					below = append(below, x)
				}
			})
		}
		found = below
	}
	return found
}

func (e *element) walk(fn func(*element)) {
	for _, c := range e.children {
		fn(c)
		c.walk(fn)
	}
}

func (e *element) fits(compound string) bool {
	for compound != "" {
		kind := byte(0)
		rest := compound
		if strings.IndexByte(".#[", compound[0]) >= 0 {
			kind, rest = compound[0], compound[1:]
		}
		var part string
		if kind == '[' {
			part, compound, _ = strings.Cut(rest, "]")
		} else {
			end := strings.IndexAny(rest, ".#[")
			if end < 0 {
				end = len(rest)
			}
			part, compound = rest[:end], rest[end:]
		}
		switch kind {
		case '.':
			if !slices.Contains(strings.Fields(e.attrs["class"]), part) {
				return false
			}
		case '#':
			if e.attrs["id"] != part {
				return false
			}
		case '[':
			name, value, equals := strings.Cut(part, "=")
			if have, ok := e.attrs[name]; !ok || equals && have != value {
				return false
			}
		default:
			if e.name != part {
				return false
			}
		}
	}
	return true
}

// words is the text of an element with single spaces.
func (e *element) words() string { return strings.Join(strings.Fields(e.text), " ") }

// one is the only element of a selector.
func (e *element) one(t testing.TB, selector string) *element {
	t.Helper()
	found := e.all(selector)
	if len(found) != 1 {
		t.Fatalf("%d elements fit %q, want one", len(found), selector)
	}
	return found[0]
}

// checkPage holds every page to what the design asks for: one h1, landmarks, a
// skip link, names for controls, ids once, nothing inline and nothing foreign.
func checkPage(t testing.TB, doc *element) {
	t.Helper()
	for selector, want := range map[string]int{
		"h1": 1, "main#main": 1, "header": 1, "footer": 1, "a.skip": 1, "title": 1,
		"script": 0, "style": 0, "[style]": 0, "iframe": 0, "img": 0, "[onclick]": 0, "base": 0,
	} {
		if got := len(doc.all(selector)); got != want {
			t.Errorf("%d elements %q, want %d", got, selector, want)
		}
	}
	ids := map[string]bool{}
	labels := map[string]bool{}
	pictures := map[string]bool{}
	for _, s := range doc.all("symbol") {
		pictures["#"+s.attrs["id"]] = true
	}
	doc.walk(func(e *element) {
		if id := e.attrs["id"]; id != "" {
			if ids[id] {
				t.Errorf("id %q is there twice", id)
			}
			ids[id] = true
		}
		if e.name == "label" {
			labels[e.attrs["for"]] = true
		}
		for name := range e.attrs {
			if strings.HasPrefix(name, "on") {
				t.Errorf("<%s> has the attribute %s", e.name, name)
			}
		}
		if href := e.attrs["href"]; strings.HasPrefix(strings.ToLower(href), "javascript:") || strings.HasPrefix(strings.ToLower(href), "data:") {
			t.Errorf("a link to %s", href)
		}
		if e.name == "link" && !strings.HasPrefix(e.attrs["href"], "/ui/assets/") {
			t.Errorf("a foreign file: %s", e.attrs["href"])
		}
		if e.name == "use" && !pictures[e.attrs["href"]] {
			t.Errorf("there is no picture %s", e.attrs["href"])
		}
	})
	doc.walk(func(e *element) {
		switch e.name {
		case "input", "select":
			if e.attrs["type"] != "hidden" && !labels[e.attrs["id"]] {
				t.Errorf("<%s name=%q> has no label", e.name, e.attrs["name"])
			}
		case "form":
			if m := e.attrs["method"]; m != "get" && m != "post" {
				t.Errorf("a form without method")
			}
		case "table":
			if len(e.children) == 0 || e.children[0].name != "caption" {
				t.Errorf("a table without caption")
			}
		case "button":
			if e.words() == "" {
				t.Errorf("a button without a name")
			}
		case "a":
			if e.words() == "" && e.attrs["aria-label"] == "" {
				t.Errorf("a link without words to %s", e.attrs["href"])
			}
		}
		if of := e.attrs["aria-labelledby"]; of != "" && !ids[of] {
			t.Errorf("labelled by %q, which is not there", of)
		}
		if of := e.attrs["aria-describedby"]; of != "" && !ids[of] {
			t.Errorf("described by %q, which is not there", of)
		}
	})
	checkAccessible(t, doc)
	if n := len(doc.all(".main")); n > 1 {
		t.Errorf("%d filled buttons, at most one is allowed", n)
	}
	if n := len(doc.all("h1 ~ .badge")) + len(doc.all(".title .badge")); n > 3 {
		t.Errorf("%d badges in the head, at most three are allowed", n)
	}
	if strings.Contains(doc.text, "%!") || strings.Contains(doc.text, "<nil>") || strings.Contains(doc.text, "0001-01-01") {
		t.Errorf("the page shows a value that nobody set: %s", doc.words())
	}
}
