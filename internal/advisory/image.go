package advisory

import (
	"fmt"
	"strings"
)

// Limits of an image reference, as registries have them.
const (
	maxReference  = 1024 // bytes, of all of it
	maxRepository = 255  // bytes, of host and path
	maxTag        = 128  // bytes
)

// DockerHub is the host of references that name none.
const DockerHub = "docker.io"

// Image is a reference to an image: what a container runtime is told to pull.
type Image struct {
	Host   string // registry with its port; DockerHub where the reference has none
	Path   string // repository; library/NAME for a bare NAME of Docker Hub
	Tag    string // "" where there is none
	Digest string // algorithm:hex, "" where there is none

	text string
}

// String is the reference as it was written.
func (i Image) String() string { return i.text }

// Repository is host/path, the form that map entries have.
func (i Image) Repository() string { return i.Host + "/" + i.Path }

// ParseImage reads a reference by the grammar of the OCI distribution
// specification with Docker's rules on what is left out: a first part is a
// host where it has a dot or a colon or is localhost, no host is Docker Hub, and
// a bare name there is below library/. Space around the reference is ignored.
//
// What is no reference is an error that says why, as the end of a sentence:
// templates that were not rendered, empty parts, capitals in a path, a digest
// without a name. Whether the image exists is not asked.
func ParseImage(ref string) (Image, error) {
	s := strings.TrimSpace(ref)
	i := Image{text: s}
	switch {
	case s == "":
		return Image{}, fmt.Errorf("it is empty")
	case len(s) > maxReference:
		return Image{}, fmt.Errorf("it is longer than %d bytes", maxReference)
	case strings.Contains(s, "{{") || strings.Contains(s, "}}") || strings.Contains(s, "${"):
		return Image{}, fmt.Errorf("it is a template that was not rendered")
	}
	s, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if fault := digestFault(digest); fault != "" {
			return Image{}, fmt.Errorf("its digest %s", fault)
		}
		i.Digest = digest
	}
	if colon := strings.LastIndexByte(s, ':'); colon >= 0 && !strings.Contains(s[colon:], "/") {
		i.Tag = s[colon+1:]
		if fault := tagFault(i.Tag); fault != "" {
			return Image{}, fmt.Errorf("its tag %s", fault)
		}
		s = s[:colon]
	}
	if (s == "sha256" || s == "sha512") && len(i.Tag) >= 64 && isHex(i.Tag) {
		return Image{}, fmt.Errorf("it is a digest without a name")
	}
	i.Host, i.Path = DockerHub, s
	if first, rest, ok := strings.Cut(s, "/"); ok && (strings.ContainsAny(first, ".:") || strings.EqualFold(first, "localhost")) {
		if !isHost(first) {
			return Image{}, fmt.Errorf("%q is no host of a registry", first)
		}
		i.Host, i.Path = strings.ToLower(first), rest
	}
	if i.Host == "index.docker.io" || i.Host == "registry-1.docker.io" || i.Host == "registry.hub.docker.com" {
		i.Host = DockerHub
	}
	if i.Host == DockerHub && i.Path != "" && !strings.Contains(i.Path, "/") {
		if len(i.Path) == 64 && isHex(i.Path) {
			return Image{}, fmt.Errorf("it is the id of an image on one machine")
		}
		i.Path = "library/" + i.Path
	}
	if fault := pathFault(i.Path); fault != "" {
		return Image{}, fmt.Errorf("%s", fault)
	}
	if len(i.Host)+1+len(i.Path) > maxRepository {
		return Image{}, fmt.Errorf("its repository is longer than %d bytes", maxRepository)
	}
	return i, nil
}

// digestFault checks algorithm:hex. Of other algorithms than the registered ones
// only the form is known.
func digestFault(s string) string {
	algorithm, hex, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return "is empty"
	case !ok || algorithm == "":
		return "has no algorithm"
	case len(hex) < 32 || !isHex(hex):
		return "is not hexadecimal, or too short"
	case algorithm == "sha256" && len(hex) != 64, algorithm == "sha512" && len(hex) != 128:
		return fmt.Sprintf("has %d digits, which is not the length of a %s", len(hex), algorithm)
	}
	for i := range len(algorithm) {
		if c := algorithm[i]; !isLower(c) && !isDigit(c) && !strings.ContainsRune("+._-", rune(c)) {
			return "has a malformed algorithm"
		}
	}
	return ""
}

func tagFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxTag:
		return fmt.Sprintf("is longer than %d bytes", maxTag)
	case s[0] == '.' || s[0] == '-':
		return fmt.Sprintf("begins with %q", s[0])
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '_' && c != '.' && c != '-' {
			return fmt.Sprintf("has the character %q", c)
		}
	}
	return ""
}

// pathFault checks parts of lower-case letters and digits, between which stand
// one dot, one or two underscores, or hyphens.
func pathFault(path string) string {
	if path == "" {
		return "it has no name"
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			return "a part of its name is empty"
		}
		for i := 0; i < len(part); {
			c := part[i]
			if isLower(c) || isDigit(c) {
				i++
				continue
			}
			n := i
			for n < len(part) && part[n] == c {
				n++
			}
			most := map[byte]int{'.': 1, '_': 2, '-': len(part)}[c]
			if most == 0 {
				return fmt.Sprintf("its name has the character %q", c)
			}
			if n-i > most || i == 0 || n == len(part) || !isLower(part[n]) && !isDigit(part[n]) {
				return fmt.Sprintf("the part %q of its name has a separator where none may be", part)
			}
			i = n
		}
	}
	return ""
}

// isHost reads a DNS name, an IPv4 address or an IPv6 address in brackets, with
// or without a port.
func isHost(s string) bool {
	name, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 3 || strings.Trim(s[1:end], "0123456789abcdefABCDEF:.") != "" {
			return false
		}
		if name, port = "v6", s[end+1:]; port != "" && port[0] != ':' {
			return false
		}
	} else if colon := strings.IndexByte(s, ':'); colon >= 0 {
		name, port = s[:colon], s[colon:]
	}
	if port != "" && (len(port) < 2 || len(port) > 6 || strings.Trim(port[1:], "0123456789") != "") {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isLetter(c) && !isDigit(c) && c != '-' {
				return false
			}
		}
	}
	return true
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLower(c byte) bool  { return c >= 'a' && c <= 'z' }
func isLetter(c byte) bool { return isLower(c) || c >= 'A' && c <= 'Z' }
