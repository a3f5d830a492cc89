package chartrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// The fields of a form, as ChartMuseum calls them.
const (
	fieldChart = "chart"
	fieldProv  = "prov"
)

// saved is the answer to a push: what ChartMuseum's clients look at, and what
// can be checked.
type saved struct {
	Saved         bool          `json:"saved"`
	Project       string        `json:"project"`
	Chart         string        `json:"chart"`
	Version       string        `json:"version"`
	Digest        string        `json:"digest"`
	ContentDigest string        `json:"content_digest"`
	Provenance    string        `json:"provenance,omitempty"`
	LogIndex      int64         `json:"log_index"`
	Unchanged     bool          `json:"unchanged"`
	State         release.State `json:"state"`
	// Proof is the text of the .tlog-proof file that shows the release in the log.
	Proof string `json:"proof"`
	release.Signed
}

// writeSaved answers a push. It is 201 also when nothing moved, since
// ChartMuseum's clients take 200 for a failure.
func writeSaved(w http.ResponseWriter, rcpt *release.Receipt) error {
	rel := &rcpt.Release
	w.Header()[headerDigest] = []string{rel.Archive}
	w.Header()[headerLogIndex] = []string{strconv.FormatInt(rel.LogIndex, 10)}
	w.Header()["Cache-Control"] = []string{"no-store"}
	return server.WriteJSON(w, http.StatusCreated, saved{
		Saved: true, Project: rel.Project, Chart: rel.Chart, Version: rel.Version,
		Digest: rel.Archive, ContentDigest: rel.Content, Provenance: rel.Provenance,
		LogIndex: rel.LogIndex, Unchanged: rcpt.Unchanged, State: rel.State,
		Proof: string(rcpt.Proof.Marshal()), Signed: rcpt.Signed,
	})
}

// push takes an archive as the body, or a form with an archive, a provenance,
// or both.
func (d *Door) push(w http.ResponseWriter, r *http.Request, req request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	opt := release.PushOptions{Force: req.force}
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		// Whatever the type says (curl says that it is a form), the body is
		// the archive.
		rcpt, err := d.svc.PushArchive(ctx, c, req.project, r.Body, nil, opt)
		if err != nil {
			return err
		}
		return writeSaved(w, &rcpt)
	}
	// A form is read before it is pushed, so the right to push is asked for
	// before that.
	if err := d.svc.CanPush(ctx, c, req.project); err != nil {
		return err
	}
	f, err := readForm(r.Body, params["boundary"], d.cfg)
	if err != nil {
		return err
	}
	defer f.archive.close()
	if !f.hasArchive {
		return d.attach(w, r, req, f.prov)
	}
	archive, err := f.archive.open()
	if err != nil {
		return err
	}
	opt.FileName = f.fileName
	rcpt, err := d.svc.PushArchive(ctx, c, req.project, archive, f.prov, opt)
	if err != nil {
		return err
	}
	return writeSaved(w, &rcpt)
}

// pushProvenance takes a provenance for a release that has none.
func (d *Door) pushProvenance(w http.ResponseWriter, r *http.Request, req request) error {
	prov, err := readProvenance(r.Body)
	if err != nil {
		return err
	}
	return d.attach(w, r, req, prov)
}

func (d *Door) attach(w http.ResponseWriter, r *http.Request, req request, prov []byte) error {
	rcpt, err := d.svc.AttachProvenance(r.Context(), server.CallerOf(r), req.project, prov)
	if err != nil {
		return err
	}
	return writeSaved(w, &rcpt)
}

func readProvenance(r io.Reader) ([]byte, error) {
	prov, err := io.ReadAll(io.LimitReader(r, release.MaxProvenance+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read provenance: %w", err)
	case len(prov) > release.MaxProvenance:
		return nil, problem.New(problem.TooLarge, "provenance-size", "the provenance file is too large").
			With("limit", "%d bytes", release.MaxProvenance)
	case len(prov) == 0:
		return nil, problem.New(problem.Invalid, "provenance-empty", "the provenance file is empty")
	}
	return prov, nil
}

// form is what a form brought. The archive can come before the provenance
// that belongs to it, so it is kept until the form has ended.
type form struct {
	hasArchive bool
	archive    spool
	fileName   string // that the client gave the archive
	prov       []byte // nil when the form has none
}

// readForm reads a form to its end. On an error nothing is left behind.
func readForm(body io.Reader, boundary string, cfg Config) (*form, error) {
	f := &form{archive: spool{limit: cfg.MaxArchive, dir: cfg.TempDir}}
	if err := f.read(body, boundary); err != nil {
		f.archive.close()
		return nil, err
	}
	return f, nil
}

func (f *form) read(body io.Reader, boundary string) error {
	if boundary == "" {
		return badForm("the Content-Type has no boundary")
	}
	parts := multipart.NewReader(body, boundary)
	for {
		// NextRawPart leaves the bytes alone: a transfer encoding of a part
		// is nothing that a client of HTTP sends.
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return brokenForm(err)
		}
		if err := f.take(part); err != nil {
			return err
		}
	}
	if !f.hasArchive && f.prov == nil {
		return badForm("it has neither a field %q nor a field %q", fieldChart, fieldProv)
	}
	return nil
}

// take reads one field. Each can come once, and there are no others, so that
// nothing that a client means to push is dropped without a word.
func (f *form) take(part *multipart.Part) error {
	switch name := part.FormName(); {
	case name == fieldChart && !f.hasArchive:
		f.hasArchive, f.fileName = true, baseName(part.FileName())
		if _, err := io.Copy(&f.archive, part); err != nil {
			return brokenForm(err)
		}
		return nil
	case name == fieldProv && f.prov == nil:
		var err error
		if f.prov, err = readProvenance(part); err != nil {
			return brokenForm(err)
		}
		return nil
	case name == fieldChart || name == fieldProv:
		return badForm("it has two fields %q, and one push is one release", name)
	default:
		return badForm("it has a field %q", shorten(name))
	}
}

func badForm(format string, args ...any) error {
	return problem.New(problem.Invalid, "push-form", "the form cannot be read: %s", fmt.Sprintf(format, args...)).
		With("fields", "%s (the archive), %s (its provenance)", fieldChart, fieldProv).
		Suggest("curl -F chart=@web-1.4.2.tgz …")
}

// brokenForm says whose fault it is that a form could not be read to its end.
// What package multipart finds wrong has no type of its own; errors of the
// connection and of our own have one.
func brokenForm(err error) error {
	if _, ok := problem.As(err); ok {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, multipart.ErrMessageTooLarge) ||
		strings.HasPrefix(err.Error(), "multipart: ") || strings.HasPrefix(err.Error(), "malformed MIME header") {
		p, _ := problem.As(badForm("%s", shorten(err.Error())))
		return p.Because(err)
	}
	return fmt.Errorf("read form: %w", err)
}

// baseName is the last part of a file name as any system writes it.
func baseName(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

func shorten(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// spoolMemory is how much of an archive is kept in memory, in bytes. Most
// charts fit.
const spoolMemory = 1 << 20

// spool keeps an archive of at most limit bytes until it is pushed: in memory,
// or in a file that has lost its name and so goes with the process.
type spool struct {
	limit int64
	dir   string
	size  int64
	mem   bytes.Buffer
	file  *os.File
}

func (s *spool) Write(p []byte) (int, error) {
	if s.size += int64(len(p)); s.size > s.limit {
		return 0, problem.New(problem.TooLarge, "archive-size", "the archive is too large").
			With("limit", "%d bytes", s.limit)
	}
	if s.file == nil && s.size > spoolMemory {
		if err := s.toFile(); err != nil {
			return 0, fmt.Errorf("keep archive of form: %w", err)
		}
	}
	if s.file != nil {
		return s.file.Write(p)
	}
	return s.mem.Write(p)
}

func (s *spool) toFile() (err error) {
	if s.file, err = os.CreateTemp(s.dir, "push-*"); err != nil {
		return err
	}
	// Where an open file cannot lose its name, close removes it.
	_ = os.Remove(s.file.Name())
	_, err = s.mem.WriteTo(s.file)
	s.mem = bytes.Buffer{}
	return err
}

// open returns what was written, from its beginning.
func (s *spool) open() (io.Reader, error) {
	if s.file == nil {
		return &s.mem, nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read archive of form: %w", err)
	}
	return s.file, nil
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}
