//go:build unix && !linux

package postgres

import "syscall"

// namespaces tells that there are no user namespaces here.
const namespaces = false

// apply makes a process run under the account.
func (a account) apply(attr *syscall.SysProcAttr) { attr.Credential = a.other }

// dieWithParent does nothing here: what a killed owner leaves behind is
// stopped at the next start.
func dieWithParent(*syscall.SysProcAttr) {}
