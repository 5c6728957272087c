package document

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

var (
	decimal  = regexp.MustCompile(`^[-+]?[0-9]+(_[0-9]+)*$`)
	based    = regexp.MustCompile(`^[-+]?0(x[0-9a-fA-F]+|o[0-7]+|b[01]+)$`)
	fraction = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	octal    = regexp.MustCompile(`^[-+]?0[0-9_]+$`)
)

// plain reads an unquoted YAML scalar after the core schema of YAML 1.2, to
// which underscores between digits are added. The message is empty unless the
// scalar is a number that cannot be held, or one that readers of YAML disagree
// about.
func (n *Node) plain(source string) (message string) {
	n.Source = source
	switch source {
	case "", "~", "null", "Null", "NULL":
		n.Kind = Null
		return ""
	case "true", "True", "TRUE", "false", "False", "FALSE":
		n.Kind, n.Bool = Bool, strings.EqualFold(source, "true")
		return ""
	case ".nan", ".NaN", ".NAN":
		n.Kind, n.Float = Float, math.NaN()
		return ""
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF":
		n.Kind, n.Float = Float, math.Inf(1)
		if source[0] == '-' {
			n.Float = math.Inf(-1)
		}
		return ""
	}
	if octal.MatchString(source) {
		n.Kind = Int
		return source + " is read as decimal by some and as octal by others: write it without the leading zero, or in quotes"
	}
	if decimal.MatchString(source) || based.MatchString(source) || fraction.MatchString(source) {
		return n.number(source)
	}
	n.Kind = Text
	return ""
}

// number reads the text of a number. The message says why it cannot be held.
func (n *Node) number(source string) (message string) {
	n.Source = source
	text := strings.ReplaceAll(source, "_", "")
	if decimal.MatchString(source) || based.MatchString(source) {
		base := 10
		if based.MatchString(source) {
			base = 0
		}
		n.Kind = Int
		i, err := strconv.ParseInt(text, base, 64)
		if err != nil {
			return "the number " + Clip(source) + " is too large"
		}
		n.Int, n.Float = i, float64(i)
		return ""
	}
	n.Kind = Float
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "the number " + Clip(source) + " is too large"
	}
	n.Float = f
	return ""
}
