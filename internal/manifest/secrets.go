package manifest

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Exposed is a secret that stands where everybody reads it, or a credential
// that everybody knows. Its value is not kept.
type Exposed struct {
	Object string
	Path   string
	Known  bool // the value is a known default
	Weak   bool // found by its form in a text, and may be none
}

var (
	secretName = regexp.MustCompile(`(?i)(passw(or)?d|passphrase|passwd|(^|[_.-])pass$|(^|[_.-])pwd$|secret|token|api[_.-]?key|private[_.-]?key|access[_.-]?key|fernet[_.-]?key|encryption[_.-]?key|credential)`)
	// plainName tells what is about a secret from what is one.
	plainName = regexp.MustCompile(`(?i)(file|path|dir|name|ref|url|uri|endpoint|enabled?|ttl|expir\w*|length|polic\w*|user|rotat\w*|prefix|header|type|algorithm|size|mount|backend|provider|issuer|id|ids|count|limit|max|min|class|format|version|store|require\w*|allow\w*|method|interval|timeout|seconds|cmd|command|namespace|selector|list|label|key_?name|audience\w*|lifetime|duration|validity|hash\w*|scope\w*|review\w*|config\w*|engine|manager|operator|controller|exporter|service|keys?_?field|pullsecrets?|cache|usage|claim|mode|template|plugin|kind|group|env|from)s?$|^(allow|disable|enable|use|skip|has|is|require|show|max|min|auto)[_.-]|existing`)
	// urlCredential is a password within a URL.
	urlCredential = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@"']*:([^/\s:@$<{"']{1,128})@[\w.-]`)
	secretLine    = regexp.MustCompile(`(?m)^[ \t]*["']?([\w.-]{3,64})["']?[ \t]*[:=][ \t]*["']?([^\s"'#,;]{3,200})["']?[ \t]*,?$`)
	onlyNumber    = regexp.MustCompile(`^[0-9.]+[smhdkKMGi]*$`)
)

// knownCredentials are defaults that everybody tries first.
var knownCredentials = nameSet(`admin password passw0rd changeme change-me changeit secret root toor test guest default
	123456 12345678 1234567890 qwerty letmein pass user postgres postgresql mysql mariadb redis mongodb rabbitmq airflow
	minio minioadmin minio123 grafana prom-operator jenkins elastic kibana nexus sonarqube keycloak zabbix harbor12345
	argocd vault neo4j cassandra couchbase tomcat s3cr3t supersecret mysecretpassword thisisunsafe thisisnotsecure
	password1 password123 admin123 administrator airflow-password`)

// ExposedSecrets finds secrets in clear (in environments, arguments and
// ConfigMaps, URLs with a password included), and known default credentials
// wherever they stand, in Secrets too.
func ExposedSecrets(objects []Object) []Exposed {
	var out []Exposed
	for _, o := range objects {
		out = append(out, exposedIn(o)...)
	}
	return out
}

// exposures are those of objects that were looked at; nil keeps none.
type exposures map[*Object][]Exposed

func (e exposures) of(o *Object) []Exposed {
	found, known := e[o]
	if !known {
		if found = exposedIn(*o); e != nil {
			e[o] = found
		}
	}
	return found
}

func exposedIn(o Object) []Exposed {
	var out []Exposed
	add := func(path string, known, weak bool) { out = append(out, Exposed{o.ID(), path, known, weak}) }
	switch {
	case o.Kind == "Secret" && o.Group == "":
		for _, field := range []string{"data", "stringData"} {
			for _, key := range slices.Sorted(maps.Keys(table(o.Fields, field))) {
				value := str(o.Fields, field, key)
				if field == "data" {
					b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
					if value = string(b); err != nil || !utf8.Valid(b) {
						continue
					}
				}
				if isSecretName(key) && isKnown(value) {
					add(join(field, key), true, false)
				} else if where, known := secretWithin(value); known {
					add(join(field, key)+": "+where, true, false)
				}
			}
		}
	case o.Kind == "ConfigMap" && o.Group == "":
		for _, key := range slices.Sorted(maps.Keys(table(o.Fields, "data"))) {
			value := str(o.Fields, "data", key)
			switch known := isKnown(value); {
			case isSecretName(key) && isLiteral(value):
				add(join("data", key), known, false)
			default:
				if where, known := secretWithin(value); where != "" {
					add(join("data", key)+": "+where, known, where != "a URL with a password")
				}
			}
		}
	}
	for _, p := range podsOf(o) {
		for _, c := range p.containers() {
			out = append(out, exposedInContainer(o, c)...)
		}
	}
	return out
}

func exposedInContainer(o Object, c container) []Exposed {
	var out []Exposed
	for _, e := range tables(c.fields, "env") {
		name, value := str(e, "name"), scalar(e["value"])
		path := c.label() + " env " + name
		switch {
		case isSecretName(name) && isLiteral(value):
			out = append(out, Exposed{o.ID(), path, isKnown(value), false})
		case urlCredential.MatchString(value):
			out = append(out, Exposed{o.ID(), path, holdsKnown(value), false})
		}
	}
	for _, field := range []string{"args", "command"} {
		for i, e := range list(c.fields, field) {
			s, _ := e.(string)
			path := c.label() + " " + field + "[" + strconv.Itoa(i) + "]"
			if m := imageFlag.FindStringSubmatch(s); m != nil && isSecretName(m[1]) && isLiteral(m[2]) {
				out = append(out, Exposed{o.ID(), path, isKnown(m[2]), false})
			} else if len(s) < 64<<10 && urlCredential.MatchString(s) {
				out = append(out, Exposed{o.ID(), path, holdsKnown(s), false})
			}
		}
	}
	return out
}

func isSecretName(name string) bool {
	return len(name) < 128 && mentionsSecret(name) && secretName.MatchString(name) && !plainName.MatchString(name)
}

// mentionsSecret is false for a text in which secretName matches nothing. It is
// cheap.
func mentionsSecret(text string) bool {
	for i := range len(text) - 2 {
		var word string
		switch text[i] | 0x20 {
		case 'p':
			if word = "pass"; text[i+1]|0x20 == 'w' {
				word = "pwd"
			}
		case 's':
			word = "secret"
		case 't':
			word = "token"
		case 'k':
			word = "key"
		case 'c':
			word = "credential"
		default:
			continue
		}
		if len(text)-i >= len(word) && strings.EqualFold(text[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// isLiteral tells a value from a reference to one, a switch or a path.
func isLiteral(v string) bool {
	lower := strings.ToLower(v)
	switch {
	case len(v) < 3, lower == "true", lower == "false", lower == "none", lower == "null", lower == "nil", lower == Masked,
		strings.ContainsAny(v, "\n${}<>"), strings.HasPrefix(v, "/"), strings.HasPrefix(v, "./"), strings.Contains(v, "://"),
		strings.HasPrefix(v, "***"), v == Masked:
		return false
	}
	return !onlyNumber.MatchString(v) || isKnown(v)
}

func isKnown(v string) bool { return knownCredentials[strings.ToLower(strings.TrimSpace(v))] }

// holdsKnown reports whether a URL in the text has a known password.
func holdsKnown(text string) bool {
	if len(text) > 64<<10 {
		return false
	}
	m := urlCredential.FindStringSubmatch(text)
	return m != nil && isKnown(m[1])
}

// secretWithin says where in a text a secret stands: in a URL, or in a line
// that gives a value to a name. The text is a file of a program, so a line is a
// weak sign.
func secretWithin(text string) (where string, known bool) {
	if len(text) > 256<<10 {
		return "", false
	}
	if strings.Contains(text, "://") {
		if m := urlCredential.FindStringSubmatch(text); m != nil {
			return "a URL with a password", isKnown(m[1])
		}
	}
	if !mentionsSecret(text) {
		return "", false
	}
	for _, m := range secretLine.FindAllStringSubmatch(text, 2000) {
		// What a program gives to a field of an object is a variable.
		if strings.HasPrefix(m[1], "self.") || strings.HasPrefix(m[1], "this.") || !isSecretName(m[1]) || !isLiteral(m[2]) || strings.ContainsAny(m[2], "()[]*") {
			continue
		}
		if where = "the line of " + m[1]; isKnown(m[2]) {
			return where, true
		}
	}
	return where, false
}
