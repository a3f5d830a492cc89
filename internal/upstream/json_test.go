package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// oracle reads an index in JSON with encoding/json, to which it leaves all that
// is JSON: what is valid, what a string says, which name a key matches.
type oracleReader struct {
	*builder
	dec     *json.Decoder
	matches map[string]string // the fields of keys that were asked for
}

func oracleJSON(text []byte, lim Limits) (Index, error, bool) {
	if !json.Valid(text) {
		return Index{}, nil, false
	}
	r := &oracleReader{newBuilder(lim), json.NewDecoder(bytes.NewReader(text)), map[string]string{}}
	r.dec.UseNumber() // no number is too large
	met := map[string]bool{}
	if !r.object(func(key string) bool { return r.top(key, met) }) {
		return Index{}, r.err, true
	}
	r.open = false
	x, err := r.done()
	return x, err, true
}

// token takes a token of a text that is known to be JSON.
func (r *oracleReader) token() json.Token {
	t, err := r.dec.Token()
	if err != nil {
		panic(err)
	}
	return t
}

func (r *oracleReader) raw() json.RawMessage {
	var raw json.RawMessage
	if err := r.dec.Decode(&raw); err != nil {
		panic(err)
	}
	return raw
}

func (r *oracleReader) object(each func(key string) bool) bool {
	switch r.token() {
	case nil:
		return true
	case json.Delim('{'):
	default:
		return r.fail(invalid("no object"))
	}
	for r.dec.More() {
		if !each(r.token().(string)) {
			return false
		}
	}
	r.token()
	return true
}

func (r *oracleReader) array(each func() bool) bool {
	switch r.token() {
	case nil:
		return true
	case json.Delim('['):
	default:
		return r.fail(invalid("no array"))
	}
	for r.dec.More() {
		if !each() {
			return false
		}
	}
	r.token()
	return true
}

// match has encoding/json find the field of a key; "" for none.
func (r *oracleReader) match(key string) string {
	if name, asked := r.matches[key]; asked {
		return name
	}
	var e struct {
		APIVersion, Entries, Generated                               *int
		Name, Version, Digest, Created, AppVersion, Deprecated, URLs *int
	}
	object, err := json.Marshal(map[string]int{key: 1})
	if err != nil || json.Unmarshal(object, &e) != nil {
		panic("a key cannot be matched")
	}
	for name, p := range map[string]*int{
		"apiVersion": e.APIVersion, "entries": e.Entries, "generated": e.Generated, "name": e.Name, "version": e.Version, "digest": e.Digest,
		"created": e.Created, "appVersion": e.AppVersion, "deprecated": e.Deprecated, "urls": e.URLs,
	} {
		if p != nil {
			r.matches[key] = name
		}
	}
	return r.matches[key]
}

// once notes that a field was met, and refuses it the second time.
func (r *oracleReader) once(name string, met map[string]bool) bool {
	if met[name] {
		return r.fail(invalid("%s twice", name))
	}
	met[name] = true
	return true
}

func (r *oracleReader) top(key string, met map[string]bool) bool {
	switch name := r.match(key); name {
	case "apiVersion":
		if !r.once(name, met) {
			return false
		}
		s, _, ok := r.text()
		r.api = s != ""
		return ok
	case "entries":
		r.listed = true
		return r.once(name, met) && r.object(func(chart string) bool {
			if len(chart) > r.lim.Field {
				return r.fail(tooLarge("long name"))
			}
			return r.chart(chart) && r.array(r.entry)
		})
	case "generated":
		return r.once(name, met) && r.stamp(&r.index.Generated)
	}
	r.raw()
	return true
}

func (r *oracleReader) entry() bool {
	var v Version
	met, named := map[string]bool{}, false
	return r.object(func(key string) (ok bool) {
		name := r.match(key)
		switch name {
		case "", "apiVersion", "entries", "generated":
			r.raw()
			return true
		}
		if !r.once(name, met) {
			return false
		}
		switch name {
		case "name":
			var s string
			s, _, ok = r.text()
			named = s != ""
		case "version":
			v.Version, _, ok = r.text()
		case "digest":
			v.Digest, _, ok = r.text()
		case "appVersion":
			v.AppVersion, _, ok = r.text()
		case "created":
			ok = r.stamp(&v.Created)
		case "deprecated":
			if ok = json.Unmarshal(r.raw(), &v.Deprecated) == nil; !ok {
				r.fail(invalid("no boolean"))
			}
		case "urls":
			ok = r.array(func() bool {
				if len(v.URLs) == r.lim.URLs {
					return r.fail(tooLarge("many URLs"))
				}
				s, _, ok := r.text()
				v.URLs = append(v.URLs, s)
				return ok
			})
		}
		return ok
	}) && r.version(v, named)
}

func (r *oracleReader) stamp(to *time.Time) bool {
	s, null, ok := r.text()
	if ok && !null {
		*to, ok = r.time([]byte(s))
	}
	return ok
}

func (r *oracleReader) text() (s string, null, ok bool) {
	raw := r.raw()
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false, r.fail(invalid("no text"))
	}
	if len(s) > r.lim.Field {
		return "", false, r.fail(tooLarge("long field"))
	}
	return s, string(raw) == "null", true
}

// checkJSON says whether a text was read, and fails where the reader and the
// oracle see two things.
func checkJSON(t *testing.T, text []byte, lim Limits) bool {
	t.Helper()
	text = slices.Clip(text) // to read beyond the end is a panic
	form := jsonText{in: text}
	if got, want := form.value() && form.end(), json.Valid(text); got != want {
		t.Fatalf("JSON: %v, for encoding/json %v\n%.2000s", got, want, text)
	}
	x, err, ok := parseJSON(text, lim)
	want, wantErr, wantOK := oracleJSON(text, lim)
	if ok != wantOK || problem.KindOf(err) != problem.KindOf(wantErr) || (err == nil) != (wantErr == nil) {
		t.Fatalf("read %v with %v, the oracle %v with %v\n%.2000s", ok, err, wantOK, wantErr, text)
	}
	if d := cmp.Diff(want, x); d != "" {
		t.Fatalf("the reader differs (-oracle +reader):\n%s\n%.2000s", d, text)
	}
	return ok && err == nil
}

// common as JSON: indented, since white space is a part of the form, and with a
// letter that is not ASCII and an escape in fields that are read.
func commonJSON(t testing.TB) string {
	t.Helper()
	j, err := yaml.YAMLToJSON([]byte(common))
	if err != nil {
		t.Fatal(err)
	}
	j = bytes.Replace(j, []byte(`"1.10"`), []byte(`"1.10-\u00e4\n\ud83d\ude00ß"`), 1)
	j = bytes.Replace(j, []byte(`"type":`), []byte(`"more":[{"a":-1.5e+3,"b":[[],{},0,true,false,null]}],"type":`), 1)
	var out bytes.Buffer
	if err := json.Indent(&out, j, "", " "); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// oddValues stand where any value may stand.
var oddValues = []string{
	`null`, `true`, `false`, `0`, `-0`, `1`, `-1.50e+07`, `1E9`, `0.1`, `123456789012345678901234567890e999999`, `""`, `"a"`, `"1.2.3"`, `"v1"`, `"TRUE"`,
	`"2024-05-01T08:16:50.766352836+02:00"`, `"2024-05-01"`, `"\u0061"`, `"\u0000"`, `"\ud800"`, `"\ud83d\ude00"`, `"\ude00\ud83d"`, `"\/\"\\\b\f\n\r\t"`, `"ä"`, `"\u00E4\uABCDEF"`, "\"aaaaaaa\x9fbbbbbbb\"",
	"\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\u2028\"", "\"\x7f\"", `"1234567"`, `"12345678"`, `"1234567890123456\u0030"`, `[]`, `{}`, `[null]`, `["a","b"]`, `[["a"]]`, `[{}]`, `[ "a" , null ]`,
	`{"a":{"b":[1,2,{"c":null}]}}`, `{"name":1,"name":2}`, `["a",1]`, `[1,2,3,4,5,6,7,8,9,10,11,12]`, `["a","a","a","a","a","a","a","a","a","a","a"]`,
	`"` + strings.Repeat("x", 50) + `"`, `"` + strings.Repeat("x", 51) + `"`, `"` + strings.Repeat(`\u0078`, 50) + `"`, `"` + strings.Repeat(`\u0078`, 51) + `"`, `"` + strings.Repeat("\xff", 17) + `"`,
}

// noValues stand there too, and are no JSON.
var noValues = []string{
	``, `nul`, `nulll`, `True`, `01`, `-`, `+1`, `.5`, `1.`, `1e`, `1e+`, `0x1`, `--1`, `NaN`, `Infinity`, `'a'`, `a`, `"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\U0041"`,
	"\"\x00\"", "\"\n\"", "\"\x1f\"", "\"1234567\x1f\"", `[1,]`, `[,1]`, `[1 2]`, `[1`, `]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{1:2}`, `{"a" 1}`, `{"a":1 "b":2}`, `[}`, `{]`, "\v1", "\u00a01", "\ufeff1", "1\x00", "/**/1", "1//",
}

var oddKeys = []string{
	`"name"`, `"version"`, `"digest"`, `"created"`, `"appVersion"`, `"deprecated"`, `"urls"`, `"apiVersion"`, `"entries"`, `"generated"`, `"description"`, `""`,
	`"NAME"`, `"Version"`, `"URLs"`, `"URLS"`, `"urlſ"`, `"verſion"`, `"url\u017f"`, `"\u0075rls"`, `"\u0075\u0072\u006c\u0073"`, `"n\u0041me"`, `"entrieſ"`, `"names"`, `"nam"`, `"namé"`, `"\ud800"`, "\"\xff\"", "\"name\xff\"", `"a b"`, `"\n"`,
}

// noKeys stand there too, and are no JSON.
var noKeys = []string{`name`, `"name`, `null`, `1`, `"na` + "\n" + `me"`}

var smallLimits = Limits{Bytes: 1 << 20, Complex: 1 << 20, Charts: 5, Versions: 8, URLs: 10, Field: 50}

// TestJSONOddities puts each odd value where each field stands, and each odd key.
func TestJSONOddities(t *testing.T) {
	read, keys := 0, slices.Concat(oddKeys, noKeys)
	check := func(text string) {
		if checkJSON(t, []byte(text), smallLimits) {
			read++
		}
	}
	for _, v := range slices.Concat(oddValues, noValues) {
		check(v)
		check(" " + v + "\t")
		check(`{"apiVersion":"v1","entries":{}}` + v)
		check(v + `{"apiVersion":"v1","entries":{}}`)
		check(`{"apiVersion":"v1","entries":{"a":` + v + `}}`)
		check(`{"apiVersion":"v1","entries":{"a":[{"version":"1.0.0"},` + v + `]}}`)
		for _, k := range keys {
			check(`{"apiVersion":"v1","entries":{"a":[]},` + k + `:` + v + `}`)
			check(`{` + k + `:` + v + `,"apiVersion":"v1","entries":{"a":[]}}`)
			check(`{"apiVersion":"v1","entries":{"b":[],` + k + `:[{` + k + `:` + v + `}],"a":[{}]}}`)
			check(`{"apiVersion":"v1","entries":{"a":[{` + k + `:` + v + `,"x":0},{"x":0,` + k + ` : ` + v + `}]}}`)
		}
	}
	for _, a := range keys {
		for _, b := range keys {
			check(`{"apiVersion":"v1","entries":{"a":[{` + a + `:null,` + b + `:null}]}}`)
			check(`{"apiVersion":"v1","entries":{` + a + `:[],` + b + `:[]}}`)
			check(`{` + a + `:null,` + b + `:null}`)
		}
	}
	if read < 1000 {
		t.Errorf("only %d texts are read: this tests little", read)
	}
}

// TestJSONCutAndChanged cuts an index at every byte, leaves out every byte, and
// puts into every place what means something in JSON.
func TestJSONCutAndChanged(t *testing.T) {
	text := commonJSON(t)
	lim := DefaultLimits()
	if !checkJSON(t, []byte(text), lim) {
		t.Fatal("the index is not read")
	}
	inserts := []string{`"`, `\`, `,`, `:`, `{`, `}`, `[`, `]`, "\n", " ", "\x00", "\x1f", "\x80", "é", "\ufeff", "0", "-", "e", ".", "null", `"name":"x",`, `"a":[],`, `\u0022`, `\ud800`, "/*"}
	for i := range text {
		if _, err, ok := parseJSON([]byte(text[:i]), lim); ok {
			t.Fatalf("cut at %d it is JSON: %v", i, err)
		}
		checkJSON(t, []byte(text[:i]), lim)
		checkJSON(t, []byte(text[:i]+text[i+1:]), lim)
		for j, s := range inserts {
			if (i+j)%6 == 0 { // all would take six times as long
				checkJSON(t, []byte(text[:i]+s+text[i:]), lim)
			}
		}
	}
}

// TestJSONAtRandom makes documents of the form of an index, in which some values
// are odd.
func TestJSONAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of []string) string { return of[r.IntN(len(of))] }
	space := func() string { return pick([]string{"", "", "", " ", "\n\t", "\r\n  "}) }
	odd := func(usual string) string {
		if r.IntN(20) == 0 {
			return pick(oddValues)
		}
		return usual
	}
	read := 0
	for range 10_000 {
		var b strings.Builder
		list := func(open, end string, n int, item func()) {
			b.WriteString(space() + open)
			for i := range n {
				if i > 0 {
					b.WriteString(space() + ",")
				}
				b.WriteString(space())
				item()
			}
			b.WriteString(space() + end + space())
		}
		field := func(key, value string) func() {
			return func() { b.WriteString(key + space() + ":" + space() + odd(value)) }
		}
		entry := func() {
			list("{", "}", r.IntN(5), func() {
				switch r.IntN(8) {
				case 0:
					field(`"urls"`, `["a","b\u0026c"]`)()
				case 1:
					field(`"created"`, `"2024-05-01T06:16:50Z"`)()
				case 2:
					field(pick(oddKeys), pick(oddValues))()
				case 3:
					field(`"deprecated"`, "true")()
				default:
					field(strconv.Quote(pick(fieldNames[:5])), `"1.2.3"`)()
				}
			})
		}
		charts := func() {
			b.WriteString(`"entries":`)
			names := r.Perm(30)[:r.IntN(6)]
			list("{", "}", len(names), func() {
				fmt.Fprintf(&b, `"c%d":`, names[0])
				names = names[1:]
				list("[", "]", r.IntN(3), entry)
			})
		}
		parts := []func(){field(`"apiVersion"`, `"v1"`), charts, field(`"generated"`, `"2024-05-01T06:16:50Z"`), field(`"x"`, `{"y":[1]}`)}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		list("{", "}", len(parts), func() { parts[0](); parts = parts[1:] })
		if checkJSON(t, []byte(b.String()), smallLimits) {
			read++
		}
	}
	if read < 1500 {
		t.Errorf("only %d documents are read: this tests little", read)
	}
}

// TestJSONDepth: nesting ends where encoding/json ends it.
func TestJSONDepth(t *testing.T) {
	for _, n := range []int{1, 100, jsonDepth - 1, jsonDepth, jsonDepth + 1, 100_000} {
		for _, b := range []string{"[", `{"a":`} {
			end := strings.Repeat(string("]}"[len(b)/5]), n)
			checkJSON(t, []byte(strings.Repeat(b, n)+"1"+end), DefaultLimits())
			checkJSON(t, []byte(strings.Repeat(b, n)), DefaultLimits())
		}
	}
	inner := func(n int) []byte {
		return []byte(`{"apiVersion":"v1","entries":{"a":[{"version":"1","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}]}}`)
	}
	if !checkJSON(t, inner(jsonDepth-4), DefaultLimits()) || checkJSON(t, inner(jsonDepth-3), DefaultLimits()) {
		t.Error("the objects around an entry do not count")
	}
}

// TestJSONMemory: what is not kept costs nothing, however it is written.
func TestJSONMemory(t *testing.T) {
	const n = 8 << 20
	in := func(field string) string {
		return `{"apiVersion":"v1","entries":{"a":[{"version":"1.0.0",` + field + `}]}}`
	}
	fill := func(s string) string { return strings.Repeat(s, n/len(s)) }
	for _, c := range []struct {
		name, text string
		kind       problem.Kind
	}{
		{"long text", in(`"x":"` + fill("x") + `"`), ""},
		{"long text of escapes", in(`"x":"` + fill(`\u0026`) + `"`), ""},
		{"many values", in(`"x":[` + fill(`{"a":[]},`) + `0]`), ""},
		{"many keys", in(fill(`"x":0,`) + `"x":1`), ""},
		{"long key of escapes", in(`"` + fill(`\u0026`) + `":1`), ""},
		{"long number", in(`"x":` + fill("1")), ""},
		{"white space", in(`"x":` + fill(" ") + "1"), ""},
		{"many URLs", in(`"urls":[` + fill(`"",`) + `""]`), problem.TooLarge},
		{"long URL", in(`"urls":["` + fill(`x`) + `"]`), problem.TooLarge},
		{"long name", in(`"name":"` + fill(`x`) + `"`), problem.TooLarge},
		{"long digest of escapes", in(`"digest":"` + fill(`\u0026`) + `"`), problem.TooLarge},
		{"long time", in(`"created":"` + fill("\xff") + `"`), problem.TooLarge},
		{"long chart", `{"apiVersion":"v1","entries":{"` + fill(`x`) + `":[]}}`, problem.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			text := []byte(c.text)
			runtime.ReadMemStats(&before)
			_, err, ok := parseJSON(text, DefaultLimits())
			runtime.ReadMemStats(&after)
			if !ok || (c.kind == "") != (err == nil) || err != nil && problem.KindOf(err) != c.kind {
				t.Errorf("%v, %v", err, ok)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 256<<10 {
				t.Errorf("%d KiB were allocated", used>>10)
			}
		})
	}
}

// releases are the entries of an index that we publish.
type releases map[index.Key][]byte

func (s releases) Range(_ context.Context, from, to index.Key, fn func(index.Key, []byte) error) error {
	for i := range len(s) {
		k := releaseKey(i)
		if k.Compare(from) < 0 || to != (index.Key{}) && k.Compare(to) >= 0 {
			continue
		}
		if err := fn(k, s[k]); err != nil {
			return err
		}
	}
	return nil
}

func (releases) Since(context.Context, int64, int64, func(index.Key) error) error { return nil }

func releaseKey(i int) index.Key {
	return index.Key{Chart: fmt.Sprintf("c%02d", i/10), Sort: string(rune('z' - i%10))}
}

// TestOwnIndex: what a Chartkeep publishes, another reads, in both forms.
func TestOwnIndex(t *testing.T) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 60_000, time.UTC)
	texts := []string{"plain", `<a href="x">&amp;</a>`, "ä\u2028\u00a0\U0001f600", "line\nline\ttab\x7f\x00", "\xff", "yes", "- a: b # c", `\u0041`, ""}
	src := releases{}
	want := Index{Generated: created}
	for i := range 500 {
		k := releaseKey(i)
		odd := texts[i%len(texts)]
		m := chart.Metadata{
			APIVersion: "v2", Name: k.Chart, Version: fmt.Sprintf("1.%d.0", 10-i%10), AppVersion: odd, Description: strings.Repeat(odd, 50), Deprecated: i%3 == 0,
			Home: odd, Keywords: []string{odd, "1"}, Maintainers: []chart.Maintainer{{Name: odd}}, Annotations: map[string]string{"a/" + odd: odd},
			Dependencies: []chart.Dependency{{Name: "x", Version: ">=1 <2", ImportValues: []any{odd, map[string]any{"child": odd}}}},
		}
		url := fmt.Sprintf("charts/x-%d.tgz?a=1&b=<%s>", i, strings.ToValidUTF8(odd, ""))
		digest := fmt.Sprintf("%064x", i)
		src[k] = index.Fragment(m, []string{url}, created, digest)
		if i%10 == 0 {
			want.Charts = append(want.Charts, Chart{Name: k.Chart})
		}
		c := &want.Charts[len(want.Charts)-1]
		c.Versions = append(c.Versions, Version{Version: m.Version, Digest: digest, Created: created,
			AppVersion: strings.ToValidUTF8(odd, "\ufffd"), Deprecated: m.Deprecated, URLs: []string{url}})
	}
	ix, err := index.Build(t.Context(), src, 1)
	if err != nil {
		t.Fatal(err)
	}
	head := index.Head{Generated: created, ContextPath: "/charts"}
	var asJSON, asYAML bytes.Buffer
	if err := ix.WriteRaw(&asJSON, head); err != nil {
		t.Fatal(err)
	}
	if err := ix.WriteYAML(&asYAML, head); err != nil {
		t.Fatal(err)
	}
	if !checkJSON(t, asJSON.Bytes(), DefaultLimits()) {
		t.Error("our JSON is not read")
	}
	for form, text := range map[string][]byte{"JSON": asJSON.Bytes(), "YAML": asYAML.Bytes()} {
		got, err := Parse(text, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", form, d)
		}
	}
}

// FuzzJSON: the reader takes for JSON what encoding/json takes, and reads from
// it what encoding/json reads, or refuses it with the same kind.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(commonJSON(f)))
	for _, v := range slices.Concat(oddValues, noValues) {
		f.Add([]byte(`{"apiVersion":"v1","generated":null,"entries":{"a":[{"version":` + v + `,"urls":[` + v + `]}]}}`))
	}
	for _, k := range slices.Concat(oddKeys, noKeys) {
		f.Add([]byte(`{"apiVersion":"v1","entries":{` + k + `:[{` + k + `:"1.0.0"}]},` + k + `:"2024-05-01T06:16:50Z"}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkJSON(t, b, smallLimits) })
}
