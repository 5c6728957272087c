package replay

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/fleetune/fleetune/proto/space"
)

// An expression is computed from the columns of a row. Characters of a column's
// name that no name in an expression has are written "_".
type expression struct {
	program *vm.Program
	names   map[string]string // name in an expression → column
}

func (s *sheet) compile(source string) (*expression, error) {
	e := &expression{names: map[string]string{}}
	known := map[string]any{}
	var names []string
	for _, column := range s.columns {
		name := strings.Map(func(r rune) rune {
			if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '_'
		}, column)
		e.names[name], known[name] = column, s.kind(column)
		names = append(names, name)
	}
	program, err := expr.Compile(source, expr.Env(known))
	if err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		if _, unknown, ok := strings.Cut(message, "unknown name "); ok {
			unknown, _, _ = strings.Cut(unknown, " ")
			if near := space.Nearest(unknown, names); near != "" {
				message += fmt.Sprintf("; did you mean %q?", near)
			}
		}
		return nil, errors.New(message)
	}
	e.program = program
	return e, s.tried(e)
}

// tried says what is wrong with an expression that no row has a value of.
func (s *sheet) tried(e *expression) error {
	var failure error
	for _, rec := range s.records {
		_, err := expr.Run(e.program, e.environment(rec))
		if err == nil {
			return nil
		}
		failure = err
	}
	if failure == nil {
		return nil // there are no rows
	}
	message, _, _ := strings.Cut(failure.Error(), "\n")
	return fmt.Errorf("no row has a value: %s", message)
}

// kind is a value of the kind that a column has: a number, a truth value or a
// text.
func (s *sheet) kind(column string) any {
	for _, rec := range s.records {
		switch rec.values[column].(type) {
		case int64, float64:
			return 0.0
		case bool:
			return false
		case string:
			return ""
		}
	}
	return ""
}

func (e *expression) environment(rec record) map[string]any {
	env := make(map[string]any, len(e.names))
	for name, column := range e.names {
		v := rec.values[column]
		if n, ok := v.(int64); ok {
			v = float64(n)
		}
		env[name] = v
	}
	return env
}

// value is the expression's for a row; known is false where a column that it
// takes is empty, or a text where a number is wanted.
func (e *expression) value(rec record) (v any, known bool) {
	v, err := expr.Run(e.program, e.environment(rec))
	if err != nil {
		return nil, false
	}
	if n, ok := v.(int); ok {
		v = int64(n)
	}
	return v, true
}
