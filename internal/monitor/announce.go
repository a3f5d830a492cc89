package monitor

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Announced is the list of what pipelines say that they released. A release in
// its scope that is not in it was made by somebody else.
type Announced struct {
	// Place is a file, a folder of files, or a URL. A line is
	//
	//	PROJECT/CHART@VERSION sha256:DIGEST
	//
	// or a line of a chartkeep.sum. Behind # is a remark.
	Place string
	// Scope are patterns of PROJECT/CHART whose releases are to be announced; *
	// stands for any characters but a slash. None means every project that the
	// list names.
	Scope []string
	// Within is how long after its release a chart may be announced.
	Within time.Duration
	// Since includes what was released from then on; zero is from when the
	// monitor began.
	Since time.Time
	HTTP  *http.Client // for a URL
}

// Limits of a list of announcements.
const (
	maxAnnounced     = 32 << 20 // bytes in all
	maxAnnouncedFile = 10_000   // files of a folder
)

// announcements are what a list says.
type announcements struct {
	digests  map[string][]string // by project/chart@version; more than one is no error
	projects map[string]bool
}

// ParseAnnounced reads a list into what it adds to. Invalid with the number of
// the line.
func (a *announcements) parse(text []byte) error {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		words, _, _ := strings.Cut(string(line), "#")
		field := strings.Fields(words)
		switch {
		case len(field) == 0, field[0] == "log", field[0] == "checkpoint", strings.HasPrefix(field[0], client.SumName+"/"):
			continue
		case field[0] == "chart" && len(field) == 7:
			field = []string{field[2] + "@" + field[3], field[4]}
		}
		bad := func(why string) error {
			return problem.New(problem.Invalid, "announced", "line %d of the announcements: %s", n, why).
				With("form", "PROJECT/CHART@VERSION sha256:DIGEST")
		}
		if len(field) != 2 {
			return bad("it is not a release and a digest")
		}
		ref, err := client.ParseRef(field[0])
		if err != nil || ref.Version == "" {
			return bad("it names no release")
		}
		if alg, _, err := digest.Split(field[1]); err != nil || alg != "sha256" {
			return bad("it has no SHA-256 digest")
		}
		a.digests[ref.String()] = append(a.digests[ref.String()], field[1])
		a.projects[ref.Project] = true
	}
	return nil
}

// read reads the list from its place.
func (a *Announced) read(ctx context.Context) (*announcements, error) {
	out := &announcements{digests: map[string][]string{}, projects: map[string]bool{}}
	if strings.HasPrefix(a.Place, "https://") || strings.HasPrefix(a.Place, "http://") {
		text, err := a.get(ctx)
		if err != nil {
			return nil, err
		}
		return out, out.parse(text)
	}
	files := []string{a.Place}
	if info, err := os.Stat(a.Place); err == nil && info.IsDir() {
		if files, err = filesIn(a.Place); err != nil {
			return nil, notRead(a.Place, err)
		}
	}
	left := int64(maxAnnounced)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, notRead(file, err)
		}
		text, err := io.ReadAll(io.LimitReader(f, left+1))
		f.Close()
		if left -= int64(len(text)); err != nil || left < 0 {
			return nil, notRead(file, err)
		}
		if err := out.parse(text); err != nil {
			if p, ok := problem.As(err); ok {
				return nil, p.With("file", "%s", file)
			}
			return nil, err
		}
	}
	return out, nil
}

// filesIn lists the files of a folder, but for those whose name begins with a
// dot.
func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Type()&fs.ModeType&^fs.ModeSymlink == 0 {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	if len(out) > maxAnnouncedFile {
		return nil, problem.New(problem.TooLarge, "announced", "there are more than %d files in %s", maxAnnouncedFile, dir)
	}
	return out, nil
}

func notRead(place string, err error) error {
	if p, ok := problem.As(err); ok {
		return p
	}
	if err == nil {
		return problem.New(problem.TooLarge, "announced", "the announcements have more than %d bytes", maxAnnounced)
	}
	return problem.New(problem.Unavailable, "announced", "the announcements at %s cannot be read", place).With("reason", "%v", err).Because(err)
}

func (a *Announced) get(ctx context.Context) ([]byte, error) {
	ctx, done := context.WithTimeout(ctx, answerTime)
	defer done()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Place, nil)
	if err != nil {
		return nil, notRead(a.Place, err)
	}
	h := a.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, notRead("their address", err) // it may hold a secret
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, problem.New(problem.Unavailable, "announced", "the address of the announcements answers %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnnounced+1))
	if err != nil || len(text) > maxAnnounced {
		return nil, notRead("their address", err)
	}
	return text, nil
}

// covers reports whether releases of a chart are to be announced.
func (a *Announced) covers(list *announcements, project, chartName string) bool {
	if len(a.Scope) == 0 {
		return list.projects[project]
	}
	return slices.ContainsFunc(a.Scope, func(pattern string) bool {
		ok, err := path.Match(pattern, project+"/"+chartName)
		return ok && err == nil
	})
}

// Check reports a pattern or settings that cannot work.
func (a *Announced) Check() error {
	for _, pattern := range a.Scope {
		if _, err := path.Match(pattern, "a/b"); err != nil || !strings.Contains(pattern, "/") {
			return problem.New(problem.Invalid, "announced", "%q is not a pattern of PROJECT/CHART", pattern).Suggest("give one such as 'team-a/*'")
		}
	}
	return nil
}

// await notes a new release that may have to be announced.
func (m *Monitor) await(index int64, l *tlog.Release) {
	a := m.Announced
	if a == nil || index < m.st.Began && (a.Since.IsZero() || l.Time.Before(a.Since)) {
		return
	}
	m.st.Awaiting = append(m.st.Awaiting, awaiting{
		Index: index, Project: l.Project, Chart: l.Chart, Version: l.Version, Digest: l.Archive, Due: l.Time.Add(a.Within),
	})
}

// judgeAnnounced holds releases against the list of announcements. While the
// list cannot be read, nothing is decided.
func (m *Monitor) judgeAnnounced(r *round) {
	if m.Announced == nil || len(m.st.Awaiting) == 0 {
		return
	}
	list, err := m.Announced.read(r.ctx)
	if err != nil {
		r.failed("what was announced could not be read", err)
		return
	}
	m.st.Awaiting = slices.DeleteFunc(m.st.Awaiting, func(w awaiting) bool {
		if !m.Announced.covers(list, w.Project, w.Chart) {
			return r.now.After(w.Due) // the list may come to name the project
		}
		ref := client.Ref{Project: w.Project, Chart: w.Chart, Version: w.Version}
		said := list.digests[ref.String()]
		if slices.Contains(said, w.Digest) {
			return true
		}
		rule, format := RuleUnannounced, "nobody announced the release %s"
		switch {
		case len(said) > 0:
			rule, format = RuleOtherBytes, "the release %s has other bytes than were announced"
		case r.now.Before(w.Due):
			return false
		}
		f := m.finding(rule, "", itoa(w.Index), format, ref)
		f.Standing, f.Index = true, w.Index
		f.Project, f.Chart, f.Version = w.Project, w.Chart, w.Version
		f.with("digest", "%s", w.Digest)
		if len(said) > 0 {
			f.with("announced", "%s", strings.Join(said[:min(len(said), 3)], ", "))
		}
		m.raise(r, f)
		return true
	})
}
