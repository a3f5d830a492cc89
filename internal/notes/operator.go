package notes

import (
	"bytes"
	"regexp"
	"strings"
)

// What an operator has to do or to know, and what grows or goes.
var (
	action  = near("must|have to|need|should|required|requires|breaking|incompatib|compatible|manual|upgrad|data loss|downtime|delete|recreate|re-create|rotate|rename|reinstall|migrat|make sure|please|unsafe|custom|warning|caution|attention", `\b(?:(?:you|users?|operators?|admin(?:istrator)?s?) (?:must|have to|need to|should|will (?:need|have) to|are required to)|must (?:be|now|also|first|set|update|change|delete|remove|recreate|run|manually|upgrade)|action(?:s)? (?:is |are )?(?:required|needed)|breaking[- ]changes?|(?:backwards?[- ])?incompatib\w+|not backwards?[- ]compatible|manual(?:ly)? (?:\w+ ){0,2}?(?:steps?|interventions?|migrat\w+|actions?|upgrad\w+|delet\w+|remov\w+|recreat\w+|updat\w+|appl\w+|adjust\w*|changes?)|(?:before|when|prior to|while|after) upgrad\w+|needs? to be (?:set|changed|updated|migrated|deleted|removed|recreated|renamed|run|restarted|adjusted|upgraded|applied|configured|replaced|rotated|reinstalled)|requires? (?:a |an |the )?(?:manual|migration|restart|re-?creat\w+|re-?install\w*|downtime|kubernetes|helm|action|update of|at least|new|minimum)|(?:is|are) now (?:required|mandatory)|(?:is|are) required|data loss|downtime|(?:delete|recreate|rotate|rename|reinstall|re-create) (?:the |your |all |any |existing )|database migrations?|make sure (?:to|that|you)|please (?:update|upgrade|change|rotate|set|make|check|review|read|remove|delete|migrate|note)|unsafe|set a custom|warning|caution|attention)\b`)
	removed = near("remov|support|discontinu|eol|end of|end-of", `\b(?:remov(?:e[sd]?|al of|ing) (?:\S+ ){0,4}?(?:support|deprecated|values?|options?|flags?|parameters?|settings?|api|fields?|commands?|features?|keys?|section|endpoints?|plugin|chart|default|metrics?|annotations?|columns?|functions?)|(?:was|were|has been|have been|is|are|been) (?:now )?removed|no longer supported|(?:drop(?:s|ped|ping)?|remov\w+|end of|ended|discontinu\w+) support|(?:end[- ]of[- ]life|eol))\b`)
	removes = always(`^[^a-z]*` + scopes + `(?:removed|removes|dropped)\b`)
	ageing  = near("deprecat|removed|going away|sunset", `\b(?:deprecat\w+|will be removed|to be removed|is going away|sunset\w*)\b`)
	grows   = near("permission|rbac|role|privilege|capabilit|host|cluster-admin|service|secrets|nodes|namespaces|sys_|net_|ipc_", `\b(?:add(?:s|ed|ing)?|grant(?:s|ed|ing)?|giv(?:e[sn]?|ing)|need(?:s|ed)?|requir(?:e[sd]?|ing)|extend\w*|allow\w*|missing|expand\w*|request\w*|more|additional|new|creat\w+|includ\w+) (?:\S+ ){0,6}?(?:permissions?|rbac|cluster-?roles?(?: ?bindings?)?|role ?bindings?|privileges?|privileged|capabilit(?:y|ies)|host-?network|host-?path|host-?pid|cluster-admin|service-?account|access to (?:\S+ ){0,2}?(?:secrets|nodes|all namespaces)|sys_admin|net_admin|net_raw|ipc_lock)\b`)
	known   = near("password|credential|login|admin|unsafe", `\b(?:default (?:admin\w* |root |user )?(?:passwords?|credentials?|login)|known (?:default )?passwords?|password (?:is|of|:|=) ?\W?(?:admin|password|changeme|123456|root|secret)\b|admin[/:]admin|(?:default|initial) (?:admin\w*|user) (?:user |account )?(?:\w+ ){0,3}?password|unsafe default|username \W?admin\W? (?:and|with) (?:\w+ )?password)`)
)

// operator finds the hints of a sentence that are not about security alone.
func (d *document) operator(s *statement) {
	if s.class&classAside != 0 {
		return
	}
	whole := s.whole()
	if m := known.FindIndex(whole); m != nil {
		d.add(s.hint(RulePassword, m[0], false))
	}
	if m := action.FindIndex(s.prose); m != nil {
		d.add(s.hint(RuleOperator, m[0], false))
	} else if s.class&classBreaking != 0 && s.first && hasLetters(whole) {
		d.add(s.hint(RuleOperator, s.body, false))
	}
	if m := grows.FindIndex(s.prose); m != nil {
		d.add(s.hint(RulePrivilege, m[0], false))
	}
	d.movement(s, aImage.Match(whole))
	switch m := ageing.FindIndex(s.prose); {
	case m != nil:
		d.add(s.hint(RuleDeprecated, m[0], false))
	case s.class&classDeprecated != 0 && s.first && hasLetters(whole):
		d.add(s.hint(RuleDeprecated, s.body, false))
	}
	if m := removed.FindIndex(s.prose); m != nil {
		d.add(s.hint(RuleRemoved, m[0], false))
	} else if s.first && hasLetters(whole) && (s.class&classRemoved != 0 || removes.Match(s.prose[s.body:])) {
		d.add(s.hint(RuleRemoved, s.body, false))
	}
}

// A tag or version as notes write it, and the names of images and modules.
const (
	versionWord = `v?\d[\w.+-]*(?:@sha256:[0-9a-f]{6,64})?`
	nameWord    = `[a-zA-Z0-9@][\w.@/-]*`
	quoted      = "[`'\"*]*"
)

var (
	// image is a reference with a tag or digest: a path, or a word that is
	// called an image.
	image = regexp.MustCompile(`(?:^|[\s"'(=])((?:[a-zA-Z0-9][\w.-]*(?::\d+)?/)+[a-zA-Z0-9][\w.-]*|[a-z0-9][a-z0-9._-]*):(v?\d[\w.+-]*(?:@sha256:[0-9a-f]{64})?|RELEASE\.[\w.-]+)`)
	// fromTo is "NAME from OLD to NEW", "from OLD to NEW" and "NAME OLD -> NEW".
	fromTo = regexp.MustCompile(`(?i)(?:(` + nameWord + `)(?: (?:image|version|plugin|chart|module|library|dependency|tag|to version))*:? )?` + quoted + `from (?:version )?` + quoted + `(` + versionWord + `)` + quoted + ` to (?:version )?` + quoted + `(` + versionWord + `)`)
	arrow  = regexp.MustCompile(`(?:(` + nameWord + `):? )?\(?(` + versionWord + `)` + quoted + ` (?:->|=>|to) ` + quoted + `(` + versionWord + `)`)
	// upTo is "bump NAME to NEW".
	upTo = regexp.MustCompile(`(?i)\b(?:bump\w*|upgrad\w*|updat\w*)(?: the| default| module| dependency| version of| version| image| package| plugin| chart| to)* (` + nameWord + `)(?: (?:image|version|plugin|chart|module|library|dependency|tag|app ?version))* (?:to|->)(?: version)? ` + quoted + `(` + versionWord + `)`)
	// backwards stands between what is new and what was before.
	backwards = regexp.MustCompile(`\b(?:instead of|rather than|was|were|previously|formerly|from|replac\w+)\b`)
	aImage    = near("image", `\bimages?\b`)
	moving    = always(`\b(?:bump\w*|upgrad\w*|updat\w*|now|chang\w+|mov\w+|switch\w*|default\w*|set|us(?:e[sd]?|ing)|replac\w+|to)\b`)
)

// moved is what a sentence says to be updated: its name, from, to.
func (s *statement) moved() (name, from, to string) {
	said := s.said[s.from:s.to]
	for _, p := range []*regexp.Regexp{fromTo, arrow} {
		if m := p.FindSubmatch(said); m != nil {
			return string(m[1]), trimVersion(m[2]), trimVersion(m[3])
		}
	}
	if m := upTo.FindSubmatch(said); m != nil {
		return string(m[1]), "", trimVersion(m[2])
	}
	return "", "", ""
}

// trimVersion is a version without the punctuation of its sentence.
func trimVersion(v []byte) string { return string(bytes.TrimRight(v, ".,;:+-")) }

// movement finds images that moved, and what else is updated. A reference in a
// sentence of movement is the new one; where one image stands there twice, the
// first is the old one, unless the words between them say the contrary. Called says that the sentence speaks of an image.
func (d *document) movement(s *statement, called bool) {
	said := s.said[s.from:s.to]
	var refs [][]int
	if (called || bytes.IndexByte(said, '/') >= 0) && bytes.IndexByte(said, ':') > 0 && moving.Match(s.prose) {
		refs = image.FindAllSubmatchIndex(said, -1)
	}
	if len(refs) > 0 {
		for i, m := range refs {
			name, tag := string(said[m[2]:m[3]]), trimVersion(said[m[4]:m[5]])
			if !called && !strings.Contains(name, "/") {
				continue
			}
			h := s.hint(RuleImage, m[2], false)
			h.Name, h.New = name, tag
			if i+1 < len(refs) && string(said[refs[i+1][2]:refs[i+1][3]]) == name {
				continue // its pair is one hint
			}
			if i > 0 && string(said[refs[i-1][2]:refs[i-1][3]]) == name {
				h.Old = trimVersion(said[refs[i-1][4]:refs[i-1][5]])
				if backwards.Match(s.prose[refs[i-1][1]:m[2]]) {
					h.Old, h.New = h.New, h.Old
				}
			}
			d.add(h)
		}
		return
	}
	if s.updated || !bump.Match(s.prose) && s.class&classDependency == 0 {
		return
	}
	name, from, to := s.moved()
	if to == "" {
		return
	}
	rule := RuleBump
	if called {
		rule = RuleImage
	}
	h := s.hint(rule, 0, false)
	h.Name, h.Old, h.New = name, from, to
	d.add(h)
}
