package transport

import (
	"net/http"
	"slices"
)

// A Raw is a request and its reply as they were on the wire, for those who
// keep everything. Headers that may carry secrets are there by name alone.
type Raw struct {
	Body              []byte // of the request
	Request, Response http.Header
	Status            int        // 0 without a reply
	Events            []RawEvent // of a stream
	// Text is a reply that was no stream; At is when the last of it arrived.
	Text []byte
	At   int64
}

// A RawEvent is one event of a stream.
type RawEvent struct {
	Name, Data string
	At         int64
}

// withheld stands for the value of a header that may be a secret.
const withheld = "withheld"

// shown are headers without their secrets: what the caller configured may be
// one, what the call itself brings is none.
func shown(h http.Header, ours http.Header) http.Header {
	out := h.Clone()
	for name := range out {
		if _, own := ours[name]; !own && !slices.Contains(plainHeaders, name) {
			out[name] = []string{withheld}
		}
	}
	return out
}

// plainHeaders never carry a secret.
var plainHeaders = []string{"Accept", "Content-Type"}

// replied keeps a reply's beginning.
func (r *Raw) replied(resp *http.Response) {
	if r == nil {
		return
	}
	r.Status, r.Response = resp.StatusCode, resp.Header.Clone()
	if r.Response.Get("Set-Cookie") != "" {
		r.Response["Set-Cookie"] = []string{withheld}
	}
}

// event keeps an event of a stream.
func (r *Raw) event(name string, data []byte, at int64) {
	if r != nil {
		r.Events = append(r.Events, RawEvent{name, string(data), at})
	}
}

// text keeps a reply that is no stream.
func (r *Raw) text(body []byte, at int64) {
	if r != nil {
		r.Text, r.At = body, at
	}
}
