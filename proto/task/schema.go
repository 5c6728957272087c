package task

import _ "embed"

//go:generate go run ./schemagen

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema of task files, made from the types that the
// decoder binds them by.
func Schema() []byte { return append([]byte(nil), schema...) }
