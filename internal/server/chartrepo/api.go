package chartrepo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// A chart version is shown as in an index: the fields of Chart.yaml with
// urls, created and digest.
func entry(d *release.Detail) json.RawMessage {
	rel := &d.Release
	return index.Fragment(d.Metadata, []string{segCharts + "/" + rel.File}, rel.Time, strings.TrimPrefix(rel.Archive, "sha256:"))
}

// listCharts answers with the versions of every chart by its name. All of
// them come out of the index as it stands; a page of them costs the charts up
// to its end, and one look-up for each version on it.
func (d *Door) listCharts(w http.ResponseWriter, r *http.Request, req request) error {
	if req.offset == 0 && req.limit == 0 {
		return d.listAll(w, r, req)
	}
	ctx, c := r.Context(), server.CallerOf(r)
	answer := map[string][]json.RawMessage{}
	after, skip, left := "", req.offset, req.limit
	for {
		charts, more, err := d.svc.Charts(ctx, c, req.project, after, listPage)
		if err != nil {
			return err
		}
		for i := range charts {
			after = charts[i].Name
			if charts[i].Latest.State != release.Active { // nothing of it is in the index
				continue
			}
			if skip > 0 {
				skip--
				continue
			}
			if answer[after], err = d.entries(r, req.project, after); err != nil {
				return err
			}
			if left--; left == 0 {
				more = false
				break
			}
		}
		if !more || len(charts) == 0 {
			return d.writePrivate(w, answer)
		}
	}
}

const listPage = 500 // charts asked for at once

// entries are the versions of a chart that an index lists, newest first.
func (d *Door) entries(r *http.Request, project, chart string) ([]json.RawMessage, error) {
	ctx, c := r.Context(), server.CallerOf(r)
	rels, err := d.svc.Releases(ctx, c, project, chart)
	if err != nil {
		return nil, err
	}
	list := make([]json.RawMessage, 0, len(rels))
	for i := range rels {
		if rels[i].State != release.Active {
			continue
		}
		detail, err := d.svc.Release(ctx, c, project, chart, rels[i].Version)
		if err != nil {
			return nil, err
		}
		list = append(list, entry(&detail))
	}
	return list, nil
}

// listAll writes the entries of the default index without its head.
func (d *Door) listAll(w http.ResponseWriter, r *http.Request, req request) error {
	view, err := d.svc.Index(r.Context(), server.CallerOf(r), req.project, false)
	if err != nil {
		return err
	}
	h := w.Header()
	h["Cache-Control"] = cacheControl(view.Project.Public, false)
	h["Vary"] = varyFile
	h["Content-Type"] = []string{typeJSON}
	if r.Method == http.MethodHead {
		return nil
	}
	ix, err := view.Snapshot()
	if err != nil {
		return err
	}
	entries := &entriesOf{w: w}
	if err := ix.WriteRaw(entries, index.Head{Generated: view.Project.Changed}); err != nil {
		return err
	}
	return entries.close()
}

// entriesOf passes on the value of "entries" of an index document that is
// written to it. Entries are the last member of the document, and no string
// in its head can hold the quotes that mark where they begin.
type entriesOf struct {
	w    io.Writer
	head []byte // what came before the entries; nil once they began
	seen bool
	tail []byte // the last bytes, which may belong to the end of the document
}

func (e *entriesOf) Write(p []byte) (int, error) {
	n := len(p)
	if !e.seen {
		e.head = append(e.head, p...)
		const mark = `"entries":`
		at := bytes.Index(e.head, []byte(mark))
		if at < 0 {
			if len(e.head) > maxIndexHead {
				return 0, fmt.Errorf("read index: no entries in its first %d bytes", maxIndexHead)
			}
			return n, nil
		}
		e.seen, p, e.head = true, e.head[at+len(mark):], nil
	}
	// One closing brace and a line feed follow the entries.
	const end = 2
	joined := append(e.tail, p...)
	cut := max(0, len(joined)-end)
	if _, err := e.w.Write(joined[:cut]); err != nil {
		return 0, err
	}
	e.tail = append(make([]byte, 0, end+len(p)), joined[cut:]...)
	return n, nil
}

const maxIndexHead = 64 << 10

func (e *entriesOf) close() error {
	if string(e.tail) != "}\n" {
		return fmt.Errorf("read index: it ends with %q", e.tail)
	}
	_, err := io.WriteString(e.w, "\n")
	return err
}

// listVersions answers with the versions of a chart, newest first, without
// those that were yanked.
func (d *Door) listVersions(w http.ResponseWriter, r *http.Request, req request) error {
	if r.Method == http.MethodHead {
		rels, err := d.svc.Releases(r.Context(), server.CallerOf(r), req.project, req.chart)
		if err == nil && !slices.ContainsFunc(rels, isActive) {
			err = noVersion(req)
		}
		return err
	}
	list, err := d.entries(r, req.project, req.chart)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return noVersion(req)
	}
	return d.writePrivate(w, list)
}

func isActive(rel release.Release) bool { return rel.State == release.Active }

// showVersion answers with one version of a chart.
func (d *Door) showVersion(w http.ResponseWriter, r *http.Request, req request) error {
	detail, err := d.resolve(r, req)
	if err != nil {
		return err
	}
	rel := &detail.Release
	h := w.Header()
	h[headerLogIndex] = []string{strconv.FormatInt(rel.LogIndex, 10)}
	if rel.State == release.Yanked {
		h["Warning"] = []string{yankWarning(rel)}
	}
	return d.writePrivate(w, entry(&detail))
}

// resolve finds the version that a request means: an exact one, "latest", or
// the newest one that a constraint such as ^1.2 allows. A yanked version is
// found by its exact name alone.
func (d *Door) resolve(r *http.Request, req request) (release.Detail, error) {
	ctx, c := r.Context(), server.CallerOf(r)
	detail, err := d.svc.Release(ctx, c, req.project, req.chart, req.version)
	if err == nil && detail.Release.State.Withheld() {
		return detail, release.RefuseWithheld(&detail.Release)
	}
	if err == nil || problem.KindOf(err) != problem.NotFound && problem.KindOf(err) != problem.Invalid {
		return detail, err
	}
	constraint, bad := semver.NewConstraint(req.version)
	if bad != nil || len(req.version) > maxConstraint {
		return release.Detail{}, err
	}
	rels, err := d.svc.Releases(ctx, c, req.project, req.chart)
	if err != nil {
		return release.Detail{}, err
	}
	for i := range rels { // newest first
		v, bad := semver.NewVersion(rels[i].Version)
		if bad == nil && isActive(rels[i]) && constraint.Check(v) {
			return d.svc.Release(ctx, c, req.project, req.chart, rels[i].Version)
		}
	}
	return release.Detail{}, noVersion(req)
}

const maxConstraint = 200 // bytes

func noVersion(req request) error {
	what := req.chart
	if req.version != "" {
		what += " " + req.version
	}
	return problem.New(problem.NotFound, "release", "%s has no release %s that resolves", req.project, what).
		Suggest("curl …/api/%s/charts/%s", req.project, req.chart)
}

// templateFile is a file of an archive; its data is in base64.
type templateFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// showTemplates answers with the templates of a version and its parsed
// values, which are null when the chart has none or Helm could not read them.
func (d *Door) showTemplates(w http.ResponseWriter, r *http.Request, req request) error {
	const valuesName, prefix = "values.yaml", "templates/"
	detail, err := d.resolve(r, req)
	if err != nil {
		return err
	}
	files, err := d.svc.ArchiveFiles(r.Context(), server.CallerOf(r), req.project, req.chart, detail.Release.Version, valuesName, prefix)
	if err != nil {
		return err
	}
	answer := struct {
		Templates []templateFile `json:"templates"`
		Values    any            `json:"values"`
	}{Templates: []templateFile{}}
	for name, data := range files {
		if strings.HasPrefix(name, prefix) {
			answer.Templates = append(answer.Templates, templateFile{name, data})
		}
	}
	slices.SortFunc(answer.Templates, func(a, b templateFile) int { return strings.Compare(a.Name, b.Name) })
	if values := files[valuesName]; len(values) <= maxValues {
		if yaml.Unmarshal(values, &answer.Values) != nil {
			answer.Values = nil
		}
	}
	return d.writePrivate(w, answer)
}

const maxValues = 1 << 20 // bytes of a values.yaml that is parsed

// showValues answers with the values.yaml of a version as it is.
func (d *Door) showValues(w http.ResponseWriter, r *http.Request, req request) error {
	const name = "values.yaml"
	detail, err := d.resolve(r, req)
	if err != nil {
		return err
	}
	files, err := d.svc.ArchiveFiles(r.Context(), server.CallerOf(r), req.project, req.chart, detail.Release.Version, name)
	if err != nil {
		return err
	}
	values, ok := files[name]
	if !ok {
		return problem.New(problem.NotFound, "values", "%s has no values.yaml", detail.Release.Ref())
	}
	h := w.Header()
	h["Cache-Control"] = cachePrivate
	h.Set("Content-Type", "application/yaml")
	h.Set("Content-Length", strconv.Itoa(len(values)))
	_, err = w.Write(values)
	return err
}

// writePrivate answers with JSON that is looked up again each time.
func (d *Door) writePrivate(w http.ResponseWriter, v any) error {
	w.Header()["Cache-Control"] = cachePrivate
	w.Header()["Vary"] = varyFile
	return server.WriteJSON(w, http.StatusOK, v)
}
