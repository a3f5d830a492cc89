package source

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
	"github.com/mmcdole/gofeed"
)

// Limits of the XML of a feed. The parser of feeds works through its elements
// recursively, copies the names in scope for each, and joins pieces of text one
// by one; none of these is bounded by itself.
const (
	maxDepth      = 64
	maxAttributes = 64 // of one element
	maxPieces     = 2000
	maxElements   = 200_000
)

// feed polls a feed, or the feed of a package on Artifact Hub.
func (s *Sources) feed(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	at := src.URL
	if src.Kind == watch.SourceArtifactHub {
		var err error
		if at, src.Chart, err = hubFeed(src.URL, src.Chart); err != nil {
			return watch.Found{}, err
		}
	}
	doc, found, err := s.get(ctx, src, v, at, "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, */*;q=0.1", maxFeed)
	if err != nil || doc == nil {
		return found, err
	}
	items, err := parseFeed(doc.Body)
	if err != nil {
		if p, ok := problem.As(err); ok {
			return found, p.With("url", "%s", remote.Shown(at))
		}
		return found, err
	}
	for _, it := range items[:min(len(items), maxNotes)] {
		found.Notes = append(found.Notes, feedNote(it, src))
	}
	return found, nil
}

// hubFeed is the feed of a package's page on Artifact Hub,
// https://artifacthub.io/packages/helm/REPOSITORY/NAME, and the chart's name.
func hubFeed(raw, chart string) (at, name string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", problem.New(problem.Invalid, "source-url", "the URL of the package cannot be read")
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) == 5 { // the page of one version
		parts = parts[:4]
	}
	if len(parts) != 4 || parts[0] != "packages" || parts[2] == "" || parts[3] == "" {
		return "", "", problem.New(problem.Invalid, "source-url", "%s is not the page of a package on Artifact Hub", remote.Shown(raw)).
			Suggest("write https://artifacthub.io/packages/helm/REPOSITORY/NAME")
	}
	feed := &url.URL{Scheme: u.Scheme, Host: u.Host}
	return feed.JoinPath("api/v1/packages", parts[1], parts[2], parts[3], "feed/rss").String(), cmp.Or(chart, parts[3]), nil
}

// parseFeed reads the items of a feed.
func parseFeed(b []byte) ([]*gofeed.Item, error) {
	start := bytes.TrimLeft(b, "\uFEFF \t\r\n")
	if len(start) == 0 {
		return nil, problem.New(problem.Invalid, "source-feed", "the feed is empty")
	}
	if start[0] != '{' {
		if err := boundXML(b); err != nil {
			return nil, err
		}
	}
	f, err := gofeed.NewParser().Parse(bytes.NewReader(b))
	if err != nil {
		return nil, problem.New(problem.Invalid, "source-feed", "this is no feed of Atom, RSS or JSON Feed that can be read").Because(err)
	}
	return f.Items, nil
}

// boundXML refuses what would make the parser of feeds work or grow without
// bound. It reads as that parser does, which is why encodings are refused in
// which a byte of ASCII can mean something else. Entities of a document's own
// are never expanded by either.
func boundXML(b []byte) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = false
	d.CharsetReader = func(label string, r io.Reader) (io.Reader, error) {
		if !slices.Contains(encodings, strings.ToLower(label)) {
			return nil, fmt.Errorf("encoding %.40q is not read", label)
		}
		return asciiOnly{r}, nil
	}
	limit := func(what string, n int) error {
		return problem.New(problem.TooLarge, "source-feed", "the feed has more than %d %s", n, what)
	}
	var pieces []int // of text, by open element
	for elements := 0; ; {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return problem.New(problem.Invalid, "source-feed", "the feed is not XML that can be read").Because(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if elements++; elements > maxElements {
				return limit("elements", maxElements)
			}
			if len(t.Attr) > maxAttributes {
				return limit("attributes of one element", maxAttributes)
			}
			if pieces = append(pieces, 0); len(pieces) > maxDepth {
				return limit("levels", maxDepth)
			}
		case xml.EndElement:
			if len(pieces) > 0 {
				pieces = pieces[:len(pieces)-1]
			}
		case xml.CharData:
			for i := range pieces {
				if pieces[i]++; i == len(pieces)-1 && pieces[i] > maxPieces {
					return limit("pieces of text in one element", maxPieces)
				}
			}
		}
	}
}

// encodings are those beside UTF-8 in which feeds may be: one byte is one
// character, and those of ASCII are themselves.
var encodings = []string{"us-ascii", "ascii", "iso-8859-1", "latin1", "iso-8859-15", "windows-1252"}

// asciiOnly puts an x for every byte that is not ASCII: to count elements, it
// makes no difference.
type asciiOnly struct{ io.Reader }

func (a asciiOnly) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	for i := range p[:n] {
		if p[i] >= 0x80 {
			p[i] = 'x'
		}
	}
	return n, err
}

// feedNote makes a note of an item, which is named by its id. Artifact Hub's id
// of a version stays when the version is published anew with other bytes; its
// time does not.
func feedNote(it *gofeed.Item, src watch.Source) watch.Note {
	n := watch.Note{SourceID: src.ID, Title: it.Title, URL: it.Link, Text: cmp.Or(it.Content, it.Description), Chart: src.Chart}
	switch {
	case it.PublishedParsed != nil:
		n.Published = *it.PublishedParsed
	case it.UpdatedParsed != nil:
		n.Published = *it.UpdatedParsed
	}
	n.Key = cmp.Or(it.GUID, it.Link, it.Title+" "+it.Published)
	if n.Key = strings.Join(strings.Fields(clip(n.Key, len(n.Key))), " "); len(n.Key) > maxTitle {
		n.Key = digest.SHA256([]byte(n.Key))
	}
	if chart, version, ok := itemVersion(it); ok {
		n.Chart, n.Version = clip(cmp.Or(chart, src.Chart), maxTitle), version
	}
	return note(n)
}

// itemVersion finds the version that an item speaks of: in the tag that a link
// to a Git host's release ends with, or in the first words of the title that
// have one.
func itemVersion(it *gofeed.Item) (chart, version string, ok bool) {
	for _, mark := range []string{"/releases/tag/", "/-/releases/", "/-/tags/"} {
		if _, tag, found := strings.Cut(it.Link, mark); found {
			tag, _, _ = strings.Cut(tag, "?")
			if plain, err := url.PathUnescape(tag); err == nil {
				tag = plain
			}
			if chart, version, ok = upstream.ParseTag(tag); ok {
				return chart, version, true
			}
		}
	}
	words := strings.Fields(clip(it.Title, maxTitle))
	for _, w := range words[:min(len(words), 12)] {
		if chart, version, ok = upstream.ParseTag(strings.Trim(w, "[](){}*_`~:,;!\"'")); ok {
			return chart, version, true
		}
	}
	return "", "", false
}
