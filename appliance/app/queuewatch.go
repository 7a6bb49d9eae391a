package app

import (
	"fmt"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// limitsOf returns the limits of a configuration.
func limitsOf(c config.Config) healthLimits {
	limits := healthLimits{deadLetters: c.Process.DeadLetterAlarm}
	if c.JetStream.Mode == config.ModeEmbedded {
		limits.diskReserve = c.JetStream.DiskReserveBytes
	}
	return limits
}

// MachineWarnings returns what keeps a configuration that is good from working on this
// machine as it is now: intake is shut while the disk of the queue has less free than the
// reserve.
func MachineWarnings(c config.Config) []config.Fault {
	settings, err := c.Broker()
	if err != nil || c.JetStream.Mode != config.ModeEmbedded {
		return nil
	}
	free, dir := jetstream.FreeBytes(settings.StoreDir)
	if free < 0 || free >= settings.DiskReserveBytes {
		return nil
	}
	return []config.Fault{{Path: "jetstream.disk_reserve_bytes", Message: fmt.Sprintf(
		"the disk of %s has %s free, less than this reserve of %s: every event is refused (503) until there is more; free space, or lower it",
		dir, terminal.Size(free), terminal.Size(settings.DiskReserveBytes))}}
}

// healthLimits are the figures from which on there is a problem.
type healthLimits struct {
	deadLetters int   // that wait for review, 0 for any number
	diskReserve int64 // free bytes below which intake is shut
}

// unverifiedFor is for how long settled events may be unverified: longer than any
// grace that is given to one event, and its second try.
const unverifiedFor = 10 * time.Minute

// queueWatch finds what will shut the intake unless it ends, or what stands still.
type queueWatch struct {
	verified uint64
	since    time.Time // verified is what it is
}

// problems returns what is wrong with a queue that accepts events.
func (w *queueWatch) problems(s event.QueueState, limits healthLimits, now time.Time) (problems []string) {
	if s.MaxBytes > 0 && s.Bytes > uint64(s.MaxBytes)/10*9 {
		problems = append(problems, fmt.Sprintf("the queue holds %s of %s (jetstream.max_bytes), and intake is shut when it is full: "+
			"%d events are unprocessed, and history is removed only behind events that are processed and verified; "+
			"let the backlog drain (process.workers), or raise the limit", terminal.Size(int64(s.Bytes)), terminal.Size(s.MaxBytes), s.Unprocessed()))
	}
	if reserve := limits.diskReserve; reserve > 0 && s.DiskFree >= reserve && s.DiskFree < reserve/4*5 {
		problems = append(problems, fmt.Sprintf("the disk of the queue has %s free, and intake is shut below %s (jetstream.disk_reserve_bytes): free space",
			terminal.Size(s.DiskFree), terminal.Size(reserve)))
	}
	if s.Verified != w.verified || s.Verified >= s.AckFloor || w.since.IsZero() {
		w.verified, w.since = s.Verified, now
	}
	if now.Sub(w.since) > unverifiedFor {
		problems = append(problems, fmt.Sprintf("the reconciler stands still at sequence %d since %s, and history grows behind it (%d are settled): "+
			"the log says why, and `appliance status` how many advisories wait to become dead letters", w.verified, w.since.UTC().Format(time.RFC3339), s.AckFloor))
	}
	return problems
}
