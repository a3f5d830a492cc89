package remote

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Get asks for a document that is read whole.
type Get struct {
	URL          string
	Credential   string // "" for none
	Accept       string // "" for anything
	ETag         string // of the last answer; with LastModified it makes the request conditional
	LastModified string
	Limit        int64 // bytes of the document, unpacked
}

// Document is what a Get brought.
type Document struct {
	NotModified  bool // the one that ETag or LastModified name is the present one
	Body         []byte
	Header       http.Header
	ETag         string
	LastModified string // "" too where it cannot tell two states apart, see lastModified
	URL          string // that answered, after redirects
	MovedTo      string // URL, where every redirect on the way to it was a permanent one; "" for none
	Transferred  int64  // bytes of the body as they came
}

// Get asks once and reads the answer into memory. Errors are problems: those
// of Check, Do and Refusal, and problem.TooLarge over the limit. Cost: the
// document, at most about twice its size in memory, or once where the server
// tells its length.
func (c *Client) Get(ctx context.Context, g Get) (*Document, error) {
	if err := c.Check(g.Credential, g.URL); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	for name, value := range map[string]string{"Accept": g.Accept, "If-None-Match": g.ETag, "If-Modified-Since": g.LastModified} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	h, err := c.HTTP(g.Credential)
	if err != nil {
		return nil, err
	}
	permanent := true
	h.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		code := req.Response.StatusCode
		permanent = permanent && (code == http.StatusMovedPermanently || code == http.StatusPermanentRedirect)
		return follow(req, via)
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, settle(err, req.URL)
	}
	defer res.Body.Close()
	d := &Document{Header: res.Header, ETag: res.Header.Get("ETag"), LastModified: lastModified(res.Header), URL: res.Request.URL.String()}
	if permanent && d.URL != req.URL.String() {
		d.MovedTo = d.URL
	}
	if res.StatusCode == http.StatusNotModified && (g.ETag != "" || g.LastModified != "") {
		d.NotModified = true
		return d, nil
	}
	if err := Refusal(res, g.Credential); err != nil {
		_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // lets the connection be used again
		return nil, err
	}
	at := res.Body.(*body).url
	d.Body, d.Transferred, err = read(res.Body, isGzip(res.Header), res.ContentLength, g.Limit, at)
	return d, err
}

// lastModified is the header's value where it tells the document from a later
// one: it counts whole seconds, so that of a document which was made in the
// second of the answer names the next one of that second too (RFC 9110 section
// 8.8.2.2).
func lastModified(h http.Header) string {
	s := h.Get("Last-Modified")
	modified, err := http.ParseTime(s)
	answered, errDate := http.ParseTime(h.Get("Date"))
	if err != nil || errDate != nil || answered.Sub(modified) < time.Second {
		return ""
	}
	return s
}

func isGzip(h http.Header) bool {
	e := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding")))
	return e == "gzip" || e == "x-gzip"
}

// Open asks for bytes as they are, such as an archive, and hands out the body.
// The credential goes along only where it is bound to the URL's host: URLs
// come from an index, and may lead elsewhere. More than limit bytes, and an
// answer that ends before the length it announced, are errors of reading. The
// caller closes the body. Errors are those of Get.
func (c *Client) Open(ctx context.Context, rawURL, credential string, limit int64) (io.ReadCloser, error) {
	o, err := c.OpenSince(ctx, Get{URL: rawURL, Credential: credential, Limit: limit})
	if err != nil {
		return nil, err
	}
	return o.Body, nil
}

// Opened is what OpenSince brought.
type Opened struct {
	NotModified  bool          // the one that ETag or LastModified name is the present one
	Body         io.ReadCloser // nil when NotModified
	ETag         string
	LastModified string // "" too where it cannot tell two states apart
}

// OpenSince is Open for bytes that may be had already: with the ETag or
// LastModified of an earlier answer the request is conditional. Accept is not
// sent. A weak ETag says that the server takes two states for the same, which
// is no proof that their bytes are.
func (c *Client) OpenSince(ctx context.Context, g Get) (Opened, error) {
	if err := c.Check("", g.URL); err != nil {
		return Opened{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return Opened{}, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	for name, value := range map[string]string{"If-None-Match": g.ETag, "If-Modified-Since": g.LastModified} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := c.Do(req, g.Credential)
	if err != nil {
		return Opened{}, err
	}
	o := Opened{ETag: res.Header.Get("ETag"), LastModified: lastModified(res.Header)}
	if res.StatusCode == http.StatusNotModified && (g.ETag != "" || g.LastModified != "") {
		res.Body.Close()
		o.NotModified = true
		return o, nil
	}
	if err := Refusal(res, c.effective(g.Credential, req.URL)); err != nil {
		res.Body.Close()
		return Opened{}, err
	}
	at := res.Body.(*body).url
	if res.ContentLength > g.Limit {
		res.Body.Close()
		return Opened{}, overLimit(at, g.Limit)
	}
	o.Body = &limited{ReadCloser: res.Body, left: g.Limit, limit: g.Limit, url: at}
	return o, nil
}

// effective is the credential that a URL was asked under.
func (c *Client) effective(name string, u *url.URL) string {
	if cred, err := c.config.Credentials.find(name); err == nil && cred.host.covers(u) {
		return name
	}
	return ""
}

// limited fails where its limit is exceeded, instead of ending there.
type limited struct {
	io.ReadCloser
	left, limit int64
	url         string
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, overLimit(l.url, l.limit)
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return n + int(l.left), overLimit(l.url, l.limit)
	}
	return n, err
}
