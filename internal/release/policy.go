package release

import (
	"bytes"
	"encoding/json"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/signature"
)

// Policy is what a project asks of its releases. Its canonical JSON is
// hashed, and the digest stands in every leaf made under it.
type Policy struct {
	// RequireProvenance keeps a release staged, invisible to every reader,
	// until its provenance file has arrived.
	RequireProvenance bool `json:"require_provenance"`
	// Mirror names the upstream whose versions the project has, "" for a
	// project of one's own. It is chosen when the project is made, for ever:
	// only the mirror releases there, and versions need not be strict.
	Mirror string `json:"mirror,omitempty"`
	// WeakenDelay is how long an approved policy that is weaker, or is asked
	// for the removal of a key, waits before it takes effect, such as "72h":
	// "" is a day, and "0s" is at once, which can be chosen only when the
	// project is made. See Delay.
	WeakenDelay string `json:"weaken_delay,omitempty"`
	// Signatures is what is asked of signatures; nil is nothing.
	Signatures *signature.Policy `json:"signatures,omitempty"`
}

// WeakerThan names, one sentence each, what a policy lets through that the one
// before it refused; none when it is as strict or stricter. Weakening takes a
// second person, so whatever is not surely stricter counts as weaker.
func (p Policy) WeakerThan(before Policy) []string {
	var out []string
	if before.RequireProvenance && !p.RequireProvenance {
		out = append(out, "releases no longer wait for a provenance file")
	}
	if p.Delay() < before.Delay() {
		out = append(out, "what weakens the policy takes effect sooner")
	}
	return append(out, p.Signatures.WeakerThan(before.Signatures)...)
}

// MaxPolicy bounds the document of a policy in bytes.
const MaxPolicy = signature.MaxPolicy + 4<<10

// ParsePolicy reads a policy, JSON or YAML. What it says may still be refused
// when it is set, see CheckPolicy. Errors are problems of rule
// "policy-document".
func ParsePolicy(text []byte) (Policy, error) {
	var p Policy
	bad := func(format string, args ...any) (Policy, error) {
		return Policy{}, problem.New(problem.Invalid, "policy-document", "this is not the policy of a project: "+format, args...).
			Suggest("see docs/signing.md for what it can say")
	}
	if len(text) > MaxPolicy {
		return bad("it has %d bytes, and %d are allowed", len(text), MaxPolicy)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return bad("it is neither JSON nor YAML: %s", oneLine(err))
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return bad("%s", oneLine(err))
	}
	return p, nil
}

func oneLine(err error) string {
	s := strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "json: ")
	return s[:min(len(s), 300)]
}

// CheckPolicy refuses a policy that contradicts itself or cannot be used, and
// returns the one form of it that is stored and hashed.
func CheckPolicy(p Policy) (Policy, error) {
	if p.Signatures != nil {
		if err := p.Signatures.Check(); err != nil {
			return p, err
		}
		signatures := p.Signatures.Normal()
		p.Signatures = &signatures
		if signatures.Require == signature.None && len(signatures.Signers) == 0 {
			p.Signatures = nil // it asks for nothing and knows nobody
		}
	}
	return p, checkDelay(&p, true)
}
