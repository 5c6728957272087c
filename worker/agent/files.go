package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
)

// fetchTime bounds the request for one part of a bundle.
const fetchTime = 5 * time.Second

// files opens a bundle: from this worker's cache, or from the manager. The
// reader of the bundle checks its digest.
func (a *Agent) files(ctx context.Context, digest string) (io.ReadCloser, error) {
	cached := filepath.Join(a.Dir, "bundles", filepath.Base(digest))
	if file, err := os.Open(cached); err == nil {
		return file, nil
	}
	var data []byte
	for {
		try, cancel := context.WithTimeout(ctx, fetchTime)
		part, err := bus.Request[wire.FetchReply](try, a.Bus, wire.FetchSubject(a.Node.Worker), wire.Fetch{Digest: digest, Offset: int64(len(data))})
		cancel()
		if err == nil && part.Error != "" {
			err = errors.New(part.Error)
		}
		if err != nil {
			return nil, fmt.Errorf("fetching bundle %s: %w", digest, err)
		}
		data = append(data, part.Data...)
		if int64(len(data)) >= part.Size || len(part.Data) == 0 {
			break
		}
	}
	a.cache(cached, data)
	return io.NopCloser(bytes.NewReader(data)), nil
}

// cache keeps a bundle for the task's next experiments; a failure costs only
// the next fetch.
func (a *Agent) cache(path string, data []byte) {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path+".part", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		a.Log.Debug().Err(err).Msg("bundle not cached")
	}
}
