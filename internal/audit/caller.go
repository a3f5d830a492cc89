package audit

import "github.com/chartkeep/chartkeep/internal/access"

// Caller is who asks, through which door, from where. Doors make one per
// request; the zero Caller is anonymous.
type Caller struct {
	Principal access.Principal
	Door      Door
	Source    Source
	RequestID string
}
