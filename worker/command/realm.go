package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fleetune/fleetune/proto/render"
)

// A realm is the part of an attempt's folder that one party works in. The
// candidate, the baseline of a confirmation, and the trusted steps (inputs and
// reference) each have one, home and temporary files included: what one party
// leaves behind must not reach another.
type realm struct {
	name      string
	dir       string // absolute
	rendering *render.Rendering
}

func (r *realm) work() string { return filepath.Join(r.dir, "work") }
func (r *realm) home() string { return filepath.Join(r.dir, "home") }
func (r *realm) tmp() string  { return filepath.Join(r.dir, "tmp") }

// newRealm makes the folders of a realm below parent.
func newRealm(parent, name string, rendering *render.Rendering) (*realm, error) {
	r := &realm{name: name, dir: filepath.Join(parent, name), rendering: rendering}
	for _, dir := range []string{r.work(), r.home(), r.tmp()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("making the %s's folder: %w", name, err)
		}
	}
	return r, nil
}

// write puts the rendered files into the work folder, confined to it.
func (r *realm) write() error {
	root, err := os.OpenRoot(r.work())
	if err != nil {
		return fmt.Errorf("opening the %s's folder: %w", r.name, err)
	}
	defer func() { _ = root.Close() }()
	for _, f := range r.rendering.Files {
		mode := fs.FileMode(0o644)
		if f.Executable {
			mode = 0o755
		}
		path := filepath.FromSlash(f.Path)
		if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
		if err := root.WriteFile(path, f.Content, mode); err != nil {
			return fmt.Errorf("writing %s: %w", f.Path, err)
		}
	}
	return nil
}

// copyTree copies folders, plain files and symbolic links. Anything else a
// build may have left (sockets, pipes) is of no use to the trusted steps.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			// A link by full path into the tree must not lead back to the original.
			if inside, err := filepath.Rel(from, link); err == nil && filepath.IsAbs(link) && filepath.IsLocal(inside) {
				link = filepath.Join(to, inside)
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// A fingerprint is what a folder holds: each path with its type, mode and a
// digest of its content. Content decides, not times, which a program can set.
type fingerprint map[string]string

// survey takes the fingerprint of a folder. It also says whether what the
// folder holds is constant: in every file of some size each byte equals the one
// eight bytes before it, which is one value over and over, whatever its type.
func survey(ctx context.Context, dir string) (f fingerprint, constant bool, err error) {
	f = fingerprint{}
	large, varies := false, false
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		entry := info.Mode().String()
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			entry += " " + link
		case d.Type().IsRegular():
			digest, mixed, err := digestFile(path)
			if err != nil {
				return err
			}
			entry += " " + digest
			large = large || info.Size() > smallFile
			varies = varies || mixed
		}
		f[rel] = entry
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("surveying %s: %w", filepath.Base(dir), err)
	}
	return f, large && !varies, nil
}

const (
	// period is the size of the longest element type, in bytes.
	period = 8
	// smallFile is a size up to which a constant file may be a shape or a
	// setting, in bytes.
	smallFile = 64
)

func digestFile(path string) (digest string, varies bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	buf := make([]byte, period+64<<10)
	kept := 0 // bytes of the last block, in front
	for {
		n, err := file.Read(buf[kept:])
		end := kept + n
		sum.Write(buf[kept:end])
		for i := period; !varies && i < end; i++ {
			varies = buf[i] != buf[i-period]
		}
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), varies, nil
		}
		if err != nil {
			return "", false, err
		}
		kept = copy(buf, buf[max(0, end-period):end])
	}
}

// changed names a path that differs between two fingerprints of a folder, or
// nothing.
func (f fingerprint) changed(now fingerprint) string {
	for path, entry := range f {
		if now[path] != entry {
			return path
		}
	}
	for path := range now {
		if _, ok := f[path]; !ok {
			return path
		}
	}
	return ""
}

// removeTree removes a folder even where a program has made parts of it
// unwritable.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
