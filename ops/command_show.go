package ops

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event"
)

func (c *commands) events() *cobra.Command {
	return group("events", "Look at events", showOfCourier(c, &cobra.Command{
		Use:     "show KEY",
		Short:   "Show where the event with this idempotency key stands",
		Example: "  appliance events show courier-x:evt_123",
	}, (*Client).Event, c.printRecord))
}

func (c *commands) shipments() *cobra.Command {
	return group("shipments", "Look at shipments", showOfCourier(c, &cobra.Command{
		Use:     "show ID",
		Short:   "Show what is known of a shipment",
		Example: "  appliance shipments show shp_456",
	}, (*Client).Shipment, c.printShipment))
}

// askCommand completes a command that asks one thing and shows the answer.
func askCommand[T any](c *commands, cmd *cobra.Command, ask func(client *Client, ctx context.Context) (T, error), show func(T) error) *cobra.Command {
	cmd.Args = cobra.NoArgs
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := c.client(cmd, askTimeout)
		if err != nil {
			return err
		}
		thing, err := ask(client, cmd.Context())
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(c.Out, thing)
		default:
			return show(thing)
		}
	}
	return cmd
}

// showCommand is askCommand for the one thing of a name.
func showCommand[T any](c *commands, cmd *cobra.Command,
	ask func(client *Client, ctx context.Context, name string) (T, error), show func(T) error,
) *cobra.Command {
	askCommand(c, cmd, func(client *Client, ctx context.Context) (T, error) {
		return ask(client, ctx, cmd.Flags().Arg(0))
	}, show)
	cmd.Args = cobra.ExactArgs(1)
	return cmd
}

// showOfCourier is showCommand for names that several couriers may use.
func showOfCourier[T any](c *commands, cmd *cobra.Command,
	ask func(client *Client, ctx context.Context, name, courier string) (T, error), show func(T) error,
) *cobra.Command {
	courier := cmd.Flags().String("courier", "", "the courier it belongs to, where several use the same name")
	return showCommand(c, cmd, func(client *Client, ctx context.Context, name string) (T, error) {
		thing, err := ask(client, ctx, name, *courier)
		return thing, askForCourier(err)
	}, show)
}

// askForCourier names the flag that resolves an ambiguity.
func askForCourier(err error) error {
	if p, ok := errors.AsType[*Problem](err); ok && p.Code == Ambiguous {
		return fmt.Errorf("%w: add --courier", p)
	}
	return err
}

func (c *commands) printRecord(r event.Record) error {
	t := newTable(c.Out)
	t.row("key", r.Key)
	t.row("courier", r.Courier)
	t.row("status", string(r.Status))
	t.field("error", codeAndMessage(r.Code, r.Message))
	t.row("received", c.clock.when(r.ReceivedAt))
	t.row("ended", c.clock.when(r.EndedAt))
	t.row("event", strings.TrimSpace(r.EventID+" "+r.EventType))
	t.row("occurred", c.clock.when(r.OccurredAt))
	t.field("shipment", r.ShipmentID)
	t.row("trace", r.TraceID)
	t.row("sequence", strconv.FormatUint(r.Sequence, 10))
	if r.Conflicts > 0 {
		t.row("conflicts", fmt.Sprintf("%d copies with another body came after it", r.Conflicts))
	}
	t.field("replay", r.Replay)
	if err := t.flush(); err != nil {
		return err
	}
	return c.printAttempts(r.Attempts)
}

func (c *commands) printAttempts(attempts []event.Attempt) error {
	if len(attempts) == 0 {
		return nil
	}
	t := newTable(c.Out)
	t.gap()
	t.row("ATTEMPT", "STARTED", "TOOK", "OUTCOME", "ERROR")
	for _, a := range attempts {
		took := ""
		if !a.EndedAt.IsZero() && !a.StartedAt.IsZero() {
			took = a.EndedAt.Sub(a.StartedAt).Round(10 * time.Microsecond).String()
		}
		t.row(strconv.Itoa(a.Number), c.clock.when(a.StartedAt), took, orUnderWay(a.Outcome), codeAndMessage(a.Code, a.Message))
	}
	return t.flush()
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

func (c *commands) printShipment(s event.Shipment) error {
	t := newTable(c.Out)
	t.row("shipment", s.ID)
	t.row("courier", s.Courier)
	t.field("order", s.OrderID)
	t.row("state", string(s.State))
	t.field("raw status", s.RawStatus)
	t.row("since", c.clock.when(s.EventTime))
	t.field("by event", s.LastEvent)
	t.row("leg", strconv.Itoa(s.Leg))
	if s.Dropped > 0 {
		t.row("history", fmt.Sprintf("%d earlier checkpoints are no longer kept", s.Dropped))
	}
	t.row("updated", c.clock.when(s.UpdatedAt))
	if err := t.flush(); err != nil {
		return err
	}
	return c.printHistory(s)
}

func (c *commands) printHistory(s event.Shipment) error {
	t := newTable(c.Out)
	t.gap()
	t.row("OCCURRED", "STATE", "RAW STATUS", "KEY")
	for _, h := range s.History {
		t.row(c.clock.when(h.At), string(h.State), h.Status, h.Key)
	}
	return t.flush()
}
