package decision

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"
)

// Limits of what Rate reads. A vector with every metric of its version has
// fewer than 250 bytes.
const (
	maxVectors = 64
	maxVector  = 512 // bytes
)

// Rating is what the CVSS vectors of one vulnerability say. Fields are "" where
// they say nothing.
type Rating struct {
	Version  string  // 4.0, 3.1, 3.0 or 2.0; "" where no vector can be read
	Vector   string  // that was taken
	Score    float64 // base score, 0.0 to 10.0; 0 also where Version is ""
	Severity string  // none, low, medium, high, critical; "unknown" where Version is ""

	Automatable string // yes, no
	Stated      bool   // the vector itself says whether it is automatable (v4.0, AU)
	Impact      string // total, partial
	// Exploitation is poc or none, by exploit maturity (E), the worst of all
	// vectors that give one.
	Exploitation string

	Faults []string // of vectors that cannot be read, in their order
}

// Rate reads vectors of CVSS v2.0, v3.0, v3.1 and v4.0. The newest version is
// taken; of several vectors of one version, that with the highest base score;
// of those, the first by its bytes. Only base metrics count for the score,
// whatever else a vector has. Severities are those of the specification, and for
// v2.0, which has none, NVD's (high from 7.0, no critical).
//
// CVSS does not say whether an attack can be automated, or whether the impact is
// total, except v4.0 by AU. They are derived: automatable is what comes over the
// network with low complexity, without requirements, privileges or a user's
// part; total is what takes confidentiality and integrity whole.
//
// At most 64 vectors are read, each of at most 512 bytes.
func Rate(vectors []string) Rating {
	best := Rating{Severity: "unknown"}
	exploitation := -1
	if len(vectors) > maxVectors {
		best.Faults = append(best.Faults, fmt.Sprintf("%d vectors are given, %d are read", len(vectors), maxVectors))
		vectors = vectors[:maxVectors]
	}
	faults := best.Faults
	for _, text := range vectors {
		r, err := rate(strings.TrimSpace(text))
		if err != nil {
			faults = append(faults, fmt.Sprintf("vector %.80q: %v", text, err))
			continue
		}
		exploitation = max(exploitation, slices.Index(exploits, r.Exploitation))
		if r.before(best) {
			best = r
		}
	}
	best.Faults = faults
	best.Exploitation = ""
	if exploitation >= 0 {
		best.Exploitation = exploits[exploitation]
	}
	return best
}

// before is the order in which ratings are taken.
func (r Rating) before(o Rating) bool {
	if r.Version != o.Version {
		return r.Version > o.Version
	}
	if r.Score != o.Score {
		return r.Score > o.Score
	}
	return r.Vector < o.Vector
}

// rate reads one vector.
func rate(text string) (Rating, error) {
	if len(text) > maxVector {
		return Rating{}, fmt.Errorf("%d bytes, more than %d", len(text), maxVector)
	}
	switch {
	case strings.HasPrefix(text, "CVSS:4.0/"):
		return rate40(text)
	case strings.HasPrefix(text, "CVSS:3.1/"):
		v, err := gocvss31.ParseVector(text)
		if err != nil {
			return Rating{}, err
		}
		return rate3("3.1", text, v.BaseScore(), v.Get), nil
	case strings.HasPrefix(text, "CVSS:3.0/"):
		v, err := gocvss30.ParseVector(text)
		if err != nil {
			return Rating{}, err
		}
		return rate3("3.0", text, v.BaseScore(), v.Get), nil
	case strings.HasPrefix(text, "CVSS:") && !strings.HasPrefix(text, "CVSS:2.0/"):
		return Rating{}, fmt.Errorf("a version of CVSS that is not known")
	}
	return rate20(text)
}

// rate20 reads a vector of CVSS v2.0, which has no prefix of its own, and is
// written in parentheses by some.
func rate20(text string) (Rating, error) {
	bare := strings.TrimPrefix(text, "CVSS:2.0/")
	if inner, ok := strings.CutPrefix(bare, "("); ok {
		bare = strings.TrimSuffix(inner, ")")
	}
	v, err := gocvss20.ParseVector(bare)
	if err != nil {
		return Rating{}, err
	}
	m := reader(v.Get)
	r := Rating{Version: "2.0", Vector: text, Score: v.BaseScore()}
	switch {
	case r.Score >= 7:
		r.Severity = "high"
	case r.Score >= 4:
		r.Severity = "medium"
	default:
		r.Severity = "low"
	}
	r.Automatable = yesNo(m.is("AV:N", "AC:L", "Au:N"))
	r.Impact = totalOr(m.is("C:C", "I:C"))
	r.Exploitation = m.maturity("ND")
	return r, nil
}

// rate3 rates a vector of CVSS v3.0 or v3.1.
func rate3(version, text string, score float64, get func(string) (string, error)) Rating {
	m := reader(get)
	return Rating{
		Version: version, Vector: text, Score: score, Severity: severityOf(score),
		Automatable:  yesNo(m.is("AV:N", "AC:L", "PR:N", "UI:N")),
		Impact:       totalOr(m.is("C:H", "I:H")),
		Exploitation: m.maturity("X"),
	}
}

// rate40 reads a vector of CVSS v4.0. Its score without threat and
// environmental metrics is that of the base metrics alone (CVSS-B).
func rate40(text string) (Rating, error) {
	v, err := gocvss40.ParseVector(text)
	if err != nil {
		return Rating{}, err
	}
	m := reader(v.Get)
	base := "CVSS:4.0"
	for _, name := range []string{"AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"} {
		base += "/" + name + ":" + m.get(name)
	}
	b, err := gocvss40.ParseVector(base)
	if err != nil {
		return Rating{}, err
	}
	r := Rating{
		Version: "4.0", Vector: text, Score: b.Score(), Severity: severityOf(b.Score()),
		Automatable:  yesNo(m.is("AV:N", "AC:L", "AT:N", "PR:N", "UI:N")),
		Impact:       totalOr(m.is("VC:H", "VI:H")),
		Exploitation: m.maturity("X"),
	}
	if au := m.get("AU"); au == "Y" || au == "N" {
		r.Automatable, r.Stated = yesNo(au == "Y"), true
	}
	return r, nil
}

// reader gives a vector's metrics.
type reader func(metric string) (string, error)

// get is the value of a metric, "" for one that the version does not have.
func (m reader) get(metric string) string {
	v, err := m(metric)
	if err != nil {
		return ""
	}
	return v
}

// is reports whether all metrics have the values that are named, as in AV:N.
func (m reader) is(pairs ...string) bool {
	for _, p := range pairs {
		if metric, value, _ := strings.Cut(p, ":"); m.get(metric) != value {
			return false
		}
	}
	return true
}

// maturity is exploitation by the metric E: attacked (v4.0) and functional count
// as poc, since E speaks of code and attempts, and active is for those who saw it.
func (m reader) maturity(undefined string) string {
	switch m.get("E") {
	case undefined, "":
		return ""
	case "U":
		return "none"
	}
	return "poc"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func totalOr(total bool) string {
	if total {
		return "total"
	}
	return "partial"
}

// severityOf is the qualitative rating of CVSS v3.0 to v4.0.
func severityOf(score float64) string {
	switch {
	case score >= 9:
		return "critical"
	case score >= 7:
		return "high"
	case score >= 4:
		return "medium"
	case score >= 0.1:
		return "low"
	}
	return "none"
}

// Fill sets those inputs that are not known yet to what the vectors say: the
// base score, and points, as derived where the vector does not state them.
// Source and snapshot say where the vectors come from.
func (r Rating) Fill(in *Input, source, snapshot string) {
	if r.Version == "" {
		return
	}
	set := func(v *Value, name, value string, derived bool) {
		if v.Value == "" && value != "" {
			*v = Value{Name: name, Value: value, Source: source + ", " + r.Vector, Snapshot: snapshot, Derived: derived}
		}
	}
	set(&in.CVSS, "cvss", strconv.FormatFloat(math.Round(r.Score*10)/10, 'f', 1, 64), false)
	set(&in.Automatable, "automatable", r.Automatable, !r.Stated)
	set(&in.Impact, "impact", r.Impact, true)
	set(&in.Exploitation, "exploitation", r.Exploitation, true)
}
