package client

import (
	"io"
	"net/http"
	"testing"

	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// An archive is what the server names, and what was asked for.
func TestUpstreamArchive(t *testing.T) {
	const archive = "some bytes"
	is, other := digest.SHA256([]byte(archive)), digest.SHA256([]byte("other bytes"))
	for _, tt := range []struct {
		name, which, named, sent string
		limit                    int64
		kind                     problem.Kind // "" where the archive is returned
	}{
		{name: "as named", which: "before", named: is, sent: archive, limit: 100},
		{name: "as asked for", which: is, named: is, sent: archive, limit: 100},
		{name: "other bytes", which: "now", named: is, sent: "other bytes", limit: 100, kind: problem.Disproven},
		{name: "another one, named so", which: is, named: other, sent: "other bytes", limit: 100, kind: problem.Disproven},
		{name: "not named", which: "now", sent: archive, limit: 100, kind: problem.Disproven},
		{name: "cut", which: "now", named: is, sent: archive[:4], limit: 100, kind: problem.Disproven},
		{name: "too large", which: "now", named: is, sent: archive, limit: 9, kind: problem.TooLarge},
	} {
		c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); r.URL.Path != "/base/api/v1/upstreams/up/archive" || q.Get("chart") != "web" || q.Get("version") != "1.0.0" || q.Get("which") != tt.which {
				t.Errorf("%s: asked for %s", tt.name, r.URL)
			}
			w.Header().Set("Chartkeep-Archive", tt.named)
			_, _ = io.WriteString(w, tt.sent)
		})
		b, name, err := c.UpstreamArchive(t.Context(), "up", "web", "1.0.0", tt.which, tt.limit)
		if tt.kind != "" {
			if problem.KindOf(err) != tt.kind || b != nil {
				t.Errorf("%s: %q, %v, want %v", tt.name, b, err, tt.kind)
			}
			continue
		}
		if err != nil || string(b) != archive || name != is {
			t.Errorf("%s: %q named %s, %v", tt.name, b, name, err)
		}
	}
}
