package cli

import (
	"encoding/json"
	"time"

	"github.com/chartkeep/chartkeep/client"
)

// protectResults has each kind of result of what needs a second person.
func protectResults() []result {
	later := noon.Add(24 * time.Hour)
	rel := client.Release{
		Project: "demo", Chart: "web", Version: "1.4.2", Tag: "1.4.2", File: "web-1.4.2.tgz", Digest: some, Size: 1234, ContentDigest: more, Manifest: more, Config: more,
		Publisher: "usr-1", PublisherName: "ann", Door: "oci", Time: noon, LogIndex: 8121, State: "quarantined",
		Quarantine: &client.Quarantine{Reason: "malware", Text: "opens a\x1b[2J shell", By: "usr-1", ByName: "ann", Time: noon, LogIndex: 8130, Lapses: later},
	}
	confirmed := rel
	confirmed.Version, confirmed.Quarantine = "1.4.1", &client.Quarantine{Reason: "legal", By: "usr-1", Time: noon, LogIndex: 8131, Confirmed: later, ConfirmedBy: "usr-2", ConfirmedByName: "bob"}
	gone := rel
	gone.Version, gone.State, gone.Quarantine = "1.4.0", "tombstoned", nil
	gone.Tombstone = &client.Tombstone{Reason: "secret", Text: "holds a key", Requester: "usr-1", RequesterName: "ann", Approver: "usr-2", ApproverName: "bob", Time: noon, LogIndex: 8140, Request: 3}
	waiting := client.Request{ID: 3, Kind: "tombstone", Project: "demo", Chart: "web", Version: "1.4.0", Digest: some, Reason: "secret", Text: "holds a key", Requester: "usr-1", RequesterName: "ann",
		Made: noon, Expires: later, State: "waiting"}
	approved := client.Request{ID: 4, Kind: "policy", Project: "demo", Before: some, After: more, Document: json.RawMessage(`{"require_provenance":false}`), Weaker: []string{"releases no longer wait for a provenance file"},
		Requester: "usr-1", Made: noon, Expires: later, State: "approved", Decider: "usr-2", DeciderName: "bob", Decided: noon, Effective: later, Answer: "the signer is gone"}
	done := waiting
	done.ID, done.State, done.Decider, done.Decided, done.Effective = 2, "done", "usr-2", noon, noon
	place := client.Place{Key: "prod/web/web", Cluster: "prod", Namespace: "web", Name: "web", Environment: "prod", Owner: "shop", Chart: "web", Version: "1.4.0", Confidence: "exact", How: "the digest is pinned", LastSeen: noon}
	part := client.Place{Key: "prod/shop/shop", Name: "shop", Chart: "umbrella", Version: "2.0.0", Dependency: true, Confidence: "weak", How: "it depends on web 1.4.0", LastSeen: noon}
	unknown := client.Place{Key: "lab/x", Name: "x", Chart: "web", Confidence: "unknown", How: "no exact version of web is known", LastSeen: noon}
	return []result{
		quarantineList{[]client.Release{rel, confirmed}},
		requestResult{approved}, requestList{[]client.Request{waiting, approved, done}},
		whereResult{client.Whereabouts{Digest: some, Releases: []client.Release{gone}, Running: []client.Place{place, part}, Unknown: []client.Place{unknown}}},
	}
}
