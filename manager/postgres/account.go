//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// An account is who the server runs as. PostgreSQL refuses to run as root, so
// root needs another one.
type account struct {
	// other is set when the server runs under a system account that is not
	// this process's.
	other *syscall.Credential
	// namespace is set when the server runs as root in a user namespace in
	// which root is called otherwise.
	namespace bool
}

// chooseAccount picks the account: this process's own, unless that is root.
// For root it is whoever owns the data already, else postgres or nobody if it
// can reach the folder, else root in a namespace.
func chooseAccount(dir, data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	if info, err := os.Stat(data); err == nil {
		stat := info.Sys().(*syscall.Stat_t)
		if stat.Uid == 0 {
			return namespaced()
		}
		return account{other: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return account{}, fmt.Errorf("looking for the data: %w", err)
	}
	for _, name := range []string{"postgres", "nobody"} {
		credential, err := lookUp(name)
		if err == nil && reachable(filepath.Dir(dir), credential) {
			return account{other: credential}, nil
		}
	}
	return namespaced()
}

func namespaced() (account, error) {
	if !namespaces {
		return account{}, errors.New("as root, PostgreSQL needs an account named postgres or nobody that can reach its folder")
	}
	return account{namespace: true}, nil
}

func lookUp(name string) (*syscall.Credential, error) {
	found, err := osuser.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// reachable tells whether an account may enter a folder and all above it.
func reachable(dir string, c *syscall.Credential) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		stat := info.Sys().(*syscall.Stat_t)
		enter := fs.FileMode(0o001)
		switch {
		case stat.Uid == c.Uid:
			enter = 0o100
		case stat.Gid == c.Gid:
			enter = 0o010
		}
		if info.Mode()&enter == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// foreign tells whether the account is not this process's own.
func (a account) foreign() bool { return a.other != nil }

// uid of the account, as this process sees it.
func (a account) uid() int {
	if a.other != nil {
		return int(a.other.Uid)
	}
	return os.Geteuid()
}

// own gives a folder (not what is in it) to the account.
func (a account) own(dir string) error {
	if a.other == nil {
		return nil
	}
	if err := os.Chown(dir, int(a.other.Uid), int(a.other.Gid)); err != nil {
		return fmt.Errorf("giving the folder to the server's account: %w", err)
	}
	return nil
}
