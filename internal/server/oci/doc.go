// Package oci is the door for OCI clients: Helm, ORAS, cosign, Docker and
// everything else that speaks the OCI Distribution Specification.
//
// It follows version 1.1.1 of that specification and what its main branch adds
// to it: the digest-algorithm hint (end-4c), tags given with "?tag=" (end-7b),
// the status of an upload (end-13) and its cancellation (end-14). Ranges and
// conditional requests are those of RFC 9110, pages those of RFC 8288, warnings
// those of RFC 7234 section 5.5. The token end point is that of the
// Distribution project's "Token Authentication Specification" and its OAuth2
// variant; /v2/_catalog is that of the Docker Registry HTTP API V2.
//
// What always holds:
//
//   - The door decides nothing. Parse turns a method and a URL into a Request
//     and knows only grammar; a handler turns the Request into one use case of
//     package release, and its result into an answer.
//   - A name, tag or digest that is not well formed never reaches a use case.
//     Digests are sha256 or sha512.
//   - A manifest is answered with a JSON media type, a blob as plain bytes, so
//     that nothing pushed by one person runs in the browser of another.
//   - An upload that breaks off stays where it stands: the bytes that arrived
//     count, and the client asks for the offset and goes on.
//   - Every error leaves through WriteError, in the form and with the codes of
//     the specification. Its message carries the facts and what to do next,
//     because that message is all that Helm and Docker show.
package oci
