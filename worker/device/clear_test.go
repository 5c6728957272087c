package device

import (
	"errors"
	"testing"
)

// TestClearQuarantineFromOutside: an operator needs neither the worker that put
// a device into quarantine nor a restart of those that run.
func TestClearQuarantineFromOutside(t *testing.T) {
	dir, d := t.TempDir(), gpus(1)[0]
	s := open(t, gpus(1), Config{LockFolder: dir})
	lift := func() error { return ClearQuarantine(t.Context(), dir, d) }
	if err := lift(); !errors.Is(err, ErrNotQuarantined) {
		t.Errorf("a free device: %v", err)
	}
	l := one(t, s, 1)
	if err := l.Bind("run"); err != nil {
		t.Fatal(err)
	}
	if err := lift(); !errors.Is(err, ErrBusy) {
		t.Errorf("a device in use: %v", err)
	}
	l.Quarantine("not proven dead")
	if err := lift(); err != nil {
		t.Fatal(err)
	}
	s.Look(t.Context(), found(gpus(1)))
	if got := health(s); got != "ok" {
		t.Errorf("the worker sees %s", got)
	}
	one(t, s, 1).Release()
}

// TestClearQuarantineLeavesOtherRecords: what a dead worker left running is
// proven dead by the next one, not forgotten.
func TestClearQuarantineLeavesOtherRecords(t *testing.T) {
	dir, d := t.TempDir(), gpus(1)[0]
	dead, err := NewSemaphore(gpus(1), Config{LockFolder: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := one(t, dead, 1).Bind("run"); err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ClearQuarantine(t.Context(), dir, d); !errors.Is(err, ErrNotQuarantined) {
		t.Errorf("a dead worker's record: %v", err)
	}
	s := open(t, gpus(1), Config{LockFolder: dir})
	until(t, s, func() bool { return health(s) == "quarantined" })
	if err := ClearQuarantine(t.Context(), dir, d); err != nil {
		t.Error(err)
	}
}
