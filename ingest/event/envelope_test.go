package event

import (
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

func TestHeadersRoundTrip(t *testing.T) {
	t.Parallel()
	e := testEnvelope()
	e.Replay = "n1"
	e.Stamp = "00ff"
	headers := map[string]string{}
	for name, value := range e.Headers {
		headers[name] = value
	}
	var got Envelope
	if err := got.SetHeaders(func(name string) string { return headers[name] }); err != nil {
		t.Fatal(err)
	}
	got.Body = e.Body
	if got.Stamp != e.Stamp || got.Identity() != e.Identity() || !got.ReceivedAt.Equal(e.ReceivedAt) || got.Replay != "n1" || got.KeyID != "k1" || got.Scheme != "gateway" || got.TraceID != "req_a1" || got.EventID != "evt_1" {
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
