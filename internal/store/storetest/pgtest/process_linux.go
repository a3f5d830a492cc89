package pgtest

import "syscall"

// attributes runs a process as somebody, and ends it with this one, even if
// this one is killed.
func attributes(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT}
}
