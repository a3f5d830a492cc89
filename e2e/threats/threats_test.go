package threats

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// row is one row of the threat table.
type row struct {
	name     string // of the subtest, and of the section
	attacker string // what the attacker has
	does     string // and does with it
	outcome  string // refused, or found by whom
	check    string // the check that catches it, in words
	says     string // a pattern of what that check says
	// Without the check, the same attack has to pass by it: the mutations take
	// it out of the program, or the attack is played to users who do not make
	// it (play is told).
	without []mutation
	// play plays the attack and returns what the check said. checked is false
	// where the users leave the check out.
	play func(w *world, checked bool) string
}

// TestThreats plays every row with the check and without it.
func TestThreats(t *testing.T) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			says := regexp.MustCompile(r.says)
			var said string
			t.Run("caught", func(t *testing.T) {
				said = r.play(newWorld(t, daemontest.Program(t)), true)
				if !says.MatchString(said) {
					t.Errorf("%s does not say %q; said was\n%s", r.check, r.says, said)
				}
			})
			if t.Failed() || testing.Short() && len(r.without) > 0 {
				return // building the program without a check takes its time
			}
			t.Run("passes without the check", func(t *testing.T) {
				program := daemontest.Program(t)
				if len(r.without) > 0 {
					program = mutant(t, r.name, r.without)
				}
				if said := r.play(newWorld(t, program), len(r.without) > 0); says.MatchString(said) {
					t.Errorf("without %s it is caught all the same: it is not this check that catches it\n%s", r.check, said)
				}
			})
		})
	}
}

// code puts the exit code of a command before what it said, so that a row can
// ask for both.
func code(a answer) string { return fmt.Sprintf("exit %d\n%s", a.code, a.text()) }
