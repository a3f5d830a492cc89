// Package witness is a witness of transparency logs: a service that cosigns a
// log's checkpoints as long as each continues the one before it. Who checks a
// quorum of cosignatures knows that the log did not show one history to him and
// another to the witnesses.
//
// It follows C2SP tlog-witness 1.0.0 ("add-checkpoint", "Monitor Retrieval
// Mechanism") and signs cosignature/v1 with Ed25519 (tlog-cosignature). It
// cosigns any log that speaks these, not only those of Chartkeep; sign-subtree
// and ML-DSA-44 are not offered.
//
// # What always holds
//
//   - A cosignature is given only after the checkpoint that it is of, with the
//     cosignature, is durable in the folder: file, flush, rename, flush of the
//     folder. A process that is killed in between has given none.
//   - The check against the last checkpoint and its replacement are one step
//     under one lock per log; one process alone uses a folder.
//   - A log that has no state is not served. A state is made by Init alone, which
//     never replaces one: a witness that lost its state does not begin anew and
//     cosign an older or another history, but says so and does not start.
//   - Every answer has the status that the specification gives it. Bodies, headers
//     and times are bounded.
//
// # The audit key
//
// A Merkle proof cannot show that no version was released twice. With the audit
// mode the witness has a second key of another name, and a submission prefix of
// its own, /audit. Before it signs with that key it has read every entry of the
// log up to the checkpoint, has computed the root of exactly these entries, and
// package history found no violation in them. The signature is an ordinary
// cosignature/v1: tlog-cosignature ("Additional statements") lets a key state
// more than the base statement, if the key is one of its own. To a server and to
// a policy, the two are two witnesses.
//
// A violation is final: from then on the audit key signs nothing of that log,
// whatever is offered, and says why with 403. Plain witnessing goes on: it
// states something else, which is still true.
package witness
