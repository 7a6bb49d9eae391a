package mongo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/fincart/courier-gateway/ingest/event"
)

// mapError maps an error of the driver, the server or ctx to an [event.Error];
// one that has a code keeps it.
func mapError(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*event.Error](err); ok {
		return err
	}
	return &event.Error{Code: errorCode(ctx, err), Op: "mongodb " + op, Err: err}
}

func errorCode(ctx context.Context, err error) event.Code {
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
		// The driver's own errors are about reaching a server: no primary, no
		// free connection, no answer in time, refused credentials, closed.
		return event.DependencyDown
	}
	if server.HasErrorLabel("SystemOverloadedError") {
		return event.Throttled
	}
	if bulk, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		return bulkCode(bulk)
	}
	for _, number := range server.ErrorCodes() {
		if code := commandCode(number); code != event.DependencyDown {
			return code
		}
	}
	return event.DependencyDown
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

// The numbers of MongoDB's error_codes.yml that are acted on. Every other number, known
// or not, is DependencyDown: it is about a node, its replica set, sharding, a quota,
// credentials, a migration, or a rule that an operator has set (a validator, 121; a
// unique index), and says nothing about an event, which therefore waits and spends no
// attempt. A number belongs here only if the server says by it, and by nothing but it,
// that what was asked for is at fault.
var (
	// commandCodes are what a command as a whole can fail with.
	commandCodes = map[int]event.Code{
		50:    event.Timeout,   // MaxTimeMSExpired
		262:   event.Timeout,   // ExceededTimeLimit
		112:   event.Throttled, // WriteConflict, with which a server under load gives up a write
		433:   event.Throttled, // AdmissionQueueOverflow
		449:   event.Throttled, // RateLimitExceeded
		450:   event.Throttled, // PooledConnectionAcquisitionRejected
		462:   event.Throttled, // IngressRequestRateLimitExceeded
		16500: event.Throttled, // Cosmos DB's rate limit
	}
	// rowCodes are what a bulk write reports for a single row, beside commandCodes. As the
	// error of a whole command the same numbers are signs of a damaged database.
	rowCodes = map[int]event.Code{
		10334: event.DomainInvalid, // the row is too large
		17280: event.DomainInvalid, // an index key of it is
		17419: event.DomainInvalid, // it would be after the update
		17420: event.DomainInvalid,
	}
)

// Numbers with a treatment of their own.
const (
	duplicateKey   = 11000 // see [duplicateOf]
	refusedByRule  = 121   // DocumentValidationFailure
	noSuchCommand  = 59
	indexesBadName = 197 // InvalidIndexSpecificationOption
)

// commandCode returns the code of a command's error number.
func commandCode(number int) event.Code {
	if code, ok := commandCodes[number]; ok {
		return code
	}
	return event.DependencyDown
}

// rowCode returns the code of the error number of one row in a bulk write.
func rowCode(number int) event.Code {
	if code, ok := rowCodes[number]; ok {
		return code
	}
	return commandCode(number)
}

// bulkCode returns the code of a bulk write in which rows failed: what concerns the
// store comes before what concerns a row.
func bulkCode(bulk mongo.BulkWriteException) event.Code {
	codes := map[event.Code]bool{}
	for _, e := range bulk.WriteErrors {
		codes[rowCode(e.Code)] = true
	}
	for _, code := range []event.Code{event.DependencyDown, event.Throttled, event.Timeout, event.DomainInvalid} {
		if codes[code] {
			return code
		}
	}
	return event.DependencyDown
}

// duplicate says which unique index a row violates.
type duplicate uint8

const (
	duplicateUnnamed duplicate = iota // the server doesn't say which
	duplicateID                       // that of _id: the row is there already
	duplicateOther                    // one that the appliance has not made
)

// duplicateOf returns which index a row's duplicate key is in, and its name, by the
// member keyPattern of the error or, from a server that sends none, by its message:
//
//	E11000 duplicate key error collection: db.rows index: _id_ dup key: { _id: "a" }
//	E11000 duplicate key error index: db.rows.$_id_ dup key: { : "a" }
func duplicateOf(e mongo.WriteError) (kind duplicate, index string) {
	_, text, found := strings.Cut(e.Message, "index: ")
	index, _, _ = strings.Cut(text, " ")
	if _, name, old := strings.Cut(index, ".$"); old {
		index = name
	}
	if pattern, ok := e.Raw.Lookup("keyPattern").DocumentOK(); ok {
		if elements, err := pattern.Elements(); err == nil && len(elements) == 1 && elements[0].Key() == "_id" {
			return duplicateID, "_id_"
		}
		if index == "" {
			index = pattern.String()
		}
		return duplicateOther, index
	}
	switch {
	case !found || index == "":
		return duplicateUnnamed, ""
	case index == "_id_":
		return duplicateID, index
	default:
		return duplicateOther, index
	}
}

// refusedRow is the error of a row that the server refused for a reason of its own,
// with what to do about it where that is known.
func refusedRow(in, kind, id string, e mongo.WriteError) *event.Error {
	code := rowCode(e.Code)
	advice := "the database refuses it"
	switch e.Code {
	case duplicateKey:
		which := "a unique index"
		if _, index := duplicateOf(e); index != "" {
			which = fmt.Sprintf("the unique index %q", index)
		}
		advice = fmt.Sprintf("%s of collection %s refuses it, which is not the appliance's: drop it (dropIndex) or make it one that is not unique", which, in)
	case refusedByRule:
		advice = fmt.Sprintf("the validator of collection %s refuses it, which is not the appliance's: relax or remove it (collMod)", in)
	}
	return event.Errorf(code, "mongodb commit", "%s %q: %s: %w", kind, id, advice, e)
}

// transient reports whether err says that the server could not be used for a command, so
// that the same one may succeed when it is sent again. The driver's error after it has
// searched for a server in vain, and errors about rows, are not transient.
func transient(err error) bool {
	command, ok := errors.AsType[mongo.CommandError](err)
	if !ok || command.HasErrorLabel("SystemOverloadedError") {
		return false
	}
	return command.HasErrorLabel("NetworkError") || commandCode(int(command.Code)) == event.DependencyDown
}

// serverFailed reports whether err is a command's error with one of these numbers.
func serverFailed(err error, numbers ...int) bool {
	server, ok := errors.AsType[mongo.ServerError](err)
	if !ok {
		return false
	}
	for _, number := range numbers {
		if server.HasErrorCode(number) {
			return true
		}
	}
	return false
}
