// Package stamp signs envelopes with the appliance's own key, so that access to a shared
// broker is not enough to add an event that no courier sent.
//
// The intake stamps each envelope before it is published; workers, replays and the
// reconciler verify the stamp before they trust a header. It is an HMAC-SHA256 over
//
//	len ":" courier  len ":" event id  len ":" key  len ":" trace id
//	len ":" scheme   len ":" key id    len ":" replay nonce
//	received at (Unix nanoseconds) ":"  body
//
// with the lengths and the time in decimal digits. Every layer may use the package; it
// does no I/O and imports package event and the standard library only.
package stamp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"sync"

	"github.com/fincart/courier-gateway/ingest/event"
)

// Stamper signs envelopes and verifies them. It is safe for concurrent use.
type Stamper struct {
	// keys in order of preference: the first signs, all of them verify.
	keys []*sync.Pool // of *stamping
}

// stamping is what one computation of a stamp needs, pooled with its key.
type stamping struct {
	mac hash.Hash
	buf []byte
}

// New returns a Stamper that signs with the first key and verifies with
// any. A key has at least 16 bytes.
func New(keys ...[]byte) (*Stamper, error) {
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
func (s *Stamper) Stamp(e *event.Envelope) {
	e.Stamp = string(s.AppendStamp(nil, e))
}

// AppendStamp appends to dst what [Stamper.Stamp] sets e.Stamp to, for callers
// that keep a buffer for it. Apart from growing dst it does not allocate.
func (s *Stamper) AppendStamp(dst []byte, e *event.Envelope) []byte {
	st := s.keys[0].Get().(*stamping)
	defer s.keys[0].Put(st)
	return hex.AppendEncode(dst, st.sum(e))
}

// Verify reports whether e carries a stamp by one of the keys. It takes the same
// time whichever byte differs.
func (s *Stamper) Verify(e *event.Envelope) bool {
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
func (st *stamping) sum(e *event.Envelope) []byte {
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
