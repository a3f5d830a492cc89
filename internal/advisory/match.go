package advisory

import (
	"fmt"
	"strings"
)

// Confidence is how sure a statement about an image is.
type Confidence string

// The confidences, from the surest.
const (
	Certain Confidence = "certain" // the image's publisher says so, or the organisation's own map
	Likely  Confidence = "likely"  // the curated map, and a tag that reads as a version
	Weak    Confidence = "weak"    // by the last part of the name alone, or of a tag that is read with a doubt
	Unknown Confidence = "unknown"
)

// ImageMatch is what is known of one image. The JSON form of it is fixed:
// chartkeep advisory match prints it.
type ImageMatch struct {
	Image string `json:"image"` // as it was given
	// Component is ecosystem/name; "" unknown. Of the names that one program has
	// in several ecosystems it is the first of the map that a feed covers.
	Component  string     `json:"component"`
	Version    string     `json:"version"` // as it was compared; "" unknown
	Confidence Confidence `json:"confidence"`
	How        string     `json:"how"` // one sentence: which map entry, what was cut off the tag
	// Open are the ids of the advisories that are open, sorted. It is empty, and
	// not nil, where none is known.
	Open []string `json:"open"`
	// Unknown is true where it cannot be said which advisories are open; Why
	// says so.
	Unknown bool   `json:"unknown"`
	Why     string `json:"why,omitempty"`
	Found   []Open `json:"-"` // in the order of Open
}

// Open is one advisory that is open on one version of a component.
type Open struct {
	Advisory *Advisory
	Affected *Affected // the part of it that matched
	// Fixed are the versions that fix it, the least first: that is the one for
	// the line of the version that runs, and the others are on newer lines. None
	// where the record names none.
	Fixed []string
	// Doubt says why it may not apply: a range that cannot be evaluated, a tag or
	// a version that may mean another one, records that disagree; "" for no doubt.
	Doubt string
}

// MatchImage says which advisories are open on an image: reference to
// component by the map, tag to version, version against every record on the
// component. A program may have a name in several ecosystems; the records of all
// of them count, and those that are the same vulnerability are one finding, with
// the record of the name that is first in the map.
//
// It is Unknown, and Why says so, where the reference cannot be read, the map has
// no entry or has the image as one that no feed covers, no feed has an advisory on
// the component, or the tag does not name one version. A tag beside a digest is
// believed.
//
// Cost: linear in the records on the component and their events.
func (db *Database) MatchImage(ref string) ImageMatch {
	m := ImageMatch{Image: ref, Confidence: Unknown, Open: []string{}, Unknown: true}
	image, err := ParseImage(ref)
	if err != nil {
		m.Why = "this is no reference to an image: " + err.Error()
		return m
	}
	f, ok := db.images.find(image)
	if !ok {
		m.Why = fmt.Sprintf("the component map has no entry for %s", image.Repository())
		return m
	}
	if f.entry.None != "" {
		m.How, m.Why = f.sentence(""), f.entry.None
		return m
	}
	m.Component = f.resolve(version{})[0].String()
	m.How = f.sentence(m.Component)
	r, why := readTag(image.Tag, f.entry.Tag, f.entry.Prefixes)
	switch {
	case image.Tag == "" && image.Digest != "":
		why = "the reference has a digest and no tag, and a digest does not say the version"
	case image.Tag == "":
		why = "the reference has no tag, so it means latest, whichever version that is"
	}
	if why != "" {
		m.Why = why
		return m
	}
	m.Version = r.text
	names := f.resolve(r.at)
	components, missing := make([]Component, 0, len(names)), make([]string, 0, len(names))
	for _, c := range names {
		if db.Covers(c) {
			components = append(components, c)
		} else {
			missing = append(missing, c.String())
		}
	}
	m.Component = append(components, names[0])[0].String()
	m.How = f.sentence(m.Component)
	if r.cut != "" {
		m.How += fmt.Sprintf("; %q was cut off the tag", r.cut)
	}
	if r.doubt != "" {
		m.How += "; " + r.doubt
	}
	if len(components) == 0 {
		m.Why = "no feed that was imported has advisories on " + strings.Join(missing, " or ")
		return m
	}
	m.Unknown, m.Confidence = false, f.confidence
	if r.doubt != "" {
		m.Confidence = Weak
	}
	m.Found = db.lookup.match(components, r)
	m.Open = make([]string, 0, len(m.Found))
	for _, o := range m.Found {
		m.Open = append(m.Open, o.Advisory.ID)
	}
	return m
}

// MatchImages is MatchImage for each reference, in their order. A reference that
// stands several times is matched once; its answers share what they point to.
func (db *Database) MatchImages(refs []string) []ImageMatch {
	out := make([]ImageMatch, len(refs))
	done := make(map[string]int, len(refs))
	for i, ref := range refs {
		if first, ok := done[ref]; ok {
			out[i] = out[first]
			continue
		}
		done[ref], out[i] = i, db.MatchImage(ref)
	}
	return out
}
