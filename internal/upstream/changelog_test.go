package upstream

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
)

func TestParseTag(t *testing.T) {
	for _, tc := range []struct{ tag, chart, version string }{
		{"1.2.3", "", "1.2.3"},
		{"v1.2.3", "", "1.2.3"},
		{"V7.15.3", "", "7.15.3"},
		{"refs/tags/v1.2.3", "", "1.2.3"},
		{"airflow-8.9.0", "airflow", "8.9.0"},
		{"airflow-v8.9.0", "airflow", "8.9.0"},
		{"chart/1.2.3", "chart", "1.2.3"},
		{"chart/v1.2.3", "chart", "1.2.3"},
		{"charts/redis-ha/4.1.0", "redis-ha", "4.1.0"},
		{"charts/redis-ha-4.1.0", "redis-ha", "4.1.0"},
		{"@scope/redis@1.0.0", "redis", "1.0.0"},
		{"redis@1.0.0", "redis", "1.0.0"},
		{"chart_v1.0.0", "chart", "1.0.0"},
		{"chart-name-1.2.3-rc.1", "chart-name", "1.2.3-rc.1"},
		{"chart-name-1.2.3-rc-1.2.3", "chart-name", "1.2.3-rc-1.2.3"},
		{"foo-1.2.3-2.0.0", "foo", "1.2.3-2.0.0"},
		{"foo-1-2.3.4", "foo-1", "2.3.4"},
		{"k8s-monitoring-1.0.0+build.5", "k8s-monitoring", "1.0.0+build.5"},
		{"v1.2.3-alpha+001", "", "1.2.3-alpha+001"},
		{"release-1.2.3", "", "1.2.3"},
		{"v-1.2.3", "", "1.2.3"},
		{"version/1.2.3", "", "1.2.3"},
		{"helm-chart-1.2.3", "helm-chart", "1.2.3"},
		{"s3.proxy-1.2.3", "s3.proxy", "1.2.3"},
		{"", "", ""}, {"latest", "", ""}, {"v1.2", "", ""}, {"1.2.3.4", "", ""}, {"01.2.3", "", ""}, {"chart-01.2.3", "", ""},
		{"1.2.3-", "", ""}, {"1.2.3-01", "", ""}, {"1.2.3+", "", ""}, {"2024-01.2.3", "", ""}, {"2024.01.02", "", ""}, {"chart-1.2.x", "", ""},
		{strings.Repeat("x", 600) + "-1.2.3", "", ""},
	} {
		chart, version, ok := ParseTag(tc.tag)
		if chart != tc.chart || version != tc.version || ok != (tc.version != "") {
			t.Errorf("%.80q: chart %q, version %q, %v; want %q, %q", tc.tag, chart, version, ok, tc.chart, tc.version)
		}
	}
}

func FuzzParseTag(f *testing.F) {
	for _, s := range []string{"v1.2.3", "a-1.2.3-rc.1+b", "charts/a@v0.0.0", "1.2.3.4-5.6.7", "--=1.2.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tag string) {
		chart, version, ok := ParseTag(tag)
		if !ok {
			if chart != "" || version != "" {
				t.Fatalf("%q: not ok, and %q %q", tag, chart, version)
			}
			return
		}
		if !strings.HasSuffix(tag, version) || !strings.Contains(tag, chart) || !isVersion(version) {
			t.Fatalf("%q: %q %q", tag, chart, version)
		}
		if _, again, ok := ParseTag(version); !ok || again != version {
			t.Fatalf("%q: %q is read as %q", tag, version, again)
		}
	})
}

// outline is a changelog's sections in short.
func outline(text string) string {
	var b strings.Builder
	for _, s := range Changelog(text) {
		fmt.Fprintf(&b, "%s|%s|%d-%d", s.Chart, s.Version, s.Start, s.End)
		if !s.Date.IsZero() {
			b.WriteString("|" + s.Date.Format("2006-01-02"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestChangelog(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"none", "", ""},
		{"no version", "# Changelog\n\nText.\n", ""},
		{"keep a changelog", "# Changelog\n\n## [Unreleased]\n- x\n\n## [1.1.0] - 2026-01-31\n### Added\n- a\n\n## [1.0.0] - 2025-12-01\n- b\n\n[1.1.0]: https://x.example\n",
			"|1.1.0|6-9|2026-01-31\n|1.0.0|10-13|2025-12-01\n"},
		{"unreleased in between ends", "## 2.0.0\na\n## Unreleased\nb\n## 1.0.0\nc", "|2.0.0|1-2\n|1.0.0|5-6\n"},
		{"HashiCorp", "## 0.34.1 (August 13, 2026)\n\nBugs:\n\n## 0.23.0 (November 28th, 2022)\n", "|0.34.1|1-4|2026-08-13\n|0.23.0|5-5|2022-11-28\n"},
		{"conventional changelog", "# [2.0.0](https://h.example/compare/v1.1.1...v2.0.0) (2026-02-01)\n\n### Features\n* x\n\n## [1.1.0](https://h.example) (2026-01-02)\n\n### Features\n\n### [1.0.1](https://h.example) (2026-01-01)\n\n### Bug Fixes\n* y\n",
			"|2.0.0|1-5|2026-02-01\n|1.1.0|6-9|2026-01-02\n|1.0.1|10-13|2026-01-01\n"},
		{"charts of one repository", "## airflow-8.9.0\na\n## redis-ha-v1.0.0\nb\n", "airflow|8.9.0|1-2\nredis-ha|1.0.0|3-4\n"},
		{"speaks of a version", "# v1.1.0\n## Changes since v1.0.0\nx\n## Upgrade to 2.0.0\n### Breaking 3.0.0\n# v1.0.0\n", "|1.1.0|1-5\n|1.0.0|6-6\n"},
		{"words before", "# Release Version 1.2.3\n# Chart v1.2.2\n", "|1.2.3|1-1\n|1.2.2|2-2\n"},
		{"a product's name", "# Foo 1.2.3\n## Bar 9.9.9\n# Foo 1.2.2\n", "|1.2.3|1-2\n|1.2.2|3-3\n"},
		{"underlined", "1.1.0 (2026-01-02)\n------------------\n- a\n\nFixes\n-----\n- x\n\n1.0.0\n-----\n- b\n", "|1.1.0|1-8|2026-01-02\n|1.0.0|9-11\n"},
		{"banner", "Foo notes\n=========\n\n====\nFoo 1.2.3   Released Wed 18 Oct 2023 10:33:40 IDT\n====\n\nSecurity 9.9.9\n==============\n* x\n\n====\nFoo 1.2 RC1  Released Mon July 10 12:00:00 IDT 2023\n====\ny\n",
			"|1.2.3|5-12|2023-10-18\n|1.2-RC1|13-15|2023-07-10\n"},
		{"bold", "**v1.0.1**\nx\n\n**1.0.0** is not alone\n\n**v1.0.0:**\ny\n", "|1.0.1|1-5\n|1.0.0|6-7\n"},
		{"code", "# 1.0.1\n```\n# 1.0.0\n```\n~~~~ md\n# 0.9.0\n~~~\n~~~~\n    # 0.8.0\n# 0.7.0\n", "|1.0.1|1-9\n|0.7.0|10-10\n"},
		{"quoted", "# 1.0.1\n> # 1.0.0\n#1.0.0\n", "|1.0.1|1-3\n"},
		{"higher heading ends", "# A\n## 1.0.0\nx\n# B\ny\n", "|1.0.0|2-3\n"},
		{"twice", "## 1.0.0\na\n## 1.0.0\nb\n", "|1.0.0|1-2\n|1.0.0|3-4\n"},
		{"CRLF", "## 1.0.1\r\na\r\n## 1.0.0\r\nb", "|1.0.1|1-2\n|1.0.0|3-4\n"},
		{"emoji and tags", "## :rocket: <a name=\"x\"></a> v1.0.1 :tada:\n", "|1.0.1|1-1\n"},
		{"tag in front", "## <a name=\"1.0.0\"></a>1.0.1\n", "|1.0.1|1-1\n"},
		{"no such day", "## 1.0.0 (February 31, 2026)\n", "|1.0.0|1-1\n"},
	} {
		if got := outline(tc.text); got != tc.want {
			t.Errorf("%s:\n%swant\n%s", tc.name, got, tc.want)
		}
	}
	s := Changelog("intro\n## 1.0.0\r\n- a\r\n\n## 0.9.0\n- b\n")
	if len(s) != 2 || s[0].Text != "## 1.0.0\n- a\n" || s[1].Text != "## 0.9.0\n- b" || s[0].Title != "1.0.0" {
		t.Errorf("%+v", s)
	}
}

// Changelogs of five projects, whose sections people have marked.
func TestChangelogCorpus(t *testing.T) {
	root := charttest.Corpus(t, "")
	f, err := os.Open(filepath.Join(root, "release-notes", "labels.csv"))
	if err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	type count struct{ rows, found, end, sections int }
	counts, files := map[string]*count{}, map[string]map[int]Section{}
	for _, r := range rows[1:] {
		project, path := r[column["project"]], r[column["path"]]
		c := counts[project]
		if c == nil {
			c = &count{}
			counts[project] = c
		}
		if files[path] == nil {
			b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
			if err != nil {
				t.Fatal(err)
			}
			files[path] = map[int]Section{}
			for _, s := range Changelog(string(b)) {
				files[path][s.Start] = s
				c.sections++
			}
		}
		start, _ := strconv.Atoi(r[column["line_start"]])
		end, _ := strconv.Atoi(r[column["line_end"]])
		// Redis calls its versions "6.2.0 GA" and "6.2 RC1", oauth2-proxy "V7.15.3".
		version := strings.TrimLeft(strings.TrimSuffix(r[column["version"]], " GA"), "vV")
		version = strings.ReplaceAll(version, " ", "-")
		c.rows++
		s, ok := files[path][start]
		if !ok || s.Version != version {
			t.Logf("%s %s from line %d: found %q", project, version, start, s.Version)
			continue
		}
		c.found++
		if s.End == end {
			c.end++
		} else {
			t.Logf("%s %s from line %d ends in line %d, and not in %d", project, version, start, end, s.End)
		}
	}
	for project, c := range counts {
		t.Logf("%s: %d of %d sections found, %d of them with the same last line; %d sections in all", project, c.found, c.rows, c.end, c.sections)
		if c.found != c.rows {
			t.Errorf("%s: %d sections are not found", project, c.rows-c.found)
		}
	}
}

func FuzzChangelog(f *testing.F) {
	f.Add("# Changelog\n\n## [1.1.0] - 2026-01-31\n### Added\n")
	f.Add("====\nFoo 1.2.3 Released Wed 18 Oct 2023\n====\n")
	f.Add("1.0.0\n---\n```\n## 2.0.0\n")
	f.Add("## [1](](<>)\n**v1.0.0**\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		last := 0
		for _, s := range Changelog(text) {
			if s.Version == "" || s.Start <= last || s.End < s.Start || s.End > lines {
				t.Fatalf("%+v after line %d of %d", s, last, lines)
			}
			if n := strings.Count(s.Text, "\n") + 1; n != s.End-s.Start+1 {
				t.Fatalf("%d lines of text in %+v", n, s)
			}
			last = s.End
		}
	})
}
