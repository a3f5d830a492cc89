package advisory

import (
	"slices"
	"strings"
	"time"
)

var (
	documentNames   = []string{"@context", "@id", "author", "timestamp", "last_updated", "statements"}
	statementNames  = []string{"vulnerability", "timestamp", "last_updated", "products", "status", "justification", "impact_statement", "action_statement"}
	vulnNames       = []string{"@id", "name", "aliases"}
	productNames    = []string{"@id", "identifiers", "subcomponents"}
	identifierNames = []string{"purl"}
)

// The statuses, and the justifications of the first.
var (
	vexStatuses       = []string{"not_affected", "affected", "fixed", "under_investigation"}
	vexJustifications = []string{"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
		"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist"}
)

// document is an OpenVEX document. Statements about several products are one
// for each.
type document struct {
	id         string
	context    string
	author     string
	modified   time.Time
	statements []Statement
}

// readDocument reads an OpenVEX document, 0.2.0 or earlier. The id is "" for
// what is none. Since statements take deadlines away, one that the
// specification does not allow is a fault and is left out.
func readDocument(raw string) (document, []string) {
	c := &cursor{in: raw}
	var d document
	var issued time.Time
	c.object(documentNames, func(name string) {
		switch name {
		case "@context":
			d.context = c.text()
		case "@id":
			d.id = c.text()
		case "author":
			d.author = c.text()
		case "timestamp":
			issued = c.time()
		case "last_updated":
			d.modified = c.time()
		case "statements":
			c.list(func() { d.statement(c) })
		}
	})
	switch {
	case !c.end():
		return document{}, []string{"is no JSON"}
	case !strings.HasPrefix(d.context, "https://openvex.dev/ns"):
		return document{}, append(c.faults, "is no OpenVEX document: its @context does not say so")
	case d.id == "" || len(d.id) > 1000:
		return document{}, append(c.faults, "is an OpenVEX document without an @id")
	}
	if d.modified.IsZero() {
		d.modified = issued
	}
	for i := range d.statements {
		s := &d.statements[i]
		s.Document, s.Author = d.id, d.author
		if s.Time.IsZero() {
			s.Time = d.modified
		}
	}
	return d, c.faults
}

// product is one thing under all its names.
type product struct{ names, parts []string }

func (d *document) statement(c *cursor) {
	var s Statement
	var issued time.Time
	var products []product
	flaws := c.flaws
	c.object(statementNames, func(name string) {
		switch name {
		case "vulnerability":
			s.Vulnerabilities = c.vulnerability()
		case "timestamp":
			issued = c.time()
		case "last_updated":
			s.Time = c.time()
		case "products":
			c.list(func() { products = append(products, c.product()) })
		case "status":
			s.Status = c.text()
		case "justification":
			s.Justification = c.text()
		case "impact_statement":
			s.Impact = c.text()
		case "action_statement":
			s.Action = c.text()
		}
	})
	if s.Time.IsZero() {
		s.Time = issued
	}
	switch {
	case c.flaws > flaws: // said already
		return
	case len(s.Vulnerabilities) == 0:
		c.fault("names no vulnerability")
		return
	case !slices.Contains(vexStatuses, s.Status):
		c.fault("have the status %s, which OpenVEX does not know", shown(s.Status))
		return
	case s.Status == "not_affected" && s.Justification == "" && s.Impact == "":
		c.fault("say not_affected of %s and not why", shown(s.Vulnerabilities[0]))
		return
	case s.Status == "not_affected" && s.Justification != "" && !slices.Contains(vexJustifications, s.Justification):
		c.fault("have the justification %s, which OpenVEX does not know", shown(s.Justification))
		return
	case len(products) == 0:
		c.fault("name no product for %s", shown(s.Vulnerabilities[0]))
		return
	}
	for _, p := range products {
		s.Products, s.Subcomponents = p.names, p.parts
		d.statements = append(d.statements, s)
	}
}

// vulnerability reads the name of one and its aliases. Before 0.2.0 it was a
// text.
func (c *cursor) vulnerability() []string {
	if c.next() == '"' {
		return []string{c.said()}
	}
	var out []string
	c.object(vulnNames, func(name string) {
		switch name {
		case "aliases":
			out = append(out, c.texts()...)
		case "name":
			if s := c.text(); s != "" {
				out = slices.Insert(out, 0, s)
			}
		default: // @id: a URL mostly, which names the vulnerability with its last part
			if s := c.text(); s != "" {
				out = append(out, s[strings.LastIndexByte(s, '/')+1:])
			}
		}
	})
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// product reads one product. Before 0.2.0 it was a text.
func (c *cursor) product() product {
	if c.next() == '"' {
		return product{names: []string{c.said()}}
	}
	var p product
	c.object(productNames, func(name string) {
		switch name {
		case "@id":
			if s := c.text(); s != "" {
				p.names = append(p.names, s)
			}
		case "identifiers":
			c.object(identifierNames, func(string) {
				if s := c.text(); s != "" {
					p.names = append(p.names, s)
				}
			})
		case "subcomponents":
			c.list(func() { p.parts = append(p.parts, c.product().names...) })
		}
	})
	if len(p.names) == 0 {
		c.fault("have neither @id nor purl")
	}
	return p
}
