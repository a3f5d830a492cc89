package daemontest

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel end the child when this process dies, so that
// a test that is itself killed leaves no server behind.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
