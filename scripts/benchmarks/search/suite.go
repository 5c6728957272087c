package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/fleetune/fleetune/manager/search/replay"
	"github.com/fleetune/fleetune/proto/task"
)

// A view is a way to search a recorded file that does not say it itself.
type view struct {
	// what is searched for, behind the table's name.
	what    string
	columns replay.Columns
}

// least is how many rows a part of a file must have for samplers to differ.
const least = 40

// views are those of the files of a folder of measured tables, by their names.
func views(path string, every bool) ([]view, string) {
	maximize, minimize := []task.Direction{task.Maximize}, []task.Direction{task.Minimize}
	switch strings.TrimSuffix(filepath.Base(path), ".gz") {
	case "coulomb_rtx2080.csv":
		return []view{{"", replay.Columns{Metrics: []string{"time_us"}, Directions: minimize}}}, ""
	case "llm_inference_bench.csv":
		c := replay.Columns{By: []string{"model", "io_length"}, Directions: maximize,
			Metrics: []string{"tok_s_per_user=throughput_tok_s / batch_size", "throughput_tok_s_per_device"}}
		if every {
			return []view{{"front", c}}, ""
		}
		c.Where = map[string]string{"io_length": "1024"}
		return []view{{"front", c}}, filepath.Base(path) + ": other lengths than 1024, unless --every"
	case "tp_ep_pp.csv":
		return []view{{"front", replay.Columns{By: []string{"model"}, Where: map[string]string{"input_output_length": "1024"}, Directions: maximize,
			Metrics: []string{"tok_s_per_user=throughput / batch_size", "tok_s_per_device=throughput / num_of_hardware"}}}}, ""
	case "llm_pilot.csv":
		list := []view{{"front", replay.Columns{By: []string{"model"}, Where: map[string]string{"window_s": "full"}, Failed: "n_failed > 0", Directions: maximize,
			Metrics: []string{"tok_s_per_user=output_tok_s / concurrent_users", "tok_s_per_gpu=output_tok_s / n_gpus"}}}}
		prices, err := prices(filepath.Join(filepath.Dir(path), "prices_usd_per_hour.csv"))
		if err != nil {
			return list, "levels of " + filepath.Base(path) + ": " + err.Error()
		}
		return append(list, view{"levels", replay.Columns{By: []string{"model"}, Directions: maximize,
			Metrics: []string{fmt.Sprintf(`tokens_per_dollar=output_tok_s * 3600 / %s[string(int(n_gpus)) + " x " + gpu_type]`, prices)},
			Levels:  &replay.Levels{Column: "window_s", Texts: []string{"10", "30", "full"}, Costs: []float64{10, 30, 120}}}}), ""
	case "prices_usd_per_hour.csv":
		return nil, ""
	}
	if strings.Contains(filepath.Dir(path), "llm_operator_latency") {
		return nil, filepath.Base(path) + ": times of operators by their shapes, with nothing to choose"
	}
	return []view{{}}, ""
}

// prices are a map literal of an expression, by text of the first column.
func prices(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return "", err
	}
	var items []string
	for _, row := range rows[1:] {
		items = append(items, fmt.Sprintf("%q: %s", row[0], row[1]))
	}
	return "{" + strings.Join(items, ", ") + "}", nil
}

// tablesOf loads the tables of a path whose names fit, and says what it leaves
// out. A folder without an index is walked.
func tablesOf(path string, only *regexp.Regexp, every bool) (list []*replay.Table, left []string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() && !fileExists(filepath.Join(path, "index.json")) {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			name := strings.TrimSuffix(e.Name(), ".gz")
			if ext := filepath.Ext(name); !e.IsDir() && ext != ".csv" && ext != ".json" && ext != ".jsonl" {
				continue
			}
			more, out, err := tablesOf(filepath.Join(path, e.Name()), only, every)
			if err != nil {
				return nil, nil, err
			}
			list, left = append(list, more...), append(left, out...)
		}
		return list, left, nil
	}
	ways, why := views(path, every)
	if why != "" {
		left = append(left, why)
	}
	for _, v := range ways {
		tables, skipped, err := replay.Load(path, v.columns)
		if err != nil {
			return nil, nil, err
		}
		left = append(left, skipped...)
		small := 0
		for _, t := range tables {
			if v.what != "" {
				t.Name += " " + v.what
			}
			if len(v.columns.By) > 0 && len(t.Rows) < least {
				small++
				continue
			}
			if only == nil || only.MatchString(t.Name) {
				list = append(list, t)
			}
		}
		if small > 0 {
			left = append(left, fmt.Sprintf("%s %s: %d parts with fewer than %d rows", filepath.Base(path), v.what, small, least))
		}
	}
	return list, left, nil
}
