package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	tessera "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

// leafTypes are all that a log can have.
var leafTypes = []string{
	tlog.TypeRelease, tlog.TypeLegacy, tlog.TypeAttach, tlog.TypeYank, tlog.TypeUnyank, tlog.TypeProject, tlog.TypeAudit,
	tlog.TypeObservation, tlog.TypeSignoff, tlog.TypePolicy, tlog.TypeQuarantine, tlog.TypeTombstone, tlog.TypeRotation,
}

// check compares all that there is with all that was acknowledged. Nobody is
// killed any more, and nobody changes anything.
func (s *soak) check() {
	steps := []struct {
		name string
		do   func()
	}{
		{"quorum", s.checkQuorum}, {"log", s.checkLog}, {"doors", s.checkDoors}, {"indexes", s.checkIndexes}, {"scrub", s.checkScrub}, {"audit log", s.checkAudit},
		{"memories", s.checkMemories}, {"monitor", s.checkMonitor}, {"Tessera's fsck", s.checkTessera}, {"fsck", s.checkFsck},
	}
	for _, step := range steps {
		begun := time.Now()
		step.do()
		s.t.Logf("checked: %s (%s)", step.name, time.Since(begun).Round(100*time.Millisecond))
		if s.ctx.Err() != nil {
			return
		}
	}
}

// checkQuorum waits until all witnesses cosign a checkpoint that is as large as
// any that was seen, and compares what each witness knows with it.
func (s *soak) checkQuorum() {
	policy, err := tlog.ParseWitnessPolicy([]byte(s.read(s.policy)))
	s.must(err)
	var final tlog.Checkpoint
	s.await("the newest checkpoint, cosigned by everybody", func() (bool, string) {
		r, err := s.get("/log/checkpoint")
		if err != nil {
			return false, err.Error()
		}
		w, err := policy.Check(r.body, s.sight.key.Name(), policy.LogKeys())
		if err != nil {
			s.fault("the published checkpoint: %v", err)
			return false, ""
		}
		final = w.Checkpoint
		return w.Quorum && final.Size >= s.sight.most, fmt.Sprintf("%d leaves, seen were %d; missing: %v", final.Size, s.sight.most, w.Missing)
	})
	for _, head := range s.heads {
		cp, ok := s.witnessed(head)
		if !ok {
			s.fault("the witness at %s does not show its checkpoint", head)
		}
		if cp.Size == 0 {
			s.fault("the witness at %s has cosigned nothing", head)
		}
	}
}

// await waits until something is so.
func (s *soak) await(what string, so func() (bool, string)) {
	end := time.Now().Add(2 * patience)
	for {
		ok, how := so()
		if ok || s.ctx.Err() != nil {
			return
		}
		if time.Now().After(end) {
			s.fault("%s: waited for %s; %s", what, 2*patience, how)
			return
		}
		s.sleep(200 * time.Millisecond)
	}
}

// checkLog reads every entry, works out every tree that the log ever was, and
// holds all checkpoints that anybody saw against them. Then it compares the
// releases of the log with those that were acknowledged.
func (s *soak) checkLog() {
	var cp tlog.Checkpoint
	s.await("a checkpoint that has all that was seen", func() (bool, string) {
		r, err := s.get("/log/checkpoint")
		if err == nil {
			cp, err = s.sight.see(r.body)
		}
		if err != nil {
			s.fault("the final checkpoint: %v", err)
		}
		return cp.Size >= s.sight.most, fmt.Sprintf("%d leaves, seen were %d", cp.Size, s.sight.most)
	})
	edge, err := tlog.NewEdge(0, nil)
	s.must(err)
	found, types, met := map[string]tlog.Release{}, map[string]int{}, 0
	if root, ok := s.sight.seen[0]; ok && root == edge.Root() {
		met++
	}
	for n := int64(0); edge.Size() < cp.Size; n++ {
		r, err := s.get("/log/" + tlog.EntriesPath(n, tlog.TileWidth(cp.Size, 0, n)))
		if err != nil {
			return
		}
		entries, err := tlog.ParseEntryBundle(r.body)
		if err != nil || r.status != http.StatusOK || len(entries) == 0 {
			s.fault("bundle %d: status %d, %v", n, r.status, err)
			return
		}
		for _, entry := range entries {
			leaf, err := tlog.ParseLeaf(entry)
			if err != nil {
				s.fault("leaf %d: %v", edge.Size(), err)
				return
			}
			types[leaf.Type()]++
			s.releaseLeaf(leaf, edge.Size(), found)
			edge.Append(tlog.LeafHash(entry))
			if root, ok := s.sight.seen[edge.Size()]; ok {
				met++
				if root != edge.Root() {
					s.fault("the checkpoint of %d leaves that somebody saw is none of this log", edge.Size())
				}
			}
		}
	}
	if edge.Root() != cp.Root || met != len(s.sight.seen) {
		s.fault("%d leaves: root %v, signed %v; %d of %d checkpoints met", edge.Size(), edge.Root(), cp.Root, met, len(s.sight.seen))
	}
	for _, typ := range leafTypes {
		if types[typ] == 0 {
			s.fault("the log has no leaf of type %s", typ)
		}
	}
	if len(types) != len(leafTypes) {
		s.fault("the log has leaves of types %v", slices.Sorted(maps.Keys(types)))
	}
	s.compareLeaves(found)
	s.model.counts["checkpoints that somebody saw, of different sizes"] = len(s.sight.seen)
	s.model.counts["leaves in the log"] = int(cp.Size)
	s.model.counts["leaves: types"] = len(types)
}

// releaseLeaf keeps the leaf of a release. A second one is a fault.
func (s *soak) releaseLeaf(leaf tlog.Leaf, index int64, found map[string]tlog.Release) {
	r, ok := leaf.(tlog.Release)
	if old, legacy := leaf.(tlog.Legacy); legacy {
		r, ok = old.Release, true
	}
	if !ok {
		return
	}
	ref := r.Project + "/" + r.Chart + "@" + r.Version
	if _, twice := found[ref]; twice {
		s.fault("leaf %d is a second one of %s", index, ref)
	}
	found[ref] = r
}

// compareLeaves wants a leaf for each release that was acknowledged, and no
// other. What was refused is in none.
func (s *soak) compareLeaves(found map[string]tlog.Release) {
	released := map[string]bool{}
	for _, r := range found {
		released[r.Archive] = true
	}
	for _, e := range s.model.entries {
		r, ok := found[e.String()]
		if !ok || r.Archive != e.digest {
			s.fault("%s was acknowledged as %s, and the log has %q", e, e.digest, r.Archive)
		}
		for _, d := range e.refused {
			if released[d] {
				s.fault("%s was refused for %s, and is in the log", d, e)
			}
		}
	}
	if len(found) != len(s.model.entries) {
		known := map[string]bool{}
		for _, e := range s.model.entries {
			known[e.String()] = true
		}
		for ref, r := range found {
			if !known[ref] {
				s.fault("%s (%s) is in the log, and nobody was told that it was taken", ref, r.Archive)
			}
		}
	}
}

// checkDoors asks every door for every release.
func (s *soak) checkDoors() {
	work := make(chan *entry)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for e := range work {
				if err := s.checkEntry(e); err != nil && s.ctx.Err() == nil {
					s.fault("%s (%s, %s, pushed by %s): %v", e, e.digest, e.state, e.door, err)
				}
			}
		})
	}
	for _, e := range s.model.entries {
		work <- e
	}
	close(work)
	all.Wait()
}

func (s *soak) checkEntry(e *entry) error {
	detail, err := s.as(s.tokens.publisher).Release(s.ctx, e.project, e.chart, e.version)
	if err != nil || detail.Digest != e.digest || detail.State != e.state {
		return fmt.Errorf("the management API: %s, %s, %v", detail.Digest, detail.State, err)
	}
	classic, err := s.get("/" + e.project + "/charts/" + e.file())
	if err != nil {
		return err
	}
	manifest, err := s.get("/v2/" + e.repo() + "/manifests/" + tag(e.version))
	if err != nil {
		return err
	}
	layer, err := s.get("/v2/" + e.repo() + "/blobs/" + e.digest)
	if err != nil {
		return err
	}
	if !e.served() {
		for name, r := range map[string]reply{"classic": classic, "manifest": manifest, "blob": layer} {
			if r.status/100 != 4 {
				return fmt.Errorf("%s is served with status %d", name, r.status)
			}
		}
		return nil
	}
	var m struct{ Layers []struct{ Digest string } }
	switch {
	case classic.status != http.StatusOK || sum(classic.body) != e.digest:
		return fmt.Errorf("the classic door: status %d, %s", classic.status, sum(classic.body))
	case manifest.status != http.StatusOK || json.Unmarshal(manifest.body, &m) != nil || len(m.Layers) == 0 || m.Layers[0].Digest != e.digest || sum(manifest.body) != detail.Manifest:
		return fmt.Errorf("the OCI door: status %d: %s", manifest.status, manifest.body)
	case layer.status != http.StatusOK || sum(layer.body) != e.digest:
		return fmt.Errorf("the OCI layer: status %d, %s", layer.status, sum(layer.body))
	}
	if e.prov != "" {
		if r, err := s.get("/" + e.project + "/charts/" + e.file() + ".prov"); err != nil || sum(r.body) != e.prov {
			return fmt.Errorf("its provenance: status %d, %v", r.status, err)
		}
	}
	return s.checkProof(e, detail.Manifest)
}

// checkProof wants the release proven in a checkpoint that all witnesses saw.
func (s *soak) checkProof(e *entry, manifest string) error {
	r, err := s.get("/" + e.project + "/charts/" + e.file() + ".tlog-proof")
	if err != nil {
		return err
	}
	leaf, err := s.sight.seeProof(string(r.body))
	if err != nil {
		return fmt.Errorf("its proof: status %d, %w", r.status, err)
	}
	l, ok := leaf.(tlog.Release)
	if old, legacy := leaf.(tlog.Legacy); legacy {
		l, ok = old.Release, true
	}
	if !ok || l.Archive != e.digest || l.Manifest != manifest || l.Project+"/"+l.Chart+"@"+l.Version != e.String() {
		return fmt.Errorf("its proof is of %+v", leaf)
	}
	return nil
}

// checkIndexes compares each project's index with what is active.
func (s *soak) checkIndexes() {
	want := map[string]map[string]string{}
	for _, e := range s.model.entries {
		if want[e.project] == nil {
			want[e.project] = map[string]string{}
		}
		if e.state == active {
			want[e.project][e.chart+"@"+e.version] = e.digest
		}
	}
	for project, want := range want {
		r, err := s.get("/" + project + "/index.yaml")
		if err != nil {
			return
		}
		var doc struct {
			Entries map[string][]struct{ Version, Digest string }
		}
		if err := json.Unmarshal(r.body, &doc); err != nil {
			s.fault("the index of %s: status %d, %v", project, r.status, err)
			return
		}
		for chart, versions := range doc.Entries {
			for _, v := range versions {
				if ref := chart + "@" + v.Version; want[ref] != "sha256:"+v.Digest {
					s.fault("the index of %s lists %s as %s, and released is %q", project, ref, v.Digest, want[ref])
				}
				delete(want, chart+"@"+v.Version)
			}
		}
		for ref := range want {
			s.fault("the index of %s leaves out %s", project, ref)
		}
	}
}

// checkScrub waits for two passes, the one that runs and a whole one.
func (s *soak) checkScrub() {
	c := s.as(s.tokens.admin)
	for range 2 {
		begun, err := c.StartScrub(s.ctx)
		if err != nil {
			s.fault("start scrub: %v", err)
			return
		}
		s.await("a scrub", func() (bool, string) {
			now, err := c.Scrub(s.ctx)
			if err != nil || len(now.Open) > 0 {
				s.fault("scrub: %+v, %v", now.Open, err)
				return false, ""
			}
			done := now.Last != nil && (begun.Last == nil || now.Last.Ended.After(begun.Last.Ended))
			if done {
				s.model.counts["scrub: releases compared"] = int(now.Last.Counts.Releases)
			}
			return done, fmt.Sprintf("%+v", now)
		})
	}
}

// checkAudit verifies the audit log from its beginning and from what was kept.
func (s *soak) checkAudit() {
	for _, state := range []string{"", "audit.state"} {
		if o := s.auditVerify(state); o.code != 0 {
			s.fault("audit verify: %s", o)
		}
	}
}

// checkMemories has the clients that remember verify all that they ever looked
// at, of which some may never have been answered, and then what they remember,
// with the quorum of all witnesses.
func (s *soak) checkMemories() {
	for _, r := range s.memory {
		dir := filepath.Join(s.dir, r.name)
		if o := s.command(dir, "", append([]string{"verify", "--sum", "--log-key", s.key}, r.refs...)...); o.code != 0 && len(r.refs) > 0 {
			s.fault("%s: %s", r.name, o)
			continue
		}
		o := s.command(dir, "", "verify", "--sum", "--locked", "--policy", s.policy, "-o", "json")
		if len(r.refs) > 0 && (o.code != 0 || !strings.Contains(o.out, "witness-quorum")) {
			s.fault("%s: %s", r.name, o)
		}
	}
}

// checkMonitor asks the monitor that followed once more, and one that sees the
// log for the first time.
func (s *soak) checkMonitor() {
	for _, w := range s.watchers {
		if w.name == "monitor" {
			w.mu.Lock()
			w.now.kill()
			w.mu.Unlock()
		}
	}
	for _, state := range []string{"monitor", "stranger"} {
		o := s.command(s.dir, s.tokens.auditor, "monitor", "--once", "--state", filepath.Join(s.dir, state), "--log-key", s.key,
			"--archives", "all", "--archive-rate", "0", "--policy", s.policy, "--fail-on", "info")
		if o.code != 0 || !strings.Contains(o.out, "nothing was found") {
			s.fault("the monitor of %s: %s", state, o)
		}
	}
	if len(s.findings) > 0 {
		s.fault("the monitor said: %s", strings.Join(s.findings, "\n"))
	}
}

// checkTessera has a program that is not ours compute the log from its entries.
func (s *soak) checkTessera() {
	u, err := url.Parse(s.front.URL() + "/log/")
	s.must(err)
	f, err := tessera.NewHTTPFetcher(u, s.http)
	s.must(err)
	f.SetAuthorizationHeader("Bearer " + s.tokens.auditor)
	key, err := note.NewVerifier(strings.TrimSpace(s.read(s.key)))
	s.must(err)
	if err := fsck.New(key.Name(), key, f, bundleHashes, fsck.Opts{N: 2}).Check(s.ctx); err != nil {
		s.fault("Tessera's fsck: %v", err)
	}
}

// bundleHashes is what Tessera's fsck needs to know of our entries: nothing but
// that they are leaves.
func bundleHashes(data []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(bundle.Entries))
	for i, entry := range bundle.Entries {
		hashes[i] = rfc6962.DefaultHasher.HashLeaf(entry)
	}
	return hashes, nil
}

// checkFsck stops the servers and has the stopped folder examined.
func (s *soak) checkFsck() {
	for _, server := range s.servers {
		if err := server.Stop(); err != nil {
			s.fault("stop the server: %v", err)
		}
	}
	c, err := launch(s.program, s.dir, s.opt.Env, nil, "fsck", "--data", s.opt.Data, "--log-key", s.key)
	s.must(err)
	if o := c.outcome(); o.code != 0 {
		s.fault("fsck: %s", o)
	}
}

// anchored waits until the log has a leaf of what the server writes by itself a
// minute after its start: the anchor of the audit log.
func (s *soak) anchored() {
	c := s.as(s.tokens.auditor)
	s.await("an anchor of the audit log", func() (bool, string) {
		v, err := c.VerifyAudit(context.WithoutCancel(s.ctx), "", "", nil, time.Now())
		return err == nil && v.Anchors > 0, fmt.Sprintf("%d anchors, %v", v.Anchors, err)
	})
}
