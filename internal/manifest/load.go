package manifest

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const maxArchiveDepth = 4 // archives within archives

// open reads an archive as Helm reads it, after package chart found it sound,
// the archives in its charts folder included.
func open(b []byte, lim Limits) (c *helmchart.Chart, err error) {
	defer contain(&err)
	files, err := unpack(b, lim, 0, new(int64))
	if err != nil {
		return nil, err
	}
	if c, err = loader.LoadFiles(files); err != nil {
		return nil, problem.New(problem.Invalid, "chart-load", "the chart cannot be loaded: %s", oneLine(err.Error())).Because(err)
	}
	return c, nil
}

// contain makes a problem of a panic: Helm's readers of charts are not ours.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = problem.New(problem.Invalid, "chart-load", "the chart cannot be loaded: Helm's reader breaks off on it: %s", oneLine(fmt.Sprint(p)))
	}
}

// unpack checks an archive and those within it, whose sizes add up in total.
func unpack(b []byte, lim Limits, depth int, total *int64) ([]*archive.BufferedFile, error) {
	if depth > maxArchiveDepth {
		return nil, problem.New(problem.TooLarge, "render-limit", "archives are packed into one another more than %d deep", maxArchiveDepth)
	}
	var files []*archive.BufferedFile
	plain := true // of the form in which Helm packs, so that it reads just these files
	a, err := chart.OpenEach(bytes.NewReader(b), lim.Archive, func(path string, content []byte) {
		plain = plain && !strings.ContainsAny(path, `\:`)
		files = append(files, &archive.BufferedFile{Name: path, Data: bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))})
	})
	if err != nil {
		return nil, err
	}
	for _, f := range a.Files {
		*total += f.Size
	}
	if *total > lim.Archive.Unpacked {
		return nil, problem.New(problem.TooLarge, "render-limit", "the chart and the archives in it unpack to more than %d MiB", lim.Archive.Unpacked>>20)
	}
	if !plain || a.Folder == "." {
		if files, err = archive.LoadArchiveFiles(bytes.NewReader(b)); err != nil {
			return nil, problem.New(problem.Invalid, "chart-load", "the chart cannot be loaded: %s", oneLine(err.Error())).Because(err)
		}
	}
	for _, f := range files {
		// Helm opens an archive in a charts folder wherever that stands.
		if path.Ext(f.Name) == ".tgz" && path.Base(path.Dir(f.Name)) == "charts" && strings.IndexAny(path.Base(f.Name), "_.") != 0 {
			if _, err := unpack(f.Data, lim, depth+1, total); err != nil {
				return nil, fmt.Errorf("open archive %s: %w", f.Name, err)
			}
		}
	}
	return files, nil
}

// checkSize refuses a chart whose templates are too many, once dependencies
// that are listed under several aliases are there several times.
func checkSize(c *helmchart.Chart, lim Limits) error {
	files, size := templatesOf(c, lim)
	if files > lim.Templates || size > lim.TemplateBytes {
		return problem.New(problem.TooLarge, "render-limit",
			"the chart has more than %d templates or %d MiB of them, dependencies and their aliases included", lim.Templates, lim.TemplateBytes>>20)
	}
	return nil
}

func templatesOf(c *helmchart.Chart, lim Limits) (files int, size int64) {
	files = len(c.Templates) + len(c.Files) + 1
	for _, t := range c.Templates {
		size += int64(len(t.Data))
	}
	for _, d := range c.Dependencies() {
		n, s := templatesOf(d, lim)
		times := 0
		for _, listed := range c.Metadata.Dependencies {
			if listed != nil && listed.Name == d.Name() {
				times++
			}
		}
		times = max(times, 1)
		// The sums stay far from an overflow.
		files = min(files+n*times, 2*lim.Templates+1)
		size = min(size+s*int64(times), 2*lim.TemplateBytes+1)
	}
	return files, size
}

// weave guards every template of a chart and its dependencies, each text once.
func weave(c *helmchart.Chart, known *Templates) error {
	done := map[*byte]bool{}
	var each func(c *helmchart.Chart) error
	each = func(c *helmchart.Chart) error {
		for _, t := range c.Templates {
			if t == nil || len(t.Data) == 0 || done[&t.Data[0]] {
				continue
			}
			text, err := known.guard(path.Join(c.ChartFullPath(), t.Name), string(t.Data))
			if err != nil {
				return problem.New(problem.Invalid, "render-failed", "a template cannot be parsed: %s", oneLine(unweave(err).Error()))
			}
			if t.Data = []byte(text); len(t.Data) > 0 {
				done[&t.Data[0]] = true
			}
		}
		for _, d := range c.Dependencies() {
			if err := each(d); err != nil {
				return err
			}
		}
		return nil
	}
	return each(c)
}

// oneLine is the text of an error as one line of a bounded length, without
// what cannot be printed.
func oneLine(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\uFFFD")
	if len(s) > 600 {
		s = strings.ToValidUTF8(s[:600], "") + " …"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, s)
}
