package soak

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end the child when the thread that started it
// ends, so that a test that is itself killed leaves nothing behind.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
