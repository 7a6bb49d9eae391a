package persistence

import (
	"cmp"
	"slices"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// MaxRowBytes is the most that the variable parts of one row may take in
// encoded form: a dead letter's body, a shipment's history, a captured request. A
// larger row is refused as [event.DomainInvalid]. It is what MongoDB can hold in a
// document, less a margin, and every store keeps to it.
const MaxRowBytes = 15 << 20

// DefaultPage is the size of a listing whose filter names none.
const DefaultPage = 100

// PageSize returns how many rows a listing has at most, for the limit of its filter.
func PageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return limit
}

// Conflict is the error of a row that is not at the version it was given with.
func Conflict(op, table, id string, given int64) *event.Error {
	return event.Errorf(event.VersionConflict, op,
		"%s %q is not at version %d any more: read it again and decide again", table, id, given)
}

// TooLarge is the error of a row that no store takes.
func TooLarge(op, table, id string, bytes int) *event.Error {
	return event.Errorf(event.DomainInvalid, op,
		"%s %q takes %d bytes, a row may take %d", table, id, bytes, MaxRowBytes)
}

// NoDeadLetter is the error of a dead letter that does not exist.
func NoDeadLetter(op, id string) *event.Error {
	return event.Errorf(event.NotFound, op, "no dead letter has the id %q: it may have expired, or the id is mistyped", id)
}

// NoIngestion is the error of an ingestion record that does not exist.
func NoIngestion(op, id string) *event.Error {
	return event.Errorf(event.NotFound, op, "no ingestion record has the id %q: it may have expired or been deleted for newer ones, or the id is mistyped", id)
}

// CheckReview refuses a status that is not in the list of review statuses.
func CheckReview(op string, status event.ReviewStatus) error {
	if slices.Contains(event.ReviewStatuses, status) {
		return nil
	}
	return event.Errorf(event.DomainInvalid, op, "%q is no review status, use one of %q", status, event.ReviewStatuses)
}

// CheckAccepted refuses a time that would leave a record unaccepted.
func CheckAccepted(op string, at time.Time) error {
	if at.IsZero() {
		return event.Errorf(event.DomainInvalid, op, "no time is given")
	}
	return nil
}

// ReviewStatus returns a letter's status, pending for one that has none.
func ReviewStatus(d *event.DeadLetter) event.ReviewStatus {
	if d.ReviewStatus == "" {
		return event.ReviewPending
	}
	return d.ReviewStatus
}

// EmptyCounts returns the figures of an empty store.
func EmptyCounts() event.StoreCounts {
	return event.StoreCounts{
		Records: map[event.Status]int64{}, DeadLetters: map[event.ReviewStatus]int64{}, Ingestions: map[string]int64{},
	}
}

// ByCourier sorts rows of one key or id by their courier. There are as many as couriers that
// share it, few, so that no index has to have them in order.
func ByCourier[R any](rows []R, courier func(*R) string) {
	slices.SortFunc(rows, func(a, b R) int { return cmp.Compare(courier(&a), courier(&b)) })
}
