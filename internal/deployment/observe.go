package deployment

import (
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
		d.Unresolved = append(d.Unresolved, "of what Helm rendered, "+counted(len(faults), "piece")+" cannot be read; images and exposure may be incomplete")
	}
	objects = slices.DeleteFunc(objects, manifest.Object.IsTest)
	d.Images = imagesOf(objects)
	if len(objects) > 0 {
		exposure, why := manifest.ExposureOf(objects)
		d.Exposure, d.ExposureWhy = Exposure(exposure), why
	}
}
