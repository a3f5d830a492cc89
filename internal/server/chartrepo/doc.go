// Package chartrepo is the classic Helm repository and the ChartMuseum API:
// the door for every client that speaks HTTP and index.yaml rather than OCI.
//
// The classic side follows what Helm 3 and Helm 4 read: index.yaml with
// apiVersion v1, archives below charts/, provenance beside them under the
// same URL and ".prov". The API is that of ChartMuseum 0.16 with all its
// paths, so that "helm cm-push", its cm:// downloader and plain curl work
// unchanged. Two things differ on purpose: ?force is understood and never
// overwrites, and DELETE is answered with 405, since a released version
// stays.
//
// What always holds:
//
//   - The door decides nothing. It turns a request into a use case of package
//     release and the result into an answer; who may do what, and whether a
//     version is free, is known there alone.
//   - An ETag is strong: of an archive its digest, of an index the project's
//     generation and the variant. An index is not built, nor an archive
//     read, for an answer of 304.
//   - A whole archive is checked against its digest while it is sent, and an
//     answer whose bytes turn out to be wrong ends before its last byte. A
//     range is served only of bytes that were checked before.
//   - What anybody may read can be cached for ever by anybody; what needs a
//     credential is "private, no-cache".
//
// Requests are read by parse in request.go, apart from the handlers.
package chartrepo
