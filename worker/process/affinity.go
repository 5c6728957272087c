package process

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// execOn starts the leader from a thread that has its cores. If the thread
// cannot be given its own cores back, it stays locked and dies with the
// calling goroutine.
func (p *Process) execOn(cores []int, path string, attr *os.ProcAttr) error {
	var own, want unix.CPUSet
	for _, c := range cores {
		want.Set(c)
	}
	if want.Count() != len(cores) {
		return fmt.Errorf("cores %v are not distinct or do not exist", cores)
	}
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("reading the CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("setting the CPU affinity to %v: %w", cores, err)
	}
	err := p.exec(path, attr)
	if unix.SchedSetaffinity(0, &own) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
