package chart

import (
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxNameLength is the most bytes of a chart name. It leaves room for a
// version of MaxVersionLength and the suffixes .tgz.prov and .tgz.tlog-proof
// in a file name of 255 bytes, and for a project of 154 bytes in an OCI
// repository name of 255.
const MaxNameLength = 100

// CheckName reports whether a chart may be released under a name. A name is
// one path component of the OCI Distribution Specification 1.1.1
// ([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*) that no door uses for itself.
//
// The error is a problem of kind Invalid with rule "chart-name",
// "chart-name-case" or "chart-name-reserved".
func CheckName(name string) error {
	switch {
	case name == "":
		return problem.New(problem.Invalid, "chart-name", "the chart has no name").
			Suggest("set `name` in Chart.yaml")
	case len(name) > MaxNameLength:
		return problem.New(problem.Invalid, "chart-name",
			"the chart name is %d bytes long, and at most %d are allowed", len(name), MaxNameLength).
			Suggest("set a shorter `name` in Chart.yaml")
	case IsSegment(name):
		if Reserved(name) {
			return problem.New(problem.Invalid, "chart-name-reserved",
				"chart name %q is reserved: it stands for something else in the addresses of a registry", name).
				Suggest("set another `name` in Chart.yaml")
		}
		return nil
	case IsSegment(strings.ToLower(name)):
		return problem.New(problem.Invalid, "chart-name-case",
			"chart name %q has upper-case letters, which an OCI repository name may not have", name).
			Suggest("set `name: %s` in Chart.yaml", strings.ToLower(name))
	}
	return problem.New(problem.Invalid, "chart-name",
		"chart name %q is not of lower-case letters and digits, joined by single dots, one or two underscores, or hyphens", name).
		Suggest("set a name such as `name: web-frontend` in Chart.yaml")
}

// Reserved reports whether a word has a meaning of its own in the addresses
// of the registry, so that no project segment and no chart may be called so.
func Reserved(segment string) bool {
	switch segment {
	case "charts", "api", "v1", "v2", "log", "ui", "all", "blobs", "manifests", "tags", "referrers",
		"uploads", "livez", "readyz", "metrics", "index.yaml":
		return true
	}
	return false
}

// FileName returns the name of the file into which Helm packs a chart. Two
// charts can have the same file name: foo 1.0.0-2.0.0 and foo-1.0.0 2.0.0.
func FileName(name, version string) string { return name + "-" + version + ".tgz" }
