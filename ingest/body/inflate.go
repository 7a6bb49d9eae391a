package body

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"unicode/utf8"
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
	case bytes.HasPrefix(packed[len(packed)-one.in.Len():], gzipMagic):
		return tooMany
	}
	return trailing
}

// gzipMagic begins what is packed by gzip.
var gzipMagic = []byte("\x1f\x8b")

// maxLayers is how often a body may be packed for [Peek].
const maxLayers = 3

// Peek returns at most limit bytes of what a body holds that is packed, all members of it and
// what is packed in what is packed, for who looks for something in it and does not use it.
// Whole says that nothing else is in it: what can't be unpacked has to be text, or was only
// cut off. The memory is not counted. Named says that the sender calls the body packed;
// without that, a body which does not begin as packed ones do is whole.
func Peek(body []byte, named bool, limit int) (plain []byte, whole bool) {
	for layer := 0; ; layer++ {
		if !bytes.HasPrefix(body, gzipMagic) {
			return plain, !named && !beginsAsZlib(body) || text(body)
		}
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil || layer == maxLayers {
			return plain, false
		}
		body, err = io.ReadAll(io.LimitReader(z, int64(limit))) // what comes before a fault is there
		plain, named = append(plain, body...), false
		if len(body) == limit || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return plain, false
		}
	}
}

// beginsAsZlib reports whether a body begins as what is packed by zlib does (RFC 1950, section
// 2.2), which is what content-encoding deflate means.
func beginsAsZlib(body []byte) bool {
	return len(body) > 1 && body[0]&0x0f == 8 && (int(body[0])<<8|int(body[1]))%31 == 0
}

// text reports whether a body is text, as nothing is that is packed.
func text(body []byte) bool {
	return utf8.Valid(body) && !bytes.ContainsFunc(body, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' })
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
