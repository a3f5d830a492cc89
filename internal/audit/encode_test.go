package audit

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/access"
)

var update = flag.Bool("update", false, "rewrite golden files and the table of docs/audit.md")

const someID = "01ARYZ6S41TSV4RRFFQ69G5FAV"

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// full is an event with every field set.
func full() Event {
	return Event{
		ID:   someID,
		Time: time.Date(2026, 11, 21, 18, 2, 11, 123_456_789, time.FixedZone("", 3600)),
		Name: RefusedOverwrite,
		Actor: Actor{Kind: access.KindToken, ID: "tok-1f0c", Name: "ci-web", Issuer: "https://issuer.example",
			Subject: "repo:1:ref:main", TokenID: "tok-1f0c"},
		Action:    access.ChartPush,
		Resource:  Resource{Project: "platform", Chart: "web", Version: "1.4.2", Digest: digest("b")},
		Outcome:   Outcome{Result: Denied, Rule: "release-immutable", Status: 409},
		Before:    digest("a"),
		After:     digest("b"),
		RequestID: "req-1",
		Door:      DoorChartMuseum,
		Reason:    "other \"content\" \\ 2 files\ndiffer — größer 🚢 \u202e\u2028\x1b[31m\x7f\xff",
		Detail:    map[string]string{DetailForce: "ignored", DetailCount: "3", "empty": "", "grund": "1", "größe": "2"},
		Source:    Source{IP: "192.0.2.7", UserAgent: "helm"},

		SourceDigest: digest("c"),
	}
}

func least() Event {
	return Event{ID: someID, Time: time.UnixMilli(0), Name: LoginOK, Actor: Actor{Kind: access.KindAnonymous},
		Outcome: Outcome{Result: Allowed}, Door: DoorWeb}
}

// stored is what is left of an event when it comes back from the log.
func stored(e Event) Event {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	e.Actor.Name, e.Source = "", Source{}
	if e.Actor.Kind == access.KindUser {
		e.Actor.Subject = ""
	}
	return e
}

// TestEncodeGolden holds the leaf form: a change of these files means that old
// leaves no longer verify.
func TestEncodeGolden(t *testing.T) {
	person := full()
	person.Actor = Actor{Kind: access.KindUser, ID: "usr-1", Name: "Ann Smith", Issuer: "https://issuer.example", Subject: "ann@example.org"}
	for name, e := range map[string]Event{"full": full(), "least": least(), "person": person} {
		got, err := e.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		file := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if !json.Valid(got) {
			t.Errorf("%s is not JSON", name)
		}
		for _, secret := range []string{"192.0.2.7", "helm", "Ann", "ann@", "ci-web"} {
			if bytes.Contains(got, []byte(secret)) {
				t.Errorf("%s: the leaf holds %s", name, secret)
			}
		}
		back, err := Decode(got)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want2 := stored(e)
		want2.Reason = strings.ToValidUTF8(want2.Reason, "\ufffd")
		if want2.Detail != nil {
			want2.Detail = map[string]string{DetailForce: "ignored", DetailCount: "3", "grund": "1", "größe": "2"}
		}
		if d := cmp.Diff(want2, back); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestEncodeBounds fills every text with the longest and the dearest characters:
// the event is still recorded, within the bound, and reads back.
func TestEncodeBounds(t *testing.T) {
	for _, char := range []string{"a", "\x00", "é", "🚢", "\xff", `"`} {
		huge := strings.Repeat(char, 100_000)
		e := full()
		e.Actor = Actor{Kind: access.KindToken, ID: huge, Issuer: huge, Subject: huge, TokenID: huge}
		e.Action = access.Action(huge)
		e.Resource = Resource{huge, huge, huge, huge}
		e.Outcome.Rule, e.Before, e.After, e.RequestID, e.Reason, e.SourceDigest = huge, huge, huge, huge, huge, huge
		e.Detail = map[string]string{}
		for i := range 100 {
			e.Detail[fmt.Sprintf("%02d%s", i, huge)] = huge
		}
		b, err := e.Encode()
		if err != nil {
			t.Fatalf("%q: %v", char, err)
		}
		if len(b) > MaxLeaf || len(b) < 12_000 {
			t.Errorf("%q: %d bytes", char, len(b))
		}
		back, err := Decode(b)
		if err != nil {
			t.Fatalf("%q: %v", char, err)
		}
		if !strings.HasSuffix(back.Reason, cut) || !strings.HasSuffix(back.Resource.Version, cut) || len(back.Detail) != maxDetail {
			t.Errorf("%q: a cut is not marked: %.30q, %d details", char, back.Reason, len(back.Detail))
		}
	}
	for n := maxReason - 12; n <= maxReason+12; n++ { // the edge: not a byte is lost that fits
		e := least()
		e.Reason = strings.Repeat("x", n)
		b, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if n <= maxReason && back.Reason != e.Reason || n > maxReason && (len(back.Reason) != maxReason || !strings.HasSuffix(back.Reason, cut)) {
			t.Errorf("%d bytes became %d", n, len(back.Reason))
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := map[string]func(*Event){
		"no id":          func(e *Event) { e.ID = "" },
		"lower-case id":  func(e *Event) { e.ID = strings.ToLower(e.ID) },
		"id too great":   func(e *Event) { e.ID = "8" + e.ID[1:] },
		"no time":        func(e *Event) { e.Time = time.Time{} },
		"late time":      func(e *Event) { e.Time = time.UnixMilli(1 << 47) },
		"no name":        func(e *Event) { e.Name = "" },
		"unknown name":   func(e *Event) { e.Name = "release.overwritten" },
		"no kind":        func(e *Event) { e.Actor.Kind = "" },
		"unknown kind":   func(e *Event) { e.Actor.Kind = "robot" },
		"no result":      func(e *Event) { e.Outcome.Result = "" },
		"unknown result": func(e *Event) { e.Outcome.Result = "maybe" },
		"status":         func(e *Event) { e.Outcome.Status = 600 },
		"less status":    func(e *Event) { e.Outcome.Status = -1 },
		"no door":        func(e *Event) { e.Door = "" },
		"unknown door":   func(e *Event) { e.Door = "window" },
	}
	for name, f := range tests {
		e := full()
		f(&e)
		if b, err := e.Encode(); err == nil || b != nil {
			t.Errorf("%s: encoded as %s", name, b)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	b, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, s := range map[string]string{
		"empty":           "",
		"null":            "null",
		"list":            "[]",
		"space":           " " + good,
		"newline":         good + "\n",
		"two":             good + good,
		"schema":          replace("audit/v1", "audit/v2"),
		"unknown field":   replace(`"id":`, `"extra":"x","id":`),
		"repeated field":  replace(`"door":`, `"door":"oci","door":`),
		"capital field":   replace(`"door":`, `"Door":`),
		"order":           replace(`"before":"`+digest("a")+`","after":"`+digest("b")+`"`, `"after":"`+digest("b")+`","before":"`+digest("a")+`"`),
		"empty field":     replace(`"before":"`+digest("a")+`"`, `"before":""`),
		"null field":      replace(`"before":"`+digest("a")+`"`, `"before":null`),
		"plain non-ASCII": replace(`\u2014`, "—"),
		"capital escape":  replace(`\u001b`, `\u001B`),
		"short escape":    replace(`\u000a`, `\n`),
		"needless escape": replace("platform", `\u0070latform`),
		"lone surrogate":  replace(`\ud83d`, ``),
		"time zone":       replace("17:02:11.123Z", "18:02:11.123+01:00"),
		"time fraction":   replace("11.123Z", "11.1230Z"),
		"status form":     replace("409", "4.09e2"),
		"long value":      replace(`"request":"req-1"`, `"request":"`+strings.Repeat("r", maxIdent+1)+`"`),
		"detail order":    replace(`"count":"3","force":"ignored"`, `"force":"ignored","count":"3"`),
		"a name's form":   replace("release.refused.overwrite", "Release"),
		"subject":         replace(`"kind":"token"`, `"kind":"user"`),
		"deep":            strings.Repeat(`{"actor":`, 1000),
		"long":            replace("{", "{"+strings.Repeat(" ", MaxLeaf)),
	} {
		if e, err := Decode([]byte(s)); err == nil {
			t.Errorf("%s: decoded as %+v", name, e)
		}
	}
	if e, err := Decode([]byte(replace("release.refused.overwrite", "later.thing"))); err != nil || e.Name != "later.thing" {
		t.Errorf("a name of a later program: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []Event{full(), least()} {
		b, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"schema":"chartkeep/audit/v1","detail":{"a":"b","a":"c"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			return
		}
		again, err := e.encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q decodes, and encodes as %q, %v", b, again, err)
		}
	})
}

// FuzzEncode: whatever a client sends, the event is recorded, within its bound,
// in printable ASCII, and reads back as an event with the same encoding.
func FuzzEncode(f *testing.F) {
	f.Add("web", "1.0.0", "reason", "k", "v", "k2", int64(1_700_000_000_000))
	f.Add("\x00", strings.Repeat("é", 300), "\xff\xfe", "", "v", "k", int64(0))
	f.Add("a", "b", strings.Repeat("🚢", 400), strings.Repeat("k", 65), "v", strings.Repeat("k", 66), int64(1))
	f.Fuzz(func(t *testing.T, chart, version, reason, key, value, key2 string, ms int64) {
		e := full()
		e.Time = time.UnixMilli(ms & (1<<47 - 1))
		e.Resource.Chart, e.Resource.Version, e.Reason = chart, version, reason
		e.Actor.ID, e.RequestID, e.Outcome.Rule = value, key, version
		e.Detail = map[string]string{key: value, key2: reason, key + "x": "x"}
		b, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > MaxLeaf || !json.Valid(b) {
			t.Fatalf("%d bytes, JSON %v", len(b), json.Valid(b))
		}
		for _, c := range b {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is not printable ASCII", b)
			}
		}
		back, err := Decode(b)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		again, err := back.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q becomes %q, %v", b, again, err)
		}
		if len(reason) <= maxReason/12 && utf8.ValidString(reason) && back.Reason != reason {
			t.Errorf("reason %q became %q", reason, back.Reason)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	leaf, err := full().Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
