package threats

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// attacker is a section of docs/threat-model.md: what somebody has, and every
// attack with it that is played.
type attacker struct {
	title string
	holds string // what the attacker has, and nothing else
	rows  []row
	left  string // what he can do all the same
}

// row is one attack.
type row struct {
	name    string // of the test
	does    string // what the attacker does
	outcome string // what comes of it
	when    string // when it is caught
	// Catches are the checks that catch it, in the order in which they do: with
	// the first alone taken out of the program, the second has to, and so on.
	catches []catch
	// Passes is what is said when all of them are out: that the attack worked.
	passes catch
	// play plays the attack and returns what was said in the end. What it
	// touches beside what the attacker has is what others do anyway.
	play func(w *world) string
}

// catch is how a check tells itself.
type catch struct {
	check string
	how   string // exit code of a command, or status of an answer
	says  string // a part of its message
}

func (c catch) in(said string) bool {
	how, text, _ := strings.Cut(said, "\n")
	return how == c.how && strings.Contains(text, c.says)
}

// rows are those of all attackers.
func rows() []row {
	var out []row
	for _, a := range attackers {
		out = append(out, a.rows...)
	}
	return out
}

// TestThreats plays every attack against the program as it is, and then without
// the checks that are said to catch it, one after the other.
func TestThreats(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if !t.Run("caught", func(t *testing.T) {
				r.holds(t, newWorld(t, daemontest.Program(t), nil), r.catches[0])
			}) {
				return
			}
			var off []string
			for i, c := range r.catches {
				off = append(off, c.check)
				next := r.passes
				if i+1 < len(r.catches) {
					next = r.catches[i+1]
				}
				if !t.Run("without "+strings.Join(off, " and "), func(t *testing.T) {
					r.holds(t, newWorld(t, switchedProgram(t), off), next)
				}) {
					return
				}
			}
		})
	}
}

// holds plays a row and wants to hear something.
func (r *row) holds(t *testing.T, w *world, want catch) {
	t.Helper()
	if said := r.play(w); !want.in(said) {
		t.Errorf("want %s %q, and was told\n%s", want.how, want.says, said)
	} else {
		t.Logf("%s", said)
	}
}

// code puts the exit code of a command before what it said, so that a row can
// ask for both.
func code(a answer) string { return fmt.Sprintf("exit %d\n%s", a.code, a.text()) }
