package oci

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// blob answers end-2. A whole blob is checked while it is sent: when its bytes
// do not match the digest, the answer is cut before its end.
func (d *Door) blob(w http.ResponseWriter, r *http.Request, req *Request) error {
	c := server.CallerOf(r)
	if r.Method == http.MethodHead {
		size, err := d.registry.StatBlob(r.Context(), c, req.Repository, req.Digest)
		if err != nil {
			return err
		}
		if notModified(w, r, req.Digest) {
			return nil
		}
		blobHeader(w, req.Digest, size)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	b, err := d.registry.OpenBlob(r.Context(), c, req.Repository, req.Digest)
	if err != nil {
		return err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	if notModified(w, r, req.Digest) {
		return nil
	}
	size := b.Size()
	if asked := r.Header["Range"]; len(asked) == 1 && rangeStands(r, req.Digest) {
		switch p, offset, length := parseRange(asked[0], size); p {
		case outside:
			return notSatisfiable(w, r, asked[0], size)
		case satisfiable:
			// Bytes out of the middle cannot be checked by themselves.
			if err := b.RangeOK(); err != nil {
				return err
			}
			blobHeader(w, req.Digest, length)
			w.Header()["Content-Range"] = []string{contentRange(offset, length, size)}
			w.WriteHeader(http.StatusPartialContent)
			_, err := io.Copy(w, io.NewSectionReader(b, offset, length))
			return err
		}
	}
	blobHeader(w, req.Digest, size)
	// The first byte sends the header: a blob that is found to be damaged before
	// that becomes a proper error.
	_, err = b.WriteTo(w)
	return err
}

func blobHeader(w http.ResponseWriter, digest string, length int64) {
	h := w.Header()
	values := []string{digest, strconv.FormatInt(length, 10), `"` + digest + `"`}
	h["Content-Type"] = octetStream
	h["Accept-Ranges"] = bytesUnit
	h[headerDigest] = values[0:1:1]
	h["Content-Length"] = values[1:2:2]
	h["Etag"] = values[2:3:3]
}

func contentRange(offset, length, size int64) string {
	b := make([]byte, 0, 64)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, offset, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, offset+length-1, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, size, 10)
	return string(b)
}

// notSatisfiable answers 416 itself: the size of the blob is part of the answer
// (RFC 9110 section 15.5.17), and an error that passes through package server
// loses every header that speaks of the content.
func notSatisfiable(w http.ResponseWriter, r *http.Request, asked string, size int64) error {
	w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
	WriteError(w, r, http.StatusRequestedRangeNotSatisfiable,
		problem.New(problem.Invalid, server.RuleRange, "the blob has no bytes in the range %q", clip(asked)).
			With("size", "%d bytes", size))
	return nil
}

// notModified answers 304 when the client holds the content already. The entity
// tag is strong: it is the digest.
func notModified(w http.ResponseWriter, r *http.Request, digest string) bool {
	held := r.Header["If-None-Match"]
	if len(held) == 0 || !matches(held, digest) {
		return false
	}
	h := w.Header()
	h["Etag"] = []string{`"` + digest + `"`}
	h[headerDigest] = []string{digest}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// matches compares entity tags weakly, as If-None-Match does (RFC 9110 section
// 13.1.2). A digest has no comma.
func matches(tags []string, digest string) bool {
	for _, list := range tags {
		for tag := range strings.SplitSeq(list, ",") {
			tag = strings.TrimPrefix(strings.Trim(tag, " \t"), "W/")
			if tag == "*" || len(tag) == len(digest)+2 && tag[0] == '"' && tag[1:len(tag)-1] == digest && tag[len(tag)-1] == '"' {
				return true
			}
		}
	}
	return false
}

// rangeStands reports whether If-Range, where it is sent, names this content
// (RFC 9110 section 13.1.5); a date never does.
func rangeStands(r *http.Request, digest string) bool {
	v := r.Header["If-Range"]
	return len(v) == 0 || len(v) == 1 && v[0] == `"`+digest+`"`
}

func (d *Door) deleteBlob(w http.ResponseWriter, r *http.Request, req *Request) error {
	if err := d.registry.DeleteBlob(r.Context(), server.CallerOf(r), req.Repository, req.Digest); err != nil {
		return err
	}
	return accepted(w)
}

func accepted(w http.ResponseWriter) error {
	w.Header()["Content-Length"] = noLength
	w.WriteHeader(http.StatusAccepted)
	return nil
}
