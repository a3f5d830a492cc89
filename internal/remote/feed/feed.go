// Package feed reads advisory feeds at their addresses: files, and archives of
// files, that publishers or mirrors serve over HTTP.
//
// What always holds: an address is asked within the limits and the guard of
// package remote; what was not read whole is an error when it is read, never a
// shorter feed. GitHub's list of the advisories of a repository comes in pages,
// which are read to the last.
package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// maxPages bounds a list that comes in pages of 100.
const maxPages = 50

// maxPage bounds one page in bytes.
const maxPage = 16 << 20

// Reader reads feeds. It is safe for concurrent use.
type Reader struct {
	client *remote.Client
	limit  int64
}

// New makes a reader that goes out through client and reads at most limit bytes
// of a feed, as they come.
func New(client *remote.Client, limit int64) *Reader { return &Reader{client, limit} }

var _ upgrade.Mirrors = (*Reader)(nil)

// ReadFeed implements upgrade.Mirrors.
func (r *Reader) ReadFeed(ctx context.Context, f upgrade.Feed) (upgrade.FeedBody, error) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return upgrade.FeedBody{}, problem.New(problem.Invalid, "feed-url", "the URL of feed %s cannot be read", f.Name)
	}
	if path.Base(u.Path) == "security-advisories" {
		return r.pages(ctx, f)
	}
	got, err := r.client.OpenSince(ctx, remote.Get{URL: f.URL, Credential: f.Credential, ETag: f.Validators.ETag, LastModified: f.Validators.LastModified, Limit: r.limit})
	if err != nil {
		return upgrade.FeedBody{RetryAfter: remote.RetryAfter(err)}, err
	}
	return upgrade.FeedBody{
		Unchanged: got.NotModified, Name: path.Base(u.Path), Body: got.Body,
		Validators: watch.Validators{ETag: got.ETag, LastModified: got.LastModified},
	}, nil
}

// pages reads a list of GitHub's API to its last page. Only the first page can
// say that nothing is new, and only where it is the only one.
func (r *Reader) pages(ctx context.Context, f upgrade.Feed) (upgrade.FeedBody, error) {
	next := withPageSize(f.URL)
	var all []json.RawMessage
	out := upgrade.FeedBody{Name: "security-advisories.json"}
	for n := 0; next != ""; n++ {
		if n == maxPages {
			return out, problem.New(problem.TooLarge, "feed-pages", "the feed at %s has more than %d pages", remote.Shown(f.URL), maxPages)
		}
		g := remote.Get{URL: next, Credential: f.Credential, Accept: "application/vnd.github+json", Limit: maxPage}
		if n == 0 {
			g.ETag = f.Validators.ETag
		}
		doc, err := r.client.Get(ctx, g)
		if err != nil {
			return upgrade.FeedBody{RetryAfter: remote.RetryAfter(err)}, err
		}
		if doc.NotModified {
			return upgrade.FeedBody{Unchanged: true, Validators: f.Validators}, nil
		}
		var page []json.RawMessage
		if err := json.Unmarshal(doc.Body, &page); err != nil {
			return out, problem.New(problem.Invalid, "feed-form", "%s does not answer with a list of advisories", remote.Shown(f.URL)).Because(err)
		}
		all = append(all, page...)
		if next = nextPage(doc.Header, next); n == 0 && next == "" {
			out.Validators.ETag = doc.ETag
		}
	}
	if all == nil {
		all = []json.RawMessage{}
	}
	body, err := json.Marshal(all)
	if err != nil {
		return out, err
	}
	out.Body = io.NopCloser(bytes.NewReader(body))
	return out, nil
}

func withPageSize(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Query().Has("per_page") {
		return raw
	}
	q := u.Query()
	q.Set("per_page", "100")
	u.RawQuery = q.Encode()
	return u.String()
}

// nextPage is the address of the next page (RFC 8288), on the same host alone;
// "" for none.
func nextPage(h http.Header, at string) string {
	base, err := url.Parse(at)
	if err != nil {
		return ""
	}
	for _, link := range strings.Split(strings.Join(h.Values("Link"), ","), ",") {
		target, params, _ := strings.Cut(strings.TrimSpace(link), ";")
		if !strings.Contains(params, `rel="next"`) {
			continue
		}
		u, err := base.Parse(strings.Trim(target, "<> "))
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
			return ""
		}
		return u.String()
	}
	return ""
}
