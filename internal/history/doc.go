// Package history replays the leaves of a log in their order and says where
// they break what a Merkle proof cannot show.
//
// A log proves that it was only appended to. It does not prove that what was
// appended makes sense: a second leaf for a released version, a yank of what
// was never released, a weaker policy that nobody approved are perfectly honest
// appends. Whoever reads all leaves can tell, and this package is that reader.
// It trusts nothing: every leaf may have been written by somebody who means
// harm and has the log's key.
//
// # What always holds
//
//   - A history that Chartkeep's own use cases made has no violation.
//   - A broken rule is never missed for want of memory: names are kept as 128
//     bits of SHA-256, so two that are equal always meet. Two that are not meet
//     by chance once in 2^64 names, and then a violation is stated that names
//     both leaves, for a person to read.
//   - After a violation the replay goes on. The first leaf that takes a name
//     keeps it; else a state is what the newest leaf says it is. One wrong leaf
//     is therefore told once, not with every leaf that follows.
//   - What was replayed can be written down ([Replay.WriteTo]) and taken up
//     again ([Read]) with the same outcome.
//   - It reads no clock. Times are those of the leaves.
//
// Leaves of a type that this version does not know are passed over and counted:
// what they say was not checked, and a reader says so.
//
// # Rules
//
// The rules are the constants that begin with Rule, each with what keeps it.
// The texts of the leaves are those of package tlog; the rules about names are
// those of package chart.
//
// # Cost
//
// A release takes some 110 bytes for as long as the Replay lives (109 MB at a
// million, measured by BenchmarkMemory), a project some 300, a release that was
// yanked, quarantined or given a provenance later some 100 more. Nothing is
// kept of the other leaves. Adding a leaf costs its parsing and two SHA-256
// sums of its names, some ten microseconds in all, whatever the size. A written
// state has 84 bytes a release; writing and reading one of a million takes
// about two seconds.
package history
