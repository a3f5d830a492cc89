package notes

// Weaknesses by the names that people give them. A few words may stand between
// the parts.
const (
	few    = `(?:[^\s.,;:]+ ){0,3}`
	secret = `(?:secrets?|passwords?|passphrases?|credentials?|(?:api|private|secret|access|refresh|bearer|signing|encryption|session)[-_ ]?(?:keys?|tokens?)|tokens?|sensitive (?:\w+ )?(?:data|information|info|values?|config\w*|state|content|details|headers?|fields?)|personal data|auth-pass|cookies?|connection strings?|(?:proxy-)?authorization headers?|private data|confidential \w+)`
	access = `(?:authentication|authorization|authorisation|authn|authz|auth|access[- ]controls?|access|permissions?|acls?|rbac|security|sandbox\w*|validation|verification|restrictions?|checks?|polic(?:y|ies)|2fa|mfa|totp|otp|login|allow-?lists?|white-?lists?|block-?lists?|black-?lists?|protections?|signatures?|csp|same-?origin|isolation|namespace|policy|rate[- ]limit\w*|password|filters?)`
)

// weaknesses are the names of classes of vulnerabilities. To have one is to be
// vulnerable, to repair one is a repair of a vulnerability.
var weaknesses = []pattern{
	near("vuln", `\b(?:vulnerab\w+|vulns?)\b`),
	near("secur", `\b(?:security[- ](?:\w+ )?(?:issues?|bugs?|flaws?|holes?|problems?|weakness(?:es)?|risks?|concerns?|defects?|breach(?:es)?|loopholes?|regressions?|leaks?|gaps?|threats?|findings?|alerts?|warnings?|incidents?|implications?|impact|exploits?|vulnerabilit\w+))\b`),
	near("xss|cross-site|cross site|csrf|xsrf|ssrf|server-side|server side|rce|xxe|idor|redos|zip|bomb|laugh|expansion", `\b(?:xss|cross[- ]site[- ]script\w*|csrf|xsrf|cross[- ]site[- ]request[- ]forger\w+|ssrf|server[- ]side[- ]request[- ]forger\w+|rce|xxe|idor|redos|zip[- ]?slip|zip bombs?|decompression bombs?|billion laughs|entity expansion)\b`),
	near("remote |arbitrary", `\b(?:(?:remote|arbitrary) (?:code|command|script|shell|javascript|sql)(?: |-)?(?:execution|injection)?|arbitrary files?)\b`),
	near("injection", `\b(?:(?:sql|nosql|ldap|code|command|shell|os command|headers?|crlf|template|log|logs|argument|html|script|xml|xpath|css|csv|formula|parameter|options?|flag|matcher|prompt|expression|email|host header|javascript|object|newline|response) injections?)\b`),
	near("travers|redirect", `\b(?:(?:path|directory)[- ]traversals?|travers\w+ (?:attack|vuln\w*)|open[- ]redirect(?:s|ion|ions|or)?)\b`),
	near("escalat|elevation", `\b(?:privileges?[- ]escalations?|escalat\w+ (?:of )?(?:\w+ )?(?:privileges?|permissions?|rights)|elevation of privileges?)\b`),
	near("bypass|escape|breakout", `\b(?:`+access+`[- ]bypass(?:es|ing|ed)?|bypass(?:es|ed|ing)? `+few+access+`|(?:sandbox|container|jail|chroot|vm) (?:escapes?|breakouts?))\b`),
	near("smuggl|splitting", `\b(?:(?:request|response|header|http)[- ](?:smuggling|splitting)|(?:cookie|session|command|smtp)[- ]smuggling)\b`),
	near("denial|dos|exhaust|complexity|backtrack|flood|rapid reset", `\b(?:denials?[- ]of[- ]service|d?dos(?:-| )?(?:attacks?|vectors?|vulnerab\w*)?|resource exhaustion|memory exhaustion|cpu exhaustion|algorithmic complexity|catastrophic backtracking|hash[- ]?(?:flood\w*|dos)|rapid reset)\b`),
	near("overflow|overrun|overwrit|over-writ|over-read|overread|bounds writ|bound writ", `\b(?:(?:buffer|heap|stack[- ](?:based|buffer))(?:[- ](?:based|buffer|read|write))*[- ]?(?:overflows?|overruns?|over-?writes?)|buffer over-?reads?|out[- ]of[- ]bounds? writes?)\b`),
	near("timing|side-ch|side ch|padding|attack|man-in|man in|rebind", `\b(?:timing (?:attacks?|side[- ]channels?|leaks?|oracles?)|side[- ]channels?(?: attacks?)?|padding oracles?|(?:bleichenbacher|downgrade|replay|brute[- ]?force|dictionary|spoof\w*|phishing|mitm|man[- ]in[- ]the[- ]middle|injection|traversal|rebinding|amplification|flood\w*|collision|confusion) attacks?|man[- ]in[- ]the[- ]middle|dns rebinding)\b`),
	near("disclos|expos|leak", `\b(?:(?:information|info|data|memory|path|file|source(?: code)?|`+secret+`) (?:disclosures?|exposures?)|(?:information|data|referr?er|`+secret+`) leak(?:s|age|ing|ed)?|leak\w* (?:of )?`+few+secret+`|expos(?:e[sd]?|ing|ure of) `+few+`(?:passwords?|credentials?|private keys?|sensitive \w+|secrets))\b`),
	near("fixation|hijack|clickjack|poison|pollution|takeover|enumerat|deseriali|improper|insufficient|missing|forg|spoof", `\b(?:session (?:fixation|hijack\w*)|clickjack\w*|(?:cache|dns|web cache) poison\w*|prototype pollution|(?:account|subdomain) takeovers?|user(?:name)? enumeration|(?:insecure|unsafe|untrusted) deseriali[sz]ation|improper (?:access|auth\w*|validation|certificate|input)\w*|insufficient (?:access|auth\w*|validation|entropy|verification)|missing (?:authori[sz]ation|authentication|access control|permission) checks?|signature forger\w+|forge[ds]?|spoof(?:ed|ing|s|able)?)\b`),
	near("revoked|expired|deleted|disabled|blocked|deactivated", `\b(?:revoked|expired|deleted|disabled|blocked|deactivated) (?:\w+ ){0,2}?(?:tokens?|users?|keys?|certificates?|accounts?|sessions?|credentials?)\b.{0,60}\b(?:still|continued?|remain\w*|can|could) (?:\w+ ){0,2}?(?:accepted|allowed|valid|work\w*|us(?:e|ed|able)|access\w*|log ?in|authenticate\w*|active|perform)\b`),
	// the names of vulnerabilities that everybody knows
	near("heartbleed|poodle|logjam|shellshock|log4shell|terrapin|sweet32|spectre|meltdown|toctou|tabnabbing|mass assignment|mass-assignment", `\b(?:heartbleed|poodle|logjam|shellshock|log4shell|terrapin|sweet32|spectre|meltdown|toctou|tabnabbing|mass[- ]assignment)\b`),
	// who could do what they should not, and with what
	near("without|should|have|own|not|lack|other|another|different|any ", `\b(?:allowed|allowing|could) (?:\S+ ){0,12}?without (?:\S+ ){0,4}?(?:permissions?|authori[sz]ation|authenti\w+|privileges?|credentials)\b|\b(?:users?|members?|guests?|clients?|anyone|anybody|everyone|tenants?|accounts?|visitors?|moderators?|editors?|viewers?|callers?|admins?|attackers?|peers?) (?:\w+ ){0,3}?(?:could|can|can't|were able to|was able to|able to|allowed to|to|from) (?:still |also )?(?:see(?:ing)?|view(?:ing)?|read(?:ing)?|access(?:ing)?|list(?:ing)?|edit(?:ing)?|modify(?:ing)?|delet(?:e|ing)|chang(?:e|ing)|creat(?:e|ing)|updat(?:e|ing)|download(?:ing)?|join(?:ing)?|impersonat(?:e|ing)|log ?in|perform(?:ing)?|execut(?:e|ing)|subscrib(?:e|ing)|writ(?:e|ing)) (?:\S+ ){0,6}?(?:(?:they|he|it) (?:should(?:n't| not)|(?:do|did|does)(?: not|n't) (?:have|own)|(?:are|were|is|was) not|lack|have no)|(?:from|of|in|to|belonging to|owned by) (?:other|another|different|any) (?:users?|tenants?|accounts?|projects?|namespaces?|org\w*|customers?|teams?|workspaces?|rooms?|channels?))`),
	// a peer that stops the whole by what it sends
	near("remote", `\bremote(?:ly)?[- ](?:\w+ )?(?:crash(?:es)?|panics?|shutdown|memory exhaustion)\b|\bcrash\w* (?:\S+ ){0,4}?(?:by|from) (?:a |any )?remote (?:\w+ )?(?:users?|clients?|peers?|hosts?|servers?|attackers?)`),
	near("outside", `\b(?:symlinks?|symbolic links?|hard ?links?|links?|paths?|files?|archives?|entries|members) (?:\S+ ){0,5}?outside (?:of )?(?:\S+ ){0,4}?(?:director\w+|folder|root|archive|tree|sandbox|container|destination|target|distribution|prefix)\b`),
	near("insecure|predictable|guessable", `\binsecure (?:\w+ ){0,4}?(?:use|usage|temp\w*|random\w*|direct object|permissions?|file|handling|creation|storage|deseriali\w+|redirects?|fallback)\b|\b(?:predictable|guessable) (?:\w+ ){0,2}?(?:file\w*|ids?|identifiers?|tokens?|sessions?|passwords?|random\w*|names?|values?|keys?|numbers?|ports?|urls?)\b`),
	near("leak|expos|reveal", `\b(?:leak|expos|reveal)\w* (?:of )?`+few+`(?:(?:full|local|internal|absolute|file ?system) (?:\w+ )?paths?|internal (?:ip )?(?:addresses|details|state|information|errors?|headers?)|user ?names?|e-?mail addresses)\b`),
	// secrets that others could see
	near("logged|printed|exposed|leaked|disclosed|revealed|visible|plain", `\b`+secret+` (?:\S+ ){0,4}?(?:was|were|being|is|are|getting|got|would be|could be|be) (?:\w+ )?(?:logged|printed|exposed|leaked|disclosed|revealed|visible|(?:stored|saved|sent|shown|written) (?:in|as) (?:plain|clear)[- ]?(?:text)?)\b`),
	near("exploit|cve", `\b(?:exploit(?:s|ed|able|ing|ation)?|cves?)\b`),
	// secrets where they do not belong
	near("log|text|stdout|error|url", `\b`+secret+` `+few+`(?:in|to|into|from) (?:the |plain ?|clear ?)*(?:logs?|text|log files?|logging|stdout|error messages?|urls?)\b`),
}

// attack is the language of those who describe one. It says by itself that
// something was vulnerable.
var attack = near("attack|malicious|adversar|crafted", `\b(?:attackers?|malicious(?:ly)?|adversar(?:y|ies|ial)|(?:specially|carefully|maliciously|specifically)[- ]crafted|crafted (?:\w+ )?(?:requests?|inputs?|packets?|payloads?|files?|urls?|headers?|messages?|queries|query|images?|responses?|strings?|scripts?|names?|certificates?|data|archives?|regex\w*))\b`)

// stranger is somebody who should not be able to. It is ordinary in notes, and
// a weakness only where it says what could be done.
var (
	stranger = near("unauth|unpriv|untrusted|low-priv|non-|read-only|other|rogue|hostile", `\b(?:unauthenticated|unauthori[sz]ed|unprivileged|untrusted|low-privileged|non-(?:admin|root|privileged|members?)|read-only|other|rogue|hostile) (?:remote |local )?(?:users?|clients?|access|callers?|parties|party|actors?|members?|requests?|peers?|tenants?|accounts?)\b|\b(?:unauthori[sz]ed|unprivileged|untrusted|non-(?:root|privileged)|rogue|hostile) (?:process(?:es)?|programs?|containers?|pods?|websites?|servers?|nodes?|sites?|hosts?|code|scripts?|content)\b`)
	hinders  = near("prevent", `\b(?:that|which|bugs?|issues?|regressions?|errors?|problems?) (?:\w+ ){0,2}?prevent(?:ed|s|ing)?\b`) // is the fault, not the repair
	did      = always(`\b(?:could|was able to|were able to|being able to|allow(?:s|ed|ing)|might|let|prevent\w*|possible)\b`)
)

// could is what an attack needs to be a description of one.
var could = always(`\b(?:could|can|may|might|would|able to|allow(?:s|ed|ing)?|let(?:s|ting)?|enabl(?:e[sd]?|ing)|possible|potential\w*|leading to|leads? to|lead(?:ing)? to|result(?:s|ed|ing)? in|via|by)\b`)

// remedy are nouns that mean a repair by themselves.
var remedy = near("secur", `\bsecurity[- ](?:(?:and|&|/|or|\+) ?(?:\w+[- ]?){1,2} ?)?(?:(?:related|critical|relevant|important|only|bug|vulnerability) )?(?:bug ?)?-?(?:fix(?:e[sd])?|patch(?:e[sd])?|hot-?fix(?:es)?|release|advisor(?:y|ies)|bulletins?|remediations?|mitigations?)\b|\bsecurity[- ](?:maintenance |related )?updates?\b|\b(?:bug|stability|performance|maintenance)(?: fixes)?(?:,| and| &|/| or) security (?:fix(?:es)?|updates?|patches|improvements?|issues?)\b|\bsecurity,? (?:and )?(?:bug|stability|performance|reliability)[ -]?fix(?:es)?\b|\b(?:urgency|priority|severity|type|category|kind|importance)(?: is)?:? security\b|\[security\]|\(security\)$`)

// routine is a remedy that the product deals with, or that is announced.
var routine = always(`\b(?:automatic(?:ally)?|unattended|notif\w+|schedule\w*|subscri\w+|polic(?:y|ies)|process|end of (?:life|security)|eol|no longer (?:receive|get|supported)|only receive|receives?|will (?:receive|get|only|be|continue|no longer)|until|support(?:ed)? (?:period|window|until|for)|mailing list|feeds?|backports? polic\w+|continue to (?:get|receive)|should stop|revert\w*)\b`)

// memory are faults of memory that may be a vulnerability, and of which nobody
// says so.
var memory = near("free|uaf|bound|oob|corrupt|flow|invalid|uninit|read", `\b(?:use[- ]after[- ]free|uaf|double[- ]free|out[- ]of[- ]bounds?|oob|memory corruption|corrupt\w* memory|(?:integer|arithmetic|numeric) (?:over|under)flows?|invalid (?:memory )?(?:read|write|access)s?|uninitiali[sz]ed (?:memory|read)s?|over-?reads?)\b`)

// opening is a title that names the weakness alone: "Possible XSS in search".
var opening = always(`^[^a-z]*` + scopes + `(?:(?:an?|the|some|several|multiple|various|possible|potential|stored|reflected|persistent|dom|blind|unauthenticated|authenticated|critical|high|medium|moderate|low|severity|minor|major|serious|severe|remote|local|two|three|four|another|anti|missing|in|on|issue|issues|bug|with|where)[ -]+){0,4}$`)

// security finds the hint of a sentence that speaks for a repair, an update for
// one, or a safer default: one at most, the strongest. Identifiers that a
// sentence cites are kept in any case.
func (d *document) security(s *statement) {
	ids, at := s.ids()
	if len(ids) > 0 {
		rule := RuleAdvisory
		if s.updates(s.prose) {
			rule = RuleDependency
		}
		speaks := s.speaks() && !s.comesAfter(at)
		if !speaks {
			rule = RuleMention
		}
		d.found(s, rule, at, speaks, ids)
		return
	}
	rule, at := s.weak()
	if rule == "" || rule == RuleMemory {
		if safer, where := s.hardened(); safer != "" {
			rule, at = safer, where
		} else if rule == "" && s.first && s.sectioned() {
			rule, at = RuleSection, s.body
		}
	}
	if rule != "" && s.speaks() {
		d.found(s, rule, at, rule != RuleMemory && rule != RuleWeaker, nil)
	}
}

// found adds a hint about security.
func (d *document) found(s *statement, rule string, at int, security bool, ids []string) {
	h := s.hint(rule, at, security)
	h.IDs = ids
	if rule == RuleDependency {
		h.Name, h.Old, h.New = s.moved()
		s.updated = h.New != ""
	}
	d.add(h)
}

// speaks says that a sentence is of what was done here: not of documents and
// tests, of what is still open, of how to report, or of no weakness at all.
func (s *statement) speaks() bool {
	switch {
	case s.class&(classAside|classKnown) != 0, s.has(asideTalk), s.has(noWeakness):
		return false
	case s.has(advice) && s.tagged&classRepairs == 0:
		return false
	case s.has(silenced) && !s.has(bump):
		return false
	case s.has(unaffected) && !s.has(repair) && !s.has(bump):
		return false
	}
	return true
}

// comesAfter says that a sentence is of what came of the repair of an earlier
// advisory, whose identifier is at an offset.
func (s *statement) comesAfter(at int) bool {
	m := aftermath.FindIndex(s.prose)
	return m != nil && m[0] < at && !bumpFor.Match(s.prose)
}

var bumpFor = always(`\b(?:bump\w*|upgrad\w*|updat\w*)\b.*\b(?:because of|due to)\b`)

// weak looks for the repair of a weakness.
func (s *statement) weak() (string, int) {
	prose := withoutCompounds(s.prose)
	if relaxes.Match(prose) {
		return "", 0
	}
	remedied, attacked, strange := remedy.FindIndex(prose[s.body:]), attack.FindIndex(prose), stranger.FindIndex(prose)
	inMemory, named := memory.FindIndex(prose), first(weaknesses, prose)
	if remedied == nil && attacked == nil && strange == nil && named == nil && inMemory == nil {
		return "", 0
	}
	offers := feature.Match(prose[s.body:]) && !s.has(fixed)
	asks := offers && s.has(optional)
	guards := !offers || protects.Match(prose)
	updates := s.updates(prose)
	kind := RuleVulnerable
	if updates {
		kind = RuleDependency
	}
	repaired := updates || s.class&(classFix|classSecurity|classRepairs) != 0 || repair.Match(prose)
	switch {
	case remedied != nil && !asks && !routine.Match(prose):
		return kind, s.body + remedied[0]
	case attacked != nil && guards && !asks && (repaired || could.Match(prose)):
		return kind, attacked[0]
	case strange != nil && !offers && repaired && did.Match(prose) && !hinders.Match(prose) && !s.has(optional):
		return kind, strange[0]
	case named != nil && guards && !asks && (repaired || opening.Match(prose[s.body:max(s.body, named[0])])):
		return kind, named[0]
	case inMemory == nil || !repaired:
		return "", 0
	case s.class&(classSecurity|classRepairs) != 0:
		return kind, inMemory[0]
	}
	return RuleMemory, inMemory[0]
}

// relaxes are the words of a check that is left out where it is in the way.
var relaxes = near("csrf|xsrf", `\b(?:exempt\w*|skip\w*|avoid\w*|overrid\w+|disabl\w+|opt(?:ing)? out|bypass\w*|relax\w*|not requir\w*|no longer requir\w*) (?:\S+ ){0,5}?(?:csrf|xsrf)\b`)

// updates says that something inside is updated. To ask the reader for an
// upgrade is no update.
func (s *statement) updates(prose []byte) bool { return bump.Match(prose) && !urges.Match(prose) }

var urges = near("upgrad|updat", `\b(?:should|must|please|to|can|urged|recommended|everybody|everyone|users|you|we|immediate) (?:to )?(?:upgrade|update)\b|\b(?:upgrade|update) (?:urgency|as soon|now|immediately|is|are|notes?|instructions|guide|your|recommended)\b|\bsecurity updates?\b`)

// fixed are verbs of repair that are of nothing else.
var fixed = near("fix|mitigat|remediat|patch|vulnerab", `\b(?:fix(?:e[sd]|ing)?|mitigat\w+|remediat\w+|patch(?:es|ed)?|vulnerab\w+ to)\b`)

// sectioned says that a statement stands under a heading or behind a tag of
// security, and says something that may be a repair.
func (s *statement) sectioned() bool {
	prose := s.prose[s.body:]
	if !hasLetters(s.whole()[s.body:]) || nothing.Match(prose) {
		return false
	}
	if s.class&classRepairs != 0 {
		return true
	}
	return s.class&classSecurity != 0 && !(feature.Match(prose) && (s.has(optional) || !protects.Match(prose))) && !announces.Match(prose)
}

// announces is what leads to a list, and says nothing itself.
var announces = always(`:[^a-z]*$`)

func hasLetters(prose []byte) bool {
	for _, c := range prose {
		if c >= 'a' && c <= 'z' {
			return true
		}
	}
	return false
}
