package deployment

import (
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// Versions are the published versions of the chart that a deployment was matched
// with, the newest first, stable ones before pre-releases; none where it cannot
// be told whose chart it is. Bytes that were replaced are among them, marked
// Earlier. Cost: the versions of charts of that name.
func (c *Catalogue) Versions(d *Deployment) []Published {
	m := d.Match
	m.Differs = false // other bytes run than were published; the versions are the same
	line, _ := c.line(d, &m)
	if line == nil {
		return nil
	}
	origin := line[0].origin()
	var out []Published
	for _, i := range c.charts[d.Chart.Name] {
		if p := c.list[i]; p.origin() == origin {
			out = append(out, p)
		}
	}
	type order struct {
		pre bool
		key string
	}
	orders := make(map[string]order, len(out))
	for i := range out {
		key, sortKey := chart.LenientVersion(out[i].Version)
		orders[out[i].Version] = order{key == "" || strings.Contains(key, "-"), sortKey}
	}
	slices.SortStableFunc(out, func(a, b Published) int {
		x, y := orders[a.Version], orders[b.Version]
		if x.pre != y.pre {
			if x.pre {
				return 1
			}
			return -1
		}
		return strings.Compare(y.key, x.key)
	})
	return out
}
