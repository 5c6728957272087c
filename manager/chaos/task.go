package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fleetune/fleetune/manager/chaos/probe"
)

// submitPatience bounds the wait for a task to be taken.
const submitPatience = 30 * time.Second

// submit hands in one task of cfg.Points experiments, as a user does.
func (s *stand) submit(ctx context.Context, name string) error {
	file := filepath.Join(s.cfg.Dir, name+".json")
	data, err := json.MarshalIndent(s.task(name), "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the task: %w", err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("writing the task: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.cfg.Fleetune, "submit", file)
	cmd.Env = append(os.Environ(), "FLEETUNE_URL="+s.url, "FLEETUNE_TOKEN="+s.token)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("submitting %s: %w: %s", name, err, out)
	}
	return nil
}

// task is a grid whose points differ in how long they hold their device: most
// a moment, one in six longer than a lease.
func (s *stand) task(name string) map[string]any {
	points := make([]int, s.cfg.Points)
	for i := range points {
		points[i] = i
	}
	return map[string]any{
		"task_name":  name,
		"parameters": map[string]any{"point": points},
		"optimization": map[string]any{
			"strategy":              "grid_search",
			"objective":             "minimize_" + probe.Metric(),
			"max_iterations":        s.cfg.Points,
			"timeout_per_iteration": 60,
			"timeout":               3600,
			"repeats":               1,
		},
		"command": map[string]any{
			"run":       []string{s.cfg.Probe, "probe", "--dir", s.probeDir(), "--lease", s.cfg.Lease.String(), "--point", "{{point}}"},
			"env":       map[string]any{"pass": []string{HostVariable}, "set": map[string]string{markVariable: s.mark}},
			"finalists": 0,
		},
	}
}

// Hold is how long the probe of one point holds its device under a lease.
func Hold(point int, lease time.Duration) time.Duration {
	if point%6 == 5 {
		return lease + lease/4
	}
	return time.Duration(50+point%5*60) * time.Millisecond
}
