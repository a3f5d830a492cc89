package client

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// sampleSum remembers two releases of one log, and one of another.
func sampleSum(t testing.TB) Sum {
	t.Helper()
	var s Sum
	for i, origin := range []string{"log.example.test", "second.example.test/log"} {
		h := newHistory(t, origin, byte(7+i)).filler(30)
		text := h.checkpoint(h.size())
		if i == 1 {
			text = newWitness(t, "w.example.test/w", 21).cosign(text, someTime)
		}
		cp, err := tlog.ParseCheckpoint(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Keys, s.Checkpoints = append(s.Keys, h.vkey), append(s.Checkpoints, cp)
		s.Charts = append(s.Charts, Pin{Origin: origin, Ref: Ref{"team-a/demo", "web", "1.4.2"}, Digest: someDigit, Index: 17, Door: "oci://charts.example.com"})
	}
	s.Charts = append(s.Charts, Pin{Origin: "log.example.test", Ref: Ref{"demo", "db", "v2.0.0+b"}, Digest: someDigit, Index: 29})
	return s
}

func TestSumText(t *testing.T) {
	s := sampleSum(t)
	got := text(t, s)
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	for i, want := range []string{
		"chartkeep.sum/v1",
		"log log.example.test+",
		"log second.example.test/log+",
		"checkpoint log.example.test 30 ",
		"checkpoint second.example.test/log 30 ",
		"chart log.example.test demo/db v2.0.0+b " + someDigit + " 29 -",
		"chart log.example.test team-a/demo/web 1.4.2 " + someDigit + " 17 oci://charts.example.com",
		"chart second.example.test/log team-a/demo/web 1.4.2 " + someDigit + " 17 oci://charts.example.com",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("line %d does not begin with %q:\n%s", i+1, want, got)
		}
	}
	back, err := ParseSum([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	if text(t, back) != got || !bytes.Equal(back.Checkpoints[1].Note, s.Checkpoints[1].Note) {
		t.Errorf("read back:\n%s", text(t, back))
	}
	// Any order, and lines that are there twice, as a union merge leaves them.
	slices.Reverse(lines[1:])
	back, err = ParseSum([]byte(strings.Join(append(lines, lines[2], lines[5]), "\n") + "\n"))
	if err != nil || text(t, back) != got {
		t.Errorf("after a merge: %v\n%s", err, text(t, back))
	}
}

func TestParseSumRefuses(t *testing.T) {
	good := text(t, sampleSum(t))
	line := func(prefix string) string {
		for l := range strings.Lines(good) {
			if strings.HasPrefix(l, prefix) {
				return l
			}
		}
		t.Fatal(prefix)
		return ""
	}
	chart := line("chart log.example.test demo/db")
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("there is no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":              {"", "no end"},
		"cut off":            {good[:len(good)-1], "cut off"},
		"half a line":        {good[:len(good)-20], "cut off"},
		"another version":    {with("chartkeep.sum/v1", "chartkeep.sum/v2"), "line 1"},
		"windows":            {strings.ReplaceAll(good, "\n", "\r\n"), "Windows"},
		"a conflict":         {good + "<<<<<<< ours\n", "conflict of a merge"},
		"a conflict's base":  {good + "||||||| base\n", "conflict of a merge"},
		"an empty line":      {good + "\n", "not the beginning"},
		"a comment":          {good + "# hello\n", "not the beginning"},
		"two spaces":         {good + strings.Replace(chart, " demo", "  demo", 1), "a chart has"},
		"a tab":              {good + strings.Replace(chart, " demo", "\tdemo", 1), "a character"},
		"an escape":          {good + strings.Replace(chart, "demo", "de\x1bmo", 1), "a character"},
		"no break space":     {good + strings.Replace(chart, "demo", "de\u00a0mo", 1), "a character"},
		"not UTF-8":          {good + strings.Replace(chart, "demo", "de\xffmo", 1), "a character"},
		"a letter":           {good + strings.Replace(chart, "demo", "démo", 1), "cannot stand"},
		"another digest":     {good + strings.Replace(chart, "sha256:", "sha1:", 1), "digest"},
		"upper case":         {good + strings.Replace(chart, "5a", "5A", 1), "digest"},
		"an index too many":  {good + strings.Replace(chart, " 29 ", " 30 ", 1), "no checkpoint of that log that covers it"},
		"a leading zero":     {good + strings.Replace(chart, " 29 ", " 029 ", 1), "unusual spelling"},
		"a sign":             {good + strings.Replace(chart, " 29 ", " +29 ", 1), "unusual spelling"},
		"a negative index":   {good + strings.Replace(chart, " 29 ", " -1 ", 1), "index"},
		"no project":         {good + strings.Replace(chart, "demo/db", "db", 1), "project"},
		"a way out":          {good + strings.Replace(chart, "demo/db", "../db", 1), "does not name"},
		"latest":             {good + strings.Replace(chart, "v2.0.0+b", "latest", 1), "does not name"},
		"a strange door":     {good + strings.Replace(chart, " -\n", " ftp://x\n", 1), "not a door"},
		"a door with a way":  {good + strings.Replace(chart, " -\n", " oci://x/y\n", 1), "not a door"},
		"a door's slash":     {good + strings.Replace(chart, " -\n", " https://x/\n", 1), "not a door"},
		"an unknown log":     {good + strings.Replace(chart, "log.example.test", "none.example.test", 1), "no checkpoint of that log"},
		"no key":             {strings.Replace(good, line("log log.example.test"), "", 1), "no key of that log"},
		"a key that is none": {with("log log.example.test+", "log log.example.test-"), "log key"},
		"no signature":       {with(" log.example.test 30 ", " log.example.test 30 x "), "checkpoint has"},
		"a broken root":      {with("checkpoint log.example.test 30 ", "checkpoint log.example.test 30 x"), "not a checkpoint"},
		"a size":             {with("checkpoint log.example.test 30 ", "checkpoint log.example.test 030 "), "not a checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseSum([]byte(tt.text))
			p, ok := problem.As(err)
			if !ok || p.Kind != problem.Invalid || !strings.Contains(p.Message, tt.want) {
				t.Errorf("%v, want Invalid with %q", err, tt.want)
			}
		})
	}
	if _, err := ParseSum(make([]byte, MaxSum+1)); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("too large: %v", err)
	}
}

func FuzzParseSum(f *testing.F) {
	f.Add([]byte(text(f, sampleSum(f))))
	f.Add([]byte("chartkeep.sum/v1\n"))
	f.Add([]byte("chartkeep.sum/v1\nchart a b/c 1 sha256:00 0 -\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSum(b)
		if err != nil {
			if _, ok := problem.As(err); !ok {
				t.Fatal(err)
			}
			return
		}
		once := text(t, s)
		again, err := ParseSum([]byte(once))
		if err != nil || text(t, again) != once {
			t.Fatalf("%v\n%s\n%s", err, once, text(t, again))
		}
		// Every line that was read is there, apart from doors.
		for line := range bytes.Lines(b) {
			if i := bytes.LastIndexByte(line, ' '); bytes.HasPrefix(line, []byte("chart ")) {
				line = line[:i]
			}
			if !strings.Contains(once, string(line)) {
				t.Fatalf("%q is lost", line)
			}
		}
	})
}

func TestSumMerge(t *testing.T) {
	before := sampleSum(t)
	pin := func(version string) Pin {
		return Pin{Origin: "log.example.test", Ref: Ref{"demo", "new", version}, Digest: someDigit, Index: 3}
	}
	ours, theirs := before, before
	ours.Charts = append(slices.Clone(before.Charts), pin("1.0.0"))
	theirs.Charts = append(slices.Clone(before.Charts), pin("2.0.0"))
	if got := before.Merge(ours, theirs); len(got.Charts) != 5 || len(got.Checkpoints) != 2 || len(got.Keys) != 2 {
		t.Errorf("merged:\n%s", text(t, got))
	}
	grown, err := tlog.ParseCheckpoint(newHistory(t, "log.example.test", 7).filler(31).checkpoint(31))
	if err != nil {
		t.Fatal(err)
	}
	more, err := tlog.ParseCheckpoint(newHistory(t, "log.example.test", 7).filler(32).checkpoint(32))
	if err != nil {
		t.Fatal(err)
	}
	ours.Checkpoints = []tlog.Checkpoint{grown, before.Checkpoints[1]}
	if got := before.Merge(ours, theirs); len(got.Checkpoints) != 2 || got.Checkpoints[0].Size != 31 {
		t.Errorf("we alone advanced:\n%s", text(t, got))
	}
	theirs.Checkpoints = []tlog.Checkpoint{more, before.Checkpoints[1]}
	if got := before.Merge(ours, theirs); len(got.Checkpoints) != 3 {
		t.Errorf("both advanced, and were not held against each other:\n%s", text(t, got))
	}
	theirs.Checkpoints[0] = grown
	if got := before.Merge(ours, theirs); len(got.Checkpoints) != 2 {
		t.Errorf("both advanced to the same:\n%s", text(t, got))
	}
}

// Many write at once; no line is lost, and nobody ever reads half a file.
func TestWriteSumTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), SumName)
	base := sampleSum(t)
	if err := WriteSum(t.Context(), path, Sum{}, base); err != nil {
		t.Fatal(err)
	}
	const writers = 24
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			before, err := ReadSum(path)
			if err != nil {
				t.Error(err)
				return
			}
			after := before
			after.Charts = append(slices.Clone(before.Charts), Pin{Origin: "log.example.test", Ref: Ref{"demo", "web", fmt.Sprintf("1.%d.0", i)}, Digest: someDigit, Index: int64(i)})
			if err := WriteSum(t.Context(), path, before, after); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got, err := ReadSum(path)
	if err != nil || len(got.Charts) != len(base.Charts)+writers {
		t.Fatalf("%d charts of %d, %v", len(got.Charts), len(base.Charts)+writers, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestWriteSumKeeps(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SumName)
	s := sampleSum(t)
	if got, err := ReadSum(path); err != nil || len(got.Keys) != 0 {
		t.Errorf("no file: %+v, %v", got, err)
	}
	// A link stays a link.
	target := filepath.Join(dir, "elsewhere")
	if err := WriteSum(t.Context(), target, Sum{}, s); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	s.Charts = s.Charts[:1]
	if err := WriteSum(t.Context(), path, Sum{}, s); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	// A file that others broke is not overwritten, nor one that cannot be written.
	if err := os.WriteFile(target, []byte("<<<<<<< ours\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteSum(t.Context(), path, Sum{}, s); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a broken file: %v", err)
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "<<<<<<< ours\n" {
		t.Errorf("now it is %q, %v", b, err)
	}
	bad := s
	bad.Charts = []Pin{{Origin: "log.example.test", Ref: Ref{"demo", "web", "1 2"}, Digest: someDigit}}
	if err := WriteSum(t.Context(), filepath.Join(dir, "new"), Sum{}, bad); problem.KindOf(err) != problem.Invalid {
		t.Errorf("a version with a space: %v", err)
	}
	if err := WriteSum(t.Context(), filepath.Join(dir, "none", "x"), Sum{}, s); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("no folder: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"+lockSuffix))
	if len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
}

// A lock that somebody holds is told, with what to do, and not broken.
func TestWriteSumLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), SumName)
		held, err := takeLock(path + lockSuffix)
		if err != nil {
			t.Fatal(err)
		}
		err = WriteSum(t.Context(), path, Sum{}, sampleSum(t))
		if p, ok := problem.As(err); !ok || p.Rule != "sum-locked" || p.Try == "" {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(path + lockSuffix); err != nil {
			t.Errorf("the lock of somebody else is gone: %v", err)
		}
		if err := placeLock(held, path); err != nil {
			t.Fatal(err)
		}
	})
}
