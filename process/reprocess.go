package process

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/process/journey"
)

// History is what the queue still has of the events, processed or not.
type History interface {
	// ReadHistory returns up to limit events in their order, the first at from or after
	// it; none at the end.
	ReadHistory(ctx context.Context, from uint64, limit int) ([]event.Delivery, error)
	// Load returns the event at a sequence; [event.NotFound] when it is gone.
	Load(ctx context.Context, seq uint64) (event.Delivery, error)
	State(ctx context.Context) (event.QueueState, error)
}

// UnmappedStatuses are the lists of [Statuses].
type UnmappedStatuses interface {
	Statuses
	Unmapped(ctx context.Context) ([]shipment.Unmapped, error)
}

// Reprocessor reads events that were processed again, by the mappings that are active now.
//
//	history ──▶ selected? ──▶ does its shipment say what the event says? ── yes ─▶ nothing
//	                                     │ no
//	     all events of that shipment that the queue has ──▶ journey.Rebuild ──▶ commit
//
// A shipment is a function of the set of its events, so it is built from them. What events
// said that the queue has no more stays. Ledger rows keep their outcome; only the shipment
// that they name changes, when an event turns out to be about another one.
//
// It may run while events are processed: a shipment that another writer has changed is read
// and built again. Doing it once more changes nothing.
type Reprocessor struct {
	History  History
	Handler  *Handler // has the store, and reads events
	Statuses UnmappedStatuses
	Log      *slog.Logger
}

const (
	reprocessBatch = 128             // events that are looked up together
	reprocessTime  = 4 * time.Second // for a page
	rebuildRounds  = 10              // how often a shipment is built that others keep changing
)

// Page reads a part of the history, for a few seconds, and says where to go on.
func (p *Reprocessor) Page(ctx context.Context, r reprocess.Request) (reprocess.Page, error) {
	page := reprocess.Page{To: r.To, Changes: []reprocess.Change{}}
	if page.To == 0 {
		state, err := p.History.State(ctx)
		if err != nil {
			return page, err
		}
		page.To = state.LastSeq
	}
	seen := map[shipment.Ref]bool{} // in this page; rebuilt once, with all of its events
	next := max(r.Sequence, 1)
	for end := time.Now().Add(reprocessTime); next <= page.To; {
		if !time.Now().Before(end) {
			page.Next = next
			return page, nil
		}
		batch, err := p.History.ReadHistory(ctx, next, reprocessBatch)
		if err != nil {
			return page, err
		}
		batch = slices.DeleteFunc(batch, func(d event.Delivery) bool { return d.Sequence > page.To })
		if len(batch) == 0 { // the end, or a replica that lags behind: Load asks its leader
			d, err := p.History.Load(ctx, next)
			if event.CodeOf(err) == event.NotFound {
				break
			}
			if err != nil {
				return page, err
			}
			batch = append(batch, d)
		}
		if err := p.batch(ctx, r, batch, seen, &page); err != nil {
			return page, err
		}
		next = batch[len(batch)-1].Sequence + 1
	}
	return page, p.forgetMapped(ctx, r)
}

// reread is an event of the history as it is read now.
type reread struct {
	journey.Report
	record event.Record
}

// batch reprocesses the selected events of a part of the history.
func (p *Reprocessor) batch(ctx context.Context, r reprocess.Request, batch []event.Delivery, seen map[shipment.Ref]bool, page *reprocess.Page) error {
	page.Read += len(batch)
	var selected []reread
	var hashes []string
	for i := range batch {
		d := &batch[i]
		if !worthReading(r, d) || !p.Handler.Stamper.Verify(&d.Envelope) {
			continue
		}
		e, readable := p.read(d)
		if readable && !selects(r, &e.Event) {
			continue
		}
		if page.Selected++; !readable {
			page.Unreadable++
			continue
		}
		selected, hashes = append(selected, reread{Report: e, record: event.Record{Identity: d.Identity()}}), append(hashes, event.BodyHash(d.Body))
	}
	records, err := p.records(ctx, selected)
	if err != nil {
		return err
	}
	byShipment := map[shipment.Ref][]reread{}
	var refs []shipment.Ref
	add := func(ref shipment.Ref, e reread) {
		if _, known := byShipment[ref]; !known {
			refs = append(refs, ref)
		}
		byShipment[ref] = append(byShipment[ref], e)
	}
	for i, e := range selected {
		record, known := records[e.record.Identity]
		if !known || record.Status != event.Processed || record.BodyHash != hashes[i] {
			page.NotApplied++
			continue
		}
		e.record = record
		if record.ShipmentID != e.ShipmentID {
			add(shipment.Ref{Courier: record.Courier, ID: record.ShipmentID}, e)
		}
		add(shipment.Ref{Courier: record.Courier, ID: e.ShipmentID}, e)
	}
	return p.shipments(ctx, refs, byShipment, r.DryRun, seen, page)
}

// worthReading reports whether an event may be selected, by its envelope.
func worthReading(r reprocess.Request, d *event.Delivery) bool {
	return d.Fault == nil && (r.Courier == "" || d.Courier == r.Courier) &&
		(r.Since.IsZero() || !d.ReceivedAt.Before(r.Since)) && (r.Until.IsZero() || d.ReceivedAt.Before(r.Until))
}

// covers reports whether full is status, or status with a detail.
func covers(status, full string) bool {
	n := len(status)
	return n > 0 && len(full) >= n && strings.EqualFold(full[:n], status) && (len(full) == n || full[n] == '/')
}

// selects reports whether an event that is worth reading is selected, by what it says.
func selects(r reprocess.Request, e *event.Event) bool {
	if r.ID != "" && r.ID != e.ShipmentID && r.ID != e.Key && r.ID != e.ID {
		return false
	}
	wanted := strings.TrimSpace(r.Status)
	has := func(status string) bool { return covers(strings.TrimSpace(status), wanted) }
	return wanted == "" || has(e.Status) || slices.ContainsFunc(e.Checkpoints, func(m event.Moment) bool { return has(m.Status) })
}

// read reads an event by the active mapping of its courier.
func (p *Reprocessor) read(d *event.Delivery) (journey.Report, bool) {
	var e event.Event
	if faults := p.Handler.Read(&d.Envelope, &e, nil); len(faults) > 0 {
		return journey.Report{}, false
	}
	return journey.Report{Event: e.Clone(), ReceivedAt: d.ReceivedAt, MaxAhead: p.Handler.MaxAhead(d.Courier)}, true
}

// records returns the ledger rows of events.
func (p *Reprocessor) records(ctx context.Context, events []reread) (map[event.Identity]event.Record, error) {
	ids := map[event.Identity]bool{}
	for _, e := range events {
		ids[e.record.Identity] = true
	}
	return p.rows(ctx, ids)
}

func (p *Reprocessor) rows(ctx context.Context, ids map[event.Identity]bool) (map[event.Identity]event.Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list := make([]event.Identity, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	found, err := p.Handler.Store.Records(ctx, list)
	rows := make(map[event.Identity]event.Record, len(found))
	for _, record := range found {
		rows[record.Identity] = record
	}
	return rows, err
}

// shipments brings shipments to what their events say.
func (p *Reprocessor) shipments(ctx context.Context, refs []shipment.Ref, events map[shipment.Ref][]reread, dry bool, seen map[shipment.Ref]bool, page *reprocess.Page) error {
	if len(refs) == 0 {
		return nil
	}
	found, err := p.Handler.Store.Shipments(ctx, refs)
	if err != nil {
		return err
	}
	known := make(map[shipment.Ref]shipment.Shipment, len(found))
	for _, s := range found {
		known[s.Ref] = s
	}
	leaves := func(ref shipment.Ref) int { // first, so that an interruption is made up for
		if slices.ContainsFunc(events[ref], func(e reread) bool { return e.ShipmentID != ref.ID }) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(refs, func(a, b shipment.Ref) int { return cmp.Compare(leaves(a), leaves(b)) })
	for _, ref := range refs {
		s, exists := known[ref]
		if !exists {
			s = shipment.Shipment{Ref: ref}
		}
		change, err := p.shipment(ctx, s, events[ref], dry, seen)
		if err != nil {
			return err
		}
		if change != nil {
			page.Changes = append(page.Changes, *change)
		}
	}
	return nil
}

// shipment brings one shipment to what its events say, those that are given and those
// that the queue has of the others. It returns nil when that changes nothing.
func (p *Reprocessor) shipment(ctx context.Context, s shipment.Shipment, selected []reread, dry bool, seen map[shipment.Ref]bool) (*reprocess.Change, error) {
	for range rebuildRounds {
		if p.reflects(s, selected) || dry && seen[s.Ref] {
			return nil, nil
		}
		rebuilt, records, events, err := p.rebuild(ctx, s, selected)
		if err != nil {
			return nil, err
		}
		seen[s.Ref] = true
		moved := len(records) > 0
		if !moved && !journey.Changed(s, rebuilt) {
			return nil, nil
		}
		change := &reprocess.Change{Ref: s.Ref, Before: reprocess.OutcomeOf(s), After: reprocess.OutcomeOf(rebuilt), Events: events}
		if dry {
			return change, nil
		}
		errs, err := p.Handler.Store.Commit(ctx, []event.Change{{Shipment: &rebuilt, Records: records}})
		if err == nil {
			err = errs[0]
		}
		switch {
		case err == nil:
			p.Log.Info("shipment changed by reprocessing", "courier", s.Courier, "shipment", s.ID,
				"from", string(s.State), "to", string(rebuilt.State), "events", events)
			return change, nil
		case event.CodeOf(err) != event.VersionConflict:
			return nil, err
		}
		if s, selected, err = p.readAgain(ctx, s.Ref, selected); err != nil {
			return nil, err
		}
	}
	return nil, event.Errorf(event.VersionConflict, "reprocess", "shipment %s changes all the time: reprocess again", s.Ref)
}

// reflects reports whether a shipment says what the events say, or no longer what events
// of another one said.
func (p *Reprocessor) reflects(s shipment.Shipment, events []reread) bool {
	return !slices.ContainsFunc(events, func(e reread) bool {
		if e.ShipmentID != s.ID {
			return slices.ContainsFunc(s.History, func(c shipment.Checkpoint) bool { return c.Key == e.Key })
		}
		return e.record.ShipmentID != s.ID || !journey.Reflects(s, e.Report)
	})
}

// readAgain reads a shipment and ledger rows that another writer has changed.
func (p *Reprocessor) readAgain(ctx context.Context, ref shipment.Ref, events []reread) (shipment.Shipment, []reread, error) {
	s := shipment.Shipment{Ref: ref}
	found, err := p.Handler.Store.Shipments(ctx, []shipment.Ref{ref})
	if err != nil {
		return s, nil, err
	}
	if len(found) > 0 {
		s = found[0]
	}
	rows, err := p.records(ctx, events)
	events = slices.Clone(events)
	for i := range events {
		events[i].record = rows[events[i].record.Identity]
	}
	return s, events, err
}

// rebuild builds a shipment of the selected events and of those in its history that the
// queue still has. It returns the ledger rows of events that come from another shipment,
// and how many events were read.
func (p *Reprocessor) rebuild(ctx context.Context, s shipment.Shipment, selected []reread) (rebuilt shipment.Shipment, moved []event.Record, events int, err error) {
	keys := map[string]bool{}
	var reports []journey.Report
	for _, e := range selected {
		if keys[e.Key] {
			continue // a copy of one
		}
		keys[e.Key] = true
		if e.ShipmentID != s.ID {
			continue
		}
		reports = append(reports, e.Report)
		if e.record.ShipmentID != s.ID {
			e.record.ShipmentID = s.ID
			moved = append(moved, e.record)
		}
	}
	others := map[event.Identity]bool{}
	for _, key := range journey.Keys(s.History) {
		if !keys[key] {
			others[event.Identity{Courier: s.Courier, Key: key}] = true
		}
	}
	rows, err := p.rows(ctx, others)
	if err != nil {
		return s, nil, 0, err
	}
	for id, row := range rows {
		report, found, err := p.load(ctx, row)
		if err != nil {
			return s, nil, 0, err
		}
		if found && report.ShipmentID == s.ID {
			keys[id.Key] = true
			reports = append(reports, report)
		}
	}
	return journey.Rebuild(s, keys, reports, p.Handler.Now()), moved, len(reports), nil
}

// load reads the event of a ledger row again, if the queue has it and it can be read.
func (p *Reprocessor) load(ctx context.Context, row event.Record) (report journey.Report, found bool, err error) {
	d, err := p.History.Load(ctx, row.Sequence)
	switch {
	case event.CodeOf(err) == event.NotFound:
		return report, false, nil
	case err != nil:
		return report, false, err
	}
	if d.Fault == nil && d.Identity() == row.Identity && event.BodyHash(d.Body) == row.BodyHash && p.Handler.Stamper.Verify(&d.Envelope) {
		report, found = p.read(&d)
	}
	return report, found, nil
}

// mapped reports whether a status is mapped where an event has it: the lists don't say
// whether that was a scan.
func (p *Reprocessor) mapped(courier, status string) bool {
	return p.Handler.Mapped(courier, status, false) || p.Handler.Mapped(courier, status, true)
}

// forgetMapped takes statuses that are mapped by now off the lists, once every event that
// had them was read again.
func (p *Reprocessor) forgetMapped(ctx context.Context, r reprocess.Request) error {
	if r.DryRun || r.ID != "" || !r.Since.IsZero() || !r.Until.IsZero() {
		return nil
	}
	lists, err := p.Statuses.Unmapped(ctx)
	for _, u := range lists {
		done := func(s shipment.UnmappedStatus) bool {
			return s.Status != "" && (r.Status == "" || covers(strings.TrimSpace(r.Status), s.Status)) && p.mapped(u.Courier, s.Status)
		}
		if r.Courier != "" && u.Courier != r.Courier || !slices.ContainsFunc(u.Statuses, done) {
			continue
		}
		if err = p.Statuses.ChangeUnmapped(ctx, u.Courier, func(u *shipment.Unmapped) { u.Statuses = slices.DeleteFunc(u.Statuses, done) }); err != nil {
			break
		}
	}
	return err
}
