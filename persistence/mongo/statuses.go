package mongo

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/persistence"
)

type unmappedDocument struct {
	Courier  string                   `bson:"_id"`
	Version  int64                    `bson:"version"`
	Statuses []unmappedStatusDocument `bson:"statuses"`
}

type unmappedStatusDocument struct {
	Status     string `bson:"status"`
	Events     int64  `bson:"events"`
	FirstSeen  date   `bson:"firstSeen,omitempty"`
	FirstNanos int32  `bson:"firstSeenNanos,omitempty"`
	LastSeen   date   `bson:"lastSeen,omitempty"`
	LastNanos  int32  `bson:"lastSeenNanos,omitempty"`
	Key        string `bson:"idempotencyKey"`
	ShipmentID string `bson:"shipmentId"`
}

// Statuses keeps what couriers say that no mapping knows.
type Statuses struct{ rows *table }

// Unmapped implements [persistence.Statuses].
func (s *Statuses) Unmapped(ctx context.Context) ([]shipment.Unmapped, error) {
	all, err := list(ctx, s.rows, query{op: "unmapped", filter: bson.D{}, order: ascending("_id"), most: persistence.DefaultPage}, (*unmappedDocument).unmapped)
	return slices.DeleteFunc(all, func(u shipment.Unmapped) bool { return len(u.Statuses) == 0 }), err
}

// unmappedRounds is how often a list is read and changed again that another writer has changed.
const unmappedRounds = 10

// ChangeUnmapped implements [persistence.Statuses].
func (s *Statuses) ChangeUnmapped(ctx context.Context, courier string, change func(*shipment.Unmapped)) error {
	return s.rows.server.do(ctx, "change_unmapped", func(ctx context.Context) error {
		for range unmappedRounds {
			before, err := findByID[unmappedDocument](ctx, s.rows, courier)
			if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
			before.Courier = persistence.CleanText(courier)
			changed, err := row(&before, (*unmappedDocument).unmapped)
			if err != nil {
				return err
			}
			change(&changed)
			if stored, err := s.replace(ctx, before, changed); stored || err != nil {
				return err
			}
		}
		return persistence.Conflict("change_unmapped", "statuses of courier", courier, 0)
	})
}

// replace stores a list over the version that was read, and reports false when that is not
// there any more.
func (s *Statuses) replace(ctx context.Context, before unmappedDocument, changed shipment.Unmapped) (stored bool, err error) {
	set := bson.D{{Key: "$set", Value: bson.D{
		{Key: "version", Value: before.Version + 1}, {Key: "statuses", Value: mapList(changed.Statuses, newUnmappedStatusDocument)},
	}}}
	err = s.rows.server.retry(ctx, func(ctx context.Context) error {
		over := bson.D{{Key: "_id", Value: before.Courier}, {Key: "version", Value: before.Version}}
		done, err := s.rows.rows.UpdateOne(ctx, over, set, options.UpdateOne().SetUpsert(before.Version == 0))
		if mongo.IsDuplicateKeyError(err) { // another writer made it
			return nil
		}
		stored = err == nil && done.MatchedCount+done.UpsertedCount > 0
		return err
	})
	return stored, err
}

func newUnmappedStatusDocument(s shipment.UnmappedStatus) unmappedStatusDocument {
	return unmappedStatusDocument{
		Status: persistence.CleanText(s.Status), Events: s.Events, FirstSeen: dateOf(s.FirstSeen), FirstNanos: nanosOf(s.FirstSeen),
		LastSeen: dateOf(s.LastSeen), LastNanos: nanosOf(s.LastSeen), Key: persistence.CleanText(s.Key), ShipmentID: persistence.CleanText(s.ShipmentID),
	}
}

func (d *unmappedDocument) unmapped(t *times) shipment.Unmapped {
	t.document = d.Courier
	return shipment.Unmapped{Courier: d.Courier, Statuses: mapList(d.Statuses, func(s unmappedStatusDocument) shipment.UnmappedStatus {
		return shipment.UnmappedStatus{
			Status: s.Status, Events: s.Events, FirstSeen: t.at(s.FirstSeen, s.FirstNanos), LastSeen: t.at(s.LastSeen, s.LastNanos),
			Key: s.Key, ShipmentID: s.ShipmentID,
		}
	})}
}
