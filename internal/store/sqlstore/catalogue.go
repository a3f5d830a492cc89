package sqlstore

import (
	"context"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/release"
)

// OwnPublished implements watch.Upstreams. Cost: a scan of all releases and of
// all fingerprints; at a million releases some seconds and 300 MB, so callers
// keep what it returns.
func (s *Store) OwnPublished(ctx context.Context) ([]deployment.Published, error) {
	prints := map[[3]string]string{}
	err := s.query(ctx, "SELECT fingerprint, project, chart, version FROM fingerprint", func(r scanner) error {
		var print string
		var key [3]string
		err := r.Scan(&print, &key[0], &key[1], &key[2])
		prints[key] = print
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []deployment.Published
	err = s.query(ctx, "SELECT p.name, r.chart, r.version, r.archive, r.time, r.state FROM release r JOIN project p ON p.id = r.project WHERE r.state <> 'staged'", func(r scanner) error {
		var p deployment.Published
		var at int64
		var state string
		if err := r.Scan(&p.Project, &p.Chart, &p.Version, &p.Archive, &at, &state); err != nil {
			return err
		}
		p.FirstSeen, p.Created = fromMillis(at), fromMillis(at)
		p.Fingerprint = prints[[3]string{p.Project, p.Chart, p.Version}]
		p.Gone = state == string(release.Yanked) || release.State(state).Withheld()
		out = append(out, p)
		return nil
	})
	return out, err
}
