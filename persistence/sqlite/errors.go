package sqlite

import (
	"context"
	"errors"

	"zombiezen.com/go/sqlite"

	"github.com/fincart/courier-gateway/ingest/event"
)

var errClosed = errors.New("the store is closed")

// down is an error of the whole store.
func down(err error) error { return &event.Error{Code: event.DependencyDown, Op: "sqlite", Err: err} }

// mapError maps an error of the driver or of ctx to an [event.Error]; one
// that has a code keeps it.
func mapError(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*event.Error](err); ok {
		return err
	}
	return &event.Error{Code: errorCode(ctx, err), Op: "sqlite " + op, Err: err}
}

func errorCode(ctx context.Context, err error) event.Code {
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return event.Interrupted
		}
		return event.DependencyDown
	}
	if errors.Is(err, errClosed) || isFault(err) {
		return event.DependencyDown
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultCantOpen, sqlite.ResultReadOnly,
		sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultProtocol, sqlite.ResultNoMem,
		sqlite.ResultPerm, sqlite.ResultAuth, sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultNoLFS,
		sqlite.ResultConstraint, // a unique index or trigger that an operator has added to the file
		sqlite.ResultInterrupt:  // by Close
		return event.DependencyDown
	case sqlite.ResultTooBig, sqlite.ResultMismatch:
		return event.DomainInvalid
	default:
		return event.Internal
	}
}
