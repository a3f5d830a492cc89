package advisory

import (
	"encoding/json"
	"strings"
	"time"
)

var (
	cveNames       = []string{"cveMetadata", "containers"}
	metadataNames  = []string{"cveId"}
	containerNames = []string{"adp"}
	adpNames       = []string{"providerMetadata", "metrics"}
	providerNames  = []string{"shortName", "dateUpdated"}
	metricNames    = []string{"other", "cvssV2_0", "cvssV3_0", "cvssV3_1", "cvssV4_0"}
	scoreNames     = []string{"vectorString"}
	otherNames     = []string{"type", "content"}
	contentNames   = []string{"timestamp", "options", "dateAdded"}
	assessedNames  = []string{"cve", "modified", "dated", "exploitation", "automatable", "total", "kev", "scores"}
)

// assessed is all that is kept of a CVE record: what CISA says of it. The rest
// of such a record is fifty times as long.
type assessed struct {
	CVE          string         `json:"cve"`
	Modified     time.Time      `json:"modified,omitzero"` // the container
	Dated        time.Time      `json:"dated,omitzero"`    // the points
	Exploitation Exploitation   `json:"exploitation,omitempty"`
	Automatable  *bool          `json:"automatable,omitempty"`
	Total        *bool          `json:"total,omitempty"`
	KEV          time.Time      `json:"kev,omitzero"`
	Scores       []writtenScore `json:"scores,omitempty"`
}

// says is whether there is anything to keep.
func (a *assessed) says() bool {
	return a.Exploitation != "" || a.Automatable != nil || a.Total != nil || !a.KEV.IsZero() || len(a.Scores) > 0
}

// reduceCVE takes what CISA says out of a CVE record, JSON 5. The record is ""
// for what is no CVE record, which is a fault, and for one of which CISA says
// nothing, which is none.
func reduceCVE(raw string) (cve, record string, modified time.Time, faults []string) {
	c := &cursor{in: raw}
	var a assessed
	c.object(cveNames, func(name string) {
		if name == "cveMetadata" {
			c.object(metadataNames, func(string) { a.CVE = c.cve() })
			return
		}
		c.object(containerNames, func(string) {
			c.list(func() { a.container(c) })
		})
	})
	switch {
	case !c.end():
		return "", "", time.Time{}, []string{"is no JSON"}
	case a.CVE == "":
		return "", "", time.Time{}, append(c.faults, "has no CVE id, and is no CVE record")
	case !a.says():
		return a.CVE, "", time.Time{}, c.faults
	}
	if a.Modified.IsZero() {
		a.Modified = a.Dated
	}
	b, _ := json.Marshal(a) // no error: texts, and times that were read from texts
	return a.CVE, string(b), a.Modified, c.faults
}

// container reads one container of an ADP, and takes what it says if the ADP
// is CISA's.
func (a *assessed) container(c *cursor) {
	var who string
	var said assessed
	faults, flaws := c.faults, c.flaws
	c.object(adpNames, func(name string) {
		if name == "providerMetadata" {
			c.object(providerNames, func(name string) {
				if name == "shortName" {
					who = c.text()
				} else {
					said.Modified = c.time()
				}
			})
			return
		}
		c.list(func() { said.metric(c) })
	})
	if who != "CISA-ADP" {
		c.faults, c.flaws = faults, flaws // of others
		return
	}
	said.CVE = a.CVE
	*a = said
}

func (a *assessed) metric(c *cursor) {
	c.object(metricNames, func(name string) {
		if name == "other" {
			a.other(c)
			return
		}
		c.object(scoreNames, func(string) {
			if vector := c.text(); vector != "" {
				a.Scores = append(a.Scores, writtenScore{"CVSS_V" + name[5:6], vector})
			}
		})
	})
}

// other reads a metric of a type that the CVE format leaves open. Of several
// sets of points the newest counts.
func (a *assessed) other(c *cursor) {
	var kind string
	var added time.Time
	points := assessed{}
	c.object(otherNames, func(name string) {
		if name == "type" {
			kind = c.text()
			return
		}
		if c.next() != '{' {
			c.skip() // as other types have it
			return
		}
		c.object(contentNames, func(name string) {
			switch name {
			case "timestamp":
				points.Dated = c.time()
			case "dateAdded":
				added = c.time()
			case "options":
				c.list(func() { points.option(c) })
			}
		})
	})
	switch {
	case kind == "kev":
		a.KEV = added
	case kind == "ssvc" && !points.Dated.Before(a.Dated):
		a.Dated, a.Exploitation, a.Automatable, a.Total = points.Dated, points.Exploitation, points.Automatable, points.Total
	}
}

// option reads one decision point. Its values come in upper and lower case.
func (a *assessed) option(c *cursor) {
	if !c.expect('{', "a mapping") {
		return
	}
	c.pairs(func(name string) {
		switch strings.ToLower(name) {
		case "exploitation":
			switch v := strings.ToLower(c.text()); v {
			case "none", "poc", "active":
				a.Exploitation = Exploitation(v)
			case "public poc":
				a.Exploitation = ExploitPoC
			default:
				c.fault("has the exploitation %s, which is none of none, poc and active", shown(v))
			}
		case "automatable":
			a.Automatable = c.choice("yes", "no")
		case "technical impact":
			a.Total = c.choice("total", "partial")
		default:
			c.skip()
		}
	})
}

// choice reads one of two words; nil for any other, which is a fault.
func (c *cursor) choice(yes, no string) *bool {
	v := strings.ToLower(c.text())
	if v != yes && v != no {
		c.fault("is %s, which is neither %s nor %s", shown(v), yes, no)
		return nil
	}
	b := v == yes
	return &b
}

// readPoints reads a record that reduceCVE made.
func readPoints(record string) (cve string, p Points, faults []string) {
	c := &cursor{in: record}
	var modified time.Time
	c.object(assessedNames, func(name string) {
		switch name {
		case "cve":
			cve = c.cve()
		case "modified":
			modified = c.time()
		case "dated":
			p.Dated = c.time()
		case "exploitation":
			p.Exploitation = Exploitation(c.text())
		case "automatable":
			p.Automatable = c.truth()
		case "total":
			p.Total = c.truth()
		case "kev":
			p.KEV = c.time()
		case "scores":
			p.Scores = c.severities()
		}
	})
	if !c.end() || cve == "" {
		return "", Points{}, []string{"is no record of CISA's points"}
	}
	if p.Dated.IsZero() {
		p.Dated = modified
	}
	return cve, p, c.faults
}

func (c *cursor) truth() *bool {
	if c.next() != 't' && c.next() != 'f' {
		c.fault("is no truth value")
		c.skip()
		return nil
	}
	b := c.raw() == "true"
	return &b
}
