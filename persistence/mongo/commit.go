package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Commit implements [persistence.Ledger] without transactions, which a single server does
// not have, in at most six round trips, and up to three more when rows were lost; rows of
// more than a command holds, [maxBulkBytes], need a round trip for each such part:
//
//  1. reserve the ledger rows: a new one is inserted as "processing", of an existing one
//     only the version is raised. The commit that raises the version owns the row.
//  2. write the shipments over the versions they were read at.
//  3. insert the dead letters that do not exist yet.
//  4. finish the ledger rows as they were given, over the versions of step 1.
//
// (1 and 2 are two round trips each, inserts and updates.) A change that loses a row is
// left out of the steps that follow and reported as a conflict; a change with a row that
// the server refuses by an operator's rule is reported as DependencyDown. A change of one
// ledger row and nothing else is whole by itself, and finished by step 1.
//
// A crash, a lost answer or a conflict in between leaves a prefix of these steps. Reading
// again and applying the same events again completes it:
//
//   - After 1 the rows have no outcome and can be reserved again. A new row holds its
//     body's hash already, so that another body with the same key can't replace it.
//   - After 2 the shipments' histories hold the events. The rules of package process find
//     them there by their keys, and applying them a second time has no effect.
//   - After 3 the letters exist, and are not inserted again.
//   - In 4 each row is finished or as after 1.
//
// So no event ends without its effects, and none has them twice.
func (l *Ledger) Commit(ctx context.Context, changes []event.Change) ([]error, error) {
	c := commit{ledger: l, id: bson.NewObjectID(), outcomes: make([]error, len(changes))}
	err := l.server.do(ctx, "commit", func(ctx context.Context) error {
		if err := c.plan(changes); err != nil {
			return err
		}
		return c.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	l.server.metrics.Committed(c.outcomes)
	return c.outcomes, nil
}

// commit is one commit under way.
type commit struct {
	ledger   *Ledger
	id       bson.ObjectID // in every row written: a row without it is another commit's
	outcomes []error       // by change
	steps    steps
}

// steps are the writes of each step, see [Ledger.Commit].
type steps struct{ reserved, shipments, letters, finals []write }

// letterKind is the kind of a write that inserts a dead letter.
const letterKind = "dead letter"

// write is one row to write.
type write struct {
	change int    // the index of the change it belongs to
	kind   string // for messages
	id     string
	given  int64    // the version that the caller gave
	at     int64    // the version to write over, 0 to insert
	row    bson.Raw // the row to be; nil to raise its version only
}

// plan encodes the changes into writes. It refuses a change with a row that is
// too large, or that the commit has already.
func (c *commit) plan(changes []event.Change) error {
	seen := map[string]bool{}
	for i := range changes {
		more, err := c.encode(i, &changes[i])
		if err != nil {
			return err
		}
		if refused := more.check(seen); refused != nil {
			c.outcomes[i] = refused
			continue
		}
		c.steps.reserved = append(c.steps.reserved, more.reserved...)
		c.steps.shipments = append(c.steps.shipments, more.shipments...)
		c.steps.letters = append(c.steps.letters, more.letters...)
		c.steps.finals = append(c.steps.finals, more.finals...)
	}
	return nil
}

// encode returns the writes of one change.
func (c *commit) encode(i int, change *event.Change) (s steps, err error) {
	var faults []error
	raw := func(document any) bson.Raw {
		b, err := bson.Marshal(document)
		faults = append(faults, err)
		return b
	}
	if p := change.Shipment; p != nil {
		doc := newShipmentDocument(p, c.id)
		s.shipments = append(s.shipments, write{change: i, kind: "shipment", id: doc.ID, given: p.Version, at: p.Version, row: raw(doc)})
	}
	for j := range change.DeadLetters {
		doc := newLetterDocument(&change.DeadLetters[j])
		s.letters = append(s.letters, write{change: i, kind: letterKind, id: doc.ID, row: raw(doc)})
	}
	single := change.Shipment == nil && len(change.Records) == 1 && len(change.DeadLetters) == 0
	for j := range change.Records {
		r := &change.Records[j]
		doc := newRecordDocument(r, c.id)
		final := write{change: i, kind: "event", id: doc.ID, given: r.Version, at: r.Version, row: raw(doc)}
		if single {
			s.reserved = append(s.reserved, final)
			break
		}
		reserve := final
		if reserve.row = nil; r.Version == 0 {
			reserve.row = raw(doc.inProcess())
		}
		final.at++
		s.reserved, s.finals = append(s.reserved, reserve), append(s.finals, final)
	}
	return s, errors.Join(faults...)
}

// check refuses what can't be stored, and rows that are in seen, to which it adds
// the others.
func (s *steps) check(seen map[string]bool) *event.Error {
	for _, w := range slices.Concat(s.reserved, s.shipments, s.letters, s.finals) {
		if len(w.row) > persistence.MaxRowBytes {
			return persistence.TooLarge("mongodb commit", w.kind, w.id, len(w.row))
		}
	}
	rows := slices.Concat(s.reserved, s.shipments)
	for i, w := range rows {
		if seen[w.kind+w.id] || slices.ContainsFunc(rows[:i], func(v write) bool { return v.kind == w.kind && v.id == w.id }) {
			return persistence.Conflict("mongodb commit", w.kind, w.id, w.given)
		}
	}
	for _, w := range rows {
		seen[w.kind+w.id] = true
	}
	return nil
}

// run takes the steps.
func (c *commit) run(ctx context.Context) error {
	if err := c.write(ctx, c.ledger.records, c.steps.reserved); err != nil {
		return fmt.Errorf("reserve events: %w", err)
	}
	if err := c.write(ctx, c.ledger.shipments, c.steps.shipments); err != nil {
		return fmt.Errorf("write shipments: %w", err)
	}
	if err := c.write(ctx, c.ledger.letters, c.steps.letters); err != nil {
		return fmt.Errorf("insert dead letters: %w", err)
	}
	if err := c.write(ctx, c.ledger.records, c.steps.finals); err != nil {
		return fmt.Errorf("finish events: %w", err)
	}
	return nil
}

// write writes the rows of changes that are not refused yet, and refuses the
// changes whose rows are lost.
func (c *commit) write(ctx context.Context, to *table, writes []write) error {
	var inserts, updates []write
	for _, w := range writes {
		switch {
		case c.outcomes[w.change] != nil:
		case w.at == 0:
			inserts = append(inserts, w)
		default:
			updates = append(updates, w)
		}
	}
	for _, piece := range c.pieces(inserts) {
		if err := c.insert(ctx, to, piece); err != nil {
			return err
		}
	}
	for _, piece := range c.pieces(updates) {
		if err := c.update(ctx, to, piece); err != nil {
			return err
		}
	}
	return nil
}

// pieces cuts the writes of one bulk into those of a command each.
func (c *commit) pieces(writes []write) [][]write {
	return pieces(writes, c.ledger.server.limits(), func(w write) string { return w.id }, func(w write) int { return len(w.row) })
}

func (c *commit) insert(ctx context.Context, to *table, writes []write) error {
	rows := mapList(writes, func(w write) bson.Raw { return w.row })
	err := to.insertRows(ctx, rows)
	if err == nil {
		return nil
	}
	present, failed, err := to.classifyErrors(ctx, func(i int) string { return writes[i].id }, err)
	if err != nil {
		return err
	}
	for _, i := range present {
		if w := writes[i]; w.kind != letterKind { // a letter that exists is left as it is
			c.refuse(w, persistence.Conflict("mongodb commit", w.kind, w.id, w.given))
		}
	}
	return c.refuseFailed(to, writes, failed)
}

func (c *commit) update(ctx context.Context, to *table, writes []write) error {
	models := make([]mongo.WriteModel, len(writes))
	for i, w := range writes {
		over := bson.D{{Key: "_id", Value: w.id}, {Key: "version", Value: w.at}}
		if w.row != nil {
			models[i] = mongo.NewReplaceOneModel().SetFilter(over).SetReplacement(w.row)
			continue
		}
		raise := bson.D{{Key: "version", Value: w.at + 1}, {Key: "commit", Value: c.id}}
		models[i] = mongo.NewUpdateOneModel().SetFilter(over).SetUpdate(bson.D{{Key: "$set", Value: raise}})
	}
	trip, cancel := c.ledger.server.withTimeout(ctx)
	defer cancel()
	result, err := to.rows.BulkWrite(trip, models, options.BulkWrite().SetOrdered(false))
	bulk, isBulk := errors.AsType[mongo.BulkWriteException](err)
	if err != nil && (!isBulk || bulk.WriteConcernError != nil) {
		return err
	}
	if err := c.refuseFailed(to, writes, bulk.WriteErrors); err != nil {
		return err
	}
	if int(result.MatchedCount)+len(bulk.WriteErrors) == len(writes) {
		return nil
	}
	return c.findLost(ctx, to, writes)
}

// refuseFailed refuses the changes of those rows that the server refused. A row for which
// it ran out of time, or asked for fewer requests, says nothing about its change: that is
// the error of the whole.
func (c *commit) refuseFailed(in *table, writes []write, failed []mongo.BulkWriteError) error {
	whole := slices.DeleteFunc(slices.Clone(failed), func(e mongo.BulkWriteError) bool {
		code := rowCode(e.Code)
		return code != event.Timeout && code != event.Throttled
	})
	if len(whole) > 0 {
		return mongo.BulkWriteException{WriteErrors: whole}
	}
	for _, e := range failed {
		w := writes[e.Index]
		c.refuse(w, refusedRow(in.name(), w.kind, w.id, e.WriteError))
	}
	return nil
}

// refuse sets the outcome of a write's change, unless it has one.
func (c *commit) refuse(w write, err *event.Error) {
	if c.outcomes[w.change] == nil {
		c.outcomes[w.change] = err
	}
}

// findLost refuses the changes of those updates that found their row at another
// version: an update's answer says only how many did.
func (c *commit) findLost(ctx context.Context, in *table, writes []write) error {
	ids := mapList(writes, func(w write) string { return w.id })
	ours, err := in.existing(ctx, ids, bson.E{Key: "commit", Value: c.id})
	if err != nil {
		return err
	}
	for _, w := range writes {
		if !ours[w.id] {
			c.refuse(w, persistence.Conflict("mongodb commit", w.kind, w.id, w.given))
		}
	}
	return nil
}
