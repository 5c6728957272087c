package store

import (
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3/lock"
)

// newLocker makes managers that start together migrate one after the other.
func newLocker() (lock.SessionLocker, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("making the migration lock: %w", err)
	}
	return locker, nil
}

func migrationFiles() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	return files
}
