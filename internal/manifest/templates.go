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
	if t.bytes += len(guarded); t.guarded == nil || t.bytes > maxTemplates {
		t.guarded, t.bytes = map[[sha256.Size]byte]string{}, len(guarded)
	}
	t.guarded[key] = guarded
	return guarded, nil
}
