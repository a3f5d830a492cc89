package web

import (
	"github.com/chartkeep/chartkeep/internal/problem"
)

// readOnlyView says on top of every page why the server takes no writes, and
// what to do about it.
type readOnlyView struct {
	Head  string
	Facts []fact
	Try   string
}

// closedView is nil for a server that takes writes.
func closedView(reason *problem.Error) *readOnlyView {
	if reason == nil {
		return nil
	}
	v := &readOnlyView{Head: capital(shown(reason.Message, maxSentence)), Try: shown(reason.Try, maxSentence)}
	for _, f := range reason.Facts[:min(len(reason.Facts), maxEvidence)] {
		v.Facts = append(v.Facts, fact{Label: capital(shown(f.Label, 64)), Value: shown(f.Value, maxSentence)})
	}
	return v
}

// Closed says that forms are shown and cannot be sent.
func (f *frame) Closed() bool { return f.ReadOnly != nil }
