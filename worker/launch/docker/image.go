package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/worker/launch"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
)

// ErrImage says that there is no such image, here or at its registry.
var ErrImage = errors.New("the image cannot be had")

// tellEvery is how often the progress of a pull is told.
const tellEvery = 5 * time.Second

// image makes sure that the image is there, and returns its digest.
func (l *Launcher) image(ctx context.Context, s launch.Spec) (string, error) {
	digest, err := l.digest(ctx, s.Image)
	if err == nil {
		return digest, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("%w: looking for image %s: %w", launch.ErrPlace, s.Image, err)
	}
	s.Tell("pulling " + s.Image)
	if err := l.pull(ctx, s); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", fmt.Errorf("%w: pulling %s: %w", ErrImage, s.Image, err)
	}
	if digest, err = l.digest(ctx, s.Image); err != nil {
		return "", fmt.Errorf("%w: %s after it was pulled: %w", ErrImage, s.Image, err)
	}
	s.Tell("pulled " + digest)
	return digest, nil
}

// digest is the image's digest at its registry, or its id where it came from
// none.
func (l *Launcher) digest(ctx context.Context, image string) (string, error) {
	found, err := l.api.ImageInspect(ctx, image)
	if err != nil {
		return "", err
	}
	if len(found.RepoDigests) > 0 {
		return found.RepoDigests[0], nil
	}
	return found.ID, nil
}

func (l *Launcher) pull(ctx context.Context, s launch.Spec) error {
	response, err := l.api.ImagePull(ctx, s.Image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	defer response.Close()
	layers := map[string]*jsonstream.Progress{}
	told := time.Now()
	for message, err := range response.JSONMessages(ctx) {
		if err != nil {
			return err
		}
		if message.Error != nil {
			return message.Error
		}
		if p := message.Progress; p != nil && p.Total > 0 {
			layers[message.ID] = p
		}
		if time.Since(told) > tellEvery {
			told = time.Now()
			var have, all int64
			for _, p := range layers {
				have, all = have+p.Current, all+p.Total
			}
			s.Tell(fmt.Sprintf("%s of %s in %d layers", node.Bytes(have), node.Bytes(all), len(layers)))
		}
	}
	return nil
}
