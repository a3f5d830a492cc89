package client

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// logRecall holds all checkpoints of one log against each other that came up in
// a run: those that are remembered, those that came with proofs, and the newest
// of each server.
type logRecall struct {
	r       *recall
	origin  string
	keys    note.Verifiers // all that were ever trusted
	present note.Verifiers // those that have not ended
	clients []*Client
	// points are signed, by size; those of one size and root stay apart, since
	// they may have other cosignatures.
	points []tlog.Checkpoint
	anchor *tlog.Checkpoint // the newest that all holds for
	out    LogRecall
}

// log returns the state of a log, whose keys are known.
func (r *recall) log(origin string, c *Client) *logRecall {
	l := r.logs[origin]
	if l == nil {
		l = &logRecall{r: r, origin: origin, out: LogRecall{Origin: origin, Checks: []Check{}}}
		r.logs[origin] = l
		r.order = append(r.order, origin)
	}
	// With a server, more keys may have become known.
	l.keys = keysOf(r.keys, origin)
	l.present = keysOf(slices.DeleteFunc(slices.Clone(r.keys), r.hasEnded), origin)
	if c != nil && !slices.Contains(l.clients, c) {
		l.clients = append(l.clients, c)
	}
	return l
}

// keyText is what Verify takes as the log's keys.
func (l *logRecall) keyText() string {
	var b strings.Builder
	for _, key := range l.r.keys {
		if strings.HasPrefix(key, l.origin+"+") {
			b.WriteString(key + "\n")
		}
	}
	return b.String()
}

// add takes a checkpoint whose signature was checked.
func (l *logRecall) add(cp tlog.Checkpoint) {
	if !slices.ContainsFunc(l.points, func(p tlog.Checkpoint) bool { return bytes.Equal(p.Note, cp.Note) }) {
		l.points = append(l.points, cp)
	}
}

func (l *logRecall) check(name string, result Outcome, format string, args ...any) {
	l.out.Checks = append(l.out.Checks, Check{Name: name, Result: result, Detail: fmt.Sprintf(format, args...)})
}

// run makes the checks of the log.
func (l *logRecall) run() {
	defer func() { l.out.Verdict = verdictOf(l.out.Checks) }()
	l.gather()
	// Of one size, what a key signed that has ended comes first.
	slices.SortStableFunc(l.points, func(a, b tlog.Checkpoint) int {
		if a.Size == b.Size && l.signedByPresent(a) != l.signedByPresent(b) {
			if l.signedByPresent(a) {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Size, b.Size)
	})
	l.checkConsistency()
	if verdictOf(l.out.Checks) == Failed {
		return
	}
	l.checkWitnesses()
	if l.anchor != nil {
		l.out.Size, l.out.Root = l.anchor.Size, l.anchor.Root.String()
	}
}

// gather opens what is remembered and fetches what the servers show now.
func (l *logRecall) gather() {
	good := true
	open := func(text []byte, keys note.Verifiers, whose string) (tlog.Checkpoint, bool) {
		cp, err := tlog.OpenCheckpoint(text, l.origin, keys)
		if err != nil {
			good = false
			l.check(CheckSignature, outcomeOf(err), "%s: %s", whose, messageOf(err))
			return cp, false
		}
		l.add(cp)
		return cp, true
	}
	for _, cp := range l.r.Sum.Checkpoints {
		if cp.Origin != l.origin {
			continue
		}
		if cp, ok := open(cp.Note, l.keys, "the checkpoint that is remembered"); ok {
			l.out.Pinned = max(l.out.Pinned, cp.Size)
		}
	}
	var stale, fetch []string
	for _, c := range l.clients {
		text, err := l.fetch(c)
		if err != nil {
			fetch = append(fetch, c.base+": "+messageOf(err))
			continue
		}
		if cp, ok := open(text, l.present, c.base); ok && cp.Size < l.out.Pinned {
			stale = append(stale, fmt.Sprintf("%s shows the log at %d entries, and %d were seen before: an old copy, or the log was rolled back", c.base, cp.Size, l.out.Pinned))
		}
	}
	if good && len(l.points) > 0 {
		l.check(CheckSignature, Pass, "every checkpoint is signed by the key of %s", l.origin)
	}
	switch {
	case len(fetch) > 0:
		l.check(CheckFresh, Unchecked, "the newest checkpoint could not be had: %s", strings.Join(fetch, "; "))
	case len(l.clients) == 0:
		l.check(CheckFresh, Unchecked, "no server is known that has the newest checkpoint")
	case len(stale) > 0:
		l.check(CheckFresh, Unchecked, "%s", strings.Join(stale, "; "))
	case good:
		l.check(CheckFresh, Pass, "no server shows less of the log than was seen before")
	}
}

// askAgain lies between two looks for cosignatures.
const askAgain = 500 * time.Millisecond

// fetch gets the newest checkpoint of a server. Witnesses cosign a moment after
// the log grew, and a server may show it before they did; so it is asked again
// for as long as the caller is patient.
func (l *logRecall) fetch(c *Client) ([]byte, error) {
	for left := l.r.Patience; ; left -= askAgain {
		text, err := c.Checkpoint(l.r.ctx)
		if err != nil || l.r.Policy == nil || left <= 0 {
			return text, err
		}
		cp, err := tlog.ParseCheckpoint(text)
		if err != nil {
			return text, nil // which is told where it is opened
		}
		if _, err := l.witnessed(cp); err == nil || problem.KindOf(err) == problem.Disproven {
			return text, nil
		}
		timer := time.NewTimer(askAgain)
		select {
		case <-l.r.ctx.Done():
			timer.Stop()
			return nil, l.r.ctx.Err()
		case <-timer.C:
		}
	}
}

// checkConsistency goes from each checkpoint to the next larger one.
func (l *logRecall) checkConsistency() {
	var open []string
	for i := 1; i < len(l.points); i++ {
		older, newer := l.points[i-1], l.points[i]
		found, err := l.link(older, newer)
		if found != nil {
			l.r.found = append(l.r.found, l.r.stamp(*found))
			l.check(CheckConsistency, Fail, "%s", found.Found)
			return
		}
		if err != nil {
			open = append(open, fmt.Sprintf("from %d to %d entries: %s", older.Size, newer.Size, messageOf(err)))
		}
	}
	switch {
	case len(open) > 0:
		l.check(CheckConsistency, Unchecked, "the servers do not show that the log only grew %s", strings.Join(open, "; "))
	case len(l.points) == 0:
		l.check(CheckConsistency, Unchecked, "there is no checkpoint")
	case l.out.Pinned == 0:
		l.check(CheckConsistency, Pass, "all checkpoints are of one log; none was remembered")
	default:
		l.check(CheckConsistency, Pass, "the log of %d entries begins with the %d that are remembered", l.points[len(l.points)-1].Size, l.out.Pinned)
	}
}

// link checks that the newer checkpoint's log begins with the older one's. It
// returns evidence when it does not, and an error when nobody shows either.
//
// A proof that does not hold may be a false proof of something true. Then the
// hashes of the newer log are read: they show the whole world what it was at
// the older size, whatever the server says.
func (l *logRecall) link(older, newer tlog.Checkpoint) (*Evidence, error) {
	if older.Size == newer.Size {
		if older.Root == newer.Root {
			return nil, nil
		}
		e := forkOf(older, newer, newer.Root, nil)
		e.Found = fmt.Sprintf("the log %s signed two different logs of %d entries", newer.Origin, newer.Size)
		return &e, nil
	}
	if older.Size == 0 {
		if tlog.VerifyConsistency(0, older.Root, newer.Size, newer.Root, nil) == nil {
			return nil, nil
		}
		e := forkOf(older, newer, tlog.EmptyRoot(), nil)
		return &e, nil
	}
	last := error(problem.New(problem.Unavailable, "", "no server is known that could show it"))
	var untrue *Evidence
	for _, c := range l.clients {
		hashes, err := c.Consistency(l.r.ctx, older.Size, newer.Size)
		if err != nil {
			last = err
			continue
		}
		if tlog.VerifyConsistency(older.Size, older.Root, newer.Size, newer.Root, hashes) == nil {
			return nil, nil
		}
		prefix, hashes, err := (tree{l.r.ctx, c, newer}).prefix(older.Size)
		switch {
		case err == nil && prefix == older.Root:
			return nil, nil
		case err == nil:
			e := forkOf(older, newer, prefix, hashes)
			e.Server = c.base
			return &e, nil
		case canceled(err):
			last = err
		default:
			untrue = &Evidence{
				Kind: EvidenceAnswer, Origin: l.origin, Server: c.base, Older: string(older.Note), Newer: string(newer.Note),
				Found: fmt.Sprintf("%s was asked to show that the log grew from %d to %d entries, and its proof does not hold", c.base, older.Size, newer.Size),
			}
		}
	}
	if untrue != nil {
		return untrue, nil
	}
	return nil, last
}

// checkWitnesses chooses the newest checkpoint that enough witnesses signed,
// and not too long ago; without a policy it is the newest.
func (l *logRecall) checkWitnesses() {
	if len(l.points) == 0 {
		return
	}
	if l.r.Policy == nil {
		if l.r.MaxAge > 0 {
			l.check(CheckWitness, Unchecked, "a checkpoint carries no time: without witnesses in a policy its age is not known")
			return
		}
		l.anchor = l.kept(l.points[len(l.points)-1])
		return
	}
	var last string
	for i := range slices.Backward(l.points) {
		cp := l.points[i]
		if cp.Size < l.out.Pinned {
			break
		}
		by, err := l.witnessed(cp)
		if err != nil {
			if problem.KindOf(err) == problem.Disproven {
				l.check(CheckWitness, Fail, "%s", messageOf(err))
				return
			}
			last = cmp.Or(last, messageOf(err))
			continue
		}
		l.anchor = l.kept(cp)
		l.check(CheckWitness, Pass, "the checkpoint of %d entries is cosigned by %s", cp.Size, by)
		return
	}
	l.check(CheckWitness, Unchecked, "%s", cmp.Or(last, "no checkpoint that enough witnesses signed is as new as the one that is remembered"))
}

// signedByPresent says whether a checkpoint can be opened without the keys that
// have ended.
func (l *logRecall) signedByPresent(cp tlog.Checkpoint) bool {
	_, err := tlog.OpenCheckpoint(cp.Note, l.origin, l.present)
	return err == nil
}

// kept is what is remembered of a checkpoint that is believed: where the log
// did not grow, what is remembered already, unless the policy wants other
// cosignatures. So a file does not change when nothing did.
func (l *logRecall) kept(cp tlog.Checkpoint) *tlog.Checkpoint {
	for _, old := range l.r.Sum.Checkpoints {
		if old.Origin != l.origin || old.Size != cp.Size || old.Root != cp.Root || !l.signedByPresent(old) {
			continue
		}
		if l.r.Policy == nil {
			return &old
		}
		if w, err := l.r.Policy.Check(old.Note, l.origin, l.keys); err == nil && w.Quorum {
			return &old
		}
	}
	return &cp
}

// witnessed says by whom a checkpoint is cosigned, if these are enough. With an
// age, only cosignatures count that are not older, and not from the future.
func (l *logRecall) witnessed(cp tlog.Checkpoint) (by string, err error) {
	w, err := l.r.Policy.Check(cp.Note, l.origin, l.keys)
	if err != nil {
		return "", err
	}
	if l.r.MaxAge > 0 {
		old := map[string]bool{}
		for _, c := range w.Cosigned {
			if c.Time.Before(l.r.Now.Add(-l.r.MaxAge)) || c.Time.After(l.r.Now.Add(clockSkew)) {
				old[c.Key] = true
			}
		}
		if len(old) == len(w.Cosigned) {
			return "", problem.New(problem.Unavailable, "", "no cosignature of the checkpoint of %d entries is younger than %s%s", cp.Size, l.r.MaxAge, newest(w))
		}
		if w, err = l.r.Policy.Check(without(cp.Note, old), l.origin, l.keys); err != nil {
			return "", err
		}
	}
	if !w.Quorum {
		return "", problem.New(problem.Unavailable, "", "the checkpoint of %d entries does not have the quorum %s; missing: %s", cp.Size, l.r.Policy.Quorum, strings.Join(w.Missing, ", "))
	}
	names := make([]string, len(w.Cosigned))
	for i, c := range w.Cosigned {
		names[i] = c.Name + " " + c.Time.UTC().Format(time.RFC3339)
	}
	if len(names) == 0 {
		return "nobody, which the policy allows", nil
	}
	return strings.Join(names, ", "), nil
}

// newest tells when the newest cosignature was made.
func newest(w tlog.Witnessed) string {
	var at time.Time
	for _, c := range w.Cosigned {
		if c.Time.After(at) {
			at = c.Time
		}
	}
	if at.IsZero() {
		return ""
	}
	return "; the newest is of " + at.UTC().Format(time.RFC3339)
}

// without takes the signatures of some keys out of a note.
func without(text []byte, keys map[string]bool) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		name, _, _ := strings.Cut(strings.TrimPrefix(string(line), "— "), " ")
		if bytes.HasPrefix(line, []byte("— ")) && keys[name] {
			continue
		}
		out = append(out, line...)
	}
	return out
}
