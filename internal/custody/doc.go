// Package custody keeps the history of the logs in a second place, and brings
// a database back to it.
//
// # What it models
//
// A database can be put back to an older state: by a backup that is restored,
// by a snapshot of its disk, by a standby that had not received everything. Its
// log would then grow a second time from there, and the server would sign two
// histories. So what was signed is kept a second time, as records beside the
// blobs: every record is made only once and never changes. The keeper writes
// them behind the commits, at most once a second; a start compares the database
// with them; a recovery replays from them what the database lacks.
//
// # The records
//
// Numbers are eighteen digits in groups of three, so that a folder holds at
// most a thousand names, in their order:
//
//	checkpoint/<log>/000/000/000/000/012/345     the signed checkpoint of that size
//	entries/<log>/000/000/000/000/000/048/057    entry bundle 48 with its first 57 entries (tlog-tiles)
//	aside/<log>/000/000/000/000/000/048/000-057  what those leaves do not hold, as JSON
//	…/048/000-256-<leaf>-<leaf>                  the same without the bytes of a release that has a tombstone
//	notice/<time>-<event>-<digest>               what the audit log has yet to be told
//
// <log> is release or audit. A bundle is kept at each width that it had when
// its log was kept; the narrow ones are removed once the full one is there,
// which holds all that they held. What is kept aside of a release that gets a
// tombstone is removed too. Nothing else ever is.
//
// # What always holds
//
//   - A kept checkpoint is backed by kept entries: entries and what goes with
//     them are durable before the checkpoint is.
//   - What is kept was committed before. So a database that is behind a kept
//     checkpoint, or does not contain its tree, went back.
//   - A record counts only with a signature of the log over it, directly or
//     through the tree: entries by the root, bytes by the digests in a leaf.
//     Whoever can write to the blob store can take history away, but not make
//     any up.
//   - Recovery signs nothing. It ends at a checkpoint that was signed before,
//     in one transaction, or changes nothing; a database that holds another
//     history than the records is left alone.
//
// Entry bundles follow C2SP tlog-tiles, checkpoints C2SP tlog-checkpoint.
package custody
