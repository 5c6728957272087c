package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tries of one answer, with a pause between them that doubles.
	tries      = 5
	firstPause = time.Second
	// longestPause is the most that a hub may ask for; it counts requests over
	// five minutes.
	longestPause = 5 * time.Minute
)

// A refusal is a status of the hub that may pass.
type refusal struct {
	status string
	after  time.Duration // that the hub asks to wait
	final  bool
}

func (r *refusal) Error() string { return "the hub answers " + r.status }

// retry does something until it succeeds, cannot succeed, or was tried often
// enough.
func (f *fetch) retry(ctx context.Context, what string, do func(context.Context) error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := do(ctx)
		var refused *refusal
		errors.As(err, &refused)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrGated), errors.Is(err, ErrMissing), errors.Is(err, unix.ENOSPC), refused != nil && refused.final, try == tries:
			return err
		}
		wait := pause
		if refused != nil {
			wait = min(max(pause, refused.after), longestPause)
		}
		f.line("%s: %v; trying again in %v", what, err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		pause *= 2
	}
}

// get asks for a URL, from an offset on. Statuses that are no success are
// errors.
func (f *fetch) get(ctx context.Context, target string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	if f.token != "" {
		request.Header.Set("Authorization", "Bearer "+f.token)
	}
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	response, err := f.hub.Client.Do(request)
	if err != nil {
		return nil, unsigned(ctx, err)
	}
	if response.StatusCode == http.StatusOK || response.StatusCode == http.StatusPartialContent {
		return response, nil
	}
	response.Body.Close()
	return nil, f.refused(response)
}

// unsigned tells what went wrong without the address: where the hub sends its
// clients to, the address itself opens the file.
func unsigned(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var asked *url.Error
	if !errors.As(err, &asked) {
		return err
	}
	if u, perr := url.Parse(asked.URL); perr == nil && u.Host != "" {
		return fmt.Errorf("asking %s: %w", u.Host, asked.Err)
	}
	return asked.Err
}

// refused is the error of an answer that is none. The hub's own codes tell
// what its statuses do not: what somebody may not see is not there.
func (f *fetch) refused(r *http.Response) error {
	how := r.Status
	if code := r.Header.Get("X-Error-Code"); code != "" {
		how += ", " + code
	}
	switch code := r.Header.Get("X-Error-Code"); {
	case code == "GatedRepo":
		return fmt.Errorf("%w (%s)", ErrGated, how)
	case code == "RepoNotFound":
		return fmt.Errorf("%w: it does not exist, or is private and %s (%s)", ErrMissing, f.known(), how)
	case code == "RevisionNotFound":
		return fmt.Errorf("%w: it has no revision %s (%s)", ErrMissing, revision(f.model), how)
	case r.StatusCode == http.StatusUnauthorized, r.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %s (%s)", ErrGated, f.known(), how)
	case r.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w (%s)", ErrMissing, how)
	}
	again := r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		seconds = 0
	}
	return &refusal{status: how, after: min(time.Duration(seconds)*time.Second, longestPause), final: !again}
}

// known says what the hub knows of us.
func (f *fetch) known() string {
	if f.token == "" {
		return "no token was sent"
	}
	return "the token that was sent does not open it"
}
