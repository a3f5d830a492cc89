package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/release"
)

var (
	sampleFinding = release.Finding{Key: "bytes sha256:aa", Kind: release.BytesChanged, Project: "team-a/web", Chart: "nginx", Version: "1.2.3", LogIndex: 7,
		Logged: "sha256:aa", Found: "sha256:bb", Message: "the stored archive of team-a/web/nginx@1.2.3 is not the one in the log", Try: "bring it back", First: noon, Last: noon}
	sampleCounts = release.ScrubCounts{Leaves: 9, Releases: 2, Blobs: 2, Bytes: 2000, Events: 5, Findings: 1}
	sampleScrub  = release.ScrubView{
		ScrubState: release.ScrubState{Due: noon, Running: true, Started: noon, Next: 256, Size: 900, Done: sampleCounts, Work: time.Minute,
			Last: &release.ScrubReport{Started: noon, Ended: noon, Duration: time.Hour, LogSize: 800, LogRoot: "cm9vdA==", Counts: sampleCounts}},
		Open: []release.Finding{sampleFinding},
	}
	sampleRefused = release.RefusedCopy{Digest: digest.SHA256([]byte("offered")), Project: "team-a/web", Chart: "nginx", Version: "1.2.3", Size: 7, Door: "oci", Actor: "usr-9", By: "mallory",
		First: noon, Last: noon, Times: 3, Expires: noon}
)

func (f *fake) ScrubStatus(_ context.Context, c release.Caller) (release.ScrubView, error) {
	return sampleScrub, f.note(c, "ScrubStatus")
}

func (f *fake) StartScrub(_ context.Context, c release.Caller) (release.ScrubView, error) {
	return sampleScrub, f.note(c, "StartScrub")
}

func (f *fake) AuditLog(_ context.Context, c release.Caller) (release.AuditLogInfo, error) {
	return release.AuditLogInfo{Origin: "log/audit", Size: 3, Root: "cm9vdA==", Checkpoint: "log/audit\n3\n"}, f.note(c, "AuditLog")
}

func (f *fake) AuditEntries(_ context.Context, c release.Caller, from int64, limit int) ([]release.AuditEntry, error) {
	return []release.AuditEntry{{Index: from, Leaf: "{}", IP: "192.0.2.1", UserAgent: "helm", Salt: []byte("salt")}, {Index: from + 1, Leaf: "{}", Missing: true}}, f.note(c, "AuditEntries %d %d", from, limit)
}

func (f *fake) ExportAudit(_ context.Context, c release.Caller, format string, x release.AuditFilter) ([]byte, int64, error) {
	return []byte("{\"index\":7}\n"), 8, f.note(c, "ExportAudit %s %s from %d", format, filterText(x), x.From)
}

func (f *fake) RefusedCopies(_ context.Context, c release.Caller, project string, limit int) ([]release.RefusedCopy, error) {
	return []release.RefusedCopy{sampleRefused}, f.note(c, "RefusedCopies %q %d", project, limit)
}

func (f *fake) OpenRefused(_ context.Context, c release.Caller, project, d string) (release.RefusedCopy, io.ReadCloser, error) {
	return sampleRefused, io.NopCloser(strings.NewReader("offered")), f.note(c, "OpenRefused %s %s", project, d)
}

// filterText is what a filter asks for: the first fields always, the others
// where they are set.
func filterText(f release.AuditFilter) string {
	s := fmt.Sprintf("{Project:%s Chart:%s Version:%s Action:%s Actor:%s Outcome:%s Before:%d Limit:%d}", f.Project, f.Chart, f.Version, f.Action, f.Actor, f.Outcome, f.Before, f.Limit)
	if f.Rule != "" || f.Source != "" || !f.Since.IsZero() || !f.Until.IsZero() {
		s += fmt.Sprintf(" rule %s source %s since %s until %s", f.Rule, f.Source, f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	return s
}

const span = " rule overwrite source 192.0.2.9 since 2026-01-02T03:04:05Z until 2026-02-03T04:05:06Z"

// integrityRequests are those of the scrub and of the audit log as a log.
var integrityRequests = []request{
	{"scrub", "GET", "/scrub", "", "", 200, "ScrubStatus"},
	{"scrub run", "POST", "/scrub", "", "", 202, "StartScrub"},
	{"audit log", "GET", "/audit/log", "", "", 200, "AuditLog"},
	{"audit entries", "GET", "/audit/log/entries?from=256&limit=2", "", "", 200, "AuditEntries 256 2"},
	{"audit export", "GET", "/audit/export?from=7&rule=overwrite&source=192.0.2.9&since=2026-01-02T03:04:05Z&until=2026-02-03T04:05:06Z", "", "", 200,
		"ExportAudit jsonl {Project: Chart: Version: Action: Actor: Outcome: Before:0 Limit:0}" + span + " from 7"},
	{"audit export cloudevents", "GET", "/audit/export?format=cloudevents&project=a&event=release.", "", "", 200,
		"ExportAudit cloudevents {Project:a Chart: Version: Action:release. Actor: Outcome: Before:0 Limit:0} from 0"},
	{"audit since no time", "GET", "/audit?since=yesterday", "", "", 400, ""},
	{"refused", "GET", "/audit/refused?project=team-a/web&limit=3", "", "", 200, `RefusedCopies "team-a/web" 3`},
	{"refused copy", "GET", "/projects/team-a/web/-/refused/" + sampleRefused.Digest, "", "", 200, "OpenRefused team-a/web " + sampleRefused.Digest},
}

// TestRoundTripOfIntegrity is TestRoundTrip for these.
func TestRoundTripOfIntegrity(t *testing.T) {
	roundTrip(t, map[string]func(context.Context, *client.Client) result{
		"Scrub": func(ctx context.Context, c *client.Client) result {
			v, err := c.Scrub(ctx)
			return result{v, err, "ScrubStatus", "GET /scrub"}
		},
		"StartScrub": func(ctx context.Context, c *client.Client) result {
			v, err := c.StartScrub(ctx)
			return result{v, err, "StartScrub", "POST /scrub"}
		},
		"AuditFiltered": func(ctx context.Context, c *client.Client) result {
			f := client.AuditFilter{Rule: "overwrite", Source: "192.0.2.9", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Until: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
			v, err := c.Audit(ctx, f, client.Page{Limit: 5})
			return result{v, err, "Audit {Project: Chart: Version: Action: Actor: Outcome: Before:0 Limit:5}" + span, "GET /audit"}
		},
		"RefusedCopies": func(ctx context.Context, c *client.Client) result {
			v, err := c.RefusedCopies(ctx, "team-a/web", 3)
			return result{map[string]any{"items": v}, err, `RefusedCopies "team-a/web" 3`, "GET /audit/refused"}
		},
		"Refused": func(ctx context.Context, c *client.Client) result {
			v, err := c.Refused(ctx, "team-a/web", sampleRefused.Digest)
			if err == nil && string(v) != "offered" {
				t.Errorf("copy %q", v)
			}
			return result{v, err, "OpenRefused team-a/web " + sampleRefused.Digest, ""}
		},
		"ExportAudit": func(ctx context.Context, c *client.Client) result {
			var b bytes.Buffer
			next, err := c.ExportAudit(ctx, client.AuditExport{Format: "jsonl", From: 7}, &b)
			if err == nil && (next != 8 || b.String() != "{\"index\":7}\n") {
				t.Errorf("next %d, lines %q", next, &b)
			}
			return result{nil, err, "ExportAudit jsonl {Project: Chart: Version: Action: Actor: Outcome: Before:0 Limit:0} from 7", ""}
		},
	})
}
