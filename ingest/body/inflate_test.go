package body

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func zipped(texts ...string) []byte {
	var out bytes.Buffer
	for _, text := range texts {
		w := gzip.NewWriter(&out)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
	}
	return out.Bytes()
}

func TestInflate(t *testing.T) {
	t.Parallel()
	const limit = 100 << 10
	long := strings.Repeat("0123456789abcdef", limit/16)
	good := zipped("a text")
	broken := bytes.Clone(good)
	broken[len(broken)-6] ^= 1 // of the checksum
	r := NewReader(Config{KnownBytes: 1 << 20, UnknownBytes: 1 << 20})
	for _, tc := range []struct {
		name   string
		packed []byte
		want   string
		whole  bool
		fault  error
	}{
		{"good", good, "a text", true, nil},
		{"empty", zipped(""), "", true, nil},
		{"at the limit", zipped(long), long, true, nil},
		{"above the limit", zipped(long + "x"), long, false, nil},
		{"bomb", zipped(strings.Repeat(" ", 64<<20)), strings.Repeat(" ", limit), false, nil},
		{"two members", zipped("a", "b"), "", false, tooMany},
		{"bytes behind", append(bytes.Clone(good), 0), "", false, trailing},
		{"cut off", good[:len(good)-1], "", false, cutOff},
		{"cut in the header", good[:5], "", false, cutOff},
		{"nothing", nil, "", false, cutOff},
		{"broken", broken, "", false, damaged},
		{"plain", []byte(`{"a": "long enough"}`), "", false, unpacked},
	} {
		var b Body
		err := r.Inflate(&b, tc.packed, &Source{Courier: "x"}, limit)
		if !errors.Is(err, tc.fault) || err == nil && (string(b.Bytes) != tc.want || b.Whole != tc.whole) {
			t.Errorf("%s: got %d bytes, whole: %v, %v; want %d, %v, %v", tc.name, len(b.Bytes), b.Whole, err, len(tc.want), tc.whole, tc.fault)
		}
		r.Close(&b, true)
	}
	if known, unknown := r.Usage(); known != (Usage{}) || unknown != (Usage{}) {
		t.Errorf("memory is left: %v, %v", known, unknown)
	}
}

// TestInflatedIsCounted: what is unpacked takes of the memory for long bodies, and gets none
// when there is none.
func TestInflatedIsCounted(t *testing.T) {
	t.Parallel()
	r := NewReader(Config{KnownBytes: 128 << 10, UnknownBytes: firstLong - 1})
	packed := zipped(strings.Repeat("x", 60<<10))
	var held []*Body
	for {
		b := new(Body)
		if err := r.Inflate(b, packed, &Source{Courier: "x"}, 1<<20); errors.Is(err, ErrNoMemory) {
			r.Close(b, false)
			break
		} else if err != nil || !b.Whole {
			t.Fatal(err)
		}
		if held = append(held, b); len(held) > 2 {
			t.Fatal("more is lent than there is")
		}
	}
	if known, _ := r.Usage(); len(held) == 0 || known.Bytes < 60<<10 {
		t.Errorf("%d bodies take %d bytes", len(held), known.Bytes)
	}
	for _, b := range held {
		r.Close(b, true)
	}
	if known, _ := r.Usage(); known.Bytes != 0 {
		t.Errorf("%d bytes are left", known.Bytes)
	}
	if len(r.inflaters) != runtime.GOMAXPROCS(0) {
		t.Errorf("%d of the inflaters are back", len(r.inflaters))
	}
}

// FuzzInflate compares what is unpacked with what compress/gzip unpacks.
func FuzzInflate(f *testing.F) {
	good := zipped("a text that is long enough to be packed packed packed")
	for _, seed := range [][]byte{good, good[:9], zipped("a", "b"), append(bytes.Clone(good), 'x'), nil, []byte("\x1f\x8b"), zipped(strings.Repeat("z", 5000))} {
		f.Add(seed)
	}
	r := NewReader(Config{KnownBytes: 1 << 20, UnknownBytes: 1 << 20})
	f.Fuzz(func(t *testing.T, packed []byte) {
		const limit = 1000
		var b Body
		defer r.Close(&b, true)
		err := r.Inflate(&b, packed, &Source{}, limit)
		if len(b.Bytes) > limit {
			t.Fatalf("%d bytes", len(b.Bytes))
		}
		if err != nil || !b.Whole {
			return
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := io.ReadAll(z); err != nil || !bytes.Equal(want, b.Bytes) {
			t.Fatalf("got %q, want %q, %v", b.Bytes, want, err)
		}
	})
}
