package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

// Ledger keeps the ledger rows and the shipments, and writes both together with the dead
// letters.
type Ledger struct {
	server                      *server
	records, shipments, letters *table
}

// Ping implements [persistence.Ledger].
func (l *Ledger) Ping(ctx context.Context) error { return l.server.ping(ctx) }

// Records implements [persistence.Ledger].
func (l *Ledger) Records(ctx context.Context, ids []event.Identity) ([]event.Record, error) {
	names := mapList(ids, func(id event.Identity) string { return persistence.CleanText(id.String()) })
	return list(ctx, l.records, query{op: "records", filter: oneOf(names), most: len(names)}, (*recordDocument).record)
}

// Shipments implements [persistence.Ledger].
func (l *Ledger) Shipments(ctx context.Context, refs []shipment.Ref) ([]shipment.Shipment, error) {
	names := mapList(refs, func(ref shipment.Ref) string { return persistence.CleanText(ref.String()) })
	return list(ctx, l.shipments, query{op: "shipments", filter: oneOf(names), most: len(names)}, (*shipmentDocument).shipment)
}

// RecordsByKey implements [persistence.Ledger].
func (l *Ledger) RecordsByKey(ctx context.Context, key string) ([]event.Record, error) {
	found, err := list(ctx, l.records, query{
		op: "records_by_key", filter: bson.D{{Key: "idempotencyKey", Value: persistence.CleanText(key)}}, most: persistence.DefaultPage,
	}, (*recordDocument).record)
	persistence.ByCourier(found, func(r *event.Record) string { return r.Courier })
	return found, err
}

// ShipmentsByID implements [persistence.Ledger].
func (l *Ledger) ShipmentsByID(ctx context.Context, id string) ([]shipment.Shipment, error) {
	found, err := list(ctx, l.shipments, query{
		op: "shipments_by_id", filter: bson.D{{Key: "shipmentId", Value: persistence.CleanText(id)}}, most: persistence.DefaultPage,
	}, (*shipmentDocument).shipment)
	persistence.ByCourier(found, func(s *shipment.Shipment) string { return s.Courier })
	return found, err
}

// EndedSequences implements [persistence.Ledger], by the index over the end of rows.
func (l *Ledger) EndedSequences(ctx context.Context, missing loss.Missing) (ended []uint64, err error) {
	type position struct {
		Sequence int64 `bson:"sequence"`
	}
	filter := bson.D{
		{Key: "endedAt", Value: bson.D{{Key: "$gte", Value: dateKey(missing.EndedAfter)}}},
		{Key: "sequence", Value: bson.D{{Key: "$gte", Value: int64(missing.Sequence.First)}, {Key: "$lte", Value: int64(missing.Sequence.Last)}}},
	}
	if before := missing.ReceivedBefore; !before.IsZero() {
		later := bson.D{{Key: "receivedAt", Value: dateKey(before)}, {Key: "receivedAtNanos", Value: bson.D{{Key: "$gt", Value: nanosOf(before)}}}}
		filter = append(filter, bson.E{Key: "receivedAt", Value: bson.D{{Key: "$lte", Value: dateKey(before)}}}, bson.E{Key: "$nor", Value: bson.A{later}})
	}
	err = l.server.do(ctx, "ended_sequences", func(ctx context.Context) error {
		found, err := find[position](ctx, l.records, filter,
			options.Find().SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "sequence", Value: 1}}), int(missing.Sequence.Count()))
		ended = mapList(found, func(p position) uint64 { return uint64(p.Sequence) })
		return err
	})
	return ended, err
}
