package upgrade_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/decision"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/upgrade"
)

// Without a store the same chain says the same, as far as that can be known.
func TestOffline(t *testing.T) {
	const records = `{"id":"TEST-1","aliases":["CVE-2026-10001"],"modified":"2026-02-01T00:00:00Z","published":"2026-02-01T00:00:00Z","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],"affected":[{"package":{"ecosystem":"Bitnami","name":"redis"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"6.2.16"}]}]}]}
{"id":"TEST-2","modified":"2026-02-01T00:00:00Z","affected":[{"package":{"ecosystem":"Bitnami","name":"redis"},"ranges":[{"type":"SEMVER","events":[{"introduced":"6.0.0"}]}]}]}`
	const unknown = "registry.example.test/team/tool:1"
	images := []string{"docker.io/library/redis:6.2.14", unknown, "docker.io/library/redis:6.2.14"}
	w := newWorld(t)
	w.feed("own", advisory.OSV, records)
	w.runs("prod/data/cache", "1.0.0", images)
	w.judge()
	want := w.assessment("prod/data/cache")

	s := advisory.NewSorter(advisory.DefaultLimits())
	w.ok(s.Add("records.json", strings.NewReader(records)))
	sorted, err := s.Packs()
	w.ok(err)
	db, _ := advisory.NewDatabase(advisory.Curated(), sorted.Packs...)
	offline := upgrade.NewOffline(db, decision.Default())
	d := deployment.Deployment{Key: "prod/data/cache", Name: "cache", Chart: deployment.Chart{Name: "cache", Version: "1.0.0"}, Images: images}
	got := offline.Assess(d, w.now)
	if !reflect.DeepEqual(got, offline.Assess(d, w.now)) {
		t.Error("the same twice differs")
	}
	for _, a := range []upgrade.Assessment{got, want} {
		if keys := keys(a.Findings, upgrade.OfAdvisory); keys != "CVE-2026-10001 in Bitnami/redis, TEST-2 in Bitnami/redis" && keys != "TEST-2 in Bitnami/redis, CVE-2026-10001 in Bitnami/redis" {
			t.Errorf("open: %s", keys)
		}
		if len(a.Unknown) != 1 || a.Unknown[0].Image != unknown || a.NotJudged != "" || a.Deadline.IsZero() {
			t.Errorf("unknown %v, not judged %q, deadline %v", a.Unknown, a.NotJudged, a.Deadline)
		}
	}
	if got.Images != 2 {
		t.Errorf("%d images", got.Images)
	}
	// The clock runs from the publication: nobody knows when the fix was there.
	for _, f := range got.Findings {
		if start := f.Decision.Start; f.Advisory == "TEST-1" && !start.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("the clock of %s starts at %v", f.Key, start)
		}
	}
	d.Images, d.Unresolved = nil, []string{"its chart cannot be had"}
	if none := offline.Assess(d, w.now); none.NotJudged != "its images are not known; its chart cannot be had" || len(none.Doubts) == 0 {
		t.Errorf("without images: %+v", none)
	}
}
