package agent

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
)

const (
	// logEvery is how often new output is sent to whoever follows it.
	logEvery = 250 * time.Millisecond
	// logPart is how much output one message carries, in bytes.
	logPart = 64 << 10
)

// follower sends an attempt's output to the bus while it is written. The
// stream there keeps it for a while; what matters of a failure travels with
// the report.
type follower struct {
	agent *Agent
	at    *attempt
	dir   string
	once  sync.Once
	quit  chan struct{}
	done  chan struct{}

	mu    sync.Mutex
	files []*followed
}

type followed struct {
	stream, path string
	offset       int64
}

func (a *Agent) followLogs(at *attempt, dir string) *follower {
	return &follower{agent: a, at: at, dir: dir, quit: make(chan struct{}), done: make(chan struct{})}
}

// file names the file that captures a stream, and follows it from then on.
func (f *follower) file(stream string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range f.files {
		if known.stream == stream {
			return known.path
		}
	}
	path := filepath.Join(f.dir, strings.ReplaceAll(stream, " ", "."))
	f.files = append(f.files, &followed{stream: stream, path: path})
	f.once.Do(func() {
		// Without the folder the program's output has nowhere to go, which the
		// program's start then says.
		_ = os.MkdirAll(f.dir, 0o700)
		go f.follow()
	})
	return path
}

func (f *follower) follow() {
	defer close(f.done)
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.quit:
			f.sendNew()
			return
		case <-tick.C:
			f.sendNew()
		}
	}
}

// close sends what is left and ends the log.
func (f *follower) close() {
	started := true
	f.once.Do(func() { started = false })
	close(f.quit)
	if started {
		<-f.done
	}
	if len(f.files) > 0 {
		f.publish(wire.LogChunk{Attempt: f.at.grant.Attempt, Last: true})
	}
}

func (f *follower) sendNew() {
	f.mu.Lock()
	files := append([]*followed(nil), f.files...)
	f.mu.Unlock()
	for _, file := range files {
		f.sendFile(file)
	}
}

func (f *follower) sendFile(file *followed) {
	in, err := os.Open(file.path)
	if err != nil {
		return // not written yet
	}
	defer in.Close()
	buffer := make([]byte, logPart)
	for {
		n, err := in.ReadAt(buffer, file.offset)
		if n > 0 {
			f.publish(wire.LogChunk{
				Attempt: f.at.grant.Attempt, Stream: file.stream, Offset: file.offset, Data: string(buffer[:n]),
			})
			file.offset += int64(n)
		}
		if err == io.EOF || err != nil || n == 0 {
			return
		}
	}
}

func (f *follower) publish(c wire.LogChunk) {
	data, err := json.Marshal(c)
	if err != nil || !f.agent.Bus.Connected() {
		return
	}
	subject := wire.LogSubject(f.agent.Node.Worker, f.at.offer.Experiment)
	if _, err := f.agent.Bus.JetStream().PublishAsync(subject, data); err != nil {
		f.agent.Log.Debug().Err(err).Msg("output not sent")
	}
}
