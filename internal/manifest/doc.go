// Package manifest models what a chart makes of its values: Kubernetes objects,
// what is true of them, and what the difference between two sets of them does.
//
// Rendering (Render) is Helm's own engine under guard. Templates are programs
// of strangers, so each is rewritten before the engine sees it: what it loops,
// calls and makes is counted against Limits, and what would be random, or would
// read a clock, is replaced by something cheap that is the same in every call
// of Render. What the rewriting leaves alone is what the engine does with it:
// templates without random values, keys and times render byte for byte as with
// Helm. Times are in UTC, whatever zone a template names, and what derives a
// password or encrypts makes another text of the same length.
//
// Facts (Images, Rights, ExposureOf, PodSecurity) are read from objects. Inspect,
// Lint and LintChart say what is wrong with objects and charts by themselves.
// CompareCharts says what the difference between two versions of a chart does:
// findings in words, how somebody's values fit (Fit), what it asks of people
// (EffortOf), whether it can be rolled back (UndoOf), and the lines that differ,
// with secrets masked. Compare, CompareArchives and CompareValues are parts of
// it. Base does the same for many versions against one, which is rendered once,
// and Templates keeps between calls what does not depend on values.
//
// What always holds:
//
//   - Nothing is asked of a cluster or a network: lookup finds nothing,
//     getHostByName answers "", a values schema is followed only within
//     itself.
//   - The same arguments give the same answer, in the same order.
//   - What could not be rendered, read or compared is a finding or a fault,
//     never silence.
//   - A finding never shows a secret's value.
//   - Memory and work are bounded by Limits, whatever the chart says. Two
//     things remain that no counter inside the process can hold: a pattern of
//     .Files.Glob (at most 8 stars) is matched by a library without a bound of
//     its own, and a single call of a template function may make several times
//     what its arguments hold before it is counted. Who renders charts of
//     strangers beside something precious does it in a process of its own.
//
// Specifications: Kubernetes Pod Security Standards (baseline and restricted,
// as of v1.37); Kubernetes RBAC (rules and their wildcards); the deprecated API
// migration guide of Kubernetes; Helm 4's template language and its hooks;
// Gateway API v1 (Gateway and its routes); Semantic Versioning 2.0.0 for tags.
//
// The package does no I/O, reads no clock and starts no goroutine. Its
// functions may be called concurrently. Helm's reader of values prints warnings
// about odd ones to the standard logger.
package manifest
