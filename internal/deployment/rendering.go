package deployment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Rendering is what was derived of a deployment that files describe: nothing of
// it runs yet that could be asked.
type Rendering struct {
	// Of names what was rendered: the archive, the values and the names. What
	// has the same is the same.
	Of          string   `json:"of"`
	Archive     string   `json:"archive"` // sha256:…
	Exposure    Exposure `json:"exposure"`
	ExposureWhy string   `json:"exposure_why,omitempty"`
	Unresolved  []string `json:"unresolved,omitempty"` // what could not be derived
}

// renderingForm changes when the same archive and values are rendered or judged
// otherwise than before.
const renderingForm = "chartkeep rendering v1"

// RenderingOf names the rendering of a deployment with an archive.
func (d *Deployment) RenderingOf(archive string) string {
	h := sha256.New()
	for _, part := range []string{renderingForm, archive, d.Name, d.Namespace, string(d.Values)} {
		h.Write([]byte(strconv.Quote(part) + "\n"))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Render derives images and exposure from an archive of the chart and the
// values of the files, for a deployment that Helm did not store. Masked values
// are placeholders in it. A chart that refuses the values is rendered past
// that, and it is said. archive has the digest name.
// Cost: one rendering or two, each within lim.
func (d *Deployment) Render(name string, archive []byte, lim manifest.Limits) {
	r := Rendering{Of: d.RenderingOf(name), Archive: name, Exposure: ExposureUnknown}
	images, err := r.render(d, archive, lim)
	if err != nil {
		r.ExposureWhy = "" // nothing is known
		r.Unresolved = append(r.Unresolved, "images and exposure are not known: "+reasonOf(err))
	}
	d.Derive(r, images)
}

func (r *Rendering) render(d *Deployment, archive []byte, lim manifest.Limits) (images []string, err error) {
	values, hidden, err := d.RenderValues()
	if err != nil {
		return nil, err
	}
	o := manifest.Options{Values: values, Name: d.Name, Namespace: d.Namespace, Limits: lim}
	how := "derived from a rendering with the values of the files"
	rendered, err := manifest.Render(archive, o)
	if p, ok := problem.As(err); ok && p.Kind == problem.Invalid && p.Rule != "library-chart" {
		o.Lenient = true
		if rendered, err = manifest.Render(archive, o); err == nil {
			how += ", past what the chart requires and refuses"
		}
	}
	if err != nil {
		return nil, err
	}
	if hidden {
		how += ", in which masked ones are placeholders"
	}
	objects := slices.DeleteFunc(rendered.Objects, manifest.Object.IsTest)
	images = imagesOf(objects)
	if all := len(images); all > 0 {
		images = slices.DeleteFunc(images, MadeOfMasked)
		if n := all - len(images); n > 0 {
			r.Unresolved = append(r.Unresolved, "of the images, "+strconv.Itoa(n)+" cannot be known, since masked values are part of the name")
		}
	}
	if n := len(rendered.Faults); n > 0 {
		r.Unresolved = append(r.Unresolved, "of what was rendered, "+counted(n, "piece")+" cannot be read; images and exposure may be incomplete")
	}
	if len(objects) == 0 {
		r.Unresolved = append(r.Unresolved, "exposure is not known: with the values of the files the chart renders nothing")
		return images, nil
	}
	exposure, why := manifest.ExposureOf(objects)
	r.Exposure, r.ExposureWhy = Exposure(exposure), why+"; "+how
	return images, nil
}

// placeholder stands for a masked value in a rendering: the mask itself is no
// plain text to YAML.
const placeholder = "masked-value"

// RenderValues are the values of a deployment for a rendering. hidden says that
// some are masked; a placeholder stands for each.
func (d *Deployment) RenderValues() (values map[string]any, hidden bool, err error) {
	if len(d.Values) > 0 {
		if err := json.Unmarshal(d.Values, &values); err != nil {
			return nil, false, fmt.Errorf("read the values of %s: %w", d.Key, err)
		}
	}
	fill(values)
	return values, bytes.Contains(d.Values, []byte(masked)), nil
}

// MadeOfMasked reports whether a text of a rendering holds a masked value, so
// that what it really says is not known.
func MadeOfMasked(text string) bool { return strings.Contains(text, placeholder) }

// fill puts the placeholder where values are masked.
func fill(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, masked, placeholder)
	case map[string]any:
		for k := range v {
			v[k] = fill(v[k])
		}
	case []any:
		for i := range v {
			v[i] = fill(v[i])
		}
	}
	return v
}

// Derive takes over what was derived. An exposure that is declared stays.
func (d *Deployment) Derive(r Rendering, images []string) {
	d.Rendering, d.Images = &r, images
	d.Unresolved = append(d.Unresolved, r.Unresolved...)
	if d.ExposureWhy != "declared" {
		d.Exposure, d.ExposureWhy = r.Exposure, r.ExposureWhy
	}
}

func reasonOf(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Message
	}
	return "its chart cannot be rendered here"
}

// imagesOf are the images that objects surely or likely run, sorted.
func imagesOf(objects []manifest.Object) []string {
	var out []string
	for _, i := range manifest.Images(objects) {
		if i.Confidence != manifest.Possible {
			out = append(out, i.Ref)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
