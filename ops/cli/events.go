package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func (c *commands) events() *cobra.Command {
	return group("events", "Look at events, and read them again", c.eventsReprocess(), showOfCourier(c, &cobra.Command{
		Use:     "show KEY",
		Short:   "Show the status of the event with this idempotency key",
		Example: "  appliance events show courier-x:evt_123",
	}, (*client.Client).Event, c.print.record))
}

func (p *printer) record(r event.Record) error {
	t := terminal.NewTable(p.out)
	t.Row("key", r.Key)
	t.Row("courier", r.Courier)
	t.Row("status", string(r.Status))
	if r.Code == "" {
		t.Field("note", r.Message)
	} else {
		t.Field("error", codeAndMessage(r.Code, r.Message))
	}
	t.Row("received", p.clock.Format(r.ReceivedAt))
	t.Row("ended", p.clock.Format(r.EndedAt))
	t.Row("event", strings.TrimSpace(r.EventID+" "+r.EventType))
	t.Row("occurred", p.clock.Format(r.OccurredAt))
	t.Field("shipment", r.ShipmentID)
	t.Row("trace", r.TraceID)
	t.Row("sequence", strconv.FormatUint(r.Sequence, 10))
	if r.Conflicts > 0 {
		t.Row("conflicts", fmt.Sprintf("%d copies with another body came after it", r.Conflicts))
	}
	t.Field("replay", r.Replay)
	if err := t.Flush(); err != nil {
		return err
	}
	return p.attempts(r.Attempts)
}

func (p *printer) attempts(attempts []event.Attempt) error {
	if len(attempts) == 0 {
		return nil
	}
	t := terminal.NewTable(p.out)
	t.Gap()
	t.Row("ATTEMPT", "STARTED", "TOOK", "OUTCOME", "ERROR")
	for _, a := range attempts {
		took := ""
		if !a.EndedAt.IsZero() && !a.StartedAt.IsZero() {
			took = a.EndedAt.Sub(a.StartedAt).Round(10 * time.Microsecond).String()
		}
		t.Row(strconv.Itoa(a.Number), p.clock.Format(a.StartedAt), took, orUnderWay(a.Outcome), codeAndMessage(a.Code, a.Message))
	}
	return t.Flush()
}

func orUnderWay(o event.Outcome) string {
	if o == "" {
		return "under way"
	}
	return string(o)
}

func codeAndMessage(code event.Code, message string) string {
	if code == "" || message == "" {
		return string(code) + message
	}
	return string(code) + ": " + message
}
