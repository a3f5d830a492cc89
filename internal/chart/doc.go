// Package chart models a Helm chart archive as bytes: what is in it, what its
// Chart.yaml says, and whether it may become a release.
//
// Two judgements are kept apart. Reading (Open, ParseMetadata,
// ParseProvenance) refuses what two readers could understand differently or
// what would harm a reader: bombs, links, paths that leave the chart's
// folder, a name that means two things. It accepts what Helm accepts
// otherwise, so that history that an old repository published can be taken
// over. Checking (Archive.Check, Metadata.Check, ParseVersion, CheckName)
// holds a new release to the strict rules.
//
// What always holds for an Archive that Open returned:
//   - its digest is of all the bytes of the reader, to the very end;
//   - every regular file of the archive is in Files exactly once, under a
//     clean relative path below the chart's one folder, sorted by path;
//   - Metadata is what Helm reads out of the same bytes, with characters that
//     cannot be printed taken out as Helm takes them out;
//   - all of it stayed within the limits that were given, whatever the input.
//
// Every refusal is a *problem.Error with a stable rule id. An error of the
// given reader itself is passed on wrapped and is no problem of the chart.
//
// Specifications: Semantic Versioning 2.0.0; OCI Distribution Specification
// 1.1.1, "Pulling manifests" (names and tags); RFC 1952 (gzip); POSIX.1-2024
// pax and ustar; the Helm chart format v1 and v2; YAML 1.1 as Helm's reader
// resolves it; RFC 8259 (JSON); RFC 9580, section 7 (cleartext signatures).
//
// The package does no I/O beyond reading the reader it is given, knows no
// clock and starts no goroutine. Its functions may be called concurrently.
package chart
