// Package threats plays attackers against the whole program. Each row of the
// threat table in docs/threat-model.md is a test: what the attacker has is all
// that the test touches (a token, the files of a folder, rows of a database, a
// key), the named check has to catch it with its message, and with that check
// taken out of the program the same attack has to pass it by. So a row can
// neither claim a check that does nothing nor one that something else does.
//
// The table in docs/threat-model.md is written by this package: go test -update.
package threats
