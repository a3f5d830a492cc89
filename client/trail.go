package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// AuditState is what was proven of a server's logs, to go on from later. With
// it only what is new has to be read. It is JSON that can be kept in a file.
type AuditState struct {
	Schema   string    `json:"schema"` // audit-state/v1
	Audit    TreeState `json:"audit"`
	Releases TreeState `json:"releases"`
}

// auditStateSchema is that of AuditState.
const auditStateSchema = "audit-state/v1"

// TreeState is a tree at a size: its root, and the hashes of its right edge,
// from which it can be grown.
type TreeState struct {
	Origin string        `json:"origin"`
	Size   int64         `json:"size"`
	Root   tlog.Hash     `json:"root"`
	Edge   [][]tlog.Hash `json:"edge"`
}

// ParseAuditState reads what was kept. It is believed as far as the edge has
// the root.
func ParseAuditState(b []byte) (*AuditState, error) {
	var s AuditState
	if err := json.Unmarshal(b, &s); err != nil || s.Schema != auditStateSchema {
		return nil, problem.New(problem.Invalid, "audit-state", "this is not a state that audit verify has kept").
			Suggest("leave --since-file out once, which checks everything")
	}
	for _, t := range []*TreeState{&s.Audit, &s.Releases} {
		if edge, err := tlog.NewEdge(t.Size, t.Edge); err != nil || edge.Root() != t.Root {
			return nil, problem.New(problem.Invalid, "audit-state", "the state that was kept of log %s does not fit together", t.Origin).
				Suggest("leave --since-file out once, which checks everything")
		}
	}
	return &s, nil
}

// AuditVerification is what came out of checking an audit log from outside.
type AuditVerification struct {
	Origin  string  `json:"origin"`
	From    int64   `json:"from"` // events before it were checked before
	Size    int64   `json:"size"`
	Root    string  `json:"root"`    // base64
	Anchors int     `json:"anchors"` // states of it in the release log that were compared
	Checks  []Check `json:"checks"`
	Verdict Verdict `json:"verdict"`
	// State is what to keep for the next time; nil unless everything held.
	State *AuditState `json:"-"`
}

// anchorsDue is the age of an audit log from which on some state of it has to
// stand in the release log.
const anchorsDue = 2 * time.Hour

// VerifyAudit checks the audit log of the server: it computes the tree anew
// from every event, compares it with what the audit log's key signed, and with
// every state of it that the release log vouches for, which is computed anew
// and compared likewise. Addresses are compared with what events commit to.
//
// logKey and auditKey are verifier keys; without them the signatures are
// unchecked. since is what was proven before; nil checks everything. An error
// means that something could not be asked; what is false is in the result.
// Cost: all leaves since then, some 600 bytes each.
func (c *Client) VerifyAudit(ctx context.Context, logKey, auditKey string, since *AuditState, now time.Time) (AuditVerification, error) {
	v := &trailVerifier{c: c, ctx: ctx}
	if since == nil {
		since = &AuditState{}
	}
	// In this order: what the release log vouches for was signed before, so
	// that the audit log which is read afterwards has it.
	releases, err := v.tree("release log", since.Releases, logKey, v.releaseHead, v.releaseLeaves, v.anchor)
	if err != nil {
		return AuditVerification{}, err
	}
	slices.SortStableFunc(v.anchors, func(a, b anchorLeaf) int { return int(a.Size - b.Size) })
	trail, err := v.tree("audit log", since.Audit, auditKey, v.auditHead, v.auditLeaves, nil)
	if err != nil {
		return AuditVerification{}, err
	}
	v.settle(&trail, since.Audit.Size > 0, now)
	out := AuditVerification{Origin: trail.Origin, From: since.Audit.Size, Size: trail.Size, Root: trail.Root.String(), Anchors: v.compared, Checks: v.checks, Verdict: verdictOf(v.checks)}
	if out.Verdict == Passed {
		out.State = &AuditState{Schema: auditStateSchema, Audit: trail, Releases: releases}
	}
	return out, nil
}

// anchorLeaf is an anchor with the index of its leaf.
type anchorLeaf struct {
	tlog.Audit
	index int64
}

// trailVerifier is a check on its way.
type trailVerifier struct {
	c         *Client
	ctx       context.Context
	checks    []Check
	anchors   []anchorLeaf
	compared  int
	falsely   []string  // anchors that do not hold
	first     time.Time // of the first event that was read
	sources   int
	forgotten int
	forged    []int64 // events whose address is not the one that they commit to
	rowless   []int64 // events whose row is gone
}

func (v *trailVerifier) add(name string, result Outcome, format string, args ...any) {
	v.checks = append(v.checks, Check{Name: name, Result: result, Detail: fmt.Sprintf(format, args...)})
}

// tree reads a log from where it was left, and compares it with its head.
func (v *trailVerifier) tree(name string, from TreeState, key string, head func() ([]byte, error), leaves func(from int64, limit int) ([][]byte, error), each func(int64, []byte)) (TreeState, error) {
	text, err := head()
	if err != nil {
		return TreeState{}, err
	}
	cp, err := tlog.ParseCheckpoint(text)
	if err != nil {
		return TreeState{}, problem.New(problem.Unavailable, "answer", "the server's checkpoint of the %s is not understood", name).Because(err)
	}
	switch origin, keys, kerr := logKeys(key); {
	case key == "":
		v.add(name+" signature", Unchecked, "no key of the %s was given; one that the server gives proves nothing", name)
	case kerr != nil:
		return TreeState{}, kerr
	default:
		v.signature(name, text, origin, keys)
	}
	edge, err := tlog.NewEdge(from.Size, from.Edge)
	if err != nil {
		return TreeState{}, err
	}
	switch {
	case from.Size > 0 && from.Origin != cp.Origin:
		v.add(name, Fail, "it is the log %s, and the state that was kept is of %s", cp.Origin, from.Origin)
	case cp.Size < from.Size:
		v.add(name, Fail, "it had %d leaves when it was checked before, and has %d now: it went back", from.Size, cp.Size)
	default:
		if err := v.grow(name, edge, cp, leaves, each); err != nil {
			return TreeState{}, err
		}
	}
	return TreeState{Origin: cp.Origin, Size: edge.Size(), Root: edge.Root(), Edge: edge.Levels()}, nil
}

func (v *trailVerifier) signature(name string, text []byte, origin string, keys note.Verifiers) {
	if _, err := tlog.OpenCheckpoint(text, origin, keys); err != nil {
		v.add(name+" signature", Fail, "%s", messageOf(err))
		return
	}
	v.add(name+" signature", Pass, "its head is signed by the key that was given")
}

// grow appends the leaves that are new, and compares the roots. While it grows,
// every anchor that it reaches is compared.
func (v *trailVerifier) grow(name string, edge *tlog.Edge, cp tlog.Checkpoint, leaves func(from int64, limit int) ([][]byte, error), each func(int64, []byte)) error {
	began := edge.Size()
	for edge.Size() < cp.Size {
		from := edge.Size()
		want := min(cp.Size-from, tlog.TileHashes-from%tlog.TileHashes)
		page, err := leaves(from, int(want))
		if err != nil {
			return err
		}
		if int64(len(page)) != want {
			v.add(name, Fail, "the server gives %d of the %d leaves from %d on: leaves are missing", len(page), want, from)
			return nil
		}
		for i, entry := range page {
			edge.Append(tlog.LeafHash(entry))
			if each != nil {
				each(from+int64(i), entry)
			} else {
				v.reach(edge)
			}
		}
	}
	if edge.Root() != cp.Root {
		v.add(name, Fail, "its %d leaves do not have the root that was signed: leaves were changed, taken out or put in", cp.Size)
		return nil
	}
	v.add(name, Pass, "%d leaves, %d of them new, have the root that was signed", cp.Size, cp.Size-began)
	return nil
}

func (v *trailVerifier) releaseHead() ([]byte, error) { return v.c.Checkpoint(v.ctx) }

func (v *trailVerifier) auditHead() ([]byte, error) {
	var out struct {
		Checkpoint string `json:"checkpoint"`
	}
	err := v.c.get(v.ctx, "/audit/log", nil, "audit-log/v1", &out)
	return []byte(out.Checkpoint), err
}

// releaseLeaves reads a bundle of the log, which is the tile that from is in.
func (v *trailVerifier) releaseLeaves(from int64, limit int) ([][]byte, error) {
	n, skip := from/tlog.TileHashes, int(from%tlog.TileHashes)
	res, err := v.c.do(v.ctx, call{method: http.MethodGet, path: "/log/" + tlog.EntriesPath(n, skip+limit)})
	if err != nil {
		return nil, err
	}
	defer drain(res.Body)
	b, err := v.c.read(res, tlog.TileHashes*(tlog.MaxEntry+2))
	if err != nil {
		return nil, err
	}
	entries, err := tlog.ParseEntryBundle(b)
	if err != nil || len(entries) < skip {
		return nil, problem.New(problem.Unavailable, "answer", "the server's leaves are not understood").Because(err)
	}
	return entries[skip:], nil
}

// auditLeaves reads events, and compares their addresses.
func (v *trailVerifier) auditLeaves(from int64, limit int) ([][]byte, error) {
	var l List[struct {
		Index     int64  `json:"index"`
		Leaf      string `json:"leaf"`
		IP        string `json:"ip"`
		UserAgent string `json:"user_agent"`
		Salt      []byte `json:"salt"`
		Missing   bool   `json:"missing"`
	}]
	q := url.Values{"from": {strconv.FormatInt(from, 10)}, "limit": {strconv.Itoa(limit)}}
	if err := v.c.get(v.ctx, "/audit/log/entries", q, "audit-entries/v1", &l); err != nil {
		return nil, err
	}
	out := make([][]byte, 0, len(l.Items))
	for i, e := range l.Items {
		if e.Index != from+int64(i) || len(out) == limit {
			break
		}
		out = append(out, []byte(e.Leaf))
		var said struct {
			Source string    `json:"source"`
			Time   time.Time `json:"time"`
		}
		err := json.Unmarshal([]byte(e.Leaf), &said)
		if v.first.IsZero() {
			v.first = said.Time
		}
		switch {
		case e.Missing:
			v.rowless = append(v.rowless, e.Index)
		case err != nil || said.Source == "" || len(e.Salt) == 0 && e.IP == "" && e.UserAgent == "":
			v.forgotten++ // or none was there
		case commitment(e.Salt, e.IP, e.UserAgent) != said.Source:
			v.forged = append(v.forged, e.Index)
		default:
			v.sources++
		}
	}
	return out, nil
}

// commitment is what an event says of where its request came from:
// chartkeep/audit/v1, "source".
func commitment(salt []byte, ip, userAgent string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Appendf(nil, "chartkeep/audit/source/v1\n%x\n%s\n%s\n", salt, ip, userAgent)))
}

// anchor remembers what the release log says of the audit log.
func (v *trailVerifier) anchor(index int64, entry []byte) {
	if leaf, err := tlog.ParseLeaf(entry); err == nil {
		if a, ok := leaf.(tlog.Audit); ok {
			v.anchors = append(v.anchors, anchorLeaf{a, index})
		}
	}
}

// reach compares the anchors of the size that the audit log has now.
func (v *trailVerifier) reach(edge *tlog.Edge) {
	for len(v.anchors) > 0 && v.anchors[0].Size <= edge.Size() {
		a := v.anchors[0]
		v.anchors = v.anchors[1:]
		if a.Size < edge.Size() {
			continue // of before the state that was kept
		}
		v.compare(a, edge.Root())
	}
}

// compare holds an anchor against the root that the audit log had at its size.
func (v *trailVerifier) compare(a anchorLeaf, root tlog.Hash) {
	if v.compared++; a.Root != root {
		v.falsely = append(v.falsely, fmt.Sprintf("leaf %d of the release log says that the first %d events are others", a.index, a.Size))
	}
}

// settle says what came of anchors and addresses. before says that some of the
// audit log was proven earlier.
func (v *trailVerifier) settle(trail *TreeState, before bool, now time.Time) {
	for _, a := range v.anchors {
		switch {
		case a.Size == trail.Size:
			v.compare(a, trail.Root)
		case a.Size > trail.Size:
			v.falsely = append(v.falsely, fmt.Sprintf("leaf %d of the release log says that there were %d events, and there are %d", a.index, a.Size, trail.Size))
		}
	}
	switch {
	case len(v.falsely) > 0:
		v.add("anchors", Fail, "%s", firstOf(v.falsely))
	case v.compared > 0:
		v.add("anchors", Pass, "states of the audit log in the release log: %d, and it went through each of them", v.compared)
	case before:
		v.add("anchors", Pass, "the release log has no state of the audit log that is newer than what was proven before")
	default:
		// A server that is young has none yet, and one that is not should.
		v.checks = append(v.checks, Check{Name: "anchors", Result: Unchecked, optional: v.first.IsZero() || now.Sub(v.first) < anchorsDue,
			Detail: "the release log has no state of the audit log; a server writes one within a minute of its start, and every hour"})
	}
	switch {
	case len(v.rowless) > 0:
		v.add("sources", Fail, "events whose rows are gone: %d, the first is event %d", len(v.rowless), v.rowless[0])
	case len(v.forged) > 0:
		v.add("sources", Fail, "events that came from another address than the one that is shown: %d, the first is event %d", len(v.forged), v.forged[0])
	default:
		v.add("sources", Pass, "addresses that are those that the events commit to: %d; none or forgotten: %d", v.sources, v.forgotten)
	}
}

func firstOf(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s, and %d more", all[0], len(all)-1)
}
