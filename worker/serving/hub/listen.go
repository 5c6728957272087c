package hub

import (
	"fmt"
	"time"

	"github.com/fleetune/fleetune/proto/node"
)

// A Listener hears how a fetch goes. Any of its parts may be nil.
type Listener struct {
	// Line takes what is worth keeping, now and then.
	Line func(text string)
	// Bytes takes what is there of all that is wanted, and how fast it comes, in
	// bytes per second; 0 is not known yet. It is called about twice a second.
	Bytes func(have, all int64, rate float64)
}

func (l Listener) line(format string, args ...any) {
	if l.Line != nil {
		l.Line(fmt.Sprintf(format, args...))
	}
}

func (l Listener) bytes(have, all int64, rate float64) {
	if l.Bytes != nil {
		l.Bytes(have, all, rate)
	}
}

const (
	bytesEvery = 500 * time.Millisecond
	lineEvery  = 10 * time.Second
)

// pace is how one answer of the hub comes in.
type pace struct {
	began     time.Time
	from      int64     // bytes that were there when it began
	bytes     time.Time // when bytes were told
	lineAfter time.Time
}

// tell passes on how far the fetch is, not more often than anybody can read.
func (p *pace) tell(f *fetch) {
	now := time.Now()
	if now.Sub(p.bytes) < bytesEvery {
		return
	}
	rate := 0.0
	if took := now.Sub(p.began); took >= bytesEvery {
		rate = float64(f.got-p.from) / took.Seconds()
	}
	p.bytes = now
	f.bytes(f.got, f.all, rate)
	if p.lineAfter.IsZero() {
		p.lineAfter = p.began.Add(lineEvery)
	}
	if now.After(p.lineAfter) {
		p.lineAfter = now.Add(lineEvery)
		f.line("%s", Progress(f.got, f.all, rate))
	}
}

// Progress says how far a fetch is, as in "4.2 GB of 9.8 GB (43 %), 512 MB/s,
// 11s left".
func Progress(have, all int64, rate float64) string {
	text := fmt.Sprintf("%s of %s", node.Bytes(have), node.Bytes(all))
	if all > 0 {
		text += fmt.Sprintf(" (%d %%)", 100*have/all)
	}
	if rate < 1 {
		return text
	}
	text += fmt.Sprintf(", %s/s", node.Bytes(int64(rate)))
	if left := time.Duration(float64(all-have) / rate * float64(time.Second)).Round(time.Second); left > 0 {
		text += fmt.Sprintf(", %v left", left)
	}
	return text
}
