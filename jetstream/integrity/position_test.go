package integrity

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func positionIn(t *testing.T, dir string) (*positionFile, bool) {
	t.Helper()
	f, damaged, err := openPosition(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.file.Close() })
	return f, damaged
}

func TestPositionSurvivesTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, damaged := positionIn(t, dir)
	if damaged || f.get() != (Position{}) {
		t.Fatalf("a new position is %+v, damaged %v", f.get(), damaged)
	}
	want := Position{Birth: 1, Highest: 2, At: 3, Verified: 4, VerifiedAt: 5, Anchor: 6, AnchorAt: 7}
	f.update(func(p *Position) { *p = want })
	if again, damaged := positionIn(t, dir); again.get() != want || damaged {
		t.Errorf("read back %+v, damaged %v", again.get(), damaged)
	}
	now := time.Unix(100, 0)
	f.raise(1, now) // lower
	f.raise(9, now)
	want.Highest, want.At = 9, now.UnixNano()
	if again, _ := positionIn(t, dir); again.get() != want {
		t.Errorf("read back %+v, want %+v", again.get(), want)
	}
}

// TestTornPositionIsTheOneBefore damages each byte of the file in turn.
func TestTornPositionIsTheOneBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, _ := positionIn(t, dir)
	f.raise(1, time.Now())
	f.raise(2, time.Now())
	path := filepath.Join(dir, positionName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		torn := append([]byte(nil), whole...)
		torn[i] ^= 1
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		again, damaged := positionIn(t, dir)
		if got := again.get().Highest; got != 1 && got != 2 || damaged {
			t.Fatalf("with byte %d damaged: highest %d, damaged %v", i, got, damaged)
		}
	}
	for name, content := range map[string][]byte{"zeroed": make([]byte, len(whole)), "cut": whole[:40]} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		again, damaged := positionIn(t, dir)
		if !damaged {
			t.Errorf("%s: not noticed", name)
		}
		again.raise(7, time.Now())
		if once, damaged := positionIn(t, dir); once.get().Highest != 7 || damaged {
			t.Errorf("%s: then written as %+v, damaged %v", name, once.get(), damaged)
		}
	}
}

func TestPositionCostsNoAllocation(t *testing.T) {
	f, _ := positionIn(t, t.TempDir())
	seq, now := uint64(0), time.Now()
	if n := testing.AllocsPerRun(100, func() { seq++; f.raise(seq, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPositionRaise(b *testing.B) {
	f, _, err := openPosition(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer f.file.Close()
	seq, now := uint64(0), time.Now()
	for b.Loop() {
		seq++
		f.raise(seq, now)
	}
}
