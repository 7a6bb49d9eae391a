package body

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
)

// PackedFault is what is wrong with a body that is packed.
type PackedFault string

func (f PackedFault) Error() string { return "is not valid gzip: " + string(f) }

// The faults of [Reader.Inflate].
const (
	unpacked PackedFault = "it does not begin as gzip does: is it packed at all?"
	cutOff   PackedFault = "it is cut off"
	damaged  PackedFault = "it is damaged"
	tooMany  PackedFault = "it has more than one member"
	trailing PackedFault = "bytes follow its end"
)

// inflater unpacks one body at a time.
type inflater struct {
	in  bytes.Reader
	out gzip.Reader
}

// newInflaters returns the places of inflaters, which are made when they are used first.
// Each has memory of some 40 KiB; more at once than there are processors would not be
// faster.
func newInflaters() chan *inflater {
	places := make(chan *inflater, runtime.GOMAXPROCS(0))
	for range cap(places) {
		places <- nil
	}
	return places
}

// Inflate reads at most limit bytes of what a body packed by gzip (RFC 1952) holds: one
// member, with nothing behind it. It stops unpacking there, so a body that is small and
// would become large costs no more than one that is sent so. The memory is counted as that of
// a body which comes in chunks; src says for whom. The error is [ErrNoMemory] or a
// [PackedFault].
func (r *Reader) Inflate(b *Body, packed []byte, src *Source, limit int) error {
	one := <-r.inflaters
	if one == nil {
		one = new(inflater)
	}
	defer func() {
		one.in.Reset(nil)
		r.inflaters <- one
	}()
	one.in.Reset(packed)
	if err := one.out.Reset(&one.in); err != nil {
		return packedFault(err)
	}
	one.out.Multistream(false)
	err := r.Read(b, &Source{Stream: &one.out, Declared: -1, Courier: src.Courier, Address: src.Address}, limit)
	switch {
	case err != nil:
		return packedFault(err)
	case !b.Whole || one.in.Len() == 0:
		return nil
	case bytes.HasPrefix(packed[len(packed)-one.in.Len():], []byte("\x1f\x8b")):
		return tooMany
	}
	return trailing
}

// Peek returns at most limit bytes of what a packed body holds, as far as it can be
// unpacked, for who looks for something in it and does not use it. The memory is not counted.
func Peek(packed []byte, limit int) []byte {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	plain, _ := io.ReadAll(io.LimitReader(z, int64(limit))) // what comes before a fault is there
	return plain
}

func packedFault(err error) error {
	switch {
	case errors.Is(err, ErrNoMemory):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return cutOff
	case errors.Is(err, gzip.ErrHeader):
		return unpacked
	}
	return damaged
}
