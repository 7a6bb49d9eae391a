package integrity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Position is what this process knows of the events' stream apart from the
// stream itself, so that a stream which has lost its end, or is another one, is
// noticed.
type Position struct {
	Birth int64 // when the stream was made, in Unix nanoseconds; 0 when nothing is known
	// Highest is the highest sequence that was acknowledged, and At when that was
	// written, by this machine's clock. It is never above what a good flush made
	// durable, where this process flushes: an event that vanishes in a power cut
	// before its flush was never acknowledged, and is no loss.
	Highest uint64
	At      int64
	// Verified is a sequence up to which every event has its outcome, so that it
	// may be purged, and VerifiedAt when the event there was stored (0: not known).
	Verified   uint64
	VerifiedAt int64
	// Anchor is an event that was in the stream, and AnchorAt when it was stored:
	// if the stream has another one there, it was cut and has grown again.
	Anchor   uint64
	AnchorAt int64
}

// A position is kept in a file of two records, written by turns, so that one of
// them is whole whatever happens:
//
//	0   record, at 0 and at 512 of the file
//	    0  8 bytes  "CGWQPOS1"
//	    8  8 bytes  number of the write; the record with the higher one counts
//	   16 56 bytes  the members of [Position] in their order, little endian
//	   72  4 bytes  CRC-32C of all before
//
// A write is one write(2) with no flush of its own. It survives the end of the
// process; the next group flush, or [Record.Sync], makes it survive a power
// cut.
const (
	positionName   = "position"
	positionMagic  = "CGWQPOS1"
	positionBytes  = 76
	positionStride = 512
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// positionFile keeps a position. It is safe for concurrent use.
type positionFile struct {
	file *os.File

	mu     sync.Mutex
	now    Position
	writes uint64
	dirty  bool  // written since the last sync
	err    error // of the last write, nil when that went well
	buf    [positionBytes]byte
}

// openPosition opens the file in dir, and makes it when it is missing. damaged
// says that there is one without a record that can be read.
func openPosition(dir string) (f *positionFile, damaged bool, err error) {
	file, err := os.OpenFile(filepath.Join(dir, positionName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("open what is known of the queue: %w", err)
	}
	content, err := io.ReadAll(io.LimitReader(file, 2*positionStride))
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("read what is known of the queue from %s: %w", file.Name(), err), file.Close())
	}
	f = &positionFile{file: file}
	for slot := range 2 {
		if len(content) < slot*positionStride+positionBytes {
			break
		}
		p, writes, ok := decodePosition(content[slot*positionStride:])
		if ok && writes > f.writes {
			f.now, f.writes = p, writes
		}
	}
	if len(content) < 2*positionStride { // so that no write needs space that a full disk hasn't
		if _, err := file.WriteAt(make([]byte, 2*positionStride-len(content)), int64(len(content))); err != nil {
			return nil, false, errors.Join(fmt.Errorf("make the file of what is known of the queue: %w", err), file.Close())
		}
	}
	return f, len(content) > 0 && f.writes == 0, nil
}

func decodePosition(b []byte) (p Position, writes uint64, ok bool) {
	b = b[:positionBytes]
	le := binary.LittleEndian
	if string(b[:8]) != positionMagic || crc32.Checksum(b[:72], castagnoli) != le.Uint32(b[72:]) {
		return p, 0, false
	}
	return Position{
		Birth: int64(le.Uint64(b[16:])), Highest: le.Uint64(b[24:]), At: int64(le.Uint64(b[32:])),
		Verified: le.Uint64(b[40:]), VerifiedAt: int64(le.Uint64(b[48:])),
		Anchor: le.Uint64(b[56:]), AnchorAt: int64(le.Uint64(b[64:])),
	}, le.Uint64(b[8:]), true
}

// encode fills buf; mu is held.
func (f *positionFile) encode() {
	le, b, p := binary.LittleEndian, f.buf[:], &f.now
	copy(b, positionMagic)
	le.PutUint64(b[8:], f.writes)
	for i, v := range [...]uint64{
		uint64(p.Birth), p.Highest, uint64(p.At), p.Verified, uint64(p.VerifiedAt), p.Anchor, uint64(p.AnchorAt),
	} {
		le.PutUint64(b[16+8*i:], v)
	}
	le.PutUint32(b[72:], crc32.Checksum(b[:72], castagnoli))
}

// get returns the position as it is.
func (f *positionFile) get() Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// raise takes over a sequence that has been acknowledged, if it is the highest.
func (f *positionFile) raise(seq uint64, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq > f.now.Highest {
		f.now.Highest, f.now.At = seq, now.UnixNano()
		f.write()
	}
}

// update changes the position; change must not take long.
func (f *positionFile) update(change func(*Position)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.now
	if change(&f.now); f.now != before {
		f.write()
	}
}

// write writes the position; mu is held. What can't be written now is written
// with the next change: until then a loss may be noticed in part only, which is
// no reason to refuse events.
func (f *positionFile) write() {
	f.writes++
	f.encode()
	_, f.err = f.file.WriteAt(f.buf[:], int64(f.writes%2)*positionStride)
	f.dirty = true
}

// sync makes the position survive a power cut. It returns the error of the last
// write, too.
func (f *positionFile) sync() error {
	f.mu.Lock()
	dirty, err := f.dirty, f.err
	f.dirty = false
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("write what is known of the queue: %w", err)
	}
	if !dirty {
		return nil
	}
	if err := f.file.Sync(); err != nil {
		f.mu.Lock()
		f.dirty = true
		f.mu.Unlock()
		return fmt.Errorf("flush what is known of the queue: %w", err)
	}
	return nil
}

func (f *positionFile) close() error { return errors.Join(f.sync(), f.file.Close()) }
