package server

import (
	"net/netip"

	"github.com/chartkeep/chartkeep/internal/audit"
)

// auditSource is where a request comes from, as the audit trail has it.
func auditSource(a netip.Addr, userAgent string) audit.Source {
	return audit.Source{IP: remote(a), UserAgent: userAgent}.Bound()
}
