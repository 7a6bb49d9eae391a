// Package body reads the bodies of requests into memory that is bounded over all of them.
// In come the stream of a body and whose it is, out comes as much of it as the caller asks
// for. The intake calls it, before anything of a request is verified.
//
// Bodies are read here and not by fasthttp, which allocates a whole body as soon as its
// length is declared: senders of a few bytes each would cost gigabytes. Here the memory
// grows with what has come, after the checks that need no body.
//
// With StreamRequestBody, fasthttp makes a stream of every body that has a length or
// comes in chunks (IsBodyStream does not say that something is missing). It calls the
// handler with the first 8 KiB of a body that has a length, or all of it if it is
// shorter, and with nothing of one that comes in chunks.
//
// The memory for long bodies is held before anything of the request is verified: everyone
// who reaches the listener can ask for it. Short bodies (see [ShortBytes]) are not counted.
//
// One half of it is for couriers at addresses from which their requests were verified of
// late, the other one for all other senders, so that no stranger takes memory from a
// courier. In each half the smallest holders come first: when memory is short, the largest
// holder's oldest body is evicted for one of a holder that has less.
//
//	half      its holders                  so that
//	known     couriers                     no courier's bodies cost another one's
//	unknown   addresses (IPv6: each /64)   many connections count as one sender
package body

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/connlimit"
	"github.com/fincart/courier-gateway/ingest/framing"
)

const (
	// PrefetchedBytes is how much of a body with a length fasthttp waits for before it
	// calls the handler.
	PrefetchedBytes = 8 << 10
	// ShortBytes is how long a body may be without being counted: bodies up to there
	// cost no more than the buffers that every connection has, whose number is bounded.
	ShortBytes = PrefetchedBytes
	// firstShort is the memory that a body in chunks begins with.
	firstShort = 1 << 10
	// firstLong is the memory that a long body begins with; it doubles as it is filled,
	// up to what the body may have.
	firstLong = 16 << 10
	// keptBytes is the largest memory of a body that is kept for another one.
	keptBytes = 64 << 10
)

// The errors of [Reader.Read], beside those of the stream.
var (
	// ErrNoMemory says that other bodies take the memory that one needs.
	ErrNoMemory = errors.New("no memory for the body")
	// ErrTooSlow says that a body came slower than it has to.
	ErrTooSlow = errors.New("the body comes too slowly")
)

// Config bounds the bodies of all requests together.
type Config struct {
	KnownBytes        int64 // of long bodies of known senders
	UnknownBytes      int64 // of long bodies of all others
	MinBytesPerSecond int   // how fast a body has to come that is not there at once, looked at every two seconds; 0 for no such bound
}

// HalfBytes returns what [Config.KnownBytes] and UnknownBytes should be where the largest
// body has so many bytes: enough for several of them.
func HalfBytes(largest int) int64 { return max(memoryBytes, memoryBodies*int64(largest)) / 2 }

// Reader reads bodies. It is safe for concurrent use.
type Reader struct {
	known, unknown    pool
	spare             sync.Pool // of *buffer, none larger than keptBytes
	inflaters         chan *inflater
	minBytesPerSecond int
}

// NewReader returns a reader without bodies.
func NewReader(c Config) *Reader {
	return &Reader{known: pool{limit: c.KnownBytes}, unknown: pool{limit: c.UnknownBytes}, inflaters: newInflaters(), minBytesPerSecond: c.MinBytesPerSecond}
}

// Usage is how much memory of one half is used.
type Usage struct {
	Bytes   int64 // by bodies that are held
	Evicted int64 // by evicted bodies that are still being read
	Holders int
}

// Usage returns how much memory is used in each half.
func (r *Reader) Usage() (known, unknown Usage) { return r.known.usage(), r.unknown.usage() }

// Source is where a body comes from.
type Source struct {
	Stream   io.Reader // nil when Whole is all of the body
	Whole    []byte
	Declared int // how many bytes the stream is said to have, -1 when it comes in chunks
	Conn     net.Conn

	// Courier holds the memory of a long body if it is sent from an address of which the
	// courier is known, Address (IPv6: its /64) if not, or if that half is used up. Both
	// may be left out for a body that is not long, see [Source.MayBeLong].
	Courier string
	Address netip.Prefix
}

// MayBeLong reports whether the body may need memory that is counted.
func (s *Source) MayBeLong() bool {
	return s.Stream != nil && (s.Declared < 0 || s.Declared > ShortBytes)
}

// Body is the body of one request, with its memory. The zero value has read nothing. It is
// used again for other requests, after [Reader.Close].
type Body struct {
	Bytes  []byte // as far as it was read; valid until it is closed
	Whole  bool   // all of it was
	Length int    // how long it is, as far as is known

	short       []byte      // memory for a short body
	long        *buffer     // memory for a long one, nil for none
	reservation reservation // of the memory of long
}

// buffer is memory for one long body.
type buffer struct{ b []byte }

// Read reads at most limit bytes of a body. On error b has what came before.
func (r *Reader) Read(b *Body, src *Source, limit int) error {
	if src.Stream == nil {
		b.Bytes, b.Whole, b.Length = src.Whole[:min(len(src.Whole), limit)], len(src.Whole) <= limit, len(src.Whole)
		return nil
	}
	err := r.read(b, src, limit)
	b.Length = max(src.Declared, len(b.Bytes))
	if !b.Whole {
		b.Length = max(b.Length, len(b.Bytes)+1) // at least
	}
	return err
}

func (r *Reader) read(b *Body, src *Source, limit int) error {
	var pace pace
	if src.Declared < 0 || src.Declared > PrefetchedBytes { // else all of it is there
		pace.begin(src.Conn, r.minBytesPerSecond)
		defer pace.end()
	}
	in := b.short[:0]
	if src.Declared > ShortBytes {
		in = nil
	}
	for {
		if len(in) == cap(in) {
			var ok bool
			if in, ok = r.widen(b, src, in, limit+1); !ok {
				return ErrNoMemory
			}
		}
		if err := pace.before(&b.reservation); err != nil {
			return err
		}
		n, err := src.Stream.Read(in[len(in):max(len(in), min(cap(in), limit+1))])
		in = in[:len(in)+n]
		b.Bytes = in[:min(len(in), limit)]
		switch {
		case len(in) > limit:
			return nil
		case err == io.EOF && len(in) >= src.Declared:
			if !b.reservation.complete() {
				return ErrNoMemory
			}
			b.Whole = true
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			if fault := framing.FaultOf(src.Conn); fault != nil {
				return fault
			}
			return pace.why(&b.reservation, err)
		case !pace.keeps(n):
			return ErrTooSlow
		}
	}
}

// widen returns the body that was read so far in more memory, but not in more than most
// bytes. A short one has memory of its own, a long one has memory that is counted.
func (r *Reader) widen(b *Body, src *Source, in []byte, most int) (wider []byte, ok bool) {
	switch {
	case b.long != nil:
		larger := min(2*cap(in), most)
		if !b.reservation.grow(int64(larger), time.Now()) {
			return in, false
		}
		wider = append(make([]byte, 0, larger), in...)
		b.reservation.shrink(int64(cap(in)))
		b.long.b = wider
		return wider, true
	case src.Declared <= ShortBytes && cap(in) <= ShortBytes:
		size := max(src.Declared, 2*cap(in), 1)
		if src.Declared < 0 {
			size = max(size, firstShort)
		}
		b.short = append(make([]byte, 0, min(size, ShortBytes+1)), in...) // where the end is seen only behind it
		return b.short, true
	}
	if !r.open(b, src, most) {
		return in, false
	}
	return append(b.long.b, in...), true
}

// open gets a body its first counted memory.
func (r *Reader) open(b *Body, src *Source, most int) bool {
	one, ok := r.spare.Get().(*buffer)
	if !ok || cap(one.b) > most {
		one = &buffer{make([]byte, 0, min(firstLong, most))}
	}
	n, now := int64(cap(one.b)), time.Now()
	var conn interruptible
	if in := connlimit.Of(src.Conn); in != nil {
		conn = in
	}
	if src.Courier != "" && r.known.open(&b.reservation, holder{courier: src.Courier}, conn, n, now) ||
		r.unknown.open(&b.reservation, holder{address: src.Address}, conn, n, now) {
		b.long = one
		return true
	}
	return false
}

// Close takes back the memory of a body; reuse says that nothing can still look at it. A
// body that was closed may be read again only if it was closed with reuse.
func (r *Reader) Close(b *Body, reuse bool) {
	b.reservation.close()
	if b.long != nil && reuse {
		if n := cap(b.long.b); n >= firstLong && n <= keptBytes {
			b.long.b = b.long.b[:0]
			r.spare.Put(b.long)
		}
	}
	b.long = nil
	if reuse {
		*b = Body{short: b.short[:0]}
	}
}
