// Package api is the management API under /api/v1: JSON over HTTP, described
// by openapi.yaml (OpenAPI 3.1), which the package embeds and serves.
//
// Paths are plain resource paths. A project may have several segments, so a
// segment that is a single hyphen ends its name, as no name is "-":
//
//	/api/v1/projects/team-a/web
//	/api/v1/projects/team-a/web/-/charts/nginx/releases/1.2.3+build.4
//
// What always holds:
//
//   - Every JSON answer has a schema such as "release-list/v1". Within a
//     version of a schema, fields are only added.
//   - Errors are {"schema":"error/v1","kind","rule","message","facts","try",
//     "request_id"}; the kind decides the status, in package server.
//   - Input is read strictly: unknown fields, unknown query parameters, data
//     after the end and bodies over their limit are refused.
//   - Lists are pages: "after" names the last item that the client has, "limit"
//     how many it wants (100 when absent, at most 1000), and the answer's
//     "next" is the after of the next page, absent on the last one.
//   - The package decides nothing: authorisation and rules are those of package
//     release, whose types it shows.
package api
