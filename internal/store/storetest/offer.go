package storetest

import "github.com/chartkeep/chartkeep/internal/release"

// Offer is the claim of a chart's version whose archive has a content, for tests
// of one store beside its suites.
func Offer(p release.Project, name, version, content string) *release.Claim {
	return offer(p, name, version, content)
}
