package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Memory verifies releases against what was verified before. It is for one
// call of Verify.
//
// A log shows that an archive is what it says, and that it only grew. It cannot
// show that everybody is told the same, nor that a release has one entry only.
// Whoever remembers what he was told finds out about both.
type Memory struct {
	Sum Sum // what is remembered; Verify does not change it
	// Keys are verifier keys of logs that the caller trusts, beside those of Sum
	// and Policy. A log that is none of these cannot be used: a key that came
	// from the server would prove nothing.
	Keys []string
	// Policy says how many witnesses must have seen the same log; nil asks for
	// none. MaxAge is how old the cosignatures may be that count, 0 for any age:
	// a checkpoint itself carries no time.
	Policy *tlog.WitnessPolicy
	MaxAge time.Duration
	// Patience is how long to wait for witnesses that have not cosigned yet; they
	// do so a second or two after a log grew.
	Patience time.Duration
	// Locked leaves releases unchecked that are not remembered yet. Otherwise
	// they are taken as they are the first time.
	Locked bool
	Now    time.Time
	// Server is asked about the log of files, "" where only the Sum knows one.
	Server string
	// Connect makes the client of a server. It gives a credential only to the
	// server that the credential was configured for.
	Connect func(server string) (*Client, error)
}

// Recollection is what came of it.
type Recollection struct {
	Charts  []Recalled  `json:"charts"`
	Logs    []LogRecall `json:"logs"`
	Verdict Verdict     `json:"verdict"`

	// Sum is what is to be remembered from now on: with another verdict than
	// Passed, what was remembered before.
	Sum Sum `json:"-"`
	// Evidence is there when something was proven false.
	Evidence []Evidence `json:"-"`
}

// Recalled is one release.
type Recalled struct {
	Subject string `json:"subject"` // the reference, as it was given or is remembered
	Door    string `json:"door,omitempty"`
	First   bool   `json:"first"` // nothing was remembered of it in this log
	Verification
}

// LogRecall is one log.
type LogRecall struct {
	Origin string `json:"origin"`
	// Pinned is the size of the log as it was remembered, 0 for the first time;
	// Size and Root are what was believed in the end, of the newest checkpoint
	// that all holds for.
	Pinned  int64   `json:"pinned_size"`
	Size    int64   `json:"size"`
	Root    string  `json:"root,omitempty"` // base64
	Checks  []Check `json:"checks"`
	Verdict Verdict `json:"verdict"`
}

// Verify verifies the releases, all that are remembered when there are none.
// Whatever comes of it is told in the checks; an error is one of the caller's
// input: a key that is none, or a server whose log's key nobody knows
// (Unavailable, rule "log-key-unknown").
//
// It asks for each release once, for each log's checkpoint and the list of its
// keys once, and for a consistency proof between each two checkpoints that came
// up.
func (m Memory) Verify(ctx context.Context, refs []Reference) (Recollection, error) {
	r := &recall{Memory: m, ctx: ctx, clients: map[string]*Client{}, logs: map[string]*logRecall{}, ended: map[string]time.Time{}, asked: map[string]bool{}, pins: slices.Clone(m.Sum.Charts)}
	if err := r.gatherKeys(); err != nil {
		return Recollection{}, err
	}
	if len(refs) == 0 {
		refs = r.remembered()
	}
	for _, ref := range refs {
		if err := r.chart(ref); err != nil {
			return Recollection{}, err
		}
	}
	for _, origin := range r.order {
		r.logs[origin].run()
	}
	for _, c := range r.charts {
		r.conclude(c)
	}
	if err := ctx.Err(); err != nil {
		return Recollection{}, err // what was not looked at is no finding
	}
	return r.result(), nil
}

// recall is one run of Verify.
type recall struct {
	Memory
	ctx     context.Context
	keys    []string             // of all logs that are trusted
	origins []string             // of these
	ended   map[string]time.Time // keys that signed until then
	asked   map[string]bool      // origins whose keys were followed
	clients map[string]*Client
	pins    []Pin // what is remembered, and what this run has seen
	charts  []*chartRecall
	logs    map[string]*logRecall
	order   []string // of logs
	found   []Evidence
}

// chartRecall is one release on its way.
type chartRecall struct {
	ref  Reference
	out  Recalled
	log  *logRecall // nil when the release could not be had
	text []byte     // the proof file
	leaf *tlog.Release
	pins []Pin // what was remembered of it
	at   Pin   // what it is now
}

func (r *recall) gatherKeys() error {
	r.keys = slices.Concat(r.Sum.Keys, r.Keys)
	if r.Policy != nil {
		for _, l := range r.Policy.Logs {
			r.keys = append(r.keys, l.VerifierKey)
		}
	}
	for i, key := range r.keys {
		v, err := tlog.NewVerifier(key)
		if err != nil {
			return err
		}
		r.keys[i] = strings.TrimSpace(key)
		r.origins = append(r.origins, v.Name())
	}
	r.keys = slices.Compact(slices.Sorted(slices.Values(r.keys)))
	r.origins = slices.Compact(slices.Sorted(slices.Values(r.origins)))
	return nil
}

// remembered are references to all that is remembered, each release once.
func (r *recall) remembered() []Reference {
	var refs []Reference
	seen := map[Pin]bool{}
	for _, p := range r.Sum.Charts {
		id := Pin{Origin: p.Origin, Ref: p.Ref}
		if seen[id] {
			continue
		}
		seen[id] = true
		if p.Door == "" {
			p.Door = r.doorOf(p.Origin)
		}
		refs = append(refs, p.reference(r.Server))
	}
	return refs
}

// doorOf is where a log's releases are, by the others of it, or by the
// configuration.
func (r *recall) doorOf(origin string) string {
	for _, p := range r.Sum.Charts {
		if p.Origin == origin && p.Door != "" {
			return p.Door
		}
	}
	return r.Server
}

// originOf is the log that a reference belongs to: the one that releases of
// this server were in before, else the one that the caller named a key of,
// else the only one that is trusted at all.
func (r *recall) originOf(ref Reference) (string, error) {
	if ref.origin != "" {
		return ref.origin, nil
	}
	if len(r.origins) == 0 {
		return "", unknownLog(ref, "no key of its log is known, and one from the server would prove nothing")
	}
	if ref.Local != nil {
		if p, err := tlog.ParseProof(ref.Local.Proof); err == nil {
			if cp, err := tlog.ParseCheckpoint(p.Checkpoint); err == nil && slices.Contains(r.origins, cp.Origin) {
				return cp.Origin, nil
			}
		}
	}
	before := map[string]bool{}
	for _, p := range r.Sum.Charts {
		if ref.Server != "" && sameServer(p.Door, ref) {
			before[p.Origin] = true
		}
	}
	named := map[string]bool{}
	for _, key := range r.Keys {
		name, _, _ := strings.Cut(key, "+")
		named[name] = true
	}
	all := map[string]bool{}
	for _, origin := range r.origins {
		all[origin] = true
	}
	for _, among := range []map[string]bool{before, named, all} {
		if len(among) == 1 {
			for origin := range among {
				return origin, nil
			}
		}
	}
	return "", unknownLog(ref, "which of the logs "+strings.Join(r.origins, ", ")+" it is in is not known")
}

func unknownLog(ref Reference, why string) error {
	return problem.New(problem.Unavailable, "log-key-unknown", "%s cannot be verified: %s", ref.Written, why).
		Suggest("give the key of its log once with --log-key FILE; whoever runs the server has it as log.vkey")
}

// sameServer says whether a door that is remembered leads to the server of a
// reference. Of an OCI door only the host is known.
func sameServer(door string, ref Reference) bool {
	if strings.HasPrefix(door, ociScheme) || strings.HasPrefix(ref.Door, ociScheme) {
		return hostOf(door) == hostOf(ref.Server)
	}
	return door == ref.Server
}

// client is that of a server, nil where none is known.
func (r *recall) client(server string) (*Client, error) {
	if server == "" {
		return nil, nil
	}
	if c, ok := r.clients[server]; ok {
		return c, nil
	}
	c, err := r.Connect(server)
	if err != nil {
		return nil, err
	}
	r.clients[server] = c
	return c, nil
}

// chart gets and verifies one release.
func (r *recall) chart(ref Reference) error {
	c := &chartRecall{ref: ref, out: Recalled{Subject: ref.Written, Door: ref.Door}}
	r.charts = append(r.charts, c)
	origin, err := r.originOf(ref)
	if err != nil {
		return err
	}
	server := ref.Server
	if ref.Local != nil && server == "" {
		server = serverAt(r.doorOf(origin), r.Server)
	}
	conn, err := r.client(server)
	if err != nil {
		return err
	}
	var s Subject
	switch {
	case ref.Local != nil:
		s = *ref.Local
	case conn == nil:
		c.unfetched("it was verified from a file, and no server of its log is known")
		return nil
	default:
		if s, err = conn.fetch(r.ctx, ref); err != nil {
			c.unfetched(messageOf(err))
			return nil
		}
	}
	if !slices.Contains(r.origins, origin) {
		return unknownLog(ref, "no key of the log "+origin+" is known")
	}
	r.follow(origin, conn)
	c.log = r.log(origin, conn)
	return r.verify(c, s)
}

// follow goes from the keys of a log that are trusted to those that came after
// them, as far as each is proven by the one before. What is not proven is not
// trusted, and tells itself in the signatures.
func (r *recall) follow(origin string, c *Client) {
	if c == nil || r.asked[origin] {
		return
	}
	list, err := c.Rotations(r.ctx)
	if err != nil {
		return // of a server that knows no rotations, too
	}
	r.asked[origin] = true
	for _, key := range slices.Clone(r.keys) {
		if !strings.HasPrefix(key, origin+"+") {
			continue
		}
		steps, err := FollowKey(key, list)
		if err != nil {
			continue
		}
		for _, s := range steps {
			r.ended[s.Old] = s.Until
			if !slices.Contains(r.keys, s.New) {
				r.keys = append(r.keys, s.New)
			}
		}
	}
}

// hasEnded says whether a key signs no more.
func (r *recall) hasEnded(key string) bool {
	until, ok := r.ended[key]
	return ok && r.Now.After(until.Add(clockSkew))
}

func (c *chartRecall) unfetched(why string) {
	c.out.Verification = Verification{Checks: []Check{{Name: CheckFetch, Result: Unchecked, Detail: why}}}
}

// verify makes the checks that need nothing but what was fetched.
func (r *recall) verify(c *chartRecall, s Subject) error {
	c.text = s.Proof
	proof, perr := tlog.ParseProof(s.Proof)
	if perr == nil {
		c.leaf = releaseOf(proof.Leaf)
	}
	s.LogKey, s.Now = c.log.keyText(), r.Now
	for _, p := range r.pins {
		if c.isOf(p) {
			c.pins = append(c.pins, p)
		}
	}
	s.Remembered = &c.pins
	v, err := Verify(s)
	if err != nil {
		return err
	}
	c.out.Verification = v
	c.out.First = !slices.ContainsFunc(c.pins, func(p Pin) bool { return p.Origin == c.log.origin })
	if c.out.First && r.Locked && c.out.Checks[0].Result != Fail {
		c.out.Checks[0] = Check{Name: CheckPin, Result: Unchecked, Detail: "nothing is remembered of it, and nothing new may be"}
	}
	if c.leaf == nil || perr != nil {
		return nil
	}
	c.at = Pin{Origin: c.log.origin, Ref: Ref{c.leaf.Project, c.leaf.Chart, c.leaf.Version}, Digest: v.Digest, Index: proof.Index, Door: c.ref.Door}
	if cp, err := tlog.ParseCheckpoint(proof.Checkpoint); err == nil && resultOf(v.Checks, CheckSignature) == Pass {
		c.log.add(cp)
	}
	if c.out.First && verdictOf(v.Checks) != Failed {
		r.pins = append(r.pins, c.at) // another door must show the same
	}
	return nil
}

func resultOf(checks []Check, name string) Outcome {
	for _, c := range checks {
		if c.Name == name {
			return c.Result
		}
	}
	return ""
}

// isOf says whether a pin is of the release that was asked for: by its name, by
// the name of its file, or by what the proof at hand says. A pin of another log
// counts as well, if it came from the same server.
func (c *chartRecall) isOf(p Pin) bool {
	if p.Origin != c.log.origin && (c.ref.Server == "" || !sameServer(p.Door, c.ref)) {
		return false
	}
	switch {
	case c.ref.File != "":
		return p.Project == c.ref.Project && chart.FileName(p.Chart, p.Version) == c.ref.File
	case c.ref.Local != nil:
		return c.leaf != nil && p.Ref == Ref{c.leaf.Project, c.leaf.Chart, c.leaf.Version}
	}
	return p.Ref == c.ref.Ref
}

// conclude adds what follows for a release from what was found of its log.
func (r *recall) conclude(c *chartRecall) {
	defer func() { c.out.Verdict = verdictOf(c.out.Checks) }()
	if c.log == nil {
		return
	}
	check := Check{Name: CheckCovered, Result: Unchecked}
	switch l := c.log; {
	case verdictOf(c.out.Checks) == Failed:
		e := r.evidence(c)
		forked := slices.ContainsFunc(r.found, func(f Evidence) bool { return f.Kind == EvidenceFork && f.Origin == e.Origin })
		if e.Kind != EvidenceAnswer || !forked {
			r.found = append(r.found, e)
		}
		return
	case c.at.Digest == "":
		return // there is no entry that could be covered
	case l.anchor == nil:
		check.Detail = "no checkpoint of the log is believed"
	case c.at.Index >= l.anchor.Size:
		check.Detail = fmt.Sprintf("it is entry %d, and the checkpoint that is believed covers %d; try again in a moment", c.at.Index, l.anchor.Size)
	default:
		check.Result, check.Detail = Pass, fmt.Sprintf("it is one of the %d entries that are believed and remembered", l.anchor.Size)
	}
	c.out.Checks = append(c.out.Checks, check)
}

// evidence is what can be shown to others of a release that is not what it was.
// Two entries for it convict the log, if the older one can still be had; that
// other bytes were served is the finder's word.
func (r *recall) evidence(c *chartRecall) Evidence {
	e := Evidence{Kind: EvidenceAnswer, Origin: c.log.origin, Release: c.ref.Written, Served: &Seen{Digest: c.out.Digest}, Server: c.ref.Server}
	for _, check := range c.out.Checks {
		if check.Result == Fail {
			e.Found = check.Detail
			break
		}
	}
	if c.text != nil {
		e.Proofs = []string{string(c.text)}
	}
	for _, p := range c.pins {
		if e.Pinned == nil || p.Digest != c.out.Digest {
			e.Pinned = &Seen{p.Digest, &p.Index}
		}
		if c.leaf == nil || p.Origin != c.log.origin || p.Index == c.at.Index {
			continue
		}
		e.Served.Index = &c.at.Index
		older := r.entry(c.log, p)
		if rel := releaseOf(older.Leaf); older.Leaf != nil && (rel == nil || rel.Project != p.Project || rel.Chart != p.Chart || rel.Version != p.Version) {
			e.Found = fmt.Sprintf("entry %d of the log is not one of %s: what is remembered did not come from this log", p.Index, p.Ref)
			break
		}
		e.Kind = EvidenceEntry
		if older.Leaf != nil {
			e.Proofs = []string{string(older.Marshal()), string(c.text)}
		}
		break
	}
	return r.stamp(e)
}

// entry is the proof of an entry that is remembered: one that this run has
// seen, or what the log still gives out; without a leaf it cannot be had.
func (r *recall) entry(l *logRecall, p Pin) tlog.Proof {
	for _, c := range r.charts {
		if c.log == l && c.at == p {
			if proof, err := tlog.ParseProof(c.text); err == nil {
				return proof
			}
		}
	}
	for _, cp := range slices.Backward(l.points) {
		for _, c := range l.clients {
			if proof, err := (tree{r.ctx, c, cp}).entry(p.Index); err == nil {
				return proof
			}
		}
	}
	return tlog.Proof{}
}

func (r *recall) stamp(e Evidence) Evidence {
	e.Schema, e.Time = evidenceSchema, r.Now.UTC().Truncate(time.Second)
	for _, key := range r.keys {
		if strings.HasPrefix(key, e.Origin+"+") {
			e.Keys = append(e.Keys, key)
		}
	}
	return e
}

// result puts together what came of it, and what is to be remembered.
func (r *recall) result() Recollection {
	out := Recollection{Charts: []Recalled{}, Logs: []LogRecall{}, Verdict: Passed, Evidence: r.found, Sum: r.Sum}
	sum := Sum{Charts: slices.Clone(r.Sum.Charts)}
	for _, key := range r.Sum.Keys {
		if name, _, _ := strings.Cut(key, "+"); r.logs[name] == nil {
			sum.Keys = append(sum.Keys, key)
		}
	}
	for _, cp := range r.Sum.Checkpoints {
		if r.logs[cp.Origin] == nil {
			sum.Checkpoints = append(sum.Checkpoints, cp)
		}
	}
	worst := func(v Verdict) {
		if v == Failed || v == Incomplete && out.Verdict == Passed {
			out.Verdict = v
		}
	}
	for _, c := range r.charts {
		out.Charts = append(out.Charts, c.out)
		worst(c.out.Verdict)
		if c.out.First && c.at.Digest != "" {
			sum.Charts = append(sum.Charts, c.at)
		}
	}
	for _, origin := range r.order {
		l := r.logs[origin]
		out.Logs = append(out.Logs, l.out)
		worst(l.out.Verdict)
		if l.anchor == nil {
			continue
		}
		sum.Checkpoints = append(sum.Checkpoints, *l.anchor)
		for _, key := range r.keys {
			if strings.HasPrefix(key, origin+"+") && !(r.hasEnded(key) && l.signedByPresent(*l.anchor)) {
				sum.Keys = append(sum.Keys, key)
			}
		}
	}
	if len(out.Charts) == 0 {
		out.Verdict = Incomplete
	}
	if out.Verdict == Passed {
		sum.normalise()
		out.Sum = sum
		if _, err := sum.Marshal(); err != nil {
			out.Verdict, out.Sum = Incomplete, r.Sum
			out.Charts = append(out.Charts, Recalled{Subject: SumName, Verification: Verification{
				Checks: []Check{{Name: CheckPin, Result: Unchecked, Detail: messageOf(err)}}, Verdict: Incomplete}})
		}
	}
	return out
}

// canceled tells a caller who gave up from a server that failed.
func canceled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
