package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// ConsumerState is what the server keeps of a consumer in its o.dat
// (nats-server v2.15.2, server/store.go encodeConsumerState):
//
//	byte 22, byte 2          magic and version
//	uvarint x 4              ack floor (consumer, stream), delivered (consumer, stream)
//	uvarint n                pending deliveries; when n > 0:
//	  varint                 base time, Unix seconds
//	  n x uvarint, uvarint   sequence less the ack floor's: stream, consumer
//	      varint             base less the time from which its wait counts, seconds
//	uvarint n                redelivered messages
//	  n x uvarint, uvarint   stream sequence less the ack floor's, redeliveries
//
// There is no checksum, so what decodes may still be wrong; what does not is
// damaged for certain.
type ConsumerState struct {
	AckFloor, Delivered Sequences
	Pending             []PendingDelivery
}

// Sequences are positions in a consumer's own count and in its stream.
type Sequences struct{ Consumer, Stream uint64 }

// PendingDelivery is one that nothing has settled.
type PendingDelivery struct {
	Sequences
	Since time.Time // when its acknowledgement wait began, in whole seconds
}

const (
	stateMagic   = 22
	stateVersion = 2
)

var errState = errors.New("it can't be decoded")

// ReadConsumerState reads the state in a file; ok is false when there is no file or
// nothing but zeros in it, written is when the server wrote it.
func ReadConsumerState(path string) (s ConsumerState, written time.Time, ok bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, written, false, nil
	}
	if err != nil {
		return s, written, false, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return s, written, false, err
	}
	if s, err = decodeState(content); err != nil {
		return s, written, true, fmt.Errorf("%w: %w", errState, err)
	}
	return s, info.ModTime(), true, nil
}

// decodeState decodes more strictly than the server does: every number has
// to be possible, and nothing may follow. The server allocates as many entries
// as the file has, without a check that its bytes can hold them.
func decodeState(b []byte) (s ConsumerState, err error) {
	if len(b) < 2 || b[0] != stateMagic || b[1] != stateVersion {
		return s, errors.New("no magic of a consumer's state")
	}
	r := varints{rest: b[2:]}
	s.AckFloor.Consumer, s.AckFloor.Stream = r.unsigned(), r.unsigned()
	s.Delivered.Consumer, s.Delivered.Stream = r.unsigned(), r.unsigned()
	if s.AckFloor.Stream > s.Delivered.Stream || s.Delivered.Stream>>63 != 0 {
		return s, fmt.Errorf("the ack floor is %d, and %d is delivered", s.AckFloor.Stream, s.Delivered.Stream)
	}
	n := r.count(3)
	base := int64(0)
	if n > 0 {
		base = r.signed()
	}
	for range n {
		var p PendingDelivery
		p.Stream = s.AckFloor.Stream + r.unsigned()
		p.Consumer = s.AckFloor.Consumer + r.unsigned()
		p.Since = time.Unix(base-r.signed(), 0)
		if p.Stream <= s.AckFloor.Stream || p.Stream > s.Delivered.Stream {
			return s, fmt.Errorf("sequence %d is pending outside of %d to %d", p.Stream, s.AckFloor.Stream, s.Delivered.Stream)
		}
		s.Pending = append(s.Pending, p)
	}
	for range r.count(2) {
		r.unsigned()
		r.unsigned()
	}
	if r.short || len(r.rest) > 0 {
		return s, errors.New("its length is wrong")
	}
	return s, nil
}

// varints reads numbers of variable length, zeros after the end.
type varints struct {
	rest  []byte
	short bool // the end came too early
}

func (r *varints) unsigned() uint64 {
	v, n := binary.Uvarint(r.rest)
	return advance(r, v, n)
}

func (r *varints) signed() int64 {
	v, n := binary.Varint(r.rest)
	return advance(r, v, n)
}

// count reads a number of entries of at least size bytes each.
func (r *varints) count(size int) int {
	n := r.unsigned()
	if n > uint64(len(r.rest)/size) {
		r.short = true
		return 0
	}
	return int(n)
}

func advance[T any](r *varints, v T, n int) (none T) {
	if n <= 0 {
		r.rest, r.short = nil, true
		return none
	}
	r.rest = r.rest[n:]
	return v
}
