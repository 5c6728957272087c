package transport

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// probe takes the instants of an exchange's phases. The transport may still
// call it after the exchange is over, hence the atomics.
type probe struct {
	client *Client
	start  int64
	size   int64

	dnsStart, dnsDone         atomic.Int64
	connectStart, connectDone atomic.Int64
	tlsStart, tlsDone         atomic.Int64
	gotConn, wrote, firstByte atomic.Int64
	reused                    atomic.Bool
}

func (p *probe) trace(sent func()) *httptrace.ClientTrace {
	mark := func(at *atomic.Int64) { at.CompareAndSwap(0, p.client.now()) }
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { mark(&p.dnsStart) },
		DNSDone:              func(httptrace.DNSDoneInfo) { mark(&p.dnsDone) },
		ConnectStart:         func(string, string) { mark(&p.connectStart) },
		ConnectDone:          func(string, string, error) { mark(&p.connectDone) },
		TLSHandshakeStart:    func() { mark(&p.tlsStart) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { mark(&p.tlsDone) },
		GotFirstResponseByte: func() { mark(&p.firstByte) },
		GotConn: func(info httptrace.GotConnInfo) {
			p.reused.Store(info.Reused)
			mark(&p.gotConn)
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				mark(&p.wrote)
				sent()
			}
		},
	}
}

// fill writes the phases into the record.
func (p *probe) fill(rec *metrics.Record) {
	h := &rec.HTTP
	gap := func(from, to int64) int64 {
		if from <= 0 || to < from {
			return -1
		}
		return to - from
	}
	got, wrote, first := p.gotConn.Load(), p.wrote.Load(), p.firstByte.Load()
	h.Reused = p.reused.Load()
	if got > 0 {
		h.Blocked = got - p.start
	}
	if !h.Reused {
		h.DNS = gap(p.dnsStart.Load(), p.dnsDone.Load())
		h.Connecting = gap(p.connectStart.Load(), p.connectDone.Load())
		h.TLS = gap(p.tlsStart.Load(), p.tlsDone.Load())
		if got > 0 { // what was not spent on connecting was spent waiting
			h.Blocked = max(0, h.Blocked-max(h.DNS, 0)-max(h.Connecting, 0)-max(h.TLS, 0))
		}
	}
	h.Sending = gap(got, wrote)
	h.Waiting = gap(wrote, first)
	h.Receiving = gap(first, rec.End)
	h.Total = gap(p.start, rec.End)
	if wrote > 0 {
		rec.Sent = wrote
		h.BytesSent = p.size
	}
}
