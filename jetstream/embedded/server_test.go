package embedded

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestServerHasNoPort(t *testing.T) {
	t.Parallel()
	s := New(Config{Name: "test", StoreDir: t.TempDir(), MaxPayload: 1 << 20, MaxMemoryBytes: 1 << 20, SyncAlways: true, Logger: slog.New(slog.DiscardHandler)})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if addr := s.srv.Addr(); addr != nil {
		t.Errorf("the embedded broker listens on %v", addr)
	}
	if !s.opts.SyncAlways {
		t.Error("the server does not flush each message")
	}
	if _, err := nats.Connect(nats.DefaultURL, nats.Timeout(100*time.Millisecond)); err == nil {
		t.Log("some other server listens on the default port")
	}
}

func FuzzDecodeConsumerState(f *testing.F) {
	f.Add([]byte{stateMagic, stateVersion, 1, 1, 3, 3, 1, 2, 1, 1, 0, 1, 1, 2})
	f.Add([]byte{stateMagic, stateVersion, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		if len(s.Pending) > len(b)/3 {
			t.Errorf("%d pending in %d bytes", len(s.Pending), len(b))
		}
		for _, p := range s.Pending {
			if p.Stream <= s.AckFloor.Stream || p.Stream > s.Delivered.Stream {
				t.Errorf("sequence %d is pending outside of %d to %d", p.Stream, s.AckFloor.Stream, s.Delivered.Stream)
			}
		}
	})
}
