//go:build unix && !linux

package pgtest

import "syscall"

// attributes runs a process as somebody.
func attributes(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who}
}
