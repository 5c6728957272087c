package wire

import "github.com/google/uuid"

// Streams on the bus.
const (
	// StreamWork carries offers: work-queue retention, one message a subject.
	StreamWork = "WORK"
	// StreamReports carries results to the manager: work-queue retention.
	StreamReports = "REPORTS"
	// StreamLogs keeps attempts' output for a while.
	StreamLogs = "LOGS"
)

// Subject prefixes. The token behind each is a queue's or a worker's name.
const (
	prefix         = "fleetune."
	WorkSubjects   = prefix + "work.>"
	ReportSubjects = prefix + "report.>"
	LogSubjects    = prefix + "log.>"
	ClaimSubjects  = prefix + "claim.*"
	BeatSubjects   = prefix + "beat.*"
	FetchSubjects  = prefix + "fetch.*"
	HintSubjects   = prefix + "hint.>"
	LoadSubjects   = prefix + "load.*.*"
	// ProgressSubjects carry what running attempts have measured so far.
	ProgressSubjects = prefix + "progress.*"
)

// WorkSubject is where an experiment's offer is published. One message may
// wait on it at a time, so offering twice is harmless.
func WorkSubject(queue, priority string, experiment uuid.UUID) string {
	return prefix + "work." + queue + "." + priority + "." + experiment.String()
}

// QueueSubjects matches every offer of a queue at one priority.
func QueueSubjects(queue, priority string) string {
	return prefix + "work." + queue + "." + priority + ".*"
}

// ConsumerName is the durable consumer of a queue at one priority.
func ConsumerName(queue, priority string) string { return queue + "_" + priority }

// ReportSubject is where a worker publishes its results.
func ReportSubject(worker string) string { return prefix + "report." + worker }

// ClaimSubject is where a worker asks for experiments.
func ClaimSubject(worker string) string { return prefix + "claim." + worker }

// BeatSubject is where a worker beats.
func BeatSubject(worker string) string { return prefix + "beat." + worker }

// FetchSubject is where a worker asks for bundles.
func FetchSubject(worker string) string { return prefix + "fetch." + worker }

// ProgressSubject is where a worker tells what its attempts measure.
func ProgressSubject(worker string) string { return prefix + "progress." + worker }

// LoadSubject is where a worker calls on whoever gathers the shares of a load,
// which is a task.
func LoadSubject(task uuid.UUID, worker string) string {
	return prefix + "load." + task.String() + "." + worker
}

// GatherSubject matches the calls of all shares of a load.
func GatherSubject(task uuid.UUID) string { return prefix + "load." + task.String() + ".*" }

// WorkerLoads matches every load that a worker may take part in.
func WorkerLoads(worker string) string { return prefix + "load.*." + worker }

// ControlSubject is where a worker listens.
func ControlSubject(worker string) string { return prefix + "control." + worker }

// HintSubject is where a queue's new offers are announced.
func HintSubject(queue string) string { return prefix + "hint." + queue }

// LogSubject is where a worker publishes an attempt's output.
func LogSubject(worker string, experiment uuid.UUID) string {
	return prefix + "log." + worker + "." + experiment.String()
}

// ExperimentLogs matches the output of every attempt of an experiment.
func ExperimentLogs(experiment uuid.UUID) string { return prefix + "log.*." + experiment.String() }

// WorkerLogs matches the output of every attempt of a worker.
func WorkerLogs(worker string) string { return prefix + "log." + worker + ".>" }

// ManagerName is what the manager is called on the bus; no worker may be.
const ManagerName = "manager"

// ValidWorkerName tells whether a worker may have that name: one token of a
// subject, of letters, digits, dashes and underscores, 128 at most, beginning
// with a letter or digit, and not the manager's own.
func ValidWorkerName(name string) bool {
	if name == "" || len(name) > 128 || name == ManagerName || name[0] == '-' || name[0] == '_' {
		return false
	}
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '-' && r != '_' {
			return false
		}
	}
	return true
}
