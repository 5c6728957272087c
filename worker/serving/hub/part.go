package hub

import (
	"context"
	"crypto/sha1" // git names its blobs so; nothing rests on it but what the hub says anyway
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

var (
	// errDigest says that a file is not what the hub said it was.
	errDigest = errors.New("the file's digest is wrong")
	// errStalled says that the hub went on sending nothing.
	errStalled = errors.New("the hub sends nothing")
)

const incomplete = ".incomplete"

// file fetches one file into the blobs, going on where an earlier try broke
// off.
func (f *fetch) file(ctx context.Context, part file) error {
	blob := f.blob(part)
	if _, err := os.Stat(blob); err == nil {
		f.got += part.Size
		return nil
	}
	before := f.got
	err := f.retry(ctx, part.Name, func(ctx context.Context) error {
		f.got = before
		return f.part(ctx, part)
	})
	if err != nil {
		return err
	}
	f.got = before + part.Size
	f.bytes(f.got, f.all, 0)
	if err := os.Rename(blob+incomplete, blob); err != nil {
		return fmt.Errorf("keeping the file: %w", err)
	}
	return nil
}

// part fetches what is missing of a file and verifies the whole.
func (f *fetch) part(ctx context.Context, part file) (err error) {
	out, err := os.OpenFile(f.blob(part)+incomplete, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("keeping a part: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("reading the part that is there: %w", err)
	}
	if have < part.Size || part.Size == 0 {
		if err := f.receive(ctx, out, have, part); err != nil {
			return err
		}
	}
	if err := verify(out, part); err != nil {
		// Nothing in it can be trusted: the next try starts anew.
		return errors.Join(err, out.Truncate(0))
	}
	return out.Sync()
}

func (f *fetch) address(part file) string {
	parts := strings.Split(path.Clean(part.Name), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return fmt.Sprintf("%s/%s/resolve/%s/%s", f.hub.Endpoint, f.model.ID, f.commit, strings.Join(parts, "/"))
}

// receive appends the body of the answer to out.
func (f *fetch) receive(ctx context.Context, out *os.File, have int64, part file) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(f.hub.Stall, func() { cancel(fmt.Errorf("%w for %v", errStalled, f.hub.Stall)) })
	defer stall.Stop()
	response, err := f.get(ctx, f.address(part), have)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if have > 0 && response.StatusCode != http.StatusPartialContent {
		// The server sends the whole file again.
		if err := out.Truncate(0); err != nil {
			return fmt.Errorf("beginning the file anew: %w", err)
		}
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("beginning the file anew: %w", err)
		}
		have = 0
	}
	before := f.got
	told := &pace{began: time.Now(), from: before + have}
	buffer := make([]byte, 1<<20)
	for {
		n, err := response.Body.Read(buffer)
		if _, werr := out.Write(buffer[:n]); werr != nil {
			return fmt.Errorf("keeping a part: %w", werr)
		}
		if n > 0 {
			stall.Reset(f.hub.Stall)
		}
		have += int64(n)
		f.got = before + have
		told.tell(f)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("receiving: %w", err)
		}
	}
}

// verify compares a file with its digest.
func verify(in io.ReadSeeker, f file) error {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the file again: %w", err)
	}
	var sum hash.Hash
	if f.LFS != nil {
		sum = sha256.New()
	} else {
		sum = sha1.New()
		fmt.Fprintf(sum, "blob %d\x00", f.Size)
	}
	n, err := io.Copy(sum, in)
	if err != nil {
		return fmt.Errorf("reading the file again: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.digest() {
		return fmt.Errorf("%w: %d bytes with %s, not %d with %s", errDigest, n, got, f.Size, f.digest())
	}
	return nil
}
