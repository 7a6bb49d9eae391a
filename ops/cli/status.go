package cli

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// statusTimeout is how long status waits: whoever asks it wants to know why nothing answers.
const statusTimeout = 5 * time.Second

func (c *commands) status() *cobra.Command {
	return askWithin(c, statusTimeout, &cobra.Command{
		Use:     "status",
		Short:   "Show the running appliance at a glance: health, queue, worker, stores",
		Example: "  appliance status\n  appliance status --json --admin-listen 127.0.0.1:8081",
	}, (*client.Client).Status, c.print.status)
}

func (p *printer) status(s ops.Status) error {
	t := terminal.NewTable(p.out)
	t.Row("appliance", fmt.Sprintf("%s, role %s, up %s since %s", cmp.Or(s.Version, "unknown version"), s.Role,
		terminal.Span(time.Duration(s.UptimeSeconds*float64(time.Second))), s.StartedAt.In(p.clock.Zone).Format(time.RFC3339)))
	t.Row("as of", p.clock.Format(s.At))
	t.Row("health", healthLine(s.Health))
	for _, problem := range s.Health.Problems {
		name := "PROBLEM"
		for line := range strings.SplitSeq(problem, "\n") { // a list of faults has several
			t.Row(name, line)
			name = " "
		}
	}
	if !s.Ready {
		t.Row("ready", "no: "+s.NotReady)
	}
	if len(s.Observing) > 0 {
		t.Row("OBSERVING", strings.Join(s.Observing, ", ")+": what they send is accepted whether it verifies or not")
	}
	for _, a := range s.Attention {
		what := a.What
		if a.Courier != "" {
			what = "courier " + a.Courier + ": " + what
		}
		t.Row("ATTENTION", what)
		t.Row("  do", a.Do)
	}
	for _, l := range s.Listeners {
		t.Row(l.Name, listenerURL(l))
	}
	t.Field("data", s.DataDir)
	if s.Queue != nil {
		p.queue(t, s.Queue)
	}
	if s.Worker != nil {
		t.Row("worker", fmt.Sprintf("%s, last heartbeat %s, %d deliveries in %d batches", s.Worker.Phase, p.clock.Format(s.Worker.LastHeartbeat), s.Worker.Events, s.Worker.Batches))
	}
	if s.Reconciler != nil {
		t.Row("reconciler", fmt.Sprintf("verified to %d, checked %d, requeued %d, waiting for %d", s.Reconciler.Verified, s.Reconciler.Checked, s.Reconciler.Requeued, s.Reconciler.Waiting))
	}
	if s.Store != nil {
		printCounts(t, s.Store)
	}
	for _, problem := range s.Problems {
		t.Row("problem", problem)
	}
	return t.Flush()
}

func (p *printer) queue(t *terminal.Table, q *ops.QueueStatus) {
	limit := ""
	if q.MaxBytes > 0 {
		limit = " of " + terminal.Size(q.MaxBytes)
	}
	free := ""
	if q.DiskFree >= 0 {
		free = ", disk has " + terminal.Size(q.DiskFree) + " free"
	}
	state := fmt.Sprintf("%s, sync %s", q.Mode, q.Sync)
	if q.Problem != "" {
		state += ": " + q.Problem
	}
	t.Row("queue", state)
	if !q.At.IsZero() {
		t.Row("  counted", p.clock.Format(q.At))
	}
	t.Row("  backlog", fmt.Sprintf("%d unprocessed: %d waiting, %d in flight (%d delivered again)", q.Unprocessed, q.Pending, q.InFlight, q.Redelivered))
	t.Row("  stored", fmt.Sprintf("%d events, %s%s%s", q.Messages, terminal.Size(int64(q.Bytes)), limit, free))
	t.Row("  sequences", fmt.Sprintf("%d to %d, settled to %d, reconciled to %d", q.FirstSeq, q.LastSeq, q.AckFloor, q.Verified))
	if q.Servers != nil {
		t.Row("  servers", serversLine(q.Servers))
		t.Row("  connected", connectedLine(q.Servers.Connected))
	}
	if q.Advisories > 0 {
		t.Row("  advisories", fmt.Sprintf("%d exhausted events wait to become dead letters", q.Advisories))
	}
}

// serversLine shows the servers that hold the queue as "n1 leads, n2 follows, n3 is missing
// (3 wanted)".
func serversLine(s *event.QueueServers) string {
	parts := []string{"none leads"}
	if s.Leader != "" {
		parts[0] = s.Leader + " leads"
	}
	for _, r := range s.Replicas {
		switch {
		case r.Missing:
			parts = append(parts, r.Name+" is MISSING")
		case !r.Current:
			parts = append(parts, fmt.Sprintf("%s is %d behind", r.Name, r.Lag))
		default:
			parts = append(parts, r.Name+" follows")
		}
	}
	return fmt.Sprintf("%s (%d wanted)", strings.Join(parts, ", "), s.Wanted)
}

// connectedLine shows the connections as "admin to n1, publish to n2".
func connectedLine(connected map[string]string) string {
	var parts []string
	for _, role := range slices.Sorted(maps.Keys(connected)) {
		parts = append(parts, role+" to "+cmp.Or(connected[role], "none"))
	}
	return strings.Join(parts, ", ")
}

func printCounts(t *terminal.Table, counts *event.StoreCounts) {
	t.Row("events", tally(counts, counts.Records, []event.Status{event.Received, event.Processing, event.Processed, event.Failed, event.DeadLettered}))
	t.Row("dead letters", tally(counts, counts.DeadLetters, event.ReviewStatuses))
	t.Row("shipments", figure(counts, "shipments", counts.Shipments))
	t.Row("records", tally(counts, counts.Ingestions, ops.Rejections))
}

// tally shows those of the counts that are not zero, in the given order.
func tally[K, S ~string](of *event.StoreCounts, counts map[K]int64, order []S) string {
	var parts []string
	for _, status := range order {
		if n := counts[K(status)]; n > 0 {
			parts = append(parts, figure(of, string(status), n)+" "+string(status))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// figure shows a count, and how it is meant if it is not exact.
func figure(of *event.StoreCounts, name string, n int64) string {
	if how := of.Approximate[name]; how != "" {
		return fmt.Sprintf("%s %d", how, n)
	}
	return fmt.Sprint(n)
}

// listenerURL returns an address that can be opened on the machine of the appliance.
func listenerURL(l ops.Listener) string {
	scheme, path, everywhere := "http://", "/health", ""
	if l.TLS {
		scheme = "https://"
	}
	if l.Name == "public" {
		path = "/v1/events/courier"
	}
	address := l.Address
	if host, port, err := net.SplitHostPort(address); err == nil && net.ParseIP(host).IsUnspecified() {
		address, everywhere = net.JoinHostPort("127.0.0.1", port), ", on every address of the machine"
	}
	return scheme + address + path + everywhere
}

// probeTimeout suits a container's health check, which has a short time-out of its own.
const probeTimeout = 3 * time.Second

func (c *commands) health() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Show the health of the running appliance in one line",
		Long: "Show the health of the running appliance in one line.\n\n" +
			"Exits with 0 when it is healthy or degraded, and with 1 when it is unhealthy or\ndoes not answer, as a container's HEALTHCHECK wants it.",
		Example: "  appliance health --timeout 2s",
		Args:    cobra.NoArgs,
	}
	asJSON := jsonFlag(cmd)
	timeout := cmd.Flags().Duration("timeout", probeTimeout, "how long to wait for the answer")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *timeout <= 0 {
			return usageError("--timeout %v is not positive", *timeout)
		}
		return nil
	}
	return c.runWithin(cmd, timeout, func(cmd *cobra.Command, api *client.Client, _ []string) error {
		health, document, err := api.Health(cmd.Context())
		if err != nil {
			return coded{err, 1} // whatever it is: a container's engine knows no other codes
		}
		if *asJSON {
			err = terminal.PrintJSON(c.Out, document)
		} else {
			_, err = fmt.Fprintln(c.Out, terminal.Escape(healthLine(health)))
			for _, problem := range health.Problems {
				for line := range strings.SplitSeq(problem, "\n") {
					c.print.say("  %s", line)
				}
			}
		}
		if err != nil {
			return err
		}
		if health.Status != "healthy" && health.Status != "degraded" {
			return errors.New("the appliance is " + terminal.Escape(health.Status))
		}
		return nil
	})
}

// healthLine shows health as "healthy: cache memory, jetstream embedded, store sqlite". The
// members mongo and redis say how store and cache are, whatever they are.
func healthLine(h ops.Health) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(h.Parts)) {
		state := h.Parts[name]
		switch name {
		case "mongo", "redis":
			continue
		case "store":
			state += stateOf(h.Parts["mongo"])
		case "cache":
			state += stateOf(h.Parts["redis"])
		}
		parts = append(parts, name+" "+state)
	}
	if len(parts) == 0 {
		return h.Status
	}
	return h.Status + ": " + strings.Join(parts, ", ")
}

// stateOf returns what is worth saying of how a part is reached.
func stateOf(state string) string {
	if state == "" || state == "embedded" {
		return ""
	}
	return " " + state
}
