package watch

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/upstream"
)

// Notes and lists are compared when both had this time to agree, by our own
// clock.
const feedGrace = 24 * time.Hour

const (
	maxNotes     = 5000 // of one source
	maxNote      = 256 << 10
	comparedWith = 5 // listed versions that must have notes before one without is odd
)

// read takes over what a source of notes says, and compares it with the lists
// of the same upstream.
func (r *round) read(ctx context.Context) error {
	kept, err := r.store.Notes(ctx, r.lease.Upstream.ID, "", "", maxNotes)
	if err != nil {
		return err
	}
	before := map[string]*Note{}
	for i := range kept {
		if kept[i].SourceID == r.source.ID {
			before[kept[i].Key] = &kept[i]
		}
	}
	for _, n := range r.found.Notes[:min(len(r.found.Notes), maxNotes)] {
		if n.Chart == "" {
			n.Chart = r.source.Chart
		}
		was := before[n.Key]
		if was != nil && was.Digest == n.Digest && was.Published.Equal(n.Published) && was.Version == n.Version && was.Chart == n.Chart && was.URL == n.URL {
			continue
		}
		n.SourceID = r.source.ID
		r.notes = append(r.notes, n)
		r.health.LastChange = r.now
		if was != nil && r.source.Kind == SourceArtifactHub && !was.Published.Equal(n.Published) {
			r.namedAgain(was, &n)
		}
	}
	r.restUntil = r.now.Add(restMost)
	if r.first || r.source.Kind == SourceChangelog {
		return nil // a changelog is often written before the release
	}
	return r.compare(ctx, before)
}

// namedAgain tells that Artifact Hub names a version a second time. It does so
// when it saw other bytes under the version.
func (r *round) namedAgain(was, is *Note) {
	if is.Version == "" {
		return
	}
	e := r.event(FeedContradicts, Medium, is.Chart, is.Version, "Artifact Hub names %s %s again, as it does when the archive changed", is.Chart, is.Version)
	e.Question = askChanged
	e.with("named before", timeText(was.Published))
	e.with("named now", timeText(is.Published))
	e.with("address", is.URL)
	e.Key = eventKey(e.Kind, r.source.ID, "again", is.Chart, is.Version, stamp(is.Published))
	r.events = append(r.events, e)
}

// compare looks for versions that either the notes or the lists of the upstream
// name alone. Only notes that are known to speak of the versions of a chart are
// asked, since many name those of the application.
func (r *round) compare(ctx context.Context, notes map[string]*Note) error {
	first := r.now
	named := map[string]map[string]bool{} // chart, identity of the version as Helm reads it
	for _, n := range notes {
		if n.FirstSeen.Before(first) {
			first = n.FirstSeen
		}
		key, _ := chart.LenientVersion(n.Version)
		if n.Chart == "" || key == "" || !matches(r.lease.Upstream.Charts, n.Chart) {
			continue
		}
		if named[n.Chart] == nil {
			named[n.Chart] = map[string]bool{}
		}
		named[n.Chart][key] = true
	}
	known := map[string]map[string]bool{}
	for name := range named {
		list, keys, err := r.listed(ctx, name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(v *version) bool { return named[name][v.key] }) {
			known[name] = keys
		}
		r.silent(list, named[name])
	}
	for _, n := range notes {
		key, _ := chart.LenientVersion(n.Version)
		// What was written before the source was watched may have been pruned.
		if known[n.Chart] == nil || key == "" || known[n.Chart][key] || r.now.Sub(n.FirstSeen) < feedGrace || !n.FirstSeen.After(first.Add(pollHold)) {
			continue
		}
		e := r.event(FeedContradicts, Medium, n.Chart, n.Version, "%s names %s %s, and no list of the upstream has it", r.source.URL, n.Chart, n.Version)
		e.Question = askFeed
		e.with("title", n.Title)
		e.with("address", n.URL)
		e.with("first named", timeText(n.FirstSeen))
		e.Key = eventKey(e.Kind, r.source.ID, "not listed", n.Chart, key)
		r.events = append(r.events, e)
	}
	return nil
}

// listed returns the stable versions of a chart that the lists of the upstream
// have, newest first, and the identities of all that they ever had.
func (r *round) listed(ctx context.Context, name string) (list []*version, keys map[string]bool, err error) {
	states, err := r.store.Versions(ctx, r.lease.Upstream.ID, name)
	keys = map[string]bool{}
	for i := range states {
		v := &version{VersionState: states[i]}
		v.order()
		keys[v.key] = true
		if v.stable && !v.Gone {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, newestFirst)
	return list, keys, err
}

// silent tells of new versions that a list has and the notes do not name,
// though they name each of those before it.
func (r *round) silent(list []*version, named map[string]bool) {
	for i := 0; i < comparedWith && i+comparedWith < len(list); i++ {
		v, before := list[i], list[i+1:i+1+comparedWith]
		if named[v.key] || r.now.Sub(v.FirstSeen) < feedGrace || !v.FirstSeen.After(r.lease.Upstream.Created.Add(feedGrace)) ||
			slices.ContainsFunc(before, func(b *version) bool { return !named[b.key] }) {
			continue
		}
		e := r.event(FeedContradicts, Medium, v.Chart, v.Version, "%s %s is listed, and %s does not name it as it named those before", v.Chart, v.Version, r.source.URL)
		e.Question = askFeed
		e.with("first listed", timeText(v.FirstSeen))
		e.with("named before", before[0].Version)
		e.Key = eventKey(e.Kind, r.source.ID, "not named", v.Chart, v.Version)
		r.events = append(r.events, e)
	}
}

// archiveNote keeps what the changelog in an archive says of its version.
func (r *round) archiveNote(v *version, got *archive) {
	if !slices.ContainsFunc(got.Files, func(f chart.File) bool { return f.Path == changelogFile }) {
		return
	}
	var text []byte
	_, err := chart.OpenEach(bytes.NewReader(got.bytes), r.limits, func(path string, content []byte) {
		if path == changelogFile {
			text = content
		}
	})
	if err != nil {
		return // not reached: it was opened before
	}
	v.order()
	for _, s := range upstream.Changelog(string(text)) {
		if k, _ := chart.LenientVersion(s.Version); k != v.key || s.Chart != "" && s.Chart != v.Chart || len(s.Text) > maxNote {
			continue
		}
		r.notes = append(r.notes, Note{
			SourceID: r.source.ID, Key: "archive:" + v.Chart + "@" + v.Version, Chart: v.Chart, Version: v.Version, Title: s.Title,
			URL: v.URL, Text: s.Text, Digest: digest.SHA256([]byte(s.Text)), Published: s.Date,
		})
		return
	}
}

const changelogFile = "CHANGELOG.md"
