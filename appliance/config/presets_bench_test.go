package config_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// wired is a sent request whose parts are looked up without an allocation, as in the
// intake.
type wired struct {
	names                     []string
	values                    [][]byte
	method, path, query, body []byte
}

func newWired(r *sendertest.Request) *wired {
	w := &wired{method: r.Method(), path: r.Path(), query: r.Query(), body: bytes.Clone(r.RawBody)}
	for _, h := range r.RawHeaders {
		w.names, w.values = append(w.names, strings.ToLower(h.Name)), append(w.values, []byte(h.Value))
	}
	return w
}

func (w *wired) Header(name string) (value []byte, count int) {
	for i, n := range w.names {
		if n == name {
			return w.values[i], 1
		}
	}
	return nil, 0
}

func (w *wired) Body() []byte { return w.body }

func (w *wired) Method() []byte { return w.method }

func (w *wired) Path() []byte { return w.path }

func (w *wired) Query() []byte { return w.query }

// verification is one request of a preset's sender, and one like it by a sender that
// does not have the secret.
type verification struct {
	name         string
	scheme       *signature.Scheme
	decoder      *payload.Decoder
	good, forged *wired
}

// hmacVerifications returns one for every preset that signs by an HMAC.
func hmacVerifications(t testing.TB) (all []verification) {
	t.Helper()
	presets := sendertest.Presets(t)
	for _, name := range slices.Sorted(maps.Keys(presets)) {
		p := presets[name]
		if !slices.Contains([]string{"hmac", "standard-webhooks", "jwt"}, p.Courier.Scheme) {
			continue
		}
		scheme, decoder := sendertest.Compile(t, &p.Courier, 0)
		stranger, _ := sendertest.Compile(t, &p.Courier, 1)
		c := sendertest.Cases(t, name)[0]
		all = append(all, verification{
			name, scheme, decoder, newWired(c.Signed(t, name, scheme, sendertest.SignedAt)), newWired(c.Signed(t, name, stranger, sendertest.SignedAt)),
		})
	}
	if len(all) < 17 {
		t.Fatalf("only %d presets prove themselves by an HMAC", len(all))
	}
	return all
}

// BenchmarkPresets measures for every preset by HMAC what verifying costs, of a good
// request and of a forged one, and what reading the event does.
func BenchmarkPresets(b *testing.B) {
	for _, v := range hmacVerifications(b) {
		b.Run(v.name+"/verify", func(b *testing.B) {
			b.SetBytes(int64(len(v.good.body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.scheme.Verify(v.good, sendertest.SignedAt); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(v.name+"/refuse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.scheme.Verify(v.forged, sendertest.SignedAt); err == nil {
					b.Fatal("a forged request is accepted")
				}
			}
		})
		b.Run(v.name+"/read", func(b *testing.B) {
			b.SetBytes(int64(len(v.good.body)))
			b.ReportAllocs()
			var e event.Event
			for b.Loop() {
				in := payload.Input{Body: v.good.body, Headers: v.good, Received: sendertest.SignedAt}
				if faults := v.decoder.Decode(in, &e, nil); len(faults) > 0 {
					b.Fatal(faults)
				}
			}
		})
	}
}
