package dedup

import (
	"encoding/binary"
	"testing"
	"time"
)

// model is a window as it should be, kept simply.
type model struct {
	byPrint map[uint64]uint64
	bySeq   map[uint64]uint64
	last    uint64
}

// FuzzWindow compares a window with maps, over whatever order of answers, holes,
// repeats and passing time.
func FuzzWindow(f *testing.F) {
	f.Add(uint64(0), []byte{0, 1, 1, 2, 2, 3, 3, 250, 4, 251})
	f.Add(uint64(4094), []byte{7, 7, 0, 200, 1, 255, 3, 254, 6, 9, 5, 5})
	f.Add(uint64(1<<32-3), []byte{1, 1, 2, 2, 3, 3, 4, 4, 5, 255, 0, 0})
	f.Fuzz(func(t *testing.T, start uint64, steps []byte) {
		start %= 1 << 48
		const window = time.Minute
		now := time.Unix(1772107200, 0)
		w := NewWindow(window, start)
		want := model{byPrint: map[uint64]uint64{}, bySeq: map[uint64]uint64{}, last: start}
		put := func(fingerprint, seq uint64) {
			w.Put(fingerprint, seq, now)
			want.last = max(want.last, seq)
			if want.bySeq[seq] < minFingerprint {
				want.bySeq[seq], want.byPrint[fingerprint] = fingerprint, seq
			}
		}
		for len(steps) >= 2 {
			op, arg := steps[0], uint64(steps[1])
			steps = steps[2:]
			switch op % 8 {
			case 0, 1: // the next one is answered
				put(minFingerprint+arg, want.last+1)
			case 2: // answers were lost before it
				put(minFingerprint+arg, want.last+1+arg)
			case 3: // many are answered
				for i := range arg * 40 {
					put(1<<20+arg*1000+i*i, want.last+1)
				}
			case 4: // a late or repeated one
				if seq := want.last - min(arg, want.last-start); seq > start {
					put(minFingerprint+arg, seq)
				}
			case 5: // the store has more than was answered
				if before := w.stored(want.last + arg); before != want.last {
					t.Fatalf("stored says %d was the last, want %d", before, want.last)
				}
				want.last += arg
			case 6: // a hole turns out to be empty
				if seq := want.last - min(arg, want.last-start); seq > start && want.bySeq[seq] == unknown {
					w.skip(seq)
					want.bySeq[seq] = noID
				}
			case 7: // time passes, holes are filled, the old is dropped
				for from, to, ok := w.Hole(want.last); ok; from, to, ok = w.Hole(want.last) {
					for seq := from; seq <= to; seq++ {
						if want.bySeq[seq] != unknown {
							t.Fatalf("%d is called a hole and holds %d", seq, want.bySeq[seq])
						}
						put(1<<40+seq, seq)
					}
				}
				want.check(t, w, now)
				now = now.Add(window + time.Second)
				w.Expire(now)
				for fingerprint, seq := range want.byPrint {
					if got, ok := w.Find(fingerprint, now); ok {
						t.Fatalf("%d is found at %d, was dropped at %d", fingerprint, got, seq)
					}
				}
				if len(w.chunks) > 1 {
					t.Fatalf("%d chunks are kept", len(w.chunks))
				}
				w.Reset(want.last)
				want = model{byPrint: map[uint64]uint64{}, bySeq: map[uint64]uint64{}, last: want.last}
				start = want.last
			}
		}
		want.check(t, w, now)
	})
}

func (want *model) check(t *testing.T, w *Window, now time.Time) {
	t.Helper()
	for fingerprint, seq := range want.byPrint {
		if got, ok := w.Find(fingerprint, now); !ok || got != seq {
			t.Fatalf("%d is found at %d, %v, want %d", fingerprint, got, ok, seq)
		}
	}
	if w.used != len(want.byPrint) {
		t.Fatalf("%d ids are known, want %d", w.used, len(want.byPrint))
	}
	if _, ok := w.Find(1<<63, now); ok {
		t.Fatal("an id is found that was never stored")
	}
}

// TestWindowDropsChunkByChunk lets a window slide over events that keep coming.
func TestWindowDropsChunkByChunk(t *testing.T) {
	t.Parallel()
	const window, perSecond, seconds = 10 * time.Second, 3000, 60
	start := time.Unix(1772107200, 0)
	w := NewWindow(window, 0)
	fingerprint := func(seq uint64) uint64 { return max(seq*0x9e3779b97f4a7c15, minFingerprint) }
	most := 0
	for seq := uint64(1); seq <= perSecond*seconds; seq++ {
		now := start.Add(time.Duration(seq) * time.Second / perSecond)
		w.Put(fingerprint(seq), seq, now)
		if seq%1000 != 0 {
			continue
		}
		most = max(most, w.Expire(now))
		for back := range uint64(perSecond * 10) {
			if back < seq {
				if got, ok := w.Find(fingerprint(seq-back), now); !ok || got != seq-back {
					t.Fatalf("at %d, %d is found at %d, %v", seq, seq-back, got, ok)
				}
			}
		}
		if back := uint64(perSecond*10 + chunkLen + 1); back < seq {
			if _, ok := w.Find(fingerprint(seq-back), now); ok {
				t.Fatalf("at %d, %d is still known", seq, seq-back)
			}
		}
	}
	if limit := perSecond*10 + 2*chunkLen; most > limit {
		t.Errorf("%d ids were kept, want %d at most", most, limit)
	}
	w.Expire(start.Add(time.Hour))
	if len(w.chunks) != 1 || len(w.index) > 8*chunkLen {
		t.Errorf("%d chunks and an index of %d are left", len(w.chunks), len(w.index))
	}
}

func TestWindowAllocatesByTheChunk(t *testing.T) {
	w := NewWindow(time.Minute, 0)
	now := time.Now()
	var key [8]byte
	seq := uint64(0)
	n := testing.AllocsPerRun(chunkLen, func() {
		seq++
		binary.BigEndian.PutUint64(key[:], seq)
		fingerprint := w.fingerprintBytes(key[:])
		if _, ok := w.Find(fingerprint, now); ok {
			t.Error("found before it is stored")
		}
		w.Put(fingerprint, seq, now)
	})
	if n != 0 {
		t.Errorf("%v allocations an id", n)
	}
}

func TestFingerprintsOfStringsAndBytesAgree(t *testing.T) {
	t.Parallel()
	w := NewWindow(time.Minute, 0)
	if w.Fingerprint("demo:k") != w.fingerprintBytes([]byte("demo:k")) {
		t.Error("an id that is read from the store is another than the one published")
	}
}

func BenchmarkWindow(b *testing.B) {
	w := NewWindow(time.Minute, 0)
	now := time.Now()
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		fingerprint := seq * 0x9e3779b97f4a7c15
		w.Find(fingerprint, now)
		w.Put(fingerprint, seq, now)
	}
}
