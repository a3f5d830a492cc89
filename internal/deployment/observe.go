package deployment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/manifest"
)

// observe reads what Helm rendered: which images run, and who can reach them.
// What hooks run counts as well, for Helm runs it; tests do not.
func (r *release) observe(d *Deployment) {
	var text strings.Builder
	text.WriteString(r.Manifest)
	for _, h := range r.Hooks {
		text.WriteString("\n---\n")
		text.WriteString(h.Manifest)
	}
	objects, faults := manifest.Parse(text.String(), d.Namespace, manifest.DefaultLimits())
	if len(faults) > 0 {
		d.Unresolved = append(d.Unresolved, fmt.Sprintf("%d pieces of what Helm rendered cannot be read; images and exposure may be incomplete", len(faults)))
	}
	objects = slices.DeleteFunc(objects, manifest.Object.IsTest)
	for _, i := range manifest.Images(objects) {
		if i.Confidence != manifest.Possible {
			d.Images = append(d.Images, i.Ref)
		}
	}
	slices.Sort(d.Images)
	d.Images = slices.Compact(d.Images)
	if len(objects) > 0 {
		exposure, why := manifest.ExposureOf(objects)
		d.Exposure, d.ExposureWhy = Exposure(exposure), why
	}
}
