// Package chaos kills, stops, cuts and starves every part of a running
// Fleetune while it works, heals it, and then holds its books against what
// really ran. It starts PostgreSQL, NATS, a manager and workers as separate
// processes, with a wire between each program and the bus that can be cut.
//
// Nothing here is linked into the product: the parts are the product's own
// programs, driven from outside.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/rs/zerolog"
)

// A Config says what to run. Every field is needed, save those with a default.
type Config struct {
	// Rounds to run, one after another on the same stand.
	Rounds int
	// Seed of the faults' choice and timing. Equal seeds make equal plans; what
	// the operating system makes of them differs from run to run.
	Seed uint64
	// Fleetune and Worker are the product's programs, Probe the program that
	// experiments run: see package probe.
	Fleetune, Worker, Probe string
	// Dir is a folder for everything the stand writes, readable by other users
	// (PostgreSQL may run as one).
	Dir string
	// Workers is how many to start; 3 by default.
	Workers int
	// Lease of the manager; 4 s by default, so that a lost worker shows soon.
	Lease time.Duration
	// Slots are the CPU slots of each worker; 2 by default, 1 where there is one
	// core. Two workers each share a host and so compete for the same slots.
	Slots int
	// Points each of the two tasks of a round has; 16 by default.
	Points int
	// Patience bounds the wait for a round's tasks after healing; 3 minutes by
	// default. Work that has not ended by then counts as lost.
	Patience time.Duration
	Log      zerolog.Logger
}

// A Report is what a run found.
type Report struct {
	Rounds      int `json:"rounds"`
	Experiments int `json:"experiments"`
	// Lost experiments have no accepted result, or one that is no success.
	Lost int `json:"lost"`
	// Duplicated results are accepted ones beyond the first, and points that
	// were measured by two experiments.
	Duplicated int `json:"duplicated"`
	// StaleAccepted results are not those of the experiment's last claim, or
	// not what the probe measured there.
	StaleAccepted int `json:"stale_accepted"`
	// DeviceClashes are devices that were found in use.
	DeviceClashes int `json:"device_clashes"`
	// LeftoverProcesses outlived the end of the stand.
	LeftoverProcesses int `json:"leftover_processes"`
	// LongestRecovery is the longest time from the end of a round's faults to
	// the next accepted result.
	LongestRecovery float64 `json:"longest_recovery_s"`
	Seed            uint64  `json:"seed"`
	// Rejected counts late results that were kept and changed nothing, and
	// Reruns the attempts beyond each experiment's first: how often the
	// guards were needed.
	Rejected int `json:"rejected"`
	Reruns   int `json:"reruns"`
	// Faults counts what was done, by name; Skipped says what this machine
	// does not allow.
	Faults  map[string]int `json:"faults"`
	Skipped []string       `json:"skipped,omitempty"`
}

// Harm is how much was found wrong.
func (r Report) Harm() int {
	return r.Lost + r.Duplicated + r.StaleAccepted + r.DeviceClashes + r.LeftoverProcesses
}

// Run starts a stand, runs the rounds and ends the stand. With an error the
// report counts what was found until then.
func Run(ctx context.Context, c Config) (Report, error) {
	c = c.withDefaults()
	report := Report{Seed: c.Seed, Faults: map[string]int{}}
	if err := c.validate(); err != nil {
		return report, err
	}
	s, err := newStand(ctx, c)
	if err != nil {
		return report, err
	}
	report.Skipped = s.skipped
	err = s.run(ctx, &report)
	left, stopErr := s.stop()
	report.LeftoverProcesses = left
	return report, errors.Join(err, stopErr)
}

func (s *stand) run(ctx context.Context, report *Report) error {
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("starting the stand: %w", err)
	}
	choice := rand.New(rand.NewPCG(s.cfg.Seed, 0))
	for number := 1; number <= s.cfg.Rounds; number++ {
		plan := s.draw(choice)
		s.log.Info().Int("round", number).Stringer("faults", plan).Msg("round")
		r, err := s.round(ctx, number, plan)
		if err != nil {
			return fmt.Errorf("round %d (%s): %w", number, plan, err)
		}
		report.add(r, plan)
		if err := s.auditJournal(report); err != nil {
			return err
		}
		s.log.Info().Int("round", number).Float64("recovery_s", r.recovery.Seconds()).Int("reruns", r.reruns).
			Int("rejected", r.rejected).Int("harm", report.Harm()).Msg("round over")
	}
	return nil
}

func (r *Report) add(f findings, p plan) {
	r.Rounds++
	r.Experiments += f.experiments
	r.Lost += f.lost
	r.Duplicated += f.duplicated
	r.StaleAccepted += f.stale
	r.Rejected += f.rejected
	r.Reruns += f.reruns
	r.LongestRecovery = max(r.LongestRecovery, f.recovery.Seconds())
	for _, fault := range p {
		r.Faults[fault.name]++
	}
}

func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = 3
	}
	if c.Slots == 0 {
		c.Slots = min(2, runtime.NumCPU())
	}
	if c.Lease == 0 {
		c.Lease = 4 * time.Second
	}
	if c.Points == 0 {
		c.Points = 16
	}
	if c.Patience == 0 {
		c.Patience = 3 * time.Minute
	}
	return c
}

func (c Config) validate() error {
	if c.Rounds < 1 {
		return errors.New("at least one round is needed")
	}
	for _, program := range []string{c.Fleetune, c.Worker, c.Probe} {
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("looking for the programs: %w", err)
		}
	}
	return nil
}
