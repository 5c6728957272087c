package process

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fleetune/fleetune/worker/capture"
)

// outputs carries a program's output into files. The program writes to pipes
// whose read ends belong to us: a pipe can be capped whatever the program
// writes, and can be closed whoever still holds its other end.
type outputs struct {
	null     *os.File
	out, log *pipe // nil when thrown away; log is stderr's
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
	if o.out, err = openPipe(s.Stdout, limit); err == nil {
		if s.Stderr == s.Stdout {
			o.log = o.out
		} else {
			o.log, err = openPipe(s.Stderr, limit)
		}
	}
	if err != nil {
		o.abandon()
		return nil, fmt.Errorf("opening the output files: %w", err)
	}
	return o, nil
}

// each calls f for every pipe once.
func (o *outputs) each(f func(*pipe)) {
	if o.out != nil {
		f(o.out)
	}
	if o.log != nil && o.log != o.out {
		f(o.log)
	}
}

// childFiles are the program's standard input, output and error.
func (o *outputs) childFiles() []*os.File {
	end := func(c *pipe) *os.File {
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
	o.each(func(c *pipe) {
		c.write.Close()
		go c.copy()
	})
}

// finish waits until everything written has been copied, at most until the
// deadline. It says whether a process still held a pipe then.
func (o *outputs) finish(deadline time.Time) (held bool) {
	o.each(func(c *pipe) {
		_ = c.read.SetReadDeadline(deadline)
		<-c.done
		held = held || c.held
	})
	return held
}

// abandon releases everything when no program was started.
func (o *outputs) abandon() {
	o.null.Close()
	o.each(func(c *pipe) {
		c.write.Close()
		c.read.Close()
		c.to.Close()
	})
}

func (o *outputs) err() (err error) {
	o.each(func(c *pipe) { err = errors.Join(err, c.to.Err()) })
	return err
}

// A pipe carries what a program writes into a file.
type pipe struct {
	read, write *os.File
	to          *capture.Writer
	held        bool
	done        chan struct{}
}

func openPipe(name string, limit int64) (*pipe, error) {
	if name == "" {
		return nil, nil
	}
	to, err := capture.Create(name, limit)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		to.Close()
		return nil, err
	}
	return &pipe{read: r, write: w, to: to, done: make(chan struct{})}, nil
}

// copy runs until every writer is gone or the read deadline comes.
func (c *pipe) copy() {
	defer close(c.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := c.read.Read(buf)
		_, _ = c.to.Write(buf[:n]) // a full disk must not stop the program
		if err != nil {
			c.held = errors.Is(err, os.ErrDeadlineExceeded)
			break
		}
	}
	c.read.Close()
	c.to.Close()
}
