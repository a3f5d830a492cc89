package manifest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"text/template"
	"time"
)

// What Helm takes from chance is made here from a count of the calls and from
// the number of the run. So it is the same in every call of Render, no field
// that has it stays the same in both runs, and a chart that makes keys of 4096
// bits costs nothing. None of it is secret, and none of it leaves the package:
// fields that differ between the runs are masked.

const (
	digits  = "0123456789"
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// noise is the next 32 bytes that stand for chance, the same in both runs.
func (b *budget) noise() [sha256.Size]byte {
	b.random = true
	b.sequence++
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, b.sequence))
}

// characters is a text of n characters of an alphabet. Each of them differs
// between the runs.
func (b *budget) characters(n int, alphabet string) (string, error) {
	if n > maxRandom {
		return "", b.refuse("the templates make a random text of more than %d characters", maxRandom)
	}
	var out strings.Builder
	for out.Len() < n {
		for _, c := range b.noise() {
			if out.Len() < n {
				out.WriteByte(alphabet[(int(c)+b.run)%len(alphabet)])
			}
		}
	}
	return out.String(), nil
}

// certificate has the fields of those that Helm makes.
type certificate struct {
	Cert string
	Key  string
}

func (b *budget) randomFunctions() template.FuncMap {
	ascii := make([]byte, 0, 95)
	for c := byte(' '); c <= '~'; c++ {
		ascii = append(ascii, c)
	}
	of := func(alphabet string) func(int) (string, error) {
		return func(n int) (string, error) { return b.characters(n, alphabet) }
	}
	return template.FuncMap{
		"randAlphaNum": of(letters + digits),
		"randAlpha":    of(letters),
		"randNumeric":  of(digits),
		"randAscii":    of(string(ascii)),
		"randBytes":    b.randBytes,
		"randInt":      b.randInt,
		"uuidv4":       b.uuid,
		"shuffle":      b.shuffle,
		"bcrypt":       func(string) (string, error) { return b.bcrypt() },
		"htpasswd":     b.htpasswd,
		"encryptAES": func(_, text string) (string, error) {
			sealed := 16 + (len(text)/16+1)*16
			return b.characters((sealed+2)/3*4, letters+digits)
		},
		"genPrivateKey": func(kind string) string {
			if kind == "" || kind == "rsa" {
				return b.pem("RSA PRIVATE KEY")
			}
			return b.pem(strings.ToUpper(kind) + " PRIVATE KEY")
		},
		"genCA":                    func(string, int) certificate { return b.certify(b.pem("RSA PRIVATE KEY")) },
		"genCAWithKey":             func(_ string, _ int, key string) certificate { return b.certify(key) },
		"genSelfSignedCert":        func(_ string, _, _ []any, _ int) certificate { return b.certify(b.pem("RSA PRIVATE KEY")) },
		"genSelfSignedCertWithKey": func(_ string, _, _ []any, _ int, key string) certificate { return b.certify(key) },
		"genSignedCert": func(_ string, _, _ []any, _ int, _ certificate) certificate {
			return b.certify(b.pem("RSA PRIVATE KEY"))
		},
		"genSignedCertWithKey": func(_ string, _, _ []any, _ int, _ certificate, key string) certificate { return b.certify(key) },
		"buildCustomCert":      customCertificate,
		// The same each time, as with Helm, but it does not take 100 ms.
		"derivePassword": func(counter uint32, kind, password, user, site string) string {
			sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %q %q %q", counter, kind, password, user, site))
			return base64.StdEncoding.EncodeToString(sum[:15])
		},
	}
}

func (b *budget) certify(key string) certificate {
	return certificate{Cert: b.pem("CERTIFICATE"), Key: key}
}

// pem has the form of a PEM block.
func (b *budget) pem(kind string) string {
	var body strings.Builder
	for range 6 {
		line := b.noise()
		line[0] ^= byte(b.run)
		body.WriteString(base64.StdEncoding.EncodeToString(line[:]) + "\n")
	}
	return "-----BEGIN " + kind + "-----\n" + body.String() + "-----END " + kind + "-----\n"
}

func customCertificate(cert, key string) (certificate, error) {
	c, err := base64.StdEncoding.DecodeString(cert)
	if err != nil {
		return certificate{}, fmt.Errorf("decode base64 certificate: %w", err)
	}
	k, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return certificate{}, fmt.Errorf("decode base64 key: %w", err)
	}
	return certificate{Cert: string(c), Key: string(k)}, nil
}

func (b *budget) randBytes(n int) (string, error) {
	s, err := b.characters(n, letters+digits)
	return base64.StdEncoding.EncodeToString([]byte(s)), err
}

func (b *budget) randInt(low, high int) (int, error) {
	if high <= low {
		return 0, fmt.Errorf("randInt: %d is not below %d", low, high)
	}
	n := b.noise()
	return low + int((uint64(n[0])<<8+uint64(n[1])+uint64(b.run))%uint64(high-low)), nil
}

func (b *budget) uuid() string {
	n := b.noise()
	n[0] ^= byte(b.run)
	n[6], n[8] = n[6]&0x0f|0x40, n[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", n[:4], n[4:6], n[6:8], n[8:10], n[10:16])
}

// shuffle rotates, by one more in the second run.
func (b *budget) shuffle(s string) string {
	b.noise()
	r := []rune(s)
	if len(r) == 0 {
		return s
	}
	k := (1 + b.run) % len(r)
	return string(r[k:]) + string(r[:k])
}

func (b *budget) bcrypt() (string, error) {
	s, err := b.characters(53, letters+digits)
	return "$2a$10$" + s, err
}

func (b *budget) htpasswd(name, _ string) (string, error) {
	if strings.Contains(name, ":") {
		return "invalid username: " + name, nil
	}
	s, err := b.bcrypt()
	return name + ":" + s, err
}

// now is the time in a run. Nothing that is printed of it is the same in both.
func (b *budget) now() time.Time {
	b.random = true
	if b.run == 0 {
		return time.Date(2001, 2, 3, 4, 5, 6, 7_000_000, time.UTC)
	}
	return time.Date(2012, 11, 20, 13, 14, 15, 16_000_000, time.UTC)
}

func (b *budget) timeFunctions() template.FuncMap {
	moment := func(v any) time.Time {
		switch v := v.(type) {
		case time.Time:
			return v
		case *time.Time:
			return *v
		case int64:
			return time.Unix(v, 0)
		case int:
			return time.Unix(int64(v), 0)
		case int32:
			return time.Unix(int64(v), 0)
		}
		return b.now()
	}
	// Zones other than UTC would be read from the files of this machine.
	format := func(layout string, v any) string { return moment(v).UTC().Format(layout) }
	inZone := func(layout string, v any, _ string) string { return format(layout, v) }
	parse := func(layout, s string) (time.Time, error) { return time.Parse(layout, s) }
	return template.FuncMap{
		"now":            b.now,
		"date":           format,
		"dateInZone":     inZone,
		"date_in_zone":   inZone,
		"htmlDate":       func(v any) string { return format(time.DateOnly, v) },
		"htmlDateInZone": func(v any, _ string) string { return format(time.DateOnly, v) },
		"ago":            func(v any) string { return b.now().Sub(moment(v)).Round(time.Second).String() },
		"toDate":         func(layout, s string) time.Time { t, _ := parse(layout, s); return t },
		"mustToDate":     parse,
		"durationRound":  b.durationRound,
	}
}

// durationRound is the largest unit of a duration, or of the time since.
func (b *budget) durationRound(v any) string {
	var d time.Duration
	switch v := v.(type) {
	case string:
		d, _ = time.ParseDuration(v)
	case int64:
		d = time.Duration(v)
	case time.Time:
		d = b.now().Sub(v)
	}
	const day = 24 * time.Hour
	for _, unit := range []struct {
		is   time.Duration
		name string
	}{{365 * day, "y"}, {30 * day, "mo"}, {day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d.Abs() > unit.is {
			return fmt.Sprintf("%d%s", d.Abs()/unit.is, unit.name)
		}
	}
	return "0s"
}
