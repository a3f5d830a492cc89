package chartrepo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// The media types of an index. A client that does not say which one it likes
// gets JSON under the name that ChartMuseum gives its indexes: JSON is YAML,
// and Helm parses it many times faster.
const (
	typeYAML = "application/x-yaml"
	typeJSON = "application/json"
)

// serveIndex answers with the index of a project. When the client has it
// already, the cost is one look-up of the project.
func (d *Door) serveIndex(w http.ResponseWriter, r *http.Request, req request) error {
	view, err := d.svc.Index(r.Context(), server.CallerOf(r), req.project, req.all)
	if err != nil {
		return err
	}
	accept := r.Header.Get("Accept")
	gzip := acceptsGzip(r.Header.Get("Accept-Encoding"))
	variant, mediaType := "x", typeYAML
	switch {
	case req.format == formatYAML || req.format == formatAny && prefersYAML(accept):
		variant, gzip = "y", false
	case req.format == formatJSON || strings.Contains(accept, typeJSON):
		variant, mediaType = "j", typeJSON
	}
	if gzip {
		variant += "z"
	}
	etag := `"` + view.Etag + "-" + variant + `"`
	h := w.Header()
	h["Etag"] = []string{etag}
	h["Cache-Control"] = cacheControl(view.Project.Public, false)
	h["Vary"] = varyIndex
	same, err := notModified(r.Header, etag, time.Time{})
	switch {
	case err != nil:
		return err
	case same:
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Type"] = []string{mediaType}
	if r.Method == http.MethodHead {
		if gzip {
			h["Content-Encoding"] = []string{"gzip"}
		}
		return nil
	}
	ix, err := view.Snapshot()
	if err != nil {
		return err
	}
	head := index.Head{Generated: view.Project.Changed, ContextPath: server.ContextPath(r)}
	switch {
	case variant == "y":
		return ix.WriteYAML(w, head)
	case gzip:
		h["Content-Encoding"] = []string{"gzip"}
		h["Content-Length"] = []string{strconv.FormatInt(ix.GzipLen(head), 10)}
		return ix.WriteGzip(w, head)
	}
	h["Content-Length"] = []string{strconv.FormatInt(ix.RawLen(head), 10)}
	return ix.WriteRaw(w, head)
}

// serveHub answers with what Artifact Hub reads to know that a repository
// belongs to who added it there (artifacthub-repo.yml, field repositoryID).
func (d *Door) serveHub(w http.ResponseWriter, r *http.Request, req request) error {
	p, err := d.svc.Project(r.Context(), server.CallerOf(r), req.project)
	if err != nil {
		return err
	}
	if p.ArtifactHubID == "" {
		return problem.New(problem.NotFound, "artifact-hub", "project %s has no artifacthub-repo.yml", p.Name).
			With("reason", "its id on Artifact Hub is not set, so nobody can show there that they own it").
			Suggest("chartkeep project set %s --artifacthub-id UUID", p.Name)
	}
	etag := `"` + p.ArtifactHubID + `"`
	h := w.Header()
	h["Etag"] = []string{etag}
	h["Cache-Control"] = cacheControl(p.Public, false)
	h["Vary"] = varyFile
	same, err := notModified(r.Header, etag, time.Time{})
	switch {
	case err != nil:
		return err
	case same:
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	text := "repositoryID: " + p.ArtifactHubID + "\n"
	h["Content-Type"] = []string{typeYAML}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.WriteString(w, text)
	return err
}

// serveArchive answers with the bytes of an archive.
func (d *Door) serveArchive(w http.ResponseWriter, r *http.Request, req request) error {
	c := server.CallerOf(r)
	rel, blob, err := d.svc.OpenArchive(r.Context(), c, req.project, req.file)
	if err != nil {
		return err
	}
	defer blob.Close() // it was opened for reading alone
	etag := `"` + rel.Archive + `"`
	d.describe(w.Header(), &c, &rel, etag)
	w.Header()["Last-Modified"] = []string{rel.Time.UTC().Format(http.TimeFormat)}
	same, err := notModified(r.Header, etag, rel.Time)
	switch {
	case err != nil:
		return err
	case same:
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h := w.Header()
	h["Content-Type"] = typeArchive
	h["Accept-Ranges"] = acceptRanges
	size := blob.Size()
	if header := r.Header.Get("Range"); header != "" && r.Method == http.MethodGet && rangeApplies(r.Header.Get("If-Range"), etag, rel.Time) {
		part, ok, err := parseRange(header, size)
		if err != nil {
			return err
		}
		if ok {
			if err := blob.RangeOK(); err != nil { // a part cannot be checked alone
				return err
			}
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.offset, part.offset+part.n-1, size))
			h["Content-Length"] = []string{strconv.FormatInt(part.n, 10)}
			w.WriteHeader(http.StatusPartialContent)
			_, err := io.Copy(w, io.NewSectionReader(blob, part.offset, part.n))
			return err
		}
	}
	h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = blob.WriteTo(w)
	return err
}

var typeArchive = []string{"application/gzip"}

// serveBeside answers with a small file that belongs to an archive: its
// provenance, which is never replaced once it is there, or the proof that it
// is in the log, which is made anew as the log grows.
func (d *Door) serveBeside(w http.ResponseWriter, r *http.Request, req request,
	get func(ctx context.Context, c release.Caller, project, file string) (release.Release, []byte, error),
) error {
	c := server.CallerOf(r)
	rel, text, err := get(r.Context(), c, req.project, req.file)
	if err != nil {
		return err
	}
	h := w.Header()
	if req.op == opProvenance {
		etag := `"` + rel.Provenance + `"`
		d.describe(h, &c, &rel, etag)
		same, err := notModified(r.Header, etag, time.Time{})
		switch {
		case err != nil:
			return err
		case same:
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	} else {
		d.describe(h, &c, &rel, "")
		h["Cache-Control"] = cacheControl(anonymous(&c), false)
	}
	h["Content-Type"] = typeText
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(text)
	return err
}

var typeText = []string{"text/plain; charset=utf-8"}

// describe sets the headers that say which release an answer is about; etag
// is "" for an answer without one.
func (d *Door) describe(h http.Header, c *release.Caller, rel *release.Release, etag string) {
	if etag != "" {
		h["Etag"] = []string{etag}
	}
	h["Cache-Control"] = cacheControl(anonymous(c), rel.State == release.Active)
	h["Vary"] = varyFile
	h[headerDigest] = []string{rel.Archive}
	h[headerLogIndex] = []string{strconv.FormatInt(rel.LogIndex, 10)}
	if rel.State == release.Yanked {
		h["Warning"] = []string{yankWarning(rel)}
	}
}

// Headers of our own, in canonical form: with them a client that looks at
// nothing else can find the release in the log.
const (
	headerDigest   = "Chartkeep-Digest"
	headerLogIndex = "Chartkeep-Log-Index"
)

// yankWarning is a warn-value with code 299, "miscellaneous persistent
// warning", as RFC 7234 §5.5 defined it; OCI registries use the same header.
func yankWarning(rel *release.Release) string {
	text := rel.Ref() + " was yanked"
	if y := rel.Yank; y != nil {
		text += " (" + y.Reason + ")"
		if y.Text != "" {
			text += ": " + y.Text
		}
	}
	return `299 - "` + strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < 0x20 || c >= 0x7f:
			return ' '
		}
		return c
	}, text) + `"`
}
