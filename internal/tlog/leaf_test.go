package tlog_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

var update = flag.Bool("update", false, "write the golden files")

func digest(algorithm, digit string) string {
	n := 64
	if algorithm == "sha512" {
		n = 128
	}
	return algorithm + ":" + strings.Repeat(digit, n)
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func release() tlog.Release {
	return tlog.Release{
		Project:    "platform/web",
		Chart:      "airflow",
		Version:    "8.9.0",
		Archive:    digest("sha256", "1"),
		Size:       48213,
		Content:    digest("sha256", "2"),
		Provenance: digest("sha256", "3"),
		Manifest:   digest("sha256", "4"),
		Config:     digest("sha512", "5"),
		Publisher:  tlog.Identity{Issuer: "https://token.actions.githubusercontent.com", Subject: "repository_id:74,owner_id:9"},
		Source:     tlog.Source{URL: "ssh://git@git.example.com/charts", Commit: strings.Repeat("a", 40)},
		Policy:     digest("sha256", "6"),
		Time:       noon,
	}
}

// leaves has a full and a bare example of every type, by the name of its
// golden file.
func leaves() map[string]tlog.Leaf {
	bare := release()
	bare.Provenance, bare.Source = "", tlog.Source{}
	odd := release()
	odd.Project, odd.Chart, odd.Version = "-", "100% café chart", "v1.0.0+build"
	me := tlog.Identity{Issuer: "local", Subject: "acc_01J"}
	yank := tlog.Yank{
		Index: 7, Project: "platform/web", Chart: "airflow", Version: "8.9.0",
		Reason: "security", Text: "leaks a token;\nuse 8.9.1", Publisher: me, Time: noon,
	}
	return map[string]tlog.Leaf{
		"release":      release(),
		"release-bare": bare,
		"release-odd":  odd,
		"legacy":       tlog.Legacy{Release: odd, Origin: "https://old.example.com/charts", SeenCreated: noon.AddDate(-6, 0, 0), SeenDigest: digest("sha256", "7")},
		"legacy-bare":  tlog.Legacy{Release: bare, Origin: "a folder on tape"},
		"attach":       tlog.Attach{Index: 7, Project: "platform/web", Chart: "airflow", Version: "8.9.0", Kind: tlog.AttachProvenance, Digest: digest("sha512", "8"), Publisher: me, Time: noon},
		"yank":         yank,
		"unyank":       tlog.Unyank{Index: 7, Project: "platform/web", Chart: "airflow", Version: "8.9.0", Reason: "mistake", Publisher: me, Time: noon},
		"project":      tlog.Project{Action: tlog.ProjectCutOver, Name: "platform/web", Kind: "charts", Visibility: "private", State: "active", Policy: digest("sha256", "6"), Actor: me, Time: noon},
		"audit":        tlog.Audit{Origin: "charts.example.com/audit", Size: 12, Root: tlog.EmptyRoot(), Time: noon},
		"upstream": tlog.Observation{
			Upstream: "airflow", Source: "https://charts.example.com/a b/index.yaml", Chart: "caf\u00e9 chart", Version: "8.9.0", Observed: tlog.ObservedChanged,
			Archive: digest("sha256", "1"), Content: digest("sha256", "2"), Created: noon.AddDate(-6, 0, 0), Time: noon,
		},
		"signoff": tlog.Signoff{
			Deployment: "prod/data/airflow", Chart: "airflow", From: "8.8.0", To: "8.9.0", Archive: digest("sha256", "1"), Review: digest("sha256", "2"),
			Role: "security", Said: tlog.SignoffAccepted, Text: digest("sha256", "3"), Signer: me, Time: noon,
		},
		"policy":      tlog.Policy{Project: "platform/web", Before: digest("sha256", "6"), After: digest("sha256", "7"), Change: tlog.PolicyWeaker, Requester: me, Approver: tlog.Identity{Issuer: "local", Subject: "acc_02J"}, Time: noon},
		"policy-bare": tlog.Policy{Project: "platform/web", Before: digest("sha256", "6"), After: digest("sha256", "7"), Change: tlog.PolicyStricter, Requester: me, Time: noon},
		"quarantine":  tlog.Quarantine{Index: 7, Project: "platform/web", Chart: "airflow", Version: "8.9.0", Action: tlog.QuarantineSet, Reason: "malware", Text: "see the report", Actor: me, Time: noon},
		"tombstone": tlog.Tombstone{
			Index: 7, Project: "platform/web", Chart: "airflow", Version: "8.9.0", Archive: digest("sha256", "1"), Reason: "secret", Text: "a key",
			Requester: me, Approver: tlog.Identity{Issuer: "local", Subject: "acc_02J"}, Time: noon,
		},
		"rotation":      tlog.Rotation{Old: "charts.example.com/log+1a2b3c4d+AQID", New: "charts.example.com/log+5e6f7a8b+AQIE", Until: noon.AddDate(0, 1, 0), Actor: me, Time: noon},
		"upstream-bare": tlog.Observation{Upstream: "airflow", Source: "oci://charts.example.com/airflow", Observed: tlog.ObservedSeen, Time: noon},
	}
}

// TestLeafGolden fixes the text of every type: it must never change, since
// hashes of it are in logs.
func TestLeafGolden(t *testing.T) {
	for name, leaf := range leaves() {
		text, err := leaf.Marshal()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		path := filepath.Join("testdata", name+".leaf")
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		got, err := tlog.ParseLeaf(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(leaf, got); diff != "" {
			t.Errorf("%s came back otherwise (-want +got):\n%s", name, diff)
		}
		if !got.When().Equal(noon) || !strings.HasPrefix(string(text), got.Type()+"\n") {
			t.Errorf("%s: type %s, time %s", name, got.Type(), got.When())
		}
	}
}

// TestLeafFieldsAreWritten changes each field of each leaf in turn: the text
// must change too, or a fact would be missing from the log.
func TestLeafFieldsAreWritten(t *testing.T) {
	words := map[string]string{ // what else the fields with a narrow form can hold
		".Kind": tlog.AttachSignature, ".Visibility": "public", ".Action": tlog.ProjectSet,
		".State": "importing", ".Reason": "other", ".Observed": tlog.ObservedReturned, ".Source.Commit": strings.Repeat("b", 64),
		".Change": tlog.PolicyStricter, ".Role": "reviewer", ".Said": tlog.SignoffDeclined,
		".Release.Source.Commit": strings.Repeat("b", 64),
	}
	for name, leaf := range leaves() {
		if strings.HasSuffix(name, "-bare") {
			continue // a part of an absent source cannot change alone
		}
		before, err := leaf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		changed := reflect.New(reflect.TypeOf(leaf)).Elem()
		changed.Set(reflect.ValueOf(leaf))
		var change func(path string, field reflect.Value)
		change = func(path string, field reflect.Value) {
			old := reflect.ValueOf(field.Interface())
			switch v := field.Interface().(type) {
			case string:
				word, narrow := words[path]
				switch {
				case !narrow:
					word = digest("sha256", "f") // fits digests and texts
				case v == "charts":
					word = "artifacts"
				case v == tlog.QuarantineSet:
					word = tlog.QuarantineLifted
				}
				field.SetString(word)
			case int64:
				field.SetInt(v + 1)
			case time.Time:
				field.Set(reflect.ValueOf(v.Add(time.Hour)))
			case tlog.Hash:
				field.Set(reflect.ValueOf(tlog.LeafHash(nil)))
			default:
				for i := range field.NumField() {
					change(path+"."+field.Type().Field(i).Name, field.Field(i))
				}
				return
			}
			after, err := changed.Interface().(tlog.Leaf).Marshal()
			if err != nil {
				t.Errorf("%s with another %s: %v", name, path, err)
			} else if bytes.Equal(before, after) {
				t.Errorf("%s does not write %s", name, path)
			}
			field.Set(old)
		}
		change("", changed)
	}
}

func TestMarshalRefuses(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, change := range map[string]func(*tlog.Legacy){
		"no project":              func(l *tlog.Legacy) { l.Project = "" },
		"long chart":              func(l *tlog.Legacy) { l.Chart = long(257) },
		"no version":              func(l *tlog.Legacy) { l.Version = "" },
		"version not UTF-8":       func(l *tlog.Legacy) { l.Version = "1.0.0\xff" },
		"no archive":              func(l *tlog.Legacy) { l.Archive = "" },
		"archive by sha512":       func(l *tlog.Legacy) { l.Archive = digest("sha512", "1") },
		"archive in upper case":   func(l *tlog.Legacy) { l.Archive = digest("sha256", "A") },
		"archive without colon":   func(l *tlog.Legacy) { l.Archive = long(64) },
		"archive a digit short":   func(l *tlog.Legacy) { l.Archive = l.Archive[:70] },
		"negative size":           func(l *tlog.Legacy) { l.Size = -1 },
		"endless size":            func(l *tlog.Legacy) { l.Size = tlog.MaxSize + 1 },
		"no content":              func(l *tlog.Legacy) { l.Content = "" },
		"provenance a hyphen":     func(l *tlog.Legacy) { l.Provenance = "-" },
		"manifest by md5":         func(l *tlog.Legacy) { l.Manifest = "md5:" + long(32) },
		"config with a space":     func(l *tlog.Legacy) { l.Config += " " },
		"no issuer":               func(l *tlog.Legacy) { l.Publisher.Issuer = "" },
		"long subject":            func(l *tlog.Legacy) { l.Publisher.Subject = long(513) },
		"commit without URL":      func(l *tlog.Legacy) { l.Source.URL = "" },
		"URL without commit":      func(l *tlog.Legacy) { l.Source.Commit = "" },
		"branch for a commit":     func(l *tlog.Legacy) { l.Source.Commit = "main" },
		"long URL":                func(l *tlog.Legacy) { l.Source.URL = long(1025) },
		"no policy":               func(l *tlog.Legacy) { l.Policy = "" },
		"no time":                 func(l *tlog.Legacy) { l.Time = time.Time{} },
		"year 10000":              func(l *tlog.Legacy) { l.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"year 0":                  func(l *tlog.Legacy) { l.Time = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no origin":               func(l *tlog.Legacy) { l.Origin = "" },
		"long origin":             func(l *tlog.Legacy) { l.Origin = long(1025) },
		"seen digest by sha512":   func(l *tlog.Legacy) { l.SeenDigest = digest("sha512", "1") },
		"seen created in no year": func(l *tlog.Legacy) { l.SeenCreated = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		leaf := tlog.Legacy{Release: release(), Origin: "old"}
		change(&leaf)
		if _, err := leaf.Marshal(); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := leaves()["yank"].(tlog.Yank)
	for _, reason := range []string{"", "-", "-x", "Security", "a b", "a%20b", long(33)} {
		yank := good
		yank.Reason = reason
		if _, err := yank.Marshal(); problem.KindOf(err) != problem.Invalid {
			t.Errorf("reason %q: %v", reason, err)
		}
	}
	project := leaves()["project"].(tlog.Project)
	project.Kind = "chart"
	if _, err := project.Marshal(); problem.KindOf(err) != problem.Invalid {
		t.Errorf("kind %q: %v", project.Kind, err)
	}
}

// TestMarshalTime drops what the text cannot say and keeps the instant.
func TestMarshalTime(t *testing.T) {
	leaf := release()
	leaf.Time = noon.Add(999 * time.Millisecond).In(time.FixedZone("east", 5*3600))
	text, err := leaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(text), "\ntime 2026-11-21T12:00:00Z\n") {
		t.Errorf("text:\n%s", text)
	}
}

// TestLargestLeaf fills every value with what grows most: the leaf stays below
// the limit, so that no accepted value can make one that is too large.
func TestLargestLeaf(t *testing.T) {
	wide := func(n int) string { return strings.Repeat("\x01", n) }
	leaf := tlog.Legacy{Release: release(), Origin: wide(1024), SeenCreated: noon, SeenDigest: digest("sha256", "7")}
	leaf.Project, leaf.Chart, leaf.Version = wide(256), wide(256), wide(256)
	leaf.Publisher = tlog.Identity{Issuer: wide(512), Subject: wide(512)}
	leaf.Source = tlog.Source{URL: wide(1024), Commit: strings.Repeat("a", 64)}
	leaf.Manifest, leaf.Config, leaf.Size = digest("sha512", "4"), digest("sha512", "5"), tlog.MaxSize
	text, err := leaf.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > tlog.MaxLeaf {
		t.Errorf("%d bytes", len(text))
	}
	if got, err := tlog.ParseLeaf(text); err != nil || !cmp.Equal(got, tlog.Leaf(leaf)) {
		t.Errorf("it came back otherwise: %v", err)
	}
}

func TestParseLeafRefuses(t *testing.T) {
	text, err := release().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	yank, err := leaves()["yank"].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	audit, err := leaves()["audit"].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, now string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the example has no %q", old)
		}
		return strings.Replace(good, old, now, 1)
	}
	for name, text := range map[string]string{
		"type alone":            tlog.TypeRelease,
		"type line alone":       tlog.TypeRelease + "\n",
		"another type's lines":  strings.Replace(string(yank), tlog.TypeYank, tlog.TypeRelease, 1),
		"no final newline":      strings.TrimSuffix(good, "\n"),
		"empty line at the end": good + "\n",
		"line at the end":       good + "more yes\n",
		"carriage return":       replace("airflow\n", "airflow\r\n"),
		"line missing":          replace("chart airflow\n", ""),
		"line twice":            replace("chart airflow\n", "chart airflow\nchart airflow\n"),
		"lines exchanged":       replace("chart airflow\nversion 8.9.0\n", "version 8.9.0\nchart airflow\n"),
		"key in capitals":       replace("chart ", "Chart "),
		"two spaces":            replace("chart ", "chart  "),
		"space at the end":      replace("airflow\n", "airflow \n"),
		"tab":                   replace("chart ", "chart\t"),
		"value too many":        replace("airflow\n", "airflow 2\n"),
		"value missing":         replace(" 48213\n", "\n"),
		"absent chart":          replace("airflow", "-"),
		"needless escape":       replace("airflow", "air%66low"),
		"needless hyphen":       replace("airflow", "air%2Dflow"),
		"lower-case escape":     replace("airflow", "caf%c3%a9"),
		"raw UTF-8":             replace("airflow", "caf\u00e9"),
		"raw control":           replace("airflow", "air\x00flow"),
		"escaped rubbish":       replace("airflow", "%FF"),
		"half an escape":        replace("airflow", "airflow%2"),
		"escape of no digits":   replace("airflow", "air%+1flow"),
		"leading zero":          replace(" 48213", " 048213"),
		"signed number":         replace(" 48213", " +48213"),
		"number over 64 bits":   replace(" 48213", " 99999999999999999999"),
		"time with a fraction":  replace("12:00:00Z", "12:00:00.0Z"),
		"time with a zone":      replace("12:00:00Z", "12:00:00+00:00"),
		"time in lower case":    replace("T12:00:00Z", "t12:00:00z"),
		"leap second":           replace("12:00:00Z", "12:00:60Z"),
		"no time":               replace("2026-11-21T12:00:00Z", "-"),
		"the zero time":         replace("2026-11-21T12:00:00Z", "0001-01-01T00:00:00Z"),
		"source without commit": replace("@"+strings.Repeat("a", 40), ""),
		"source without at":     replace("ssh://git@git.example.com/charts@"+strings.Repeat("a", 40), "nowhere"),
		"source of a branch":    replace("@"+strings.Repeat("a", 40), "@main"),
		"source without URL":    replace("ssh://git@git.example.com/charts@", "-@"),
		"digest in capitals":    replace("sha256:", "SHA256:"),
		"short root":            strings.Replace(string(audit), "=\n", "\n", 1),
		"too large":             good + strings.Repeat("x", tlog.MaxLeaf),
	} {
		if _, err := tlog.ParseLeaf([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "\n", "hello", "chartkeep/release/v2\nproject x\n", " " + good, strings.ReplaceAll(good, "\n", "\r\n")} {
		if _, err := tlog.ParseLeaf([]byte(text)); problem.KindOf(err) != problem.Unsupported {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzParseLeaf: what is accepted has one spelling, and its parsed form
// writes it again.
func FuzzParseLeaf(f *testing.F) {
	for _, leaf := range leaves() {
		text, err := leaf.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("chartkeep/release/v1\nproject %2D\nchart -\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		leaf, err := tlog.ParseLeaf(text)
		if err != nil {
			return
		}
		again, err := leaf.Marshal()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q came back as %q, %v", text, again, err)
		}
	})
}

// FuzzMarshalLeaf: what Marshal writes, ParseLeaf reads as the same.
func FuzzMarshalLeaf(f *testing.F) {
	f.Add("platform", "airflow", "1.0.0", "because", "local", "me", "https://git.example.com", int64(7), int64(1))
	f.Add("-", "%2D", "%", "", "\n", "\u2028", "a@b", int64(0), int64(1<<40))
	f.Fuzz(func(t *testing.T, project, chart, version, text, issuer, subject, url string, n, unix int64) {
		r := release()
		r.Project, r.Chart, r.Version, r.Size, r.Source.URL = project, chart, version, n, url
		r.Publisher, r.Time = tlog.Identity{Issuer: issuer, Subject: subject}, time.Unix(unix, 0).UTC()
		for _, leaf := range []tlog.Leaf{
			r,
			tlog.Legacy{Release: r, Origin: text, SeenCreated: r.Time},
			tlog.Yank{Index: n, Project: project, Chart: chart, Version: version, Reason: "x", Text: text, Publisher: r.Publisher, Time: r.Time},
		} {
			out, err := leaf.Marshal()
			if err != nil {
				continue
			}
			got, err := tlog.ParseLeaf(out)
			if err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if diff := cmp.Diff(leaf, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", out, diff)
			}
		}
	})
}
