package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parseYAML reads one YAML document.
func parseYAML(data []byte) (root *Node, problems []Problem) {
	tokens := lexer.Tokenize(string(data))
	if line, column, message := bounded(tokens); message != "" {
		return nil, one(line, column, message, "")
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Problem{syntaxProblem(err, data)}
	}
	if len(file.Docs) > 1 {
		line, column := place(file.Docs[1].Start)
		return nil, one(line, column, "the file holds several YAML documents", "one task a file")
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, one(1, 1, "the file is empty", "a task")
	}
	y := &yamlReader{anchors: map[string]*Node{}}
	root = y.value(file.Docs[0].Body, "", 0)
	return root, y.problems
}

// bounded refuses what the parser would take very long for.
func bounded(tokens token.Tokens) (line, column int, message string) {
	depth, dashes, marks, keys := 0, 0, 0, 0
	for i, t := range tokens {
		run := false
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			dashes, run = dashes+1, true
		case token.AnchorType, token.TagType, token.MappingKeyType, token.DirectiveType, token.MergeKeyType:
			marks++
		case token.MappingValueType:
			keys++
		}
		if !run {
			dashes = 0
		}
		switch {
		case depth > MaxDepth || dashes > MaxDepth:
			message = fmt.Sprintf("lists and mappings nest deeper than %d", MaxDepth)
		case marks > maxMarks:
			message = fmt.Sprintf("there are more than %d anchors, tags, explicit and merge keys", maxMarks)
		case keys > maxKeys:
			message = fmt.Sprintf("there are more than %d keys", maxKeys)
		case i >= maxTokens:
			message = "the file is too large to be a task"
		}
		if message != "" {
			line, column = place(t)
			return line, column, message
		}
	}
	return 0, 0, ""
}

func place(t *token.Token) (line, column int) {
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return t.Position.Line, t.Position.Column
}

// syntaxProblem words the parser's error and adds what usually helps.
func syntaxProblem(err error, data []byte) Problem {
	p := Problem{Line: 1, Column: 1, Message: "not YAML: " + firstLine(err.Error())}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		p.Line, p.Column = place(syntax.GetToken())
		p.Message = "not YAML: " + syntax.GetMessage()
	}
	lines := strings.Split(string(data), "\n")
	line := ""
	if p.Line >= 1 && p.Line <= len(lines) {
		line = lines[p.Line-1]
	}
	rest := ""
	if runes := []rune(line); p.Column >= 1 && p.Column <= len(runes) {
		rest = string(runes[p.Column-1:])
	}
	switch {
	case strings.Contains(line, "{{"):
		p.Expected = `quotes around a placeholder, as in "{{NAME}}"`
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		p.Expected = "spaces instead of the tab that starts the line"
	case rest != "" && strings.ContainsRune("@`%&*!", rune(rest[0])):
		p.Expected = "quotes around a text that starts with " + rest[:1]
	case strings.Contains(p.Message, "mapping value is not allowed"):
		p.Expected = `quotes around a text that holds ": "`
	}
	return p
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// yamlReader turns the parser's tree into nodes.
type yamlReader struct {
	anchors  map[string]*Node
	problems []Problem
	full     bool // a limit was hit and reported
}

func (y *yamlReader) fail(n *Node, path, message string) {
	y.problems = append(y.problems, Problem{Line: n.Line, Column: n.Column, Field: path, Message: message})
}

func (y *yamlReader) limit(n *Node, path, message string) *Node {
	if !y.full {
		y.fail(n, path, message)
	}
	y.full = true
	return n
}

func (y *yamlReader) value(from ast.Node, path string, depth int) *Node {
	n := &Node{size: 1}
	n.Line, n.Column = place(start(from))
	if y.full {
		return n
	}
	if depth > MaxDepth {
		return y.limit(n, path, fmt.Sprintf("lists and mappings nest deeper than %d", MaxDepth))
	}
	switch from := from.(type) {
	case *ast.MappingNode:
		y.mapping(n, from.Values, path, depth)
	case *ast.MappingValueNode:
		y.mapping(n, []*ast.MappingValueNode{from}, path, depth)
	case *ast.SequenceNode:
		n.Kind = List
		for _, v := range from.Values {
			n.Items = append(n.Items, y.value(v, Item(path, len(n.Items)), depth+1))
		}
	case *ast.AnchorNode:
		return y.anchor(from, path, depth)
	case *ast.AliasNode:
		return y.alias(n, from, path)
	case *ast.TagNode:
		return y.tagged(n, from, path, depth)
	case *ast.LiteralNode:
		n.Kind, n.Source = Text, from.Value.Value
	case *ast.NullNode, nil:
		n.Kind = Null
	default:
		y.scalar(n, from, path)
	}
	if !n.count() {
		return y.limit(n, path, fmt.Sprintf("there are more than %d values, those behind aliases counted", MaxValues))
	}
	return n
}

// start is the token a value starts with; a mapping starts with its first key.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
		return n.Start
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

func (y *yamlReader) scalar(n *Node, from ast.Node, path string) {
	t := from.GetToken()
	if t == nil {
		n.Kind = Null
		return
	}
	if text, ok := from.(*ast.StringNode); ok && (t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType) {
		n.Kind, n.Source = Text, text.Value
		return
	}
	if message := n.plain(strings.TrimSpace(t.Value)); message != "" {
		y.fail(n, path, message)
	}
}

func (y *yamlReader) mapping(n *Node, values []*ast.MappingValueNode, path string, depth int) {
	n.Kind = Map
	var merged []Entry
	for _, v := range values {
		if v.Key.IsMergeKey() {
			merged = append(merged, y.merge(v.Value, path, depth)...)
			continue
		}
		key, ok := y.key(v.Key, path)
		if !ok {
			continue
		}
		if len(key) > maxKeyBytes {
			n.Line, n.Column = place(v.Key.GetToken())
			y.fail(n, path, fmt.Sprintf("a key has %d bytes, more than the %d allowed", len(key), maxKeyBytes))
			continue
		}
		e := Entry{Key: key}
		e.Line, e.Column = place(v.Key.GetToken())
		e.Value = y.value(v.Value, Join(path, key), depth+1)
		if e.Value.Kind == Null && v.Value == nil {
			e.Value.Line, e.Value.Column = e.Line, e.Column
		}
		n.Entries = append(n.Entries, e)
	}
	y.problems = append(y.problems, duplicates(n, path)...)
	own := map[string]bool{}
	for _, e := range n.Entries {
		own[e.Key] = true
	}
	for _, e := range merged {
		if !own[e.Key] {
			own[e.Key] = true
			n.Entries = append(n.Entries, e)
		}
	}
}

func (y *yamlReader) key(from ast.MapKeyNode, path string) (string, bool) {
	t := from.GetToken()
	switch k := from.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.MappingKeyNode:
		if s, ok := k.Value.(*ast.StringNode); ok {
			return s.Value, true
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return t.Value, true
	}
	n := &Node{}
	n.Line, n.Column = place(t)
	y.fail(n, path, "a key must be a plain text")
	return "", false
}

// merge reads the value of "<<": a mapping or a list of them.
func (y *yamlReader) merge(from ast.Node, path string, depth int) []Entry {
	n := y.value(from, Join(path, "<<"), depth+1)
	switch n.Kind {
	case Null: // nothing, or an alias that was reported
		return nil
	case Map:
		return n.Entries
	case List:
		var entries []Entry
		for _, item := range n.Items {
			entries = append(entries, item.Entries...)
		}
		return entries
	}
	y.fail(n, Join(path, "<<"), "merges "+n.Describe()+", not a mapping")
	return nil
}

func (y *yamlReader) anchor(from *ast.AnchorNode, path string, depth int) *Node {
	n := y.value(from.Value, path, depth+1)
	y.anchors[from.Name.GetToken().Value] = n
	return n
}

func (y *yamlReader) alias(n *Node, from *ast.AliasNode, path string) *Node {
	name := from.Value.GetToken().Value
	target, ok := y.anchors[name]
	if !ok {
		y.fail(n, path, fmt.Sprintf("the alias *%s stands before its anchor &%s, or has none", name, name))
		return n
	}
	return target
}

// tagged reads a value with a tag: !!str makes a text of it, the tags of the
// other plain types must fit, all others are refused.
func (y *yamlReader) tagged(n *Node, from *ast.TagNode, path string, depth int) *Node {
	tag := from.Start.Value
	inner := y.value(from.Value, path, depth+1)
	switch {
	case tag == "!!str" && (inner.Scalar() || inner.Kind == Null):
		inner.Kind = Text
	case tag == "!!int" && inner.Kind == Int, tag == "!!bool" && inner.Kind == Bool, tag == "!!null" && inner.Kind == Null,
		tag == "!!seq" && inner.Kind == List, tag == "!!map" && inner.Kind == Map, tag == "!!float" && inner.Kind == Float:
	case tag == "!!float" && inner.Kind == Int:
		inner.Kind = Float
	default:
		y.fail(n, path, fmt.Sprintf("the tag %s does not fit: the value is %s", tag, inner.Describe()))
	}
	return inner
}
