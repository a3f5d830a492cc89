//go:build unix

package signer

import (
	"os/exec"
	"syscall"
)

// endTogether makes what a command starts itself end with it.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
