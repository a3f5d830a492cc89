package advisory

import (
	"net/url"
	"slices"
	"strings"
)

// purl is a Package URL.
type purl struct {
	kind       string
	name       string // namespace/name
	version    string
	qualifiers url.Values
}

func readPurl(s string) (p purl, ok bool) {
	s, ok = strings.CutPrefix(s, "pkg:")
	if !ok {
		return p, false
	}
	s, _, _ = strings.Cut(strings.TrimLeft(s, "/"), "#")
	s, qualifiers, _ := strings.Cut(s, "?")
	if i := strings.LastIndexByte(s, '@'); i > strings.LastIndexByte(s, '/') {
		s, p.version = s[:i], s[i+1:]
	}
	kind, name, found := strings.Cut(s, "/")
	p.kind = strings.ToLower(kind)
	var faults [3]error
	p.name, faults[0] = url.PathUnescape(name)
	p.version, faults[1] = url.PathUnescape(p.version)
	p.qualifiers, faults[2] = url.ParseQuery(qualifiers)
	return p, found && name != "" && faults == [3]error{}
}

// covers says whether what a statement names takes in what is asked for. A
// package takes in every version where it names none, and every value of a
// qualifier that it does not have; but an image needs its repository or its
// digest, since the last part of a name says little.
func (p purl) covers(q purl) bool {
	if p.kind != q.kind || p.name != q.name || p.version != "" && p.version != q.version {
		return false
	}
	if p.kind == "oci" && p.version == "" && p.qualifiers.Get("repository_url") == "" {
		return false
	}
	for name := range p.qualifiers {
		want, have := p.qualifiers.Get(name), q.qualifiers.Get(name)
		if want != have && (name != "repository_url" || !sameRepository(want, have)) {
			return false
		}
	}
	return true
}

func sameRepository(a, b string) bool {
	x, err := ParseImage(a)
	y, err2 := ParseImage(b)
	return err == nil && err2 == nil && x.Repository() == y.Repository()
}

// covers says the same of image references: one takes in every image of its
// repository where it names neither a digest nor a tag.
func (i Image) covers(j Image) bool {
	switch {
	case i.Repository() != j.Repository():
		return false
	case i.Digest != "":
		return i.Digest == j.Digest
	}
	return i.Tag == "" || i.Tag == j.Tag
}

// named is what a document or a question calls a product, read once.
type named struct {
	text  string
	purl  purl
	image Image
	is    byte // 'p' a purl, 'i' an image, 0 neither
}

func readNamed(s string) named {
	n := named{text: s}
	if p, ok := readPurl(s); ok {
		n.purl, n.is = p, 'p'
	} else if i, err := ParseImage(s); err == nil {
		n.image, n.is = i, 'i'
	}
	return n
}

func (n named) covers(asked named) bool {
	switch {
	case n.is != asked.is:
		return false
	case n.is == 'p':
		return n.purl.covers(asked.purl)
	case n.is == 'i':
		return n.image.covers(asked.image)
	}
	return n.text == asked.text && n.text != ""
}

// about says whether a statement is about one of the things asked for: about
// the product, and where it speaks of a part only, about that part too.
func (s *Statement) about(asked []named) bool {
	one := func(stated []string) bool {
		return slices.ContainsFunc(stated, func(text string) bool {
			n := readNamed(text)
			return slices.ContainsFunc(asked, n.covers)
		})
	}
	return one(s.Products) && (len(s.Subcomponents) == 0 || one(s.Subcomponents))
}

// Products are the names under which OpenVEX documents may speak of an image,
// and of the component in it where that is known: references and purls.
// Database.Statements takes them.
func Products(i Image, c Component, version string) []string {
	var out []string
	if i.Path != "" {
		reference, query := i.Repository(), url.Values{"repository_url": {i.Repository()}}
		if i.Tag != "" {
			reference += ":" + i.Tag
			query.Set("tag", i.Tag)
		}
		at := ""
		if i.Digest != "" {
			reference += "@" + i.Digest
			at = "@" + url.PathEscape(i.Digest)
		}
		out = append(out, reference, "pkg:oci/"+i.Path[strings.LastIndexByte(i.Path, '/')+1:]+at+"?"+query.Encode())
		if name, ok := strings.CutPrefix(i.Repository(), DockerHub+"/"); ok {
			for _, v := range []string{i.Tag, i.Digest} {
				if v != "" {
					out = append(out, "pkg:docker/"+strings.TrimPrefix(name, "library/")+"@"+url.PathEscape(v))
				}
			}
		}
	}
	if kind := purlKinds[c.Ecosystem]; kind != "" && c.Name != "" {
		name := c.Name
		if kind == "maven" {
			name = strings.Replace(name, ":", "/", 1)
		}
		p := "pkg:" + kind + "/" + strings.ReplaceAll(name, "@", "%40")
		if version != "" {
			p += "@" + url.PathEscape(version)
		}
		out = append(out, p)
	}
	return out
}

// purlKinds are the types of purls by the names that OSV has for ecosystems.
var purlKinds = map[string]string{
	"Bitnami": "bitnami", "Go": "golang", "npm": "npm", "PyPI": "pypi", "Maven": "maven", "crates.io": "cargo",
	"RubyGems": "gem", "NuGet": "nuget", "Packagist": "composer", "Hex": "hex", "Pub": "pub", EcosystemHelm: "helm",
}
