package tlog_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestObservationRefuses(t *testing.T) {
	for name, change := range map[string]func(*tlog.Observation){
		"no upstream":       func(l *tlog.Observation) { l.Upstream = "" },
		"no source":         func(l *tlog.Observation) { l.Source = "" },
		"long chart":        func(l *tlog.Observation) { l.Chart = strings.Repeat("a", 257) },
		"long version":      func(l *tlog.Observation) { l.Version = strings.Repeat("a", 257) },
		"nothing observed":  func(l *tlog.Observation) { l.Observed = "" },
		"unknown word":      func(l *tlog.Observation) { l.Observed = "gone" },
		"archive by sha512": func(l *tlog.Observation) { l.Archive = digest("sha512", "1") },
		"bare content":      func(l *tlog.Observation) { l.Content = strings.Repeat("1", 64) },
		"no time":           func(l *tlog.Observation) { l.Time = time.Time{} },
	} {
		leaf := leaves()["upstream"].(tlog.Observation)
		change(&leaf)
		if _, err := leaf.Marshal(); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBoundedName(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	long := strings.Repeat("a", 300)
	for _, name := range []string{"", "-", "airflow", "1.0.0+build", "caf\u00e9", "100% \n", strings.Repeat("a", 256), "~sha256:" + empty[1:], "x~sha256:" + empty + "x"} {
		if got := tlog.BoundedName(name); got != name {
			t.Errorf("%q became %q", name, got)
		}
	}
	seen := map[string]string{}
	for _, name := range []string{
		long, long + "a", strings.Repeat("\u00e9", 200), "a" + strings.Repeat("\u00e9", 200), "aa" + strings.Repeat("\U0001f600", 200), "a\x00b", "a?b\x00", "\xff", "\xfe", "\xff\xff",
		"~sha256:" + empty, "x~sha256:" + empty, tlog.BoundedName(long), tlog.BoundedName(tlog.BoundedName(long)),
	} {
		got := tlog.BoundedName(name)
		if other, twice := seen[got]; twice {
			t.Errorf("%.40q and %.40q both became %q", name, other, got)
		}
		seen[got] = name
		if got == name || len(got) > 256 || !utf8.ValidString(got) || strings.Contains(got, "\x00") || strings.Contains(got, "\ufffd") {
			t.Errorf("%.40q became %q", name, got)
		}
	}
	if got, want := tlog.BoundedName("a\x00b"), "a?b~sha256:"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
	if got := tlog.BoundedName(long); !strings.HasPrefix(got, strings.Repeat("a", 184)+"~") || len(got) != 256 {
		t.Errorf("got %q of %d bytes", got, len(got))
	}
}

// FuzzBoundedObservation: what a foreign index can contain can always be
// written, and comes back.
func FuzzBoundedObservation(f *testing.F) {
	f.Add("airflow", "https://charts.example.com", "airflow", "8.9.0", digest("sha256", "1"), "", int64(1700000000))
	f.Add("u", "oci://x", strings.Repeat("\u00e9", 4000), "1.0.0\x00\xff", "not a digest", strings.Repeat("1", 64), int64(-62167219201))
	f.Add("u", strings.Repeat("\x01", 5000), "", "", "sha256:", "-", int64(253402300800))
	f.Fuzz(func(t *testing.T, upstream, source, chart, version, archive, content string, created int64) {
		if upstream == "" || source == "" {
			return // ours, and never empty
		}
		leaf := tlog.Observation{
			Upstream: upstream, Source: source, Chart: chart, Version: version, Observed: tlog.ObservedSeen,
			Archive: archive, Content: content, Created: time.Unix(created, 0).UTC(), Time: noon,
		}.Bounded()
		text, err := leaf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > tlog.MaxLeaf {
			t.Fatalf("%d bytes", len(text))
		}
		if got, err := tlog.ParseLeaf(text); err != nil || got != tlog.Leaf(leaf) {
			t.Fatalf("%+v came back as %+v, %v", leaf, got, err)
		}
		if chart != version && leaf.Chart == leaf.Version {
			t.Fatalf("%q and %q became one", chart, version)
		}
		if again := leaf.Bounded(); tlog.BoundedName(chart) == chart && again.Chart != leaf.Chart {
			t.Fatalf("%q is not stable", chart)
		}
	})
}
