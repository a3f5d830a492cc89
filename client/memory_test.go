package client

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// start is a place with two releases, and what is remembered of them.
func start(t testing.TB) (*place, Sum) {
	t.Helper()
	p := newPlace(t, newHistory(t, someOrigin, 7))
	p.log.filler(3)
	p.release(charttest.Build(t, "web", "1.4.2", nil))
	p.release(charttest.Build(t, "db", "2.0.0", nil))
	got := p.look(Memory{}, "demo/web@1.4.2", "oci://HOST/demo/db:2.0.0")
	if got.Verdict != Passed {
		t.Fatalf("first: %s\n%s", got.Verdict, told(got))
	}
	return p, got.Sum
}

func TestMemoryRemembers(t *testing.T) {
	p, sum := start(t)
	if len(sum.Charts) != 2 || len(sum.Checkpoints) != 1 || sum.Checkpoints[0].Size != 5 || len(sum.Keys) != 1 {
		t.Fatalf("remembered:\n%s", text(t, sum))
	}
	p.log.filler(300)
	p.now()
	for name, refs := range map[string][]string{
		"all": nil, "api": {"demo/web@1.4.2"}, "classic": {"URL/demo/charts/web-1.4.2.tgz"}, "oci": {"oci://HOST/demo/web:1.4.2"},
		"every door": {"demo/web@1.4.2", "URL/demo/all/charts/web-1.4.2.tgz", "oci://HOST/demo/web:1.4.2"},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.look(Memory{Sum: sum, Locked: true}, refs...)
			if got.Verdict != Passed || len(got.Evidence) != 0 {
				t.Fatalf("%s\n%s", got.Verdict, told(got))
			}
			if cp := got.Sum.Checkpoints; len(cp) != 1 || cp[0].Size != 305 || len(got.Sum.Charts) != 2 {
				t.Errorf("remembered:\n%s", text(t, got.Sum))
			}
			for _, c := range got.Charts {
				if c.First || resultOf(c.Checks, CheckPin) != Pass || resultOf(c.Checks, CheckEntry) != Pass || resultOf(c.Checks, CheckCovered) != Pass {
					t.Errorf("%+v", c)
				}
			}
		})
	}
	// Nothing changes when nothing happened.
	if got := p.look(Memory{Sum: p.look(Memory{Sum: sum}).Sum}); text(t, got.Sum) != text(t, p.look(Memory{Sum: sum}).Sum) {
		t.Error("another look writes another file")
	}
}

// A first look through two doors must not be told two things.
func TestMemoryDoorsAgree(t *testing.T) {
	p, _ := start(t)
	other := charttest.Build(t, "web", "1.4.2", map[string]string{"README.md": "other"})
	before := p.archives["web-1.4.2.tgz"]
	first := p.entries["web-1.4.2.tgz"]
	p.release(other)
	second := p.entries["web-1.4.2.tgz"]
	p.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		p.archives["web-1.4.2.tgz"], p.entries["web-1.4.2.tgz"] = before, first
		if strings.HasPrefix(r.URL.Path, "/v2/") || strings.HasSuffix(r.URL.Path, "/proof") {
			p.archives["web-1.4.2.tgz"], p.entries["web-1.4.2.tgz"] = other, second
		}
		return false
	}
	p.private = true
	got := p.look(Memory{}, "URL/demo/charts/web-1.4.2.tgz", "oci://HOST/demo/web:1.4.2")
	if got.Verdict != Failed || len(got.Evidence) != 1 {
		t.Fatalf("%s\n%s", got.Verdict, told(got))
	}
	if j, err := got.Evidence[0].Judge(p.log.vkey); err != nil || !j.Convicted {
		t.Errorf("%+v, %v", j, err)
	}
}

// attack is a way in which a server, or whoever holds the log's key, breaks the
// promise; the client remembers what start showed.
type attack struct {
	name    string
	do      func(t *testing.T, p *place)
	memory  func(*Memory)
	refs    []string // none: all that is remembered
	verdict Verdict
	check   string // "name result: part of the detail", of some check
	kind    string // of the evidence; "" for none
	convict bool   // whether the log's key alone convicts
}

func changedWeb(t testing.TB) []byte {
	return charttest.Build(t, "web", "1.4.2", map[string]string{"README.md": "other"})
}

func attacks() []attack {
	rewrite := func(t *testing.T, p *place) {
		leaf := leafOf(t, "demo", changedWeb(t), nil)
		text, err := leaf.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p.log.leaves[3] = text
		p.archives["web-1.4.2.tgz"] = changedWeb(t)
	}
	return []attack{
		{name: "other bytes", do: func(t *testing.T, p *place) { p.archives["web-1.4.2.tgz"] = changedWeb(t) },
			verdict: Failed, check: "pinned-digest fail: and was", kind: EvidenceAnswer},
		{name: "an entry changed in place", do: rewrite, verdict: Failed, check: "consistency fail: two different logs of 5 entries", kind: EvidenceFork, convict: true},
		{name: "an entry changed, and the log grew", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(7); p.now() },
			verdict: Failed, check: "consistency fail: does not begin with", kind: EvidenceFork, convict: true},
		{name: "the same, to a power of two", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(3); p.now() },
			verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "the same, and false proofs", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(9); p.now(); p.babble = true },
			verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "the same, and no hashes", do: func(t *testing.T, p *place) { rewrite(t, p); p.log.filler(9); p.now(); p.noTiles = true },
			verdict: Failed, check: "consistency fail: its proof does not hold", kind: EvidenceAnswer},
		{name: "another entry changed, far away", do: func(t *testing.T, p *place) {
			p.log.leaves[0], p.log.leaves[1] = p.log.leaves[1], p.log.leaves[0]
			p.log.filler(600)
			p.now()
		}, verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "a second entry", do: func(t *testing.T, p *place) { p.release(changedWeb(t)) },
			verdict: Failed, check: "pinned-entry fail: one release has two entries", kind: EvidenceEntry, convict: true},
		{name: "a second entry with the same bytes", do: func(t *testing.T, p *place) { p.release(p.archives["web-1.4.2.tgz"]) },
			verdict: Failed, check: "pinned-entry fail", kind: EvidenceEntry, convict: true},
		{name: "a second entry, and the first withheld", do: func(t *testing.T, p *place) { p.release(changedWeb(t)); p.private = true },
			verdict: Failed, check: "pinned-digest fail", kind: EvidenceEntry},
		{name: "rolled back", do: func(t *testing.T, p *place) { p.log.leaves = p.log.leaves[:4]; p.now() },
			memory: func(m *Memory) {
				m.Sum.Charts = slices.DeleteFunc(m.Sum.Charts, func(q Pin) bool { return q.Chart == "db" })
			},
			verdict: Incomplete, check: "freshness unchecked: rolled back"},
		{name: "rolled back, and grown over", do: func(t *testing.T, p *place) {
			p.log.leaves = p.log.leaves[:4]
			p.log.filler(1)
			p.now()
			delete(p.archives, "db-2.0.0.tgz")
		},
			verdict: Failed, check: "consistency fail", kind: EvidenceFork, convict: true},
		{name: "an old copy, truthful", do: func(t *testing.T, p *place) {
			p.log.filler(4) // what is remembered is beyond what is shown
		}, memory: func(m *Memory) { m.Sum.Checkpoints = nil }, verdict: Incomplete, check: "freshness unchecked: an old copy"},
		{name: "no proof of growth", do: func(t *testing.T, p *place) { p.log.filler(4); p.now(); p.mute = true },
			verdict: Incomplete, check: "consistency unchecked: do not show"},
		{name: "a proof that is none, of a log that only grew", do: func(t *testing.T, p *place) { p.log.filler(4); p.now(); p.babble = true }, verdict: Passed},
		{name: "the release is gone", do: func(t *testing.T, p *place) { delete(p.archives, "web-1.4.2.tgz") },
			verdict: Incomplete, check: "fetch unchecked"},
		{name: "another log", do: func(t *testing.T, p *place) {
			p.log = newHistory(t, "other.example.test", 9)
			p.log.filler(3)
			p.release(p.archives["web-1.4.2.tgz"])
			p.release(p.archives["db-2.0.0.tgz"])
		}, verdict: Failed, check: "checkpoint-signature fail: another log", kind: EvidenceAnswer},
		{name: "another key of the same name", do: func(t *testing.T, p *place) {
			leaves := p.log.leaves
			p.log = newHistory(t, someOrigin, 9)
			p.log.leaves = leaves
		}, verdict: Failed, check: "checkpoint-signature fail: not signed", kind: EvidenceAnswer},
		{name: "another manifest over the same archive", do: func(t *testing.T, p *place) {
			p.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/v2/demo/web/manifests/") {
					return false
				}
				_, _ = w.Write(append(manifestOf(p.archives["web-1.4.2.tgz"]), '\n'))
				return true
			}
		}, refs: []string{"oci://HOST/demo/web:1.4.2"}, verdict: Failed, check: "manifest-digest fail", kind: EvidenceAnswer},
		{name: "another release's archive and proof", do: func(t *testing.T, p *place) {
			p.release(charttest.Build(t, "web", "1.5.0", nil))
			p.archives["web-1.6.0.tgz"], p.entries["web-1.6.0.tgz"] = p.archives["web-1.5.0.tgz"], p.entries["web-1.5.0.tgz"]
		}, refs: []string{"URL/demo/charts/web-1.6.0.tgz"}, verdict: Failed, check: "name-and-version fail: asked for the file web-1.6.0.tgz", kind: EvidenceAnswer},
		{name: "a checkpoint that the log did not sign", do: func(t *testing.T, p *place) {
			other := newHistory(t, someOrigin, 9)
			other.leaves = p.log.leaves
			p.cosign = func([]byte) []byte { return other.checkpoint(5) }
		}, verdict: Failed, check: "checkpoint-signature fail: not signed"},
		{name: "no checkpoint", do: func(t *testing.T, p *place) {
			p.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/log/checkpoint" {
					http.Error(w, "no", http.StatusForbidden)
					return true
				}
				return false
			}
		}, verdict: Incomplete, check: "freshness unchecked: could not be had"},
	}
}

func TestMemoryAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			p, sum := start(t)
			key := p.log.vkey
			m := Memory{Sum: sum, Keys: []string{key}}
			a.do(t, p)
			if a.memory != nil {
				m.Sum.Charts = slices.Clone(sum.Charts)
				a.memory(&m)
				if m.Sum.Checkpoints == nil {
					cp, err := tlog.ParseCheckpoint(p.log.checkpoint(p.log.size()))
					if err != nil {
						t.Fatal(err)
					}
					m.Sum.Checkpoints = []tlog.Checkpoint{cp}
				}
			}
			got := p.look(m, a.refs...)
			if got.Verdict != a.verdict {
				t.Fatalf("verdict %s, want %s\n%s", got.Verdict, a.verdict, told(got))
			}
			name, part, _ := strings.Cut(a.check, ": ")
			said := false
			for line := range strings.Lines(told(got)) {
				said = said || strings.Contains(line, name+": ") && strings.Contains(line, part)
			}
			if a.check != "" && !said {
				t.Errorf("no check says %q:\n%s", a.check, told(got))
			}
			if a.verdict != Passed && text(t, got.Sum) != text(t, m.Sum) {
				t.Errorf("something was remembered:\n%s", text(t, got.Sum))
			}
			kinds := []string{}
			for _, e := range got.Evidence {
				kinds = append(kinds, e.Kind)
				a.judge(t, e, key)
			}
			if a.kind == "" && len(kinds) > 0 || a.kind != "" && !slices.Contains(kinds, a.kind) {
				t.Errorf("evidence %q, want %q", kinds, a.kind)
			}
		})
	}
}

// judge lets a stranger judge, who has the file and the log's key.
func (a attack) judge(t *testing.T, e Evidence, key string) {
	t.Helper()
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseEvidence(b)
	if err != nil {
		t.Fatal(err)
	}
	j, err := read.Judge(key)
	if err != nil || e.Kind == a.kind && j.Convicted != a.convict {
		t.Errorf("%s: %+v, %v", e.Kind, j, err)
	}
	_, other, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{42}, 64)), someOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := read.Judge(other); err != nil || j.Convicted {
		t.Errorf("another key convicts: %+v, %v", j, err)
	}
}

func TestMemoryFirstUse(t *testing.T) {
	p, sum := start(t)
	m := Memory{Connect: connect, Now: someTime, Server: p.url}
	if _, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")}); problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "no key of its log") {
		t.Errorf("without a key: %v", err)
	}
	if len(p.asked) == 0 {
		t.Fatal("the place was never asked")
	}
	p.asked = nil
	_, _ = m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")})
	if len(p.asked) != 0 {
		t.Errorf("without a key %q were asked for", p.asked)
	}
	got := p.look(Memory{Locked: true}, "demo/web@1.4.2")
	if got.Verdict != Incomplete || !strings.Contains(told(got), "pinned-digest unchecked: nothing is remembered") {
		t.Errorf("locked: %s\n%s", got.Verdict, told(got))
	}
	// Two logs are trusted, and the server is new: nobody can say which it is.
	_, other, err := tlog.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{9}, 64)), "other.example.test")
	if err != nil {
		t.Fatal(err)
	}
	m.Keys = []string{p.log.vkey, other}
	if _, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")}); err == nil || !strings.Contains(err.Error(), "which of the logs") {
		t.Errorf("with two keys: %v", err)
	}
	// What is remembered of the server says it.
	m.Sum = sum
	if got, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2")}); err != nil || got.Verdict != Passed {
		t.Errorf("with a memory: %+v, %v", got, err)
	}
}

// A server must not get past what is remembered with a log that is trusted for
// another server.
func TestMemoryHoldsServersApart(t *testing.T) {
	p, sum := start(t)
	q := newPlace(t, newHistory(t, "second.example.test", 8))
	q.log.filler(1)
	q.release(changedWeb(t))
	both := q.look(Memory{Sum: sum, Keys: []string{q.log.vkey}}, "demo/web@1.4.2")
	if both.Verdict != Passed || len(both.Sum.Charts) != 3 || len(both.Sum.Checkpoints) != 2 {
		t.Fatalf("two servers with one name for a release: %s\n%s\n%s", both.Verdict, told(both), text(t, both.Sum))
	}
	if got := p.look(Memory{Sum: both.Sum}); got.Verdict != Passed || len(got.Logs) != 2 {
		t.Fatalf("both: %s\n%s", got.Verdict, told(got))
	}
	p.log, p.archives, p.entries, p.shown = q.log, q.archives, q.entries, q.shown
	got := p.look(Memory{Sum: both.Sum, Keys: []string{q.log.vkey}}, "demo/web@1.4.2")
	if got.Verdict != Failed || !strings.Contains(told(got), "pinned-digest fail") || !strings.Contains(told(got), "another log") {
		t.Errorf("the second log at the first server: %s\n%s", got.Verdict, told(got))
	}
}

// A server whose log began anew must still show what it showed before.
func TestMemoryLogBegunAnew(t *testing.T) {
	for _, same := range []bool{true, false} {
		p, sum := start(t)
		db := p.archives["db-2.0.0.tgz"]
		if !same {
			db = charttest.Build(t, "db", "2.0.0", map[string]string{"README.md": "other"})
		}
		p.log = newHistory(t, "second.example.test", 8)
		p.log.filler(1)
		p.release(db)
		p.release(changedWeb(t))
		cp, err := tlog.ParseCheckpoint(p.log.checkpoint(3))
		if err != nil {
			t.Fatal(err)
		}
		// Of this server both logs are known: the old one has db, the new one web.
		sum.Keys, sum.Checkpoints = append(sum.Keys, p.log.vkey), append(sum.Checkpoints, cp)
		sum.Charts = append(sum.Charts[:1:1], Pin{Origin: "second.example.test", Ref: Ref{"demo", "web", "1.4.2"}, Digest: digest.SHA256(changedWeb(t)), Index: 2, Door: p.url})
		got := p.look(Memory{Sum: sum, Keys: []string{p.log.vkey}, Locked: !same}, "demo/db@2.0.0")
		if same && (got.Verdict != Passed || len(got.Sum.Charts) != 3) || !same && (got.Verdict != Failed || !strings.Contains(told(got), "pinned-digest fail")) {
			t.Errorf("the same bytes %v: %s\n%s", same, got.Verdict, told(got))
		}
	}
}

// After a merge a log has two checkpoints. Both are held against each other.
func TestMemoryAfterMerge(t *testing.T) {
	p, sum := start(t)
	p.log.filler(3)
	ours := p.now().look(Memory{Sum: sum}).Sum
	fork := p.log.clone()
	p.log.filler(3)
	theirs := p.now().look(Memory{Sum: sum}).Sum
	merged := sum.Merge(ours, theirs)
	if len(merged.Checkpoints) != 2 {
		t.Fatalf("merged:\n%s", text(t, merged))
	}
	got := p.look(Memory{Sum: merged})
	if got.Verdict != Passed || len(got.Sum.Checkpoints) != 1 || got.Sum.Checkpoints[0].Size != 11 {
		t.Fatalf("%s\n%s\n%s", got.Verdict, told(got), text(t, got.Sum))
	}
	// A log that told both sides other things.
	fork.leaves[7] = fork.leaves[0]
	cp, err := tlog.ParseCheckpoint(fork.checkpoint(8))
	if err != nil {
		t.Fatal(err)
	}
	merged.Checkpoints[0] = cp
	got = p.look(Memory{Sum: merged})
	if got.Verdict != Failed || len(got.Evidence) != 1 || got.Evidence[0].Kind != EvidenceFork {
		t.Fatalf("%s\n%s", got.Verdict, told(got))
	}
	if j, err := got.Evidence[0].Judge(p.log.vkey); err != nil || !j.Convicted {
		t.Errorf("%+v, %v", j, err)
	}
}

// witness makes cosignatures for tests.
type witness struct {
	t    testing.TB
	by   *tlog.Cosigner
	vkey string
}

func newWitness(t testing.TB, name string, seed byte) witness {
	t.Helper()
	skey, vkey, err := tlog.GenerateWitnessKey(bytes.NewReader(bytes.Repeat([]byte{seed}, 64)), name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return witness{t, c, vkey}
}

func (w witness) cosign(text []byte, at time.Time) []byte {
	w.t.Helper()
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		w.t.Fatal(err)
	}
	line, err := w.by.Cosign(cp, at)
	if err != nil {
		w.t.Fatal(err)
	}
	return append(bytes.Clone(text), line...)
}

func TestMemoryWitnesses(t *testing.T) {
	p, sum := start(t)
	a, b := newWitness(t, "a.example.test", 21), newWitness(t, "b.example.test", 22)
	stranger := newWitness(t, "c.example.test", 23)
	now := someTime.Add(time.Hour) // as look has it
	policy, err := tlog.ParseWitnessPolicy(fmt.Appendf(nil, "log %s\nwitness a %s\nwitness b %s\ngroup both all a b\nquorum both\n", p.log.vkey, a.vkey, b.vkey))
	if err != nil {
		t.Fatal(err)
	}
	anyOf, err := tlog.ParseWitnessPolicy(fmt.Appendf(nil, "witness a %s\nwitness b %s\ngroup some any a b\nquorum some\n", a.vkey, b.vkey))
	if err != nil {
		t.Fatal(err)
	}
	p.log.filler(4)
	p.now()
	fresh, old := now.Add(-time.Minute), now.Add(-48*time.Hour)
	for _, tt := range []struct {
		name    string
		policy  *tlog.WitnessPolicy
		age     time.Duration
		cosign  func([]byte) []byte
		verdict Verdict
		detail  string
	}{
		{"both", &policy, 0, func(cp []byte) []byte { return b.cosign(a.cosign(cp, old), old) }, Passed, ""},
		{"one of both", &policy, 0, func(cp []byte) []byte { return a.cosign(cp, fresh) }, Incomplete, "missing: b"},
		{"a stranger", &policy, 0, func(cp []byte) []byte { return stranger.cosign(a.cosign(cp, fresh), fresh) }, Incomplete, "missing: b"},
		{"nobody", &policy, 0, nil, Incomplete, "missing: a, b"},
		{"a false one", &anyOf, 0, func(cp []byte) []byte {
			line := bytes.Clone(b.cosign(cp, fresh)[len(cp):])
			line[len(line)-6] ^= 3
			return append(a.cosign(cp, fresh), line...)
		}, Failed, "signature"},
		{"any", &anyOf, 0, func(cp []byte) []byte { return b.cosign(cp, old) }, Passed, ""},
		{"fresh", &policy, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, fresh), fresh) }, Passed, ""},
		{"old", &policy, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, old), old) }, Incomplete, "younger than 1h0m0s; the newest is of"},
		{"one fresh, one old", &policy, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, fresh), old) }, Incomplete, "missing: b"},
		{"any fresh, one old", &anyOf, time.Hour, func(cp []byte) []byte { return b.cosign(a.cosign(cp, fresh), old) }, Passed, ""},
		{"from the future", &anyOf, time.Hour, func(cp []byte) []byte { return a.cosign(cp, now.Add(240*time.Hour)) }, Incomplete, "younger"},
		{"an age without a policy", nil, time.Hour, nil, Incomplete, "carries no time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.cosign = tt.cosign
			got := p.look(Memory{Sum: sum, Policy: tt.policy, MaxAge: tt.age})
			if got.Verdict != tt.verdict || !strings.Contains(told(got), tt.detail) {
				t.Fatalf("%s\n%s", got.Verdict, told(got))
			}
			if tt.verdict == Passed && got.Sum.Checkpoints[0].Size != 9 {
				t.Errorf("remembered:\n%s", text(t, got.Sum))
			}
		})
	}
	// What is remembered never becomes older, however well that was witnessed.
	p.cosign = nil
	newer := p.look(Memory{Sum: sum}).Sum
	older, err := tlog.ParseCheckpoint(b.cosign(a.cosign(p.log.checkpoint(5), fresh), fresh))
	if err != nil {
		t.Fatal(err)
	}
	newer.Checkpoints = append(newer.Checkpoints, older)
	if got := p.look(Memory{Sum: newer, Policy: &policy}); got.Verdict != Incomplete || !strings.Contains(told(got), "witness-quorum unchecked") {
		t.Errorf("an older checkpoint: %s\n%s", got.Verdict, told(got))
	}
	// Witnesses that come a moment later are waited for.
	late := 0
	p.cosign = func(text []byte) []byte {
		if late++; late < 3 {
			return text
		}
		return b.cosign(a.cosign(text, fresh), fresh)
	}
	synctest.Test(t, func(t *testing.T) {
		m := Memory{Sum: sum, Policy: &policy, Patience: 5 * time.Second, Connect: func(server string) (*Client, error) {
			return New(server, "", Options{HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				return w.Result(), nil
			})}})
		}, Now: now}
		if got, err := m.Verify(t.Context(), nil); err != nil || got.Verdict != Passed || late != 3 {
			t.Errorf("after %d looks: %v, %s\n%s", late, err, got.Verdict, told(got))
		}
	})
	// What is witnessed counts, not what is newest: a release beyond waits.
	p.cosign = func(text []byte) []byte { return b.cosign(a.cosign(text, fresh), fresh) }
	known := p.look(Memory{Sum: sum, Policy: &policy}).Sum
	p.cosign = nil
	p.release(charttest.Build(t, "web", "1.5.0", nil))
	if got := p.look(Memory{Sum: known, Policy: &policy}, "demo/web@1.4.2"); got.Verdict != Passed || got.Sum.Checkpoints[0].Size != 9 {
		t.Errorf("a release that is witnessed: %s\n%s", got.Verdict, told(got))
	}
	if got := p.look(Memory{Sum: known, Policy: &policy}, "demo/web@1.5.0"); got.Verdict != Incomplete || !strings.Contains(told(got), "covered unchecked: it is entry 9") {
		t.Errorf("a release that is not witnessed yet: %s\n%s", got.Verdict, told(got))
	}
}

// A log that gets another key is followed to it, by the word of the old one.
func TestMemoryFollowsKeys(t *testing.T) {
	p, sum := start(t)
	oldSkey, oldVkey := p.log.skey, p.log.vkey
	next := newHistory(t, someOrigin, 9)
	until := someTime.Add(30 * time.Minute) // look is an hour after someTime
	turn := func(until time.Time) {
		p.log.add(tlog.Rotation{Old: oldVkey, New: next.vkey, Until: until, Actor: tlog.Identity{Issuer: "local", Subject: "usr-1"}, Time: someTime})
		p.now()
		p.turned = []Rotation{{LogIndex: p.log.size() - 1, Old: oldVkey, New: next.vkey, Until: until, Proof: string(p.log.prove(p.log.size()-1, p.log.size()).Marshal())}}
	}
	before := p.log.clone()
	keys := func(r Recollection) (out []string) {
		for _, key := range r.Sum.Keys {
			out = append(out, map[string]string{oldVkey: "old", next.vkey: "new"}[key])
		}
		slices.Sort(out)
		return out
	}
	for _, tt := range []struct {
		name    string
		do      func()
		verdict Verdict
		keys    []string
	}{
		{"both sign", func() { turn(someTime.Add(48 * time.Hour)); p.log.also = []string{next.skey} }, Passed, []string{"new", "old"}},
		{"the new one alone, before the end", func() { turn(someTime.Add(48 * time.Hour)); p.log.skey = next.skey }, Passed, []string{"new", "old"}},
		{"the end was slept through", func() { turn(until); p.log.skey = next.skey }, Passed, []string{"new"}},
		{"the old one signs on", func() { turn(until) }, Failed, []string{"old"}},
		{"another end than is logged", func() { turn(until); p.turned[0].Until = until.Add(240 * time.Hour) }, Passed, []string{"old"}},
		{"no word of the old one", func() { turn(until); p.log.skey = next.skey; p.turned[0].Proof = string(p.log.prove(5, 6).Marshal()) }, Failed, []string{"old"}},
		{"no word at all", func() { turn(until); p.log.skey = next.skey; p.turned = nil }, Failed, []string{"old"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.log, p.turned = before.clone(), nil
			p.log.skey, p.log.vkey = oldSkey, oldVkey
			tt.do()
			got := p.look(Memory{Sum: sum})
			if got.Verdict != tt.verdict || !slices.Equal(keys(got), tt.keys) {
				t.Fatalf("%s, keys %q\n%s", got.Verdict, keys(got), told(got))
			}
			if tt.verdict != Passed {
				return
			}
			if again := p.look(Memory{Sum: got.Sum}); again.Verdict != Passed || text(t, again.Sum) != text(t, got.Sum) {
				t.Errorf("again: %s\n%s", again.Verdict, told(again))
			}
		})
	}
	// The log did not grow, and only the key that ended signed what is remembered.
	p.log, p.turned = before.clone(), nil
	p.log.skey = oldSkey
	turn(until)
	cp, err := tlog.ParseCheckpoint(p.log.checkpoint(p.log.size()))
	if err != nil {
		t.Fatal(err)
	}
	sum.Checkpoints = []tlog.Checkpoint{cp}
	p.log.skey = next.skey
	if got := p.look(Memory{Sum: sum}); got.Verdict != Passed || !slices.Equal(keys(got), []string{"new"}) {
		t.Errorf("of the same size: %s, keys %q\n%s", got.Verdict, keys(got), told(got))
	}
}

func TestMemoryFiles(t *testing.T) {
	p, sum := start(t)
	file := func(archive, proof []byte) Reference {
		return FileReference("web-1.4.2.tgz", Subject{Archive: bytes.NewReader(archive), Proof: proof})
	}
	verify := func(m Memory, ref Reference) Recollection {
		t.Helper()
		m.Connect, m.Now = connect, someTime
		got, err := m.Verify(t.Context(), []Reference{ref})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	p.log.filler(5)
	old := p.log.prove(3, 4).Marshal() // of a checkpoint before the one that is remembered
	p.now()
	web := p.archives["web-1.4.2.tgz"]
	if got := verify(Memory{Sum: sum}, file(web, old)); got.Verdict != Passed || got.Sum.Checkpoints[0].Size != 10 {
		t.Errorf("an older proof: %s\n%s", got.Verdict, told(got))
	}
	if got := verify(Memory{Sum: sum}, file(changedWeb(t), old)); got.Verdict != Failed || !strings.Contains(told(got), "pinned-digest fail") {
		t.Errorf("other bytes: %s\n%s", got.Verdict, told(got))
	}
	// Without a server a file can be remembered no further than its proof.
	got := verify(Memory{Keys: []string{p.log.vkey}}, file(web, old))
	if got.Verdict != Incomplete || !strings.Contains(told(got), "no server is known") {
		t.Errorf("no server: %s\n%s", got.Verdict, told(got))
	}
	if got := verify(Memory{Keys: []string{p.log.vkey}, Server: p.url}, file(web, old)); got.Verdict != Passed || got.Sum.Charts[0].Door != "" {
		t.Errorf("a server: %s\n%s", got.Verdict, told(got))
	}
}

func TestMemoryCanceled(t *testing.T) {
	p, sum := start(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p.intercept = func(http.ResponseWriter, *http.Request) bool { stop(); return false }
	m := Memory{Sum: sum, Connect: connect, Now: someTime}
	if _, err := m.Verify(ctx, nil); err == nil || !canceled(err) {
		t.Errorf("%v", err)
	}
}

// Credentials go to the server that they were configured for: Connect decides,
// and is asked for each server by its own URL.
func TestMemoryConnects(t *testing.T) {
	p, sum := start(t)
	q := newPlace(t, newHistory(t, "second.example.test", 8))
	q.release(changedWeb(t))
	var asked []string
	m := Memory{Sum: sum, Keys: []string{q.log.vkey}, Now: someTime, Connect: func(s string) (*Client, error) {
		asked = append(asked, s)
		return connect(s)
	}}
	if _, err := m.Verify(t.Context(), []Reference{p.ref("demo/web@1.4.2"), q.ref("oci://HOST/demo/web:1.4.2")}); err != nil {
		t.Fatal(err)
	}
	if want := []string{p.url, q.url}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}
