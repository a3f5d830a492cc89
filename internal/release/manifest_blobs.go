package release

import "encoding/json"

// ManifestBlobs are the digests of the blobs that a manifest names: its config
// and its layers, without those that lie elsewhere by its own word. None when
// it is no manifest. They may be malformed.
func ManifestBlobs(manifest []byte) []string {
	var d ociDocument
	if len(manifest) > MaxManifest || json.Unmarshal(manifest, &d) != nil {
		return nil
	}
	need := append(append([]ociDescriptor{}, d.Layers...), d.Blobs...)
	if d.Config != nil {
		need = append(need, *d.Config)
	}
	var out []string
	for _, b := range need {
		if len(b.URLs) == 0 && len(out) < maxDescriptors {
			out = append(out, b.Digest)
		}
	}
	return out
}
