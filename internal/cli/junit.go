package cli

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// JUnit's XML, as GitLab, Jenkins and others read it: each rule of each chart
// is a test case. It fails when one of its findings is at least as severe as
// --fail-on (high, when that is not given); lesser ones are in its output. What
// could not be checked is an error.

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Error   *junitMessage `xml:"error,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// junit is a report as JUnit's XML.
func (r report) junit() ([]byte, error) {
	all := junitSuites{Name: "chartkeep " + r.command}
	suites := map[string]int{}
	suite := func(name string) *junitSuite {
		i, known := suites[name]
		if !known {
			i = len(all.Suites)
			suites[name] = i
			all.Suites = append(all.Suites, junitSuite{Name: name})
		}
		return &all.Suites[i]
	}
	type place struct{ chart, rule string }
	cases := map[place][]reported{}
	var order []place
	for _, f := range r.findings {
		at := place{f.chart, f.Rule}
		if cases[at] == nil {
			order = append(order, at)
		}
		cases[at] = append(cases[at], f)
	}
	for _, at := range order {
		c := junitCase{Name: at.rule, Class: "chartkeep." + r.command + "." + at.chart, File: cases[at][0].file}
		var failed, passed []string
		for _, f := range cases[at] {
			line := string(f.Severity) + ": " + printable(f.text())
			if f.Severity.Rank() >= r.failsAt().Rank() {
				failed = append(failed, line)
			} else {
				passed = append(passed, line)
			}
		}
		c.Output = strings.Join(passed, "\n")
		s := suite(at.chart)
		if len(failed) > 0 {
			c.Failure = &junitMessage{Message: failed[0], Type: at.rule, Text: strings.Join(failed, "\n")}
			s.Failures++
		}
		s.Cases = append(s.Cases, c)
	}
	for _, what := range r.incomplete {
		s := suite(r.command)
		s.Cases = append(s.Cases, junitCase{Name: "not checked", Class: "chartkeep." + r.command, Error: &junitMessage{Message: printable(what), Type: "not-checked"}})
		s.Errors++
	}
	if len(all.Suites) == 0 {
		s := suite(r.command)
		s.Cases = append(s.Cases, junitCase{Name: "no findings", Class: "chartkeep." + r.command})
	}
	for i := range all.Suites {
		s := &all.Suites[i]
		s.Tests = len(s.Cases)
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}
	var out bytes.Buffer
	out.WriteString(xml.Header)
	enc := xml.NewEncoder(&out)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return nil, fmt.Errorf("encode JUnit XML: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
