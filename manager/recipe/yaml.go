package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// doc is a mapping whose keys are written in order.
type doc = yaml.MapSlice

func pair(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }

func (r Recipe) marshal(documents ...any) (string, error) {
	var b strings.Builder
	b.WriteString(r.header())
	for i, d := range documents {
		if i > 0 {
			b.WriteString("---\n")
		}
		data, err := yaml.MarshalWithOptions(d, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
		if err != nil {
			return "", fmt.Errorf("writing the configuration: %w", err)
		}
		b.Write(data)
	}
	return b.String(), nil
}

// container says what a container of the engine needs, or why there is none.
func (r Recipe) container() error {
	if r.image == "" {
		return fmt.Errorf("%w of %s for %s", ErrImage, r.plan.Engine, r.hardware())
	}
	return nil
}

// scalar writes numbers as numbers.
func scalar(word string) any {
	if i, err := strconv.ParseInt(word, 10, 64); err == nil && strconv.FormatInt(i, 10) == word {
		return i
	}
	if f, err := strconv.ParseFloat(word, 64); err == nil && strconv.FormatFloat(f, 'f', -1, 64) == word {
		return f
	}
	return word
}
