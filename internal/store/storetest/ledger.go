package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// LedgerStore is the port of package release, with what the owner of a store
// needs beside it.
type LedgerStore interface {
	release.Store
	Relay(ctx context.Context, limit int, fn func([]release.AuditRecord) error) (int, error)
	Close() error
}

// Origin names the log of every store under test.
const Origin = "log.example.test/suite"

// LogKeys are the keys of the logs of every store under test.
type LogKeys struct {
	Signer, AuditSigner note.Signer
	VerifierKey         string
	AuditVerifierKey    string
}

// Keys returns the same keys in every run.
func Keys(t testing.TB) LogKeys {
	t.Helper()
	pair := func(seed byte, name string) (note.Signer, string) {
		skey, vkey, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := tlog.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		return s, vkey
	}
	var k LogKeys
	k.Signer, k.VerifierKey = pair(1, Origin)
	k.AuditSigner, k.AuditVerifierKey = pair(2, Origin+"/audit")
	return k
}

// OpenLedger opens the database of one test, with a clock (nil is time.Now).
type OpenLedger func(t *testing.T, now func() time.Time) LedgerStore

// Ledger is the suite that every implementation of release.Store passes. place
// makes a new, empty database and returns how to open it: again after a Close,
// as a restarted process does.
func Ledger(t *testing.T, place func(t *testing.T) OpenLedger) {
	for _, part := range []struct {
		name string
		test func(l *ledger)
	}{
		{"claim", claimNew},
		{"claim again", claimUnchanged},
		{"claim again under another manifest", claimRepackaged},
		{"claim other bytes", claimOverwrite},
		{"claim build metadata", claimBuildMetadata},
		{"claim a file name", claimFileName},
		{"claim history", claimHistory},
		{"claim in a project that changed", claimState},
		{"claim what must be held", claimMustBeHeld},
		{"claim with provenance", claimProvenance},
		{"claim random versions", claimOrder},
		{"proofs across tiles", logTiles},
		{"proofs of a batch", logBatch},
		{"log ranges", logRanges},
		{"cosigned checkpoints", cosignedCheckpoints},
		{"states of witnesses", witnessStates},
		{"one process asks the witnesses", witnessLeases},
		{"log time never runs backwards", logTime},
		{"attach once", attachOnce},
		{"attach to a staged release", attachStaged},
		{"signed claims", signedClaims},
		{"bundles complete a release", signedBundles},
		{"two bundles at once", bundleRace},
		{"judged by another policy", oldJudgements},
		{"policies by digest", policyDocuments},
		{"yank and unyank", yankAndBack},
		{"yank refusals", yankRefusals},
		{"quarantine and back", quarantineAndBack},
		{"quarantine falls due", quarantineDue},
		{"tombstones", tombstones},
		{"erasures", erasures},
		{"policies that need a second person", policyRequests},
		{"one decides", decideRace},
		{"manifests and tags", manifestTags},
		{"manifests by digest", manifestDigests},
		{"manifest deletes", manifestDeletes},
		{"tags page in byte order", tagPages},
		{"referrers", referrers},
		{"links and small blobs", links},
		{"catalogue", catalogue},
		{"projects", projectLife},
		{"projects contain no projects", projectPrefixes},
		{"project changes", projectChanges},
		{"accounts", accounts},
		{"grants", grants},
		{"tokens", tokens},
		{"token use", tokenUse},
		{"holders", holders},
		{"prove events", proveEvents},
		{"publishers", publishers},
		{"exchange of identity tokens", exchanges},
		{"exchanges forget what has ended", exchangesForget},
		{"one identity token, 16 requests", exchangeRace},
		{"sign-in through a provider", signIns},
		{"audit filters", auditFilters},
		{"audit keeps what was refused", auditRefused},
		{"outbox", outbox},
		{"index against a model", indexModel},
		{"index after each change", indexGenerations},
		{"charts", chartSummaries},
		{"one failing operation harms no other", failingOperation},
		{"cancelled contexts", cancelledContexts},
		{"reopen", reopen},
		{"close while writing", closeWhileWriting},
		{"64 writers, one version", func(l *ledger) { l.ok(Race(l.Context(), l.project, 5, 64, l.LedgerStore)) }},
		{"everything at once", everythingAtOnce},
	} {
		t.Run(part.name, func(t *testing.T) {
			open := place(t)
			l := &ledger{T: t, LedgerStore: open(t, nil), open: open}
			t.Cleanup(func() { l.Close() })
			l.project = l.create("demo")
			part.test(l)
			l.checkLog()
		})
	}
}

// ledger is a store with the test it serves and a project to begin with.
type ledger struct {
	*testing.T
	LedgerStore
	open        OpenLedger
	project     release.Project
	checkpoints []tlog.Checkpoint // seen in proofs, in the order of their sizes
}

func (l *ledger) ok(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// refused checks that err is a problem of a kind and rule.
func (l *ledger) refused(err error, kind problem.Kind, rule string) *problem.Error {
	l.Helper()
	p, isProblem := problem.As(err)
	if !isProblem || p.Kind != kind || p.Rule != rule {
		l.Fatalf("got error %v, want a problem of kind %s, rule %q", err, kind, rule)
	}
	return p
}

// start is the time of callers that have no clock.
var start = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// by is an event of an account, as the use cases begin it.
func by(account string) audit.Event {
	return audit.Event{
		Time:   start,
		Actor:  audit.Actor{Kind: access.KindUser, ID: account},
		Source: audit.Source{IP: "192.0.2.7", UserAgent: "suite/1"},
		Door:   audit.DoorAPI,
	}
}

func named(name audit.Name) audit.Event {
	ev := by("usr-suite")
	ev.Name = name
	return ev
}

func (l *ledger) create(name string, with ...func(*release.Project)) release.Project {
	l.Helper()
	p := release.Project{Name: name, Kind: release.KindCharts, State: release.ProjectActive, CreatedBy: "usr-suite"}
	for _, f := range with {
		f(&p)
	}
	p.PolicyDigest = release.PolicyDigest(p.Policy)
	p, err := l.CreateProject(l.Context(), p, by("usr-suite"), start)
	l.ok(err)
	return p
}

func importing(p *release.Project) { p.State = release.ProjectImporting }
func artifacts(p *release.Project) { p.Kind = release.KindArtifacts }
func staging(p *release.Project)   { p.Policy.RequireProvenance = true }

// offer is a claim of a chart whose archive is content.
func offer(p release.Project, name, version, content string) *release.Claim {
	r := release.Release{
		ProjectID: p.ID, Project: p.Name, Chart: name, Version: version, Tag: chart.TagFor(version), File: chart.FileName(name, version),
		Archive: sha256Of([]byte(content)), Size: int64(len(content)), Content: sha256Of([]byte("content of " + content)),
		Publisher: "usr-suite", Door: string(audit.DoorAPI),
	}
	if v, err := chart.ParseVersion(version); err == nil {
		r.Key, r.SortKey = v.Key(), v.SortKey()
	} else {
		r.Key, r.SortKey = chart.LenientVersion(version)
	}
	config := fmt.Appendf(nil, `{"name":%q,"version":%q,"description":"Description of %s"}`, name, version, version)
	r.Config = sha256Of(config)
	body := fmt.Appendf(nil, `{"config":%q,"layers":[%q]}`, r.Config, r.Archive)
	r.Manifest = sha256Of(body)
	return &release.Claim{
		Release: r,
		Manifest: release.Manifest{
			Repository: r.Repository(), Digest: r.Manifest, MediaType: "application/vnd.oci.image.manifest.v1+json",
			ArtifactType: "application/vnd.cncf.helm.config.v1+json", Annotations: []byte(`{"a":"b"}`), Bytes: body,
		},
		Config: config,
		Links:  []release.Link{{Digest: r.Config, Size: int64(len(config))}, {Digest: r.Archive, Size: r.Size}},
		Now:    start, Event: by("usr-suite"), RequireState: p.State,
		Fragment: func(created time.Time) []byte {
			return fmt.Appendf(nil, `{"name":%q,"version":%q,"created":%q,"digest":%q}`, name, version, created.Format(time.RFC3339), r.Archive)
		},
	}
}

// history makes a claim one of what an older repository published.
func history(c *release.Claim) *release.Claim {
	c.Release.Legacy = true
	c.Legacy = &release.ImportOrigin{URL: "https://charts.example.test", Created: start.Add(-time.Hour), Digest: c.Release.Archive}
	return c
}

// claim makes a release and checks everything that the answer says.
func (l *ledger) claim(c *release.Claim) release.Release {
	l.Helper()
	res, err := l.Claim(l.Context(), c)
	l.ok(err)
	if res.Unchanged {
		l.Fatalf("%s: unchanged, want a new release", c.Release.Ref())
	}
	l.verify(res)
	return res.Release
}

// verify checks that a result's proof holds, and that the leaf is that of the
// release.
func (l *ledger) verify(res release.ClaimResult) {
	l.Helper()
	r := &res.Release
	cp, leaf, err := res.Proof.Verify(Origin, l.verifiers())
	l.ok(err)
	if res.Proof.Index != r.LogIndex {
		l.Fatalf("%s: proof of leaf %d, the release has log index %d", r.Ref(), res.Proof.Index, r.LogIndex)
	}
	var said tlog.Release
	switch leaf := leaf.(type) {
	case tlog.Release:
		said = leaf
	case tlog.Legacy:
		said = leaf.Release
	}
	if _, legacy := leaf.(tlog.Legacy); legacy != r.Legacy {
		l.Fatalf("%s: leaf of type %s, legacy %t", r.Ref(), leaf.Type(), r.Legacy)
	}
	got := [...]string{said.Project, said.Chart, said.Version, said.Archive, said.Content, said.Manifest, said.Config, said.Time.Format(time.RFC3339)}
	want := [...]string{r.Project, r.Chart, r.Version, r.Archive, r.Content, r.Manifest, r.Config, r.Time.UTC().Format(time.RFC3339)}
	if got != want {
		l.Fatalf("the leaf says\n%q, the release\n%q", got, want)
	}
	l.checkpoints = append(l.checkpoints, cp)
}

func (l *ledger) verifiers() note.Verifiers {
	l.Helper()
	v, err := tlog.NewVerifier(Keys(l).VerifierKey)
	l.ok(err)
	return note.VerifierList(v)
}

func (l *ledger) size() int64 {
	l.Helper()
	info, err := l.LogInfo(l.Context())
	l.ok(err)
	return info.Size
}

// checkLog checks, when a test ends, that the log contains every checkpoint
// that the test has seen, that its leaves make its root, that their time never
// decreases, and that no version has two.
func (l *ledger) checkLog() {
	l.Helper()
	if l.Failed() {
		return
	}
	info, err := l.LogInfo(l.Context())
	l.ok(err)
	last, err := tlog.OpenCheckpoint(info.Checkpoint, Origin, l.verifiers())
	l.ok(err)
	slices.SortFunc(l.checkpoints, func(a, b tlog.Checkpoint) int { return int(a.Size - b.Size) })
	seen := append(l.checkpoints, last)
	for i := 1; i < len(seen); i++ {
		old, cp := seen[i-1], seen[i]
		proof, err := l.Consistency(l.Context(), old.Size, cp.Size)
		l.ok(err)
		l.ok(tlog.VerifyConsistency(old.Size, old.Root, cp.Size, cp.Root, proof))
	}
	edge, err := tlog.NewEdge(0, nil)
	l.ok(err)
	versions := map[string]int64{}
	var before time.Time
	for i, entry := range l.leaves() {
		edge.Append(tlog.LeafHash(entry))
		leaf, err := tlog.ParseLeaf(entry)
		l.ok(err)
		if leaf.When().Before(before) {
			l.Errorf("leaf %d says %s, the one before %s", i, leaf.When(), before)
		}
		before = leaf.When()
		var r tlog.Release
		switch leaf := leaf.(type) {
		case tlog.Release:
			r = leaf
		case tlog.Legacy:
			r = leaf.Release
		default:
			continue
		}
		ref := r.Project + "/" + r.Chart + "@" + r.Version
		if first, twice := versions[ref]; twice {
			l.Errorf("%s has the leaves %d and %d", ref, first, i)
		}
		versions[ref] = int64(i)
	}
	if root := edge.Root(); root != last.Root {
		l.Errorf("the leaves make the root %s, the checkpoint has %s", root, last.Root)
	}
}

// leaves reads the whole log.
func (l *ledger) leaves() [][]byte {
	l.Helper()
	size := l.size()
	var all [][]byte
	for n := int64(0); n<<8 < size; n++ {
		entries, err := l.Entries(l.Context(), n, int(min(256, size-n<<8)))
		l.ok(err)
		all = append(all, entries...)
	}
	return all
}

// current reads a project anew.
func (l *ledger) current(p release.Project) release.Project {
	l.Helper()
	now, err := l.ProjectFor(l.Context(), p.Name)
	l.ok(err)
	return now
}

// audited returns the newest audit events, newest first.
func (l *ledger) audited(f release.AuditFilter) []release.AuditRecord {
	l.Helper()
	got, err := l.AuditRecords(l.Context(), f)
	l.ok(err)
	return got
}

// lastEvent returns the newest audit event and checks its name.
func (l *ledger) lastEvent(name audit.Name) audit.Event {
	l.Helper()
	got := l.audited(release.AuditFilter{Limit: 1})
	if len(got) != 1 || got[0].Event.Name != name {
		l.Fatalf("newest audit event %v, want %s", got, name)
	}
	return got[0].Event
}

// fact is a fact of a problem.
func fact(p *problem.Error, label string) string {
	for _, f := range p.Facts {
		if f.Label == label {
			return f.Value
		}
	}
	return ""
}

// same compares two values as JSON, which leaves out what is not shown.
func (l *ledger) same(what string, got, want any) {
	l.Helper()
	g, err := json.Marshal(got)
	l.ok(err)
	w, err := json.Marshal(want)
	l.ok(err)
	if !bytes.Equal(g, w) {
		l.Fatalf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}

func (l *ledger) names(what string, got []string, want ...string) {
	l.Helper()
	if !slices.Equal(got, want) {
		l.Fatalf("%s: got %s, want %s", what, strings.Join(got, " "), strings.Join(want, " "))
	}
}
