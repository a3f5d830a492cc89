package index

import (
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
)

// Fragment encodes a release's entry: the members of its Chart.yaml, then
// urls, created and digest, as Helm's ChartVersion has them. Every value is
// escaped anew, so that whatever a chart contains, the fragment is JSON that
// is YAML too.
//
// urls are relative to the index or absolute; digest is the archive's SHA-256
// in bare hexadecimal.
func Fragment(m chart.Metadata, urls []string, created time.Time, digest string) []byte {
	b := m.AppendFields([]byte{'{'})
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, `"urls":[`...)
	for i, u := range urls {
		if i > 0 {
			b = append(b, ',')
		}
		b = chart.AppendString(b, u)
	}
	b = append(b, `],"created":`...)
	b = chart.AppendString(b, created.UTC().Format(time.RFC3339Nano))
	b = append(b, `,"digest":`...)
	b = chart.AppendString(b, digest)
	return append(b, '}')
}
