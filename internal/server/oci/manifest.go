package oci

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
)

// RuleManifestType says that a manifest has no media type that is JSON.
const RuleManifestType = "oci-manifest-type"

// manifest answers end-3. The Accept header is not looked at: there is one form
// of a manifest, the one that was pushed.
func (d *Door) manifest(w http.ResponseWriter, r *http.Request, req *Request) error {
	m, err := d.registry.GetManifest(r.Context(), server.CallerOf(r), req.Repository, req.Reference())
	if err != nil {
		return err
	}
	h := w.Header()
	if m.Release != nil && m.Release.Yank != nil {
		h["Warning"] = []string{warning(yanked(m.Release))}
	}
	if notModified(w, r, m.Digest) {
		return nil
	}
	mediaType := m.MediaType
	if !strings.HasSuffix(mediaType, "json") { // nothing else is let in
		mediaType = "application/json"
	}
	values := []string{mediaType, m.Digest, `"` + m.Digest + `"`, strconv.Itoa(len(m.Bytes))}
	h["Content-Type"] = values[0:1:1]
	h[headerDigest] = values[1:2:2]
	h["Etag"] = values[2:3:3]
	h["Content-Length"] = values[3:4:4]
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(m.Bytes)
	return err
}

// putManifest answers end-7a and end-7b.
func (d *Door) putManifest(w http.ResponseWriter, r *http.Request, req *Request) error {
	body, err := readManifest(w, r)
	if err != nil {
		return err
	}
	mediaType, err := typeOf(r, body)
	if err != nil {
		return err
	}
	ref := release.ManifestRef{Digest: req.Digest, Tags: req.Tags}
	if req.Tag != "" {
		ref.Tags = []string{req.Tag}
	}
	res, err := d.registry.PutManifest(r.Context(), server.CallerOf(r), req.Repository, ref, mediaType, body)
	if err != nil {
		return err
	}
	h := w.Header()
	if res.Subject != "" {
		h[headerSubject] = []string{res.Subject}
	}
	if req.Digest != "" && len(res.Tags) > 0 {
		h[headerTag] = []string{strings.Join(res.Tags, ", ")}
	}
	location := path(r, req.Repository, "/manifests/"+res.Digest)
	if res.Receipt != nil {
		return writeReceipt(w, r, location, res.Digest, res.Receipt)
	}
	return created(w, location, res.Digest)
}

// released is the body of the answer to a push that made or repeated a release.
// The specification has none; clients that look for it need no second request.
type released struct {
	Release       string `json:"release"` // project/chart@version
	Digest        string `json:"digest"`  // of the archive
	ContentDigest string `json:"content_digest"`
	LogIndex      int64  `json:"log_index"`
	Unchanged     bool   `json:"unchanged"`
	Proof         string `json:"proof"` // text of the .tlog-proof file
	release.Signed
}

// writeReceipt says where the release stands in the log, and proves it.
func writeReceipt(w http.ResponseWriter, r *http.Request, location, digest string, rec *release.Receipt) error {
	h := w.Header()
	h["Location"] = []string{location}
	h[headerDigest] = []string{digest}
	h.Set("Chartkeep-Log-Index", strconv.FormatInt(rec.Release.LogIndex, 10))
	h.Set("Chartkeep-Unchanged", strconv.FormatBool(rec.Unchanged))
	h.Set("Chartkeep-Proof", server.ContextPath(r)+"/"+rec.Release.Project+"/charts/"+rec.Release.File+".tlog-proof")
	return server.WriteJSON(w, http.StatusCreated, released{
		Release: rec.Release.Ref(), Digest: rec.Release.Archive, ContentDigest: rec.Release.Content,
		LogIndex: rec.Release.LogIndex, Unchanged: rec.Unchanged, Proof: string(rec.Proof.Marshal()), Signed: rec.Signed,
	})
}

// readManifest reads the body up to the limit. A declared length over it is
// refused before a byte is read; a smaller one is a claim, for which no more
// room is made than a common manifest takes.
func readManifest(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > release.MaxManifest {
		return nil, &http.MaxBytesError{Limit: release.MaxManifest}
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), 16<<10)) + bytes.MinRead)
	if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, release.MaxManifest)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// typeOf is the media type that a manifest is stored with: that of Content-Type
// without parameters, or where the client sends none, the manifest's own.
func typeOf(r *http.Request, body []byte) (string, error) {
	header := r.Header.Get("Content-Type")
	if header == "" {
		var m struct {
			MediaType string `json:"mediaType"`
		}
		if err := json.Unmarshal(body, &m); err != nil || m.MediaType == "" {
			return typeManifest, nil // what else is wrong, the service says
		}
		header = m.MediaType
	}
	t, ok := manifestType(header)
	if !ok {
		return "", problem.New(problem.Invalid, RuleManifestType, "%q is not the media type of a manifest", clip(header)).
			With("allowed", "application/json, and types that end in +json").
			Suggest("send Content-Type: %s", typeManifest)
	}
	return t, nil
}

// deleteManifest answers end-9, for a tag or a digest.
func (d *Door) deleteManifest(w http.ResponseWriter, r *http.Request, req *Request) error {
	if err := d.registry.DeleteManifest(r.Context(), server.CallerOf(r), req.Repository, req.Reference()); err != nil {
		return err
	}
	return accepted(w)
}

// yanked tells a reader of a yanked release what happened to it.
func yanked(rel *release.Release) string {
	y := rel.Yank
	s := rel.Ref() + " was yanked on " + y.Time.UTC().Format("2006-01-02") + ": " + y.Reason
	if y.Text != "" {
		s += ", " + y.Text
	}
	return s + ". Its bytes are unchanged, but do not deploy it anew."
}

// maxWarning bounds the text of a warning, in bytes. The specification allows
// 4096 for all warnings of an answer.
const maxWarning = 1024

// warning writes a text as RFC 7234 section 5.5 and the specification want it:
// code 299, no agent, no date. What is not printable ASCII becomes '?', since
// clients disagree on what other bytes in a header mean.
func warning(text string) string {
	var b strings.Builder
	b.WriteString(`299 - "`)
	for _, c := range text {
		if b.Len() >= maxWarning {
			b.WriteString("...")
			break
		}
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(byte(c))
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(byte(c))
		}
	}
	b.WriteByte('"')
	return b.String()
}
