// Package tlog is Chartkeep's transparency log as mathematics: leaves, the
// Merkle tree and its tiles, signed checkpoints, and the proofs between them.
// It keeps nothing, fetches nothing and reads no clock; the store that holds
// the rows and the server that serves them stand on it.
//
// # What always holds
//
//   - A leaf is a line-based text with exactly one spelling: what [ParseLeaf]
//     accepts, Marshal gives back byte for byte.
//   - A hash, once in a tile, never changes: a longer tree only adds hashes to
//     the right. A proof for any size up to the present one can therefore be
//     made from the full tiles and the right [Edge] alone.
//   - A checkpoint is accepted only with a signature of a known key whose name
//     is the checkpoint's origin; a witness's cosignature alone is not enough.
//   - Whatever is malformed is refused with an error, within the limits stated
//     at [MaxSize], [MaxLeaf], [MaxCheckpoint] and [MaxProof].
//
// What a Merkle tree cannot show is that a chart version has only one release
// leaf. A second one is a perfectly honest append; finding it takes a reader
// of all leaves.
//
// # Specifications
//
//   - RFC 6962 §2.1 (hashes), §2.1.1 (inclusion), §2.1.2 (consistency), with
//     SHA-256. The tree arithmetic is that of golang.org/x/mod/sumdb/tlog.
//   - C2SP tlog-tiles v0.1.0: "Merkle Tree", "Partial Tiles", "Log entries".
//   - C2SP tlog-checkpoint v1.0.0: "Note text", "Signatures"; no extension
//     lines are written, or accepted of our own log. Those of other logs may
//     have them ([OpenForeignCheckpoint]).
//   - C2SP tlog-cosignature v1.0.1: "Ed25519 signed message". ML-DSA-44 is not
//     verified, and a key of that type is refused rather than not counted.
//   - C2SP tlog-policy: "Policy file syntax and structure".
//   - C2SP tlog-witness v1.0.0: the texts of "add-checkpoint".
//   - C2SP signed-note v1.0.0: "Format", "Ed25519 signatures", "Verifier keys".
//   - C2SP tlog-proof (c2sp.org/tlog-proof@v1): "Format", "Verifying a tlog
//     proof"; the extra data is the whole leaf.
package tlog
