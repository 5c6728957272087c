// Command schemagen writes what is made from the types of the task file: the
// JSON Schema that editors and the API publish, and the tables of fields in
// the reference for users. Run it by `go generate ./task` in the module.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Where everything lies, seen from the folder of package task.
const (
	schemaFile    = "schema.json"
	formFolder    = "internal/form"
	referenceFile = "../../shared/docs/task-file.md"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(folder string) error {
	comments, err := readComments(filepath.Join(folder, formFolder))
	if err != nil {
		return err
	}
	schema, err := generateSchema(comments)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, schemaFile), schema, 0o644); err != nil {
		return fmt.Errorf("writing the schema: %w", err)
	}
	path := filepath.Join(folder, referenceFile)
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the reference: %w", err)
	}
	page, err = fillReference(page, comments)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, page, 0o644); err != nil {
		return fmt.Errorf("writing the reference: %w", err)
	}
	return nil
}
