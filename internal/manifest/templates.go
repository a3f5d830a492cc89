package manifest

import (
	"crypto/sha256"
	"sync"
)

// maxTemplates bounds the text that Templates keeps. A chart has some hundred
// kilobytes.
const maxTemplates = 64 << 20

// Templates keeps templates that were put under guard. The versions of a chart
// share most of theirs, and so do its deployments; to guard a template costs as
// much as Helm takes to parse it twice. It holds at most 64 MiB, and is
// for several goroutines at once. The zero value is empty and ready.
type Templates struct {
	mu      sync.Mutex
	guarded map[[sha256.Size]byte]string
	bytes   int
}

// guard returns a template under guard.
func (t *Templates) guard(name, text string) (string, error) {
	key := sha256.Sum256([]byte(name + "\x00" + text))
	t.mu.Lock()
	guarded, known := t.guarded[key]
	t.mu.Unlock()
	if known {
		return guarded, nil
	}
	guarded, err := guardTemplate(name, text)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.guarded == nil {
		t.guarded = map[[sha256.Size]byte]string{}
	}
	t.bytes += len(guarded) - len(t.guarded[key]) // somebody else may have been as fast
	t.guarded[key] = guarded
	for old, text := range t.guarded { // any may go: those of many charts are asked for in turns
		if t.bytes <= maxTemplates {
			break
		}
		delete(t.guarded, old)
		t.bytes -= len(text)
	}
	return guarded, nil
}
