// Package advisory models what is known of vulnerabilities, and what runs that
// they are in: advisories in the OSV form, what other catalogues say of them
// (CISA KEV, FIRST EPSS, CISA Vulnrichment, OpenVEX), image references, the map
// from images to the components that advisories name, and the matching of the
// two.
//
// What always holds:
//
//   - Nothing is "clean". An image that no map entry and no advisory feed covers
//     is unknown, and is in every answer as unknown; an image that is covered
//     and has no open advisory has none that is known.
//   - An answer names the snapshots that it was made from. The same snapshots
//     give the same bytes.
//   - What a record says and cannot be read is a fault of that record, and the
//     record counts as affected where that is the doubt.
//
// Specifications: OSV schema 1.7 (records, ranges, the evaluation of events);
// CISA Known Exploited Vulnerabilities catalogue; FIRST EPSS CSV; CVE JSON 5
// with CISA's ADP container (Vulnrichment); OpenVEX 0.2.0; Package URL; the
// reference grammar of the OCI distribution specification.
//
// The package does no I/O, reads no clock and starts no goroutine. A Database
// is immutable; its methods may be called concurrently.
package advisory

import "time"

// Kind is the form of a feed.
type Kind string

// The kinds of feed. All of them are inputs of a decision, so each import of
// one is a snapshot with a digest and a date.
const (
	OSV          Kind = "osv"          // advisories in the OSV form, on components and on charts
	KEV          Kind = "kev"          // CISA's catalogue of known exploited vulnerabilities
	EPSS         Kind = "epss"         // FIRST's daily probabilities
	Vulnrichment Kind = "vulnrichment" // CVE JSON 5 with CISA's SSVC points
	VEX          Kind = "vex"          // OpenVEX documents
	Components   Kind = "components"   // an organisation's own map from images to components
)

// Kinds are all of them, in this order.
var Kinds = []Kind{OSV, KEV, EPSS, Vulnrichment, VEX, Components}

// Snapshot is one state of a feed. Its digest names the records, in whatever
// files, order and packing they came.
type Snapshot struct {
	ID      int64     `json:"id"`
	Feed    string    `json:"feed"` // name of the feed
	Kind    Kind      `json:"kind"`
	Digest  string    `json:"digest"`          // sha256:… of the pack, see Pack
	Records int       `json:"records"`         // that can be used
	Faults  int       `json:"faults"`          // records that cannot
	Dated   time.Time `json:"dated,omitzero"`  // as the data says: catalogue date, score date, newest modification
	Model   string    `json:"model,omitempty"` // of EPSS: model version, to which scores are bound
	Taken   time.Time `json:"taken"`           // when it was imported, by our clock
	Blob    string    `json:"blob,omitempty"`  // digest of the pack's bytes, where they are kept
}

// Advisory is a known vulnerability, or a flaw of a chart itself.
type Advisory struct {
	ID        string
	Aliases   []string // CVE and GHSA ids among them, sorted
	Feed      string   // that it came from
	Summary   string
	Details   string
	Published time.Time // zero: not said
	Modified  time.Time
	Withdrawn time.Time // not zero: it counts no more
	Severity  []Score   // of the whole record; that of an Affected goes before
	Affected  []Affected
	// References are URLs; KEVLinked says that one leads to CISA's catalogue.
	References []string
	KEVLinked  bool
	// Rating is the source's own word for the severity, database_specific.severity:
	// none, low, medium, high, critical; "" where it has none of these.
	Rating string
	// Workaround is what a chart's own advisory, database_specific.workaround,
	// says to do where there is no fixed version; "" mostly.
	Workaround string
}

// CVE returns the first CVE id among the id and the aliases, "" for none.
func (a *Advisory) CVE() string {
	if isCVE(a.ID) {
		return a.ID
	}
	for _, alias := range a.Aliases {
		if isCVE(alias) {
			return alias
		}
	}
	return ""
}

func isCVE(id string) bool { return len(id) > 4 && id[:4] == "CVE-" }

// Score is a severity as the record gives it.
type Score struct {
	Type   string // CVSS_V2, CVSS_V3, CVSS_V4
	Vector string
}

// Component is what advisories speak of: a name within an ecosystem, compared
// with case.
type Component struct {
	Ecosystem string `json:"ecosystem"` // as OSV has it: Bitnami, Go, npm …; Helm for charts
	Name      string `json:"name"`      // Helm: the chart's name, or repository-URL/name
}

// EcosystemHelm is the ecosystem of advisories on charts themselves. OSV has
// none for charts.
const EcosystemHelm = "Helm"

// String is ecosystem/name.
func (c Component) String() string { return c.Ecosystem + "/" + c.Name }

// Affected is a component with the versions of it that an advisory is about.
type Affected struct {
	Component Component
	Ranges    []Range
	Versions  []string // listed one by one
	Severity  []Score
}

// Range is a list of events on the line of versions (OSV: evaluation of
// events). Git ranges cannot be evaluated here and are not kept.
type Range struct {
	Type   string // SEMVER, ECOSYSTEM
	Events []RangeEvent
}

// RangeEvent has exactly one field set.
type RangeEvent struct {
	Introduced   string // "0" is before everything
	Fixed        string
	LastAffected string
	Limit        string
}

// Exploitation is CERT/CC's decision point, as Vulnrichment publishes it.
type Exploitation string

// The values of exploitation, from the least.
const (
	ExploitNone   Exploitation = "none"
	ExploitPoC    Exploitation = "poc"
	ExploitActive Exploitation = "active"
)

// Points are what Vulnrichment says of a CVE; fields are "" and nil where it
// says nothing.
type Points struct {
	Exploitation Exploitation
	Automatable  *bool
	Total        *bool     // technical impact: total, else partial
	Dated        time.Time // of the assessment
	KEV          time.Time // when CISA added it to its catalogue, as this feed says; zero: not said
	Scores       []Score   // that CISA added
}

// Exploited is an entry of the KEV catalogue.
type Exploited struct {
	CVE        string
	Added      time.Time
	Due        time.Time // the catalogue's own date; zero where it has none
	Ransomware bool      // known use in ransomware campaigns
	Name       string
	Action     string
}

// Probability is what EPSS says of a CVE.
type Probability struct {
	EPSS       float64 // 0 to 1
	Percentile float64
}

// Statement is what an OpenVEX document says of a vulnerability in a product.
type Statement struct {
	Document        string // its @id
	Author          string
	Vulnerabilities []string // name and aliases
	Products        []string // purls or image references, each a name of the one product that it is about
	Subcomponents   []string // of the product, to which alone it applies; none: to the product
	Status          string   // not_affected, affected, fixed, under_investigation
	Justification   string
	Impact          string
	Action          string
	Time            time.Time
}
