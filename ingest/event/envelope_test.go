package event

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func testEnvelope() *Envelope {
	return &Envelope{
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
	s, err := NewStamper(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	keyOne = "0123456789abcdef"
	keyTwo = "fedcba9876543210"
)

func TestHeadersRoundTrip(t *testing.T) {
	t.Parallel()
	e := testEnvelope()
	e.Replay = "n1"
	testStamper(t, keyOne).Stamp(e)
	headers := map[string]string{}
	for name, value := range e.Headers {
		headers[name] = value
	}
	var got Envelope
	if err := got.SetHeaders(func(name string) string { return headers[name] }); err != nil {
		t.Fatal(err)
	}
	got.Body = e.Body
	if !testStamper(t, keyOne).Verify(&got) {
		t.Error("the stamp does not survive the headers")
	}
	if got.Identity() != e.Identity() || !got.ReceivedAt.Equal(e.ReceivedAt) || got.Replay != "n1" || got.KeyID != "k1" || got.Scheme != "gateway" || got.TraceID != "req_a1" || got.EventID != "evt_1" {
		t.Errorf("got %+v, want %+v", got, *e)
	}
}

func TestHeadersLeavesOutEmptyOnesAndStops(t *testing.T) {
	t.Parallel()
	e := &Envelope{Courier: "demo", Key: "k"}
	var names []string
	for name := range e.Headers {
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "Gw-Courier Gw-Key" {
		t.Errorf("got headers %q", got)
	}
	for name := range testEnvelope().Headers {
		if name != headerCourier {
			t.Errorf("went on to %s after a break", name)
		}
		break
	}
}

func TestSetHeadersRefusesForeignMessages(t *testing.T) {
	t.Parallel()
	good := map[string]string{headerCourier: "demo", headerKey: "k", headerReceivedAt: "1"}
	for _, tc := range []struct{ name, header, value string }{
		{"no courier", headerCourier, ""},
		{"courier that is no name", headerCourier, "a:b"},
		{"no key", headerKey, ""},
		{"no time", headerReceivedAt, ""},
		{"time that is no number", headerReceivedAt, "yesterday"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var e Envelope
			err := e.SetHeaders(func(name string) string {
				if name == tc.header {
					return tc.value
				}
				return good[name]
			})
			if err == nil || !strings.Contains(err.Error(), tc.header) {
				t.Errorf("got %v, want an error that names %s", err, tc.header)
			}
		})
	}
}

func TestMsgID(t *testing.T) {
	t.Parallel()
	e := &Envelope{Courier: "demo", Key: "k1"}
	if got := e.MsgID(); got != "demo:k1" {
		t.Errorf("got %q", got)
	}
	e.Replay = "n1"
	if got := e.MsgID(); got != "demo:k1#n1" {
		t.Errorf("a replay has id %q", got)
	}
	at := &Envelope{Courier: "demo", Key: strings.Repeat("x", maxMsgIDBytes-len("demo:"))}
	past := &Envelope{Courier: "demo", Key: at.Key + "x"}
	other := &Envelope{Courier: "demo", Key: at.Key + "y"}
	if got := at.MsgID(); len(got) != maxMsgIDBytes || strings.HasPrefix(got, "sha256:") {
		t.Errorf("an id at the limit is %q", got)
	}
	if got := past.MsgID(); !strings.HasPrefix(got, "sha256:") || got == other.MsgID() || got != past.MsgID() {
		t.Errorf("an id past the limit is %q", got)
	}
}

func TestStampCoversEverything(t *testing.T) {
	t.Parallel()
	s := testStamper(t, keyOne)
	for name, change := range map[string]func(*Envelope){
		"courier":     func(e *Envelope) { e.Courier = "other" },
		"event id":    func(e *Envelope) { e.EventID = "evt_2" },
		"key":         func(e *Envelope) { e.Key = "demo:evt_2" },
		"trace id":    func(e *Envelope) { e.TraceID = "req_b2" },
		"received at": func(e *Envelope) { e.ReceivedAt = e.ReceivedAt.Add(1) },
		"scheme":      func(e *Envelope) { e.Scheme = "gateway-body" },
		"key id":      func(e *Envelope) { e.KeyID = "k2" },
		"replay":      func(e *Envelope) { e.Replay = "n1" },
		"body":        func(e *Envelope) { e.Body = append(e.Body, ' ') },
		"moved edge":  func(e *Envelope) { e.Courier, e.EventID = "demoe", "vt_1" },
		"no stamp":    func(e *Envelope) { e.Stamp = "" },
		"not hex":     func(e *Envelope) { e.Stamp = strings.Repeat("x", len(e.Stamp)) },
		"cut short":   func(e *Envelope) { e.Stamp = e.Stamp[2:] },
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

func TestNewStamperRefusesWeakKeys(t *testing.T) {
	t.Parallel()
	if _, err := NewStamper(); err == nil {
		t.Error("no key at all is accepted")
	}
	if _, err := NewStamper([]byte(keyOne), []byte("short")); err == nil || !strings.Contains(err.Error(), "key 2") {
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
