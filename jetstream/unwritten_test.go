package jetstream

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestConsumerStateThatNeverReachedTheDisk starts on what a power cut leaves
// between the renaming of a consumer's state file and the writing of its content.
func TestConsumerStateThatNeverReachedTheDisk(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]func(was []byte) []byte{
		"zeros": func(was []byte) []byte { return make([]byte, len(was)) },
		"empty": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			b := open(t, cfg)
			publishN(t, b, 10)
			settle(t, b, event.Verdict{Action: event.Ack}, pull(t, b, 7)...)
			settled(t, b, 10, 7)
			if err := b.Verified(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
			closeBroker(t, b)
			paths, err := filepath.Glob(filepath.Join(cfg.StoreDir, "jetstream", consumerStates))
			if err != nil || !slices.ContainsFunc(paths, func(path string) bool { return filepath.Base(filepath.Dir(path)) == processors }) {
				t.Fatalf("the consumers' states are %v, %v", paths, err)
			}
			for _, path := range paths {
				was, err := os.ReadFile(path)
				if err != nil || len(was) == 0 || bytes.Equal(was, make([]byte, len(was))) {
					t.Fatalf("the consumer's state is %v, %v", was, err)
				}
				if err := os.WriteFile(path, state(was), 0o600); err != nil {
					t.Fatal(err)
				}
			}

			b = open(t, cfg)
			publish(t, b, envelope("11"))
			var got []uint64
			ds := pull(t, b, 6)
			for _, d := range ds {
				got = append(got, d.Sequence)
			}
			if want := []uint64{6, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
				t.Errorf("delivered %v, want what was not verified: %v", got, want)
			}
			settle(t, b, event.Verdict{Action: event.Ack}, ds...)
			if got, want := settled(t, b, 10, 6), []uint64{6, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
				t.Errorf("settled %v, want %v", got, want)
			}
		})
	}
}
