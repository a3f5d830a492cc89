// Package signer is a process of its own that holds the key of one log and
// signs its heads, as long as each continues the one that it signed before. A
// server that was broken into can then have signed what it shows while it is
// broken into, and nothing that takes back what was signed earlier.
//
// # What always holds
//
//   - A signature leaves only after the checkpoint that it is of is durable in
//     the folder: file, flush, rename, flush of the folder. A process that is
//     killed in between has given none.
//   - The check against the last checkpoint and its replacement are one step
//     under one lock; one process alone uses a folder.
//   - Of another log, of a smaller size, of the same size with another root, and
//     of a size whose proof does not hold, nothing is signed. The head that was
//     signed last gets the same signature again: whoever asked may not have heard
//     the answer.
//   - A folder without its state is not served: a signer that lost it would sign
//     another history. A state is made with the folder alone, and one that is
//     damaged is refused: the key vouches for its own states.
//   - A signature that somebody else computed, such as a token behind PKCS#11 or
//     a key management service, is verified before it is used.
//   - Who asks shows a secret, which is compared in constant time. Bodies,
//     headers and times are bounded.
//
// # The wire
//
// The request is that of C2SP tlog-witness 1.0.0 ("add-checkpoint"), but for the
// checkpoint, which nobody has signed yet:
//
//	POST /sign-head            old size, proof, head -> 200 the signed checkpoint
//	GET  /checkpoint           -> 200 the checkpoint that was signed last, 404 when none was
//
// 400 is a request that cannot be read, 401 one without the secret, 403 another
// log, 409 an old size that is not the last one (the body has that), 413 a body
// that is too large, 422 a proof that does not hold, 503 a key that does not
// answer.
package signer
