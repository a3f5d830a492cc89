package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/index"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

// selectRelease reads a release with its project's name and the names of the
// accounts; a condition on r follows.
var selectRelease = "SELECT r.id, r.project, p.name, r.chart, r.version, r.version_key, r.sort_key, r.tag, r.file, r.archive, r.size, r.content, " +
	"r.manifest, r.config, r.publisher, " + holder("a", "pt") + ", r.door, r.time, r.legacy, r.state, r.provenance, " +
	"r.yank_reason, r.yank_text, r.yank_by, " + holder("y", "yt") + ", r.yank_time, r.yank_index, " + withheldColumns +
	"FROM release r JOIN project p ON p.id = r.project LEFT JOIN account a ON a.id = r.publisher LEFT JOIN token pt ON pt.id = r.publisher " +
	"LEFT JOIN account y ON y.id = r.yank_by LEFT JOIN token yt ON yt.id = r.yank_by " + withheldJoins + "WHERE "

// holder names who acted: an account, or a token that stands for nobody, which
// must not look like an account of its name, or a pipeline (see AddPublisher).
func holder(account, token string) string {
	return "COALESCE(" + account + ".name, CASE WHEN " + token + ".id LIKE 'pub-%' THEN 'pipeline ' ELSE 'token ' END || COALESCE(NULLIF(" + token + ".name, ''), " + token + ".id), '')"
}

func scanRelease(row scanner) (release.Release, error) {
	var r release.Release
	var key sql.NullString
	var state string
	var legacy, at, yankedAt int64
	var y release.YankNote
	var w withheldRow
	err := row.Scan(append([]any{&r.ID, &r.ProjectID, &r.Project, &r.Chart, &r.Version, &key, &r.SortKey, &r.Tag, &r.File, &r.Archive, &r.Size, &r.Content,
		&r.Manifest, &r.Config, &r.Publisher, &r.By, &r.Door, &at, &legacy, &state, &r.Provenance,
		&y.Reason, &y.Text, &y.By, &y.ByName, &yankedAt, &y.LogIndex}, w.into()...)...)
	if err != nil {
		return r, err
	}
	r.LogIndex = r.ID
	r.Key, r.State, r.Legacy, r.Time = key.String, release.State(state), legacy != 0, fromMillis(at)
	if yankedAt != 0 {
		y.Time = fromMillis(yankedAt)
		r.Yank = &y
	}
	w.note(&r)
	return r, nil
}

func (s *Store) releaseWhere(ctx context.Context, what, where string, args ...any) (release.Release, error) {
	r, err := scanRelease(s.queryRow(ctx, selectRelease+where, args...))
	if notFound(err) {
		return r, problem.New(problem.NotFound, "release", "there is no release %s", what)
	}
	return r, fault("read release", err)
}

// ReleaseByVersion implements release.Projects. One look-up by unique key:
// the file name follows from chart and version.
func (s *Store) ReleaseByVersion(ctx context.Context, projectID int64, name, version string) (release.Release, error) {
	r, err := s.ReleaseByFile(ctx, projectID, chart.FileName(name, version))
	if err == nil && (r.Chart != name || r.Version != version) {
		return release.Release{}, problem.New(problem.NotFound, "release", "there is no release %s %s", name, version)
	}
	return r, err
}

// ReleaseByFile implements release.Projects. One look-up by unique key.
func (s *Store) ReleaseByFile(ctx context.Context, projectID int64, file string) (release.Release, error) {
	return s.memos.releases.get(memoFile{projectID, file}, func() (release.Release, error) {
		return s.releaseWhere(ctx, file, "r.project = ? AND r.file = ?", projectID, file)
	})
}

// ReleaseByKey implements release.Projects. One look-up by unique key.
func (s *Store) ReleaseByKey(ctx context.Context, projectID int64, name, key string) (release.Release, error) {
	return s.releaseWhere(ctx, name+" "+key, "r.project = ? AND r.chart = ? AND r.version_key = ?", projectID, name, key)
}

// Releases implements release.Projects. Cost: one range scan over the chart's
// releases in index order.
func (s *Store) Releases(ctx context.Context, projectID int64, name string) ([]release.Release, error) {
	var out []release.Release
	err := s.query(ctx, selectRelease+"r.project = ? AND r.chart = ? ORDER BY r.sort_key DESC, r.id", func(row scanner) error {
		r, err := scanRelease(row)
		out = append(out, r)
		return err
	}, projectID, name)
	return out, err
}

// ReleasesAfter implements release.Projects. Cost: limit rows of the primary
// key, which is the log index.
func (s *Store) ReleasesAfter(ctx context.Context, logIndex int64, limit int) ([]release.Release, error) {
	var out []release.Release
	err := s.query(ctx, selectRelease+"r.id > ? ORDER BY r.id LIMIT ?", func(row scanner) error {
		r, err := scanRelease(row)
		out = append(out, r)
		return err
	}, logIndex, limit)
	return out, err
}

// Charts implements release.Projects. What is staged does not count, nor does
// a chart that has nothing else. Cost: a scan of the index entries of limit
// charts, and for each chart its newest releases until one that is not yanked.
func (s *Store) Charts(ctx context.Context, projectID int64, after string, limit int) ([]release.ChartSummary, error) {
	var out []release.ChartSummary
	// Ids ascend with time, so the greatest is that of the last release.
	err := s.query(ctx, "SELECT c.chart, c.n, r.time FROM (SELECT chart, COUNT(*) AS n, MAX(id) AS last FROM release "+
		"WHERE project = ? AND chart > ? AND state <> 'staged' GROUP BY chart ORDER BY chart LIMIT ?) c JOIN release r ON r.id = c.last ORDER BY c.chart",
		func(row scanner) error {
			var c release.ChartSummary
			var at int64
			if err := row.Scan(&c.Name, &c.Releases, &at); err != nil {
				return err
			}
			c.Updated = fromMillis(at)
			out = append(out, c)
			return nil
		}, projectID, after, limit)
	if err != nil {
		return nil, err
	}
	for i := range out {
		c := &out[i]
		list, err := s.newest(ctx, projectID, c.Name)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			continue
		}
		c.Latest = list[0]
		if c.Description, err = s.description(ctx, c.Latest.Config); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// newest returns the newest visible release that is no pre-release, else the
// newest visible one. Cost: the releases of the chart before it; a few rows in
// practice.
func (s *Store) newest(ctx context.Context, projectID int64, name string) ([]release.Release, error) {
	var first, found []release.Release
	err := s.query(ctx, selectRelease+"r.project = ? AND r.chart = ? AND r.state = 'active' ORDER BY r.sort_key DESC, r.id", func(row scanner) error {
		r, err := scanRelease(row)
		if err != nil {
			return err
		}
		if first == nil {
			first = []release.Release{r}
		}
		if v, err := chart.ParseVersion(r.Version); err == nil && !v.Prerelease() {
			found = []release.Release{r}
			return errEnough
		}
		return nil
	}, projectID, name)
	if err != nil && err != errEnough {
		return nil, err
	}
	if found != nil {
		return found, nil
	}
	return first, nil
}

// errEnough ends a query early.
var errEnough = problem.New(problem.Internal, "", "enough rows")

func (s *Store) description(ctx context.Context, config string) (string, error) {
	b, err := s.SmallBlob(ctx, config)
	if err != nil {
		return "", err
	}
	var m struct {
		Description string `json:"description"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return "", nil // a client's own config; its description is not worth an error
	}
	return m.Description, nil
}

// Counts implements release.Projects. What is staged does not count. Cost: a
// scan of the project's index entries; a second at a million releases.
func (s *Store) Counts(ctx context.Context, projectID int64) (charts, releases int, err error) {
	err = s.queryRow(ctx, "SELECT COUNT(DISTINCT chart), COUNT(*) FROM release WHERE project = ? AND state <> 'staged'", projectID).Scan(&charts, &releases)
	return charts, releases, fault("count releases", err)
}

// IndexSource implements release.Projects.
func (s *Store) IndexSource(projectID int64, all bool) index.Source {
	states := " AND state = 'active'"
	if all {
		states = " AND state IN ('active', 'yanked')"
	}
	return fragments{s, projectID, states}
}

type fragments struct {
	store   *Store
	project int64
	states  string
}

// Range implements index.Source. Cost: one range scan in index order, by the
// index release_order, with one row read for each entry.
func (f fragments) Range(ctx context.Context, from, to index.Key, fn func(index.Key, []byte) error) error {
	// Two halves of a lexicographic order in which the second column
	// descends: the rest of the first chart, then the charts after it. The
	// end is checked here, where it needs no third query.
	query := "SELECT chart, sort_key, fragment FROM release WHERE project = ?" + f.states
	each := func(row scanner) error {
		var k index.Key
		var fragment []byte
		if err := row.Scan(&k.Chart, &k.Sort, &fragment); err != nil {
			return err
		}
		if to != (index.Key{}) && k.Compare(to) >= 0 {
			return errEnough
		}
		return fn(k, fragment)
	}
	const order = " ORDER BY chart, sort_key DESC, id"
	var err error
	if from != (index.Key{}) {
		err = f.store.query(ctx, query+" AND chart = ? AND sort_key <= ?"+order, each, f.project, from.Chart, from.Sort)
	}
	if err == nil {
		if to != (index.Key{}) {
			err = f.store.query(ctx, query+" AND chart > ? AND chart <= ?"+order, each, f.project, from.Chart, to.Chart)
		} else {
			err = f.store.query(ctx, query+" AND chart > ?"+order, each, f.project, from.Chart)
		}
	}
	if err == errEnough {
		return nil
	}
	return err
}

// Since implements index.Source. Cost: the changes between the generations.
func (f fragments) Since(ctx context.Context, gen, upto int64, fn func(index.Key) error) error {
	return f.store.query(ctx, "SELECT chart, sort_key FROM release WHERE project = ? AND generation > ? AND generation <= ?", func(row scanner) error {
		var k index.Key
		if err := row.Scan(&k.Chart, &k.Sort); err != nil {
			return err
		}
		return fn(k)
	}, f.project, gen, upto)
}
