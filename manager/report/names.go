package report

import (
	"strings"

	"github.com/fleetune/fleetune/proto/task"
)

// quantities are what metrics measure, by the name without its statistic.
func quantities() map[string]string {
	return map[string]string{"ttft": "time to first token", "tpot": "time per output token", "itl": "time between tokens", "e2e_latency": "request latency",
		"input_throughput": "input throughput", "output_throughput": "output throughput", "total_throughput": "total throughput",
		"request_throughput": "requests per second", "goodput": "goodput", "error_rate": "error rate", "load_time": "load time"}
}

// title is what a metric is called over a chart: "Time to first token, mean"
// for mean_ttft; the name itself where nothing better is known.
func title(metric string) string {
	name, perDevice := strings.CutSuffix(metric, "_per_gpu")
	statistic, rest, ok := strings.Cut(name, "_")
	text := quantities()[name]
	if text == "" {
		text = quantities()[rest]
		known := ok && (statistic == "mean" || statistic == "max" || strings.HasPrefix(statistic, "p"))
		if text == "" || !known {
			return metric
		}
		text += ", " + statistic
	}
	if perDevice {
		text += ", per device"
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func direct(d task.Direction) string {
	if d == task.Maximize {
		return "more is better"
	}
	return "less is better"
}
