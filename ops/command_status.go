package ops

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

// probeTimeout suits a container's health check, which is given up soon itself.
const probeTimeout = 3 * time.Second

func (c *commands) health() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Tell in one line how the running appliance is",
		Long: "Tell in one line how the running appliance is.\n\n" +
			"Exits with 0 when it is healthy or degraded, and with 1 when it is unhealthy or\ndoes not answer, as a container's HEALTHCHECK wants it.",
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	timeout := cmd.Flags().Duration("timeout", probeTimeout, "how long to wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *timeout <= 0 {
			return usageError("--timeout %v is not positive", *timeout)
		}
		client, err := c.client(cmd, *timeout)
		if err != nil {
			return err
		}
		health, document, err := client.Health(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(c.Out, document)
		} else {
			_, err = fmt.Fprintln(c.Out, safe(health.line()))
			for _, problem := range health.Problems {
				c.say("  %s", safe(problem))
			}
		}
		if err != nil {
			return err
		}
		if health.Status != "healthy" && health.Status != "degraded" {
			return errors.New("the appliance is " + safe(health.Status))
		}
		return nil
	}
	return cmd
}

// line shows health as "healthy: jetstream embedded, mongo connected".
func (h Health) line() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(h.Parts)) {
		parts = append(parts, name+" "+h.Parts[name])
	}
	if len(parts) == 0 {
		return h.Status
	}
	return h.Status + ": " + strings.Join(parts, ", ")
}

func (c *commands) status() *cobra.Command {
	return askCommand(c, &cobra.Command{
		Use:   "status",
		Short: "Show the running appliance at a glance: health, queue, worker, stores",
	}, (*Client).Status, c.printStatus)
}

func (c *commands) printStatus(s Status) error {
	t := newTable(c.Out)
	t.row("appliance", fmt.Sprintf("%s, role %s, up %s since %s", cmp.Or(s.Version, "unknown version"), s.Role,
		span(time.Duration(s.UptimeSeconds*float64(time.Second))), s.StartedAt.In(c.Zone).Format(time.RFC3339)))
	t.row("health", s.Health.line())
	for _, problem := range s.Health.Problems {
		t.row("PROBLEM", problem)
	}
	if !s.Ready {
		t.row("ready", "no: "+s.NotReady)
	}
	if len(s.Observing) > 0 {
		t.row("OBSERVING", strings.Join(s.Observing, ", ")+": what they send is accepted without proof")
	}
	for _, l := range s.Listeners {
		t.row(l.Name, l.url())
	}
	t.field("data", s.DataDir)
	if s.Queue != nil {
		printQueue(t, s.Queue)
	}
	if s.Worker != nil {
		t.row("worker", fmt.Sprintf("%s, last beat %s, %d deliveries in %d batches", s.Worker.Phase, c.clock.when(s.Worker.LastBeat), s.Worker.Events, s.Worker.Batches))
	}
	if s.Reconciler != nil {
		t.row("reconciler", fmt.Sprintf("verified to %d, checked %d, put back %d, waiting for %d", s.Reconciler.Verified, s.Reconciler.Checked, s.Reconciler.PutBack, s.Reconciler.Waiting))
	}
	if s.Store != nil {
		printCounts(t, s.Store)
	}
	for _, problem := range s.Problems {
		t.row("problem", problem)
	}
	return t.flush()
}

func printQueue(t *table, q *QueueStatus) {
	limit := ""
	if q.MaxBytes > 0 {
		limit = " of " + size(q.MaxBytes)
	}
	free := ""
	if q.DiskFree >= 0 {
		free = ", disk has " + size(q.DiskFree) + " free"
	}
	state := fmt.Sprintf("%s, sync %s", q.Mode, q.Sync)
	if q.Problem != "" {
		state += ": " + q.Problem
	}
	t.row("queue", state)
	t.row("  backlog", fmt.Sprintf("%d unprocessed: %d waiting, %d in flight (%d delivered again)", q.Unprocessed, q.Pending, q.InFlight, q.Redelivered))
	t.row("  stored", fmt.Sprintf("%d events, %s%s%s", q.Messages, size(int64(q.Bytes)), limit, free))
	t.row("  sequences", fmt.Sprintf("%d to %d, settled to %d, reconciled to %d", q.FirstSeq, q.LastSeq, q.AckFloor, q.Verified))
	if q.Advisories > 0 {
		t.row("  advisories", fmt.Sprintf("%d exhausted events wait to become dead letters", q.Advisories))
	}
}

func printCounts(t *table, counts *event.StoreCounts) {
	t.row("events", tally(counts.Records, []event.Status{event.Received, event.Processing, event.Processed, event.Failed, event.DeadLettered}))
	t.row("dead letters", tally(counts.DeadLetters, event.ReviewStatuses))
	t.row("shipments", fmt.Sprint(counts.Shipments))
	t.row("records", tally(counts.Ingestions, rejections))
}

// tally shows the counts that are not zero, in the given order.
func tally[S ~string](counts map[S]int64, order []S) string {
	var parts []string
	for _, status := range order {
		if n := counts[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func (l Listener) url() string {
	if l.TLS {
		return "https://" + l.Address
	}
	return "http://" + l.Address
}
