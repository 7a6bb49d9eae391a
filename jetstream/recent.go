package jetstream

import (
	"hash/maphash"
	"sync"
	"time"
)

// recent remembers which message ids were stored within the duplicate window and
// at which sequence. The broker would need some 135 bytes for an id, and an
// object or three that the garbage collector visits; this needs 12 to 20, and
// none.
//
//	chunks   fingerprints of ids by sequence, 4,096 to a chunk, oldest first
//	index    by fingerprint, open addressing: 1 + sequence - origin, 0 for none
//
// A fingerprint is 64 bits of a keyed hash, so that two ids of a window share one
// by an accident that nobody can bring about; whoever finds an id compares the
// stored event with the one in hand anyway.
//
// Chunks are forgotten as a whole, once their youngest id is older than the
// window. So an id is remembered for the window at least.
//
// Sequences that were stored without our hearing of it, because their answer was
// lost, are holes: [Broker.learn] reads what they hold.
type recent struct {
	window time.Duration
	seed   maphash.Seed

	mu     sync.Mutex
	chunks []*chunk
	first  uint64 // number of chunks[0]; the chunk of a sequence is sequence / chunkLen
	last   uint64 // highest sequence heard of
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
	marks    *[chunkLen]uint64 // by itself: without a pointer in it, and of a size that the allocator has
	holes    int
	youngest time.Time
}

// What stands in place of a fingerprint.
const (
	unheard   = 0 // a hole, or not stored yet
	nothing   = 1 // no id that matters
	firstMark = 2 // the lowest fingerprint
)

// newRecent remembers nothing, up to and including sequence last.
func newRecent(window time.Duration, last uint64) *recent {
	r := &recent{window: window, seed: maphash.MakeSeed()}
	r.reset(last)
	return r
}

// reset forgets everything; what follows last will be stored or learned.
func (r *recent) reset(last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chunks, r.index, r.used, r.last = nil, make([]uint32, minIndex), 0, last
	r.first = (last + 1) / chunkLen
	r.origin = r.first * chunkLen
	r.grow(last + 1)
	c := r.chunks[0]
	for i := range (last + 1) % chunkLen {
		c.marks[i] = nothing
	}
}

// mark returns the fingerprint of an id.
func (r *recent) mark(id string) uint64 {
	return max(maphash.String(r.seed, id), firstMark)
}

// markOf is mark for bytes.
func (r *recent) markOf(id []byte) uint64 {
	return max(maphash.Bytes(r.seed, id), firstMark)
}

// find returns the sequence at which the id of a fingerprint was stored within
// the window.
func (r *recent) find(mark uint64, now time.Time) (seq uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := r.lookup(mark)
	if !found {
		return 0, false
	}
	seq = r.sequence(r.index[i])
	return seq, now.Sub(r.chunk(seq).youngest) <= r.window
}

// put remembers that an id was stored at seq. What lies between the highest
// sequence so far and seq becomes holes.
func (r *recent) put(mark, seq uint64, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq < r.first*chunkLen {
		return // forgotten already
	}
	r.reach(seq)
	c, i := r.chunk(seq), seq%chunkLen
	if c.marks[i] == unheard {
		c.holes--
	}
	if c.marks[i] < firstMark {
		c.marks[i] = mark
		r.enter(mark, seq)
	}
	if at.After(c.youngest) {
		c.youngest = at
	}
}

// skip says that nothing of interest is stored at seq.
func (r *recent) skip(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq < r.first*chunkLen || seq > r.last {
		return
	}
	if c := r.chunk(seq); c.marks[seq%chunkLen] == unheard {
		c.marks[seq%chunkLen] = nothing
		c.holes--
	}
}

// stored says that the broker has stored up to last, and returns the highest
// sequence that was heard of before.
func (r *recent) stored(last uint64) (before uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.last
	if last > before {
		r.reach(last)
	}
	return before
}

// hole returns the first run of holes up to upTo; ok is false when there is none.
func (r *recent) hole(upTo uint64) (from, to uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, c := range r.chunks {
		if c.holes == 0 {
			continue
		}
		start := (r.first + uint64(n)) * chunkLen
		for i := range uint64(chunkLen) {
			if c.marks[i] != unheard {
				continue
			}
			from = start + i
			if from > min(upTo, r.last) {
				return 0, 0, false
			}
			for to = from; to < min(upTo, r.last) && r.at(to+1) == unheard; to++ {
			}
			return from, to, true
		}
	}
	return 0, 0, false
}

// expire forgets what is older than the window, and returns how many ids are
// still remembered. A chunk with holes stays until they are learned.
func (r *recent) expire(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.chunks) > 1 && r.chunks[0].holes == 0 && now.Sub(r.chunks[0].youngest) > r.window {
		for i, mark := range r.chunks[0].marks {
			if mark >= firstMark {
				r.leave(mark, r.first*chunkLen+uint64(i))
			}
		}
		r.chunks[0] = nil
		r.chunks = r.chunks[1:]
		r.first++
	}
	if len(r.index) > minIndex && r.used < len(r.index)/8 {
		r.rebuild(len(r.index) / 4)
	}
	return r.used
}

// The rest is called with mu held.

// chunk returns the chunk of a sequence that lies within.
func (r *recent) chunk(seq uint64) *chunk { return r.chunks[seq/chunkLen-r.first] }

func (r *recent) at(seq uint64) uint64 { return r.chunk(seq).marks[seq%chunkLen] }

// sequence returns what an entry of the index stands for.
func (r *recent) sequence(entry uint32) uint64 { return r.origin + uint64(entry) - 1 }

// grow makes the chunks reach to seq.
func (r *recent) grow(seq uint64) {
	for r.first+uint64(len(r.chunks)) <= seq/chunkLen {
		r.chunks = append(r.chunks, &chunk{marks: new([chunkLen]uint64)})
	}
}

// reach moves last up to seq; what lies between is not heard of.
func (r *recent) reach(seq uint64) {
	if seq <= r.last {
		return
	}
	r.grow(seq)
	for s := r.last + 1; s <= seq; {
		end := min(seq, s/chunkLen*chunkLen+chunkLen-1)
		r.chunk(s).holes += int(end - s + 1)
		s = end + 1
	}
	r.last = seq
}

// lookup returns the place of a fingerprint in the index, or the one where it
// would be entered.
func (r *recent) lookup(mark uint64) (place int, found bool) {
	mask := len(r.index) - 1
	for i := int(mark>>1) & mask; ; i = (i + 1) & mask {
		switch {
		case r.index[i] == 0:
			return i, false
		case r.at(r.sequence(r.index[i])) == mark:
			return i, true
		}
	}
}

// enter makes the index lead from mark to seq.
func (r *recent) enter(mark, seq uint64) {
	if seq-r.origin >= 1<<32-1 || 4*(r.used+1) > 3*len(r.index) {
		size := len(r.index)
		if 2*(r.used+1) > size {
			size *= 2
		}
		r.rebuild(size)
	}
	i, found := r.lookup(mark)
	if !found {
		r.used++
	}
	r.index[i] = uint32(seq-r.origin) + 1
}

// leave removes mark if the index leads from it to seq, and moves up what was
// entered behind it because its own place was taken.
func (r *recent) leave(mark, seq uint64) {
	i, found := r.lookup(mark)
	if !found || r.sequence(r.index[i]) != seq {
		return // stored again later
	}
	r.used--
	mask := len(r.index) - 1
	for j := (i + 1) & mask; r.index[j] != 0; j = (j + 1) & mask {
		home := int(r.at(r.sequence(r.index[j]))>>1) & mask
		if (j-home)&mask >= (j-i)&mask { // its home lies at or before the gap
			r.index[i] = r.index[j]
			i = j
		}
	}
	r.index[i] = 0
}

// rebuild makes an index of the given length, counting from the oldest chunk.
func (r *recent) rebuild(size int) {
	old, origin := r.index, r.origin
	r.index, r.origin = make([]uint32, max(size, minIndex)), r.first*chunkLen
	for _, entry := range old {
		if entry == 0 {
			continue
		}
		seq := origin + uint64(entry) - 1
		i, _ := r.lookup(r.at(seq))
		r.index[i] = uint32(seq-r.origin) + 1
	}
}
