package web

import (
	"slices"
	"strings"
	"time"

	"github.com/chartkeep/chartkeep/internal/release"
)

// witnessesView is who cosigns the log, and who does not.
type witnessesView struct {
	Mode    string // none, best-effort or required
	State   stateWord
	Words   string // what the state comes to
	Quorum  string // the line of the policy
	Met     int64  // entries of the newest checkpoint that met it, -1 for none
	MetAt   moment
	Signed  int // witnesses that cosigned the whole log
	Rows    []witnessRow
	Missing []string // names of those that have not cosigned the whole log
	Whole   bool     // the reader may know where witnesses are, and why they failed
}

type witnessRow struct {
	Name        string
	Key         string // name of the key, as it stands in the checkpoint
	VerifierKey string
	State       stateWord
	Size        int64 // that it cosigned last
	Cosigned    moment
	Lag         int64 // entries that it has not cosigned
	URL         string
	Why         string
}

// witnessStates are the states of a witness in words.
var witnessStates = map[string]stateWord{
	release.WitnessCosigned: {Class: "ok", Icon: "ok", Word: "cosigned"},
	release.WitnessBehind:   {Class: "mute", Icon: "wait", Word: "behind, is being asked"},
	release.WitnessFailing:  {Class: "warn", Icon: "warn", Word: "no answer"},
	release.WitnessRefusing: {Class: "bad", Icon: "bad", Word: "refuses"},
	release.WitnessNever:    {Class: "unk", Icon: "unk", Word: "not asked yet"},
	release.WitnessNoURL:    {Class: "mute", Icon: "skip", Word: "is not asked by this server"},
}

// refusalWords say in public what it means that a witness refuses.
var refusalWords = map[string]string{
	release.RefusedAhead:        "it has cosigned more entries than this log has",
	release.RefusedInconsistent: "what it has cosigned is not a beginning of this log",
	release.RefusedDenied:       "it does not take this log’s key, or states no more of this log",
}

// witnessesOf is the state of the witnesses; whole shows what is for operators.
// Required and unmet is bad; best effort and unmet says that nobody vouches.
func witnessesOf(w *release.Witnessing, now time.Time, whole bool) witnessesView {
	v := witnessesView{Mode: w.Mode, Quorum: w.Quorum, Met: w.MetSize, MetAt: moment{w.MetTime, now}, Whole: whole}
	for i := range w.Witnesses {
		x := &w.Witnesses[i]
		state, ok := witnessStates[x.State]
		if !ok {
			state = stateWord{Class: "unk", Icon: "unk", Word: x.State}
		}
		row := witnessRow{
			Name: x.Name, Key: x.Key, VerifierKey: x.VerifierKey, State: state, Size: x.Size, Cosigned: moment{x.Cosigned, now}, Lag: max(0, w.Size-x.Size), Why: refusalWords[x.Refusal],
		}
		if whole {
			row.URL = x.URL
			if x.Failure != "" {
				row.Why = shown(x.Failure, maxSentence)
				if !x.Since.IsZero() {
					row.Why += ", since " + moment{x.Since, now}.Text()
				}
			}
		}
		if x.State == release.WitnessCosigned {
			v.Signed++
		} else {
			v.Missing = append(v.Missing, x.Name)
		}
		v.Rows = append(v.Rows, row)
	}
	refusing := slices.ContainsFunc(v.Rows, func(r witnessRow) bool { return r.State.Class == "bad" })
	switch {
	case w.Mode == "none":
		v.State, v.Words = stateWord{Class: "unk", Icon: "unk", Word: "nobody witnesses this log"}, "only a checkpoint that you kept yourself can show that it was not rewritten"
	case w.MetSize < 0 && w.Mode == "required":
		v.State, v.Words = stateWord{Class: "bad", Icon: "bad", Word: "never met"}, "a quorum is required, so no checkpoint is published"
	case w.MetSize < 0:
		v.State, v.Words = stateWord{Class: "warn", Icon: "warn", Word: "never met"}, "checkpoints are published with the cosignatures that there are"
	case refusing:
		v.State, v.Words = stateWord{Class: "bad", Icon: "bad", Word: "a witness refuses"}, "what it saw of this log before does not fit what it sees now"
	case w.MetSize < w.Size && w.Mode == "required":
		v.State, v.Words = stateWord{Class: "mute", Icon: "wait", Word: "met at " + number(w.MetSize)}, entries(w.Size-w.MetSize)+" newer, not published before the quorum has cosigned"
	case w.MetSize < w.Size:
		v.State, v.Words = stateWord{Class: "mute", Icon: "wait", Word: "met at " + number(w.MetSize)}, entries(w.Size-w.MetSize)+" newer, being cosigned"
	default:
		v.State, v.Words = stateWord{Class: "ok", Icon: "ok", Word: "met"}, "all "+number(w.Size)+" entries"
	}
	return v
}

func entries(n int64) string {
	if n == 1 {
		return "1 entry is"
	}
	return number(n) + " entries are"
}

// MissingWords names those that have not cosigned.
func (v witnessesView) MissingWords() string { return strings.Join(v.Missing, ", ") }

// rotationView is how the log went from one key to another.
type rotationView struct {
	Old, New string
	Until    moment
	Open     bool // both keys sign
	Proven   bool // whoever trusts the old key can already follow
	Index    int64
	URL      string
}

func rotationsOf(list []release.Rotation, now time.Time) []rotationView {
	var out []rotationView
	for _, r := range slices.Backward(list) {
		out = append(out, rotationView{Old: r.Old, New: r.New, Until: moment{r.Until, now}, Open: now.Before(r.Until), Proven: len(r.Proof) > 0, Index: r.LogIndex})
	}
	return out
}

// keyName is a verifier key without the key: its name and hash.
func keyName(vkey string) string {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, _, _ := strings.Cut(rest, "+")
	return name + "+" + hash
}
