package advisory

import (
	"strings"
	"time"
)

var (
	catalogueNames = []string{"catalogVersion", "dateReleased", "count", "vulnerabilities"}
	exploitedNames = []string{"cveID", "dateAdded", "dueDate", "knownRansomwareCampaignUse", "vulnerabilityName", "requiredAction"}
)

// catalogue is CISA's list in one state.
type catalogue struct {
	dated   time.Time
	count   string // as it says; "" where it does not
	listed  bool   // it has a list
	entries []string
	at      []int // where each begins
}

// readCatalogue reads the catalogue's JSON; not ok for what is no JSON.
func readCatalogue(text string) (k catalogue, faults []string, ok bool) {
	c := &cursor{in: text}
	var version, released time.Time
	c.object(catalogueNames, func(name string) {
		switch name {
		case "catalogVersion":
			version = c.time()
		case "dateReleased":
			released = c.time()
		case "count":
			k.count = c.raw()
		case "vulnerabilities":
			k.listed = c.next() == '['
			c.list(func() {
				c.next()
				k.at = append(k.at, c.at)
				k.entries = append(k.entries, c.raw())
			})
		}
	})
	if k.dated = released; released.IsZero() {
		k.dated = version
	}
	return k, c.faults, c.end()
}

// readExploited reads an entry of the catalogue; CVE is "" for what is none. An
// entry counts whatever of the rest cannot be read.
func readExploited(raw string) (Exploited, []string) {
	c := &cursor{in: raw}
	var e Exploited
	c.object(exploitedNames, func(name string) {
		switch name {
		case "cveID":
			e.CVE = c.cve()
		case "dateAdded":
			e.Added = c.time()
		case "dueDate":
			e.Due = c.time()
		case "knownRansomwareCampaignUse":
			e.Ransomware = strings.EqualFold(c.text(), "known")
		case "vulnerabilityName":
			e.Name = cut(c.text(), maxSummary)
		case "requiredAction":
			e.Action = cut(c.text(), maxDetails)
		}
	})
	if !c.end() {
		return Exploited{}, []string{"is no JSON"}
	}
	if e.CVE == "" {
		c.fault("has no CVE id")
	}
	return e, c.faults
}

// cve reads a CVE id.
func (c *cursor) cve() string {
	s := c.text()
	if s != "" && !validCVE(s) {
		c.fault("%s is no CVE id", shown(s))
		return ""
	}
	return s
}

// validCVE says whether a text is CVE, a year and at least four digits.
func validCVE(s string) bool {
	rest, ok := strings.CutPrefix(s, "CVE-")
	year, number, cut := strings.Cut(rest, "-")
	return ok && cut && len(year) == 4 && len(number) >= 4 && len(number) <= 19 &&
		strings.Trim(year+number, "0123456789") == ""
}
