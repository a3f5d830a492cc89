// Package faults tests the real program under what goes wrong around it:
// publishers that race, processes that are killed, disks that fill or stop
// taking writes, and clients that send what no client should.
//
// It is a module of its own so that its tests, which take minutes, are run
// where they are asked for; README.md beside the folder says how.
package faults
