package load

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
)

func newComposer(t *testing.T, scheme string, m Mix) *composer {
	t.Helper()
	p := newPlan(t, m)
	s := newSigner(t, "http://127.0.0.1:8080/v1/events/courier/demo?x=1", scheme)
	p.flaws = flawsOf(s, p.events.AppendBody(nil, 0))
	return &composer{plan: p, signer: s, now: time.Now, staleBy: time.Hour}
}

func TestComposedRequestsAreWhatTheyAreMeantToBe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"gateway", "gateway-body"} {
		c := newComposer(t, name, Mix{Duplicates: 0.2, Invalid: 0.4})
		head := newHeading(at(t, "http://127.0.0.1:8080/v1/events/courier/demo?x=1"), c.signer.Headers())
		seen := map[kind]int{}
		for n := range uint64(500) {
			made := c.compose(n)
			seen[made.kind]++
			raw := head.appendRequest(nil, made.Signed)
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatalf("%v: %s", err, raw)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Method != http.MethodPost || r.URL.RequestURI() != "/v1/events/courier/demo?x=1" || r.Host != "127.0.0.1:8080" {
				t.Fatalf("%v: %s", err, raw)
			}
			if problem := wrongly(signatureFault(name, r, body), made.kind, body); problem != "" {
				t.Fatalf("%s: request %d, %v, %s: %s", name, n, made.kind, problem, raw)
			}
		}
		if seen[fresh] == 0 || seen[duplicate] == 0 || seen[tampered] == 0 || seen[badBody] == 0 || (seen[stale] == 0) != (name == "gateway-body") {
			t.Errorf("%s: %v", name, seen)
		}
	}
}

// wrongly says what is other than the kind wants of a request with this fault.
func wrongly(fault string, k kind, body []byte) string {
	var e event.Event
	faults := payload.DecodeCanonical(body, &e, nil)
	switch {
	case k.valid() && (fault != "" || len(faults) > 0):
		return "is not valid"
	case k == tampered && fault != "signature":
		return "is signed"
	case k == stale && fault != "timestamp":
		return "is not stale"
	case k == badBody && (fault != "" || len(faults) == 0):
		return "is not a signed bad body"
	}
	return ""
}

func BenchmarkCompose(b *testing.B) {
	to := at(b, "http://127.0.0.1:8080/v1/events/courier/demo")
	s := newSigner(b, to.url, "gateway")
	c := &composer{plan: &plan{events: generator(b, nil)}, signer: s, now: time.Now}
	head := newHeading(to, s.Headers())
	var request []byte
	n := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		request = head.appendRequest(request[:0], c.compose(n).Signed)
		n++
	}
	b.SetBytes(int64(len(request)))
}

func BenchmarkSign(b *testing.B) {
	s, err := signature.New(settings("gateway"))
	if err != nil {
		b.Fatal(err)
	}
	body := generator(b, nil).AppendBody(nil, 0)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		s.Sign(body, now)
	}
}
