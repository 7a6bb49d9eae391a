package jetstream

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestAddressesAreShownWithoutCredentials(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nats://h:4222,tls://i":                    "nats://h:4222,tls://i",
		"nats://s3cr3t@h:4222":                     "nats://xxxxx@h:4222",
		"nats://u:p@h,s3cr3t@i:4222,tls://u:a@b@j": "nats://xxxxx@h,xxxxx@i:4222,tls://xxxxx@j",
		"nats://s3c%zz@h":                          "nats://xxxxx@h",
	} {
		if got := WithoutCredentials(in); got != want {
			t.Errorf("%s: shown as %s, want %s", in, got, want)
		}
	}
}

func TestParseAckSubject(t *testing.T) {
	t.Parallel()
	at := time.Unix(1772107200, 0)
	for subject, want := range map[string]ackSubject{
		"$JS.ACK.EVENTS.processors.3.17.42.1772107200000000000.5":                {3, 17, at},
		"$JS.ACK._.hash.EVENTS.processors.2.9.12.1772107200000000000.0":          {2, 9, at},
		"$JS.ACK.hub.hash.EVENTS.processors.2.9.12.1772107200000000000.0.random": {2, 9, at},
	} {
		if got, ok := parseAckSubject(subject); !ok || got != want {
			t.Errorf("%s: %+v, %v, want %+v", subject, got, ok, want)
		}
	}
	for _, subject := range []string{"", "$JS.ACK.", "$JS.ACK.EVENTS.processors.x.17.42.1.5", "_INBOX.a.b", "$JS.ACK.EVENTS.processors.1.-1.1.1.1"} {
		if got, ok := parseAckSubject(subject); ok {
			t.Errorf("%q: %+v, want none", subject, got)
		}
	}
}

func FuzzParseAckSubject(f *testing.F) {
	f.Add("$JS.ACK.EVENTS.processors.3.17.42.1772107200000000000.5")
	f.Add("$JS.ACK......")
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := parseAckSubject(s); ok && a.deliveries < 0 {
			t.Fatalf("%q: %+v", s, a)
		}
	})
}

// FuzzDecode feeds what a stranger on a shared broker can store.
func FuzzDecode(f *testing.F) {
	f.Add("Gw-Courier: demo\r\nGw-Key: k\r\nGw-Received-At: 1\r\n", []byte("{}"))
	f.Add("Status: 404\r\nNats-Sequence: 1\r\n", []byte(nil))
	f.Fuzz(func(t *testing.T, headers string, body []byte) {
		h, err := nats.DecodeHeadersMsg([]byte("NATS/1.0\r\n" + headers + "Nats-Sequence: 7\r\n\r\n"))
		if err != nil {
			return
		}
		if d := decode(h, body, 7); d.Fault == nil && (d.Key == "" || !event.ValidCourier(d.Courier)) {
			t.Fatalf("no fault found in %+v", d)
		}
		decodeAdvisory(body)
	})
}

func TestStoredHeadersDontPassForTheBrokers(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	for _, h := range []nats.Header{
		{"Status": {"404"}, "Nats-Sequence": {"99"}},
		{"Status": {"204"}, "Nats-Sequence": {"0"}, "Nats-Stream": {"OTHER"}},
	} {
		if err := b.conns.admin.PublishMsg(&nats.Msg{Subject: "events.demo", Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are stored", func() bool { return lastSeq(t, b) == 2 })
	ms, err := b.reader.readFrom(t.Context(), eventsStream, 1, 10)
	if err != nil || len(ms) != 2 {
		t.Fatalf("read %d messages, %v, want 2", len(ms), err)
	}
	for i, m := range ms {
		if seq, ok := storedSequence(m); !ok || seq != uint64(i+1) {
			t.Errorf("message %d has sequence %d, %v", i+1, seq, ok)
		}
	}
	if d, err := b.Load(t.Context(), 1); err != nil || d.Sequence != 1 || d.Fault == nil {
		t.Errorf("Load = %+v, %v", d, err)
	}
}
