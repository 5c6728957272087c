package replay

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// indexEntry is one space of an index.json beside its CSV file.
type indexEntry struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Params []struct {
		Name   string        `json:"name"`
		Values []json.Number `json:"values"`
	} `json:"params"`
	Constants   map[string]json.Number `json:"constants"`
	Constraints []string               `json:"constraints"`
}

// readIndex lists the tables an index.json describes.
func readIndex(path string) ([]indexEntry, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	var entries []indexEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("reading the index %s: %w", path, err)
	}
	return entries, nil
}

func (e *indexEntry) load(folder string) (*Table, error) {
	t := &Table{Name: e.Name, Objective: task.Objective{Metric: "time_ms", Direction: task.Minimize}}
	for _, p := range e.Params {
		parameter := space.Parameter{Name: p.Name, Type: space.Choice}
		for _, v := range p.Values {
			parameter.Values = append(parameter.Values, parseValue(v.String()))
		}
		t.Space.Parameters = append(t.Space.Parameters, parameter)
	}
	for _, c := range e.Constraints {
		t.Space.Constraints = append(t.Space.Constraints, substitute(c, e.Constants))
	}
	rows, err := readCSV(filepath.Join(folder, e.File))
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		r := Row{Point: space.Point{}, Value: math.NaN(), Outcome: experiment.OutcomeFailed}
		for _, p := range t.Space.Parameters {
			r.Point[p.Name] = parseValue(row[p.Name])
		}
		if row["status"] == "ok" {
			if r.Value, err = strconv.ParseFloat(row["time_ms"], 64); err != nil {
				return nil, fmt.Errorf("reading %s: %w", e.File, err)
			}
			r.Outcome = experiment.OutcomeSuccess
		}
		t.Rows = append(t.Rows, r)
	}
	return t, t.prepare()
}

var identifier = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// substitute replaces the constants of an expression by their values.
func substitute(expression string, constants map[string]json.Number) string {
	return identifier.ReplaceAllStringFunc(expression, func(name string) string {
		if v, ok := constants[name]; ok {
			return v.String()
		}
		return name
	})
}

// readCSV reads a table, compressed or not, into one map a row.
func readCSV(path string) (rows []map[string]string, err error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	reader := csv.NewReader(r)
	header, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		row := make(map[string]string, len(header))
		for i, name := range header {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
}

// open opens a file, through gzip when its name ends in .gz.
func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the table: %w", err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), f.Close())
	}
	return &zipped{Reader: z, file: f}, nil
}

// zipped closes the file with the stream.
type zipped struct {
	*gzip.Reader
	file *os.File
}

func (z *zipped) Close() error { return errors.Join(z.Reader.Close(), z.file.Close()) }

// parseValue reads a value as a whole number, a number, a truth value or text.
func parseValue(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	switch text {
	case "true", "True":
		return true
	case "false", "False":
		return false
	}
	return text
}
