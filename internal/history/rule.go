package history

import (
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The rules, by the ids that stand in a Violation. They are stable: scripts
// and alerts name them.
const (
	RuleOrder = "log-order"      // leaves are replayed one after the other, from the first
	RuleTime  = "log-time"       // the time of a leaf is not before that of the leaf before it
	RuleLeaf  = "leaf-malformed" // a leaf of a known type has the one spelling of its type

	RuleSecond  = "release-second"         // a chart version has one leaf that makes it exist
	RuleBuild   = "release-build-metadata" // no release differs from another in build metadata alone; imported history may
	RuleFile    = "release-file-name"      // no two releases of a project have one file name
	RuleProject = "release-project"        // a release is made in a project of charts that exists, is active and was not removed
	RuleLegacy  = "release-legacy"         // history of elsewhere comes while a project imports it, or in a mirror, which has nothing else
	RulePolicy  = "release-policy"         // a release names the policy that was in force

	RuleName  = "project-name"  // a project's name is taken once, and is not the beginning of another's
	RuleState = "project-state" // a project keeps its kind, is cut over once and removed once, and changes only while it exists

	RuleSubject     = "leaf-subject"      // a leaf about a release gives the index and the digest of the leaf that made it
	RuleProvenance  = "provenance-second" // a release has one provenance
	RuleYank        = "yank-order"        // yank and unyank alternate
	RuleQuarantine  = "quarantine-order"  // set comes before confirmed, lifted and lapsed, and once until then
	RuleConfirm     = "quarantine-person" // who confirms a quarantine is not who set it
	RuleLapse       = "quarantine-early"  // a quarantine lapses after QuarantineLife, not before
	RuleTombstone   = "tombstone-person"  // who approves a tombstone is not who asked for it
	RuleBuried      = "tombstone-after"   // nothing is said of a release after its tombstone
	RulePolicyChain = "policy-chain"      // a policy leaf begins with the policy that the project has
	RuleWeaker      = "policy-person"     // a policy that is weaker was approved by a second person, once the project has releases

	RuleRotation = "rotation-chain"  // a rotation goes from the present key to one that was never used
	RuleSigner   = "rotation-signer" // a checkpoint is signed by the present key, and not by one that had ended
	RuleAudit    = "audit-anchor"    // the audit log has one name, never shrinks, and has one root for a size
)

// QuarantineLife is how long one person's quarantine holds without a second
// person. It lapses then, not before.
const QuarantineLife = 24 * time.Hour

// Violation is a leaf that breaks a rule.
type Violation struct {
	Index   int64          `json:"index"`           // of the leaf that breaks it
	Rule    string         `json:"rule"`            // one of the constants
	Subject string         `json:"subject"`         // project/chart@version, a project, or "log"
	Message string         `json:"message"`         // one sentence
	Facts   []problem.Fact `json:"facts,omitempty"` // what there is to compare
	First   int64          `json:"first"`           // index of the other leaf, -1 when there is none
}

// String is the violation in one line.
func (v Violation) String() string {
	s := fmt.Sprintf("leaf %d: %s: %s: %s", v.Index, v.Rule, v.Subject, v.Message)
	for _, f := range v.Facts {
		s += ", " + f.Label + " " + f.Value
	}
	return s
}

// none is the First of a violation without another leaf.
const none = -1

// the subject of what concerns no project.
const subjectLog = "log"

// found collects the violations of one leaf.
type found struct {
	index   int64
	subject string
	list    []Violation
}

// add states a violation. facts are pairs of label and value.
func (f *found) add(rule string, first int64, facts []string, format string, args ...any) {
	v := Violation{Index: f.index, Rule: rule, Subject: f.subject, Message: fmt.Sprintf(format, args...), First: first}
	for i := 0; i+1 < len(facts); i += 2 {
		v.Facts = append(v.Facts, problem.Fact{Label: facts[i], Value: facts[i+1]})
	}
	f.list = append(f.list, v)
}

// facts pairs labels with values.
func facts(pairs ...string) []string { return pairs }

// Rules lists the ids of all rules.
func Rules() []string {
	return []string{
		RuleOrder, RuleTime, RuleLeaf,
		RuleSecond, RuleBuild, RuleFile, RuleProject, RuleLegacy, RulePolicy,
		RuleName, RuleState,
		RuleSubject, RuleProvenance, RuleYank, RuleQuarantine, RuleConfirm, RuleLapse, RuleTombstone, RuleBuried,
		RulePolicyChain, RuleWeaker,
		RuleRotation, RuleSigner, RuleAudit,
	}
}
