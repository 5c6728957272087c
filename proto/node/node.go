// Package node describes where work can run: what a worker advertises about
// its node, what a task requires, and why the two do not fit.
package node

import (
	"slices"
	"strings"
	"time"
)

// An Advertisement is what a worker tells the manager about its node.
type Advertisement struct {
	Worker  string            `json:"worker"`
	Host    string            `json:"host"`
	Pool    string            `json:"pool"`
	Labels  map[string]string `json:"labels,omitempty"`
	Devices []Device          `json:"devices"`
	Kinds   []string          `json:"kinds"`
	// Launchers that can start engines here.
	Launchers []string `json:"launchers,omitempty"`
	// Engines that are installed, with their versions; empty where one does not
	// tell it.
	Engines map[string]string `json:"engines,omitempty"`
	// Models that are complete on the node: hub ids, and names of folders.
	Models []string `json:"models,omitempty"`
	// Secrets are the names, never the values, of the secrets the worker has.
	Secrets   []string  `json:"secrets,omitempty"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
}

// HasModel says whether a model is complete on the node. Of a model that is
// kept in several quantisations (org/name:Q4_K_M) nodes tell that they have it,
// not which of them.
func (a *Advertisement) HasModel(id string) bool {
	name, _, _ := strings.Cut(id, ":")
	return slices.Contains(a.Models, id) || slices.Contains(a.Models, name)
}

// A Device is one GPU, or one CPU slot where no GPU is.
type Device struct {
	// ID is stable on the node: a GPU's UUID, or "cpu-0".
	ID string `json:"id"`
	// Index is the ordinal the driver uses.
	Index  int    `json:"index"`
	Vendor string `json:"vendor"` // nvidia, amd or cpu
	Model  string `json:"model"`
	// Memory in bytes.
	Memory int64  `json:"memory,omitempty"`
	Driver string `json:"driver,omitempty"`
	// Cores are the CPU cores that a CPU slot owns alone.
	Cores  []int  `json:"cores,omitempty"`
	Health Health `json:"health"`
	// Reason explains every health but ok.
	Reason string `json:"reason,omitempty"`
}

// Health is the state of a device.
type Health string

// The health states. A device that was there and is gone is reported missing,
// not forgotten; one whose last attempt cannot be proven dead is quarantined.
const (
	Healthy     Health = "ok"
	Missing     Health = "missing"
	Foreign     Health = "foreign"
	Quarantined Health = "quarantined"
)

// Requirements say what a task needs of a place.
type Requirements struct {
	Pool string `json:"pool"`
	// Accelerator is "any", a vendor (nvidia, amd, cpu) or part of a model name.
	Accelerator string `json:"accelerator"`
	Devices     int    `json:"devices"`
	// Memory each device must have, in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Labels the node must carry.
	Labels map[string]string `json:"labels,omitempty"`
	// Kind is the experiment kind the worker must be able to run.
	Kind string `json:"kind,omitempty"`
	// Secrets are the names of secrets the worker must have.
	Secrets []string `json:"secrets,omitempty"`
	// Launcher and Engine that the worker must have; empty asks for none.
	Launcher string `json:"launcher,omitempty"`
	Engine   string `json:"engine,omitempty"`
}
