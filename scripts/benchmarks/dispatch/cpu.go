package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc: USER_HZ, 100 a second on Linux.
const clockTick = 10 * time.Millisecond

// cpuOf is the CPU time of a process and of its children that have ended.
func cpuOf(pid int) (cpu time.Duration, parent int) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	for _, field := range fields[11:15] {
		ticks, _ := strconv.Atoi(field)
		cpu += time.Duration(ticks) * clockTick
	}
	return cpu, parent
}

// treeCPU is the CPU time of a process and all its children.
func treeCPU(root int) time.Duration {
	total, _ := cpuOf(root)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return total
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if cpu, parent := cpuOf(pid); parent == root {
				total += cpu
			}
		}
	}
	return total
}
