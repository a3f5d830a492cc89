package client

import (
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Ref names a release: project/chart@version. A project may have several
// segments; the last one before the @ is the chart.
type Ref struct {
	Project string
	Chart   string
	Version string // exact, "latest", or "" where none was given
}

// String is the reference as it is written.
func (r Ref) String() string {
	s := r.Project + "/" + r.Chart
	if r.Version != "" {
		s += "@" + r.Version
	}
	return s
}

// ParseRef reads project/chart or project/chart@version. It checks the form
// alone: whether names keep the rules is for the server to say. Errors are of
// kind Invalid with rule "reference".
func ParseRef(s string) (Ref, error) {
	name, version, versioned := strings.Cut(s, "@")
	cut := strings.LastIndexByte(name, '/')
	switch {
	case strings.Contains(s, "://"):
		return Ref{}, badRef(s, "it is an address").Suggest("leave out the scheme and the host: they are those of CHARTKEEP_SERVER")
	case cut < 0:
		return Ref{}, badRef(s, "it names no project")
	case cut == 0 || cut == len(name)-1 || strings.Contains(name, "//"):
		return Ref{}, badRef(s, "a name in it is empty")
	case versioned && version == "":
		return Ref{}, badRef(s, "no version stands behind the @")
	case strings.ContainsAny(version, "@/"):
		return Ref{}, badRef(s, "its version has a character that no version has")
	}
	return Ref{Project: name[:cut], Chart: name[cut+1:], Version: version}, nil
}

func badRef(s, why string) *problem.Error {
	return problem.New(problem.Invalid, "reference", "%.160q does not name a release: %s", s, why).
		With("form", "PROJECT/CHART@VERSION, such as team-a/web@1.4.2")
}
