// Package release is the registry as use cases: push, resolve, yank, attach,
// import, read, and the rules that every door shares.
//
// What always holds:
//
//   - A release exists from exactly one claim, made in one database
//     transaction together with its leaf in the transparency log, its audit
//     event, its place in the index and its outbox event.
//   - No method changes or deletes what a release names. There is no look
//     before the write: the store's unique keys decide who released.
//   - Whatever could not be checked is refused, never let through.
//   - Every method asks package access once, with the caller's principal.
//     Doors (package server and below) only translate.
//
// The package does I/O only through the ports that it declares in ports.go.
package release
