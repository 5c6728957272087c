package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// QueueName names the queue whose offers need the same kind of place: pool,
// accelerator and device count, the kind where one is asked for, and a short
// hash of whatever else the requirements say: "default_any_1",
// "default_nvidia-h100_8_command_h5f0c1d2e". Requirements that ask for the same
// have the same name, others another. The name holds a-z, 0-9, "_" and "-"
// only, so that it can be one token of a subject and part of a consumer's name.
func QueueName(r Requirements) string {
	r = r.withDefaults()
	rest := remainder{Memory: r.Memory, Labels: r.Labels, Secrets: slices.Compact(slices.Sorted(slices.Values(r.Secrets))),
		Launcher: r.Launcher, Engine: r.Engine}
	parts := []string{poolToken(r.Pool, &rest), acceleratorToken(r.Accelerator, &rest), strconv.Itoa(r.Devices)}
	if kind := kindToken(r.Kind, &rest); kind != "" {
		parts = append(parts, kind)
	}
	if !rest.empty() {
		parts = append(parts, rest.hash())
	}
	return strings.Join(parts, "_")
}

// remainder is what a queue's readable tokens cannot say.
type remainder struct {
	Pool        string            `json:"pool,omitempty"`
	Accelerator string            `json:"accelerator,omitempty"`
	Kind        string            `json:"kind,omitempty"`
	Memory      int64             `json:"memory,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Secrets     []string          `json:"secrets,omitempty"`
	Launcher    string            `json:"launcher,omitempty"`
	Engine      string            `json:"engine,omitempty"`
}

func (m remainder) empty() bool {
	return m.Pool == "" && m.Accelerator == "" && m.Kind == "" && m.Memory == 0 && len(m.Labels) == 0 && len(m.Secrets) == 0 && m.Launcher == "" && m.Engine == ""
}

// hash starts with a letter that keeps it apart from a device count and is
// written from JSON, whose map keys are sorted.
func (m remainder) hash() string {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	sum := sha256.Sum256(data)
	return hashPrefix + hex.EncodeToString(sum[:hashBytes])
}

const (
	hashPrefix = "h"
	hashBytes  = 6
	// tokenLimit keeps a subject with its two names and an id well below the
	// 255 bytes that a bus accepts for a consumer's name.
	tokenLimit = 48
)

// poolToken is the pool as it is where it can be, else its slug, with the
// difference told to the hash. A pool may contain "_": the tokens behind it
// never do, so names stay unambiguous read from the right.
func poolToken(pool string, rest *remainder) string {
	if len(pool) <= tokenLimit && strings.Trim(pool, "abcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		return pool
	}
	rest.Pool = pool
	return orDefault(shorten(slug(pool)), "pool")
}

// acceleratorToken is the slug, which is all that Match looks at.
func acceleratorToken(accelerator string, rest *remainder) string {
	s := slug(accelerator)
	if s == "" || len(s) > tokenLimit {
		rest.Accelerator = accelerator
		return orDefault(shorten(s), "accelerator")
	}
	return s
}

// kindToken is the kind where it is a plain word that looks like no hash.
func kindToken(kind string, rest *remainder) string {
	if kind == "" {
		return ""
	}
	if kind != slug(kind) || len(kind) > tokenLimit || !isLetter(kind[0]) || looksLikeHash(kind) {
		rest.Kind = kind
		return ""
	}
	return kind
}

func looksLikeHash(s string) bool {
	digits, ok := strings.CutPrefix(s, hashPrefix)
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 2*hashBytes
}

func shorten(s string) string { return s[:min(len(s), tokenLimit)] }
