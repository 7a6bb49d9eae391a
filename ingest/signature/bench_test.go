package signature

import (
	"strings"
	"testing"
)

// wire is a request whose look-ups don't allocate, as a server provides it.
type wire struct {
	names                    []string
	values                   [][]byte
	method, path, query, raw []byte
}

func newWire(r *captured) *wire {
	w := &wire{method: []byte(r.method), path: []byte(r.path), query: []byte(r.query), raw: r.body}
	for _, h := range r.headers {
		w.names, w.values = append(w.names, strings.ToLower(h.Name)), append(w.values, []byte(h.Value))
	}
	return w
}

func (w *wire) Header(name string) ([]byte, int) {
	for i, n := range w.names {
		if n == name {
			return w.values[i], 1
		}
	}
	return nil, 0
}

func (w *wire) Body() []byte   { return w.raw }
func (w *wire) Method() []byte { return w.method }
func (w *wire) Path() []byte   { return w.path }
func (w *wire) Query() []byte  { return w.query }

// usual is a body of the usual size, about 330 bytes.
var usual = []byte(`{"eventId":"evt_123","eventType":"shipment.status.updated","occurredAt":"2026-02-26T12:00:00Z","source":"courier-x","data":{"shipmentId":"shp_456","orderId":"ord_789","status":"out_for_delivery","note":"` + strings.Repeat("x", 120) + `"}}`)

// BenchmarkVerify measures every sender: a good request, and one that is
// refused by the last check.
func BenchmarkVerify(b *testing.B) {
	for _, s := range senders() {
		scheme := compile(b, s.verifier(b, "new"))
		good, bad := s.wires(b)
		name := strings.ReplaceAll(strings.ReplaceAll(s.name, ", ", "+"), " ", "-")
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(good.raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scheme.Verify(good, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/refused", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scheme.Verify(bad, noon); err == nil {
					b.Fatal("a wrong request is accepted")
				}
			}
		})
	}
}

// wires returns a request that the sender's scheme accepts, and one that only the
// last check refuses.
func (s *sender) wires(t testing.TB) (good, bad *wire) {
	forged := signed(t, s.signer(t, "evil"), usual, noon)
	if s.config.KeyIDHeader != "" {
		forged.swap("evil", "new") // the id of the key
	}
	return newWire(signed(t, s.signer(t, "new"), usual, noon)), newWire(forged)
}

func BenchmarkSign(b *testing.B) {
	s := compile(b, config("gateway"))
	b.ReportAllocs()
	for b.Loop() {
		s.Sign(body, noon)
	}
}
