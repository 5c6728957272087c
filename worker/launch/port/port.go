// Package port hands out this worker's TCP ports for engines. A port is held
// from its allocation until it is released, so that no other engine, worker or
// program gets it in the moment before the engine listens.
package port

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// The range lies below the ports that Linux gives to outgoing connections
// (32768 and up) and the node ports of Kubernetes (30000 and up), and leaves
// out 8000–8100, which people and engines use by default.
const (
	First = 20000
	Last  = 29999
)

// ErrNone says that every port is taken.
var ErrNone = errors.New("no free port")

// An Allocator hands out ports of a range on the loopback address. Its methods
// may be called from many goroutines.
type Allocator struct {
	first, last int
	mu          sync.Mutex
	next        int
	held        map[int]bool
}

// New returns an allocator of First to Last.
func New() *Allocator { return newRange(First, Last) }

func newRange(first, last int) *Allocator {
	return &Allocator{first: first, last: last, next: first, held: map[int]bool{}}
}

// A Port is held until Release.
type Port struct {
	Number int
	owner  *Allocator
	socket int
	once   sync.Once
}

// Take finds a free port and holds it. Ports are given out in turn, so that
// one is not used again soon after its engine went.
func (a *Allocator) Take() (*Port, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range a.last - a.first + 1 {
		number := a.next
		if a.next++; a.next > a.last {
			a.next = a.first
		}
		if a.held[number] {
			continue
		}
		if socket, err := hold(number); err == nil {
			a.held[number] = true
			return &Port{Number: number, owner: a, socket: socket}, nil
		}
	}
	return nil, fmt.Errorf("ports %d to %d: %w", a.first, a.last, ErrNone)
}

// hold binds a socket to the port without listening. It is bound exclusively,
// which fails if anybody else has the port, and lets it be shared only
// afterwards: an engine that sets SO_REUSEADDR, as servers do, can then bind
// and listen beside it, while another allocator still fails.
func hold(number int) (int, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening a socket: %w", err)
	}
	err = unix.Bind(socket, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err != nil {
		_ = unix.Close(socket)
		return -1, fmt.Errorf("holding port %d: %w", number, err)
	}
	return socket, nil
}

// Release gives the port back.
func (p *Port) Release() {
	p.once.Do(func() {
		p.owner.mu.Lock()
		defer p.owner.mu.Unlock()
		_ = unix.Close(p.socket) // nothing was written to it
		delete(p.owner.held, p.Number)
	})
}
