package postgres

import (
	"os"
	"syscall"
)

// namespaces tells that root can run the server in a user namespace.
const namespaces = true

// apply makes a process run under the account.
func (a account) apply(attr *syscall.SysProcAttr) {
	attr.Credential = a.other
	if a.namespace {
		// initdb asks for the account's name, so it must have one.
		inside := 1000
		if nobody, err := lookUp("nobody"); err == nil {
			inside = int(nobody.Uid)
		}
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getegid(), Size: 1}}
	}
}

// dieWithParent has the process shut down in an orderly way when the thread
// that starts it ends; that thread must stay until the process has ended.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
