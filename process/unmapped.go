package process

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process/journey"
)

// Statuses keeps what couriers say that no mapping knows.
type Statuses interface {
	// ChangeUnmapped replaces the statuses of a courier by what change makes of them,
	// durably. It may call change again when another writer was quicker.
	ChangeUnmapped(ctx context.Context, courier string, change func(*shipment.Unmapped)) error
}

// countUnmapped counts the statuses of the events that were applied just now which no
// mapping knows. They are in the history of their shipments already; what is lost when the
// process ends here, or the store fails, is their count.
func (h *Handler) countUnmapped(ctx context.Context, jobs []*job) {
	seen := map[string][]shipment.UnmappedStatus{}
	for _, j := range jobs {
		if !j.applied {
			continue
		}
		before := len(seen[j.Courier])
		mapped := func(status string, scan bool) bool { return h.Mapped(j.Courier, status, scan) }
		for _, status := range journey.Unmapped(j.event, mapped) {
			seen[j.Courier] = append(seen[j.Courier], shipment.UnmappedStatus{
				Status: strings.Clone(status), Events: 1, FirstSeen: j.ReceivedAt, LastSeen: j.ReceivedAt,
				Key: j.Key, ShipmentID: strings.Clone(j.event.ShipmentID),
			})
		}
		if len(seen[j.Courier]) > before {
			h.Metrics.unmapped.WithLabelValues(j.Courier).Inc()
		}
	}
	for courier, statuses := range seen {
		slices.SortFunc(statuses, func(a, b shipment.UnmappedStatus) int {
			return cmp.Or(a.LastSeen.Compare(b.LastSeen), cmp.Compare(a.Key, b.Key))
		})
		err := h.Statuses.ChangeUnmapped(ctx, courier, func(u *shipment.Unmapped) { u.Count(statuses...) })
		if err != nil {
			h.Log.Warn("can't count statuses that no mapping knows, they are in the history of their shipments only",
				"courier", courier, "statuses", len(statuses), "error", err)
		}
	}
}
