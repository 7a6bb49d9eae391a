package process

import (
	"context"
	"errors"
	"slices"

	"github.com/fincart/courier-gateway/ingest/event"
)

// class says what to do about a failure.
type class uint8

// The classes of failure. The zero value is transient, because a failure without a
// class may pass.
const (
	transient class = iota // try again, an attempt is spent
	permanent              // trying again can't help
	down                   // wait for the dependency, no attempt is spent
)

// classOf returns how a failure with this code is treated.
func classOf(code event.Code) class {
	switch code {
	case event.Forged, event.Malformed, event.DomainInvalid, event.AttemptsExhausted, event.InvalidPayload:
		return permanent
	case event.DependencyDown:
		return down
	default:
		return transient
	}
}

// isDown reports whether err says that a dependency can't be used at all.
func isDown(err error) bool { return classOf(event.CodeOf(err)) == down }

// anyDown returns the first of a commit's outcomes that says that the store takes no
// such change at present, nil when there is none.
func anyDown(errs []error) error {
	if i := slices.IndexFunc(errs, isDown); i >= 0 {
		return errs[i]
	}
	return nil
}

// commitTooLarge reports whether err may be due to the number of changes in a commit
// rather than to one of them.
func commitTooLarge(err error, changes int) bool {
	return changes > 1 && event.CodeOf(err) == event.Timeout
}

// throttled reports whether err is due to a store that asks for less.
func throttled(err error) bool {
	for err != nil {
		e, ok := errors.AsType[*event.Error](err)
		if !ok {
			return false
		}
		if e.Code == event.Throttled {
			return true
		}
		err = e.Err
	}
	return false
}

// storeError distinguishes a store that is down from a call that merely failed: a call
// that timed out while the store does not answer a ping says nothing about the events
// it was made for. It returns err, or an error with [event.DependencyDown].
func storeError(ctx context.Context, store Store, err error) error {
	if err == nil || classOf(event.CodeOf(err)) != transient {
		return err
	}
	if ctx.Err() != nil {
		return &event.Error{Code: event.DependencyDown, Op: "process a batch", Err: err}
	}
	if ping := store.Ping(ctx); ping != nil {
		return &event.Error{Code: event.DependencyDown, Op: "process a batch", Err: errors.Join(err, ping)}
	}
	return err
}

// batchError is [storeError] for a call without which nothing can be said about any
// event of the batch. A store that asks for less counts as down, so that the worker
// waits; whether one of the events is behind any other failure, the worker finds out
// by [Worker.bisect].
func batchError(ctx context.Context, store Store, err error) error {
	if err = storeError(ctx, store, err); event.CodeOf(err) == event.Throttled {
		err = &event.Error{Code: event.DependencyDown, Op: "process a batch", Err: err}
	}
	return err
}

// storeWorks reports whether the store takes a write: one that changes nothing,
// because no row is at its version. A ping would say less. A primary that has lost
// the others still answers it, and in an outage events would spend their attempts.
func storeWorks(ctx context.Context, store Store) bool {
	nothing := event.Record{Status: event.Failed, Version: 1 << 62}
	err := commitOne(ctx, store, event.Change{Records: []event.Record{nothing}})
	return event.CodeOf(err) == event.VersionConflict
}

// commitOne commits one change and folds both kinds of error into one.
func commitOne(ctx context.Context, store Store, c event.Change) error {
	errs, err := store.Commit(ctx, []event.Change{c})
	if err != nil {
		return err
	}
	return errs[0]
}

// reason is the text kept with a failure: what went wrong, without the layers.
func reason(err error) string {
	if e, ok := errors.AsType[*event.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}
