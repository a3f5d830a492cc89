// Package signature is who signs releases, and whether they did.
//
// A Policy says which kinds of signature a project asks for, and from whom. A
// Verifier holds one signature against it:
//
//   - PGP: the provenance file of Helm, a cleartext signature (RFC 9580 §7)
//     over the name, the version and the digest of the archive.
//   - Key: a sigstore bundle v0.3 that was made with a key of one's own, over
//     an in-toto statement (DSSE) or over a digest.
//   - Keyless: a sigstore bundle whose key has a certificate for an identity,
//     an entry in a log, and a time; package keyless knows how.
//
// What always holds:
//
//   - The bytes are verified, never what somebody says of them. Nothing is
//     fetched: keys, identities and the trusted root are in the policy.
//   - The moment of signing is given by the caller: when the signature came to
//     the registry, or the time of the log entry. What a signature says of its
//     own time is only held against that: one from the future, or from before
//     its key, is refused.
//   - SHA-1, small keys, keys that may not sign, expired and revoked keys are
//     refused, whatever the policy says.
//   - An attestation is no signature. A statement that somebody scanned or built
//     a chart says nothing of its release, so that statements count only when
//     their predicate is SignPredicate.
//   - What cannot be read or is not known is refused, never passed over.
//
// Refusals are problems; their rule names the check that refused.
package signature
