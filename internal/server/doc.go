// Package server is what all HTTP doors share: one entry that gives each
// request an id, a source, limits and a principal, hands it to a door, and
// turns what the door returns into an answer, an access log line and metrics.
//
// What always holds:
//
//   - A handler returns its error. One table (Status) maps kinds of problems to
//     HTTP status codes; the door only chooses the form. An error that is no
//     problem is logged once and shown as "internal" with the request id.
//   - A request with a credential that is not valid never reaches a handler.
//     A request without one reaches it as the anonymous principal. The session
//     cookie counts under /ui alone, and there nothing else does.
//   - What the client says of itself (X-Forwarded-…) counts only when the
//     connection comes from a trusted proxy.
//   - Wrong credentials cost the client, not the server: they are limited per
//     source, password checks run a few at a time, and what is kept of them is
//     bounded and reported once a minute, never one event each.
//   - An answer that fails after its header was sent is cut off, so that no
//     client takes a part for the whole.
//
// Limits of a connection: a request header has 10 s to arrive and at most
// 64 KiB; an idle connection ends after 2 min. A body has no limit in total,
// because archives are large and lines are slow, but it must keep moving: no
// pause longer than 60 s, and after the first 60 s at least 4 KiB/s on average. An answer
// must be taken at 4 KiB/s as well.
//
// The package follows RFC 9110 (HTTP semantics), RFC 7617 (Basic), RFC 6750
// (Bearer) and the de-facto X-Forwarded-For/-Proto/-Host/-Prefix headers.
package server
