package web

import (
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// exportAudit answers the events of a filter as lines, the oldest first: the
// export of the API and the command line, which checks the right and records
// that events left. It is a form, since it writes that. It ends with the events
// that were there when it began. Cost: at most release.MaxAuditPage events in
// memory at a time; what fails on the way cuts the answer off, so that a part
// is never taken for the whole.
func (d *Door) exportAudit(w http.ResponseWriter, r *http.Request) error {
	ctx, c := r.Context(), server.CallerOf(r)
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	format := r.PostForm.Get("format")
	at := slices.IndexFunc(audit.Formats(), func(g audit.Format) bool { return g.Name() == format })
	if at < 0 {
		return problem.New(problem.Invalid, "audit-format", "there is no format %.40q", format).Suggest("go back and take one of the formats of the form")
	}
	_, f, err := readFilter(r.PostForm.Get, d.cfg.Now())
	if err != nil {
		return err
	}
	newest := f
	newest.Limit = 1
	last, err := d.svc.Audit(ctx, c, newest)
	if err != nil {
		return err
	}
	if len(last) == 0 {
		return problem.New(problem.NotFound, "audit-empty", "no event fits the filter, so there is nothing to export")
	}
	f.Before = last[0].Index + 1
	lines, next, err := d.svc.ExportAudit(ctx, c, format, f)
	if err != nil {
		return err
	}
	download(w, audit.Formats()[at].ContentType(), fmt.Sprintf("audit-%s-to-%d.jsonl", format, last[0].Index))
	for {
		if _, err := w.Write(lines); err != nil || next == 0 {
			return err
		}
		f.From = next
		if lines, next, err = d.svc.ExportAudit(ctx, c, format, f); err != nil {
			return err
		}
	}
}

// download says that what follows is a file, whatever is in it.
func download(w http.ResponseWriter, contentType, name string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
}

// refusedCopy answers the bytes of what was offered for a released version, to
// whoever the registry gives them. They are read whole before the first leaves:
// what they are is known by their digest. Cost: the copy in memory, which is
// bounded when it is kept.
func (d *Door) refusedCopy(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	kept, bytes, err := d.svc.OpenRefused(r.Context(), server.CallerOf(r), q.Get("project"), q.Get("digest"))
	if err != nil {
		return err
	}
	defer bytes.Close()
	b, err := io.ReadAll(io.LimitReader(bytes, kept.Size+1))
	if err != nil {
		return fmt.Errorf("read copy: %w", err)
	}
	if int64(len(b)) != kept.Size { // what was read up to here was not compared with the digest
		return fmt.Errorf("read copy %s: it has not the %d bytes that were kept", kept.Digest, kept.Size)
	}
	download(w, "application/octet-stream", refusedName(&kept))
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(b)
	return err
}

// refusedName ends so that nobody installs the file by its name.
func refusedName(kept *release.RefusedCopy) string {
	return "refused-" + newDigest(kept.Digest).Head + ".tgz.refused"
}
