package client

import (
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Evidence of a second entry is completed by whoever kept the first proof.
func TestEvidenceCompleted(t *testing.T) {
	p, sum := start(t)
	kept := p.log.prove(3, 5).Marshal()
	p.release(changedWeb(t))
	p.private = true
	got := p.look(Memory{Sum: sum}, "demo/web@1.4.2")
	if len(got.Evidence) != 1 {
		t.Fatalf("%d pieces of evidence\n%s", len(got.Evidence), told(got))
	}
	e := got.Evidence[0]
	if j, err := e.Judge(p.log.vkey); err != nil || j.Convicted {
		t.Errorf("half of it convicts: %+v, %v", j, err)
	}
	if j, err := e.Judge(p.log.vkey, kept); err != nil || !j.Convicted || !strings.Contains(j.Statement, "demo/web@1.4.2 has two entries") {
		t.Errorf("%+v, %v", j, err)
	}
	for name, proof := range map[string][]byte{"the same": []byte(e.Proofs[0]), "of another release": p.log.prove(4, 5).Marshal(), "of none": p.log.prove(0, 5).Marshal(), "garbage": []byte("x")} {
		if j, err := e.Judge(p.log.vkey, proof); err != nil || j.Convicted {
			t.Errorf("with a proof that is %s: %+v, %v", name, j, err)
		}
	}
}

// Two entries at one place of two signed logs are a fork, by themselves.
func TestEvidenceOfChangedEntry(t *testing.T) {
	p, _ := start(t)
	e := Evidence{Kind: EvidenceEntry, Proofs: []string{string(p.log.prove(3, 5).Marshal())}}
	p.log.leaves[3] = p.log.leaves[4]
	e.Proofs = append(e.Proofs, string(p.log.prove(3, 5).Marshal()))
	if j, err := e.Judge(p.log.vkey); err != nil || !j.Convicted || !strings.Contains(j.Statement, "whose entries 3 differ") {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := e.Judge(""); problem.KindOf(err) != problem.Invalid {
		t.Errorf("without a key: %v", err)
	}
	if _, err := e.Judge("x"); problem.KindOf(err) != problem.Invalid {
		t.Errorf("with a key that is none: %v", err)
	}
}

func TestParseEvidenceRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "x", "another schema": `{"schema":"log-evidence/v2","kind":"fork"}`, "another kind": `{"schema":"log-evidence/v1","kind":"x"}`,
		"a list": `[]`, "cut off": `{"schema":"log-evidence/v1","kind":"fork"`, "a number": `{"schema":"log-evidence/v1","kind":"fork","older":1}`,
	} {
		if e, err := ParseEvidence([]byte(text)); problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	if _, err := ParseEvidence(make([]byte, MaxEvidence+1)); problem.KindOf(err) != problem.TooLarge {
		t.Errorf("too large: %v", err)
	}
}

// An honest log can never be convicted, whatever is put into the file.
func TestHonestLogIsNotConvicted(t *testing.T) {
	p, _ := start(t)
	p.log.filler(20)
	cp := func(n int64) string { return string(p.log.checkpoint(n)) }
	_, full := p.log.edge(25)
	edge, _ := p.log.edge(25)
	hashes, err := tlog.ConsistencyProof(5, 25, edge, full)
	if err != nil {
		t.Fatal(err)
	}
	older, _ := tlog.ParseCheckpoint(p.log.checkpoint(5))
	newer, _ := tlog.ParseCheckpoint(p.log.checkpoint(25))
	honest := forkOf(older, newer, older.Root, hashes)
	lies := map[string]func(*Evidence){
		"as it is":       func(*Evidence) {},
		"another prefix": func(e *Evidence) { e.Prefix = newer.Root.String() },
		"turned round":   func(e *Evidence) { e.Older, e.Newer = e.Newer, e.Older },
		"the same twice": func(e *Evidence) { e.Older, e.Prefix, e.Consistency = e.Newer, newer.Root.String(), nil },
		"no proof":       func(e *Evidence) { e.Consistency = nil },
		"empty log":      func(e *Evidence) { e.Older, e.Consistency = cp(0), nil },
		"as entries":     func(e *Evidence) { e.Kind = EvidenceEntry },
		"one entry twice": func(e *Evidence) {
			e.Kind, e.Proofs = EvidenceEntry, []string{string(p.log.prove(3, 5).Marshal()), string(p.log.prove(3, 25).Marshal())}
		},
		"two releases": func(e *Evidence) {
			e.Kind, e.Proofs = EvidenceEntry, []string{string(p.log.prove(3, 5).Marshal()), string(p.log.prove(4, 25).Marshal())}
		},
		"an answer": func(e *Evidence) { e.Kind = EvidenceAnswer },
	}
	for name, lie := range lies {
		e := honest
		lie(&e)
		if j, err := e.Judge(p.log.vkey); err != nil || j.Convicted || j.Statement == "" || len(j.Checks) == 0 {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
}

// FuzzEvidence holds that no evidence convicts an honest log, or panics.
func FuzzEvidence(f *testing.F) {
	p, sum := start(f)
	p.log.filler(3)
	older, newer := string(p.log.checkpoint(5)), string(p.log.checkpoint(8))
	for _, e := range []Evidence{
		{Kind: EvidenceFork, Older: older, Newer: newer, Prefix: sum.Checkpoints[0].Root.String()},
		{Kind: EvidenceEntry, Proofs: []string{string(p.log.prove(3, 5).Marshal()), string(p.log.prove(4, 5).Marshal())}},
		{Kind: EvidenceAnswer},
	} {
		b, err := e.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	vkey := p.log.vkey
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvidence(b)
		if err != nil {
			return
		}
		if j, err := e.Judge(vkey); err != nil || j.Convicted {
			t.Fatalf("%+v, %v", j, err)
		}
	})
}
