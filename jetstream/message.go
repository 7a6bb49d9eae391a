package jetstream

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/fincart/courier-gateway/ingest/event"
)

// msgIDHeader has the id by which the broker recognises copies.
const msgIDHeader = nats.MsgIdHdr

// decode makes a Delivery of a stored message. The bytes of body become its own.
func decode(h nats.Header, body []byte, seq uint64) event.Delivery {
	d := event.Delivery{Sequence: seq}
	d.Body = body
	d.Fault = d.SetHeaders(h.Get)
	return d
}

// ackSubject is what the subject for answering a delivery tells about it
// (nats-server, server/consumer.go, ackReplyInfo):
//
//	$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account hash>.<stream>.<consumer>.<deliveries>.<stream seq>. ...
type ackSubject struct {
	deliveries int
	seq        uint64
	at         time.Time // when it was stored
}

func parseAckSubject(subject string) (a ackSubject, ok bool) {
	rest, ok := strings.CutPrefix(subject, "$JS.ACK.")
	if !ok {
		return a, false
	}
	skip := 2 // stream and consumer
	if strings.Count(rest, ".") >= 8 {
		skip = 4
	}
	for range skip {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return a, false
		}
	}
	deliveries, rest, _ := strings.Cut(rest, ".")
	seq, rest, _ := strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".") // the consumer's own sequence
	nanos, _, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(deliveries, 10, 31)
	if err != nil {
		return a, false
	}
	a.deliveries = int(n)
	if a.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return a, false
	}
	at, err := strconv.ParseInt(nanos, 10, 64)
	a.at = time.Unix(0, at)
	return a, err == nil
}

// generated returns a header that the broker put on a message it reads for us.
// The broker appends its own behind those stored with the message, so that the
// last one counts, whatever a stranger on a shared broker stored.
func generated(h nats.Header, name string) string {
	if vs := h[name]; len(vs) > 0 {
		return vs[len(vs)-1]
	}
	return ""
}

// storedSequence returns the sequence of a message that the broker reads for us;
// ok is false for a status instead of a message.
func storedSequence(m *nats.Msg) (seq uint64, ok bool) {
	seq, err := strconv.ParseUint(generated(m.Header, "Nats-Sequence"), 10, 64)
	return seq, err == nil && seq > 0
}
