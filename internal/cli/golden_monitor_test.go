package cli

import (
	"github.com/chartkeep/chartkeep/internal/monitor"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// monitorResults is what a look at two logs may come to.
func monitorResults() []result {
	found := []monitor.Finding{
		{ID: "0123456789abcdef", Rule: "release-second", Severity: monitor.Critical, Proven: true, Log: "log.example.test", Server: "https://charts.example.test",
			Project: "team-a/demo", Chart: "web", Version: "1.4.2", Index: 8123, Message: "web 1.4.2 was released before",
			Facts:    []problem.Fact{{Label: "digest", Value: more}, {Label: "digest before it", Value: some}, {Label: "other leaf", Value: "8121"}},
			Question: "did the server's own program write this leaf?", First: noon, Evidence: "/state/evidence/chartkeep-evidence-0123.json", Standing: true},
		{ID: "fedcba9876543210", Rule: "index-unlogged", Severity: monitor.Critical, Log: "log.example.test", Server: "https://charts.example.test",
			Project: "demo", Chart: "we\x1b[2Jb", Version: "6.6.6", Index: -1, Message: "the index lists demo/we\x1b[2Jb@6.6.6, and no leaf made it", First: noon},
		{ID: "00112233aabbccdd", Rule: "release-unannounced", Severity: monitor.High, Log: "log.example.test", Server: "https://charts.example.test",
			Project: "demo", Chart: "db", Version: "2.0.0", Index: 8122, Message: "nobody announced the release demo/db@2.0.0", First: noon, Standing: true, Accepted: true},
	}
	return []result{monitored{"fail", []monitor.Report{
		{Log: "log.example.test", Server: "https://charts.example.test", Time: noon, Size: 9000, Root: "RQ==", LogTime: noon, Cosigned: []string{"w1", "w2"}, Releases: 8000, Good: noon,
			Leaves: 12, Archives: 10, Bytes: 123456, Entries: 700, Tags: 70, Unchecked: []string{}, Findings: found, Disproven: true},
		{Log: "other.example.test", Server: "https://other.example.test", Time: noon, Root: "RQ==", Waiting: 3, Backlog: 4, Cosigned: []string{},
			Unchecked: []string{"the checkpoint could not be fetched: the server cannot be reached"}, Findings: []monitor.Finding{}},
	}}}
}
