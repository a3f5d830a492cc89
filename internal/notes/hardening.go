package notes

// Protections and dangers, by the names that people give them. What is on or
// off "by default" is safer or weaker by these.
const (
	protection = `(?:tls|m?tls|https|ssl|starttls|hsts|authenti\w+|authori[sz]ation|auth|rbac|(?:certificate |tls |ssl |signature |peer |hostname |server |host key |nonce |checksum )+(?:verification|validation)|verif\w+ (?:of )?(?:\w+ )?(?:certificates?|signatures?|peers?|tls|hostnames?|server)|encrypt\w*|network ?polic(?:y|ies)|network isolation|signature \w+|signed \w+|(?:secure|httponly|samesite|http-only) (?:\w+ )?(?:cookies?|flags?|attributes?)|seccomp\w*|apparmor|selinux|read-?only (?:root )?(?:file ?system|root)|pkce|csrf|xss|brute[- ]force|rate[- ]limit\w*|access controls?|protected mode|security|sandbox\w*|content security policy|strict (?:mode|checking|host)|password (?:complexity|policy|hashing)|mfa|2fa|admission|pod security \w+|secure (?:mode|boot|transport|connections?|renegotiation|communication)|auto-?escap\w+|automatically escaped|(?:keys?|certificates?|credentials?|passwords?|tokens?|secrets?) (?:rotation|renewal))`
	danger     = `(?:anonymous|unauthenticated|insecure|debug(?:ging)? (?:endpoint|interface|console|mode|server|handler|port|page)\w*|p?prof(?:iling)?|weak\w* \w+|tls ?v?1(?:\.|_)[01]|ssl ?v?[23](?:\.0)?|rc4|3?des|md5|sha-?1|cbc|export ciphers?|(?:old|legacy|obsolete|insecure|unsafe|vulnerable|outdated) (?:\w+ )?(?:ciphers?|protocols?|algorithms?|tls|ssl|hash\w*)|privileged|host ?(?:network|path|pid|ipc)|root|auto-?mount\w*|service ?account token\w*|directory listing\w*|plain ?text|clear ?text|unencrypted|default (?:admin\w* )?(?:passwords?|accounts?|credentials?|users?)|public (?:access|exposure|sign-?up|registration)|remote (?:access|admin\w*|execution|code|scripts?|shell|cli|connections?)|script(?:ing|s) (?:execution|console)|introspection|dangerous\w*|unsafe\w*|wildcard (?:cors|origins?|hosts?|permissions?|verbs?|roles?|policy)|world[- ](?:readable|writable)|self-?registration|skip\w* (?:\w+ )?verif\w+|external entit\w+|dtds?|ssl compression|renegotiation|shell access|sensitive \w+|admin\w* (?:web )?(?:ui|interface|console|panel))`
)

var (
	// byDefault says that nobody has to ask.
	byDefault = near("default|now|longer|more|always|instead|requir|mandatory|automatically|everywhere|all ", `\b(?:by[- ]default|as (?:the |a )?default|(?:is |are |be |been )?(?:the )?(?:new )?defaults?(?: to| is| are| now| for)?|now|no longer|any ?more|always|instead of|from now on|required?|mandatory|automatically|everywhere|all containers|all pods)\b`)
	asDefault = near("default|longer|now", `\b(?:by[- ]default|as (?:the |a )?default|the default|defaults? to|default (?:value|is|of|now)|no longer|now)\b`)
	turnsOn   = always(`\b(?:enabl\w+|requir\w+|enforc\w+|turn(?:s|ed|ing)? on|activat\w+|verif(?:y|ies|ied)|mandat\w+|switch(?:ed|es)? (?:on|to)|us(?:e[sd]?|ing)|defaults? to|set(?:s|ting)?|appl(?:y|ies|ied)|add(?:s|ed)?|generat\w+|check(?:s|ed)?|validat\w+|is|are) (?:\S+ ){0,4}?` + protection + `\b|\b` + protection + ` (?:\S+ ){0,3}?(?:enabled|required|enforced|mandatory|on|active|used|verified|checked)\b`)
	turnsOff  = always(`\b(?:disabl\w+|den(?:y|ies|ied|ying)|reject\w*|refus\w*|forbid\w*|disallow\w*|prohibit\w*|remov\w+|drop(?:s|ped|ping)?|turn(?:s|ed|ing)? off|block(?:s|ed|ing)?|deactivat\w+|hid(?:e|es|den)|restrict(?:s|ed|ing)?|no longer (?:\S+ ){0,2}?(?:allow\w*|accept\w*|support\w*|enabl\w+|us\w+|need\w*|requir\w*|run\w*|expos\w*|permit\w*|set\w*|creat\w*|ship\w*|mount\w*)|do(?:es)?(?: not|n't) (?:\S+ ){0,1}?(?:allow|accept|use|enable|run|expose|permit|mount)) (?:\S+ ){0,4}?` + danger + `\b|\b` + danger + `(?: \S+){0,6}? (?:disabled|denied|rejected|refused|forbidden|disallowed|prohibited|removed|dropped|blocked|off|restricted|no longer (?:\w+ )?(?:supported|accepted|allowed|enabled|used|available|offered|permitted))\b`)
	weakens   = always(`\b(?:disabl\w+|turn(?:s|ed|ing)? off|deactivat\w+|skip\w*|do(?:es)?(?: not|n't) (?:verify|validate|require|enforce)|no longer (?:\S+ ){0,2}?(?:requir\w+|enforc\w+|verif\w+|enabl\w+)) (?:\S+ ){0,3}?` + protection + `\b|\b(?:enabl\w+|allow(?:s|ed)?|permit\w*|turn(?:s|ed)? on) (?:\S+ ){0,3}?` + danger + `\b|\b` + protection + ` (?:\S+ ){0,2}?(?:disabled|off)\b`)
)

// safer are the words of a change that makes things safer.
var safer = []saferRule{
	{words: near("root|unprivileged", `\b(?:run(?:s|ning)?|execut\w+|start(?:s|ed)?|switch(?:ed|es|ing)?|chang(?:e[sd]?|ing)|mov(?:e[sd]|ing)|us(?:e[sd]?|ing)|default\w*|user|uid|make|made|image|container|now|set|drop(?:s|ped|ping)?) (?:\S+ ){0,5}?(?:non[- ]?root|unprivileged|not? (?:as )?root|un-?privileged)\b|\b(?:remov\w+|drop(?:s|ped|ping)?|no longer (?:\w+ ){0,3}?|don't run as|do not run as|not run(?:ning)? as|without|avoid\w*) (?:the )?(?:need for |need of |requirement for )?root(?: (?:requirements?|privileges?|permissions?|user|access|rights|in|by))?\b|\bnon[- ]?root (?:by default|user by default|containers? by default)\b`)},
	{code: true, words: near("runasnonroot|allowprivilegeescalation|readonlyrootfilesystem|privileged|automountserviceaccounttoken|runtimedefault|hostnetwork|hostpid|hostipc", `(?:run_?as_?non_?root|readonlyrootfilesystem)\W{0,6}(?:=|:|to|is|with)?\W{0,3}true|(?:allowprivilegeescalation|\bprivileged|automountserviceaccounttoken|hostnetwork|hostpid|hostipc)\W{0,6}(?:=|:|to|is|with)?\W{0,3}false|(?:set|add(?:ed|s)?|default\w*|enforc\w+|enabl\w+|us(?:e[sd]?|ing)|appl\w+|disabl\w+|drop\w*|harden\w*) (?:\S+ ){0,3}\W?(?:runasnonroot|readonlyrootfilesystem|runtimedefault)|disabl\w+ (?:\S+ ){0,3}\W?(?:allowprivilegeescalation|automountserviceaccounttoken|hostnetwork)`)},
	{words: near("capabilit", `\b(?:drop(?:s|ped|ping)?|remov\w+|reduc\w+|restrict(?:s|ed|ing)?|minimi[sz]\w+|limit\w*|fewer|strip\w*) (?:\S+ ){0,4}?(?:capabilit(?:y|ies)|linux capabilities)\b`)},
	{words: near("privilege|permission|rbac|role|rights|wildcard", `\b(?:reduc\w+|restrict(?:s|ed|ing)?|minimi[sz]\w+|limit(?:s|ing)?|tighten\w*|narrow\w*|scop(?:e[sd]?|ing) down|least|lower\w*|shrink\w*|trim\w*|strip\w*|drop(?:s|ped|ping)?|remov\w+|revok\w+|less|fewer) (?:\S+ ){0,4}?(?:privileges?|permissions?|rbac (?:permissions?|rules?|privileges?|rights|access|scope)|cluster-?roles?(?: permissions?| rules?)?|role (?:permissions?|rules)|access rights|wildcard (?:\w+ )?(?:permissions?|verbs?|rules?|roles?|access|resources?))(?:$|[^\w\s]|\s+(?:[^\w\s]|(?:from|of|for|to|in|on|by|and|or|granted|needed|required|given|not|as|with|per|since|at)\b))|\bleast[- ]privileges?\b|\b(?:remov\w+|drop(?:s|ped)?|revok\w+) (?:\S+ ){0,5}?(?:secrets?|verbs?|create|delete|list|watch|get|patch|update|exec|nodes?|access|wildcards?) from (?:\S+ ){0,4}?(?:rbac|roles?|cluster-?roles?|permissions?)\b|\b(?:excessive|unneeded|unnecessary|unused|overly broad|broad|superfluous|too wide|over-?permissive|needless) (?:\S+ ){0,2}?(?:privileges?|permissions?|rbac|rights|roles?|rules|access)\b`)},
	{words: near("secure", `\b(?:secure|safe)r?(?:[- ]by)?[- ]defaults?\b|\b(?:more|now) secure\b|\bsecure(?:s|d)? (?:the )?(?:\S+ ){0,3}?(?:by default|against)\b`)},
	{words: near("harden", `\bharden(?:s|ed|ing)?(?:$|[^\w-]|-(?:$|\W))`)},
	{words: near("security", `\b(?:for|improv\w+|increas\w+|enhanc\w+|strengthen\w*|better|tighten\w*|additional|more|extra|harden\w*|enabl\w+|enforc\w+|due to|because of|stricter|improved) (?:\w+ ){0,2}?security(?: reasons?| purposes?| concerns?)?\b|\bsecurity (?:reasons|purposes|measures?|precautions?|by default|(?:control )?(?:now|is now) enabled)\b|\bsecurity(?:-wise)?[- ](?:related|relevant|critical|sensitive) (?:\w+ )?(?:change|improvement|fix|issue|bug|update|enhancement|problem)s?\b`)},
	{fault: true, words: near("security", `\bsecurity (?:improvements?|enhancements?|hardening)\b`)},
	{always: true, words: near("log|retriev|reveal|receiv|print|expos|leak|show|display|send|sent|includ|output|dump|write|return|pass|redact|mask|hid|obfuscat|scrub|censor|sanit|filter", `\b(?:no longer|do not|don't|does not|doesn't|avoid\w*|stop(?:s|ped)?|prevent\w*|never|not|without|instead of|remov\w+) (?:\S+ ){0,3}?(?:log(?:s|ged|ging)?|print\w*|expos\w+|leak\w*|display\w*|show\w*|output\w*|includ\w+|send\w*|dump\w*|writ\w+|pass\w*|return\w*|stor\w+|retriev\w+|reveal\w*|receiv\w+) (?:\S+ ){0,5}?`+secret+`\b|\b(?:redact\w*|mask(?:s|ed|ing)?|obfuscat\w+|scrub\w*|censor\w*|hid(?:e|es|den|ing)|filter\w*|saniti[sz]\w+|strip\w*|remov\w+) (?:of )?(?:\S+ ){0,4}?`+secret+` (?:\S+ ){0,3}?(?:in|from|when|on|under) (?:\S+ ){0,3}?(?:views?|logs?|logging|output|debug|responses?|errors?|messages?|api|ui|dumps?|metrics|traces?|urls?|stdout|printing)|\b(?:redact\w*|scrub\w*|obfuscat\w+|mask(?:s|ed|ing)?) (?:of )?(?:\S+ ){0,3}?`+secret+`\b`)},
	{words: near("constant|timing", `\bconstant[- ]time (?:\S+ ){0,3}?(?:compar|check|equal|verif|auth|hmac|digest|token|password|string|operation)|\b(?:compar|check|verif)\w* (?:\S+ ){0,6}?constant[- ]time\b|\btiming[- ]safe\b`)},
	{words: near("sanit|escap|untrusted", `\b(?:saniti[sz]\w+|escap(?:e[sd]?|ing)) (?:of )?(?:\w+ ){0,2}?(?:user\w*(?: |-)?(?:supplied|provided|input)?|untrusted|html|svgs?|markdown|inputs?) ?\b`)},
	{words: near("password|credential|secret|key", `\b(?:remov\w+|no longer|drop\w*|eliminat\w+|replac\w+|don't|do not|without|no) (?:\S+ ){0,4}?(?:hard-?coded|default|well-known|known|static|shared|fixed|built-?in|blank|empty) (?:admin(?:istrator)? )?(?:passwords?|credentials?|secrets?|(?:\w+ )?keys?|accounts?)\b|\b(?:generat\w+|random\w*) (?:an? |the )?(?:random |unique |strong |secure |new )*(?:\w+ )?(?:passwords?|credentials|(?:secret|signing|session|encryption|private) keys?)\b|\b(?:random|randomly generated|unique|auto-?generated) (?:\w+ )?passwords?\b|\bpasswords? (?:\S+ ){0,4}?(?:random\w*|hashed|encrypted|required|mandatory)\b`)},
	{words: near("attack surface", `\b(?:reduc\w+|minimi[sz]\w+|shrink\w*|lower\w*|limit\w*|decreas\w+|smaller|less) (?:\S+ ){0,3}?attack surface\b`)},
	{words: near("mount", `\b(?:stop(?:s|ped|ping)?|no longer|don't|do not|does not|never|avoid\w*) (?:\S+ ){0,2}?auto-?(?:matically )?mount\w*\b`)},
	{code: true, words: near("restricted|baseline", `\b(?:now|default\w*|comply|complies|complian\w+|compatible|conform\w*|adher\w+|match\w*|meet\w*|satisf\w+|follow\w*|run\w*) (?:\S+ ){0,6}?(?:restricted|baseline) (?:\w+ )?(?:pod[- ]security|psa|pss|profile)\b`)},
	{code: true, words: near("root", `\b(?:restrict|forbid|disallow|block|den)\w* (?:\S+ ){0,4}?(?:running|executing|starting) as \W?root\b`)},
	{words: near("sanit", `\b(?:improv\w+|better|stricter|missing|stronger|proper\w*|add(?:s|ed)?) (?:\S+ ){0,3}?saniti[sz](?:ation|ing)\b`)},
	{words: near("loopback|localhost|127.0.0.1", `\b(?:listen\w*|bind\w*|bound) (?:\S+ ){0,5}?(?:localhost|loopback(?: \w+)?|127\.0\.0\.1) (?:only|by default)\b|\b(?:listen\w*|bind\w*|bound) (?:\S+ ){0,3}?only (?:to|on) (?:localhost|loopback|127\.0\.0\.1)`)},
	{fault: true, always: true, words: near("enforc", `\benforc\w+ (?:\S+ ){0,3}?(?:permissions?|access[- ]controls?|authori[sz]ation|authentication|acls?|ownership|privileges?|(?:read|view|write|edit|admin) (?:access|rights?)|(?:\w+ )?passwords?|password polic(?:y|ies))\b|\b(?:permissions?|authori[sz]ation|access[- ]controls?|acls?|passwords?) (?:\w+ ){0,3}?(?:is|are|were|was) (?:not |now |properly |correctly |always )*enforced\b`)},
	{words: near("role", `\broles? (?:\S+ )?(?:instead of|rather than) (?:an? )?cluster-?roles?\b`)},
	{words: near("instead|rather", `\b(?:secrets?|passwords?|tokens?|credentials?|private keys?) (?:\S+ ){0,5}?(?:instead of|rather than) (?:\S+ ){0,3}?(?:env|environment|command[- ]line|plain ?text|config-?maps?|arguments?)\b`)},
	{words: near("better|strong", `\b(?:better|stronger) (?:\S+ ){0,2}?(?:encryption|ciphers?|hash(?:es|ing)?(?: algorithms?| functions?)?(?:$|[^\w ]| (?:for|of|in|as))|digests?|cryptograph\w+|algorithms?)\b`)},
	{fault: true, words: near("disabl|skip|ignor|bypass", `\b(?:do(?:es)? not|don't|doesn't|no longer|never|stop(?:s|ped)?) (?:disabl\w+|skip\w*|ignor\w+|bypass\w*) (?:\S+ ){0,3}?`+protection+`\b`)},
	{fault: true, words: near("without|lacking", `\b(?:prevent|disallow|block|stop|forbid|den)\w* (?:\S+ ){0,3}?(?:users?|clients?|accounts?|members?|anyone|callers?) (?:without|lacking) (?:\S+ ){0,3}?(?:permissions?|privileges?|rights|access)\b`)},
	{words: near("world|0600|0700|owner|umask|mode|permissions", `\b(?:world|group)[- ](?:readable|writable|writeable)\b|\b(?:restrict(?:s|ed|ing)?|tighten\w*|stricter|strict|limit(?:s|ing)?|more restrictive|safer|secure) (?:\S+ ){0,4}?(?:permissions|(?:file|directory|folder|socket) mode|umask)\b|\b(?:permissions?|mode|umask) (?:\S+ ){0,5}?(?:0?600|0?700|0?640|0?750|0?077|0?027)\b`)},
	{words: near("tls|ssl|cipher", `\b(?:min(?:imum|imal)?|default|require\w*|at least|enforc\w+|only) (?:\S+ ){0,4}?tls ?v?1[._][23]\b|\btls ?v?1[._][23] (?:\S+ ){0,4}?(?:minimum|min|default|required|only|or (?:newer|higher|later))\b|\b(?:remov\w+|drop\w*|disabl\w+|no longer|reject\w*|forbid\w*|exclud\w+) (?:\S+ ){0,4}?(?:tls ?v?1[._][01]|ssl ?v?[23]|sslv\d|rc4|3des|md5|sha-?1|(?:weak|insecure|old|legacy|unsafe|vulnerable|obsolete|cbc|export) (?:\w+ )?(?:ciphers?|algorithms?|protocols?|suites?))`)},
	{always: true, words: near("cookie", `\b(?:set|sets|setting|add(?:s|ed)?|mark(?:s|ed)?|us(?:e[sd]?|ing)|enabl\w+|default\w*|make|made|now|always|send|sent|issu\w+|missing|enforc\w+)\b.*\bcookies?\b.*\b(?:secure|http-?only|same-?site)\b|\b(?:set|add(?:s|ed)?|mark(?:s|ed)?|us(?:e[sd]?|ing)|enabl\w+|make|made|missing|enforc\w+)\b.*\b(?:secure|http-?only|same-?site)\b.*\bcookies?\b|\bcookies? (?:is|are) (?:now )?(?:\w+ )*?(?:secure|http-?only|same-?site)`)},
	{always: true, code: true, words: near("redirect|different|another|cross", `\b(?:strip\w*|remov\w+|drop\w*|(?:no longer|not|don't|never|stop) (?:\w+ )?(?:sen[dt]|forward|pass|leak|keep)\w*)\b.{0,80}\b(?:(?:proxy-)?authorization|credentials?|cookies?|secrets?|tokens?|passwords?)\b.{0,80}\b(?:cross[- ]\w+|(?:different|other|another|third) (?:hosts?|origins?|domains?|servers?|sites?|part(?:y|ies)))|\b(?:authorization|credentials?|cookies?)\b.{0,60}\b(?:strip\w*|remov\w+|drop\w*)\b.{0,60}\b(?:cross[- ]\w+|(?:different|other|another) (?:hosts?|origins?|domains?|servers?|sites?))`)},
	{code: true, words: near("default", `\b\w*(?:cert|verif|tls|ssl|auth|secur|strict|protect|encrypt)\w*\W{1,6}(?:(?:is|are|value|option|setting|flag|now) ){0,3}default(?:s|ed|ing)?(?: value)?(?: is| now)* (?:now )?(?:to )?\W{0,6}(?:cert_required|required|require|true|strict|enabled|on|always|full)\b|\b\w*(?:insecure|skip_?\w*verif|allow_?anonymous|privileged|debug)\w*\W{1,6}(?:(?:is|value|option|setting|flag|now) ){0,3}default(?:s|ed|ing)?(?: value)?(?: is| now)* (?:now )?(?:to )?\W{0,6}(?:false|disabled|off|no)\b`)},
	{code: true, words: near("insecure|verify", `(?:remov\w+|drop\w*|no longer (?:set|us|pass)\w*) (?:\S+ ){0,2}?\W?\w*(?:insecure\w*|skip\w*verif\w*)\W{0,4}(?:=|:|to)?\W{0,2}true\b|\b(?:set|chang\w+) (?:\S+ ){0,3}?\W?\w*(?:insecure\w*|skip\w*verif\w*)\W{0,4}(?:=|:|to)?\W{0,2}false\b`)},
	{fault: true, words: near("verif", `\b(?:skip\w*|insecure\w*|disabl\w+|no|without)[- ](?:\w+[- ])?(?:verif\w+|validation)\b.{0,40}\b(?:was|were) (?:\S+ ){0,3}?(?:default|true|enabled|always)\b`)},
	{fault: true, words: near("verif|check|validat|authenti|authoriz|authoris|permission", `\bmust (?:now )?be (?:\w+ )?(?:verified|authenticated|signed|encrypted|authori[sz]ed)\b|\b(?:missing|bad|wrong|incorrect|broken|incomplete|improper|absent|lacking|insufficient|lax|weak|proper\w*|stricter|stronger|better) (?:\w+ ){0,2}?(?:authenti\w+|authori[sz]ation|permission|access control|acl|signature|certificate|ownership|origin|csrf|privilege)s? (?:\w+ )?(?:checks?|checking|verification|validation|enforcement|handling)\b|\b(?:signature|certificate|authori[sz]ation|permission) (?:checking|check|verification|validation) (?:\w+ )?(?:issue|bug|flaw|problem|bypass)\w*`)},
}

// Offers and repairs are no safer defaults.
var (
	// besides is what is done along with what is offered.
	besides = always(`^ and (?:enabl|disabl|requir|enforc|reject|drop|remov)`)
	asked   = always(`^[^a-z]*` + scopes + `(?:(?:(?:initial|experimental|better|full|partial|basic|improved?) )?support\w*|examples?|allow\w*|option\w*|provid\w*|expos\w*|ability|possibility|configur\w*|make (?:\S+ ){0,4}?(?:optional|configurable|overrid\w+|customi[sz]\w+|possible)|(?:add\w*|new|introduc\w*|implement\w*) (?:\S+ ){0,5}?(?:options?|support|flags?|settings?|parameters?|values?|ability|annotations?|possibility|env\w* var\w*|examples?|switch|toggle|configur\w+|rbac|functions?|methods?|apis?|helpers?|commands?))\b`)
	asking  = always(`\b(?:enabl(?:e[sd]?|ing) (?:users?|you|to)|optional\w*|configurable|can (?:now )?be|can now|now (?:also |fully |properly )?supports?|opt-in|supports? (?:enabling|disabling|running|using|setting)|if (?:enabled|configured|set)|when (?:enabled|configured)|option to|allow(?:s|ing)? (?:to|users?|you|for|running|setting|configuring|specifying)|possible to|possibility|you can|(?:^|so |that |now |and |, )users can|made (?:\w+ )?(?:optional|configurable|customi[sz]able)|is (?:now )?(?:optional|configurable)|revert\w*|roll(?:ed)? back|diagnos\w+|as a reminder|benefit(?:s|ing)? from|see the)\b`)
	// broken is the repair of what did not work at all, whatever it was for.
	broken  = near("fix", `^[^a-z]*`+scopes+`fix(?:e[sd]|ing)? (?:an? |the |some |potential |possible )*(?:\w+ )?(?:crash\w*|panics?|exceptions?|nil|null|npe|regressions?|deadlocks?|hangs?|tests?|builds?|compil\w+|performance|typos?|memory leaks?|segfaults?)\b`)
	failing = always(`\b(?:fail\w*|crash\w*|error\w*|work(?:s|ing)? (?:\w+ )?(?:with|as|for|on|under|in)|broke\w*|break\w*|compatib\w+|issues? (?:with|when)|problems? (?:with|when)|bugs? (?:with|when|where)|not working|doesn't work|denied|prevent(?:s|ed|ing)? (?:\w+ ){0,3}from (?:run|start|work)\w*|(?:when|if|while|for|where|as|under) (?:\S+ ){0,4}?(?:run|running|runs|using|used|is|are) (?:as )?(?:\S+ ){0,2}?(?:non-?root|unprivileged|rootless|capabilit\w+|tls|https|ssl|permissions?|hardened|read-?only))\b`)
)

// hardened looks for a default made safer, or weaker.
func (s *statement) hardened() (string, int) {
	rule, at := s.change()
	offered := asked.Match(s.prose[s.body:]) && !besides.Match(s.prose[max(0, at-5):])
	if rule != "" && (offered || s.has(asking)) {
		return "", 0
	}
	return rule, at
}

// change looks for the words of a change of what is safe.
func (s *statement) change() (string, int) {
	prose := withoutCompounds(s.prose)
	whole := s.whole()
	for _, rules := range [][]saferRule{safer, guards} {
		for _, rule := range rules {
			text := prose
			if rule.code {
				text = whole
			}
			if m := rule.words.FindIndex(text); m != nil && (rule.fault && !s.has(broken) || !s.has(failing)) && (rule.always || !conditional(text, m)) {
				return RuleSafer, m[0]
			}
		}
	}
	if !byDefault.Match(prose) || s.has(failing) {
		return "", 0
	}
	prose, whole = without(tame, prose), without(tame, whole)
	if m := turnsOff.FindIndex(whole); m != nil && !conditional(whole, m) {
		return RuleSafer, m[0]
	}
	if !asDefault.Match(prose) {
		return "", 0
	}
	if m := weakens.FindIndex(whole); m != nil {
		return RuleWeaker, m[0]
	}
	if m := turnsOn.FindIndex(prose); m != nil && !conditional(prose, m) {
		return RuleSafer, m[0]
	}
	return "", 0
}

// conditional says that a match holds in some cases alone, or joins two
// clauses.
func conditional(prose []byte, m []int) bool {
	return condition.Match(prose[m[0]:m[1]]) || onlyIf.Match(prose[m[1]:]) && !whenNone.Match(prose[m[1]:]) || inCase.Match(prose[:m[0]])
}

var (
	condition = always(`\b(?:if|when|unless|where|whenever|because|which|while|after|already)\b|\b(?:rather than|instead of) (?:an? |the )?(?:non-?root|unprivileged)\b|\bfrom (?:an? |the )?(?:hard-?coded|default|known|static|built-?in)\b`)
	onlyIf    = always(`^ (?:\S+ ){0,2}?(?:if|when|unless|whenever)\b`)
	whenNone  = always(`^ (?:\S+ ){0,2}?(?:if|when|unless|whenever) (?:\w+ )?(?:none|not?|nothing|missing|absent|omitted|empty|unset|is not|are not|isn't|aren't)\b`)
	inCase    = always(`\b(?:if|when|while|whenever|unless|since|because|already|after|before) (?:\S+ )?$|\b(?:if|unless) [^,;:.]{0,80}$|\b(?:that|which|who) (?:have|has|had|are|is)(?: been)? $`)
)
