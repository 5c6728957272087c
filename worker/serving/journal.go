package serving

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// journal tells an experiment's steps, a line each, to whoever follows its
// logs. What cannot be written is not told.
type journal struct {
	mu   sync.Mutex
	path string
}

func newJournal(log func(stream string) string) *journal {
	if log == nil {
		return &journal{}
	}
	return &journal{path: log("progress")}
}

func (j *journal) line(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.path == "" {
		return
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %s\n", time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
