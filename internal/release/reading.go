package release

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// manifestKeys are the keys of manifests and descriptors that decide what a
// client fetches: image specification 1.1.
var manifestKeys = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "blobs", "subject", "annotations", "digest", "size", "urls", "data", "platform",
}

// oneReading refuses JSON that two readers take for different things: an
// object with a key twice, of which some read the first and some the last, and
// one of names in another case, which Go takes for the name and others do not.
// Else the log could say one thing, and a client fetch another. The keys of
// annotations are free words. body is well-formed JSON; cost: its length.
func oneReading(body []byte, names []string) error {
	type level struct {
		object, free bool // free: annotations
		seen         map[string]bool
		key          string // "" before the first key and after each value
		inValue      bool
	}
	d := json.NewDecoder(bytes.NewReader(body))
	stack := []level{{}}
	for {
		token, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return badManifest("it is not JSON")
		}
		top := &stack[len(stack)-1]
		key, isText := token.(string)
		if top.object && !top.inValue && isText {
			if top.seen[key] {
				return badManifest("the key %.80q stands twice in one object, and clients differ on which of them counts", key)
			}
			for _, name := range names {
				if !top.free && key != name && strings.EqualFold(key, name) {
					return badManifest("the key %.80q is written in another case than the specification's %q, and clients differ on whether it counts", key, name)
				}
			}
			top.seen[key] = true
			top.key, top.inValue = key, true
			continue
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{object: true, free: top.object && top.key == "annotations", seen: map[string]bool{}})
			continue
		case json.Delim('['):
			stack = append(stack, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		stack[len(stack)-1].inValue = false // a value ended
	}
}
