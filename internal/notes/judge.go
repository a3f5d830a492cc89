package notes

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// advisoryID finds the identifiers of advisories: CVE-2024-12345,
// GHSA-xxxx-xxxx-xxxx, GO-2024-1234, those of distributions and of finders, and
// "Security Advisory 2024-05", whose number only its project knows.
var advisoryID = regexp.MustCompile(anAdvisory)

// advisories finds them in lower case.
var advisories = near("cve|ghsa|go-20|advisory 20|alas|sa-2|sec-20|talos|usn|dsa|dla|jvn#|vu#|zdi-", anAdvisory)

const anAdvisory = `(?i)\b(?:CVE[- :](?:19|20)\d\d-\d{4,7}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}|GO-20\d\d-\d{4,6}|security advisory 20\d\d-\d{1,4}|ALAS\d*-20\d\d-\d{1,5}|(?:RHSA|ELSA)-20\d\d[:-]\d{3,6}|GLSA-20\d{4}-\d\d|(?:RUST|PY)SEC-20\d\d-\d{1,4}|TALOS-20\d\d-\d{3,5}|(?:USN|DSA|DLA)-\d{3,5}-\d{1,2}|JVN#\d{8}|VU#\d{5,7}|ZDI-\d\d-\d{3,5})\b`

// canonicalID writes an identifier as its authority does.
func canonicalID(id string) string {
	switch id = strings.ToUpper(id); {
	case strings.HasPrefix(id, "GHSA"):
		return "GHSA" + strings.ToLower(id[4:])
	case strings.HasPrefix(id, "CVE"):
		return "CVE-" + id[4:]
	case strings.HasPrefix(id, "SECURITY"):
		return "Security Advisory" + id[strings.LastIndexByte(id, ' '):]
	}
	return id
}

// statement is one sentence with what it stands under.
type statement struct {
	*unit
	from, to int
	class    class  // of headings, labels and tags
	tagged   class  // of its own tag alone
	prose    []byte // of the sentence
	body     int    // where the prose begins behind the tag
	first    bool   // of its unit
	updated  bool   // a hint says already what is updated
	lower    []byte // see whole
}

// judge finds the hints of a unit.
func (d *document) judge(u *unit) {
	if len(u.said) == 0 {
		return
	}
	u.blankOut()
	c, body := tag(u.prose)
	first := true
	u.sentences(func(from, to int) {
		s := statement{unit: u, from: from, to: to, class: u.class | c, prose: u.prose[from:to], first: first}
		if first && body > from {
			s.tagged = c
			s.body = min(body-from, len(s.prose))
		}
		first = false
		d.security(&s)
		d.operator(&s)
	})
}

// hint makes a hint of a sentence; at is where in it the words that count are.
func (s *statement) hint(rule string, at int, security bool) Hint {
	return Hint{Rule: rule, Line: s.line(s.from + at), Text: excerpt(s.said[s.from:s.to], at), Security: security}
}

// excerpt is at most maxHintText bytes of a text around an offset.
func excerpt(said []byte, at int) string {
	const dots = "…"
	begin, end := 0, len(said)
	if end > maxHintText {
		room := maxHintText - 2*len(dots)
		begin = min(max(0, at-room/2), end-room)
		end = begin + room
		for begin < end && !utf8.RuneStart(said[begin]) {
			begin++
		}
		for end > begin && end < len(said) && !utf8.RuneStart(said[end]) {
			end--
		}
	}
	text := strings.Join(strings.Fields(strings.TrimLeft(strings.ToValidUTF8(string(said[begin:end]), "\ufffd"), "• ")), " ")
	if begin > 0 {
		text = dots + text
	}
	if end < len(said) {
		text += dots
	}
	if len(text) > maxHintText { // what was no UTF-8 has become longer
		text = strings.ToValidUTF8(text[:maxHintText], "")
	}
	return text
}

// ids are the identifiers that a sentence cites, and where the first stands.
func (s *statement) ids() ([]string, int) {
	var out []string
	at := -1
	var found [][]int
	if advisories.possible(s.whole()) {
		found = advisories.FindAllIndex(s.whole(), -1)
	}
	for _, m := range found {
		if s.prose[m[0]] == blankURL && !s.cites(m[0], m[1]) {
			continue
		}
		if at < 0 {
			at = m[0]
		}
		out = append(out, canonicalID(string(s.said[s.from+m[0]:s.from+m[1]])))
	}
	for _, l := range s.links {
		if l.at >= s.from && l.at < s.to {
			if at < 0 {
				at = l.at - s.from
			}
			out = append(out, l.id)
		}
	}
	seen := map[string]bool{}
	kept := out[:0]
	for _, id := range out {
		if !seen[id] && len(kept) < maxIdentifierSet {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	return kept, at
}

// cites says that an identifier in an address is the last of its path: the page
// of the advisory.
func (s *statement) cites(from, to int) bool {
	return from > 0 && s.said[s.from+from-1] == '/' &&
		(to == len(s.prose) || s.prose[to] != blankURL || s.said[s.from+to] == '#' || s.said[s.from+to] == '.' || s.said[s.from+to] == ',')
}

// whole is the sentence in lower case with its code, as long as the prose.
func (s *statement) whole() []byte {
	if s.lower == nil {
		s.lower = bytes.Clone(s.said[s.from:s.to])
		for i, c := range s.lower {
			if c >= 'A' && c <= 'Z' {
				s.lower[i] = c + 'a' - 'A'
			}
		}
	}
	return s.lower
}

// has says that a pattern is in the prose.
func (s *statement) has(p pattern) bool { return p.Match(s.prose) }

// scopes is the part of the product that a statement begins with: "proxy: …".
const scopes = `(?:[\w/,. -]{1,30}: ?)?`

// The words of repair, of updates, and of what is none of both.
var (
	repair = always(`\b(?:fix(?:e[sd]|ing)?|bug ?fix(?:es)?|hotfix\w*|resolv\w+|address\w*|patch(?:es|ed|ing)?|mitigat\w+|prevent\w*|avoid\w*|protect\w*|guard\w*|clos(?:e[sd]?|ing)|correct\w*|remediat\w+|eliminat\w+|repair\w*|harden\w*|solv\w+|disallow\w*|refus\w+|reject\w*|block(?:s|ed|ing)?|plug(?:s|ged)?|remov\w+|stop(?:s|ped)?|no longer|against|defend\w*|forbid\w*|sanitiz\w+|sanitis\w+|escap\w+|validat\w+|verif\w+|restrict\w*|limit(?:s|ed|ing)?|drop(?:s|ped)?|backport\w*|due to|because of|workaround|opened up|made (?:it )?possible|led to|leading to|possible|potential\w*|concerns?|ensur\w+|enforc\w+|neutrali[sz]\w+|counter\w*|defang\w*|rul(?:e|es|ed) out|previously|allowed|was possible|could|might|responsibl[ey]|reported by|discovered by|contains?|includes?|including|vulnerable to)\b`)
	// bump are the verbs and nouns of an update.
	bump = near("now us|bump|upgrad|updat|dependenc|deps|pin|mov|switch|buil|rebas|base image|latest|new|version|vendor|downgrad", `\b(?:bump\w*|upgrad\w*|updat\w*|dependenc(?:y|ies)|deps|pin(?:s|ned)?|mov(?:e[sd]?|ing) to|switch(?:ed|es)? to|rebuil\w+|rebas\w+|base image|latest|newer version|new version of|patched version|vendor\w*|downgrad\w*|build(?:s|ing)? with|built with|now us(?:es|ing) (?:\S+ ){1,3}?v?\d\S*)\b`)
	// feature is how a sentence begins that offers something.
	feature = always(`^[^a-z]*` + scopes + `(?:add(?:s|ed|ing)?|support\w*|allow\w*|introduc\w*|implement\w*|new|provid\w*|make|makes|made|expos\w*|enable (?:users|you|to|optional)|options?|optionally|ability|possibility|possible to|feat\w*|configur\w*|creat\w+|users can|it is now possible|can now|you can)\b`)
	// optional are the words of what has to be asked for.
	optional  = always(`\b(?:options?|optional|optionally|configurable|configur(?:e|ing|ation) (?:of|for)|flags?|settings?|parameters?|annotations?|env(?:ironment)? vars?|environment variables?|values?|support(?:s|ed|ing)? (?:for|of|to|the|running|using|setting)|allow(?:s|ing)? (?:the )?(?:users?|you|to|for|setting|configuring|specifying|custom\w*|overrid\w+|us(?:e|ing))|ability|toggle|opt-in|can (?:now )?be|you can|examples?)\b`)
	protects  = always(`\b(?:protect\w*|prevent\w*|against|validat\w+|verif\w+|checks?|limit\w*|saniti[sz]\w+|escap\w+|hardening|harden\w*|restrict\w*|enforc\w*|requir\w*|missing|by default|encrypt\w*|mitigat\w+|reject\w*|fix\w*|throttl\w*|(?:counter-?)?measures?)\b`)
	nothing   = always(`^[^a-z]*(?:none|nothing|n/?a|nil|no (?:\w+ ){0,3}(?:security|vulnerabilit\w+|cves?|changes?|updates?|fixes|issues|items)\b.*|nothing .*|not applicable|tbd|todo)[^a-z]*$`)
	asideTalk = near("release|doc|readme|test|wording|typo|guide|ci|changelog|spelling|example", `^[^a-z]*`+scopes+`(?:docs?|documentation|document(?:s|ed|ing)?|readme|tests?|add(?:ed|s)? (?:\w+ ){0,3}(?:tests?|docs?|documentation)|(?:updated?|improved?|fix(?:ed)?|clarif\w+|correct\w*|rewrite|rewrote) (?:the )?(?:\w+ ){0,3}(?:docs?|documentation|readme|tests?|wording|typos?|guide)|ci|changelog)\b|\b(?:in|to|of) (?:the )?(?:\w+ )?(?:docs?|documentation|readme|changelog|tests?|test suite|ci)\b|\b(?:unit|regression|integration|e2e|fuzz) tests? (?:for|of)\b|\b(?:typos?|wording|spelling)\b|\b(?:improv|updat|fix|enhanc|correct|add|clarif|complet|extend)\w* (?:\S+ ){0,4}?(?:docs?|documentation|readme|guide|examples?)\b|\b(?:correct|updat|fix|clarif|amend)\w* (?:\S+ ){0,4}?release[- ]notes\b`)
	// advice speaks to the reader of what may be, or of how to report it.
	advice = near("arise|necessitate|report|disclos|will be|to be|future|planned|bounty|if you|advised|recommend|suggest|should|consider|be aware|be careful", `\b(?:(?:to |please |how to |for )?report(?:ing)? (?:a |an |any |the |potential |possible )*(?:security|vulnerabilit)|disclos\w+ (?:policy|process|guidelines)|will be (?:fixed|addressed|patched|resolved)|to be (?:fixed|addressed) in|future (?:release|version)s?|(?:may|might|could|should) (?:arise|necessitate)|is planned|bug bounty|if you (?:find|discover|think)|advised|(?:we|strongly|highly|is|are|be|it's|not) recommend(?:ed)?|recommend (?:that|to|using|you|setting)|recommendations?|we suggest|should (?:be )?(?:used?|consider|avoid)|consider (?:using|setting|enabling)|be aware|be careful)\b`)
	// noWeakness says that there is none, or none any more.
	noWeakness = near("already|secur|vuln|cve|exploit|false|nosec", `\b(?:(?:no|without|zero|not an?|isn't an?|never an?|doesn't have|does not have|do not have) (?:\S+ ){0,3}?(?:security|vulnerabilit\w+|vulnerable|cves?|exploit\w*)|not (?:a |considered |deemed |believed |strictly |really |directly )*(?:security|exploitable|vulnerable)|non-security|false[- ]positives?|nosec|not security[- ]re\w+|(?:was|were|is|are|has been|have been) already (?:\w+ )?(?:present|fixed|included|addressed|patched|resolved|part of|applied|mitigated))\b`)
	// unaffected says that a weakness elsewhere is none here.
	unaffected = near("affect|impact|vulnerable|exploitable|appl|concern|unexploit", `\b(?:(?:not|isn't|aren't|never|wasn't|weren't) (?:\w+ ){0,2}(?:affected|impacted|vulnerable|exploitable|applicable|concerned)|(?:does|do|did)(?: not|n't) (?:\w+ ){0,1}(?:affect|impact|apply|concern)|unaffected|unexploitable)\b`)
	// silenced takes a finding for none.
	silenced = near("ignor|suppress|silenc|list|exclud|dismiss|mut|snooz|acknowledg|accept|vex", `\b(?:ignor\w+|suppress\w*|silenc\w+|allowlist\w*|whitelist\w*|exclud\w+|dismiss\w*|mut(?:e|ed|ing)|snooz\w+|acknowledg\w+|accept\w*|vex) (?:\S+ ){0,6}?\W?(?:cves?\b|ghsa\b|go-20|vuln\w*|advisor\w+|findings?|alerts?|warnings?|risks?|reports?|security|scan\w*|audit\w*|false)|\b(?:cves?|ghsa|vuln\w*|advisor\w+|findings?|alerts?|warnings?|scan\w*)\b(?:\S* ){1,6}?(?:ignor\w+|suppress\w*|silenc\w+|allowlist\w*|whitelist\w*|exclu\w+|dismiss\w*|muted|snooz\w+|acknowledg\w+|accepted|vex)\b`)
	// aftermath is what came of an earlier repair.
	aftermath = near("fix|patch|mitigat|change|repair|hardening|security", `\b(?:regress\w*|caused by|introduced (?:by|in|with)|broke\w*|breakage|since|after|follow-?up|revert\w*|because of|due to|part of|original)\b.*\b(?:fix(?:es|ed)?|patch(?:es|ed)?|mitigat\w+|changes?|repair\w*|hardening|security (?:release|update))\b`)
)

// compounds are words in which security is the name of a thing, and attacks are
// what a feature is about. They are blanked before weaknesses are looked for.
var compounds = near("secur|vuln|cve|csrf|xsrf|xss|dos|stack|exploit|malware", `\b(?:`+
	`(?:pod |container |app(?:lication)? |network |cloud |web |spring |agent |http |api |aws |kubernetes )*security[- ](?:contexts?|groups?|polic(?:y|ies)|teams?|realms?|settings?|options?|config\w*|docs?|documentation|sections?|scan\w*|headers?|schem[ae]s?|tokens?|keys?|managers?|modules?|providers?|profiles?|labels?|best[- ]practices?|audits?|contacts?|models?|features?|modes?|guides?|guidelines?|pages?|tabs?|plugins?|constraints?|standards?|admission|zones?|credentials?|domains?|descriptors?|layers?|class(?:es)?|filters?|assessments?|self-assessments?|insights?|centers?|hub|lakes?|levels?|posture|considerations?|monitoring|rules?|events?|objects?|apis?|blocks?|values?|parameters?|information|metadata|services?|tools?|tooling|protocols?|requirements?|annotations?|definitions?|capabilit(?:y|ies)|questions?|cameras?|overview|reports?|tests?|testing|check(?:s|ers?)?|advisories (?:page|feed|api|tab)|md|txt)`+
	`|(?:transport(?: layer)?|layer|pod|network|row[- ]level|field[- ]level|column[- ]level|document[- ]level|strict[- ]transport|content|social|message|ws|windows|supply[- ]chain) security(?:[- ]polic(?:y|ies))?`+
	`|(?:vulnerabilit(?:y|ies)|cves?|exploit|malware)[- ](?:scan\w*|reports?|reporting|databases?|db|management|check(?:s|er|ers|ing)?|alerts?|dashboards?|polic(?:y|ies)|detect\w+|assessments?|feeds?|data|filter\w*|lists?|listings?|pages?|views?|exports?|severit(?:y|ies)|search|summar(?:y|ies)|counts?|details?|information|allowlists?|whitelists?|sources?|providers?|records?|api|metrics?|exceptions?|reporter|tab|results?|submissions?|guidelines?|handling|programs?|findings?|analy[sz]\w+|correlat\w+|mirror\w*|match(?:es|ing)?|lookups?|identifiers?|ids?|alias(?:es)?|scores?|ratings?|badges?|trends?|notifications?|descriptions?|references?|audit\w*|entries|entry|catalogu?e?s?|intelligence|type|inspection)`+
	`|(?:scan|detect|identif|check|report|list|search|display|show|count|quer|sort|filter|group|fetch|load|import|export|pars|render|track|manag|analy[sz]|correlat|match|ingest|mirror)(?:s|y|e|es|ed|ied|ing|ting|ion|ies|ication|ying)? (?:for |of |all |the |images? for |known )*(?:vulnerabilit\w+|cves?)`+
	`|(?:csrf|xsrf)[- ](?:tokens?|cookies?|keys?|secrets?|headers?|middleware|options?|settings?|expir\w+|fields?|forms?|domains?|names?|crumbs?|trusted|max age|(?:check |validation )?(?:error|fail)\w*|code)`+
	`|(?:x-)?xss-protection|(?:ddos|dos) (?:protection|plugin|module|profiles?|resources?|polic(?:y|ies))|ms-?dos|dos (?:lines?|line[- ]endings?|formats?|modes?|files?|paths?|style|partitions?|eol|boot|headers?|names?)`+
	`|on stack overflow|stackoverflow|stack overflow (?:question|answer|post|tag)s?`+
	`)\b`)

// withoutCompounds is the prose with compounds blanked.
func withoutCompounds(prose []byte) []byte { return without(compounds, prose) }

// without is a text with what a pattern finds blanked.
func without(p pattern, text []byte) []byte {
	if !p.possible(text) {
		return text
	}
	found := p.FindAllIndex(text, -1)
	if found == nil {
		return text
	}
	text = bytes.Clone(text)
	for _, m := range found {
		for i := m[0]; i < m[1]; i++ {
			text[i] = blank
		}
	}
	return text
}
