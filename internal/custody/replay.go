package custody

import (
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// leaves reads the kept entries [from, to) of a log, bundle by bundle. Whether
// they are the right ones only the root says.
func (c *Custodian) leaves(ctx context.Context, log Log, from, to int64) iter.Seq2[[][]byte, error] {
	return func(yield func([][]byte, error) bool) {
		for at := from; at < to; {
			n := at / tlog.TileHashes
			end := min((n+1)*tlog.TileHashes, to)
			entries, err := c.shelf.bundle(ctx, log, n, int(end-n*tlog.TileHashes))
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(entries[at-n*tlog.TileHashes:], nil) {
				return
			}
			at = end
		}
	}
}

// steps makes of the kept entries [from, to) what has to be done again. lost is
// told what a step cannot bring back; it may be nil. It can be run again.
func (c *Custodian) steps(ctx context.Context, log Log, from, to int64, lost func(Loss)) iter.Seq2[Step, error] {
	if lost == nil {
		lost = func(Loss) {}
	}
	return func(yield func(Step, error) bool) {
		at := from
		for entries, err := range c.leaves(ctx, log, from, to) {
			var beside map[int64]Aside
			if err == nil {
				var bad []error
				beside, bad, err = c.shelf.asidesOf(ctx, log, at/tlog.TileHashes)
				for _, b := range bad {
					lost(Loss{What: b.Error()})
				}
			}
			if err != nil {
				yield(Step{}, err)
				return
			}
			for _, entry := range entries {
				step := Step{Index: at, Entry: entry, Aside: beside[at]}
				step.Aside.Index = at
				err := c.step(ctx, log, &step, lost)
				if !yield(step, err) || err != nil {
					return
				}
				at++
			}
		}
	}
}

// step fills in what follows from the entry.
func (c *Custodian) step(ctx context.Context, log Log, s *Step, lost func(Loss)) error {
	s.Aside.Blobs = slices.DeleteFunc(s.Aside.Blobs, func(b Blob) bool { return !digest.Matches(b.Bytes, b.Digest) })
	if log == Audits {
		return c.stepEvent(ctx, s, lost)
	}
	leaf, err := tlog.ParseLeaf(s.Entry)
	if problem.KindOf(err) == problem.Unsupported {
		typ, _, _ := strings.Cut(string(s.Entry), "\n")
		lost(Loss{Index: s.Index, What: "a leaf of a type that this version does not know: " + typ})
		return nil
	}
	if err != nil {
		return err
	}
	s.Leaf = leaf
	switch l := leaf.(type) {
	case tlog.Release:
		return c.stepRelease(ctx, s, &l, false, lost)
	case tlog.Legacy:
		return c.stepRelease(ctx, s, &l.Release, true, lost)
	case tlog.Attach:
		s.Aside.Blobs = slices.DeleteFunc(s.Aside.Blobs, func(b Blob) bool { return b.Digest != l.Digest })
		if l.Kind == tlog.AttachProvenance && len(s.Aside.Blobs) == 0 {
			lost(Loss{Index: s.Index, Ref: l.Project + "/" + l.Chart + "@" + l.Version, What: "the provenance file that was added later"})
		}
	case tlog.Project:
		vetPolicy(s, l.Name, l.Policy, lost)
	case tlog.Policy:
		vetPolicy(s, l.Project, l.After, lost)
	}
	return nil
}

// vetPolicy drops a policy that is not the one of the leaf.
func vetPolicy(s *Step, project, want string, lost func(Loss)) {
	if s.Aside.Policy == nil || digest.SHA256(s.Aside.Policy) != want {
		s.Aside.Policy = nil
		lost(Loss{Index: s.Index, Ref: project, What: "the policy " + want + ": the one before stays in force until it is set again"})
	}
}

// stepRelease makes the row of a release again: from its leaf, from what the
// leaf leaves out, and from the archive.
func (c *Custodian) stepRelease(ctx context.Context, s *Step, l *tlog.Release, legacy bool, lost func(Loss)) error {
	a := &s.Aside
	ref := l.Project + "/" + l.Chart + "@" + l.Version
	r := release.Release{
		ID: s.Index, LogIndex: s.Index, Project: l.Project, Chart: l.Chart, Version: l.Version,
		Tag: chart.TagFor(l.Version), File: chart.FileName(l.Chart, l.Version),
		Archive: l.Archive, Size: l.Size, Content: l.Content, Manifest: l.Manifest, Config: l.Config, Provenance: l.Provenance,
		Publisher: a.Publisher, Door: a.Door, Time: l.Time, Legacy: legacy, State: release.Active,
	}
	if v, err := chart.ParseVersion(l.Version); err == nil {
		r.Key, r.SortKey = v.Key(), v.SortKey()
	} else {
		r.Key, r.SortKey = chart.LenientVersion(l.Version)
	}
	if r.Publisher == "" {
		r.Publisher = l.Publisher.Subject
	}
	if a.Staged != nil && *a.Staged {
		r.State = release.Staged
	}
	got := &Released{Row: r}
	s.Release = got
	if m := a.manifest(l.Manifest); m != nil && m.Repository == r.Repository() {
		manifest := m.Release()
		got.Manifest = &manifest
	} else {
		lost(Loss{Index: s.Index, Ref: ref, What: "its OCI manifest: OCI clients cannot pull it"})
	}
	for what, d := range map[string]string{"its OCI config": l.Config, "its provenance file": l.Provenance} {
		if d != "" && a.blob(d) == nil {
			lost(Loss{Index: s.Index, Ref: ref, What: what})
		}
	}
	got.Links = linksOf(a, []string{l.Archive, l.Config, l.Provenance})
	if !slices.ContainsFunc(got.Links, func(k release.Link) bool { return k.Digest == l.Archive }) {
		got.Links = append(got.Links, release.Link{Digest: l.Archive, Size: l.Size})
	}
	m, err := c.metadata(ctx, l)
	switch {
	case err == nil:
		created, terr := time.Parse(time.RFC3339Nano, a.Created)
		if terr != nil {
			created = l.Time
		}
		got.Fragment = index.Fragment(m, []string{"charts/" + r.File}, created, strings.TrimPrefix(l.Archive, "sha256:"))
	case damaged(err):
		lost(Loss{Index: s.Index, Ref: ref, What: "its archive: " + err.Error()})
		// What the index says of it can be had from the config as well.
		if config := a.blob(l.Config); config != nil {
			if m, err := chart.ParseMetadata(config); err == nil {
				got.Fragment = index.Fragment(m, []string{"charts/" + r.File}, l.Time, strings.TrimPrefix(l.Archive, "sha256:"))
			}
		}
	default:
		return err
	}
	return nil
}

// metadata reads the Chart.yaml of an archive of which every byte is checked.
func (c *Custodian) metadata(ctx context.Context, l *tlog.Release) (chart.Metadata, error) {
	f, err := c.cfg.Blobs.Open(ctx, l.Archive)
	if err != nil {
		return chart.Metadata{}, err
	}
	defer f.Close()
	a, err := chart.Open(io.NewSectionReader(f, 0, f.Size()), c.cfg.Limits)
	if err == nil && (a.Digest != l.Archive || a.Metadata.Name != l.Chart || a.Metadata.Version != l.Version) {
		err = problem.New(problem.Disproven, "recover-archive", "the stored bytes of %s are not those of the release", l.Archive)
	}
	return a.Metadata, err
}

// linksOf are the kept links of the digests given.
func linksOf(a *Aside, digests []string) []release.Link {
	var out []release.Link
	for _, l := range a.Links {
		if slices.Contains(digests, l.Digest) && (!l.Small || a.blob(l.Digest) != nil) {
			out = append(out, release.Link(l))
		}
	}
	return out
}

// stepEvent fills in what an audit event needs. Manifests that are no
// release's come back with the event that tells of them.
func (c *Custodian) stepEvent(ctx context.Context, s *Step, lost func(Loss)) error {
	var err error
	if s.Event, err = audit.Decode(s.Entry); err != nil {
		return err
	}
	ev := &s.Event
	if !Pushed(ev.Name) || ev.Outcome.Result != audit.Allowed {
		s.Aside = Aside{Index: s.Index}
		return nil
	}
	repository := ev.Resource.Project
	if ev.Resource.Chart != "" {
		repository += "/" + ev.Resource.Chart
	}
	m := s.Aside.manifest(ev.Resource.Digest)
	if m == nil || m.Repository != repository {
		lost(Loss{Index: s.Index, Ref: repository, What: "the manifest " + ev.Resource.Digest + ", unless it was deleted"})
		s.Aside = Aside{Index: s.Index}
		return nil
	}
	named := release.ManifestBlobs(m.Bytes)
	s.Aside.Manifests = []Manifest{*m}
	s.Aside.Blobs = slices.DeleteFunc(s.Aside.Blobs, func(b Blob) bool { return !slices.Contains(named, b.Digest) })
	s.Aside.Links = slices.DeleteFunc(s.Aside.Links, func(l Link) bool {
		return !slices.Contains(named, l.Digest) || l.Small && s.Aside.blob(l.Digest) == nil
	})
	for _, l := range s.Aside.Links {
		if l.Small {
			continue
		}
		if size, err := c.cfg.Blobs.Stat(ctx, l.Digest); err != nil && !damaged(err) {
			return err
		} else if err != nil || size != l.Size {
			lost(Loss{Index: s.Index, Ref: repository, What: "the bytes of " + l.Digest})
		}
	}
	return nil
}
