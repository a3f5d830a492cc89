package monitor

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

const (
	// maxCharts bounds the charts of a project whose tags are looked at.
	maxCharts = 100_000
	// maxTagPages bounds the pages of tags of a chart, of 1000 tags each.
	maxTagPages = 1000
	// everyNth index is read again although the server says that it is the same:
	// it may say so to the monitor alone.
	everyNth = 10
)

// checkDoors holds indexes and tags of all projects against the log.
func (m *Monitor) checkDoors(r *round) {
	var left int
	var names []string
	for p := range m.log.replay.Projects() {
		if p.Kind == "charts" && !m.closed(p.Name) {
			names = append(names, p.Name)
		}
	}
	// Whatever the budget is, each has its turn.
	m.Rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		if r.over(m) {
			left++
			continue
		}
		if m.reads(r, name) {
			m.checkTags(r, name)
		}
	}
	if left > 0 {
		r.uncheck("the indexes and tags of %d projects wait for the next round", left)
	}
}

func indexArea(project string) string { return "index:" + project }

// reads checks the index of a project, once in a round, and reports whether it
// was given.
func (m *Monitor) reads(r *round, project string) bool {
	if ok, had := r.read[project]; had {
		return ok
	}
	err := m.checkIndex(r, project)
	r.read[project] = err == nil
	switch {
	case err == nil:
		r.checked["project:"+project] = true
	case servedOf(err) == servedNothing:
		r.uncheck("project %s is not shown to the monitor: %s", project, messageOf(err))
		f := m.finding(RuleProject, "project:"+project, project, "project %s is not shown to the monitor", project).with("answer", "%s", messageOf(err))
		f.Project = project
		m.doubt(r, f)
	default:
		r.failed("the index of project "+project+" could not be read", err)
	}
	return err == nil
}

// checkIndex holds the default index of a project against the log.
func (m *Monitor) checkIndex(r *round, project string) error {
	area := indexArea(project)
	etag := m.etags[project]
	if m.touched[project] || m.suspects(area) || m.Rand.IntN(everyNth) == 0 {
		etag = "" // the log has something new, or the index had
	}
	listed := map[int64]bool{} // leaves
	var wrong []*Finding       // told when the index was read: their evidence takes requests of its own
	charts := map[string]bool{}
	ctx, done := context.WithTimeout(r.ctx, archiveTime)
	defer done()
	now, changed, err := m.c.Index(ctx, project, false, etag, func(l client.Listed) error {
		r.report.Entries++
		if len(charts) < maxCharts {
			charts[l.Name] = true
		}
		if f := m.checkListed(r, project, &l, listed); f != nil && len(wrong) <= maxPerRule {
			wrong = append(wrong, f)
		}
		return nil
	})
	for _, f := range wrong {
		if m.st.Open[f.ID] == nil {
			m.prove(r, f, f.Index)
		}
		m.raise(r, f)
	}
	if err != nil {
		delete(m.etags, project)
		return err
	}
	if !changed {
		return nil
	}
	r.checked[area] = true
	m.etags[project], m.charts[project] = now, slices.Sorted(maps.Keys(charts))
	p, _ := m.log.replay.Project(project)
	if missing := p.Releases - p.Hidden - int64(len(listed)); missing > p.Unsigned {
		f := m.finding(RuleIndexMissing, area, project, "the index of project %s leaves out releases that have a leaf", project).
			with("releases in the log", "%d", p.Releases-p.Hidden).with("in the index", "%d", len(listed)).
			with("may wait for a provenance", "%d", p.Unsigned)
		f.Project = project
		m.doubt(r, f)
	}
	return nil
}

// suspects reports whether there is something open about an area.
func (m *Monitor) suspects(area string) bool {
	for _, o := range m.st.Open {
		if o.Area == area {
			return true
		}
	}
	for _, d := range m.st.Doubts {
		if d.Area == area {
			return true
		}
	}
	return false
}

// checkListed holds one entry of an index against the log. It returns what is
// proven to be wrong with it.
func (m *Monitor) checkListed(r *round, project string, l *client.Listed, listed map[int64]bool) *Finding {
	about := func(rule, format string) *Finding {
		f := m.finding(rule, indexArea(project), project+"/"+l.Name+"@"+l.Version+" "+l.Digest, format, client.Ref{Project: project, Chart: l.Name, Version: l.Version})
		f.Project, f.Chart, f.Version = project, l.Name, l.Version
		return f.with("digest in the index", "%.80s", l.Digest)
	}
	rel, ok := m.log.replay.Release(project, l.Name, l.Version)
	switch {
	case !ok:
		m.doubt(r, about(RuleIndexUnlogged, "the index lists %s, and no leaf made it"))
	case "sha256:"+l.Digest != rel.Archive:
		f := about(RuleIndexDigest, "the index lists %s with another digest than its leaf has").with("digest in the leaf", "%s", rel.Archive)
		f.Index = rel.Index
		return f
	case rel.Hidden():
		f := about(RuleIndexHidden, "the index lists %s, and a leaf says that it is "+stateOf(rel.Yanked, rel.Quarantined, rel.Tombstoned))
		f.Index, f.leaf = rel.Index, rel.Changed
		m.doubt(r, f)
	default:
		listed[rel.Index] = true
	}
	return nil
}

func stateOf(yanked, quarantined, tombstoned bool) string {
	switch {
	case tombstoned:
		return "under a tombstone"
	case quarantined:
		return "in quarantine"
	case yanked:
		return "yanked"
	}
	return "active"
}

// checkTags holds the tags of a project's charts against the log.
func (m *Monitor) checkTags(r *round, project string) {
	charts := slices.Clone(m.charts[project])
	m.Rand.Shuffle(len(charts), func(i, j int) { charts[i], charts[j] = charts[j], charts[i] })
	for i, name := range charts {
		if r.over(m) {
			r.uncheck("the tags of %d charts of project %s wait for the next round", len(charts)-i, project)
			return
		}
		if !chart.IsRepository(project + "/" + name) {
			continue // the index has told of it
		}
		if err := m.checkChart(r, project, name); err != nil {
			r.failed("the tags of "+project+"/"+name+" could not be read", err)
			if problem.KindOf(err) != problem.NotFound {
				return // so will the others be
			}
		}
	}
}

// checkChart holds the tags of a chart, and one manifest, against the log.
func (m *Monitor) checkChart(r *round, project, name string) error {
	area := "tags:" + project + "/" + name
	var visible []string
	for after, page := "", 0; page < maxTagPages; page++ {
		ctx, done := r.within()
		tags, err := m.c.Tags(ctx, project, name, after)
		done()
		if err != nil {
			return err
		}
		for _, tag := range tags {
			if r.report.Tags++; m.checkTag(r, area, project, name, tag) {
				visible = append(visible, tag)
			}
		}
		if len(tags) == 0 || r.over(m) {
			break
		}
		after = tags[len(tags)-1]
	}
	r.checked[area] = true
	if len(visible) == 0 {
		return nil
	}
	tag := visible[m.Rand.IntN(len(visible))]
	ctx, done := r.within()
	defer done()
	text, err := m.c.Manifest(ctx, project, name, tag)
	if err != nil {
		return err
	}
	version := chart.VersionForTag(tag)
	rel, _ := m.log.replay.Release(project, name, version)
	sum := sha512.Sum512(text)
	if rel.HasManifest(digest.SHA256(text)) || rel.HasManifest("sha512:"+hex.EncodeToString(sum[:])) {
		return nil
	}
	f := m.finding(RuleTagDigest, area, itoa(rel.Index), "the tag of %s stands on another manifest than its leaf says", client.Ref{Project: project, Chart: name, Version: version}).
		with("manifest", "%s", digest.SHA256(text))
	f.Index, f.Project, f.Chart, f.Version = rel.Index, project, name, version
	m.prove(r, f, rel.Index)
	m.raise(r, f)
	return nil
}

// checkTag holds a tag against the log. It reports whether it is that of a
// release which is there to be seen.
func (m *Monitor) checkTag(r *round, area, project, name, tag string) bool {
	version := chart.VersionForTag(tag)
	about := func(rule, format string) *Finding {
		f := m.finding(rule, area, project+"/"+name+":"+tag, format, project+"/"+name+":"+tag)
		f.Project, f.Chart, f.Version = project, name, version
		return f
	}
	rel, ok := m.log.replay.Release(project, name, version)
	if !ok {
		// Signatures and the like have tags too, which do not read as versions.
		if key, _ := chart.LenientVersion(version); key != "" {
			m.doubt(r, about(RuleTagUnlogged, "the tag %s is listed, and no leaf made its version"))
		}
		return false
	}
	if rel.Hidden() {
		f := about(RuleTagHidden, "the tag %s is listed, and a leaf says that its version is "+stateOf(rel.Yanked, rel.Quarantined, rel.Tombstoned))
		f.Index, f.leaf = rel.Index, rel.Changed
		m.doubt(r, f)
		return false
	}
	return true
}
