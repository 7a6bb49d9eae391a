package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops/client"
	"github.com/fincart/courier-gateway/ops/terminal"
)

func (c *commands) shipments() *cobra.Command {
	return group("shipments", "Look at shipments", showOfCourier(c, &cobra.Command{
		Use:     "show ID",
		Short:   "Show what is known of a shipment",
		Example: "  appliance shipments show shp_456",
	}, (*client.Client).Shipment, c.print.shipment))
}

func (p *printer) shipment(s shipment.Shipment) error {
	t := terminal.NewTable(p.out)
	t.Row("shipment", s.ID)
	t.Row("courier", s.Courier)
	t.Field("order", s.OrderID)
	t.Row("state", string(s.State))
	t.Field("raw status", s.RawStatus)
	t.Row("since", p.clock.Format(s.EventTime))
	t.Field("by event", s.LastEvent)
	t.Row("leg", strconv.Itoa(s.Leg))
	if s.Dropped > 0 {
		t.Row("history", fmt.Sprintf("%d earlier checkpoints are no longer kept", s.Dropped))
	}
	t.Row("updated", p.clock.Format(s.UpdatedAt))
	if err := t.Flush(); err != nil {
		return err
	}
	return p.history(s)
}

func (p *printer) history(s shipment.Shipment) error {
	t := terminal.NewTable(p.out)
	t.Gap()
	t.Row("OCCURRED", "STATE", "RAW STATUS", "KEY")
	for _, h := range s.History {
		at := p.clock.Format(h.At)
		if !h.ClaimedAt.IsZero() {
			at += " (received; it claims " + p.clock.Format(h.ClaimedAt) + ")"
		}
		t.Row(at, string(h.State), h.Status, h.Key)
	}
	return t.Flush()
}
