package faults

import (
	"fmt"
	"strings"
	"testing"
)

// TestManifestsReadTwoWays: JSON in which a key stands twice, or twice but for
// its case, is read one way by one client and another way by the next. Such a
// manifest would make what is logged differ from what some clients fetch.
func TestManifestsReadTwoWays(t *testing.T) {
	v := newVictim(t)
	ctx := t.Context()
	shown := newOffer(t, victimProject, "twofaced", "1.0.0", "what the log would say", 0)
	hidden := newOffer(t, victimProject, "twofaced", "1.0.0", "what another client would fetch", 0)
	for _, o := range []*offer{&shown, &hidden} {
		if err := ociUpload(ctx, v.publisher, o); err != nil {
			t.Fatal(err)
		}
		v.parts[o.digest()] = true
	}
	manifest := string(shown.manifest())
	layers := manifest[strings.Index(manifest, `"layers"`) : len(manifest)-1]
	other := fmt.Sprintf(`"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip","digest":%q,"size":%d}]`, hidden.digest(), len(hidden.archive))
	for name, m := range map[string]string{
		"a key twice":               strings.Replace(manifest, layers, other+","+layers, 1),
		"a key twice, in two cases": strings.Replace(manifest, layers, other+","+strings.Replace(layers, "layers", "Layers", 1), 1),
		"a key of a part, twice":    strings.Replace(manifest, `"digest":"`+shown.digest(), `"digest":"`+hidden.digest()+`","digest":"`+shown.digest(), 1),
		"a config twice":            strings.Replace(manifest, `"config":`, `"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"`+sum(shown.config())+`","size":1},"config":`, 1),
		"a part in another case":    strings.Replace(manifest, `"digest":"`+shown.digest(), `"Digest":"`+shown.digest(), 1),
	} {
		if m == manifest {
			t.Fatalf("%s: nothing was changed", name)
		}
		for _, ref := range []string{"1.0.0", sum([]byte(m))} {
			if a := v.send(ctx, "PUT", "/v2/"+shown.repo()+"/manifests/"+ref, "application/vnd.oci.image.manifest.v1+json", []byte(m)); a.status != 400 {
				t.Errorf("%s as %.20s: %s", name, ref, &a)
			}
		}
	}
	v.unharmed()
}
