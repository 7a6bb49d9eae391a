package ops

import (
	"context"
	"iter"
	"net/http"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Rejections returns one page of the refused and observed requests that filter
// selects, and of the sums of those that have no record of their own. No outcome
// in the filter means both.
func (c *Client) Rejections(ctx context.Context, filter event.IngestionFilter) (IngestionPage, error) {
	return get[IngestionPage](ctx, c, rejectionsPath, formatIngestionFilter(filter))
}

// RejectionPages yields every page of what [Client.Rejections] selects; the
// filter's limit is the size of a page. An error ends the pages.
func (c *Client) RejectionPages(ctx context.Context, filter event.IngestionFilter) iter.Seq2[IngestionPage, error] {
	return pages(filter.After, func(after string) (IngestionPage, error) {
		filter.After = after
		return c.Rejections(ctx, filter)
	})
}

// Ingestions returns one page of everything that the intake has recorded, the
// sums of accepted requests included.
func (c *Client) Ingestions(ctx context.Context, filter event.IngestionFilter) (IngestionPage, error) {
	return get[IngestionPage](ctx, c, "/api/v1/ingestions", formatIngestionFilter(filter))
}

// Rejection returns one record, with the whole request.
func (c *Client) Rejection(ctx context.Context, id string) (event.IngestionRecord, error) {
	return get[event.IngestionRecord](ctx, c, rejectionsPath+"/"+escapeSegment(id), nil)
}

// Accept takes in a request that was refused. With vouch it needs no proof of
// who sent it.
func (c *Client) Accept(ctx context.Context, id string, vouch bool) (Accepted, error) {
	return call[Accepted](ctx, c, http.MethodPost, rejectionsPath+"/"+escapeSegment(id)+"/accept", nil, AcceptRequest{Vouch: vouch})
}

// Couriers returns the couriers in force.
func (c *Client) Couriers(ctx context.Context) (CourierList, error) {
	return get[CourierList](ctx, c, couriersPath, nil)
}

// Reload has the appliance take over the couriers from its configuration as it
// is now. When that is wrong the error is a [Problem] with the code
// [InvalidConfig] and all its faults, and the couriers before stay in
// force.
func (c *Client) Reload(ctx context.Context) (ReloadReport, error) {
	return call[ReloadReport](ctx, c, http.MethodPost, couriersPath+"/reload", nil, nil)
}
