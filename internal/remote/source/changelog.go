package source

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// changelog polls a text. A page of HTML is refused: a login or a file's page on
// a Git host is what people mistake for it.
func (s *Sources) changelog(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	doc, found, err := s.get(ctx, src, v, src.URL, "text/markdown, text/plain, */*;q=0.1", maxChangelog)
	if err != nil || doc == nil {
		return found, err
	}
	start := bytes.ToLower(bytes.TrimSpace(doc.Body[:min(len(doc.Body), 512)]))
	if bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html")) {
		return found, problem.New(problem.Invalid, "source-changelog", "%s is a page of HTML, and not the text of a changelog", remote.Shown(src.URL)).
			Suggest("give the URL of the raw text; on GitHub it begins with https://raw.githubusercontent.com")
	}
	found.Notes = Changelog(string(doc.Body), src)
	return found, nil
}

// Changelog makes notes of the sections of a changelog, for a source or for a
// file in an archive. A version that has several sections gets a note for each,
// numbered from the end of the text, where nothing is added.
func Changelog(text string, src watch.Source) []watch.Note {
	sections := upstream.Changelog(text)
	keys, seen := make([]string, len(sections)), map[string]int{}
	for i, sec := range slices.Backward(sections) {
		keys[i] = cmp.Or(sec.Chart, src.Chart) + " " + sec.Version
		if seen[keys[i]]++; seen[keys[i]] > 1 {
			keys[i] = fmt.Sprintf("%s #%d", keys[i], seen[keys[i]])
		}
	}
	var out []watch.Note
	for i, sec := range sections[:min(len(sections), maxNotes)] {
		out = append(out, note(watch.Note{
			SourceID: src.ID, Key: keys[i], Chart: cmp.Or(sec.Chart, src.Chart), Version: sec.Version,
			Title: sec.Title, URL: src.URL, Text: sec.Text, Published: sec.Date,
		}))
	}
	return out
}
