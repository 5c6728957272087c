//go:build unix

package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
)

// maxSocket is how long a socket's path may be on every system: macOS allows
// 103 bytes, Linux 107.
const maxSocket = 103

// A home is the folder of a server: its data, its socket, and who may own
// them.
type home struct {
	dir     string
	socket  string
	install install
	account account
	log     zerolog.Logger
}

func (h *home) data() string { return filepath.Join(h.dir, "data") }

// settle decides which binaries and which account the server uses, and gives
// that account the folder.
func (h *home) settle(bin string) error {
	major, err := dataVersion(h.data())
	if err != nil {
		return err
	}
	if h.install, err = findInstall(bin, major); err != nil {
		return err
	}
	if h.account, err = chooseAccount(h.dir, h.data()); err != nil {
		return err
	}
	if err := h.account.own(h.dir); err != nil {
		return err
	}
	if h.socket, err = h.socketDir(); err != nil {
		return err
	}
	return nil
}

// dataVersion is the major version that made the data, or 0 when there is none.
func dataVersion(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the data's version: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("reading the data's version: %w", err)
	}
	return major, nil
}

// socketDir is where the socket lives: in the folder itself, or, where its
// path would be too long, in a short one of its own.
func (h *home) socketDir() (string, error) {
	dir := filepath.Join(h.dir, "run")
	if len(socketPath(dir)) > maxSocket {
		sum := sha256.Sum256([]byte(h.dir))
		base := os.Getenv("XDG_RUNTIME_DIR")
		if base == "" || h.account.foreign() || len(base) > 40 {
			base = "/tmp"
		}
		dir = filepath.Join(base, "fleetune-"+hex.EncodeToString(sum[:8]))
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("making the folder of the socket: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("making the folder of the socket: %w", err)
	}
	// Whoever can enter the folder is let into the database, so in /tmp
	// somebody else's folder of that name must not be trusted.
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if !info.IsDir() || owner != os.Geteuid() && owner != h.account.uid() {
		return "", fmt.Errorf("%s belongs to somebody else", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("closing the folder of the socket: %w", err)
	}
	return dir, h.account.own(dir)
}

func socketPath(dir string) string { return filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(port)) }

// initialise makes the data folder at the first start. It appears whole or
// not at all: what a crash leaves half-made is made anew.
func (h *home) initialise(ctx context.Context, volatile bool) error {
	if _, err := os.Stat(h.data()); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for the data: %w", err)
	}
	draft := h.data() + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return fmt.Errorf("removing a half-made data folder: %w", err)
	}
	args := []string{"-D", draft, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C"}
	if volatile {
		args = append(args, "--no-sync")
	}
	cmd := h.command(ctx, "initdb", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(draft, h.data()); err != nil {
		return fmt.Errorf("keeping the new data folder: %w", err)
	}
	return nil
}

// command prepares one of PostgreSQL's programs to run under the account, in a
// process group of its own so that a Ctrl-C in the terminal does not reach it.
func (h *home) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(h.install.bin, name), args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"LC_ALL=C", "PATH=" + h.install.bin + ":/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	h.account.apply(cmd.SysProcAttr)
	return cmd
}
