package release

import (
	"encoding/json"
	"strings"
)

// fallbackTag says whether a tag is of the form by which clients attach things
// to a digest in registries that know no referrers: sha256-<hex>, with an
// ending such as .sig.
func fallbackTag(tag string) bool {
	rest, ok := strings.CutPrefix(tag, "sha256-")
	if !ok {
		rest, ok = strings.CutPrefix(tag, "sha512-")
	}
	hex, _, _ := strings.Cut(rest, ".")
	return ok && (len(hex) == 64 || len(hex) == 128) && strings.Trim(hex, "0123456789abcdef") == ""
}

// appends says whether a manifest names everything that an older one names.
func appends(older, newer []byte) bool {
	var o, n ociDocument
	if json.Unmarshal(older, &o) != nil || json.Unmarshal(newer, &n) != nil {
		return false
	}
	has := map[string]bool{}
	for _, d := range append(append([]ociDescriptor{}, n.Layers...), n.Manifests...) {
		has[d.Digest] = true
	}
	for _, d := range append(append([]ociDescriptor{}, o.Layers...), o.Manifests...) {
		if !has[d.Digest] {
			return false
		}
	}
	return true
}
