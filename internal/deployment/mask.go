package deployment

import (
	"encoding/json"
	"math"
	"net/url"
	"regexp"
	"strings"
)

// masked stands in the place of what looks like a secret. Neither its type,
// nor its length, nor a digest of it is kept.
const masked = "***"

// maskDepth bounds how deep values may be nested. What is deeper is masked.
const maskDepth = 64

// Mask returns a copy of values, as JSON decodes them, with every value
// replaced that looks like a secret: by the name of its key, or by its shape.
// It errs on the side of masking. Cost: linear.
func Mask(values map[string]any) map[string]any {
	m, _ := mask(values, false, 0).(map[string]any)
	return m
}

// maskedJSON is the masked values as JSON, nil for none.
func maskedJSON(values map[string]any) json.RawMessage {
	if len(values) == 0 {
		return nil
	}
	b, err := json.Marshal(Mask(values))
	if err != nil {
		return nil // what JSON cannot hold did not come from JSON
	}
	return b
}

// maskAll returns values with every value masked, for what a Secret holds.
func maskAll(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = maskAll(item)
		}
		return out
	case nil:
		return nil
	}
	return masked
}

// mask masks v; secret says that the key above promises a secret.
func mask(v any, secret bool, depth int) any {
	if depth > maskDepth {
		return masked
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		named := namesSecret(v)
		for key, item := range v {
			out[key] = mask(item, secretField(v, key, item, named, secret), depth+1)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = mask(item, secret, depth+1)
		}
		return out
	case nil, bool:
		return v
	case string:
		if v != "" && (secret || secretText(v)) {
			return masked
		}
		return v
	}
	if secret {
		return masked
	}
	return v
}

// secretField reports whether the value of a field is a secret by the names
// around it. named says that the mapping names one, above that the key above
// promises one.
func secretField(m map[string]any, key string, v any, named, above bool) bool {
	if harmlessKey(key) {
		// A name or a path is one short line; anything else is no such thing.
		text, _ := v.(string)
		return hasSecretWord(key) && (len(text) > 253 || strings.Contains(text, "\n"))
	}
	word, end := secretKey(key)
	if _, below := v.(map[string]any); below {
		end = false // a group called auth or key holds more than secrets
	} else if strings.EqualFold(key, "key") {
		end = true
		for _, sibling := range []string{"name", "operator", "effect", "values"} { // a reference, a toleration, a selector
			if _, ok := m[sibling]; ok {
				end = false
			}
		}
	}
	return word || end || above || named && strings.EqualFold(key, "value")
}

// namesSecret reports whether a mapping is an item such as {name: DB_PASSWORD,
// value: …}.
func namesSecret(m map[string]any) bool {
	for _, key := range []string{"name", "key", "Name", "Key"} {
		if s, ok := m[key].(string); ok {
			if word, end := secretKey(s); word || end {
				return true
			}
		}
	}
	return false
}

// secretWords are parts of the names of keys whose values are secrets, in
// lower case and without separators.
var secretWords = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "apikey", "accesskey", "privatekey",
	"secretkey", "signingkey", "encryptionkey", "masterkey", "fernetkey", "licensekey", "sshkey", "tlskey", "hmac", "dsn",
	"connectionstring", "connstring", "jdbcurl", "databaseurl", "webhookurl", "bearer", "authorization", "htpasswd",
	"dockerconfigjson", "kubeconfig", "cookie", "salt", "jwt", "authkey", "accountkey", "sharedkey", "serverkey",
}

// secretEnds are names, or last parts of names, that are too short to be looked
// for everywhere.
var secretEnds = []string{"pass", "key", "auth", "pin", "pat", "pem", "crt"}

// harmlessEnds end the names of keys that speak of a secret and hold none: its
// name, whether there is one, where it is mounted.
var harmlessEnds = []string{
	"name", "names", "ref", "refs", "enabled", "enable", "create", "created", "type", "kind", "path", "file", "files", "dir", "mountpath", "namespace",
	"annotations", "labels", "expiration", "expiry", "ttl", "lifetime", "timeout", "duration", "seconds", "minutes", "hours", "days",
	"length", "policy", "algorithm", "provider", "optional", "mode", "replicas", "port", "version", "issuer", "audience", "class", "storeref", "items",
}

// secretKey reports whether the name of a key promises a secret: by a word
// that means nothing else, or by its end.
func secretKey(key string) (word, end bool) {
	if harmlessKey(key) {
		return false, false
	}
	if hasSecretWord(key) {
		return true, false
	}
	k := squeeze(key)
	for _, word := range secretEnds {
		if k == word || strings.HasSuffix(key, strings.ToUpper(word[:1])+word[1:]) ||
			strings.HasSuffix(key, "_"+word) || strings.HasSuffix(key, "-"+word) || strings.HasSuffix(key, "_"+strings.ToUpper(word)) || strings.HasSuffix(key, "."+word) {
			return false, word != "key" || !keyOfObject(k)
		}
	}
	return false, false
}

func hasSecretWord(key string) bool {
	k := squeeze(key)
	for _, word := range secretWords {
		if strings.Contains(k, word) {
			return true
		}
	}
	return false
}

// keyOfObject reports whether a name that ends in key means a key of labels,
// topology or an existing Secret, as charts use it.
func keyOfObject(k string) bool {
	for _, of := range []string{"topologykey", "labelkey", "annotationkey", "configmapkey", "partitionkey", "sortkey", "publickey", "primarykey", "foreignkey", "groupkey"} {
		if strings.HasSuffix(k, of) {
			return true
		}
	}
	return k == "key"
}

func harmlessKey(key string) bool {
	k := squeeze(key)
	if k == "existingsecret" || k == "imagepullsecrets" || k == "pullsecrets" || strings.HasPrefix(k, "existingsecret") {
		return true
	}
	for _, end := range harmlessEnds {
		if k == end || strings.HasSuffix(k, end) {
			return true
		}
	}
	return false
}

var separators = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

func squeeze(key string) string { return separators.Replace(strings.ToLower(key)) }

// Shapes of secrets.
var (
	tokenShapes = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*(PRIVATE KEY|CERTIFICATE|PGP MESSAGE)` +
		`|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.` + // JWT
		`|\b(AKIA|ASIA|AROA|AIDA)[0-9A-Z]{12,}\b` + // AWS
		`|\bAIza[0-9A-Za-z_-]{30,}` + // Google
		`|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}` +
		`|\bxox[abeoprs]-[A-Za-z0-9-]{8,}|hooks\.slack\.com/services/` +
		`|\b[sr]k_(live|test)_[A-Za-z0-9]{10,}|\bSG\.[A-Za-z0-9_-]{16,}|\bnpm_[A-Za-z0-9]{20,}|\bhvs\.[A-Za-z0-9_-]{20,}` +
		`|(?i:\b(bearer|basic)\s+[A-Za-z0-9+/._~-]{8,}=*)` +
		`|\$2[aby]\$[0-9]{2}\$|\$apr1\$|\$argon2|\$[156]\$[^$ ]+\$|\{SHA\}|\bENC\[`)
	// assigned is a secret in a piece of configuration that is one text.
	assigned = regexp.MustCompile(`(?i)(passw(or)?d|passwd|pwd|passphrase|secret|token|credential|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|client[_-]?key)` +
		`[a-z0-9_.-]*["']?\s*(=>|[:=])\s*["']?[^\s"'{}$]`)
	userinfo = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@"']*:[^/\s@"']+@`)
	opaque   = regexp.MustCompile(`^[A-Za-z0-9+/_=-]{20,}$`)
	digestOf = regexp.MustCompile(`^(sha(256|384|512):)[0-9a-f]+$`)
)

// secretText reports whether a text has the shape of a secret.
func secretText(s string) bool {
	if len(s) < 8 {
		return false
	}
	return tokenShapes.MatchString(s) || userinfo.MatchString(s) || assigned.MatchString(s) || random(s)
}

// random reports whether a text is one word that looks like chance: long, of
// mixed characters, and with much information in each.
func random(s string) bool {
	if len(s) > 4096 || !opaque.MatchString(s) || digestOf.MatchString(s) {
		return false
	}
	var upper, lower, digit bool
	count := map[rune]int{}
	for _, r := range s {
		upper = upper || r >= 'A' && r <= 'Z'
		lower = lower || r >= 'a' && r <= 'z'
		digit = digit || r >= '0' && r <= '9'
		count[r]++
	}
	bits := 0.0
	for _, n := range count {
		p := float64(n) / float64(len(s))
		bits -= p * math.Log2(p)
	}
	hex := strings.Trim(s, "0123456789abcdefABCDEF") == ""
	switch {
	case hex:
		return digit && (upper || lower) && len(s) >= 32 && bits > 3
	case upper && lower && digit:
		return bits > 3.7
	case strings.ContainsAny(s, "-_/") && len(s) < 32: // words with separators: names and paths
		return false
	}
	return digit && (upper || lower) && bits > 4
}

// repositoryURL takes the credentials out of an address.
func repositoryURL(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		if at := strings.LastIndexByte(s, '@'); strings.Contains(s[:at], "://") {
			scheme, _, _ := strings.Cut(s, "://")
			return scheme + "://" + s[at+1:]
		}
		return s
	}
	if u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}
