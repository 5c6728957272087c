package process

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// outputs carries a program's output into files. The program writes to pipes
// whose read ends belong to us: a pipe can be capped whatever the program
// writes, and can be closed whoever still holds its other end.
type outputs struct {
	null     *os.File
	out, log *capture // nil when thrown away; log is stderr's
}

func openOutputs(s Spec) (*outputs, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	o := &outputs{null: null}
	limit := s.LogCap
	if limit <= 0 {
		limit = DefaultLogCap
	}
	if o.out, err = openCapture(s.Stdout, limit); err == nil {
		if s.Stderr == s.Stdout {
			o.log = o.out
		} else {
			o.log, err = openCapture(s.Stderr, limit)
		}
	}
	if err != nil {
		o.abandon()
		return nil, fmt.Errorf("opening the output files: %w", err)
	}
	return o, nil
}

// each calls f for every capture once.
func (o *outputs) each(f func(*capture)) {
	if o.out != nil {
		f(o.out)
	}
	if o.log != nil && o.log != o.out {
		f(o.log)
	}
}

// childFiles are the program's standard input, output and error.
func (o *outputs) childFiles() []*os.File {
	end := func(c *capture) *os.File {
		if c == nil {
			return o.null
		}
		return c.write
	}
	return []*os.File{o.null, end(o.out), end(o.log)}
}

// begin closes our copies of the program's ends and starts copying.
func (o *outputs) begin() {
	o.null.Close()
	o.each(func(c *capture) {
		c.write.Close()
		go c.copy()
	})
}

// finish waits until everything written has been copied, at most until the
// deadline. It says whether a process still held a pipe then.
func (o *outputs) finish(deadline time.Time) (held bool) {
	o.each(func(c *capture) {
		_ = c.read.SetReadDeadline(deadline)
		<-c.done
		held = held || c.held
	})
	return held
}

// abandon releases everything when no program was started.
func (o *outputs) abandon() {
	o.null.Close()
	o.each(func(c *capture) {
		c.write.Close()
		c.read.Close()
		c.file.Close()
	})
}

func (o *outputs) err() (err error) {
	o.each(func(c *capture) { err = errors.Join(err, c.err) })
	return err
}

// A capture keeps the first and the last half of what a pipe carries.
type capture struct {
	read, write *os.File
	file        *os.File
	head        int64 // bytes that may still go straight to the file
	tail        ring
	skipped     int64
	held        bool
	err         error
	done        chan struct{}
}

func openCapture(name string, limit int64) (*capture, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		file.Close()
		return nil, err
	}
	half := limit / 2
	return &capture{read: r, write: w, file: file, head: limit - half,
		tail: ring{limit: int(half)}, done: make(chan struct{})}, nil
}

// copy runs until every writer is gone or the read deadline comes.
func (c *capture) copy() {
	defer close(c.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := c.read.Read(buf)
		c.keep(buf[:n])
		if err != nil {
			c.held = errors.Is(err, os.ErrDeadlineExceeded)
			break
		}
	}
	c.read.Close()
	c.flush()
	if err := c.file.Close(); c.err == nil && err != nil {
		c.err = err
	}
}

func (c *capture) keep(b []byte) {
	n := min(int64(len(b)), c.head)
	c.toFile(b[:n])
	c.head -= n
	c.skipped += c.tail.add(b[n:])
}

func (c *capture) flush() {
	if c.skipped > 0 {
		c.toFile(fmt.Appendf(nil, "\n… %d bytes left out …\n", c.skipped))
	}
	first, second := c.tail.content()
	c.toFile(first)
	c.toFile(second)
}

// toFile writes to the file until that fails; after that the output is only
// drained, for a full disk must not stop the program.
func (c *capture) toFile(b []byte) {
	if c.err != nil || len(b) == 0 {
		return
	}
	if _, err := c.file.Write(b); err != nil {
		c.err = fmt.Errorf("writing the output file: %w", err)
	}
}

// A ring holds the last limit bytes added.
type ring struct {
	limit int
	buf   []byte
	next  int // where the oldest byte is, once full
}

// add returns how many bytes were dropped for it.
func (r *ring) add(b []byte) (dropped int64) {
	if r.limit == 0 {
		return int64(len(b))
	}
	if over := len(b) - r.limit; over > 0 {
		dropped, b = int64(over), b[over:]
	}
	if room := r.limit - len(r.buf); room > 0 {
		n := min(room, len(b))
		r.buf = append(r.buf, b[:n]...)
		b = b[n:]
	}
	dropped += int64(len(b))
	for len(b) > 0 {
		n := copy(r.buf[r.next:], b)
		r.next = (r.next + n) % r.limit
		b = b[n:]
	}
	return dropped
}

func (r *ring) content() (first, second []byte) { return r.buf[r.next:], r.buf[:r.next] }
