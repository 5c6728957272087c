package telemetry

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// toolTime bounds one call of the driver's tool.
const toolTime = 5 * time.Second

// smi reads this machine's NVIDIA GPUs through nvidia-smi.
type smi struct{}

// query are the fields that are asked for, in their order.
const query = "uuid,name,utilization.gpu,memory.used,power.draw,temperature.gpu,clocks.sm"

func (smi) Read(ctx context.Context) ([]Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu="+query, "--format=csv,noheader,nounits")
	cmd.Stdout, cmd.Stderr = &out, &errs
	switch err := cmd.Run(); {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%w: there is no nvidia-smi on this machine", ErrNoGPU)
	case err != nil:
		return nil, fmt.Errorf("reading the GPUs: %w: %s", err, strings.TrimSpace(errs.String()+out.String()))
	}
	return parseSMI(&out)
}

// parseSMI reads the tool's lines. What a GPU does not know it calls [N/A] or
// [Not Supported].
func parseSMI(in io.Reader) ([]Sample, error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace, r.FieldsPerRecord, r.LazyQuotes = true, -1, true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi: %w", err)
	}
	var out []Sample
	for _, row := range rows {
		if len(row) == 1 && strings.HasPrefix(row[0], "No ") {
			return nil, nil // it tells people, on standard output, that there is none
		}
		if len(row) != strings.Count(query, ",")+1 || row[0] == "" {
			return nil, fmt.Errorf("nvidia-smi: %q is no line of %s", strings.Join(row, ", "), query)
		}
		out = append(out, Sample{ID: row[0], Name: strings.TrimSpace(row[1]), Utilization: number(row[2]), MemoryUsed: number(row[3]) / 1024,
			Power: number(row[4]), Temperature: number(row[5]), Clock: number(row[6]), Energy: math.NaN()})
	}
	return out, nil
}

func number(s string) float64 {
	x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsInf(x, 0) {
		return math.NaN()
	}
	return x
}
