package event

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Names of the headers that carry an [Envelope], beside the broker's own header
// for the message id. All of them are the appliance's: a header of the courier's
// request is never copied, because some names are commands to the broker.
const (
	headerCourier    = "Gw-Courier"
	headerEventID    = "Gw-Event-Id"
	headerKey        = "Gw-Key"
	headerTraceID    = "Gw-Trace-Id"
	headerReceivedAt = "Gw-Received-At"
	headerScheme     = "Gw-Scheme"
	headerKeyID      = "Gw-Key-Id"
	headerReplay     = "Gw-Replay"
	headerStamp      = "Gw-Stamp"
)

// maxMsgIDBytes is the longest message id that is sent as it is; a longer one is
// hashed, because the broker keeps every id of its window in memory.
const maxMsgIDBytes = 128

// Envelope is an accepted event on its way through the queue: the courier's raw
// bytes, and what the appliance knows about them.
type Envelope struct {
	Courier    string
	EventID    string
	Key        string
	TraceID    string
	ReceivedAt time.Time // to the nanosecond, UTC
	Scheme     string    // signature scheme by which the sender was verified
	KeyID      string    // which of the courier's secrets matched
	Replay     string    // nonce of a replay; empty for a courier's own delivery
	Stamp      string    // hex HMAC over all the other members, see package stamp
	Body       []byte    // untouched
}

// Identity returns the identity of the event inside.
func (e *Envelope) Identity() Identity { return Identity{Courier: e.Courier, Key: e.Key} }

// MsgID returns the id by which the broker recognises duplicates:
// "courier:key", hashed past 128 bytes, and with the nonce of a replay so that
// the replay is not taken for one.
func (e *Envelope) MsgID() string {
	id := e.Courier + ":" + e.Key
	if e.Replay != "" {
		id += "#" + e.Replay
	}
	if len(id) <= maxMsgIDBytes {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Headers calls yield with every header of the envelope but the message id,
// until yield returns false. Empty ones are left out.
func (e *Envelope) Headers(yield func(name, value string) bool) {
	at := ""
	if !e.ReceivedAt.IsZero() {
		at = strconv.FormatInt(e.ReceivedAt.UnixNano(), 10)
	}
	for _, h := range [...][2]string{
		{headerCourier, e.Courier}, {headerEventID, e.EventID}, {headerKey, e.Key},
		{headerTraceID, e.TraceID}, {headerReceivedAt, at}, {headerScheme, e.Scheme},
		{headerKeyID, e.KeyID}, {headerReplay, e.Replay}, {headerStamp, e.Stamp},
	} {
		if h[1] != "" && !yield(h[0], h[1]) {
			return
		}
	}
}

// SetHeaders fills the envelope from headers; get returns the value of one, ""
// when it is absent. It fails when a message carries no envelope of ours.
func (e *Envelope) SetHeaders(get func(name string) string) error {
	e.Courier, e.EventID, e.Key = get(headerCourier), get(headerEventID), get(headerKey)
	e.TraceID, e.Scheme, e.KeyID = get(headerTraceID), get(headerScheme), get(headerKeyID)
	e.Replay, e.Stamp = get(headerReplay), get(headerStamp)
	if !ValidCourier(e.Courier) {
		return fmt.Errorf("header %s is no courier's name", headerCourier)
	}
	if e.Key == "" {
		return errors.New("header " + headerKey + " is missing")
	}
	nanos, err := strconv.ParseInt(get(headerReceivedAt), 10, 64)
	if err != nil {
		return fmt.Errorf("header %s is no time in nanoseconds", headerReceivedAt)
	}
	e.ReceivedAt = time.Unix(0, nanos).UTC()
	return nil
}
