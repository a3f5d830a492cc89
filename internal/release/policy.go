package release

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
}

// WeakerThan names, one sentence each, what a policy lets through that the one
// before it refused; none when it is as strict or stricter. Weakening takes a
// second person, so whatever is not surely stricter counts as weaker.
func (p Policy) WeakerThan(before Policy) []string {
	var out []string
	if before.RequireProvenance && !p.RequireProvenance {
		out = append(out, "releases no longer wait for a provenance file")
	}
	return out
}
