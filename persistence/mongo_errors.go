package persistence

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/fincart/courier-gateway/ingest/event"
)

// mongoError maps an error of the driver, the server or ctx to an [event.Error];
// one that has a code keeps it.
func mongoError(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*event.Error](err); ok {
		return err
	}
	return &event.Error{Code: mongoCode(ctx, err), Op: "mongodb " + op, Err: err}
}

func mongoCode(ctx context.Context, err error) event.Code {
	if errors.Is(ctx.Err(), context.Canceled) {
		return event.Interrupted
	}
	if _, ok := errors.AsType[mongo.MarshalError](err); ok {
		return event.Internal
	}
	if unconfirmed(err) {
		return event.DependencyDown
	}
	server, ok := errors.AsType[mongo.ServerError](err)
	if !ok || server.HasErrorLabel("NetworkError") {
		// The driver's own complaints are about reaching a server: no primary, no
		// free connection, no answer in time, refused credentials, closed.
		return event.DependencyDown
	}
	if server.HasErrorLabel("SystemOverloadedError") {
		return event.Throttled
	}
	for _, number := range server.ErrorCodes() {
		if code := serverCode(number); code != event.Internal {
			return code
		}
	}
	return event.Internal
}

// unconfirmed reports whether err says that a write has not reached the majority,
// or not the journal. Whatever number the server gives for it (that of a time-out,
// when it waited until the driver would wait no longer), it is about the servers
// and not about what was written.
func unconfirmed(err error) bool {
	if e, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		return e.WriteConcernError != nil
	}
	if e, ok := errors.AsType[mongo.WriteException](err); ok {
		return e.WriteConcernError != nil
	}
	_, ok := errors.AsType[mongo.WriteConcernError](err)
	return ok
}

// serverCodes groups the numbers in MongoDB's error_codes.yml that say more than
// that something went wrong.
var serverCodes = map[event.Code][]int{
	event.DependencyDown: {
		6, 7, 89, 9001, // unreachable from the server that was asked
		13, 18, // refused credentials: nothing to do with the event
		64, 79, 91, 100, // write concern not met, shutting down
		133, 189, 10058, 10107, 11600, 11602, 13435, 13436, // no primary
		14031, // disk full
	},
	event.Timeout:       {50, 262},
	event.Throttled:     {112, 462, 16500},
	event.DomainInvalid: {121, 10334, 17280, 17419, 17420}, // refused by a validator, too large
	// 11000 is a duplicate key: somebody else made the row.
	event.VersionConflict: {11000},
}

// unlessThere takes out of a bulk write's error what it says of documents that
// were there already, which would hide what else went wrong.
func unlessThere(err error) error {
	bulk, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok {
		return err
	}
	bulk.WriteErrors = slices.DeleteFunc(slices.Clone(bulk.WriteErrors), func(e mongo.BulkWriteError) bool {
		return serverCode(e.Code) == event.VersionConflict
	})
	if len(bulk.WriteErrors) == 0 && bulk.WriteConcernError == nil {
		return nil
	}
	return bulk
}

func serverCode(number int) event.Code {
	for code, numbers := range serverCodes {
		if slices.Contains(numbers, number) {
			return code
		}
	}
	return event.Internal
}
