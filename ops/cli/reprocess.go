package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

// reprocessFlags are the flags that select events of the queue's history.
type reprocessFlags struct {
	actFlags
	courier, status, id, since, until string
}

func (c *commands) eventsReprocess() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reprocess",
		Short: "Read processed events again, by the mappings that are active now",
		Long: "Read events that were processed again, by the mappings that are active now, and bring\n" +
			"their shipments to what they say. The queue has the events of its history only\n" +
			"(jetstream.history_high_water_bytes and history_max_age); what older ones said stays.\n\n" +
			"It may run while events come in, and be interrupted: doing it again goes on, and once\n" +
			"everything is right changes nothing.",
		Example: "  appliance events reprocess --courier acme --dry-run\n" +
			"  appliance events reprocess --courier acme --status 'RTO IN TRANSIT' --since 24h --yes\n" +
			"  appliance events reprocess --id shp_456",
	}
	var flags reprocessFlags
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.courier, "courier", "", "only this courier's")
	cmd.Flags().StringVar(&flags.status, "status", "", "only with this status, in the courier's words")
	cmd.Flags().StringVar(&flags.id, "id", "", "only of this shipment, or with this event id or idempotency key")
	cmd.Flags().StringVar(&flags.since, "since", "", "only received since: a time such as 2026-03-01T12:00:00Z, or how long ago, such as 36h")
	cmd.Flags().StringVar(&flags.until, "until", "", "only received before, likewise")
	cmd.Args = cobra.NoArgs
	return c.run(cmd, func(cmd *cobra.Command, api *client.Client, _ []string) error {
		request, err := flags.request(c.Now())
		if err != nil {
			return err
		}
		if !flags.dryRun {
			if err := c.confirm("Read these events again, and change their shipments?", flags.yes); err != nil {
				return err
			}
		}
		return c.reprocess(cmd, api, request, flags.asJSON)
	})
}

func (f *reprocessFlags) request(now time.Time) (r reprocess.Request, err error) {
	r = reprocess.Request{Courier: f.courier, Status: f.status, ID: f.id, DryRun: f.dryRun}
	if r.Since, err = momentFlag("since", f.since, now); err != nil {
		return r, err
	}
	r.Until, err = momentFlag("until", f.until, now)
	return r, err
}

// momentFlag reads a flag that is a time, or how long ago.
func momentFlag(name, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError("--%s %q is neither a time, such as 2026-03-01T12:00:00Z, nor how long ago, such as 36h", name, text)
	}
	return at, nil
}

// reprocessReport is what reprocessing came to, as --json prints it.
type reprocessReport struct {
	DryRun     bool               `json:"dryRun"` // nothing was changed, changes says what would be
	Read       int                `json:"read"`
	Selected   int                `json:"selected"`
	Unreadable int                `json:"unreadable"`
	NotApplied int                `json:"notApplied"`
	Changes    []reprocess.Change `json:"changes"`
}

// add takes in a page. In a dry run a shipment is reported once, as its first page has it:
// with all of its events.
func (r *reprocessReport) add(page reprocess.Page, seen map[shipment.Ref]bool) (added []reprocess.Change) {
	r.Read, r.Selected = r.Read+page.Read, r.Selected+page.Selected
	r.Unreadable, r.NotApplied = r.Unreadable+page.Unreadable, r.NotApplied+page.NotApplied
	for _, change := range page.Changes {
		if r.DryRun && seen[change.Ref] {
			continue
		}
		seen[change.Ref] = r.DryRun
		added = append(added, change)
	}
	r.Changes = append(r.Changes, added...)
	return added
}

func (c *commands) reprocess(cmd *cobra.Command, api *client.Client, request reprocess.Request, asJSON bool) error {
	report := reprocessReport{DryRun: request.DryRun, Changes: []reprocess.Change{}}
	seen := map[shipment.Ref]bool{}
	table := terminal.NewTable(c.Out)
	for page, err := range api.Reprocess(cmd.Context(), request) {
		if err != nil {
			return err
		}
		first := len(report.Changes) == 0
		added := report.add(page, seen)
		if page.Next > 0 && !asJSON {
			c.print.say("read up to event %d of %d", page.Next-1, page.To)
		}
		if asJSON || len(added) == 0 {
			continue
		}
		if first {
			table.Row("COURIER", "SHIPMENT", "STATE", "RAW STATUS", "LEG", "ORDER", "CHECKPOINTS", "EVENTS")
		}
		for _, change := range added {
			table.Row(changeCells(change)...)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	var err error
	if asJSON {
		err = terminal.PrintJSON(c.Out, report)
	} else if err = c.print.reprocessed(report); err == nil && report.Selected == 0 {
		c.print.doubt(cmd.Context(), api, request.Courier)
	}
	if err == nil && report.Selected == 0 && request.ID != "" {
		return coded{fmt.Errorf("no event that the queue has kept is of %q and was selected", request.ID), ExitNotFound}
	}
	return err
}

// changeCells shows what differs as "before → after", and the rest as it is.
func changeCells(c reprocess.Change) []string {
	differs := func(before, after string) string {
		if before == after {
			return after
		}
		return orNothing(before) + " → " + orNothing(after)
	}
	number := func(before, after int) string { return differs(strconv.Itoa(before), strconv.Itoa(after)) }
	return []string{
		c.Courier, c.ID, differs(string(c.Before.State), string(c.After.State)), differs(c.Before.RawStatus, c.After.RawStatus),
		number(c.Before.Leg, c.After.Leg), differs(c.Before.OrderID, c.After.OrderID),
		number(c.Before.Checkpoints, c.After.Checkpoints), strconv.Itoa(c.Events),
	}
}

func orNothing(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func (p *printer) reprocessed(r reprocessReport) error {
	changed := "shipments changed: %d"
	if r.DryRun {
		changed = "shipments that would change: %d; nothing was done"
	}
	err := tell(p.out, fmt.Sprintf("events looked at: %d, selected: %d, "+changed, r.Read, r.Selected, len(r.Changes)))
	if r.Unreadable > 0 {
		p.say("%d events can't be read by the active mapping, and stay as they were", r.Unreadable)
	}
	if r.NotApplied > 0 {
		p.say("%d events have no outcome to change: they wait, are dead letters (replay those), or copies", r.NotApplied)
	}
	return err
}
