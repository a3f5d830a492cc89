// Package upgrade holds the use cases of moving deployments forward: feeds of
// advisories, what is open on what is deployed, reviews of candidate versions
// and their sign-off, plans with deadlines and windows, the state of every
// upgrade, tickets, and how well the practice does.
//
// What always holds:
//
//   - The chain is what a version runs, which advisories that opens and closes,
//     by when, what to do. Texts are hints beside it.
//   - What cannot be told is a doubt or an unknown in the answer, and weighs;
//     nothing is called clean.
//   - A review, a plan and a decision name the digests of all they were made
//     from: archives, snapshots, policy, calendar. The same inputs give the same
//     bytes.
//   - A sign-off is of one review with one digest, by a person, and is a leaf of
//     the log. What changes makes another review, which nobody has signed.
//   - A deadline is moved by nobody's effort or calendar.
//
// The package does I/O only through the interfaces in ports.go.
package upgrade
