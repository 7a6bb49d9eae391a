package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"sync"
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
	Scheme     string    // signature scheme that proved the sender
	KeyID      string    // which of the courier's secrets matched
	Replay     string    // nonce of a replay; empty for a courier's own delivery
	Stamp      string    // hex HMAC, see [Stamper]
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

// Stamper signs envelopes at intake and verifies them at the worker, so that
// access to the broker is not enough to add an event that no courier sent. It is safe for concurrent use.
type Stamper struct {
	// keys in order of preference: the first signs, all of them verify.
	keys []*sync.Pool // of *stamping
}

// stamping is what one computation of a stamp needs, pooled with its key.
type stamping struct {
	mac hash.Hash
	buf []byte
}

// NewStamper returns a Stamper that signs with the first key and verifies with
// any. A key has at least 16 bytes.
func NewStamper(keys ...[]byte) (*Stamper, error) {
	if len(keys) == 0 {
		return nil, errors.New("a stamp needs at least one key")
	}
	s := &Stamper{}
	for i, key := range keys {
		if len(key) < 16 {
			return nil, fmt.Errorf("stamp key %d has %d bytes, needs at least 16", i+1, len(key))
		}
		s.keys = append(s.keys, &sync.Pool{New: func() any { return &stamping{mac: hmac.New(sha256.New, key)} }})
	}
	return s, nil
}

// Stamp signs e with the first key.
func (s *Stamper) Stamp(e *Envelope) {
	e.Stamp = string(s.AppendStamp(nil, e))
}

// AppendStamp appends to dst what [Stamper.Stamp] sets e.Stamp to, for callers
// that keep a buffer for it. Apart from growing dst it does not allocate.
func (s *Stamper) AppendStamp(dst []byte, e *Envelope) []byte {
	st := s.keys[0].Get().(*stamping)
	defer s.keys[0].Put(st)
	return hex.AppendEncode(dst, st.sum(e))
}

// Verify reports whether e carries a stamp by one of the keys. It takes the same
// time whichever byte differs.
func (s *Stamper) Verify(e *Envelope) bool {
	var got [sha256.Size]byte
	if len(e.Stamp) != hex.EncodedLen(sha256.Size) {
		return false
	}
	if _, err := hex.Decode(got[:], []byte(e.Stamp)); err != nil {
		return false
	}
	for _, key := range s.keys {
		st := key.Get().(*stamping)
		same := hmac.Equal(got[:], st.sum(e))
		key.Put(st)
		if same {
			return true
		}
	}
	return false
}

// sum returns the HMAC-SHA256 over every header but the stamp, each with its
// length before it so that no two envelopes share a form, and the body. The
// result is valid until st is used again.
func (st *stamping) sum(e *Envelope) []byte {
	b := st.buf[:0]
	for _, v := range [...]string{e.Courier, e.EventID, e.Key, e.TraceID, e.Scheme, e.KeyID, e.Replay} {
		b = strconv.AppendInt(b, int64(len(v)), 10)
		b = append(b, ':')
		b = append(b, v...)
	}
	b = strconv.AppendInt(b, e.ReceivedAt.UnixNano(), 10)
	b = append(b, ':')
	st.mac.Reset()
	st.mac.Write(b)
	st.mac.Write(e.Body)
	st.buf = st.mac.Sum(b[:0])
	return st.buf
}
