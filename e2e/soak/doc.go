// Package soak runs a server with everybody who uses and watches it, and kills
// each of them with SIGKILL at random moments.
//
// There are publishers at all doors, attempts to overwrite, yanks, quarantines,
// tombstones and policies that two people decide, scrubs, readers of the audit
// trail, clients that remember, two witnesses of which one audits, and a
// monitor. Every request is repeated until it is answered, so that at the end
// the model of what was acknowledged is exact, and nothing is left to "unknown".
//
// Afterwards everything is compared: the doors, the log and its proofs with the
// model; every checkpoint that anybody saw with the tree of all entries; and
// whoever watched is asked what he found: the monitor, the witnesses, scrub,
// fsck, audit verify, verify --sum, and Tessera's fsck, which is not ours.
//
// TestSoakNotices runs a program that is broken on purpose, and wants to see it
// found out.
package soak
