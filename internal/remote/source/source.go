// Package source reads what upstreams publish: it implements watch.Sources with
// the one outbound client of package remote.
//
// What always holds:
//
//   - A poll that finds nothing new costs one conditional request and no parse;
//     where the server has no validators, one request and a hash. OCI has no
//     such thing for tags that are moved: there it costs a listing and a HEAD
//     for every tag, up to a limit (see oci.go).
//   - Everything that is read has a limit, and what is over it is an error and
//     never a part of the truth.
//   - URLs that leave this package are absolute and have no user name or
//     password in them.
//   - Notes have keys that stay the same from poll to poll.
//
// The formats are Helm's index.yaml, the OCI distribution specification 1.1 with
// Helm's media types, GitHub's REST API, Atom (RFC 4287), RSS 1.0 and 2.0, JSON
// Feed 1.1, Artifact Hub's feeds and changelogs as package upstream reads them.
package source

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"strings"
	"sync"
	"unicode"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Limits of what is read, in bytes unpacked.
const (
	maxFeed      = 8 << 20
	maxChangelog = 8 << 20
	maxText      = 256 << 10 // of one note; GitHub's own limit is 125,000 characters
	maxTitle     = 500
	maxNotes     = 5000
)

// Config bounds what is read. Zero fields have defaults.
type Config struct {
	Index    upstream.Limits // of an index.yaml
	Archive  int64           // bytes of an archive; 0 is that of chart.DefaultLimits
	Tags     int             // of one OCI repository; 0 is 100,000
	Requests int             // for manifests in one poll of an OCI repository; 0 is 1000
}

// Sources reads sources. It is safe for concurrent use.
type Sources struct {
	client *remote.Client
	config Config

	mu     sync.Mutex
	tokens map[tokenKey]string // of OCI registries
}

var _ watch.Sources = (*Sources)(nil)

// New makes a reader of sources.
func New(client *remote.Client, c Config) *Sources {
	d := upstream.DefaultLimits()
	if c.Index.Bytes == 0 {
		c.Index.Bytes = d.Bytes
	}
	if c.Archive == 0 {
		c.Archive = chart.DefaultLimits().Archive
	}
	if c.Tags == 0 {
		c.Tags = 100_000
	}
	if c.Requests == 0 {
		c.Requests = 1000
	}
	return &Sources{client: client, config: c, tokens: map[tokenKey]string{}}
}

// Poll asks a source what is new. See watch.Sources. With an error, only
// RetryAfter of what it found is set.
func (s *Sources) Poll(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	var found watch.Found
	var err error
	switch src.Kind {
	case watch.SourceIndex:
		found, err = s.index(ctx, src, v)
	case watch.SourceOCI:
		found, err = s.oci(ctx, src, v)
	case watch.SourceGitHub:
		found, err = s.github(ctx, src, v)
	case watch.SourceFeed, watch.SourceArtifactHub:
		found, err = s.feed(ctx, src, v)
	case watch.SourceChangelog:
		found, err = s.changelog(ctx, src, v)
	default:
		err = problem.New(problem.Unsupported, "source-kind", "sources of kind %q cannot be read", src.Kind)
	}
	if err != nil {
		return watch.Found{RetryAfter: remote.RetryAfter(err)}, err
	}
	return found, nil
}

// Archive opens an archive as it is served, of http, https or oci. See
// watch.Sources. The source's credential goes to its own host alone. More bytes
// than an archive may have, and in OCI bytes of another digest than the
// manifest names, are errors of reading. Of what OCI serves the ETag is the
// digest of the manifest, whose answer costs a HEAD.
func (s *Sources) Archive(ctx context.Context, src watch.Source, rawURL string, v watch.Validators) (watch.Opened, error) {
	if strings.HasPrefix(rawURL, "oci://") {
		return s.ociArchive(ctx, src.Credential, rawURL, v.ETag)
	}
	o, err := s.client.OpenSince(ctx, remote.Get{URL: rawURL, Credential: src.Credential, ETag: v.ETag, LastModified: v.LastModified, Limit: s.config.Archive})
	if err != nil {
		return watch.Opened{}, err
	}
	return watch.Opened{ReadCloser: o.Body, Unchanged: o.NotModified, Validators: watch.Validators{ETag: o.ETag, LastModified: o.LastModified}}, nil
}

// Provenance reads the provenance file that is published for an archive: at its
// URL with .prov after it, as Helm looks for it, or the layer of its manifest.
// See watch.Sources. A server that refuses the file has none for us: some
// answer so for everything that is not there.
func (s *Sources) Provenance(ctx context.Context, src watch.Source, rawURL string) ([]byte, error) {
	var rc io.ReadCloser
	var err error
	if strings.HasPrefix(rawURL, "oci://") {
		rc, err = s.ociProvenance(ctx, src.Credential, rawURL)
	} else {
		rc, err = s.client.Open(ctx, rawURL+".prov", src.Credential, chart.MaxProvenance)
	}
	if p, ok := problem.As(err); ok && (p.Kind == problem.NotFound || p.Rule == "remote-auth") {
		return nil, nil
	}
	if err != nil || rc == nil {
		return nil, err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return nil, err
	}
	if isPage(b) {
		return nil, nil
	}
	return b, nil
}

// isPage says whether a server answered with a page where it has no file.
func isPage(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == '<'
}

// get reads a document with what is known of it. Where nothing is new, the
// document is nil and found is complete.
func (s *Sources) get(ctx context.Context, src watch.Source, v watch.Validators, at, accept string, limit int64) (*remote.Document, watch.Found, error) {
	doc, err := s.client.Get(ctx, remote.Get{
		URL: at, Credential: src.Credential, Accept: accept, ETag: v.ETag, LastModified: v.LastModified, Limit: limit,
	})
	if err != nil {
		return nil, watch.Found{}, err
	}
	found := watch.Found{Validators: v, Bytes: doc.Transferred, MovedTo: movedTo(doc.MovedTo, at, src.URL)}
	if doc.NotModified {
		found.Unchanged = true
		return nil, found, nil
	}
	found.Validators.ETag, found.Validators.LastModified = doc.ETag, doc.LastModified
	found.Validators.Digest = digest.SHA256(doc.Body)
	if found.Validators.Digest == v.Digest {
		found.Unchanged = true
		return nil, found, nil
	}
	return doc, found, nil
}

// movedTo says where a source is now: without what was added to its own URL to
// get what was asked for, and without a query, which may be made for us alone.
func movedTo(to, asked, source string) string {
	u, err := url.Parse(to)
	if to == "" || err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	text := u.String()
	if added, ok := strings.CutPrefix(asked, strings.TrimSuffix(source, "/")); ok && added != "" {
		text = strings.TrimSuffix(text, added)
	}
	if text == strings.TrimSuffix(source, "/") {
		return ""
	}
	return text
}

// note fills in what all notes have alike.
func note(n watch.Note) watch.Note {
	n.Text, n.Title, n.URL = clip(n.Text, maxText), strings.Join(strings.Fields(clip(n.Title, maxTitle)), " "), withoutUser(n.URL)
	n.Digest = digest.SHA256([]byte(n.Text))
	n.Published = n.Published.UTC()
	return n
}

// clip bounds a text, mends what is not UTF-8, and leaves out control
// characters, which have no place in a page, a mail or a database.
func clip(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// withoutUser is a URL of HTTP without user name and password; of anything else
// nothing is left, since pages make links of it.
func withoutUser(raw string) string {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	u.User = nil
	return clip(u.String(), 2000)
}
