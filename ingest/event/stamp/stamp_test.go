package stamp

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

func testEnvelope() *event.Envelope {
	return &event.Envelope{
		Courier: "demo", EventID: "evt_1", Key: "demo:evt_1", TraceID: "req_a1",
		ReceivedAt: time.Date(2026, 2, 26, 12, 0, 1, 234567891, time.UTC),
		Scheme:     "gateway", KeyID: "k1", Body: []byte(`{"eventId":"evt_1"}`),
	}
}

func testStamper(t testing.TB, keys ...string) *Stamper {
	t.Helper()
	var raw [][]byte
	for _, k := range keys {
		raw = append(raw, []byte(k))
	}
	s, err := New(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	keyOne = "0123456789abcdef"
	keyTwo = "fedcba9876543210"
)

func TestStampSurvivesTheHeaders(t *testing.T) {
	t.Parallel()
	e := testEnvelope()
	e.Replay = "n1"
	testStamper(t, keyOne).Stamp(e)
	headers := map[string]string{}
	for name, value := range e.Headers {
		headers[name] = value
	}
	var got event.Envelope
	if err := got.SetHeaders(func(name string) string { return headers[name] }); err != nil {
		t.Fatal(err)
	}
	got.Body = e.Body
	if !testStamper(t, keyOne).Verify(&got) {
		t.Error("the stamp does not survive the headers")
	}
}

func TestStampCoversEverything(t *testing.T) {
	t.Parallel()
	s := testStamper(t, keyOne)
	for name, change := range map[string]func(*event.Envelope){
		"courier":     func(e *event.Envelope) { e.Courier = "other" },
		"event id":    func(e *event.Envelope) { e.EventID = "evt_2" },
		"key":         func(e *event.Envelope) { e.Key = "demo:evt_2" },
		"trace id":    func(e *event.Envelope) { e.TraceID = "req_b2" },
		"received at": func(e *event.Envelope) { e.ReceivedAt = e.ReceivedAt.Add(1) },
		"scheme":      func(e *event.Envelope) { e.Scheme = "gateway-body" },
		"key id":      func(e *event.Envelope) { e.KeyID = "k2" },
		"replay":      func(e *event.Envelope) { e.Replay = "n1" },
		"body":        func(e *event.Envelope) { e.Body = append(e.Body, ' ') },
		"moved edge":  func(e *event.Envelope) { e.Courier, e.EventID = "demoe", "vt_1" },
		"no stamp":    func(e *event.Envelope) { e.Stamp = "" },
		"not hex":     func(e *event.Envelope) { e.Stamp = strings.Repeat("x", len(e.Stamp)) },
		"cut short":   func(e *event.Envelope) { e.Stamp = e.Stamp[2:] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := testEnvelope()
			s.Stamp(e)
			if !s.Verify(e) {
				t.Fatal("its own stamp is refused")
			}
			change(e)
			if s.Verify(e) {
				t.Error("the change goes unnoticed")
			}
		})
	}
}

func TestStampKeysRotate(t *testing.T) {
	t.Parallel()
	before, during, after := testStamper(t, keyOne), testStamper(t, keyTwo, keyOne), testStamper(t, keyTwo)
	old, young := testEnvelope(), testEnvelope()
	before.Stamp(old)
	during.Stamp(young)
	if !during.Verify(old) || !after.Verify(young) {
		t.Error("a stamp by a live key is refused")
	}
	if after.Verify(old) || before.Verify(young) {
		t.Error("a stamp by a key that is gone, or not yet known, is accepted")
	}
}

func TestNewRefusesWeakKeys(t *testing.T) {
	t.Parallel()
	if _, err := New(); err == nil {
		t.Error("no key at all is accepted")
	}
	if _, err := New([]byte(keyOne), []byte("short")); err == nil || !strings.Contains(err.Error(), "key 2") {
		t.Errorf("got %v, want an error about key 2", err)
	}
}

func TestAppendStamp(t *testing.T) {
	t.Parallel()
	s, e := testStamper(t, keyOne), testEnvelope()
	s.Stamp(e)
	buf := make([]byte, 0, 64)
	if got := s.AppendStamp(buf, e); !bytes.Equal(got, []byte(e.Stamp)) {
		t.Errorf("AppendStamp says %s, Stamp %s", got, e.Stamp)
	}
}

func BenchmarkStamp(b *testing.B) {
	s, e := testStamper(b, keyOne), testEnvelope()
	e.Body = bytes.Repeat([]byte("x"), 380)
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		s.AppendStamp(buf, e)
	}
}
