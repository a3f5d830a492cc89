package tlog_test

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func TestHeadText(t *testing.T) {
	text, err := tlog.HeadText("charts.example.com/log", 7, tlog.EmptyRoot())
	if err != nil {
		t.Fatal(err)
	}
	cp, err := tlog.ParseHeadText(text)
	if err != nil || cp.Origin != "charts.example.com/log" || cp.Size != 7 || cp.Root != tlog.EmptyRoot() || cp.Note != nil {
		t.Errorf("read back: %+v, %v", cp, err)
	}
	if _, err := tlog.HeadText("two words", 7, tlog.EmptyRoot()); problem.KindOf(err) != problem.Invalid {
		t.Errorf("an origin with a space: %v", err)
	}
	if _, err := tlog.HeadText("a", -1, tlog.EmptyRoot()); err == nil {
		t.Error("a negative size was written")
	}
	for name, bad := range map[string]string{
		"empty":          "",
		"no root":        "a\n7\n",
		"another line":   string(text) + "more\n",
		"a leading zero": strings.Replace(string(text), "\n7\n", "\n07\n", 1),
		"signed":         string(text) + "\n— a AAAA\n",
		"short root":     "a\n7\nAAAA\n",
		"long":           strings.Repeat("a", tlog.MaxHead) + "\n7\n",
		"origin":         strings.Replace(string(text), "charts.example.com/log", "two words", 1),
		"huge":           strings.Replace(string(text), "\n7\n", "\n18446744073709551615\n", 1),
	} {
		if cp, err := tlog.ParseHeadText([]byte(bad)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", name, cp, err)
		}
	}
}

func FuzzParseHeadText(f *testing.F) {
	text, err := tlog.HeadText("charts.example.com/log", 7, tlog.EmptyRoot())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("a\n0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cp, err := tlog.ParseHeadText(text)
		if err != nil {
			return
		}
		again, err := tlog.HeadText(cp.Origin, cp.Size, cp.Root)
		if err != nil || string(again) != string(text) {
			t.Errorf("%q was read and is written as %q, %v", text, again, err)
		}
	})
}
