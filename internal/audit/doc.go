// Package audit has the events of the audit trail and their canonical encoding.
//
// An Event says who did or tried what, to which thing, through which door, and
// what came of it. Its encoding is a leaf of the audit log, a second
// transparency log of the same engine as the release log; package tlog hashes
// it, and its checkpoint is anchored in the release log.
//
// What always holds:
//
//   - One event has one encoding: JSON (RFC 8259) on one line, in ASCII, fields
//     in a fixed order, empty ones left out. Decode accepts nothing else, so that
//     equal events have equal leaves and a leaf has one reading.
//   - An encoding is at most MaxLeaf bytes. Text that a client chose is cut to
//     its bound and marked; it never makes an event fail, since a refusal that
//     cannot be recorded would be one that an attacker can hide. Only what this
//     program sets itself, such as the name of the event, can be an error.
//   - A leaf cannot be erased, so it carries no personal data of its own: people
//     appear by account id. Names are joined when events are read. A person's
//     subject at an identity provider, addresses and user agents are left out;
//     what is kept is Source.Commit, a salted hash, to which a side table holds
//     the salt and the plain values. Erasing that row erases the link.
//     What callers put into Reason and Detail is theirs to keep free of it.
//   - Names of events are stable: they are in logs that outlive this program.
//     One may be added, none renamed or given another meaning.
//
// The package does no I/O and reads no clock. All values are plain data; every
// function may be called from many goroutines at once.
package audit
