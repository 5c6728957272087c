package agent

import "os"

// exitKilled is what a shell shows for a process that was killed.
const exitKilled = 137

// faultPoint ends the process at once, as a crash would, when the configuration
// names this point: the chaos test's way to hit the moments that matter.
func (a *Agent) faultPoint(name string) {
	if a.Fault == name {
		os.Exit(exitKilled)
	}
}
