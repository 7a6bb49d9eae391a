package dedup

import (
	"hash/maphash"
	"sync"
	"time"
)

// Window knows which message ids were stored within the duplicate window, and at
// which sequence. The broker would need some 135 bytes for an id, and an object or
// three that the garbage collector visits; this needs 12 to 20, and none.
//
//	chunks   fingerprints of ids by sequence, 4,096 to a chunk, oldest first
//	index    by fingerprint, open addressing: 1 + sequence - origin, 0 for none
//
// A fingerprint is 64 bits of a keyed hash, so that two ids of a window share one
// by an accident that no sender can bring about; the caller of [Window.Find]
// compares the stored event with its own anyway.
//
// Chunks are dropped as a whole, once their youngest id is older than the window.
// So an id is known for the window at least.
//
// Sequences that were stored without an answer that was read are holes: [Filler]
// reads what they hold.
//
// Its methods may be called by any number of goroutines.
type Window struct {
	length time.Duration
	seed   maphash.Seed

	mu     sync.Mutex
	chunks []*chunk
	first  uint64 // number of chunks[0]; the chunk of a sequence is sequence / chunkLen
	last   uint64 // highest known sequence
	index  []uint32
	origin uint64 // what the index counts from
	used   int    // entries of the index
}

const (
	chunkLen = 4096
	minIndex = 4096 // entries; like every length of the index a power of two
)

// chunk is what is known of chunkLen sequences in a row.
type chunk struct {
	fingerprints *[chunkLen]uint64 // by itself: without a pointer in it, and of a size that the allocator has
	holes        int
	youngest     time.Time
}

// What is in place of a fingerprint.
const (
	unknown        = 0 // a hole, or not stored yet
	noID           = 1 // no id that matters
	minFingerprint = 2
)

// NewWindow returns a window of the given length, which knows no id up to and
// including sequence last.
func NewWindow(length time.Duration, last uint64) *Window {
	w := &Window{length: length, seed: maphash.MakeSeed()}
	w.Reset(last)
	return w
}

// Reset drops everything; what follows last will be stored, or is a hole.
func (w *Window) Reset(last uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chunks, w.index, w.used, w.last = nil, make([]uint32, minIndex), 0, last
	w.first = (last + 1) / chunkLen
	w.origin = w.first * chunkLen
	w.grow(last + 1)
	c := w.chunks[0]
	for i := range (last + 1) % chunkLen {
		c.fingerprints[i] = noID
	}
}

// Fingerprint returns the fingerprint of an id.
func (w *Window) Fingerprint(id string) uint64 {
	return max(maphash.String(w.seed, id), minFingerprint)
}

// fingerprintBytes is Fingerprint for bytes, which it does not keep.
func (w *Window) fingerprintBytes(id []byte) uint64 {
	return max(maphash.Bytes(w.seed, id), minFingerprint)
}

// Find returns the sequence at which the id of a fingerprint was stored within
// the window; ok is false when it was not.
func (w *Window) Find(fingerprint uint64, now time.Time) (seq uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, found := w.lookup(fingerprint)
	if !found {
		return 0, false
	}
	seq = w.sequence(w.index[i])
	return seq, now.Sub(w.chunk(seq).youngest) <= w.length
}

// Put enters the id of a fingerprint as stored at seq. What lies between the
// highest sequence so far and seq becomes holes.
func (w *Window) Put(fingerprint, seq uint64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq < w.first*chunkLen {
		return // dropped already
	}
	w.reach(seq)
	c, i := w.chunk(seq), seq%chunkLen
	if c.fingerprints[i] == unknown {
		c.holes--
	}
	if c.fingerprints[i] < minFingerprint {
		c.fingerprints[i] = fingerprint
		w.enter(fingerprint, seq)
	}
	if at.After(c.youngest) {
		c.youngest = at
	}
}

// skip records that no id is stored at seq.
func (w *Window) skip(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq < w.first*chunkLen || seq > w.last {
		return
	}
	if c := w.chunk(seq); c.fingerprints[seq%chunkLen] == unknown {
		c.fingerprints[seq%chunkLen] = noID
		c.holes--
	}
}

// stored records that the broker has stored up to last, and returns the highest
// sequence that was known before.
func (w *Window) stored(last uint64) (before uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before = w.last
	if last > before {
		w.reach(last)
	}
	return before
}

// Hole returns the first run of holes up to upTo; ok is false when there is none.
func (w *Window) Hole(upTo uint64) (from, to uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, c := range w.chunks {
		if c.holes == 0 {
			continue
		}
		start := (w.first + uint64(n)) * chunkLen
		for i := range uint64(chunkLen) {
			if c.fingerprints[i] != unknown {
				continue
			}
			from = start + i
			if from > min(upTo, w.last) {
				return 0, 0, false
			}
			for to = from; to < min(upTo, w.last) && w.at(to+1) == unknown; to++ {
			}
			return from, to, true
		}
	}
	return 0, 0, false
}

// Expire drops what is older than the window, and returns how many ids are still
// known. A chunk with holes stays until they are filled.
func (w *Window) Expire(now time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.chunks) > 1 && w.chunks[0].holes == 0 && now.Sub(w.chunks[0].youngest) > w.length {
		for i, fingerprint := range w.chunks[0].fingerprints {
			if fingerprint >= minFingerprint {
				w.remove(fingerprint, w.first*chunkLen+uint64(i))
			}
		}
		w.chunks[0] = nil
		w.chunks = w.chunks[1:]
		w.first++
	}
	if len(w.index) > minIndex && w.used < len(w.index)/8 {
		w.rebuild(len(w.index) / 4)
	}
	return w.used
}

// The rest is called with mu held.

// chunk returns the chunk of a sequence that lies within.
func (w *Window) chunk(seq uint64) *chunk { return w.chunks[seq/chunkLen-w.first] }

func (w *Window) at(seq uint64) uint64 { return w.chunk(seq).fingerprints[seq%chunkLen] }

// sequence returns what an entry of the index stands for.
func (w *Window) sequence(entry uint32) uint64 { return w.origin + uint64(entry) - 1 }

// grow makes the chunks reach to seq.
func (w *Window) grow(seq uint64) {
	for w.first+uint64(len(w.chunks)) <= seq/chunkLen {
		w.chunks = append(w.chunks, &chunk{fingerprints: new([chunkLen]uint64)})
	}
}

// reach moves last up to seq; what lies between becomes holes.
func (w *Window) reach(seq uint64) {
	if seq <= w.last {
		return
	}
	w.grow(seq)
	for s := w.last + 1; s <= seq; {
		end := min(seq, s/chunkLen*chunkLen+chunkLen-1)
		w.chunk(s).holes += int(end - s + 1)
		s = end + 1
	}
	w.last = seq
}

// lookup returns the place of a fingerprint in the index, or the one where it
// would be entered.
func (w *Window) lookup(fingerprint uint64) (place int, found bool) {
	mask := len(w.index) - 1
	for i := int(fingerprint>>1) & mask; ; i = (i + 1) & mask {
		switch {
		case w.index[i] == 0:
			return i, false
		case w.at(w.sequence(w.index[i])) == fingerprint:
			return i, true
		}
	}
}

// enter makes the index lead from a fingerprint to seq.
func (w *Window) enter(fingerprint, seq uint64) {
	if seq-w.origin >= 1<<32-1 || 4*(w.used+1) > 3*len(w.index) {
		size := len(w.index)
		if 2*(w.used+1) > size {
			size *= 2
		}
		w.rebuild(size)
	}
	i, found := w.lookup(fingerprint)
	if !found {
		w.used++
	}
	w.index[i] = uint32(seq-w.origin) + 1
}

// remove removes a fingerprint if the index leads from it to seq, and moves up what was
// entered behind it because its own place was taken.
func (w *Window) remove(fingerprint, seq uint64) {
	i, found := w.lookup(fingerprint)
	if !found || w.sequence(w.index[i]) != seq {
		return // stored again later
	}
	w.used--
	mask := len(w.index) - 1
	for j := (i + 1) & mask; w.index[j] != 0; j = (j + 1) & mask {
		home := int(w.at(w.sequence(w.index[j]))>>1) & mask
		if (j-home)&mask >= (j-i)&mask { // its home lies at or before the gap
			w.index[i] = w.index[j]
			i = j
		}
	}
	w.index[i] = 0
}

// rebuild makes an index of the given length, counting from the oldest chunk.
func (w *Window) rebuild(size int) {
	old, origin := w.index, w.origin
	w.index, w.origin = make([]uint32, max(size, minIndex)), w.first*chunkLen
	for _, entry := range old {
		if entry == 0 {
			continue
		}
		seq := origin + uint64(entry) - 1
		i, _ := w.lookup(w.at(seq))
		w.index[i] = uint32(seq-w.origin) + 1
	}
}
