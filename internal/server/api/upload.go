package api

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// archiveTypes are the media types of a body that is an archive.
const archiveTypes = "application/gzip, application/x-gzip, application/x-tar, application/octet-stream, application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// upload is an archive on its way in, with what came before it. It streams:
// reading it reads the request. In a form, the parts "origin" and "prov" stand
// before the part "chart", and nothing stands behind it, so that all is known
// before the first byte of the archive is used.
type upload struct {
	body     *body
	archive  io.Reader
	form     *multipart.Reader // nil for a raw body
	fileName string
	prov     []byte
	origin   release.ImportOrigin
	err      error // the form's own fault, which reading the archive ran into
}

// body remembers why the request ended, to tell a form that is not one from
// one that did not arrive.
type body struct {
	io.Reader
	err error // other than io.EOF
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// maxOrigin bounds the part "origin", in bytes.
const maxOrigin = 16 << 10

// upload reads the request up to the first byte of the archive. An import has
// a part "origin" and is a form therefore.
func (c *call) upload(isImport bool) (*upload, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err == nil && kind == "multipart/form-data" {
		b := &body{Reader: c.r.Body}
		up := &upload{body: b, form: multipart.NewReader(b, params["boundary"])}
		return up, up.readForm(isImport)
	}
	if isImport {
		return nil, wrongMediaType(kind, "multipart/form-data")
	}
	for taken := range strings.SplitSeq(archiveTypes, ", ") {
		if kind == taken {
			return &upload{archive: c.r.Body}, nil
		}
	}
	return nil, wrongMediaType(kind, archiveTypes+", multipart/form-data")
}

func badForm(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "form", format, args...).
		Suggest(`send the parts in this order: origin (imports only), prov (when there is one), chart`)
}

// readForm reads the parts up to the first byte of the archive.
func (up *upload) readForm(isImport bool) error {
	seen := map[string]bool{}
	for {
		part, err := up.form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return badForm("the form has no part \"chart\"")
		}
		if err != nil {
			return up.brokenForm(err)
		}
		name := part.FormName()
		if seen[name] {
			return badForm("the form has part %q more than once", name)
		}
		seen[name] = true
		switch {
		case name == "prov":
			up.prov, err = up.readPart(part, release.MaxProvenance)
		case name == "origin" && isImport:
			err = up.readOrigin(part)
		case name == "chart":
			if isImport && !seen["origin"] {
				return badForm("the form has no part \"origin\" before the part \"chart\"")
			}
			up.archive, up.fileName = part, part.FileName()
			return nil
		default:
			return badForm("the form has a part %q, which is not known here", name)
		}
		if err != nil {
			return err
		}
	}
}

// brokenForm is the fault behind an error of the form's reader. A body that
// did not arrive is explained by package server.
func (up *upload) brokenForm(err error) error {
	if up.body.err != nil {
		return up.body.err
	}
	return badForm("the form is not well formed").Because(err)
}

func (up *upload) readPart(part *multipart.Part, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(part, limit+1))
	if err != nil {
		return nil, up.brokenForm(err)
	}
	if int64(len(b)) > limit {
		return nil, problem.New(problem.TooLarge, "form-part-too-large", "part %q of the form is too large", part.FormName()).
			With("limit", "%d bytes", limit)
	}
	return b, nil
}

// originRequest is what the older repository said of the release.
type originRequest struct {
	URL     string    `json:"url"`
	Created time.Time `json:"created"`
	Digest  string    `json:"digest"`
}

func (up *upload) readOrigin(part *multipart.Part) error {
	b, err := up.readPart(part, maxOrigin)
	if err != nil {
		return err
	}
	var req originRequest
	if err := decodeJSON(strings.NewReader(string(b)), &req); err != nil {
		return err
	}
	up.origin = release.ImportOrigin{URL: req.URL, Created: req.Created, Digest: req.Digest}
	return nil
}

// Read reads the archive. The end of a form's archive is given only when the
// form ends there too: a part behind it would come too late to count.
func (up *upload) Read(p []byte) (int, error) {
	if up.err != nil {
		return 0, up.err
	}
	n, err := up.archive.Read(p)
	if err == nil || up.form == nil {
		return n, err
	}
	if errors.Is(err, io.EOF) {
		next, nextErr := up.form.NextRawPart()
		switch {
		case nextErr == nil:
			err = badForm("part %q of the form stands behind the part \"chart\"", next.FormName())
		case !errors.Is(nextErr, io.EOF):
			err = up.brokenForm(nextErr)
		default:
			return n, io.EOF
		}
	} else {
		err = up.brokenForm(err)
	}
	up.err = err
	return n, err
}

// blame prefers the form's own fault to what the service made of it.
func (up *upload) blame(err error) error {
	if err != nil && up.err != nil && problem.KindOf(up.err) != problem.Internal {
		return up.err
	}
	return err
}
