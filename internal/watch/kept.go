package watch

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Which of the archives of a version is meant; its digest (sha256:…) is another
// way to say it.
const (
	ArchiveNow    = "now"    // the one that it is now; "" as well
	ArchiveBefore = "before" // the one that it was before it was replaced last
)

// KeptArchive reads an archive of a version of an upstream that is kept, and
// returns it with its digest. What was never had is problem.NotFound with the
// reason, and what is lost is as OpenArchive says. Only archives that the
// version is known to have been are found by their digest. Cost: the rows of the
// chart, and the archive in memory.
func (s *Service) KeptArchive(ctx context.Context, c audit.Caller, name, chartName, version, which string) (archive []byte, digest string, err error) {
	u, err := s.Upstream(ctx, c, name) // asks for the right
	if err != nil {
		return nil, "", err
	}
	list, err := s.store.Versions(ctx, u.ID, chartName)
	if err != nil {
		return nil, "", err
	}
	list = slices.DeleteFunc(list, func(v VersionState) bool { return v.Chart != chartName || v.Version != version })
	if len(list) == 0 {
		return nil, "", problem.New(problem.NotFound, "version", "upstream %s never had a version %s of %s, as far as this server saw", u.Name, version, chartName).
			Suggest("chartkeep upstream show %s --chart %s", u.Name, chartName)
	}
	// Of two sources that list a version, the one whose archive is had says more.
	var why error
	for i := range list {
		digest, err := list[i].choose(&u, which)
		if err != nil {
			why = cmp.Or(why, err)
			continue
		}
		b, err := read(s.registry.OpenArchive(ctx, digest))(s.limits.Archive)
		return b, digest, err
	}
	return nil, "", why
}

// choose is the digest of one of the archives of a version.
func (v *VersionState) choose(u *Upstream, which string) (string, error) {
	switch {
	case which == ArchiveNow || which == "":
		if v.current() {
			return v.Archive, nil
		}
		return "", v.noArchive(u)
	case which == ArchiveBefore:
		if len(v.Earlier) == 0 {
			return "", problem.New(problem.NotFound, "archive-before", "%s %s was not replaced since this server saw it first", v.Chart, v.Version).With("first seen", "%s", timeText(v.FirstSeen))
		}
		last := v.Earlier[len(v.Earlier)-1]
		if last.Archive != "" {
			return last.Archive, nil
		}
		p := problem.New(problem.NotFound, "archive-not-kept", "the archive that %s %s was before it was replaced is not kept: it was gone before it was fetched", v.Chart, v.Version).
			With("replaced", "%s", timeText(last.Replaced))
		if last.Listed != "" {
			p = p.With("digest that was listed", "%s", last.Listed)
		}
		return "", p
	case strings.HasPrefix(which, "sha256:"):
		if v.Archive == which || slices.ContainsFunc(v.Earlier, func(b Bytes) bool { return b.Archive == which }) {
			return which, nil
		}
		return "", problem.New(problem.NotFound, "archive-digest", "no archive of %s %s that is kept has the digest %.80s", v.Chart, v.Version, which)
	}
	return "", problem.New(problem.Invalid, "archive-which", "an archive of a version is meant by %s, %s or its digest sha256:…, not by %.80q", ArchiveNow, ArchiveBefore, which)
}

// noArchive says why the archive that a version is now is not kept, and what
// would have it.
func (v *VersionState) noArchive(u *Upstream) error {
	p := problem.New(problem.NotFound, "archive-not-kept", "the archive of %s %s is not kept", v.Chart, v.Version)
	switch {
	case v.ArchiveError != "":
		return p.With("reason", "%s", v.ArchiveError).Suggest("chartkeep upstream poll %s", u.Name)
	case u.Keep == KeepNone:
		return p.With("reason", "no archives of upstream %s are kept", u.Name).Suggest("chartkeep upstream set %s --keep all", u.Name)
	case u.Keep == KeepNew:
		return p.With("reason", "of upstream %s those are kept that appeared since it is watched, and the newest of each chart", u.Name).
			Suggest("chartkeep upstream set %s --keep all", u.Name)
	}
	return p.With("reason", "it was not fetched yet; every poll fetches some").Suggest("chartkeep upstream poll %s", u.Name)
}
