// Package monitor follows a log from outside and says where it, or the doors of
// the server that has it, do not hold.
//
// It trusts the log's key and its own folder, and nothing that the server says.
// In rounds it fetches the newest checkpoint, checks its signature and the
// quorum of witnesses, fetches the entries that are new, works out the root of
// the tree with them, and takes them only when it is the signed one. That proves
// that the log it saw before was only appended to. Then it replays the new
// leaves (package history), and looks at what leaves cannot say: whether the
// archives that are served are those of the leaves, whether index and tags list
// what has no leaf, and whether a release was announced by whoever makes them.
//
// # What always holds
//
//   - A leaf is judged once and none is left out: position, findings and what is
//     still to be told are written in one file, which takes the place of the one
//     before in one step. A crash at any moment repeats a round or a message,
//     with the same id, and loses neither.
//   - What could not be checked is said and is never taken for fine. A monitor
//     that has not seen the log for a while says that it is blind.
//   - What the doors show is compared with the log as it stood before and after:
//     a finding is made only when a second look, with a newer checkpoint, finds
//     the same, since a release or a yank may come between two requests.
//   - A fork is never accepted: the position stays, and both checkpoints are
//     kept as evidence.
//   - Everything that is read has a limit of size and time.
//
// Specifications: C2SP tlog-tiles, tlog-checkpoint and tlog-policy by way of
// package tlog; the evidence files are those of package client.
//
// # Cost
//
// Memory is that of package history, some 110 bytes a release. A round without
// news is one request for the checkpoint and one for each project's index, most
// of them answered by 304. Each leaf costs some ten microseconds and, at first,
// its 400 bytes of transfer.
package monitor
