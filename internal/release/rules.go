package release

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// MaxDiffers is how many differing files a refusal names one by one.
const MaxDiffers = 20

// MaxProjectSegments is how deep a project's name goes: team-a/web has two.
const MaxProjectSegments = 8

// YankReason is a code that says why a release was withdrawn.
type YankReason struct {
	Code    string `json:"code"`
	Meaning string `json:"meaning"`
}

// YankReasons lists the codes.
func YankReasons() []YankReason {
	return []YankReason{
		{"broken", "it does not work as released"},
		{"security", "it has a security flaw"},
		{"superseded", "a later release replaces it"},
		{"mistake", "it should not have been released"},
		{"other", "see the text"},
	}
}

func knownYankReason(code string) bool {
	for _, r := range YankReasons() {
		if r.Code == code {
			return true
		}
	}
	return false
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

func (r *Release) by() string {
	if r.By != "" {
		return r.By
	}
	return r.Publisher
}

// immutable begins a refusal with what stands.
func immutable(rule string, held *Release, format string, args ...any) *problem.Error {
	stored := fmt.Sprintf("%s, %s %s by %s through %s", held.Archive, "released", when(held.Time), held.by(), held.Door)
	if held.Legacy && held.Door == string(audit.DoorMirror) {
		stored = fmt.Sprintf("%s, mirrored %s from an upstream", held.Archive, when(held.Time))
	} else if held.Legacy {
		stored = fmt.Sprintf("%s, taken over %s by %s from an older repository", held.Archive, when(held.Time), held.by())
	}
	return problem.New(problem.Immutable, rule, format, args...).
		With("stored", "%s", stored).
		With("log index", "%d", held.LogIndex)
}

// RefuseOverwrite is the answer to other bytes for a released version. It
// names both digests and the files that differ, and what to run next.
func RefuseOverwrite(held *Release, c *Claim) error {
	e := immutable("overwrite", held, "release %s is there already and cannot be replaced", held.Ref())
	e.With("offered", "%s", c.Release.Archive)
	if held.Content == c.Release.Content {
		e.With("differs", "in packing alone: the files in both archives are the same")
	} else if c.DiffersFrom == held.Archive {
		e.With("differs", "%s", differs(c.Differs))
	}
	if c.Force {
		e.With("force", "was asked for; it changes nothing here, and is named in the alert")
	}
	if held.Yank != nil {
		e.With("yanked", "%s, %s; a yanked version stays taken", when(held.Yank.Time), held.Yank.Reason)
	}
	return e.Suggest("%s", nextVersion(held.Version))
}

// differs names the first files of a difference.
func differs(changes []chart.Change) string {
	names := make([]string, 0, 4)
	for i, ch := range changes {
		if i == 3 {
			names = append(names, "…")
			break
		}
		names = append(names, ch.Path+" "+string(ch.Kind))
	}
	files := "files"
	if len(changes) == 1 {
		files = "file"
	}
	return fmt.Sprintf("in %d %s: %s", len(changes), files, strings.Join(names, ", "))
}

// nextVersion is the command that packs the same chart under the next free
// patch version that can be guessed.
func nextVersion(version string) string {
	core, _, _ := strings.Cut(version, "+")
	core, pre, isPre := strings.Cut(core, "-")
	parts := strings.Split(strings.TrimPrefix(core, "v"), ".")
	last := len(parts) - 1
	n, err := strconv.ParseUint(parts[last], 10, 32)
	if err != nil || len(parts) != 3 {
		return "raise the version in Chart.yaml and push again"
	}
	if isPre {
		return fmt.Sprintf("raise the pre-release %s in Chart.yaml, then: helm package .", pre)
	}
	parts[last] = strconv.FormatUint(n+1, 10)
	return "helm package . --version " + strings.Join(parts, ".")
}

// RefuseBuildMetadata is the answer to a version that differs from a released
// one in build metadata alone.
func RefuseBuildMetadata(held *Release, c *Claim) error {
	return immutable("build-metadata", held, "version %s of %s/%s differs from the released %s in build metadata alone, and Helm cannot tell the two apart",
		c.Release.Version, held.Project, held.Chart, held.Version).
		With("offered", "%s", c.Release.Archive).
		Suggest("%s", nextVersion(held.Version))
}

// RefuseFileName is the answer to a release whose file name another one has.
func RefuseFileName(held *Release, c *Claim) error {
	return immutable("file-name", held, "%s %s would be served as %s, and that is the file of the release %s", c.Release.Chart, c.Release.Version, held.File, held.Ref()).
		With("offered", "%s", c.Release.Archive).
		Suggest("give the chart or its version another name")
}

// SameContent judges a push of the archive that is released. It is a refusal
// where the client would believe that its own OCI manifest was taken.
func SameContent(held *Release, c *Claim) error {
	if c.Event.Door != audit.DoorOCI || c.Release.Manifest == held.Manifest {
		return nil
	}
	return immutable("identical", held, "release %s is there already with identical content, under another manifest", held.Ref()).
		With("released manifest", "%s", held.Manifest).
		With("offered manifest", "%s", c.Release.Manifest).
		With("note", "Helm writes the archive's file time into the manifest, so packing or copying it again makes another one; the chart is the same").
		Suggest("nothing has to be done: helm pull oci://HOST/%s --version %s gives these bytes", held.Repository(), held.Version)
}

// RefuseProvenance is the answer to a second, different provenance.
func RefuseProvenance(held *Release, offered string) error {
	return problem.New(problem.Immutable, "provenance-held", "release %s has a provenance already, and it cannot be replaced", held.Ref()).
		With("stored", "%s", held.Provenance).
		With("offered", "%s", offered).
		Suggest("attach further signatures as OCI referrers of %s", held.Manifest)
}

// CheckStateChange says whether a release can be yanked or unyanked now.
func CheckStateChange(r *Release, yank bool) error {
	switch {
	case r.State.Withheld():
		return RefuseWithheld(r)
	case yank && r.State == Yanked:
		return problem.New(problem.Conflict, "yanked", "release %s is yanked already", r.Ref()).
			With("since", "%s", when(r.Yank.Time)).With("reason", "%s", r.Yank.Reason)
	case !yank && r.State != Yanked:
		return problem.New(problem.Conflict, "not-yanked", "release %s is not yanked", r.Ref())
	case yank && r.State == Staged:
		return problem.New(problem.Conflict, "staged", "release %s waits for its provenance and is not visible to anybody", r.Ref())
	}
	return nil
}

// RefuseRemoved is the answer to everything about a project that was removed.
func RefuseRemoved(name string) error {
	return problem.New(problem.Gone, ruleRemoved, "the project %s was removed; its names stay taken", name)
}

const ruleRemoved = "project-removed"

// RefuseProject is the answer to a project's name that another one keeps.
func RefuseProject(name, other string, state ProjectState) error {
	e := problem.New(problem.Conflict, "project-exists", "there is a project %s already", name)
	switch {
	case other == name && state == ProjectRemoved:
		e.Message = fmt.Sprintf("the project %s was removed, and its name stays taken", name)
		return e.Suggest("choose another name")
	case other == name:
		return e.Suggest("chartkeep project show %s", name)
	case strings.HasPrefix(other, name+"/"):
		e.Message = fmt.Sprintf("the project %s would contain the project %s", name, other)
	default:
		e.Message = fmt.Sprintf("the project %s would lie in the project %s", name, other)
	}
	return e.With("rule", "no project's name is the beginning of another's path, so that every address means one thing").
		Suggest("choose another name")
}

// CheckProjectName holds a project's name to the grammar of OCI repository
// names, leaves room for a chart's name behind it, and keeps the words that
// addresses need.
func CheckProjectName(name string) error {
	bad := func(rule, format string, args ...any) error {
		return problem.New(problem.Invalid, rule, "%.80q is not a name for a project: "+format, append([]any{name}, args...)...).
			Suggest("use lower-case letters and digits, with . _ - between them, and / between segments: team-a/web")
	}
	segments := strings.Split(name, "/")
	switch {
	case name == "":
		return bad("project-name", "it is empty")
	case len(name) > 120:
		return bad("project-name", "it has %d bytes, 120 are allowed", len(name))
	case len(segments) > MaxProjectSegments:
		return bad("project-name", "it has %d segments, %d are allowed", len(segments), MaxProjectSegments)
	}
	for _, s := range segments {
		if chart.Reserved(s) {
			return bad("project-name-reserved", "%s is a word that addresses of this server need", s)
		}
		if !chart.IsSegment(s) {
			return bad("project-name", "%q is not a segment of a repository name", s)
		}
	}
	return nil
}

// CheckUUID refuses what is not a UUID in its text form (RFC 9562 §4). Only
// lower case is taken: who compares it compares text.
func CheckUUID(s string) error {
	const form = "00000000-0000-0000-0000-000000000000"
	ok := len(s) == len(form)
	for i := 0; ok && i < len(form); i++ {
		if form[i] == '-' {
			ok = s[i] == '-'
		} else {
			ok = s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f'
		}
	}
	if ok {
		return nil
	}
	e := problem.New(problem.Invalid, "uuid", "%.80q is not a UUID", s).
		With("form", "32 lower-case hexadecimal digits in groups of 8, 4, 4, 4 and 12, with - between them")
	if lower := strings.ToLower(s); lower != s && CheckUUID(lower) == nil {
		e.Suggest("use %s", lower)
	}
	return e
}
