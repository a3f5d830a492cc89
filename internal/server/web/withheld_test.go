package web

import (
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/release"
)

// TestWithheldPages opens the page of a release that nobody gets: it says so
// above all else, offers none of its bytes, and is listed with its state.
func TestWithheldPages(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*release.Release)
		want []string
	}{
		"quarantine": {func(r *release.Release) {
			r.State = release.Quarantined
			r.Quarantine = &release.QuarantineNote{Reason: "malware", Text: "opens a <b>shell</b>", By: "usr-1", ByName: "ann", Time: r.Time.Add(time.Hour), LogIndex: 3, Lapses: r.Time.Add(25 * time.Hour)}
		}, []string{"In quarantine: it does what nobody who installs it wants", "opens a &lt;b&gt;shell", "No second person has confirmed it", "chartkeep where sha256:"}},
		"confirmed": {func(r *release.Release) {
			r.State = release.Quarantined
			r.Quarantine = &release.QuarantineNote{Reason: "legal", By: "usr-1", Time: r.Time, LogIndex: 3, Confirmed: r.Time, ConfirmedBy: "usr-2", ConfirmedByName: "bob"}
		}, []string{"it may not be distributed", "Confirmed by <code>bob</code>"}},
		"tombstone": {func(r *release.Release) {
			r.State = release.Tombstoned
			r.Tombstone = &release.TombstoneNote{Reason: "secret", Requester: "usr-1", RequesterName: "ann", Approver: "usr-2", ApproverName: "bob", Time: r.Time, LogIndex: 3}
		}, []string{"Gone for good: it holds a password", "Asked for by <code>ann</code>, approved by <code>bob</code>", "Its name stays taken"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSample(t)
			tt.set(&f.find("platform", "web", "1.4.2").Release)
			w := get(t, f, maintainer, "/ui/projects/platform/charts/web/1.4.2")
			page := w.Body.String()
			checkPage(t, parseHTML(t, page))
			for _, want := range tt.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			for _, not := range []string{`href="https://keep.example/platform/charts/web-1.4.2.tgz"`, "helm upgrade --install", "?files", "Released</span>", ">Yank<"} {
				if strings.Contains(page, not) {
					t.Errorf("the page has %q", not)
				}
			}
			if list := get(t, f, maintainer, "/ui/projects/platform/charts/web").Body.String(); !strings.Contains(list, name[:4]) && name != "confirmed" {
				t.Error("the list of releases does not say its state")
			}
		})
	}
}
