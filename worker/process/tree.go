package process

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// entry is what /proc says of one process.
type entry struct {
	pid, parent, group, session int
	zombie                      bool
	started                     uint64 // clock ticks since boot
}

// marks recognise the members of one run.
type marks struct {
	tag string
	// limit is the run's number in the unused resource limit.
	limit uint64
	// leader is the id of group and session, 0 when the leader is not ours.
	leader int
	// since is the leader's start; nothing older is a member.
	since uint64
	// group is the run's cgroup, nil if it has none.
	group *cgroup
	// seen are members by process id and start: one that has died no longer
	// shows its environment.
	seen map[int]uint64
}

func newMarks(tag string, group *cgroup) *marks {
	return &marks{tag: tag, limit: markOf(tag), group: group, seen: map[int]uint64{}}
}

// markOf derives the number of a run from its tag, so that a later process
// recognises the run by the tag alone.
func markOf(tag string) uint64 {
	sum := sha256.Sum256([]byte(tag))
	return binary.LittleEndian.Uint64(sum[:])>>2 | smallestMark
}

// smallestMark keeps the numbers of runs apart from limits that someone means.
const smallestMark = 1 << 40

// markLimit writes the number of a run into a resource limit that Linux has
// ignored since 2.4 but hands down to every descendant, whatever it does to
// its environment, group or session, and shows even of the dead.
func markLimit(pid int, mark uint64) {
	old := unix.Rlimit{}
	if unix.Prlimit(pid, rlimitLocks, nil, &old) == nil && mark <= old.Max {
		_ = unix.Prlimit(pid, rlimitLocks, &unix.Rlimit{Cur: mark, Max: old.Max}, nil)
	}
}

// rlimitLocks is RLIMIT_LOCKS, a number that golang.org/x/sys leaves out for it
// has no use of its own.
const rlimitLocks = 10

// member says whether a process belongs to the run.
func (m *marks) member(e entry) bool {
	if e.started < m.since {
		return false
	}
	if m.leader != 0 && (e.group == m.leader || e.session == m.leader) {
		return true
	}
	if started, ok := m.seen[e.pid]; ok && started == e.started {
		return true
	}
	return limitOf(e.pid) == m.limit || (!e.zombie && tagOf(e.pid) == m.tag) || m.group.holds(e.pid)
}

// members lists the run's processes, zombies included, the leader not.
func (m *marks) members() ([]entry, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var found []entry
	self := os.Getpid()
	for _, e := range all {
		if e.pid == self || e.pid == m.leader || !m.member(e) {
			continue
		}
		m.seen[e.pid] = e.started
		found = append(found, e)
	}
	return found, nil
}

// prove kills what is left of the tree until nothing is, or the deadline comes.
// It returns how many processes outlived the leader.
func (p *Process) prove(deadline time.Time) (int, error) {
	p.killGroup()
	m := newMarks(p.spec.Tag, p.group)
	m.leader = p.pid
	if e, ok := readEntry(p.pid); ok {
		m.since = e.started
	}
	err := m.clear(context.Background(), deadline)
	return len(m.seen), err
}

// clear kills and reaps the members of a run until none is left.
func (m *marks) clear(ctx context.Context, deadline time.Time) error {
	pause := time.Millisecond
	for {
		left, err := m.members()
		if err != nil {
			return fmt.Errorf("reading the process table: %w", err)
		}
		gone := m.group == nil || m.group.empty()
		if len(left) == 0 && gone {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes left%s", len(left), describe(left))
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !gone {
			m.group.kill()
		}
		for _, e := range left {
			e.finish()
		}
		sleep(ctx, pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func describe(left []entry) string {
	text := ""
	for i, e := range left {
		if i == 5 {
			return text + " …"
		}
		text += " " + strconv.Itoa(e.pid)
	}
	return text
}

// finish kills a member, or reaps it if it is dead and was handed to us. A
// member is never a child that someone in this process waits for: leaders are
// left out of the list, and other children carry no mark of a run.
func (e entry) finish() {
	if e.zombie {
		if e.parent == os.Getpid() {
			var status unix.WaitStatus
			_, _ = unix.Wait4(e.pid, &status, unix.WNOHANG, nil)
		}
		return
	}
	// The handle pins the process: the id cannot be reused between the look
	// and the signal.
	proc, err := os.FindProcess(e.pid)
	if err != nil {
		return
	}
	defer func() { _ = proc.Release() }()
	if now, ok := readEntry(e.pid); ok && now.started == e.started {
		_ = proc.Signal(unix.SIGKILL)
	}
}

// Sweep kills what is left of dead runs and proves it dead. Their leaders must
// not be running under this Runner. The error is ErrNotProvenDead or that of
// the context.
func (r *Runner) Sweep(ctx context.Context, tags ...string) error {
	var errs []error
	deadline := time.Now().Add(r.budget)
	for _, tag := range tags {
		var group *cgroup
		if r.groups != nil {
			group = r.groups.find(markOf(tag))
		}
		err := newMarks(tag, group).clear(ctx, deadline)
		if group != nil && err == nil {
			group.remove()
		}
		if err != nil && context.Cause(ctx) == nil {
			err = fmt.Errorf("%w: run %s: %w", ErrNotProvenDead, tag, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Tagged says whether a process belongs to a run, of this worker or another.
func Tagged(pid int) bool { return tagOf(pid) != "" || limitOf(pid) >= smallestMark }

func tagOf(pid int) string {
	environ, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return ""
	}
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if tag, ok := bytes.CutPrefix(v, []byte(TagVariable+"=")); ok {
			return string(tag)
		}
	}
	return ""
}

func limitOf(pid int) uint64 {
	limits, err := os.ReadFile(procPath(pid, "limits"))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(limits, []byte("Max file locks"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[0]), 10, 64)
	return n
}
