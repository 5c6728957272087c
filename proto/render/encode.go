package render

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The encodings of a rendered value.
const (
	// Raw writes numbers in decimal, true and false, and strings as they are.
	Raw = "raw"
	// JSON writes a JSON value.
	JSON = "json"
	// Shell writes one word of a POSIX shell.
	Shell = "shell"
	// Python writes a Python literal.
	Python = "python"
)

// Encode writes a parameter's value (bool, int64, float64 or string) in an
// encoding; the empty encoding is Raw. Values that an encoding cannot carry
// unchanged (a NUL byte, text that is not UTF-8, NaN) are errors.
func Encode(value any, encoding string) (string, error) {
	if err := encodable(value); err != nil {
		return "", err
	}
	switch encoding {
	case Raw, "":
		return raw(value), nil
	case JSON:
		return jsonLiteral(value)
	case Shell:
		return shellWord(raw(value)), nil
	case Python:
		return pythonLiteral(value)
	}
	return "", fmt.Errorf("unknown encoding %q: it is raw, json, shell or python", encoding)
}

func encodable(value any) error {
	switch v := value.(type) {
	case bool, int64:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("the value is %v, not a finite number", v)
		}
	case string:
		if strings.ContainsRune(v, 0) {
			return fmt.Errorf("the value %q holds a NUL byte", v)
		}
		if !utf8.ValidString(v) {
			return fmt.Errorf("the value %q is not UTF-8", v)
		}
	default:
		return fmt.Errorf("a value of type %T cannot be rendered", value)
	}
	return nil
}

func raw(value any) string {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

func jsonLiteral(value any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "", fmt.Errorf("encoding as JSON: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// shellWord quotes a word unless it consists of characters no shell treats
// specially.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("_-+./:,@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func pythonLiteral(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case float64:
		s := raw(v)
		if !strings.ContainsAny(s, ".e") {
			s += ".0" // keep the type: 1.0 stays a float
		}
		return s, nil
	case string:
		// A JSON string is a Python string, save that JSON escapes what lies
		// beyond the basic plane as surrogates; Go's encoder leaves that as it is.
		return jsonLiteral(v)
	default:
		return raw(v), nil
	}
}
