package notes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

// patterns are all that look for words first.
func patterns() map[string]pattern {
	all := map[string]pattern{
		"attack": attack, "stranger": stranger, "remedy": remedy, "memory": memory, "fixed": fixed,
		"bump": bump, "aside": asideTalk, "advice": advice, "no weakness": noWeakness, "unaffected": unaffected, "silenced": silenced,
		"aftermath": aftermath, "compounds": compounds, "by default": byDefault, "as default": asDefault,
		"action": action, "removed": removed, "ageing": ageing, "grows": grows, "known": known, "image": aImage, "tame": tame, "broken": broken, "hinders": hinders,
	}
	for i, p := range weaknesses {
		all["weakness "+string(rune('a'+i))] = p
	}
	for i, r := range safer {
		all["safer "+string(rune('a'+i))] = r.words
	}
	for i, r := range guards {
		all["guard "+string(rune('a'+i))] = r.words
	}
	return all
}

// What a pattern finds, it finds with its words looked for first.
func TestPatternsLoseNothing(t *testing.T) {
	texts := append(append([]string{}, speaks...), silent...)
	for _, k := range sayings {
		texts = append(append(texts, k.speaks...), k.silent...)
	}
	all := patterns()
	check := func(text []byte) {
		text = bytes.ToLower(text)
		for name, p := range all {
			if !p.possible(text) && p.Regexp.Match(text) {
				t.Errorf("%s finds %q in %q, and its words do not", name, p.Regexp.Find(text), text)
			}
		}
	}
	for _, text := range texts {
		check([]byte(text))
	}
	t.Run("real notes", func(t *testing.T) {
		b := charttest.ReadFile(t, filepath.Join(charttest.Corpus(t, "release-notes"), "entries.jsonl.gz"))
		lines := bufio.NewScanner(bytes.NewReader(b))
		lines.Buffer(nil, 1<<20)
		for n := 0; lines.Scan(); n++ {
			if n%16 != 0 {
				continue
			}
			var e struct{ Text string }
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(e.Text) {
				check([]byte(line))
			}
		}
	})
}
