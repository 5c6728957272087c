//go:build unix

// Package local is what stands behind `fleetune up`: it keeps the state
// folder and the secrets of one machine, starts the parts of the house in
// order (PostgreSQL, NATS, manager, worker), and stops them in reverse so that
// no process, lock or port is left. What the manager and the worker are is the
// caller's to say; local runs them through one small interface.
package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// HomeVariable names the environment variable that overrides the state folder.
const HomeVariable = "FLEETUNE_HOME"

// ErrNotRunning says that no local Fleetune is up in the folder.
var ErrNotRunning = errors.New("no Fleetune is up here")

// Paths are the places in a state folder.
type Paths struct{ Root string }

// Postgres is the private PostgreSQL's folder.
func (p Paths) Postgres() string { return filepath.Join(p.Root, "postgres") }

// NATS is the embedded NATS server's folder.
func (p Paths) NATS() string { return filepath.Join(p.Root, "nats") }

// Worker is the local worker's folder.
func (p Paths) Worker() string { return filepath.Join(p.Root, "worker") }

// Token is the file with the API's token.
func (p Paths) Token() string { return filepath.Join(p.Root, "token") }

// JoinToken is the file with the token that lets workers join, and nothing else.
func (p Paths) JoinToken() string { return filepath.Join(p.Root, "join.token") }

// BusSecret is the file with the secret that the bus's passwords come from.
func (p Paths) BusSecret() string { return filepath.Join(p.Root, "bus.secret") }

// URL is the file with the API's URL; it is there while Fleetune is up.
func (p Paths) URL() string { return filepath.Join(p.Root, "url") }

// Lock is the file that one running Fleetune holds.
func (p Paths) Lock() string { return filepath.Join(p.Root, "lock") }

// DefaultRoot is the state folder when none is given: FLEETUNE_HOME, else
// /var/lib/fleetune for root, else fleetune in the user's state folder (XDG
// base directory specification). Getenv is os.Getenv.
func DefaultRoot(getenv func(string) string) (string, error) {
	return defaultRoot(getenv, os.Geteuid())
}

func defaultRoot(getenv func(string) string, uid int) (string, error) {
	if root := getenv(HomeVariable); root != "" {
		return filepath.Abs(root)
	}
	if uid == 0 {
		return "/var/lib/fleetune", nil
	}
	// The specification has relative paths ignored.
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "fleetune"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", fmt.Errorf("neither %s nor HOME says where to keep Fleetune's state", HomeVariable)
	}
	return filepath.Join(home, ".local", "state", "fleetune"), nil
}

// Reach reads how to reach the Fleetune that is up in the folder: the API's
// URL and its token. ErrNotRunning says that there is none.
func (p Paths) Reach() (url, token string, err error) {
	text, err := os.ReadFile(p.URL())
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%s: %w", p.Root, ErrNotRunning)
	}
	if err != nil {
		return "", "", fmt.Errorf("reading the API's URL: %w", err)
	}
	secret, err := os.ReadFile(p.Token())
	if err != nil {
		return "", "", fmt.Errorf("reading the API's token: %w", err)
	}
	return strings.TrimSpace(string(text)), strings.TrimSpace(string(secret)), nil
}

// prepare makes the folder. Root's may be passed through, but not listed, as
// PostgreSQL runs there under another account.
func (p Paths) prepare() error {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(p.Root, mode); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	return nil
}
