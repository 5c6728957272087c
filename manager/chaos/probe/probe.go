// Package probe is the program that the chaos test's experiments run. It does
// not trust Fleetune's bookkeeping: it takes an exclusive lock on everything
// it was given to use, reports a clash when somebody else has it, and writes
// a journal of what really ran, which the audit compares with the database.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An Entry of the journal is one run of the probe.
type Entry struct {
	// Run is the attempt's tag.
	Run string `json:"run"`
	// Point is the experiment's parameter, and Nonce the metric of this run
	// alone.
	Point int     `json:"point"`
	Nonce float64 `json:"nonce"`
	// Clash names what another run held at the same time.
	Clash []string `json:"clash,omitempty"`
}

// Config says what one run does.
type Config struct {
	// Dir holds the journal and the locks.
	Dir string
	// Host is which of the test's hosts the run is on: their devices are not
	// the same, although it is one machine.
	Host string
	// Point is echoed into the journal.
	Point int
	// Hold is how long the locks are held.
	Hold time.Duration
}

const (
	journalName = "journal.jsonl"
	metric      = "nonce"
)

// Metric is the name of the probe's metric.
func Metric() string { return metric }

// Run takes the locks, holds them, and writes journal and result file.
func Run(ctx context.Context, c Config) error {
	names, err := held()
	if err != nil {
		return err
	}
	// Below 2^53, so that it survives JSON and the database unchanged.
	entry := Entry{Run: os.Getenv("EXP_RUN_ID"), Point: c.Point, Nonce: float64(rand.Int64N(1 << 53))}
	clash, release, err := lockAll(filepath.Join(c.Dir, "host-"+c.Host), names)
	if err != nil {
		return err
	}
	defer release()
	entry.Clash = clash
	if err := note(c.Dir, entry); err != nil {
		return err
	}
	select {
	case <-time.After(c.Hold):
	case <-ctx.Done():
		return ctx.Err()
	}
	return writeResult(entry)
}

// held names what the run was given: its GPUs where it has some, else the
// cores it may use, which a CPU slot owns alone.
func held() ([]string, error) {
	for _, variable := range []string{"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"} {
		// -1 is how a program is told that it has none.
		if list := os.Getenv(variable); list != "" && list != "-1" {
			return strings.Split(list, ","), nil
		}
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("reading the cores of this run: %w", err)
	}
	var names []string
	for core := range len(set) * 64 {
		if set.IsSet(core) {
			names = append(names, fmt.Sprintf("core-%d", core))
		}
	}
	return names, nil
}

// lockAll takes the locks of the names, and tells which were taken already.
func lockAll(dir string, names []string) (clash []string, release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("making the locks' folder: %w", err)
	}
	var files []*os.File
	release = func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	for _, name := range names {
		f, err := lock(filepath.Join(dir, name+".lock"))
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			clash = append(clash, name)
		case err != nil:
			release()
			return nil, nil, err
		default:
			files = append(files, f)
		}
	}
	return clash, release, nil
}

// lock takes a lock that the kernel gives up with its holder. The error wraps
// unix.EWOULDBLOCK when somebody else has it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

// note appends an entry to the journal; a short append is one piece.
func note(dir string, e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a journal entry: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// Journal reads what ran so far.
func Journal(dir string) ([]Entry, error) {
	f, err := os.Open(filepath.Join(dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { _ = f.Close() }()
	var entries []Entry
	for decoder := json.NewDecoder(f); decoder.More(); {
		var e Entry
		if err := decoder.Decode(&e); err != nil {
			return nil, fmt.Errorf("reading the journal: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// writeResult writes the result file by rename.
func writeResult(e Entry) error {
	path := os.Getenv("EXP_RESULT_PATH")
	data, err := json.Marshal(map[string]any{
		"schema": 1, "run_id": e.Run, "correct": true,
		"metrics": map[string]any{metric: map[string]any{"unit": "1", "samples": []float64{e.Nonce}}},
	})
	if err != nil {
		return fmt.Errorf("encoding the result: %w", err)
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
