package jetstream

import (
	"encoding/binary"
	"testing"
	"time"
)

// remembers is recent as it should be, kept simply.
type remembers struct {
	byMark map[uint64]uint64
	bySeq  map[uint64]uint64
	last   uint64
}

// FuzzRecent compares recent with maps, over whatever order of answers, holes,
// repeats and passing time.
func FuzzRecent(f *testing.F) {
	f.Add(uint64(0), []byte{0, 1, 1, 2, 2, 3, 3, 250, 4, 251})
	f.Add(uint64(4094), []byte{7, 7, 0, 200, 1, 255, 3, 254, 6, 9, 5, 5})
	f.Add(uint64(1<<32-3), []byte{1, 1, 2, 2, 3, 3, 4, 4, 5, 255, 0, 0})
	f.Fuzz(func(t *testing.T, start uint64, steps []byte) {
		start %= 1 << 48
		const window = time.Minute
		now := time.Unix(1772107200, 0)
		r := newRecent(window, start)
		want := remembers{byMark: map[uint64]uint64{}, bySeq: map[uint64]uint64{}, last: start}
		put := func(mark, seq uint64) {
			r.put(mark, seq, now)
			want.last = max(want.last, seq)
			if want.bySeq[seq] < firstMark {
				want.bySeq[seq], want.byMark[mark] = mark, seq
			}
		}
		for len(steps) >= 2 {
			op, arg := steps[0], uint64(steps[1])
			steps = steps[2:]
			switch op % 8 {
			case 0, 1: // the next one is answered
				put(firstMark+arg, want.last+1)
			case 2: // answers were lost before it
				put(firstMark+arg, want.last+1+arg)
			case 3: // many are answered
				for i := range arg * 40 {
					put(1<<20+arg*1000+i*i, want.last+1)
				}
			case 4: // a late or repeated one
				if seq := want.last - min(arg, want.last-start); seq > start {
					put(firstMark+arg, seq)
				}
			case 5: // the store has more than was answered
				if before := r.stored(want.last + arg); before != want.last {
					t.Fatalf("stored says %d was the last, want %d", before, want.last)
				}
				want.last += arg
			case 6: // a hole turns out to be empty
				if seq := want.last - min(arg, want.last-start); seq > start && want.bySeq[seq] == unheard {
					r.skip(seq)
					want.bySeq[seq] = nothing
				}
			case 7: // time passes, holes are learned, the old is forgotten
				for from, to, ok := r.hole(want.last); ok; from, to, ok = r.hole(want.last) {
					for seq := from; seq <= to; seq++ {
						if want.bySeq[seq] != unheard {
							t.Fatalf("%d is called a hole and holds %d", seq, want.bySeq[seq])
						}
						put(1<<40+seq, seq)
					}
				}
				want.check(t, r, now)
				now = now.Add(window + time.Second)
				r.expire(now)
				for mark, seq := range want.byMark {
					if got, ok := r.find(mark, now); ok {
						t.Fatalf("%d is found at %d, was forgotten at %d", mark, got, seq)
					}
				}
				if len(r.chunks) > 1 {
					t.Fatalf("%d chunks are kept", len(r.chunks))
				}
				r.reset(want.last)
				want = remembers{byMark: map[uint64]uint64{}, bySeq: map[uint64]uint64{}, last: want.last}
				start = want.last
			}
		}
		want.check(t, r, now)
	})
}

func (want *remembers) check(t *testing.T, r *recent, now time.Time) {
	t.Helper()
	for mark, seq := range want.byMark {
		if got, ok := r.find(mark, now); !ok || got != seq {
			t.Fatalf("%d is found at %d, %v, want %d", mark, got, ok, seq)
		}
	}
	if r.used != len(want.byMark) {
		t.Fatalf("%d ids are remembered, want %d", r.used, len(want.byMark))
	}
	if _, ok := r.find(1<<63, now); ok {
		t.Fatal("an id is found that was never stored")
	}
}

// TestRecentForgetsChunkByChunk lets a window slide over events that keep coming.
func TestRecentForgetsChunkByChunk(t *testing.T) {
	t.Parallel()
	const window, perSecond, seconds = 10 * time.Second, 3000, 60
	start := time.Unix(1772107200, 0)
	r := newRecent(window, 0)
	mark := func(seq uint64) uint64 { return max(seq*0x9e3779b97f4a7c15, firstMark) }
	most := 0
	for seq := uint64(1); seq <= perSecond*seconds; seq++ {
		now := start.Add(time.Duration(seq) * time.Second / perSecond)
		r.put(mark(seq), seq, now)
		if seq%1000 != 0 {
			continue
		}
		most = max(most, r.expire(now))
		for back := range uint64(perSecond * 10) {
			if back < seq {
				if got, ok := r.find(mark(seq-back), now); !ok || got != seq-back {
					t.Fatalf("at %d, %d is found at %d, %v", seq, seq-back, got, ok)
				}
			}
		}
		if back := uint64(perSecond*10 + chunkLen + 1); back < seq {
			if _, ok := r.find(mark(seq-back), now); ok {
				t.Fatalf("at %d, %d is still known", seq, seq-back)
			}
		}
	}
	if limit := perSecond*10 + 2*chunkLen; most > limit {
		t.Errorf("%d ids were kept, want %d at most", most, limit)
	}
	r.expire(start.Add(time.Hour))
	if len(r.chunks) != 1 || len(r.index) > 8*chunkLen {
		t.Errorf("%d chunks and an index of %d are left", len(r.chunks), len(r.index))
	}
}

func TestRecentAllocatesByTheChunk(t *testing.T) {
	r := newRecent(time.Minute, 0)
	now := time.Now()
	var key [8]byte
	seq := uint64(0)
	n := testing.AllocsPerRun(chunkLen, func() {
		seq++
		binary.BigEndian.PutUint64(key[:], seq)
		mark := r.markOf(key[:])
		if _, ok := r.find(mark, now); ok {
			t.Error("found before it is stored")
		}
		r.put(mark, seq, now)
	})
	if n != 0 {
		t.Errorf("%v allocations an id", n)
	}
}

func TestMarksOfStringsAndBytesAgree(t *testing.T) {
	t.Parallel()
	r := newRecent(time.Minute, 0)
	if r.mark("demo:k") != r.markOf([]byte("demo:k")) {
		t.Error("an id that is read from the store is another than the one published")
	}
}

func BenchmarkRecent(b *testing.B) {
	r := newRecent(time.Minute, 0)
	now := time.Now()
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		mark := seq * 0x9e3779b97f4a7c15
		r.find(mark, now)
		r.put(mark, seq, now)
	}
}
