// Package threats plays attackers against the whole program. Each row of the
// threat table in docs/threat-model.md is a test, and what the attacker has is
// all that the test touches: a token, the files of a folder, rows of a database,
// a key, the socket of a process. What others do anyway, such as publishing or
// handing over a key, is done for them.
//
// A row is played with the program as it is, where the check that it names has to
// catch it with its message, and then with a program in which that check is
// switched off: then the next check that the row names has to, and in the end
// nothing may, and the attack has to have worked. So a row can neither claim a
// check that does nothing nor one that something else does.
//
// The program with switches is built once, through an overlay of the product's
// source (switch_test.go); checks_test.go says for each check which text is
// replaced. A text that is not there exactly once fails the suite by name.
// Outcome and message of a row are asserted; when it is caught, and what is not,
// are reasons that a person has to check.
//
// The sections on attackers in docs/threat-model.md are written by this package,
// and held against it:
//
//	go test -count=1 -v .                     all rows; -short leaves nothing out
//	go test -count=1 -v -run TestThreats/ROW .
//	go test -run TestThreatModel -update .
package threats
