// Package watch holds the use cases of staying informed: upstream charts are
// polled and what changes there is told, deployments are recorded and matched
// with what was published, and what happened reaches the people it concerns.
//
// What always holds:
//
//   - An upstream's bytes are foreign: every reader has limits, and nothing an
//     upstream says (a time, a digest, that a version is gone) is taken for
//     true. Times are our own; digests are compared with the bytes.
//   - One download that was bad changes nothing of what is known.
//   - What a poll found is one transaction: states, events, log leaves and the
//     next due time stand together or not at all. A lease makes sure that of
//     two processes only one can write it.
//   - What could not be told is said to be unknown, never left out.
//
// Schedules are rows with a due time and a lease. Every process takes what is
// due; whose process ends in the middle loses the lease, and another does the
// work again.
package watch
