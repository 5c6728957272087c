package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseJSON reads one JSON value, keeping the order of keys.
func parseJSON(data []byte) (*Node, []Problem) {
	p := &jsonParser{data: data, decoder: json.NewDecoder(bytes.NewReader(data)), line: 1, column: 1}
	p.decoder.UseNumber()
	root, err := p.value("", 0)
	if err == nil {
		if _, more := p.decoder.Token(); !errors.Is(more, io.EOF) {
			line, column := at(data, p.next())
			p.problems = append(p.problems, Problem{Line: line, Column: column, Message: "there is more text behind the end of the object"})
		}
	}
	if err != nil {
		p.problems = append(p.problems, p.problem(err))
	}
	return root, p.problems
}

type jsonParser struct {
	data     []byte
	decoder  *json.Decoder
	problems []Problem
	keys     int
	// The last place that was asked for: places are asked for in order, so
	// counting lines goes on from there.
	offset, line, column int
}

// place is at, in one pass over the text for all calls together.
func (p *jsonParser) place(offset int) (line, column int) {
	for _, r := range string(p.data[p.offset:offset]) {
		p.column++
		if r == '\n' {
			p.line, p.column = p.line+1, 1
		}
	}
	p.offset = offset
	return p.line, p.column
}

// What stops the parser; the text is the message.
var (
	errDepth  = fmt.Errorf("lists and mappings nest deeper than %d", MaxDepth)
	errKeys   = fmt.Errorf("there are more than %d keys, or one has more than %d bytes", maxKeys, maxKeyBytes)
	errValues = fmt.Errorf("there are more than %d values", MaxValues)
)

func (p *jsonParser) problem(err error) Problem {
	offset := int(p.decoder.InputOffset())
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		offset = int(syntax.Offset) - 1
	}
	line, column := at(p.data, offset)
	message := strings.TrimPrefix(err.Error(), "json: ")
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(message, "unexpected end of JSON") {
		line, column = at(p.data, len(p.data))
		message = "the file ends too early: a bracket, brace or quote is open"
		if len(bytes.TrimSpace(p.data)) == 0 {
			line, column, message = 1, 1, "the file is empty"
		}
	}
	out := Problem{Line: line, Column: column, Message: message}
	if strings.Contains(message, "invalid character") {
		out.Message = "not JSON: " + message
		if strings.Contains(message, "looking for beginning of") || strings.Contains(message, `'\''`) {
			out.Expected = "keys and texts in double quotes, and no comma behind the last item"
		}
	}
	return out
}

// next is where the next token starts.
func (p *jsonParser) next() int {
	i := int(p.decoder.InputOffset())
	for i < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[i]) >= 0 {
		i++
	}
	return i
}

func (p *jsonParser) value(path string, depth int) (*Node, error) {
	line, column := p.place(p.next())
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	n := &Node{Line: line, Column: column, size: 1}
	switch t := token.(type) {
	case nil:
	case bool:
		n.Kind, n.Bool, n.Source = Bool, t, fmt.Sprint(t)
	case string:
		n.Kind, n.Source = Text, t
	case json.Number:
		if message := n.number(t.String()); message != "" {
			p.problems = append(p.problems, Problem{Line: line, Column: column, Field: path, Message: message})
		}
	case json.Delim:
		if depth == MaxDepth {
			return nil, errDepth
		}
		if t == '{' {
			err = p.object(n, path, depth)
		} else {
			err = p.list(n, path, depth)
		}
		if err != nil {
			return nil, err
		}
		if !n.count() {
			return nil, errValues
		}
	}
	return n, nil
}

func (p *jsonParser) object(n *Node, path string, depth int) error {
	n.Kind = Map
	for p.decoder.More() {
		line, column := p.place(p.next())
		token, err := p.decoder.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // the decoder takes nothing else here
		if p.keys++; p.keys > maxKeys || len(key) > maxKeyBytes {
			return errKeys
		}
		value, err := p.value(Join(path, key), depth+1)
		if err != nil {
			return err
		}
		n.Entries = append(n.Entries, Entry{Key: key, Line: line, Column: column, Value: value})
	}
	p.problems = append(p.problems, duplicates(n, path)...)
	_, err := p.decoder.Token()
	return err
}

func (p *jsonParser) list(n *Node, path string, depth int) error {
	n.Kind = List
	for p.decoder.More() {
		item, err := p.value(Item(path, len(n.Items)), depth+1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, err := p.decoder.Token()
	return err
}
