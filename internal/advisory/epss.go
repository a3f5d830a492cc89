package advisory

import (
	"strconv"
	"strings"
	"time"
)

// scores is the head of FIRST's table.
type scores struct {
	model string
	dated time.Time
	rows  string // behind the head
	line  int    // of the first of them, from 1
}

const epssColumns = "cve,epss,percentile"

// readScores reads the head: a comment with model and date, which older tables
// and extracts do not have, and the names of the columns. It returns not ok for
// what is no such table.
func readScores(text string) (s scores, ok bool) {
	line, rest, _ := strings.Cut(text, "\n")
	s.line = 2
	if about, found := strings.CutPrefix(line, "#"); found {
		for _, part := range strings.Split(cut(about, 1000), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), ":")
			switch name {
			case "model_version":
				s.model = shortText(value)
			case "score_date":
				s.dated, _ = parseTime(strings.TrimSpace(value))
			}
		}
		line, rest, _ = strings.Cut(rest, "\n")
		s.line++
	}
	s.rows = rest
	return s, strings.TrimRight(line, "\r") == epssColumns
}

// shortText is a text that a head may state: printable ASCII, 100 bytes at most.
func shortText(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 100 || !validID(s) {
		return ""
	}
	return s
}

// readScore reads one row; not ok for what is none.
func readScore(row string) (cve string, p Probability, ok bool) {
	cve, rest, _ := strings.Cut(row, ",")
	epss, percentile, _ := strings.Cut(rest, ",")
	if !validCVE(cve) {
		return "", Probability{}, false
	}
	p.EPSS, ok = share(epss)
	if ok {
		p.Percentile, ok = share(percentile)
	}
	return cve, p, ok
}

// share reads a number from 0 to 1, in decimal.
func share(s string) (float64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' || strings.Trim(s, "0123456789.eE-") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && f >= 0 && f <= 1
}
