// Package v1 holds the documents of version 1 of Fleetune's HTTP API: what the
// API answers, the client reads and `fleetune … --json` prints. Field names
// are a public interface: they are only ever added. The package knows nothing
// of the database or of HTTP.
package v1

// Base is the path under which version 1 of the API is served.
const Base = "/api/v1"

// A Page of a listing. Next, when not empty, is the cursor of the page behind
// it: the same request with `after` set to it.
type Page[T any] struct {
	Items []T    `json:"items" nullable:"false" doc:"the documents of this page, in order"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last one"`
}
