package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary is also the program that the tests run, told so by its first
// argument: the environment is one of the things that shapes take away.
const helperWord = "process-test-helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == helperWord {
		helper(os.Args[2], os.Args[3:])
	}
	// A helper built with the race detector would sleep a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	if err := BecomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// helper is the program under test in one of its shapes. Its arguments are the
// lock file that stands for a device, and a FIFO that hears when it is held.
func helper(shape string, args []string) {
	child := exec.Command(os.Args[0], append([]string{helperWord, "hold"}, args...)...)
	child.SysProcAttr = &syscall.SysProcAttr{}
	switch shape {
	case "hold":
		hold(args[0], args[1])
	case "waits":
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		_ = child.Run()
	case "leaves-stdout":
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		leave(child, args[1])
	case "leaves":
		leave(child, args[1])
	case "setsid":
		child.SysProcAttr.Setsid = true
		leave(child, args[1])
	case "cleared":
		child.SysProcAttr.Setsid = true
		child.Env = []string{"NOTHING=left"}
		leave(child, args[1])
	case "deaf":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		_ = exec.Command(os.Args[0], append([]string{helperWord, "waits"}, args...)...).Run()
	case "orphans":
		// Children that die alone, with and without a session of their own.
		for i := range 5 {
			c := exec.Command("/bin/sh", "-c", "sh -c 'exit 3' & sh -c 'exit 4' &")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: i%2 == 0}
			_ = c.Run()
		}
	case "flood":
		line := []byte(strings.Repeat("x", 1023) + "\n")
		os.Stdout.WriteString("first\n")
		for range 64 << 10 {
			os.Stdout.Write(line)
		}
		os.Stdout.WriteString("last\n")
	case "cores":
		status, _ := os.ReadFile("/proc/self/status")
		_, rest, _ := bytes.Cut(status, []byte("Cpus_allowed_list:\t"))
		list, _, _ := bytes.Cut(rest, []byte("\n"))
		os.Stdout.Write(list)
	case "hungry":
		hungry(args[0])
	}
	os.Exit(0)
}

// leave ends the parent, once it is told that the child holds the device.
func leave(child *exec.Cmd, fifo string) {
	if err := child.Start(); err != nil {
		os.Exit(1)
	}
	_, _ = os.ReadFile(fifo + "-leave")
}

// hold takes the device, says so, and waits to be killed.
func hold(lock, fifo string) {
	word := "busy"
	if file, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			word = "held"
			defer file.Close()
		}
	}
	if err := os.WriteFile(fifo, []byte(word), 0); err != nil {
		os.Exit(1) //nolint:gocritic // the device is held as long as the process lives
	}
	signal.Ignore(syscall.SIGHUP)
	for {
		_ = unix.Pause()
	}
}

// hungry joins a memory cgroup and takes more than it may.
func hungry(procs string) {
	if err := os.WriteFile(procs, []byte("0"), 0); err != nil {
		os.Exit(7)
	}
	var kept [][]byte
	for range 1024 {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	os.Exit(len(kept) % 2)
}
