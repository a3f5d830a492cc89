package oci

import (
	"io"
	"net/http"
	"strconv"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Rules of the problems of uploads.
const (
	RuleUploadSize   = "oci-upload-size"   // Content-Range, Content-Length and the body disagree
	RuleContentRange = "oci-content-range" // Content-Range cannot be read
	RuleNoDigest     = "oci-no-digest"     // an upload is finished without saying its digest
)

// startUpload answers end-4 and end-11: a blob in one request, a mount, or the
// beginning of an upload. A mount that cannot be done begins an upload. The
// hint of end-4c needs nothing: the digest is known when the upload ends.
func (d *Door) startUpload(w http.ResponseWriter, r *http.Request, req *Request) error {
	c := server.CallerOf(r)
	switch {
	case req.Mount != "":
		// A source whose name is none is a source that is not known.
		if req.From == "" || chart.IsRepository(req.From) {
			mounted, err := d.registry.MountBlob(r.Context(), c, req.Repository, req.Mount, req.From)
			if err != nil {
				return err
			}
			if mounted {
				return created(w, path(r, req.Repository, "/blobs/"+req.Mount), req.Mount)
			}
		}
	case req.Digest != "":
		if err := d.registry.PutBlob(r.Context(), c, req.Repository, r.Body, req.Digest); err != nil {
			return err
		}
		return created(w, path(r, req.Repository, "/blobs/"+req.Digest), req.Digest)
	}
	id, err := d.registry.StartUpload(r.Context(), c, req.Repository)
	if err != nil {
		return err
	}
	return progress(w, r, req.Repository, id, 0, http.StatusAccepted)
}

// uploadStatus answers end-13.
func (d *Door) uploadStatus(w http.ResponseWriter, r *http.Request, req *Request) error {
	size, err := d.registry.UploadSize(r.Context(), server.CallerOf(r), req.Repository, req.Upload)
	if err != nil {
		return err
	}
	return progress(w, r, req.Repository, req.Upload, size, http.StatusNoContent)
}

// appendUpload answers end-5: a piece with its place in Content-Range, or a
// stream that continues where the upload stands.
func (d *Door) appendUpload(w http.ResponseWriter, r *http.Request, req *Request) error {
	offset, body, err := piece(r)
	if err != nil {
		return err
	}
	size, err := d.registry.AppendUpload(r.Context(), server.CallerOf(r), req.Repository, req.Upload, offset, body)
	if err != nil {
		if misplaced(err) {
			where(w, r, req.Repository, req.Upload, size)
		}
		return err
	}
	return progress(w, r, req.Repository, req.Upload, size, http.StatusAccepted)
}

// finishUpload answers end-6, with the last piece in its body or without.
func (d *Door) finishUpload(w http.ResponseWriter, r *http.Request, req *Request) error {
	if req.Digest == "" {
		return problem.New(problem.Invalid, RuleNoDigest, "the upload cannot end without its digest").
			Suggest("add ?digest=sha256:… of the whole blob to the URL")
	}
	offset, body, err := piece(r)
	if err != nil {
		return err
	}
	c := server.CallerOf(r)
	if err := d.registry.FinishUpload(r.Context(), c, req.Repository, req.Upload, offset, body, req.Digest); err != nil {
		if misplaced(err) {
			if size, err := d.registry.UploadSize(r.Context(), c, req.Repository, req.Upload); err == nil {
				where(w, r, req.Repository, req.Upload, size)
			}
		}
		return err
	}
	return created(w, path(r, req.Repository, "/blobs/"+req.Digest), req.Digest)
}

// cancelUpload answers end-14.
func (d *Door) cancelUpload(w http.ResponseWriter, r *http.Request, req *Request) error {
	if err := d.registry.CancelUpload(r.Context(), server.CallerOf(r), req.Repository, req.Upload); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// misplaced reports whether a piece was refused because it does not begin where
// the upload stands.
func misplaced(err error) bool {
	p, ok := problem.As(err)
	return ok && p.Rule == server.RuleUploadRange
}

// progress answers with where the upload stands.
func progress(w http.ResponseWriter, r *http.Request, repository, id string, size int64, status int) error {
	where(w, r, repository, id, size)
	if status != http.StatusNoContent {
		w.Header()["Content-Length"] = noLength
	}
	w.WriteHeader(status)
	return nil
}

// where sets the headers that say where an upload stands. The specification has
// no way to say that no byte has arrived; "0-0" is what Docker's registry says.
func where(w http.ResponseWriter, r *http.Request, repository, id string, size int64) {
	h := w.Header()
	h["Location"] = []string{path(r, repository, "/blobs/uploads/"+id)}
	h["Range"] = []string{"0-" + strconv.FormatInt(max(size-1, 0), 10)}
	h[headerUploadID] = []string{id}
}

// piece returns the body of a PATCH or PUT and the offset that Content-Range
// claims for it, or -1.
func piece(r *http.Request) (offset int64, body io.Reader, err error) {
	header := r.Header.Get("Content-Range")
	if header == "" {
		return -1, r.Body, nil
	}
	offset, length, ok := parseContentRange(header)
	if !ok {
		return 0, nil, problem.New(problem.Invalid, RuleContentRange, "the Content-Range %q cannot be read", clip(header)).
			With("form", "0-1023, the first and the last byte of this piece")
	}
	switch r.ContentLength {
	case length:
		return offset, r.Body, nil
	case -1:
		return offset, &exactly{src: r.Body, left: length}, nil
	}
	return 0, nil, wrongSize().With("Content-Range", "%d bytes", length).With("Content-Length", "%d bytes", r.ContentLength)
}

func wrongSize() *problem.Error {
	return problem.New(problem.Invalid, RuleUploadSize, "the body has not the length that Content-Range says")
}

// exactly reads a body whose length is known from Content-Range alone, and
// fails when it has more or fewer bytes. Those that arrived within the range
// stay in the upload.
type exactly struct {
	src  io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if e.left == 0 {
		var one [1]byte
		n, err := e.src.Read(one[:])
		if n > 0 {
			return 0, wrongSize().With("body", "is longer")
		}
		return 0, err
	}
	n, err := e.src.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF {
		if e.left > 0 {
			return n, wrongSize().With("missing", "%d bytes", e.left)
		}
		err = nil // the next call looks for a byte too many
	}
	return n, err
}
